//! Redis: SET … NX EX, on a private instance.

use crate::claim::{self, NS};
use crate::key;
use crate::load::{Load, Reached, Rounds, drive, interleave};
use crate::report::{Bound, Report, figures, number, spread, table};
use crate::run::Run;
use crate::server::{Server, as_server, said, until, writable};
use crate::wire::Client;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DATABASE: &str = "redis";

/// Commands in one pipeline, and keys in one claim_many.
const PIPELINE: usize = 100;
const BATCH: usize = 1000;

/// Its persistence, and the setting of PostgreSQL that promises as much.
#[derive(Clone, Copy, PartialEq)]
enum Store {
    Redis(Persistence),
    PgOnce { durable: bool },
}

#[derive(Clone, Copy, PartialEq)]
enum Persistence {
    None,
    EverySecond,
    Always,
}

const CONTESTANTS: [Store; 5] = [
    Store::Redis(Persistence::None),
    Store::Redis(Persistence::EverySecond),
    Store::Redis(Persistence::Always),
    Store::PgOnce { durable: false },
    Store::PgOnce { durable: true },
];

impl Store {
    fn name(self) -> &'static str {
        match self {
            Store::Redis(Persistence::None) => "Redis, no persistence",
            Store::Redis(Persistence::EverySecond) => "Redis, appendfsync everysec",
            Store::Redis(Persistence::Always) => "Redis, appendfsync always",
            Store::PgOnce { durable: false } => "pg_once, synchronous_commit off",
            Store::PgOnce { durable: true } => "pg_once, synchronous_commit on",
        }
    }

    /// What it is compared with: that which loses as much in a crash.
    fn equal(self) -> Option<usize> {
        match self {
            Store::PgOnce { durable: false } => Some(1),
            Store::PgOnce { durable: true } => Some(2),
            Store::Redis(_) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Single,
    Batch,
}

impl Form {
    fn clients(self) -> Vec<usize> {
        match self {
            Form::Single => vec![1, 8, 50],
            Form::Batch => vec![1, 8],
        }
    }
}

struct Cell {
    form: Form,
    clients: usize,
    rounds: Vec<Rounds>,
}

impl Cell {
    fn title(&self) -> String {
        let form = match self.form {
            Form::Single => "single claims",
            Form::Batch => "pipelines of 100 commands, claim_many of 1,000 keys",
        };
        let clients = if self.clients == 1 {
            "1 client"
        } else {
            &format!("{} clients", self.clients)
        };
        format!("{form}, {clients}")
    }
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    drop(server.database(DATABASE, claim::SETUP)?);
    let version = said(Command::new("redis-server").arg("--version"))?;
    let version = version.split(" sha=").next().unwrap_or_default();
    let instances = [
        Instance::start("none", &["--appendonly", "no"])?,
        Instance::start(
            "everysec",
            &["--appendonly", "yes", "--appendfsync", "everysec"],
        )?,
        Instance::start(
            "always",
            &["--appendonly", "yes", "--appendfsync", "always"],
        )?,
    ];
    let time = Duration::from_millis(500);
    let mut cells = Vec::new();
    for form in [Form::Single, Form::Batch] {
        for clients in form.clients() {
            let mut cell = Cell {
                form,
                clients,
                rounds: Vec::new(),
            };
            run.progress(&format!("Redis beside pg_once: {}", cell.title()));
            cell.rounds = interleave(
                run.scaled(5, 1),
                CONTESTANTS.len(),
                |place| match CONTESTANTS[place] {
                    Store::Redis(_) => instances[place].load(form, clients, time),
                    Store::PgOnce { durable } => ours(server, form, clients, time, durable),
                },
            )?;
            cells.push(cell);
        }
    }
    drop(instances);
    server
        .connect("postgres")?
        .run(&format!("DROP DATABASE {DATABASE}"))?;
    tell(&cells, version, report);
    Ok(())
}

fn ours(
    server: &Server,
    form: Form,
    clients: usize,
    time: Duration,
    durable: bool,
) -> Result<Reached, String> {
    let (statement, batch) = match form {
        Form::Single => (claim::find(claim::OURS).statements[0], 1),
        Form::Batch => ("SELECT claim_many($1, $2)", BATCH),
    };
    let load = Load {
        address: server.address(DATABASE),
        clients,
        time,
        delay: Duration::ZERO,
        settings: if durable {
            ""
        } else {
            "SET synchronous_commit = off"
        },
        statements: &[statement],
    };
    let reached = load.run(|client: &mut Client, generator| {
        let rows = match form {
            Form::Single => u64::from(client.ask(0, &[NS, &key::random(generator)])?.is_true()),
            Form::Batch => {
                client
                    .ask(0, &[NS, &key::array(&key::many(generator, batch))])?
                    .rows
            }
        };
        won(rows as usize, batch)
    })?;
    Ok(per_key(reached, batch))
}

fn per_key(reached: Reached, batch: usize) -> Reached {
    Reached {
        per_second: reached.per_second * batch as f64,
        ..reached
    }
}

fn won(won: usize, of: usize) -> Result<(), String> {
    match won == of {
        true => Ok(()),
        false => Err(format!("{won} of {of} keys were won")),
    }
}

/// A private Redis on a Unix socket.
struct Instance {
    process: Child,
    socket: PathBuf,
}

impl Instance {
    fn start(name: &str, persistence: &[&str]) -> Result<Instance, String> {
        let directory = writable(&format!("redis-{name}"))?;
        // The path of a socket has room for about 100 bytes.
        let socket = std::env::temp_dir().join(format!("pg_once-{}-{name}", std::process::id()));
        // It ends with this process, however that ends.
        let process = as_server("setpriv")
            .args(["--pdeathsig", "KILL", "redis-server"])
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--unixsocketperm",
                "777",
                "--unixsocket",
            ])
            .arg(&socket)
            .arg("--dir")
            .arg(&directory)
            .args(persistence)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}"))?;
        let instance = Instance { process, socket };
        until("Redis does not start", || {
            Ok(UnixStream::connect(&instance.socket).ok())
        })?;
        Ok(instance)
    }

    fn load(&self, form: Form, clients: usize, time: Duration) -> Result<Reached, String> {
        let connect = |_| UnixStream::connect(&self.socket).map_err(|error| error.to_string());
        let mut connections = (0..clients).map(connect).collect::<Result<Vec<_>, _>>()?;
        let batch = if form == Form::Single { 1 } else { PIPELINE };
        let reached = drive(&mut connections, time, |connection, generator| {
            won(set(connection, &key::many(generator, batch))?, batch)
        })?;
        Ok(per_key(reached, batch))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let stopped = UnixStream::connect(&self.socket).and_then(|mut connection| {
            connection.write_all(b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n")
        });
        if stopped.is_err() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// SET … NX EX 3600 for each key, in one pipeline; how many were set.
fn set(connection: &mut UnixStream, keys: &[String]) -> Result<usize, String> {
    const SET: &[u8] = b"+OK\r\n";
    const REFUSED: &[u8] = b"$-1\r\n";
    let mut commands = Vec::with_capacity(keys.len() * 120);
    for key in keys {
        let length = NS.len() + 1 + key.len();
        let command = format!(
            "*6\r\n$3\r\nSET\r\n${length}\r\n{NS}:{key}\r\n$1\r\n1\r\n$2\r\nNX\r\n$2\r\nEX\r\n$4\r\n3600\r\n"
        );
        commands.extend_from_slice(command.as_bytes());
    }
    connection
        .write_all(&commands)
        .map_err(|error| error.to_string())?;
    // Either answer is five bytes long.
    let mut answers = vec![0; keys.len() * SET.len()];
    connection
        .read_exact(&mut answers)
        .map_err(|error| error.to_string())?;
    let mut count = 0;
    for answer in answers.chunks_exact(SET.len()) {
        match answer {
            SET => count += 1,
            REFUSED => {}
            _ => return Err(format!("Redis says {}", String::from_utf8_lossy(&answers))),
        }
    }
    Ok(count)
}

fn tell(cells: &[Cell], version: &str, report: &mut Report) {
    let equal = |cell: &Cell, place: usize| {
        CONTESTANTS[place].equal().map(|other| {
            cell.rounds[place]
                .per_second
                .over(&cell.rounds[other].per_second)
        })
    };
    for cell in cells
        .iter()
        .filter(|cell| cell.form == Form::Batch && cell.clients == 1)
    {
        let durable = CONTESTANTS.len() - 1;
        if let Some(ratio) = equal(cell, durable) {
            let name = "durable claim_many of 1,000 keys against Redis with appendfsync always in pipelines of 100, 1 client";
            report.target(name, Bound::AtLeast(1.0), &ratio);
        }
    }
    let mut text = format!(
        "Keys a second on Unix sockets; every key is new, `SET … NX EX 3600` in Redis. × is against the Redis that \
         loses as much in a crash: everysec for `synchronous_commit = off`, always for on. RDB snapshots are off \
         (`save ''`). {version}.\n"
    );
    for cell in cells {
        let rows = CONTESTANTS.iter().enumerate().map(|(place, store)| {
            vec![
                store.name().to_owned(),
                number(cell.rounds[place].per_second.median()),
                equal(cell, place).map_or("–".to_owned(), |ratio| spread(&ratio)),
                number(cell.rounds[place].median.median()),
                number(cell.rounds[place].slowest_percent.median()),
            ]
        });
        text += &format!(
            "\n### {}\n\n{}",
            cell.title(),
            table(&["", "keys a second", "×", "µs a call", "µs, 99 %"], rows)
        );
    }
    report.section("Redis", &text);
    let cells = cells.iter().map(|cell| {
        let stores = CONTESTANTS.iter().zip(&cell.rounds).map(
            |(store, rounds)| json!({"store": store.name(), "keys per second": figures(&rounds.per_second)}),
        );
        json!({"form": cell.title(), "clients": cell.clients, "stores": stores.collect::<Vec<_>>()})
    });
    report.figures.insert(
        "redis".to_owned(),
        json!({"version": version, "cells": cells.collect::<Vec<_>>()}),
    );
}

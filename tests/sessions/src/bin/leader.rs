//! A candidate of an election in a process of its own: it leads once, and ends.
//!
//! `leader SOCKET DATABASE ELECTION NAME LEASE`, the lease in milliseconds. It says `leads TOKEN`, then
//! writes its effects until it is told `resign` or an effect is refused, and says what ended it. It never
//! asks a clock whether its lease is over: nothing but the fence keeps a stale leader from writing.

use postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use std::io::stdin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, database, election, name, lease] = &arguments[..] else {
        panic!("unknown arguments: {arguments:?}");
    };
    let mut candidate = Candidate {
        client: connect(socket, database),
        election,
        name,
        lease: lease.parse().unwrap(),
    };
    let token = candidate.campaign().expect("a candidate is not disturbed");
    println!("leads {token}");
    match candidate.lead(token) {
        Ok(()) => println!("resigned"),
        Err(error) => println!("{}", error.code().map_or("lost", |code| code.code())),
    }
}

struct Candidate<'a> {
    client: Client,
    election: &'a str,
    name: &'a str,
    lease: u32,
}

impl Candidate<'_> {
    fn campaign(&mut self) -> Result<i64, Error> {
        let begin = format!(
            "SELECT token FROM begin_once('leader', '{}', '{} ms', wait => '10 s', worker => '{}')",
            self.election, self.lease, self.name
        );
        loop {
            for message in self.client.simple_query(&begin)? {
                if let SimpleQueryMessage::Row(row) = message
                    && let Some(token) = row.get(0)
                {
                    return Ok(token.parse().unwrap());
                }
            }
        }
    }

    /// Until it is told to resign.
    fn lead(&mut self, token: i64) -> Result<(), Error> {
        let told = what_is_told();
        let lease = Duration::from_millis(self.lease.into());
        let mut renewed = Instant::now();
        for number in 0_u64.. {
            match number % 2 {
                0 => self.write_at_once(token)?,
                _ => self.write_by_and_by(token)?,
            }
            if renewed.elapsed() > lease / 3 {
                renewed = Instant::now();
                let election = self.election;
                let lease = self.lease;
                self.run(&format!(
                    "SELECT renew_once('leader', '{election}', {token}, '{lease} ms')"
                ))?;
            }
            if told.recv_timeout(lease / 25) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        let election = self.election;
        self.run(&format!(
            "SELECT fail_once('leader', '{election}', {token})"
        ))
    }

    /// Fence and effect in one statement.
    fn write_at_once(&mut self, token: i64) -> Result<(), Error> {
        let (election, name) = (self.election, self.name);
        self.run(&format!(
            "INSERT INTO effect (election, token, name)
             SELECT '{election}', {token}, '{name}' FROM fence_once('leader', '{election}', {token})"
        ))
    }

    /// The same in several, which holds off a takeover while the process is stopped in between: for no
    /// longer than the timeout.
    fn write_by_and_by(&mut self, token: i64) -> Result<(), Error> {
        let (election, name, lease) = (self.election, self.name, self.lease);
        self.run(&format!(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = {}",
            lease / 2
        ))?;
        self.run(&format!(
            "SELECT fence_once('leader', '{election}', {token})"
        ))?;
        self.run(&format!(
            "INSERT INTO effect (election, token, name) VALUES ('{election}', {token}, '{name}')"
        ))?;
        self.run("COMMIT")
    }

    /// A simple query, which every pooler passes on.
    fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.client.simple_query(sql).map(drop)
    }
}

/// A message once there is a line, or none is to come.
fn what_is_told() -> Receiver<()> {
    let (teller, told) = channel();
    thread::spawn(move || {
        let _ = stdin().read_line(&mut String::new());
        let _ = teller.send(());
    });
    told
}

fn connect(socket: &str, database: &str) -> Client {
    let mut address = Config::new();
    address
        .host_path(socket)
        .port(5432)
        .user("postgres")
        .dbname(database)
        .connect_timeout(Duration::from_secs(20));
    address.connect(NoTls).expect("a connection")
}

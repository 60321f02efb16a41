//! Many keys in one statement: how long, how many deadlocks, how much memory.

use crate::claim::NS;
use crate::key;
use crate::load::{Load, interleave};
use crate::plot;
use crate::report::{Bound, Report, figures, number, spread, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use crate::wire::Client;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const DATABASE: &str = "batches";
pub const SETUP: &str = include_str!("../sql/batches.sql");

/// How many claims stand in each table before.
const STORED: usize = 100_000;

const PLAIN: usize = 0;
const SORTED: usize = 1;
const OURS: usize = 2;

pub struct Contestant {
    pub name: &'static str,
    pub statement: &'static str,
}

pub const CONTESTANTS: [Contestant; 3] = [
    Contestant {
        name: "INSERT … SELECT unnest … ON CONFLICT DO NOTHING RETURNING",
        statement: "INSERT INTO batch_plain SELECT $1, unnest($2::text[]) \
                    ON CONFLICT DO NOTHING RETURNING key",
    },
    Contestant {
        name: "the same, sorted and without duplicates",
        statement: "INSERT INTO batch_sorted \
                    SELECT $1, key FROM (SELECT DISTINCT unnest($2::text[]) AS key) batch ORDER BY key \
                    ON CONFLICT DO NOTHING RETURNING key",
    },
    Contestant {
        name: "claim_many",
        statement: "SELECT claim_many($1, $2)",
    },
];

/// Above what the contestants take, and what that is against ours.
pub const HEAD: [&str; 6] = [
    "",
    "INSERT",
    "sorted INSERT",
    "claim_many",
    "× INSERT",
    "× sorted INSERT",
];

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    New,
    Half,
    Duplicate,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::New => "new",
            Kind::Half => "half of them new",
            Kind::Duplicate => "duplicates",
        }
    }
}

struct Cell {
    keys: usize,
    kind: Kind,
    /// Microseconds a key, by contestant.
    times: [Sample; 3],
}

impl Cell {
    /// How many times faster claim_many is.
    fn gain(&self, over: usize) -> Sample {
        self.times[over].over(&self.times[OURS])
    }

    fn title(&self) -> String {
        title(self.keys, self.kind)
    }
}

pub fn title(keys: usize, kind: Kind) -> String {
    format!("{} keys, {}", number(keys as f64), kind.name())
}

/// Batches that overlap, from eight clients at once.
struct Overlap {
    per_second: Sample,
    deadlocks: u64,
}

/// One call with very many keys.
struct Memory {
    array: f64,
    peak: f64,
    seconds: f64,
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    let mut generator = fastrand::Rng::with_seed(4);
    let mut stored = key::many(&mut generator, STORED);
    let mut clients = Vec::new();
    drop(server.database(DATABASE, SETUP)?);
    for contestant in &CONTESTANTS {
        let mut client = server.connect(DATABASE)?;
        client.run("SET synchronous_commit = off")?;
        client.prepare(&[contestant.statement])?;
        client.ask(0, &[NS, &key::array(&stored)])?;
        for _ in 0..8 {
            client.ask(0, &[NS, &key::array(&key::many(&mut generator, 10))])?;
        }
        clients.push(client);
    }
    clients[0].run("VACUUM ANALYZE")?;

    let mut cells = Vec::new();
    for keys in [10, 1000, 100_000] {
        for kind in [Kind::New, Kind::Half, Kind::Duplicate] {
            let mut times: [Sample; 3] = Default::default();
            run.progress(&format!("batches: {keys} keys, {}", kind.name()));
            let calls = (run.scaled(20_000, 1000) / keys).max(1);
            for round in 0..run.scaled(7, 1) {
                for place in 0..CONTESTANTS.len() {
                    let contestant = (place + round) % CONTESTANTS.len();
                    let batches: Vec<_> = (0..calls)
                        .map(|_| batch(&mut generator, &mut stored, keys, kind))
                        .collect();
                    let took = time(&mut clients[contestant], &batches)?;
                    times[contestant].0.push(took * 1e6 / (calls * keys) as f64);
                }
            }
            cells.push(Cell { keys, kind, times });
        }
    }
    drop(clients);
    let overlaps = overlaps(run, server)?;
    let memory = memory(run, server)?;
    server
        .connect("postgres")?
        .run(&format!("DROP DATABASE {DATABASE}"))?;
    targets(&cells, &overlaps, &memory, report);
    tell(&cells, &overlaps, &memory, report)
}

pub struct Batch {
    pub keys: String,
    pub won: u64,
}

pub fn batch(
    generator: &mut fastrand::Rng,
    stored: &mut [String],
    keys: usize,
    kind: Kind,
) -> Batch {
    let new = match kind {
        Kind::New => keys,
        Kind::Half => keys / 2,
        Kind::Duplicate => 0,
    };
    let mut all = key::many(generator, new);
    generator.shuffle(stored);
    all.extend_from_slice(&stored[..keys - new]);
    generator.shuffle(&mut all);
    Batch {
        keys: key::array(&all),
        won: new as u64,
    }
}

/// Seconds for these batches.
fn time(client: &mut Client, batches: &[Batch]) -> Result<f64, String> {
    let started = Instant::now();
    for batch in batches {
        let won = client.ask(0, &[NS, &batch.keys])?.rows;
        if won != batch.won {
            return Err(format!("{won} keys were won instead of {}", batch.won));
        }
    }
    Ok(started.elapsed().as_secs_f64())
}

fn overlaps(run: &Run, server: &Server) -> Result<Vec<Overlap>, String> {
    const KEYS: usize = 100;
    run.progress("batches: overlapping ones from 8 clients");
    let deadlocks: [AtomicU64; 3] = Default::default();
    let next: [AtomicU64; 3] = Default::default();
    let rounds = interleave(run.scaled(5, 1), CONTESTANTS.len(), |place| {
        let load = Load {
            address: server.address(DATABASE),
            clients: 8,
            time: Duration::from_millis(1000),
            delay: Duration::ZERO,
            settings: "SET synchronous_commit = off",
            statements: &[CONTESTANTS[place].statement],
        };
        load.run(|client, generator| {
            // Half of each batch is new; the other half others claim too, in
            // another order.
            let first = next[place].fetch_add(KEYS as u64 / 2, Ordering::Relaxed);
            let mut keys = BTreeSet::new();
            while keys.len() < KEYS {
                keys.insert(first + generator.u64(..2 * KEYS as u64));
            }
            let mut keys: Vec<_> = keys
                .iter()
                .map(|key| format!("overlap-{key:028}"))
                .collect();
            generator.shuffle(&mut keys);
            client.add(0, &[NS, &key::array(&keys)])?;
            match client.trip()?.sqlstate.as_deref() {
                None => {}
                Some("40P01") => {
                    deadlocks[place].fetch_add(1, Ordering::Relaxed);
                }
                Some(other) => return Err(format!("a batch was refused with {other}")),
            }
            Ok(())
        })
    })?;
    let found = rounds.into_iter().zip(deadlocks);
    Ok(found
        .map(|(rounds, deadlocks)| Overlap {
            per_second: rounds.per_second,
            deadlocks: deadlocks.into_inner(),
        })
        .collect())
}

fn memory(run: &Run, server: &Server) -> Result<Vec<Memory>, String> {
    let keys = run.scaled(1_000_000, 100_000);
    run.progress(&format!("batches: the memory of one call with {keys} keys"));
    let mut client = server.connect(DATABASE)?;
    client.run(&format!(
        "CREATE TABLE memory (keys text[]);
         ALTER TABLE memory ALTER keys SET STORAGE EXTERNAL;
         INSERT INTO memory SELECT array_agg(gen_random_uuid()::text) FROM generate_series(1, {keys})",
    ))?;
    let array = client.number("SELECT pg_column_size(keys) FROM memory")?;
    drop(client);
    let mut found = Vec::new();
    for contestant in &CONTESTANTS {
        let mut client = server.connect(DATABASE)?;
        client.run("SET synchronous_commit = off")?;
        client.prepare(&[contestant.statement])?;
        client.ask(
            0,
            &[NS, &key::array(&key::many(&mut fastrand::Rng::new(), 10))],
        )?;
        let insert = contestant.statement.starts_with("INSERT");
        let whole = contestant
            .statement
            .replace("$2", "(SELECT keys FROM memory)")
            .replace("$1", "'memory'");
        let whole = match insert {
            true => format!("WITH won AS ({whole}) SELECT count(*) FROM won"),
            false => format!("SELECT count(*) FROM ({whole}) won"),
        };
        let before = anonymous_memory(client.pid)?;
        let started = Instant::now();
        let (won, peak) = watch(client.pid, || client.number(&whole));
        if won? != keys as f64 {
            return Err(format!(
                "{}: not all of {keys} keys were won",
                contestant.name
            ));
        }
        let seconds = started.elapsed().as_secs_f64();
        found.push(Memory {
            array,
            peak: peak - before,
            seconds,
        });
    }
    Ok(found)
}

/// What a backend has of its own, at most, while this goes on.
fn watch<T>(pid: i32, work: impl FnOnce() -> T) -> (T, f64) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0.0_f64;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(anonymous_memory(pid).unwrap_or(f64::NAN));
                thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        (done, watcher.join().unwrap_or(f64::NAN))
    })
}

fn anonymous_memory(pid: i32) -> Result<f64, String> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| error.to_string())?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB"));
    let kilobytes = kilobytes.and_then(|kilobytes| kilobytes.trim().parse::<f64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024.0)
        .ok_or_else(|| "no RssAnon in /proc".to_owned())
}

fn targets(cells: &[Cell], overlaps: &[Overlap], memory: &[Memory], report: &mut Report) {
    let limits = [
        (10, Kind::New, PLAIN, 1.5),
        (10, Kind::Duplicate, PLAIN, 1.5),
        (1000, Kind::New, PLAIN, 2.0),
        (100_000, Kind::New, PLAIN, 2.5),
        (100_000, Kind::Duplicate, PLAIN, 4.0),
        (100_000, Kind::New, SORTED, 2.0),
        (100_000, Kind::Duplicate, SORTED, 2.0),
    ];
    for (keys, kind, against, limit) in limits {
        for cell in cells
            .iter()
            .filter(|cell| cell.keys == keys && cell.kind == kind)
        {
            let name = format!(
                "claim_many against `{}`: {}",
                CONTESTANTS[against].name,
                cell.title()
            );
            report.target(name, Bound::AtLeast(limit), &cell.gain(against));
        }
    }
    let deadlocks = Sample(vec![overlaps[OURS].deadlocks as f64]);
    report.target(
        "deadlocks of overlapping claim_many from 8 clients",
        Bound::AtMost(0.0),
        &deadlocks,
    );
    let share = Sample(vec![memory[OURS].peak / memory[OURS].array]);
    report.target(
        "memory of a claim_many of 1,000,000 keys, in sizes of the array",
        Bound::AtMost(4.0),
        &share,
    );
}

fn tell(
    cells: &[Cell],
    overlaps: &[Overlap],
    memory: &[Memory],
    report: &mut Report,
) -> Result<(), String> {
    let rows = cells.iter().map(|cell| {
        let mut row = vec![cell.title()];
        row.extend(cell.times.iter().map(|times| number(times.median())));
        row.extend([PLAIN, SORTED].map(|against| spread(&cell.gain(against))));
        row
    });
    let times = table(&HEAD, rows);
    let rows = CONTESTANTS
        .iter()
        .zip(overlaps)
        .map(|(contestant, overlap)| {
            let ratio = overlap.per_second.over(&overlaps[PLAIN].per_second);
            vec![
                contestant.name.to_owned(),
                number(overlap.per_second.median()),
                spread(&ratio),
                number(overlap.deadlocks as f64),
            ]
        });
    let together = table(&["", "batches a second", "×", "deadlocks"], rows);
    let rows = CONTESTANTS.iter().zip(memory).map(|(contestant, memory)| {
        vec![
            contestant.name.to_owned(),
            number(memory.peak / 1e6),
            number(memory.peak / memory.array),
            number(memory.seconds),
        ]
    });
    let one = table(&["", "MB", "sizes of the array", "seconds"], rows);
    let series = ["against INSERT", "against the sorted INSERT"];
    let groups = cells.iter().map(|cell| {
        let bars = [PLAIN, SORTED]
            .map(|against| cell.gain(against).median())
            .to_vec();
        (cell.title(), bars)
    });
    let title = "claim_many: how many times faster";
    report.plots.push((
        "batches.svg".to_owned(),
        plot::bars(title, &series, &groups.collect::<Vec<_>>())?,
    ));
    report.section(
        "Batches",
        &format!(
            "Microseconds a key over the wire, the won keys coming back as rows, `synchronous_commit = off`, \
             100,000 claims stored; INSERT is `{}`. × is the median of how many times faster claim_many was \
             than it in the same round, with the least and the most.\n\n{times}\n\
             ![{title}](batches.svg)\n\n\
             Batches of 100 keys in random order from 8 clients; half of each batch is claimed by others at the same time:\n\n\
             {together}\n\
             The backend's own memory (RssAnon) above what it had before, at most, in one call with an array of \
             {} MB, all keys new:\n\n{one}",
            CONTESTANTS[PLAIN].name,
            number(memory[OURS].array / 1e6),
        ),
    );
    let cells: Value = cells
        .iter()
        .map(|cell| {
            json!({
                "keys": cell.keys, "kind": cell.kind.name(),
                "µs a key": cell.times.iter().map(figures).collect::<Value>(),
                "gain": figures(&cell.gain(PLAIN)), "gain over sorted": figures(&cell.gain(SORTED)),
            })
        })
        .collect();
    let overlaps: Value = overlaps
        .iter()
        .map(|overlap| json!({"per second": figures(&overlap.per_second), "deadlocks": overlap.deadlocks}))
        .collect();
    let memory: Value = memory
        .iter()
        .map(
            |memory| json!({"array": memory.array, "peak": memory.peak, "seconds": memory.seconds}),
        )
        .collect();
    let contestants: Value = CONTESTANTS
        .iter()
        .map(|contestant| contestant.name)
        .collect();
    report.figures.insert(
        "batches".to_owned(),
        json!({"contestants": contestants, "times": cells, "overlapping": overlaps, "memory": memory}),
    );
    Ok(())
}

//! A steady load of claims with a short ttl, swept by the worker: the size of the table against that of the
//! claims that are live.

use crate::claim::once;
use crate::key;
use crate::report::{Bound, Report, number, spread, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use crate::wire::Client;
use pg_once_sessions::family::family;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TTLS: [u64; 2] = [12, 6];

/// The families of keys, each in a database of its own at the same time.
const FAMILIES: [&str; 2] = ["UUIDv7", "UUIDv4"];

const CLIENTS: u64 = 2;
const CLAIMS_PER_SECOND: u64 = 800;

/// How long it lasts, in ttl; the first ones are to get steady.
const TURNOVERS: usize = 12;
const WARMING: u64 = 4;

/// The most that the table may take, in the size of its live claims.
const BOUND: f64 = 1.35;

/// The size in bytes and the live claims, once a second.
struct Load {
    family: &'static str,
    samples: Vec<(f64, f64)>,
    claims: u64,
}

struct Found {
    ttl: u64,
    family: &'static str,
    claims: u64,
    /// What a live claim takes in a table that has never held others.
    bytes: f64,
    /// The size in that of the live claims.
    sizes: Sample,
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    server.restart_with("shared_preload_libraries", "'pg_once'")?;
    let mut found = Vec::new();
    for ttl in TTLS {
        let turnovers = run.scaled(TURNOVERS, 6) as u64;
        run.progress(&format!(
            "turnover: a ttl of {ttl} s, {} s",
            ttl * turnovers
        ));
        for family in FAMILIES {
            drop(server.database(&database(family), "SELECT")?);
        }
        let loads = thread::scope(|scope| {
            let loads =
                FAMILIES.map(|family| scope.spawn(move || load(server, family, ttl, turnovers)));
            loads.map(|load| load.join().map_err(|_| "a load panics".to_owned())?)
        });
        for load in loads {
            found.push(weigh(server, load?, ttl)?);
        }
        let mut client = server.connect("postgres")?;
        for family in FAMILIES {
            client.run(&format!("DROP DATABASE {} WITH (FORCE)", database(family)))?;
        }
    }
    server.reset_and_restart("shared_preload_libraries")?;
    tell(&found, report);
    Ok(())
}

fn database(family: &str) -> String {
    format!("turnover_{}", family.to_lowercase())
}

/// Claims at a steady rate by clients that share the numbers of the keys, and looks at the table beside them.
fn load(server: &Server, family: &'static str, ttl: u64, turnovers: u64) -> Result<Load, String> {
    let database = &database(family);
    let time = Duration::from_secs(ttl * turnovers);
    let (next, started) = (&AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = server.connect(database);
                scope.spawn(move || claim(client?, family, ttl, next, started, time))
            })
            .collect();
        let samples = look(server.connect(database)?, ttl * WARMING, started, time);
        for client in clients {
            client.join().map_err(|_| "a client panics".to_owned())??;
        }
        Ok(Load {
            family,
            samples: samples?,
            claims: next.load(Ordering::Relaxed),
        })
    })
}

fn claim(
    mut client: Client,
    name: &str,
    ttl: u64,
    next: &AtomicU64,
    started: Instant,
    time: Duration,
) -> Result<(), String> {
    client.prepare(&[&format!(
        "SELECT claim_once_per('{ttl} s', 'turnover', $1::text)"
    )])?;
    let mut rng = fastrand::Rng::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due = Duration::from_micros(number * 1_000_000 / CLAIMS_PER_SECOND);
        if due >= time {
            return Ok(());
        }
        thread::sleep(due.saturating_sub(started.elapsed()));
        let key = family(name).keys(number..number + 1, &mut rng).remove(0);
        if !client.ask(0, &[&key])?.is_true() {
            return Err(format!("{key} was not won"));
        }
    }
}

/// Once a second, when it has become steady.
fn look(
    mut client: Client,
    from: u64,
    started: Instant,
    time: Duration,
) -> Result<Vec<(f64, f64)>, String> {
    let mut samples = Vec::new();
    for second in from..time.as_secs() {
        thread::sleep(Duration::from_secs(second).saturating_sub(started.elapsed()));
        let size = client.number("SELECT pg_total_relation_size('once.claim')")?;
        let live = client
            .number("SELECT count(*) FROM once.claim WHERE expires_at > clock_timestamp()")?;
        samples.push((size, live));
    }
    Ok(samples)
}

/// Compares with a table of as many live claims alone, filled in the order in which they came.
fn weigh(server: &Server, load: Load, ttl: u64) -> Result<Found, String> {
    let live: Sample = load.samples.iter().map(|(_, live)| *live).collect();
    let count = live.median() as u64;
    let mut client = server.connect(&database(load.family))?;
    let numbers = load.claims..load.claims + count;
    let keys = family(load.family).keys(numbers, &mut fastrand::Rng::new());
    client.run("TRUNCATE once.claim")?;
    let claim = "SELECT count(*) FROM unnest($1::text[]) key WHERE claim_once_per('1 hour', 'turnover', key)";
    once(&mut client, claim, &[&key::array(&keys)])?;
    let bytes = client.number("SELECT pg_total_relation_size('once.claim')")? / count as f64;
    let sizes = load
        .samples
        .iter()
        .map(|(size, live)| size / (live * bytes));
    Ok(Found {
        ttl,
        family: load.family,
        claims: load.claims,
        bytes,
        sizes: sizes.collect(),
    })
}

fn tell(found: &[Found], report: &mut Report) {
    for one in found {
        let name = format!(
            "turnover, {CLAIMS_PER_SECOND} claims a second with a ttl of {} s, {}: size in that of the live claims",
            one.ttl, one.family
        );
        report.target(name, Bound::AtMost(BOUND), &one.sizes);
    }
    let rows = found.iter().map(|one| {
        vec![
            format!("{} s", one.ttl),
            one.family.to_owned(),
            number(one.claims as f64),
            number(one.bytes),
            spread(&one.sizes),
        ]
    });
    report.section(
        "Turnover",
        &format!(
            "{CLAIMS_PER_SECOND} claims a second by {CLIENTS} clients with a short ttl, the worker with its default settings: size of \
             table and index in that of the live claims alone in a table of their own, once a second after {WARMING} ttl; \
             median, the least and the most. Both families at the same time, in two databases.\n\n{}",
            table(
                &["ttl", "keys", "claims", "bytes of a live claim", "size"],
                rows
            )
        ),
    );
    let figures = found.iter().map(|one| {
        json!({
            "ttl": one.ttl, "family": one.family, "claims": one.claims, "bytes": one.bytes,
            "size": crate::report::figures(&one.sizes),
        })
    });
    report
        .figures
        .insert("turnover".to_owned(), figures.collect());
}

//! What a claim writes to the WAL after a checkpoint, page images included, by families of keys: counts that
//! repeat on any machine.

use crate::claim::once;
use crate::key;
use crate::report::{Bound, Report, number, table};
use crate::run::{Purpose, Run};
use crate::server::Server;
use crate::wire::Client;
use fastrand::Rng;
use pg_once_sessions::family::{FAMILIES, Family};
use serde_json::json;
use std::thread;

const DATABASE: &str = "key_order";

/// The most that a claim of keys in order may write, in claims of the hand-written table.
const IN_ORDER: f64 = 1.3;

/// The most that a claim of a random key may write, in claims whose primary key is a hash alone.
const RANDOM: f64 = 1.05;

/// All ways with tables of the same columns; `keys` holds what is claimed next.
const SETUP: &str = include_str!("../sql/order.sql");

/// A short one: by hand a namespace is stored twice, in the table and in its index.
const NS: &str = "ns";

/// Claims before the measurement: what first calls write of the catalog's hint bits is not the claims'.
const WARMING: usize = 50;

/// How many keys are stored by one statement.
const PORTION: u64 = 100_000;

/// What each table is filled with, and how one of its claims is made in a transaction of its own.
struct Way {
    fill: &'static str,
    claim: &'static str,
}

const HAND: usize = 0;
const OURS: usize = 1;

/// The table of claims as it would be with a hash alone as the primary key.
const BY_HASH: usize = 2;

const WAYS: [Way; 3] = [
    Way {
        fill: "INSERT INTO hand SELECT $1, unnest($2::text[])",
        claim: "CALL insert_each($1, $2)",
    },
    Way {
        fill: "SELECT count(*) FROM claim_many($1, $2)",
        claim: "CALL claim_each($1, $2)",
    },
    Way {
        fill: "INSERT INTO by_hash SELECT * FROM row_by_hash($1, $2) ORDER BY hash",
        claim: "CALL insert_each_by_hash($1, $2)",
    },
];

/// Bytes of WAL per claim.
struct Written {
    family: &'static Family,
    bytes: [f64; 3],
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    let stored = run.scaled(1_000_000, 20_000);
    let claimed = (stored / 50).min(3000);
    let mut client = server.database(DATABASE, SETUP)?;
    client.run("SET synchronous_commit = off")?;
    let mut found = Vec::new();
    for family in &FAMILIES {
        run.progress(&format!("order: {} of {stored}", family.name));
        client.run("TRUNCATE hand, by_hash, keys, once.claim")?;
        let ways = match run.purpose == Purpose::Figures || !family.is_in_order {
            true => &WAYS[..],
            false => &WAYS[..BY_HASH],
        };
        fill(server, ways, family, stored as u64)?;
        let last = stored as u64;
        let next = last..last + (WARMING + claimed) as u64;
        let next = family.keys(next, &mut Rng::with_seed(last));
        for (keys, is_warming) in [(&next[..WARMING], "true"), (&next[WARMING..], "false")] {
            once(
                &mut client,
                "INSERT INTO keys SELECT unnest($1::text[]), $2",
                &[&array(keys), is_warming],
            )?;
        }
        // So that reading them writes no hint bits, which VACUUM sets once the commit is on the disk.
        client.run("CHECKPOINT")?;
        client.run("VACUUM keys")?;
        for way in ways {
            once(&mut client, way.claim, &[NS, "true"])?;
        }
        let mut bytes = [f64::NAN; 3];
        for (bytes, way) in bytes.iter_mut().zip(ways) {
            *bytes = wal(&mut client, way.claim)? / claimed as f64;
        }
        found.push(Written { family, bytes });
    }
    drop(client);
    server
        .connect("postgres")?
        .run(&format!("DROP DATABASE {DATABASE}"))?;
    tell(stored, claimed, &found, report);
    Ok(())
}

/// All tables at once, from connections of their own.
fn fill(server: &Server, ways: &[Way], family: &Family, stored: u64) -> Result<(), String> {
    thread::scope(|scope| {
        let mut filling = Vec::new();
        for way in ways {
            filling.push(scope.spawn(move || {
                let mut client = server.connect(DATABASE)?;
                client.run("SET synchronous_commit = off")?;
                for start in (0..stored).step_by(PORTION as usize) {
                    let end = stored.min(start + PORTION);
                    let keys = family.keys(start..end, &mut Rng::with_seed(start));
                    once(&mut client, way.fill, &[NS, &array(&keys)])?;
                }
                Ok(())
            }));
        }
        filling
            .into_iter()
            .try_for_each(|table| table.join().map_err(|_| "filling panics".to_owned())?)
    })
}

/// An array of keys that may hold blanks, commas and control characters.
fn array(keys: &[String]) -> String {
    let quoted: Vec<_> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    key::array(&quoted)
}

/// Bytes of WAL that this call inserts after a checkpoint.
fn wal(client: &mut Client, call: &str) -> Result<f64, String> {
    client.run("CHECKPOINT")?;
    let before = client.value("SELECT pg_current_wal_insert_lsn()")?;
    once(client, call, &[NS, "false"])?;
    client.number(&format!(
        "SELECT pg_current_wal_insert_lsn() - '{before}'::pg_lsn"
    ))
}

fn tell(stored: usize, claimed: usize, found: &[Written], report: &mut Report) {
    for Written { family, bytes } in found {
        let (against, which, bound) = match family.is_in_order {
            true => ("by hand", HAND, IN_ORDER),
            false => ("a hash as the primary key", BY_HASH, RANDOM),
        };
        report.gate(
            format!(
                "WAL per claim after a checkpoint against {against}, {}",
                family.name
            ),
            Bound::AtMost(bound),
            bytes[OURS] / bytes[which],
        );
    }
    let rows = found.iter().map(|Written { family, bytes }| {
        let mut row = vec![family.name.to_owned()];
        row.extend(bytes.map(number));
        row.extend([HAND, BY_HASH].map(|which| number(bytes[OURS] / bytes[which])));
        row
    });
    let head = [
        "",
        "by hand",
        "claim_once",
        "by a hash",
        "× by hand",
        "× by a hash",
    ];
    report.section(
        "WAL by families of keys",
        &format!(
            "Bytes of WAL per claim, each in a transaction of its own, `full_page_writes = on`: {} claims after a checkpoint \
             beside {} stored, a namespace of 2 bytes. By hand: `INSERT … ON CONFLICT DO NOTHING`, `PRIMARY KEY (ns, key)`. By a hash: the same into the \
             columns of a claim with a hash of 16 bytes as the primary key. Keys with a time in them are made at 1,000 a \
             second.\n\n{}",
            number(claimed as f64),
            number(stored as f64),
            table(&head, rows)
        ),
    );
    let figures = found.iter().map(|Written { family, bytes }| {
        json!({
            "family": family.name, "by hand": bytes[HAND], "claim_once": bytes[OURS], "by a hash": bytes[BY_HASH],
        })
    });
    report.figures.insert(
        "order".to_owned(),
        json!({"stored": stored, "claimed": claimed, "families": figures.collect::<Vec<_>>()}),
    );
}

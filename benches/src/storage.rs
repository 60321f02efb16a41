//! What a claim leaves behind, and that a duplicate leaves nothing: counts
//! that repeat on any machine.

use crate::claim::{self, Contestant, NS};
use crate::key;
use crate::report::{Bound, Report, number, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use crate::wire::Client;
use pg_once_sessions::family::family;
use serde_json::json;

const DATABASE: &str = "storage";

/// A checkpoint's record or two may fall into the time of the measurement.
const NOISE: f64 = 1.0;

/// What one duplicate costs the database.
struct Traces {
    xids: f64,
    wal: f64,
    dead: f64,
    sequence: f64,
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    let mut client = server.database(DATABASE, claim::SETUP)?;
    client.run("SET synchronous_commit = off")?;
    server.set("full_page_writes", "off")?;
    let mut generator = fastrand::Rng::with_seed(2);
    let stored = run.scaled(1_000_000, 100_000);

    run.progress(&format!("storage: {stored} claims each"));
    let in_order = fill(&mut client, "UUIDv7", stored, &mut generator)?;
    client.run("TRUNCATE hand_insert, once.claim")?;
    let bytes = fill(&mut client, "UUIDv4", stored, &mut generator)?;

    run.progress("storage: WAL of a claim");
    let count = run.scaled(20_000, 5_000);
    let mut wal = Vec::new();
    for name in [claim::BASELINE, claim::OURS] {
        let contestant = claim::find(name);
        let keys = key::many(&mut generator, count);
        let single = written(&mut client, |client| {
            client.prepare(contestant.statements)?;
            for key in &keys {
                (contestant.claim)(client, key)?;
            }
            client.run("DEALLOCATE ALL")
        })?;
        let keys = key::array(&key::many(&mut generator, count));
        let together = written(&mut client, |client| {
            let sql = format!("SELECT {}($1, $2)", loop_of(contestant));
            claim::once(client, &sql, &[NS, &keys])
        })?;
        wal.push((name, single / count as f64, together / count as f64));
    }

    run.progress("storage: what a duplicate writes");
    let keys = key::many(&mut generator, 1000);
    claim::store(&mut client, &keys)?;
    client.run("VACUUM ANALYZE")?;
    drop(client);
    let mut traces = Vec::new();
    for contestant in claim::CONTESTANTS {
        if let Some(table) = contestant.table {
            traces.push((contestant, duplicates(server, contestant, table, &keys)?));
        }
    }
    tell(stored, &in_order, &bytes, &wal, &traces, report);
    let mut client = server.connect("postgres")?;
    client.run(&format!("DROP DATABASE {DATABASE}"))?;
    server.reset("full_page_writes")?;
    Ok(())
}

/// What a claim takes by each way: heap and index.
type Bytes = [(&'static str, f64, f64); 2];

/// Claims keys of this family one by one.
fn fill(
    client: &mut Client,
    name: &str,
    stored: usize,
    generator: &mut fastrand::Rng,
) -> Result<Bytes, String> {
    const PORTION: u64 = 50_000;
    let mut bytes = [claim::BASELINE, claim::OURS].map(|name| (name, f64::NAN, f64::NAN));
    for (name_of_way, heap, index) in &mut bytes {
        let contestant = claim::find(name_of_way);
        let call = format!("SELECT {}($1, $2)", loop_of(contestant));
        for start in (0..stored as u64).step_by(PORTION as usize) {
            let keys = family(name).keys(start..start + PORTION, generator);
            claim::once(client, &call, &[NS, &key::array(&keys)])?;
        }
        let table = contestant.table.expect("a table");
        let mut size = |function: &str| {
            let sql = format!("SELECT {function}('{table}')::float8 / count(*) FROM {table}");
            client.number(&sql)
        };
        (*heap, *index) = (size("pg_table_size")?, size("pg_indexes_size")?);
    }
    Ok(bytes)
}

fn loop_of(contestant: &Contestant) -> &'static str {
    match contestant.name {
        claim::OURS => "loop_over_claim_once",
        _ => "loop_over_insert",
    }
}

/// Bytes of WAL that this work inserts.
fn written<T>(
    client: &mut Client,
    work: impl FnOnce(&mut Client) -> Result<T, String>,
) -> Result<f64, String> {
    client.run("CHECKPOINT")?;
    let before = client.value("SELECT pg_current_wal_insert_lsn()")?;
    work(client)?;
    client.number(&format!(
        "SELECT pg_current_wal_insert_lsn() - '{before}'::pg_lsn"
    ))
}

/// The second of two passes over the same keys: the first one sets the hint
/// bits.
fn duplicates(
    server: &Server,
    contestant: &Contestant,
    table: &str,
    keys: &[String],
) -> Result<Traces, String> {
    let mut observer = server.connect(DATABASE)?;
    let pass = || {
        let mut client = server.connect(DATABASE)?;
        client.prepare(contestant.statements)?;
        for key in keys {
            if (contestant.claim)(&mut client, key)? {
                return Err(format!("{}: {key} is no duplicate", contestant.name));
            }
        }
        drop(client);
        server.alone(DATABASE)
    };
    pass()?;
    let mut look = || -> Result<[f64; 4], String> {
        Ok([
            observer.number("SELECT pg_snapshot_xmax(pg_current_snapshot())")?,
            observer.number("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")?,
            observer.number(&format!(
                "SELECT pg_stat_get_dead_tuples('{table}'::regclass)"
            ))?,
            observer.number(&format!(
                "SELECT coalesce(sum(last_value), 0) FROM pg_sequences
                 WHERE sequencename = '{table}_id_seq'"
            ))?,
        ])
    };
    let before = look()?;
    pass()?;
    let after = look()?;
    let [xids, wal, dead, sequence] =
        std::array::from_fn(|place| (after[place] - before[place]) / keys.len() as f64);
    Ok(Traces {
        xids,
        wal,
        dead,
        sequence,
    })
}

fn tell(
    stored: usize,
    in_order: &Bytes,
    bytes: &Bytes,
    wal: &[(&str, f64, f64)],
    traces: &[(&Contestant, Traces)],
    report: &mut Report,
) {
    let ratio = |[hand, ours]: &Bytes| (ours.1 + ours.2) / (hand.1 + hand.2);
    let name =
        format!("bytes per stored claim, heap and index, 36-byte random keys, namespace `{NS}`");
    report.target(&name, Bound::AtMost(0.75), &Sample(vec![ratio(bytes)]));
    report.gate(
        format!("{name}: no more than it was"),
        Bound::AtMost(0.82),
        ratio(bytes),
    );
    report.gate(
        "the same, keys in order",
        Bound::AtMost(0.90),
        ratio(in_order),
    );
    // An entry has 8 bytes of header, 16 of key, and 4 that point to it; a leaf has room for 8,152.
    report.gate(
        "bytes of a claim in the index, keys in order, leaves 85 % full",
        Bound::AtMost(28.0 * 8192.0 / 8152.0 / 0.85),
        in_order[1].2,
    );
    report.gate(
        "WAL per claim, without the commit",
        Bound::AtMost(0.85),
        wal[1].2 / wal[0].2,
    );
    for (contestant, traces) in traces {
        if contestant.name == claim::OURS {
            report.gate("XIDs per duplicate", Bound::AtMost(0.0), traces.xids);
            report.gate("dead tuples per duplicate", Bound::AtMost(0.0), traces.dead);
            report.gate(
                "sequence values per duplicate",
                Bound::AtMost(0.0),
                traces.sequence,
            );
            report.gate(
                "bytes of WAL per duplicate",
                Bound::AtMost(NOISE),
                traces.wal,
            );
        }
    }

    let rows = bytes.iter().zip(in_order).zip(wal).map(
        |(((name, heap, index), (_, heap_in_order, index_in_order)), (_, single, together))| {
            let in_order = heap_in_order + index_in_order;
            let figures = [
                in_order,
                *index_in_order,
                *heap,
                *index,
                heap + index,
                *single,
                *together,
            ];
            let mut row = vec![(*name).to_owned()];
            row.extend(figures.map(number));
            row
        },
    );
    let head = [
        "",
        "in order",
        "its index",
        "heap",
        "index",
        "heap and index",
        "WAL with its commit",
        "WAL without",
    ];
    let kept = table(&head, rows);
    let rows = traces.iter().map(|(contestant, traces)| {
        let figures = [traces.xids, traces.wal, traces.dead, traces.sequence];
        let mut row = vec![contestant.name.to_owned()];
        row.extend(figures.map(number));
        row
    });
    let head = ["", "XIDs", "bytes of WAL", "dead tuples", "sequence values"];
    let per_duplicate = table(&head, rows);
    report.section(
        "What a claim leaves behind",
        &format!(
            "Bytes per claim, at {} claims of 36-byte keys, UUIDv7 in order and then random ones, namespace `{NS}`. WAL is counted \
             with `full_page_writes = off`, so that it does not depend on the last checkpoint.\n\n\
             {kept}\nPer duplicate, the mean of 1,000:\n\n{per_duplicate}",
            number(stored as f64),
        ),
    );
    let in_order = in_order
        .map(|(name, heap, index)| json!({"contestant": name, "heap": heap, "index": index}));
    let bytes = bytes.iter().zip(wal).map(|((name, heap, index), (_, single, together))| {
        json!({"contestant": name, "heap": heap, "index": index, "wal": single, "wal in a batch": together})
    });
    let traces = traces.iter().map(|(contestant, traces)| {
        json!({"contestant": contestant.name, "xids": traces.xids, "wal": traces.wal,
               "dead": traces.dead, "sequence": traces.sequence})
    });
    report.figures.insert(
        "storage".to_owned(),
        json!({"stored": stored, "in order": in_order, "bytes": bytes.collect::<Vec<_>>(),
               "duplicates": traces.collect::<Vec<_>>()}),
    );
}

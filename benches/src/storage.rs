//! What a claim leaves behind, and that a duplicate leaves nothing: counts
//! that repeat on any machine.

use crate::claim::{self, Contestant, NS};
use crate::key;
use crate::report::{Bound, Report, number, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use crate::wire::Client;
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
    let mut bytes = Vec::new();
    for name in [claim::BASELINE, claim::OURS] {
        let contestant = claim::find(name);
        let loops = loop_of(contestant);
        for _ in 0..stored / 50_000 {
            let keys = key::array(&key::many(&mut generator, 50_000));
            claim::once(
                &mut client,
                &format!("SELECT {loops}($1, $2)"),
                &[NS, &keys],
            )?;
        }
        let table = contestant.table.expect("a table");
        let mut size = |function: &str| {
            let sql = format!("SELECT {function}('{table}')::float8 / count(*) FROM {table}");
            client.number(&sql)
        };
        bytes.push((name, size("pg_table_size")?, size("pg_indexes_size")?));
    }

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
    tell(stored, &bytes, &wal, &traces, report);
    let mut client = server.connect("postgres")?;
    client.run(&format!("DROP DATABASE {DATABASE}"))?;
    server.reset("full_page_writes")?;
    Ok(())
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
    bytes: &[(&str, f64, f64)],
    wal: &[(&str, f64, f64)],
    traces: &[(&Contestant, Traces)],
    report: &mut Report,
) {
    let total = |place: usize| bytes[place].1 + bytes[place].2;
    let name =
        format!("bytes per stored claim, heap and index, 36-byte random keys, namespace `{NS}`");
    let ratio = total(1) / total(0);
    report.target(&name, Bound::AtMost(0.75), &Sample(vec![ratio]));
    report.gate(
        format!("{name}: no more than it was"),
        Bound::AtMost(0.82),
        ratio,
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

    let rows = bytes
        .iter()
        .zip(wal)
        .map(|((name, heap, index), (_, single, together))| {
            let figures = [*heap, *index, heap + index, *single, *together];
            let mut row = vec![(*name).to_owned()];
            row.extend(figures.map(number));
            row
        });
    let head = [
        "",
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
            "Bytes per claim, at {} claims of 36-byte random keys, namespace `{NS}`. WAL is counted \
             with `full_page_writes = off`, so that it does not depend on the last checkpoint.\n\n\
             {kept}\nPer duplicate, the mean of 1,000:\n\n{per_duplicate}",
            number(stored as f64),
        ),
    );
    let bytes = bytes.iter().zip(wal).map(|((name, heap, index), (_, single, together))| {
        json!({"contestant": name, "heap": heap, "index": index, "wal": single, "wal in a batch": together})
    });
    let traces = traces.iter().map(|(contestant, traces)| {
        json!({"contestant": contestant.name, "xids": traces.xids, "wal": traces.wal,
               "dead": traces.dead, "sequence": traces.sequence})
    });
    report.figures.insert(
        "storage".to_owned(),
        json!({"stored": stored, "bytes": bytes.collect::<Vec<_>>(),
               "duplicates": traces.collect::<Vec<_>>()}),
    );
}

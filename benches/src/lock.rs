//! A named lock beside PostgreSQL's own advisory lock: one free lock in a
//! transaction of its own, which ends with it.

use crate::key;
use crate::load::{Load, interleave};
use crate::report::{Bound, Report, number, spread, table};
use crate::run::Run;
use crate::server::Server;
use serde_json::json;
use std::time::Duration;

const DATABASE: &str = "locks";

const CONTESTANTS: [(&str, &str); 2] = [
    (
        "pg_advisory_xact_lock of a hash of the name",
        "SELECT pg_advisory_xact_lock(hashtextextended($1 || ':' || $2, 0))",
    ),
    ("with_lock", "SELECT with_lock($1, $2)"),
];

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    drop(server.database(DATABASE, "")?);
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for clients in [1, 8] {
        run.progress(&format!("named locks: {clients} clients"));
        let rounds = interleave(run.scaled(15, 3), CONTESTANTS.len(), |place| {
            let load = Load {
                address: server.address(DATABASE),
                clients,
                time: Duration::from_millis(500),
                delay: Duration::ZERO,
                settings: "",
                statements: &[CONTESTANTS[place].1],
            };
            load.run(|client, generator| {
                client
                    .ask(0, &["deploy", &key::random(generator)])
                    .map(drop)
            })
        })?;
        let ratio = rounds[1].per_second.over(&rounds[0].per_second);
        report.target(
            format!("with_lock, locks a second against pg_advisory_xact_lock, {clients} clients"),
            Bound::AtLeast(0.95),
            &ratio,
        );
        for ((name, _), reached) in CONTESTANTS.iter().zip(&rounds) {
            rows.push(vec![
                clients.to_string(),
                (*name).to_owned(),
                number(reached.per_second.median()),
                spread(&reached.per_second.over(&rounds[0].per_second)),
            ]);
        }
        figures.push(json!({"clients": clients, "ratio": ratio.median()}));
    }
    server
        .connect("postgres")?
        .run(&format!("DROP DATABASE {DATABASE}"))?;
    report.section(
        "Named locks",
        &format!(
            "A free lock by a random name, taken and given back by a transaction of one statement, \
             prepared.\n\n{}",
            table(&["clients", "", "a second", "×"], rows)
        ),
    );
    report.figures.insert("locks".to_owned(), json!(figures));
    Ok(())
}

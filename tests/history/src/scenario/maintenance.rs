//! Maintenance in a loop: indexes are built anew, tables rewritten, altered, dropped and made again.

use crate::plan::{DROPPED, Mix};
use crate::scene::{Ending, Scale, Scene, Terms};
use pg_once_sessions::Session;
use std::time::Instant;

const MAINTAINED: Terms = Terms {
    mix: Mix {
        scrap: true,
        ..Mix::ALL
    },
    // A table of turns is not there at the time, or altered while a call waits for it; a step of maintenance was
    // done before.
    allowed: &[
        "0A000 cached plan must not change result type",
        "42P01",
        "42701",
        "42703",
        "42704",
        "42P07",
        DROPPED[0],
        DROPPED[1],
    ],
    ..Terms::USUAL
};

const STATEMENTS: [&str; 16] = [
    "REINDEX TABLE CONCURRENTLY once.claim",
    "REINDEX INDEX once.claim_pkey",
    "VACUUM FULL once.claim",
    "VACUUM once.claim",
    "ANALYZE once.claim",
    "REINDEX TABLE CONCURRENTLY once.work_record",
    "VACUUM FULL once.work_record",
    "REINDEX TABLE CONCURRENTLY counter_keyed",
    "VACUUM FULL counter_plain",
    "ALTER TABLE counter_plain ADD COLUMN extra int DEFAULT 7",
    "ALTER TABLE counter_plain DROP COLUMN extra",
    "CREATE INDEX CONCURRENTLY looked_up ON counter_plain (key)",
    "DROP INDEX looked_up",
    "DROP TABLE scrap",
    "CREATE TABLE scrap (key text PRIMARY KEY, n bigint NOT NULL DEFAULT 0)",
    "CLUSTER payments USING payments_pkey",
];

pub fn in_a_loop(scale: &Scale) -> Ending {
    let scene = Scene::open(scale, &[]);
    let mut done = 0;
    let recorded = scene.record(MAINTAINED, || {
        let begun = Instant::now();
        let mut session: Option<Session> = None;
        for statement in STATEMENTS.iter().cycle() {
            if begun.elapsed() > 2 * scale.length {
                break;
            }
            done += usize::from(maintain(&scene, &mut session, statement));
        }
    });
    assert!(done > 0, "nothing was maintained");
    Ending::Survived(scene.close(recorded, MAINTAINED, done))
}

/// Whether it was done: like the statements of clients it may be cancelled, or the victim of a
/// deadlock, and what comes next may miss it.
fn maintain(scene: &Scene, session: &mut Option<Session>, statement: &str) -> bool {
    if session.is_none() {
        *session = scene.try_session();
    }
    let Some(open) = session else { return false };
    let Err(failure) = open.try_run(statement) else {
        return true;
    };
    match failure.sqlstate() {
        "40P01" | "57014" | "42701" | "42703" | "42704" | "42P01" | "42P07" => {}
        "57P01" | "lost" => *session = None,
        _ => panic!("{statement}: {failure:?}"),
    }
    false
}

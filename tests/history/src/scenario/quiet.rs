//! What the server does to single sessions: cancels and ended backends as in every scenario, and the
//! limits of time that it sets to a session.

use crate::plan::Mix;
use crate::scene::{Ending, Scale, Scene, Terms};
use std::thread;

pub fn backends_ended(scale: &Scale) -> Ending {
    let scene = Scene::open(scale, &[]);
    let recorded = scene.record(Terms::USUAL, || thread::sleep(scale.length));
    assert!(
        recorded.cancelled > 0 && recorded.ended > 0,
        "PG_ONCE_SEED={}: nothing was disturbed",
        scale.seed
    );
    Ending::Survived(scene.close(recorded, Terms::USUAL, 0))
}

/// Sessions that are idle inside a transaction, have been in one for long, or do nothing are ended.
pub fn sessions_time_out(scale: &Scale) -> Ending {
    const LIMITED: Terms = Terms {
        mix: Mix {
            dawdling: true,
            ..Mix::ALL
        },
        allowed: &["25P03", "25P04", "57P05"],
        ..Terms::USUAL
    };
    const LIMITS: [(&str, &str); 3] = [
        ("idle_in_transaction_session_timeout", "40ms"),
        ("idle_session_timeout", "100ms"),
        ("transaction_timeout", "150ms"),
    ];
    let scene = Scene::open(scale, &[]);
    let mut session = scene.cluster.connect("postgres");
    let mut limits = Vec::from(LIMITS);
    if session.number("SHOW server_version_num") < 170_000 {
        limits.pop();
    }
    let database = &scene.database;
    for (limit, value) in &limits {
        session.run(&format!(
            "ALTER DATABASE {database} SET {limit} = '{value}'"
        ));
    }
    let recorded = scene.record(LIMITED, || thread::sleep(scale.length));
    session.run(&format!("ALTER DATABASE {database} RESET ALL"));
    let log = scene.cluster.log();
    let ended = LIMITED
        .allowed
        .iter()
        .map(|code| log.matches(&format!(" {code} FATAL:  ")).count());
    let ended = ended.sum();
    assert!(ended > 0, "no session took too long");
    Ending::Survived(scene.close(recorded, LIMITED, ended))
}

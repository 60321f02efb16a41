//! B2 and O1: who can keep the worker from the other databases.

use pg_once_attacks::{Actor, Scene, count, expired, own, trap};
use std::thread;
use std::time::{Duration, Instant};

/// What the owners of ten databases do at once to keep the worker for themselves; the eleventh is swept
/// nevertheless.
#[test]
fn no_database_keeps_the_worker_from_the_others() {
    let cluster = own(true);
    let hostile: &[(&str, &[&str])] = &[
        (
            "serializable",
            &["SET default_transaction_isolation = 'serializable'"],
        ),
        (
            "read only",
            &[
                "SET default_transaction_read_only = on",
                "SET default_transaction_isolation = 'repeatable read'",
            ],
        ),
        (
            "deferrable",
            &[
                "SET default_transaction_isolation = 'serializable'",
                "SET default_transaction_read_only = on",
                "SET default_transaction_deferrable = on",
            ],
        ),
        (
            "slow vacuum",
            &[
                "SET vacuum_cost_delay = '100ms'",
                "SET vacuum_cost_limit = 1",
            ],
        ),
        (
            "timeouts",
            &[
                "SET statement_timeout = 1",
                "SET lock_timeout = 1",
                "SET idle_in_transaction_session_timeout = 1",
                "SET transaction_timeout = 1",
            ],
        ),
        (
            "planner and paths",
            &[
                "SET search_path = eve, tenant, pg_catalog",
                "SET enable_seqscan = off",
                "SET enable_indexscan = off",
                "SET jit_above_cost = 0",
                "SET work_mem = '64kB'",
                "SET row_security = off",
                "SET standard_conforming_strings = off",
                "SET datestyle = 'SQL, DMY'",
                "SET intervalstyle = 'sql_standard'",
                "SET transform_null_equals = on",
                "SET quote_all_identifiers = on",
                "SET default_tablespace = ''",
                "SET role = '@landlord'",
                "SET synchronous_commit = remote_apply",
            ],
        ),
        ("no connections", &["WITH CONNECTION LIMIT 0"]),
        ("no entry", &["WITH ALLOW_CONNECTIONS false"]),
        ("an open rename", &[]),
        ("an open drop of the extension", &[]),
    ];
    let scenes: Vec<Scene> = hostile.iter().map(|_| Scene::tenants(cluster)).collect();
    let victim = Scene::tenants(cluster);
    let mut holders = Vec::new();
    let mut settings = 0;
    for ((kind, set), scene) in hostile.iter().zip(&scenes) {
        let mut landlord = scene.landlord();
        let name = &scene.database.name;
        landlord.run(&trap("public.eq(a oid, b int4)", "boolean", "true"));
        let amount = if *kind == "slow vacuum" { 20_000 } else { 500 };
        expired(&mut scene.tenant(), amount);
        let mut elsewhere = Actor::of_database(scene, "postgres");
        for setting in *set {
            // Not every version has every setting and takes every value.
            let told = elsewhere.told(&format!("ALTER DATABASE {name} {setting}"));
            assert!(
                ["00000", "42704", "0A000"].contains(&told.as_str()),
                "{setting}: {told}"
            );
            settings += 1;
        }
        match *kind {
            "deferrable" => {
                let mut open = scene.superuser();
                open.run("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SELECT count(*) FROM pg_class; SELECT pg_current_xact_id()");
                holders.push(open);
            }
            "an open rename" => {
                let mut open = Actor::of_database(scene, "postgres");
                drop(landlord);
                until_done(
                    &mut open,
                    &format!("BEGIN; ALTER DATABASE {name} RENAME TO {name}_renamed"),
                );
                holders.push(open);
            }
            "an open drop of the extension" => {
                let mut open = scene.tenant();
                open.run("BEGIN; DROP EXTENSION pg_once");
                holders.push(open);
            }
            _ => {}
        }
        settings += 1;
    }
    let mut observer = victim.superuser();
    for round in 0..2 {
        expired(&mut victim.tenant(), 500);
        let begun = Instant::now();
        while !observer.is_true("SELECT count(*) = 0 FROM once.claim") {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "round {round}: not swept after {:?}: {:?}",
                begun.elapsed(),
                observer.rows("SELECT datname, wait_event, query FROM pg_stat_activity WHERE backend_type LIKE 'pg_once%'")
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
    drop(holders);
    victim.nobody_got_in(&[]);
    // The owners drop their databases, whatever the worker does there.
    let mut admin = cluster.connect("postgres");
    for scene in &scenes {
        let name = &scene.database.name;
        let begun = Instant::now();
        let landlord = scene.named("@landlord");
        admin.run(&format!("SET ROLE {landlord}"));
        let dropped = admin.try_run(&format!("DROP DATABASE {name}"));
        admin.run("RESET ROLE");
        assert!(
            dropped.is_ok() && begun.elapsed() < Duration::from_secs(12),
            "{name}: {dropped:?} after {:?}",
            begun.elapsed()
        );
        settings += 1;
    }
    count("ways to keep the worker", settings);
}

/// Sessions that are closed are in the database for a moment still.
fn until_done(session: &mut Actor, statement: &str) {
    let begun = Instant::now();
    while session.told(statement) != "00000" {
        let _ = session.try_run("ROLLBACK");
        assert!(begun.elapsed() < Duration::from_secs(20), "{statement}");
        thread::sleep(Duration::from_millis(50));
    }
}

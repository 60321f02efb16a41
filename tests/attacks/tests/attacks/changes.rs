//! Users' tables that change under a call; the extension dropped and made again under load.

use crate::planted;
use pg_once_attacks::{Scene, count, own};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Minor 2: a user's table and its types go, or change, while a call is at it.
#[test]
fn tables_that_change_under_a_call_raise_no_internal_error() {
    let scene = Scene::superusers(own(false));
    let mut shop = scene.shop();
    let made = "DROP TABLE IF EXISTS shop.thing CASCADE; DROP DOMAIN IF EXISTS shop.odd CASCADE;
         CREATE TABLE shop.thing (id int PRIMARY KEY, k text, n int DEFAULT 0);
         INSERT INTO shop.thing SELECT n, 'k', 0 FROM generate_series(1, 5) n";
    let changes = [
        "DROP TABLE shop.thing",
        "DROP TABLE shop.thing; CREATE TABLE shop.thing (id text, k int)",
        "ALTER TABLE shop.thing DROP COLUMN k",
        "ALTER TABLE shop.thing ALTER id TYPE bigint",
        "ALTER TABLE shop.thing ADD COLUMN more jsonb DEFAULT '{}'",
        "ALTER TABLE shop.thing RENAME TO other",
        "ALTER TABLE shop.thing RENAME COLUMN k TO l",
        "ALTER TABLE shop.thing DROP CONSTRAINT thing_pkey",
        "ALTER TABLE shop.thing SET SCHEMA public",
        "ALTER TABLE shop.thing ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "TRUNCATE shop.thing",
        "CREATE RULE r AS ON INSERT TO shop.thing DO INSTEAD NOTHING",
        "ALTER TABLE shop.thing RENAME TO gone; CREATE VIEW shop.thing AS SELECT * FROM shop.gone",
    ];
    let kept = [
        "SELECT with_row_lock(NULL::shop.thing, jsonb_build_object('id', n)) FROM generate_series(1, 9) n",
        "SELECT find_or_create(NULL::shop.thing, jsonb_build_object('id', n)) FROM generate_series(1, 9) n",
        "SELECT find_or_create(NULL::shop.thing, jsonb_build_object('id', n), lock => true) FROM generate_series(1, 9) n",
        "SELECT once.find_duplicates('shop.thing', '{k}') FROM generate_series(1, 9) n",
        "SELECT once.merge_duplicates('shop.thing', '{k}') FROM generate_series(1, 9) n",
        "SELECT once.guard_plan('shop.thing', '{id}') FROM generate_series(1, 9) n",
        "SELECT l FROM generate_series(1, 9) n, LATERAL with_row_lock(NULL::shop.thing, jsonb_build_object('id', n)) l",
        "SELECT (with_row_lock(NULL::shop.thing, jsonb_build_object('id', n))).* FROM generate_series(1, 9) n",
    ];
    let mut attacks = 0;
    for change in changes {
        for call in kept {
            for way in ["cursor", "prepared", "inside"] {
                // A plan with a type that is gone is core's own XX000, before any function is called.
                if way == "prepared" && change.starts_with("DROP TABLE") {
                    continue;
                }
                shop.run("DROP VIEW IF EXISTS shop.thing; DROP TABLE IF EXISTS shop.other, shop.gone, public.thing CASCADE".split_once("; ").map_or("", |(_, tables)| tables));
                let _ = shop.try_run("DROP VIEW shop.thing CASCADE");
                shop.run(made);
                shop.run("BEGIN");
                let steps: Vec<String> = match way {
                    "cursor" => vec![
                        format!("DECLARE c CURSOR FOR {call}"),
                        "FETCH 2 FROM c".into(),
                        change.into(),
                        "FETCH ALL FROM c".into(),
                    ],
                    "prepared" => vec![
                        format!("PREPARE kept AS {call}"),
                        "EXECUTE kept".into(),
                        change.into(),
                        "EXECUTE kept".into(),
                        "ROLLBACK".into(),
                        "DEALLOCATE ALL".into(),
                    ],
                    _ => vec![
                        format!(
                            "CREATE OR REPLACE FUNCTION shop.change(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF n = 3 THEN {change}; END IF; RETURN n; END $$"
                        ),
                        call.replace(
                            "generate_series(1, 9) n",
                            "(SELECT shop.change(g) AS n FROM generate_series(1, 9) g OFFSET 0) s",
                        ),
                    ],
                };
                for step in steps {
                    let answer = shop.try_run(&step);
                    if let Err(failure) = &answer {
                        let told = failure.sqlstate();
                        assert!(
                            told != "lost" && !told.starts_with("XX"),
                            "{way}: {change}: {step}: {answer:?}"
                        );
                    }
                }
                let _ = shop.try_run("ROLLBACK");
                let _ = shop.try_run("DEALLOCATE ALL");
                attacks += 1;
            }
        }
    }
    // Triggers, defaults and domains that change the table whose row is being made.
    for (table, call) in [
        (
            "CREATE FUNCTION shop.dropping(value int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE shop.thing DROP COLUMN IF EXISTS n; RETURN true; END $$;
             CREATE DOMAIN shop.odd AS int CHECK (shop.dropping(VALUE)); CREATE TABLE shop.thing (id shop.odd PRIMARY KEY, n int)",
            "with_row_lock(NULL::shop.thing, '{\"id\": 1}')",
        ),
        (
            "CREATE FUNCTION shop.dropping() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DROP TABLE shop.thing CASCADE; RETURN 1; END $$;
             CREATE TABLE shop.thing (id int PRIMARY KEY, n int DEFAULT shop.dropping())",
            "find_or_create(NULL::shop.thing, '{\"id\": 1}')",
        ),
        (
            "CREATE FUNCTION shop.dropping() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE shop.thing DROP COLUMN n; RETURN NEW; END $$;
             CREATE TABLE shop.thing (id int PRIMARY KEY, n int); CREATE TRIGGER t BEFORE INSERT ON shop.thing FOR EACH ROW EXECUTE FUNCTION shop.dropping()",
            "with_row_lock(NULL::shop.thing, '{\"id\": 1}')",
        ),
        (
            "CREATE FUNCTION shop.dropping(value int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN DROP TABLE IF EXISTS shop.thing CASCADE; RETURN true; END $$;
             CREATE DOMAIN shop.odd AS int CHECK (shop.dropping(VALUE)); CREATE TABLE shop.thing (id int PRIMARY KEY, n shop.odd)",
            "find_or_create(NULL::shop.thing, '{\"id\": 1}', '{\"n\": 1}', lock => true)",
        ),
    ] {
        shop.run("DROP TABLE IF EXISTS shop.thing CASCADE; DROP DOMAIN IF EXISTS shop.odd CASCADE");
        let _ = shop.try_run("DROP FUNCTION shop.dropping");
        shop.run(table);
        for from in ["SELECT ", "SELECT * FROM "] {
            let answer = shop.try_run(&format!("{from}{call}"));
            if let Err(failure) = &answer {
                let told = failure.sqlstate();
                assert!(told != "lost" && !told.starts_with("XX"), "{table}: {call}: {answer:?}");
            }
            attacks += 1;
        }
        let _ = shop.try_run("DROP TABLE shop.thing CASCADE");
        let _ = shop.try_run("DROP DOMAIN shop.odd CASCADE");
        let _ = shop.try_run("DROP FUNCTION shop.dropping");
    }
    // A function that says wrongly that it may run in parallel workers.
    shop.run(
        "CREATE TABLE shop.many AS SELECT n, n % 7 AS k FROM generate_series(1, 20000) n; ALTER TABLE shop.many SET (parallel_workers = 4);
         CREATE TABLE shop.thing (id int PRIMARY KEY, n int); SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
    );
    for inner in [
        "with_row_lock(NULL::shop.thing, '{\"id\": 1}')",
        "find_or_create(NULL::shop.thing, '{\"id\": 1}')",
        "claim_once('n', 'p')",
        "claim_many('n', '{a}')",
        "begin_once('n', 'p')",
        "is_claimed('n', 'p')",
        "unclaim('n', 'p')",
        "with_lock('n', 'p')",
        "with_locks('n', '{p,q}')",
        "once.purge('n')",
        "hold_lock('n', 'p')",
        "release_lock('n', 'p')",
        "once.find_duplicates('shop.many', '{k}')",
        "once.merge_duplicates('shop.many', '{k}')",
        "once_key('a', 'b')",
        "try_claim_once('n', 'p')",
        "forget_once('n', 'p')",
        "with_payment_lock(1, 'x')",
    ] {
        shop.run(&format!(
            "CREATE OR REPLACE FUNCTION shop.wrong(k int) RETURNS text LANGUAGE plpgsql PARALLEL SAFE COST 100000 AS
             $$ DECLARE r record; BEGIN SELECT {inner} INTO r; RETURN r::text; END $$"
        ));
        let answer = shop.try_run("SELECT count(shop.wrong(k)) FROM shop.many WHERE n < 50");
        if let Err(failure) = &answer {
            let told = failure.sqlstate();
            assert!(
                told != "lost" && !told.starts_with("XX"),
                "{inner} in a parallel worker: {answer:?}"
            );
        }
        attacks += 1;
    }
    scene.nobody_got_in(&[]);
    count("tables that change under a call", attacks);
}

/// What core raises itself, before it calls any function, where a function that it has just looked up by name
/// is dropped by another session: func_get_detail, fmgr_info and others, with XX000.
const DROPPED_BEFORE_THE_CALL: &str = "cache lookup failed for function";

/// DROP EXTENSION and CREATE EXTENSION while others call.
#[test]
fn the_extension_comes_and_goes_under_load() {
    let scene = Scene::tenants(own(true));
    let mut tenant = scene.tenant();
    let over = AtomicBool::new(false);
    let rounds = 8;
    let calls: usize = thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|number| {
                let mut eve = scene.eve();
                let over = &over;
                scope.spawn(move || {
                    let mut made = 0;
                    eve.run("SET lock_timeout = '2s'");
                    while !over.load(Ordering::Relaxed) {
                        let call = planted::CALLS[(made * 7 + number * 5) % planted::CALLS.len()];
                        let answer = eve.try_run(&format!("SELECT {call}"));
                        if let Err(failure) = &answer {
                            let told = failure.sqlstate();
                            let cores = failure.message().starts_with(DROPPED_BEFORE_THE_CALL);
                            assert!(
                                told != "lost" && (cores || !told.starts_with("XX")),
                                "{call}: {answer:?}"
                            );
                        }
                        made += 1;
                        thread::sleep(Duration::from_millis(1));
                    }
                    made
                })
            })
            .collect();
        for round in 0..rounds {
            thread::sleep(Duration::from_millis(60));
            // A caller may be chosen to end a deadlock, and so may this.
            for statement in [
                "DROP EXTENSION IF EXISTS pg_once",
                "CREATE EXTENSION IF NOT EXISTS pg_once",
            ] {
                let told = tenant.told(statement);
                assert!(
                    ["00000", "40P01"].contains(&told.as_str()),
                    "{round}: {statement}: {told}"
                );
            }
        }
        over.store(true, Ordering::Relaxed);
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum()
    });
    let _ = tenant.try_run("CREATE EXTENSION IF NOT EXISTS pg_once");
    assert!(tenant.is_true("SELECT claim_once('after', 'all')"));
    scene.nobody_got_more(&[]);
    scene.server_is_whole(&[DROPPED_BEFORE_THE_CALL]);
    count("calls while the extension comes and goes", calls);
}

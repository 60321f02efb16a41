//! A2: what the worker does as a superuser in the database of somebody hostile.

use crate::planted::{self, EXPIRED};
use pg_once_attacks::{Scene, count, expired, own, payload, trap, trap_trigger};
use std::thread;
use std::time::{Duration, Instant};

/// While the worker is in the database, between two of its steps, the tables become others.
#[test]
fn the_worker_uses_no_planted_table() {
    let scene = Scene::bare(own(true));
    let mut tenant = scene.tenant();
    tenant.run(&trap("tenant.seen()", "boolean", "true"));
    tenant.run(&trap_trigger("tenant.fired"));
    tenant.run(&format!(
        "CREATE FUNCTION tenant.instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN OLD; END $$",
        payload("tenant.instead")
    ));
    let table = || planted::expected("TABLE", "");
    let forms = [
        ("triggers", format!("{}; {EXPIRED}; {}", table(), planted::triggers())),
        ("rules", format!("{}; {EXPIRED}; {}", table(), planted::rules())),
        (
            "children with triggers",
            format!(
                "{}; {}",
                planted::children(),
                "INSERT INTO tenant.child_of_claim (place_high, place_low, hash_high, hash_low, claimed_at, expires_at, ns, key)
                     VALUES (1, 2, 3, 4, now(), now() - interval '1 h', 'n', 'k');
                 CREATE TRIGGER fired BEFORE DELETE ON tenant.child_of_claim FOR EACH ROW EXECUTE FUNCTION tenant.fired()"
            ),
        ),
        ("checks and indexes", format!("{}; {EXPIRED}", planted::checks())),
        ("row security", format!("{}; {EXPIRED}; {}", table(), planted::policies())),
        (
            "views",
            format!(
                "{}; {}",
                planted::views(),
                "CREATE TRIGGER instead INSTEAD OF DELETE ON once.claim FOR EACH ROW EXECUTE FUNCTION tenant.instead();
                 CREATE TRIGGER instead INSTEAD OF DELETE ON once.work_record FOR EACH ROW EXECUTE FUNCTION tenant.instead()"
            ),
        ),
    ];
    let rounds = 12;
    let mut observer = scene.superuser();
    let sweeper = "SELECT EXISTS (SELECT FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'pg_once sweeper')";
    for round in 0..rounds {
        let (form, planted) = &forms[[0, 1, 0, 2, 0, 0, 3, 0, 4, 5, 0, 0][round]];
        tenant.run("CREATE EXTENSION IF NOT EXISTS pg_once; SELECT claim_once('x', '1')");
        // So many that a visit takes many steps: the drop comes between two of them, or before the first.
        expired(&mut tenant, 4_000);
        let begun = Instant::now();
        while !observer.is_true(sweeper) && begun.elapsed() < Duration::from_secs(6) {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(5 * round as u64));
        // A step waits for the lock, for a while; or it comes when the table is another already.
        let open = [0.0, 0.1, 0.7][round % 3];
        tenant.run(&format!(
            "BEGIN; DROP EXTENSION pg_once; CREATE SCHEMA once; {planted}; SELECT pg_sleep({open})"
        ));
        tenant.run("COMMIT");
        thread::sleep(Duration::from_millis(400));
        scene.nobody_got_in(&["@tenant"]);
        let cleared = tenant.told("DROP SCHEMA once CASCADE");
        assert_eq!(cleared, "00000", "{form}");
    }
    count("tables planted under the worker", rounds);
}

/// DROP DATABASE never fails because of the worker.
#[test]
fn a_database_that_is_swept_can_be_dropped() {
    let cluster = own(true);
    let rounds = 6;
    for round in 0..rounds {
        let scene = Scene::tenants(cluster);
        expired(&mut scene.tenant(), 3000);
        thread::sleep(Duration::from_millis(300 * round));
        let mut admin = cluster.connect("postgres");
        admin.run(&format!("SET ROLE {}", scene.named("@landlord")));
        // The sessions above are gone when the server says so.
        let begun = Instant::now();
        loop {
            match admin.try_run(&format!("DROP DATABASE {}", scene.database.name)) {
                Ok(_) => break,
                Err(failure) => assert!(
                    failure.sqlstate() == "55006" && begun.elapsed() < Duration::from_secs(6),
                    "{round}: {failure:?}"
                ),
            }
        }
        scene.server_is_whole(&[]);
    }
    count("databases dropped while they are swept", rounds as usize);
}

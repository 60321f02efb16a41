//! Two-phase commit: what a prepared transaction has claimed or locked is in
//! progress until it ends, whoever prepared it.

use pg_once_sessions::{Database, Session, database};

#[test]
fn a_committed_prepared_claim_is_won() {
    let database = database();
    let mut waiter = waiter_behind_a_prepared_claim(&database);
    finish(&database, "COMMIT");
    assert!(!waiter.answered_true());
    assert!(waiter.is_true("SELECT is_claimed('ns', 'k')"));
}

#[test]
fn a_rolled_back_prepared_claim_goes_to_the_waiter() {
    let database = database();
    let mut waiter = waiter_behind_a_prepared_claim(&database);
    finish(&database, "ROLLBACK");
    assert!(waiter.answered_true());
}

#[test]
fn a_prepared_unclaim_is_waited_for() {
    for (end, wins) in [("COMMIT", true), ("ROLLBACK", false)] {
        let database = database();
        let [mut owner, mut waiter] = database.sessions();
        assert!(owner.is_true(CLAIM));
        owner.begin();
        assert!(owner.is_true("SELECT unclaim('ns', 'k')"));
        prepare(&mut owner, &database);
        waiter.send(CLAIM);
        waiter.waits_for_a_prepared_transaction();
        finish(&database, end);
        assert_eq!(waiter.answered_true(), wins, "{end}");
    }
}

#[test]
fn the_row_of_a_prepared_transaction_is_waited_for() {
    for index in ["", "CREATE UNIQUE INDEX ON counter (key)"] {
        for made_before in [true, false] {
            for (end, n) in [("COMMIT", "1"), ("ROLLBACK", "0")] {
                let database = database();
                let [mut holder, mut waiter] = database.sessions();
                holder.run("CREATE TABLE counter (key text, n int DEFAULT 0)");
                holder.run(index);
                if made_before {
                    holder.run(TAKE);
                }
                holder.begin();
                holder.run(TAKE);
                holder.run("UPDATE counter SET n = 1");
                prepare(&mut holder, &database);

                let at_once = TAKE.replace(")", ", timeout => '0')");
                assert_eq!(waiter.rows(&at_once), [] as [Vec<_>; 0]);
                waiter.run("SET lock_timeout = '100ms'");
                waiter.refused(TAKE, "55P03");
                waiter.run("RESET lock_timeout");
                waiter.send(TAKE);
                waiter.waits_for_a_prepared_transaction();
                finish(&database, end);
                assert_eq!(waiter.answered_value(), n, "{index} {made_before} {end}");
            }
        }
    }
}

const CLAIM: &str = "SELECT claim_once('ns', 'k')";
const TAKE: &str = "SELECT n FROM with_row_lock(NULL::counter, '{\"key\": \"k\"}')";

/// A session that waits for a claim whose transaction is prepared, after it
/// gave up once.
fn waiter_behind_a_prepared_claim(database: &Database) -> Session {
    let [mut winner, mut waiter] = database.sessions();
    winner.begin();
    assert!(winner.is_true(CLAIM));
    prepare(&mut winner, database);
    waiter.run("SET lock_timeout = '100ms'");
    waiter.refused(CLAIM, "55P03");
    waiter.run("RESET lock_timeout");
    waiter.send(CLAIM);
    waiter.waits_for_a_prepared_transaction();
    waiter
}

fn prepare(session: &mut Session, database: &Database) {
    session.run(&format!("PREPARE TRANSACTION '{}'", database.name));
    session.terminate();
}

fn finish(database: &Database, end: &str) {
    database
        .session()
        .run(&format!("{end} PREPARED '{}'", database.name));
}

//! Indexes that are built concurrently by who holds a named lock, or does work, that others wait for.

use pg_once_sessions::{Database, database};

const HOLD: &str = "SELECT hold_lock('migrate', 'shop')";
const ASK: &str = "SELECT hold_lock('migrate', 'shop', '0')";
const RELEASE: &str = "SELECT release_lock('migrate', 'shop')";
const BUILD: &str = "CREATE INDEX CONCURRENTLY basket_owner ON basket (owner)";
const IS_VALID: &str =
    "SELECT indisvalid FROM pg_index WHERE indexrelid = 'basket_owner'::regclass";

/// What docs/locks.md warns of.
#[test]
fn a_statement_that_waits_and_the_holders_build_deadlock() {
    let database = with_basket();
    let [mut holder, mut waiter] = database.sessions();
    holder.run(HOLD);
    waiter.send(HOLD);
    waiter.waits_for(&holder);
    match holder.try_run(BUILD) {
        Ok(_) => drop(waiter.answered_refusal("40P01")),
        Err(failure) => {
            assert_eq!(failure.sqlstate(), "40P01");
            holder.run(RELEASE);
            assert!(waiter.answered_true());
        }
    }
}

/// The first form that docs/locks.md advises.
#[test]
fn a_client_that_asks_now_and_then_lets_the_holder_build() {
    let database = with_basket();
    let [mut holder, mut waiter] = database.sessions();
    holder.run(HOLD);
    for _ in 0..10 {
        holder.send(BUILD);
        while !holder.has_answered() {
            assert!(!waiter.is_true(ASK));
        }
        holder.answered_rows();
        assert!(holder.is_true(IS_VALID));
        holder.run("DROP INDEX basket_owner");
    }
    holder.run(RELEASE);
    assert!(waiter.is_true(ASK));
}

/// The second one.
#[test]
fn a_procedure_that_commits_lets_the_holder_build() {
    let database = with_basket();
    let [mut holder, mut waiter] = database.sessions();
    holder.run(
        "CREATE PROCEDURE hold_lock_by_and_by(ns text, key text) LANGUAGE plpgsql AS $$
         BEGIN
             WHILE NOT hold_lock(ns, key, '0') LOOP
                 COMMIT;
                 PERFORM pg_sleep(0.1);
             END LOOP;
         END
         $$",
    );
    holder.run(HOLD);
    waiter.send("CALL hold_lock_by_and_by('migrate', 'shop')");
    holder.run("SELECT pg_sleep(0.3)");
    holder.run(BUILD);
    assert!(holder.is_true(IS_VALID));
    assert!(!waiter.has_answered());
    holder.run(RELEASE);
    waiter.answered_rows();
    assert!(!holder.is_true(ASK));
}

/// No deadlock: the build goes on when the wait is over.
#[test]
fn a_begin_that_waits_delays_the_workers_build() {
    let database = with_basket();
    let [mut worker, mut waiter] = database.sessions();
    worker.run("SELECT begin_once('migrate', 'shop', '1 hour')");
    waiter.send("SELECT outcome FROM begin_once('migrate', 'shop', wait => '1 s')");
    worker.run("SELECT pg_sleep(0.3)");
    worker.run(BUILD);
    assert!(worker.is_true(IS_VALID));
    assert_eq!(waiter.answered_value(), "in_progress");
}

fn with_basket() -> Database<'static> {
    let database = database();
    database.session().run("CREATE TABLE basket (owner text)");
    database
}

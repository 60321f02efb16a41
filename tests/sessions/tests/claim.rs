//! Claims: one winner, no early false, no lost claim, duplicates that write
//! nothing.

use pg_once_sessions::history::{Client, check_claims};
use pg_once_sessions::session::{end_deadlock, first_to_answer};
use pg_once_sessions::{Barrier, Cluster, Database, Failure, Session, database};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;

/// G1, G2: of clients released together one is told true, and the others are
/// told false once it has committed.
#[test]
fn one_of_eight_clients_wins_each_key() {
    const ROUNDS: usize = 150;
    let database = database();
    let start = Instant::now();
    let barrier = Barrier::new(CLIENTS);
    let histories: Vec<_> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|_| {
            scope.spawn(|| {
                let mut client = Client::new(database.session(), start);
                let mut won = 0;
                for round in 0..ROUNDS {
                    barrier.wait();
                    client.begin("READ COMMITTED").unwrap();
                    won += usize::from(client.claim(&format!("round {round}")).unwrap());
                    client.commit().unwrap();
                }
                (won, client.into_events())
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    assert_eq!(histories.iter().map(|(won, _)| won).sum::<usize>(), ROUNDS);
    let events: Vec<_> = histories.into_iter().map(|(_, events)| events).collect();
    check_claims(&events).unwrap();
}

/// G1 without a transaction around the call.
#[test]
fn one_of_eight_clients_wins_in_autocommit() {
    const KEYS: usize = 400;
    let database = database();
    let barrier = Barrier::new(CLIENTS);
    let won: usize = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|_| {
            scope.spawn(|| {
                let mut session = database.session();
                barrier.wait();
                (0..KEYS)
                    .filter(|key| claims(&mut session, &key.to_string()))
                    .count()
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(won, KEYS);
}

/// G2.
#[test]
fn a_duplicate_waits_for_the_winners_commit() {
    let database = database();
    let [mut winner, mut duplicate] = database.sessions();
    winner.begin();
    assert!(claims(&mut winner, "k"));
    duplicate.send("SELECT claim_once('ns', 'k')");
    duplicate.waits_for(&winner);
    winner.commit();
    assert!(!duplicate.answered_true());
}

#[test]
fn the_winners_own_transaction_is_told_false_at_once() {
    let mut session = database().session();
    session.begin();
    assert!(claims(&mut session, "k"));
    assert!(!claims(&mut session, "k"));
    session.run("SAVEPOINT s");
    assert!(!claims(&mut session, "k"));
    session.commit();
    assert!(!claims(&mut session, "k"));
}

#[test]
fn other_keys_and_namespaces_do_not_wait() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    first.begin();
    assert!(claims(&mut first, "k"));
    second.run("SET statement_timeout = '10s'");
    assert!(claims(&mut second, "K"));
    assert!(claims(&mut second, "k "));
    assert!(second.is_true("SELECT claim_once('ns2', 'k')"));
    assert!(second.is_true("SELECT claim_once('n', 'sk')"));
}

/// G3.
#[test]
fn a_winner_that_rolls_back_leaves_the_claim_to_one_waiter() {
    let begin = |winner: &mut Session| winner.begin();
    hand_over(begin, Session::rollback);
}

/// G3.
#[test]
fn a_winner_that_rolls_back_to_a_savepoint_leaves_the_claim_to_one_waiter() {
    let begin = |winner: &mut Session| winner.run("BEGIN; SAVEPOINT s");
    hand_over(begin, |winner| winner.run("ROLLBACK TO s"));
}

/// G3.
#[test]
fn a_winner_whose_backend_is_ended_leaves_the_claim_to_one_waiter() {
    let begin = |winner: &mut Session| winner.begin();
    hand_over(begin, |winner| winner.terminate());
}

/// A claim that an error undid is free while its transaction is still open.
#[test]
fn a_claim_before_a_caught_error_is_free() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    first.run(
        "BEGIN;
         DO $$ BEGIN
             ASSERT claim_once('ns', 'k');
             RAISE division_by_zero;
         EXCEPTION WHEN division_by_zero THEN
         END $$",
    );
    assert!(claims(&mut second, "k"));
    first.commit();
    assert!(!claims(&mut first, "k"));
}

/// A claim in a released savepoint is the transaction's own.
#[test]
fn a_released_savepoint_keeps_its_claim() {
    let database = database();
    let [mut winner, mut duplicate] = database.sessions();
    winner.run("BEGIN; SAVEPOINT s");
    assert!(claims(&mut winner, "k"));
    winner.run("RELEASE s");
    duplicate.send(CLAIM);
    duplicate.waits_for(&winner);
    winner.commit();
    assert!(!duplicate.answered_true());
}

#[test]
fn an_expired_claim_is_taken_by_one_of_eight_clients() {
    const ROUNDS: usize = 10;
    let database = database();
    let mut first = database.session();
    for round in 0..ROUNDS {
        assert!(claims_per(&mut first, "200 ms", &round.to_string()));
        assert!(!claims_per(&mut first, "200 ms", &round.to_string()));
    }
    first.run("SELECT pg_sleep(0.25)");
    let barrier = Barrier::new(CLIENTS);
    let won: usize = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|_| {
            scope.spawn(|| {
                let mut session = database.session();
                let wins = |round: &usize| {
                    barrier.wait();
                    claims_per(&mut session, "1 hour", &round.to_string())
                };
                (0..ROUNDS).filter(wins).count()
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(won, ROUNDS);
}

#[test]
fn the_taker_of_an_expired_claim_hands_over_when_it_rolls_back() {
    let database = database();
    let [mut taker, mut next, mut last] = database.sessions();
    assert!(claims_per(&mut taker, "50 ms", "k"));
    taker.run("SELECT pg_sleep(0.1)");
    taker.begin();
    assert!(claims_per(&mut taker, "1 hour", "k"));
    next.begin();
    next.send("SELECT claim_once_per('1 hour', 'ns', 'k')");
    next.waits_for(&taker);
    taker.rollback();
    assert!(next.answered_true());
    last.send("SELECT claim_once_per('1 hour', 'ns', 'k')");
    last.waits_for(&next);
    next.commit();
    assert!(!last.answered_true());
}

#[test]
fn a_claim_without_end_takes_an_expired_one_once() {
    let database = database();
    let [mut taker, mut other] = database.sessions();
    assert!(claims_per(&mut taker, "50 ms", "k"));
    assert!(!claims(&mut taker, "k"));
    taker.run("SELECT pg_sleep(0.1)");
    taker.begin();
    assert!(claims(&mut taker, "k"));
    other.send(CLAIM);
    other.waits_for(&taker);
    taker.commit();
    assert!(!other.answered_true());
    assert!(!claims_per(&mut other, "1 ms", "k"));
}

#[test]
fn a_claimer_waits_for_an_open_unclaim_and_wins_if_it_commits() {
    let (mut owner, mut claimer) = claimer_behind_an_unclaim(&database());
    owner.commit();
    assert!(claimer.answered_true());
}

#[test]
fn a_claimer_waits_for_an_open_unclaim_and_loses_if_it_rolls_back() {
    let (mut owner, mut claimer) = claimer_behind_an_unclaim(&database());
    owner.rollback();
    assert!(!claimer.answered_true());
}

#[test]
fn of_two_unclaims_the_second_waits_and_finds_nothing() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    assert!(claims(&mut first, "k"));
    first.begin();
    assert!(first.is_true(UNCLAIM));
    second.send(UNCLAIM);
    second.waits_for(&first);
    first.commit();
    assert!(!second.answered_true());
}

/// At no time was there no committed claim.
#[test]
fn an_unclaim_that_waited_gives_back_the_newest_claim() {
    let database = database();
    let [mut first, mut second] = database.sessions();
    assert!(claims(&mut first, "k"));
    first.begin();
    assert!(first.is_true(UNCLAIM));
    assert!(claims(&mut first, "k"));
    second.send(UNCLAIM);
    second.waits_for(&first);
    first.commit();
    assert!(second.answered_true());
    assert!(!second.is_true(LOOK));
}

#[test]
fn unclaim_gives_back_the_own_claim_as_of_commit() {
    let database = database();
    let [mut own, mut other] = database.sessions();
    own.begin();
    assert!(!own.is_true(UNCLAIM));
    assert!(claims(&mut own, "k"));
    assert!(own.is_true(UNCLAIM));
    assert!(!own.is_true(UNCLAIM));
    assert!(claims(&mut own, "k"));
    own.commit();
    assert!(!claims(&mut other, "k"));
    assert!(other.is_true(UNCLAIM));
    assert!(claims(&mut own, "k"));
}

#[test]
fn unclaim_does_not_see_a_claim_that_is_not_committed() {
    let database = database();
    let [mut winner, mut other] = database.sessions();
    winner.begin();
    assert!(claims(&mut winner, "k"));
    other.run("SET statement_timeout = '10s'");
    assert!(!other.is_true(UNCLAIM));
    winner.commit();
    assert!(!claims(&mut other, "k"));
}

#[test]
fn unclaim_gives_back_an_expired_claim_with_false() {
    let mut session = database().session();
    assert!(claims_per(&mut session, "50 ms", "k"));
    session.run("SELECT pg_sleep(0.1)");
    assert!(!session.is_true(LOOK));
    assert!(!session.is_true(UNCLAIM));
    assert!(claims(&mut session, "k"));
}

#[test]
fn is_claimed_never_waits() {
    let database = database();
    let [mut holder, mut looker] = database.sessions();
    looker.run("SET lock_timeout = '1ms'");
    holder.begin();
    assert!(!looker.is_true(LOOK));
    assert!(claims(&mut holder, "k"));
    assert!(holder.is_true(LOOK));
    assert!(!looker.is_true(LOOK));
    holder.commit();
    assert!(looker.is_true(LOOK));
    holder.begin();
    assert!(holder.is_true(UNCLAIM));
    assert!(!holder.is_true(LOOK));
    assert!(looker.is_true(LOOK));
    holder.commit();
    assert!(!looker.is_true(LOOK));
}

#[test]
fn is_claimed_reads_past_an_older_snapshot() {
    let database = database();
    let [mut old, mut winner] = database.sessions();
    old.begin_at("REPEATABLE READ");
    assert!(!old.is_true(LOOK));
    assert!(claims(&mut winner, "k"));
    assert!(old.is_true(LOOK));
}

#[test]
fn is_claimed_reads_the_snapshot_under_serializable() {
    let database = database();
    let [mut old, mut winner] = database.sessions();
    old.begin_at("SERIALIZABLE");
    assert!(!old.is_true(LOOK));
    assert!(claims(&mut winner, "k"));
    assert!(!old.is_true(LOOK));
    old.commit();
    assert!(old.is_true(LOOK));
}

/// G5, on a server where nothing else happens.
#[test]
fn duplicates_write_nothing() {
    const DUPLICATES: usize = 2000;
    let cluster = Cluster::start(&["autovacuum = off"]);
    let database = cluster.database();
    let [mut session, mut observer] = database.sessions();
    assert!(claims(&mut session, "k"));
    assert!(claims_per(&mut session, "1 hour", "p"));
    let duplicate = "SELECT claim_once('ns', 'k') OR claim_once_per('1 hour', 'ns', 'p')";
    for _ in 0..10 {
        assert!(!session.is_true(duplicate));
    }
    session.run("SELECT pg_stat_force_next_flush()");
    let counted = observer.rows(WRITES);
    let next_xid = observer.number(NEXT_XID);
    let written = observer.value("SELECT pg_current_wal_insert_lsn()");

    for _ in 0..DUPLICATES {
        let told = session.rows(
            "SELECT claim_once('ns', 'k') OR claim_once_per('1 hour', 'ns', 'p'),
                    pg_current_xact_id_if_assigned()",
        );
        assert_eq!(told, [[Some("f".to_owned()), None]]);
    }
    session.begin();
    assert!(!session.is_true(duplicate));
    assert_eq!(
        session.rows("SELECT pg_current_xact_id_if_assigned()"),
        [[None]]
    );
    session.commit();

    session.run("SELECT pg_stat_force_next_flush()");
    assert_eq!(observer.rows(WRITES), counted);
    assert_eq!(observer.number(NEXT_XID), next_xid);
    let wal = observer.number(&format!("SELECT pg_current_wal_insert_lsn() - '{written}'"));
    assert!(
        wal < 8192,
        "{DUPLICATES} duplicates wrote {wal} bytes of WAL"
    );
}

/// G5: a duplicate that had to wait writes nothing either.
#[test]
fn a_duplicate_that_waited_has_no_xid() {
    let database = database();
    let [mut winner, mut duplicate] = database.sessions();
    winner.begin();
    assert!(claims(&mut winner, "k"));
    duplicate.begin();
    duplicate.send(CLAIM);
    duplicate.waits_for(&winner);
    winner.commit();
    assert!(!duplicate.answered_true());
    assert_eq!(
        duplicate.rows("SELECT pg_current_xact_id_if_assigned()"),
        [[None]]
    );
}

#[test]
fn lock_timeout_ends_the_wait_and_holds_nothing() {
    gives_up("SET lock_timeout = '100ms'", "55P03", |_| ());
}

#[test]
fn statement_timeout_ends_the_wait_and_holds_nothing() {
    gives_up("SET statement_timeout = '100ms'", "57014", |_| ());
}

#[test]
fn a_cancel_ends_the_wait_and_holds_nothing() {
    gives_up("SELECT 1", "57014", |waiter| {
        waiter.waits();
        waiter.cancel();
    });
}

#[test]
fn a_terminated_waiter_does_not_win() {
    let database = database();
    let [mut winner, mut waiter, mut other] = database.sessions();
    winner.begin();
    assert!(claims(&mut winner, "k"));
    waiter.send(CLAIM);
    waiter.waits_for(&winner);
    waiter.terminate();
    match waiter.answer() {
        Err(Failure::Refused(error)) => assert_eq!(error.code().code(), "57P01"),
        Err(Failure::Lost(_)) => {}
        Ok(rows) => panic!("a terminated session was told {rows:?}"),
    }
    winner.rollback();
    assert!(claims(&mut other, "k"));
}

/// Whoever goes away while it waits wins nothing, where the server looks after its clients.
#[test]
fn a_waiter_whose_client_has_gone_does_not_win() {
    let database = database();
    let mut winner = database.session();
    winner.begin();
    assert!(claims(&mut winner, "k"));
    let pid = waiter_that_goes_away(&database, &winner, "100ms");
    let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})");
    let mut other = database.session();
    until(&mut other, &gone);
    winner.rollback();
    assert!(!other.is_true("SELECT is_claimed('ns', 'k')"));
    assert!(claims(&mut other, "k"));
}

/// Where it does not, and by default it does not, such a waiter wins and nobody is told. Its owner, who
/// asks again, is.
#[test]
fn a_waiter_whose_client_has_gone_unnoticed_wins_for_its_owner() {
    let database = database();
    let mut winner = database.session();
    winner.begin();
    assert!(claims(&mut winner, "k"));
    waiter_that_goes_away(&database, &winner, "0");
    winner.rollback();
    let mut other = database.session();
    until(&mut other, "SELECT is_claimed('ns', 'k')");
    assert!(!claims(&mut other, "k"));
    let mut ask = |owner: &str| {
        other.value(&format!(
            "SELECT try_claim_once('ns', 'k', owner => '{owner}')"
        ))
    };
    assert_eq!(ask("someone"), "duplicate");
    assert_eq!(ask("gone"), "won");
}

#[test]
fn opposite_orders_deadlock_and_the_survivor_proceeds() {
    let database = database();
    let mut pair: [Session; 2] = database.sessions();
    for (session, key) in pair.iter_mut().zip(["a", "b"]) {
        session.begin();
        assert!(claims(session, key));
    }
    pair[0].send("SELECT claim_once('ns', 'b')");
    pair[0].waits();
    pair[1].send("SELECT claim_once('ns', 'a')");
    let (mut survivor, won, mut victim) = end_deadlock(pair);
    assert_eq!(won, [[Some("t".to_owned())]]);
    survivor.commit();
    victim.rollback();
    assert!(!claims(&mut victim, "a"));
    assert!(!claims(&mut victim, "b"));
}

/// SERIALIZABLE: a claim newer than the snapshot is no false, since the
/// transaction cannot see what was committed with it.
#[test]
fn a_newer_claim_fails_a_serializable_transaction() {
    let database = database();
    let [mut old, mut winner] = database.sessions();
    old.begin_at("SERIALIZABLE");
    old.run("SELECT count(*) FROM pg_class");
    assert!(claims(&mut winner, "k"));
    assert!(old.refused(CLAIM, "40001").hint().is_some());
    old.rollback();
    old.begin_at("SERIALIZABLE");
    assert!(!claims(&mut old, "k"));
    old.commit();
}

/// SERIALIZABLE: false is a read of the claim. Who reads what the other
/// writes, both ways, must not commit.
#[test]
fn false_counts_as_a_read_under_serializable() {
    let database = database();
    let [mut loser, mut owner] = database.sessions();
    owner.run("CREATE TABLE done (what text)");
    assert!(claims(&mut owner, "k"));
    loser.begin_at("SERIALIZABLE");
    owner.begin_at("SERIALIZABLE");
    assert!(!claims(&mut loser, "k"));
    assert_eq!(owner.number("SELECT count(*) FROM done"), 0);
    assert!(owner.is_true(UNCLAIM));
    let told = [
        loser.try_run("INSERT INTO done VALUES ('relied on the claim'); COMMIT"),
        owner.try_run("COMMIT"),
    ];
    let refused = Vec::from_iter(told.iter().filter_map(|told| told.as_ref().err()));
    assert!(
        matches!(refused[..], [failure] if failure.sqlstate() == "40001"),
        "expected one 40001: {told:?}"
    );
}

const CLAIM: &str = "SELECT claim_once('ns', 'k')";
const UNCLAIM: &str = "SELECT unclaim('ns', 'k')";
const LOOK: &str = "SELECT is_claimed('ns', 'k')";

const NEXT_XID: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())";

/// What the server counts of writes to the extension's tables, and their size.
const WRITES: &str = "
    SELECT relname, n_tup_ins, n_tup_upd, n_tup_del, n_dead_tup,
           pg_total_relation_size(relid)
    FROM pg_stat_user_tables WHERE schemaname = 'once' ORDER BY relname";

fn claims(session: &mut Session, key: &str) -> bool {
    session.is_true(&format!("SELECT claim_once('ns', '{key}')"))
}

fn claims_per(session: &mut Session, period: &str, key: &str) -> bool {
    session.is_true(&format!("SELECT claim_once_per('{period}', 'ns', '{key}')"))
}

/// Three sessions wait for a winner that gives its claim up: one of them is
/// told true, and the others false once that one has committed.
fn hand_over(begin: fn(&mut Session), give_up: fn(&mut Session)) {
    let database = database();
    let mut winner = database.session();
    begin(&mut winner);
    assert!(claims(&mut winner, "k"));
    let mut waiters: [Session; 3] = database.sessions();
    for waiter in &mut waiters {
        waiter.begin();
        waiter.send(CLAIM);
        waiter.waits_for(&winner);
    }
    give_up(&mut winner);
    let next = first_to_answer(&mut waiters);
    let mut others = Vec::from(waiters);
    let mut taker = others.remove(next);
    assert!(taker.answered_true());
    for other in &mut others {
        other.waits_for(&taker);
    }
    taker.commit();
    for mut other in others {
        assert!(!other.answered_true());
    }
}

/// A client that claims with the owner "gone", waits for this winner, and is killed. Its backend looks after it
/// this often.
fn waiter_that_goes_away(database: &Database, winner: &Session, interval: &str) -> String {
    let mut client = database
        .cluster
        .client_command("psql")
        .env(
            "PGOPTIONS",
            format!("-c client_connection_check_interval={interval}"),
        )
        .env("PGAPPNAME", "goes away")
        .args(["-X", "-U", "postgres", "-d", &database.name, "-c"])
        .arg("SELECT try_claim_once('ns', 'k', NULL, owner => 'gone')")
        .spawn()
        .unwrap();
    let mut observer = database.session();
    let waiting = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'goes away'
                            AND datname = current_database() AND {} = ANY (pg_blocking_pids(pid)))",
        winner.pid()
    );
    until(&mut observer, &waiting);
    let pid = observer.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'goes away' AND datname = current_database()");
    client.kill().unwrap();
    client.wait().unwrap();
    pid
}

fn until(session: &mut Session, holds: &str) {
    session.wait_until(holds, Duration::from_secs(20));
}

fn claimer_behind_an_unclaim(database: &Database) -> (Session, Session) {
    let [mut owner, mut claimer] = database.sessions();
    assert!(claims(&mut owner, "k"));
    owner.begin();
    assert!(owner.is_true(UNCLAIM));
    claimer.send(CLAIM);
    claimer.waits_for(&owner);
    (owner, claimer)
}

/// A waiter ends its wait with this SQLSTATE, keeps what its transaction had,
/// and holds nothing of what it waited for.
fn gives_up(setting: &str, sqlstate: &str, disturb: fn(&mut Session)) {
    let database = database();
    let [mut winner, mut waiter, mut other] = database.sessions();
    winner.begin();
    assert!(claims(&mut winner, "k"));

    waiter.run(setting);
    waiter.send(CLAIM);
    disturb(&mut waiter);
    waiter.answered_refusal(sqlstate);
    assert_eq!(waiter.locks(), [] as [Vec<Option<String>>; 0]);

    waiter.begin();
    assert!(claims(&mut waiter, "own"));
    waiter.run("SAVEPOINT s");
    waiter.send(CLAIM);
    disturb(&mut waiter);
    waiter.answered_refusal(sqlstate);
    waiter.refused(CLAIM, "25P02");
    waiter.run("ROLLBACK TO s");

    winner.rollback();
    assert!(claims(&mut other, "k"));
    waiter.commit();
    assert!(!claims(&mut other, "own"));
}

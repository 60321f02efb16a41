//! `try_claim_once`: three answers, its timeout, and the owner who may ask again.

use pg_once_sessions::{Barrier, Cluster, Database, Session, database};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;

/// Longer than any bounded call takes, also on a busy machine.
const SOON: Duration = Duration::from_secs(8);

const TRY: &str = "SELECT try_claim_once('ns', 'k')";
const WAIT: &str = "SELECT try_claim_once('ns', 'k', '60 s')";
const CLAIM: &str = "SELECT claim_once('ns', 'k')";

/// G2, G3: whoever has claimed and not committed decides later. Until then the others are told so
/// at once.
#[test]
fn an_open_claim_is_in_progress_until_it_is_decided() {
    let database = database();
    for (end, answer) in [("COMMIT", "duplicate"), ("ROLLBACK", "won")] {
        let [mut winner, mut other] = database.sessions();
        winner.run("DELETE FROM once.claim");
        winner.begin();
        assert_eq!(winner.value(TRY), "won");
        assert_eq!(winner.value(TRY), "duplicate");
        other.begin();
        for _ in 0..3 {
            assert_eq!(other.value(TRY), "in_progress");
        }
        winner.run(end);
        assert_eq!(other.value(TRY), answer);
        other.commit();
        assert_eq!(winner.value(TRY), "duplicate");
    }
}

/// G2, G3 with a wait: the answer is that of the decision, and comes with it.
#[test]
fn within_its_timeout_it_waits_for_the_decision() {
    let database = database();
    for timeout in ["'60 s'", "NULL"] {
        for (end, answer) in [("COMMIT", "duplicate"), ("ROLLBACK", "won")] {
            let [mut winner, mut other] = database.sessions();
            winner.run("DELETE FROM once.claim");
            winner.begin();
            assert_eq!(winner.value(TRY), "won");
            other.send(&format!("SELECT try_claim_once('ns', 'k', {timeout})"));
            other.waits_for(&winner);
            winner.run(end);
            assert_eq!(other.answered_value(), answer);
        }
    }
}

/// A claim that is being given back, taken over, or prepared is as undecided as a new one.
#[test]
fn every_open_change_is_in_progress() {
    let database = database();
    let expired = "SELECT claim_once_per('1 ms', 'ns', 'k'), pg_sleep(0.01)";
    for (before, change, committed, rolled_back) in [
        ("SELECT", CLAIM, "duplicate", "won"),
        ("SELECT", TRY, "duplicate", "won"),
        (
            "SELECT",
            "SELECT claim_many('ns', '{a,k,z}')",
            "duplicate",
            "won",
        ),
        (
            "SELECT",
            "SELECT claim_once_per('1 hour', 'ns', 'k')",
            "duplicate",
            "won",
        ),
        (CLAIM, "SELECT unclaim('ns', 'k')", "won", "duplicate"),
        (
            CLAIM,
            "SELECT unclaim('ns', 'k'), claim_once('ns', 'k')",
            "duplicate",
            "duplicate",
        ),
        (expired, CLAIM, "duplicate", "won"),
        (expired, TRY, "duplicate", "won"),
        (
            expired,
            "SELECT claim_many('ns', '{a,k,z}')",
            "duplicate",
            "won",
        ),
    ] {
        for (end, answer) in [
            ("COMMIT", committed),
            ("ROLLBACK", rolled_back),
            (
                "PREPARE TRANSACTION 'open'; COMMIT PREPARED 'open'",
                committed,
            ),
            (
                "PREPARE TRANSACTION 'open'; ROLLBACK PREPARED 'open'",
                rolled_back,
            ),
        ] {
            let [mut changer, mut other] = database.sessions();
            changer.run("DELETE FROM once.claim");
            changer.run(before);
            changer.begin();
            changer.run(change);
            assert_eq!(other.value(TRY), "in_progress", "{before}; {change}");
            for step in end.split("; ") {
                assert_eq!(other.value(TRY), "in_progress", "{before}; {change}");
                changer.run(step);
            }
            assert_eq!(other.value(TRY), answer, "{before}; {change}; {end}");
        }
    }
}

/// G8.
#[test]
fn a_timeout_is_an_answer_and_leaves_nothing() {
    const SETTINGS: &str = "SELECT name, setting FROM pg_settings WHERE name LIKE '%timeout'";
    let database = database();
    let [mut winner, mut other, mut third] = database.sessions();
    winner.begin();
    winner.run(CLAIM);
    other.run("CREATE TEMPORARY TABLE mark (n int)");
    let settings = other.rows(SETTINGS);
    other.begin();
    for timeout in ["0", "20 ms", "300 ms"] {
        let started = Instant::now();
        let told = other.rows(&format!(
            "SELECT try_claim_once('ns', 'k', '{timeout}', '1 hour', 'me'),
                    pg_current_xact_id_if_assigned()"
        ));
        assert_eq!(told, [[Some("in_progress".to_owned()), None]]);
        assert!(started.elapsed() < SOON);
    }
    assert_eq!(other.locks(), Vec::<Vec<Option<String>>>::new());
    assert_eq!(other.rows(SETTINGS), settings);
    winner.rollback();
    // The transaction that was told stands in nobody's way, and goes on.
    assert_eq!(third.value(TRY), "won");
    other.run("INSERT INTO mark VALUES (1)");
    other.commit();
    assert_eq!(other.number("SELECT count(*) FROM mark"), 1);
}

/// The caller's own shorter timeouts raise.
#[test]
fn shorter_timeouts_of_the_caller_raise() {
    let database = database();
    let [mut winner, mut other] = database.sessions();
    winner.begin();
    winner.run(CLAIM);
    for timeout in ["'60 s'", "NULL"] {
        let call = format!("SELECT try_claim_once('ns', 'k', {timeout})");
        other.run("SET lock_timeout = '20ms'; SET statement_timeout = 0");
        other.refused(&call, "55P03");
        other.run("SET lock_timeout = 0; SET statement_timeout = '20ms'");
        other.refused(&call, "57014");
    }
    other.run("SET statement_timeout = 0");
    other.send(WAIT);
    other.waits_for(&winner);
    other.cancel();
    other.answered_refusal("57014");
    assert_eq!(other.value(TRY), "in_progress");
    winner.commit();
    assert_eq!(other.value(WAIT), "duplicate");
}

/// A lock on the whole table bounds no less.
#[test]
fn a_locked_table_is_waited_for_within_the_timeout() {
    let database = database();
    let [mut locker, mut other] = database.sessions();
    locker.run("BEGIN; LOCK TABLE once.claim");
    let started = Instant::now();
    assert_eq!(other.value(TRY), "in_progress");
    assert_eq!(
        other.value("SELECT try_claim_once('ns', 'k', '50 ms')"),
        "in_progress"
    );
    assert!(started.elapsed() < SOON);
    other.send(WAIT);
    other.waits_for(&locker);
    locker.commit();
    assert_eq!(other.answered_value(), "won");
}

/// G5: neither a duplicate nor an undecided claim writes anything, on a server where nothing else
/// happens.
#[test]
fn what_is_not_won_writes_nothing() {
    const CALLS: usize = 500;
    const NEXT_XID: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    const WRITES: &str = "SELECT n_tup_ins, n_tup_upd, n_tup_del, n_dead_tup,
                                 pg_total_relation_size(relid)
                          FROM pg_stat_user_tables WHERE relid = 'once.claim'::regclass";
    let cluster = Cluster::start(&["autovacuum = off"]);
    let database = cluster.database();
    let [mut winner, mut caller, mut observer] = database.sessions();
    winner.run("SELECT try_claim_once('ns', 'mine', owner => 'me'), try_claim_once('ns', 'other')");
    winner.begin();
    winner.run(CLAIM);
    let calls = "SELECT try_claim_once('ns', 'mine', owner => 'me'),
                        try_claim_once('ns', 'other', '1 s', '1 hour', 'me'),
                        try_claim_once('ns', 'k'),
                        pg_current_xact_id_if_assigned()";
    let right = ["won", "duplicate", "in_progress"].map(|told| Some(told.to_owned()));
    for _ in 0..10 {
        caller.run(calls);
    }
    caller.run("SELECT pg_stat_force_next_flush()");
    winner.run("SELECT pg_stat_force_next_flush()");
    let counted = observer.rows(WRITES);
    let next_xid = observer.number(NEXT_XID);
    let written = observer.value("SELECT pg_current_wal_insert_lsn()");
    for _ in 0..CALLS {
        let told = caller.rows(calls);
        assert_eq!(told[0][..3], right);
        assert_eq!(told[0][3], None);
    }
    caller.run("SELECT pg_stat_force_next_flush()");
    assert_eq!(observer.rows(WRITES), counted);
    assert_eq!(observer.number(NEXT_XID), next_xid);
    let wal = observer.number(&format!("SELECT pg_current_wal_insert_lsn() - '{written}'"));
    assert!(wal < 8192, "{CALLS} calls wrote {wal} bytes of WAL");
}

/// A client that lost the answer to its COMMIT asks again, on another connection.
#[test]
fn the_owner_of_a_committed_claim_has_won_again() {
    let database = database();
    let [mut first, mut again] = database.sessions();
    let ask = "SELECT try_claim_once('ns', 'k', owner => 'worker 7')";
    first.begin();
    assert_eq!(first.value(ask), "won");
    // Until it is committed nobody has won, not even the owner.
    assert_eq!(again.value(ask), "in_progress");
    first.commit();
    first.terminate();
    let row = again.rows("SELECT xmin, ctid, claim FROM once.claim");
    for _ in 0..3 {
        assert_eq!(again.value(ask), "won");
    }
    assert_eq!(
        again.value("SELECT try_claim_once('ns', 'k', owner => 'worker 8')"),
        "duplicate"
    );
    assert_eq!(again.value(TRY), "duplicate");
    assert!(!again.is_true(CLAIM));
    assert_eq!(again.rows("SELECT xmin, ctid, claim FROM once.claim"), row);
    // Given back and made by another, it is that one's.
    assert!(again.is_true("SELECT unclaim('ns', 'k')"));
    assert_eq!(
        again.value("SELECT try_claim_once('ns', 'k', owner => 'worker 8')"),
        "won"
    );
    assert_eq!(again.value(ask), "duplicate");
}

/// The owner's claim that is being given back is undecided for the owner too.
#[test]
fn an_open_unclaim_is_in_progress_for_the_owner() {
    let database = database();
    let [mut remover, mut owner] = database.sessions();
    let ask = "SELECT try_claim_once('ns', 'k', owner => 'me')";
    assert_eq!(owner.value(ask), "won");
    remover.begin();
    assert!(remover.is_true("SELECT unclaim('ns', 'k')"));
    assert_eq!(owner.value(ask), "in_progress");
    remover.rollback();
    assert_eq!(owner.value(ask), "won");
}

/// G1: of clients that ask until they know, one wins each key, though some winners roll back.
#[test]
fn one_of_eight_clients_that_poll_wins_each_key() {
    const ROUNDS: usize = 100;
    let database = database();
    let barrier = Barrier::new(CLIENTS);
    let won: Vec<usize> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|client| {
            let (database, barrier) = (&database, &barrier);
            scope.spawn(move || {
                let mut session = database.session();
                let wins = |round: &usize| {
                    barrier.wait();
                    poll(&mut session, *round, client)
                };
                (0..ROUNDS).filter(wins).count()
            })
        }));
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    assert_eq!(won.iter().sum::<usize>(), ROUNDS, "{won:?}");
    one_row_each(&database, ROUNDS);
}

/// Whether this client has won the round's key for good. The first time it wins, every third
/// client changes its mind.
fn poll(session: &mut Session, round: usize, client: usize) -> bool {
    let mut gives_up = (round + client).is_multiple_of(3);
    let timeout = ["0", "1 ms", "50 ms"][client % 3];
    loop {
        session.begin();
        let answer = session.value(&format!(
            "SELECT try_claim_once('ns', 'round {round}', '{timeout}', '1 hour', 'client {client}')"
        ));
        match (answer.as_str(), gives_up) {
            ("won", true) => {
                gives_up = false;
                session.rollback();
            }
            (answer, _) => {
                session.commit();
                match answer {
                    "won" => return true,
                    "duplicate" => return false,
                    "in_progress" => thread::sleep(Duration::from_millis(1)),
                    other => panic!("{other}"),
                }
            }
        }
    }
}

fn one_row_each(database: &Database, rows: usize) {
    let mut session = database.session();
    session.run("SET enable_indexscan = off; SET enable_indexonlyscan = off");
    session.run("SET enable_bitmapscan = off");
    let counted = session.rows("SELECT count(*), count(DISTINCT (ns, key)) FROM once.claim");
    let rows = Some(rows.to_string());
    assert_eq!(counted, [[rows.clone(), rows]]);
}

//! Claims beside REINDEX CONCURRENTLY, which puts one index in the place of another: sessions differ in
//! which one decides, and so in which one they insert first.

use pg_once_interleavings::stage::{Place, Stage};
use pg_once_sessions::Cluster;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// One session has the key in the old index and not yet in the new one. Another one, for which the new index
/// decides, has it there and meets the first in the old one.
#[test]
fn two_sessions_that_decide_by_different_indexes_have_one_winner() {
    let cluster = Cluster::start(&["autovacuum = off"]);
    let database = cluster.database();
    let mut stage = Stage::open(&database, 2);
    stage.attach(&["insert"]);

    // The new index is complete, and waits for an old snapshot to become valid.
    let mut snapshot = database.session();
    snapshot.begin_at("REPEATABLE READ");
    snapshot.rows("SELECT 1");
    let mut reindex = database.session();
    reindex.send("REINDEX INDEX CONCURRENTLY once.claim_pkey");
    reindex.waits_for(&snapshot);
    // So that later snapshots are not waited for.
    stage.observer.run("SELECT pg_current_xact_id()");

    stage.send(0, "BEGIN; SELECT claim_once('reindex', 'k')");
    assert!(matches!(stage.places[0], Place::Point(_)));
    stage.wake(0);
    assert!(
        matches!(stage.places[0], Place::Point(_)),
        "it inserts into two indexes"
    );

    snapshot.rollback();
    let is_swapped = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'claim_pkey_ccold')";
    stage.observer.wait_until(is_swapped, PATIENCE);

    stage.send(1, "BEGIN; SELECT claim_once('reindex', 'k')");
    while let Place::Point(_) = stage.places[1] {
        stage.wake(1);
    }
    assert_eq!(stage.places[1], Place::Blocked, "it waits for the first");

    stage.wake(0);
    assert_eq!(stage.places[0], Place::Answered("t".to_owned()));
    assert_eq!(stage.places[1], Place::Blocked, "it still waits");
    stage.end(0, "COMMIT");
    assert_eq!(stage.places[1], Place::Answered("f".to_owned()));
    stage.end(1, "COMMIT");
    reindex.answered_rows();
}

//! Duplicates are merged and made impossible while the table is in use.

use pg_once_sessions::{Cluster, Database, Rows, Session, database};

const MERGE: &str = "SELECT key->>'k', kept->>'id', removed, references_moved
     FROM once.merge_duplicates('doc', '{k}', dry_run => false)";

/// A table with one pair of duplicates, 1 and 2, and a table that points at it by a foreign key
/// that deletes.
fn pair(database: &Database) -> Session {
    let mut session = database.session();
    session.run(
        "CREATE TABLE doc (id int PRIMARY KEY, k text, v int DEFAULT 0);
         CREATE TABLE part (id int PRIMARY KEY, doc int REFERENCES doc ON DELETE CASCADE);
         INSERT INTO doc VALUES (1, 'a'), (2, 'a'), (3, 'b')",
    );
    session
}

/// With and without an index that finds the rows of a key.
fn in_both_ways(test: impl Fn(&Database, Session)) {
    for index in ["", "CREATE INDEX ON doc (k)"] {
        let database = database();
        let mut session = pair(&database);
        session.run(index);
        test(&database, session);
    }
}

fn row(values: &[&str]) -> Vec<Option<String>> {
    values
        .iter()
        .map(|value| Some((*value).to_owned()))
        .collect()
}

fn ids(session: &mut Session) -> Rows {
    session.rows("SELECT id FROM doc ORDER BY id")
}

/// What a holder of the row has written is what is archived.
#[test]
fn merging_waits_for_the_rows_and_reads_them_again() {
    in_both_ways(|database, mut merger| {
        let mut holder = database.session();
        holder.run("BEGIN; UPDATE doc SET v = 7 WHERE id = 2");
        merger.send(MERGE);
        merger.waits_for(&holder);
        holder.commit();
        assert_eq!(merger.answered_rows(), [row(&["a", "1", "1", "0"])]);
        assert_eq!(
            merger.number("SELECT (removed->'v')::int FROM once.merged_rows"),
            7
        );
    });
}

#[test]
fn a_row_that_is_gone_or_has_another_key_meanwhile_is_no_duplicate() {
    for change in [
        "DELETE FROM doc WHERE id = 2",
        "UPDATE doc SET k = 'c' WHERE id = 2",
    ] {
        in_both_ways(|database, mut merger| {
            let mut holder = database.session();
            holder.run(&format!("BEGIN; {change}"));
            merger.send(MERGE);
            merger.waits_for(&holder);
            holder.commit();
            assert_eq!(merger.answered_rows(), Rows::new(), "{change}");
            assert_eq!(merger.number("SELECT count(*) FROM once.merged_rows"), 0);
        });
    }
}

/// The kept row is chosen by what the rows are once they are locked.
#[test]
fn the_newest_is_the_newest_under_the_lock() {
    in_both_ways(|database, mut merger| {
        let mut holder = database.session();
        merger.run("INSERT INTO doc VALUES (4, 'a', 5)");
        holder.run("BEGIN; UPDATE doc SET v = 9 WHERE id = 1");
        merger.send(
            "SELECT kept->>'id', removed
             FROM once.merge_duplicates('doc', '{k}', 'newest', false, 'v')",
        );
        merger.waits_for(&holder);
        holder.commit();
        assert_eq!(merger.answered_rows(), [row(&["1", "2"])]);
    });
}

/// Rows that are told apart by their place are found again where an UPDATE has put them.
#[test]
fn rows_without_a_primary_key_are_followed() {
    let database = database();
    let [mut merger, mut holder] = database.sessions();
    merger.run(
        "CREATE TABLE log (at int, k text); INSERT INTO log VALUES (1, 'a'), (2, 'a'), (3, 'a')",
    );
    holder.run("BEGIN; UPDATE log SET at = 0 WHERE at = 3");
    merger.send(
        "SELECT kept->>'at', removed
         FROM once.merge_duplicates('log', '{k}', dry_run => false, order_by => 'at')",
    );
    merger.waits_for(&holder);
    holder.commit();
    assert_eq!(merger.answered_rows(), [row(&["0", "2"])]);
    assert_eq!(merger.rows("SELECT at FROM log"), [row(&["0"])]);
}

/// What is inserted while rows are waited for is merged where the rows are looked for by their
/// key again, and else left for the next call; it is never lost.
#[test]
fn plain_inserts_go_on_and_lose_nothing() {
    in_both_ways(|database, mut merger| {
        let [mut holder, mut other] = database.sessions();
        holder.run("BEGIN; UPDATE doc SET v = 7 WHERE id = 1");
        merger.begin();
        merger.send(MERGE);
        merger.waits_for(&holder);
        other.run("INSERT INTO doc VALUES (9, 'a')");
        holder.commit();
        assert_eq!(merger.answered_rows().len(), 1);
        other.run("INSERT INTO doc VALUES (10, 'a')");
        merger.commit();
        let whole = "SELECT (SELECT count(*) FROM doc) + (SELECT count(*) FROM once.merged_rows)";
        assert_eq!(merger.number(whole), 5);
        merger.run(MERGE);
        assert_eq!(ids(&mut merger), [row(&["1"]), row(&["3"])]);
        assert_eq!(merger.number(whole), 5);
    });
}

/// G6: callers of the row functions are kept out until the merge commits.
#[test]
fn callers_of_the_row_functions_wait_for_the_merge() {
    in_both_ways(|database, mut merger| {
        let mut caller = database.session();
        caller.run("SELECT once_key('x'); SET pg_once.duplicate_rows = 'first'");
        merger.begin();
        assert_eq!(merger.rows(MERGE).len(), 1);
        let take = |timeout| {
            format!(
                "SELECT id FROM with_row_lock(NULL::doc, '{{\"k\": \"a\"}}', timeout => {timeout})"
            )
        };
        assert_eq!(caller.rows(&take("'0'")), Rows::new());
        caller.send(&take("NULL"));
        caller.waits_for(&merger);
        merger.commit();
        assert_eq!(caller.answered_rows(), [row(&["1"])]);
    });
}

/// The merge takes its turn behind a caller that creates the row.
#[test]
fn merging_waits_for_an_open_turn() {
    in_both_ways(|database, mut merger| {
        let [mut caller, mut other] = database.sessions();
        caller.run("BEGIN; SELECT with_row_lock(NULL::doc, '{\"k\": \"n\"}', '{\"id\": 20}')");
        other.run("INSERT INTO doc VALUES (21, 'n'), (22, 'n'); DELETE FROM doc WHERE id = 2");
        merger.send(MERGE);
        merger.waits_for(&caller);
        caller.commit();
        merger.answered_rows();
        merger.run(MERGE);
        assert_eq!(merger.number("SELECT count(*) FROM doc WHERE k = 'n'"), 1);
    });
}

/// A child that is on its way is waited for and moved; one that comes later finds no parent, and
/// nothing is lost by ON DELETE CASCADE.
#[test]
fn children_that_come_meanwhile_are_neither_lost_nor_orphaned() {
    in_both_ways(|database, mut merger| {
        let [mut early, mut late] = database.sessions();
        early.run("BEGIN; INSERT INTO part VALUES (1, 2)");
        merger.begin();
        merger.send(MERGE);
        merger.waits_for(&early);
        early.commit();
        assert_eq!(merger.answered_rows(), [row(&["a", "1", "1", "1"])]);
        late.send("INSERT INTO part VALUES (2, 2)");
        late.waits_for(&merger);
        merger.commit();
        late.answered_refusal("23503");
        assert_eq!(merger.rows("TABLE part"), [row(&["1", "1"])]);
    });
}

#[test]
fn a_child_that_waits_for_a_merge_that_is_rolled_back_is_inserted() {
    in_both_ways(|database, mut merger| {
        let mut late = database.session();
        merger.begin();
        merger.run(MERGE);
        late.send("INSERT INTO part VALUES (2, 2)");
        late.waits_for(&merger);
        merger.rollback();
        late.answered_rows();
        assert_eq!(merger.rows(MERGE), [row(&["a", "1", "1", "1"])]);
    });
}

/// A child with a deferred foreign key is not seen to come; its COMMIT is refused.
#[test]
fn a_deferred_child_is_refused_at_commit() {
    in_both_ways(|database, mut merger| {
        let mut child = database.session();
        merger.run("CREATE TABLE late (doc int REFERENCES doc ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)");
        child.run("BEGIN; INSERT INTO late VALUES (2)");
        assert_eq!(merger.rows(MERGE).len(), 1);
        child.refused("COMMIT", "23503");
    });
}

/// Up to PostgreSQL 17 a foreign key compares by the collation of the column that it points at,
/// and a child may be written in another way than its parent. A server without ICU has no such
/// collation.
#[test]
fn children_that_are_written_in_another_way_are_moved() {
    let database = database();
    let mut session = database.session();
    let made = session.try_run(
        "CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    );
    if let Err(failure) = made {
        assert_eq!(failure.sqlstate(), "0A000", "{failure:?}");
        return;
    }
    session.run(
        "CREATE TABLE book (isbn text COLLATE caseless PRIMARY KEY, k int);
         INSERT INTO book VALUES ('a', 1), ('b', 1)",
    );
    let child = "CREATE TABLE loan (isbn text COLLATE \"C\" REFERENCES book ON DELETE CASCADE)";
    if session.number("SELECT current_setting('server_version_num')::int / 10000") >= 18 {
        session.refused(child, "42P21");
        return;
    }
    session.run(child);
    session.run("INSERT INTO loan VALUES ('B')");
    assert_eq!(
        session.rows(
            "SELECT removed, references_moved
             FROM once.merge_duplicates('book', '{k}', dry_run => false)"
        ),
        [row(&["1", "1"])]
    );
    assert_eq!(session.rows("TABLE loan"), [row(&["a"])]);
}

/// A child that the snapshot does not show would be deleted by the cascade.
#[test]
fn newer_children_fail_a_repeatable_read_merge() {
    for action in ["CASCADE", "RESTRICT", "SET NULL"] {
        in_both_ways(|database, mut merger| {
            let mut other = database.session();
            merger.run(&format!(
                "CREATE TABLE newer (doc int REFERENCES doc ON DELETE {action})"
            ));
            merger.begin_at("REPEATABLE READ");
            merger.run("SELECT 1");
            other.run("INSERT INTO newer VALUES (2)");
            merger.refused(MERGE, "40001");
            merger.rollback();
            assert_eq!(merger.rows("TABLE newer"), [row(&["2"])]);
            merger.begin_at("REPEATABLE READ");
            assert_eq!(merger.rows(MERGE).len(), 1);
            merger.commit();
        });
    }
}

/// Two merges at once: each group is merged by one of them.
#[test]
fn merges_at_once_share_the_groups() {
    in_both_ways(|database, mut merger| {
        let mut other = database.session();
        merger.run("INSERT INTO doc SELECT i, 'k' || i % 50 FROM generate_series(100, 300) i");
        merger.begin();
        let first = merger.rows(MERGE).len();
        other.send(MERGE);
        other.waits_for(&merger);
        merger.commit();
        assert_eq!((first, other.answered_rows().len()), (51, 0));
        assert_eq!(
            merger.number("SELECT count(*) - count(DISTINCT k) FROM doc"),
            0
        );
    });
}

/// Thousands of groups in one transaction need no entries of the shared lock table.
#[test]
fn many_groups_do_not_exhaust_the_lock_table() {
    let cluster = Cluster::start(&["max_locks_per_transaction = 10", "max_connections = 20"]);
    let database = cluster.database();
    let mut merger = pair(&database);
    merger.run(
        "CREATE INDEX ON part (doc); CREATE INDEX ON doc (k);
         INSERT INTO doc SELECT 100 + i, 'k' || i % 3000 FROM generate_series(1, 6000) i",
    );
    merger.begin();
    let merged = "SELECT count(*) FROM once.merge_duplicates('doc', '{k}', dry_run => false)";
    assert_eq!(merger.number(merged), 3001);
    let held =
        "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'";
    assert_eq!(merger.number(held), 0);
    merger.commit();
    assert_eq!(merger.number("SELECT count(*) FROM once.merged_rows"), 3001);
}

/// With a condition a merge takes the turn of the key and the condition together, and waits for the turn
/// of the key alone: whoever is creating a row in one of them is waited for.
#[test]
fn merging_with_a_condition_waits_for_open_turns_of_both_sets_of_columns() {
    for key in ["{\"k\": \"n\", \"gone\": null}", "{\"k\": \"n\"}"] {
        in_both_ways(|database, mut merger| {
            let [mut caller, mut other] = database.sessions();
            other.run("ALTER TABLE doc ADD gone timestamptz; DELETE FROM doc WHERE id = 2");
            caller.run(&format!(
                "BEGIN; SELECT with_row_lock(NULL::doc, '{key}', '{{\"id\": 20}}')"
            ));
            other.run(
                "INSERT INTO doc VALUES (21, 'n', 0, NULL), (22, 'n', 0, NULL), (23, 'n', 0, now()), (24, 'n', 0, now())",
            );
            merger.send(MERGE_LIVING);
            merger.waits_for(&caller);
            caller.commit();
            merger.answered_rows();
            merger.run(MERGE_LIVING);
            let left = merger.rows("SELECT id FROM doc WHERE k = 'n' ORDER BY gone IS NULL, id");
            assert_eq!(left.len(), 3, "{key}: {left:?}");
            assert_eq!(left[..2], [row(&["23"]), row(&["24"])]);
        });
    }
}

const MERGE_LIVING: &str = "SELECT key->>'k', kept->>'id', removed
     FROM once.merge_duplicates('doc', '{k}', dry_run => false, condition => '{\"gone\": null}')";

/// A row that leaves the condition while it is waited for is neither kept nor removed; one that enters it is
/// a duplicate, now or at the next call.
#[test]
fn rows_that_leave_and_enter_the_condition_meanwhile_are_what_they_are_by_then() {
    in_both_ways(|database, mut merger| {
        let mut holder = database.session();
        merger
            .run("ALTER TABLE doc ADD gone timestamptz; INSERT INTO doc VALUES (5, 'a', 0, now())");
        holder.run("BEGIN; UPDATE doc SET gone = now() WHERE id = 1");
        merger.send(MERGE_LIVING);
        merger.waits_for(&holder);
        holder.commit();
        assert_eq!(merger.answered_rows(), Rows::new());
        assert_eq!(merger.number("SELECT count(*) FROM doc"), 4);
        holder.run("UPDATE doc SET gone = NULL WHERE id = 5");
        assert_eq!(merger.rows(MERGE_LIVING), [row(&["a", "2", "1"])]);
        assert_eq!(ids(&mut merger), [row(&["1"]), row(&["2"]), row(&["3"])]);
    });
}

/// A group that is left as it is may be blocked by a row that others remove meanwhile, and holds nobody up.
#[test]
fn a_blocked_group_is_merged_once_what_blocks_it_is_gone() {
    in_both_ways(|database, mut merger| {
        let mut other = database.session();
        merger.run(
            "CREATE TABLE seat (id int PRIMARY KEY, doc int REFERENCES doc, nr int, UNIQUE (doc, nr));
             INSERT INTO seat VALUES (1, 1, 7), (2, 2, 7); INSERT INTO doc VALUES (4, 'b')",
        );
        let skipping =
            "SELECT key->>'k', removed, blocked LIKE '%(row {\"id\": 2} of table public.seat)'
             FROM once.merge_duplicates('doc', '{k}', dry_run => false, skip_blocked => true)";
        merger.begin();
        assert_eq!(
            merger.rows(skipping),
            [
                row(&["a", "0", "t"]),
                vec![Some("b".to_owned()), Some("1".to_owned()), None]
            ]
        );
        other.run("SET lock_timeout = '5s'; INSERT INTO doc VALUES (9, 'z'); UPDATE seat SET nr = 8 WHERE id = 2");
        merger.commit();
        assert_eq!(merger.rows(skipping).len(), 1);
        assert_eq!(
            merger.rows("SELECT doc, nr FROM seat ORDER BY nr"),
            [row(&["1", "7"]), row(&["1", "8"])]
        );
    });
}

/// A cancel, or a timeout of the caller, is no reason why a group is blocked.
#[test]
fn a_wait_that_is_given_up_ends_the_call() {
    in_both_ways(|database, mut merger| {
        let mut holder = database.session();
        merger.run("INSERT INTO part VALUES (1, 2); SET lock_timeout = '20ms'");
        // The row that is to be moved, after those of the group are locked.
        holder.run("BEGIN; SELECT FROM part WHERE id = 1 FOR UPDATE");
        let merge =
            "SELECT once.merge_duplicates('doc', '{k}', dry_run => false, skip_blocked => true)";
        merger.refused(merge, "55P03");
        merger.run("SET lock_timeout = 0; SET statement_timeout = '20ms'");
        merger.refused(merge, "57014");
        holder.rollback();
        merger.run("SET statement_timeout = 0");
        assert_eq!(merger.rows(merge).len(), 1);
    });
}

//! The same SQL through three nodes of Citus: a coordinator and two workers, where the server has the
//! extension citus. Where it has not, each test says NOT RUN. What runs on one server of what is written
//! for several is shown in `distributed.rs`.

use pg_once_sessions::{Barrier, Cluster, Failure, Server, Session};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;
const KEYS: usize = 200;

const NODES: usize = 3;

/// What makes a database's tables of the extension distributed.
const DISTRIBUTE: &str = "SELECT once.distribute()";

/// What brings them back to one node.
const BACK: [&str; 11] = [
    "CREATE TABLE saved_claim AS SELECT * FROM once.claim",
    "CREATE TABLE saved_work AS SELECT * FROM once.work_record",
    "CREATE TABLE saved_floor AS SELECT * FROM once.work_floor",
    "CREATE TABLE saved_policy AS SELECT * FROM once.access_policy_shared",
    "DROP EXTENSION pg_once CASCADE",
    "CREATE EXTENSION pg_once",
    "INSERT INTO once.claim SELECT * FROM saved_claim",
    "INSERT INTO once.work_record SELECT * FROM saved_work",
    "INSERT INTO once.work_floor SELECT * FROM saved_floor",
    "INSERT INTO once.access_policy_shared SELECT * FROM saved_policy",
    "SELECT once.configure(ns) FROM saved_policy",
];

/// The nodes that do not agree with this one.
const DIFFER: &str = "SELECT DISTINCT finding FROM once.check() WHERE severity <> 'notice' AND finding LIKE 'node %'";

/// A coordinator, the first one, and its workers, with databases whose tables are distributed.
struct Nodes {
    clusters: [Cluster; NODES],
    databases: AtomicUsize,
}

impl Nodes {
    /// None where the server does not have Citus.
    fn start() -> Option<Nodes> {
        Nodes::start_with(&["shared_preload_libraries = 'citus'"])
    }

    /// The same, with these lines in `postgresql.conf`.
    fn start_with(more: &[&str]) -> Option<Nodes> {
        let extension = Server::under_test()
            .asked("--sharedir")
            .join("extension/citus.control");
        if !extension.exists() {
            println!("NOT RUN: there is no {}", extension.display());
            return None;
        }
        let settings = [
            "max_prepared_transactions = 200",
            "max_connections = 200",
            "max_worker_processes = 32",
            "wal_level = logical",
            "citus.shard_count = 6",
            "citus.node_connection_timeout = '10s'",
        ];
        let settings = [&settings, more].concat();
        let clusters: [Cluster; NODES] = std::array::from_fn(|_| Cluster::start(&settings));
        for cluster in &clusters {
            let mut session = cluster.connect("postgres");
            let own = cluster.path("");
            session.run(&format!("ALTER SYSTEM SET citus.local_hostname = '{own}'"));
            session.run("SELECT pg_reload_conf()");
        }
        Some(Nodes {
            clusters,
            databases: AtomicUsize::new(0),
        })
    }

    /// Those that all tests share which do not end a server.
    fn shared() -> Option<&'static Nodes> {
        static SHARED: OnceLock<Option<Nodes>> = OnceLock::new();
        SHARED.get_or_init(Nodes::start).as_ref()
    }

    /// A fresh database on all nodes, with both extensions.
    fn undistributed(&self) -> Distributed<'_> {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        for cluster in &self.clusters {
            cluster
                .connect("postgres")
                .run(&format!("CREATE DATABASE {name}"));
            cluster.connect(&name).run("CREATE EXTENSION citus");
        }
        let mut coordinator = self.clusters[0].connect(&name);
        let [first, workers @ ..] = &self.clusters;
        coordinator.run(&format!(
            "SELECT citus_set_coordinator_host('{}', 5432)",
            first.path("")
        ));
        for worker in workers {
            coordinator.run(&format!(
                "SELECT citus_add_node('{}', 5432)",
                worker.path("")
            ));
        }
        coordinator.run("CREATE EXTENSION pg_once");
        Distributed { nodes: self, name }
    }

    fn database(&self) -> Distributed<'_> {
        let database = self.undistributed();
        assert!(database.session(0).is_true(DISTRIBUTE));
        database
    }
}

/// A database that all nodes have.
struct Distributed<'n> {
    nodes: &'n Nodes,
    name: String,
}

impl Distributed<'_> {
    fn session(&self, node: usize) -> Session {
        self.nodes.clusters[node % NODES].connect(&self.name)
    }

    /// Runs `client` in several sessions at once, of all nodes in turn, and adds up what they return.
    fn race(&self, client: impl Fn(usize, &mut Session) -> usize + Sync) -> usize {
        let barrier = Barrier::new(CLIENTS);
        thread::scope(|scope| {
            let clients = Vec::from_iter((0..CLIENTS).map(|number| {
                let (barrier, client) = (&barrier, &client);
                scope.spawn(move || {
                    let mut session = self.session(number);
                    barrier.wait();
                    client(number, &mut session)
                })
            }));
            clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .sum()
        })
    }
}

/// G1 through all nodes.
#[test]
fn exactly_one_wins_through_all_nodes() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let won = database.race(|_, session| {
        let wins = |key: &usize| session.is_true(&format!("SELECT claim_once('race', {key})"));
        (0..KEYS).filter(wins).count()
    });
    assert_eq!(won, KEYS);
    assert_eq!(
        database
            .session(1)
            .number("SELECT count(*) FROM once.claims"),
        KEYS as i64
    );
}

/// G3 through all nodes: who waits wins where the winner rolls back.
#[test]
fn rolled_back_claims_are_handed_over() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let won = database.race(|client, session| {
        let mut won = 0;
        for key in 0..KEYS {
            session.begin();
            let is_winner = session.is_true(&format!("SELECT claim_once('race', {key})"));
            match (client + key).is_multiple_of(3) {
                true => session.rollback(),
                false => {
                    session.commit();
                    won += usize::from(is_winner);
                }
            }
        }
        won
    });
    assert_eq!(won, KEYS);
    assert_eq!(
        database
            .session(2)
            .number("SELECT count(*) FROM once.claims"),
        KEYS as i64
    );
}

/// G1, G9 of batches through all nodes, and that each is told what it has won.
#[test]
fn batches_through_all_nodes() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let won = database.race(|_, session| {
        (0..6)
            .map(|round| {
                session.number(&format!(
                    "SELECT count(*) FROM claim_many('batch', ARRAY(
                         SELECT '{round}/' || n FROM generate_series(1, {KEYS}) n ORDER BY random()))"
                )) as usize
            })
            .sum()
    });
    assert_eq!(won, 6 * KEYS);
    let mut session = database.session(1);
    assert_eq!(
        session.value("SELECT array_agg(k) FROM claim_many('order', '{c,a,b,a}') k"),
        "{c,a,b}"
    );
}

/// G2, G8: a timeout is an answer though the wait is on another server, and the caller's `lock_timeout`
/// raises.
#[test]
fn timeouts_hold_on_other_nodes() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let mut holder = database.session(0);
    for node in 0..NODES {
        let mut other = database.session(node);
        for key in 0..6 {
            holder.begin();
            let call = format!("try_claim_once('timeout', '{node}/{key}'");
            assert_eq!(holder.value(&format!("SELECT {call})")), "won");
            other.begin();
            for timeout in ["0", "30 ms"] {
                let asked = Instant::now();
                assert_eq!(
                    other.value(&format!("SELECT {call}, '{timeout}')")),
                    "in_progress"
                );
                assert!(asked.elapsed() < Duration::from_secs(8));
            }
            other.commit();
            other.run("SET lock_timeout = '30ms'");
            other.refused(&format!("SELECT {call}, NULL)"), "55P03");
            other.refused(
                &format!("SELECT claim_once('timeout', '{node}/{key}')"),
                "55P03",
            );
            other.run("RESET lock_timeout");
            other.send(&format!("SELECT {call}, '1 min')"));
            thread::sleep(Duration::from_millis(50));
            let (end, answer) = [("ROLLBACK", "won"), ("COMMIT", "duplicate")][key % 2];
            holder.run(end);
            assert_eq!(other.answered_value(), answer);
        }
    }
}

/// An owner that repeats its call, through any node.
#[test]
fn an_owner_asks_again_through_another_node() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let ask = |key: usize| format!("SELECT try_claim_once('owner', '{key}', owner => 'me')");
    for key in 0..6 {
        let mut session = database.session(key);
        session.begin();
        session.run("SAVEPOINT s");
        assert_eq!(session.value(&ask(key)), "won");
        assert_eq!(session.value(&ask(key)), "duplicate");
        session.commit();
        assert_eq!(database.session(key + 1).value(&ask(key)), "won");
    }
}

/// G5: a duplicate is one message, and assigns no transaction id on any node.
#[test]
fn a_duplicate_is_one_message() {
    let Some(nodes) = Nodes::start() else { return };
    let database = nodes.database();
    let mut session = database.session(0);
    session.run("SELECT claim_once('ns', n::text) FROM generate_series(1, 20) n");
    session.run("SET citus.log_remote_commands = on");
    session.run("SET log_min_messages = notice");
    let issued = || nodes.clusters[0].log().matches("NOTICE:  issuing ").count();
    let ids = || {
        let next = |node| {
            database
                .session(node)
                .number("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        };
        [0, 1, 2].map(next)
    };
    let (issued_before, ids_before) = (issued(), ids());
    for key in 1..=20 {
        assert!(!session.is_true(&format!("SELECT claim_once('ns', '{key}')")));
    }
    assert_eq!(issued() - issued_before, 20);
    assert_eq!(ids(), ids_before);
}

/// What Citus pushes down to shards refuses, and claims nothing.
#[test]
fn functions_on_shards_refuse() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let mut session = database.session(0);
    session.run("CREATE TABLE outbox (id int PRIMARY KEY)");
    session.run("SELECT create_distributed_table('outbox', 'id')");
    session.run("INSERT INTO outbox SELECT generate_series(1, 20)");
    for query in [
        "SELECT id FROM outbox WHERE claim_once('p', 'r' || id)",
        "SELECT with_lock('p', 'r' || id) FROM outbox",
        "SELECT begin_once('p', 'r' || id) FROM outbox",
        "SELECT id FROM outbox WHERE once.may_use('r' || id)",
        "SELECT * FROM claim_many('p', ARRAY(SELECT 'r' || id FROM outbox))",
    ] {
        let error = session.refused(query, "55000");
        assert!(
            error.hint().unwrap().contains("distributed table"),
            "{error:?}"
        );
    }
    assert_eq!(session.number("SELECT count(*) FROM once.claim"), 0);
}

/// One 'run' for each key through all nodes, and as many tokens as takeovers, each higher than the last.
#[test]
fn work_through_all_nodes() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let runs = database.race(|_, session| {
        let runs = |key: &usize| {
            let begin = format!("SELECT outcome FROM begin_once('work', '{key}')");
            session.value(&begin) == "run"
        };
        (0..KEYS).filter(runs).count()
    });
    assert_eq!(runs, KEYS);
    let takeovers = database.race(|_, session| {
        (0..10)
            .filter(|_| {
                let token = session.number(
                    "SELECT token FROM begin_once('takeover', 'k', '1 ms', wait => '1 min')",
                );
                session.is_true(&format!("SELECT claim_once('token', {token})"))
            })
            .count()
    });
    assert_eq!(takeovers, 10 * CLIENTS);
}

/// G10: a fence of one node holds off a takeover through another.
#[test]
fn a_fence_holds_on_all_nodes() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    for key in 0..6 {
        let (mut holder, mut other) = (database.session(key), database.session(key + 1));
        let begin = format!("SELECT outcome FROM begin_once('fence', '{key}', '50 ms')");
        assert_eq!(holder.value(&begin), "run");
        let token = holder.number(&format!(
            "SELECT token FROM once.work WHERE ns = 'fence' AND key = '{key}'"
        ));
        let fence = format!("SELECT fence_once('fence', '{key}', {token})");
        holder.begin();
        assert!(holder.is_true(&fence));
        other.run("SELECT pg_sleep(0.1)");
        assert_eq!(other.value(&begin), "in_progress");
        holder.commit();
        assert_eq!(other.value(&begin), "run");
        holder.refused(&fence, "55000");
    }
}

/// What has expired is removed through any node, from all of them, and skipped where somebody uses it.
#[test]
fn what_is_over_is_swept_on_all_nodes() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let mut holder = database.session(2);
    holder.run("SELECT claim_once_per('1 ms', 'ends', n::text) FROM generate_series(1, 100) n");
    holder.run("SELECT claim_once('stays', n::text) FROM generate_series(1, 100) n");
    holder.run("SELECT once.configure('work', '1 ms')");
    for key in 0..10 {
        let token = holder.number(&format!("SELECT token FROM begin_once('work', '{key}')"));
        holder.run(&format!("SELECT complete_once('work', '{key}', {token})"));
    }
    let highest = holder.number("SELECT max(token) FROM once.work_record");
    holder.run("SELECT pg_sleep(0.05)");
    holder.begin();
    holder.run("SELECT claim_once_per('1 hour', 'ends', '5')");
    let mut session = database.session(1);
    assert_eq!(session.number("SELECT once.sweep(60)"), 60);
    assert_eq!(session.number("SELECT once.sweep()"), 49);
    holder.commit();
    assert_eq!(session.number("SELECT once.sweep()"), 0);
    assert_eq!(session.number("SELECT count(*) FROM once.claim"), 101);
    for node in 0..NODES {
        let floor = database
            .session(node)
            .number("SELECT token FROM once.work_floor");
        assert_eq!(floor, highest);
    }
    assert_eq!(session.number("SELECT once.purge('stays')"), 100);
}

/// Where the library is preloaded the worker of the coordinator sweeps for all nodes.
#[test]
fn the_worker_sweeps_all_nodes() {
    let Some(nodes) = Nodes::start_with(&[
        "shared_preload_libraries = 'citus, pg_once'",
        "pg_once.sweep_interval = 1",
    ]) else {
        return;
    };
    let database = nodes.database();
    let mut session = database.session(1);
    session.run("SELECT claim_once_per('1 ms', 'ends', n::text) FROM generate_series(1, 500) n");
    session.run("SELECT claim_once('stays', n::text) FROM generate_series(1, 100) n");
    let is_swept = "SELECT count(*) = 100 FROM once.claim";
    session.wait_until(is_swept, Duration::from_secs(60));
    let swept = "SELECT coalesce(sum(swept), 0) FROM once.stats";
    assert_eq!(database.session(0).number(swept), 500);
    assert_eq!(session.number(swept), 0);
}

/// G12: what is configured through one node holds on all at its commit, also for sessions that have looked before;
/// roles see and use what they may.
#[test]
fn namespaces_hold_on_all_nodes() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.undistributed();
    let mut admins = [0, 1, 2].map(|node| database.session(node));
    admins[0].run("CREATE ROLE insider LOGIN; CREATE ROLE \"Out sider\" LOGIN; CREATE ROLE gone");
    admins[0].run("SELECT once.configure('before', '1 hour', 'insider')");
    admins[0].run(DISTRIBUTE);
    let as_role =
        |role: &str| [0, 1, 2].map(|node| nodes.clusters[node].connect_as(role, &database.name));
    let (mut insiders, mut outsiders) = (as_role("insider"), as_role("Out sider"));
    for node in 0..NODES {
        outsiders[node].refused("SELECT claim_once('before', 'x')", "42501");
        assert!(insiders[node].is_true(&format!("SELECT claim_once('before', '{node}')")));
        assert!(outsiders[node].is_true(&format!("SELECT claim_once('node {node}', 'open')")));
    }
    for (node, admin) in admins.iter_mut().enumerate() {
        let ns = format!("node {node}");
        admin.begin();
        admin.run(&format!(
            "SELECT once.configure('{ns}', '1 day', 'insider')"
        ));
        for outsider in &mut outsiders {
            assert!(outsider.is_true(&format!("SELECT once.may_use('{ns}')")));
        }
        admin.rollback();
        for outsider in &mut outsiders {
            assert!(outsider.is_true(&format!("SELECT is_claimed('{ns}', 'open')")));
        }
        admin.run(&format!(
            "SELECT once.configure('{ns}', '1 day', 'insider')"
        ));
        for outsider in &mut outsiders {
            for call in ["claim_once", "is_claimed", "with_lock", "begin_once"] {
                outsider.refused(&format!("SELECT {call}('{ns}', 'open')"), "42501");
            }
        }
        for (from, insider) in insiders.iter_mut().enumerate() {
            assert!(insider.is_true(&format!("SELECT claim_once('{ns}', '{from}')")));
        }
    }
    for node in 0..NODES {
        assert_eq!(
            insiders[node].number("SELECT count(*) FROM once.claims"),
            15
        );
        assert_eq!(
            insiders[node].number("SELECT count(*) FROM once.claims WHERE expires_at IS NOT NULL"),
            12
        );
        assert_eq!(
            insiders[node].value("SELECT array_agg(concat_ws(' ', ns, ttl, allowed_role) ORDER BY ns) FROM once.namespaces"),
            "{\"before 01:00:00 insider\",\"node 0 1 day insider\",\"node 1 1 day insider\",\"node 2 1 day insider\"}"
        );
        for view in ["claims", "work", "namespaces"] {
            assert_eq!(
                outsiders[node].number(&format!("SELECT count(*) FROM once.{view}")),
                0
            );
        }
    }
    // By the name of the role, on nodes where it has other numbers; a role that is gone leaves it closed.
    admins[1].run("SELECT once.configure('node 0', allowed_role => '\"Out sider\"')");
    admins[2].run("SELECT once.configure('node 1', allowed_role => 'gone')");
    admins[0].run("DROP ROLE gone");
    for node in 0..NODES {
        assert!(outsiders[node].is_true("SELECT is_claimed('node 0', 'open')"));
        insiders[node].refused("SELECT is_claimed('node 0', 'open')", "42501");
        insiders[node].refused("SELECT is_claimed('node 1', 'open')", "42501");
        assert!(admins[node].is_true(
            "SELECT EXISTS (SELECT FROM once.check() WHERE severity = 'warning' AND finding LIKE '%node 1%is closed%')"
        ));
        // Whoever may not configure may not on any node.
        insiders[node].refused("SELECT once.configure('node 2', '1 hour')", "42501");
    }
    assert!(admins[2].is_true("SELECT once.unconfigure('node 2')"));
    for outsider in &mut outsiders {
        assert!(outsider.is_true("SELECT once.may_use('node 2')"));
    }
}

/// G12: a node that is added later has the policies of the others at once, and after it has a copy of its own.
#[test]
fn an_added_node_is_as_closed_as_the_others() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.undistributed();
    let mut admin = database.session(0);
    let last = nodes.clusters[2].path("");
    admin.run(&format!("SELECT citus_remove_node('{last}', 5432)"));
    admin.run("CREATE ROLE member LOGIN; CREATE ROLE stranger LOGIN");
    admin.run("SELECT once.configure('closed', allowed_role => 'member')");
    admin.run(DISTRIBUTE);
    admin.run("SELECT once.configure('later', allowed_role => 'member')");
    admin.run(&format!("SELECT citus_add_node('{last}', 5432)"));
    let copies = "SELECT count(*) FROM pg_dist_shard JOIN pg_dist_placement USING (shardid)
                  WHERE logicalrelid = 'once.access_policy_shared'::regclass";
    println!("{} copies", admin.number(copies));
    let connect = |role| nodes.clusters[2].connect_as(role, &database.name);
    let (mut member, mut stranger) = (connect("member"), connect("stranger"));
    let mut look = |when: &str| {
        for ns in ["closed", "later"] {
            stranger.refused(&format!("SELECT claim_once('{ns}', 'x')"), "42501");
            assert!(member.is_true(&format!("SELECT claim_once('{ns}', '{when}')")));
        }
        assert!(stranger.is_true(&format!("SELECT claim_once('open', '{when}')")));
    };
    look("added");
    admin.run("SELECT replicate_reference_tables('block_writes')");
    assert_eq!(admin.number(copies), 3);
    look("copied");
    admin.run("SELECT once.configure('open', allowed_role => 'member')");
    stranger.refused("SELECT claim_once('open', 'y')", "42501");
    assert_eq!(
        admin.number(
            "SELECT count(*) FROM once.check() WHERE severity <> 'notice' AND finding LIKE 'node %'"
        ),
        0
    );
}

/// A node that was restored from an older copy, or whose extension was made by hand, is an error of once.check() on
/// every node, and the advice mends it.
#[test]
fn nodes_that_do_not_agree_are_found() {
    const DIFFER: &str =
        "SELECT finding FROM once.check() WHERE severity <> 'notice' AND finding LIKE 'node %'";
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let mut admin = database.session(0);
    admin.run("SELECT once.configure('a', '1 hour', 'pg_monitor'), once.configure('b', '2 hours')");
    let copy = admin.value(
        "SELECT 'once.access_policy_shared_' || shardid FROM pg_dist_shard
         WHERE logicalrelid = 'once.access_policy_shared'::regclass",
    );
    assert!(admin.rows(DIFFER).is_empty());
    let mut stale = database.session(1);
    stale.run("SET citus.enable_manual_changes_to_shards = on");
    stale.run(&format!("DELETE FROM {copy} WHERE ns = 'a'; UPDATE {copy} SET allowed_role = 'pg_signal_backend' WHERE ns = 'b'"));
    let named = |node: usize| format!("node {}:5432", nodes.clusters[node].path(""));
    let policies = "reads other policies of namespaces than this one";
    for node in [0, 2] {
        assert_eq!(
            database.session(node).rows(DIFFER),
            [[Some(format!("{} {policies}", named(1)))]]
        );
    }
    assert_eq!(database.session(1).rows(DIFFER).len(), 2);
    admin.run(
        "SELECT once.unconfigure(ns), once.configure(ns, ttl, allowed_role) FROM once.namespaces",
    );
    for node in 0..NODES {
        assert!(database.session(node).rows(DIFFER).is_empty());
    }
    // Its shards are gone, so what is in them cannot be counted; that is no reason to say nothing.
    let mut hand = database.session(2);
    hand.run("SET citus.enable_ddl_propagation = off");
    hand.run("SET citus.enable_metadata_sync = off");
    hand.run("DROP EXTENSION pg_once CASCADE");
    hand.run("CREATE EXTENSION pg_once");
    let tables = "has other tables of the extension distributed than this one";
    assert_eq!(
        admin.rows(DIFFER),
        [tables, policies].map(|differs| [Some(format!("{} {differs}", named(2)))])
    );
}

/// A node where somebody has made the extension by hand claims for itself: an error of once.check() on the others, and
/// the advice mends it.
#[test]
fn an_extension_made_by_hand_is_found() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.undistributed();
    let mut admin = database.session(0);
    let last = nodes.clusters[2].path("");
    let remove = format!("SELECT citus_remove_node('{last}', 5432)");
    let add = format!("SELECT citus_add_node('{last}', 5432)");
    admin.run(&remove);
    admin.run(DISTRIBUTE);
    admin.run(&add);
    admin.run("SELECT claim_once('ns', 'k')");
    let mut hand = database.session(2);
    hand.run("SET citus.enable_ddl_propagation = off");
    hand.run("SET citus.enable_metadata_sync = off");
    hand.run("DROP EXTENSION pg_once CASCADE");
    hand.run("CREATE EXTENSION pg_once");
    assert!(hand.is_true("SELECT claim_once('ns', 'k')"));
    let finding =
        format!("node {last}:5432 has other tables of the extension distributed than this one");
    assert_eq!(admin.rows(DIFFER), [[Some(finding)]]);
    admin.run(&remove);
    admin.run(&add);
    assert!(admin.rows(DIFFER).is_empty());
    assert!(!database.session(2).is_true("SELECT claim_once('ns', 'k')"));
}

/// A node that is down is a warning of once.check() with its name, beside the other findings.
#[test]
fn a_node_that_is_down_is_found() {
    let Some(nodes) = Nodes::start() else { return };
    let database = nodes.database();
    database.session(0).run("CREATE ROLE gone");
    database
        .session(0)
        .run("SELECT once.configure('shut', allowed_role => 'gone')");
    database.session(0).run("DROP ROLE gone");
    nodes.clusters[2].kill_postmaster();
    let mut session = database.session(0);
    let found = session.value(DIFFER);
    let start = format!(
        "node {}:5432 does not say what it has: ",
        nodes.clusters[2].path("")
    );
    assert!(found.starts_with(&start), "{found}");
    assert!(
        session.is_true(
            "SELECT EXISTS (SELECT FROM once.check() WHERE finding LIKE '%shut%is closed%')"
        )
    );
    // What all nodes are to know is not said to some.
    let failure = session
        .try_run("SELECT once.configure('new', '1 day')")
        .unwrap_err();
    println!("{failure:?}");
    nodes.clusters[2].restart();
    for node in 0..NODES {
        let mut session = database.session(node);
        assert_eq!(
            session.number("SELECT count(*) FROM once.namespaces WHERE ns = 'new'"),
            0
        );
    }
}

/// What was claimed before counts after, also where the statements run again, a node is added, and all comes
/// back to one node.
#[test]
fn claims_stay_where_nodes_come_and_go() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.undistributed();
    let mut session = database.session(0);
    let last = nodes.clusters[2].path("");
    session.run(&format!("SELECT citus_remove_node('{last}', 5432)"));
    let claim = |session: &mut Session, key: &str| {
        session.is_true(&format!("SELECT claim_once('ns', '{key}')"))
    };
    assert!(claim(&mut session, "before"));
    let token = session.number("SELECT token FROM begin_once('ns', 'work')");
    session.run("SELECT once.configure('other', '1 hour')");
    assert!(session.is_true(DISTRIBUTE));
    assert!(!session.is_true(DISTRIBUTE));
    assert!(!claim(&mut session, "before"));
    assert!(claim(&mut session, "distributed"));
    session.run(&format!("SELECT citus_add_node('{last}', 5432)"));
    let mut added = database.session(2);
    assert!(!claim(&mut added, "distributed"));
    assert!(claim(&mut added, "added"));
    assert!(added.is_true(&format!("SELECT complete_once('ns', 'work', {token})")));
    for statement in BACK {
        session.run(statement);
    }
    session.run("SET pg_once.claim_engine = 'direct'");
    for key in ["before", "distributed", "added"] {
        assert!(!claim(&mut session, key), "{key}");
    }
    assert_eq!(
        session.value("SELECT outcome FROM begin_once('ns', 'work')"),
        "done"
    );
    assert_eq!(session.value("SELECT ttl FROM once.namespaces"), "01:00:00");
}

/// Tables that were not distributed are an error of once.check() on every node. What is of one node is a notice.
#[test]
fn tables_that_are_not_distributed_are_an_error() {
    const ERRORS: &str = "SELECT count(*) FROM once.check() WHERE severity = 'error'";
    let Some(nodes) = Nodes::shared() else { return };
    let (undistributed, database) = (nodes.undistributed(), nodes.database());
    for node in 0..NODES {
        assert_eq!(undistributed.session(node).number(ERRORS), 4);
        assert_eq!(database.session(node).number(ERRORS), 0);
        let notice = database.session(node).value(
            "SELECT finding FROM once.check() WHERE severity = 'notice' AND finding LIKE '%nodes%'",
        );
        assert_eq!(
            notice,
            "there are 3 nodes: named locks, once.stats and once.locks are of this one"
        );
    }
}

/// G6, G7 through all nodes, of a distributed table and of a reference table: one row for each key, and no
/// update lost.
#[test]
fn rows_are_taken_in_turns_through_all_nodes() {
    const TURNS: usize = 60;
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let mut session = database.session(0);
    for (table, distribute) in [
        (
            "distributed",
            "create_distributed_table('distributed', 'k')",
        ),
        ("reference", "create_reference_table('reference')"),
    ] {
        session.run(&format!(
            "CREATE TABLE {table} (k int, name text, value int DEFAULT 0, PRIMARY KEY (k, name))"
        ));
        session.run(&format!("SELECT {distribute}"));
        let created = database.race(|_, session| {
            (0..TURNS)
                .filter(|turn| {
                    let key = format!("{{\"k\": {}, \"name\": \"n\"}}", turn % 4);
                    session.begin();
                    let find = format!(
                        "SELECT created FROM find_or_create(NULL::{table}, '{key}', lock => true)"
                    );
                    let created = session.is_true(&find);
                    let value = session.number(&format!(
                        "SELECT value FROM with_row_lock(NULL::{table}, '{key}')"
                    ));
                    session.run(&format!(
                        "UPDATE {table} SET value = {} WHERE k = {} AND name = 'n'",
                        value + 1,
                        turn % 4
                    ));
                    session.commit();
                    created
                })
                .count()
        });
        assert_eq!(created, 4, "{table}");
        for node in 0..NODES {
            let sum = database
                .session(node)
                .number(&format!("SELECT sum(value) FROM {table}"));
            assert_eq!(sum, (CLIENTS * TURNS) as i64, "{table}");
        }
        let mut other = database.session(1);
        session.begin();
        session.run(&format!(
            "SELECT with_row_lock(NULL::{table}, '{{\"k\": 1, \"name\": \"n\"}}')"
        ));
        let count = format!(
            "SELECT count(*) FROM with_row_lock(NULL::{table}, '{{\"k\": 1, \"name\": \"n\"}}', timeout => '50 ms')"
        );
        assert_eq!(other.number(&count), 0, "{table}");
        session.commit();
        assert_eq!(other.number(&count), 1, "{table}");
    }
}

/// Citus brings a function of define_row_lock to all nodes. What it pushes down to shards refuses.
#[test]
fn defined_functions_are_on_all_nodes() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let mut session = database.session(0);
    session.run("CREATE TABLE item (id int PRIMARY KEY, v int DEFAULT 0)");
    session.run("SELECT create_distributed_table('item', 'id')");
    session.run("SELECT once.define_row_lock('with_item', 'item', '{id}')");
    for node in 0..NODES {
        let mut session = database.session(node);
        session.begin();
        assert_eq!(
            session.value("SELECT v FROM with_item(7)"),
            node.to_string()
        );
        session.run("UPDATE item SET v = v + 1 WHERE id = 7");
        session.commit();
    }
    session.refused("SELECT with_item(id) FROM item", "55000");
}

/// Where no unique index is on exactly the key, and for what finds and merges duplicates, tables that Citus keeps
/// are refused.
#[test]
fn rows_of_distributed_tables_are_refused() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let mut session = database.session(0);
    session.run("CREATE TABLE distributed (k int, v int); CREATE TABLE reference (k int, v int)");
    session.run("SELECT create_distributed_table('distributed', 'k')");
    session.run("SELECT create_reference_table('reference')");
    session.run("CREATE TABLE plain (k int PRIMARY KEY)");
    for table in ["distributed", "reference"] {
        for call in [
            format!("with_row_lock(NULL::{table}, '{{\"k\": 1}}')"),
            format!("find_or_create(NULL::{table}, '{{\"k\": 1}}')"),
            format!("once.find_duplicates('{table}', '{{k}}')"),
            format!("once.merge_duplicates('{table}', '{{k}}', dry_run => false)"),
            format!("once.guard_plan('{table}', '{{k}}')"),
        ] {
            session.refused(&format!("SELECT {call}"), "0A000");
        }
    }
    assert_eq!(
        session.value("SELECT with_row_lock(NULL::plain, '{\"k\": 1}')"),
        "(1)"
    );
}

/// Shards that move meanwhile lose nothing.
#[test]
fn shards_move_under_claims() {
    let Some(nodes) = Nodes::shared() else { return };
    let database = nodes.database();
    let is_over = AtomicBool::new(false);
    let (won, moved) = thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let mut session = database.session(0);
            let mut moved = 0;
            while !is_over.load(Ordering::Relaxed) && moved < 3 {
                session.run(
                    "SELECT citus_move_shard_placement(s.shardid, n.nodename, n.nodeport, o.nodename, o.nodeport, 'block_writes')
                     FROM pg_dist_shard s JOIN pg_dist_placement p USING (shardid) JOIN pg_dist_node n ON n.groupid = p.groupid,
                          pg_dist_node o
                     WHERE s.logicalrelid = 'once.claim'::regclass AND o.groupid NOT IN (0, n.groupid)
                     ORDER BY random() LIMIT 1",
                );
                moved += 1;
            }
            moved
        });
        let won = database.race(|_, session| {
            let wins = |key: &usize| loop {
                match session.try_run(&format!("SELECT claim_once('race', {key})")) {
                    Ok(rows) => return rows[0][0].as_deref() == Some("t"),
                    // The statement was planned for where the shard was.
                    Err(failure) => assert!(!failure.message().is_empty(), "{failure:?}"),
                }
            };
            (0..KEYS).filter(wins).count()
        });
        is_over.store(true, Ordering::Relaxed);
        (won, mover.join().unwrap())
    });
    println!("{moved} shards moved");
    assert_eq!(won, KEYS);
}

/// G4: kill -9 of each node in turn. Each claim comes with a row of a distributed table, and what was
/// acknowledged is there: neither lost nor twice.
#[test]
fn killed_nodes_lose_nothing() {
    let Some(nodes) = Nodes::start() else { return };
    let database = nodes.database();
    let mut session = database.session(0);
    session.run("CREATE TABLE outbox (id text, client int)");
    session.run("SELECT create_distributed_table('outbox', 'id')");
    let is_over = AtomicBool::new(false);
    let acknowledged: Vec<String> = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|number| {
            let (database, is_over) = (&database, &is_over);
            scope.spawn(move || {
                let (mut acknowledged, mut session) = (Vec::new(), None);
                let mut key = 0;
                while !is_over.load(Ordering::Relaxed) {
                    key += 1;
                    let transaction = format!(
                        "DO $$ BEGIN IF claim_once('crash', '{key}') THEN
                             INSERT INTO outbox VALUES ('{key}', {number}); END IF; END $$"
                    );
                    let told = reconnected(database, number, &mut session)
                        .and_then(|session| session.try_run(&transaction));
                    match told {
                        Ok(_) => acknowledged.push(key.to_string()),
                        Err(_) => {
                            session = None;
                            thread::sleep(Duration::from_millis(50));
                        }
                    }
                }
                acknowledged
            })
        }));
        for node in [1, 0, 2] {
            thread::sleep(Duration::from_secs(3));
            nodes.clusters[node].kill_postmaster();
            thread::sleep(Duration::from_millis(500));
            nodes.clusters[node].restart();
        }
        thread::sleep(Duration::from_secs(3));
        is_over.store(true, Ordering::Relaxed);
        let all = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        let mut all = Vec::from_iter(all);
        all.sort_unstable();
        all.dedup();
        all
    });
    let mut session = database.session(0);
    // Prepared transactions of the nodes that were down are ended by Citus.
    session.run("SELECT recover_prepared_transactions()");
    let rows = session.rows("SELECT id, count(*) FROM outbox GROUP BY id");
    assert!(
        rows.iter().all(|row| row[1].as_deref() == Some("1")),
        "twice: {rows:?}"
    );
    let claims = session.number("SELECT count(*) FROM once.claims WHERE ns = 'crash'");
    assert_eq!(claims, rows.len() as i64);
    let told: Vec<&str> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    let lost = acknowledged
        .iter()
        .filter(|key| !told.contains(&key.as_str()));
    assert_eq!(lost.count(), 0);
    println!("{} acknowledged", acknowledged.len());
}

fn reconnected<'s>(
    database: &Distributed,
    node: usize,
    session: &'s mut Option<Session>,
) -> Result<&'s mut Session, Failure> {
    let opened = match session.take() {
        Some(session) => session,
        None => database.nodes.clusters[node % NODES].try_connect(&database.name)?,
    };
    Ok(session.insert(opened))
}

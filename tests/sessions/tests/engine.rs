//! The two engines of claims: they tell the same story, and what the direct one
//! must not do because it works below the executor.

use fastrand::Rng;
use pg_once_sessions::{Cluster, Database, Session, database};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ENGINES: [&str; 2] = ["direct", "statement"];

/// Random schedules of three sessions, played step by step on each engine: all
/// that each session is told, and when it waits, is the same. Under one snapshot
/// the stories are compared up to the first 40001: at REPEATABLE READ the direct
/// engine answers where statements cannot.
#[test]
fn both_engines_tell_the_same_story() {
    let seed = match std::env::var("PG_ONCE_SEED") {
        Ok(seed) => seed.parse().expect("PG_ONCE_SEED must be a number"),
        Err(_) => Rng::new().u64(..),
    };
    let stories = scale("PG_ONCE_STORIES", 40);
    let database = database();
    let mut stages = ENGINES.map(|engine| Stage::new(&database, engine));
    let mut compared = 0;
    for number in 0..stories {
        let seed = seed.wrapping_add(number as u64);
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            let [direct, statement] = stages.each_mut().map(|stage| stage.play(level, seed));
            let refused = |line: &String| line.ends_with("40001");
            let end = match level {
                "READ COMMITTED" => None,
                _ => [&direct, &statement]
                    .iter()
                    .filter_map(|story| story.lines.iter().position(refused))
                    .min(),
            };
            let until = end.unwrap_or(usize::MAX);
            let told = |story: &Story| Vec::from_iter(story.lines.iter().take(until).cloned());
            let what = format!("PG_ONCE_SEED={seed} PG_ONCE_STORIES=1, {level}");
            assert_eq!(told(&direct), told(&statement), "{what}");
            assert!(end.is_some() || direct.left == statement.left, "{what}");
            compared += told(&direct).len();
        }
    }
    println!("{stories} stories a level, {compared} answers compared, from seed {seed}");
    no_trouble(database.cluster);
}

struct Story {
    /// What each step was told.
    lines: Vec<String>,
    /// The claims that are left in the end.
    left: String,
}

struct Player {
    session: Session,
    in_transaction: bool,
    has_savepoint: bool,
    waits: bool,
}

/// The sessions that play on one engine.
struct Stage {
    players: [Player; 3],
    observer: Session,
}

impl Stage {
    fn new(database: &Database, engine: &str) -> Stage {
        Stage {
            players: std::array::from_fn(|_| Player {
                session: session_with(database, engine),
                in_transaction: false,
                has_savepoint: false,
                waits: false,
            }),
            observer: session_with(database, engine),
        }
    }

    /// The steps come of the seed and of who waits, so that two engines which
    /// answer alike play the same ones.
    fn play(&mut self, level: &str, seed: u64) -> Story {
        let Stage { players, observer } = self;
        let mut random = Rng::with_seed(seed);
        observer.run("DELETE FROM once.claim");
        let mut lines = Vec::new();
        for _ in 0..16 {
            let someone_waits = players.iter().any(|player| player.waits);
            let number = random.usize(..players.len());
            let player = &mut players[number];
            if player.waits {
                continue;
            }
            // One waits at a time: which of two is served first, and who of a deadlock is told so,
            // is chance.
            let step = player.step(&mut random, level, !someone_waits);
            lines.push(format!("{number}: {step}"));
            player.session.send(&step);
            player.waits = true;
            settle(number, players, observer, &mut lines);
        }
        while players
            .iter()
            .any(|player| player.in_transaction || player.waits)
        {
            let ready = players
                .iter()
                .position(|player| !player.waits && player.in_transaction);
            let number = ready.expect("one does not wait");
            let player = &mut players[number];
            player.end();
            player.session.send("COMMIT");
            player.waits = true;
            settle(number, players, observer, &mut lines);
        }
        let left = observer.rows("SET enable_indexscan = off; SELECT ns, key, expires_at IS NULL FROM once.claim ORDER BY key");
        Story {
            lines,
            left: format!("{left:?}"),
        }
    }
}

/// What the one who has sent something is told, then those who waited for him.
fn settle(number: usize, players: &mut [Player], observer: &mut Session, lines: &mut Vec<String>) {
    let others = (0..players.len()).filter(|other| *other != number);
    for number in std::iter::once(number).chain(others) {
        let player = &mut players[number];
        if !player.waits {
            continue;
        }
        let told = player.session.answer_or_wait(observer);
        player.waits = told.is_none();
        lines.push(match told {
            None => format!("{number} waits"),
            Some(Ok(rows)) => format!("{number} is told {rows:?}"),
            Some(Err(failure)) => {
                if player.in_transaction {
                    player.session.run("ROLLBACK");
                    player.end();
                }
                format!("{number} is told {}", failure.sqlstate())
            }
        });
    }
}

impl Player {
    fn step(&mut self, random: &mut Rng, level: &str, may_wait: bool) -> String {
        let key = random.usize(..3);
        let step = random.u8(..16);
        let (begin, savepoint, undo) = match step {
            0..=2 => (!self.in_transaction, false, false),
            3 => (false, self.in_transaction && !self.has_savepoint, false),
            4 => (false, false, self.has_savepoint),
            _ => (false, false, false),
        };
        if begin {
            self.in_transaction = true;
            return format!("BEGIN ISOLATION LEVEL {level}");
        }
        if savepoint {
            self.has_savepoint = true;
            return "SAVEPOINT s".to_owned();
        }
        if undo {
            return "ROLLBACK TO s".to_owned();
        }
        if self.in_transaction && (step == 5 || step == 6) {
            let end = if step == 5 { "COMMIT" } else { "ROLLBACK" };
            self.end();
            return end.to_owned();
        }
        if !may_wait || step == 7 {
            return format!("SELECT is_claimed('story', {key})");
        }
        match step {
            8 | 9 => format!("SELECT unclaim('story', {key})"),
            10 | 11 => format!("SELECT claim_once_per('1 microsecond', 'story', {key})"),
            12 => format!("SELECT claim_once_per('1 hour', 'story', {key})"),
            13 => format!("SELECT claim_once('story', {key}), claim_once('story', {key})"),
            _ => format!("SELECT claim_once('story', {key})"),
        }
    }

    fn end(&mut self) {
        self.in_transaction = false;
        self.has_savepoint = false;
    }
}

/// What the executor refuses is refused: a duplicate in a read-only transaction
/// too, and in a parallel worker that the function was never meant for.
#[test]
fn a_read_only_transaction_and_a_parallel_worker_do_not_claim() {
    let database = database();
    for engine in ENGINES {
        let mut session = session_with(&database, engine);
        session.run("SELECT claim_once('ns', 'k')");
        for call in [
            "SELECT claim_once('ns', 'k')",
            "SELECT claim_once('ns', 'new')",
            "SELECT claim_once_per('1 hour', 'ns', 'new')",
            "SELECT try_claim_once('ns', 'new')",
            "SELECT claim_many('ns', ARRAY['new'])",
            "SELECT unclaim('ns', 'k')",
        ] {
            session.run("BEGIN READ ONLY");
            session.refused(call, "25006");
            session.rollback();
        }
        session.run("BEGIN READ ONLY");
        assert!(session.is_true("SELECT is_claimed('ns', 'k')"));
        session.rollback();

        let parallel = match session.number("SHOW server_version_num") {
            160_000.. => "debug_parallel_query",
            _ => "force_parallel_mode",
        };
        session.run("ALTER FUNCTION claim_once(text, text) PARALLEL SAFE");
        session.run(&format!("SET {parallel} = on"));
        session.refused("SELECT claim_once('ns', 'new')", "25000");
        session.run(&format!("SET {parallel} = off"));
        session.run("ALTER FUNCTION claim_once(text, text) PARALLEL UNSAFE");
        assert!(session.is_true("SELECT claim_once('ns', 'new')"));
        session.run("DELETE FROM once.claim");
    }
}

/// The table that a session has come to know may be dropped and made anew, in
/// another session, in its own, and in its own transaction.
#[test]
fn the_extension_can_be_dropped_and_created_meanwhile() {
    let database = database();
    let [mut session, mut other] = database.sessions();
    assert!(claims(&mut session, "k"));
    for _ in 0..2 {
        session.run("DROP EXTENSION pg_once CASCADE");
        session.refused("SELECT claim_once('ns', 'k')", "42883");
        session.run("CREATE EXTENSION pg_once");
        assert!(claims(&mut session, "k"));
        assert!(!claims(&mut other, "k"));
    }
    session.begin();
    session.run("DROP EXTENSION pg_once CASCADE; CREATE EXTENSION pg_once");
    assert!(claims(&mut session, "k"));
    session.rollback();
    assert!(!claims(&mut session, "k"));

    session.run("ALTER SCHEMA once RENAME TO elsewhere");
    for session in [&mut session, &mut other] {
        session.refused("SELECT claim_once('ns', 'k')", "42P01");
    }
    session.run("ALTER SCHEMA elsewhere RENAME TO once");
    for session in [&mut session, &mut other] {
        assert!(!claims(session, "k"));
    }
}

/// Without a valid unique index two could win: then both engines refuse, also in
/// a session that knew the table before.
#[test]
fn without_its_unique_index_nobody_claims() {
    const INVALID: &str = "UPDATE pg_index SET indisvalid = false
        WHERE indexrelid = 'once.claim_pkey'::regclass";
    const DROPPED: &str = "ALTER TABLE once.claim DROP CONSTRAINT claim_pkey";
    const DEFERRABLE: &str = "ALTER TABLE once.claim DROP CONSTRAINT claim_pkey;
        ALTER TABLE once.claim ADD CONSTRAINT claim_pkey PRIMARY KEY (place_high, place_low, hash_high, hash_low) DEFERRABLE";
    const PARTIAL: &str = "ALTER TABLE once.claim DROP CONSTRAINT claim_pkey;
        CREATE UNIQUE INDEX claim_pkey ON once.claim (place_high, place_low, hash_high, hash_low) WHERE ns <> 'ns'";
    const OTHER: &str = "ALTER TABLE once.claim DROP CONSTRAINT claim_pkey;
        CREATE UNIQUE INDEX claim_pkey ON once.claim (place_high, place_low, hash_high, hash_low, ns)";
    for broken in [INVALID, DROPPED, DEFERRABLE, PARTIAL, OTHER] {
        for engine in ENGINES {
            let database = database();
            let mut admin = database.session();
            let mut session = session_with(&database, engine);
            assert!(claims(&mut session, "k"));
            admin.run(broken);
            for call in [
                "SELECT claim_once('ns', 'k')",
                "SELECT claim_once('ns', 'new')",
                "SELECT try_claim_once('ns', 'k')",
                "SELECT claim_many('ns', ARRAY['k'])",
                "SELECT is_claimed('ns', 'k')",
                "SELECT unclaim('ns', 'k')",
            ] {
                let refusal = session.refused(call, "55000");
                assert!(
                    refusal.message().contains("no valid unique index"),
                    "{call}"
                );
                assert!(
                    refusal
                        .hint()
                        .is_some_and(|hint| hint.contains("PRIMARY KEY"))
                );
            }
            admin.run(
                "ALTER TABLE once.claim DROP CONSTRAINT IF EXISTS claim_pkey;
                 DROP INDEX IF EXISTS once.claim_pkey;
                 ALTER TABLE once.claim ADD CONSTRAINT claim_pkey PRIMARY KEY (place_high, place_low, hash_high, hash_low)",
            );
            assert!(!claims(&mut session, "k"));
            assert!(claims(&mut session, "new"));
        }
    }
}

/// Where the table is special, 'auto' goes on with statements, which do what the
/// executor does, and 'direct' refuses. A session that knew the plain table
/// notices.
#[test]
fn a_special_table_is_left_to_statements() {
    const TRIGGER: &str = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.noted VALUES (NEW.key); RETURN NEW; END $$;
        CREATE TRIGGER note AFTER INSERT ON once.claim FOR EACH ROW EXECUTE FUNCTION note()";
    const RULE: &str = "CREATE RULE note AS ON DELETE TO once.claim DO ALSO NOTHING";
    let special = [
        TRIGGER,
        RULE,
        "CREATE INDEX ON once.claim (expires_at)",
        "ALTER TABLE once.claim ADD COLUMN noted text DEFAULT 'yes'",
        "ALTER TABLE once.claim ALTER COLUMN owner SET DEFAULT gen_random_uuid()",
        "ALTER TABLE once.claim ADD CHECK (key <> 'forbidden')",
        "ALTER TABLE once.claim ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE once.claim SET UNLOGGED",
        "ALTER TABLE once.claim REPLICA IDENTITY NOTHING",
        "CREATE TABLE child () INHERITS (once.claim)",
        "REVOKE INSERT ON once.claim FROM postgres; CREATE ROLE plain;
         ALTER TABLE once.claim OWNER TO plain; ALTER SCHEMA once OWNER TO plain;
         REVOKE INSERT ON once.claim FROM plain",
    ];
    for statement in special {
        let database = database();
        let mut admin = database.session();
        let mut session = session_with(&database, "direct");
        let mut auto = database.session();
        admin.run("CREATE TABLE noted (key text)");
        assert!(claims(&mut session, "k"));
        assert!(!claims(&mut auto, "k"));
        admin.run(statement);
        let refusal = session.refused("SELECT claim_once('ns', 'new')", "55000");
        let expected = "the direct engine cannot work on table once.claim: ";
        assert!(refusal.message().starts_with(expected), "{refusal}");
        assert!(refusal.hint().is_some_and(|hint| hint.contains("auto")));
        if statement.contains("plain") {
            auto.refused("SELECT claim_once('ns', 'new')", "42501");
            admin.run(
                "ALTER SCHEMA once OWNER TO postgres; ALTER TABLE once.claim OWNER TO postgres;
                 DROP ROLE plain",
            );
            continue;
        }
        assert!(claims(&mut auto, "new"), "{statement}");
        assert!(!claims(&mut auto, "new"), "{statement}");
        assert!(auto.is_true("SELECT is_claimed('ns', 'new') AND unclaim('ns', 'k')"));
        match statement {
            TRIGGER => assert_eq!(admin.value("SELECT key FROM noted"), "new"),
            _ if statement.contains("COLUMN noted") => assert_eq!(
                admin.value("SELECT noted FROM once.claim WHERE key = 'new'"),
                "yes"
            ),
            _ if statement.contains("CHECK") => {
                auto.refused("SELECT claim_once('ns', 'forbidden')", "23514");
            }
            _ => {}
        }
    }
}

/// A waiter holds no page: a vacuum that has dead rows and index entries to
/// remove is not in its way.
#[test]
fn a_waiting_claimer_does_not_hold_off_a_vacuum() {
    let database = database();
    let [mut winner, mut admin] = database.sessions();
    let mut waiter = session_with(&database, "direct");
    for number in 0..50 {
        assert!(claims(&mut admin, &number.to_string()));
        assert!(admin.is_true(&format!("SELECT unclaim('ns', '{number}')")));
    }
    winner.begin();
    assert!(claims(&mut winner, "k"));
    waiter.send("SELECT claim_once('ns', 'k')");
    waiter.waits_for(&winner);
    admin.run("SET statement_timeout = '10s'");
    admin.run("VACUUM (FREEZE, INDEX_CLEANUP ON, DISABLE_PAGE_SKIPPING) once.claim");
    winner.rollback();
    assert!(waiter.answered_true());
}

/// Whoever has only locked an expired claim may be about to take it: the taker
/// waits for him, or says so, and uses no transaction id for that.
#[test]
fn an_expired_claim_that_is_locked_is_in_progress() {
    let database = database();
    let mut locker = database.session();
    let mut taker = session_with(&database, "direct");
    assert!(locker.is_true("SELECT claim_once_per('1 microsecond', 'ns', 'k')"));
    locker.begin();
    locker.run("SELECT FROM once.claim WHERE key = 'k' FOR UPDATE");
    taker.begin();
    assert_eq!(
        taker.value("SELECT try_claim_once('ns', 'k')"),
        "in_progress"
    );
    assert!(taker.is_true("SELECT pg_current_xact_id_if_assigned() IS NULL"));
    taker.send("SELECT claim_once('ns', 'k')");
    taker.waits_for(&locker);
    locker.commit();
    assert!(taker.answered_true());
    taker.commit();
    assert!(!claims(&mut locker, "k"));
}

/// Expired claims on full pages move to other pages when they are taken over:
/// each is found afterwards, once.
#[test]
fn claims_that_move_when_they_are_taken_over_are_found() {
    const KEYS: &str = "generate_series(1, 300) AS number";
    let database = database();
    let mut session = session_with(&database, "direct");
    for round in 0..3 {
        let period = if round < 2 { "1 microsecond" } else { "1 hour" };
        let won = session.number(&format!(
            "SELECT count(*) FILTER (WHERE claim_once_per('{period}', 'ns', repeat('x', 150) || number)) FROM {KEYS}"
        ));
        assert_eq!(won, 300, "round {round}");
    }
    let found = session.number(&format!(
        "SELECT count(*) FILTER (WHERE is_claimed('ns', repeat('x', 150) || number)
                                 AND NOT claim_once('ns', repeat('x', 150) || number)) FROM {KEYS}"
    ));
    assert_eq!(found, 300);
    assert_eq!(rows_by_a_full_scan(&mut session), (300, 300));
    let moved = session.number("SELECT count(*) FROM once.claim WHERE (ctid::text::point)[0] > 0");
    assert!(moved > 0);
}

/// A key that a transaction has claimed and given back very often has entries on many leaves of the
/// index; the one that stands is the last of them.
#[test]
fn a_claim_among_very_many_entries_of_its_key_is_found() {
    let database = database();
    let mut session = session_with(&database, "direct");
    let mut observer = session_with(&database, "direct");
    // Neighbours on both sides, so that no leaf is the last one.
    session.run("SELECT claim_once('ns', 'k' || number) FROM generate_series(1, 1000) AS number");
    for (rounds, pages) in [(3, 0), (20, 0), (1500, 1)] {
        let before = session.number("SELECT pg_relation_size('once.claim_pkey') / 8192");
        session.begin();
        session.run(&format!(
            "DO $$ BEGIN
                FOR round IN 1 .. {rounds} LOOP
                    ASSERT claim_once('ns', 'k');
                    ASSERT NOT claim_once('ns', 'k');
                    ASSERT unclaim('ns', 'k');
                END LOOP;
                ASSERT claim_once('ns', 'k');
            END $$"
        ));
        let after = session.number("SELECT pg_relation_size('once.claim_pkey') / 8192");
        assert!(after >= before + pages, "{after} pages after {rounds}");
        let in_progress = "SELECT try_claim_once('ns', 'k')";
        assert_eq!(observer.value(in_progress), "in_progress", "{rounds}");
        session.commit();
        assert!(!claims(&mut observer, "k"), "{rounds}");
        let neighbours = "SELECT bool_or(claim_once('ns', 'k' || number)) FROM generate_series(1, 1000) AS number";
        assert!(!observer.is_true(neighbours), "{rounds}");
        assert!(observer.is_true("SELECT unclaim('ns', 'k')"));
    }
    assert_eq!(rows_by_a_full_scan(&mut session), (1000, 1000));
    no_trouble(database.cluster);
}

/// The longest names, compressible or not, are stored out of line or compressed.
#[test]
fn long_names_are_claimed_once() {
    let database = database();
    let mut session = session_with(&database, "direct");
    session.run("CREATE TABLE long AS SELECT repeat('n', 128) AS ns, repeat('k', 2000) AS key
        UNION ALL SELECT repeat('n', 128), substr(string_agg(md5(i::text), ''), 1, 2000) FROM generate_series(1, 70) AS i");
    for expected in ["2", "0"] {
        for call in ["claim_once(ns, key)", "claim_once_per('1 hour', ns, key)"] {
            let won = session.value(&format!("SELECT count(*) FILTER (WHERE {call}) FROM long"));
            let first = expected == "2" && call.starts_with("claim_once(");
            assert_eq!(won, if first { "2" } else { "0" }, "{call}");
        }
    }
    assert!(session.is_true("SELECT bool_and(is_claimed(ns, key)) FROM long"));
    assert!(session.is_true("SELECT bool_and(unclaim(ns, key)) FROM long"));
    assert!(session.is_true("SELECT bool_and(claim_once_per('1 microsecond', ns, key)) FROM long"));
    assert!(session.is_true("SELECT bool_and(claim_once(ns, key)) FROM long"));
    assert!(session.is_true("SELECT NOT bool_or(claim_once(ns, key)) FROM long"));
    assert_eq!(
        session.number("SELECT count(*) FROM long JOIN once.claim USING (ns, key)"),
        2
    );
}

/// Clients of both engines race for the same keys while the table is vacuumed,
/// clustered, rewritten, altered and its index rebuilt, also concurrently.
#[test]
fn maintenance_meanwhile_lets_each_key_be_won_once() {
    const CLIENTS: usize = 6;
    const MAINTENANCE: [&str; 10] = [
        "REINDEX INDEX CONCURRENTLY once.claim_pkey",
        "VACUUM once.claim",
        "REINDEX TABLE CONCURRENTLY once.claim",
        "VACUUM FULL once.claim",
        "REINDEX TABLE once.claim",
        "CLUSTER once.claim USING claim_pkey",
        "ALTER TABLE once.claim SET (fillfactor = 90)",
        "VACUUM (FREEZE, INDEX_CLEANUP ON) once.claim",
        "ALTER TABLE once.claim ALTER COLUMN owner SET STATISTICS 10",
        "ANALYZE once.claim",
    ];
    let length = Duration::from_secs(scale("PG_ONCE_MAINTENANCE_SECONDS", 4) as u64);
    let database = database();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let started = Instant::now();
    let (won, rounds) = thread::scope(|scope| {
        let clients = Vec::from_iter((0..CLIENTS).map(|number| {
            let (database, next, stop) = (&database, &next, &stop);
            scope.spawn(move || {
                let engine = ["auto", "direct", "statement"][number % 3];
                let mut session = session_with(database, engine);
                let mut random = Rng::with_seed(number as u64);
                let mut won = 0;
                while !stop.load(Ordering::Relaxed) {
                    let newest = next.fetch_add(1, Ordering::Relaxed);
                    let key = newest.saturating_sub(random.usize(..12)) / CLIENTS;
                    let level = ["READ COMMITTED", "REPEATABLE READ"]
                        [usize::from(number % 3 != 2 && random.bool())];
                    session.begin_at(level);
                    let is_first = claims(&mut session, &format!("key {key}"));
                    if random.u8(..5) == 0 {
                        session.rollback();
                    } else {
                        session.commit();
                        won += usize::from(is_first);
                    }
                    if random.u8(..9) == 0 {
                        session.run(&format!(
                            "SELECT claim_once_per('1 microsecond', 'expired', '{}')",
                            key % 7
                        ));
                    }
                }
                won
            })
        }));
        let stopping = Stopping(&stop);
        let mut admin = database.session();
        let mut rounds = 0;
        while started.elapsed() < length {
            for statement in MAINTENANCE {
                admin.run(statement);
            }
            rounds += 1;
        }
        drop(stopping);
        let won: usize = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum();
        (won, rounds)
    });
    let mut session = database.session();
    session.run("DELETE FROM once.claim WHERE ns = 'expired'");
    let (rows, keys) = rows_by_a_full_scan(&mut session);
    assert_eq!((won as i64, won as i64), (rows, keys));
    println!("{won} claims won during {rounds} rounds of maintenance");
    assert!(won > 100 && rounds > 0, "{won} claims, {rounds} rounds");
    no_trouble(database.cluster);
}

/// Stops the clients when it goes, also because a check failed.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Logical decoding shows the claims that were made, renewed and given back, and
/// nothing of an insertion that came second.
#[test]
fn logical_decoding_shows_what_stands() {
    const CLIENTS: usize = 8;
    const KEYS: usize = 60;
    let cluster = Cluster::start(&["wal_level = logical"]);
    let database = cluster.database();
    let mut session = session_with(&database, "direct");
    session.run("CREATE PUBLICATION claims FOR TABLE once.claim");
    session.run("SELECT pg_create_logical_replication_slot('claims', 'pgoutput')");
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut session = session_with(&database, "direct");
                for key in 0..KEYS {
                    claims(&mut session, &key.to_string());
                }
            });
        }
    });
    session.run("SELECT claim_once_per('1 microsecond', 'ns', 'expired')");
    session.run("SELECT claim_once('ns', 'expired')");
    session.run("SELECT unclaim('ns', 'expired')");
    let changes = session.rows(
        "SELECT chr(get_byte(data, 0)), count(*) FROM pg_logical_slot_get_binary_changes(
             'claims', NULL, NULL, 'proto_version', '1', 'publication_names', 'claims')
         GROUP BY 1 HAVING chr(get_byte(data, 0)) IN ('I', 'U', 'D') ORDER BY 1",
    );
    let expected = [("D", "1"), ("I", &(KEYS + 1).to_string()), ("U", "1")]
        .map(|(kind, count)| vec![Some(kind.to_owned()), Some(count.to_owned())]);
    assert_eq!(changes, expected);
    session.run("SELECT pg_drop_replication_slot('claims')");
    no_trouble(&cluster);
}

fn scale(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number")),
        Err(_) => default,
    }
}

fn session_with(database: &Database, engine: &str) -> Session {
    let mut session = database.session();
    // Loads the library, so that the setting is known.
    session.run("SELECT once_key(1)");
    session.run(&format!("SET pg_once.claim_engine = '{engine}'"));
    session
}

fn claims(session: &mut Session, key: &str) -> bool {
    session.is_true(&format!("SELECT claim_once('ns', '{key}')"))
}

/// The rows of the table and the distinct names among them, not by the index.
fn rows_by_a_full_scan(session: &mut Session) -> (i64, i64) {
    session.run(
        "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    );
    let rows = session.number("SELECT count(*) FROM once.claim");
    let names = session.number("SELECT count(DISTINCT (ns, key)) FROM once.claim");
    (rows, names)
}

fn no_trouble(cluster: &Cluster) {
    let log = cluster.log();
    for trouble in ["PANIC", "terminated by signal", "leak", "TRAP"] {
        assert!(!log.contains(trouble), "{trouble} in the log:\n{log}");
    }
}

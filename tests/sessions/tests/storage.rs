//! Claims are stored in the order in which their keys come: what a new one writes to the WAL after a
//! checkpoint, page images included, beside a hand-written table.

use fastrand::Rng;
use pg_once_sessions::family::FAMILIES;
use pg_once_sessions::{Cluster, Session};

const STORED: u64 = 20_000;
const CLAIMED: u64 = 500;

/// The most that a claim of keys in order may write, as a multiple of the hand-written table's.
const BOUND: f64 = 1.3;

/// The same of keys in no order: nothing is lost.
const BOUND_OF_RANDOM: f64 = 1.05;

/// The bytes of WAL per key that `call` writes after a checkpoint, each key in a transaction of its own.
fn wal(session: &mut Session, call: &str) -> f64 {
    session.run("CHECKPOINT");
    let before = session.value("SELECT pg_current_wal_insert_lsn()");
    session.run(call);
    let wal = format!("SELECT (pg_current_wal_insert_lsn() - '{before}')::bigint");
    session.number(&wal) as f64 / CLAIMED as f64
}

#[test]
fn keys_in_order_write_about_what_a_table_by_hand_writes() {
    let cluster = Cluster::start(&["autovacuum = off", "full_page_writes = on"]);
    let database = cluster.database();
    let mut session = database.session();
    session.run(
        "SET synchronous_commit = off;
         CREATE TABLE keys (n int PRIMARY KEY, key text);
         CREATE TABLE hand (ns text COLLATE \"C\", key text COLLATE \"C\",
             claimed_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz, PRIMARY KEY (ns, key));
         CREATE PROCEDURE claim(ns text) LANGUAGE plpgsql AS $$ DECLARE k text; BEGIN
             FOR k IN SELECT keys.key FROM keys WHERE n >= 20000 ORDER BY n LOOP
                 PERFORM claim_once(ns, k); COMMIT;
             END LOOP; END $$;
         CREATE PROCEDURE insert(ns text) LANGUAGE plpgsql AS $$ DECLARE k text; BEGIN
             FOR k IN SELECT keys.key FROM keys WHERE n >= 20000 ORDER BY n LOOP
                 INSERT INTO hand VALUES (ns, k) ON CONFLICT DO NOTHING; COMMIT;
             END LOOP; END $$",
    );
    // What a first call reads and writes of the catalog is not the claims'.
    session.run("INSERT INTO keys VALUES (20000, 'first')");
    session.run("CALL claim('first')");
    session.run("CALL insert('first')");
    let mut rng = Rng::with_seed(18);
    for family in &FAMILIES {
        let keys = family.keys(0..STORED + CLAIMED, &mut rng);
        let keys = keys.iter().enumerate();
        let keys = keys.map(|(n, key)| format!("({n}, '{key}')"));
        let bound = match family.is_in_order {
            true => BOUND,
            false => BOUND_OF_RANDOM,
        };
        let family = family.name;
        session.run(&format!(
            "TRUNCATE keys, hand; INSERT INTO keys VALUES {};
             SELECT count(*) FROM claim_many('{family}', ARRAY(SELECT key FROM keys WHERE n < {STORED} ORDER BY n));
             INSERT INTO hand SELECT '{family}', key FROM keys WHERE n < {STORED} ORDER BY n",
            Vec::from_iter(keys).join(", ")
        ));
        // What a first read of these rows writes is not the claims'.
        session.run("CHECKPOINT");
        session.run("VACUUM keys");
        let ours = wal(&mut session, &format!("CALL claim('{family}')"));
        let hand = wal(&mut session, &format!("CALL insert('{family}')"));
        println!(
            "{family}: {ours:.0} and {hand:.0} bytes by hand: {:.2}",
            ours / hand
        );
        assert!(
            ours <= bound * hand,
            "{family}: {ours} and {hand} bytes by hand"
        );
        let claimed = format!("SELECT count(*) FROM once.claim WHERE ns = '{family}'");
        assert_eq!(session.number(&claimed) as u64, STORED + CLAIMED);
    }
}

/// A hundred thousand keys of one place are still told apart: all at once, one by one, and by both engines.
#[test]
fn keys_of_one_place_are_told_apart() {
    const KEYS: &str = "(SELECT '7/' || translate(n::text, '0123456789', 'abcdefghij') AS key FROM generate_series(1, 100000) n)";
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let mut session = database.session();
    for engine in ["direct", "statement"] {
        session.run(&format!("SET pg_once.claim_engine = '{engine}'"));
        let many = |which: &str| {
            format!(
                "SELECT count(*) FROM claim_many('{engine}', ARRAY(SELECT key FROM {KEYS} keys {which}))"
            )
        };
        let single = |function: &str| {
            format!(
                "SELECT count(*) FROM (SELECT key FROM {KEYS} keys LIMIT 2000) keys WHERE {function}('{engine}', key)"
            )
        };
        assert_eq!(session.number(&many("WHERE key LIKE '%a'")), 10_000);
        assert_eq!(session.number(&many("ORDER BY md5(key)")), 90_000);
        assert_eq!(session.number(&many("ORDER BY md5(key)")), 0);
        assert_eq!(session.number(&single("claim_once")), 0);
        assert_eq!(session.number(&single("is_claimed")), 2000);
        assert_eq!(session.number(&single("unclaim")), 2000);
        assert_eq!(session.number(&single("claim_once")), 2000);
        assert!(session.is_true(&format!(
            "SELECT count(DISTINCT (place_high, place_low)) = 1 AND count(DISTINCT key) = 100000 AND count(*) = 100000
             FROM once.claim WHERE ns = '{engine}'"
        )));
    }
}

/// A batch in a table much larger than itself: keys that are neighbours, keys that are far apart, and some of both.
#[test]
fn a_batch_in_a_large_table_tells_each_key_apart() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let mut session = database.session();
    session.run("SET pg_once.claim_engine = 'direct'");
    let claim = |ns: &str, numbers: &str| {
        format!(
            "SELECT count(*) FROM claim_many('{ns}', ARRAY(SELECT 'order-' || n FROM {numbers} numbers(n)))"
        )
    };
    for (ns, numbers) in [
        ("near", "generate_series(20001, 22000)"),
        ("far", "generate_series(1, 99999, 97)"),
        ("behind", "generate_series(99001, 103000)"),
        (
            "both",
            "(SELECT generate_series(a, a + 39) FROM generate_series(1, 99001, 1000) a)",
        ),
        (
            "now and then",
            "(SELECT generate_series(1, 2000) UNION SELECT generate_series(3001, 99999, 499))",
        ),
    ] {
        let even = claim(ns, "generate_series(2, 100000, 2)");
        assert_eq!(session.number(&even), 50_000);
        let new =
            format!("SELECT count(*) FROM {numbers} numbers(n) WHERE n % 2 = 1 OR n > 100000");
        let new = session.number(&new);
        assert_eq!(session.number(&claim(ns, numbers)), new, "{ns}");
        assert_eq!(session.number(&claim(ns, numbers)), 0, "{ns}");
        let stored = format!(
            "SELECT count(DISTINCT key) = {} AND count(*) = {0} FROM once.claim WHERE ns = '{ns}'",
            50_000 + new
        );
        assert!(session.is_true(&stored), "{ns}");
    }
}

/// Keys of which the place says little or nothing, in databases of many encodings.
#[test]
fn strange_keys_are_told_apart() {
    const EVERYWHERE: &[&str] = &[
        "'0'",
        "'00'",
        "repeat('0', 2000)",
        "repeat('0', 1999)",
        "'-'",
        "'--'",
        "repeat('-/:', 600)",
        "' '",
        "E'\\n'",
        "E'\\x1e'||E'\\x1e'",
        "E'\\x1e'||E'\\x1e'||E'\\x1e'",
        "E'\\x1e0\\x1e00'",
        "'a'",
        "'A'",
        "repeat('9', 2000)",
        "repeat('f', 2000)",
        "repeat('Z', 2000)",
        "'0000-00-00'",
        "'9999-99-99T99:99:99.999'",
        "'2026-11-30T'",
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        "'ffffffff-ffff-ffff-ffff-fffffffffff'",
        "repeat('z', 26)",
        "'7' || repeat('Z', 25)",
        "'7' || repeat('U', 25)",
    ];
    let accented: &[&str] = &["chr(233)", "repeat(chr(233), 1000)", "'4711' || chr(233)"];
    let not_text: &[&str] = &[
        "E'\\xff'",
        "E'\\xc3'",
        "E'\\xc3\\x28'",
        "E'4711\\xff'",
        "E'\\xff4711'",
        "repeat(E'\\xff', 2000)",
    ];
    let kanji: &[&str] = &[
        "convert_from('\\xb4c1', 'EUC_JP')",
        "convert_from('\\xb4c1b4c1', 'EUC_JP')",
    ];
    let cluster = Cluster::start(&[]);
    for (encoding, more) in [
        ("UTF8", [accented, kanji].concat()),
        ("SQL_ASCII", not_text.to_vec()),
        ("LATIN1", accented.to_vec()),
        ("WIN1252", accented.to_vec()),
        ("EUC_JP", kanji.to_vec()),
        ("KOI8R", vec!["convert_from('\\xc1', 'KOI8R')"]),
    ] {
        let database = cluster.database_like(&format!(
            "TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        ));
        let mut session = database.session();
        session.run("CREATE EXTENSION pg_once");
        // The driver reads UTF-8 only; no key is among what it reads.
        session.run(&format!("SET client_encoding = '{encoding}'"));
        let keys = [EVERYWHERE, &more].concat();
        let all = format!("ARRAY[{}]", keys.join(", "));
        for (engine, other) in [("direct", "statement"), ("statement", "direct")] {
            session.run(&format!("SET pg_once.claim_engine = '{engine}'"));
            let claim = |key: &str| format!("SELECT claim_once('{engine}', {key})");
            for key in &keys {
                assert!(session.is_true(&claim(key)), "{encoding}, {engine}: {key}");
            }
            session.run(&format!("SET pg_once.claim_engine = '{other}'"));
            for key in &keys {
                assert!(!session.is_true(&claim(key)), "{encoding}, {other}: {key}");
                let is_claimed = format!("SELECT is_claimed('{engine}', {key})");
                assert!(session.is_true(&is_claimed), "{encoding}, {other}: {key}");
            }
            let many = format!("SELECT count(*) FROM claim_many('{engine}', {all})");
            assert_eq!(session.number(&many), 0, "{encoding}");
            assert!(session.is_true(&format!("SELECT unclaim('{engine}', {})", keys[0])));
            assert_eq!(session.number(&many), 1, "{encoding}");
            assert!(
                session.is_true(&format!(
                    "SELECT array_agg(key ORDER BY key) = (SELECT array_agg(key ORDER BY key) FROM unnest({all}) AS key(key))
                     FROM once.claim WHERE ns = '{engine}'"
                )),
                "{encoding}"
            );
        }
    }
}

//! Claims are stored in the order in which their keys come: what a new one writes to the WAL after a
//! checkpoint, page images included, beside a hand-written table.

use fastrand::Rng;
use pg_once_sessions::{Cluster, Session};

const STORED: u64 = 20_000;
const CLAIMED: u64 = 500;

/// The most that a claim of keys in order may write, as a multiple of the hand-written table's.
const BOUND: f64 = 1.3;

type Key = fn(u64, &mut Rng) -> String;

/// A thousand keys a second, where there is a time in them.
const IN_ORDER: &[(&str, Key)] = &[
    ("integers", |n, _| n.to_string()),
    ("padded", |n, _| format!("ord-{n:012}")),
    ("prefix and integer", |n, _| format!("order-{n}")),
    ("integer, text", |n, _| {
        several(&[&n.to_string(), "org/repo"])
    }),
    ("text, integer", |n, _| {
        several(&["org/repo", &n.to_string()])
    }),
    ("date, text", |n, _| {
        several(&["2026-11-30", &format!("user-{n:07}")])
    }),
    ("milliseconds", |n, _| milliseconds(n).to_string()),
    ("snowflake", |n, _| {
        (((milliseconds(n) - 1_288_834_974_657) << 22) | 20_480).to_string()
    }),
    ("UUIDv7", |n, rng| {
        let (ms, random) = (milliseconds(n), rng.u64(..));
        let (high, low) = (ms >> 16, ms & 0xffff);
        format!(
            "{high:08x}-{low:04x}-7{:03x}-8000-{:012x}",
            random & 0xfff,
            random >> 16
        )
    }),
    ("ULID", |n, rng| {
        let random = u128::from(rng.u64(..)) << 16;
        base(
            u128::from(milliseconds(n)) << 80 | random,
            &DIGITS_OF_ULID,
            26,
        )
    }),
    ("ObjectId", |n, _| {
        format!("{:08x}5f3a9c1d2e{n:06x}", milliseconds(n) / 1000)
    }),
    ("Stripe", |n, rng| {
        let seconds = base(u128::from(milliseconds(n) / 1000), &DIGITS_OF_62, 6);
        let random = base(u128::from(rng.u64(..)), &DIGITS_OF_62, 11);
        format!("evt_{seconds}2eZvKYlo2C{random}")
    }),
];

const DIGITS_OF_ULID: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DIGITS_OF_62: [u8; 62] = *b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn milliseconds(n: u64) -> u64 {
    1_796_000_000_000 + n
}

fn several(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("\u{1e}{part}")).collect()
}

fn base<const RADIX: usize>(mut number: u128, digits: &[u8; RADIX], length: usize) -> String {
    let mut text = vec![digits[0]; length];
    for place in text.iter_mut().rev() {
        *place = digits[(number % RADIX as u128) as usize];
        number /= RADIX as u128;
    }
    String::from_utf8(text).unwrap()
}

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
    for (family, key) in IN_ORDER {
        let keys = (0..STORED + CLAIMED).map(|n| format!("({n}, '{}')", key(n, &mut rng)));
        session.run(&format!(
            "TRUNCATE keys, hand; INSERT INTO keys VALUES {};
             SELECT count(*) FROM claim_many('{family}', ARRAY(SELECT key FROM keys WHERE n < {STORED} ORDER BY n));
             INSERT INTO hand SELECT '{family}', key FROM keys WHERE n < {STORED} ORDER BY n",
            Vec::from_iter(keys).join(", ")
        ));
        // What a first read of these rows writes is not the claims'.
        session.run("VACUUM keys");
        let ours = wal(&mut session, &format!("CALL claim('{family}')"));
        let hand = wal(&mut session, &format!("CALL insert('{family}')"));
        println!(
            "{family}: {ours:.0} and {hand:.0} bytes by hand: {:.2}",
            ours / hand
        );
        assert!(
            ours <= BOUND * hand,
            "{family}: {ours} and {hand} bytes by hand"
        );
        let claimed = format!("SELECT count(*) FROM once.claim WHERE ns = '{family}'");
        assert_eq!(session.number(&claimed) as u64, STORED + CLAIMED);
    }
}

/// All keys of one place are still told apart, by both engines.
#[test]
fn keys_of_one_place_are_told_apart() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let mut session = database.session();
    const KEYS: &str = "ARRAY(SELECT '7/' || repeat('x', n % 9) || '/' || chr(97 + n % 26) || repeat('y', n / 26) FROM generate_series(1, 500) n)";
    for engine in ["direct", "statement"] {
        session.run(&format!("SET pg_once.claim_engine = '{engine}'"));
        let many = format!("SELECT count(*) FROM claim_many('{engine}', {KEYS})");
        let distinct = session.number(&format!("SELECT count(DISTINCT k) FROM unnest({KEYS}) k"));
        assert_eq!(session.number(&many), distinct);
        assert_eq!(session.number(&many), 0);
        let single =
            format!("SELECT count(*) FROM unnest({KEYS}) k WHERE claim_once('{engine}', k)");
        assert_eq!(session.number(&single), 0);
        assert_eq!(
            session.number(&format!(
                "SELECT count(DISTINCT (place_high, place_low)) FROM once.claim WHERE ns = '{engine}'"
            )),
            1
        );
    }
}

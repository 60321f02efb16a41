//! A table of payments in use by old code and by new code is found to hold
//! duplicates, merged and guarded. `PG_ONCE_PAYMENTS` says how many payments
//! there are, one in twenty a duplicate; the run of a million is made by hand.

use pg_once_sessions::{Cluster, Database, Failure, Session};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OLD: usize = 4;
const NEW: usize = 4;
/// Groups merged in one transaction.
const BATCH: usize = 500;
/// How often there is a payment that nobody knows yet. Where old code makes a duplicate more often
/// than a guard takes to be built, there is never a guard.
const NEW_KEY_SECONDS: u64 = 90;
/// How often the plan may fail for a duplicate that old code makes meanwhile.
const ATTEMPTS: usize = 50;

#[test]
fn a_table_in_use_is_merged_and_guarded() {
    let payments: u64 = match std::env::var("PG_ONCE_PAYMENTS") {
        Ok(payments) => payments.parse().expect("PG_ONCE_PAYMENTS is a number"),
        Err(_) => 4_000,
    };
    let cluster = Cluster::start(&["shared_buffers = '256MB'", "max_wal_size = '4GB'"]);
    let database = cluster.database();
    let mut admin = database.session();
    admin.run("SET statement_timeout = 0");
    make_tables(&mut admin, payments);
    let before = Totals::count(&mut admin);

    let end = AtomicBool::new(false);
    let started = Instant::now();
    let (repair, clients) = thread::scope(|scope| {
        let (database, end) = (&database, &end);
        let clients =
            Vec::from_iter((0..OLD + NEW).map(|number| {
                scope.spawn(move || Client::new(database, number, payments).work(end))
            }));
        thread::sleep(Duration::from_secs(1));
        let repair = scope.spawn(|| repair(database)).join();
        thread::sleep(Duration::from_secs(1));
        end.store(true, Ordering::Relaxed);
        let clients = Vec::from_iter(clients.into_iter().map(|client| client.join().unwrap()));
        (repair.unwrap(), clients)
    });

    let after = Totals::count(&mut admin);
    report(payments, &repair, &clients, started.elapsed());
    let new: Vec<&Client> = clients.iter().filter(|client| !client.is_old).collect();
    for client in &new {
        assert!(client.errors.is_empty(), "new code: {:?}", client.errors);
        assert!(client.done > 0);
    }
    let done = |count: fn(&Client) -> i64| clients.iter().map(count).sum::<i64>();
    assert_eq!(
        after.cents,
        before.cents + done(|client| client.cents),
        "sums"
    );
    assert_eq!(
        after.payments + after.archived,
        before.payments + done(|client| client.created),
        "every payment is there or in the archive"
    );
    assert_eq!(after.archived, repair.removed);
    assert_eq!(
        after.children,
        before.children + done(|client| client.children)
    );
    for (what, count) in [
        ("duplicates", DUPLICATES),
        ("orphans", ORPHANS),
        ("archived rows that are still there", RETURNED),
    ] {
        admin.run("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off");
        assert_eq!(admin.number(count), 0, "{what}");
    }
    assert!(admin.is_true(GUARDED));
    for client in clients.iter().filter(|client| client.is_old) {
        let known = |state: &String| ["23505", "23503", "40P01", "gone"].contains(&state.as_str());
        assert!(
            client.errors.keys().all(known),
            "old code: {:?}",
            client.errors
        );
    }
}

const DUPLICATES: &str = "SELECT count(*) FROM (SELECT FROM payments
     GROUP BY service_id, line_item_id HAVING count(*) > 1) AS copies";
const ORPHANS: &str = "SELECT count(*) FROM (SELECT payment_id FROM refunds
     UNION ALL SELECT payment_id FROM disputes UNION ALL SELECT payment_id FROM notes) AS child
     WHERE NOT EXISTS (SELECT FROM payments WHERE id = payment_id)";
const RETURNED: &str = "SELECT count(*) FROM once.merged_rows
     JOIN payments p ON p.id = (removed->>'id')::bigint";
const GUARDED: &str = "SELECT convalidated FROM pg_constraint
     WHERE conrelid = 'payments'::regclass AND contype = 'u'";

/// Payments of which one in twenty is a duplicate, in groups of 2 to 20, and
/// three tables that point at them.
fn make_tables(admin: &mut Session, payments: u64) {
    let duplicates = payments / 20;
    let unique = payments - duplicates;
    for statement in [
        "CREATE TABLE payments (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             service_id bigint NOT NULL,
             line_item_id text NOT NULL,
             amount numeric(12,2) NOT NULL DEFAULT 0,
             updates int NOT NULL DEFAULT 0)",
        "CREATE TABLE refunds (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             payment_id bigint NOT NULL REFERENCES payments ON DELETE CASCADE)",
        "CREATE TABLE disputes (id bigint GENERATED ALWAYS AS IDENTITY,
             payment_id bigint NOT NULL REFERENCES payments ON DELETE RESTRICT,
             PRIMARY KEY (id)) PARTITION BY HASH (id)",
        "CREATE TABLE disputes0 PARTITION OF disputes FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE disputes1 PARTITION OF disputes FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        "CREATE TABLE notes (payment_id bigint REFERENCES payments ON DELETE SET NULL, note text)",
        &format!(
            "INSERT INTO payments (service_id, line_item_id, amount)
             SELECT i % 100, 'item-' || i, i % 1000 / 100.0 FROM generate_series(1, {unique}) i"
        ),
        &format!(
            "INSERT INTO payments (service_id, line_item_id, amount)
             SELECT g % 100, 'item-' || g, 1.25 FROM (
                 SELECT g FROM generate_series(1, {unique}) g, generate_series(0, g % 19)
                 ORDER BY g LIMIT {duplicates}) AS copy"
        ),
        "CREATE INDEX ON payments (service_id, line_item_id)",
        "INSERT INTO refunds (payment_id) SELECT id FROM payments WHERE id % 5 = 0",
        "INSERT INTO disputes (payment_id) SELECT id FROM payments WHERE id % 7 = 0",
        "INSERT INTO notes SELECT id, 'n' FROM payments WHERE id % 3 = 0",
        "CREATE INDEX ON refunds (payment_id)",
        "CREATE INDEX ON disputes (payment_id)",
        "CREATE INDEX ON notes (payment_id)",
        "VACUUM ANALYZE",
    ] {
        admin.run(statement);
    }
}

struct Totals {
    payments: i64,
    cents: i64,
    children: i64,
    archived: i64,
}

impl Totals {
    fn count(admin: &mut Session) -> Totals {
        // The first merge makes the archive.
        let has_archive = admin.is_true("SELECT to_regclass('once.merged_rows') IS NOT NULL");
        let mut number = |sql: &str| admin.number(sql);
        Totals {
            payments: number("SELECT count(*) FROM payments"),
            cents: number("SELECT (sum(amount) * 100)::bigint FROM payments"),
            children: number(
                "SELECT (SELECT count(payment_id) FROM refunds)
                      + (SELECT count(payment_id) FROM disputes)
                      + (SELECT count(payment_id) FROM notes)",
            ),
            archived: match has_archive {
                true => number("SELECT count(*) FROM once.merged_rows"),
                false => 0,
            },
        }
    }
}

#[derive(Default)]
struct Repair {
    groups: usize,
    removed: i64,
    moved: i64,
    batches: usize,
    longest_batch: Duration,
    merging: Duration,
    guarding: Duration,
    attempts: usize,
}

/// What docs/duplicates.md says: merge in batches, add the amounts of what was
/// removed, ask for the plan and run it, until there is none.
fn repair(database: &Database) -> Repair {
    let mut session = database.session();
    session.run("SET statement_timeout = 0");
    let mut repair = Repair::default();
    let started = Instant::now();
    loop {
        let merging = Instant::now();
        while merge(&mut session, &mut repair) {}
        repair.merging += merging.elapsed();
        let guarding = Instant::now();
        let plan =
            session.try_run("SELECT once.guard_plan('payments', '{service_id,line_item_id}')");
        match plan {
            Ok(plan) if plan.is_empty() => {
                repair.guarding += guarding.elapsed();
                return repair;
            }
            Ok(plan) => {
                for statement in plan {
                    // A duplicate that was made meanwhile, or a lock that could not be had in time.
                    if let Err(failure) = session.try_run(statement[0].as_deref().unwrap()) {
                        let state = failure.sqlstate();
                        assert!(["23505", "55000", "55P03"].contains(&state), "{failure:?}");
                    }
                }
                session.run("SET statement_timeout = 0");
            }
            Err(failure) => assert_eq!(failure.sqlstate(), "55000", "{failure:?}"),
        }
        repair.guarding += guarding.elapsed();
        repair.attempts += 1;
        assert!(repair.attempts < ATTEMPTS, "after {:?}", started.elapsed());
    }
}

fn merge(session: &mut Session, repair: &mut Repair) -> bool {
    let started = Instant::now();
    session.begin();
    let merged = session.try_run(&format!(
        "SELECT count(*), sum(removed), sum(references_moved) FROM once.merge_duplicates(
             'payments', '{{service_id,line_item_id}}', dry_run => false, max_groups => {BATCH})"
    ));
    let merged = match merged {
        Ok(merged) => merged,
        // Old code that holds a child and wants a payment: the batch is made again.
        Err(failure) if failure.sqlstate() == "40P01" => {
            session.rollback();
            return true;
        }
        Err(failure) => panic!("{failure:?}"),
    };
    let number = |column: usize| {
        merged[0][column]
            .as_deref()
            .unwrap_or("0")
            .parse::<i64>()
            .unwrap()
    };
    if number(0) == 0 {
        session.rollback();
        return false;
    }
    session.run(
        "UPDATE payments p SET amount = p.amount + gone.amount, updates = p.updates + gone.updates
         FROM (SELECT (kept->>'id')::bigint AS id, sum((removed->>'amount')::numeric) AS amount,
                      sum((removed->>'updates')::int) AS updates
               FROM once.merged_rows
               WHERE table_name = 'public.payments'
                 AND merged_at = transaction_timestamp() AND merged_in = pg_current_xact_id()
               GROUP BY 1) gone
         WHERE p.id = gone.id",
    );
    session.commit();
    repair.groups += number(0) as usize;
    repair.removed += number(1);
    repair.moved += number(2);
    repair.batches += 1;
    repair.longest_batch = repair.longest_batch.max(started.elapsed());
    true
}

/// What one client did, and what it was told.
struct Client {
    session: Session,
    is_old: bool,
    payments: u64,
    random: u64,
    done: i64,
    cents: i64,
    created: i64,
    children: i64,
    longest: Duration,
    errors: BTreeMap<String, usize>,
}

impl Client {
    fn new(database: &Database, number: usize, payments: u64) -> Client {
        let mut session = database.session();
        let is_old = number < OLD;
        if !is_old {
            session.run("SELECT once_key('loaded'); SET pg_once.duplicate_rows = 'first'");
        }
        session.run("SET client_min_messages = error");
        Client {
            session,
            is_old,
            payments,
            random: 88_172_645_463_325_252 + number as u64 * 7_919,
            done: 0,
            cents: 0,
            created: 0,
            children: 0,
            longest: Duration::ZERO,
            errors: BTreeMap::new(),
        }
    }

    fn work(mut self, end: &AtomicBool) -> Client {
        while !end.load(Ordering::Relaxed) {
            let (service, item) = self.key();
            let started = Instant::now();
            let told = if self.is_old {
                self.old(service, &item)
            } else {
                self.new_code(service, &item)
            };
            self.longest = self.longest.max(started.elapsed());
            match told {
                Ok(()) => self.done += 1,
                Err(failure) => {
                    *self
                        .errors
                        .entry(failure.sqlstate().to_owned())
                        .or_default() += 1;
                    self.session.run("ROLLBACK");
                }
            }
        }
        self
    }

    /// Mostly payments that have duplicates, some others, and some that are
    /// new and that several clients come to know at one time.
    fn key(&mut self) -> (u64, String) {
        let unique = self.payments - self.payments / 20;
        let number = match self.next() % 10 {
            0..6 => 1 + self.next() % (self.payments / 20 / 10).max(1),
            6..9 => 1 + self.next() % unique,
            _ => {
                let second = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap()
                    .as_secs();
                return (second % 100, format!("new-{}", second / NEW_KEY_SECONDS));
            }
        };
        (number % 100, format!("item-{number}"))
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Check, then insert; the child in the same transaction as the change.
    fn old(&mut self, service: u64, item: &str) -> Result<(), Failure> {
        let found = self.session.try_run(&format!(
            "SELECT id FROM payments WHERE service_id = {service} AND line_item_id = '{item}' LIMIT 1"
        ))?;
        let Some(id) = found.first().and_then(|row| row[0].clone()) else {
            self.session.try_run(&format!(
                "INSERT INTO payments (service_id, line_item_id, amount) VALUES ({service}, '{item}', 0.01)"
            ))?;
            self.created += 1;
            self.cents += 1;
            return Ok(());
        };
        self.session.try_run("BEGIN")?;
        let changed = self.session.try_run(&format!(
            "UPDATE payments SET amount = amount + 0.01, updates = updates + 1 WHERE id = {id} RETURNING 1"
        ))?;
        if changed.is_empty() {
            *self.errors.entry("gone".to_owned()).or_default() += 1;
            self.session.try_run("ROLLBACK")?;
            return Ok(());
        }
        self.finish(&id)
    }

    /// One call, then the change of the row that it returned.
    fn new_code(&mut self, service: u64, item: &str) -> Result<(), Failure> {
        self.session.try_run("BEGIN")?;
        let taken = self.session.try_run(&format!(
            "SELECT payment->>'id', created FROM with_payment_lock({service}, '{item}')"
        ))?;
        let id = taken[0][0].clone().unwrap();
        let changed = self.session.try_run(&format!(
            "UPDATE payments SET amount = amount + 0.01, updates = updates + 1 WHERE id = {id} RETURNING 1"
        ))?;
        assert_eq!(changed.len(), 1, "the locked row is there");
        self.finish(&id)?;
        self.created += i64::from(taken[0][1].as_deref() == Some("t"));
        Ok(())
    }

    fn finish(&mut self, id: &str) -> Result<(), Failure> {
        let child = [
            "refunds (payment_id)",
            "disputes (payment_id)",
            "notes (payment_id)",
        ]
        .get(self.next() as usize % 6);
        if let Some(child) = child {
            self.session
                .try_run(&format!("INSERT INTO {child} VALUES ({id})"))?;
        }
        self.session.try_run("COMMIT")?;
        self.children += i64::from(child.is_some());
        self.cents += 1;
        Ok(())
    }
}

/// For whoever makes the run by hand: `-- --nocapture` shows it.
fn report(payments: u64, repair: &Repair, clients: &[Client], total: Duration) {
    println!(
        "{payments} payments: {} groups, {} rows removed, {} references moved, {} batches of up to \
         {BATCH} groups, the longest {:?}; merging {:?}, guarding {:?} in {} attempts; in all {total:?}",
        repair.groups,
        repair.removed,
        repair.moved,
        repair.batches,
        repair.longest_batch,
        repair.merging,
        repair.guarding,
        repair.attempts,
    );
    for (is_old, code) in [(true, "old"), (false, "new")] {
        let clients: Vec<&Client> = clients
            .iter()
            .filter(|client| client.is_old == is_old)
            .collect();
        let done: i64 = clients.iter().map(|client| client.done).sum();
        let longest = clients.iter().map(|client| client.longest).max();
        let mut errors: BTreeMap<&str, usize> = BTreeMap::new();
        for (state, count) in clients.iter().flat_map(|client| &client.errors) {
            *errors.entry(state).or_default() += count;
        }
        println!("{code} code: {done} done, longest {longest:?}, errors {errors:?}");
    }
}

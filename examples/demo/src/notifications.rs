//! Jobs of one build report at the same moment; its author is to be told once.

use std::time::Duration;

use postgres::{Client, Statement};

use crate::Result;
use crate::clients::{self, CLIENTS};
use crate::comparison::{Tally, milliseconds};
use crate::database;
use crate::webhook::{self, Build};

pub fn title(builds: &[Build]) -> String {
    format!(
        "1. Webhooks: {} GitHub deliveries about {} builds, each arriving at {CLIENTS} clients\n   \
         at once. Wanted: one notification per build.",
        builds.len(),
        webhook::distinct(builds).len(),
    )
}

pub fn naive(builds: &[Build]) -> Result<Notified> {
    database::connect()?.batch_execute(
        "CREATE TABLE naive.builds (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             kind text NOT NULL, build_id bigint NOT NULL, repository text NOT NULL);
         CREATE INDEX ON naive.builds (repository, build_id);
         CREATE TABLE naive.notifications (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             kind text NOT NULL, build_id bigint NOT NULL, repository text NOT NULL)",
    )?;
    let consumers = (0..CLIENTS)
        .map(|_| NaiveConsumer::connect())
        .collect::<Result<_>>()?;
    let time = clients::at_once(consumers, builds.len(), |_, consumer, step| {
        consumer.receive(&builds[step])
    })?;
    Notified::count(
        builds,
        "naive.notifications",
        "naive.builds",
        "kind, build_id, repository",
        time,
    )
}

pub fn with_claim_once(builds: &[Build]) -> Result<Notified> {
    database::connect()?.batch_execute(
        "CREATE TABLE notifications (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             kind text NOT NULL, build_id bigint NOT NULL, repository text NOT NULL)",
    )?;
    let consumers = (0..CLIENTS)
        .map(|_| Consumer::connect())
        .collect::<Result<_>>()?;
    let time = clients::at_once(consumers, builds.len(), |_, consumer, step| {
        consumer.receive(&builds[step])
    })?;
    Notified::count(builds, "notifications", "once.claim", "ns, key", time)
}

/// What Rails sends for
///
/// ```ruby
/// build = Build.find_or_create_by!(kind:, build_id:, repository:)
/// class Build; after_create { Notification.create!(...) }; end
/// ```
///
/// `find_or_create_by(attributes)` is `find_by(attributes) || create(attributes)`
/// (activerecord/lib/active_record/relation.rb; since 7.1 `create_or_find_by`,
/// which without a unique index inserts just the same): a SELECT, and if it
/// finds nothing an INSERT in a transaction of its own, callbacks included.
struct NaiveConsumer {
    db: Client,
    find: Statement,
    create: Statement,
    notify: Statement,
}

impl NaiveConsumer {
    fn connect() -> Result<NaiveConsumer> {
        let mut db = database::connect()?;
        Ok(NaiveConsumer {
            find: db.prepare(
                "SELECT * FROM naive.builds
                 WHERE kind = $1 AND build_id = $2 AND repository = $3 LIMIT 1",
            )?,
            create: db.prepare(
                "INSERT INTO naive.builds (kind, build_id, repository)
                 VALUES ($1, $2, $3) RETURNING id",
            )?,
            notify: db.prepare(
                "INSERT INTO naive.notifications (kind, build_id, repository)
                 VALUES ($1, $2, $3) RETURNING id",
            )?,
            db,
        })
    }

    fn receive(&mut self, build: &Build) -> Result<()> {
        let Build {
            kind,
            id,
            repository,
        } = build;
        if self
            .db
            .query_opt(&self.find, &[kind, id, repository])?
            .is_none()
        {
            let mut transaction = self.db.transaction()?;
            transaction.query_one(&self.create, &[kind, id, repository])?;
            transaction.query_one(&self.notify, &[kind, id, repository])?;
            transaction.commit()?;
        }
        Ok(())
    }
}

/// The claim and the notification are one transaction: both happen or neither.
struct Consumer {
    db: Client,
    claim: Statement,
    notify: Statement,
}

impl Consumer {
    fn connect() -> Result<Consumer> {
        let mut db = database::connect()?;
        Ok(Consumer {
            claim: db.prepare("SELECT claim_once($1, $2::bigint, $3)")?,
            notify: db.prepare(
                "INSERT INTO notifications (kind, build_id, repository)
                 VALUES ($1, $2, $3) RETURNING id",
            )?,
            db,
        })
    }

    fn receive(&mut self, build: &Build) -> Result<()> {
        let Build {
            kind,
            id,
            repository,
        } = build;
        let mut transaction = self.db.transaction()?;
        let won: bool = transaction
            .query_one(&self.claim, &[kind, id, repository])?
            .get(0);
        if won {
            transaction.query_one(&self.notify, &[kind, id, repository])?;
        }
        transaction.commit()?;
        Ok(())
    }
}

pub struct Notified {
    deliveries: usize,
    wanted: usize,
    sent: i64,
    builds_told_about: i64,
    duplicate_rows: i64,
    time: Duration,
}

impl Notified {
    /// `ledger` is where the run wrote down which builds it knows, one row a `key`.
    fn count(
        builds: &[Build],
        notifications: &str,
        ledger: &str,
        key: &str,
        time: Duration,
    ) -> Result<Notified> {
        let counts = database::connect_for_counting()?.query_one(
            &format!(
                "SELECT (SELECT count(*) FROM {notifications}),
                        (SELECT count(DISTINCT (kind, build_id, repository)) FROM {notifications}),
                        (SELECT count(*) - count(DISTINCT ({key})) FROM {ledger})"
            ),
            &[],
        )?;
        Ok(Notified {
            deliveries: builds.len() * CLIENTS,
            wanted: webhook::distinct(builds).len(),
            sent: counts.get(0),
            builds_told_about: counts.get(1),
            duplicate_rows: counts.get(2),
            time,
        })
    }
}

impl Tally for Notified {
    const WELL: &'static str = "each build notified exactly once";

    fn rows(&self) -> Vec<(&'static str, String)> {
        vec![
            ("deliveries", self.deliveries.to_string()),
            ("notifications wanted", self.wanted.to_string()),
            ("notifications sent", self.sent.to_string()),
            (
                "duplicates made: rows beyond one per build",
                self.duplicate_rows.to_string(),
            ),
            ("time, ms", milliseconds(self.time)),
        ]
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let superfluous = self.sent - self.builds_told_about;
        if superfluous > 0 {
            faults.push(format!("{superfluous} superfluous notifications"));
        }
        if self.builds_told_about != self.wanted as i64 {
            faults.push(format!(
                "told about {} of {} builds",
                self.builds_told_about, self.wanted
            ));
        }
        if self.duplicate_rows > 0 {
            faults.push(format!("{} duplicate rows", self.duplicate_rows));
        }
        faults
    }
}

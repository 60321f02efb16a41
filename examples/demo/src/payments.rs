//! Pollers of a payments API all meet the same payments, and each has its own
//! change to make to every one of them.

use std::collections::BTreeMap;
use std::time::Duration;

use postgres::{Client, Statement};

use crate::Result;
use crate::clients::{self, CLIENTS};
use crate::comparison::{Tally, milliseconds};
use crate::database;
use crate::page::{self, Line, Page};

pub fn title(pages: &[Page]) -> String {
    format!(
        "2. Payments: {CLIENTS} pollers receive {} overlapping pages of the same {} payments;\n   \
         each line is a change (captured, refunded ...) to add to the amount.",
        pages.len(),
        page::PAYMENTS,
    )
}

pub fn naive(pages: &[Page]) -> Result<Booked> {
    create_table("naive.payments")?;
    let pollers = (0..CLIENTS)
        .map(|_| NaivePoller::connect())
        .collect::<Result<_>>()?;
    let time = clients::at_once(pollers, pages.len(), |who, poller, step| {
        pages[step]
            .of_poller(who)
            .iter()
            .try_for_each(|line| poller.book(line))
    })?;
    Booked::count(pages, "naive.payments", time)
}

pub fn with_payment_lock(pages: &[Page]) -> Result<Booked> {
    create_table("payments")?;
    let pollers = (0..CLIENTS)
        .map(|_| Poller::connect())
        .collect::<Result<_>>()?;
    let time = clients::at_once(pollers, pages.len(), |who, poller, step| {
        pages[step]
            .of_poller(who)
            .iter()
            .try_for_each(|line| poller.book(line))
    })?;
    Booked::count(pages, "payments", time)
}

/// As such tables are in production: an index for speed, none for uniqueness.
fn create_table(payments: &str) -> Result<()> {
    database::connect()?.batch_execute(&format!(
        "CREATE TABLE {payments} (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             service_id bigint NOT NULL,
             line_item_id text NOT NULL,
             amount numeric(12,2) NOT NULL DEFAULT 0,
             updates int NOT NULL DEFAULT 0);
         CREATE INDEX ON {payments} (service_id, line_item_id)"
    ))?;
    Ok(())
}

/// What Rails sends for
///
/// ```ruby
/// payment = Payment.find_or_initialize_by(service_id:, line_item_id:)
/// payment.amount += change
/// payment.updates += 1
/// payment.save!
/// ```
///
/// `find_or_initialize_by(attributes)` is `find_by(attributes) || new(attributes)`
/// (activerecord/lib/active_record/relation.rb): a SELECT. The sum is made in
/// the client, from the attribute that was read, and `save!` sends INSERT or
/// UPDATE with the finished value, in a transaction of its own.
struct NaivePoller {
    db: Client,
    find: Statement,
    insert: Statement,
    update: Statement,
}

impl NaivePoller {
    fn connect() -> Result<NaivePoller> {
        let mut db = database::connect()?;
        Ok(NaivePoller {
            find: db.prepare(
                "SELECT id, (amount * 100)::bigint AS cents, updates FROM naive.payments
                 WHERE service_id = $1 AND line_item_id = $2 LIMIT 1",
            )?,
            insert: db.prepare(
                "INSERT INTO naive.payments (service_id, line_item_id, amount, updates)
                 VALUES ($1, $2, $3::bigint * 0.01, $4) RETURNING id",
            )?,
            update: db.prepare(
                "UPDATE naive.payments SET amount = $2::bigint * 0.01, updates = $3
                 WHERE id = $1",
            )?,
            db,
        })
    }

    fn book(&mut self, line: &Line) -> Result<()> {
        let found = self
            .db
            .query_opt(&self.find, &[&line.service_id, &line.line_item_id])?;
        let mut transaction = self.db.transaction()?;
        match found {
            Some(payment) => {
                let id: i64 = payment.get("id");
                let cents = payment.get::<_, i64>("cents") + line.cents;
                let updates = payment.get::<_, i32>("updates") + 1;
                transaction.execute(&self.update, &[&id, &cents, &updates])?;
            }
            None => {
                transaction.query_one(
                    &self.insert,
                    &[&line.service_id, &line.line_item_id, &line.cents, &1],
                )?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// The turn of the payment lasts until COMMIT, and SQL makes the sum.
struct Poller {
    db: Client,
    take_turn: Statement,
    update: Statement,
}

impl Poller {
    fn connect() -> Result<Poller> {
        let mut db = database::connect()?;
        Ok(Poller {
            take_turn: db.prepare(
                "SELECT (payment->>'id')::bigint AS id
                 FROM with_payment_lock($1::bigint, $2::text)",
            )?,
            update: db.prepare(
                "UPDATE payments SET amount = amount + $2::bigint * 0.01, updates = updates + 1
                 WHERE id = $1",
            )?,
            db,
        })
    }

    fn book(&mut self, line: &Line) -> Result<()> {
        let mut transaction = self.db.transaction()?;
        let payment =
            transaction.query_one(&self.take_turn, &[&line.service_id, &line.line_item_id])?;
        transaction.execute(&self.update, &[&payment.get::<_, i64>("id"), &line.cents])?;
        transaction.commit()?;
        Ok(())
    }
}

pub struct Booked {
    changes: i64,
    recorded: i64,
    duplicate_rows: i64,
    wrong_payments: usize,
    payments: usize,
    expected_cents: i64,
    actual_cents: i64,
    time: Duration,
}

/// A payment's amount and number of changes. Duplicate rows of one payment are
/// added up: nothing counts as lost that stands anywhere in the table.
type Book = BTreeMap<(i64, String), (i64, i64)>;

impl Booked {
    fn count(pages: &[Page], payments: &str, time: Duration) -> Result<Booked> {
        let expected = expected(pages);
        let rows = database::connect_for_counting()?.query(
            &format!(
                "SELECT service_id, line_item_id, (sum(amount) * 100)::bigint,
                        sum(updates), count(*)
                 FROM {payments} GROUP BY service_id, line_item_id"
            ),
            &[],
        )?;
        let actual: Book = rows
            .iter()
            .map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3))))
            .collect();
        let keys = expected
            .keys()
            .chain(actual.keys().filter(|key| !expected.contains_key(key)));
        Ok(Booked {
            changes: expected.values().map(|(_, changes)| changes).sum(),
            recorded: actual.values().map(|(_, changes)| changes).sum(),
            duplicate_rows: rows.iter().map(|row| row.get::<_, i64>(4) - 1).sum(),
            wrong_payments: keys
                .filter(|key| expected.get(key) != actual.get(key))
                .count(),
            payments: expected.len(),
            expected_cents: expected.values().map(|(cents, _)| cents).sum(),
            actual_cents: actual.values().map(|(cents, _)| cents).sum(),
            time,
        })
    }
}

fn expected(pages: &[Page]) -> Book {
    let mut book = Book::new();
    for line in page::lines(pages) {
        let (cents, changes) = book
            .entry((line.service_id, line.line_item_id.clone()))
            .or_default();
        *cents += line.cents;
        *changes += 1;
    }
    book
}

impl Tally for Booked {
    const WELL: &'static str = "one row per payment, no change lost, every balance right";

    fn rows(&self) -> Vec<(&'static str, String)> {
        let balance = if self.actual_cents == self.expected_cents {
            "right"
        } else {
            "WRONG"
        };
        vec![
            ("deliveries: changes to book", self.changes.to_string()),
            (
                "duplicates made: rows beyond one per payment",
                self.duplicate_rows.to_string(),
            ),
            ("updates lost", (self.changes - self.recorded).to_string()),
            (
                "payments with a wrong amount",
                format!("{} of {}", self.wrong_payments, self.payments),
            ),
            ("balance expected", amount(self.expected_cents)),
            ("balance in the table", amount(self.actual_cents)),
            ("balance", balance.into()),
            ("time, ms", milliseconds(self.time)),
        ]
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.duplicate_rows > 0 {
            faults.push(format!("{} duplicate rows", self.duplicate_rows));
        }
        if self.recorded != self.changes {
            faults.push(format!(
                "{} of {} changes lost",
                self.changes - self.recorded,
                self.changes
            ));
        }
        if self.wrong_payments > 0 {
            faults.push(format!(
                "{} of {} payments wrong",
                self.wrong_payments, self.payments
            ));
        }
        if self.actual_cents != self.expected_cents {
            faults.push(format!(
                "{} missing in the balance",
                amount(self.expected_cents - self.actual_cents)
            ));
        }
        faults
    }
}

fn amount(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_keeps_its_sign_below_one() {
        assert_eq!(amount(-5), "-0.05");
        assert_eq!(amount(1_234), "12.34");
    }
}

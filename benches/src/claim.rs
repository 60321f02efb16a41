//! The ways to claim a key, each in its best form: what pg_once offers, and
//! what a user would write instead.

use crate::wire::{Client, Reply};

/// The namespace of all claims.
pub const NS: &str = "billing.webhook";

pub const SETUP: &str = include_str!("../sql/claims.sql");

/// The one that all others are compared with.
pub const BASELINE: &str = "INSERT … ON CONFLICT DO NOTHING";
pub const OURS: &str = "claim_once";
pub const FLOOR: &str = "no claim at all: SELECT $1 = $2";

pub struct Contestant {
    pub name: &'static str,
    /// What goes over the wire for a winner and for a duplicate.
    pub trips: [&'static str; 2],
    /// Where its claims stand; nowhere for the floor.
    pub table: Option<&'static str>,
    pub statements: &'static [&'static str],
    /// Claims a key; the statements are called by their place in the list.
    pub claim: fn(&mut Client, &str) -> Result<bool, String>,
}

pub fn find(name: &str) -> &'static Contestant {
    let found = CONTESTANTS
        .iter()
        .find(|contestant| contestant.name == name);
    found.expect("a contestant of this name")
}

pub const CONTESTANTS: &[Contestant] = &[
    Contestant {
        name: BASELINE,
        trips: ["one statement", "one statement"],
        table: Some("hand_insert"),
        statements: &["INSERT INTO hand_insert VALUES ($1, $2) ON CONFLICT DO NOTHING"],
        claim: |client, key| Ok(client.ask(0, &[NS, key])?.affected == 1),
    },
    Contestant {
        name: OURS,
        trips: ["one statement", "one statement"],
        table: Some("once.claim"),
        statements: &["SELECT claim_once($1, $2)"],
        claim: |client, key| Ok(client.ask(0, &[NS, key])?.is_true()),
    },
    Contestant {
        name: FLOOR,
        trips: ["one statement", "one statement"],
        table: None,
        statements: &["SELECT $1::text = $2::text"],
        claim: |client, key| Ok(client.ask(0, &[NS, key])?.is_true()),
    },
    Contestant {
        name: "the same with RETURNING",
        trips: ["one statement", "one statement"],
        table: Some("hand_returning"),
        statements: &[
            "INSERT INTO hand_returning VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true",
        ],
        claim: |client, key| Ok(client.ask(0, &[NS, key])?.rows == 1),
    },
    Contestant {
        name: "DO UPDATE … RETURNING xmax = 0",
        trips: ["one statement", "one statement"],
        table: Some("hand_update"),
        statements: &["INSERT INTO hand_update VALUES ($1, $2) \
             ON CONFLICT (ns, key) DO UPDATE SET key = excluded.key RETURNING xmax = 0"],
        claim: |client, key| Ok(client.ask(0, &[NS, key])?.is_true()),
    },
    Contestant {
        name: "plpgsql",
        trips: ["one call", "one call"],
        table: Some("hand_plpgsql"),
        statements: &["SELECT claim_by_plpgsql($1, $2)"],
        claim: |client, key| Ok(client.ask(0, &[NS, key])?.is_true()),
    },
    Contestant {
        name: "plpgsql with EXCEPTION",
        trips: ["one call", "one call"],
        table: Some("hand_exception"),
        statements: &["SELECT claim_by_exception($1, $2)"],
        claim: |client, key| Ok(client.ask(0, &[NS, key])?.is_true()),
    },
    Contestant {
        name: "Rails create_or_find_by",
        trips: ["BEGIN, INSERT, COMMIT", "BEGIN, INSERT, ROLLBACK, SELECT"],
        table: Some("rails_create"),
        statements: &[
            "BEGIN",
            r#"INSERT INTO rails_create ("ns", "key") VALUES ($1, $2) RETURNING "id""#,
            "COMMIT",
            "ROLLBACK",
            "SELECT rails_create.* FROM rails_create WHERE ns = $1 AND key = $2 LIMIT $3",
        ],
        claim: |client, key| {
            client.ask(0, &[])?;
            if inserted(client, 1, key)? {
                client.ask(2, &[])?;
                return Ok(true);
            }
            client.ask(3, &[])?;
            found(client.ask(4, &[NS, key, "1"])?.rows)
        },
    },
    Contestant {
        name: "Rails create_or_find_by in a transaction",
        trips: [
            "BEGIN, SAVEPOINT, INSERT, RELEASE, COMMIT",
            "BEGIN, SAVEPOINT, INSERT, ROLLBACK TO, SELECT FOR UPDATE, COMMIT",
        ],
        table: Some("rails_nested"),
        statements: &[
            "BEGIN",
            "SAVEPOINT active_record_1",
            r#"INSERT INTO rails_nested ("ns", "key") VALUES ($1, $2) RETURNING "id""#,
            "RELEASE SAVEPOINT active_record_1",
            "ROLLBACK TO SAVEPOINT active_record_1",
            "SELECT rails_nested.* FROM rails_nested WHERE ns = $1 AND key = $2 LIMIT $3 FOR UPDATE",
            "COMMIT",
        ],
        claim: |client, key| {
            client.ask(0, &[])?;
            client.ask(1, &[])?;
            let won = inserted(client, 2, key)?;
            if won {
                client.ask(3, &[])?;
            } else {
                client.ask(4, &[])?;
                found(client.ask(5, &[NS, key, "1"])?.rows)?;
            }
            client.ask(6, &[])?;
            Ok(won)
        },
    },
    Contestant {
        name: "Rails find_or_create_by",
        trips: ["SELECT, BEGIN, INSERT, COMMIT", "SELECT"],
        table: Some("rails_find"),
        statements: &[
            "SELECT rails_find.* FROM rails_find WHERE ns = $1 AND key = $2 LIMIT $3",
            "BEGIN",
            r#"INSERT INTO rails_find ("ns", "key") VALUES ($1, $2) RETURNING "id""#,
            "COMMIT",
            "ROLLBACK",
        ],
        claim: |client, key| {
            if client.ask(0, &[NS, key, "1"])?.rows == 1 {
                return Ok(false);
            }
            client.ask(1, &[])?;
            if inserted(client, 2, key)? {
                client.ask(3, &[])?;
                return Ok(true);
            }
            client.ask(4, &[])?;
            found(client.ask(0, &[NS, key, "1"])?.rows)
        },
    },
    Contestant {
        name: "advisory lock, SELECT, INSERT",
        trips: [
            "BEGIN, lock, SELECT, INSERT, COMMIT",
            "BEGIN, lock, SELECT, COMMIT",
        ],
        table: Some("hand_advisory"),
        statements: &[
            "BEGIN",
            "SELECT pg_advisory_xact_lock(hashtextextended($1 || $2, 0))",
            "SELECT true FROM hand_advisory WHERE ns = $1 AND key = $2",
            "INSERT INTO hand_advisory VALUES ($1, $2)",
            "COMMIT",
        ],
        claim: |client, key| {
            client.ask(0, &[])?;
            client.ask(1, &[NS, key])?;
            let won = client.ask(2, &[NS, key])?.rows == 0;
            if won {
                client.ask(3, &[NS, key])?;
            }
            client.ask(4, &[])?;
            Ok(won)
        },
    },
];

/// Whether a plain INSERT went in; a unique violation is an answer.
fn inserted(client: &mut Client, statement: usize, key: &str) -> Result<bool, String> {
    client.add(statement, &[NS, key])?;
    match client.trip()?.sqlstate.as_deref() {
        None => Ok(true),
        Some("23505") => Ok(false),
        Some(other) => Err(format!("an INSERT was refused with {other}")),
    }
}

fn found(rows: u64) -> Result<bool, String> {
    match rows {
        1 => Ok(false),
        _ => Err("the row that was in the way is not there".to_owned()),
    }
}

/// Puts these claims into the table of every contestant.
pub fn store(client: &mut Client, keys: &[String]) -> Result<(), String> {
    let all = crate::key::array(keys);
    for contestant in CONTESTANTS {
        match contestant.table {
            Some("once.claim") => {
                let claimed = "SELECT count(*) FILTER (WHERE claim_once($1, key)) FROM unnest($2::text[]) key";
                once(client, claimed, &[NS, &all])?;
            }
            Some(table) => {
                let insert = format!("INSERT INTO {table} (ns, key) SELECT $1, unnest($2::text[])");
                once(client, &insert, &[NS, &all])?;
            }
            None => {}
        }
    }
    Ok(())
}

/// A statement with parameters that is called only once.
pub fn once(client: &mut Client, sql: &str, parameters: &[&str]) -> Result<Reply, String> {
    client.prepare(&[sql])?;
    let reply = client.ask(0, parameters);
    client.run("DEALLOCATE ALL")?;
    reply
}

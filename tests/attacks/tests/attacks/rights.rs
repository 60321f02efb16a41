//! Every set of grants, with and without row security, as the role itself and by SET ROLE: the row
//! functions may do what plain SQL may do, and no more.

use pg_once_attacks::{Actor, Scene, count, plain};

/// What is granted to eve, each with its own bit.
const GRANTS: &[&str] = &[
    "USAGE ON SCHEMA shop",
    "SELECT ON shop.account",
    "INSERT ON shop.account",
    "UPDATE ON shop.account",
    "SELECT (key) ON shop.account",
    "UPDATE (n) ON shop.account",
    "INSERT (key) ON shop.account",
];

/// Row security: off, every row visible, none visible, all may be inserted but none seen, none inserted.
const SECURITY: &[(&str, &str)] = &[
    ("off", "ALTER TABLE shop.account DISABLE ROW LEVEL SECURITY"),
    (
        "all",
        "ALTER TABLE shop.account ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON shop.account USING (true)",
    ),
    ("none", "ALTER TABLE shop.account ENABLE ROW LEVEL SECURITY"),
    (
        "insert only",
        "ALTER TABLE shop.account ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON shop.account FOR INSERT WITH CHECK (true)",
    ),
    (
        "select only",
        "ALTER TABLE shop.account ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON shop.account FOR SELECT USING (true)",
    ),
];

/// A call, and the statements that do the same: looking, and what follows where there was nothing.
const CALLS: &[(&str, &str, &str)] = &[
    (
        "SELECT count(*) FROM with_row_lock(NULL::shop.account, '{\"key\": \"#\"}')",
        "SELECT * FROM shop.account WHERE key = '#' FOR NO KEY UPDATE",
        "INSERT INTO shop.account (key) VALUES ('#')",
    ),
    (
        "SELECT count(*) FROM find_or_create(NULL::shop.account, '{\"key\": \"#\"}')",
        "SELECT * FROM shop.account WHERE key = '#'",
        "INSERT INTO shop.account (key) VALUES ('#')",
    ),
    (
        "SELECT count(*) FROM find_or_create(NULL::shop.account, '{\"key\": \"#\"}', lock => true)",
        "SELECT * FROM shop.account WHERE key = '#' FOR NO KEY UPDATE",
        "INSERT INTO shop.account (key) VALUES ('#')",
    ),
];

#[test]
fn row_functions_may_do_what_plain_sql_may_do() {
    let scene = Scene::superusers(plain());
    let mut shop = scene.shop();
    shop.run(
        "REVOKE USAGE ON SCHEMA shop FROM PUBLIC;
         CREATE TABLE shop.account (id int GENERATED ALWAYS AS IDENTITY, key text UNIQUE, n int DEFAULT 0);
         INSERT INTO shop.account (key) VALUES ('there')",
    );
    scene.superuser().run("GRANT @eve TO @member");
    let mut eve = scene.eve();
    let mut member = scene.member();
    member.run("SET ROLE @eve");
    let mut attacks = 0;
    let mut differences = Vec::new();
    for (security, made) in SECURITY {
        shop.run("ALTER TABLE shop.account DISABLE ROW LEVEL SECURITY");
        shop.run("DROP POLICY IF EXISTS p ON shop.account");
        shop.run(made);
        for set in 0..1 << GRANTS.len() {
            let granted: Vec<&str> = GRANTS
                .iter()
                .enumerate()
                .filter(|(bit, _)| set >> bit & 1 == 1)
                .map(|(_, grant)| *grant)
                .collect();
            shop.run("REVOKE ALL ON shop.account FROM @eve; REVOKE ALL ON SCHEMA shop FROM @eve");
            let grants: Vec<String> = granted
                .iter()
                .map(|grant| format!("GRANT {grant} TO @eve"))
                .collect();
            if !grants.is_empty() {
                shop.run(&grants.join("; "));
            }
            let session = if set / 2 % 2 == 0 {
                &mut eve
            } else {
                &mut member
            };
            for (call, look, insert) in CALLS {
                for key in ["there", "new"] {
                    let by_plain_sql =
                        plain_sql(session, &look.replace('#', key), &insert.replace('#', key));
                    let by_call = allowed(session, &call.replace('#', key));
                    attacks += 1;
                    if by_plain_sql != by_call {
                        differences.push(format!(
                            "{call} of {key}, row security {security}, granted {granted:?}: {by_call}, plain SQL {by_plain_sql}"
                        ));
                    }
                }
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {attacks}: {:#?}",
        differences.len(),
        &differences[..differences.len().min(12)]
    );
    scene.nobody_got_in(&[]);
    count("sets of rights", attacks);
}

/// Whether a row comes of it; what fails says 42501 or, where row security hides what is there, a
/// violation.
fn allowed(session: &mut Actor, statement: &str) -> bool {
    session.run("BEGIN");
    let answer = session.try_run(statement);
    session.run("ROLLBACK");
    match answer {
        Ok(rows) => rows[0][0].as_deref() == Some("1"),
        Err(failure) => {
            assert!(
                ["42501", "23505"].contains(&failure.sqlstate()),
                "{statement}: {failure:?}"
            );
            false
        }
    }
}

fn plain_sql(session: &mut Actor, look: &str, insert: &str) -> bool {
    session.run("BEGIN");
    let found = session.try_run(look);
    let done = match found {
        Ok(rows) if rows.len() == 1 => true,
        Ok(_) => {
            session.try_run(insert).is_ok()
                && session.try_run(look).is_ok_and(|rows| rows.len() == 1)
        }
        Err(_) => false,
    };
    session.run("ROLLBACK");
    done
}

//! Rows that the extension's owner may write into its tables and that the extension would never write.

use crate::planted;
use pg_once_attacks::{Actor, Scene, count, plain};
use std::thread;
use std::time::Duration;

/// A column, a value that is right, and those that are wrong.
type Column = (&'static str, &'static str, &'static [&'static str]);

/// What a column of the storage key of 'n' and 'k' has.
const OF_NAME: &str = "of ('n', 'k')";

/// A row of each table: its columns, and the values that are wrong in the place of good ones.
const ROWS: &[(&str, &[Column])] = &[
    (
        "once.claim",
        &[
            ("place_high", OF_NAME, &["-32768", "32767", "0"]),
            ("place_low", OF_NAME, &["-32768", "32767", "0"]),
            ("hash_high", OF_NAME, &["-2147483648", "2147483647", "0"]),
            (
                "hash_low",
                OF_NAME,
                &["-9223372036854775808", "9223372036854775807", "0"],
            ),
            (
                "claimed_at",
                "now()",
                &[
                    "'infinity'",
                    "'-infinity'",
                    "'4714-11-24 BC'",
                    "'294276-12-31'",
                ],
            ),
            (
                "expires_at",
                "NULL",
                &[
                    "'infinity'",
                    "'-infinity'",
                    "'4714-11-24 BC'",
                    "'294276-12-31 23:59:59.999999'",
                    "now()",
                    "now() - interval '1 s'",
                ],
            ),
            ("owner", "NULL", &["'00000000-0000-0000-0000-000000000000'"]),
            (
                "ns",
                "'n'",
                &[
                    "''",
                    "repeat('x', 129)",
                    "repeat('x', 1000000)",
                    "E'\\x1e'",
                    "'closed'",
                ],
            ),
            (
                "key",
                "'k'",
                &[
                    "''",
                    "repeat('x', 2001)",
                    "repeat('x', 1000000)",
                    "E'\\x1e'",
                    "E'\\x1ea'",
                    "E'\\x1ea\\x1eb\\x1b'",
                    "E'\\x1e\\x1b9\\x1e'",
                    "repeat(E'\\x1e', 100000)",
                ],
            ),
        ],
    ),
    (
        "once.work_record",
        &[
            ("place_high", OF_NAME, &["-32768", "32767", "0"]),
            ("place_low", OF_NAME, &["-32768", "32767", "0"]),
            ("hash_high", OF_NAME, &["-2147483648", "2147483647", "0"]),
            (
                "hash_low",
                OF_NAME,
                &["-9223372036854775808", "9223372036854775807", "0"],
            ),
            (
                "token",
                "5",
                &[
                    "9223372036854775807",
                    "-9223372036854775808",
                    "0",
                    "-1",
                    "9223372036854775806",
                ],
            ),
            (
                "begun_at",
                "now()",
                &["'infinity'", "'-infinity'", "'294276-12-31'"],
            ),
            (
                "lease_until",
                "now() - interval '1 s'",
                &["NULL", "'infinity'", "'-infinity'", "'294276-12-31'"],
            ),
            (
                "finished_at",
                "NULL",
                &["now()", "'infinity'", "'-infinity'"],
            ),
            (
                "expires_at",
                "NULL",
                &["now() - interval '1 s'", "'infinity'", "'-infinity'"],
            ),
            ("request", "NULL", &["gen_random_uuid()"]),
            ("attempt", "1", &["2147483647", "-2147483648", "0"]),
            (
                "state",
                "'r'",
                &["'d'", "'f'", "'g'", "'x'", "'z'", "''", "'\\377'"],
            ),
            ("ns", "'n'", &["''", "repeat('x', 1000000)", "'other'"]),
            ("key", "'k'", &["''", "repeat('x', 1000000)", "E'\\x1e'"]),
            (
                "result",
                "NULL",
                &[
                    "'null'",
                    "'[]'",
                    "to_jsonb(repeat('x', 1000000))",
                    "(repeat('[', 3000) || repeat(']', 3000))::jsonb",
                ],
            ),
        ],
    ),
    (
        "once.work_floor",
        &[
            ("one", "true", &["true"]),
            (
                "token",
                "1",
                &[
                    "9223372036854775807",
                    "9223372036854775806",
                    "-9223372036854775808",
                    "0",
                    "4611686018427387904",
                ],
            ),
        ],
    ),
    (
        "once.access_policy",
        &[
            (
                "ns",
                "'n'",
                &["''", "repeat('x', 129)", "repeat('x', 5000)", "E'\\x1e'"],
            ),
            (
                "ttl",
                "NULL",
                &[
                    "'0'",
                    "'-1 day'",
                    "'1 us'",
                    "'178000000 years'",
                    "'-178000000 years'",
                    "'1 mon -30 days'",
                    "'2147483647 mon'",
                    "'2147483647 days'",
                ],
            ),
            (
                "allowed_role",
                "NULL",
                &["0", "4294967295", "10", "1", "16383"],
            ),
        ],
    ),
    (
        "once.merged_rows",
        &[
            ("merged_at", "now()", &["'infinity'", "'-infinity'"]),
            ("merged_in", "'1'", &["'18446744073709551615'"]),
            ("merged_by", "'x'", &["''", "repeat('x', 1000000)"]),
            ("table_name", "'x'", &["'; DROP TABLE x'"]),
            ("reason", "'x'", &["''"]),
            ("key", "'{}'", &["'null'", "'[[]]'"]),
            ("kept", "'{}'", &["'null'"]),
            ("removed", "'{}'", &["'null'"]),
            ("moved", "'{}'", &["'null'", "'1'"]),
        ],
    ),
];

/// Of core and the contract: what is wrong with a value or a table, a right that is missing.
const ALLOWED: &[&str] = &[
    "00000", "22", "23", "40001", "42501", "53", "54", "55000", "55P03", "42P01", "57014", "0A000",
];

/// Every wrong value, alone; then every function, by the owner and by another role.
#[test]
fn malformed_rows_crash_nothing_and_break_no_fence() {
    let scene = Scene::tenants(plain());
    let mut tenant = scene.tenant();
    let mut eve = scene.eve();
    let mut superuser = scene.superuser();
    tenant.run(
        "CREATE TABLE tenant.copies (id int PRIMARY KEY, k int); INSERT INTO tenant.copies VALUES (1, 1), (2, 1);
         GRANT ALL ON TABLE tenant.copies TO PUBLIC;
         SELECT once.merge_duplicates('tenant.copies', '{k}', dry_run => false);
         INSERT INTO tenant.copies VALUES (2, 1)",
    );
    let mut attacks = 0;
    for (table, columns) in ROWS {
        // A table that this version does not have, or a column that it has not.
        if !superuser.is_true(&format!("SELECT to_regclass('{table}') IS NOT NULL")) {
            continue;
        }
        let there = |superuser: &mut Actor, column: &str| {
            superuser.is_true(&format!(
                "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = '{column}')"
            ))
        };
        let columns: Vec<_> = columns
            .iter()
            .filter(|(column, ..)| there(&mut superuser, column))
            .collect();
        for (place, (column, _, wrong)) in columns.iter().enumerate() {
            for value in *wrong {
                superuser.run(
                    "TRUNCATE once.claim, once.work_record, once.work_floor, once.merged_rows",
                );
                let of = if table.contains("work_record") {
                    "begin_once('n', 'k')"
                } else {
                    "claim_once('n', 'k')"
                };
                tenant.run(&format!("SELECT {of}"));
                let written = match table.contains("work_record") {
                    true => "once.work_record",
                    false => "once.claim",
                };
                let key = superuser.rows(&format!(
                    "SELECT place_high, place_low, hash_high, hash_low FROM {written}"
                ));
                superuser.run("TRUNCATE once.claim, once.work_record");
                let names: Vec<&str> = columns.iter().map(|(column, ..)| *column).collect();
                let values: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(at, (_, good, _))| {
                        if at == place {
                            (*value).to_owned()
                        } else {
                            (*good).to_owned()
                        }
                    })
                    .enumerate()
                    .map(|(at, value)| match value == OF_NAME {
                        true => key[0][at].clone().unwrap(),
                        false => value,
                    })
                    .collect();
                let planted = tenant.told(&format!(
                    "INSERT INTO {table} ({}) VALUES ({})",
                    names.join(", "),
                    values.join(", ")
                ));
                assert!(
                    ALLOWED.iter().any(|allowed| planted.starts_with(allowed)),
                    "{table}.{column} {value}: {planted}"
                );
                attacks += 1;
                for role in [&mut tenant, &mut eve] {
                    role.run("SET lock_timeout = '50ms'; SET statement_timeout = '10s'");
                    attacks += calls(role, &format!("{table}.{column} = {value}"));
                }
                fences(&mut tenant, &format!("{table}.{column} = {value}"));
                let _ = superuser.try_run("TRUNCATE once.access_policy");
            }
        }
    }
    scene.nobody_got_in(&[]);
    count("calls on malformed rows", attacks);
}

fn calls(role: &mut Actor, row: &str) -> usize {
    for call in planted::CALLS {
        for begin in [
            "BEGIN",
            "BEGIN; SET LOCAL pg_once.claim_engine = 'statement'",
        ] {
            role.run(begin);
            let told = role.told(&format!("SELECT {call}"));
            assert!(
                ALLOWED.iter().any(|allowed| told.starts_with(allowed)),
                "{row}: {call}: {told}"
            );
            role.run("ROLLBACK");
        }
    }
    for view in ["claims", "work", "namespaces", "stats"] {
        let told = role.told(&format!(
            "SELECT count(*), count(v.*::text) FROM once.{view} v"
        ));
        assert!(
            ALLOWED.iter().any(|allowed| told.starts_with(allowed)),
            "{row}: {view}: {told}"
        );
    }
    planted::CALLS.len() * 2 + 4
}

/// Tokens of one key rise, or there are none.
fn fences(tenant: &mut Actor, row: &str) {
    let mut last = None;
    for _ in 0..3 {
        let answer =
            tenant.try_run("SELECT outcome, token FROM begin_once('n', 'k', lease => '1 us')");
        match answer {
            Ok(rows) => {
                if rows[0][0].as_deref() == Some("run") {
                    let token: i64 = rows[0][1].as_deref().unwrap().parse().unwrap();
                    assert!(
                        last.is_none_or(|last| last < token),
                        "{row}: {token} after {last:?}"
                    );
                    last = Some(token);
                }
            }
            Err(failure) => assert!(
                ALLOWED
                    .iter()
                    .any(|allowed| failure.sqlstate().starts_with(allowed)),
                "{row}: {failure:?}"
            ),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

//! Names that would be SQL if anybody forgot to quote them.

use pg_once_attacks::{Scene, count, payload, plain};

fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "a\"b",
        "\"",
        "\"\"",
        "a'b",
        "''",
        "'",
        "\\",
        "a\\",
        "\\'",
        "a\\\"b",
        "$$",
        "$a$",
        "$1",
        "a.b",
        ".",
        "a;b",
        "; DROP TABLE canary; --",
        "--",
        "/*",
        "*/",
        "/* a */",
        "a\nb",
        "\n",
        "a\tb",
        " ",
        "  a  ",
        "a b",
        "select",
        "table",
        "user",
        "all",
        "NULL",
        "null",
        "true",
        "current_user",
        "ctid2",
        "A",
        "ÀÉ",
        "名前",
        "🦀",
        "e\u{301}",
        "\u{200b}",
        "\u{1e}",
        "%s",
        "%I",
        "%",
        "{}",
        "{a,b}",
        "[1]",
        "1",
        "1a",
        "-1",
        "pg_temp",
        "pg_catalog",
        "once",
        "public",
        "x\") FROM canary; SELECT spoil(); --",
        "x' || spoil() || '",
        "x\"; SELECT spoil(); --",
        "E'\\''",
        "U&\"\\0041\"",
        "timeout",
        "defaults",
        "timeout_",
        "key",
        "target",
        "ns",
        "k",
        "t",
        "created",
        "payment",
        "n",
        "NEW",
        "old",
        "a\rb",
        "a,b",
        "(a)",
        "a=b",
        "@",
        "#",
        "^",
        "?",
        ":",
        ":a",
        "::text",
        "`a`",
        "<a>",
        "&amp;",
        "\u{7f}",
        "\u{1}",
        "|",
        "||",
        "~",
        "!",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    names.push("x".repeat(63));
    names.push(format!("{}\"", "y".repeat(62)));
    names.push("é".repeat(31));
    names.push("\"".repeat(63));
    names
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The text of a JSON object of one string member.
fn object(name: &str, value: &str) -> String {
    format!("jsonb_build_object({}, {value})", literal(name))
}

#[test]
fn names_are_never_sql() {
    let scene = Scene::superusers(plain());
    let mut session = scene.landlord();
    session.run(&format!(
        "CREATE TABLE public.canary (id int); INSERT INTO public.canary VALUES (1);
         CREATE FUNCTION public.spoil() RETURNS text LANGUAGE plpgsql AS $$ BEGIN {} DROP TABLE public.canary; RETURN 'x'; END $$;
         CREATE FUNCTION public.run_plan(target regclass, keys text[]) RETURNS int LANGUAGE plpgsql AS $$
             DECLARE step text; steps int := 0; BEGIN
             FOR step IN SELECT once.guard_plan(target, keys) LOOP
                 EXECUTE replace(step, ' CONCURRENTLY', ''); steps := steps + 1;
             END LOOP; RETURN steps; END $$",
        payload("a name")
    ));
    let mut attacks = 0;
    for (number, name) in names().iter().enumerate() {
        let (id, text) = (identifier(name), literal(name));
        let schema = format!("s{number}");
        let quoted_schema = if number % 3 == 0 {
            identifier(&format!(
                "{}{number}",
                name.chars().take(12).collect::<String>()
            ))
        } else {
            schema
        };
        session.run("RESET search_path");
        let made = session.try_run(&format!(
            "CREATE SCHEMA {quoted_schema}; SET search_path = {quoted_schema}, public;
             CREATE TABLE {id} (id int PRIMARY KEY, {id} text, service_id int, line_item_id text)"
        ));
        // Some names are those of columns that are there, or too like them.
        let Ok(_) = made else {
            let _ = session.try_run(&format!(
                "CREATE SCHEMA IF NOT EXISTS {quoted_schema}; SET search_path = {quoted_schema}, public;
                 CREATE TABLE {id} (id int PRIMARY KEY, {id} text, service_id int, line_item_id text)"
            ));
            continue;
        };
        let table = format!("{quoted_schema}.{id}");
        session.run(&format!(
            "INSERT INTO {table} VALUES (1, 'v'), (2, 'v'), (3, 'w')"
        ));
        let regclass = format!("{}::regclass", literal(&table));
        let calls = [
            (
                format!(
                    "SELECT id FROM with_row_lock(NULL::{table}, {})",
                    object(name, "'w'")
                ),
                "3",
            ),
            (
                format!(
                    "SELECT created FROM find_or_create(NULL::{table}, {}, '{{\"id\": 9}}')",
                    object(name, text.as_str())
                ),
                "t",
            ),
            (
                format!("SELECT {id} FROM {table} WHERE id = 9"),
                name.as_str(),
            ),
            (
                format!(
                    "SELECT id FROM with_row_lock(NULL::{table}, '{{\"id\": 10}}', {})",
                    object(name, text.as_str())
                ),
                "10",
            ),
            (
                format!("SELECT count(*) FROM once.find_duplicates({regclass}, ARRAY[{text}])"),
                "2",
            ),
            (
                format!(
                    "SELECT count(*) FROM once.merge_duplicates({regclass}, ARRAY[{text}], order_by => 'id')"
                ),
                "2",
            ),
            (
                format!(
                    "SELECT count(*) FROM once.merge_duplicates({regclass}, ARRAY[{text}], dry_run => false)"
                ),
                "2",
            ),
            (
                format!("SELECT public.run_plan({regclass}, ARRAY[{text}]) > 0"),
                "t",
            ),
            (format!("SELECT claim_once({text}, {text})"), "t"),
            (format!("SELECT is_claimed({text}, {text})"), "t"),
            (format!("SELECT with_lock({text}, {text})"), "t"),
            (
                format!(
                    "SELECT outcome FROM begin_once({text}, {text}, request => to_jsonb({text}::pg_catalog.text))"
                ),
                "run",
            ),
            (
                format!(
                    "SELECT created FROM set_config('pg_once.payment_table', {}, false), with_payment_lock(77, {text})",
                    literal(&table)
                ),
                "",
            ),
            (
                format!(
                    "SELECT once.define_row_lock({}, {regclass}, ARRAY[{text}])::oid > 0",
                    literal(&format!("{quoted_schema}.{id}"))
                ),
                "t",
            ),
            (format!("SELECT id FROM {quoted_schema}.{id}('w')"), "3"),
        ];
        for (call, expected) in calls {
            let answer = session.try_run(&call);
            match &answer {
                Ok(rows) if expected.is_empty() => {
                    assert!(rows.len() <= 1, "{name:?}: {call}: {answer:?}")
                }
                Ok(rows) => assert_eq!(rows[0][0].as_deref(), Some(expected), "{name:?}: {call}"),
                Err(failure) => {
                    // A control character is a byte of a key as any other, but U+001E begins one of several parts.
                    let refused = name.starts_with('\u{1e}') && failure.sqlstate() == "22023"
                        || expected.is_empty() && ["23502", "42P01"].contains(&failure.sqlstate());
                    assert!(refused, "{name:?}: {call}: {failure:?}");
                }
            }
            attacks += 1;
        }
        session.run("RESET pg_once.payment_table");
    }
    assert_eq!(session.number("SELECT count(*) FROM public.canary"), 1);
    scene.nobody_got_in(&[]);
    count("names that are SQL", attacks);
}

/// The name of the table of payments is a name, whatever it looks like.
#[test]
fn the_payment_table_is_a_name() {
    let scene = Scene::superusers(plain());
    let mut session = scene.landlord();
    session.run("CREATE TABLE public.canary (service_id int, line_item_id text); INSERT INTO canary VALUES (1, 'A')");
    let mut attacks = 0;
    for value in [
        "canary; DROP TABLE canary",
        "canary WHERE true; --",
        "(SELECT 1)",
        "canary, canary",
        "public.canary.x.y",
        "\"canary",
        "canary\"",
        "'canary'",
        "1",
        "",
        " ",
        ".",
        "a.",
        ".a",
        "pg_class",
        "pg_authid",
        "once.claim",
        "once.claims",
        "information_schema.tables",
        "$$canary$$",
        "U&\"\\0063anary\"",
        "canary--",
        "canary/**/",
        "other_database.public.canary",
        "canary::regclass",
        "pg_catalog.pg_proc",
        "\"public.canary\"",
        "public . canary",
        "PUBLIC.CANARY",
        "public.canary ",
        "only canary",
        "canary *",
        "lateral canary",
        "now()",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        ".".repeat(100),
        "\"".repeat(200),
        "a".repeat(10_000),
        "a.".repeat(5_000),
    ]) {
        session.run(&format!(
            "SELECT set_config('pg_once.payment_table', {}, false)",
            literal(&value)
        ));
        let answer = session.try_run("SELECT * FROM with_payment_lock(1, 'A')");
        match &answer {
            Ok(rows) => assert!(
                rows.len() == 1 && value.to_lowercase().contains("canary"),
                "{value}: {rows:?}"
            ),
            Err(failure) => assert!(
                ["42", "22023", "0A000", "3D000", "3F000"]
                    .iter()
                    .any(|class| failure.sqlstate().starts_with(class)),
                "{value}: {failure:?}"
            ),
        }
        attacks += 1;
    }
    assert_eq!(session.number("SELECT count(*) FROM public.canary"), 1);
    scene.nobody_got_in(&[]);
    count("payment tables that are SQL", attacks);
}

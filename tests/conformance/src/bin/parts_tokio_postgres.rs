//! Claims by parts of Rust's types. What a program of parts does is said in parts.py.

use std::env;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls};

struct Part {
    kind: &'static str,
    name: &'static str,
    value: Box<dyn ToSql + Sync>,
    cast: &'static str,
}

fn part<T: ToSql + Sync + 'static>(
    kind: &'static str,
    name: &'static str,
    value: T,
    cast: &'static str,
) -> Part {
    Part {
        kind,
        name,
        value: Box::new(value),
        cast,
    }
}

/// Without features of the driver's, types that it does not know go as text.
fn parts() -> Vec<Part> {
    let instant = UNIX_EPOCH + Duration::from_millis(1_796_128_496_789);
    let uuid = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
    vec![
        part("integer", "i32", 4711_i32, "::integer"),
        part("bigint", "i64", 9_007_199_254_740_993_i64, "::bigint"),
        part("text", "&str", "é, org/repo", ""),
        part("boolean", "bool", true, "::boolean"),
        part("date", "&str", "2026-12-01", "::text::date"),
        part("timestamptz", "SystemTime", instant, "::timestamptz"),
        part(
            "timestamp",
            "&str",
            "2026-12-01 12:34:56.789",
            "::text::timestamp",
        ),
        part("numeric", "&str", "12.5", "::text::numeric"),
        part("uuid", "&str", uuid, "::text::uuid"),
        part("bytea", "Vec<u8>", vec![0xff_u8, 0xfe], "::bytea"),
        part("float8", "f64", 0.1 + 0.2, "::float8"),
        part("array", "Vec<&str>", vec!["a", "b"], ""),
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let setting = |name: &str| env::var(name).unwrap();
    let (client, connection) = Config::new()
        .host(setting("PGHOST"))
        .port(setting("PGPORT").parse().unwrap())
        .user(setting("PGUSER"))
        .dbname(setting("PGDATABASE"))
        .connect(NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mode = env::args().nth(1).unwrap();
    for ns in env::args().skip(2) {
        for part in parts() {
            let Part {
                kind, name, cast, ..
            } = part;
            let mut answer = json!({ "ns": ns, "kind": kind, "as": name });
            if mode == "default" {
                if let Err(error) =
                    claim(&client, &format!("{ns} {kind} {name}"), &*part.value, "").await
                {
                    let state = error.code().map(|state| state.code().to_owned());
                    answer["refused"] = json!(state.unwrap_or("driver".to_owned()));
                }
            } else if kind == "array" {
                continue;
            } else {
                answer["won"] = json!(claim(&client, &ns, &*part.value, cast).await.unwrap());
            }
            println!("{answer}");
        }
    }
}

async fn claim(
    client: &Client,
    ns: &str,
    value: &(dyn ToSql + Sync),
    cast: &str,
) -> Result<bool, Error> {
    let sql = format!("SELECT claim_once($1, $2{cast})");
    Ok(client.query_one(&sql, &[&ns, value]).await?.get(0))
}

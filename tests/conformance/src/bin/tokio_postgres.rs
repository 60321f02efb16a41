//! tokio-postgres, with its defaults; behind a pooler with types instead of prepared statements.

use std::env;

use pg_once_conformance::{Statement, say, statements};
use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row};

type Parameter = (Box<dyn ToSql + Sync>, Type);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let setting = |name: &str| env::var(name).unwrap();
    let (client, connection) = Config::new()
        .host(setting("PGHOST"))
        .port(setting("PGPORT").parse().unwrap())
        .user(setting("PGUSER"))
        .dbname(setting("PGDATABASE"))
        .application_name(setting("PGAPPNAME"))
        .connect(NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    for statement in statements() {
        let found = run(&client, statement).await;
        say(found
            .map(|rows| rows.iter().map(values).collect())
            .map_err(|error| error.code().expect("a SQLSTATE").code().to_owned()));
    }
}

async fn run(client: &Client, statement: Statement) -> Result<Vec<Row>, Error> {
    let parameters: Vec<Parameter> = statement.parameters.iter().map(parameter).collect();
    if parameters.is_empty() && !statement.sql.starts_with("SELECT") {
        client.batch_execute(&statement.sql).await?;
        return Ok(vec![]);
    }
    if env::var_os("POOLED").is_some() {
        let typed: Vec<(&(dyn ToSql + Sync), Type)> = parameters
            .iter()
            .map(|(value, kind)| (&**value, kind.clone()))
            .collect();
        client.query_typed(&statement.sql, &typed).await
    } else {
        let untyped: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|(value, _)| &**value).collect();
        client.query(&statement.sql, &untyped).await
    }
}

fn parameter(value: &Value) -> Parameter {
    match value {
        Value::Number(number) => (Box::new(number.as_i64()), Type::INT8),
        value => (Box::new(value.as_str().map(str::to_owned)), Type::TEXT),
    }
}

fn values(row: &Row) -> Vec<Value> {
    row.columns()
        .iter()
        .enumerate()
        .map(|(at, column)| match *column.type_() {
            Type::BOOL => json!(row.get::<_, Option<bool>>(at)),
            Type::INT4 => json!(row.get::<_, Option<i32>>(at)),
            Type::INT8 => json!(row.get::<_, Option<i64>>(at)),
            _ => json!(row.get::<_, Option<String>>(at)),
        })
        .collect()
}

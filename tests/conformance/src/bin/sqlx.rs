//! sqlx, with its defaults; behind a pooler without prepared statements of its own.

use std::env;

use pg_once_conformance::{Statement, say, statements};
use serde_json::{Value, json};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{Column, ConnectOptions, Executor, PgConnection, Postgres, Row, TypeInfo};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let cache = if env::var_os("POOLED").is_some() {
        0
    } else {
        100
    };
    let mut db = PgConnectOptions::new()
        .application_name(&env::var("PGAPPNAME").unwrap())
        .statement_cache_capacity(cache)
        .connect()
        .await
        .unwrap();
    for statement in statements() {
        say(run(&mut db, statement)
            .await
            .map(|rows| rows.iter().map(values).collect())
            .map_err(|error| {
                let raised = error.into_database_error().expect("a SQLSTATE");
                raised.code().expect("a SQLSTATE").into_owned()
            }));
    }
}

async fn run(db: &mut PgConnection, statement: Statement) -> sqlx::Result<Vec<PgRow>> {
    if statement.parameters.is_empty() && !statement.sql.starts_with("SELECT") {
        db.execute(sqlx::raw_sql(&statement.sql)).await?;
        return Ok(vec![]);
    }
    let pooled = env::var_os("POOLED").is_some();
    let query = sqlx::query(&statement.sql).persistent(!pooled);
    statement
        .parameters
        .iter()
        .fold(query, bind)
        .fetch_all(db)
        .await
}

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

fn bind<'q>(query: Query<'q>, value: &'q Value) -> Query<'q> {
    match value {
        Value::Number(number) => query.bind(number.as_i64()),
        value => query.bind(value.as_str()),
    }
}

fn values(row: &PgRow) -> Vec<Value> {
    row.columns()
        .iter()
        .enumerate()
        .map(|(at, column)| match column.type_info().name() {
            "BOOL" => json!(row.get::<Option<bool>, _>(at)),
            "INT4" => json!(row.get::<Option<i32>, _>(at)),
            "INT8" => json!(row.get::<Option<i64>, _>(at)),
            _ => json!(row.get::<Option<String>, _>(at)),
        })
        .collect()
}

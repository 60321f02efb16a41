use std::env;
use std::error::Error;

use postgres::{Client, Config, NoTls};

use crate::Result;

pub const NAME: &str = "demo";

/// Creates the database with the extension in it; answers the server's version.
pub fn create_afresh() -> Result<String> {
    let mut server = connect_to("postgres")?;
    server.batch_execute(&format!("DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"))?;
    server.batch_execute(&format!("CREATE DATABASE {NAME}"))?;
    connect()?.batch_execute("CREATE EXTENSION pg_once; CREATE SCHEMA naive")?;
    let version: String = server.query_one("SHOW server_version", &[])?.get(0);
    Ok(format!("PostgreSQL {version}"))
}

pub fn connect() -> Result<Client> {
    connect_to(NAME)
}

fn connect_to(dbname: &str) -> Result<Client> {
    let client = Config::new()
        .host(&host())
        .port(port().parse()?)
        .user(&user())
        .dbname(dbname)
        .application_name("pg_once_demo")
        .connect(NoTls)?;
    Ok(client)
}

pub fn host() -> String {
    env::var("PGHOST").unwrap_or_else(|_| "/tmp".into())
}

pub fn port() -> String {
    env::var("PGPORT").unwrap_or_else(|_| "5432".into())
}

pub fn user() -> String {
    env::var("PGUSER").unwrap_or_else(|_| "postgres".into())
}

/// A connection for counting: it reads tables as they are, never an index of them.
pub fn connect_for_counting() -> Result<Client> {
    let mut client = connect()?;
    client.batch_execute(
        "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off",
    )?;
    Ok(client)
}

/// The driver's own text for an error of the server is just "db error".
pub fn explain(error: &(dyn Error + 'static)) -> String {
    match error
        .downcast_ref::<postgres::Error>()
        .and_then(|error| error.as_db_error())
    {
        Some(reason) => {
            let hint = reason
                .hint()
                .map(|hint| format!("\nHINT: {hint}"))
                .unwrap_or_default();
            format!(
                "{} {}: {}{hint}",
                reason.severity(),
                reason.code().code(),
                reason.message()
            )
        }
        None => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

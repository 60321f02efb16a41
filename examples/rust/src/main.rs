//! pg_once_example notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT

use std::env;
use std::error::Error;

use serde_json::json;
use tokio_postgres::{Client, Config, NoTls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut db, connection) = Config::new()
        .host(env::var("PGHOST")?)
        .port(env::var("PGPORT")?.parse()?)
        .user(env::var("PGUSER")?)
        .dbname(env::var("PGDATABASE")?)
        .connect(NoTls)
        .await?;
    tokio::spawn(connection);

    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = match arguments[..] {
        ["notify", build, repo] => notify(&db, build.parse()?, repo).await?,
        ["pay", service, line_item, amount] => {
            pay(&mut db, service.parse()?, line_item, amount).await?
        }
        _ => return Err("notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT".into()),
    };
    println!("{said}");
    Ok(())
}

async fn notify(db: &Client, build: i64, repo: &str) -> Result<String, Box<dyn Error>> {
    let claim = "SELECT claim_once('ci_failure', $1::bigint, $2)";
    Ok(if db.query_one(claim, &[&build, &repo]).await?.get(0) {
        format!("sent: build {build} of {repo} failed")
    } else {
        "not sent".to_owned()
    })
}

async fn pay(
    db: &mut Client,
    service: i64,
    line_item: &str,
    amount: &str,
) -> Result<String, Box<dyn Error>> {
    let transaction = db.transaction().await?;
    let key = json!({ "service_id": service, "line_item_id": line_item });
    let lock = "SELECT id FROM with_row_lock(NULL::payments, $1)";
    let id: i64 = transaction.query_one(lock, &[&key]).await?.get(0);
    let update = "UPDATE payments SET amount = amount + $1::text::numeric \
         WHERE id = $2 RETURNING amount::text";
    let paid = transaction.query_one(update, &[&amount, &id]).await?.get(0);
    transaction.commit().await?;
    Ok(paid)
}

//! Real input, eight clients at once: first the naive way, then with pg_once.
//!
//! `make demo` runs this. The server is the one that PGHOST (a socket directory),
//! PGPORT and PGUSER name; the one argument is the folder with the deliveries of
//! `@octokit/webhooks-examples`, by default target/demo/webhooks-examples.

mod clients;
mod comparison;
mod database;
mod notifications;
mod page;
mod payments;
mod tour;
mod webhook;

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use comparison::Comparison;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const EXAMPLES: &str = "target/demo/webhooks-examples";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("pg_once_demo: {}", database::explain(&*reason));
            ExitCode::FAILURE
        }
    }
}

/// Whether pg_once made no mistake.
fn run() -> Result<bool> {
    let examples = env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from(EXAMPLES), PathBuf::from);
    let builds = webhook::read_all(&examples)?;
    let pages = page::all();

    let version = database::create_afresh()?;
    println!(
        "{version}, database {}, {} clients at once",
        database::NAME,
        clients::CLIENTS
    );
    println!("naive: find-or-create as in Rails. pg_once: one call, atomic in the database.");

    let notifications = Comparison {
        title: notifications::title(&builds),
        naive: notifications::naive(&builds)?,
        pg_once: notifications::with_claim_once(&builds)?,
    };
    notifications.print();

    let payments = Comparison {
        title: payments::title(&pages),
        naive: payments::naive(&pages)?,
        pg_once: payments::with_payment_lock(&pages)?,
    };
    payments.print();

    tour::print();
    Ok(notifications.is_right() && payments.is_right())
}

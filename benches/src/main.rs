//! Compares pg_once with what a user would pick instead, on a private
//! cluster, and writes docs/benchmarks. `make bench` runs it.

mod baseline;
mod batch;
mod claim;
mod document;
mod herd;
mod idle;
mod instruction;
mod key;
mod load;
mod lock;
mod order;
mod plot;
mod redis;
mod report;
mod row;
mod run;
mod scale;
mod server;
mod statistics;
mod storage;
mod throughput;
mod turnover;
mod wire;

use report::Report;
use run::{Purpose, Run};
use server::{Server, scratch};
use std::process::ExitCode;

/// Settings of the cluster that are not the server's defaults: they keep
/// checkpoints and vacuums out of the measurements, and all tables in memory.
fn settings() -> Result<String, String> {
    Ok(format!(
        "max_connections = 200
         shared_buffers = '{}MB'
         max_wal_size = '4GB'
         checkpoint_timeout = '1h'
         autovacuum = off
         ",
        (document::megabytes()? / 4).clamp(128, 6144)
    ))
}

type Part = fn(&Run, &Server, &mut Report) -> Result<(), String>;

/// What is measured, in this order.
const PARTS: &[(&str, Part)] = &[
    ("storage", storage::measure),
    ("order", order::measure),
    ("instructions", instruction::measure),
    ("claims", throughput::measure),
    ("batches", batch::measure),
    ("rows", row::measure),
    ("turns", instruction::turns),
    ("locks", lock::measure),
    ("herd", herd::measure),
    ("redis", redis::measure),
    ("scale", scale::measure),
    ("turnover", turnover::measure),
    ("idle", idle::measure),
];

/// The parts that repeat on any machine.
const GATES: &[&str] = &["storage", "order", "instructions", "turns"];

fn main() -> ExitCode {
    match bench() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("gates missed: {missed}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the run failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many gates were missed.
fn bench() -> Result<usize, String> {
    let (run, what) = arguments()?;
    let parts = chosen(&what)?;
    let settings = settings()?;
    let server = Server::start(&run.major.to_string(), &settings)?;
    let mut report = Report::default();
    let machine = document::Machine::look(&server, &settings)?;
    let mut failed = Vec::new();
    for (name, part) in parts {
        if let Err(error) = part(&run, &server, &mut report) {
            failed.push(format!("{name} failed: {error}"));
        }
    }
    drop(server);
    let about = machine.for_machines(&run);
    report.figures.insert("machine".to_owned(), about);
    let text = document::text(&run, &machine, &report, &failed);
    println!("{text}");
    report.keep(&scratch()?)?;
    if what == "all" {
        document::publish(&text, &report)?;
    }
    run.progress("done");
    match failed.is_empty() {
        true => Ok(report.missed_gates()),
        false => Err(failed.join("; ")),
    }
}

/// pg_once_bench NN WHAT, with SCALE in the environment.
fn arguments() -> Result<(Run, String), String> {
    let usage = || "usage: [SCALE=0.2] pg_once_bench NN all|gates|baseline|PART,…".to_owned();
    let mut arguments = std::env::args().skip(1);
    let major = arguments.next().and_then(|major| major.parse().ok());
    let what = arguments.next().ok_or_else(usage)?;
    let scale = match std::env::var("SCALE").as_deref() {
        Ok("") | Err(_) => Some(1.0),
        Ok(scale) => scale
            .parse()
            .ok()
            .filter(|scale| (0.0..=10.0).contains(scale)),
    };
    let (major, scale) = major.zip(scale).ok_or_else(usage)?;
    let purpose = match what.as_str() {
        "gates" => Purpose::Gates,
        "baseline" => Purpose::Baseline,
        _ => Purpose::Figures,
    };
    Ok((Run::new(major, scale, purpose), what))
}

fn chosen(what: &str) -> Result<Vec<&'static (&'static str, Part)>, String> {
    let parts: Vec<_> = PARTS
        .iter()
        .filter(|(name, _)| match what {
            "all" => true,
            "gates" => GATES.contains(name),
            "baseline" => *name == "turns",
            parts => parts.split(',').any(|part| part == *name),
        })
        .collect();
    match parts.is_empty() {
        true => {
            let names = PARTS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
            Err(format!(
                "there is no part {what}; there are {}",
                names.join(", ")
            ))
        }
        false => Ok(parts),
    }
}

//! What the worker costs a server with many databases in which nothing is claimed: the processor time of all of
//! its processes.

use crate::report::{Bound, Report, number, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use serde_json::json;
use std::fs;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

const DATABASES: usize = 300;

/// The interval in seconds, how many intervals go by until visits come as seldom as they are to, how long the
/// processor time is counted, in seconds, and the most that it may be, in percent of one core.
const INTERVALS: [(u64, u64, u64, f64); 2] = [(60, 7, 240, 1.5), (3600, 0, 120, 0.5)];

/// Until the first visits are over.
const WARMING: Duration = Duration::from_secs(30);

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    let databases = run.scaled(DATABASES, 10);
    run.progress(&format!("idle: {databases} databases"));
    drop(server.database("idle_0", "SELECT")?);
    server.alone("idle_0")?;
    let mut client = server.connect("postgres")?;
    for number in 1..databases {
        client.run(&format!(
            "CREATE DATABASE idle_{number} TEMPLATE idle_0 STRATEGY file_copy"
        ))?;
    }
    drop(client);
    server.set("shared_preload_libraries", "'pg_once'")?;
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for (interval, settling, counted, bound) in INTERVALS {
        let settling = WARMING + Duration::from_secs(interval * settling);
        run.progress(&format!(
            "idle: an interval of {interval} s, {} s",
            settling.as_secs() + counted
        ));
        server.restart_with("pg_once.sweep_interval", &interval.to_string())?;
        thread::sleep(settling);
        let percent = load(server, Duration::from_secs(counted))?;
        report.target(
            format!(
                "worker, {databases} idle databases, an interval of {interval} s: percent of a core"
            ),
            Bound::AtMost(bound),
            &Sample::from_iter([percent]),
        );
        rows.push(vec![format!("{interval} s"), number(percent)]);
        figures.push(json!({ "interval": interval, "databases": databases, "percent": percent }));
    }
    server.reset("pg_once.sweep_interval")?;
    server.reset_and_restart("shared_preload_libraries")?;
    let mut client = server.connect("postgres")?;
    for number in 0..databases {
        client.run(&format!("DROP DATABASE idle_{number} WITH (FORCE)"))?;
    }
    report.section(
        "Idle databases",
        &format!(
            "{databases} databases with the extension in which nothing is made that expires, `autovacuum = off`: the processor \
             time of all processes of the server, once visits come as seldom as they are to.\n\n{}",
            table(&["pg_once.sweep_interval", "% of a core"], rows)
        ),
    );
    report.figures.insert("idle".to_owned(), figures.into());
    Ok(())
}

/// Percent of a core that the server takes for so long.
fn load(server: &Server, time: Duration) -> Result<f64, String> {
    let postmaster = server.postmaster()?;
    let (begun, before) = (Instant::now(), used(postmaster)?);
    thread::sleep(time);
    let used = used(postmaster)? - before;
    Ok(100.0 * used / begun.elapsed().as_secs_f64())
}

/// The processor time in seconds of a process and its children, of those that are over too.
fn used(parent: u32) -> Result<f64, String> {
    /// USER_HZ, which /proc counts in.
    const TICKS: f64 = 100.0;
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").map_err(|error| error.to_string())? {
        let stat = entry.and_then(|entry| fs::read_to_string(entry.path().join("stat")));
        let Some((process, fields)) = stat.ok().as_deref().and_then(parsed) else {
            continue;
        };
        if process == parent || fields[PARENT] == u64::from(parent) {
            ticks += fields[TIMES].iter().sum::<u64>();
        }
    }
    Ok(ticks as f64 / TICKS)
}

/// Where the parent and the times of itself and of its children stand behind the name of a process.
const PARENT: usize = 1;
const TIMES: Range<usize> = 11..15;

/// The number of the process and what stands behind its name, 0 for what is no number.
fn parsed(stat: &str) -> Option<(u32, Vec<u64>)> {
    let (head, tail) = stat.rsplit_once(") ")?;
    let fields: Vec<u64> = tail
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let process = head.split(' ').next()?.parse().ok()?;
    (fields.len() > TIMES.end).then_some((process, fields))
}

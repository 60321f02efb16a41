//! What a claim costs when many are stored already.

use crate::claim::{self, BASELINE, NS, OURS, once};
use crate::key;
use crate::plot;
use crate::report::{Bound, Report, figures, number, spread, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use crate::wire::Client;
use serde_json::json;
use std::thread;
use std::time::Instant;

const SIZES: [usize; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const NAMES: [&str; 2] = [BASELINE, OURS];

/// How many keys are stored by one statement.
const PORTION: usize = 100_000;

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Random,
    Time,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Order::Random => "random keys",
            Order::Time => "keys in the order of time",
        }
    }

    /// The next keys; `stored` is how many were made before.
    fn keys(self, generator: &mut fastrand::Rng, stored: &mut usize, count: usize) -> String {
        let keys: Vec<_> = (*stored..*stored + count)
            .map(|number| match self {
                Order::Random => key::random(generator),
                Order::Time => format!("01900000-0000-7000-8000-{number:012}"),
            })
            .collect();
        *stored += count;
        key::array(&keys)
    }
}

/// One table of one size. The session that fills it measures it, so that the
/// memory it shares with the server is mapped.
struct Table {
    client: Client,
    name: &'static str,
    table: &'static str,
    size: usize,
    stored: usize,
    generator: fastrand::Rng,
    order: Order,
    /// Microseconds a claim.
    times: Sample,
    bytes: f64,
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    let sizes: Vec<usize> = SIZES
        .into_iter()
        .filter(|size| *size as f64 <= 1e7 * run.scale.max(0.01))
        .collect();
    server.set("full_page_writes", "off")?;
    server.set("max_wal_size", "'1GB'")?;
    let mut found = Vec::new();
    for order in [Order::Random, Order::Time] {
        let mut tables = Vec::new();
        for size in &sizes {
            run.progress(&format!("growth: {size} claims, {}", order.name()));
            let database = format!("growth_{size}");
            drop(server.database(&database, claim::SETUP)?);
            let both = thread::scope(|scope| {
                let filling = NAMES.map(|name| {
                    let database = &database;
                    scope.spawn(move || Table::fill(server, database, name, *size, order))
                });
                filling.map(|table| table.join().map_err(|_| "filling panics".to_owned())?)
            });
            for table in both {
                tables.push(table?);
            }
            server.connect("postgres")?.run("CHECKPOINT")?;
        }
        run.progress(&format!("growth: a claim, {}", order.name()));
        let rounds = run.scaled(9, 2);
        for round in 0..rounds + 1 {
            let count = tables.len();
            for place in 0..count {
                let table = &mut tables[(place + round) % count];
                let time = table.time()?;
                // The first round is to get warm.
                if round > 0 {
                    table.times.0.push(time);
                }
            }
        }
        for table in &mut tables {
            // The sessions close before their databases are dropped.
            table.bytes = table.measured_bytes()?;
        }
        let measured = tables
            .into_iter()
            .map(|table| (table.name, order, table.size, table.times, table.bytes));
        found.extend(measured.collect::<Vec<_>>());
        let mut client = server.connect("postgres")?;
        for size in &sizes {
            client.run(&format!("DROP DATABASE growth_{size} WITH (FORCE)"))?;
        }
        client.run("CHECKPOINT")?;
    }
    server.reset("max_wal_size")?;
    server.reset("full_page_writes")?;
    tell(&sizes, &found, report)
}

impl Table {
    fn fill(
        server: &Server,
        database: &str,
        name: &'static str,
        size: usize,
        order: Order,
    ) -> Result<Table, String> {
        let table = claim::find(name).table.expect("a table");
        let mut client = server.connect(database)?;
        client.run("SET synchronous_commit = off")?;
        let mut filled = Table {
            client,
            name,
            table,
            size,
            stored: 0,
            generator: fastrand::Rng::with_seed(size as u64),
            order,
            times: Sample::default(),
            bytes: f64::NAN,
        };
        while filled.stored < size {
            let count = PORTION.min(size - filled.stored);
            filled.claim(count)?;
        }
        Ok(filled)
    }

    /// Claims so many new keys, one after the other.
    fn claim(&mut self, count: usize) -> Result<(), String> {
        let keys = self
            .order
            .keys(&mut self.generator, &mut self.stored, count);
        let function = if self.name == OURS {
            "loop_over_claim_once"
        } else {
            "loop_over_insert"
        };
        let won = once(
            &mut self.client,
            &format!("SELECT {function}($1, $2)"),
            &[NS, &keys],
        )?;
        match won.value == Some(count.to_string()) {
            true => Ok(()),
            false => Err(format!("{:?} of {count} keys were won", won.value)),
        }
    }

    /// Microseconds a claim.
    fn time(&mut self) -> Result<f64, String> {
        let count = (self.size / 20).min(5000);
        let started = Instant::now();
        self.claim(count)?;
        Ok(started.elapsed().as_secs_f64() * 1e6 / count as f64)
    }

    fn measured_bytes(&mut self) -> Result<f64, String> {
        let table = self.table;
        let size = self
            .client
            .number(&format!("SELECT pg_total_relation_size('{table}')"))?;
        Ok(size / self.stored as f64)
    }
}

type Found = (&'static str, Order, usize, Sample, f64);

fn tell(sizes: &[usize], found: &[Found], report: &mut Report) -> Result<(), String> {
    let of = |wanted: &str, order: Order, size: usize| {
        found.iter().find(|(name, its_order, its_size, ..)| {
            *name == wanted && *its_order == order && *its_size == size
        })
    };
    let name = "a claim at 10^7 stored claims against one at 10^5, random keys";
    let at = |size| of(OURS, Order::Random, size).map(|(.., times, _)| times.clone());
    if let Some((large, small)) = at(10_000_000).zip(at(100_000)) {
        report.target(name, Bound::AtMost(1.25), &large.over(&small));
    }
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    for order in [Order::Random, Order::Time] {
        for name in NAMES {
            let mut line = Vec::new();
            for size in sizes {
                let Some((.., times, bytes)) = of(name, order, *size) else {
                    continue;
                };
                let small = of(name, order, 100_000).map(|(.., times, _)| times.median());
                let growth = small.map_or(f64::NAN, |small| times.median() / small);
                rows.push(vec![
                    name.to_owned(),
                    order.name().to_owned(),
                    number(*size as f64),
                    spread(times),
                    number(growth),
                    number(*bytes),
                ]);
                line.push(((*size as f64).log10(), times.median()));
            }
            lines.push((format!("{name}, {}", order.name()), line));
        }
    }
    let title = "Microseconds of one claim, by claims stored (powers of ten)";
    report
        .plots
        .push(("growth.svg".to_owned(), plot::lines(title, &lines)?));
    let head = ["", "", "stored", "µs", "× at 10^5", "bytes a claim"];
    report.section(
        "Growth",
        &format!(
            "Microseconds of one claim inside the backend, in a loop of plpgsql, without commit, all tables in \
             `shared_buffers`, `full_page_writes = off`; median, the least and the most. Bytes are heap and index. \
             The tables were filled by the same loop.\n\n{}\n![{title}](growth.svg)\n",
            table(&head, rows)
        ),
    );
    let figures = found.iter().map(|(name, order, size, times, bytes)| {
        json!({"contestant": name, "order": order.name(), "stored": size, "µs": figures(times), "bytes": bytes})
    });
    report
        .figures
        .insert("growth".to_owned(), figures.collect());
    Ok(())
}

//! Instructions, counted by callgrind: they repeat to a percent on any
//! machine, however busy. One backend answers n messages, another 2n; the
//! difference is the cost of n, without the session's beginning and end.

use crate::baseline::{self, Turns, Versions};
use crate::batch;
use crate::claim::{self, Contestant, NS};
use crate::key;
use crate::report::{Bound, Report, number, table};
use crate::row;
use crate::run::{Purpose, Run};
use crate::server::{Server, Traced, said, until, writable};
use crate::wire::Client;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DATABASE: &str = "instructions";
const TURNS: &str = "instructions_of_turns";

/// How many claims stand in each table before.
const STORED: usize = 50_000;

/// Calls before the count begins: the server plans a prepared statement anew
/// five times.
const WARMING: usize = 20;

/// One backend under callgrind; neither the log writer nor anybody else takes
/// part of its work, and the work does not depend on when the last checkpoint
/// was.
const SETTINGS: &[&str] = &[
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_buffers=64MB",
    "autovacuum=off",
    "checkpoint_timeout=1d",
    "io_method=sync",
];

/// Claims inside the backend: each from a kept plan, and by a call each; and
/// the same without the claim.
const PLAN: &str = "SELECT loop_over_insert($1, $2)";
const NO_PLAN: &str = "SELECT loop_over_nothing($1, $2)";
const CALL: &str = "SELECT count(*) FROM unnest($2::text[]) key WHERE claim_once($1, key)";
const NO_CALL: &str = "SELECT count(*) FROM unnest($2::text[]) key WHERE key = $1::text";

/// What a message, or a call inside the backend, costs.
struct Cost {
    instructions: f64,
    /// The functions that take most, with all that they call.
    places: Vec<(String, f64)>,
}

/// What a claim costs inside the backend: by hand, by a call, and by a call
/// that is not counted for `once.stats`.
struct Inside {
    kind: Kind,
    plan: f64,
    ours: f64,
    uncounted: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Winner,
    Duplicate,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Winner, Kind::Duplicate];

    fn name(self) -> &'static str {
        match self {
            Kind::Winner => "winner",
            Kind::Duplicate => "duplicate",
        }
    }
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    run.progress("instructions: the tables");
    let mut lab = Lab::new(run, server, DATABASE)?;
    let mut client = server.database(DATABASE, claim::SETUP)?;
    claim::store(&mut client, &lab.stored)?;
    client.run(batch::SETUP)?;
    for contestant in &batch::CONTESTANTS {
        claim::once(
            &mut client,
            contestant.statement,
            &[NS, &key::array(&lab.stored)],
        )?;
    }
    client.run("VACUUM ANALYZE")?;
    drop(client);
    let traced = lab.begin()?;
    // The first backend fills the caches that are shared between backends.
    lab.inside(NO_PLAN, Kind::Winner, false)?;

    let mut messages = Vec::new();
    for contestant in claim::CONTESTANTS {
        if run.purpose == Purpose::Gates
            && ![claim::BASELINE, claim::OURS, claim::FLOOR].contains(&contestant.name)
        {
            continue;
        }
        run.progress(&format!("instructions: {}", contestant.name));
        let costs = Kind::ALL.map(|kind| lab.message(contestant, kind));
        let [winner, duplicate] = costs;
        messages.push((contestant.name, [winner?, duplicate?]));
    }
    run.progress("instructions: inside the backend");
    let mut inside = Vec::new();
    for kind in Kind::ALL {
        let plan = lab.inside(PLAN, kind, true)? - lab.inside(NO_PLAN, kind, false)?;
        let ours = lab.inside(CALL, kind, true)? - lab.inside(NO_CALL, kind, false)?;
        server
            .connect("postgres")?
            .run("ALTER DATABASE instructions SET pg_once.stats = off")?;
        let uncounted = lab.inside(CALL, kind, true)? - lab.inside(NO_CALL, kind, false)?;
        server
            .connect("postgres")?
            .run("ALTER DATABASE instructions RESET pg_once.stats")?;
        inside.push(Inside {
            kind,
            plan,
            ours,
            uncounted,
        });
    }
    let batches = match run.purpose {
        Purpose::Figures => lab.batches(run)?,
        Purpose::Gates | Purpose::Baseline => Vec::new(),
    };
    drop(traced);
    tell(&messages, &inside, &lab, report);
    if !batches.is_empty() {
        tell_of_batches(&batches, report);
    }
    Ok(())
}

/// What a key of a batch costs, by contestant.
struct Batches {
    keys: usize,
    kind: batch::Kind,
    costs: Vec<Cost>,
}

/// The same for whole turns at rows.
pub fn turns(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    let mut lab = Lab::new(run, server, TURNS)?;
    let mut client = server.database(TURNS, row::SETUP)?;
    client.run(
        "INSERT INTO payments (service_id, line_item_id) SELECT 7, 'item-' || n FROM generate_series(0, 49999) n",
    )?;
    client.run("VACUUM ANALYZE")?;
    drop(client);
    let traced = lab.begin()?;
    let mut first = lab.server.connect(TURNS)?;
    first.run("SELECT with_payment_lock(7, 'item-0')")?;
    drop(first);
    let mut found = Vec::new();
    let contestants = row::CONTESTANTS
        .iter()
        .filter(|contestant| run.purpose == Purpose::Figures || contestant.is_gated());
    for contestant in contestants {
        run.progress(&format!("instructions of a turn: {}", contestant.name));
        let mut costs = Vec::new();
        for new in [false, true] {
            let keys = [lab.count / 2, lab.count].map(|count| match new {
                true => key::many(&mut lab.generator, WARMING + count),
                false => (0..WARMING + count)
                    .map(|item| format!("item-{}", 10 * item))
                    .collect(),
            });
            let name = format!(
                "{}, {}",
                contestant.name,
                if new { "new row" } else { "row" }
            );
            costs.push(lab.cost(&name, contestant.statements, keys, contestant.turn)?);
        }
        found.push((contestant, costs));
    }
    drop(traced);
    let counted: Vec<_> = found
        .iter()
        .filter(|(contestant, _)| contestant.is_in_baseline())
        .map(|(contestant, costs)| Turns {
            contestant: contestant.name,
            ours: contestant.ours,
            instructions: [costs[0].instructions, costs[1].instructions],
        })
        .collect();
    gate_by_hand(&found, report);
    let versions = Versions::look(server)?;
    match run.purpose {
        Purpose::Baseline => baseline::write(run, &versions, &counted)?,
        Purpose::Figures | Purpose::Gates => baseline::compare(&versions, &counted, report)?,
    }
    let rows = found.iter().map(|(contestant, costs)| {
        let mut row = vec![contestant.name.to_owned()];
        for (cost, first) in costs.iter().zip(&found[0].1) {
            row.push(number(cost.instructions));
            row.push(number(cost.instructions / first.instructions));
        }
        row
    });
    let [old, new] = baseline::KINDS;
    let head = ["", old, "×", new, "×"];
    report.section(
        "Instructions of a turn at a row",
        &format!(
            "Instructions of the backend for all statements of one turn, commit included, one client; \
             × is against the first line.\n\n{}",
            table(&head, rows)
        ),
    );
    let figures = found.iter().map(|(contestant, costs)| {
        let costs = costs
            .iter()
            .map(|cost| json!({"instructions": cost.instructions, "functions": cost.places}));
        json!({"contestant": contestant.name, "row, new row": costs.collect::<Vec<_>>()})
    });
    report
        .figures
        .insert("instructions of a turn".to_owned(), figures.collect());
    Ok(())
}

/// The turns of ours against the best by hand of the same form.
fn gate_by_hand(found: &[(&row::Contestant, Vec<Cost>)], report: &mut Report) {
    for (ours, costs) in found {
        for (place, limit) in ours.by_hand().into_iter().flatten().enumerate() {
            let best = found
                .iter()
                .filter(|(contestant, _)| !contestant.ours && contestant.form == ours.form)
                .map(|(_, costs)| costs[place].instructions)
                .min_by(f64::total_cmp);
            if let Some(best) = best {
                let kind = baseline::KINDS[place];
                let name = format!(
                    "instructions of the best by hand of the same form against {}, {kind}",
                    ours.name
                );
                report.gate(
                    name,
                    Bound::AtLeast(limit),
                    best / costs[place].instructions,
                );
            }
        }
    }
}

struct Lab<'r> {
    server: &'r Server,
    database: &'static str,
    major: u32,
    output: PathBuf,
    stored: Vec<String>,
    generator: fastrand::Rng,
    count: usize,
}

impl<'r> Lab<'r> {
    fn new(run: &'r Run, server: &'r Server, database: &'static str) -> Result<Lab<'r>, String> {
        let mut generator = fastrand::Rng::with_seed(1);
        Ok(Lab {
            server,
            database,
            output: writable("callgrind")?,
            stored: key::many(&mut generator, STORED),
            generator,
            count: run.scaled(1000, 200),
            major: run.major,
        })
    }

    fn begin(&self) -> Result<Traced<'r>, String> {
        let settings: Vec<&str> = SETTINGS
            .iter()
            .copied()
            .filter(|setting| self.major >= 18 || !setting.starts_with("io_method"))
            .collect();
        self.server.under_callgrind(&self.output, &settings)
    }

    /// What one message of the prepared protocol costs the backend.
    fn message(&mut self, contestant: &Contestant, kind: Kind) -> Result<Cost, String> {
        let keys = [self.count, 2 * self.count].map(|count| self.keys(kind, WARMING + count));
        let name = format!("{} {}", contestant.name, kind.name());
        self.cost(&name, contestant.statements, keys, |client, key| {
            let won = (contestant.claim)(client, key)?;
            match contestant.table.is_none() || won == (kind == Kind::Winner) {
                true => Ok(()),
                false => Err(format!("{}: {key} is no {}", contestant.name, kind.name())),
            }
        })
    }

    /// What one key of a batch costs the backend, the message and its answer
    /// among it.
    fn batches(&mut self, run: &Run) -> Result<Vec<Batches>, String> {
        let mut found = Vec::new();
        for keys in [10, 1000] {
            for kind in [batch::Kind::New, batch::Kind::Duplicate] {
                run.progress(&format!(
                    "instructions: batches of {keys} keys, {}",
                    kind.name()
                ));
                let mut costs = Vec::new();
                for contestant in &batch::CONTESTANTS {
                    costs.push(self.batch(contestant, keys, kind)?);
                }
                found.push(Batches { keys, kind, costs });
            }
        }
        Ok(found)
    }

    fn batch(
        &mut self,
        contestant: &batch::Contestant,
        keys: usize,
        kind: batch::Kind,
    ) -> Result<Cost, String> {
        let count = (self.count / keys).max(2);
        let mut stored = self.stored.clone();
        let calls = [count, 2 * count].map(|count| {
            let warming = std::iter::repeat_n(10, WARMING);
            warming
                .chain(std::iter::repeat_n(keys, count))
                .map(|keys| batch::batch(&mut self.generator, &mut stored, keys, kind).keys)
                .collect()
        });
        let name = format!("{} {keys} {}", contestant.name, kind.name());
        let mut cost = self.cost(&name, &[contestant.statement], calls, |client, keys| {
            client.ask(0, &[NS, keys]).map(drop)
        })?;
        cost.instructions /= keys as f64;
        for place in &mut cost.places {
            place.1 /= keys as f64;
        }
        Ok(cost)
    }

    /// What one call costs the backend, by the difference of many and twice
    /// as many; these keys say how many, the calls to get warm among them.
    fn cost(
        &self,
        name: &str,
        statements: &[&str],
        keys: [Vec<String>; 2],
        work: impl Fn(&mut Client, &str) -> Result<(), String>,
    ) -> Result<Cost, String> {
        let mut traces = Vec::new();
        for keys in &keys {
            let trace = self.trace(|client| {
                client.prepare(statements)?;
                keys.iter().try_for_each(|key| work(client, key))
            })?;
            traces.push(trace);
        }
        let file = self.output.join(format!("{}.out", name.replace('/', "-")));
        fs::copy(&traces[1], file).map_err(|error| error.to_string())?;
        let count = (keys[1].len() - keys[0].len()) as f64;
        let instructions = (total(&traces[1])? - total(&traces[0])?) / count;
        let mut places = functions(&traces[1])?;
        for (place, instructions) in functions(&traces[0])? {
            *places.entry(place).or_default() -= instructions;
        }
        let mut places: Vec<_> = places
            .into_iter()
            .map(|(place, instructions)| (place, instructions / count))
            // What is above all else says nothing.
            .filter(|(_, within)| *within < 0.93 * instructions && *within > 0.03 * instructions)
            .collect();
        places.sort_by(|one, other| other.1.total_cmp(&one.1));
        places.truncate(30);
        Ok(Cost {
            instructions,
            places,
        })
    }

    /// What one claim costs inside the backend, when this statement makes all
    /// of them.
    fn inside(&mut self, sql: &str, kind: Kind, claims: bool) -> Result<f64, String> {
        let mut totals = Vec::new();
        for count in [self.count, 2 * self.count] {
            let warming = self.keys(kind, WARMING);
            let keys = self.keys(kind, count);
            let won = if claims && kind == Kind::Winner {
                count
            } else {
                0
            };
            let trace = self.trace(|client| {
                client.prepare(&[sql])?;
                client.ask(0, &[NS, &key::array(&warming)])?;
                match client.ask(0, &[NS, &key::array(&keys)])?.value {
                    Some(value) if value == won.to_string() => Ok(()),
                    other => Err(format!("{sql}: {other:?} were won instead of {won}")),
                }
            })?;
            totals.push(total(&trace)?);
        }
        Ok((totals[1] - totals[0]) / self.count as f64)
    }

    fn keys(&mut self, kind: Kind, count: usize) -> Vec<String> {
        match kind {
            Kind::Winner => key::many(&mut self.generator, count),
            Kind::Duplicate => (0..count)
                .map(|_| self.stored[self.generator.usize(..STORED)].clone())
                .collect(),
        }
    }

    /// The file that callgrind writes when this backend has ended.
    fn trace(
        &self,
        work: impl FnOnce(&mut Client) -> Result<(), String>,
    ) -> Result<PathBuf, String> {
        let mut client = self.server.connect(self.database)?;
        let trace = self.output.join(format!("{}.out", client.pid));
        work(&mut client)?;
        drop(client);
        until("callgrind does not write its file", || {
            let written = fs::read_to_string(&trace).unwrap_or_default();
            Ok(written.contains("\ntotals:").then_some(()))
        })?;
        Ok(trace)
    }
}

fn total(trace: &Path) -> Result<f64, String> {
    let written = fs::read_to_string(trace).map_err(|error| error.to_string())?;
    let total = written
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| format!("{} has no total", trace.display()))
}

/// Instructions by function, those of its callees among them.
fn functions(trace: &Path) -> Result<HashMap<String, f64>, String> {
    let mut annotate = Command::new("callgrind_annotate");
    let said = said(
        annotate
            .args(["--inclusive=yes", "--threshold=100", "--show-percs=no"])
            .arg(trace),
    )?;
    let mut functions = HashMap::new();
    for line in said.lines() {
        let Some((instructions, place)) = line.trim().split_once("  ") else {
            continue;
        };
        let Ok(instructions) = instructions.replace(',', "").parse::<f64>() else {
            continue;
        };
        if place.trim() == "PROGRAM TOTALS" {
            continue;
        }
        let most: &mut f64 = functions.entry(function_name(place)).or_default();
        *most = most.max(instructions);
    }
    Ok(functions)
}

/// Of "file:function'2 [object]" the function.
fn function_name(place: &str) -> String {
    let place = place.trim().split(" [").next().unwrap_or_default();
    let name = place.split_once(':').map_or(place, |(_, name)| name);
    name.split('\'').next().unwrap_or(name).trim().to_owned()
}

fn tell(messages: &[(&str, [Cost; 2])], inside: &[Inside], lab: &Lab, report: &mut Report) {
    let of = |name: &str| {
        let found = messages.iter().find(|(contestant, _)| *contestant == name);
        &found.expect("a contestant of this name").1
    };
    let baseline = of(claim::BASELINE);
    let rows = messages.iter().map(|(name, costs)| {
        let mut row = vec![(*name).to_owned()];
        for (cost, baseline) in costs.iter().zip(baseline) {
            row.push(number(cost.instructions));
            row.push(number(cost.instructions / baseline.instructions));
        }
        row
    });
    let by_message = table(&["", "winner", "×", "duplicate", "×"], rows);
    let rows = inside.iter().map(|cost| {
        vec![
            cost.kind.name().to_owned(),
            number(cost.plan),
            number(cost.ours),
            number(cost.ours / cost.plan),
            number(cost.uncounted),
            number(cost.ours / cost.uncounted),
        ]
    });
    let head = [
        "",
        "kept plan",
        "claim_once",
        "×",
        "with `pg_once.stats = off`",
        "claim_once against it ×",
    ];
    let by_call = table(&head, rows);

    for ((place, kind), limit) in Kind::ALL.into_iter().enumerate().zip([0.69, 0.73]) {
        let ratio = of(claim::OURS)[place].instructions / baseline[place].instructions;
        let name = format!("instructions of a whole message, {}", kind.name());
        report.gate(name, Bound::AtMost(limit), ratio);
    }
    for (cost, limit) in inside.iter().zip([0.45, 0.35]) {
        let name = format!(
            "instructions inside the backend against a kept plan, {}",
            cost.kind.name()
        );
        report.gate(name, Bound::AtMost(limit), cost.ours / cost.plan);
    }

    let mut places = String::new();
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        let rows = of(claim::OURS)[place]
            .places
            .iter()
            .map(|(function, instructions)| vec![format!("`{function}`"), number(*instructions)]);
        places += &format!(
            "\nWhere a {} of claim_once spends them, each function with all that it calls:\n\n{}",
            kind.name(),
            table(&["function", "instructions"], rows)
        );
    }
    report.section(
        "Instructions",
        &format!(
            "Instructions of the backend (user space, callgrind) for everything that one claim \
             sends over the wire, prepared, with {} claims stored, 36-byte random keys, \
             `synchronous_commit = off`; × is against `{}`. They repeat to a percent.\n\n{by_message}\n\
             The same inside the backend: the INSERT from the kept plan of a plpgsql function, without the \
             loop that runs it; the call in a query over all keys, without the query:\n\n{by_call}{places}",
            number(STORED as f64),
            claim::BASELINE,
        ),
    );
    let messages = messages.iter().map(|(name, [winner, duplicate])| {
        let cost =
            |cost: &Cost| json!({"instructions": cost.instructions, "functions": cost.places});
        json!({"contestant": name, "winner": cost(winner), "duplicate": cost(duplicate)})
    });
    let inside = inside.iter().map(|cost| {
        json!({
            "kind": cost.kind.name(), "kept plan": cost.plan, "claim_once": cost.ours,
            "claim_once without statistics": cost.uncounted,
        })
    });
    report.figures.insert(
        "instructions".to_owned(),
        json!({
            "messages": messages.collect::<Vec<_>>(), "inside": inside.collect::<Vec<_>>(),
            "counted": lab.count,
        }),
    );
}

fn tell_of_batches(batches: &[Batches], report: &mut Report) {
    let rows = batches.iter().map(|batch| {
        let mut row = vec![batch::title(batch.keys, batch.kind)];
        row.extend(batch.costs.iter().map(|cost| number(cost.instructions)));
        if let [others @ .., ours] = batch.costs.as_slice() {
            let gain = |other: &Cost| number(other.instructions / ours.instructions);
            row.extend(others.iter().map(gain));
        }
        row
    });
    report.section(
        "Instructions of batches",
        &format!(
            "Instructions of the backend for one key of a batch, the whole message and its answer divided by \
             the keys; × is how many times as much another statement takes. INSERT is `{}`.\n\n{}",
            batch::CONTESTANTS[0].name,
            table(&batch::HEAD, rows)
        ),
    );
    let figures = batches.iter().map(|batch| {
        let costs = batch
            .costs
            .iter()
            .map(|cost| json!({"instructions": cost.instructions, "functions": cost.places}));
        json!({"keys": batch.keys, "kind": batch.kind.name(), "a key": costs.collect::<Vec<_>>()})
    });
    report
        .figures
        .insert("instructions of batches".to_owned(), figures.collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_named_without_its_file() {
        assert_eq!(
            function_name("nbtree.c:_bt_compare'2 [/bin/postgres]"),
            "_bt_compare"
        );
        assert_eq!(
            function_name("???:core::str::from_utf8 [/lib/x.so]"),
            "core::str::from_utf8"
        );
    }
}

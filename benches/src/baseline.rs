//! The instructions of turns at rows on an earlier tree, which is committed as
//! `benches/baseline.json`, and what a run has to say beside them.

use crate::report::{Bound, Report, number, table};
use crate::run::Run;
use crate::server::{Server, root, said};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// How many times as many instructions as in the baseline are allowed.
const LIMIT: f64 = 1.02;

/// The two kinds of turns, in the order in which they are counted.
pub const KINDS: [&str; 2] = ["a row that is there", "a new row"];

/// What one contestant's turns cost, by [`KINDS`].
pub struct Turns {
    pub contestant: &'static str,
    /// The ways without pg_once are a control: they cost the same in every
    /// tree, and so say whether two runs can be compared.
    pub ours: bool,
    pub instructions: [f64; 2],
}

/// What instruction counts depend on besides the code of the extension.
#[derive(Debug, PartialEq)]
pub struct Versions {
    postgresql: String,
    rustc: String,
    pgrx: String,
}

impl Versions {
    pub fn look(server: &Server) -> Result<Versions, String> {
        let version = server
            .connect("postgres")?
            .value("SELECT current_setting('server_version')")?;
        let rustc = said(Command::new("rustc").arg("--version"))?;
        let lock = read(&root().join("Cargo.lock"))?;
        Ok(Versions {
            postgresql: version,
            rustc: rustc.split(' ').nth(1).unwrap_or_default().to_owned(),
            pgrx: locked(&lock, "pgrx").ok_or("Cargo.lock names no pgrx")?,
        })
    }

    fn read(baseline: &Value) -> Result<Versions, String> {
        let version = |name: &str| {
            let version = baseline[name].as_str();
            version
                .map(str::to_owned)
                .ok_or_else(|| format!("benches/baseline.json names no {name}"))
        };
        Ok(Versions {
            postgresql: version("postgresql")?,
            rustc: version("rustc")?,
            pgrx: version("pgrx")?,
        })
    }

    fn pairs<'v>(&'v self, other: &'v Versions) -> [(&'static str, &'v str, &'v str); 3] {
        [
            ("PostgreSQL", &self.postgresql, &other.postgresql),
            ("rustc", &self.rustc, &other.rustc),
            ("pgrx", &self.pgrx, &other.pgrx),
        ]
    }

    fn major(&self) -> &str {
        let end = self.postgresql.find(|digit: char| !digit.is_ascii_digit());
        &self.postgresql[..end.unwrap_or(self.postgresql.len())]
    }
}

/// The version of a package in the text of Cargo.lock.
fn locked(lock: &str, package: &str) -> Option<String> {
    let (_, behind) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    behind
        .split_once('"')
        .map(|(version, _)| version.to_owned())
}

/// Compares the turns of this run with the baseline's: one gate for each of
/// ours.
pub fn compare(versions: &Versions, turns: &[Turns], report: &mut Report) -> Result<(), String> {
    let baseline = serde_json::from_str(&read(&file())?)
        .map_err(|error| format!("benches/baseline.json: {error}"))?;
    gate(&baseline, versions, turns, report)
}

fn gate(
    baseline: &Value,
    versions: &Versions,
    turns: &[Turns],
    report: &mut Report,
) -> Result<(), String> {
    let then = Versions::read(baseline)?;
    let mut text = String::new();
    if then.major() != versions.major() {
        text = format!(
            "Not compared: the baseline was counted on PostgreSQL {}, this run on {}.",
            then.postgresql, versions.postgresql
        );
        eprintln!("benches/baseline.json: {text}");
        report.section("Instructions against the baseline", &text);
        return Ok(());
    }
    for (what, then, now) in then.pairs(versions) {
        if then != now {
            let differs = format!("{what} is {now} here and {then} in the baseline.");
            eprintln!("benches/baseline.json: {differs}");
            text += &format!("**{differs}** ");
        }
    }
    let mut rows = Vec::new();
    for Turns {
        contestant,
        ours,
        instructions,
    } in turns
    {
        for (kind, now) in KINDS.into_iter().zip(instructions) {
            let then = baseline["instructions of a turn"][contestant][kind]
                .as_f64()
                .ok_or_else(|| {
                    format!("benches/baseline.json has no count for {contestant}, {kind}")
                })?;
            let against = format!("{contestant}, {kind}");
            if *ours {
                let name = format!(
                    "instructions of a turn, baseline {}: {against}",
                    number(then)
                );
                report.gate(name, Bound::AtMost(LIMIT * then), *now);
                if *now > LIMIT * then {
                    eprintln!(
                        "{against}: {} instructions, {:.3} × the baseline's {}",
                        number(*now),
                        now / then,
                        number(then)
                    );
                }
            }
            rows.push(vec![
                against,
                number(then),
                number(*now),
                format!("{:.3}", now / then),
            ]);
        }
    }
    report.section(
        "Instructions against the baseline",
        &format!(
            "{text}Turns at rows now and in the tree of `benches/baseline.json` (commit `{}`). Those with pg_once \
             may take at most {LIMIT} × as many; the one without it is the control.\n\n{}",
            baseline["commit"].as_str().unwrap_or("unknown"),
            table(&["", "baseline", "now", "×"], rows)
        ),
    );
    Ok(())
}

/// Writes the counts of this run as the baseline.
pub fn write(run: &Run, versions: &Versions, turns: &[Turns]) -> Result<(), String> {
    if run.scale != 1.0 {
        return Err("a baseline is counted with SCALE=1".to_owned());
    }
    let counts: Map<String, Value> = turns
        .iter()
        .map(|turns| {
            let counts = KINDS.into_iter().zip(turns.instructions);
            let counts: Map<String, Value> = counts
                .map(|(kind, count)| (kind.to_owned(), json!(count.round() as u64)))
                .collect();
            (turns.contestant.to_owned(), Value::Object(counts))
        })
        .collect();
    let baseline = json!({
        "commit": commit()?, "postgresql": versions.postgresql, "rustc": versions.rustc, "pgrx": versions.pgrx,
        "instructions of a turn": counts,
    });
    let text = serde_json::to_string_pretty(&baseline).map_err(|error| error.to_string())?;
    fs::write(file(), text + "\n").map_err(|error| format!("benches/baseline.json: {error}"))
}

/// The last commit that has changed the extension.
fn commit() -> Result<String, String> {
    const CODE: [&str; 6] = [
        "--",
        "src",
        "sql",
        "Cargo.toml",
        "Cargo.lock",
        "pg_once.control",
    ];
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        said(git.args(arguments).args(CODE).current_dir(root()))
    };
    match git(&["status", "--porcelain"])?.as_str() {
        "" => git(&["log", "-1", "--format=%h"]),
        changed => Err(format!(
            "a baseline is counted on a commit; changed here: {changed}"
        )),
    }
}

fn file() -> PathBuf {
    root().join("benches/baseline.json")
}

fn read(file: &std::path::Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "with_payment_lock";
    const CONTROL: &str = "five statements";

    fn versions(postgresql: &str, rustc: &str) -> Versions {
        Versions {
            postgresql: postgresql.to_owned(),
            rustc: rustc.to_owned(),
            pgrx: "0.19.4".to_owned(),
        }
    }

    fn compared(versions: &Versions, new_row: f64) -> Result<Report, String> {
        let baseline = json!({
            "commit": "abaad3d", "postgresql": "18.4", "rustc": "1.96.0", "pgrx": "0.19.4",
            "instructions of a turn": {
                OURS: {KINDS[0]: 100_000, KINDS[1]: 200_000},
                CONTROL: {KINDS[0]: 50_000, KINDS[1]: 50_000},
            },
        });
        let turns = [
            Turns {
                contestant: OURS,
                ours: true,
                instructions: [101_000.0, new_row],
            },
            Turns {
                contestant: CONTROL,
                ours: false,
                instructions: [60_000.0, 60_000.0],
            },
        ];
        let mut report = Report::default();
        gate(&baseline, versions, &turns, &mut report)?;
        Ok(report)
    }

    #[test]
    fn two_percent_more_is_met_and_three_are_missed() {
        let here = versions("18.4", "1.96.0");
        let report = compared(&here, 203_900.0).unwrap();
        assert_eq!((report.targets.len(), report.missed_gates()), (2, 0));
        let report = compared(&here, 206_000.0).unwrap();
        assert_eq!(report.missed_gates(), 1);
        let table = report.targets_table();
        assert!(
            table.contains("baseline 200,000") && table.contains("206,000"),
            "{table}"
        );
        assert!(!report.sections[0].contains("in the baseline."));
    }

    #[test]
    fn other_versions_are_named_and_compared() {
        let report = compared(&versions("18.7", "1.97.1"), 206_000.0).unwrap();
        let section = &report.sections[0];
        assert!(
            section.contains("PostgreSQL is 18.7 here and 18.4 in the baseline."),
            "{section}"
        );
        assert!(
            section.contains("rustc is 1.97.1 here and 1.96.0 in the baseline."),
            "{section}"
        );
        assert_eq!(report.missed_gates(), 1);
    }

    #[test]
    fn another_major_is_not_compared() {
        let report = compared(&versions("19.0", "1.96.0"), 900_000.0).unwrap();
        assert!(report.targets.is_empty());
        assert!(report.sections[0].contains("Not compared"));
    }

    #[test]
    fn the_committed_baseline_has_every_turn_that_the_gates_count() {
        let baseline: Value = serde_json::from_str(&read(&file()).unwrap()).unwrap();
        Versions::read(&baseline).unwrap();
        for contestant in crate::row::CONTESTANTS
            .iter()
            .filter(|one| one.is_in_baseline())
        {
            for kind in KINDS {
                let count = &baseline["instructions of a turn"][contestant.name][kind];
                assert!(
                    count.as_f64() > Some(10_000.0),
                    "{}, {kind}",
                    contestant.name
                );
            }
        }
    }

    #[test]
    fn the_locked_version_is_that_of_the_package_itself() {
        let lock = "name = \"pgrx-macros\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"pgrx\"\nversion = \"0.19.4\"\n";
        assert_eq!(locked(lock, "pgrx").as_deref(), Some("0.19.4"));
    }
}

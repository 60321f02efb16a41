//! Single claims over the wire: how many a second.

use crate::claim::{self, BASELINE, CONTESTANTS, OURS};
use crate::key;
use crate::load::{Load, Rounds, interleave};
use crate::plot;
use crate::report::{Bound, Report, figures, number, spread, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use serde_json::json;
use std::time::Duration;

const DATABASE: &str = "throughput";

/// How many claims stand in each table before.
const STORED: usize = 100_000;

/// The baseline runs twice a round: how its ratio to itself spreads is the
/// noise of the run.
const AGAIN: usize = CONTESTANTS.len();

struct Cell {
    clients: usize,
    durable: bool,
    winner: bool,
    rounds: Vec<Rounds>,
}

impl Cell {
    fn times(&self, name: &str, other: &str) -> Sample {
        self.rate(name).over(self.rate(other))
    }

    fn rate(&self, name: &str) -> &Sample {
        let place = CONTESTANTS
            .iter()
            .position(|contestant| contestant.name == name);
        &self.rounds[place.expect("a contestant of this name")].per_second
    }

    /// How far a ratio may be off: half of what the middle half of the
    /// baseline's ratios to itself covers, or their median's own error.
    fn noise(&self) -> f64 {
        let same = self.rounds[AGAIN].per_second.over(self.rate(BASELINE));
        let half = (same.quantile(0.75) - same.quantile(0.25)) / 2.0;
        half.max((same.median() - 1.0).abs())
    }

    fn kind(&self) -> &'static str {
        if self.winner { "winner" } else { "duplicate" }
    }

    fn title(&self) -> String {
        let commit = if self.durable { "on" } else { "off" };
        format!(
            "{}, {} clients, synchronous_commit {commit}",
            self.kind(),
            self.clients
        )
        .replace(" 1 clients", " 1 client")
    }
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    run.progress("single claims: the tables");
    let mut generator = fastrand::Rng::with_seed(3);
    let stored = key::many(&mut generator, STORED);
    let mut client = server.database(DATABASE, claim::SETUP)?;
    claim::store(&mut client, &stored)?;
    client.run("VACUUM ANALYZE")?;
    drop(client);

    let mut cells = Vec::new();
    for clients in [1, 8] {
        for durable in [false, true] {
            for winner in [true, false] {
                let mut cell = Cell {
                    clients,
                    durable,
                    winner,
                    rounds: Vec::new(),
                };
                run.progress(&format!("single claims: {}", cell.title()));
                let rounds = run.scaled(if clients == 1 { 5 } else { 7 }, 1);
                cell.rounds = interleave(rounds, CONTESTANTS.len() + 1, |place| {
                    let contestant = &CONTESTANTS[place % AGAIN];
                    let load = Load {
                        address: server.address(DATABASE),
                        clients,
                        time: Duration::from_millis(400),
                        delay: Duration::ZERO,
                        settings: if durable {
                            ""
                        } else {
                            "SET synchronous_commit = off"
                        },
                        statements: contestant.statements,
                    };
                    load.run(|client, generator| {
                        let won = if winner {
                            (contestant.claim)(client, &key::random(generator))?
                        } else {
                            (contestant.claim)(client, &stored[generator.usize(..STORED)])?
                        };
                        match contestant.table.is_none() || won == winner {
                            true => Ok(()),
                            false => Err(format!("{}: the wrong answer", contestant.name)),
                        }
                    })
                })?;
                cells.push(cell);
            }
        }
    }
    server
        .connect("postgres")?
        .run(&format!("DROP DATABASE {DATABASE}"))?;
    tell(&cells, report)
}

fn tell(cells: &[Cell], report: &mut Report) -> Result<(), String> {
    for cell in cells.iter().filter(|cell| cell.clients == 8) {
        let ratio = cell.times(OURS, BASELINE);
        let name = format!("throughput against `{BASELINE}`: {}", cell.title());
        report.target(
            format!("{name} (1.0 less the noise of {})", number(cell.noise())),
            Bound::AtLeast(1.0 - cell.noise()),
            &ratio,
        );
        if !cell.winner {
            let against = [
                ("Rails create_or_find_by", 5.0, true),
                ("advisory lock, SELECT, INSERT", 3.0, true),
                ("DO UPDATE … RETURNING xmax = 0", 4.0, cell.durable),
            ];
            for (other, limit, counts) in against {
                if counts {
                    let name = format!("throughput against {other}: {}", cell.title());
                    report.target(name, Bound::AtLeast(limit), &cell.times(OURS, other));
                }
            }
        }
    }

    let mut text = String::from(
        "Claims a second over a Unix socket, prepared, 100,000 claims stored. × is the median of \
         the ratios to the baseline in the same round, with the least and the most; the times of one claim \
         are the medians of the rounds. What goes over the wire is in the last column.\n",
    );
    for cell in cells {
        let rows = CONTESTANTS
            .iter()
            .zip(&cell.rounds)
            .map(|(contestant, rounds)| {
                let trips = contestant.trips[usize::from(!cell.winner)];
                vec![
                    contestant.name.to_owned(),
                    number(rounds.per_second.median()),
                    spread(&cell.times(contestant.name, BASELINE)),
                    number(rounds.median.median()),
                    number(rounds.slowest_percent.median()),
                    trips.to_owned(),
                ]
            });
        text += &format!(
            "\n### {}\n\n{}\nNoise: the baseline against itself is 1 ± {}.\n",
            cell.title(),
            table(&["", "a second", "×", "µs", "µs, 99 %", "statements"], rows),
            number(cell.noise()),
        );
    }
    for winner in [true, false] {
        let shown: Vec<&Cell> = cells
            .iter()
            .filter(|cell| cell.clients == 8 && cell.winner == winner)
            .collect();
        let Some(kind) = shown.first().map(|cell| cell.kind()) else {
            continue;
        };
        let groups = CONTESTANTS.iter().map(|contestant| {
            let bars = shown
                .iter()
                .map(|cell| cell.times(contestant.name, BASELINE).median());
            (contestant.name.to_owned(), bars.collect())
        });
        let title = format!("A {kind}, 8 clients: throughput against {BASELINE}");
        let file = format!("claims-{kind}.svg");
        let series = ["synchronous_commit off", "synchronous_commit on"];
        let plot = plot::bars(&title, &series, &groups.collect::<Vec<_>>())?;
        text += &format!("\n![{title}]({file})\n");
        report.plots.push((file, plot));
    }
    report.section("Single claims", &text);

    let cells = cells.iter().map(|cell| {
        let contestants = CONTESTANTS
            .iter()
            .zip(&cell.rounds)
            .map(|(contestant, rounds)| {
                json!({
                    "contestant": contestant.name,
                    "per second": figures(&rounds.per_second),
                    "ratio": figures(&cell.times(contestant.name, BASELINE)),
                    "median in µs": rounds.median.median(),
                    "99 % in µs": rounds.slowest_percent.median(),
                })
            });
        json!({
            "clients": cell.clients, "synchronous_commit": cell.durable, "kind": cell.kind(),
            "noise": cell.noise(), "contestants": contestants.collect::<Vec<_>>(),
        })
    });
    report
        .figures
        .insert("single claims".to_owned(), cells.collect());
    Ok(())
}

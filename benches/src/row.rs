//! The turn at a row: find it or create it, lock it, change it, commit.

use crate::load::{Load, Rounds, interleave};
use crate::plot;
use crate::report::{Bound, Report, figures, number, spread, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use crate::wire::{Client, Reply};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DATABASE: &str = "turns";
pub const SETUP: &str = include_str!("../sql/rows.sql");

const SEPARATE: &str = "five separate statements";
const PIPELINED: &str = "with_payment_lock, then UPDATE and COMMIT in one pipeline";
const ONE_CALL: &str = "one call of a function around with_row_lock and UPDATE";

const DEFINED_SEPARATE: &str = "a function of once.define_row_lock, separate statements";
const DEFINED_ONE_CALL: &str =
    "one call of a function around one of once.define_row_lock and UPDATE";

const SERVICE: &str = "7";
const BEGIN: &str = "BEGIN";
const COMMIT: &str = "COMMIT";
const INSERT: &str =
    "INSERT INTO payments (service_id, line_item_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
/// It shows the row that it creates, which need not be looked for then.
const INSERT_RETURNING: &str = "INSERT INTO payments (service_id, line_item_id) VALUES ($1, $2) \
     ON CONFLICT DO NOTHING RETURNING *";
const SELECT: &str = "SELECT * FROM payments WHERE service_id = $1 AND line_item_id = $2";
const LOCK: &str =
    "SELECT * FROM payments WHERE service_id = $1 AND line_item_id = $2 FOR NO KEY UPDATE";
const UPDATE: &str =
    "UPDATE payments SET amount = amount + 1 WHERE service_id = $1 AND line_item_id = $2";

pub struct Contestant {
    pub name: &'static str,
    /// Those of one form are compared: they make equally many round trips and
    /// show the locked row before it is changed.
    pub form: Form,
    pub ours: bool,
    pub statements: &'static [&'static str],
    pub turn: fn(&mut Client, &str) -> Result<(), String>,
}

impl Contestant {
    /// Whether `benches/baseline.json` has its instructions: those of ours that
    /// are not compared with what is done by hand in the same run, and one
    /// without pg_once as the control.
    pub fn is_in_baseline(&self) -> bool {
        self.ours && self.by_hand().is_none() || self.name == SEPARATE
    }

    /// Whether the gates count its instructions: all of ours, the control,
    /// and all that one of ours is compared with.
    pub fn is_gated(&self) -> bool {
        self.ours
            || self.name == SEPARATE
            || CONTESTANTS
                .iter()
                .any(|ours| ours.by_hand().is_some() && ours.form == self.form)
    }

    /// How many times as many instructions as its turns the best by hand of
    /// the same form has to take, for a row that is there and for a new one.
    pub fn by_hand(&self) -> Option<[f64; 2]> {
        match self.name {
            DEFINED_SEPARATE => Some([0.95, 0.85]),
            DEFINED_ONE_CALL => Some([1.0, 0.85]),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    Separate,
    Pipelined,
    OneCall,
    /// It changes the row without showing it before.
    Blind,
}

pub const CONTESTANTS: &[Contestant] = &[
    Contestant {
        name: SEPARATE,
        form: Form::Separate,
        ours: false,
        statements: &[BEGIN, INSERT, LOCK, UPDATE, COMMIT],
        turn: |client, item| {
            client.ask(0, &[])?;
            client.ask(1, &[SERVICE, item])?;
            one(client.ask(2, &[SERVICE, item])?)?;
            client.ask(3, &[SERVICE, item])?;
            client.ask(4, &[]).map(drop)
        },
    },
    Contestant {
        name: "the same, SELECT FOR NO KEY UPDATE first",
        form: Form::Separate,
        ours: false,
        statements: &[BEGIN, INSERT_RETURNING, LOCK, UPDATE, COMMIT],
        turn: |client, item| {
            client.ask(0, &[])?;
            if client.ask(2, &[SERVICE, item])?.rows == 0
                && client.ask(1, &[SERVICE, item])?.rows == 0
            {
                one(client.ask(2, &[SERVICE, item])?)?;
            }
            client.ask(3, &[SERVICE, item])?;
            client.ask(4, &[]).map(drop)
        },
    },
    Contestant {
        name: "the same, INSERT … RETURNING, SELECT only where it returns nothing",
        form: Form::Separate,
        ours: false,
        statements: &[BEGIN, INSERT_RETURNING, LOCK, UPDATE, COMMIT],
        turn: |client, item| {
            client.ask(0, &[])?;
            if client.ask(1, &[SERVICE, item])?.rows == 0 {
                one(client.ask(2, &[SERVICE, item])?)?;
            }
            client.ask(3, &[SERVICE, item])?;
            client.ask(4, &[]).map(drop)
        },
    },
    Contestant {
        name: "pg_advisory_xact_lock, SELECT, INSERT if missing, UPDATE",
        form: Form::Separate,
        ours: false,
        statements: &[
            BEGIN,
            "SELECT pg_advisory_xact_lock(hashtextextended($1 || ':' || $2, 0))",
            SELECT,
            INSERT_RETURNING,
            UPDATE,
            COMMIT,
        ],
        turn: |client, item| {
            client.ask(0, &[])?;
            client.ask(1, &[SERVICE, item])?;
            if client.ask(2, &[SERVICE, item])?.rows == 0 {
                client.ask(3, &[SERVICE, item])?;
            }
            client.ask(4, &[SERVICE, item])?;
            client.ask(5, &[]).map(drop)
        },
    },
    Contestant {
        name: "with_payment_lock, separate statements",
        form: Form::Separate,
        ours: true,
        statements: &[
            BEGIN,
            "SELECT * FROM with_payment_lock($1::bigint, $2)",
            UPDATE,
            COMMIT,
        ],
        turn: |client, item| {
            client.ask(0, &[])?;
            one(client.ask(1, &[SERVICE, item])?)?;
            client.ask(2, &[SERVICE, item])?;
            client.ask(3, &[]).map(drop)
        },
    },
    Contestant {
        name: DEFINED_SEPARATE,
        form: Form::Separate,
        ours: true,
        statements: &[BEGIN, "SELECT * FROM lock_payment($1, $2)", UPDATE, COMMIT],
        turn: |client, item| {
            client.ask(0, &[])?;
            one(client.ask(1, &[SERVICE, item])?)?;
            client.ask(2, &[SERVICE, item])?;
            client.ask(3, &[]).map(drop)
        },
    },
    Contestant {
        name: "the five statements in two pipelines",
        form: Form::Pipelined,
        ours: false,
        statements: &[BEGIN, INSERT, LOCK, UPDATE, COMMIT],
        turn: |client, item| {
            client.add(0, &[])?;
            client.add(1, &[SERVICE, item])?;
            one(client.ask(2, &[SERVICE, item])?)?;
            client.add(3, &[SERVICE, item])?;
            client.ask(4, &[]).map(drop)
        },
    },
    Contestant {
        name: PIPELINED,
        form: Form::Pipelined,
        ours: true,
        statements: &[
            BEGIN,
            "SELECT * FROM with_payment_lock($1::bigint, $2)",
            UPDATE,
            COMMIT,
        ],
        turn: |client, item| {
            client.add(0, &[])?;
            one(client.ask(1, &[SERVICE, item])?)?;
            client.add(2, &[SERVICE, item])?;
            client.ask(3, &[]).map(drop)
        },
    },
    Contestant {
        name: "one call by hand, INSERT first",
        form: Form::OneCall,
        ours: false,
        statements: &["SELECT add_by_insert_first($1, $2, 1)"],
        turn: |client, item| one(client.ask(0, &[SERVICE, item])?),
    },
    Contestant {
        name: "one call by hand, SELECT first",
        form: Form::OneCall,
        ours: false,
        statements: &["SELECT add_by_select_first($1, $2, 1)"],
        turn: |client, item| one(client.ask(0, &[SERVICE, item])?),
    },
    Contestant {
        name: ONE_CALL,
        form: Form::OneCall,
        ours: true,
        statements: &["SELECT add_to_payment($1, $2, 1)"],
        turn: |client, item| one(client.ask(0, &[SERVICE, item])?),
    },
    Contestant {
        name: DEFINED_ONE_CALL,
        form: Form::OneCall,
        ours: true,
        statements: &["SELECT add_by_lock_payment($1, $2, 1)"],
        turn: |client, item| one(client.ask(0, &[SERVICE, item])?),
    },
    Contestant {
        name: "INSERT … ON CONFLICT DO UPDATE",
        form: Form::Blind,
        ours: false,
        statements: &[
            "INSERT INTO payments (service_id, line_item_id, amount) VALUES ($1, $2, 1) \
             ON CONFLICT (service_id, line_item_id) \
             DO UPDATE SET amount = payments.amount + excluded.amount RETURNING amount",
        ],
        turn: |client, item| one(client.ask(0, &[SERVICE, item])?),
    },
];

#[derive(Clone, Copy, PartialEq)]
enum Items {
    One,
    Hundred,
    New,
}

impl Items {
    fn name(self) -> &'static str {
        match self {
            Items::One => "one hot row",
            Items::Hundred => "100 rows",
            Items::New => "a new row each turn",
        }
    }

    fn choose(self, generator: &mut fastrand::Rng) -> String {
        match self {
            Items::One => "item-0".to_owned(),
            Items::Hundred => format!("item-{}", generator.u8(..100)),
            Items::New => crate::key::random(generator),
        }
    }
}

struct Cell {
    far: bool,
    clients: usize,
    items: Items,
    rounds: Vec<Rounds>,
}

impl Cell {
    fn rate(&self, place: usize) -> &Sample {
        &self.rounds[place].per_second
    }

    fn times_separate(&self, place: usize) -> Sample {
        self.rate(place).over(self.rate(0))
    }

    fn title(&self) -> String {
        format!("{}, {}", self.items.name(), self.circumstances())
    }

    fn circumstances(&self) -> String {
        let trip = if self.far {
            "1 ms a round trip"
        } else {
            "no latency"
        };
        match self.clients {
            1 => format!("1 client, {trip}"),
            clients => format!("{clients} clients, {trip}"),
        }
    }
}

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    let mut observer = server.database(DATABASE, SETUP)?;
    let turns = AtomicU64::new(0);
    let mut cells = Vec::new();
    for far in [false, true] {
        for clients in [1, 8, 32] {
            for items in [Items::One, Items::Hundred, Items::New] {
                let mut cell = Cell {
                    far,
                    clients,
                    items,
                    rounds: Vec::new(),
                };
                run.progress(&format!("turns at rows: {}", cell.title()));
                cell.rounds = interleave(
                    run.scaled(if clients == 32 { 3 } else { 5 }, 1),
                    CONTESTANTS.len(),
                    |place| {
                        let contestant = &CONTESTANTS[place];
                        let load = Load {
                            address: server.address(DATABASE),
                            clients,
                            time: Duration::from_millis(300),
                            delay: Duration::from_millis(u64::from(far)),
                            settings: "SET synchronous_commit = off",
                            statements: contestant.statements,
                        };
                        load.run(|client, generator| {
                            (contestant.turn)(client, &items.choose(generator))?;
                            turns.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        })
                    },
                )?;
                let added = observer.number("SELECT sum(amount) FROM payments")?;
                if added != turns.load(Ordering::Relaxed) as f64 {
                    return Err(format!("updates were lost: {}", cell.title()));
                }
                cells.push(cell);
            }
        }
    }
    drop(observer);
    server
        .connect("postgres")?
        .run(&format!("DROP DATABASE {DATABASE}"))?;
    targets(&cells, report);
    tell(&cells, report)
}

fn place_of(name: &str) -> usize {
    let place = CONTESTANTS
        .iter()
        .position(|contestant| contestant.name == name);
    place.expect("a contestant of this name")
}

fn targets(cells: &[Cell], report: &mut Report) {
    for cell in cells
        .iter()
        .filter(|cell| cell.far && cell.clients == 8 && cell.items == Items::One)
    {
        for (name, limit) in [(PIPELINED, 1.8), (ONE_CALL, 8.0)] {
            let ratio = cell.times_separate(place_of(name));
            let name = format!("{name}, against {SEPARATE}: {}", cell.title());
            report.target(name, Bound::AtLeast(limit), &ratio);
        }
    }
    // The worst of all cells, for each form.
    for (place, ours) in CONTESTANTS
        .iter()
        .enumerate()
        .filter(|(_, contestant)| contestant.ours)
    {
        let worst = cells
            .iter()
            .filter(|cell| !cell.far)
            .map(|cell| {
                (
                    cell,
                    cell.rate(place)
                        .over(cell.rate(best_by_hand(cell, ours.form))),
                )
            })
            .min_by(|(_, one), (_, other)| one.median().total_cmp(&other.median()));
        if let Some((cell, ratio)) = worst {
            let name = format!(
                "{}, against the best by hand of the same form, in the worst case: {}",
                ours.name,
                cell.title()
            );
            report.target(name, Bound::AtLeast(0.95), &ratio);
        }
    }
}

fn best_by_hand(cell: &Cell, form: Form) -> usize {
    let by_hand = CONTESTANTS.iter().enumerate();
    by_hand
        .filter(|(_, contestant)| !contestant.ours && contestant.form == form)
        .map(|(place, _)| place)
        .max_by(|one, other| {
            cell.rate(*one)
                .median()
                .total_cmp(&cell.rate(*other).median())
        })
        .expect("one by hand of each form")
}

fn tell(cells: &[Cell], report: &mut Report) -> Result<(), String> {
    let mut text = format!(
        "Find a payment or create it, lock it, add to its amount, commit; `synchronous_commit = off`, \
         Unix socket, prepared, with a unique index. A round trip of 1 ms is a sleep of the client, half before \
         it sends and half after it has received. × is the median of the ratios to `{SEPARATE}` in the \
         same round, with the least and the most. After each table the amounts were added up: no update was lost.\n"
    );
    for group in cells.chunk_by(|one, other| one.far == other.far && one.clients == other.clients) {
        let rows = CONTESTANTS.iter().enumerate().map(|(place, contestant)| {
            let mut row = vec![contestant.name.to_owned()];
            row.extend(group.iter().map(|cell| spread(&cell.times_separate(place))));
            let slowest = &group[0].rounds[place].slowest_percent;
            row.push(number(slowest.median() / 1e3));
            row
        });
        let mut head = vec![""];
        head.extend(group.iter().map(|cell| cell.items.name()));
        head.push("ms, 99 %, one hot row");
        let absolute = group.iter().map(|cell| number(cell.rate(0).median()));
        text += &format!(
            "\n### {}\n\n{}\nTurns a second of the {SEPARATE}: {}.\n",
            group[0].circumstances(),
            table(&head, rows),
            absolute.collect::<Vec<_>>().join(", "),
        );
    }
    let shown: Vec<&Cell> = cells
        .iter()
        .filter(|cell| cell.far && cell.clients == 8)
        .collect();
    let groups = CONTESTANTS.iter().enumerate().map(|(place, contestant)| {
        let bars = shown.iter().map(|cell| cell.times_separate(place).median());
        (contestant.name.to_owned(), bars.collect())
    });
    let series: Vec<_> = shown.iter().map(|cell| cell.items.name()).collect();
    let title = format!("8 clients, 1 ms a round trip: turns against {SEPARATE}");
    let plot = plot::bars(&title, &series, &groups.collect::<Vec<_>>())?;
    text += &format!("\n![{title}](rows.svg)\n");
    report.plots.push(("rows.svg".to_owned(), plot));
    report.section("Turns at rows", &text);

    let cells = cells.iter().map(|cell| {
        let contestants = CONTESTANTS.iter().enumerate().map(|(place, contestant)| {
            let rounds = &cell.rounds[place];
            json!({
                "contestant": contestant.name,
                "per second": figures(&rounds.per_second),
                "ratio": figures(&cell.times_separate(place)),
                "median in µs": rounds.median.median(),
                "99 % in µs": rounds.slowest_percent.median(),
            })
        });
        json!({
            "latency in ms": u8::from(cell.far), "clients": cell.clients, "rows": cell.items.name(),
            "contestants": contestants.collect::<Vec<_>>(),
        })
    });
    report
        .figures
        .insert("turns at rows".to_owned(), cells.collect());
    Ok(())
}

fn one(reply: Reply) -> Result<(), String> {
    match reply.rows {
        1 => Ok(()),
        rows => Err(format!("{rows} rows came instead of one")),
    }
}

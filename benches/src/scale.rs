//! What a claim costs when many are stored already, on a server as users have it: page images, checkpoints, and
//! less memory than the tables take.

use crate::claim::{NS, once};
use crate::key;
use crate::plot;
use crate::report::{Bound, Report, figures, number, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use crate::wire::Client;
use fastrand::Rng;
use pg_once_sessions::family::{Family, family};
use serde_json::{Value, json};
use std::thread;
use std::time::Instant;

const SIZES: [usize; 4] = [100_000, 1_000_000, 10_000_000, 100_000_000];

/// The server's default, and what a small machine has.
const SHARED_BUFFERS: [&str; 2] = ["128MB", "1GB"];

const ORDERS: [Order; 2] = [
    Order {
        name: "keys in order",
        family: "UUIDv7",
    },
    Order {
        name: "random keys",
        family: "UUIDv4",
    },
];

/// A hand-written table with what a claim stores.
const SETUP: &str =
    "CREATE TABLE hand (ns text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz, PRIMARY KEY (ns, key))";

/// How many keys are made and stored by one statement. Batches are claimed in the order of the index on both
/// sides, or random ones would take hours.
const PORTION: usize = 1_000_000;

/// How many claims are measured at once.
const CLAIMED: usize = 5000;

/// The keys of one batch.
const BATCH: usize = 20_000;

#[derive(Clone, Copy, PartialEq)]
struct Order {
    name: &'static str,
    family: &'static str,
}

impl Order {
    /// The keys of these numbers, the same each time.
    fn keys(self, start: usize, count: usize) -> Vec<String> {
        let family: &Family = family(self.family);
        family.keys(
            start as u64..(start + count) as u64,
            &mut Rng::with_seed(start as u64),
        )
    }
}

struct Way {
    name: &'static str,
    table: &'static str,
    /// A batch of keys.
    batch: &'static str,
    /// The claims of the table `next`, one after the other.
    claims: &'static str,
}

const HAND: usize = 0;
const OURS: usize = 1;

const WAYS: [Way; 2] = [
    Way {
        name: "by hand",
        table: "hand",
        batch: "INSERT INTO hand SELECT $1, key FROM (SELECT DISTINCT unnest($2::text[]) AS key) batch ORDER BY key \
                ON CONFLICT DO NOTHING RETURNING key",
        claims: "INSERT INTO hand SELECT 'billing.webhook', key FROM next ON CONFLICT DO NOTHING",
    },
    Way {
        name: "claim_once",
        table: "once.claim",
        batch: "SELECT claim_many($1, $2)",
        claims: "SELECT count(*) FROM next WHERE claim_once('billing.webhook', key)",
    },
];

/// Both tables of one size and order, in a database of their own.
struct Place {
    database: String,
    size: usize,
    order: Order,
    stored: usize,
    /// Heap and index per claim, by way.
    bytes: [[f64; 2]; 2],
}

/// What one claim costs.
#[derive(Clone, Default)]
struct Cost {
    microseconds: Sample,
    wal: Sample,
    read: Sample,
    dirtied: Sample,
}

/// What was measured in one place with these buffers.
struct Found {
    shared_buffers: &'static str,
    size: usize,
    order: Order,
    costs: [Cost; 2],
}

/// Microseconds a key of batches of keys in order, by way: new ones, and duplicates.
type Batches = [[Sample; 2]; 2];

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    let sizes = SIZES.map(|size| (size as f64 * run.scale.min(1.0)) as usize);
    let count = if run.scale >= 2.0 { 4 } else { 3 };
    let mut places = Vec::new();
    server.set("full_page_writes", "off")?;
    for size in &sizes[..count] {
        for order in ORDERS {
            run.progress(&format!("scale: {size} claims, {}", order.name));
            places.push(Place::fill(server, *size, order)?);
        }
    }
    server.reset("full_page_writes")?;
    let mut found = Vec::new();
    let mut batches = None;
    for shared_buffers in SHARED_BUFFERS {
        server.restart_with("shared_buffers", &format!("'{shared_buffers}'"))?;
        let rounds = run.scaled(7, 2);
        let mut costs: Vec<[Cost; 2]> = vec![Default::default(); places.len()];
        let mut clients = Vec::new();
        for place in &places {
            clients.push(place.connect(server)?);
        }
        for round in 0..=rounds {
            run.progress(&format!(
                "scale: {shared_buffers}, round {round} of {rounds}"
            ));
            for turn in 0..places.len() {
                let at = (turn + round) % places.len();
                let cost = places[at].round(&mut clients[at], round)?;
                // The first round is to get warm.
                if round > 0 {
                    for (all, one) in costs[at].iter_mut().zip(cost) {
                        all.add(one);
                    }
                }
            }
        }
        for (place, costs) in places.iter().zip(costs) {
            found.push(Found {
                shared_buffers,
                size: place.size,
                order: place.order,
                costs,
            });
        }
        run.progress(&format!("scale: batches of {BATCH} keys in order"));
        let of_batches = places
            .iter_mut()
            .zip(&mut clients)
            .find(|(place, _)| place.size == sizes[1] && place.order == ORDERS[0]);
        if let Some((place, client)) = of_batches {
            batches = Some(place.batches(client, rounds)?);
        }
    }
    server.reset_and_restart("shared_buffers")?;
    let mut client = server.connect("postgres")?;
    for place in &places {
        client.run(&format!("DROP DATABASE {} WITH (FORCE)", place.database))?;
    }
    client.run("CHECKPOINT")?;
    targets(&sizes, &found, batches.as_ref(), report);
    tell(&places, &found, batches.as_ref(), report)
}

impl Place {
    fn fill(server: &Server, size: usize, order: Order) -> Result<Place, String> {
        let database = format!("scale_{size}_{}", order.family.to_lowercase());
        drop(server.database(&database, SETUP)?);
        let filled = thread::scope(|scope| {
            let filling = WAYS.each_ref().map(|way| {
                let database = &database;
                scope.spawn(move || fill(server, database, way, size, order))
            });
            filling.map(|table| table.join().map_err(|_| "filling panics".to_owned())?)
        });
        let [hand, ours] = filled;
        server.connect("postgres")?.run("CHECKPOINT")?;
        Ok(Place {
            database,
            size,
            order,
            stored: size,
            bytes: [hand?, ours?],
        })
    }

    fn connect(&self, server: &Server) -> Result<Client, String> {
        let mut client = server.connect(&self.database)?;
        client.run("SET synchronous_commit = off; CREATE TEMP TABLE next (key text)")?;
        Ok(client)
    }

    /// What a claim costs by each way, after a checkpoint; the same keys for both, in turn first.
    fn round(&mut self, client: &mut Client, round: usize) -> Result<[Measured; 2], String> {
        let count = CLAIMED.min(self.size / 20);
        let keys = self.order.keys(self.stored, count);
        self.stored += count;
        client.run("TRUNCATE next")?;
        once(
            client,
            "INSERT INTO next SELECT unnest($1::text[])",
            &[&key::array(&keys)],
        )?;
        let mut costs = [Measured::default(); 2];
        for turn in 0..WAYS.len() {
            let way = (turn + round) % WAYS.len();
            costs[way] = Measured::of(client, WAYS[way].claims, count)?;
        }
        Ok(costs)
    }

    fn batches(&mut self, client: &mut Client, rounds: usize) -> Result<Batches, String> {
        let mut times = Batches::default();
        client.run("DEALLOCATE ALL")?;
        client.prepare(&WAYS.each_ref().map(|way| way.batch))?;
        for round in 0..=rounds {
            let new = self.order.keys(self.stored, BATCH);
            self.stored += BATCH;
            let start = (round * PORTION) % self.size.next_multiple_of(PORTION);
            let stored = self.order.keys(start, PORTION.min(self.size));
            let at = round * BATCH % (stored.len() - BATCH).max(1);
            for (kind, keys) in [&new[..], &stored[at..at + BATCH]].into_iter().enumerate() {
                let keys = key::array(keys);
                for turn in 0..WAYS.len() {
                    let way = (turn + round) % WAYS.len();
                    let started = Instant::now();
                    let won = client.ask(way, &[NS, &keys])?.rows;
                    let took = started.elapsed().as_secs_f64() * 1e6 / BATCH as f64;
                    let expected = if kind == 0 { BATCH as u64 } else { 0 };
                    if won != expected {
                        return Err(format!("{}: {won} keys were won", WAYS[way].name));
                    }
                    if round > 0 {
                        times[kind][way].0.push(took);
                    }
                }
            }
        }
        client.run("DEALLOCATE ALL")?;
        Ok(times)
    }
}

/// Stores the keys in one table. Its bytes per claim.
fn fill(
    server: &Server,
    database: &str,
    way: &Way,
    size: usize,
    order: Order,
) -> Result<[f64; 2], String> {
    let mut client = server.connect(database)?;
    client.run("SET synchronous_commit = off")?;
    client.prepare(&[way.batch])?;
    for start in (0..size).step_by(PORTION) {
        let count = PORTION.min(size - start);
        let keys = key::array(&order.keys(start, count));
        let won = client.ask(0, &[NS, &keys])?.rows;
        if won != count as u64 {
            return Err(format!("{}: {won} of {count} keys were won", way.name));
        }
    }
    client.run(&format!("VACUUM ANALYZE {}", way.table))?;
    let mut bytes = |function: &str| {
        let bytes = client.number(&format!("SELECT {function}('{}')", way.table))?;
        Ok::<_, String>(bytes / size as f64)
    };
    Ok([bytes("pg_table_size")?, bytes("pg_indexes_size")?])
}

/// One measurement of [`Cost`].
#[derive(Clone, Copy, Default)]
struct Measured {
    microseconds: f64,
    wal: f64,
    read: f64,
    dirtied: f64,
}

impl Measured {
    /// Of a claim by this statement, which makes so many, after a checkpoint.
    fn of(client: &mut Client, statement: &str, claims: usize) -> Result<Measured, String> {
        client.run("CHECKPOINT")?;
        let explained = client.value(&format!(
            "EXPLAIN (ANALYZE, BUFFERS, WAL, TIMING OFF, FORMAT JSON) {statement}"
        ))?;
        let explained: Value =
            serde_json::from_str(&explained).map_err(|error| error.to_string())?;
        let per_claim = |value: &Value| {
            let value = value.as_f64();
            value
                .map(|value| value / claims as f64)
                .ok_or_else(|| format!("no such figure in {explained}"))
        };
        let plan = &explained[0]["Plan"];
        Ok(Measured {
            microseconds: per_claim(&explained[0]["Execution Time"])? * 1000.0,
            wal: per_claim(&plan["WAL Bytes"])?,
            read: per_claim(&plan["Shared Read Blocks"])?,
            dirtied: per_claim(&plan["Shared Dirtied Blocks"])?,
        })
    }
}

impl Cost {
    fn add(&mut self, one: Measured) {
        self.microseconds.0.push(one.microseconds);
        self.wal.0.push(one.wal);
        self.read.0.push(one.read);
        self.dirtied.0.push(one.dirtied);
    }
}

fn targets(sizes: &[usize], found: &[Found], batches: Option<&Batches>, report: &mut Report) {
    for shared_buffers in SHARED_BUFFERS {
        let of = |size: usize| {
            found.iter().find(|found| {
                found.shared_buffers == shared_buffers
                    && found.size == size
                    && found.order == ORDERS[0]
            })
        };
        if let Some((large, small)) = of(sizes[2]).zip(of(sizes[0])) {
            let ratios =
                |of: fn(&Cost) -> &Sample| of(&large.costs[OURS]).over(of(&small.costs[OURS]));
            let sizes = format!(
                "with {} stored against {}, keys in order, shared_buffers {shared_buffers}",
                number(large.size as f64),
                number(small.size as f64)
            );
            let name = format!("a claim inside the backend {sizes}");
            report.target(
                name,
                Bound::AtMost(1.25),
                &ratios(|cost| &cost.microseconds),
            );
            let name = format!("WAL of a claim {sizes}");
            report.target(name, Bound::AtMost(1.25), &ratios(|cost| &cost.wal));
        }
    }
    for (kind, name) in ["new", "duplicates"].into_iter().enumerate() {
        if let Some(batches) = batches {
            let [hand, ours] = &batches[kind];
            let name = format!(
                "claim_many of {} keys in order beside {} against the sorted INSERT, {name}",
                number(BATCH as f64),
                number(sizes[1] as f64)
            );
            report.target(name, Bound::AtLeast(2.0), &hand.over(ours));
        }
    }
}

fn tell(
    places: &[Place],
    found: &[Found],
    batches: Option<&Batches>,
    report: &mut Report,
) -> Result<(), String> {
    let mut text = format!(
        "Per claim, in one statement that makes {} of them, commit not counted, median: microseconds inside the backend, bytes of \
         WAL after a checkpoint, pages read into `shared_buffers`, pages dirtied. `full_page_writes = on`. Keys have 36 \
         bytes: UUIDv7 made at 1,000 a second, and UUIDv4.\n\n",
        number(CLAIMED as f64)
    );
    let head = [
        "",
        "stored",
        "",
        "µs",
        "× by hand",
        "WAL",
        "× by hand",
        "read",
        "dirtied",
    ];
    for shared_buffers in SHARED_BUFFERS {
        let mut rows = Vec::new();
        for found in found
            .iter()
            .filter(|one| one.shared_buffers == shared_buffers)
        {
            for (way, cost) in WAYS.iter().zip(&found.costs) {
                let hand = &found.costs[HAND];
                rows.push(vec![
                    found.order.name.to_owned(),
                    number(found.size as f64),
                    way.name.to_owned(),
                    number(cost.microseconds.median()),
                    number(cost.microseconds.over(&hand.microseconds).median()),
                    number(cost.wal.median()),
                    number(cost.wal.over(&hand.wal).median()),
                    number(cost.read.median()),
                    number(cost.dirtied.median()),
                ]);
            }
        }
        text += &format!(
            "`shared_buffers = {shared_buffers}`:\n\n{}\n",
            table(&head, rows)
        );
    }
    let rows = places.iter().flat_map(|place| {
        WAYS.iter().zip(place.bytes).map(|(way, [heap, index])| {
            vec![
                place.order.name.to_owned(),
                number(place.size as f64),
                way.name.to_owned(),
                number(heap),
                number(index),
                number((heap + index) * place.size as f64 / 1e6),
            ]
        })
    });
    let head = ["", "stored", "", "heap", "index", "together, MB"];
    text += &format!(
        "Bytes per claim, filled by batches of up to {} keys:\n\n{}\n",
        number(PORTION as f64),
        table(&head, rows)
    );
    if let Some(batches) = batches {
        let rows = ["new", "duplicates"]
            .into_iter()
            .zip(batches)
            .map(|(name, [hand, ours])| {
                vec![
                    name.to_owned(),
                    number(hand.median()),
                    number(ours.median()),
                    number(hand.over(ours).median()),
                ]
            });
        text += &format!(
            "Microseconds a key of batches of {} keys in order over the wire, beside {} stored, the INSERT sorted and without \
             duplicates:\n\n{}\n",
            number(BATCH as f64),
            number(places[2].size as f64),
            table(&["", "INSERT", "claim_many", "×"], rows)
        );
    }
    for (file, title, of) in [
        (
            "scale-wal.svg",
            "Bytes of WAL of one claim after a checkpoint, by claims stored",
            (|cost| &cost.wal) as fn(&Cost) -> &Sample,
        ),
        (
            "scale-time.svg",
            "Microseconds of one claim inside the backend, by claims stored",
            |cost| &cost.microseconds,
        ),
    ] {
        text += &format!("![{title}]({file})\n\n");
        report
            .plots
            .push((file.to_owned(), plot::lines(title, &lines(found, of))?));
    }
    report.section("Scale", &text);
    let costs = found.iter().flat_map(|found| {
        WAYS.iter().zip(&found.costs).map(|(way, cost)| {
            json!({
                "way": way.name, "order": found.order.name, "stored": found.size, "shared_buffers": found.shared_buffers,
                "µs": figures(&cost.microseconds), "wal": figures(&cost.wal), "read": figures(&cost.read),
                "dirtied": figures(&cost.dirtied),
            })
        })
    });
    let bytes = places.iter().flat_map(|place| {
        WAYS.iter().zip(place.bytes).map(|(way, [heap, index])| {
            json!({"way": way.name, "order": place.order.name, "stored": place.size, "heap": heap, "index": index})
        })
    });
    report.figures.insert(
        "scale".to_owned(),
        json!({"costs": costs.collect::<Vec<_>>(), "bytes": bytes.collect::<Vec<_>>()}),
    );
    Ok(())
}

/// One line for each order and way, with the larger buffers.
fn lines(found: &[Found], of: fn(&Cost) -> &Sample) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut lines = Vec::new();
    for order in ORDERS {
        for (way, Way { name, .. }) in WAYS.iter().enumerate() {
            let points = found
                .iter()
                .filter(|one| one.order == order && one.shared_buffers == SHARED_BUFFERS[1])
                .map(|one| ((one.size as f64).log10(), of(&one.costs[way]).median()));
            lines.push((format!("{name}, {}", order.name), points.collect()));
        }
    }
    lines
}

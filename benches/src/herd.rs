//! Many clients that want one key at the same moment.

use crate::claim::{self, CONTESTANTS};
use crate::key;
use crate::report::{Report, figures, number, spread, table};
use crate::run::Run;
use crate::server::Server;
use crate::statistics::Sample;
use crate::wire::Client;
use serde_json::json;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const DATABASE: &str = "herd";
const CLIENTS: usize = 32;

pub fn measure(run: &Run, server: &Server, report: &mut Report) -> Result<(), String> {
    run.progress("herd: 32 clients at one key");
    let mut generator = fastrand::Rng::with_seed(5);
    drop(server.database(DATABASE, claim::SETUP)?);
    let contestants: Vec<_> = CONTESTANTS
        .iter()
        .filter(|contestant| contestant.table.is_some())
        .collect();
    let mut times = vec![Sample::default(); contestants.len()];
    for round in 0..run.scaled(5, 1) {
        for place in 0..contestants.len() {
            let place = (place + round) % contestants.len();
            let contestant = contestants[place];
            let mut clients = Vec::new();
            for _ in 0..CLIENTS {
                let mut client = server.connect(DATABASE)?;
                client.prepare(contestant.statements)?;
                for _ in 0..6 {
                    (contestant.claim)(&mut client, &key::random(&mut generator))?;
                }
                clients.push(client);
            }
            for _ in 0..10 {
                let key = key::random(&mut generator);
                times[place]
                    .0
                    .push(rush(&mut clients, &key, contestant.claim)?);
            }
        }
    }
    server
        .connect("postgres")?
        .run(&format!("DROP DATABASE {DATABASE} WITH (FORCE)"))?;

    let rows = contestants.iter().zip(&times).map(|(contestant, sample)| {
        let ratio = sample.median() / times[0].median();
        vec![contestant.name.to_owned(), spread(sample), number(ratio)]
    });
    report.section(
        "Herd",
        &format!(
            "{CLIENTS} clients claim one new key at the same moment, `synchronous_commit = on`: milliseconds until \
             all of them have their answer, with the least and the most; × is the ratio of the medians. Each time exactly one has won.\n\n{}",
            table(&["", "ms", "×"], rows)
        ),
    );
    let figures = contestants
        .iter()
        .zip(&times)
        .map(|(contestant, sample)| json!({"contestant": contestant.name, "ms": figures(sample)}));
    report.figures.insert("herd".to_owned(), figures.collect());
    Ok(())
}

/// Milliseconds until all have their answer.
fn rush(
    clients: &mut [Client],
    key: &str,
    claim: fn(&mut Client, &str) -> Result<bool, String>,
) -> Result<f64, String> {
    let start = Barrier::new(clients.len());
    let answers: Vec<Result<(Instant, Instant, bool), String>> = thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(|| {
                    start.wait();
                    let began = Instant::now();
                    let won = claim(client, key)?;
                    Ok((began, Instant::now(), won))
                })
            })
            .collect();
        running
            .into_iter()
            .map(|client| client.join().map_err(|_| "a client panics".to_owned())?)
            .collect()
    });
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let winners = answers.iter().filter(|(_, _, won)| *won).count();
    if winners != 1 {
        return Err(format!("{winners} clients won one key"));
    }
    let began = answers.iter().map(|(began, _, _)| *began).min();
    let ended = answers.iter().map(|(_, ended, _)| *ended).max();
    let took = began
        .zip(ended)
        .map_or(Duration::ZERO, |(began, ended)| ended - began);
    Ok(took.as_secs_f64() * 1e3)
}

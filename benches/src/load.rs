//! Clients that do the same thing at once for a while, and rounds in which
//! all contestants take their turn.

use crate::statistics::Sample;
use crate::wire::{Address, Client};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Calls of each client before the time begins: the server plans a prepared
/// statement anew five times.
const WARMING: usize = 6;

/// Clients of a database, each with its own connection.
pub struct Load<'a> {
    pub address: Address,
    pub clients: usize,
    pub time: Duration,
    /// What each round trip takes longer.
    pub delay: Duration,
    pub settings: &'a str,
    pub statements: &'a [&'a str],
}

/// What one load has reached.
pub struct Reached {
    pub per_second: f64,
    /// Microseconds.
    pub median: f64,
    pub slowest_percent: f64,
}

/// The same over all rounds.
#[derive(Clone, Default)]
pub struct Rounds {
    pub per_second: Sample,
    pub median: Sample,
    pub slowest_percent: Sample,
}

impl Load<'_> {
    pub fn run<W>(&self, work: W) -> Result<Reached, String>
    where
        W: Fn(&mut Client, &mut fastrand::Rng) -> Result<(), String> + Sync,
    {
        let mut clients = Vec::new();
        let mut generator = fastrand::Rng::new();
        for _ in 0..self.clients {
            let mut client = self.address.connect()?;
            client.run(self.settings)?;
            client.prepare(self.statements)?;
            for _ in 0..WARMING {
                work(&mut client, &mut generator)?;
            }
            client.delay = self.delay;
            clients.push(client);
        }
        drive(&mut clients, self.time, work)
    }
}

/// Lets clients of any kind work at once, each again and again until the time
/// is over.
pub fn drive<C, W>(clients: &mut [C], time: Duration, work: W) -> Result<Reached, String>
where
    C: Send,
    W: Fn(&mut C, &mut fastrand::Rng) -> Result<(), String> + Sync,
{
    let start = Barrier::new(clients.len());
    let (start, work) = (&start, &work);
    let ended: Vec<Result<(f64, Vec<f64>), String>> = thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    let mut generator = fastrand::Rng::new();
                    start.wait();
                    repeat(time, || work(client, &mut generator))
                })
            })
            .collect();
        running
            .into_iter()
            .map(|client| client.join().map_err(|_| "a client panics".to_owned())?)
            .collect()
    });
    let mut per_second = 0.0;
    let mut times = Vec::new();
    for client in ended {
        let (rate, took) = client?;
        per_second += rate;
        times.extend(took);
    }
    let times = Sample(times);
    Ok(Reached {
        per_second,
        median: times.quantile(0.5),
        slowest_percent: times.quantile(0.99),
    })
}

/// How often a second, and how long each took.
fn repeat(
    time: Duration,
    mut work: impl FnMut() -> Result<(), String>,
) -> Result<(f64, Vec<f64>), String> {
    let started = Instant::now();
    let mut times = Vec::new();
    let mut elapsed = Duration::ZERO;
    while elapsed < time {
        work()?;
        let now = started.elapsed();
        times.push((now - elapsed).as_secs_f64() * 1e6);
        elapsed = now;
    }
    Ok((times.len() as f64 / elapsed.as_secs_f64(), times))
}

/// Lets every contestant run once a round; the order turns with the rounds.
pub fn interleave(
    rounds: usize,
    contestants: usize,
    mut measure: impl FnMut(usize) -> Result<Reached, String>,
) -> Result<Vec<Rounds>, String> {
    let mut all = vec![Rounds::default(); contestants];
    for round in 0..rounds {
        for place in 0..contestants {
            let contestant = (place + round) % contestants;
            let reached = measure(contestant)?;
            let rounds = &mut all[contestant];
            rounds.per_second.0.push(reached.per_second);
            rounds.median.0.push(reached.median);
            rounds.slowest_percent.0.push(reached.slowest_percent);
        }
    }
    Ok(all)
}

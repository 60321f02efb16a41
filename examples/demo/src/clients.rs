use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

pub const CLIENTS: usize = 8;

/// Lets every client, each a thread with its own connection, take the steps
/// 0, 1, 2 ... Before each step they wait for one another, so that all take it
/// at the same moment, as parallel jobs of one build or pollers started by the
/// clock do. Answers how long that took.
pub fn at_once<C: Send>(
    clients: Vec<C>,
    steps: usize,
    act: impl Fn(usize, &mut C, usize) -> Result<()> + Sync,
) -> Result<Duration> {
    let barrier = Barrier::new(clients.len());
    let started = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(who, mut client)| {
                let (barrier, act) = (&barrier, &act);
                scope.spawn(move || {
                    let mut outcome = Ok(());
                    for step in 0..steps {
                        barrier.wait();
                        // A client that failed keeps coming, or the others would wait for ever.
                        if outcome.is_ok() {
                            outcome = act(who, &mut client, step);
                        }
                    }
                    outcome
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a client panicked"))
    })?;
    Ok(started.elapsed())
}

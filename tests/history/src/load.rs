//! Many clients at once, whose statements are cancelled and whose backends are ended at random
//! while something else happens to the server.

use crate::client::Client;
use crate::door::Door;
use crate::plan::{GENERATION, Mix, Plan};
use crate::record::Transaction;
use crate::wire::Wire;
use fastrand::Rng;
use pg_once_sessions::Session;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const CLIENTS: usize = 12;

/// How long a client waits for the slowest, so that all of them want the same keys.
const COURTESY: Duration = Duration::from_millis(200);

/// So many transactions every client makes at least, however slow the machine: less proves little.
const ENOUGH: u64 = 2 * GENERATION;

/// How long they may take beyond what happens meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Load<'a> {
    pub seed: u64,
    pub mix: Mix,
    pub door: Arc<Door>,
    /// Where the sockets of the wires are made; none are without `cuts`.
    pub wires: PathBuf,
    /// Refusals that clients must expect beside the usual ones.
    pub allowed: &'a [&'a str],
    /// Whether statements are cancelled and backends ended.
    pub disturb: bool,
}

/// What a load leaves.
pub struct Recorded {
    /// What the times of the history count from.
    pub start: Instant,
    pub history: Vec<Transaction>,
    pub cancelled: usize,
    pub ended: usize,
}

impl Load<'_> {
    /// Runs the clients for as long as `meanwhile` takes, and until they have done enough.
    pub fn run(&self, meanwhile: impl FnOnce()) -> Recorded {
        let start = Instant::now();
        let is_over = AtomicBool::new(false);
        let pace = Vec::from_iter((0..CLIENTS).map(|_| AtomicU64::new(0)));
        let (cancelled, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let history = thread::scope(|scope| {
            // Also where `meanwhile` fails.
            let stop = Stop(&is_over);
            let clients = Vec::from_iter((0..CLIENTS).map(|number| {
                let (is_over, pace) = (&is_over, &pace);
                scope.spawn(move || self.live(number, start, is_over, pace))
            }));
            let trouble = scope.spawn(|| {
                if self.disturb {
                    self.trouble(&is_over, &cancelled, &ended);
                }
            });
            meanwhile();
            let late = Instant::now();
            while slowest(&pace) < ENOUGH
                && late.elapsed() < PATIENCE
                && !clients.iter().any(|client| client.is_finished())
            {
                thread::sleep(Duration::from_millis(10));
            }
            drop(stop);
            trouble.join().unwrap();
            let histories = clients.into_iter().map(|client| client.join().unwrap());
            histories.flatten().collect()
        });
        Recorded {
            start,
            history,
            cancelled: cancelled.into_inner(),
            ended: ended.into_inner(),
        }
    }

    fn live(
        &self,
        number: usize,
        start: Instant,
        is_over: &AtomicBool,
        pace: &[AtomicU64],
    ) -> Vec<Transaction> {
        let is_over = || is_over.load(Ordering::Relaxed);
        let has_wire = self.mix.cuts && number.is_multiple_of(3);
        let wire = has_wire.then(|| {
            let name = format!("wire-{number}-{}", self.seed);
            Wire::new(self.wires.join(name), self.door.clone())
        });
        let mut client = Client::new(number, &self.door, wire, start, self.allowed);
        let mut plan = Plan::new(self.seed, number, self.mix);
        while !is_over() && client.connect(is_over) {
            client.play(plan.next().expect("a plan has no end"));
            let done = pace[number].fetch_add(1, Ordering::Relaxed) + 1;
            let ahead = Instant::now();
            while slowest(pace) + GENERATION < done && ahead.elapsed() < COURTESY && !is_over() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        client.into_history()
    }

    /// Cancels what a client's backend does, or ends the backend, now and then. A session that has a
    /// name is left alone.
    fn trouble(&self, is_over: &AtomicBool, cancelled: &AtomicUsize, ended: &AtomicUsize) {
        let mut random = Rng::with_seed(self.seed);
        let mut observer: Option<Session> = None;
        while !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(random.u64(5..40)));
            let is_cancel = random.u8(..4) != 0;
            let function = if is_cancel {
                "pg_cancel_backend"
            } else {
                "pg_terminate_backend"
            };
            let place = random.usize(..CLIENTS);
            if observer.is_none() {
                observer = Session::open(self.door.address(self.door.socket(), 0)).ok();
            }
            let Some(session) = &mut observer else {
                continue;
            };
            let told = session.try_run(&format!(
                "SELECT {function}(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND application_name = ''
                 ORDER BY pid LIMIT 1 OFFSET {place}"
            ));
            match told {
                Ok(rows) if !rows.is_empty() => {
                    let count = if is_cancel { cancelled } else { ended };
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) => observer = None,
            }
        }
    }
}

/// How many transactions the slowest client has done.
fn slowest(pace: &[AtomicU64]) -> u64 {
    let all = pace.iter().map(|done| done.load(Ordering::Relaxed));
    all.min().expect("there are clients")
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

//! A private cluster with the tables of a run, its clients, and the verdict on what they were told.

use crate::door::Door;
use crate::load::{Load, Recorded};
use crate::plan::Mix;
use crate::server::{self, SETTINGS, TABLES};
use crate::verdict::{Tally, judge};
use fastrand::Rng;
use pg_once_sessions::{Cluster, Session};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// SQLSTATEs that any run may leave in the log: serialization, deadlock, cancel, a lost lease, ended
/// backends, lost clients, and a server that stops or recovers.
const CODES: [&str; 9] = [
    "40001", "40P01", "57014", "55000", "57P01", "57P02", "57P03", "08006", "08P01",
];

/// How much a scenario does.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub seed: u64,
    /// How long a load lasts that nothing else ends.
    pub length: Duration,
    /// How often the server is killed.
    pub kills: usize,
    /// How often any other fault happens.
    pub faults: usize,
}

impl Scale {
    /// What a commit is tested with.
    pub fn short() -> Scale {
        Scale {
            seed: seed(),
            length: Duration::from_secs(3),
            kills: 10,
            faults: 3,
        }
    }

    /// For what is drawn beside the plans of the clients.
    pub fn random(&self) -> Rng {
        Rng::with_seed(self.seed.rotate_left(17))
    }
}

/// The seed of the environment, or a new one.
pub fn seed() -> u64 {
    match std::env::var("PG_ONCE_SEED") {
        Ok(seed) => seed.parse().expect("PG_ONCE_SEED must be a number"),
        Err(_) => Rng::new().u64(..),
    }
}

/// What became of a scenario.
pub enum Ending {
    Survived(Tally),
    /// This machine does not allow it.
    NotPossible(String),
}

/// What is different about the clients of a scenario.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub mix: Mix,
    pub disturb: bool,
    /// Refusals that the fault brings with it, to the clients and in the log.
    pub allowed: &'a [&'a str],
    /// Words of the log's lines about processes that the fault ends.
    pub deaths: &'a [&'a str],
}

impl Terms<'_> {
    pub const USUAL: Terms<'static> = Terms {
        mix: Mix::ALL,
        disturb: true,
        allowed: &[],
        deaths: &[],
    };
}

pub struct Scene {
    pub cluster: Cluster,
    pub database: String,
    pub door: Arc<Door>,
    pub seed: u64,
}

impl Scene {
    pub fn open(scale: &Scale, settings: &[&str]) -> Scene {
        Scene::of(Cluster::start(&all(settings)), scale)
    }

    /// With the tables of a run in a fresh database of this cluster.
    pub fn of(cluster: Cluster, scale: &Scale) -> Scene {
        let database = cluster.database().name;
        cluster.connect(&database).run(TABLES);
        let door = Arc::new(Door::new(cluster.path(""), &database, true));
        Scene {
            cluster,
            database,
            door,
            seed: scale.seed,
        }
    }

    pub fn session(&self) -> Session {
        self.cluster.connect(&self.database)
    }

    /// A session in the midst of a load: its backend may be ended before it has begun.
    pub fn try_session(&self) -> Option<Session> {
        Session::open(self.door.address(self.door.socket(), 0)).ok()
    }

    /// Runs the clients while this happens.
    pub fn record(&self, terms: Terms, meanwhile: impl FnOnce()) -> Recorded {
        let load = Load {
            seed: self.seed,
            mix: terms.mix,
            door: self.door.clone(),
            wires: PathBuf::from(self.cluster.path("")),
            allowed: terms.allowed,
            disturb: terms.disturb,
        };
        load.run(meanwhile)
    }

    /// The verdict on what was recorded, asked of this server. `faults` are those beside the cancels
    /// and ended backends.
    pub fn close(&self, recorded: Recorded, terms: Terms, faults: usize) -> Tally {
        self.close_on(&self.cluster, recorded, terms, faults)
    }

    /// The same, asked of another server that has taken over.
    pub fn close_on(
        &self,
        survivor: &Cluster,
        recorded: Recorded,
        terms: Terms,
        faults: usize,
    ) -> Tally {
        let Recorded {
            history,
            cancelled,
            ended,
            ..
        } = recorded;
        let mut session = survivor.connect(&self.database);
        let mut tally = judge(history, &mut session, &self.seed.to_string())
            .unwrap_or_else(|reason| panic!("PG_ONCE_SEED={}: {reason}", self.seed));
        tally.faults = faults + cancelled + ended;
        assert!(
            tally.acknowledged >= 10 && tally.operations >= 200,
            "PG_ONCE_SEED={}: a history of so little proves little: {tally}",
            self.seed
        );
        self.quiet_log(&self.cluster, terms);
        self.quiet_log(survivor, terms);
        tally
    }

    fn quiet_log(&self, cluster: &Cluster, terms: Terms) {
        let codes: Vec<&str> = CODES.iter().chain(terms.allowed).copied().collect();
        let log = cluster.log();
        let odd = server::odd_lines(&log, &codes, terms.deaths);
        if !odd.is_empty() {
            let kept = std::env::temp_dir().join(format!("pg_once_history-{}.log", self.seed));
            std::fs::write(&kept, &log).unwrap();
            panic!(
                "PG_ONCE_SEED={}: in the log, kept as {}: {odd:#?}",
                self.seed,
                kept.display()
            );
        }
    }
}

/// These settings of a cluster, with those that every run needs.
pub fn all<'s>(settings: &[&'s str]) -> Vec<&'s str> {
    SETTINGS.iter().chain(settings).copied().collect()
}

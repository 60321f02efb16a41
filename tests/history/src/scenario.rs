//! What happens to the server under the clients. Each returns once everything that they were told
//! has an explanation, nothing acknowledged is lost, and the server is in order.

use crate::scene::{Ending, Scale};

mod clock;
mod crash;
mod disk;
mod maintenance;
mod network;
mod pooler;
mod quiet;
mod shortage;
mod standby;
mod stopped;

pub struct Scenario {
    pub name: &'static str,
    pub run: fn(&Scale) -> Ending,
}

const fn scenario(name: &'static str, run: fn(&Scale) -> Ending) -> Scenario {
    Scenario { name, run }
}

pub const ALL: &[Scenario] = &[
    scenario("backends_ended", quiet::backends_ended),
    scenario("sessions_time_out", quiet::sessions_time_out),
    scenario("backend_killed", crash::backend_killed),
    scenario("postmaster_killed", crash::postmaster_killed),
    scenario("immediate_stop", crash::immediate_stop),
    scenario("data_disk_full", disk::data_full),
    scenario("wal_disk_full", disk::wal_full),
    scenario("lock_table_full", shortage::locks),
    scenario("predicate_locks_full", shortage::predicate_locks),
    scenario("connections_full", shortage::connections),
    scenario("out_of_memory", shortage::memory),
    scenario("client_stopped", stopped::client),
    scenario("clock_jumps", clock::jumps),
    scenario("pooler", pooler::transactions),
    scenario("standby_promoted", standby::promoted),
    scenario("network_cut", network::cut),
    scenario("maintenance", maintenance::in_a_loop),
];

/// Runs one scenario and prints what it has survived, with its seed.
pub fn run(name: &str, scale: &Scale) -> Ending {
    let scenario = ALL.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.unwrap_or_else(|| panic!("there is no scenario {name}"));
    println!("{name}: PG_ONCE_SEED={}", scale.seed);
    let ending = (scenario.run)(scale);
    match &ending {
        Ending::Survived(tally) => println!("{name}: {tally}; PG_ONCE_SEED={}", scale.seed),
        Ending::NotPossible(why) => {
            println!("{name}: NOT RUN, this machine does not allow it: {why}")
        }
    }
    ending
}

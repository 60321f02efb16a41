//! `soak MINUTES` runs the scenarios one after the other, on a larger scale and each time with
//! another seed, until the time is over: first 100 kills of the postmaster, then all.

use pg_once_history::scenario::{self, ALL};
use pg_once_history::scene::{Ending, Scale, seed};
use pg_once_history::verdict::Tally;
use std::time::{Duration, Instant};

fn main() {
    let minutes = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let minutes: u64 = minutes.expect("for how many minutes?");
    let begun = Instant::now();
    let first = seed();
    let mut scale = Scale {
        seed: first,
        length: Duration::from_secs(12),
        kills: 100,
        faults: 8,
    };
    let mut together = Tally::default();
    let mut ran = 0;
    let mut run = |name: &str, scale: &Scale| {
        if let Ending::Survived(tally) = scenario::run(name, scale) {
            together += tally;
            ran += 1;
        }
    };
    run("postmaster_killed", &scale);
    scale.kills = 10;
    'soak: loop {
        for scenario in ALL {
            if begun.elapsed() >= Duration::from_secs(60 * minutes) {
                break 'soak;
            }
            scale.seed = scale.seed.wrapping_add(1);
            run(scenario.name, &scale);
        }
    }
    println!(
        "soak: {ran} scenarios in {:?}: {together}; seeds {first} to {}",
        begun.elapsed(),
        scale.seed
    );
}

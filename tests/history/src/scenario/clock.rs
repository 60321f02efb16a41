//! The clock jumps an hour forward and back between one life of the server and the next. libfaketime
//! stands between the server and the kernel's clock.
//!
//! It can be told to jump while the server runs too, by a file that it reads. Under the load of
//! these clients such a server went into crash recovery; why was not looked into.

use crate::scene::{Ending, Scale, Scene, Terms, all};
use pg_once_sessions::Cluster;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

const LIBRARY: &str = "faketime/libfaketime.so.1";

pub fn jumps(scale: &Scale) -> Ending {
    let library = library();
    let cluster = Cluster::start_with(
        &all(&[]),
        &[
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME", "+0"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
    );
    let scene = Scene::of(cluster, scale);
    let mut jumps = 0;
    let recorded = scene.record(Terms::USUAL, || {
        for offset in ["+1h", "+0", "-1h"].iter().cycle().take(scale.faults) {
            thread::sleep(Duration::from_millis(600));
            let before = now(&scene);
            scene.cluster.stop_fast();
            scene.cluster.set_environment("FAKETIME", offset);
            scene.cluster.restart();
            let jump = now(&scene) - before;
            assert!(jump.abs() > 3000, "the clock has jumped by {jump} s only");
            jumps += 1;
        }
        thread::sleep(Duration::from_millis(600));
    });
    Ending::Survived(scene.close(recorded, Terms::USUAL, jumps))
}

fn now(scene: &Scene) -> i64 {
    let mut session = scene.cluster.connect("postgres");
    session.number("SELECT extract(epoch FROM clock_timestamp())::bigint")
}

/// Debian's package libfaketime has it.
fn library() -> PathBuf {
    let mut folders = fs::read_dir("/usr/lib").unwrap().map(Result::unwrap);
    let found = folders.find_map(|folder| {
        let library = folder.path().join(LIBRARY);
        library.exists().then_some(library)
    });
    found.expect("libfaketime: the Debian package of this name")
}

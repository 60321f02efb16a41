//! Clients are stopped for three leases in the middle of their work, and go on.

use crate::scene::{Ending, Scale, Scene, Terms};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// psql goes on after an error in a transaction, up to its end.
const TERMS: Terms = Terms {
    allowed: &["25P02"],
    ..Terms::USUAL
};

const LEASE: Duration = Duration::from_millis(200);
const WORKERS: usize = 3;

/// Beside the usual clients there are processes that work on one key and are stopped. What they
/// write behind the fence has rising tokens, which the last check looks at.
pub fn client(scale: &Scale) -> Ending {
    let scene = Scene::open(scale, &[]);
    let mut random = scale.random();
    let mut workers = Workers(Vec::new());
    for number in 0..WORKERS {
        workers.0.push(worker(&scene, number));
    }
    let recorded = scene.record(TERMS, || {
        for _ in 0..scale.faults {
            thread::sleep(Duration::from_millis(random.u64(100..400)));
            let stopped = random.usize(..WORKERS);
            workers.signal(stopped, "STOP");
            thread::sleep(3 * LEASE);
            workers.signal(stopped, "CONT");
        }
        thread::sleep(2 * LEASE);
    });
    drop(workers);
    let mut session = scene.session();
    let tokens = session.number("SELECT count(DISTINCT token) FROM effect WHERE key = 'stopped'");
    assert!(tokens > 1, "nobody took over");
    drop(session);
    Ending::Survived(scene.close(recorded, TERMS, scale.faults))
}

/// A process that begins the work again and again, and writes its effects behind the fence. The one
/// in four that it does not give back is taken over when its lease is over.
fn worker(scene: &Scene, number: usize) -> Child {
    let lease = LEASE.as_millis();
    let round = format!(
        "SELECT outcome, token FROM begin_once('work', 'stopped', '{lease} ms') \\gset
         SELECT :'outcome' = 'run' AS runs \\gset
         \\if :runs
             BEGIN;
             SELECT fence_once('work', 'stopped', :token);
             SELECT pg_sleep(0.02);
             INSERT INTO effect (key, token, completes) VALUES ('stopped', :token, false);
             COMMIT;
             SELECT pg_sleep(0.02);
             BEGIN;
             SELECT fence_once('work', 'stopped', :token);
             INSERT INTO effect (key, token, completes) VALUES ('stopped', :token, false);
             COMMIT;
             SELECT random() < 0.75 AS gives \\gset
             \\if :gives
                 SELECT fail_once('work', 'stopped', :token);
             \\endif
         \\else
             SELECT pg_sleep(0.01);
         \\endif\n"
    );
    let script = scene.cluster.path(&format!("worker-{number}.sql"));
    fs::write(&script, round.repeat(20_000)).unwrap();
    scene
        .cluster
        .client_command("psql")
        .args(["-X", "-q", "-U", "postgres", "-d", &scene.database])
        .args(["-f", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// They end with the scenario, however it ends.
struct Workers(Vec<Child>);

impl Workers {
    fn signal(&self, number: usize, signal: &str) {
        let pid = self.0[number].id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success(), "a worker is gone");
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

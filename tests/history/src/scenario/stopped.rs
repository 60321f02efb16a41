//! Clients are stopped for three leases in the middle of their work, and go on.

use crate::scene::{Ending, Scale, Scene, Terms};
use pg_once_sessions::Session;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// psql goes on after an error in a transaction, up to its end.
const TERMS: Terms = Terms {
    allowed: &["25P02"],
    ..Terms::USUAL
};

const LEASE: Duration = Duration::from_millis(200);
const WORKERS: usize = 3;

/// How long it may take until a worker has the work, or another one takes it over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Beside the usual clients there are processes that work on one key. Each time the one that has the
/// lease is stopped, and another one takes over. What they write behind the fence has rising tokens,
/// which the last check looks at.
pub fn client(scale: &Scale) -> Ending {
    let scene = Scene::open(scale, &[]);
    let mut random = scale.random();
    let mut observer = scene.session();
    observer.run("SET application_name = 'observer'");
    observer.run("CREATE TABLE holder AS SELECT 0 AS worker, 0::bigint AS token");
    let mut workers = Workers(Vec::new());
    for number in 0..WORKERS {
        workers.0.push(worker(&scene, number));
    }
    let recorded = scene.record(TERMS, || {
        for _ in 0..scale.faults {
            thread::sleep(Duration::from_millis(random.u64(100..400)));
            let holder = workers.stop_the_holder(&mut observer);
            let stopped = Instant::now();
            thread::sleep(3 * LEASE);
            while observer.is_true(HOLDS) {
                assert!(stopped.elapsed() < PATIENCE, "nobody takes over");
                thread::sleep(Duration::from_millis(10));
            }
            workers.signal(holder, "CONT");
        }
        thread::sleep(2 * LEASE);
    });
    drop(workers);
    drop(observer);
    Ending::Survived(scene.close(recorded, TERMS, scale.faults))
}

/// Whether the worker that has begun last still has the work.
const HOLDS: &str = "SELECT EXISTS (SELECT FROM once.work JOIN holder USING (token)
                                    WHERE key = 'stopped' AND state = 'running')";

/// A process that begins the work again and again, and writes its effects behind the fence. The one
/// in four that it does not give back is taken over when its lease is over.
fn worker(scene: &Scene, number: usize) -> Child {
    let lease = LEASE.as_millis();
    // What is refused leaves the variables of psql as they are.
    let first = "\\set outcome none\n\\set token 0\n";
    let round = format!(
        "SELECT outcome, token FROM begin_once('work', 'stopped', '{lease} ms') \\gset
         SELECT :'outcome' = 'run' AS runs \\gset
         \\if :runs
             UPDATE holder SET worker = {number}, token = :token;
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
    fs::write(&script, first.to_owned() + &round.repeat(20_000)).unwrap();
    scene
        .cluster
        .client_command("psql")
        .env("PGAPPNAME", name(number))
        .args(["-X", "-q", "-U", "postgres", "-d", &scene.database])
        .args(["-f", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A worker's name in the server's views.
fn name(number: usize) -> String {
    format!("worker {number}")
}

/// They end with the scenario, however it ends.
struct Workers(Vec<Child>);

impl Workers {
    /// Stops the worker that has the work, outside of its transactions: a fence in one of them would
    /// hold off a takeover for as long as it is stopped.
    fn stop_the_holder(&self, observer: &mut Session) -> usize {
        let begun = Instant::now();
        loop {
            let number = observer.number("SELECT worker FROM holder") as usize;
            self.signal(number, "STOP");
            thread::sleep(LEASE / 4);
            let idle = format!(
                "SELECT EXISTS (SELECT FROM pg_stat_activity JOIN holder ON worker = {number}
                                WHERE application_name = '{}' AND state = 'idle')",
                name(number)
            );
            if observer.is_true(&idle) && observer.is_true(HOLDS) {
                return number;
            }
            self.signal(number, "CONT");
            assert!(
                begun.elapsed() < PATIENCE,
                "no worker is between two transactions"
            );
            thread::sleep(LEASE / 20);
        }
    }

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

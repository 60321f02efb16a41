//! The disk is full, of the tables or of the WAL. A small tmpfs stands for it, which root may mount
//! where the machine lets him.

use crate::scene::{Ending, Scale, Scene, Terms, all};
use pg_once_sessions::Cluster;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may take to recover by itself.
const RECOVERY: Duration = Duration::from_secs(20);

/// The claims, the records of work and one table of counters are on a small disk.
pub fn data_full(scale: &Scale) -> Ending {
    const FULL: Terms = Terms {
        allowed: &["53100"],
        ..Terms::USUAL
    };
    let scene = Scene::open(scale, &[]);
    let disk = match Disk::mount(&scene.cluster, "small", 16) {
        Ok(disk) => disk,
        Err(why) => return Ending::NotPossible(why),
    };
    let mut session = scene.session();
    let path = scene.cluster.path("small");
    session.run(&format!("CREATE TABLESPACE small LOCATION '{path}'"));
    for statement in [
        "ALTER TABLE once.claim SET TABLESPACE small",
        "ALTER INDEX once.claim_pkey SET TABLESPACE small",
        "ALTER TABLE once.work_record SET TABLESPACE small",
        "ALTER TABLE counter_plain SET TABLESPACE small",
    ] {
        session.run(statement);
    }
    drop(session);
    let recorded = scene.record(FULL, || {
        for _ in 0..scale.faults {
            thread::sleep(Duration::from_millis(300));
            disk.fill();
            exhaust_pages(&scene);
            thread::sleep(Duration::from_millis(500));
            disk.make_room();
        }
        thread::sleep(Duration::from_millis(300));
    });
    let tally = scene.close(recorded, FULL, scale.faults);
    let Scene { cluster, .. } = scene;
    cluster.stop_immediately();
    drop(disk);
    Ending::Survived(tally)
}

/// The WAL is on a small disk: the server panics, and may not even recover before there is room.
pub fn wal_full(scale: &Scale) -> Ending {
    const FULL: Terms = Terms {
        allowed: &["53100"],
        deaths: &["terminated by signal 6"],
        ..Terms::USUAL
    };
    let settings = [
        "fsync = on",
        "min_wal_size = '32MB'",
        "max_wal_size = '48MB'",
    ];
    let cluster = Cluster::start(&all(&settings));
    let disk = match Disk::mount(&cluster, "wal", 160) {
        Ok(disk) => disk,
        Err(why) => return Ending::NotPossible(why),
    };
    cluster.stop_fast();
    let (home, data) = (cluster.path(""), cluster.path("data"));
    let moved = format!(
        "cp -a '{data}/pg_wal/.' '{home}/wal/' && rm -r '{data}/pg_wal'
         ln -s '{home}/wal' '{data}/pg_wal' && chown -h --reference='{data}' '{data}/pg_wal'"
    );
    shell(&moved).expect("the WAL is moved");
    cluster.restart();
    let scene = Scene::of(cluster, scale);
    let recorded = scene.record(FULL, || {
        for _ in 0..scale.faults {
            thread::sleep(Duration::from_millis(300));
            let panics = panics_of(&scene.cluster);
            disk.fill();
            exhaust_wal(&scene, panics);
            thread::sleep(Duration::from_millis(500));
            disk.make_room();
            come_back(&scene.cluster);
        }
        thread::sleep(Duration::from_millis(300));
    });
    let tally = scene.close(recorded, FULL, scale.faults);
    let Scene { cluster, .. } = scene;
    cluster.stop_immediately();
    drop(disk);
    Ending::Survived(tally)
}

/// Claims until there is no page left. What it has claimed is rolled back and still takes room, so that
/// the clients need a new page too.
fn exhaust_pages(scene: &Scene) {
    let claims = "SELECT count(*) FROM claim_many('ballast', ARRAY(
                      SELECT clock_timestamp() || ' ' || n FROM generate_series(1, 300) n))";
    let started = Instant::now();
    loop {
        let Some(mut session) = scene.try_session() else {
            continue;
        };
        // It may be cancelled or ended like the statements of any client.
        let told = session.try_run(claims);
        if let Err(failure) = &told
            && failure.sqlstate() == "53100"
        {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "the disk is never full: {told:?}"
        );
    }
}

/// Asks for new segments until the server has panicked once more. Where there is no room for a new segment outside a
/// critical section, that is an error of one statement alone, after which the server goes on.
fn exhaust_wal(scene: &Scene, panics: usize) {
    let started = Instant::now();
    while panics_of(&scene.cluster) == panics {
        assert!(
            started.elapsed() < PATIENCE,
            "the server does not panic although the disk is full"
        );
        match scene.try_session() {
            // It may be cancelled, ended or refused like the statements of any client.
            Some(mut session) => drop(session.try_run("SELECT pg_switch_wal(), txid_current()")),
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn panics_of(cluster: &Cluster) -> usize {
    cluster.log().matches(" PANIC:  ").count()
}

/// The server recovers by itself, or has given up and is started again. PostgreSQL 18.4 may do neither: where there
/// was no room for its startup process, that ends, nobody starts another, and all clients are told that the
/// consistent state is not yet reached. Such a server is stopped first, as an operator would.
fn come_back(cluster: &Cluster) {
    let started = Instant::now();
    while Path::new(&cluster.path("data/postmaster.pid")).exists() {
        if cluster.is_ready() {
            return;
        }
        if started.elapsed() > RECOVERY {
            cluster.stop_immediately();
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    cluster.restart();
}

/// A disk of its own for a directory of a cluster.
struct Disk {
    directory: String,
}

impl Disk {
    fn mount(cluster: &Cluster, name: &str, megabytes: u32) -> Result<Disk, String> {
        let directory = cluster.path(name);
        shell(&format!(
            "mkdir '{directory}' && mount -t tmpfs -o size={megabytes}m pg_once '{directory}' &&
             chown --reference='{home}' '{directory}' && chmod 700 '{directory}'",
            home = cluster.path("data")
        ))?;
        Ok(Disk { directory })
    }

    fn fill(&self) {
        // It ends when there is no room.
        let _ = shell(&format!(
            "dd if=/dev/zero of='{}/ballast' bs=4k",
            self.directory
        ));
    }

    fn make_room(&self) {
        shell(&format!("rm '{}/ballast'", self.directory)).expect("the ballast is removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = shell(&format!("umount --lazy '{}'", self.directory));
    }
}

fn shell(script: &str) -> Result<(), String> {
    let output = Command::new("sh").arg("-ec").arg(script).output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

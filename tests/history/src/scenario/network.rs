//! Primary and synchronous standby are on two machines, and the network between them is cut. Two
//! network namespaces stand for the machines; clients reach both by Unix sockets.

use crate::load::Recorded;
use crate::record::{Outcome, Span};
use crate::scenario::standby::{SYNCHRONOUS, synchronize};
use crate::scene::{Ending, Scale, Scene, all};
use pg_once_sessions::Cluster;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// First the cut heals. Then comes one that does not: the primary is stopped and the standby
/// promoted. While the network is cut no COMMIT that wrote something, and was sent since, is
/// acknowledged.
pub fn cut(scale: &Scale) -> Ending {
    let network = match Network::new() {
        Ok(network) => network,
        Err(why) => return Ending::NotPossible(why),
    };
    let [near, far] = &network.spaces;
    let settings = all(&["fsync = on", "listen_addresses = '10.77.0.1'"]);
    let primary = Cluster::start_under(&["ip", "netns", "exec", near], &settings, &[]);
    let mut rules = OpenOptions::new()
        .append(true)
        .open(primary.path("data/pg_hba.conf"))
        .unwrap();
    writeln!(rules, "host all,replication all 10.77.0.0/24 trust").unwrap();
    writeln!(rules, "host replication all 10.77.0.0/24 trust").unwrap();
    primary.connect("postgres").run("SELECT pg_reload_conf()");
    let scene = Scene::of(primary, scale);
    let standby = scene.cluster.standby_under(
        &["ip", "netns", "exec", far],
        "primary_conninfo = 'host=10.77.0.1 port=5432 user=postgres connect_timeout=2'\n\
         listen_addresses = ''\n",
    );
    synchronize(&mut scene.session());
    let mut silences = Vec::new();
    let recorded = scene.record(SYNCHRONOUS, || {
        for _ in 1..scale.faults {
            thread::sleep(Duration::from_millis(500));
            network.cut();
            let from = Instant::now();
            thread::sleep(Duration::from_millis(700));
            silences.push((from, Instant::now()));
            network.heal();
        }
        // TCP sends again what was lost after some pause.
        thread::sleep(scale.length / 2);
        network.cut();
        let from = Instant::now();
        thread::sleep(Duration::from_millis(700));
        silences.push((from, Instant::now()));
        scene.cluster.stop_immediately();
        standby.promote();
        scene.door.lead_to(standby.path(""));
        thread::sleep(scale.length / 2);
    });
    for silence in &silences {
        nothing_is_acknowledged(&recorded, *silence);
    }
    let tally = scene.close_on(&standby, recorded, SYNCHRONOUS, silences.len());
    Ending::Survived(tally)
}

fn nothing_is_acknowledged(recorded: &Recorded, (from, until): (Instant, Instant)) {
    let [from, until] = [from, until].map(|time| time - recorded.start);
    let hasty = recorded.history.iter().find(|transaction| {
        let Span {
            from: asked,
            until: told,
        } = transaction.end;
        transaction.outcome == Outcome::Committed
            && transaction.signed
            && from < asked
            && told < until
    });
    assert!(
        hasty.is_none(),
        "acknowledged without the standby: {hasty:#?}"
    );
}

/// Two namespaces with one cable.
struct Network {
    spaces: [String; 2],
}

impl Network {
    fn new() -> Result<Network, String> {
        let id = std::process::id();
        let network = Network {
            spaces: [format!("pgonce{id}a"), format!("pgonce{id}b")],
        };
        let [near, far] = &network.spaces;
        for line in [
            format!("netns add {near}"),
            format!("netns add {far}"),
            format!("-n {near} link add cable type veth peer name cable netns {far}"),
            format!("-n {near} address add 10.77.0.1/24 dev cable"),
            format!("-n {far} address add 10.77.0.2/24 dev cable"),
            format!("-n {near} link set lo up"),
            format!("-n {far} link set lo up"),
            format!("-n {near} link set cable up"),
            format!("-n {far} link set cable up"),
        ] {
            ip(&line)?;
        }
        Ok(network)
    }

    fn cut(&self) {
        self.set("down");
    }

    fn heal(&self) {
        self.set("up");
    }

    fn set(&self, state: &str) {
        let far = &self.spaces[1];
        ip(&format!("-n {far} link set cable {state}")).expect("the cable is there");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in &self.spaces {
            let _ = ip(&format!("netns delete {space}"));
        }
    }
}

fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip").args(line.split(' ')).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {line}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

//! A fresh database and its roles: tenant may create objects in it, landlord owns it and may create
//! databases, eve and shop are ordinary, member belongs to team. Each scene has roles of its own.

use crate::actor::{Actor, named};
use pg_once_sessions::{Cluster, Database};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The SQLSTATE begins each line of the log.
const LOG: &str = "log_line_prefix = '%e %p %u@%d '";

/// What no attack may bring the server to write, wherever it stands.
const CRASHES: &[&str] = &["PANIC", "panicked at", "terminated by signal", "TRAP:"];

/// The lines that come with one of an error, and have its SQLSTATE too.
const SAID_WITH_AN_ERROR: [&str; 5] = [
    " DETAIL:  ",
    " HINT:  ",
    " QUERY:  ",
    " CONTEXT:  ",
    " STATEMENT:  ",
];

const PRELOAD: [&str; 3] = [
    LOG,
    "shared_preload_libraries = 'pg_once'",
    "pg_once.sweep_interval = 1",
];

/// A cluster without preload.
pub fn plain() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(&[LOG]))
}

/// A cluster whose worker sweeps.
pub fn preloaded() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(&PRELOAD))
}

/// A cluster for one test, which a crash does not take from the others.
pub fn own(preload: bool) -> &'static Cluster {
    Box::leak(Box::new(Cluster::start(if preload {
        &PRELOAD
    } else {
        &[LOG]
    })))
}

/// Says how many attacks of a kind were made; the suite adds these lines up.
pub fn count(kind: &str, attacks: usize) {
    assert!(attacks > 0, "no attack of the kind {kind} was made");
    println!("attacks: {kind} {attacks}");
}

pub struct Scene {
    pub database: Database<'static>,
    pub(crate) tag: String,
    log_begins: usize,
    server_started: String,
}

impl Scene {
    /// Without the extension.
    pub fn bare(cluster: &'static Cluster) -> Scene {
        Scene::like(cluster, "TEMPLATE template0")
    }

    /// The superuser has made the extension.
    pub fn superusers(cluster: &'static Cluster) -> Scene {
        let scene = Scene::bare(cluster);
        scene.superuser().run("CREATE EXTENSION pg_once");
        scene
    }

    /// The tenant has made the extension.
    pub fn tenants(cluster: &'static Cluster) -> Scene {
        let scene = Scene::bare(cluster);
        scene.tenant().run("CREATE EXTENSION pg_once");
        scene
    }

    /// Without the extension, made with these options of CREATE DATABASE.
    pub fn like(cluster: &'static Cluster, options: &str) -> Scene {
        static SCENES: AtomicUsize = AtomicUsize::new(0);
        let log_begins = cluster.log().len();
        let database = cluster.database_like(options);
        let scene = Scene {
            tag: format!("x{}", SCENES.fetch_add(1, Ordering::Relaxed)),
            log_begins,
            server_started: cluster
                .connect("postgres")
                .value("SELECT pg_postmaster_start_time()"),
            database,
        };
        let name = &scene.database.name;
        scene.superuser().run(&format!(
            "CREATE ROLE @tenant LOGIN; CREATE ROLE @landlord LOGIN CREATEDB; CREATE ROLE @eve LOGIN;
             CREATE ROLE @shop LOGIN; CREATE ROLE @member LOGIN; CREATE ROLE @team; GRANT @team TO @member;
             ALTER DATABASE {name} OWNER TO @landlord; GRANT CREATE ON DATABASE {name} TO @tenant;
             CREATE SCHEMA tenant AUTHORIZATION @tenant; CREATE SCHEMA eve AUTHORIZATION @eve;
             CREATE SCHEMA shop AUTHORIZATION @shop; GRANT USAGE ON SCHEMA tenant, eve, shop TO PUBLIC"
        ));
        scene
    }

    pub fn superuser(&self) -> Actor {
        self.actor("postgres")
    }

    pub fn tenant(&self) -> Actor {
        self.actor("@tenant")
    }

    pub fn landlord(&self) -> Actor {
        self.actor("@landlord")
    }

    pub fn eve(&self) -> Actor {
        self.actor("@eve")
    }

    pub fn shop(&self) -> Actor {
        self.actor("@shop")
    }

    pub fn member(&self) -> Actor {
        self.actor("@member")
    }

    fn actor(&self, role: &str) -> Actor {
        Actor::new(self.database.session_as(&named(role, &self.tag)), &self.tag)
    }

    /// A statement or a name with the scene's roles in it.
    pub fn named(&self, sql: &str) -> String {
        named(sql, &self.tag)
    }

    /// Where payloads ran, and as whom.
    pub fn payloads(&self) -> BTreeSet<(String, String)> {
        let end = format!(" in {}", self.database.name);
        self.log()
            .lines()
            .filter_map(|line| line.split_once("payload of ")?.1.strip_suffix(&end))
            .filter_map(|line| line.rsplit_once(" ran as "))
            .map(|(place, role)| (place.to_owned(), role.to_owned()))
            .collect()
    }

    /// Payloads ran as these roles only, nobody has more rights than before, and the server is whole.
    pub fn nobody_got_in(&self, allowed: &[&str]) {
        self.nobody_got_more(allowed);
        self.server_is_whole(&[]);
    }

    /// Payloads ran as these roles only, and nobody has more rights than before.
    pub fn nobody_got_more(&self, allowed: &[&str]) {
        let allowed: Vec<String> = allowed.iter().map(|role| self.named(role)).collect();
        let ran: Vec<_> = self
            .payloads()
            .into_iter()
            .filter(|(_, role)| !allowed.contains(role))
            .collect();
        assert!(ran.is_empty(), "payloads ran with foreign rights: {ran:?}");
        let raised = self.database.cluster.connect("postgres").rows(&format!(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE '%\\_{tag}'
                 AND (rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls)
             UNION ALL
             SELECT member::regrole::text || ' in ' || roleid::regrole FROM pg_auth_members
             WHERE member::regrole::text LIKE '%\\_{tag}' AND roleid::regrole::text NOT LIKE '%\\_{tag}'",
            tag = self.tag
        ));
        assert!(raised.is_empty(), "roles with more rights: {raised:?}");
    }

    /// No crash, no internal error but for these, no warning that something leaks.
    pub fn server_is_whole(&self, internal_errors: &[&str]) {
        let log = self.log();
        let here = format!("@{} ", self.database.name);
        let odd: Vec<&str> = log
            .lines()
            .filter(|line| {
                CRASHES.iter().any(|crash| line.contains(crash))
                    || line.contains(&here)
                        && (line.starts_with("XX")
                            && !SAID_WITH_AN_ERROR.iter().any(|part| line.contains(part))
                            && !internal_errors.iter().any(|error| line.contains(error))
                            || line.contains("WARNING:  ") && line.contains("leak"))
            })
            .collect();
        assert!(odd.is_empty(), "the log has odd lines: {odd:#?}");
        let started = self
            .database
            .cluster
            .connect("postgres")
            .value("SELECT pg_postmaster_start_time()");
        assert_eq!(self.server_started, started, "the server was started anew");
    }

    /// What the log says of a crash, and what was running.
    pub fn crashes(&self) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| {
                line.contains("Failed process was running")
                    || CRASHES.iter().any(|crash| line.contains(crash))
            })
            .map(|line| line.chars().take(20_000).collect())
            .collect()
    }

    /// The lines of the log that sessions of the scene's database wrote.
    pub fn log_lines(&self) -> Vec<String> {
        let here = format!("@{} ", self.database.name);
        self.log()
            .lines()
            .filter(|line| line.contains(&here))
            .map(str::to_owned)
            .collect()
    }

    fn log(&self) -> String {
        let log = self.database.cluster.log();
        log.get(self.log_begins..).unwrap_or(&log).to_owned()
    }
}

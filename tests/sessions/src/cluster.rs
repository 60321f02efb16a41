//! A private PostgreSQL cluster on a Unix socket, stopped and removed with its
//! owner, and fresh databases in it.

use crate::server::{Server, bin_of_the_environment};
use crate::session::{Failure, Session};
use postgres::Config;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to start, to recover or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The database with the extension that fresh databases are copied from.
const TEMPLATE: &str = "with_pg_once";

/// What every cluster gets. Durability is off unless a test turns it on.
const SETTINGS: &[&str] = &[
    "listen_addresses = ''",
    "fsync = off",
    "deadlock_timeout = '200ms'",
    "max_prepared_transactions = 10",
];

/// A fresh database with the extension, in the cluster that all tests of one
/// binary share.
pub fn database() -> Database<'static> {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(&[])).database()
}

pub struct Cluster {
    bin: PathBuf,
    home: PathBuf,
    guard: Child,
    databases: AtomicUsize,
    under: Vec<String>,
    environment: Mutex<BTreeMap<String, String>>,
}

impl Cluster {
    /// Makes a cluster with these extra lines in `postgresql.conf`, starts it
    /// and puts the extension into the template of its databases.
    pub fn start(settings: &[&str]) -> Cluster {
        Cluster::start_with(settings, &[])
    }

    /// The same, with these environment variables for the server.
    pub fn start_with(settings: &[&str], environment: &[(&str, &str)]) -> Cluster {
        Cluster::start_under(&[], settings, environment)
    }

    /// The same, with the server started by this command, which runs what follows it: `ip netns exec`
    /// or `prlimit`.
    pub fn start_under(under: &[&str], settings: &[&str], environment: &[(&str, &str)]) -> Cluster {
        let cluster = Cluster::initialized(bin_of_the_environment(), under, settings, environment);
        cluster.run(&mut cluster.start_command());
        cluster.make_template();
        cluster
    }

    /// The same with the programs of another server that has the extension.
    pub fn start_of(server: &Server) -> Cluster {
        let cluster = Cluster::initialized(server.bin.clone(), &[], &[], &[]);
        cluster.run(&mut cluster.start_command());
        cluster.make_template();
        cluster
    }

    /// A cluster with an initdb of its own: what initdb makes at random is not that of any other.
    pub fn start_of_own_initdb() -> Cluster {
        let cluster = Cluster::empty(bin_of_the_environment(), &[], &[]);
        cluster.initialize(&cluster.data());
        cluster.configure(&[]);
        cluster.run(&mut cluster.start_command());
        cluster.make_template();
        cluster
    }

    /// What pg_upgrade makes of this cluster, which is stopped, for the server under test: started.
    pub fn upgraded(&self) -> Cluster {
        let new = Cluster::initialized(bin_of_the_environment(), &[], &[], &[]);
        new.run(
            new.server("pg_upgrade")
                .current_dir(&new.home)
                .args(["-U", "postgres", "-b"])
                .arg(&self.bin)
                .arg("-B")
                .arg(&new.bin)
                .arg("-d")
                .arg(self.data())
                .arg("-D")
                .arg(new.data())
                .arg("-s")
                .arg(&new.home),
        );
        new.run(&mut new.start_command());
        new
    }

    /// A cluster that was never started. All have checksums, so that any can be upgraded to any.
    fn initialized(
        bin: PathBuf,
        under: &[&str],
        settings: &[&str],
        environment: &[(&str, &str)],
    ) -> Cluster {
        let cluster = Cluster::empty(bin, under, environment);
        match cluster.template() {
            Some(made) => cluster.run(as_server("cp").arg("-a").arg(made).arg(cluster.data())),
            None => cluster.initialize(&cluster.data()),
        }
        cluster.configure(settings);
        cluster
    }

    fn configure(&self, settings: &[&str]) {
        let mut configuration = fs::read_to_string(self.data().join("postgresql.conf")).unwrap();
        for setting in SETTINGS.iter().chain(settings) {
            configuration += &format!("{setting}\n");
        }
        configuration += &self.socket_setting();
        fs::write(self.data().join("postgresql.conf"), configuration).unwrap();
    }

    fn initialize(&self, data: &Path) {
        self.run(
            self.server("initdb")
                .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
                .args(["--no-locale", "--no-sync", "--data-checksums", "-D"])
                .arg(data),
        );
    }

    /// What initdb makes for the server under test, made once in the directory that `PG_ONCE_INITDB`
    /// names: to copy it takes a fraction of the time.
    fn template(&self) -> Option<&'static Path> {
        static TEMPLATE: OnceLock<Option<PathBuf>> = OnceLock::new();
        if self.bin != bin_of_the_environment() {
            return None;
        }
        let made = TEMPLATE.get_or_init(|| {
            let place = PathBuf::from(std::env::var_os("PG_ONCE_INITDB")?);
            let (made, making) = (place.join("made"), place.join("making"));
            if !made.exists() {
                self.initialize(&making);
                self.run(as_server("mv").args([&making, &made]));
            }
            Some(made)
        });
        made.as_deref()
    }

    fn make_template(&self) {
        self.connect("postgres")
            .run(&format!("CREATE DATABASE {TEMPLATE}"));
        self.connect(TEMPLATE).run("CREATE EXTENSION pg_once");
        self.wait_until_unused(TEMPLATE);
    }

    /// A hot standby of this cluster, started and streaming.
    pub fn standby(&self) -> Cluster {
        self.standby_under(&[], "")
    }

    /// The same, started by this command, with these extra lines in `postgresql.auto.conf`.
    pub fn standby_under(&self, under: &[&str], settings: &str) -> Cluster {
        let standby = Cluster::empty(self.bin.clone(), under, &[]);
        standby.run(
            standby
                .server("pg_basebackup")
                .args([
                    "-U",
                    "postgres",
                    "-R",
                    "-X",
                    "stream",
                    "--checkpoint=fast",
                    "--no-sync",
                ])
                .arg("-h")
                .arg(&self.home)
                .arg("-D")
                .arg(standby.data()),
        );
        fs::write(
            standby.data().join("postgresql.auto.conf"),
            fs::read_to_string(standby.data().join("postgresql.auto.conf")).unwrap()
                + &standby.socket_setting()
                + settings,
        )
        .unwrap();
        standby.run(&mut standby.start_command());
        standby
    }

    pub fn promote(&self) {
        self.run(self.control("promote").arg("-w"));
    }

    pub fn stop_fast(&self) {
        self.run(self.control("stop").args(["-w", "-m", "fast"]));
    }

    pub fn stop_immediately(&self) {
        self.run(self.control("stop").args(["-w", "-m", "immediate"]));
    }

    pub fn kill_postmaster(&self) {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        self.kill(file.lines().next().unwrap());
    }

    pub fn kill_backend(&self, session: &Session) {
        self.kill(&session.pid().to_string());
    }

    /// Kills a backend by its number; false where it is gone already.
    pub fn try_to_kill(&self, pid: &str) -> bool {
        let killed = Command::new("kill").args(["-9", pid]).output().unwrap();
        killed.status.success()
    }

    /// An environment variable for the server, from its next start on.
    pub fn set_environment(&self, name: &str, value: &str) {
        let mut environment = self.environment.lock().unwrap();
        environment.insert(name.to_owned(), value.to_owned());
    }

    /// Starts a stopped or killed server again. Backends that have outlived a
    /// killed postmaster for a moment make the first attempts fail.
    pub fn restart(&self) {
        let started = Instant::now();
        loop {
            let output = self.start_command().output().unwrap();
            if output.status.success() {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "no restart: {}",
                self.report(&output)
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Starts a stopped server as pg_upgrade does.
    pub fn start_for_upgrade(&self) {
        self.run(self.start_command().args(["-o", "-b"]));
    }

    /// Waits for a server that recovers by itself.
    pub fn wait_until_ready(&self) {
        let started = Instant::now();
        while !self.is_ready() {
            assert!(started.elapsed() < PATIENCE, "not ready: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn is_ready(&self) -> bool {
        Session::open(self.address("postgres", "postgres")).is_ok()
    }

    /// A fresh database with the extension.
    pub fn database(&self) -> Database<'_> {
        self.database_like(&format!("TEMPLATE {TEMPLATE}"))
    }

    /// A fresh database made with these options of `CREATE DATABASE`.
    pub fn database_like(&self, options: &str) -> Database<'_> {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.connect("postgres")
            .run(&format!("CREATE DATABASE {name} {options}"));
        Database {
            cluster: self,
            name,
        }
    }

    /// How another server reaches a database of this one.
    pub fn connection(&self, database: &str) -> String {
        format!(
            "host={} port=5432 user=postgres dbname={database}",
            self.home.display()
        )
    }

    /// The database of this name, which is there already.
    pub fn existing(&self, name: &str) -> Database<'_> {
        Database {
            cluster: self,
            name: name.to_owned(),
        }
    }

    pub fn connect(&self, database: &str) -> Session {
        self.connect_as("postgres", database)
    }

    /// The same of a server that may be ending just now.
    pub fn try_connect(&self, database: &str) -> Result<Session, Failure> {
        Session::open(self.address("postgres", database))
    }

    pub fn connect_as(&self, role: &str, database: &str) -> Session {
        Session::open(self.address(role, database))
            .unwrap_or_else(|failure| panic!("cannot connect to {database} as {role}: {failure:?}"))
    }

    /// Runs one of PostgreSQL's client programs against this cluster; panics
    /// with its messages when it fails.
    pub fn client(&self, program: &str, arguments: &[&str]) {
        self.run(self.client_command(program).args(arguments));
    }

    /// One of PostgreSQL's client programs, not yet started.
    pub fn client_command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env("PGHOST", &self.home).env("PGPORT", "5432");
        command
    }

    /// A path in the cluster's own directory, removed with it.
    pub fn path(&self, name: &str) -> String {
        self.home.join(name).to_str().unwrap().to_owned()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.join("log")).unwrap_or_default()).into_owned()
    }

    /// A directory that a cluster can be made in, under the one that `PG_ONCE_CLUSTERS` names, and the guard that stops the
    /// server and removes the directory when this process is gone, however it
    /// ended.
    fn empty(bin: PathBuf, under: &[&str], environment: &[(&str, &str)]) -> Cluster {
        let place = std::env::var("PG_ONCE_CLUSTERS").unwrap_or("/tmp".to_owned());
        let made = as_server("mktemp")
            .arg("-d")
            .arg(format!("{place}/pgonce.XXXXXX"))
            .output()
            .unwrap();
        assert!(made.status.success(), "mktemp: {}", text(&made.stderr));
        let home = PathBuf::from(text(&made.stdout).trim());
        let guard = as_server("sh")
            .arg("-c")
            .arg(r#"trap '' INT TERM HUP; read -r _; "$1" stop -w -m immediate -D "$2/data"; rm -rf "$2""#)
            .arg("guard")
            .arg(bin.join("pg_ctl"))
            .arg(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Cluster {
            bin,
            home,
            guard,
            databases: AtomicUsize::new(0),
            under: under.iter().map(|&word| word.to_owned()).collect(),
            environment: Mutex::new(
                environment
                    .iter()
                    .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            ),
        }
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn socket_setting(&self) -> String {
        format!(
            "port = 5432\nunix_socket_directories = '{}'\n",
            self.home.display()
        )
    }

    fn address(&self, role: &str, database: &str) -> Config {
        let mut address = Config::new();
        address
            .host_path(&self.home)
            .port(5432)
            .user(role)
            .dbname(database)
            .connect_timeout(Duration::from_secs(10))
            .options("-c statement_timeout=60s");
        address
    }

    fn server(&self, program: &str) -> Command {
        // Not before it is the server's user: what a preloaded library makes must be his.
        let mut server = as_server("env");
        for (name, value) in &*self.environment.lock().unwrap() {
            server.arg(format!("{name}={value}"));
        }
        server.arg(self.bin.join(program));
        let Some((first, words)) = self.under.split_first() else {
            return server;
        };
        let mut under = Command::new(first);
        under
            .args(words)
            .arg(server.get_program())
            .args(server.get_args())
            .current_dir("/")
            .env_remove("RUST_BACKTRACE");
        under
    }

    fn control(&self, action: &str) -> Command {
        let mut control = self.server("pg_ctl");
        control
            .arg(action)
            .args(["-t", &PATIENCE.as_secs().to_string(), "-D"])
            .arg(self.data());
        control
    }

    fn start_command(&self) -> Command {
        let mut start = self.control("start");
        start.arg("-w").arg("-l").arg(self.home.join("log"));
        start
    }

    fn run(&self, command: &mut Command) {
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            self.report(&output)
        );
    }

    fn report(&self, output: &Output) -> String {
        format!(
            "{}{}\n{}",
            text(&output.stdout),
            text(&output.stderr),
            self.log()
        )
    }

    fn kill(&self, pid: &str) {
        let status = Command::new("kill").args(["-9", pid]).status().unwrap();
        assert!(status.success(), "kill -9 {pid}");
    }

    fn wait_until_unused(&self, database: &str) {
        let mut observer = self.connect("postgres");
        let started = Instant::now();
        while observer.is_true(&format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = '{database}')"
        )) {
            assert!(started.elapsed() < PATIENCE, "{database} stays in use");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().unwrap();
    }
}

pub struct Database<'c> {
    pub cluster: &'c Cluster,
    pub name: String,
}

impl Database<'_> {
    pub fn session(&self) -> Session {
        self.cluster.connect(&self.name)
    }

    pub fn session_as(&self, role: &str) -> Session {
        self.cluster.connect_as(role, &self.name)
    }

    pub fn sessions<const N: usize>(&self) -> [Session; N] {
        std::array::from_fn(|_| self.session())
    }
}

/// The server refuses to run as root: then it runs as the user `postgres`.
pub(crate) fn as_server(program: impl AsRef<OsStr>) -> Command {
    let user = Command::new("id").arg("-u").output().unwrap();
    let mut command = if text(&user.stdout).trim() == "0" {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "--",
            ])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").env_remove("RUST_BACKTRACE");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! A pgbouncer of its own on a Unix socket before a cluster, stopped with its
//! owner.

use crate::cluster::{Cluster, as_server};
use crate::session::Session;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Pooler {
    directory: PathBuf,
    process: Child,
}

impl Pooler {
    /// Starts a pooler that shares at most this many connections to each
    /// database by "session" or by "transaction".
    pub fn start(cluster: &Cluster, mode: &str, connections: usize) -> Pooler {
        let directory = PathBuf::from(cluster.path(mode));
        let path = directory.display();
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("users"), "\"postgres\" \"\"\n").unwrap();
        fs::write(
            directory.join("ini"),
            format!(
                "[databases]
                 * = host={home}
                 [pgbouncer]
                 listen_addr =
                 unix_socket_dir = {path}
                 listen_port = 5432
                 auth_type = trust
                 auth_file = {path}/users
                 logfile = {path}/log
                 pool_mode = {mode}
                 default_pool_size = {connections}
                 ignore_startup_parameters = extra_float_digits, options
                 server_reset_query = DISCARD ALL\n",
                home = cluster.path("")
            )
            .replace("\n                 ", "\n"),
        )
        .unwrap();
        let owner = Command::new("chown")
            .arg("--recursive")
            .arg(format!("--reference={}", cluster.path("")))
            .arg(&directory)
            .status()
            .unwrap();
        assert!(owner.success());
        let process = command()
            .arg("--quiet")
            .arg(directory.join("ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer: the Debian package of this name");
        let pooler = Pooler { directory, process };
        let started = Instant::now();
        while let Err(failure) = pooler.open("postgres") {
            assert!(
                started.elapsed() < PATIENCE,
                "{failure:?}: {}",
                fs::read_to_string(pooler.directory.join("log")).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(20));
        }
        pooler
    }

    /// What the pooler says that it is: "1.18.0".
    pub fn version() -> String {
        let told = command().arg("--version").output().unwrap().stdout;
        let told = String::from_utf8(told).unwrap();
        let name = told.lines().next().unwrap_or_default();
        name.trim_start_matches("PgBouncer ").to_owned()
    }

    /// The directory of its socket.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn session(&self, database: &str) -> Session {
        self.open(database)
            .unwrap_or_else(|failure| panic!("cannot connect to {database}: {failure:?}"))
    }

    fn open(&self, database: &str) -> Result<Session, crate::Failure> {
        let mut address = postgres::Config::new();
        address
            .host_path(&self.directory)
            .port(5432)
            .user("postgres")
            .dbname(database)
            .connect_timeout(Duration::from_secs(10));
        Session::open(address)
    }
}

fn command() -> Command {
    let mut command = as_server("pgbouncer");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin");
    command
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

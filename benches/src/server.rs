//! The private cluster, made by the project's own scripts, and its server
//! under valgrind.

use crate::wire::{Address, Client};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop, also under valgrind.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cluster's name for the scripts.
const NAME: &str = "bench";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// A command of the user of the servers, by a script of the project.
pub fn as_server(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(root().join("pgrx-config/as_server.sh"));
    command.arg(program);
    command
}

pub struct Server {
    major: String,
    bin: PathBuf,
    data: PathBuf,
    socket: PathBuf,
}

impl Server {
    /// Makes a new cluster with these lines in `postgresql.conf` and starts it.
    pub fn start(major: &str, settings: &str) -> Result<Server, String> {
        cluster(&["drop", NAME])?;
        let file = scratch()?.join("bench.conf");
        fs::write(&file, settings).map_err(|error| error.to_string())?;
        let socket = cluster(&["start", NAME, major, &file.to_string_lossy()])?;
        let pg_config = said(Command::new(root().join("pgrx-config/pg_config.sh")).arg(major))?;
        let bin = said(Command::new(pg_config).arg("--bindir"))?;
        let mut server = Server {
            major: major.to_owned(),
            bin: PathBuf::from(bin),
            data: PathBuf::new(),
            socket: PathBuf::from(socket),
        };
        server.data = PathBuf::from(server.connect("postgres")?.value("SHOW data_directory")?);
        Ok(server)
    }

    pub fn address(&self, database: &str) -> Address {
        Address::new(&self.socket, database)
    }

    pub fn connect(&self, database: &str) -> Result<Client, String> {
        self.address(database).connect()
    }

    /// Makes a database with the extension and what this script adds.
    pub fn database(&self, name: &str, script: &str) -> Result<Client, String> {
        self.connect("postgres")?
            .run(&format!("CREATE DATABASE {name}"))?;
        let mut client = self.connect(name)?;
        client.run("CREATE EXTENSION pg_once")?;
        client.run(script)?;
        Ok(client)
    }

    /// Changes a setting of the running server.
    pub fn set(&self, setting: &str, value: &str) -> Result<(), String> {
        self.configure(&format!("ALTER SYSTEM SET {setting} = {value}"))
    }

    pub fn reset(&self, setting: &str) -> Result<(), String> {
        self.configure(&format!("ALTER SYSTEM RESET {setting}"))
    }

    /// Starts the server again with this setting, without any client.
    pub fn restart_with(&self, setting: &str, value: &str) -> Result<(), String> {
        self.set(setting, value)?;
        self.restart()
    }

    pub fn reset_and_restart(&self, setting: &str) -> Result<(), String> {
        self.reset(setting)?;
        self.restart()
    }

    fn restart(&self) -> Result<(), String> {
        cluster(&["stop", NAME])?;
        cluster(&["start", NAME, &self.major]).map(drop)
    }

    fn configure(&self, sql: &str) -> Result<(), String> {
        let mut client = self.connect("postgres")?;
        client.run(sql)?;
        client.run("SELECT pg_reload_conf()").map(drop)
    }

    /// The number of the postmaster's process.
    pub fn postmaster(&self) -> Result<u32, String> {
        let file = self.data.join("postmaster.pid");
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        let number = text.lines().next().and_then(|line| line.parse().ok());
        number.ok_or_else(|| "postmaster.pid has no number".to_owned())
    }

    /// Waits until one session at most uses a database.
    pub fn alone(&self, database: &str) -> Result<(), String> {
        let mut client = self.connect("postgres")?;
        let used = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
        until(&format!("{database} stays in use"), || {
            Ok((client.number(&used)? <= 1.0).then_some(()))
        })
    }

    /// Stops the server and starts it under callgrind, which writes one file a
    /// backend into this directory.
    pub fn under_callgrind(&self, output: &Path, settings: &[&str]) -> Result<Traced<'_>, String> {
        cluster(&["stop", NAME])?;
        let log = scratch()?.join("valgrind.log");
        let log = fs::File::create(log).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = as_server("valgrind");
        command
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--callgrind-out-file={}/%p.out", output.display()))
            .arg(self.bin.join("postgres"))
            .arg("-D")
            .arg(&self.data)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        for setting in settings {
            command.args(["-c", setting]);
        }
        let postmaster = command
            .spawn()
            .map_err(|error| format!("valgrind: {error}"))?;
        let traced = Traced {
            server: self,
            postmaster,
        };
        until("the server does not start under valgrind", || {
            Ok(self.connect("postgres").ok())
        })?;
        Ok(traced)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = cluster(&["drop", NAME]) {
            eprintln!("{error}");
        }
    }
}

/// The server while it runs under callgrind; stopped with this.
pub struct Traced<'s> {
    server: &'s Server,
    postmaster: Child,
}

impl Drop for Traced<'_> {
    fn drop(&mut self) {
        let stop = as_server(self.server.bin.join("pg_ctl"))
            .args(["stop", "-w", "-m", "fast", "-t", "120", "-D"])
            .arg(&self.server.data)
            .stdout(Stdio::null())
            .status();
        if !stop.is_ok_and(|status| status.success()) {
            let _ = self.postmaster.kill();
        }
        let _ = self.postmaster.wait();
        if let Err(error) = cluster(&["start", NAME, &self.server.major]) {
            eprintln!("{error}");
        }
    }
}

/// A directory for what the run leaves behind.
pub fn scratch() -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let scratch = target
        .unwrap_or_else(|| root().join("target"))
        .join("bench");
    fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    Ok(scratch)
}

/// A fresh directory that the servers may write into.
pub fn writable(name: &str) -> Result<PathBuf, String> {
    let directory = scratch()?.join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let mut open = Command::new("chmod");
    said(open.arg("777").arg(&directory))?;
    Ok(directory)
}

/// Asks again and again until there is an answer.
pub fn until<T>(
    trouble: &str,
    mut ask: impl FnMut() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{trouble} in {} s", PATIENCE.as_secs()))
}

/// What a command says; an error when it fails.
pub fn said(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cluster(arguments: &[&str]) -> Result<String, String> {
    said(Command::new(root().join("pgrx-config/cluster.sh")).args(arguments))
}

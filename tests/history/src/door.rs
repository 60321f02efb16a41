//! Where the clients of a run connect to. A failover leads them elsewhere.

use postgres::Config;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

pub struct Door {
    socket: Mutex<String>,
    database: String,
    /// A pooler takes no options of a session.
    takes_options: bool,
}

impl Door {
    pub fn new(socket: String, database: &str, takes_options: bool) -> Door {
        Door {
            socket: Mutex::new(socket),
            database: database.to_owned(),
            takes_options,
        }
    }

    /// The directory of the server's socket.
    pub fn socket(&self) -> String {
        self.socket.lock().unwrap().clone()
    }

    pub fn lead_to(&self, socket: String) {
        *self.socket.lock().unwrap() = socket;
    }

    /// The address of the server behind the door, through this directory's socket. Every other
    /// client has the statement engine for what it does outside of transactions.
    pub fn address(&self, socket: impl AsRef<Path>, client: usize) -> Config {
        let mut address = Config::new();
        address
            .host_path(socket)
            .port(5432)
            .user("postgres")
            .dbname(&self.database)
            .connect_timeout(Duration::from_secs(10));
        if self.takes_options {
            let engine = ["auto", "statement"][client % 2];
            address.options(&format!(
                "-c statement_timeout=40s -c pg_once.claim_engine={engine}"
            ));
        }
        address
    }
}

//! A way to a server's Unix socket that can be cut: what is sent meanwhile arrives once it is
//! mended, as over a network.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

pub struct Proxy {
    directory: PathBuf,
    gate: Arc<Gate>,
}

impl Proxy {
    /// Leads to the server whose socket is in the directory `target`. `directory`, which is made, gets
    /// the socket to connect to.
    pub fn open(directory: PathBuf, target: &Path) -> Proxy {
        fs::create_dir_all(&directory).unwrap();
        let listener = UnixListener::bind(directory.join(SOCKET)).unwrap();
        let gate = Arc::new(Gate::default());
        let (target, its_gate) = (target.join(SOCKET), gate.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&target)) else {
                    continue;
                };
                forward(&client, &server, &its_gate);
                forward(&server, &client, &its_gate);
            }
        });
        Proxy { directory, gate }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn cut(&self) {
        *self.gate.is_shut.lock().unwrap() = true;
    }

    pub fn mend(&self) {
        *self.gate.is_shut.lock().unwrap() = false;
        self.gate.opened.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mend();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

const SOCKET: &str = ".s.PGSQL.5432";

#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let is_shut = self.is_shut.lock().unwrap();
        drop(self.opened.wait_while(is_shut, |is_shut| *is_shut).unwrap());
    }
}

/// Also the end of a connection arrives only where the way is not cut.
fn forward(from: &UnixStream, to: &UnixStream, gate: &Arc<Gate>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let gate = gate.clone();
    thread::spawn(move || {
        let mut bytes = [0; 8192];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            gate.pass();
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        gate.pass();
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

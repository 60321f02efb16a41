//! A wire between one client and the server that can be cut: what was sent may have arrived, what
//! was answered may be lost.

use crate::door::Door;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Wire {
    directory: PathBuf,
    ends: Arc<Mutex<Vec<UnixStream>>>,
}

impl Wire {
    /// A socket in this directory, which is made, to whatever the door leads to at the time.
    pub fn new(directory: PathBuf, door: Arc<Door>) -> Wire {
        fs::create_dir(&directory).unwrap();
        let listener = UnixListener::bind(directory.join(".s.PGSQL.5432")).unwrap();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let wire = Wire {
            directory,
            ends: ends.clone(),
        };
        thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { return };
                let far = format!("{}/.s.PGSQL.5432", door.socket());
                // A server that is away: the client sees its connection closed.
                let Ok(far) = UnixStream::connect(far) else {
                    continue;
                };
                let pair = [&near, &far].map(|end| end.try_clone().unwrap());
                *ends.lock().unwrap() = pair.into();
                carry(near.try_clone().unwrap(), far.try_clone().unwrap());
                carry(far, near);
            }
        });
        wire
    }

    pub fn directory(&self) -> &PathBuf {
        &self.directory
    }

    pub fn cut(&self) {
        shut(&self.ends.lock().unwrap());
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut();
        // Root's, which the server's user could not remove with the cluster.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream) {
    thread::spawn(move || {
        let mut bytes = [0; 8192];
        while let Ok(count) = from.read(&mut bytes)
            && count > 0
            && to.write_all(&bytes[..count]).is_ok()
        {}
        shut(&[from, to]);
    });
}

fn shut(ends: &[UnixStream]) {
    for end in ends {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}

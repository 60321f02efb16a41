//! A barrier that gives up: where one client has failed, the others do not
//! wait for it for ever.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Barrier {
    clients: usize,
    arrived: Mutex<usize>,
    opened: Condvar,
}

impl Barrier {
    pub fn new(clients: usize) -> Barrier {
        Barrier {
            clients,
            arrived: Mutex::new(0),
            opened: Condvar::new(),
        }
    }

    /// Waits until all clients have come as often as this one.
    pub fn wait(&self) {
        let mut arrived = self.arrived.lock().unwrap();
        *arrived += 1;
        let needed = arrived.div_ceil(self.clients) * self.clients;
        if *arrived == needed {
            self.opened.notify_all();
            return;
        }
        let (arrived, _) = self
            .opened
            .wait_timeout_while(arrived, PATIENCE, |arrived| *arrived < needed)
            .unwrap();
        assert!(*arrived >= needed, "a client does not come to the barrier");
    }
}

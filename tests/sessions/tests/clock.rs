//! The server's clock steps back: waits end in time, what was given back is run, tokens rise.

use pg_once_sessions::{Cluster, Session};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

#[test]
fn work_goes_on_when_the_clock_steps_back() {
    let clock = Clock::make();
    let library = clock.library();
    let cluster = Cluster::start_with(&[], &[("LD_PRELOAD", &library)]);
    let database = cluster.database();
    let [mut first, mut second, mut observer] = database.sessions();
    begin(&mut first, "held");
    let given_back = begin(&mut first, "given back");
    first.run(&format!(
        "SELECT fail_once('ns', 'given back', {given_back})"
    ));
    let done = begin(&mut first, "done");
    first.run(&format!("SELECT complete_once('ns', 'done', {done})"));
    second.send("SELECT outcome FROM begin_once('ns', 'held', wait => '2 s')");
    thread::sleep(Duration::from_millis(300));

    let before = first.number(NOW);
    clock.step_back();
    assert!(
        first.number(NOW) < before - 3000,
        "the clock has not stepped"
    );
    assert!(begin(&mut first, "given back") > given_back);
    assert!(first.is_true("SELECT forget_once('ns', 'done')"));
    assert!(begin(&mut first, "done") > done);

    thread::sleep(Duration::from_secs(10));
    let waits = format!(
        "SELECT state = 'active' FROM pg_stat_activity WHERE pid = {}",
        second.pid()
    );
    assert!(!observer.is_true(&waits), "it waits for the clock");
    assert_eq!(second.answered_value(), "in_progress");
}

const NOW: &str = "SELECT extract(epoch FROM clock_timestamp())::bigint";

fn begin(session: &mut Session, key: &str) -> i64 {
    session.number(&format!(
        "SELECT token FROM begin_once('ns', '{key}', '1 hour')"
    ))
}

/// A library for the server, in which the clock is an hour behind once a file is there.
struct Clock {
    home: PathBuf,
}

impl Clock {
    fn make() -> Clock {
        let home = std::env::temp_dir().join(format!("pgonce-clock-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let clock = Clock { home };
        let source = clock.home.join("clock.c");
        fs::write(&source, SOURCE).unwrap();
        let stepped = format!("-DSTEPPED_BACK=\"{}\"", clock.stepped().display());
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o", &clock.library(), &stepped])
            .arg(&source)
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(built.success(), "cc");
        clock
    }

    fn library(&self) -> String {
        self.home.join("clock.so").to_str().unwrap().to_owned()
    }

    fn stepped(&self) -> PathBuf {
        self.home.join("stepped_back")
    }

    fn step_back(&self) {
        fs::write(self.stepped(), "").unwrap();
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
    }
}

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/time.h>

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    static int (*real)(struct timeval *, void *);
    struct stat there;
    int before = errno;
    int answer;

    if (!real)
        real = (int (*)(struct timeval *, void *)) dlsym(RTLD_NEXT, "gettimeofday");
    answer = real(at, zone);
    if (stat(STEPPED_BACK, &there) == 0)
        at->tv_sec -= 3600;
    errno = before;
    return answer;
}
"#;

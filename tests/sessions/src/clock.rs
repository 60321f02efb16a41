//! A clock for a server, which can be set while the server runs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The library that a server takes its time from, and the file that the library reads.
pub struct Clock {
    home: PathBuf,
    ahead: File,
}

impl Clock {
    pub fn make() -> Clock {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let home = std::env::temp_dir().join(format!("pgonce-clock-{process}-{number}"));
        fs::create_dir_all(&home).unwrap();
        let source = home.join("clock.c");
        fs::write(&source, SOURCE).unwrap();
        fs::write(home.join("ahead"), 0_i64.to_ne_bytes()).unwrap();
        let ahead = OpenOptions::new()
            .write(true)
            .open(home.join("ahead"))
            .unwrap();
        let clock = Clock { home, ahead };
        let path = clock.home.join("ahead");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o", &clock.library()])
            .arg(format!("-DAHEAD=\"{}\"", path.display()))
            .arg(&source)
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(built.success(), "cc");
        clock
    }

    /// What `LD_PRELOAD` of the server names.
    pub fn library(&self) -> String {
        self.home.join("clock.so").to_str().unwrap().to_owned()
    }

    /// From now on the clock is so many seconds ahead of the machine's, or behind it.
    pub fn set_ahead(&self, seconds: i64) {
        // In one piece, and never cut short: every process of the server has the file mapped.
        self.ahead.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// PostgreSQL asks for the time in signal handlers too: what is called there does nothing but read.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real)(struct timeval *, void *);
static volatile const int64_t *ahead;

__attribute__((constructor)) static void prepare(void)
{
    int file = open(AHEAD, O_RDONLY);
    void *mapped = mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, file, 0);

    if (mapped == MAP_FAILED)
        abort();
    close(file);
    ahead = mapped;
    real = (int (*)(struct timeval *, void *)) dlsym(RTLD_NEXT, "gettimeofday");
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    int answer;

    if (!real)
        prepare();
    answer = real(at, zone);
    at->tv_sec += *ahead;
    return answer;
}

time_t time(time_t *into)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}
"#;

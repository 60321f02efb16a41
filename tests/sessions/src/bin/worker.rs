//! A worker of its own process, so that it can be stopped and killed as one.
//!
//! `worker SOCKET DATABASE load KEYS NUMBER`: takes keys and does their work until all are done.
//! `worker SOCKET DATABASE paused HOW KEY LEASE`: begins one key, says what it does, and goes on at
//! each line that it is given.

use postgres::{Client, Config, NoTls};
use std::io::{BufRead, stdin};
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may be away.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [socket, database, "load", keys, number] => {
            let worker = Worker {
                address: address(socket, database),
                keys: keys.parse().unwrap(),
                number: number.parse().unwrap(),
            };
            worker.load();
        }
        [socket, database, "paused", how, key, lease] => {
            paused(
                address(socket, database).connect(NoTls).unwrap(),
                how,
                key,
                lease,
            );
        }
        _ => panic!("unknown arguments: {words:?}"),
    }
}

fn address(socket: &str, database: &str) -> Config {
    let mut address = Config::new();
    address
        .host_path(socket)
        .port(5432)
        .user("postgres")
        .dbname(database)
        .application_name("worker")
        .options("-c statement_timeout=60s")
        .connect_timeout(Duration::from_secs(10));
    address
}

/// Writes its effect after a pause that others decide about: behind the fence, without it, or with
/// the pause behind the fence.
fn paused(mut client: Client, how: &str, key: &str, lease: &str) {
    let told = client
        .query_one(
            "SELECT outcome, token FROM begin_once('paused', $1, $2::text::interval)",
            &[&key, &lease],
        )
        .unwrap();
    assert_eq!(told.get::<_, &str>(0), "run");
    let token: i64 = told.get(1);
    if how != "fenced" {
        say_and_wait("begun");
    }
    let mut transaction = client.transaction().unwrap();
    let fence = "SELECT fence_once('paused', $1, $2)";
    if how != "unfenced"
        && let Err(error) = transaction.execute(fence, &[&key, &token])
    {
        return println!("refused {}", error.code().unwrap().code());
    }
    if how == "fenced" {
        say_and_wait("behind the fence");
    }
    let effect = "INSERT INTO effect (key, token) VALUES ($1, $2)";
    transaction.execute(effect, &[&key, &token]).unwrap();
    transaction.commit().unwrap();
    println!("written");
}

fn say_and_wait(what: &str) {
    println!("{what}");
    stdin().lock().read_line(&mut String::new()).unwrap();
}

/// One of many. Of even keys the effect and the completion are one transaction; of odd keys the
/// effect is fenced and the completion follows.
struct Worker {
    address: Config,
    keys: u32,
    number: u32,
}

impl Worker {
    fn load(&self) {
        let mut random = fastrand::Rng::new();
        let mut refused = Instant::now();
        loop {
            let Ok(mut client) = self.address.connect(NoTls) else {
                assert!(refused.elapsed() < PATIENCE, "the server stays away");
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            refused = Instant::now();
            loop {
                match self.work(&mut client, &mut random) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) if client.is_closed() || is_ending(&error) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    }

    /// Takes a key that is not done, somewhere. False where there is none.
    fn work(
        &self,
        client: &mut Client,
        random: &mut fastrand::Rng,
    ) -> Result<bool, postgres::Error> {
        let from = random.u32(0..self.keys) as i32;
        let wanted = client.query_opt(
            "(SELECT key FROM wanted WHERE key >= $1
                  AND NOT EXISTS (SELECT FROM done WHERE done.key = wanted.key)
              ORDER BY key LIMIT 1)
             UNION ALL
             (SELECT key FROM wanted WHERE key < $1
                  AND NOT EXISTS (SELECT FROM done WHERE done.key = wanted.key)
              ORDER BY key LIMIT 1)
             LIMIT 1",
            &[&from],
        )?;
        let Some(wanted) = wanted else {
            return Ok(false);
        };
        let key: i32 = wanted.get(0);
        let name = key.to_string();
        let wait = ["0", "100 ms"][random.usize(0..2)];
        let told = client.query_one(
            "WITH told AS MATERIALIZED (
                 SELECT * FROM begin_once('load', $1, '400 ms', wait => $2::text::interval)),
             noted AS (INSERT INTO begun (key, token, attempt)
                       SELECT $3, token, attempt FROM told WHERE outcome = 'run')
             SELECT outcome, token FROM told",
            &[&name, &wait, &key],
        )?;
        let (outcome, token): (&str, Option<i64>) = (told.get(0), told.get(1));
        match (outcome, token) {
            ("run", Some(token)) => self.run(client, random, key, token)?,
            ("done", None) => {
                client.execute(
                    "INSERT INTO done VALUES ($1) ON CONFLICT DO NOTHING",
                    &[&key],
                )?;
            }
            ("in_progress", None) => {}
            other => panic!("{key}: {other:?}"),
        }
        Ok(true)
    }

    fn run(
        &self,
        client: &mut Client,
        random: &mut fastrand::Rng,
        key: i32,
        token: i64,
    ) -> Result<(), postgres::Error> {
        let name = key.to_string();
        match random.u32(0..100) {
            // Slower than its lease.
            0..3 => thread::sleep(Duration::from_millis(600)),
            3..8 => {
                let renew = "SELECT renew_once('load', $1, $2, '400 ms')";
                lost(client.execute(renew, &[&name, &token]))?;
            }
            8..12 => {
                let fail = "SELECT fail_once('load', $1, $2, '\"again\"')";
                lost(client.execute(fail, &[&name, &token]))?;
                return Ok(());
            }
            _ => {}
        }
        let result = "SELECT complete_once('load', $1, $2, to_jsonb($2::bigint))";
        let effect = "INSERT INTO effect (key, token, worker) VALUES ($1, $2, $3)";
        let number = self.number as i32;
        let mut transaction = client.transaction()?;
        if key % 2 == 0 {
            transaction.execute(effect, &[&key, &token, &number])?;
            if lost(transaction.execute(result, &[&name, &token]))? {
                transaction.commit()?;
            }
            return Ok(());
        }
        let fence = "SELECT fence_once('load', $1, $2)";
        if !lost(transaction.execute(fence, &[&name, &token]))? {
            return Ok(());
        }
        transaction.execute(effect, &[&key, &token, &number])?;
        transaction.commit()?;
        lost(client.execute(result, &[&name, &token]))?;
        Ok(())
    }
}

/// Whether the call passed; false where the lease was lost.
fn lost(answer: Result<u64, postgres::Error>) -> Result<bool, postgres::Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code().is_some_and(|code| code.code() == "55000") => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the backend was ended, or the server is.
fn is_ending(error: &postgres::Error) -> bool {
    let code = error.code().map(postgres::error::SqlState::code);
    code.is_none_or(|code| code.starts_with("57P") || code == "08006")
}

//! A connection that sends exactly the messages it is told to send, so that
//! round trips can be counted, pipelined and delayed.

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fallible_iterator::FallibleIterator;

/// No answer of a server is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where a database is.
#[derive(Clone)]
pub struct Address {
    pub socket: PathBuf,
    pub database: String,
}

impl Address {
    pub fn new(directory: &Path, database: &str) -> Address {
        Address {
            socket: directory.join(".s.PGSQL.5432"),
            database: database.to_owned(),
        }
    }

    pub fn connect(&self) -> Result<Client, String> {
        Client::open(self)
    }
}

/// What came back from one round trip.
#[derive(Debug, Default)]
pub struct Reply {
    /// How many rows were returned.
    pub rows: u64,
    /// The first column of the first row, as text.
    pub value: Option<String>,
    /// How many rows the last statement says it has written or read.
    pub affected: u64,
    /// The SQLSTATE of the error, where there was one.
    pub sqlstate: Option<String>,
    message: String,
}

impl Reply {
    pub fn is_true(&self) -> bool {
        self.value.as_deref() == Some("t")
    }
}

pub struct Client {
    stream: UnixStream,
    outgoing: BytesMut,
    incoming: BytesMut,
    pub pid: i32,
    /// What each round trip takes longer, as on a network.
    pub delay: Duration,
}

impl Client {
    fn open(address: &Address) -> Result<Client, String> {
        let stream = UnixStream::connect(&address.socket)
            .map_err(|error| format!("{}: {error}", address.socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        let mut client = Client {
            stream,
            outgoing: BytesMut::new(),
            incoming: BytesMut::new(),
            pid: 0,
            delay: Duration::ZERO,
        };
        let parameters = [("user", "postgres"), ("database", &address.database)];
        frontend::startup_message(parameters, &mut client.outgoing).map_err(text)?;
        client.exchange()?;
        Ok(client)
    }

    /// Runs statements by the simple protocol. An error fails the run.
    pub fn run(&mut self, sql: &str) -> Result<Reply, String> {
        frontend::query(sql, &mut self.outgoing).map_err(text)?;
        sound(self.exchange()?, sql)
    }

    /// The only value of a query.
    pub fn value(&mut self, sql: &str) -> Result<String, String> {
        let reply = self.run(sql)?;
        reply.value.ok_or_else(|| format!("no value: {sql}"))
    }

    pub fn number(&mut self, sql: &str) -> Result<f64, String> {
        self.value(sql)?
            .parse()
            .map_err(|error| format!("{sql}: {error}"))
    }

    /// Prepares statements; the first is called 0, the next 1.
    pub fn prepare(&mut self, statements: &[&str]) -> Result<(), String> {
        for (place, sql) in statements.iter().enumerate() {
            frontend::parse(&place.to_string(), sql, [], &mut self.outgoing).map_err(text)?;
            frontend::sync(&mut self.outgoing);
            sound(self.exchange()?, sql)?;
        }
        Ok(())
    }

    /// Adds one call of a prepared statement to the next round trip.
    pub fn add(&mut self, statement: usize, parameters: &[&str]) -> Result<(), String> {
        let bound = frontend::bind(
            "",
            &statement.to_string(),
            [],
            parameters,
            |parameter, buffer| {
                buffer.extend_from_slice(parameter.as_bytes());
                Ok(IsNull::No)
            },
            [],
            &mut self.outgoing,
        );
        bound.map_err(|_| "a parameter does not fit into a message".to_owned())?;
        frontend::execute("", 0, &mut self.outgoing).map_err(text)
    }

    /// One round trip with all that was added, an error being an answer too.
    pub fn trip(&mut self) -> Result<Reply, String> {
        frontend::sync(&mut self.outgoing);
        self.exchange()
    }

    /// One round trip with one statement. An error fails the run.
    pub fn ask(&mut self, statement: usize, parameters: &[&str]) -> Result<Reply, String> {
        self.add(statement, parameters)?;
        let reply = self.trip()?;
        sound(reply, &format!("prepared statement {statement}"))
    }

    fn exchange(&mut self) -> Result<Reply, String> {
        thread::sleep(self.delay / 2);
        self.stream.write_all(&self.outgoing).map_err(text)?;
        self.outgoing.clear();
        let reply = self.receive();
        thread::sleep(self.delay / 2);
        reply
    }

    fn receive(&mut self) -> Result<Reply, String> {
        let mut reply = Reply::default();
        let mut chunk = [0; 16 * 1024];
        loop {
            while let Some(message) = Message::parse(&mut self.incoming).map_err(text)? {
                match message {
                    Message::DataRow(row) => {
                        if reply.rows == 0
                            && let Some(Some(range)) = row.ranges().next().map_err(text)?
                        {
                            let value = String::from_utf8_lossy(&row.buffer()[range]);
                            reply.value = Some(value.into_owned());
                        }
                        reply.rows += 1;
                    }
                    Message::CommandComplete(body) => {
                        let count = body.tag().map_err(text)?.rsplit(' ').next();
                        reply.affected = count.and_then(|count| count.parse().ok()).unwrap_or(0);
                    }
                    Message::ErrorResponse(body) => (reply.sqlstate, reply.message) = fields(&body),
                    Message::BackendKeyData(key) => self.pid = key.process_id(),
                    Message::ReadyForQuery(_) => return Ok(reply),
                    _ => {}
                }
            }
            match self.stream.read(&mut chunk).map_err(text)? {
                0 if reply.sqlstate.is_some() => return Err(reply.message),
                0 => return Err("the server has closed the connection".to_owned()),
                read => self.incoming.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.outgoing.clear();
        frontend::terminate(&mut self.outgoing);
        // The server may be gone already.
        let _ = self.stream.write_all(&self.outgoing);
    }
}

fn sound(reply: Reply, sql: &str) -> Result<Reply, String> {
    match &reply.sqlstate {
        Some(sqlstate) => Err(format!("{sqlstate} {}: {sql}", reply.message)),
        None => Ok(reply),
    }
}

fn fields(error: &ErrorResponseBody) -> (Option<String>, String) {
    let mut sqlstate = None;
    let mut message = String::new();
    let mut fields = error.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => sqlstate = Some(value),
            b'M' => message = value,
            _ => {}
        }
    }
    (sqlstate, message)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

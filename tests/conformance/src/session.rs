//! One session: a statement a line comes in as JSON, its outcome goes out as a line of JSON.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

pub struct Statement {
    pub sql: String,
    pub parameters: Vec<Value>,
}

pub fn statements() -> impl Iterator<Item = Statement> {
    io::stdin().lock().lines().map(|line| {
        let mut line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let Value::Array(parameters) = line["with"].take() else {
            panic!("{line} has no parameters");
        };
        let sql = line["sql"].as_str().unwrap().to_owned();
        Statement { sql, parameters }
    })
}

/// Says what a statement returned, or the SQLSTATE that it raised.
pub fn say(outcome: Result<Vec<Vec<Value>>, String>) {
    let line = match outcome {
        Ok(rows) => json!({ "rows": rows }),
        Err(state) => json!({ "raises": state }),
    };
    println!("{line}");
    io::stdout().flush().unwrap();
}

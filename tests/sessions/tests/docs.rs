//! What the documents show is what the server says, and what they name is there.

use pg_once_sessions::{Cluster, Database, Server, cluster};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Between two blocks in what psql prints.
const BORDER: &str = "-- the next block --";

/// Runs every ```sql block of a document, in order, in one psql session of a
/// fresh database. Where the next block of the document is ```text, it is what
/// psql prints, spaces at the ends of lines aside; elsewhere nothing may fail.
#[test]
fn the_sql_in_the_documents_says_what_they_show() {
    let mut shown = 0;
    let mut differences = Vec::new();
    for document in documents() {
        let examples = examples(&fences(&read(&document)));
        if examples.is_empty() {
            continue;
        }
        let printed = run(&cluster::database(), "postgres", &examples);
        assert_eq!(
            printed.len(),
            examples.len(),
            "{}: a block is not finished: {printed:#?}",
            document.display()
        );
        for (example, printed) in examples.iter().zip(printed) {
            let place = format!("{}:{}", document.display(), example.line);
            match &example.output {
                Some(output) if *output != printed => differences.push(format!(
                    "{place} shows\n\n{output}\n\nbut psql prints\n\n{printed}\n"
                )),
                Some(_) => shown += 1,
                None if printed.contains("ERROR:") => {
                    differences.push(format!("{place} fails\n\n{printed}\n"));
                }
                None => {}
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(shown > 0, "no document shows what psql prints");
}

/// What is in the documents for superusers: they say so there.
const BY_A_SUPERUSER: [(&str, &str); 4] = [
    ("claims.md", "CREATE INDEX claim_expiry ON once.claim"),
    ("errors.md", "ALTER FUNCTION note OWNER TO once_docs_clerk"),
    ("errors.md", "TRUNCATE once.work_floor"),
    ("errors.md", "ALTER TABLE once.work_record"),
];

/// An operator who is not superuser, but owns the database and made the extension in it, is shown the same.
#[test]
fn the_sql_in_the_documents_works_for_an_owner_without_superuser() {
    if Server::under_test().major < 16 {
        // Who may make roles could not SET ROLE to them then.
        return;
    }
    let cluster = Cluster::start(&[]);
    cluster
        .connect("postgres")
        .run("CREATE ROLE operator LOGIN CREATEROLE CREATEDB; ALTER ROLE operator SET createrole_self_grant = 'set, inherit'");
    let mut differences = Vec::new();
    let mut excepted = 0;
    for document in documents() {
        let examples = examples(&fences(&read(&document)));
        let database = cluster.database_like("OWNER operator TEMPLATE template0");
        database
            .session_as("operator")
            .run("CREATE EXTENSION pg_once");
        for (example, printed) in examples.iter().zip(run(&database, "operator", &examples)) {
            let name = document.file_name().unwrap().to_str().unwrap();
            if BY_A_SUPERUSER
                .iter()
                .any(|(place, sql)| *place == name && example.sql.contains(sql))
            {
                excepted += 1;
                continue;
            }
            let is_right = match &example.output {
                Some(output) => *output == printed,
                None => !printed.contains("ERROR:"),
            };
            if !is_right {
                differences.push(format!("{name}:{} prints\n\n{printed}\n", example.line));
            }
        }
    }
    assert_eq!(excepted, BY_A_SUPERUSER.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Links between documents lead to files, and so do paths in backticks; a name
/// behind `::` is a function of that file.
#[test]
fn the_files_and_tests_that_the_documents_name_exist() {
    let mut missing = Vec::new();
    for document in documents() {
        let prose = prose(&read(&document));
        let links = between(&prose, "](", ")")
            .into_iter()
            .filter(|link| !link.contains("://") && !link.starts_with('#'))
            .map(|link| link.split('#').next().unwrap_or_default())
            .map(|link| document.parent().unwrap().join(link))
            .filter(|link| !link.exists())
            .map(|link| link.display().to_string());
        let paths = between(&prose, "`", "`")
            .into_iter()
            .filter(|path| is_ours(path) && !names_something(path))
            .map(str::to_owned);
        missing.extend(
            links
                .chain(paths)
                .map(|name| format!("{}: {name}", document.display())),
        );
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// A ```sql block and what it is said to print.
struct Example {
    line: usize,
    sql: String,
    output: Option<String>,
}

/// A fenced block: the line it begins in, the word behind the fence, its text.
struct Fence {
    line: usize,
    word: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The documents at the top, and those in `docs`.
fn documents() -> Vec<PathBuf> {
    let mut documents: Vec<PathBuf> = [root(), root().join("docs")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    documents.sort();
    documents
}

fn read(document: &Path) -> String {
    fs::read_to_string(document).unwrap()
}

fn fences(document: &str) -> Vec<Fence> {
    let mut fences = Vec::new();
    let mut open: Option<Fence> = None;
    for (number, line) in document.lines().enumerate() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(word)) => Some(Fence {
                line: number + 1,
                word: word.to_owned(),
                text: String::new(),
            }),
            (Some(fence), Some(_)) => {
                fences.push(fence);
                None
            }
            (Some(mut fence), None) => {
                fence.text += line;
                fence.text.push('\n');
                Some(fence)
            }
            (None, None) => None,
        };
    }
    assert!(open.is_none(), "a block has no end");
    fences
}

/// The document without its fenced blocks.
fn prose(document: &str) -> String {
    let mut outside = true;
    let mut prose = String::new();
    for line in document.lines() {
        if line.starts_with("```") {
            outside = !outside;
        } else if outside {
            prose += line;
            prose.push('\n');
        }
    }
    prose
}

fn examples(fences: &[Fence]) -> Vec<Example> {
    fences
        .iter()
        .enumerate()
        .filter(|(_, fence)| fence.word == "sql")
        .map(|(at, fence)| Example {
            line: fence.line,
            sql: fence.text.clone(),
            output: fences
                .get(at + 1)
                .filter(|next| next.word == "text")
                .map(|next| trimmed(&next.text)),
        })
        .collect()
}

/// What psql prints for each block, errors among it.
fn run(database: &Database, role: &str, examples: &[Example]) -> Vec<String> {
    let script = database.cluster.path(&format!("{}.sql", database.name));
    let border = format!("\\echo '{BORDER}'\n");
    let blocks: Vec<&str> = examples.iter().map(|block| block.sql.as_str()).collect();
    fs::write(&script, blocks.join(&border)).unwrap();
    psql(database, role, &script)
        .split(&format!("{BORDER}\n"))
        .map(trimmed)
        .collect()
}

/// Both streams of psql in the order in which it writes them.
fn psql(database: &Database, role: &str, script: &str) -> String {
    let directory = Path::new(script).parent().unwrap();
    let output = Command::new("sh")
        .args(["-c", r#"exec "$0" "$@" 2>&1"#])
        .arg(bin().join("psql"))
        .args(["-X", "-U", role, "-p", "5432"])
        .arg("-h")
        .arg(directory)
        .args(["-d", &database.name])
        .env("LC_ALL", "C")
        .env("PGCLIENTENCODING", "UTF8")
        .env("PGTZ", "UTC")
        .env_remove("PGOPTIONS")
        .stdin(File::open(script).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "psql: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn bin() -> PathBuf {
    let pg_config = std::env::var_os("PG_CONFIG").expect("PG_CONFIG");
    let output = Command::new(pg_config).arg("--bindir").output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Without spaces at the ends of lines and empty lines at the end.
fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

/// All that stands between `open` and the next `close`.
fn between<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once(open) {
        let Some((inside, next)) = behind.split_once(close) else {
            break;
        };
        found.push(inside);
        rest = next;
    }
    found
}

/// Whether this is the path of a file of the project, not of one that it makes.
fn is_ours(path: &str) -> bool {
    const FOLDERS: [&str; 6] = [
        "src/",
        "sql/",
        "tests/",
        "docs/",
        "examples/",
        "pgrx-config/",
    ];
    FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains([' ', '*', '<'])
}

fn names_something(path: &str) -> bool {
    let (file, name) = path.split_once("::").unwrap_or((path, ""));
    let file = root().join(file);
    if name.is_empty() {
        return file.exists();
    }
    fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("fn {name}(")))
}

//! Dumped in every form and restored, by an owner who is no superuser; dropped
//! while it is in use.

use pg_once_sessions::{Cluster, Database, Session, database};

#[test]
fn every_form_of_dump_brings_everything_back() {
    let cluster = Cluster::start(&[]);
    let mut admin = cluster.connect("postgres");
    admin.run("CREATE ROLE keeper LOGIN");
    let database = cluster.database_like("OWNER keeper TEMPLATE template0");
    let token = fill(&mut database.session_as("keeper"));
    let name = database.name.as_str();

    for form in ["plain", "custom", "directory"] {
        let dump = cluster.path(form);
        let jobs: &[&str] = if form == "directory" {
            &["-j", "2"]
        } else {
            &[]
        };
        dump_as_keeper(&cluster, name, &dump, &[&["-F", form], jobs].concat());
        let restored = cluster.database_like("OWNER keeper TEMPLATE template0");
        if form == "plain" {
            run_script(&cluster, &restored, &dump);
        } else {
            restore(&cluster, &restored, &dump, jobs);
        }
        holds_everything(&restored, token);
    }

    let dump = cluster.path("only-data");
    dump_as_keeper(&cluster, name, &dump, &["-F", "custom", "--data-only"]);
    let restored = cluster.database_like("OWNER keeper TEMPLATE template0");
    restored
        .session_as("keeper")
        .run("CREATE EXTENSION pg_once");
    restore(&cluster, &restored, &dump, &[]);
    holds_everything(&restored, token);

    let dump = cluster.path("only-schema");
    dump_as_keeper(&cluster, name, &dump, &["-F", "custom", "--schema-only"]);
    let restored = cluster.database_like("OWNER keeper TEMPLATE template0");
    restore(&cluster, &restored, &dump, &[]);
    let mut session = restored.session_as("keeper");
    assert!(session.is_true("SELECT claim_once('ns', 'a', 'b')"));
    assert_eq!(session.number("SELECT count(*) FROM once.namespaces"), 0);
}

/// Everything that is to be found again. Returns the token of the open work.
fn fill(session: &mut Session) -> i64 {
    session.run("CREATE EXTENSION pg_once");
    session.run("SELECT claim_once('ns', 'a', 'b'), claim_once_per('1 day', 'ns', 'day')");
    session.run("SELECT try_claim_once('ns', 'owned', owner => 'me')");
    session.run("SELECT once.configure('mine', '1 day', 'keeper')");
    session.run("SELECT once.configure('theirs', '1 day', 'postgres')");
    session.number("SELECT token FROM begin_once('ns', 'gone')");
    session.run("SELECT begin_once('ns', 'done', request => '{\"n\": 1}')");
    session.run(
        "SELECT complete_once('ns', 'done', token, '\"result\"') FROM once.work WHERE key = 'done'",
    );
    session.number("SELECT token FROM begin_once('ns', 'open')")
}

fn holds_everything(restored: &Database, token: i64) {
    let mut session = restored.session_as("keeper");
    for claimed in [
        "claim_once('ns', 'a', 'b')",
        "claim_once('ns', 'day')",
        "try_claim_once('ns', 'owned') = 'won'",
    ] {
        assert!(!session.is_true(&format!("SELECT {claimed}")), "{claimed}");
    }
    assert_eq!(
        session.value("SELECT try_claim_once('ns', 'owned', owner => 'me')"),
        "won"
    );
    assert!(session.is_true("SELECT claim_once('mine', 'k')"));
    assert!(session.is_true("SELECT expires_at IS NOT NULL FROM once.claims WHERE ns = 'mine'"));
    session.refused("SELECT claim_once('theirs', 'k')", "42501");
    assert_eq!(
        session.value("SELECT result FROM begin_once('ns', 'done')"),
        "\"result\""
    );
    assert_eq!(
        session.value("SELECT outcome FROM begin_once('ns', 'done', request => '{\"n\": 2}')"),
        "mismatch"
    );
    assert!(session.is_true(&format!("SELECT complete_once('ns', 'open', {token})")));
    let later = session.number("SELECT token FROM begin_once('ns', 'later')");
    assert!(later > token, "{later} after {token}");
}

fn dump_as_keeper(cluster: &Cluster, name: &str, file: &str, form: &[&str]) {
    let all = [&["-U", "keeper", "-f", file], form, &[name]].concat();
    cluster.client("pg_dump", &all);
}

fn run_script(cluster: &Cluster, restored: &Database, file: &str) {
    let all = [
        "-X",
        "-q",
        "-U",
        "keeper",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        &restored.name,
        "-f",
        file,
    ];
    cluster.client("psql", &all);
}

fn restore(cluster: &Cluster, restored: &Database, file: &str, form: &[&str]) {
    let all = [
        &["-U", "keeper", "--exit-on-error", "-d", &restored.name],
        form,
        &[file],
    ]
    .concat();
    cluster.client("pg_restore", &all);
}

#[test]
fn it_is_dropped_once_nobody_uses_it() {
    let database = database();
    let [mut user, mut dropper, mut late] = database.sessions();
    late.run("SELECT claim_once('ns', 'prepared')");
    user.begin();
    assert!(user.is_true("SELECT claim_once('ns', 'k')"));
    dropper.send("DROP EXTENSION pg_once");
    dropper.waits_for(&user);
    user.commit();
    dropper.answered_rows();
    for session in [&mut user, &mut late] {
        session.refused("SELECT claim_once('ns', 'k')", "42883");
    }
    dropper.run("CREATE EXTENSION pg_once");
    for session in [&mut user, &mut late] {
        let claim = format!("SELECT claim_once('ns', '{}')", session.pid());
        assert!(session.is_true(&claim));
        assert!(session.rows("SELECT * FROM once.namespaces").is_empty());
    }
}

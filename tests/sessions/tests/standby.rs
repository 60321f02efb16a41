//! A hot standby: it can look and not write, and after promotion it has what
//! was acknowledged.

use pg_once_sessions::{Cluster, Session};
use std::time::Duration;

#[test]
fn a_standby_looks_and_is_promoted() {
    let primary = Cluster::start(&["fsync = on"]);
    let database = primary.database();
    let standby = primary.standby();
    let mut writer = database.session();
    writer.run("CREATE TABLE payments (service_id int, line_item_id text, n int DEFAULT 0)");
    writer.run("SELECT with_payment_lock(1, 'A')");
    assert!(writer.is_true("SELECT claim_once('ns', 'before')"));
    let mut open = database.session();
    open.begin();
    assert!(open.is_true("SELECT claim_once('ns', 'open')"));

    let mut reader = standby.connect(&database.name);
    wait_until(&mut reader, "SELECT is_claimed('ns', 'before')");
    assert!(!reader.is_true("SELECT is_claimed('ns', 'open')"));
    assert_eq!(
        reader.value("SELECT once_key('a', 'b') = once_key('a', 'b')"),
        "t"
    );
    for call in WRITING {
        reader.refused(call, "25006");
        reader.begin();
        reader.refused(call, "25006");
        reader.rollback();
    }

    for call in LOCKS {
        let refusal = reader.refused(call, "25006");
        assert!(refusal.detail().unwrap().contains("standby"), "{call}");
    }
    assert_eq!(reader.number("SELECT count(*) FROM once.locks"), 0);
    let hash = "SELECT once.lock_hash('ns', 'k')";
    assert_eq!(reader.value(hash), writer.value(hash));

    writer.run("BEGIN READ ONLY");
    for call in LOCKS {
        assert!(writer.is_true(call), "{call}");
    }
    assert!(writer.is_true("SELECT is_claimed('ns', 'before')"));
    writer.rollback();
    for call in WRITING {
        writer.run("BEGIN READ ONLY");
        writer.refused(call, "25006");
        writer.rollback();
    }

    assert!(writer.is_true("SELECT claim_once('ns', 'last')"));
    wait_until(&mut reader, "SELECT is_claimed('ns', 'last')");
    primary.stop_immediately();
    standby.promote();
    for key in ["before", "last"] {
        assert!(
            !reader.is_true(&format!("SELECT claim_once('ns', '{key}')")),
            "{key}"
        );
    }
    for key in ["open", "new"] {
        assert!(
            reader.is_true(&format!("SELECT claim_once('ns', '{key}')")),
            "{key}"
        );
    }
    assert_eq!(
        reader.value("SELECT created FROM with_payment_lock(1, 'A')"),
        "f"
    );
    assert_eq!(
        reader.value("SELECT created FROM with_payment_lock(1, 'B')"),
        "t"
    );
}

/// A lock on a standby would be local to it.
const LOCKS: [&str; 4] = [
    "SELECT with_lock('ns', 'k')",
    "SELECT with_lock('ns', 'k', '0', shared => true)",
    "SELECT hold_lock('ns', 'k')",
    "SELECT release_lock('ns', 'k')",
];

/// Also where the claim is made already, or the row is there.
const WRITING: [&str; 9] = [
    "SELECT claim_once('ns', 'new')",
    "SELECT claim_once('ns', 'before')",
    "SELECT claim_once_per('1 hour', 'ns', 'new')",
    "SELECT unclaim('ns', 'before')",
    "SELECT unclaim('ns', 'new')",
    "SELECT with_payment_lock(1, 'A')",
    "SELECT with_payment_lock(1, 'new', timeout => '1 s')",
    "SELECT with_row_lock(NULL::payments, '{\"service_id\": 1}')",
    "SELECT find_or_create(NULL::payments, '{\"service_id\": 9}')",
];

fn wait_until(session: &mut Session, condition: &str) {
    session.wait_until(condition, Duration::from_secs(60));
}

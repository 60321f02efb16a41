//! ALTER EXTENSION UPDATE.

use pg_once_sessions::database;

#[test]
fn one_version_is_installed() {
    let mut session = database().session();
    let versions = session.rows(
        "SELECT version, superuser, trusted, relocatable FROM pg_available_extension_versions
         WHERE name = 'pg_once' ORDER BY version",
    );
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert_eq!(versions[0][0].as_deref(), Some("0.3.0"));
}

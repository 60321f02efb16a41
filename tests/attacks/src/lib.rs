//! What the attacks share: a scene, which is a fresh database with its roles, what a hostile object
//! runs, and the look at the end whether anybody got in.

mod actor;
mod scene;

pub use actor::Actor;
pub use scene::{Scene, count, own, plain, preloaded};

/// What a hostile object does wherever it is run, as statements of PL/pgSQL: it writes to the server's
/// log who it runs as, which no rollback takes back, and makes the tenant a superuser if it can.
pub fn payload(place: &str) -> String {
    format!(
        "RAISE LOG 'payload of % ran as % in %', '{place}', current_user, pg_catalog.current_database();
         IF (SELECT rolsuper FROM pg_catalog.pg_roles
             WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN
             BEGIN EXECUTE 'ALTER ROLE @tenant SUPERUSER';
             EXCEPTION WHEN OTHERS THEN NULL; END;
         END IF;"
    )
}

/// A function of this signature that runs the payload and returns this expression.
pub fn trap(signature: &str, returns: &str, expression: &str) -> String {
    let place = signature.replace('\'', "''");
    format!(
        "CREATE OR REPLACE FUNCTION {signature} RETURNS {returns} LANGUAGE plpgsql IMMUTABLE COST 0.0001 AS $trap$
         BEGIN {} RETURN {expression}; END $trap$",
        payload(&place)
    )
}

/// A trigger function that runs the payload and lets the row go on.
pub fn trap_trigger(name: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $trap$
         BEGIN {} RETURN COALESCE(NEW, OLD); END $trap$",
        payload(name)
    )
}

/// Makes claims of 900 bytes that have expired already.
pub fn expired(database: &mut Actor, claims: usize) {
    database.run(&format!(
        "SELECT count(*) FROM (SELECT claim_once_per('1 ms', 'ns', clock_timestamp()::text || repeat('x', 850), n::text)
                               FROM generate_series(1, {claims}) n) made"
    ));
}

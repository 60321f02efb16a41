//! pg_once: exactly one caller wins, inside PostgreSQL.
//!
//! # Layout
//!
//! Features, one noun each, the SQL face on top and the rule that decides below it:
//!
//! - [`key`]: `once_key`, and how several parts make one key
//! - [`namespace`]: `once.configure`, `once.unconfigure`, `once.distribute`
//! - [`claim`]: `claim_once`, `claim_once_per`, `claim_many`, `try_claim_once`, `is_claimed`, `unclaim`
//! - [`lock`]: `with_lock`, `hold_lock`, `release_lock`, the view `once.locks`
//! - [`work`]: `begin_once`, `renew_once`, `complete_once`, `fail_once`, `fence_once`, `forget_once`
//! - [`view`]: the views `once.claims`, `once.work`, `once.namespaces`; `once.claims_of`, `once.work_of`
//! - [`row`]: `with_row_lock`, `find_or_create`
//! - [`mod@sweep`]: `once.sweep`, which removes what has expired
//! - [`stats`]: `once.stats`, `once.reset_stats`
//! - [`duplicate`]: `once.find_duplicates`, `once.merge_duplicates`, `once.guard_plan`
//! - [`worker`]: the background worker that sweeps; [`check`]: `once.check`
//! - [`payment`]: `with_payment_lock`, the row functions for the payments table
//!
//! Rules that features share: [`policy`], what is configured for a namespace; [`timeout`]; [`duration`], how
//! intervals are given.
//! Pure rules, which know nothing of PostgreSQL: [`digest`], [`storage_key`], [`session_map`], `work::lifecycle`, `key::encoding`, `key::instant`.
//!
//! [`error`] is the one way to raise. [`pg`] is the fence: all `unsafe` is there. The SQL
//! definitions stand in `sql/`, in the order in which they are listed below.

#![deny(unsafe_code)]

mod check;
mod claim;
mod digest;
mod distributed;
mod duplicate;
mod duration;
mod error;
mod key;
mod lock;
mod namespace;
mod payment;
#[allow(unsafe_code)]
mod pg;
mod policy;
mod row;
mod session_map;
mod stats;
mod storage_key;
mod sweep;
mod timeout;
mod view;
mod work;
mod worker;

pgrx::pg_module_magic!(name, version);

pgrx::extension_sql_file!("../sql/schema.sql", name = "schema", bootstrap);
pgrx::extension_sql_file!(
    "../sql/duration.sql",
    name = "duration",
    requires = ["schema"]
);
pgrx::extension_sql_file!("../sql/key.sql", name = "key", requires = ["duration"]);
pgrx::extension_sql_file!(
    "../sql/namespace.sql",
    name = "namespace",
    requires = ["key"]
);
pgrx::extension_sql_file!("../sql/claim.sql", name = "claim", requires = ["namespace"]);
pgrx::extension_sql_file!("../sql/lock.sql", name = "lock", requires = ["claim"]);
pgrx::extension_sql_file!("../sql/work.sql", name = "work", requires = ["lock"]);
pgrx::extension_sql_file!("../sql/view.sql", name = "view", requires = ["work"]);
pgrx::extension_sql_file!("../sql/row.sql", name = "row", requires = ["view"]);
pgrx::extension_sql_file!("../sql/payment.sql", name = "payment", requires = ["row"]);
pgrx::extension_sql_file!("../sql/sweep.sql", name = "sweep", requires = ["payment"]);
pgrx::extension_sql_file!("../sql/stats.sql", name = "stats", requires = ["sweep"]);
pgrx::extension_sql_file!(
    "../sql/duplicate.sql",
    name = "duplicate",
    requires = ["payment"]
);
pgrx::extension_sql_file!("../sql/check.sql", name = "check", requires = ["stats"]);
pgrx::extension_sql_file!("../sql/grants.sql", name = "grants", finalize);

#[pgrx::pg_guard]
extern "C-unwind" fn _PG_init() {
    pg::without_backtraces();
    pg::settings::define();
    pg::lock::names::request();
    pg::counters::request();
    pg::condition_variable::request();
    worker::register();
}

/// What `cargo pgrx test` calls before and asks for its server.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}

//! Functions with a known fault in the place of the extension's: the search finds each.

use pg_once_schedules::claim::ClaimSchedules;
use pg_once_schedules::lock::LockSchedules;
use pg_once_schedules::row::RowSchedules;
use pg_once_schedules::stage::SETTINGS;
use pg_once_schedules::work::WorkSchedules;
use pg_once_schedules::{Budget, Subject, search};
use pg_once_sessions::{Cluster, Database};
use std::sync::OnceLock;
use std::time::Duration;

fn database() -> Database<'static> {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(SETTINGS)).database()
}

/// The schema of a stage comes first in the search_path, so what is planted there is called.
fn finds<S: Subject>(planted: &str, wanted: &'static str) {
    let budget = Budget {
        schedules: 20_000,
        time: Duration::from_secs(200),
        first_seed: 1,
        faults: 1,
        wanted,
        shortening: Duration::ZERO,
    };
    let report = search::<S>(&database(), &budget, planted);
    println!("{report}");
    assert_eq!(report.found.len(), 1, "it is not found: {wanted}");
}

/// with_row_lock as applications write it: this selects, that inserts where nothing was found.
fn with_row_lock(lock: &str) -> String {
    format!(
        "CREATE FUNCTION with_row_lock(target anyelement, key jsonb, defaults jsonb DEFAULT '{{}}', timeout interval DEFAULT NULL)
         RETURNS SETOF anyelement LANGUAGE plpgsql AS $$
         DECLARE
             name text := pg_typeof(target);
             matches text := (SELECT string_agg(CASE WHEN value = 'null' THEN format('%I IS NULL', column_name)
                                                     ELSE format('%I = %L', column_name, value #>> '{{}}') END, ' AND ')
                              FROM jsonb_each(key) AS each(column_name, value));
             columns text := (SELECT string_agg(quote_ident(column_name), ', ') FROM jsonb_each(key) AS each(column_name, value));
             numbers text := (SELECT string_agg(quote_nullable(value #>> '{{}}'), ', ') FROM jsonb_each(key) AS each(column_name, value));
         BEGIN
             PERFORM set_config('lock_timeout', CASE timeout WHEN '0' THEN '1ms' WHEN '4 ms' THEN '4ms' ELSE '0' END, true);
             RETURN QUERY EXECUTE format('SELECT * FROM %s WHERE %s {lock}', name, matches);
             IF FOUND THEN RETURN; END IF;
             RETURN QUERY EXECUTE format('INSERT INTO %s (%s) VALUES (%s) RETURNING *', name, columns, numbers);
         EXCEPTION WHEN lock_not_available THEN RETURN;
         END $$"
    )
}

#[test]
fn a_row_that_is_not_locked() {
    finds::<RowSchedules>(&with_row_lock(""), "is not locked, which session");
}

#[test]
fn a_row_that_is_created_without_a_turn() {
    finds::<RowSchedules>(&with_row_lock("FOR NO KEY UPDATE"), "a second row");
}

#[test]
fn a_unique_violation_that_is_raised() {
    finds::<RowSchedules>(&with_row_lock("FOR NO KEY UPDATE"), "error 23505");
}

#[test]
fn a_row_that_stays_locked_though_another_is_returned() {
    finds::<RowSchedules>(
        &with_row_lock("FOR NO KEY UPDATE"),
        "is locked, which nobody was given",
    );
}

#[test]
fn a_claim_that_is_answered_before_the_other_has_ended() {
    finds::<ClaimSchedules>(
        "CREATE FUNCTION claim_once(ns text, key text) RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN RETURN public.try_claim_once(ns, key) = 'won'; END $$",
        "it is answered before the other transaction has ended",
    );
}

#[test]
fn a_claim_of_two_winners() {
    finds::<ClaimSchedules>(
        "CREATE FUNCTION claim_once(ns text, key text) RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN RETURN NOT public.is_claimed(ns, key); END $$",
        "it is answered before the other transaction has ended",
    );
}

#[test]
fn batches_in_the_order_of_the_array() {
    finds::<ClaimSchedules>(
        "CREATE FUNCTION claim_many(ns text, keys text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
         DECLARE key text;
         BEGIN FOREACH key IN ARRAY keys LOOP
             IF public.claim_once(ns, key) THEN RETURN NEXT key; END IF;
         END LOOP; END $$",
        "error 40P01",
    );
}

#[test]
fn a_fence_that_lets_go() {
    finds::<WorkSchedules>(
        "CREATE FUNCTION fence_once(ns text, key text, token bigint) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN
             IF NOT EXISTS (SELECT FROM once.work w WHERE w.ns = fence_once.ns AND w.key = fence_once.key
                            AND w.token = fence_once.token AND w.state = 'running')
             THEN RAISE EXCEPTION USING ERRCODE = '55000'; END IF;
         END $$",
        "fenced by another: true",
    );
}

/// begin_once in front of the extension's, which is called with the same arguments but for the worker.
fn begin_once(worker: &str) -> String {
    format!(
        "CREATE FUNCTION begin_once(ns text, key text, lease interval, wait interval, worker text)
         RETURNS TABLE (outcome text, token bigint, attempt int, result jsonb, lease_until timestamptz) LANGUAGE sql AS $$
         SELECT * FROM public.begin_once(ns, key, lease, wait => wait, worker => {worker}) $$"
    )
}

#[test]
fn a_worker_that_is_not_known_again() {
    finds::<WorkSchedules>(&begin_once("NULL"), "in_progress where the record is");
}

#[test]
fn workers_that_are_taken_for_one() {
    finds::<WorkSchedules>(
        &begin_once("coalesce('worker 1', worker)"),
        "run where the record is",
    );
}

#[test]
fn locks_in_the_order_of_the_array() {
    finds::<LockSchedules>(
        "CREATE FUNCTION with_locks(ns text, keys text[], timeout interval, shared boolean) RETURNS boolean LANGUAGE plpgsql AS $$
         DECLARE key text;
         BEGIN FOREACH key IN ARRAY keys LOOP
             IF NOT public.with_lock(ns, key, timeout, shared) THEN RETURN false; END IF;
         END LOOP; RETURN true; END $$",
        "error 40P01",
    );
}

#[test]
fn locks_that_are_kept_by_a_call_that_says_false() {
    finds::<LockSchedules>(
        "CREATE FUNCTION with_locks(ns text, keys text[], timeout interval, shared boolean) RETURNS boolean LANGUAGE sql AS $$
         SELECT bool_and(public.with_lock(ns, key, timeout, shared)) FROM (SELECT key FROM unnest(keys) key ORDER BY 1) k $$",
        "were given it",
    );
}

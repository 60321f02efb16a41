//! All orders of two sessions through all injection points, and of three through some at a time.

use pg_once_interleavings::order::Interleaving;
use pg_once_interleavings::stage::Stage;
use pg_once_interleavings::subject::End::{self, Commit, Rollback};
use pg_once_interleavings::subject::{Subject, TABLES};
use pg_once_sessions::Cluster;
use std::time::Instant;

/// Runs all orders, and demands that the answers are all that the model has.
fn explore(subject: Subject, runs: &[(&[End], &[&str])]) {
    let cluster = Cluster::start(&["autovacuum = off"]);
    let database = cluster.database();
    database.session().run(TABLES);
    for (number, (ends, points)) in runs.iter().enumerate() {
        let begun = Instant::now();
        let mut stage = Stage::open(&database, ends.len());
        let interleaving = Interleaving {
            subject,
            ends,
            points,
        };
        let report = interleaving
            .explore(&mut stage, &number.to_string())
            .unwrap_or_else(|why| panic!("{why}"));
        println!(
            "orders: {subject:?} {ends:?} through {points:?}: {} orders, {} steps, {} stops, {} of {} answers of \
             the model seen, {:.1} s",
            report.orders,
            report.steps,
            report.stops,
            report.seen.len(),
            report.expected.len(),
            begun.elapsed().as_secs_f64()
        );
        assert_eq!(report.seen, report.expected, "{interleaving:?}");
        assert!(report.stops > 0, "nobody stopped: {interleaving:?}");
    }
}

const ALL_ENDS_OF_TWO: [&[End]; 3] = [
    &[Commit, Commit],
    &[Rollback, Commit],
    &[Rollback, Rollback],
];

#[test]
fn two_claims_of_a_free_key() {
    let points: &[&str] = &["probe", "insert", "confirm", "wait"];
    explore(
        Subject::FreeClaim,
        &ALL_ENDS_OF_TWO.map(|ends| (ends, points)),
    );
}

#[test]
fn two_claims_of_an_expired_one() {
    let points: &[&str] = &["probe", "renew", "wait"];
    explore(
        Subject::ExpiredClaim,
        &ALL_ENDS_OF_TWO.map(|ends| (ends, points)),
    );
}

#[test]
fn two_turns_of_a_row() {
    for subject in [Subject::RowWithoutIndex, Subject::RowWithIndex] {
        explore(
            subject,
            &ALL_ENDS_OF_TWO.map(|ends| (ends, ["create-row"].as_slice())),
        );
    }
}

#[test]
fn three_claims_of_a_free_key() {
    let all_commit: &[End] = &[Commit, Commit, Commit];
    let one_rolls_back: &[End] = &[Rollback, Commit, Commit];
    explore(
        Subject::FreeClaim,
        &[
            (all_commit, &["probe"]),
            (all_commit, &["probe", "wait"]),
            (all_commit, &["insert", "confirm"]),
            (all_commit, &["insert", "wait"]),
            (all_commit, &["confirm", "wait"]),
            (one_rolls_back, &["insert"]),
            (one_rolls_back, &["confirm", "wait"]),
        ],
    );
}

#[test]
fn three_claims_of_an_expired_one() {
    explore(
        Subject::ExpiredClaim,
        &[
            (&[Commit, Commit, Commit], &["renew"]),
            (&[Rollback, Commit, Commit], &["renew"]),
        ],
    );
}

#[test]
fn three_turns_of_a_row() {
    for subject in [Subject::RowWithoutIndex, Subject::RowWithIndex] {
        explore(
            subject,
            &[
                (&[Commit, Commit, Commit], &["create-row"]),
                (&[Rollback, Commit, Commit], &["create-row"]),
            ],
        );
    }
}

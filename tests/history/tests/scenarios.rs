//! Each scenario once, on a small scale. `make soak` runs them on a larger one.

use pg_once_history::scenario;
use pg_once_history::scene::Scale;

fn survives(name: &str) {
    scenario::run(name, &Scale::short());
}

#[test]
fn backends_are_cancelled_and_ended() {
    survives("backends_ended");
}

#[test]
fn sessions_take_too_long() {
    survives("sessions_time_out");
}

#[test]
fn a_backend_is_killed() {
    survives("backend_killed");
}

#[test]
fn the_postmaster_is_killed_again_and_again() {
    survives("postmaster_killed");
}

#[test]
fn the_server_is_stopped_immediately() {
    survives("immediate_stop");
}

#[test]
fn the_disk_of_the_tables_is_full() {
    survives("data_disk_full");
}

#[test]
fn the_disk_of_the_wal_is_full() {
    survives("wal_disk_full");
}

#[test]
fn the_lock_table_is_full() {
    survives("lock_table_full");
}

#[test]
fn there_is_no_room_for_what_was_read() {
    survives("predicate_locks_full");
}

#[test]
fn there_are_no_connections() {
    survives("connections_full");
}

#[test]
fn there_is_no_memory() {
    survives("out_of_memory");
}

#[test]
fn a_client_is_stopped_for_three_leases() {
    survives("client_stopped");
}

#[test]
fn the_clock_jumps() {
    survives("clock_jumps");
}

#[test]
fn a_pooler_stands_between() {
    survives("pooler");
}

#[test]
fn a_standby_is_promoted() {
    survives("standby_promoted");
}

#[test]
fn the_network_between_two_nodes_is_cut() {
    survives("network_cut");
}

#[test]
fn maintenance_runs_in_a_loop() {
    survives("maintenance");
}

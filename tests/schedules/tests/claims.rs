//! Claims under schedules.

use pg_once_schedules::check;
use pg_once_schedules::claim::ClaimSchedules;

#[test]
fn claims_are_as_the_model_says() {
    check::<ClaimSchedules>();
}

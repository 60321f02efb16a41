//! Work under schedules.

use pg_once_schedules::check;
use pg_once_schedules::work::WorkSchedules;

#[test]
fn work_is_as_the_model_says() {
    check::<WorkSchedules>();
}

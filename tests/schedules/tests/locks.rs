//! Named locks under schedules.

use pg_once_schedules::check;
use pg_once_schedules::lock::LockSchedules;

#[test]
fn locks_are_as_the_model_says() {
    check::<LockSchedules>();
}

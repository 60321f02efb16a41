//! Row functions under schedules.

use pg_once_schedules::check;
use pg_once_schedules::row::RowSchedules;

#[test]
fn rows_are_as_the_model_says() {
    check::<RowSchedules>();
}

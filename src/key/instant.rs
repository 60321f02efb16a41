//! A timestamptz as ISO 8601 in UTC with microseconds, whatever the session's settings are.

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's count begins.
const EPOCH_DAYS: i64 = 10_957;

/// The text of `micros` since 2000-01-01 UTC. The extremes are PostgreSQL's infinities. Years
/// before 1 are counted as ISO 8601 does: 1 BC is year 0000; years beyond 9999 have a sign.
pub fn format(micros: i64) -> String {
    match micros {
        i64::MIN => return "-infinity".to_owned(),
        i64::MAX => return "infinity".to_owned(),
        _ => {}
    }
    let (year, month, day) = civil(micros.div_euclid(MICROS_PER_DAY) + EPOCH_DAYS);
    let time = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        10_000.. => format!("+{year}"),
        _ => format!("-{:04}", -year),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// Year, month and day of the day that is `days` after 1970-01-01 in the proleptic Gregorian
/// calendar: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_vectors() {
        assert_eq!(format(0), "2000-01-01T00:00:00.000000Z");
        assert_eq!(format(-1), "1999-12-31T23:59:59.999999Z");
        assert_eq!(format(848_474_096_789_012), "2026-11-20T07:14:56.789012Z");
        assert_eq!(format(5_097_600_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(format(i64::MAX), "infinity");
        assert_eq!(format(i64::MIN), "-infinity");
    }

    #[test]
    fn years_of_any_size_keep_their_order_of_fields() {
        assert_eq!(
            format(252_455_616_000_000_000),
            "+10000-01-01T00:00:00.000000Z"
        );
        assert_eq!(
            format(-63_113_904_000_000_000),
            "0000-01-01T00:00:00.000000Z"
        );
        assert_eq!(
            format(-63_113_904_000_000_001),
            "-0001-12-31T23:59:59.999999Z"
        );
    }
}

//! The months of a ledger in PostgreSQL: a partition of `usage_record` for each in which use ended, made when its first
//! record comes. Made as a table of its own and attached, which lets who reads the other months go on.

use super::database::{DatabaseError, Session, query};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;

/// What ends outside these years is in one of the two partitions that are there from the beginning.
const YEARS: std::ops::Range<i16> = 2000..2200;

/// Sees to it that records which end at these times, in nanoseconds, have where to go; `there` are the months of which
/// this transaction knows.
pub(super) async fn make(
    tx: &mut Session,
    ends: impl Iterator<Item = i64>,
    there: &mut BTreeSet<Date>,
) -> Result<(), DatabaseError> {
    if matches!(tx, Session::Sqlite(_)) {
        return Ok(());
    }
    for end in ends {
        let Some((first, next)) = month_of(end) else {
            continue;
        };
        if !YEARS.contains(&first.year()) || !there.insert(first) {
            continue;
        }
        let name = format!("usage_record_{:04}_{:02}", first.year(), first.month());
        let is_made: bool = query("SELECT to_regclass(?) IS NOT NULL")
            .bind(name.as_str())
            .only_value(tx)
            .await?;
        let (Some(from), Some(to)) = (nanoseconds(first), nanoseconds(next)) else {
            continue;
        };
        if !is_made {
            // Made of numbers: a statement that defines something takes no values.
            let define = [
                format!("CREATE TABLE {name} (LIKE usage_record INCLUDING ALL)"),
                format!(
                    "ALTER TABLE usage_record ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
                ),
            ];
            for statement in define {
                query(statement).execute(tx).await?;
            }
        }
    }
    Ok(())
}

/// The month, in UTC, of a time in nanoseconds: its first day, and that of the next.
fn month_of(end: i64) -> Option<(Date, Date)> {
    let day = Timestamp::from_nanosecond(i128::from(end))
        .ok()?
        .to_zoned(TimeZone::UTC)
        .date();
    Some((day.first_of_month(), day.last_of_month().tomorrow().ok()?))
}

fn nanoseconds(day: Date) -> Option<i64> {
    let midnight = day.to_zoned(TimeZone::UTC).ok()?.timestamp();
    i64::try_from(midnight.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn a_month_is_one_of_utc() {
        let end = |text: &str| i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap();
        let december = Some((date(2026, 12, 1), date(2027, 1, 1)));
        assert_eq!(month_of(end("2026-12-01T00:00:00Z")), december);
        assert_eq!(month_of(end("2026-12-31T23:59:59.999999999Z")), december);
        assert_eq!(
            month_of(end("2026-12-31T23:30:00-01:00")),
            Some((date(2027, 1, 1), date(2027, 2, 1)))
        );
        assert_eq!(nanoseconds(date(2000, 1, 1)), Some(946_684_800_000_000_000));
        assert_eq!(nanoseconds(date(2200, 1, 1)), Some(7_258_118_400_000_000_000));
    }
}

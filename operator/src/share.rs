//! Shares of something that runs out, in percent: as they are shown, when they are worth a warning, where they lead.

use jiff::Timestamp;
use mesocentre_metering::TimeSpan;
use rust_decimal::{Decimal, RoundingStrategy};

/// A percentage with two decimals, rounded down: what is told as 80 % is 80 %.
pub fn shown(percent: Decimal) -> String {
    format!(
        "{:.2}",
        percent.round_dp_with_strategy(2, RoundingStrategy::ToZero)
    )
}

/// The highest of these percentages that is reached.
pub fn reached(alert_at: &[i64], percent: Decimal) -> Option<i64> {
    alert_at
        .iter()
        .copied()
        .filter(|at| percent >= Decimal::from(*at))
        .max()
}

/// How much of a span has run, from 0 to 1; none before it and in its first day, which foretells nothing.
pub fn run_of(span: TimeSpan, now: Timestamp) -> Option<Decimal> {
    let (ran, all) = (
        now.min(span.to).as_second() - span.from.as_second(),
        span.to.as_second() - span.from.as_second(),
    );
    (ran >= 86_400).then(|| Decimal::from(ran).checked_div(Decimal::from(all)))?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use mesocentre_metering::DatacentreZone;

    #[test]
    fn a_year_foretells_nothing_on_its_first_day_and_all_of_it_at_its_end() {
        let zone = DatacentreZone::named("Europe/Paris").unwrap();
        let day = |text: &str| text.parse().unwrap();
        let year = zone.days(day("2026-01-01"), day("2026-12-31")).unwrap();
        let run = |at: &str| run_of(year, at.parse().unwrap());
        assert_eq!(run("2025-12-31T00:00:00Z"), None);
        assert_eq!(run("2026-01-01T12:00:00Z"), None);
        assert_eq!(
            run("2026-07-02T10:00:00Z").unwrap().round_dp(3),
            Decimal::new(5, 1)
        );
        assert_eq!(run("2027-03-01T00:00:00Z"), Some(Decimal::ONE));
    }

    #[test]
    fn a_percentage_is_never_told_before_it_is_reached() {
        assert_eq!(shown(Decimal::new(199_999, 4)), "19.99");
        assert_eq!(shown(Decimal::new(799_997, 4)), "79.99");
        assert_eq!(reached(&[80, 95], Decimal::new(799_997, 4)), None);
        assert_eq!(reached(&[80, 95], Decimal::from(80)), Some(80));
        assert_eq!(reached(&[95, 80], Decimal::from(99)), Some(95));
    }
}

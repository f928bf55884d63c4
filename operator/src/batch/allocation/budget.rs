//! How much of an allocation's hours is used, how it goes on, and when somebody should hear of it. Pure.

use crate::report::Verdict;
use crate::share::{reached, run_of, shown};
use jiff::Timestamp;
use jiff::civil::Date;
use mesocentre_api::{AllocationSpec, Budget, WhenExhausted};
use mesocentre_metering::DatacentreZone;
use rust_decimal::Decimal;

/// Seconds of cores and GPUs, from the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Of cores.
    pub core_seconds: i128,
    /// Of GPUs.
    pub gpu_seconds: i128,
}

/// How a budget stands: that of the hours of which the larger part is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// `core-hours` or `GPU-hours`.
    pub hours: &'static str,
    /// Percent of them that is used.
    pub percent: Decimal,
    /// The same at the allocation's end, if it goes on as so far; none in its first day, and after its last.
    pub forecast: Option<Decimal>,
}

/// How the hours stand, what is carried over among them; none where there are none, or nobody may use them yet.
pub fn standing(
    spec: &AllocationSpec,
    hours: &Budget,
    used: Used,
    zone: &DatacentreZone,
    now: Timestamp,
) -> Option<Standing> {
    let of = |hours: &'static str, budget: Option<Decimal>, seconds: i128| {
        let budget = budget?.checked_mul(Decimal::from(3600))?;
        let seconds = Decimal::try_from_i128_with_scale(seconds, 0).ok()?;
        let percent = seconds.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(budget)?;
        Some((percent, hours))
    };
    let (percent, hours) = [
        of("core-hours", hours.core_hours, used.core_seconds),
        of("GPU-hours", hours.gpu_hours, used.gpu_seconds),
    ]
    .into_iter()
    .flatten()
    .max()?;
    let span = zone.days(spec.valid_from, spec.valid_until).ok();
    let run = span
        .and_then(|span| run_of(span, now))
        .filter(|run| *run < Decimal::ONE);
    let forecast = run.and_then(|run| percent.checked_div(run));
    Some(Standing {
        hours,
        percent,
        forecast,
    })
}

/// Whether there is enough, in a sentence that can be sent to who answers for the allocation.
pub fn verdict(
    spec: &AllocationSpec,
    standing: &Standing,
    grace_until: Option<Date>,
    today: Date,
) -> Verdict {
    let Standing {
        hours,
        percent,
        forecast,
    } = standing;
    let told = match forecast {
        Some(forecast) => format!(
            "{} % of the {hours} are used; as it went so far it will be {} % on {}",
            shown(*percent),
            shown(*forecast),
            spec.valid_until
        ),
        None => format!("{} % of the {hours} are used", shown(*percent)),
    };
    if let (Some(grace), Some(until)) = (&spec.grace, grace_until)
        && today <= until
        && *percent < Decimal::from(100 + grace.percent)
    {
        return Verdict::no(
            "InGrace",
            format!(
                "{told}: {} % more may be used until {until}, then jobs wait; ask the administrators for a larger budget",
                grace.percent
            ),
        );
    }
    if *percent >= Decimal::ONE_HUNDRED {
        let then = match spec.when_exhausted {
            WhenExhausted::Refuse => {
                "jobs wait until more are granted: ask the administrators for a larger budget"
            }
            WhenExhausted::Charge => {
                "what is over is billed at the tariff: ask the administrators for a larger budget if that is not meant"
            }
        };
        return Verdict::no("Exhausted", format!("{told}: {then}"));
    }
    match reached(&spec.alert_at, *percent) {
        Some(at) => Verdict::no(&format!("Above{at}"), format!("{told}: more than {at} %")),
        None => Verdict::yes("Within", told),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use mesocentre_api::ConditionStatus;
    use serde_json::json;

    fn spec(budget: &serde_json::Value) -> AllocationSpec {
        serde_json::from_value(json!({
            "scheduler": "austral", "title": "t", "validFrom": "2026-01-01", "validUntil": "2026-12-31", "budget": budget,
        }))
        .unwrap()
    }

    fn stands(
        budget: &serde_json::Value,
        core_seconds: i128,
        gpu_seconds: i128,
        now: &str,
    ) -> Option<Standing> {
        let zone = DatacentreZone::named("Europe/Paris").unwrap();
        let used = Used {
            core_seconds,
            gpu_seconds,
        };
        let spec = spec(budget);
        standing(&spec, &spec.budget, used, &zone, now.parse().unwrap())
    }

    #[test]
    fn the_budget_of_which_more_is_used_is_told_with_where_it_leads() {
        let both = json!({"coreHours": "100", "gpuHours": "10"});
        let half_a_year = "2026-07-02T10:00:00Z";
        let found = stands(&both, 36_000, 18_000, half_a_year).unwrap();
        assert_eq!((found.hours, found.percent), ("GPU-hours", Decimal::from(50)));
        assert_eq!(found.forecast.unwrap().round_dp(0), Decimal::from(100));
        assert_eq!(stands(&json!({}), 36_000, 0, half_a_year), None);
        assert_eq!(stands(&json!({"coreHours": "0"}), 36_000, 0, half_a_year), None);
        for day in ["2026-01-01T12:00:00Z", "2027-01-02T00:00:00Z"] {
            assert_eq!(stands(&both, 36_000, 0, day).unwrap().forecast, None, "{day}");
        }
    }

    #[test]
    fn alerts_come_at_their_percentages_and_when_nothing_is_left() {
        let said = |seconds: i128| {
            let spec = spec(&json!({"coreHours": "100"}));
            let found = stands(&json!({"coreHours": "100"}), seconds, 0, "2026-07-02T10:00:00Z").unwrap();
            let verdict = verdict(&spec, &found, None, "2026-07-02".parse().unwrap());
            (verdict.status, verdict.reason)
        };
        let no = |reason: &str| (ConditionStatus::False, reason.to_owned());
        assert_eq!(said(287_999), (ConditionStatus::True, "Within".to_owned()));
        assert_eq!(said(288_000), no("Above80"));
        assert_eq!(said(342_000), no("Above95"));
        assert_eq!(said(360_000), no("Exhausted"));
    }

    #[test]
    fn a_grace_is_told_with_its_last_day_and_is_over_after_it_or_when_it_is_used_up() {
        let mut spec = spec(&json!({"coreHours": "100"}));
        spec.grace = Some(mesocentre_api::Grace {
            percent: 10,
            days: 14,
        });
        let said = |seconds: i128, today: &str| {
            let found = stands(&json!({"coreHours": "100"}), seconds, 0, "2026-07-02T10:00:00Z").unwrap();
            let until = Some("2026-07-10".parse().unwrap());
            verdict(&spec, &found, until, today.parse().unwrap()).reason
        };
        assert_eq!(said(360_000, "2026-07-02"), "InGrace");
        assert_eq!(said(395_999, "2026-07-10"), "InGrace");
        assert_eq!(said(395_999, "2026-07-11"), "Exhausted");
        assert_eq!(said(396_000, "2026-07-02"), "Exhausted");
    }
}

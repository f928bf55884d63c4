//! What a ceiling's status says: grants, measures, and how near economic use is.

use super::WITHIN_CEILING;
use super::gather::{Gathered, Id};
use crate::Context;
use crate::report::Verdict;
use crate::share::{reached, run_of, shown};
use jiff::Timestamp;
use jiff::civil::Date;
use mesocentre_api::{
    CeilingGrant, CeilingMeasure, CeilingMeasureName, EconomicCeiling, EconomicCeilingStatus, LedgerMark,
};
use mesocentre_metering::DatacentreZone;
use mesocentre_metering::ceiling::{Ceiling, Grants, HeldSeconds};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use std::collections::HashMap;

/// Fills in all but what says whether it could be counted.
pub fn fill_in(
    status: &mut EconomicCeilingStatus,
    object: &EconomicCeiling,
    ceiling: &Ceiling,
    gathered: &Gathered,
    granted: &Grants<Id>,
    context: &Context,
) {
    let run = run_of_year(&context.zone, object.spec.civil_year(), Timestamp::now());
    status.measures = ceiling
        .measures()
        .into_iter()
        .map(|name| measure_of(name, ceiling, gathered, granted.set_aside, run))
        .collect();
    status.grants = grants_of(ceiling, gathered, granted, object.spec.civil_year());
    status.ledger = gathered.ledger.map(|head| LedgerMark {
        records: head.seq,
        hash: head.hash.to_string(),
    });
    let highest = |amount: HeldSeconds| {
        ceiling
            .measures()
            .into_iter()
            .filter(|measure| ceiling.decides(*measure))
            .filter_map(|measure| {
                Some((
                    ceiling.percent_of(measure, ceiling.measured(measure, amount))?,
                    measure,
                ))
            })
            .max()
    };
    within(highest(granted.set_aside), highest(gathered.economic), object).set(
        &mut status.conditions,
        WITHIN_CEILING,
        object.metadata.generation,
    );
}

fn grants_of(ceiling: &Ceiling, gathered: &Gathered, granted: &Grants<Id>, year: i16) -> Vec<CeilingGrant> {
    let used: HashMap<&Id, HeldSeconds> = gathered.claims.iter().map(|c| (&c.id, c.used)).collect();
    let because = |id: &Id| gathered.because.get(&id.name).cloned().unwrap_or_default();
    let counted = granted.grants.iter().map(|grant| {
        let used = used.get(&grant.id).copied().unwrap_or_default();
        CeilingGrant {
            allocation: grant.id.name.clone(),
            because: because(&grant.id),
            core_hours: exact_hours(grant.amount.core),
            gpu_hours: exact_hours(grant.amount.gpu),
            used_core_hours: hours(used.core),
            used_gpu_hours: hours(used.gpu),
            refused: grant.refused_by.map(|by| {
                format!(
                    "it would take economic use of {year} past the ceiling of {} % of all {}, of which {} % are set aside by now; ask for less, or wait until other economic allocations are given back",
                    ceiling.percent,
                    by.as_str(),
                    percent(ceiling, by, ceiling.measured(by, granted.set_aside)),
                )
            }),
        }
    });
    let boundless = gathered.boundless.iter().map(|(id, what)| CeilingGrant {
        allocation: id.name.clone(),
        because: because(id),
        core_hours: "0".into(),
        gpu_hours: "0".into(),
        used_core_hours: "0.000000".into(),
        used_gpu_hours: "0.000000".into(),
        refused: Some(format!(
            "it is economic and has no end in {what}, so it cannot be held within the ceiling of {year}: write budget.{what}, \"0\" where none is meant"
        )),
    });
    counted.chain(boundless).collect()
}

fn measure_of(
    name: CeilingMeasureName,
    ceiling: &Ceiling,
    gathered: &Gathered,
    set_aside: HeldSeconds,
    run: Option<Decimal>,
) -> CeilingMeasure {
    let of = |amount| ceiling.measured(name, amount);
    let used = of(gathered.economic);
    let forecast = run.and_then(|run| used.checked_div(run));
    CeilingMeasure {
        name,
        decides: ceiling.decides(name),
        capacity: hours(of(ceiling.capacity)),
        allocated: hours(of(set_aside)),
        allocated_percent: percent(ceiling, name, of(set_aside)),
        used: hours(used),
        used_percent: percent(ceiling, name, used),
        non_economic_used: hours(of(gathered.non_economic)),
        forecast_percent: forecast.map(|forecast| percent(ceiling, name, forecast)),
    }
}

/// How much of the year has run.
fn run_of_year(zone: &DatacentreZone, year: i16, now: Timestamp) -> Option<Decimal> {
    let (first, last) = (Date::new(year, 1, 1).ok()?, Date::new(year, 12, 31).ok()?);
    run_of(zone.days(first, last).ok()?, now)
}

/// Whether economic use is within the ceiling, and how near to it: the highest of what decides.
fn within(
    allocated: Option<(Decimal, CeilingMeasureName)>,
    used: Option<(Decimal, CeilingMeasureName)>,
    object: &EconomicCeiling,
) -> Verdict {
    let (Some((allocated, by)), Some((used, used_by))) = (allocated, used) else {
        return Verdict::no(
            "NoCapacity",
            "there is no capacity to measure by: write it in spec.capacity",
        );
    };
    let (year, most) = (object.spec.year, object.spec.percent);
    let told = format!(
        "{} % of the {} of {year} are set aside for economic use and {} % of the {} are used by it",
        shown(allocated),
        by.as_str(),
        shown(used),
        used_by.as_str()
    );
    if used > Decimal::from(most) {
        return Verdict::no(
            "Passed",
            format!(
                "{told}: that is above the ceiling of {most} %. End or shorten economic allocations, and tell who answers for the funding"
            ),
        );
    }
    let highest = allocated.max(used);
    if highest >= Decimal::from(most) {
        return Verdict::no(
            "Reached",
            format!("{told}: the ceiling is {most} %, and no further economic allocation is granted"),
        );
    }
    match reached(&object.spec.alert_at, highest) {
        Some(at) => Verdict::no(
            &format!("Above{at}"),
            format!("{told}: more than {at} %, and the ceiling is {most} %"),
        ),
        None => Verdict::yes("Within", format!("{told}; the ceiling is {most} %")),
    }
}

/// What /metrics shows of it.
pub fn measure(context: &Context, object: &EconomicCeiling, status: &EconomicCeilingStatus) {
    let year = object.spec.year.to_string();
    for measure in &status.measures {
        for (kind, percent) in [
            ("allocated", &measure.allocated_percent),
            ("used", &measure.used_percent),
        ] {
            if let Some(percent) = percent
                .parse::<Decimal>()
                .ok()
                .and_then(|percent| percent.to_f64())
            {
                context
                    .metrics
                    .economic_use_percent
                    .with_label_values(&[year.as_str(), measure.name.as_str(), kind])
                    .set(percent);
            }
        }
    }
}

/// Hours with six decimals, half-up.
fn hours(seconds: Decimal) -> String {
    let hours = seconds / Decimal::from(3600);
    format!(
        "{:.6}",
        hours.round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero)
    )
}

/// Hours of a grant, from which the same seconds are read again: what was asked for is in hours of few decimals.
fn exact_hours(granted: Decimal) -> String {
    (granted / Decimal::from(3600)).normalize().to_string()
}

fn percent(ceiling: &Ceiling, measure: CeilingMeasureName, amount: Decimal) -> String {
    shown(ceiling.percent_of(measure, amount).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::super::seconds;
    use super::*;
    use mesocentre_api::ConditionStatus;
    use serde_json::json;

    fn measured(allocated: &str, used: &str) -> (ConditionStatus, String) {
        let object: EconomicCeiling = serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "EconomicCeiling", "metadata": {"name": "2026"},
            "spec": {"year": 2026, "capacity": {"coreHours": "1000"}, "basis": "a year of tests"},
        }))
        .unwrap();
        let of = |percent: &str| Some((percent.parse().unwrap(), CeilingMeasureName::CoreHours));
        let verdict = within(of(allocated), of(used), &object);
        (verdict.status, verdict.reason)
    }

    #[test]
    fn the_condition_warns_at_fifteen_and_eighteen_and_says_when_it_is_reached_or_passed() {
        let no = |reason: &str| (ConditionStatus::False, reason.to_owned());
        assert_eq!(
            measured("14.99", "0.00"),
            (ConditionStatus::True, "Within".to_owned())
        );
        assert_eq!(measured("14.9999", "3.00").1, "Within");
        assert_eq!(measured("15.00", "3.00"), no("Above15"));
        assert_eq!(measured("17.99", "17.99"), no("Above15"));
        assert_eq!(measured("18.00", "1.00"), no("Above18"));
        assert_eq!(measured("20.00", "20.00"), no("Reached"));
        assert_eq!(measured("21.00", "20.0001"), no("Passed"));
    }

    #[test]
    fn what_a_grant_says_is_read_as_the_same_seconds() {
        for hours in ["20000", "0.001", "2.334", "123456789012345.12345678"] {
            let granted = seconds(hours.parse().unwrap()).unwrap();
            assert_eq!(
                seconds(exact_hours(granted).parse().unwrap()),
                Some(granted),
                "{hours}"
            );
        }
    }
}

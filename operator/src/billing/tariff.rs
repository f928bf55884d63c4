//! Tariff: says whether the tariffs of its categories follow each other day by day, and whether its tiers make sense.
//! Nothing is applied: prices are read where a month is rated.

use super::first_few;
use crate::Context;
use crate::failure::Failure;
use crate::report::{self, Verdict, is_leaving};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::Tariff;
use mesocentre_metering::{NamedTariff, TariffConflict, senseless_tiers, tariff_conflicts};
use std::sync::Arc;

/// One reconcile.
///
/// # Errors
/// When the status could not be written now.
pub async fn reconcile(tariff: Arc<Tariff>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(tariff.as_ref()) {
        return Ok(Action::await_change());
    }
    let all = gather(&context);
    let verdict = judge(&tariff.name_any(), &tariff.spec, &all);
    report::judge(&context, &tariff, &verdict).await?;
    Ok(Action::await_change())
}

/// All tariffs that stay.
pub fn gather(context: &Context) -> Vec<NamedTariff> {
    let tariffs = context.stores.tariffs.state();
    let staying = tariffs.iter().filter(|tariff| !is_leaving(tariff.as_ref()));
    staying
        .map(|tariff| NamedTariff {
            name: tariff.name_any(),
            spec: tariff.spec.clone(),
        })
        .collect()
}

fn judge(name: &str, spec: &mesocentre_api::TariffSpec, all: &[NamedTariff]) -> Verdict {
    let senseless = senseless_tiers(spec);
    if let Some(priced) = senseless.first() {
        return Verdict::no(
            "SenselessTiers",
            format!(
                "the bounds of the tiers of {priced} do not rise, so nothing used of it could be billed: a tariff's prices do not change, so delete {name} and write one in which each upTo is above the one before and the last tier has none"
            ),
        );
    }
    let conflicts: Vec<TariffConflict> = tariff_conflicts(all)
        .into_iter()
        .filter(|conflict| conflict.concerns(name))
        .collect();
    match conflicts.first() {
        None => {
            let categories: Vec<&str> = spec.categories.iter().map(|category| category.as_str()).collect();
            Verdict::yes(
                "InOrder",
                format!(
                    "it prices the use of {} from {} to {}, both days included",
                    categories.join(", "),
                    spec.valid_from,
                    spec.valid_until
                ),
            )
        }
        Some(TariffConflict::Overlap { .. }) => Verdict::no("Overlap", first_few(&conflicts, "; ")),
        Some(TariffConflict::Gap { .. }) => Verdict::no("Gap", first_few(&conflicts, "; ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use mesocentre_api::ConditionStatus;
    use serde_json::json;

    fn tariff(name: &str, from: &str, until: &str) -> NamedTariff {
        let spec = json!({
            "currency": "EUR", "validFrom": from, "validUntil": until, "categories": ["University"],
            "vat": {"rate": "20"}, "prices": [{"meter": "compute.core-hours", "unitPrice": "0.0120"}],
        });
        NamedTariff {
            name: name.into(),
            spec: serde_json::from_value(spec).unwrap(),
        }
    }

    fn judged(name: &str, all: &[NamedTariff]) -> Verdict {
        let spec = &all.iter().find(|tariff| tariff.name == name).unwrap().spec;
        judge(name, spec, all)
    }

    #[test]
    fn a_tariff_is_not_ready_while_another_covers_one_of_its_days() {
        let all = [
            tariff("a", "2026-01-01", "2026-12-31"),
            tariff("b", "2026-12-01", "2027-12-31"),
            tariff("c", "2028-01-01", "2028-12-31"),
        ];
        for concerned in ["a", "b"] {
            let verdict = judged(concerned, &all);
            assert_eq!(
                (verdict.status, verdict.reason.as_str()),
                (ConditionStatus::False, "Overlap")
            );
            assert!(verdict.message.contains("end a before b begins"), "{verdict:?}");
        }
        assert_eq!(judged("c", &all).status, ConditionStatus::True);
    }

    #[test]
    fn both_sides_of_a_gap_say_so() {
        let all = [
            tariff("a", "2026-01-01", "2026-06-30"),
            tariff("b", "2026-08-01", "2026-12-31"),
        ];
        for concerned in ["a", "b"] {
            let verdict = judged(concerned, &all);
            assert_eq!(
                (verdict.status, verdict.reason.as_str()),
                (ConditionStatus::False, "Gap")
            );
            assert!(
                verdict.message.contains("from 2026-07-01 to 2026-07-31"),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn tiers_that_fall_are_told_before_anybody_uses_them() {
        let mut falling = tariff("a", "2026-01-01", "2026-12-31");
        falling.spec.prices = serde_json::from_value(json!([{"meter": "compute.core-hours", "tiers": [
            {"upTo": "10", "unitPrice": "1"}, {"upTo": "5", "unitPrice": "1"}, {"unitPrice": "1"}]}]))
        .unwrap();
        let verdict = judged("a", &[falling]);
        assert_eq!(
            (verdict.status, verdict.reason.as_str()),
            (ConditionStatus::False, "SenselessTiers")
        );
    }
}

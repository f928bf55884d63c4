//! CoInvestment: says whether its rights can be counted: the tenants that it names are there, and its terms make sense.
//! Nothing is applied: rights are counted where a month is rated.

use super::unknown_tenants;
use crate::Context;
use crate::failure::Failure;
use crate::report::{self, Verdict, is_leaving};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::{CoInvestment, CoInvestmentSpec};
use mesocentre_metering::rights::rights_of_month;
use mesocentre_metering::{BillingMonth, DatacentreZone, NamedCoInvestment};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One reconcile.
///
/// # Errors
/// When the status could not be written now.
pub async fn reconcile(of: Arc<CoInvestment>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(of.as_ref()) {
        return Ok(Action::await_change());
    }
    let tenants = context.stores.tenants.state();
    let tenants: BTreeSet<String> = tenants.iter().map(|tenant| tenant.name_any()).collect();
    let verdict = judge(&of.name_any(), &of.spec, &tenants, &context.zone);
    report::judge(&context, &of, &verdict).await?;
    Ok(Action::await_change())
}

fn judge(name: &str, spec: &CoInvestmentSpec, tenants: &BTreeSet<String>, zone: &DatacentreZone) -> Verdict {
    let of = NamedCoInvestment {
        name: name.to_owned(),
        spec: spec.clone(),
    };
    // Its first and its last month: what can be told of its terms ahead.
    for day in [spec.valid_from, spec.valid_until] {
        let fault = match zone.month(BillingMonth::of(day)) {
            Ok(window) => rights_of_month(&of, &window).err().map(|fault| fault.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(fault) = fault {
            return Verdict::no("CannotBeCounted", fault);
        }
    }
    let named = spec.shares.iter().map(|share| share.tenant.as_str());
    if let Some(unknown) = unknown_tenants(named, tenants, "who has a right in this co-investment") {
        return unknown;
    }
    let lent = match spec.lending_price {
        Some(price) => format!(
            "; what is left unused and others use brings back {price} EUR for one of {}",
            spec.meter.as_str()
        ),
        None => "; what is left unused is not lent".to_owned(),
    };
    Verdict::yes(
        "Counted",
        format!(
            "{} tenants may use a twelfth of {} {} each month by their weights{lent}",
            spec.shares.len(),
            spec.annual_capacity,
            spec.meter.as_str()
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_co_investment_is_counted_once_its_tenants_are_there_and_over_whole_months_only() {
        let mut spec: CoInvestmentSpec = serde_json::from_value(json!({
            "description": "Nœuds GPU", "decision": "CA du 3 mars", "meter": "compute.gpu-hours", "annualCapacity": "70080",
            "validFrom": "2026-01-01", "validUntil": "2026-12-31", "lendingPrice": "0.40",
            "shares": [{"tenant": "univ-caen", "weight": 2}, {"tenant": "chu-rouen", "weight": 1}],
        }))
        .unwrap();
        let zone = DatacentreZone::named("Europe/Paris").unwrap();
        let tenants = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let all: BTreeSet<String> = tenants(&["univ-caen", "chu-rouen"]);
        let said = judge("gpu", &spec, &all, &zone);
        assert_eq!(
            said.message,
            "2 tenants may use a twelfth of 70080 compute.gpu-hours each month by their weights; what is left unused and others use brings back 0.40 EUR for one of compute.gpu-hours"
        );
        let unknown = judge("gpu", &spec, &tenants(&["univ-caen"]), &zone);
        assert_eq!(unknown.reason, "UnknownTenant");
        assert!(
            unknown
                .message
                .starts_with("there is no tenant chu-rouen; make it"),
            "{unknown:?}"
        );
        spec.valid_until = "2026-12-15".parse().unwrap();
        assert_eq!(judge("gpu", &spec, &all, &zone).reason, "CannotBeCounted");
    }
}

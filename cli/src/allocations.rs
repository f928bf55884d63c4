//! `meso allocations`: hours granted, used and left.

use crate::batch_jobs::list_all;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use crate::output::{self, FormatArgument, List, machine_readable};
use crate::table::{Align, Table};
use clap::Args;
use kube::{Api, ResourceExt};
use mesocentre_api::{Allocation, ConditionStatus, READY, find_condition};

/// What `allocations` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The tenant [default: the namespace's]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    place: Place,
}

/// Lists the tenant's allocations.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let home = match &options.tenant {
        Some(tenant) => tenant,
        None => connection.home()?,
    };
    let api: Api<Allocation> = Api::namespaced(connection.client.clone(), home);
    let allocations = list_all(&api, &format!("listing the allocations of {home}")).await?;
    if let Some(text) = machine_readable(options.format.format, &List::of(&allocations))? {
        return output::print(&text);
    }
    if allocations.is_empty() {
        return output::print(&format!(
            "{home} has no allocation: its Owners ask the administrators for hours\n"
        ));
    }
    output::print(&table(&allocations).render(output::terminal_width()))
}

fn table(allocations: &[Allocation]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("SCHEDULER", Align::Left),
        ("CORE-HOURS", Align::Right),
        ("USED", Align::Right),
        ("LEFT", Align::Right),
        ("HELD", Align::Right),
        ("GPU-HOURS", Align::Right),
        ("USED", Align::Right),
        ("USED-%", Align::Right),
        ("FORECAST-%", Align::Right),
        ("UNTIL", Align::Left),
        ("READY", Align::Left),
        ("WHY", Align::Left),
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for allocation in allocations {
        let (spec, status) = (&allocation.spec, allocation.status.clone().unwrap_or_default());
        let of = |type_| find_condition(&status.conditions, type_);
        let ready = of(READY);
        table.row(vec![
            allocation.name_any(),
            spec.scheduler.clone(),
            or_dash(spec.budget.core_hours.map(|hours| hours.to_string())),
            or_dash(status.used_core_hours.clone()),
            or_dash(status.remaining_core_hours.clone()),
            or_dash(status.held_core_hours.clone()),
            or_dash(spec.budget.gpu_hours.map(|hours| hours.to_string())),
            or_dash(status.used_gpu_hours.clone()),
            or_dash(status.used_percent.clone()),
            or_dash(status.forecast_percent.clone()),
            spec.valid_until.to_string(),
            ready.map_or("Unknown", |ready| ready.status.as_str()).to_owned(),
            // Why it cannot be used comes before how little is left.
            [
                ready,
                of("WithinBudget"),
                of("CarriedOver"),
                of("Reserved"),
                of("Reconciled"),
            ]
            .into_iter()
            .flatten()
            .find(|condition| condition.status != ConditionStatus::True)
            .map(|condition| condition.message.clone())
            .unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_says_what_is_left_and_why_it_is_not_ready() {
        let allocation: Allocation = serde_json::from_value(serde_json::json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Allocation",
            "metadata": {"name": "climate-2026", "namespace": "univ-caen"},
            "spec": {"scheduler": "austral", "title": "x", "validFrom": "2026-01-01", "validUntil": "2026-12-31",
                     "budget": {"coreHours": "50000"}},
            "status": {"usedCoreHours": "20.000278", "remainingCoreHours": "49979.999722", "heldCoreHours": "8.000000", "usedPercent": "0.04",
                       "forecastPercent": "0.05", "conditions": [
                {"type": "Ready", "status": "False", "reason": "SchedulerDown", "message": "slurmctld does not answer",
                 "lastTransitionTime": "2026-11-24T10:00:00Z"}]},
        }))
        .unwrap();
        let shown = table(&[allocation]).render(None);
        let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            row,
            [
                "climate-2026",
                "austral",
                "50000",
                "20.000278",
                "49979.999722",
                "8.000000",
                "-",
                "-",
                "0.04",
                "0.05",
                "2026-12-31",
                "False",
                "slurmctld",
                "does",
                "not",
                "answer"
            ]
        );
    }
}

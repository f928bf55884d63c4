//! `meso ceiling`: how much of a year's capacity goes to economic use, with what it rests on, in French with English beside.
//!
//! For who answers to a funding authority; reading it takes an administrator's rights. Numbers are shown as the operator
//! counted them.

use crate::batch_jobs::list_all;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use crate::french_number::{french, french_percent};
use crate::output::{self, FormatArgument, machine_readable};
use crate::table::{Align, Table};
use clap::Args;
use kube::{Api, ResourceExt};
use mesocentre_api::{CeilingMeasureName, ConditionStatus, EconomicCeiling, find_condition};

/// What `ceiling` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The year, for example 2026 [default: the latest]
    #[arg(value_name = "YEAR")]
    year: Option<i32>,
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    place: Place,
}

/// Shows the ceiling of a year.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.clone().or(before)).await?;
    let api: Api<EconomicCeiling> = Api::all(connection.client.clone());
    let mut all = list_all(&api, "listing the ceilings on economic use").await?;
    all.retain(|ceiling| options.year.is_none_or(|year| ceiling.spec.year == year));
    // Of two for one year, the one that holds was made first.
    all.sort_by_key(|ceiling| {
        let made = ceiling.metadata.creation_timestamp.clone().map(|made| made.0);
        (std::cmp::Reverse(ceiling.spec.year), made, ceiling.name_any())
    });
    let Some(mut ceiling) = all.into_iter().next() else {
        return Err(Failure::NotFound(match options.year {
            Some(year) => format!(
                "no ceiling on economic use is set for {year}: write an EconomicCeiling with spec.year {year}, or name a year that kubectl get economicceilings shows"
            ),
            None => {
                "no ceiling on economic use is set: write an EconomicCeiling, as docs/administrator.md says"
                    .to_owned()
            }
        }));
    };
    ceiling.metadata.managed_fields = None;
    let text = match machine_readable(options.format.format, &ceiling)? {
        Some(text) => text,
        None => describe(&ceiling),
    };
    output::print(&text)
}

fn describe(ceiling: &EconomicCeiling) -> String {
    let (spec, status) = (&ceiling.spec, ceiling.status.clone().unwrap_or_default());
    let mut text = format!(
        "Plafond d'usage économique / Ceiling on economic use  {}  {}\n",
        spec.year,
        french_percent(&spec.percent.to_string())
    );
    for type_ in ["Ready", "WithinCeiling"] {
        if let Some(condition) = find_condition(&status.conditions, type_)
            && (type_ != "Ready" || condition.status != ConditionStatus::True)
        {
            text.push_str(&format!("{}\n", condition.message));
        }
    }
    text.push('\n');
    let mut measures = Table::new(&[
        ("Mesure / Measure", Align::Left),
        ("Capacité / Capacity", Align::Right),
        ("Alloué / Allocated", Align::Right),
        ("", Align::Right),
        ("Consommé / Used", Align::Right),
        ("", Align::Right),
        ("Prévision / Forecast", Align::Right),
        ("Non économique / Non-economic", Align::Right),
    ]);
    for measure in &status.measures {
        let name = match measure.name {
            CeilingMeasureName::CoreHours => "heures-cœur / core-hours",
            CeilingMeasureName::GpuHours => "heures-GPU / GPU-hours",
            CeilingMeasureName::Weighted => "pondéré / weighted",
        };
        measures.row(vec![
            format!("{name}{}", if measure.decides { " *" } else { "" }),
            french(&measure.capacity),
            french(&measure.allocated),
            french_percent(&measure.allocated_percent),
            french(&measure.used),
            french_percent(&measure.used_percent),
            measure
                .forecast_percent
                .as_deref()
                .map_or_else(|| "—".to_owned(), french_percent),
            french(&measure.non_economic_used),
        ]);
    }
    text.push_str(&measures.render(None));
    text.push_str("* décide / decides\n\n");

    let mut grants = Table::new(&[
        ("Allocation", Align::Left),
        ("Heures-cœur / Core-hours", Align::Right),
        ("consommées / used", Align::Right),
        ("Heures-GPU / GPU-hours", Align::Right),
        ("consommées / used", Align::Right),
        ("Motif / Because", Align::Left),
    ]);
    for grant in &status.grants {
        let refused = grant
            .refused
            .as_ref()
            .map_or_else(String::new, |why| format!("; refusé / refused: {why}"));
        grants.row(vec![
            grant.allocation.clone(),
            french(&grant.core_hours),
            french(&grant.used_core_hours),
            french(&grant.gpu_hours),
            french(&grant.used_gpu_hours),
            format!("{}{refused}", grant.because),
        ]);
    }
    if status.grants.is_empty() {
        text.push_str("(aucune allocation économique / no economic allocation)\n");
    } else {
        text.push_str(&grants.render(None));
    }
    text.push_str(&format!(
        "\nBase de la capacité / Basis of the capacity: {}\n",
        spec.basis
    ));
    if let Some(mark) = &status.ledger {
        text.push_str(&format!(
            "Registre / Ledger: {} enregistrements / records, {}\n",
            french(&mark.records.to_string()),
            mark.hash
        ));
    }
    text.push_str(
        "2022/C 414/01, point 21. Le classement d'une activité est la décision d'une personne, pas du logiciel. /\n\
         Whether an activity is economic is a person's decision, not the software's.\n",
    );
    text
}

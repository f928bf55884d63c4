//! `meso billing simulate`: what a month would have cost by other tariffs, keys or categories, from its real use.
//!
//! Reads the ledger and files, and asks nobody: a closed month is simulated from what it rested on, which the ledger keeps;
//! of one that is open the files say what it rests on.

use crate::failure::Failure;
use crate::french_number::french_money;
use crate::ledger_verify::the_ledger;
use crate::output::{self, Format, FormatArgument, machine_readable};
use crate::table::{Align, Table};
use clap::Args;
use mesocentre_api::{CoInvestmentSpec, CostPoolSpec, TariffSpec, TenantSpec};
use mesocentre_metering::{
    BillingMonth, Cents, Ledger, NamedCoInvestment, NamedPool, NamedTariff, Rated, RatedTenant, RatingBasis,
    recorded_basis, simulate,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What `billing simulate` takes.
#[derive(Args, Debug)]
#[command(
    after_help = "FILEs hold Tariffs, CostPools, CoInvestments and Tenants as kubectl writes them (a List too); one of a name that the month rests on takes its place. Of an open month they must hold all: kubectl get tenants,tariffs,costpools,coinvestments -o yaml > all.yaml, then --with all.yaml --with changed.yaml."
)]
pub struct Options {
    /// The month, for example 2026-11
    #[arg(value_name = "MONTH")]
    month: String,
    /// The ledger, for example sqlite:///var/lib/mesocentre/ledger.db or postgresql://USER@HOST/DATABASE
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL", hide_env_values = true)]
    ledger: String,
    /// What is otherwise; may be repeated, the last of a name holds
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// What is left out: tariff/NAME, costpool/NAME or coinvestment/NAME; may be repeated
    #[arg(long, value_name = "KIND/NAME")]
    without: Vec<String>,
    /// The datacentre's time zone, of a month that is open
    #[arg(long, value_name = "ZONE", default_value = "Europe/Paris")]
    time_zone: String,
    #[command(flatten)]
    format: FormatArgument,
}

/// A tenant's net amount, as it was and as it would be.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Compared {
    tenant: String,
    was: Cents,
    would_be: Cents,
    difference: Cents,
}

/// What came of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Simulation {
    month: String,
    changed: Vec<String>,
    tenants: Vec<Compared>,
    was: Cents,
    would_be: Cents,
    difference: Cents,
}

/// Compares.
///
/// # Errors
/// [`Failure::Usage`] when a file cannot be read or the month not be rated by it.
pub async fn run(options: Options) -> Result<(), Failure> {
    let month: BillingMonth = options.month.parse().map_err(|_| {
        Failure::Usage(format!(
            "{} is no month: write for example 2026-11",
            options.month
        ))
    })?;
    let url = the_ledger(&options.ledger)?;
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let ledger = Ledger::open_to_read(&url).await.map_err(|error| failed(&error))?;
    let recorded = recorded_basis(&ledger, month)
        .await
        .map_err(|error| failed(&error))?;
    let is_closed = recorded.is_some();
    let before = recorded.unwrap_or_else(|| RatingBasis {
        month,
        time_zone: options.time_zone.clone(),
        tenants: Vec::new(),
        tariffs: Vec::new(),
        cost_pools: Vec::new(),
        co_investments: Vec::new(),
        acknowledged_gaps: Vec::new(),
    });
    let mut changed = BTreeSet::new();
    let mut after = before.clone();
    // Of an open month the first file is what it rests on.
    let mut files = options.with.as_slice();
    let before = if is_closed {
        before
    } else {
        let Some((first, rest)) = files.split_first() else {
            return Err(Failure::Usage(format!(
                "{month} is open, and the ledger does not say yet what it rests on: kubectl get tenants,tariffs,costpools,coinvestments -o yaml > all.yaml, and write --with all.yaml first"
            )));
        };
        files = rest;
        apply(&mut after, first, &mut BTreeSet::new())?;
        after.clone()
    };
    for file in files {
        apply(&mut after, file, &mut changed)?;
    }
    for name in &options.without {
        leave_out(&mut after, name)?;
        changed.insert(format!("− {name}"));
    }
    let rated = async |basis: &RatingBasis| -> Result<Rated, Failure> {
        let basis = basis.clone().sorted();
        let rated = simulate(&ledger, &basis)
            .await
            .map_err(|error| Failure::Usage(error.to_string()))?;
        match rated.faults.first() {
            None => Ok(rated),
            Some(fault) => Err(Failure::Usage(format!("{month} cannot be billed so: {fault}"))),
        }
    };
    let found = compare(month, changed, &rated(&before).await?, &rated(&after).await?);
    ledger.close().await;
    let text = match options.format.format {
        Format::Table => in_words(&found),
        format => machine_readable(format, &found)?.unwrap_or_default(),
    };
    output::print(&text)
}

fn nets(rated: &Rated) -> BTreeMap<String, Cents> {
    let each = rated.statements.iter();
    each.filter_map(|one| {
        let net = one.status.totals.net.parse().ok().and_then(Cents::from_decimal)?;
        Some((one.tenant.clone(), net))
    })
    .collect()
}

fn compare(month: BillingMonth, changed: BTreeSet<String>, was: &Rated, would_be: &Rated) -> Simulation {
    let (was, would_be) = (nets(was), nets(would_be));
    let names: BTreeSet<&String> = was.keys().chain(would_be.keys()).collect();
    let of = |all: &BTreeMap<String, Cents>, name: &String| all.get(name).copied().unwrap_or_default();
    let sum = |all: &BTreeMap<String, Cents>| all.values().copied().sum::<Cents>();
    Simulation {
        month: month.to_string(),
        changed: changed.into_iter().collect(),
        tenants: names
            .into_iter()
            .map(|name| Compared {
                tenant: name.clone(),
                was: of(&was, name),
                would_be: of(&would_be, name),
                difference: of(&would_be, name) - of(&was, name),
            })
            .collect(),
        was: sum(&was),
        would_be: sum(&would_be),
        difference: sum(&would_be) - sum(&was),
    }
}

fn in_words(found: &Simulation) -> String {
    let changed = if found.changed.is_empty() {
        "rien / nothing".to_owned()
    } else {
        found.changed.join(", ")
    };
    let mut text = format!(
        "Simulation  {}\nModifié / Changed  {changed}\nMontants hors taxe ; rien n'est enregistré / Net amounts; nothing is recorded\n\n",
        found.month
    );
    let mut table = Table::new(&[
        ("Établissement / Tenant", Align::Left),
        ("Tel quel / As it was", Align::Right),
        ("Simulé / Simulated", Align::Right),
        ("Écart / Difference", Align::Right),
    ]);
    let money = |amount: Cents| french_money(&amount.to_string(), "EUR");
    for one in &found.tenants {
        table.row(vec![
            one.tenant.clone(),
            money(one.was),
            money(one.would_be),
            money(one.difference),
        ]);
    }
    table.row(vec![
        "Total".to_owned(),
        money(found.was),
        money(found.would_be),
        money(found.difference),
    ]);
    text += &table.render(output::terminal_width());
    text
}

/// An object of a file, as far as it counts here.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: serde_yaml::Value,
    #[serde(default)]
    items: Vec<Object>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

fn apply(basis: &mut RatingBasis, file: &Path, changed: &mut BTreeSet<String>) -> Result<(), Failure> {
    let wrong = |why: String| Failure::Usage(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    for document in serde_yaml::Deserializer::from_str(&text) {
        let object = Option::<Object>::deserialize(document).map_err(|error| wrong(error.to_string()))?;
        for object in object.into_iter().flat_map(flat) {
            apply_one(basis, object, changed).map_err(wrong)?;
        }
    }
    Ok(())
}

/// A List is what is in it.
fn flat(mut object: Object) -> Vec<Object> {
    let items = std::mem::take(&mut object.items);
    if object.kind == "List" {
        items.into_iter().flat_map(flat).collect()
    } else {
        vec![object]
    }
}

fn apply_one(basis: &mut RatingBasis, object: Object, changed: &mut BTreeSet<String>) -> Result<(), String> {
    let Object {
        kind,
        metadata: Metadata { name },
        spec,
        ..
    } = object;
    let wrong = |error: serde_yaml::Error| format!("the {kind} {name}: {error}");
    match kind.as_str() {
        "Tariff" => {
            let spec: TariffSpec = serde_yaml::from_value(spec).map_err(wrong)?;
            basis.tariffs.retain(|other| other.name != name);
            changed.insert(format!("Tariff {name}"));
            basis.tariffs.push(NamedTariff { name, spec });
        }
        "CostPool" => {
            let spec: CostPoolSpec = serde_yaml::from_value(spec).map_err(wrong)?;
            basis.cost_pools.retain(|other| other.name != name);
            changed.insert(format!("CostPool {name}"));
            basis.cost_pools.push(NamedPool { name, spec });
        }
        "CoInvestment" => {
            let spec: CoInvestmentSpec = serde_yaml::from_value(spec).map_err(wrong)?;
            basis.co_investments.retain(|other| other.name != name);
            changed.insert(format!("CoInvestment {name}"));
            basis.co_investments.push(NamedCoInvestment { name, spec });
        }
        "Tenant" => {
            let spec: TenantSpec = serde_yaml::from_value(spec).map_err(wrong)?;
            basis.tenants.retain(|other| other.name != name);
            changed.insert(format!("Tenant {name}"));
            basis.tenants.push(RatedTenant {
                name,
                category: spec.category,
            });
        }
        other => {
            return Err(format!(
                "a simulation takes Tariffs, CostPools, CoInvestments and Tenants, and {other:?} is none of them: leave it out of the file"
            ));
        }
    }
    Ok(())
}

fn leave_out(basis: &mut RatingBasis, named: &str) -> Result<(), Failure> {
    let none = || {
        Failure::Usage(format!(
            "--without {named}: the month rests on nothing of that name; write tariff/NAME, costpool/NAME or coinvestment/NAME of one that it does"
        ))
    };
    let (kind, name) = named.split_once('/').ok_or_else(none)?;
    let count = |basis: &RatingBasis| {
        (
            basis.tariffs.len(),
            basis.cost_pools.len(),
            basis.co_investments.len(),
        )
    };
    let before = count(basis);
    match kind.to_ascii_lowercase().as_str() {
        "tariff" => basis.tariffs.retain(|tariff| tariff.name != name),
        "costpool" => basis.cost_pools.retain(|pool| pool.name != name),
        "coinvestment" => basis.co_investments.retain(|of| of.name != name),
        _ => {}
    }
    if count(basis) == before {
        return Err(none());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis() -> RatingBasis {
        let mut basis = RatingBasis {
            month: "2026-11".parse().unwrap(),
            time_zone: "Europe/Paris".to_owned(),
            tenants: Vec::new(),
            tariffs: Vec::new(),
            cost_pools: Vec::new(),
            co_investments: Vec::new(),
            acknowledged_gaps: Vec::new(),
        };
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let folder = tempfile::tempdir().unwrap();
        // The examples' own, but for what is neither.
        for file in ["20-tenants.yaml", "70-billing.yaml"] {
            let text = fs::read_to_string(examples.join(file)).unwrap();
            let kept: Vec<&str> = text
                .split("---\n")
                .filter(|one| {
                    ["kind: Tenant\n", "kind: Tariff\n", "kind: CostPool\n"]
                        .iter()
                        .any(|kind| one.contains(kind))
                })
                .collect();
            let at = folder.path().join(file);
            fs::write(&at, kept.join("---\n")).unwrap();
            apply(&mut basis, &at, &mut BTreeSet::new()).unwrap();
        }
        basis
    }

    #[test]
    fn what_a_file_has_takes_the_place_of_what_has_its_name() {
        let mut basis = basis();
        let counts = |basis: &RatingBasis| (basis.tenants.len(), basis.tariffs.len(), basis.cost_pools.len());
        let before = counts(&basis);
        assert!(before.0 >= 3 && before.1 >= 2 && before.2 >= 1, "{before:?}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.json");
        let pool = &basis.cost_pools[0];
        let list = serde_json::json!({"kind": "List", "items": [
            {"kind": "CostPool", "metadata": {"name": pool.name}, "spec": pool.spec},
        ]});
        fs::write(&file, list.to_string()).unwrap();
        let mut changed = BTreeSet::new();
        apply(&mut basis, &file, &mut changed).unwrap();
        assert_eq!(counts(&basis), before);
        assert_eq!(changed.len(), 1);

        fs::write(&file, "kind: Pod\nmetadata: {name: x}\n").unwrap();
        let told = apply(&mut basis, &file, &mut changed).unwrap_err().to_string();
        assert!(told.contains("\"Pod\" is none of them"), "{told}");
    }

    #[test]
    fn what_is_left_out_must_be_there() {
        let mut basis = basis();
        let pool = format!("costpool/{}", basis.cost_pools[0].name);
        leave_out(&mut basis, &pool).unwrap();
        for wrong in [pool.as_str(), "pods/x", "tariff"] {
            assert!(
                leave_out(&mut basis, wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("rests on nothing"),
                "{wrong}"
            );
        }
    }
}

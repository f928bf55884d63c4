//! `meso statement`: what a tenant owes for a month, as an accountant reads it, in French with English beside.
//!
//! Amounts are shown digit for digit as the statement says them; nothing is added up here.

use crate::api_answer;
use crate::batch_jobs::list_all;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use crate::french_number::{french, french_money, french_percent};
use crate::output::{self, Format, FormatArgument, List, machine_readable};
use crate::statement_rows::{self, computed};
use crate::table::{Align, Table};
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use kube::{Api, ResourceExt};
use mesocentre_api::{
    LineKind, Meter, Statement, StatementLine, StatementPeriod, StatementState, StatementStatus,
};

/// What `statement` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The month, for example 2026-11 [default: the latest]
    #[arg(value_name = "MONTH")]
    month: Option<String>,
    /// The tenant [default: the namespace's]
    #[arg(long, value_name = "TENANT", conflicts_with = "all_tenants")]
    tenant: Option<String>,
    /// The statements of all tenants for the month, for who keeps the datacentre's accounts
    #[arg(long)]
    all_tenants: bool,
    #[command(flatten)]
    format: FormatArgument<StatementFormat>,
    /// The datacentre, as FOCUS rows name it
    #[arg(long, value_name = "NAME", default_value = "Mesocentre")]
    issuer: String,
    #[command(flatten)]
    place: Place,
}

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum StatementFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs, and people.
    Yaml,
    /// The lines, as a French spreadsheet opens them.
    Csv,
    /// FOCUS 1.2, as tools read it that compare clouds: CSV.
    Focus,
}

/// Shows the statement.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.clone().or(before)).await?;
    let statements = if options.all_tenants {
        of_all_tenants(&connection, options.month.as_deref()).await?
    } else {
        vec![of_one(&connection, &options).await?]
    };
    let table = |format| match statements.as_slice() {
        [statement] if !options.all_tenants => machine_readable(format, statement),
        all => machine_readable(format, &List::of(all)),
    };
    let text = match options.format.format {
        StatementFormat::Json => table(Format::Json)?.unwrap_or_default(),
        StatementFormat::Yaml => table(Format::Yaml)?.unwrap_or_default(),
        StatementFormat::Csv => statement_rows::lines(&computed(&statements)?)?,
        StatementFormat::Focus => statement_rows::focus(&computed(&statements)?, &options.issuer)?,
        StatementFormat::Table => computed(&statements)?
            .into_iter()
            .map(|(tenant, status)| describe(tenant, status))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    output::print(&text)
}

async fn of_one(connection: &Connection, options: &Options) -> Result<Statement, Failure> {
    let home = connection.home_of_tenant(options.tenant.as_deref())?;
    let api: Api<Statement> = Api::namespaced(connection.client.clone(), home);
    match &options.month {
        Some(month) => {
            let mut statement = api
                .get(month)
                .await
                .map_err(|error| api_answer::failure(&format!("reading the statement of {home}"), &error))?;
            statement.metadata.managed_fields = None;
            Ok(statement)
        }
        // Months are the names, and sort as they follow each other.
        None => list_all(&api, &format!("listing the statements of {home}"))
            .await?
            .into_iter()
            .max_by_key(ResourceExt::name_any)
            .ok_or_else(|| {
                Failure::NotFound(format!(
                    "{home} has no statement yet: the first stands once a billing period has begun"
                ))
            }),
    }
}

/// Those of a month, or of the latest, in the order of the tenants' names.
async fn of_all_tenants(connection: &Connection, month: Option<&str>) -> Result<Vec<Statement>, Failure> {
    let api: Api<Statement> = Api::all(connection.client.clone());
    let mut all = list_all(&api, "listing the statements of all tenants").await?;
    let month = match month {
        Some(month) => month.to_owned(),
        None => all.iter().map(ResourceExt::name_any).max().unwrap_or_default(),
    };
    all.retain(|statement| statement.name_any() == month);
    all.sort_by_key(ResourceExt::namespace);
    if all.is_empty() {
        return Err(Failure::NotFound(format!(
            "no tenant has a statement for {month}: name a month that kubectl get billingperiods shows"
        )));
    }
    Ok(all)
}

fn describe(tenant: &str, status: &StatementStatus) -> String {
    let currency = status.currency.as_str();
    let state = match status.state {
        StatementState::Provisional => "PROVISOIRE / Provisional",
        StatementState::Final => "DÉFINITIF / Final",
    };
    let mut text = format!(
        "Décompte / Statement  {tenant}  {}  {state}\nPériode / Period      {}\n\n",
        status.period.month,
        days(&status.period)
    );

    let mut lines = Table::new(&[
        ("Désignation / Item", Align::Left),
        ("Quantité / Quantity", Align::Right),
        ("Prix unitaire / Unit price", Align::Right),
        ("TVA / VAT", Align::Right),
        ("Montant HT / Net", Align::Right),
    ]);
    for line in &status.lines {
        lines.row(vec![
            item(line),
            line.quantity.as_deref().map(french).unwrap_or_default(),
            line.unit_price
                .as_deref()
                .map(|price| french_money(price, currency))
                .unwrap_or_default(),
            line.vat_rate.as_deref().map(french_percent).unwrap_or_default(),
            french_money(&line.amount, currency),
        ]);
    }
    text.push_str(&lines.render(None));
    if status.lines.is_empty() {
        text.push_str("(aucune ligne / no line)\n");
    }

    let mut totals = Table::new(&[("", Align::Left), ("", Align::Right)]);
    totals.row(vec![
        "Total HT / Net".to_owned(),
        french_money(&status.totals.net, currency),
    ]);
    for vat in &status.totals.vat {
        totals.row(vec![
            format!(
                "TVA / VAT {} (base {})",
                french_percent(&vat.rate),
                french_money(&vat.base, currency)
            ),
            french_money(&vat.amount, currency),
        ]);
    }
    totals.row(vec![
        "Total TTC / Gross".to_owned(),
        french_money(&status.totals.gross, currency),
    ]);
    text.push_str(&totals.render(None));

    text.push_str(&format!(
        "\n{} relevés d'usage / usage records; registre / ledger {}\n",
        status.ledger.records, status.ledger.head
    ));
    for condition in status
        .conditions
        .iter()
        .filter(|condition| condition.status != mesocentre_api::ConditionStatus::True)
    {
        text.push_str(&format!("{}: {}\n", condition.type_, condition.message));
    }
    text
}

/// First and last day, both included.
fn days(period: &StatementPeriod) -> String {
    let Ok(zone) = TimeZone::get(&period.time_zone) else {
        return format!("{} – {}", period.from, period.to);
    };
    let last = period.to - jiff::SignedDuration::from_secs(1);
    format!(
        "du {} au {} inclus / both days included ({})",
        period.from.to_zoned(zone.clone()).strftime("%d/%m/%Y"),
        last.to_zoned(zone).strftime("%d/%m/%Y"),
        period.time_zone
    )
}

fn item(line: &StatementLine) -> String {
    let mut words = match line.kind {
        LineKind::Usage => String::new(),
        LineKind::Credit if line.co_investment.is_some() => {
            "Droit de co-investissement / Co-investor's right".to_owned()
        }
        LineKind::Credit if line.reserved => {
            "Compris dans la capacité réservée / Within the reserved capacity".to_owned()
        }
        LineKind::Credit => "Avoir / Credit".to_owned(),
        LineKind::Lent => "Droits prêtés / Rights lent".to_owned(),
        LineKind::CostShare => "Part de mutualisation / Cost share".to_owned(),
        LineKind::TrueUp => "Régularisation / True-up".to_owned(),
        LineKind::Correction => format!("Correction {}", line.corrects.as_deref().unwrap_or_default()),
    };
    let mut add = |text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            if !words.is_empty() {
                words.push_str(", ");
            }
            words.push_str(&text);
        }
    };
    add(line.meter.map(|meter| in_words(meter).to_owned()));
    add(line.model.clone());
    add(line.allocation.clone());
    add(line.cost_pool.clone());
    add(line.co_investment.clone());
    add(line.description.clone());
    add(line.tariff.as_ref().map(|tariff| match line.tier {
        Some(tier) => format!("{tariff} tranche/tier {tier}"),
        None => tariff.clone(),
    }));
    words
}

fn in_words(meter: Meter) -> &'static str {
    match meter {
        Meter::ComputeCoreHours => "Heures de cœur / Core-hours",
        Meter::ComputeGpuHours => "Heures de GPU / GPU-hours",
        Meter::ComputeReservedCoreHours => "Heures de cœur réservées / Reserved core-hours",
        Meter::ComputeReservedGpuHours => "Heures de GPU réservées / Reserved GPU-hours",
        Meter::ClusterCpuHours => "Heures de CPU du cluster / Cluster CPU-hours",
        Meter::ClusterMemoryGibHours => "Gio-heures de mémoire / Memory GiB-hours",
        Meter::ClusterGpuHours => "Heures de GPU du cluster / Cluster GPU-hours",
        Meter::ClusterDeviceHours => "Heures d'équipement du cluster / Cluster device-hours",
        Meter::StorageGibMonths => "Gio-mois de stockage / Storage GiB-months",
        Meter::EnergyKwh => "Électricité, kWh / Electricity, kWh",
        Meter::ColocationUMonths => "U-mois en baie / Rack unit-months",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accountant_reads_the_statement_in_french_form() {
        let statement: Statement = serde_json::from_value(serde_json::json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Statement",
            "metadata": {"name": "2026-11", "namespace": "univ-caen"},
            "status": {
                "state": "Provisional", "currency": "EUR",
                "period": {"month": "2026-11", "from": "2026-10-31T23:00:00Z", "to": "2026-11-30T23:00:00Z", "timeZone": "Europe/Paris"},
                "lines": [
                    {"kind": "Usage", "meter": "compute.core-hours", "allocation": "climate-2026", "tariff": "public-2026",
                     "quantity": "20.000278", "unitPrice": "0.0120", "amount": "0.24", "vatRate": "20", "records": 22},
                    {"kind": "CostShare", "costPool": "datacentre-2026", "description": "Bâtiment", "amount": "18240.00", "vatRate": "20"},
                    {"kind": "Correction", "corrects": "2026-10", "meter": "compute.gpu-hours", "amount": "-1.00"},
                ],
                "totals": {"net": "18239.24", "vat": [{"rate": "20", "base": "18239.24", "amount": "3647.85"}], "gross": "21887.09"},
                "ledger": {"records": 22, "head": "9f2c"},
            },
        }))
        .unwrap();
        let shown = describe("univ-caen", statement.status.as_ref().unwrap())
            .replace('\u{202f}', "_")
            .replace('\u{a0}', "~");
        assert!(
            shown.starts_with("Décompte / Statement  univ-caen  2026-11  PROVISOIRE / Provisional\n"),
            "{shown}"
        );
        assert!(shown.contains("du 01/11/2026 au 30/11/2026 inclus"), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[4].starts_with("Heures de cœur / Core-hours, climate-2026, public-2026"),
            "{shown}"
        );
        assert!(
            lines[4].contains("20,000278") && lines[4].contains("0,0120~€") && lines[4].ends_with(" 0,24~€"),
            "{shown}"
        );
        assert!(
            lines[5].contains(" 20~% ") && lines[5].ends_with(" 18_240,00~€"),
            "{shown}"
        );
        assert!(
            lines[6].starts_with("Correction 2026-10, Heures de GPU") && lines[6].ends_with("−1,00~€"),
            "{shown}"
        );
        assert!(
            shown.contains("TVA / VAT 20~% (base 18_239,24~€)   3_647,85~€\n"),
            "{shown}"
        );
        assert!(shown.contains("21_887,09~€\n\n22 relevés d'usage"), "{shown}");
    }
}

//! Statements as tables for other programs: FOCUS for those that compare clouds, and a CSV as a French spreadsheet opens it.
//!
//! Both are made from nothing but the Statement objects, so whoever may read them needs no access to the ledger.

use crate::failure::Failure;
use kube::ResourceExt;
use mesocentre_api::{LineKind, Statement, StatementStatus};
use mesocentre_metering::focus;

/// A statement that has been computed, and whose it is.
pub type Computed<'a> = (&'a str, &'a StatementStatus);

/// All of them, or none: a table with some left out would be taken for whole.
///
/// # Errors
/// [`Failure::Failed`], when one has not been computed yet.
pub fn computed(statements: &[Statement]) -> Result<Vec<Computed<'_>>, Failure> {
    statements
        .iter()
        .map(|statement| {
            let tenant = statement.metadata.namespace.as_deref().unwrap_or_default();
            let status = statement.status.as_ref().ok_or_else(|| {
                Failure::Failed(format!(
                    "the statement {} of {tenant} has not been computed yet: try again in a minute",
                    statement.name_any()
                ))
            })?;
            Ok((tenant, status))
        })
        .collect()
}

/// FOCUS rows as CSV.
///
/// # Errors
/// [`Failure::Failed`], for a statement that is none of ours.
pub fn focus(statements: &[Computed<'_>], issuer: &str) -> Result<String, Failure> {
    focus::table(statements.iter().copied(), issuer).map_err(|error| Failure::Failed(error.to_string()))
}

/// The lines as a French spreadsheet opens them by a double click: a byte order mark, semicolons, decimal commas.
///
/// # Errors
/// [`Failure::Failed`], when it cannot be written.
pub fn lines(statements: &[Computed<'_>]) -> Result<String, Failure> {
    const HEADINGS: [&str; 17] = [
        "Organisme",
        "Mois",
        "État",
        "Nature",
        "Mesure",
        "Modèle",
        "Allocation",
        "Coût mutualisé",
        "Désignation",
        "Tarif",
        "Tranche",
        "Quantité",
        "Prix unitaire HT",
        "Montant HT",
        "Taux de TVA (%)",
        "Mois corrigé",
        "Relevés d'usage",
    ];
    let comma = |decimal: &Option<String>| decimal.as_deref().unwrap_or_default().replace('.', ",");
    let text = |text: &Option<String>| harmless(text.as_deref().unwrap_or_default());
    let rows = statements.iter().flat_map(|(tenant, status)| {
        status.lines.iter().map(move |line| {
            vec![
                (*tenant).to_owned(),
                status.period.month.clone(),
                match status.state {
                    mesocentre_api::StatementState::Provisional => "Provisoire",
                    mesocentre_api::StatementState::Final => "Définitif",
                }
                .to_owned(),
                match line.kind {
                    LineKind::Usage => "Usage",
                    LineKind::Credit => "Avoir",
                    LineKind::Lent => "Droits prêtés",
                    LineKind::CostShare => "Part de mutualisation",
                    LineKind::TrueUp => "Régularisation",
                    LineKind::Correction => "Correction",
                }
                .to_owned(),
                line.meter
                    .map(|meter| meter.as_str().to_owned())
                    .unwrap_or_default(),
                text(&line.model),
                text(&line.allocation),
                text(&line.cost_pool),
                text(&line.description),
                text(&line.tariff),
                line.tier.map(|tier| tier.to_string()).unwrap_or_default(),
                comma(&line.quantity),
                comma(&line.unit_price),
                line.amount.replace('.', ","),
                comma(&line.vat_rate),
                text(&line.corrects),
                line.records
                    .map(|records| records.to_string())
                    .unwrap_or_default(),
            ]
        })
    });
    Ok(format!("\u{feff}{}", table(&HEADINGS, rows)?))
}

/// A spreadsheet takes text that begins like a formula for one, whoever wrote it.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<String, Failure> {
    let mut writer = ::csv::WriterBuilder::new()
        .delimiter(b';')
        // RFC 4180.
        .terminator(::csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let wrong = |why: &dyn std::fmt::Display| Failure::Failed(format!("writing the table failed: {why}"));
    writer.write_record(headings).map_err(|error| wrong(&error))?;
    for row in rows {
        writer.write_record(&row).map_err(|error| wrong(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| wrong(&error))?;
    String::from_utf8(bytes).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Statement",
            "metadata": {"name": "2026-11", "namespace": "univ-caen"},
            "status": {
                "state": "Final", "currency": "EUR",
                "period": {"month": "2026-11", "from": "2026-10-31T23:00:00Z", "to": "2026-11-30T23:00:00Z", "timeZone": "Europe/Paris"},
                "lines": [
                    {"kind": "Usage", "meter": "compute.core-hours", "allocation": "climate-2026", "tariff": "public-2026",
                     "quantity": "20.000278", "baseQuantity": "72001", "unitPrice": "0.0120", "amount": "0.24", "vatRate": "20", "records": 22},
                    {"kind": "CostShare", "costPool": "datacentre-2026", "description": "=HYPERLINK(\"x\"); Bâtiment", "amount": "18240.00", "vatRate": "20"},
                ],
                "totals": {"net": "18240.24", "vat": [{"rate": "20", "base": "18240.24", "amount": "3648.05"}], "gross": "21888.29"},
                "ledger": {"records": 22, "head": "9f2c"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_french_spreadsheet_opens_the_lines_and_runs_nothing_in_them() {
        let statements = [statement()];
        let table = lines(&computed(&statements).unwrap()).unwrap();
        let rows: Vec<&str> = table.split_terminator("\r\n").collect();
        assert!(rows[0].starts_with("\u{feff}Organisme;Mois;"), "{table}");
        assert_eq!(
            rows[1],
            "univ-caen;2026-11;Définitif;Usage;compute.core-hours;;climate-2026;;;public-2026;;20,000278;0,0120;0,24;20;;22"
        );
        assert!(
            rows[2].contains(";\"'=HYPERLINK(\"\"x\"\"); Bâtiment\";") && rows[2].contains(";18240,00;20;"),
            "{table}"
        );
    }

    #[test]
    fn focus_rows_have_as_many_fields_as_there_are_columns() {
        let statements = [statement()];
        let table = focus(&computed(&statements).unwrap(), "Mésocentre").unwrap();
        let mut reader = ::csv::Reader::from_reader(table.as_bytes());
        assert_eq!(reader.headers().unwrap().len(), focus::COLUMNS.len());
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 3);
    }
}

//! Statements as rows of FOCUS, the open format in which clouds tell what they charge: for tools that already read it.
//!
//! FOCUS 1.2 (`https://focus.finops.org/focus-specification/v1-2/`), the dataset *Cost and Usage*, with the columns of 1.3
//! for shared costs and columns of our own under `x_`, by which a row is found in its statement. A line of a statement is
//! one row and each VAT rate one more, so that
//!
//! - `BilledCost` of a month's rows sums to the statement's gross, and without those of category `Tax` to its net;
//! - `ContractedCost` and `ListCost` are the exact product of quantity and price, to twelve decimals of the quantity,
//!   before the line is rounded to the cent: that once is the difference to `BilledCost`.
//!
//! Texts are in ASCII, as FOCUS wants strings: `é` is `e`. Pure. What is not known (regions, zones, commitments) has no column: FOCUS wants those only of who has them.

use crate::calendar::{CalendarError, DatacentreZone, MonthWindow};
use crate::exact::{decimal_string, round_half_up};
use crate::meter::base_units_per_unit;
use jiff::Timestamp;
use mesocentre_api::{LineKind, Meter, StatementLine, StatementStatus};
use rust_decimal::Decimal;

/// Decimals of a quantity, and the number of parts that they make of one.
const QUANTITY_DECIMALS: usize = 12;
const QUANTITY_PARTS: i128 = 1_000_000_000_000;

/// The columns, in the order in which [`rows`] gives their values.
pub const COLUMNS: [&str; 52] = [
    "AllocatedMethodDetails",
    "AllocatedMethodId",
    "AllocatedResourceId",
    "AllocatedResourceName",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "Tags",
    "x_Allocation",
    "x_CostPool",
    "x_LedgerHead",
    "x_Model",
    "x_Month",
    "x_StatementState",
    "x_Tariff",
    "x_Tier",
    "x_UsageRecords",
    "x_VatRate",
];

/// A row: a value for each of [`COLUMNS`]; none is FOCUS's null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row([Option<String>; COLUMNS.len()]);

impl Row {
    fn new() -> Self {
        Self([const { None }; COLUMNS.len()])
    }

    /// The value of a column; none also where there is no such column.
    pub fn get(&self, column: &str) -> Option<&str> {
        let at = COLUMNS.iter().position(|name| *name == column)?;
        self.0.get(at)?.as_deref()
    }

    /// The values, in the order of the columns.
    pub fn values(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(Option::as_deref)
    }

    fn set(&mut self, column: &str, value: impl Into<String>) {
        let at = COLUMNS.iter().position(|name| *name == column);
        debug_assert!(at.is_some(), "{column}");
        if let Some(place) = at.and_then(|at| self.0.get_mut(at)) {
            *place = Some(any_ascii::any_ascii(&value.into()));
        }
    }

    fn set_if(&mut self, column: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.set(column, value);
        }
    }
}

/// Why a statement cannot be told as rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FocusError {
    /// Its month or zone.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// A number that is none, or is too large.
    #[error("{what} {text:?} of the statement of {tenant} for {month} cannot be read as a number")]
    Number {
        /// The tenant.
        tenant: String,
        /// The month.
        month: String,
        /// Which number.
        what: &'static str,
        /// What stands there.
        text: String,
    },
    /// The table.
    #[error("writing the table of FOCUS rows failed: {0}")]
    Table(String),
}

/// The rows of these tenants' statements as CSV (RFC 4180): commas, decimal points, an empty field for null.
///
/// # Errors
/// [`FocusError`], for a statement that is none of ours.
pub fn table<'a>(
    statements: impl IntoIterator<Item = (&'a str, &'a StatementStatus)>,
    issuer: &str,
) -> Result<String, FocusError> {
    let wrong = |why: &dyn std::fmt::Display| FocusError::Table(why.to_string());
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(|error| wrong(&error))?;
    for (tenant, status) in statements {
        for row in rows(tenant, status, issuer)? {
            let fields = row.values().map(Option::unwrap_or_default);
            writer.write_record(fields).map_err(|error| wrong(&error))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| wrong(&error))?;
    String::from_utf8(bytes).map_err(|error| wrong(&error))
}

/// The rows of a tenant's statement, in the order of its lines, VAT last. `issuer` is the datacentre, as its bills name it.
///
/// # Errors
/// [`FocusError`], for a statement that is none of ours.
pub fn rows(tenant: &str, status: &StatementStatus, issuer: &str) -> Result<Vec<Row>, FocusError> {
    let telling = Telling {
        tenant,
        status,
        issuer,
    };
    let lines = status.lines.iter().map(|line| telling.line(line));
    let vat = status.totals.vat.iter().map(|vat| {
        let mut row = telling.bare(status.period.from, status.period.to, &vat.amount)?;
        row.set("ChargeCategory", "Tax");
        row.set("ChargeFrequency", "Recurring");
        row.set("ChargeDescription", format!("TVA / VAT {} %", vat.rate));
        row.set("ContractedCost", with_a_decimal(&vat.amount));
        row.set("ListCost", with_a_decimal(&vat.amount));
        telling.service(&mut row, "Other", "Other (Other)", "TVA / VAT");
        row.set("x_VatRate", &vat.rate);
        Ok(row)
    });
    lines.chain(vat).collect()
}

struct Telling<'a> {
    tenant: &'a str,
    status: &'a StatementStatus,
    issuer: &'a str,
}

impl Telling<'_> {
    fn no_number(&self, what: &'static str, text: &str) -> FocusError {
        FocusError::Number {
            tenant: self.tenant.to_owned(),
            month: self.status.period.month.clone(),
            what,
            text: text.to_owned(),
        }
    }

    /// What all rows of a statement say.
    fn bare(&self, from: Timestamp, to: Timestamp, amount: &str) -> Result<Row, FocusError> {
        amount
            .parse::<Decimal>()
            .map_err(|_| self.no_number("the amount", amount))?;
        let status = self.status;
        let mut row = Row::new();
        row.set("BilledCost", with_a_decimal(amount));
        row.set("EffectiveCost", with_a_decimal(amount));
        row.set("BillingAccountId", self.tenant);
        row.set("BillingAccountName", self.tenant);
        row.set("BillingAccountType", "Tenant");
        row.set("BillingCurrency", status.currency.as_str());
        row.set("BillingPeriodStart", status.period.from.to_string());
        row.set("BillingPeriodEnd", status.period.to.to_string());
        row.set("ChargePeriodStart", from.to_string());
        row.set("ChargePeriodEnd", to.to_string());
        for column in ["InvoiceIssuerName", "ProviderName", "PublisherName"] {
            row.set(column, self.issuer);
        }
        row.set("x_Month", &status.period.month);
        row.set("x_StatementState", format!("{:?}", status.state));
        row.set("x_LedgerHead", &status.ledger.head);
        Ok(row)
    }

    fn service(&self, row: &mut Row, category: &str, subcategory: &str, name: &str) {
        row.set("ServiceCategory", category);
        row.set("ServiceSubcategory", subcategory);
        row.set("ServiceName", name);
    }

    fn line(&self, line: &StatementLine) -> Result<Row, FocusError> {
        let zone = DatacentreZone::named(&self.status.period.time_zone)?;
        let month = line.corrects.as_ref().unwrap_or(&self.status.period.month);
        let window = zone.month(month.parse()?)?;
        let mut row = self.bare(window.span.from, window.span.to, &line.amount)?;
        row.set("ChargeDescription", description(line));
        if line.kind == LineKind::Correction {
            row.set("ChargeClass", "Correction");
        }
        match (line.meter, line.kind) {
            (Some(meter), LineKind::Credit | LineKind::Lent) => self.credit(&mut row, line, meter),
            (Some(meter), _) => self.usage(&mut row, line, meter, &window)?,
            (None, _) => self.share(&mut row, line),
        }
        row.set_if("x_Allocation", line.allocation.as_deref());
        row.set_if("x_Model", line.model.as_deref());
        row.set_if("x_CostPool", line.cost_pool.as_deref());
        row.set_if("x_Tariff", line.tariff.as_deref());
        row.set_if("x_Tier", line.tier.map(|tier| tier.to_string()));
        row.set_if("x_UsageRecords", line.records.map(|records| records.to_string()));
        row.set_if("x_VatRate", line.vat_rate.as_deref());
        Ok(row)
    }

    /// Metered use: quantity times price.
    fn usage(
        &self,
        row: &mut Row,
        line: &StatementLine,
        meter: Meter,
        window: &MonthWindow,
    ) -> Result<(), FocusError> {
        let base = line.base_quantity.as_deref().unwrap_or_default();
        let price = line.unit_price.as_deref().unwrap_or_default();
        let quantity = base
            .parse::<i128>()
            .ok()
            .and_then(|base| round_half_up(&[base, QUANTITY_PARTS], &[base_units_per_unit(meter, window)]))
            .ok_or_else(|| self.no_number("the quantity", base))?;
        let unit_price: Decimal = price.parse().map_err(|_| self.no_number("the price", price))?;
        let cost = quantity
            .checked_mul(unit_price.mantissa())
            .ok_or_else(|| self.no_number("the quantity", base))?;
        let quantity = shortened(&decimal_string(quantity, QUANTITY_DECIMALS));
        let price_decimals = usize::try_from(unit_price.scale()).unwrap_or(0);
        let cost = shortened(&decimal_string(cost, QUANTITY_DECIMALS + price_decimals));
        let unit = unit(meter);
        row.set("ChargeCategory", "Usage");
        row.set("ChargeFrequency", "Usage-Based");
        row.set("PricingCategory", "Standard");
        for column in ["PricingQuantity", "ConsumedQuantity"] {
            row.set(column, &quantity);
        }
        for column in ["PricingUnit", "ConsumedUnit"] {
            row.set(column, unit);
        }
        for column in ["ContractedUnitPrice", "ListUnitPrice"] {
            row.set(column, with_a_decimal(price));
        }
        for column in ["ContractedCost", "ListCost"] {
            row.set(column, &cost);
        }
        self.resource(row, line, meter);
        let tariff = line.tariff.as_deref().unwrap_or("none");
        let sku = match &line.model {
            Some(model) => format!("{tariff}/{}/{model}", meter.as_str()),
            None => format!("{tariff}/{}", meter.as_str()),
        };
        row.set(
            "SkuPriceId",
            match line.tier {
                Some(tier) => format!("{sku}/{tier}"),
                None => sku.clone(),
            },
        );
        row.set("SkuId", sku);
        row.set("SkuMeter", meter.as_str());
        Ok(())
    }

    /// What is free of metered use. FOCUS gives a credit no quantity and no price.
    fn credit(&self, row: &mut Row, line: &StatementLine, meter: Meter) {
        let amount = with_a_decimal(&line.amount);
        for column in ["ContractedCost", "ListCost"] {
            row.set(column, &amount);
        }
        row.set("ChargeCategory", "Credit");
        row.set("ChargeFrequency", "Usage-Based");
        self.resource(row, line, meter);
    }

    fn resource(&self, row: &mut Row, line: &StatementLine, meter: Meter) {
        match meter {
            Meter::ComputeCoreHours
            | Meter::ComputeGpuHours
            | Meter::ComputeReservedCoreHours
            | Meter::ComputeReservedGpuHours => {
                self.service(
                    row,
                    "Compute",
                    "Other (Compute)",
                    "Calcul par lots / Batch computing",
                );
            }
            Meter::ClusterCpuHours
            | Meter::ClusterMemoryGibHours
            | Meter::ClusterGpuHours
            | Meter::ClusterDeviceHours => {
                self.service(row, "Compute", "Containers", "Kubernetes");
            }
            Meter::StorageGibMonths => self.service(row, "Storage", "Block Storage", "Stockage / Storage"),
            Meter::EnergyKwh | Meter::ColocationUMonths => {
                self.service(row, "Other", "Other (Other)", "Hébergement / Colocation");
            }
        }
        // What was used: an allocation, or the tenant's own share of the cluster.
        let (id, name, kind) = match &line.allocation {
            Some(allocation) => (
                format!("{}/{allocation}", self.tenant),
                allocation.as_str(),
                "Allocation",
            ),
            None => (self.tenant.to_owned(), self.tenant, "Tenant"),
        };
        row.set("ResourceId", id);
        row.set("ResourceName", name);
        row.set("ResourceType", kind);
    }

    /// A share of what many bear together, for a month. What is given back is a credit. (FOCUS's *Purchase* is of what covers
    /// later charges.)
    fn share(&self, row: &mut Row, line: &StatementLine) {
        let amount = with_a_decimal(&line.amount);
        let is_credit = amount.starts_with('-');
        for column in ["ContractedCost", "ListCost"] {
            row.set(column, &amount);
        }
        row.set("ChargeCategory", if is_credit { "Credit" } else { "Usage" });
        let frequency = match line.kind {
            LineKind::TrueUp => "One-Time",
            _ => "Recurring",
        };
        row.set("ChargeFrequency", frequency);
        if !is_credit {
            row.set("PricingCategory", "Standard");
            for column in ["PricingQuantity", "ConsumedQuantity"] {
                row.set(column, "1.0");
            }
            for column in ["PricingUnit", "ConsumedUnit"] {
                row.set(column, "Months");
            }
            for column in ["ContractedUnitPrice", "ListUnitPrice"] {
                row.set(column, &amount);
            }
            let sku = line.cost_pool.as_deref().unwrap_or("cost-share");
            for column in ["SkuId", "SkuMeter", "SkuPriceId"] {
                row.set(column, sku);
            }
        }
        self.service(row, "Other", "Other (Other)", "Mutualisation / Cost sharing");
        if let Some(pool) = &line.cost_pool {
            row.set("AllocatedMethodId", "mesocentre.io/cost-pool");
            row.set("AllocatedMethodDetails", "{\"Elements\":[]}");
            row.set("AllocatedResourceId", pool);
            row.set("AllocatedResourceName", line.description.as_ref().unwrap_or(pool));
            row.set("ResourceId", format!("{}/{pool}", self.tenant));
            row.set("ResourceName", pool);
            row.set("ResourceType", "Cost pool share");
        }
    }
}

/// As FOCUS writes units: `UnitFormat`.
fn unit(meter: Meter) -> &'static str {
    match meter {
        Meter::ComputeCoreHours | Meter::ComputeReservedCoreHours => "Core-Hours",
        Meter::ComputeGpuHours | Meter::ComputeReservedGpuHours | Meter::ClusterGpuHours => "GPU-Hours",
        Meter::ClusterDeviceHours => "Device-Hours",
        Meter::ClusterCpuHours => "CPU-Hours",
        Meter::ClusterMemoryGibHours => "GiB-Hours",
        Meter::StorageGibMonths => "GiB-Months",
        Meter::EnergyKwh => "Kilowatt-Hours",
        Meter::ColocationUMonths => "Rack Unit-Months",
    }
}

fn description(line: &StatementLine) -> String {
    let what = match (line.meter, &line.cost_pool) {
        (Some(meter), _) => meter.as_str(),
        (None, Some(pool)) => pool,
        (None, None) => "",
    };
    [
        Some(what),
        line.model.as_deref(),
        line.allocation.as_deref(),
        line.tariff.as_deref(),
        line.description.as_deref(),
    ]
    .into_iter()
    .flatten()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join(", ")
}

/// Readers of CSV take a column of whole numbers for integers; FOCUS wants decimals.
fn with_a_decimal(text: &str) -> String {
    if text.contains('.') {
        text.to_owned()
    } else {
        format!("{text}.0")
    }
}

/// Without zeros at the end, but for one decimal.
fn shortened(text: &str) -> String {
    let short = text.trim_end_matches('0');
    if short.ends_with('.') {
        format!("{short}0")
    } else {
        short.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn statement(lines: serde_json::Value) -> StatementStatus {
        let cents = |text: &serde_json::Value| -> Decimal { text.as_str().unwrap().parse().unwrap() };
        let net: Decimal = lines
            .as_array()
            .unwrap()
            .iter()
            .map(|line| cents(&line["amount"]))
            .sum();
        let vat = (net * Decimal::new(20, 2)).round_dp(2);
        serde_json::from_value(serde_json::json!({
            "state": "Final", "currency": "EUR",
            "period": {"month": "2026-11", "from": "2026-10-31T23:00:00Z", "to": "2026-11-30T23:00:00Z", "timeZone": "Europe/Paris"},
            "lines": lines,
            "totals": {"net": net.to_string(), "vat": [{"rate": "20", "base": net.to_string(), "amount": vat.to_string()}], "gross": (net + vat).to_string()},
            "ledger": {"records": 22, "head": "9f2c"},
        }))
        .unwrap()
    }

    fn sum(rows: &[Row], of: impl Fn(&Row) -> bool) -> Decimal {
        let billed = |row: &Row| row.get("BilledCost").unwrap().parse::<Decimal>().unwrap();
        rows.iter().filter(|row| of(row)).map(billed).sum()
    }

    #[test]
    fn a_line_of_use_is_its_exact_quantity_at_its_price() {
        let status = statement(serde_json::json!([
            {"kind": "Usage", "meter": "compute.core-hours", "allocation": "climate-2026", "tariff": "public-2026",
             "quantity": "20.000278", "baseQuantity": "72001", "unitPrice": "0.0120", "amount": "0.24", "vatRate": "20", "records": 22},
        ]));
        let rows = rows("univ-caen", &status, "Mésocentre").unwrap();
        let row = &rows[0];
        for (column, value) in [
            ("BilledCost", "0.24"),
            ("PricingQuantity", "20.000277777778"),
            ("ContractedUnitPrice", "0.0120"),
            ("ContractedCost", "0.240003333333336"),
            ("PricingUnit", "Core-Hours"),
            ("ChargePeriodStart", "2026-10-31T23:00:00Z"),
            ("ChargePeriodEnd", "2026-11-30T23:00:00Z"),
            ("ResourceId", "univ-caen/climate-2026"),
            ("SkuPriceId", "public-2026/compute.core-hours"),
        ] {
            assert_eq!(row.get(column), Some(value), "{column}");
        }
        assert_eq!(rows[1].get("ChargeCategory"), Some("Tax"));
        assert_eq!(rows[1].get("BilledCost"), Some("0.05"));
    }

    #[test]
    fn a_correction_has_the_dates_of_its_own_month_and_what_is_given_back_is_a_credit() {
        let status = statement(serde_json::json!([
            {"kind": "Correction", "corrects": "2026-10", "meter": "compute.gpu-hours", "tariff": "t", "baseQuantity": "-3600",
             "unitPrice": "1", "amount": "-1.00"},
            {"kind": "CostShare", "costPool": "datacentre-2026", "description": "Bâtiment", "amount": "18240.00"},
            {"kind": "CostShare", "costPool": "rebate", "amount": "-5"},
        ]));
        let rows = rows("univ-caen", &status, "Mésocentre").unwrap();
        let says = |at: usize, column| rows[at].get(column);
        assert_eq!(says(0, "ChargeClass"), Some("Correction"));
        assert_eq!(says(0, "ChargePeriodStart"), Some("2026-09-30T22:00:00Z"));
        assert_eq!(says(0, "ChargePeriodEnd"), Some("2026-10-31T23:00:00Z"));
        assert_eq!(says(0, "BillingPeriodStart"), Some("2026-10-31T23:00:00Z"));
        assert_eq!(says(1, "ChargeCategory"), Some("Usage"));
        assert_eq!(says(1, "ChargeDescription"), Some("datacentre-2026, Batiment"));
        assert_eq!(says(1, "AllocatedResourceId"), Some("datacentre-2026"));
        assert_eq!(says(2, "ChargeCategory"), Some("Credit"));
        assert_eq!(
            (says(2, "ContractedUnitPrice"), says(2, "BilledCost")),
            (None, Some("-5.0"))
        );
    }

    #[test]
    fn a_statement_that_is_none_of_ours_is_said() {
        let status = statement(serde_json::json!([
            {"kind": "Usage", "meter": "compute.core-hours", "baseQuantity": "many", "unitPrice": "1", "amount": "1.00"},
        ]));
        let error = rows("univ-caen", &status, "Mésocentre").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the quantity \"many\" of the statement of univ-caen for 2026-11 cannot be read as a number"
        );
    }

    proptest! {
        #[test]
        fn the_rows_sum_to_the_statement(lines in proptest::collection::vec(
            (0_i64..10_000_000_000, 0_i64..1_000_000, -100_000_000_i64..100_000_000, any::<bool>()), 0..30,
        )) {
            let lines: Vec<serde_json::Value> = lines
                .into_iter()
                .map(|(seconds, price, cents, is_use)| if is_use {
                    let amount = round_half_up(&[i128::from(seconds), i128::from(price)], &[3_600, 100]).unwrap();
                    serde_json::json!({"kind": "Usage", "meter": "compute.core-hours", "tariff": "t", "baseQuantity": seconds.to_string(),
                        "unitPrice": decimal_string(i128::from(price), 4), "amount": decimal_string(amount, 2)})
                } else {
                    serde_json::json!({"kind": "CostShare", "costPool": "p", "amount": decimal_string(i128::from(cents), 2)})
                })
                .collect();
            let status = statement(serde_json::Value::Array(lines));
            let rows = rows("a", &status, "b").unwrap();
            let net: Decimal = status.totals.net.parse().unwrap();
            let gross: Decimal = status.totals.gross.parse().unwrap();
            prop_assert_eq!(sum(&rows, |_| true), gross);
            prop_assert_eq!(sum(&rows, |row| row.get("ChargeCategory") != Some("Tax")), net);
            for row in &rows {
                let cost: Decimal = row.get("ContractedCost").unwrap().parse().unwrap();
                let billed: Decimal = row.get("BilledCost").unwrap().parse().unwrap();
                // The line's own rounding, once.
                prop_assert!((cost - billed).abs() <= Decimal::new(5_001, 6), "{cost} {billed}");
            }
        }
    }
}

//! Lines of an invoice, out of lines of a statement.

use super::document::VatCategory;
use super::party::tidy;
use crate::exact::round_half_up;
use crate::meter::base_unit;
use crate::money::Cents;
use mesocentre_api::{LineKind, Meter, StatementLine};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// The label of what the ledger has, in base units.
pub(super) const EXACT_QUANTITY: &str = "Quantité exacte";

/// A line (BG-25).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceLine {
    /// Its number on the document, from 1 (BT-126).
    pub number: u32,
    /// What is billed, in French (BT-153).
    pub name: String,
    /// The same in English.
    pub name_en: String,
    /// What it rests on: allocation, tariff, tier, the exact quantity (BG-32).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<(String, String)>,
    /// What the statement says about it (BT-127).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How much (BT-129), and the price of one (BT-146).
    pub quantity: Quantity,
    /// Net amount (BT-131).
    pub amount: Cents,
    /// Its VAT (BG-30).
    pub vat: VatCategory,
    /// On a credit note, the line of the invoice that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<u32>,
}

/// A quantity and a price whose product, rounded half-up to the cent, is the amount of the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quantity {
    /// How many, at most four decimals (BR-FR-DEC-02).
    pub count: Decimal,
    /// Of what.
    pub unit: Unit,
    /// The price of one, never negative, at most six decimals (BR-27, BR-FR-DEC-03).
    pub unit_price: Decimal,
}

/// A unit of UN/ECE Recommendation 20 (BT-130).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Hours.
    Hour,
    /// Kilowatt-hours.
    KilowattHour,
    /// Pieces; also what the recommendation has no code for, such as GiB-months.
    One,
}

impl Unit {
    /// Its code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Hour => "HUR",
            Self::KilowattHour => "KWH",
            Self::One => "C62",
        }
    }
}

impl Quantity {
    /// One piece for an amount: minus one piece where the amount is negative, since no price is.
    pub(super) fn lump(amount: Cents) -> Option<Self> {
        let price = i64::try_from(amount.0.abs()).ok()?;
        Some(Self {
            count: if amount.0 < 0 { -Decimal::ONE } else { Decimal::ONE },
            unit: Unit::One,
            unit_price: Decimal::new(price, 2),
        })
    }

    /// A metered quantity, in the meter's unit with four decimals; none where their product with the price is another
    /// amount, or where the French rules have no room for them.
    fn metered(base: i128, units: i128, unit_price: Decimal, meter: Meter, amount: Cents) -> Option<Self> {
        let ten_thousandths = round_half_up(&[base, 10_000], &[units])?;
        let count = Decimal::try_from_i128_with_scale(ten_thousandths, 4).ok()?;
        let fits = Cents::of_line(ten_thousandths, unit_price, 10_000) == Some(amount)
            && ten_thousandths.unsigned_abs() < 10_u128.pow(18)
            && !unit_price.is_sign_negative()
            && unit_price.normalize().scale() <= 6
            && unit_price.normalize().mantissa().unsigned_abs() < 10_u128.pow(18);
        fits.then(|| Self {
            count: count.normalize(),
            unit: unit_of(meter),
            unit_price,
        })
    }
}

fn unit_of(meter: Meter) -> Unit {
    match meter {
        Meter::ComputeCoreHours
        | Meter::ComputeGpuHours
        | Meter::ComputeReservedCoreHours
        | Meter::ComputeReservedGpuHours
        | Meter::ClusterCpuHours
        | Meter::ClusterGpuHours
        | Meter::ClusterDeviceHours => Unit::Hour,
        Meter::EnergyKwh => Unit::KilowattHour,
        Meter::ClusterMemoryGibHours | Meter::StorageGibMonths | Meter::ColocationUMonths => Unit::One,
    }
}

/// French and English.
fn names_of(meter: Meter) -> (&'static str, &'static str) {
    match meter {
        Meter::ComputeCoreHours => ("Calcul, heures de cœur", "Computing, core-hours"),
        Meter::ComputeGpuHours => ("Calcul, heures de GPU", "Computing, GPU-hours"),
        Meter::ComputeReservedCoreHours => {
            ("Calcul réservé, heures de cœur", "Reserved computing, core-hours")
        }
        Meter::ComputeReservedGpuHours => ("Calcul réservé, heures de GPU", "Reserved computing, GPU-hours"),
        Meter::ClusterCpuHours => ("Conteneurs, heures de CPU", "Containers, CPU-hours"),
        Meter::ClusterMemoryGibHours => (
            "Conteneurs, mémoire en Gio × heures",
            "Containers, memory in GiB-hours",
        ),
        Meter::ClusterGpuHours => ("Conteneurs, heures de GPU", "Containers, GPU-hours"),
        Meter::ClusterDeviceHours => ("Conteneurs, heures d’équipement", "Containers, device-hours"),
        Meter::StorageGibMonths => ("Stockage, en Gio × mois", "Storage, in GiB-months"),
        Meter::EnergyKwh => ("Électricité, kWh", "Electricity, kWh"),
        Meter::ColocationUMonths => ("Hébergement en baie, U × mois", "Colocation, rack units × months"),
    }
}

/// A line of the invoice; `units` are the base units in one unit of its meter, where it has one. None when a number on
/// it cannot be read.
pub(super) fn invoice_line(
    number: u32,
    line: &StatementLine,
    amount: Cents,
    vat: VatCategory,
    units: Option<i128>,
) -> Option<InvoiceLine> {
    let (mut name, mut name_en) = match (line.meter, line.kind) {
        (Some(meter), _) => {
            let (name, name_en) = names_of(meter);
            (name.to_owned(), name_en.to_owned())
        }
        (None, LineKind::CostShare) => (
            "Part de mutualisation des charges".to_owned(),
            "Share of mutualised costs".to_owned(),
        ),
        (None, LineKind::TrueUp) => (
            "Régularisation des charges mutualisées".to_owned(),
            "True-up of mutualised costs".to_owned(),
        ),
        (None, _) => ("Prestation".to_owned(), "Service".to_owned()),
    };
    let is_right = line.co_investment.is_some();
    let is_reserved = line.kind == LineKind::Credit && line.reserved;
    let before = match line.kind {
        LineKind::Lent => Some(("Droits de co-investissement prêtés", "Co-investor's rights lent")),
        LineKind::Credit | LineKind::Correction if is_right => {
            Some(("Droit de co-investissement", "Co-investor's right"))
        }
        LineKind::Credit if is_reserved => Some((
            "Compris dans la capacité réservée",
            "Within the reserved capacity",
        )),
        LineKind::Credit => Some(("Avoir pour panne de nœud", "Credit for node failures")),
        _ => None,
    };
    if let Some((french, english)) = before {
        name = format!("{french} : {name}");
        name_en = format!("{english}: {name_en}");
    }
    if let Some(month) = &line.corrects {
        name = format!("Régularisation {month} : {name}");
        name_en = format!("Correction of {month}: {name_en}");
    }
    let base: Option<i128> = line.base_quantity.as_deref().map(str::parse).transpose().ok()?;
    let unit_price: Option<Decimal> = line.unit_price.as_deref().map(str::parse).transpose().ok()?;
    let metered = match (line.meter, base, units, unit_price) {
        (Some(meter), Some(base), Some(units), Some(price)) => {
            Quantity::metered(base, units, price, meter, amount)
        }
        _ => None,
    };
    let mut details = Vec::new();
    let mut detail = |label: &str, value: Option<String>| {
        details.extend(value.map(|value| (label.to_owned(), value)));
    };
    detail("Modèle", line.model.clone());
    detail("Allocation", line.allocation.clone());
    detail("Charges", line.cost_pool.clone());
    detail("Co-investissement", line.co_investment.clone());
    detail("Tarif", line.tariff.clone());
    detail("Tranche", line.tier.map(|tier| tier.to_string()));
    if let (Some(meter), Some(base)) = (line.meter, base) {
        detail(EXACT_QUANTITY, Some(format!("{base} {}", base_unit(meter))));
    }
    if metered.is_none() {
        detail("Prix unitaire exact", line.unit_price.clone());
    }
    Some(InvoiceLine {
        number,
        name,
        name_en,
        details,
        note: line.description.as_deref().map(tidy),
        quantity: metered.or_else(|| Quantity::lump(amount))?,
        amount,
        vat,
        credits: None,
    })
}

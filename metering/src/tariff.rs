//! Which tariff is in force for a category of tenant, and when: pure.
//!
//! The days of a tariff are civil days of the datacentre's zone, both included.

use crate::calendar::{CalendarError, DatacentreZone, TimeSpan};
use jiff::Timestamp;
use jiff::civil::Date;
use mesocentre_api::{Meter, Price, TariffSpec, TenantCategory, Tier};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// A tariff and its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedTariff {
    /// The object's name.
    pub name: String,
    /// Its prices.
    pub spec: TariffSpec,
}

/// Two tariffs of one category that do not meet: nobody could say what a day costs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TariffConflict {
    /// Days with two tariffs.
    #[error(
        "the tariffs {first} and {second} both cover {category} from {from} to {until}: one day has one tariff, so end {first} before {second} begins"
    )]
    Overlap {
        /// The one that begins first (by name where both begin on one day).
        first: String,
        /// The other.
        second: String,
        /// The category.
        category: &'static str,
        /// First day with both.
        from: Date,
        /// Last day with both.
        until: Date,
    },
    /// Days without any, between two.
    #[error(
        "no tariff covers {category} from {from} to {until}, between {before} and {after}: use of these days could not be billed, so begin {after} on {from}"
    )]
    Gap {
        /// The tariff before.
        before: String,
        /// The tariff after.
        after: String,
        /// The category.
        category: &'static str,
        /// First day without.
        from: Date,
        /// Last day without.
        until: Date,
    },
}

impl TariffConflict {
    /// Whether this tariff is one of the two.
    pub fn concerns(&self, tariff: &str) -> bool {
        match self {
            Self::Overlap { first, second, .. } => first == tariff || second == tariff,
            Self::Gap { before, after, .. } => before == tariff || after == tariff,
        }
    }
}

const CATEGORIES: [TenantCategory; 3] = [
    TenantCategory::University,
    TenantCategory::PublicService,
    TenantCategory::PrivateClient,
];

/// All overlaps of tariffs and the gaps between them, by category, in order. What comes before the first tariff and
/// after the last is no gap.
pub fn tariff_conflicts(tariffs: &[NamedTariff]) -> Vec<TariffConflict> {
    let mut conflicts = Vec::new();
    for category in CATEGORIES {
        let mut of_category: Vec<&NamedTariff> = tariffs
            .iter()
            .filter(|t| t.spec.categories.contains(&category))
            .collect();
        of_category.sort_by_key(|t| (t.spec.valid_from, t.name.as_str()));
        let category = category.as_str();
        let mut covered: Option<&NamedTariff> = None;
        for (place, tariff) in of_category.iter().enumerate() {
            for earlier in &of_category[..place] {
                let until = earlier.spec.valid_until.min(tariff.spec.valid_until);
                if tariff.spec.valid_from <= until {
                    conflicts.push(TariffConflict::Overlap {
                        first: earlier.name.clone(),
                        second: tariff.name.clone(),
                        category,
                        from: tariff.spec.valid_from,
                        until,
                    });
                }
            }
            if let Some(before) = covered
                && let (Ok(from), Ok(until)) = (
                    before.spec.valid_until.tomorrow(),
                    tariff.spec.valid_from.yesterday(),
                )
                && from <= until
            {
                conflicts.push(TariffConflict::Gap {
                    before: before.name.clone(),
                    after: tariff.name.clone(),
                    category,
                    from,
                    until,
                });
            }
            if covered.is_none_or(|before| before.spec.valid_until < tariff.spec.valid_until) {
                covered = Some(tariff);
            }
        }
    }
    conflicts.sort();
    conflicts
}

/// What a tariff prices by tiers which make no sense: a bound that is not above the one before, or a last tier with a
/// bound. What is used of it could not be billed.
pub fn senseless_tiers(spec: &TariffSpec) -> Vec<String> {
    let makes_sense = |tiers: &[Tier]| {
        let bounds: Vec<Decimal> = tiers.iter().map_while(|tier| tier.up_to).collect();
        bounds.windows(2).all(|two| two[0] < two[1]) && bounds.len() + 1 == tiers.len()
    };
    spec.prices
        .iter()
        .filter(|price| price.tiers.as_deref().is_some_and(|tiers| !makes_sense(tiers)))
        .map(|price| priced(price.meter, price.model.as_deref()))
        .collect()
}

/// What has a price of its own, for people.
pub(crate) fn priced(meter: Meter, model: Option<&str>) -> String {
    match model {
        Some(model) => format!("{} of the model {model}", meter.as_str()),
        None => meter.as_str().to_owned(),
    }
}

/// A tariff with the span of UTC in which it is in force.
#[derive(Clone, Debug)]
pub(crate) struct TariffInForce<'a> {
    pub(crate) tariff: &'a NamedTariff,
    pub(crate) span: TimeSpan,
}

impl<'a> TariffInForce<'a> {
    pub(crate) fn new(tariff: &'a NamedTariff, zone: &DatacentreZone) -> Result<Self, CalendarError> {
        Ok(Self {
            span: zone.days(tariff.spec.valid_from, tariff.spec.valid_until)?,
            tariff,
        })
    }

    pub(crate) fn covers(&self, category: TenantCategory, instant: Timestamp) -> bool {
        self.tariff.spec.categories.contains(&category) && self.span.contains(instant)
    }

    /// The price of this model, else that of all models.
    pub(crate) fn price(&self, meter: Meter, model: Option<&str>) -> Option<&'a Price> {
        let of_meter = || {
            self.tariff
                .spec
                .prices
                .iter()
                .filter(|price| price.meter == meter)
        };
        let of_model = model.and_then(|model| of_meter().find(|price| price.model.as_deref() == Some(model)));
        of_model.or_else(|| of_meter().find(|price| price.model.is_none()))
    }

    /// A price of the meter where no model is known: that of all models, or where there is none, the first.
    pub(crate) fn any_price(&self, meter: Meter) -> Option<&'a Price> {
        let first = || self.tariff.spec.prices.iter().find(|price| price.meter == meter);
        self.price(meter, None).or_else(first)
    }
}

/// A tier of a price: from which quantity on, in base units, and at which price a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    /// Number from 1; none for a flat price.
    pub(crate) tier: Option<i32>,
    pub(crate) up_to: Option<i128>,
    pub(crate) unit_price: Decimal,
}

/// The bands of a price, their bounds in base units. A bound that is no whole number of base units is rounded half-up
/// to one (at most half a core second). None when the price makes no sense (bounds that do not rise, no last tier).
pub(crate) fn bands(price: &Price, base_units_per_unit: i128) -> Option<Vec<Band>> {
    match (&price.unit_price, &price.tiers) {
        (Some(unit_price), None) => Some(vec![Band {
            tier: None,
            up_to: None,
            unit_price: *unit_price,
        }]),
        (None, Some(tiers)) => {
            let mut bands: Vec<Band> = Vec::with_capacity(tiers.len());
            for (place, tier) in tiers.iter().enumerate() {
                let up_to = match tier.up_to {
                    Some(bound) => Some(crate::exact::round_half_up(
                        &[bound.mantissa(), base_units_per_unit],
                        &[10_i128.checked_pow(bound.scale())?],
                    )?),
                    None => None,
                };
                let rises = bands.last().is_none_or(|before| match (before.up_to, up_to) {
                    (Some(before), Some(now)) => before < now,
                    (Some(_), None) => true,
                    (None, _) => false,
                });
                if !rises {
                    return None;
                }
                bands.push(Band {
                    tier: Some(i32::try_from(place).ok()? + 1),
                    up_to,
                    unit_price: tier.unit_price,
                });
            }
            (bands.last()?.up_to.is_none()).then_some(bands)
        }
        _ => None,
    }
}

/// What of the way from one quantity to another falls in each band: signed, and summing exactly to `to − from`.
pub(crate) fn fall_in_bands(bands: &[Band], from: i128, to: i128) -> Vec<(Band, i128)> {
    let (low, high, sign) = if from <= to { (from, to, 1) } else { (to, from, -1) };
    let mut pieces = Vec::new();
    let mut position = low;
    for band in bands {
        let end = band.up_to.map_or(high, |bound| bound.min(high));
        if end > position {
            pieces.push((*band, (end - position) * sign));
            position = end;
        }
    }
    pieces
}

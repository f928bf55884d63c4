//! Second step: a month of a zone that can be rated, or what to write instead.

use super::gather::Gathered;
use mesocentre_api::BillingPeriodSpec;
use mesocentre_metering::calendar::CalendarError;
use mesocentre_metering::{BillingMonth, DatacentreZone, MonthWindow, RatingBasis};

/// A period whose month and zone are known: it can be rated.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPeriod {
    /// What its statements rest on besides the ledger, in the order of names.
    pub basis: RatingBasis,
    /// The month as a span of time.
    pub window: MonthWindow,
    /// Whether it is to be closed.
    pub close: bool,
}

/// What to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl From<CalendarError> for Invalid {
    fn from(error: CalendarError) -> Self {
        let reason = match error {
            CalendarError::UnknownZone { .. } => "UnknownTimeZone",
            CalendarError::NotAMonth { .. } | CalendarError::OutOfRange { .. } => "NotAMonth",
        };
        Self {
            reason,
            message: format!(
                "{error}; a period's month and zone do not change, so delete it and make it again"
            ),
        }
    }
}

impl ValidPeriod {
    /// Proves month and zone.
    pub fn new(spec: &BillingPeriodSpec, there: &Gathered) -> Result<Self, Invalid> {
        let month: BillingMonth = spec.month.parse()?;
        let window = DatacentreZone::named(&spec.time_zone)?.month(month)?;
        let basis = RatingBasis {
            month,
            time_zone: spec.time_zone.clone(),
            tenants: there.tenants.clone(),
            tariffs: there.tariffs.clone(),
            cost_pools: there.cost_pools.clone(),
        };
        Ok(Self {
            basis: basis.sorted(),
            window,
            close: spec.close,
        })
    }
}

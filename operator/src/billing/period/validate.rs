//! Second step: a month of a zone that can be rated, or what to write instead.

use super::gather::Gathered;
use jiff::Timestamp;
use mesocentre_api::{BillingPeriod, READY, find_condition};
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
    pub close: Close,
    /// Since when it is to be closed, as it was first seen; none while nobody asks for that.
    pub close_asked_at: Option<Timestamp>,
}

/// Whether a month is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Nobody asks for it.
    NotAsked,
    /// Somebody does.
    Asked,
    /// Somebody did before the month began, was refused, and has written nothing since: no clock closes a month.
    RefusedBefore,
}

/// The reason of that refusal; that the period says it of its generation is how it is remembered.
pub const NOT_BEGUN: &str = "NotBegun";

impl Close {
    /// By the spec, and by what was said of this very spec before.
    pub fn of(period: &BillingPeriod) -> Self {
        let conditions = period.status.as_ref().map(|status| status.conditions.as_slice());
        let said = conditions.and_then(|conditions| find_condition(conditions, READY));
        if !period.spec.close {
            Self::NotAsked
        } else if said.is_some_and(|ready| {
            ready.reason == NOT_BEGUN && ready.observed_generation == period.metadata.generation
        }) {
            Self::RefusedBefore
        } else {
            Self::Asked
        }
    }
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
    /// Whether somebody wants the month closed without the rest of a cluster's use.
    pub fn is_acknowledged(&self, cluster: &str) -> bool {
        let gaps = &self.basis.acknowledged_gaps;
        gaps.iter().any(|gap| gap.cluster == cluster)
    }

    /// Proves month and zone.
    pub fn new(period: &BillingPeriod, there: &Gathered, now: Timestamp) -> Result<Self, Invalid> {
        let spec = &period.spec;
        let month: BillingMonth = spec.month.parse()?;
        let window = DatacentreZone::named(&spec.time_zone)?.month(month)?;
        let basis = RatingBasis {
            month,
            time_zone: spec.time_zone.clone(),
            tenants: there.tenants.clone(),
            tariffs: there.tariffs.clone(),
            cost_pools: there.cost_pools.clone(),
            co_investments: there.co_investments.clone(),
            acknowledged_gaps: spec.acknowledged_gaps.clone(),
        };
        let close = Close::of(period);
        let asked_before = period.status.as_ref().and_then(|status| status.close_asked_at);
        Ok(Self {
            basis: basis.sorted(),
            window,
            close,
            close_asked_at: (close == Close::Asked).then(|| asked_before.unwrap_or(now)),
        })
    }
}

/// November 2026 in Paris, open, for tests.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
pub fn november() -> ValidPeriod {
    let month = "2026-11".parse().unwrap();
    ValidPeriod {
        basis: RatingBasis {
            month,
            time_zone: "Europe/Paris".into(),
            tenants: Vec::new(),
            tariffs: Vec::new(),
            cost_pools: Vec::new(),
            co_investments: Vec::new(),
            acknowledged_gaps: Vec::new(),
        },
        window: DatacentreZone::named("Europe/Paris")
            .unwrap()
            .month(month)
            .unwrap(),
        close: Close::NotAsked,
        close_asked_at: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;

    fn period(close: bool, generation: i64, reason: &str, of_generation: i64) -> BillingPeriod {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "mesocentre.io/v1alpha1",
            "kind": "BillingPeriod",
            "metadata": {"name": "2027-01", "generation": generation},
            "spec": {"month": "2027-01", "close": close},
            "status": {"state": "Open", "conditions": [{
                "type": "Ready", "status": "False", "reason": reason, "message": "…",
                "lastTransitionTime": "2026-11-24T10:00:00Z", "observedGeneration": of_generation,
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn a_close_that_came_too_early_counts_no_more_until_somebody_writes_again() {
        assert_eq!(Close::of(&period(true, 2, "Open", 1)), Close::Asked);
        assert_eq!(Close::of(&period(true, 2, NOT_BEGUN, 2)), Close::RefusedBefore);
        // close: false, and then close: true again: a spec that nothing was said of.
        assert_eq!(Close::of(&period(false, 3, NOT_BEGUN, 2)), Close::NotAsked);
        assert_eq!(Close::of(&period(true, 4, "Open", 3)), Close::Asked);
        // Both while nobody looked.
        assert_eq!(Close::of(&period(true, 4, NOT_BEGUN, 2)), Close::Asked);
        // Another refusal does not stand in the way: it is tried again as soon as it can be.
        assert_eq!(Close::of(&period(true, 2, "OutOfOrder", 2)), Close::Asked);
    }
}

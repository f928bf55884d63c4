//! Slurm's own count of what an account used, held against the ledger's. Slurm grants by its own; the bill is the ledger's. The
//! two are apart where usage decays, was reset, or was there before: who grants hours should know.

use super::hold::hours;
use crate::Context;
use crate::lock::locked;
use crate::report::Verdict;
use mesocentre_api::Meter;
use mesocentre_scheduler_bridge::AccountName;
use mesocentre_scheduler_bridge::slurm::AccountUse;
use std::collections::HashMap;
use std::sync::Mutex;

/// So much apart is no difference: Slurm counts in minutes and by its own ticks.
const LEAST_SECONDS: i128 = 3_600;
/// Nor is a hundredth of what was used.
const LEAST_PART: i128 = 100;
/// How often in a row they must be found apart: what ended last reaches the two at different moments.
const TIMES: u32 = 2;

/// What Slurm and the ledger count of an account, in core seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Slurm.
    pub slurm: i128,
    /// The ledger.
    pub ledger: i128,
}

impl Counts {
    fn are_apart(self) -> bool {
        let apart = (self.slurm - self.ledger).abs();
        apart > LEAST_SECONDS && apart > self.slurm.max(self.ledger) / LEAST_PART
    }

    /// What is said of them.
    fn verdict(self, is_apart: bool) -> Verdict {
        let Self { slurm, ledger } = self;
        if is_apart {
            return Verdict::no(
                "Differs",
                format!(
                    "Slurm counts {} core-hours and the ledger {}: Slurm lets jobs start by its own count, and the bill is the ledger's. Its usage decays (PriorityDecayHalfLife) or is reset (PriorityUsageResetPeriod), somebody wrote RawUsage, or the account was used before it was ours",
                    hours(slurm),
                    hours(ledger)
                ),
            );
        }
        Verdict::yes("Agrees", "Slurm's count of what was used and the ledger's agree")
    }
}

/// An account as it was last compared while nothing of it ran.
#[derive(Clone, Copy, Debug)]
struct Compared {
    counts: Counts,
    /// How often in a row the two were apart.
    times: u32,
    /// Whether they are said to be; none before that is known.
    are_apart: Option<bool>,
}

impl Compared {
    fn after(before: Option<Self>, counts: Counts) -> Self {
        let times = match before {
            _ if !counts.are_apart() => 0,
            Some(before) => before.times.saturating_add(1),
            None => 1,
        };
        let are_apart = match times {
            0 => Some(false),
            times if times >= TIMES => Some(true),
            _ => before.and_then(|before| before.are_apart),
        };
        Self {
            counts,
            times,
            are_apart,
        }
    }
}

/// What came of comparing accounts.
#[derive(Default)]
pub struct Counted(Mutex<HashMap<AccountName, Compared>>);

impl Counted {
    /// Compares them; gives those of which something else is to be said than before.
    pub fn compare(&self, context: &Context, used: &HashMap<AccountName, AccountUse>) -> Vec<AccountName> {
        let mut compared = locked(&self.0);
        compared.retain(|account, _| used.contains_key(account));
        let mut turned = Vec::new();
        // What runs is in Slurm's count already, and not in the ledger's.
        for (account, used) in used.iter().filter(|(_, used)| used.booked_core_minutes == 0) {
            let Some((tenant, allocation)) = account.as_str().split_once('.') else {
                continue;
            };
            let counts = Counts {
                slurm: i128::from(used.core_minutes) * 60,
                ledger: context
                    .batch
                    .usage()
                    .of(tenant, allocation, Meter::ComputeCoreHours),
            };
            let before = compared.get(account).copied();
            let now = Compared::after(before, counts);
            if now.are_apart != before.and_then(|before| before.are_apart) {
                turned.push(account.clone());
            }
            compared.insert(account.clone(), now);
        }
        turned
    }

    /// What is said of an account; nothing before that is known.
    pub fn verdict(&self, account: &AccountName) -> Option<Verdict> {
        let compared = locked(&self.0).get(account).copied()?;
        Some(compared.counts.verdict(compared.are_apart?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesocentre_api::ConditionStatus;

    #[test]
    fn a_difference_is_more_than_an_hour_and_a_hundredth() {
        let apart = |slurm, ledger| Counts { slurm, ledger }.are_apart();
        assert!(!apart(0, 0) && !apart(3_600, 0) && !apart(0, 3_600));
        assert!(apart(3_601, 0) && apart(0, 3_601));
        assert!(!apart(1_000_000, 1_009_999) && apart(1_000_000, 1_011_000));
        // What was said of an account stands until the two were found apart, or not, often enough.
        let (same, other) = (
            Counts { slurm: 0, ledger: 0 },
            Counts {
                slurm: 0,
                ledger: 9_999,
            },
        );
        let once = Compared::after(None, other);
        assert_eq!(once.are_apart, None);
        assert_eq!(Compared::after(Some(once), other).are_apart, Some(true));
        assert_eq!(Compared::after(Some(once), same).are_apart, Some(false));
        let told = Counts {
            slurm: 5_400,
            ledger: 36_000,
        }
        .verdict(true);
        assert_eq!(told.status, ConditionStatus::False);
        assert!(
            told.message
                .starts_with("Slurm counts 1.50 core-hours and the ledger 10.00:"),
            "{told:?}"
        );
    }
}

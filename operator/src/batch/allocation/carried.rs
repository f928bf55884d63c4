//! What an allocation may use: its budget, what was left of an earlier one, and its grace. Pure: who used what until when is
//! asked of the ledger by whoever calls.
//!
//! ```text
//!  left of the earlier one = min(its budget, its budget + what it used of its own carried hours − what it used), at least 0
//!  carried in  = min(left, atMost), until its last day; then what was used of it by then: the rest is forfeited
//!  hours       = budget + carried in                              what percentages and what is left are of
//!  granted     = hours × (100 + grace) %, until so many days after the hours are used up; then hours
//! ```

use super::budget::Used;
use crate::report::Verdict;
use jiff::ToSpan as _;
use jiff::civil::Date;
use mesocentre_api::{AllocationSpec, Budget, CarryOver};
use rust_decimal::Decimal;

/// How long a chain of allocations that carry over from each other is followed.
const LONGEST_CHAIN: usize = 10;

/// What is known of a tenant's allocations.
pub trait Books {
    /// An allocation of this name.
    fn spec(&self, allocation: &str) -> Option<AllocationSpec>;
    /// What was used of it to the end of a day; none while that is not known.
    fn used(&self, allocation: &str, until: Date) -> Option<Used>;
    /// Today, in the datacentre's zone.
    fn today(&self) -> Date;
}

/// What may be used of an allocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted {
    /// Its budget and what is carried over.
    pub hours: Budget,
    /// What is carried over and counts.
    pub carried: Option<Budget>,
    /// The hours, and the grace while it lasts.
    pub at_most: Budget,
    /// The last day of the grace, once the hours are used up.
    pub grace_until: Option<Date>,
    /// What became of what is carried over; none where nothing is to be.
    pub told: Option<Verdict>,
}

/// What may be used today; none while the ledger was not read yet.
pub fn granted(name: &str, spec: &AllocationSpec, books: &impl Books) -> Option<Granted> {
    let carried = match &spec.carry_over {
        None => Carried::default(),
        Some(carry) => carried_in(name, spec, carry, books, LONGEST_CHAIN)?,
    };
    let hours = each(|of| sum(of(&spec.budget), carried.counts.as_ref().and_then(of)));
    let mut found = Granted {
        at_most: hours.clone(),
        hours,
        carried: carried.counts,
        grace_until: None,
        told: carried.told,
    };
    let Some(grace) = &spec.grace else {
        return Some(found);
    };
    let used_up = used_up_on(name, spec, &found.hours, books)?;
    found.grace_until = used_up.and_then(|day| day.checked_add(grace.days.days()).ok());
    if found.grace_until.is_none_or(|until| books.today() <= until) {
        let part = Decimal::from(100 + grace.percent) / Decimal::ONE_HUNDRED;
        found.at_most = each(|of| of(&found.hours).and_then(|hours| hours.checked_mul(part)));
    }
    Some(found)
}

/// Which of the hours of a budget.
type Of = fn(&Budget) -> Option<Decimal>;

/// A budget, core-hours and GPU-hours each by itself.
fn each(of: impl Fn(Of) -> Option<Decimal>) -> Budget {
    Budget {
        core_hours: of(|budget| budget.core_hours),
        gpu_hours: of(|budget| budget.gpu_hours),
    }
}

/// What is carried adds to a budget; where there is none, nothing is limited.
fn sum(budget: Option<Decimal>, carried: Option<Decimal>) -> Option<Decimal> {
    budget?.checked_add(carried.unwrap_or_default())
}

fn hours_of(used: Used) -> Budget {
    let hours = |seconds: i128| {
        Decimal::try_from_i128_with_scale(seconds, 0)
            .ok()
            .map(|seconds| seconds / Decimal::from(3_600))
    };
    Budget {
        core_hours: hours(used.core_seconds),
        gpu_hours: hours(used.gpu_seconds),
    }
}

#[derive(Default)]
struct Carried {
    counts: Option<Budget>,
    told: Option<Verdict>,
}

impl Carried {
    fn nothing(reason: &str, message: String) -> Option<Self> {
        Some(Self {
            counts: None,
            told: Some(Verdict::no(reason, message)),
        })
    }
}

fn carried_in(
    name: &str,
    spec: &AllocationSpec,
    carry: &CarryOver,
    books: &impl Books,
    chain: usize,
) -> Option<Carried> {
    let from = &carry.from;
    let Some(earlier) = books.spec(from) else {
        return Carried::nothing(
            "NoSuchAllocation",
            format!(
                "there is no allocation {from} here, so nothing is carried over from it: name one that is there, and keep it until {}",
                carry.until
            ),
        );
    };
    if earlier.scheduler != spec.scheduler || earlier.valid_until >= spec.valid_from {
        return Carried::nothing(
            "NotEarlier",
            format!(
                "hours are carried over from an allocation on {} that ended before {}, and {from} is on {} until {}: name another in carryOver.from",
                spec.scheduler, spec.valid_from, earlier.scheduler, earlier.valid_until
            ),
        );
    }
    if books.today() <= earlier.valid_until {
        return Carried::nothing(
            "NotEnded",
            format!(
                "{from} may be used until {}: what is left of it is carried over then",
                earlier.valid_until
            ),
        );
    }
    let left = left_of(from, &earlier, books, chain)?;
    let whole = each(|of| {
        let left = of(&left)?;
        Some(of(&carry.at_most).map_or(left, |most| left.min(most)))
    });
    if books.today() <= carry.until {
        return Some(Carried {
            told: Some(Verdict::yes(
                "Carried",
                format!(
                    "{} of {from} may be used until {}, before the allocation's own hours",
                    told(&whole),
                    carry.until
                ),
            )),
            counts: Some(whole),
        });
    }
    let used = hours_of(books.used(name, carry.until)?);
    let counts = each(|of| Some(of(&whole)?.min(of(&used)?)));
    let lost = each(|of| Some(of(&whole)? - of(&counts)?));
    Some(Carried {
        told: Some(Verdict::yes(
            "Expired",
            format!(
                "of the {} of {from} {} were used by {}, and {} are forfeited",
                told(&whole),
                told(&counts),
                carry.until,
                told(&lost)
            ),
        )),
        counts: Some(counts),
    })
}

/// What was left of an allocation's own hours on its last day.
fn left_of(name: &str, spec: &AllocationSpec, books: &impl Books, chain: usize) -> Option<Budget> {
    let used = hours_of(books.used(name, spec.valid_until)?);
    // Hours that it carried over itself come first: what was used of those was not its own.
    let not_its_own = match &spec.carry_over {
        Some(carry) if chain > 0 => {
            let whole = carried_in(name, spec, carry, books, chain - 1)?.counts;
            whole.unwrap_or_default()
        }
        _ => Budget::default(),
    };
    Some(each(|of| {
        let budget = of(&spec.budget)?;
        let own = (of(&used)? - of(&not_its_own).unwrap_or_default()).max(Decimal::ZERO);
        Some((budget - own).max(Decimal::ZERO))
    }))
}

fn told(hours: &Budget) -> String {
    let one = |hours: Option<Decimal>, what: &str| {
        hours.map(|hours| format!("{} {what}", hours.round_dp(2).normalize()))
    };
    let both: Vec<String> = one(hours.core_hours, "core-hours")
        .into_iter()
        .chain(one(hours.gpu_hours, "GPU-hours"))
        .collect();
    if both.is_empty() {
        "no hours".to_owned()
    } else {
        both.join(" and ")
    }
}

/// The day on which the first of the hours were used up; none while there are some of each. The outer none is what is not
/// known yet.
#[allow(clippy::option_option, reason = "not known, and not used up, are two answers")]
fn used_up_on(name: &str, spec: &AllocationSpec, hours: &Budget, books: &impl Books) -> Option<Option<Date>> {
    let is_used_up = |day: Date| {
        let used = hours_of(books.used(name, day)?);
        let over = |budget: Option<Decimal>, used: Option<Decimal>| {
            budget.zip(used).is_some_and(|(budget, used)| used >= budget)
        };
        Some(over(hours.core_hours, used.core_hours) || over(hours.gpu_hours, used.gpu_hours))
    };
    let last = books.today().min(spec.valid_until);
    if last < spec.valid_from || !is_used_up(last)? {
        return Some(None);
    }
    // Use only grows with the days: halve what lies between.
    let (mut first, mut last) = (spec.valid_from, last);
    while first < last {
        let days = (last - first).get_days();
        let middle = first.checked_add((days / 2).days()).ok()?;
        if is_used_up(middle)? {
            last = middle;
        } else {
            first = middle.tomorrow().ok()?;
        }
    }
    Some(Some(first))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use mesocentre_api::ConditionStatus;
    use serde_json::json;
    use std::collections::BTreeMap;

    struct Book {
        specs: BTreeMap<&'static str, AllocationSpec>,
        /// Core-hours by day.
        used: BTreeMap<&'static str, Vec<(&'static str, i128)>>,
        today: &'static str,
    }

    impl Books for Book {
        fn spec(&self, allocation: &str) -> Option<AllocationSpec> {
            self.specs.get(allocation).cloned()
        }

        fn used(&self, allocation: &str, until: Date) -> Option<Used> {
            let days = self.used.get(allocation).cloned().unwrap_or_default();
            let seconds = days
                .into_iter()
                .filter(|(day, _)| day.parse::<Date>().unwrap() <= until)
                .map(|(_, hours)| hours * 3_600)
                .sum();
            Some(Used {
                core_seconds: seconds,
                gpu_seconds: 0,
            })
        }

        fn today(&self) -> Date {
            self.today.parse().unwrap()
        }
    }

    fn spec(year: i16, hours: &str, more: &serde_json::Value) -> AllocationSpec {
        let mut spec = json!({
            "scheduler": "austral", "title": "t", "validFrom": format!("{year}-01-01"), "validUntil": format!("{year}-12-31"),
            "budget": {"coreHours": hours},
        });
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn carries(from: &str, until: &str, at_most: &serde_json::Value) -> serde_json::Value {
        json!({"carryOver": {"from": from, "until": until, "atMost": at_most}})
    }

    fn two_years(
        today: &'static str,
        of_2026: Vec<(&'static str, i128)>,
        at_most: &serde_json::Value,
    ) -> Granted {
        let this = spec(2026, "1000", &carries("a2025", "2026-03-31", at_most));
        let book = Book {
            specs: [("a2025", spec(2025, "1000", &json!({}))), ("a2026", this.clone())].into(),
            used: [("a2025", vec![("2025-06-01", 700)]), ("a2026", of_2026)].into(),
            today,
        };
        granted("a2026", &this, &book).unwrap()
    }

    fn core(budget: &Budget) -> i64 {
        i64::try_from(budget.core_hours.unwrap()).unwrap()
    }

    #[test]
    fn what_was_left_is_carried_over_until_its_day_and_then_counts_as_far_as_it_was_used() {
        let before = two_years("2026-02-01", vec![("2026-01-15", 100)], &json!({}));
        assert_eq!(
            (core(&before.hours), core(&before.carried.unwrap())),
            (1_300, 300)
        );
        let told = before.told.unwrap();
        assert_eq!(
            told.message,
            "300 core-hours of a2025 may be used until 2026-03-31, before the allocation's own hours"
        );
        let after = two_years(
            "2026-04-01",
            vec![("2026-01-15", 100), ("2026-04-01", 50)],
            &json!({}),
        );
        assert_eq!(core(&after.hours), 1_100);
        assert_eq!(
            after.told.unwrap().message,
            "of the 300 core-hours of a2025 100 core-hours were used by 2026-03-31, and 200 core-hours are forfeited"
        );
        let all = two_years("2026-04-01", vec![("2026-02-15", 800)], &json!({}));
        assert_eq!(core(&all.hours), 1_300);
        let some = two_years("2026-02-01", vec![], &json!({"coreHours": "120"}));
        assert_eq!(core(&some.hours), 1_120);
        assert_eq!(some.at_most, some.hours);
    }

    #[test]
    fn hours_that_were_carried_over_are_not_carried_over_again() {
        let of = |used_in_2026| {
            let middle = spec(2026, "1000", &carries("a2025", "2026-12-31", &json!({})));
            let last = spec(2027, "1000", &carries("a2026", "2027-12-31", &json!({})));
            let book = Book {
                specs: [("a2025", spec(2025, "500", &json!({}))), ("a2026", middle)].into(),
                used: [("a2026", vec![("2026-06-01", used_in_2026)])].into(),
                today: "2027-01-01",
            };
            core(&granted("a2027", &last, &book).unwrap().carried.unwrap())
        };
        assert_eq!(of(0), 1_000);
        // 500 that were carried come first, then 200 of its own.
        assert_eq!(of(700), 800);
        assert_eq!(of(1_500), 0);
        assert_eq!(of(1_600), 0);
    }

    #[test]
    fn what_cannot_be_carried_over_says_why() {
        let say = |from: &str, earlier: AllocationSpec, today| {
            let this = spec(2026, "1000", &carries(from, "2026-03-31", &json!({})));
            let book = Book {
                specs: [("a2025", earlier)].into(),
                used: BTreeMap::new(),
                today,
            };
            let found = granted("a2026", &this, &book).unwrap();
            assert_eq!(core(&found.hours), 1_000);
            let told = found.told.unwrap();
            assert_eq!(told.status, ConditionStatus::False);
            told.reason
        };
        let earlier = || spec(2025, "1000", &json!({}));
        assert_eq!(say("a2024", earlier(), "2026-02-01"), "NoSuchAllocation");
        assert_eq!(say("a2025", earlier(), "2025-12-31"), "NotEnded");
        assert_eq!(
            say("a2025", spec(2026, "1", &json!({})), "2026-02-01"),
            "NotEarlier"
        );
        let elsewhere = spec(2025, "1000", &json!({"scheduler": "other"}));
        assert_eq!(say("a2025", elsewhere, "2026-02-01"), "NotEarlier");
    }

    #[test]
    fn a_grace_lets_hours_be_passed_until_so_many_days_after_they_were_used_up() {
        let of = |used: Vec<(&'static str, i128)>, today| {
            let this = spec(2026, "1000", &json!({"grace": {"percent": 10, "days": 14}}));
            let book = Book {
                specs: BTreeMap::new(),
                used: [("a", used)].into(),
                today,
            };
            let found = granted("a", &this, &book).unwrap();
            assert_eq!(core(&found.hours), 1_000);
            (core(&found.at_most), found.grace_until.map(|day| day.to_string()))
        };
        assert_eq!(of(vec![], "2026-05-01"), (1_100, None));
        assert_eq!(of(vec![("2026-03-01", 999)], "2026-05-01"), (1_100, None));
        let used = || vec![("2026-03-01", 999), ("2026-04-20", 1), ("2026-04-25", 50)];
        assert_eq!(of(used(), "2026-05-01"), (1_100, Some("2026-05-04".to_owned())));
        assert_eq!(of(used(), "2026-05-04"), (1_100, Some("2026-05-04".to_owned())));
        assert_eq!(of(used(), "2026-05-05"), (1_000, Some("2026-05-04".to_owned())));
    }

    #[test]
    fn what_the_ledger_was_not_asked_yet_grants_nothing_new() {
        struct Unread;
        impl Books for Unread {
            fn spec(&self, _: &str) -> Option<AllocationSpec> {
                Some(spec(2025, "1000", &json!({})))
            }
            fn used(&self, _: &str, _: Date) -> Option<Used> {
                None
            }
            fn today(&self) -> Date {
                "2026-02-01".parse().unwrap()
            }
        }
        let carrying = spec(2026, "1000", &carries("a2025", "2026-03-31", &json!({})));
        assert_eq!(granted("a2026", &carrying, &Unread), None);
        let plain = spec(2026, "1000", &json!({}));
        assert_eq!(core(&granted("a2026", &plain, &Unread).unwrap().at_most), 1_000);
    }
}

//! The ceiling on economic use: who may use how much of a year's capacity. Pure.
//!
//! Publicly funded research infrastructure stays outside State-aid rules while economic use is at most 20 % of its yearly
//! capacity (Framework for State aid for R&D&I, 2022/C 414/01, point 21). What counts is what is set aside for such use:
//! of each allocation what it was granted, or what it has used, whichever is more.
//!
//! What was granted stays granted. More is granted in the order in which allocations were made, while it fits; one that
//! does not fit does not keep a smaller one behind it from fitting. So the sum passes the ceiling by no grant, and repeating
//! changes nothing.

use jiff::civil::Date;
use mesocentre_api::CeilingMeasureName;
use rust_decimal::{Decimal, RoundingStrategy};

/// Cores and GPUs held, times seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldSeconds {
    /// Of cores.
    pub core: Decimal,
    /// Of GPUs.
    pub gpu: Decimal,
}

impl HeldSeconds {
    fn of_each(self, other: Self, f: impl Fn(Decimal, Decimal) -> Decimal) -> Self {
        Self {
            core: f(self.core, other.core),
            gpu: f(self.gpu, other.gpu),
        }
    }

    /// The sum.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        // What no number holds is more than any capacity.
        self.of_each(other, |a, b| a.checked_add(b).unwrap_or(Decimal::MAX))
    }

    /// What is left after `other`, and nothing where that is more.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        self.of_each(other, |a, b| (a - b).max(Decimal::ZERO))
    }

    /// The larger of each.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        self.of_each(other, Decimal::max)
    }

    /// The smaller of each.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        self.of_each(other, Decimal::min)
    }
}

/// A year's ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// What there is in the year; what is zero is not there.
    pub capacity: HeldSeconds,
    /// What each counts when they are added up, and then their sum decides.
    pub weights: Option<HeldSeconds>,
    /// Percent of the capacity that may go to economic use.
    pub percent: Decimal,
}

impl Ceiling {
    /// What is measured: of what there is, and the weighted sum where there are weights.
    pub fn measures(&self) -> Vec<CeilingMeasureName> {
        let mut measures = Vec::new();
        if self.capacity.core > Decimal::ZERO {
            measures.push(CeilingMeasureName::CoreHours);
        }
        if self.capacity.gpu > Decimal::ZERO {
            measures.push(CeilingMeasureName::GpuHours);
        }
        if self.weights.is_some() {
            measures.push(CeilingMeasureName::Weighted);
        }
        measures
    }

    /// Whether a measure decides what is granted.
    pub fn decides(&self, measure: CeilingMeasureName) -> bool {
        (measure == CeilingMeasureName::Weighted) == self.weights.is_some()
    }

    /// An amount by a measure, in seconds.
    pub fn measured(&self, measure: CeilingMeasureName, amount: HeldSeconds) -> Decimal {
        match measure {
            CeilingMeasureName::CoreHours => amount.core,
            CeilingMeasureName::GpuHours => amount.gpu,
            CeilingMeasureName::Weighted => {
                let weights = self.weights.unwrap_or_default();
                let part = |amount: Decimal, weight| amount.checked_mul(weight);
                part(amount.core, weights.core)
                    .zip(part(amount.gpu, weights.gpu))
                    .and_then(|(core, gpu)| core.checked_add(gpu))
                    .unwrap_or(Decimal::MAX)
            }
        }
    }

    /// The measure by which an amount would be above the ceiling; none when it is within.
    pub fn passed_by(&self, amount: HeldSeconds) -> Option<CeilingMeasureName> {
        // Also of what there is none of: nobody can be granted it.
        [
            CeilingMeasureName::CoreHours,
            CeilingMeasureName::GpuHours,
            CeilingMeasureName::Weighted,
        ]
        .into_iter()
        .filter(|measure| self.decides(*measure))
        .find(|measure| self.measured(*measure, amount) > self.limit(*measure))
    }

    /// How much of a measure may be set aside for economic use, in seconds.
    pub fn limit(&self, measure: CeilingMeasureName) -> Decimal {
        self.measured(measure, self.capacity)
            .checked_mul(self.percent)
            .map_or(Decimal::ZERO, |product| product / Decimal::ONE_HUNDRED)
    }

    /// An amount of the capacity, in percent; none of no capacity.
    pub fn percent_of(&self, measure: CeilingMeasureName, amount: Decimal) -> Option<Decimal> {
        let capacity = self.measured(measure, self.capacity);
        amount.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(capacity)
    }
}

/// What an economic allocation asks of a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<Id> {
    /// Whose. Claims are served in this order.
    pub id: Id,
    /// What it asks for.
    pub wanted: HeldSeconds,
    /// What it was granted before.
    pub granted: HeldSeconds,
    /// What it has used already.
    pub used: HeldSeconds,
}

impl<Id> Claim<Id> {
    /// What it holds without being granted more.
    fn held(&self) -> HeldSeconds {
        self.granted.at_most(self.wanted).or_more(self.used)
    }
}

/// What is granted of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted<Id> {
    /// Whose.
    pub id: Id,
    /// How much it may use in the year, use so far included.
    pub amount: HeldSeconds,
    /// By which measure it would have passed the ceiling, when more was asked.
    pub refused_by: Option<CeilingMeasureName>,
}

/// All grants, and what is set aside by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants<Id> {
    /// One a claim, in the order of the claims' ids.
    pub grants: Vec<Granted<Id>>,
    /// What is set aside: of each claim what it is granted or has used, and what others used.
    pub set_aside: HeldSeconds,
}

/// Grants what fits. `used_by_others` is economic use of the year that belongs to no claim.
pub fn grant<Id: Clone + Ord>(
    ceiling: &Ceiling,
    mut claims: Vec<Claim<Id>>,
    used_by_others: HeldSeconds,
) -> Grants<Id> {
    claims.sort_by(|a, b| a.id.cmp(&b.id));
    let mut set_aside = claims
        .iter()
        .fold(used_by_others, |sum, claim| sum.and(claim.held()));
    let grants = claims
        .into_iter()
        .map(|claim| {
            let kept = claim.granted.at_most(claim.wanted);
            let asked = claim.wanted.or_more(claim.used);
            let with_it = set_aside.less(claim.held()).and(asked);
            let (amount, refused_by) = if kept == claim.wanted {
                (kept, None)
            } else {
                match ceiling.passed_by(with_it) {
                    None => {
                        set_aside = with_it;
                        (claim.wanted, None)
                    }
                    passed => (kept, passed),
                }
            };
            Granted {
                id: claim.id,
                amount,
                refused_by,
            }
        })
        .collect();
    Grants { grants, set_aside }
}

/// The part of an allocation's hours that falls into a year, by days, both ends included; a started thousandth of an hour
/// is a whole one. None when no day of it does.
pub fn part_of_year(hours: Decimal, first: Date, last: Date, year: i16) -> Option<Decimal> {
    let begins = Date::new(year, 1, 1).ok()?.max(first);
    let ends = Date::new(year, 12, 31).ok()?.min(last);
    let days = |from: Date, to: Date| {
        let days = from.until(to).ok()?.get_days().checked_add(1)?;
        (days > 0).then(|| Decimal::from(days))
    };
    let (within, all) = (days(begins, ends)?, days(first, last)?);
    if within == all {
        return Some(hours);
    }
    hours
        .checked_mul(within)?
        .checked_div(all)
        .map(|part| part.round_dp_with_strategy(3, RoundingStrategy::ToPositiveInfinity))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    fn held(core: i64, gpu: i64) -> HeldSeconds {
        HeldSeconds {
            core: core.into(),
            gpu: gpu.into(),
        }
    }

    fn ceiling(weights: Option<HeldSeconds>) -> Ceiling {
        Ceiling {
            capacity: held(1000, 100),
            weights,
            percent: 20.into(),
        }
    }

    fn claim(id: u32, wanted: HeldSeconds, granted: HeldSeconds, used: HeldSeconds) -> Claim<u32> {
        Claim {
            id,
            wanted,
            granted,
            used,
        }
    }

    fn amounts(grants: &Grants<u32>) -> Vec<(HeldSeconds, Option<CeilingMeasureName>)> {
        grants.grants.iter().map(|g| (g.amount, g.refused_by)).collect()
    }

    #[test]
    fn exactly_twenty_percent_is_granted_and_a_second_more_is_not() {
        let none = HeldSeconds::default();
        let all = grant(&ceiling(None), vec![claim(1, held(200, 20), none, none)], none);
        assert_eq!(amounts(&all), [(held(200, 20), None)]);
        for (wanted, by) in [
            (held(201, 0), CeilingMeasureName::CoreHours),
            (held(0, 21), CeilingMeasureName::GpuHours),
        ] {
            let all = grant(&ceiling(None), vec![claim(1, wanted, none, none)], none);
            assert_eq!(amounts(&all), [(none, Some(by))]);
            assert_eq!(all.set_aside, none);
        }
    }

    #[test]
    fn with_weights_their_sum_decides_and_one_may_pay_for_the_other() {
        let none = HeldSeconds::default();
        let weighted = ceiling(Some(held(1, 10)));
        // 20 % of 1,000 + 10 × 100.
        let all = grant(&weighted, vec![claim(1, held(400, 0), none, none)], none);
        assert_eq!(amounts(&all), [(held(400, 0), None)]);
        let all = grant(&weighted, vec![claim(1, held(400, 1), none, none)], none);
        assert_eq!(amounts(&all), [(none, Some(CeilingMeasureName::Weighted))]);
    }

    #[test]
    fn what_was_granted_stays_and_who_came_first_is_served_first() {
        let none = HeldSeconds::default();
        let claims = vec![
            claim(2, held(150, 0), held(150, 0), none),
            claim(1, held(100, 0), none, none),
            claim(3, held(50, 0), none, none),
        ];
        let all = grant(&ceiling(None), claims, none);
        assert_eq!(
            amounts(&all),
            [
                (none, Some(CeilingMeasureName::CoreHours)),
                (held(150, 0), None),
                (held(50, 0), None)
            ],
            "the older one does not fit beside what was granted, and a smaller one does"
        );
    }

    #[test]
    fn what_is_used_beyond_a_grant_or_by_who_is_gone_counts() {
        let none = HeldSeconds::default();
        let over = claim(1, held(100, 0), held(100, 0), held(170, 0));
        let all = grant(
            &ceiling(None),
            vec![over, claim(2, held(31, 0), none, none)],
            none,
        );
        assert_eq!(amounts(&all)[1], (none, Some(CeilingMeasureName::CoreHours)));
        let all = grant(
            &ceiling(None),
            vec![claim(2, held(31, 0), none, none)],
            held(170, 0),
        );
        assert_eq!(amounts(&all)[0].1, Some(CeilingMeasureName::CoreHours));
        assert_eq!(all.set_aside, held(170, 0));
    }

    #[test]
    fn a_raise_that_does_not_fit_leaves_what_there_was_and_a_cut_frees_at_once() {
        let none = HeldSeconds::default();
        let raised = claim(1, held(250, 0), held(100, 0), held(20, 0));
        let all = grant(&ceiling(None), vec![raised], none);
        assert_eq!(
            amounts(&all),
            [(held(100, 0), Some(CeilingMeasureName::CoreHours))]
        );
        let cut = claim(1, held(50, 0), held(200, 0), none);
        let all = grant(
            &ceiling(None),
            vec![cut, claim(2, held(150, 0), none, none)],
            none,
        );
        assert_eq!(amounts(&all), [(held(50, 0), None), (held(150, 0), None)]);
    }

    #[test]
    fn an_allocation_over_two_years_counts_in_each_by_its_days() {
        let part = |year| part_of_year(365.into(), date(2026, 7, 2), date(2027, 7, 1), year);
        assert_eq!(part(2026), Some(183.into()));
        assert_eq!(part(2027), Some(182.into()));
        assert_eq!(part(2025), None);
        assert_eq!(part(2028), None);
        assert_eq!(
            part_of_year(7.into(), date(2026, 12, 31), date(2027, 1, 2), 2026),
            Some(Decimal::new(2_334, 3)),
            "a started thousandth is a whole one"
        );
    }

    fn amount() -> impl Strategy<Value = HeldSeconds> {
        (0..150_i64, 0..30_i64).prop_map(|(core, gpu)| held(core, gpu))
    }

    proptest! {
        #[test]
        fn grants_never_pass_the_ceiling_never_shrink_and_settle_in_any_order(
            mut claims in prop::collection::vec((amount(), amount()), 1..12),
            weights in prop::option::of((0..5_i64, 1..20_i64)),
            reversed in any::<bool>(),
        ) {
            let ceiling = ceiling(weights.map(|(core, gpu)| held(core, gpu)));
            let none = HeldSeconds::default();
            let mut all: Vec<Claim<u32>> = (0..).zip(&claims)
                .map(|(id, (wanted, _))| claim(id, *wanted, none, none))
                .collect();
            if reversed {
                all.reverse();
            }
            let mut before = grant(&ceiling, all, none);
            prop_assert_eq!(ceiling.passed_by(before.set_aside), None);
            // Each asks for something else now, again and again, and uses of what it has.
            for _ in 0..3 {
                claims.rotate_left(1);
                let next: Vec<Claim<u32>> = before.grants.iter().zip(&claims)
                    .map(|(g, (_, wanted))| claim(g.id, *wanted, g.amount, g.amount.at_most(*wanted)))
                    .collect();
                let now = grant(&ceiling, next.clone(), none);
                prop_assert_eq!(ceiling.passed_by(now.set_aside), None);
                for (claim, g) in next.iter().zip(&now.grants) {
                    prop_assert_eq!(g.amount.or_more(claim.granted.at_most(claim.wanted)), g.amount);
                    prop_assert_eq!(g.refused_by.is_none(), g.amount == claim.wanted);
                }
                let again = now.grants.iter().zip(&next)
                    .map(|(g, c)| claim(g.id, c.wanted, g.amount, c.used))
                    .collect();
                // Only by what a refusal is measured may change: those who came later have been served.
                let again = grant(&ceiling, again, none);
                prop_assert_eq!(again.set_aside, now.set_aside);
                prop_assert!(again.grants.iter().map(|g| g.amount).eq(now.grants.iter().map(|g| g.amount)));
                before = now;
            }
        }
    }
}

//! A cost pool is shared to the cent: the parts sum exactly to the whole, always.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::{ContributionKey, Currency, Meter, Share};
use mesocentre_metering::sharing::*;
use mesocentre_metering::*;
use proptest::prelude::*;
use support::*;

fn pool(annual_cents: i64, fixed: i64, shares: &[(String, i64)]) -> mesocentre_api::CostPoolSpec {
    mesocentre_api::CostPoolSpec {
        description: "Énergie".to_owned(),
        currency: Currency::EUR,
        valid_from: "2026-01-01".parse().unwrap(),
        valid_until: "2026-12-31".parse().unwrap(),
        annual_amount: rust_decimal::Decimal::new(annual_cents, 2),
        shares: shares
            .iter()
            .map(|(tenant, weight)| Share {
                tenant: tenant.clone(),
                weight: *weight,
            })
            .collect(),
        key: ContributionKey {
            fixed,
            usage: 100 - fixed,
            meter: Some(Meter::ComputeCoreHours),
        },
        changes: Vec::new(),
        true_up: None,
    }
}

fn named(weights: &[i64]) -> Vec<(String, i64)> {
    weights
        .iter()
        .enumerate()
        .map(|(i, weight)| (format!("tenant-{i:03}"), *weight))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_thousand_random_pools_sum_to_the_pool(
        amount in -1_000_000_000_000_i128..1_000_000_000_000,
        fixed in 0_i64..=100,
        weights in prop::collection::vec(0_i64..=1_000_000, 1..30),
        uses in prop::collection::vec(0_i128..=10_i128.pow(24), 30),
    ) {
        prop_assume!(weights.iter().any(|w| *w > 0));
        let shares = named(&weights);
        let spec = pool(0, fixed, &shares);
        let used = |tenant: &str| uses[tenant["tenant-".len()..].parse::<usize>().unwrap()];
        let shared = share_pool("p", &spec, Cents(amount), used).unwrap();
        prop_assert_eq!(shared.parts.iter().map(PoolPart::due).sum::<Cents>(), Cents(amount));
        prop_assert_eq!(shared.parts.iter().map(|part| part.fixed).sum::<Cents>(), shared.fixed);
        prop_assert_eq!(shared.parts.iter().map(|part| part.by_use).sum::<Cents>(), shared.by_use);
        // Each part is its exact quota rounded down or up, never further away.
        let total: i128 = weights.iter().map(|w| i128::from(*w)).sum();
        for part in &shared.parts {
            let exact_times_total = shared.fixed.0 * part.weight;
            prop_assert!((part.fixed.0 * total - exact_times_total).abs() < total);
        }
        // Given back as it was charged.
        let back = share_pool("p", &spec, Cents(-amount), used).unwrap();
        for (part, back) in shared.parts.iter().zip(&back.parts) {
            prop_assert_eq!(part.due().0, -back.due().0);
        }
        // The order in which shares are written means nothing.
        let mut turned = spec.clone();
        turned.shares.reverse();
        prop_assert_eq!(share_pool("p", &turned, Cents(amount), used).unwrap(), shared);
    }

    #[test]
    fn twelve_months_sum_to_the_year(annual in -100_000_000_000_i64..100_000_000_000) {
        let spec = pool(annual, 60, &named(&[1]));
        let months = months_of(&spec).unwrap();
        prop_assert_eq!(months.len(), 12);
        let mut sum = 0;
        for month in months {
            let amount = amount_of_month("p", &spec, month).unwrap().unwrap().0;
            // A twelfth, to the cent.
            prop_assert!((amount * 12 - i128::from(annual)).abs() <= 12);
            sum += amount;
        }
        prop_assert_eq!(sum, i128::from(annual));
    }
}

#[test]
fn one_cent_among_three_goes_to_the_first_by_name_each_time() {
    for _ in 0..3 {
        assert_eq!(
            largest_remainder(Cents(1), &[1, 1, 1]).unwrap(),
            [Cents(1), Cents(0), Cents(0)]
        );
        assert_eq!(
            largest_remainder(Cents(-1), &[1, 1, 1]).unwrap(),
            [Cents(-1), Cents(0), Cents(0)]
        );
    }
    let shares = [("zoe", 1), ("ann", 1), ("max", 1)].map(|(name, weight)| (name.to_owned(), weight));
    let shared = share_pool("p", &pool(0, 100, &shares), Cents(1), |_| 0).unwrap();
    let due: Vec<(&str, i128)> = shared
        .parts
        .iter()
        .map(|part| (part.tenant.as_str(), part.due().0))
        .collect();
    assert_eq!(due, [("ann", 1), ("max", 0), ("zoe", 0)]);
}

#[test]
fn no_use_at_all_falls_back_to_the_keys() {
    let spec = &example_pools()[0].spec;
    let shared = share_pool("datacentre-2026", spec, Cents(4_000_000), |_| 0).unwrap();
    let due: Vec<String> = shared.parts.iter().map(|part| part.due().to_string()).collect();
    // chu-rouen 30 %, nova-motors 25 %, univ-caen 45 % of 40,000.00
    assert_eq!(due, ["12000.00", "10000.00", "18000.00"]);
}

#[test]
fn the_part_by_use_follows_the_use_of_those_who_share() {
    let spec = &example_pools()[0].spec;
    let used = |tenant: &str| match tenant {
        "univ-caen" => 3,
        "chu-rouen" => 1,
        "a-stranger" => 1_000_000,
        _ => 0,
    };
    let shared = share_pool("datacentre-2026", spec, Cents(4_000_000), used).unwrap();
    let due: Vec<String> = shared.parts.iter().map(|part| part.due().to_string()).collect();
    // 60 % of 40,000 by weight 30, 25, 45; 40 % by use 1 : 0 : 3
    assert_eq!(due, ["11200.00", "6000.00", "22800.00"]);
}

#[test]
fn a_pool_costs_nothing_outside_its_months_and_a_half_month_is_refused() {
    let mut spec = pool(48_000_000, 60, &named(&[1]));
    let month = |text: &str| text.parse::<BillingMonth>().unwrap();
    assert_eq!(amount_of_month("p", &spec, month("2025-12")), Ok(None));
    assert_eq!(amount_of_month("p", &spec, month("2027-01")), Ok(None));
    assert_eq!(
        amount_of_month("p", &spec, month("2026-11")),
        Ok(Some(Cents(4_000_000)))
    );
    spec.valid_from = "2026-03-15".parse().unwrap();
    let refusal = amount_of_month("p", &spec, month("2026-03"))
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("whole months"), "{refusal}");
}

#[test]
fn a_pool_that_falls_on_nobody_is_refused() {
    let nobody = share_pool("p", &pool(1, 60, &named(&[0, 0])), Cents(1), |_| 5);
    assert!(
        matches!(nobody, Err(SharingFault::NobodyShares { .. })),
        "{nobody:?}"
    );
    let twice = [("a".to_owned(), 1), ("a".to_owned(), 2)];
    assert!(matches!(
        share_pool("p", &pool(1, 60, &twice), Cents(1), |_| 0),
        Err(SharingFault::BadShare { .. })
    ));
}

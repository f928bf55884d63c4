//! The tariffs of a category follow each other day by day: an overlap or a gap is said, with what to write.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_metering::*;
use proptest::prelude::*;
use support::*;

fn tariff(name: &str, from: &str, until: &str) -> NamedTariff {
    let mut tariff = example_tariffs().remove(0);
    tariff.name = name.to_owned();
    tariff.spec.valid_from = from.parse().unwrap();
    tariff.spec.valid_until = until.parse().unwrap();
    tariff.spec.categories.truncate(1);
    tariff
}

#[test]
fn the_examples_tariffs_meet() {
    assert_eq!(tariff_conflicts(&example_tariffs()), []);
}

#[test]
fn a_year_that_follows_a_year_is_no_conflict() {
    let tariffs = [
        tariff("a", "2026-01-01", "2026-12-31"),
        tariff("b", "2027-01-01", "2027-12-31"),
    ];
    assert_eq!(tariff_conflicts(&tariffs), []);
}

#[test]
fn one_common_day_is_an_overlap() {
    let tariffs = [
        tariff("b", "2026-12-31", "2027-12-31"),
        tariff("a", "2026-01-01", "2026-12-31"),
    ];
    let conflicts = tariff_conflicts(&tariffs);
    assert_eq!(
        conflicts,
        [TariffConflict::Overlap {
            first: "a".to_owned(),
            second: "b".to_owned(),
            category: "University",
            from: "2026-12-31".parse().unwrap(),
            until: "2026-12-31".parse().unwrap(),
        }]
    );
    assert!(conflicts[0].concerns("a") && conflicts[0].concerns("b") && !conflicts[0].concerns("c"));
    assert!(conflicts[0].to_string().contains("end a before b begins"));
}

#[test]
fn one_day_without_a_tariff_is_a_gap() {
    // The long one before covers what the short one inside it leaves.
    let tariffs = [
        tariff("a", "2026-01-01", "2026-06-30"),
        tariff("b", "2026-07-02", "2026-12-31"),
    ];
    let conflicts = tariff_conflicts(&tariffs);
    assert!(
        matches!(&conflicts[..], [TariffConflict::Gap { .. }]),
        "{conflicts:?}"
    );
    assert!(
        conflicts[0].to_string().contains("from 2026-07-01 to 2026-07-01"),
        "{}",
        conflicts[0]
    );
    let nested = [
        tariff("long", "2026-01-01", "2026-12-31"),
        tariff("short", "2026-03-01", "2026-03-31"),
        tariff("next", "2027-01-01", "2027-12-31"),
    ];
    let conflicts = tariff_conflicts(&nested);
    assert!(
        matches!(&conflicts[..], [TariffConflict::Overlap { .. }]),
        "{conflicts:?}"
    );
}

#[test]
fn tiers_that_do_not_rise_are_named_before_anything_is_used() {
    let market = example_tariffs().remove(1);
    assert!(senseless_tiers(&market.spec).is_empty());
    let tier = |up_to: Option<&str>| mesocentre_api::Tier {
        up_to: up_to.map(|bound| bound.parse().unwrap()),
        unit_price: "0.05".parse().unwrap(),
    };
    for tiers in [
        vec![tier(Some("10000")), tier(Some("10000")), tier(None)],
        vec![tier(Some("10000"))],
        vec![tier(None), tier(Some("10000"))],
    ] {
        let mut spec = market.spec.clone();
        spec.prices[0].tiers = Some(tiers);
        assert_eq!(senseless_tiers(&spec), ["compute.core-hours"]);
    }
}

proptest! {
    #[test]
    fn a_day_has_one_tariff_exactly_when_no_conflict_is_named(spans in prop::collection::vec((0_i32..60, 0_i32..20), 1..6)) {
        let first: jiff::civil::Date = "2026-01-01".parse().unwrap();
        let day = |n: i32| first + jiff::Span::new().days(n);
        let tariffs: Vec<NamedTariff> = spans.iter().enumerate().map(|(i, (from, length))| {
            tariff(&format!("t{i}"), &day(*from).to_string(), &day(from + length).to_string())
        }).collect();
        let begin = spans.iter().map(|(from, _)| *from).min().unwrap();
        let end = spans.iter().map(|(from, length)| from + length).max().unwrap();
        let covering = |n: i32| spans.iter().filter(|(from, length)| (*from..=from + length).contains(&n)).count();
        let one_each = (begin..=end).all(|n| covering(n) == 1);
        prop_assert_eq!(tariff_conflicts(&tariffs).is_empty(), one_each);
    }
}

//! Promises: a key that changes within the year is applied pro rata, with exact sums; what was called and the true-up are
//! together the real costs, to the cent, also when these are below nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use jiff::civil::Date;
use mesocentre_api::{
    ContributionKey, LineKind, Meter, NodeFailure, PoolChange, Share, StatementLine, TrueUp,
};
use mesocentre_metering::sharing::{Days, PoolPart, keys_over, share_over, true_up};
use mesocentre_metering::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::*;

const TENANTS: [&str; 3] = ["univ-caen", "chu-rouen", "nova-motors"];

fn shares(weights: [i64; 3]) -> Vec<Share> {
    TENANTS
        .into_iter()
        .zip(weights)
        .map(|(tenant, weight)| Share {
            tenant: tenant.to_owned(),
            weight,
        })
        .collect()
}

fn change(from: &str, weights: Option<[i64; 3]>, fixed: Option<i64>) -> PoolChange {
    PoolChange {
        from: from.parse().unwrap(),
        decision: "Conseil d'administration du 12 juin, délibération 14".to_owned(),
        shares: weights.map(shares),
        key: fixed.map(|fixed| ContributionKey {
            fixed,
            usage: 100 - fixed,
            meter: Some(Meter::ComputeCoreHours),
        }),
    }
}

/// The example's pool of 480,000.00 a year, 60 % by 45, 30 and 25, 40 % by use.
fn with(changes: Vec<PoolChange>, true_up: Option<TrueUp>, month: &str) -> RatingBasis {
    let mut basis = basis(month);
    basis.tariffs = years(basis.tariffs);
    let pool = &mut basis.cost_pools[0].spec;
    pool.changes = changes;
    pool.true_up = true_up;
    basis
}

/// The examples' tariffs, so long that all months of these tests are priced.
fn years(mut tariffs: Vec<NamedTariff>) -> Vec<NamedTariff> {
    for tariff in &mut tariffs {
        tariff.spec.valid_until = "2030-12-31".parse().unwrap();
    }
    tariffs
}

fn actual(amount: &str) -> Option<TrueUp> {
    Some(TrueUp {
        actual_amount: amount.parse().unwrap(),
        month: "2027-01".to_owned(),
        decision: "Comptes de l'exercice 2026".to_owned(),
    })
}

fn lines_of(rated: &Rated, tenant: &str, kind: LineKind) -> Vec<StatementLine> {
    let lines = statement(rated, tenant).lines.iter();
    lines.filter(|line| line.kind == kind).cloned().collect()
}

fn cents(line: &StatementLine) -> Cents {
    Cents::from_decimal(line.amount.parse().unwrap()).unwrap()
}

#[test]
fn a_key_that_changes_within_a_month_is_applied_pro_rata_of_its_days() {
    // November has 30 days: 10 under the first key, 20 under the second.
    let basis = with(
        vec![change("2026-11-11", Some([20, 30, 50]), Some(100))],
        None,
        "2026-11",
    );
    let records = [
        record(
            "1",
            "univ-caen",
            36_000,
            "2026-11-05T10:00:00Z",
            "2026-11-05T11:00:00Z",
        ),
        // At the zone's midnight, half on each side.
        record(
            "2",
            "chu-rouen",
            72_000,
            "2026-11-10T22:00:00Z",
            "2026-11-11T00:00:00Z",
        ),
        record(
            "3",
            "nova-motors",
            1_000_000,
            "2026-11-20T10:00:00Z",
            "2026-11-20T11:00:00Z",
        ),
    ];
    let rated = rate(&basis, &records);
    assert_eq!(rated.faults, []);
    let of = |tenant: &str| -> Vec<String> {
        let lines = lines_of(&rated, tenant, LineKind::CostShare);
        lines.into_iter().map(|line| line.amount).collect()
    };
    // 40,000.00 a month: 13,333.33 for ten days, 26,666.67 for twenty. Of the first 7,999.998 → 8,000.00 by weight and
    // 5,333.33 by use, which chu-rouen and univ-caen share half and half, the odd cent the first by name; the second all by
    // weight.
    assert_eq!(of("univ-caen"), ["6266.66", "5333.33"]);
    assert_eq!(of("chu-rouen"), ["5066.67", "8000.00"]);
    assert_eq!(of("nova-motors"), ["2000.00", "13333.34"]);
    let all: Cents = TENANTS
        .iter()
        .flat_map(|tenant| lines_of(&rated, tenant, LineKind::CostShare))
        .map(|line| cents(&line))
        .sum();
    assert_eq!(all, Cents(4_000_000));
    let described = lines_of(&rated, "univ-caen", LineKind::CostShare)[1]
        .description
        .clone()
        .unwrap();
    assert!(described.ends_with("du 11/11/2026 au 30/11/2026"), "{described}");
    // Before and after that month there is one key, and one line.
    for (month, first) in [("2026-10", "10800.00"), ("2026-12", "8000.00")] {
        let rated = rate(
            &RatingBasis {
                month: month.parse().unwrap(),
                ..basis.clone()
            },
            &[],
        );
        let lines = lines_of(&rated, "univ-caen", LineKind::CostShare);
        assert_eq!(lines.len(), 1, "{month}");
        let by_weight = rated.pools[0]
            .parts
            .iter()
            .find(|part| part.tenant == "univ-caen")
            .unwrap();
        assert_eq!(by_weight.fixed.to_string(), first, "{month}");
    }
}

#[tokio::test]
async fn what_was_called_and_the_true_up_are_together_the_real_costs() {
    for (real, records) in [
        ("512345.67", true),
        ("480000.00", true),
        ("-1000.01", true),
        ("99.99", false),
    ] {
        let test = TestLedger::new().await;
        let ledger = &test.ledger;
        let use_of = |key: &str, tenant: &str, quantity, day: &str| {
            record(
                key,
                tenant,
                quantity,
                &format!("{day}T10:00:00Z"),
                &format!("{day}T11:00:00Z"),
            )
        };
        if records {
            let early = [
                use_of("1", "univ-caen", 7_200_000, "2026-02-03"),
                use_of("2", "chu-rouen", 3_600_001, "2026-07-14"),
                use_of("3", "nova-motors", 1_234_567, "2026-12-24"),
            ];
            ledger.append(&early, at("2026-12-30T00:00:00Z")).await.unwrap();
        }
        let changes = || {
            vec![
                change("2026-07-10", Some([45, 25, 30]), None),
                change("2026-10-01", None, Some(50)),
            ]
        };
        let mut called: BTreeMap<&str, Cents> = BTreeMap::new();
        for month in 1..=12 {
            let basis = with(changes(), None, &format!("2026-{month:02}"));
            let rated = rate_month(ledger, &basis).await.unwrap().rated;
            for tenant in TENANTS {
                for line in lines_of(&rated, tenant, LineKind::CostShare) {
                    let sum = called.entry(tenant).or_default();
                    *sum = *sum + cents(&line);
                }
            }
            close_month(ledger, &basis, at("2027-01-05T00:00:00Z"))
                .await
                .unwrap();
        }
        assert_eq!(
            called.values().copied().sum::<Cents>(),
            Cents(48_000_000),
            "twelve months are the year"
        );
        // Use that came after its month was closed counts in the year's shares.
        if records {
            let late = [use_of("4", "chu-rouen", 9_000_000, "2026-03-03")];
            ledger.append(&late, at("2027-01-10T00:00:00Z")).await.unwrap();
        }
        let january = with(changes(), actual(real), "2027-01");
        let rated = rate_month(ledger, &january).await.unwrap().rated;
        assert_eq!(rated.faults, []);
        let real = Cents::from_decimal(real.parse().unwrap()).unwrap();
        let mut together = Cents(0);
        for tenant in TENANTS {
            let lines = lines_of(&rated, tenant, LineKind::TrueUp);
            assert_eq!(lines.len(), 1, "{tenant}");
            together = together + called[tenant] + cents(&lines[0]);
            let part = rated.true_ups[0]
                .parts
                .iter()
                .find(|part| part.tenant == tenant)
                .unwrap();
            assert_eq!((part.called, part.due()), (called[tenant], cents(&lines[0])));
        }
        assert_eq!(together, real);
        // Closed, it stays, and is computed again to the same bytes.
        let closed = close_month(ledger, &january, at("2027-02-05T00:00:00Z"))
            .await
            .unwrap();
        assert_eq!(
            recompute_closed_month(ledger, closed.month).await.unwrap(),
            closed.statements
        );
        assert_eq!(verify(&test.url).await.unwrap().faults, []);
        // It is made up once.
        let february = with(changes(), actual("1.00"), "2027-02");
        let rated = rate_month(ledger, &february).await.unwrap().rated;
        assert!(rated.true_ups.is_empty());
    }
}

#[tokio::test]
async fn a_true_up_waits_for_the_months_that_it_makes_up() {
    let test = TestLedger::new().await;
    let ledger = &test.ledger;
    let january = with(Vec::new(), actual("1.00"), "2027-01");
    let rated = rate_month(ledger, &january).await.unwrap().rated;
    let told = rated.faults[0].to_string();
    assert!(
        told.contains("made up to its real costs in 2027-01, and 2026-12 of it is not closed"),
        "{told}"
    );
    let mut early = actual("1.00");
    early.as_mut().unwrap().month = "2026-12".to_owned();
    let rated = rate_month(ledger, &with(Vec::new(), early, "2026-11"))
        .await
        .unwrap()
        .rated;
    let told = rated.faults[0].to_string();
    assert!(
        told.contains("is in 2026-12, and the pool goes until 2026-12: write a later month"),
        "{told}"
    );
}

#[test]
fn what_a_tariff_has_free_is_no_use_of_the_years_shares_either() {
    let mut basis = with(Vec::new(), actual("100.00"), "2027-01");
    for tariff in &mut basis.tariffs {
        tariff.spec.node_failure = NodeFailure::Free;
    }
    let mut failed = record(
        "1",
        "univ-caen",
        36_000,
        "2026-03-03T10:00:00Z",
        "2026-03-03T11:00:00Z",
    );
    failed.evidence.insert("state".to_owned(), "NODE_FAIL".to_owned());
    let whole = record(
        "2",
        "chu-rouen",
        1,
        "2026-03-03T10:00:00Z",
        "2026-03-03T11:00:00Z",
    );
    let mut rating = Rating::new(&basis).unwrap();
    assert_eq!(rating.true_up_spans().len(), 1);
    for record in [failed, whole] {
        rating.add_use_of_span(0, &ValidRecord::try_from(record).unwrap());
    }
    let head = Head {
        seq: 0,
        hash: Digest::ZERO,
    };
    let rated = rating.finish(
        mesocentre_api::StatementState::Provisional,
        &head,
        &Default::default(),
    );
    let parts = &rated.true_ups[0].shared[0].parts;
    let used: Vec<i128> = parts.iter().map(|part| part.used).collect();
    assert_eq!(used, [1, 0, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn however_often_a_key_changes_the_parts_sum_to_the_whole(
        amount in -10_000_000_000_i128..10_000_000_000,
        days in proptest::collection::btree_set(2_i16..=365, 0..8),
        weights in proptest::collection::vec((0_i64..50, 0_i64..50, 1_i64..50), 8),
        fixed in proptest::collection::vec(0_i64..=100, 8),
        uses in proptest::collection::vec(0_i128..1_000_000, 3),
    ) {
        let mut spec = with(Vec::new(), None, "2026-01").cost_pools.remove(0).spec;
        let first: Date = "2026-01-01".parse().unwrap();
        for (place, day) in days.iter().enumerate() {
            let from = first.with().day_of_year(*day).build().unwrap();
            let (a, b, c) = weights[place];
            let weights = (place % 3 != 0).then_some([a, b, c]);
            spec.changes.push(change(&from.to_string(), weights, (place % 2 == 0 || weights.is_none()).then_some(fixed[place])));
        }
        // Their order means nothing.
        spec.changes.reverse();
        let year = Days { first, last: "2026-12-31".parse().unwrap() };
        let keys = keys_over(&spec, year);
        prop_assert_eq!(keys.len(), days.len() + 1);
        prop_assert_eq!(keys.iter().map(|key| key.days.count()).sum::<i128>(), 365);
        let used = |tenant: &str, _: Meter, _: Days| uses[TENANTS.iter().position(|one| *one == tenant).unwrap()];
        let shared = share_over("p", &spec, year, Cents(amount), used).unwrap();
        let parts = || shared.iter().flat_map(|one| &one.parts);
        prop_assert_eq!(parts().map(PoolPart::due).sum::<Cents>(), Cents(amount));
        for one in &shared {
            prop_assert_eq!(one.parts.iter().map(PoolPart::due).sum::<Cents>(), one.amount);
            // Its days' part, to the cent.
            let days = one.days.map_or(365, Days::count);
            prop_assert!((one.amount.0 * 365 - amount * days).abs() < 365);
        }
        // Whatever was called, also of somebody who shares no more: called and due are the real costs.
        let called: BTreeMap<String, Cents> = [("univ-caen", Cents(amount / 3)), ("gone", Cents(7))].map(|(tenant, called)| (tenant.to_owned(), called)).into();
        let made = true_up("p", &spec, Cents(amount), &called, used).unwrap();
        let together: Cents = made.parts.iter().map(|part| part.called + part.due()).sum();
        prop_assert_eq!(together, Cents(amount));
        let gone = made.parts.iter().find(|part| part.tenant == "gone").unwrap();
        prop_assert_eq!(gone.due(), Cents(-7));
    }
}

//! What stands on a statement is enough to recompute it, and it is the same whatever came first and wherever it ran.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::{LineKind, Meter, Tier};
use mesocentre_metering::statement::{explain_line, recompute_line};
use mesocentre_metering::*;
use proptest::prelude::*;
use support::*;

const FROM: &str = "2026-11-10T10:00:00Z";
const TO: &str = "2026-11-10T11:00:00Z";

#[test]
fn the_examples_statement_comes_out_to_the_cent() {
    // 20 core-hours and one second for univ-caen, and as much as makes its share of the part by use 46.5 %.
    let records = [
        record("1", "univ-caen", 72_001, FROM, TO),
        UsageRecord {
            allocation: Some("imaging".to_owned()),
            ..record("2", "chu-rouen", 82_841, FROM, TO)
        },
    ];
    let rated = rate(&basis("2026-11"), &records);
    assert_eq!(rated.faults, []);
    let status = statement(&rated, "univ-caen");
    let line = &status.lines[0];
    assert_eq!(
        (
            line.quantity.as_deref(),
            line.unit_price.as_deref(),
            line.amount.as_str(),
            line.records
        ),
        (Some("20.000278"), Some("0.0120"), "0.24", Some(1))
    );
    assert_eq!(line.base_quantity.as_deref(), Some("72001"));
    assert_eq!(
        explain_line(line, &status.period, status.currency).unwrap(),
        "72001 core_seconds ÷ 3600 × 0.0120 EUR = 0.24 EUR, by the tariff public-2026, from 1 usage records"
    );
    // 45 % of 24,000.00 and 72,001 / 154,842 of 16,000.00 = 7,439.9452… → 7,439.95 (the cent left over is its).
    let share = &status.lines[1];
    assert_eq!(
        (share.kind, share.amount.as_str()),
        (LineKind::CostShare, "18239.95")
    );
    assert_eq!(
        share.description.as_deref(),
        Some("Bâtiment, énergie et exploitation")
    );
    assert_eq!(status.totals.net, "18240.19");
    assert_eq!(
        (
            status.totals.vat[0].rate.as_str(),
            status.totals.vat[0].amount.as_str()
        ),
        ("20", "3648.04")
    );
    assert_eq!(status.totals.gross, "21888.23");
    // As the API writes it.
    let json = serde_json::to_value(status).unwrap();
    assert_eq!(json["period"]["from"], "2026-10-31T23:00:00Z");
    assert_eq!(json["lines"][0]["meter"], "compute.core-hours");
}

#[test]
fn tiers_price_only_what_falls_inside_and_fill_over_all_allocations() {
    // 9,999.5 core-hours on the first allocation by name, 1 on the second.
    let mut records = vec![
        UsageRecord {
            allocation: Some("b".to_owned()),
            ..record("1", "nova-motors", 3_600, FROM, TO)
        },
        UsageRecord {
            allocation: Some("a".to_owned()),
            ..record("2", "nova-motors", 9_999 * 3_600 + 1_800, FROM, TO)
        },
    ];
    let rated = rate(&basis_without_pools("2026-11"), &records);
    let lines = |rated: &Rated| -> Vec<(String, i32, String, String)> {
        let lines = &statement(rated, "nova-motors").lines;
        lines
            .iter()
            .map(|line| {
                let base = line.base_quantity.clone().unwrap();
                (
                    line.allocation.clone().unwrap(),
                    line.tier.unwrap(),
                    base,
                    line.amount.clone(),
                )
            })
            .collect()
    };
    let expected = [
        ("a", 1, "35998200", "599.97"),
        ("b", 1, "1800", "0.03"),
        ("b", 2, "1800", "0.03"),
    ]
    .map(|(allocation, tier, base, amount)| {
        (allocation.to_owned(), tier, base.to_owned(), amount.to_owned())
    });
    assert_eq!(lines(&rated), expected);
    records.reverse();
    assert_eq!(lines(&rate(&basis_without_pools("2026-11"), &records)), expected);
}

#[test]
fn a_free_grant_used_up_inside_one_record_is_cut_there() {
    let mut basis = basis_without_pools("2026-11");
    let price = basis
        .tariffs
        .iter_mut()
        .find(|tariff| tariff.name == "public-2026")
        .unwrap();
    price.spec.prices[0].unit_price = None;
    price.spec.prices[0].tiers = Some(vec![
        Tier {
            up_to: Some("100".parse().unwrap()),
            unit_price: "0".parse().unwrap(),
        },
        Tier {
            up_to: None,
            unit_price: "0.0120".parse().unwrap(),
        },
    ]);
    let rated = rate(&basis, &[record("1", "univ-caen", 1_000 * 3_600, FROM, TO)]);
    let lines: Vec<(&str, &str)> = statement(&rated, "univ-caen")
        .lines
        .iter()
        .map(|line| (line.quantity.as_deref().unwrap(), line.amount.as_str()))
        .collect();
    assert_eq!(lines, [("100.000000", "0.00"), ("900.000000", "10.80")]);
}

#[test]
fn use_without_a_price_is_said_and_never_billed_at_nothing() {
    let gpu = with_meter(
        record("1", "nova-motors", 3_600, FROM, TO),
        Meter::ComputeGpuHours,
    );
    let rated = rate(
        &basis_without_pools("2026-11"),
        &[gpu, record("2", "univ-caen", 3_600, FROM, TO)],
    );
    let faults: Vec<String> = rated.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].contains("market-2026") && faults[0].contains("compute.gpu-hours"),
        "{faults:?}"
    );
    let billed: Vec<&str> = rated
        .statements
        .iter()
        .map(|statement| statement.tenant.as_str())
        .collect();
    assert_eq!(billed, ["chu-rouen", "univ-caen"], "the others are not held up");

    let next_year = record(
        "1",
        "univ-caen",
        3_600,
        "2027-01-10T10:00:00Z",
        "2027-01-10T11:00:00Z",
    );
    let faults = rate(&basis_without_pools("2027-01"), &[next_year]).faults;
    assert!(
        matches!(&faults[..], [RatingFault::NoTariff { .. }]),
        "{faults:?}"
    );

    let faults = rate(
        &basis_without_pools("2026-11"),
        &[record("1", "lab-closed", 3_600, FROM, TO)],
    )
    .faults;
    assert!(
        matches!(&faults[..], [RatingFault::UnknownTenant { .. }]),
        "{faults:?}"
    );

    // Taken back by the source, it is nobody's any more.
    let faults = rate(
        &basis_without_pools("2026-11"),
        &[record("1", "lab-closed", 0, FROM, TO)],
    )
    .faults;
    assert_eq!(faults, []);

    let mut twice = basis_without_pools("2026-11");
    let mut copy = twice.tariffs[0].clone();
    copy.name = "public-again".to_owned();
    twice.tariffs.push(copy);
    let faults = rate(&twice, &[record("1", "univ-caen", 3_600, FROM, TO)]).faults;
    assert!(
        matches!(&faults[..], [RatingFault::ManyTariffs { .. }]),
        "{faults:?}"
    );
}

#[test]
fn a_cost_share_without_a_vat_rate_or_a_tenant_holds_up_those_who_share() {
    let mut basis = basis("2026-11");
    basis.tariffs.retain(|tariff| tariff.name != "market-2026");
    let rated = rate(&basis, &[]);
    assert!(
        matches!(&rated.faults[..], [RatingFault::NoVat { .. }]),
        "{:?}",
        rated.faults
    );
    assert_eq!(rated.statements.len(), 2);
    basis.tenants.retain(|tenant| tenant.name != "nova-motors");
    let rated = rate(&basis, &[]);
    assert!(
        matches!(&rated.faults[..], [RatingFault::PoolTenant { .. }]),
        "{:?}",
        rated.faults
    );
    assert_eq!(
        rated.statements.len(),
        0,
        "a share too few would bill the others too little or too much"
    );
}

#[test]
fn a_run_of_zero_seconds_is_kept_and_costs_no_line() {
    let nothing = record("1", "univ-caen", 0, FROM, FROM);
    let rated = rate(&basis_without_pools("2026-11"), &[nothing]);
    let status = statement(&rated, "univ-caen");
    assert_eq!(
        (
            status.lines.len(),
            status.ledger.records,
            status.totals.gross.as_str()
        ),
        (0, 1, "0.00")
    );
}

#[test]
fn a_million_lines_of_a_part_of_a_cent_do_not_drift() {
    // A million runs of 1,200 core seconds: 0.4 cent each, summed before the line is rounded once.
    let basis = basis_without_pools("2026-11");
    let mut rating = Rating::new(&basis).unwrap();
    let run = ValidRecord::try_from(record("1", "univ-caen", 1_200, FROM, TO)).unwrap();
    for _ in 0..1_000_000 {
        rating.add_use(&run);
    }
    let rated = rating.finish(
        mesocentre_api::StatementState::Provisional,
        &Head {
            seq: 0,
            hash: Digest::ZERO,
        },
        &Default::default(),
    );
    let line = &statement(&rated, "univ-caen").lines[0];
    assert_eq!((line.amount.as_str(), line.records), ("4000.00", Some(1_000_000)));
}

#[test]
fn economic_use_is_counted_apart() {
    let records = [
        record("1", "univ-caen", 100, FROM, TO),
        UsageRecord {
            activity: Activity::Economic,
            ..record("2", "nova-motors", 30, FROM, TO)
        },
    ];
    let by = rate(&basis_without_pools("2026-11"), &records).activity[&Meter::ComputeCoreHours];
    assert_eq!((by.economic, by.non_economic), (30, 100));
}

/// What the examples' tariffs price.
const PRICED: [Meter; 5] = [
    Meter::ComputeCoreHours,
    Meter::ComputeGpuHours,
    Meter::ClusterCpuHours,
    Meter::ClusterMemoryGibHours,
    Meter::StorageGibMonths,
];

fn some_records() -> impl Strategy<Value = Vec<UsageRecord>> {
    let one = (
        0..3_usize,
        0..3_usize,
        0..PRICED.len(),
        0_i128..100_000_000_000,
        -40_i64..70,
        1_i64..900_000,
    );
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let records =
            all.into_iter()
                .enumerate()
                .map(|(i, (tenant, allocation, meter, quantity, day, length))| {
                    let tenant = &tenants()[tenant].name;
                    let mut record = record(&format!("run-{i}"), tenant, quantity, FROM, TO);
                    record.key.meter = match PRICED[meter] {
                        // The market tariff has no price for it.
                        Meter::ComputeGpuHours if tenant == "nova-motors" => Meter::ComputeCoreHours,
                        meter => meter,
                    };
                    record.allocation = ["climate-2026", "imaging"]
                        .get(allocation)
                        .map(|name| (*name).to_owned());
                    record.start = at("2026-10-25T00:00:00Z") + jiff::SignedDuration::from_hours(24 * day);
                    record.end = record.start + jiff::SignedDuration::from_secs(length);
                    record
                });
        records.collect()
    })
}

fn bytes(rated: &Rated) -> Vec<u8> {
    canonical_json(&(&rated.statements, &rated.pools)).unwrap()
}

proptest! {
    #[test]
    fn any_order_of_arrival_gives_the_same_bytes(
        (records, shuffled) in some_records().prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle())),
        turn in 0..6_usize,
    ) {
        let rated = rate(&basis("2026-11"), &records);
        prop_assert_eq!(&rated.faults, &[]);
        let mut other = basis("2026-11");
        other.tenants.rotate_left(turn % 3);
        other.tariffs.rotate_left(turn % 2);
        prop_assert_eq!(bytes(&rate(&other.sorted(), &shuffled)), bytes(&rated));
    }

    #[test]
    fn every_line_and_total_recomputes_from_what_stands_on_it(records in some_records()) {
        let rated = rate(&basis("2026-11"), &records);
        for TenantStatement { status, .. } in &rated.statements {
            let cents = |text: &str| Cents::from_decimal(text.parse().unwrap()).unwrap();
            for line in status.lines.iter().filter(|line| line.kind == LineKind::Usage) {
                prop_assert_eq!(recompute_line(line, &status.period).unwrap(), cents(&line.amount));
            }
            let net: Cents = status.lines.iter().map(|line| cents(&line.amount)).sum();
            prop_assert_eq!(cents(&status.totals.net), net);
            let vat: Cents = status.totals.vat.iter().map(|vat| cents(&vat.amount)).sum();
            prop_assert_eq!(cents(&status.totals.gross), net + vat);
        }
        // What was shared of the pool stands on the statements, to the cent.
        let shared: Cents = rated.statements.iter().flat_map(|statement| &statement.status.lines)
            .filter(|line| line.kind == LineKind::CostShare)
            .map(|line| Cents::from_decimal(line.amount.parse().unwrap()).unwrap())
            .sum();
        prop_assert_eq!(shared, Cents(4_000_000));
    }
}

const MARK: &str = "bytes of a month: ";

#[test]
fn the_same_month_has_the_same_bytes_under_any_host_time_zone() {
    let told = |zone: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "says_the_bytes_of_a_month", "--nocapture"])
            .env("TZ", zone)
            // No zone files of the host either.
            .env("TZDIR", "/nonexistent")
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let line = output
            .lines()
            .find_map(|line| line.split_once(MARK))
            .map(|(_, digest)| digest.to_owned());
        line.unwrap_or_else(|| panic!("no bytes under {zone}: {output}"))
    };
    let paris = told("Europe/Paris");
    assert_eq!(paris.len(), 64);
    for zone in ["UTC", "Pacific/Auckland", "America/Los_Angeles", "Asia/Kathmandu"] {
        assert_eq!(told(zone), paris, "{zone}");
    }
}

/// The child of the test above.
#[test]
fn says_the_bytes_of_a_month() {
    let job = record(
        "1",
        "univ-caen",
        7 * 3_601,
        "2026-10-31T22:40:00Z",
        "2026-10-31T23:40:01Z",
    );
    let rated = rate(&basis("2026-11"), &[job]);
    println!("\n{MARK}{}", Digest::of(&[&bytes(&rated)]));
}

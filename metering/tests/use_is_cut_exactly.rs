//! Use is cut at the ends of civil months and where tariffs change; the pieces sum exactly to the whole.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::Meter;
use mesocentre_metering::calendar::*;
use mesocentre_metering::*;
use proptest::prelude::*;
use support::*;

fn window(month: &str, zone: &str) -> MonthWindow {
    DatacentreZone::named(zone)
        .unwrap()
        .month(month.parse().unwrap())
        .unwrap()
}

#[test]
fn a_month_is_a_civil_month_of_the_datacentres_zone() {
    let november = window("2026-11", "Europe/Paris");
    assert_eq!(
        november.span,
        TimeSpan {
            from: at("2026-10-31T23:00:00Z"),
            to: at("2026-11-30T23:00:00Z")
        }
    );
    // A March day has 23 hours, an October one 25, a February one more every four years.
    for (month, hours) in [
        ("2026-03", 31 * 24 - 1),
        ("2026-10", 31 * 24 + 1),
        ("2026-02", 28 * 24),
        ("2028-02", 29 * 24),
    ] {
        assert_eq!(window(month, "Europe/Paris").seconds(), hours * 3_600, "{month}");
    }
    assert_eq!(window("2026-03", "UTC").seconds(), 31 * 86_400);
    // Santiago skips midnight itself: the day begins at one.
    let september = window("2026-09", "America/Santiago");
    assert_eq!(september.seconds(), 30 * 86_400 - 3_600);
    assert!(
        DatacentreZone::named("Europe/Caen")
            .unwrap_err()
            .to_string()
            .contains("Europe/Paris")
    );
    for wrong in ["2026-13", "2026-1", "26-01", "2026", "2026-00", "+026-01"] {
        assert!(wrong.parse::<BillingMonth>().is_err(), "{wrong}");
    }
}

#[test]
fn months_follow_each_other_without_a_gap() {
    let zone = DatacentreZone::named("Europe/Paris").unwrap();
    let mut month: BillingMonth = "2020-01".parse().unwrap();
    for _ in 0..240 {
        let next = month.next().unwrap();
        assert_eq!(
            zone.month(month).unwrap().span.to,
            zone.month(next).unwrap().span.from,
            "{month}"
        );
        assert_eq!(next.index() - month.index(), 1);
        month = next;
    }
}

#[test]
fn a_gib_kept_through_any_month_is_one_gib_month() {
    for month in ["2026-02", "2026-03", "2026-10", "2026-11"] {
        let window = window(month, "Europe/Paris");
        let whole = record(
            "pvc",
            "univ-caen",
            (1 << 30) * window.seconds(),
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:01Z",
        );
        let kept = UsageRecord {
            start: window.span.from,
            end: window.span.to,
            ..whole
        };
        let rated = rate(
            &basis_without_pools(month),
            &[with_meter(kept, Meter::StorageGibMonths)],
        );
        let line = &statement(&rated, "univ-caen").lines[0];
        assert_eq!(
            (line.quantity.as_deref(), line.amount.as_str()),
            (Some("1.000000"), "0.03"),
            "{month}"
        );
    }
    // The day of the change of clocks: 23 hours of 743, 25 of 745.
    for (month, start, end, hours, quantity) in [
        (
            "2026-03",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
            23,
            "309.555855",
        ),
        (
            "2026-10",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
            25,
            "335.570470",
        ),
    ] {
        let stored = record("pvc", "univ-caen", (10_000 << 30) * hours * 3_600, start, end);
        let rated = rate(
            &basis_without_pools(month),
            &[with_meter(stored, Meter::StorageGibMonths)],
        );
        assert_eq!(
            statement(&rated, "univ-caen").lines[0].quantity.as_deref(),
            Some(quantity),
            "{month}"
        );
    }
}

#[test]
fn a_job_over_a_months_end_is_billed_in_both_months_and_the_pieces_sum_exactly() {
    // Seven cores for an hour and a second, a third of it in October.
    let job = record(
        "1",
        "univ-caen",
        7 * 3_601,
        "2026-10-31T22:40:00Z",
        "2026-10-31T23:40:01Z",
    );
    let mut sum = 0;
    for (month, seconds) in [
        ("2026-09", 0),
        ("2026-10", 1_200),
        ("2026-11", 2_401),
        ("2026-12", 0),
    ] {
        let rated = rate(&basis_without_pools(month), std::slice::from_ref(&job));
        let status = statement(&rated, "univ-caen");
        let billed: i128 = status
            .lines
            .iter()
            .map(|line| line.base_quantity.as_ref().unwrap().parse::<i128>().unwrap())
            .sum();
        assert_eq!(billed, 7 * seconds, "{month}");
        assert_eq!(status.ledger.records, i64::from(seconds > 0));
        sum += billed;
    }
    assert_eq!(sum, job.quantity);
}

#[test]
fn a_tariff_change_in_the_middle_of_a_job_cuts_it_at_the_instant() {
    let mut basis = basis_without_pools("2026-11");
    let mut first = basis
        .tariffs
        .iter()
        .find(|tariff| tariff.name == "public-2026")
        .unwrap()
        .clone();
    let mut second = first.clone();
    first.spec.valid_until = "2026-11-15".parse().unwrap();
    second.spec.valid_from = "2026-11-16".parse().unwrap();
    second.name = "public-2026-b".to_owned();
    second.spec.prices[0].unit_price = Some("0.0240".parse().unwrap());
    basis.tariffs = vec![second, first];
    // 16 November begins at 23:00 UTC of the 15th in Paris.
    let job = record(
        "1",
        "univ-caen",
        100 * 7_200,
        "2026-11-15T22:00:00Z",
        "2026-11-16T00:00:00Z",
    );
    let rated = rate(&basis, &[job]);
    let lines: Vec<(&str, &str, &str)> = statement(&rated, "univ-caen")
        .lines
        .iter()
        .map(|line| {
            (
                line.tariff.as_deref().unwrap(),
                line.quantity.as_deref().unwrap(),
                line.amount.as_str(),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("public-2026", "100.000000", "1.20"),
            ("public-2026-b", "100.000000", "2.40")
        ]
    );
}

proptest! {
    #[test]
    fn the_pieces_of_a_cut_record_sum_to_the_whole(
        start in 0_i64..4_000_000_000,
        length in 1_i64..400_000_000,
        quantity in 0_i128..=10_i128.pow(30),
        mut at in prop::collection::vec(-100_000_000_i64..4_500_000_000, 0..20),
    ) {
        let instant = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
        let span = TimeSpan { from: instant(start), to: instant(start + length) };
        at.sort_unstable();
        let at: Vec<jiff::Timestamp> = at.into_iter().map(instant).collect();
        let pieces = cut(span, quantity, &at).unwrap();
        prop_assert_eq!(pieces.iter().map(|piece| piece.quantity).sum::<i128>(), quantity);
        prop_assert!(pieces.iter().all(|piece| piece.quantity >= 0 && piece.span.from < piece.span.to));
        prop_assert_eq!(pieces[0].span.from, span.from);
        prop_assert_eq!(pieces[pieces.len() - 1].span.to, span.to);
        prop_assert!(pieces.windows(2).all(|pair| pair[0].span.to == pair[1].span.from));
        // A whole number of cores each second is cut exactly there.
        let whole = cut(span, 48 * i128::from(length), &at).unwrap();
        prop_assert!(whole.iter().all(|piece| piece.quantity * 1_000_000_000 == 48 * piece.span.nanoseconds()));
    }

    #[test]
    fn every_month_gets_its_piece_and_together_they_are_the_whole(
        start in 1_767_222_000_i64..1_790_000_000,
        length in 1_i64..8_000_000,
        quantity in 1_i128..1_000_000_000,
    ) {
        let instant = |seconds: i64| jiff::Timestamp::from_second(seconds).unwrap();
        let mut whole = record("1", "univ-caen", quantity, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
        (whole.start, whole.end) = (instant(start), instant(start + length));
        let mut sum = 0;
        for month in 1..=12 {
            let rated = rate(&basis_without_pools(&format!("2026-{month:02}")), std::slice::from_ref(&whole));
            for line in &statement(&rated, "univ-caen").lines {
                sum += line.base_quantity.as_ref().unwrap().parse::<i128>().unwrap();
            }
        }
        prop_assert_eq!(sum, quantity);
    }
}

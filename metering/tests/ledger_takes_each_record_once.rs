//! The ledger takes each record once, whatever comes with it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::Meter;
use mesocentre_metering::*;
use support::*;

fn three() -> Vec<UsageRecord> {
    ["1", "2", "3"]
        .map(|key| {
            record(
                key,
                "univ-caen",
                3_600,
                "2026-11-10T10:00:00Z",
                "2026-11-10T11:00:00Z",
            )
        })
        .to_vec()
}

#[tokio::test]
async fn the_same_intake_three_times_changes_nothing() {
    let test = TestLedger::new().await;
    let mut batch = three();
    batch.push(record(
        "bad",
        "univ-caen",
        -1,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    ));
    let first = test.append(&batch).await;
    assert_eq!((first.new, first.known, first.quarantined.len()), (3, 0, 1));
    assert!(first.quarantined[0].first_time);
    let rows = (test.dump("usage_record").await, test.dump("quarantine").await);
    for _ in 0..2 {
        // Later, and through a ledger that was opened again.
        let ledger = Ledger::open(&test.url).await.unwrap();
        let again = ledger.append(&batch, at("2026-12-02T08:00:00Z")).await.unwrap();
        assert_eq!((again.new, again.known, again.head), (0, 3, first.head));
        assert!(!again.quarantined[0].first_time);
    }
    assert_eq!(
        rows,
        (test.dump("usage_record").await, test.dump("quarantine").await)
    );
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

#[tokio::test]
async fn the_same_key_with_another_body_goes_to_quarantine() {
    let test = TestLedger::new().await;
    test.append(&three()).await;
    let other = UsageRecord {
        quantity: 7_200,
        ..three().remove(1)
    };
    let answer = test.append(std::slice::from_ref(&other)).await;
    assert_eq!((answer.new, answer.known), (0, 0));
    assert_eq!(answer.quarantined[0].reason, "Conflict");
    assert!(
        answer.quarantined[0].message.contains("row 2"),
        "{}",
        answer.quarantined[0].message
    );
    assert_eq!(test.ledger.quarantined().await.unwrap(), 1);
    // Within one batch too.
    let twins = [
        record(
            "9",
            "chu-rouen",
            1,
            "2026-11-01T00:00:00Z",
            "2026-11-01T01:00:00Z",
        ),
        record(
            "9",
            "chu-rouen",
            2,
            "2026-11-01T00:00:00Z",
            "2026-11-01T01:00:00Z",
        ),
        record(
            "9",
            "chu-rouen",
            1,
            "2026-11-01T00:00:00Z",
            "2026-11-01T01:00:00Z",
        ),
    ];
    let answer = test.append(&twins).await;
    assert_eq!((answer.new, answer.known, answer.quarantined.len()), (1, 1, 1));
}

#[tokio::test]
async fn one_malformed_record_never_stops_a_batch() {
    let test = TestLedger::new().await;
    let mut batch = three();
    batch.insert(
        0,
        record(
            "backwards",
            "univ-caen",
            5,
            "2026-11-10T11:00:00Z",
            "2026-11-10T10:00:00Z",
        ),
    );
    batch.insert(
        2,
        record("nobody", "", 5, "2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z"),
    );
    batch.insert(
        4,
        record("", "univ-caen", 5, "2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z"),
    );
    batch.push(record(
        "timeless",
        "univ-caen",
        5,
        "2026-11-10T10:00:00Z",
        "2026-11-10T10:00:00Z",
    ));
    batch.push(record(
        "tab\t",
        "univ-caen",
        5,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    ));
    batch.push(record(
        "huge",
        "univ-caen",
        i128::MAX,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    ));
    let answer = test.append(&batch).await;
    assert_eq!(answer.new, 3);
    let mut reasons: Vec<(usize, &str)> = answer.quarantined.iter().map(|q| (q.index, q.reason)).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            (0, "EndBeforeStart"),
            (2, "Missing"),
            (4, "Missing"),
            (6, "NoTime"),
            (7, "Unfit"),
            (8, "OutOfRange")
        ]
    );
}

#[tokio::test]
async fn names_of_people_are_pseudonyms_in_what_cannot_be_erased() {
    let test = TestLedger::new().await;
    let mut batch = three();
    batch.push(record(
        "bad",
        "univ-caen",
        -1,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    ));
    test.append(&batch).await;
    let alice = "alice";
    for table in ["usage_record", "quarantine"] {
        let rows = test.dump(table).await.join("\n");
        assert!(!rows.contains(alice), "{table} names alice");
    }
    assert!(test.dump("person").await.join("").contains(alice));
    // Erased: the proof holds, and the same intake is still known.
    assert_eq!(test.behind_its_back("DELETE FROM person").await.unwrap(), 1);
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
    assert_eq!(test.append(&three()).await.known, 3);
}

#[tokio::test]
async fn many_batches_side_by_side_make_one_chain() {
    let test = TestLedger::new().await;
    // Two processes' worth of connections, each batch also sent twice.
    let other = Ledger::open(&test.url).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for batch in 0..40 {
        let ledger = if batch % 2 == 0 {
            test.ledger.clone()
        } else {
            other.clone()
        };
        tasks.spawn(async move {
            let records: Vec<UsageRecord> = (0..5)
                .map(|i| {
                    let key = format!("{}-{i}", batch / 2);
                    record(
                        &key,
                        "univ-caen",
                        60,
                        "2026-11-10T10:00:00Z",
                        "2026-11-10T10:01:00Z",
                    )
                })
                .collect();
            ledger
                .append(&records, at("2026-12-01T08:00:00Z"))
                .await
                .unwrap()
                .new
        });
    }
    let new: u64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(new, 100);
    let proof = verify(&test.url).await.unwrap();
    assert_eq!((proof.records, proof.faults), (100, vec![]));
}

fn paris() -> DatacentreZone {
    DatacentreZone::named("Europe/Paris").unwrap()
}

fn used_in(year: i16, meter: Meter) -> ledger::UseKey {
    ledger::UseKey {
        tenant: "univ-caen".into(),
        allocation: Some("climate-2026".into()),
        meter,
        year,
        activity: Activity::NonEconomic,
    }
}

#[tokio::test]
async fn use_over_new_year_counts_in_both_years_by_the_datacentres_clock_and_sums_to_the_whole() {
    let test = TestLedger::new().await;
    // In Paris the year ends at 23:00 UTC.
    let over = record(
        "1",
        "univ-caen",
        3_601,
        "2026-12-31T22:00:00Z",
        "2027-01-01T00:00:00Z",
    );
    let up_to_the_end = record(
        "2",
        "univ-caen",
        5,
        "2026-12-31T22:00:00Z",
        "2026-12-31T23:00:00Z",
    );
    test.append(&[over, up_to_the_end]).await;
    let head = test.ledger.head().await.unwrap().seq;
    let used = test.ledger.allocation_use(0, head, &paris()).await.unwrap();
    let hours = Meter::ComputeCoreHours;
    assert_eq!(
        used,
        [(used_in(2026, hours), 1_800 + 5), (used_in(2027, hours), 1_801)].into()
    );
}

#[tokio::test]
async fn a_revision_takes_the_place_of_the_one_before() {
    let test = TestLedger::new().await;
    let first = three();
    let mut gpu = with_meter(first[0].clone(), Meter::ComputeGpuHours);
    gpu.quantity = 7;
    test.append(&[first[0].clone(), gpu]).await;
    let before = test.ledger.head().await.unwrap().seq;
    test.append(&[revised(first[0].clone(), 1, 100)]).await;
    let head = test.ledger.head().await.unwrap().seq;
    let key = |meter| used_in(2026, meter);
    let used = test.ledger.allocation_use(0, head, &paris()).await.unwrap();
    assert_eq!(used[&key(Meter::ComputeCoreHours)], 100);
    assert_eq!(used[&key(Meter::ComputeGpuHours)], 7);
    // The difference alone, for a caller who kept the rest.
    let difference = test.ledger.allocation_use(before, head, &paris()).await.unwrap();
    assert_eq!(difference, [(key(Meter::ComputeCoreHours), 100 - 3_600)].into());
    // Taken back: the next revision says nothing is left.
    test.append(&[revised(first[0].clone(), 2, 0)]).await;
    let used = test.ledger.allocation_use(0, head + 1, &paris()).await.unwrap();
    assert_eq!(used[&key(Meter::ComputeCoreHours)], 0);
    // An old revision that comes late changes nothing.
    let late = test.ledger.head().await.unwrap().seq;
    test.append(&[revised(three().remove(1), 3, 30)]).await;
    test.append(&[revised(three().remove(1), 2, 99)]).await;
    let difference = test
        .ledger
        .allocation_use(late + 1, late + 2, &paris())
        .await
        .unwrap();
    assert_eq!(difference, [].into());
}

#[tokio::test]
async fn a_watermark_never_goes_back() {
    let test = TestLedger::new().await;
    assert_eq!(test.ledger.watermark("slurm", "austral").await.unwrap(), None);
    for through in ["2026-11-10T10:00:00Z", "2026-11-10T09:00:00Z"] {
        test.ledger
            .advance_watermark("slurm", "austral", at(through))
            .await
            .unwrap();
    }
    assert_eq!(
        test.ledger.watermark("slurm", "austral").await.unwrap(),
        Some(at("2026-11-10T10:00:00Z"))
    );
}

#[tokio::test]
async fn only_its_owner_can_read_the_ledger() {
    use std::os::unix::fs::PermissionsExt as _;
    let test = TestLedger::in_a_file().await;
    test.append(&three()).await;
    let mut seen = 0;
    for file in std::fs::read_dir(test.folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
        seen += 1;
    }
    assert!(seen >= 2, "the ledger and the file beside it");
}

#[tokio::test]
async fn what_was_not_taken_is_told_by_verify_with_the_newest_first_and_is_no_fault() {
    let test = TestLedger::new().await;
    test.append(&three()).await;
    let none = verify(&test.url).await.unwrap();
    assert_eq!((none.quarantined, none.newest_quarantined), (0, Vec::new()));

    let backwards: Vec<UsageRecord> = (0..12)
        .map(|i| {
            record(
                &format!("backwards-{i}"),
                "univ-caen",
                1,
                "2026-11-01T01:00:00Z",
                "2026-11-01T00:00:00Z",
            )
        })
        .collect();
    test.append(&backwards).await;
    let found = verify(&test.url).await.unwrap();
    assert_eq!(found.faults, []);
    assert!(found.is_intact());
    assert_eq!(found.quarantined, 12);
    let newest: Vec<&RecordKey> = found
        .newest_quarantined
        .iter()
        .filter_map(|one| one.key.as_ref())
        .collect();
    let expected: Vec<&RecordKey> = backwards.iter().rev().take(10).map(|one| &one.key).collect();
    assert_eq!(newest, expected);
    let last = &found.newest_quarantined[0];
    assert_eq!(last.reason, "EndBeforeStart");
    assert!(last.message.contains("before it starts"), "{}", last.message);
}

#[tokio::test]
async fn the_same_key_twice_in_one_intake_is_one_record_however_far_apart() {
    let test = TestLedger::new().await;
    let named = |key: &str, quantity| {
        let (start, end) = ("2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z");
        record(key, "univ-caen", quantity, start, end)
    };
    let mut batch: Vec<UsageRecord> = (0..12_000).map(|key| named(&key.to_string(), 3_600)).collect();
    // Beside, in the next few, and after all that are looked at together.
    for place in [1, 2_600, 11_000] {
        batch.insert(place, named("0", 3_600));
        batch.insert(place, named("0", 7_200));
    }
    let appended = test.append(&batch).await;
    assert_eq!((appended.new, appended.known), (12_000, 3));
    let conflicts: Vec<_> = appended.quarantined.iter().map(|q| (q.index, q.reason)).collect();
    assert_eq!(
        conflicts,
        [(1, "Conflict"), (2_600, "Conflict"), (11_000, "Conflict")]
    );
    for conflict in &appended.quarantined {
        assert!(conflict.message.contains("as row 1 "), "{}", conflict.message);
    }
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

#[tokio::test]
async fn an_intake_whose_caller_goes_away_is_taken_whole_or_not_at_all() {
    let test = TestLedger::new().await;
    let batch = |round: u64| -> Vec<UsageRecord> {
        let named = |key: u64| {
            let (start, end) = ("2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z");
            record(&format!("{round}/{key}"), "univ-caen", 3_600, start, end)
        };
        (0..3_000).map(named).collect()
    };
    let (mut whole, mut cut_off) = (0, 0);
    // Later each time, until one is not cut off any more: each step of an intake has had its turn by then.
    for round in 0.. {
        let records = batch(round);
        let patience = std::time::Duration::from_millis(20 * round);
        let append = test.ledger.append(&records, at("2026-12-01T08:00:00Z"));
        match tokio::time::timeout(patience, append).await {
            Ok(appended) => {
                assert_eq!(appended.unwrap().new, 3_000);
                whole += 3_000;
                break;
            }
            Err(_) => cut_off += 1,
        }
        // The next one begins where that one ended: with all of it, or none.
        let head = test
            .ledger
            .append(&[], at("2026-12-01T08:00:00Z"))
            .await
            .unwrap()
            .head
            .seq;
        assert!(head == whole || head == whole + 3_000, "{head} after {whole}");
        whole = head;
    }
    assert!(cut_off > 1);
    let proof = verify(&test.url).await.unwrap();
    assert_eq!((proof.records, proof.faults), (whole, Vec::new()));
}

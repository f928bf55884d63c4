//! Nobody changes the ledger quietly: it refuses, and where it was gone round, verification names the row.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_metering::ledger::LedgerFault;
use mesocentre_metering::*;
use support::*;

const OPEN_THE_DOOR: &str = "DROP TRIGGER usage_record_refuses_update; DROP TRIGGER usage_record_refuses_delete; \
    DROP TRIGGER usage_record_refuses_replace;";
// As they stand in the migration, so that only the change itself is left to be found.
const CLOSE_THE_DOOR: &str = include_str!("../migrations/sqlite/0001_ledger.sql");

fn triggers_of_usage_record() -> String {
    CLOSE_THE_DOOR
        .split("CREATE TRIGGER ")
        .skip(1)
        .filter(|trigger| trigger.starts_with("usage_record_"))
        .map(|trigger| format!("CREATE TRIGGER {}END;", trigger.split("END;").next().unwrap()))
        .collect()
}

async fn ten_records() -> TestLedger {
    ten_records_in(TestLedger::new().await).await
}

async fn ten_records_in(test: TestLedger) -> TestLedger {
    let records: Vec<UsageRecord> = (1..=10)
        .map(|key| {
            record(
                &format!("run-{key}"),
                "univ-caen",
                3_600,
                "2026-11-10T10:00:00Z",
                "2026-11-10T11:00:00Z",
            )
        })
        .collect();
    test.append(&records).await;
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
    test
}

/// The faults after somebody with the file dropped the triggers, did this, and put them back.
async fn after(test: &TestLedger, deed: &str) -> Vec<LedgerFault> {
    let deed = if test.is_in_postgres() {
        // Triggers do not fire in this session.
        format!("SET session_replication_role = replica; {deed}")
    } else {
        format!("{OPEN_THE_DOOR} {deed}; {}", triggers_of_usage_record())
    };
    test.behind_its_back(&deed).await.unwrap();
    verify(&test.url).await.unwrap().faults
}

#[tokio::test]
async fn update_and_delete_are_refused_by_the_ledger() {
    let test = ten_records().await;
    let basis = basis("2026-11");
    close_month(&test.ledger, &basis, at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    test.append(&[record(
        "bad",
        "univ-caen",
        -1,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    )])
    .await;
    let tables = ["usage_record", "quarantine", "closed_month"];
    let mut before = Vec::new();
    for table in tables {
        before.push(test.dump(table).await);
        assert!(!before.last().unwrap().is_empty());
    }
    for deed in [
        "UPDATE usage_record SET quantity = '0' WHERE seq = 3",
        "DELETE FROM usage_record WHERE seq = 10",
        "DELETE FROM usage_record",
        "INSERT OR REPLACE INTO usage_record SELECT * FROM usage_record WHERE seq = 3",
        "REPLACE INTO usage_record SELECT 11, form, source, cluster, native_key, meter, revision, tenant, allocation, \
         person, activity, activity_reason, '0', start_ns, end_ns, evidence, received_ns, hash FROM usage_record WHERE seq = 3",
        "UPDATE quarantine SET reason = 'none'",
        "DELETE FROM quarantine",
        "UPDATE closed_month SET statements = x'7b7d'",
        "DELETE FROM closed_month",
        "REPLACE INTO closed_month SELECT * FROM closed_month",
    ] {
        // PostgreSQL knows no such statement; that a row takes no other's place is tried below.
        if test.is_in_postgres() && deed.contains("REPLACE") {
            continue;
        }
        let refusal = test.behind_its_back(deed).await.expect_err(deed).to_string();
        assert!(
            ["append-only", "stays", "closed once"]
                .iter()
                .any(|word| refusal.contains(word)),
            "{deed}: {refusal}"
        );
    }
    if test.is_in_postgres() {
        let columns = "form, source, cluster, native_key || seq::text, meter, revision, tenant, allocation, person, activity, \
            activity_reason, quantity, start_ns, end_ns, evidence, received_ns, hash";
        for (deed, word) in [
            (format!("INSERT INTO usage_record SELECT 12, {columns} FROM usage_record WHERE seq = 3"), "follows the last one"),
            (format!("INSERT INTO usage_record SELECT seq + 10, {columns} FROM usage_record WHERE seq > 5"), "follows the last one"),
            (
                "INSERT INTO usage_record SELECT 11, form, source, cluster, native_key, meter, revision, tenant, allocation, \
                 person, activity, activity_reason, '0', start_ns, end_ns + 2678400000000000, evidence, received_ns, hash \
                 FROM usage_record WHERE seq = 3"
                    .to_owned(),
                "no partition",
            ),
            (
                "INSERT INTO usage_record SELECT 11, form, source, cluster, native_key, meter, revision, tenant, allocation, \
                 person, activity, activity_reason, '0', start_ns, end_ns, evidence, received_ns, hash \
                 FROM usage_record WHERE seq = 3"
                    .to_owned(),
                "usage_key_pkey",
            ),
            ("UPDATE usage_record_2026_11 SET quantity = '0'".to_owned(), "append-only"),
            ("DELETE FROM usage_record_2026_11 WHERE seq = 10".to_owned(), "append-only"),
            ("TRUNCATE usage_record".to_owned(), "append-only"),
            ("UPDATE usage_key SET seq = 11 WHERE seq = 10".to_owned(), "append-only"),
            ("DELETE FROM usage_key".to_owned(), "append-only"),
            ("INSERT INTO closed_month SELECT '2026-10', time_zone, 0, 0, head, basis, statements, sha256, 0 FROM closed_month".to_owned(), "closed once"),
        ] {
            let refusal = test.behind_its_back(&deed).await.expect_err(&deed).to_string();
            assert!(refusal.contains(word), "{deed}: {refusal}");
        }
    }
    for (table, before) in tables.into_iter().zip(before) {
        assert_eq!(test.dump(table).await, before, "{table}");
    }
}

#[tokio::test]
async fn a_byte_changed_behind_its_back_is_found() {
    // Every column, one at a time.
    for change in [
        "form = 2",
        "source = 'slurn'",
        "cluster = 'austraL'",
        "native_key = 'run-44'",
        "meter = 'compute.gpu-hours'",
        "revision = 1",
        "tenant = 'univ-caem'",
        "allocation = NULL",
        "person = NULL",
        "activity = 'economic'",
        "activity_reason = 'because'",
        "quantity = '3601'",
        "start_ns = start_ns + 1",
        "end_ns = end_ns - 1",
        "evidence = '{\"state\":\"FAILED\"}'",
        "received_ns = received_ns + 1",
        "hash = zeroblob(32)",
    ] {
        let test = ten_records().await;
        let faults = after(&test, &format!("UPDATE usage_record SET {change} WHERE seq = 4")).await;
        let named = |fault: &LedgerFault| match fault {
            LedgerFault::Changed { seq, .. } | LedgerFault::UnknownForm { seq, .. } => *seq,
            other => panic!("{change}: {other}"),
        };
        let rows: Vec<i64> = faults.iter().map(named).collect();
        // A forged hash also breaks what follows it.
        let expected: &[i64] = if change.starts_with("hash") { &[4, 5] } else { &[4] };
        assert_eq!(rows, expected, "{change}");
    }
}

#[tokio::test]
async fn one_bit_flipped_in_the_file_is_found() {
    let test = ten_records_in(TestLedger::in_a_file().await).await;
    test.ledger.close().await;
    test.behind_its_back("PRAGMA wal_checkpoint(TRUNCATE)")
        .await
        .unwrap();
    let mut bytes = std::fs::read(test.url.file().unwrap()).unwrap();
    let place = bytes.windows(5).rposition(|window| window == b"run-7").unwrap();
    // In the row or in the index over it: flip each copy in turn, and find the one in the row.
    let places: Vec<usize> = (0..bytes.len() - 5)
        .filter(|i| &bytes[*i..*i + 5] == b"run-7")
        .collect();
    assert!(places.contains(&place));
    let mut found = 0;
    for place in places {
        bytes[place + 4] ^= 1;
        std::fs::write(test.url.file().unwrap(), &bytes).unwrap();
        let faults = verify(&test.url).await.unwrap().faults;
        found += faults
            .iter()
            .filter(|f| matches!(f, LedgerFault::Changed { seq: 7, .. }))
            .count();
        bytes[place + 4] ^= 1;
    }
    assert_eq!(found, 1, "the row's own bytes are hashed");
}

#[tokio::test]
async fn a_missing_row_is_named() {
    let test = ten_records().await;
    let faults = after(&test, "DELETE FROM usage_record WHERE seq IN (4, 5)").await;
    assert_eq!(faults, [LedgerFault::Missing { first: 4, last: 5 }]);
}

#[tokio::test]
async fn two_rows_that_changed_places_are_named() {
    let test = ten_records().await;
    let faults = after(
        &test,
        "UPDATE usage_record SET seq = -1 WHERE seq = 3; UPDATE usage_record SET seq = 3 WHERE seq = 8; \
         UPDATE usage_record SET seq = 8 WHERE seq = -1",
    )
    .await;
    let rows: Vec<i64> = faults
        .iter()
        .map(|fault| match fault {
            LedgerFault::Changed { seq, .. } => *seq,
            other => panic!("{other}"),
        })
        .collect();
    assert!(rows.contains(&3) && rows.contains(&8), "{faults:?}");
}

#[tokio::test]
async fn a_cut_tail_is_found_and_nothing_is_appended_over_it() {
    let test = ten_records().await;
    let faults = after(&test, "DELETE FROM usage_record WHERE seq > 7").await;
    assert_eq!(
        faults,
        [LedgerFault::TailCut {
            found: 7,
            expected: 10
        }]
    );
    let more = [record(
        "run-11",
        "univ-caen",
        1,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    )];
    let refusal = test
        .ledger
        .append(&more, at("2026-12-01T08:00:00Z"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refusal.contains("record 10") && refusal.contains("restore"),
        "{refusal}"
    );
    assert!(Ledger::open(&test.url).await.is_err());
    assert_eq!(
        verify(&test.url).await.unwrap().head.seq,
        7,
        "nothing was appended"
    );
}

#[tokio::test]
async fn all_records_gone_is_a_cut_tail_too() {
    let test = ten_records().await;
    let faults = after(&test, "DELETE FROM usage_record").await;
    assert_eq!(
        faults,
        [LedgerFault::TailCut {
            found: 0,
            expected: 10
        }]
    );
}

#[tokio::test]
async fn a_missing_head_file_is_said_and_not_taken_for_good() {
    let test = ten_records().await;
    std::fs::remove_file(test.url.head_file().unwrap()).unwrap();
    let faults = verify(&test.url).await.unwrap().faults;
    assert!(matches!(faults[..], [LedgerFault::NoAnchor { .. }]), "{faults:?}");
}

#[tokio::test]
async fn in_postgresql_a_record_without_its_key_and_a_trigger_at_rest_are_named() {
    let test = ten_records().await;
    if !test.is_in_postgres() {
        return;
    }
    after(&test, "DELETE FROM usage_key WHERE seq = 4").await;
    let faults = verify(&test.url).await.unwrap().faults;
    assert_eq!(faults, [LedgerFault::NoKey { seq: 4 }]);
    test.behind_its_back("ALTER TABLE quarantine DISABLE TRIGGER quarantine_refuses_delete")
        .await
        .unwrap();
    let faults = verify(&test.url).await.unwrap().faults;
    let at_rest = LedgerFault::NoTrigger {
        name: "quarantine_refuses_delete".to_owned(),
    };
    assert!(faults.contains(&at_rest), "{faults:?}");
}

#[tokio::test]
async fn a_trigger_that_is_gone_is_named() {
    let test = ten_records().await;
    test.behind_its_back("DROP TRIGGER usage_record_refuses_delete")
        .await
        .unwrap();
    let faults = verify(&test.url).await.unwrap().faults;
    assert_eq!(
        faults,
        [LedgerFault::NoTrigger {
            name: "usage_record_refuses_delete".to_owned()
        }]
    );
}

#[tokio::test]
async fn a_closed_month_that_was_changed_or_removed_is_named() {
    for (deed, word) in [
        (
            "UPDATE closed_month SET statements = CAST(replace(CAST(statements AS TEXT), '0.24', '0.23') AS BLOB)",
            "digest",
        ),
        ("UPDATE closed_month SET head = zeroblob(32)", "another hash"),
        ("UPDATE closed_month SET up_to_seq = 99", "gone"),
        ("DELETE FROM closed_month", "file beside"),
    ] {
        let test = TestLedger::new().await;
        test.append(&[record(
            "1",
            "univ-caen",
            72_001,
            "2026-11-10T10:00:00Z",
            "2026-11-10T11:00:00Z",
        )])
        .await;
        close_month(&test.ledger, &basis("2026-11"), at("2026-12-05T08:00:00Z"))
            .await
            .unwrap();
        assert_eq!(verify(&test.url).await.unwrap().faults, []);
        test.behind_its_back(&format!(
            "DROP TRIGGER closed_month_refuses_update; DROP TRIGGER closed_month_refuses_delete; {deed}"
        ))
        .await
        .unwrap();
        let faults = verify(&test.url).await.unwrap().faults;
        let said = faults.iter().any(|fault| match fault {
            LedgerFault::ClosedMonth { month, what } => month == "2026-11" && what.contains(word),
            _ => false,
        });
        assert!(said, "{deed}: {faults:?}");
    }
}

#[tokio::test]
async fn verification_reads_beside_a_writing_operator_and_writes_nothing() {
    let test = ten_records().await;
    let writer = test.ledger.clone();
    let writing = tokio::spawn(async move {
        for key in 11..=60 {
            let more = record(
                &format!("run-{key}"),
                "univ-caen",
                1,
                "2026-11-10T10:00:00Z",
                "2026-11-10T11:00:00Z",
            );
            writer.append(&[more], at("2026-12-01T08:00:00Z")).await.unwrap();
        }
    });
    let mut seen = 0;
    while !writing.is_finished() {
        let proof = verify(&test.url).await.unwrap();
        assert_eq!(proof.faults, []);
        assert!(proof.records >= seen);
        seen = proof.records;
    }
    writing.await.unwrap();
    assert_eq!(verify(&test.url).await.unwrap().records, 60);
}

#[tokio::test]
async fn a_quarantine_that_cannot_be_read_is_a_fault_and_the_rows_are_read_all_the_same() {
    let test = ten_records().await;
    test.behind_its_back("DROP TABLE quarantine").await.unwrap();
    let found = verify(&test.url).await.unwrap();
    assert!(
        found
            .faults
            .iter()
            .any(|fault| matches!(fault, LedgerFault::Quarantine { .. })),
        "{:?}",
        found.faults
    );
    assert_eq!(found.records, 10);
}

//! A ledger in another database is the same ledger: every row, every hash, every guard.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use jiff::civil::date;
use mesocentre_metering::holding::{Holding, Kept, Looked, Source};
use mesocentre_metering::invoice::{Series, draft};
use mesocentre_metering::ledger::{CopyError, CopyPurpose, Payment, Reading, Unsettled, copy};
use mesocentre_metering::*;
use support::*;

/// A ledger with something in each of its tables: a closed month, an invoice that was paid, a quarantine, what is
/// unsettled, and records after the close, in more than one batch's worth.
async fn full() -> TestLedger {
    let test = month_of_three().await;
    let ledger = &test.ledger;
    let statement = closed_statement(ledger, &basis("2026-11"), "univ-caen").await;
    let drafted = draft(&statement, &seller(), &university(), &terms(30)).unwrap();
    let series: Series = "F2026".parse().unwrap();
    let issued = ledger.issue(&series, &drafted, date(2026, 12, 7)).await.unwrap();
    let payment = Payment {
        reference: "VIR 1".to_owned(),
        amount: money::Cents(100),
        paid_on: date(2026, 12, 20),
    };
    ledger.record_payment(issued.number(), &payment).await.unwrap();
    let later: Vec<UsageRecord> = (0..700)
        .map(|i| {
            let month = if i % 2 == 0 { "12" } else { "11" };
            record(
                &format!("later-{i}"),
                "univ-caen",
                60,
                &format!("2026-{month}-10T10:00:00Z"),
                &format!("2026-{month}-10T10:01:00Z"),
            )
        })
        .chain([record(
            "bad",
            "univ-caen",
            -1,
            "2026-11-10T10:00:00Z",
            "2026-11-10T10:01:00Z",
        )])
        .collect();
    test.append(&later).await;
    ledger
        .advance_watermark("slurm", "austral", at("2026-12-11T00:00:00Z"))
        .await
        .unwrap();
    let unsettled = [Unsettled {
        what: "4711".to_owned(),
        why: "no end".to_owned(),
    }];
    let reading = Reading {
        source: "slurm",
        cluster: "austral",
        unsettled: &unsettled,
        settled: &Default::default(),
        from: at("2026-12-10T00:00:00Z"),
        is_whole: true,
    };
    ledger
        .note_unsettled(reading, at("2026-12-11T00:00:00Z"))
        .await
        .unwrap();
    let pods = Source {
        source: "platform",
        cluster: "kubernetes",
    };
    let kept = Kept {
        holding: Holding {
            tenant: "univ-caen".to_owned(),
            allocation: None,
            activity: Activity::NonEconomic,
            activity_reason: "category University".to_owned(),
            amounts: [(mesocentre_api::Meter::ClusterCpuHours, 500)].into(),
            evidence: Default::default(),
        },
        metered: at("2026-12-11T00:00:00Z"),
    };
    let looked = Looked {
        keep: [("pod/1".to_owned(), kept)].into(),
        ..Looked::default()
    };
    ledger
        .take_look(pods, &looked, at("2026-12-11T00:00:00Z"))
        .await
        .unwrap();
    test
}

#[tokio::test]
async fn every_table_of_a_ledger_is_copied() {
    let first = TestLedger::in_a_file().await;
    let second = TestLedger::in_a_file().await;
    let copied = copy(&first.ledger, &second.ledger, CopyPurpose::Move, |_, _| {})
        .await
        .unwrap();
    let copied: Vec<String> = copied
        .rows
        .iter()
        .map(|(table, _)| format!("table {table}"))
        .collect();
    let there = first
        .dump("(SELECT type || ' ' || name AS what FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '_sqlx%')")
        .await;
    for table in &there {
        assert!(copied.contains(table), "{table} is not copied: {copied:?}");
    }
    assert_eq!(there.len(), copied.len());
}

/// Another one, in the other database where there is a choice.
async fn another(than: &TestLedger) -> TestLedger {
    match std::env::var("MESO_TEST_POSTGRES") {
        Ok(_) if !than.is_in_postgres() => TestLedger::in_postgres().await,
        _ => TestLedger::in_a_file().await,
    }
}

#[tokio::test]
async fn every_row_and_hash_of_a_copy_is_the_same_and_it_goes_on_as_the_first_would() {
    let first = full().await;
    let second = another(&first).await;
    let mut told = 0;
    let copied = copy(
        &first.ledger,
        &second.ledger,
        CopyPurpose::Move,
        |table, count| {
            if table == "usage_record" {
                assert!(count > told);
                told = count;
            }
        },
    )
    .await
    .unwrap();
    assert_eq!(told, 704);
    let rows: Vec<u64> = copied.rows.iter().map(|(_, count)| *count).collect();
    assert!(rows.iter().all(|count| *count > 0), "{copied:?}");
    let (here, there) = (
        verify(&first.url).await.unwrap(),
        verify(&second.url).await.unwrap(),
    );
    assert_eq!(here.faults, []);
    assert_eq!(here, there);
    assert_eq!(copied.head, there.head);

    // What is known here is known there, and what is new gets the same hash.
    let known = [record(
        "later-3",
        "univ-caen",
        60,
        "2026-11-10T10:00:00Z",
        "2026-11-10T10:01:00Z",
    )];
    let new = [record(
        "new",
        "univ-caen",
        60,
        "2026-12-12T10:00:00Z",
        "2026-12-12T10:01:00Z",
    )];
    let bad = [record(
        "bad too",
        "univ-caen",
        -1,
        "2026-12-12T10:00:00Z",
        "2026-12-12T10:01:00Z",
    )];
    for test in [&first, &second] {
        assert_eq!(test.append(&known).await.known, 1);
        assert_eq!(test.append(&new).await.new, 1);
        assert!(test.append(&bad).await.quarantined[0].first_time);
    }
    assert_eq!(
        first.ledger.head().await.unwrap(),
        second.ledger.head().await.unwrap()
    );
    // Rated again, it is to the byte what it was here.
    let basis = basis("2026-12");
    let closed = |test: &TestLedger| {
        let ledger = test.ledger.clone();
        let basis = basis.clone();
        async move {
            close_month(&ledger, &basis, at("2027-01-05T08:00:00Z"))
                .await
                .unwrap()
        }
    };
    assert_eq!(closed(&first).await, closed(&second).await);
}

#[tokio::test]
async fn nothing_is_copied_over_a_ledger_that_holds_something() {
    let first = full().await;
    let second = another(&first).await;
    let theirs = [record(
        "theirs",
        "univ-caen",
        60,
        "2026-11-10T10:00:00Z",
        "2026-11-10T10:01:00Z",
    )];
    second.append(&theirs).await;
    let before = verify(&second.url).await.unwrap();
    let refused = copy(&first.ledger, &second.ledger, CopyPurpose::Backup, |_, _| {})
        .await
        .unwrap_err();
    assert!(matches!(refused, CopyError::NotNew { .. }), "{refused}");
    assert_eq!(verify(&second.url).await.unwrap(), before);
}

#[tokio::test]
async fn who_moves_a_ledger_that_somebody_still_writes_to_is_told_and_a_backup_is_of_one_moment() {
    let first = full().await;
    for purpose in [CopyPurpose::Move, CopyPurpose::Backup] {
        let second = another(&first).await;
        let before = verify(&first.url).await.unwrap();
        let address = first.address.clone();
        let late = [record(
            &format!("during {purpose:?}"),
            "univ-caen",
            60,
            "2026-12-12T10:00:00Z",
            "2026-12-12T10:01:00Z",
        )];
        // Written after the copy began to read, and before it ends: in the middle of the first table.
        let (say, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let (done, written) = std::sync::mpsc::channel();
        let writing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let writer = Ledger::open(&address.parse().unwrap()).await.unwrap();
                let () = heard.recv().await.unwrap();
                writer.append(&late, at("2026-12-13T08:00:00Z")).await.unwrap();
                done.send(()).unwrap();
            });
        });
        let mut waited = false;
        let copied = copy(&first.ledger, &second.ledger, purpose, |_, _| {
            if !waited {
                say.send(()).unwrap();
                written.recv().unwrap();
                waited = true;
            }
        })
        .await;
        writing.join().unwrap();
        let found = verify(&second.url).await.unwrap();
        match purpose {
            CopyPurpose::Move => {
                assert!(matches!(copied, Err(CopyError::WentOn { .. })), "{copied:?}");
                assert_eq!(found.records, 0);
            }
            CopyPurpose::Backup => {
                copied.unwrap();
                assert_eq!(found, before);
            }
        }
    }
}

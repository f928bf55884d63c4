//! Killed at any moment of intake: what was answered is in the ledger, nothing is there twice, and the chain is whole.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_metering::*;
use std::io::{BufRead as _, BufReader};
use support::*;

const LEDGER: &str = "MESO_TEST_LEDGER_TO_FILL";
const ANSWERED: &str = "answered batch ";
const IN_A_BATCH: usize = 20;

fn batch(number: usize) -> Vec<UsageRecord> {
    let one = |i| {
        record(
            &format!("{number}-{i}"),
            "univ-caen",
            60,
            "2026-11-10T10:00:00Z",
            "2026-11-10T10:01:00Z",
        )
    };
    (0..IN_A_BATCH).map(one).collect()
}

/// The child: takes batch after batch and says each that was answered, until it is killed.
#[tokio::test]
async fn fills_a_ledger_until_it_is_killed() {
    let Ok(url) = std::env::var(LEDGER) else { return };
    let ledger = Ledger::open(&url.parse().unwrap()).await.unwrap();
    for number in 0.. {
        ledger
            .append(&batch(number), at("2026-12-01T08:00:00Z"))
            .await
            .unwrap();
        println!("\n{ANSWERED}{number}");
    }
}

#[tokio::test]
async fn killed_during_intake_nothing_answered_is_lost_and_nothing_is_there_twice() {
    let test = TestLedger::new().await;
    test.ledger.close().await;
    let mut answered_before = 0;
    for kills in 1..=6 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fills_a_ledger_until_it_is_killed", "--nocapture"])
            .env(LEDGER, test.address.as_str())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut answered = 0;
        // Each kill comes one batch further on, while the next batch is being taken.
        for line in BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
        {
            answered += usize::from(line.starts_with(ANSWERED));
            if answered >= answered_before + kills {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(answered > answered_before, "the child took nothing in");
        answered_before = answered;

        let proof = verify(&test.url).await.unwrap();
        assert_eq!(proof.faults, []);
        let rows = usize::try_from(proof.records).unwrap();
        assert!(
            rows >= answered * IN_A_BATCH && rows.is_multiple_of(IN_A_BATCH),
            "{rows} rows of {answered} batches"
        );
        let ledger = Ledger::open(&test.url).await.unwrap();
        for number in 0..answered {
            let again = ledger
                .append(&batch(number), at("2026-12-02T08:00:00Z"))
                .await
                .unwrap();
            assert_eq!((again.new, again.known), (0, 20), "batch {number}");
        }
        ledger.close().await;
    }
}

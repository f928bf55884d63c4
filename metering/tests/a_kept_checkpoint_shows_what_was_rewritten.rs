//! Whoever kept a checkpoint sees that a ledger was written again, however well: with every hash computed anew, the file
//! beside it too, and nothing for `verify` alone to find.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_metering::checkpoint::{Checkpoint, CosignRequest};
use mesocentre_metering::ledger::{Expected, LedgerFault, verify_against};
use mesocentre_metering::*;
use support::*;

const ORIGIN: &str = "mesocentre.test/ledger";

/// A ledger of so many records, one of them with another quantity.
async fn ledger(count: u32, other: Option<u32>) -> TestLedger {
    let test = TestLedger::new().await;
    let records: Vec<UsageRecord> = (1..=count)
        .map(|key| {
            let quantity = if Some(key) == other { 1 } else { 3_600 };
            let of_somebody = record(
                &format!("run-{key}"),
                "univ-caen",
                quantity,
                "2026-11-10T10:00:00Z",
                "2026-11-10T11:00:00Z",
            );
            // A person's pseudonym is another in each ledger, and these are to be alike but for what is changed.
            UsageRecord {
                user: None,
                ..of_somebody
            }
        })
        .collect();
    test.append(&records).await;
    test
}

async fn now(test: &TestLedger) -> Checkpoint {
    let found = verify(&test.url).await.unwrap();
    assert_eq!(found.faults, []);
    found.checkpoint(ORIGIN)
}

async fn faults(test: &TestLedger, kept: &Checkpoint) -> Vec<LedgerFault> {
    let expected = Expected {
        checkpoints: vec![kept.clone()],
        proof_since: None,
    };
    verify_against(&test.url, &expected).await.unwrap().faults
}

#[tokio::test]
async fn a_ledger_that_grew_is_what_it_was() {
    let test = ledger(10, None).await;
    let kept = now(&test).await;
    let late = record(
        "late",
        "chu-rouen",
        60,
        "2026-11-11T10:00:00Z",
        "2026-11-11T11:00:00Z",
    );
    test.append(&[late]).await;
    close_month(&test.ledger, &basis("2026-11"), at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    assert_eq!(faults(&test, &kept).await, []);
    let later = now(&test).await;
    assert_eq!((kept.size, later.size), (10, 11));
    assert!(kept.closed.is_none() && later.closed.is_some());
    assert_eq!(faults(&test, &later).await, []);

    // And shown without the rows.
    let expected = Expected {
        checkpoints: Vec::new(),
        proof_since: Some(kept.size),
    };
    let proof = verify_against(&test.url, &expected).await.unwrap().proof;
    let seed = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = checkpoint::CheckpointKey::new(ORIGIN, &seed).unwrap();
    let request = CosignRequest {
        earlier: kept.size,
        proof,
        later: key.sign(&later),
    };
    assert_eq!(request.goes_on_from(&kept), Ok(()));
}

#[tokio::test]
async fn a_ledger_written_anew_with_all_its_hashes_is_found_by_who_kept_a_checkpoint() {
    let kept = now(&ledger(10, None).await).await;
    assert_eq!(
        faults(&ledger(12, None).await, &kept).await,
        [],
        "alike, nothing is found"
    );
    // Another quantity in the fourth row: the whole is as good as new, and says nothing of it by itself.
    let rewritten = ledger(12, Some(4)).await;
    assert_eq!(verify(&rewritten.url).await.unwrap().faults, []);
    let found = faults(&rewritten, &kept).await;
    assert!(
        matches!(found.as_slice(), [LedgerFault::Checkpoint { rows: 10, .. }]),
        "{found:?}"
    );
    assert!(
        found[0].to_string().contains("the rows up to 10 are not those"),
        "{}",
        found[0]
    );

    let cut = ledger(9, None).await;
    let found = faults(&cut, &kept).await;
    assert!(
        found[0]
            .to_string()
            .contains("the tail was cut: the ledger has 9 rows"),
        "{found:?}"
    );

    // A month that was closed is gone, though each row is there.
    let closed = ledger(10, None).await;
    close_month(&closed.ledger, &basis("2026-11"), at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    let with_month = now(&closed).await;
    let found = faults(&ledger(10, None).await, &with_month).await;
    assert!(
        found[0]
            .to_string()
            .contains("the closed month 2026-11 has another digest now, or is gone"),
        "{found:?}"
    );
}

//! Who keeps a checkpoint and no ledger can be shown that one single record is under it; and is shown nothing by a proof in
//! which one byte is another.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_metering::checkpoint::Checkpoint;
use mesocentre_metering::ledger::{ProofError, RecordProof};
use mesocentre_metering::*;
use support::*;

fn records(count: u32) -> Vec<UsageRecord> {
    (1..=count)
        .map(|key| {
            record(
                &format!("run-{key}, \"é\""),
                "univ-caen",
                3_600 + i128::from(key),
                "2026-11-10T10:00:00Z",
                "2026-11-10T11:00:00Z",
            )
        })
        .collect()
}

/// A ledger that was signed after each of its records.
async fn ledger(count: u32) -> (TestLedger, Vec<Checkpoint>) {
    let test = TestLedger::new().await;
    let mut checkpoints = Vec::new();
    for record in records(count) {
        test.append(&[record]).await;
        let found = verify(&test.url).await.unwrap();
        assert_eq!(found.faults, []);
        checkpoints.push(found.checkpoint("mesocentre.test/ledger"));
    }
    (test, checkpoints)
}

/// As it is sent and read again.
fn sent(proof: &RecordProof) -> RecordProof {
    let read = RecordProof::parse(&serde_json::to_string_pretty(proof).unwrap()).unwrap();
    assert_eq!(&read, proof);
    read
}

#[tokio::test]
async fn each_record_is_shown_to_be_in_each_checkpoint_since() {
    let (test, checkpoints) = ledger(20).await;
    let expected = records(20);
    for checkpoint in &checkpoints {
        let size = i64::try_from(checkpoint.size).unwrap();
        let all: Vec<i64> = (1..=size).rev().collect();
        let proof = sent(&test.ledger.prove(&all, size).await.unwrap());
        assert_eq!((proof.size, proof.root), (checkpoint.size, checkpoint.root));
        let proven = proof.check(checkpoint).unwrap();
        let found: Vec<i64> = proven.iter().map(|proven| proven.seq).collect();
        assert_eq!(found, all, "in the order in which they were asked for");
        for proven in proven {
            let appended = &expected[usize::try_from(proven.seq - 1).unwrap()];
            assert_eq!(proven.record.key, appended.key);
            assert_eq!(proven.record.quantity, appended.quantity);
            assert_eq!(proven.received, at("2026-12-01T08:00:00Z"));
            let person = proven.record.user.clone().unwrap();
            assert!(!person.contains("alice"), "a person is a pseudonym: {person}");
        }
        // By another checkpoint of the same ledger it shows nothing.
        for other in checkpoints.iter().filter(|other| other.size != checkpoint.size) {
            assert_eq!(
                proof.check(other),
                Err(ProofError::Size {
                    proof: checkpoint.size,
                    checkpoint: other.size
                })
            );
        }
    }
}

#[tokio::test]
async fn a_proof_in_which_one_byte_is_another_shows_nothing() {
    let (test, checkpoints) = ledger(13).await;
    for (seq, size) in [(1, 1), (1, 13), (6, 13), (13, 13), (8, 8)] {
        let checkpoint = &checkpoints[size - 1];
        let proof = test
            .ledger
            .prove(&[seq], checkpoint.size.cast_signed())
            .await
            .unwrap();
        let text = serde_json::to_string(&proof).unwrap();
        assert!(RecordProof::parse(&text).unwrap().check(checkpoint).is_ok());
        // What stands before is for people.
        let begins = text.find("\"size\"").unwrap();
        for place in begins..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1;
            let Ok(spoiled) = String::from_utf8(bytes) else {
                continue;
            };
            let shown = RecordProof::parse(&spoiled).and_then(|proof| proof.check(checkpoint));
            assert!(
                shown.is_err(),
                "record {seq} of {size}, byte {place}: {}",
                &spoiled[begins..]
            );
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    type Change = dyn Fn(&mut RecordProof);
    let (test, checkpoints) = ledger(13).await;
    let checkpoint = &checkpoints[12];
    let proof = test.ledger.prove(&[6], 13).await.unwrap();
    let after = |change: &Change| {
        let mut proof = proof.clone();
        change(&mut proof);
        proof.check(checkpoint).unwrap_err().to_string()
    };
    let cases: [(&Change, &str); 6] = [
        (
            &|proof| proof.size = 12,
            "a proof among 12 records, and the checkpoint is of 13",
        ),
        (
            &|proof| proof.root = Digest::ZERO,
            "its root over 13 records is 0000",
        ),
        (&|proof| proof.records[0].index = 13, "puts a record at index 13"),
        (
            &|proof| proof.records[0].index = 6,
            "number 6, and is put at index 6",
        ),
        (
            &|proof| proof.records[0].path.truncate(3),
            "the audit path of record 6 has 3 hashes, and 4 lead from there",
        ),
        (
            &|proof| proof.records[0].path.reverse(),
            "the audit path of record 6 does not lead from this record to the root",
        ),
    ];
    for (change, why) in cases {
        let said = after(change);
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn nothing_is_proven_from_a_ledger_that_was_changed() {
    let (test, _) = ledger(10).await;
    let error = test.ledger.prove(&[11], 10).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no record 11 among the first 10"),
        "{error}"
    );
    let error = test.ledger.prove(&[3], 11).await.unwrap_err();
    assert!(
        matches!(error, LedgerError::NotAsWritten { seq: 11, .. }),
        "{error}"
    );
    let deed = "UPDATE usage_record SET quantity = '1' WHERE seq = 4";
    let deed = if test.is_in_postgres() {
        format!("SET session_replication_role = replica; {deed}")
    } else {
        format!("DROP TRIGGER usage_record_refuses_update; {deed}")
    };
    test.behind_its_back(&deed).await.unwrap();
    assert!(
        test.ledger.prove(&[2], 3).await.is_ok(),
        "what is before it is as it was"
    );
    for record in [2, 4, 9] {
        let error = test.ledger.prove(&[record], 10).await.unwrap_err();
        assert!(
            matches!(error, LedgerError::NotAsWritten { seq: 4, .. }),
            "{error}"
        );
    }
}

//! Use that a source tells of and that cannot be taken is neither lost nor billed wrongly: it is noted until it is told
//! whole, or until a person closes a month without it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::AcknowledgedGap;
use mesocentre_metering::ledger::{Reading, Unsettled};
use mesocentre_metering::*;
use std::collections::BTreeSet;
use support::*;

const SOURCE: &str = "slurm";
const CLUSTER: &str = "austral";

fn run(what: &str) -> Unsettled {
    Unsettled {
        what: what.to_owned(),
        why: "it ends before it starts".to_owned(),
    }
}

/// A reading from an instant on that found these, and these others whole.
async fn read(
    test: &TestLedger,
    from: &str,
    unsettled: &[&str],
    settled: &[&str],
    is_whole: bool,
) -> Vec<Unsettled> {
    let unsettled: Vec<Unsettled> = unsettled.iter().map(|what| run(what)).collect();
    let settled: BTreeSet<String> = settled.iter().map(|&what| what.to_owned()).collect();
    let reading = Reading {
        source: SOURCE,
        cluster: CLUSTER,
        unsettled: &unsettled,
        settled: &settled,
        from: at(from),
        is_whole,
    };
    test.ledger
        .note_unsettled(reading, at("2026-11-20T00:00:00Z"))
        .await
        .unwrap()
}

async fn left(test: &TestLedger) -> Vec<String> {
    let left = test.ledger.unsettled(SOURCE, CLUSTER).await.unwrap();
    left.into_iter().map(|one| one.what).collect()
}

#[tokio::test]
async fn a_run_is_noted_once_and_settled_when_it_is_told_whole() {
    let test = TestLedger::new().await;
    assert_eq!(
        read(&test, "2026-11-19T00:00:00Z", &["job 1", "job 2"], &[], false).await,
        [run("job 1"), run("job 2")]
    );
    assert_eq!(
        read(&test, "2026-11-19T12:00:00Z", &["job 1"], &["job 3"], false).await,
        [],
        "told of before"
    );
    // A reading that did not reach back so far says nothing of job 2.
    assert_eq!(left(&test).await, ["job 1", "job 2"]);
    assert_eq!(
        test.ledger.unsettled_since(SOURCE, CLUSTER).await.unwrap(),
        Some(at("2026-11-19T00:00:00Z"))
    );
    read(&test, "2026-11-19T12:00:00Z", &[], &["job 1"], false).await;
    assert_eq!(left(&test).await, ["job 2"]);
    // Whoever took it out of the accounting meant it.
    read(&test, "2026-11-19T00:00:00Z", &[], &[], true).await;
    assert_eq!(left(&test).await, [""; 0]);
    assert_eq!(test.ledger.unsettled_since(SOURCE, CLUSTER).await.unwrap(), None);
}

#[tokio::test]
async fn another_cluster_is_not_concerned() {
    let test = TestLedger::new().await;
    read(&test, "2026-11-19T00:00:00Z", &["job 1"], &[], true).await;
    assert_eq!(test.ledger.unsettled(SOURCE, "boreal").await.unwrap(), []);
}

#[tokio::test]
async fn a_month_that_a_person_closes_without_a_run_keeps_the_reason_and_the_next_is_not_held_up() {
    let test = TestLedger::new().await;
    read(&test, "2026-11-19T00:00:00Z", &["job 1"], &[], true).await;
    let gap = AcknowledgedGap {
        cluster: CLUSTER.to_owned(),
        reason: "the node's clock was wrong, ticket 4711".to_owned(),
    };
    let mut basis = basis("2026-11");
    basis.acknowledged_gaps = vec![gap.clone()];
    let closed = close_month(&test.ledger, &basis, at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    let kept: RatingBasis = serde_json::from_slice(&closed.basis).unwrap();
    assert_eq!(kept.acknowledged_gaps, [gap]);
    assert_eq!(
        recompute_closed_month(&test.ledger, "2026-11".parse().unwrap())
            .await
            .unwrap(),
        closed.statements
    );
    assert_eq!(left(&test).await, [""; 0], "it holds up no other month");
    // Found again it stays waived, and a new one is news.
    assert_eq!(
        read(&test, "2026-11-19T00:00:00Z", &["job 1", "job 2"], &[], true).await,
        [run("job 2")]
    );
    assert_eq!(left(&test).await, ["job 2"]);
}

#[tokio::test]
async fn a_month_that_is_closed_with_no_gap_acknowledged_is_as_before_there_were_gaps() {
    let test = TestLedger::new().await;
    let closed = close_month(&test.ledger, &basis("2026-11"), at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    let kept = String::from_utf8(closed.basis).unwrap();
    assert!(!kept.contains("acknowledgedGaps"), "{kept}");
}

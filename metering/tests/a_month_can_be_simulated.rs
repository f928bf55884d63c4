//! What a month would have cost by other prices or keys is told from its real use, and changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::StatementState;
use mesocentre_metering::*;
use support::*;

async fn closed_month() -> TestLedger {
    let test = TestLedger::new().await;
    let hour = |key: &str, tenant: &str, quantity| {
        record(
            key,
            tenant,
            quantity,
            "2026-11-10T10:00:00Z",
            "2026-11-10T11:00:00Z",
        )
    };
    test.append(&[
        hour("1", "univ-caen", 3_600_000),
        hour("2", "nova-motors", 1_800_000),
        hour("3", "chu-rouen", 7_200_000),
    ])
    .await;
    close_month(&test.ledger, &basis("2026-11"), at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    test
}

fn nets(rated: &Rated) -> Vec<(String, String)> {
    let each = rated.statements.iter();
    each.map(|one| (one.tenant.clone(), one.status.totals.net.clone()))
        .collect()
}

#[tokio::test]
async fn with_nothing_changed_a_simulation_is_the_month_itself() {
    let test = closed_month().await;
    // What comes later is no part of it.
    test.append(&[record(
        "late",
        "univ-caen",
        9_999,
        "2026-11-12T10:00:00Z",
        "2026-11-12T11:00:00Z",
    )])
    .await;
    let reader = Ledger::open_to_read(&test.url).await.unwrap();
    let month = "2026-11".parse().unwrap();
    let basis = recorded_basis(&reader, month).await.unwrap().unwrap();
    let simulated = simulate(&reader, &basis).await.unwrap();
    let was = rate_month(&test.ledger, &basis).await.unwrap().rated;
    assert_eq!(simulated.statements, was.statements);
    assert!(
        simulated
            .statements
            .iter()
            .all(|one| one.status.state == StatementState::Final)
    );
}

#[tokio::test]
async fn another_key_moves_the_shares_and_not_their_sum_and_the_ledger_stays_as_it_is() {
    let test = closed_month().await;
    let before = verify(&test.url).await.unwrap();
    let reader = Ledger::open_to_read(&test.url).await.unwrap();
    let month = "2026-11".parse().unwrap();
    let mut basis = recorded_basis(&reader, month).await.unwrap().unwrap();
    let was = simulate(&reader, &basis).await.unwrap();
    let weights: Vec<i64> = basis.cost_pools[0]
        .spec
        .shares
        .iter()
        .map(|share| share.weight)
        .collect();
    for (share, weight) in basis.cost_pools[0]
        .spec
        .shares
        .iter_mut()
        .zip(weights.into_iter().rev())
    {
        share.weight = weight;
    }
    let would_be = simulate(&reader, &basis).await.unwrap();
    assert_ne!(nets(&was), nets(&would_be));
    let shared = |rated: &Rated| -> Vec<String> {
        rated
            .pools
            .iter()
            .map(|pool| format!("{:?}", pool.amount))
            .collect()
    };
    assert_eq!(shared(&was), shared(&would_be), "the pool itself is the same");
    assert_eq!(was.net(), would_be.net(), "what one pays less another pays more");
    let after = verify(&test.url).await.unwrap();
    assert_eq!((before.head, before.root), (after.head, after.root));
    // It could not write even if it were told to.
    let more = record(
        "4",
        "univ-caen",
        1,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    );
    assert!(reader.append(&[more], at("2026-12-06T08:00:00Z")).await.is_err());
}

//! Promise: where the ledger is in PostgreSQL, and the database is killed while jobs run, nothing that was used is lost and
//! nothing is there twice.
//!
//! On a stack whose ledger is there: `cargo dev test` runs it on its second one; on another, there is nothing to try.

use anyhow::Result;
use mesocentre_e2e::lab::Lab;
use mesocentre_e2e::postgres;
use mesocentre_e2e::wait_for;
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_database_killed_and_back_again_use_is_neither_lost_nor_there_twice() -> Result<()> {
    let lab = Lab::alone("database").await?;
    let url = lab.stack.ledger_url()?;
    if !url.starts_with("postgresql://") {
        return Ok(());
    }
    let job = |seconds: u32| json!({"script": format!("#!/bin/bash\nsleep {seconds}\n"), "resources": {"memory": "10Mi", "timeLimit": "5m"}});
    lab.submit("before", job(1)).await?;
    lab.until_metered("before").await;

    lab.submit("over", job(5)).await?;
    lab.until("over", "has a number", |status| {
        status.scheduler.as_ref().is_some_and(|s| s.job_id.is_some())
    })
    .await;
    postgres::kill().await?;
    // Jobs go on without the ledger; what they used waits.
    lab.submit("without", job(1)).await?;
    for name in ["over", "without"] {
        lab.until(name, "is over", |status| status.phase.is_finished())
            .await;
    }
    postgres::up().await?;
    for name in ["over", "without"] {
        lab.until_metered(name).await;
    }
    let records = wait_for("the use of the three is in the ledger", PATIENCE, async || {
        let records = lab
            .stack
            .ledger_records(&lab.tenant.name)
            .await
            .map_err(|error| error.to_string())?;
        if records.len() >= 3 {
            Ok(records)
        } else {
            Err(format!("{records:?}"))
        }
    })
    .await;
    assert_eq!(records.len(), 3, "{records:?}");
    let proof = lab
        .stack
        .run(&["meso", "ledger", "verify", "--ledger", &url])
        .await?;
    assert!(proof.is_success(), "{}{}", proof.stdout, proof.stderr);
    Ok(())
}

//! A month is closed by a person who means it: what was written too early is taken back, and no clock closes it.

use anyhow::Result;
use mesocentre_e2e::{Stack, fixture, wait_for};
use serde_json::Value;
use std::time::Duration;

/// So far away that no other test bills it.
const MONTH: &str = "2098-12";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_close_that_was_written_before_the_month_began_is_refused_and_can_be_taken_back() -> Result<()> {
    let stack = Stack::current().await?;
    let delete = ["kubectl", "delete", "billingperiod", MONTH, "--ignore-not-found"];
    stack.run(&delete).await?;
    mesocentre_e2e::apply_yaml(
        &stack.admin(),
        &format!(
            "apiVersion: mesocentre.io/v1alpha1\nkind: BillingPeriod\nmetadata: {{name: \"{MONTH}\"}}\nspec: {{month: \"{MONTH}\"}}\n"
        ),
    )
    .await?;
    says(&stack, "Open").await;
    for _ in 0..2 {
        close(&stack, true).await?;
        let period = says(&stack, "NotBegun").await;
        assert_eq!(period["status"]["state"], "Open");
        let message = ready(&period)["message"].as_str().unwrap_or_default();
        assert!(message.contains("write close: false"), "{message}");
        close(&stack, false).await?;
        says(&stack, "Open").await;
    }
    let deleted = stack.run(&delete).await?;
    assert!(deleted.is_success(), "{deleted:?}");
    Ok(())
}

async fn close(stack: &Stack, close: bool) -> Result<()> {
    let patched = fixture::ask_to_close(stack, MONTH, close).await?;
    assert!(patched.is_success(), "{patched:?}");
    Ok(())
}

/// The period, once Ready has this reason for the spec as it is.
async fn says(stack: &Stack, reason: &str) -> Value {
    wait_for(&format!("the period says {reason}"), PATIENCE, async || {
        let answer = stack
            .run(&["kubectl", "get", "billingperiod", MONTH, "-o", "json"])
            .await
            .map_err(|error| error.to_string())?;
        let period: Value = serde_json::from_str(&answer.stdout).map_err(|error| error.to_string())?;
        let ready = ready(&period);
        if ready["reason"] == reason && ready["observedGeneration"] == period["metadata"]["generation"] {
            Ok(period)
        } else {
            Err(period["status"].to_string())
        }
    })
    .await
}

fn ready(period: &Value) -> &Value {
    period["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .unwrap_or(&Value::Null)
}

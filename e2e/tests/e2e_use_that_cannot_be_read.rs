//! Promise: a run that the accounting tells so that it makes no sense is neither billed wrongly nor forgotten. No month is
//! closed until it is told whole, or a person says why not.

use anyhow::{Context, Result};
use mesocentre_api::Phase;
use mesocentre_e2e::lab::{Lab, job_id};
use mesocentre_e2e::{apply_yaml, fixture, wait_for};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);
/// A month before anything was used: closing it takes nothing from other tests.
const MONTH: &str = "2026-02";
/// A number that Slurm does not come to here.
const NUMBER: u32 = 990_001;
const UNSETTLED: &str = "mesocentre_ledger_unsettled";

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_run_that_ends_before_it_starts_keeps_the_month_open_until_it_is_mended() -> Result<()> {
    let lab = Lab::alone("unread").await?;
    let script = json!({"allocation": "hours", "script": "#!/bin/bash\nsleep 2\n", "resources": {"memory": "10Mi", "timeLimit": "5m"}});
    lab.submit("sound", script).await?;
    let sound = lab.until_metered("sound").await;
    assert_eq!(sound.phase, Phase::Succeeded, "{sound:?}");

    // A ledger of its own, so that no month of other tests' is concerned.
    let operator = lab.stack.operator();
    operator.stop().await?;
    let folder = tempfile::tempdir()?;
    let ledger = format!("sqlite://{}/ledger.db", folder.path().display());
    let environment = [("MESO_LEDGER_URL", ledger.as_str())];
    // As an operator of slurmdbd's database could have it after a clock was set back.
    let copied = format!(
        "CREATE TEMPORARY TABLE copy AS SELECT * FROM meso_job_table WHERE id_job = {}; \
         UPDATE copy SET id_job = {NUMBER}, job_db_inx = job_db_inx + 1000000, time_end = time_start - 60; \
         INSERT INTO meso_job_table SELECT * FROM copy",
        job_id(&sound)
    );
    lab.stack.in_the_accounting(&copied).await?;
    operator.start_with(&environment).await?;
    let unsettled = async |wanted: f64| {
        wait_for(
            &format!("{wanted} runs are unsettled"),
            PATIENCE,
            async || match operator.metric(UNSETTLED).await {
                #[expect(clippy::float_cmp, reason = "a small whole number")]
                Ok(Some(found)) if found == wanted => Ok(()),
                found => Err(format!("{found:?}")),
            },
        )
        .await;
    };
    unsettled(1.0).await;

    let period = format!(
        "apiVersion: mesocentre.io/v1alpha1\nkind: BillingPeriod\nmetadata: {{name: \"{MONTH}\"}}\nspec: {{month: \"{MONTH}\"}}\n"
    );
    apply_yaml(&lab.stack.admin(), &period).await?;
    let asked = fixture::ask_to_close(&lab.stack, MONTH, true).await?;
    assert!(asked.is_success(), "{asked:?}");
    let refusal = wait_for("the month says why it stays open", PATIENCE, async || {
        let answer = lab
            .stack
            .run(&["kubectl", "get", "billingperiod", MONTH, "-o", "json"])
            .await
            .map_err(|error| error.to_string())?;
        let period: Value = serde_json::from_str(&answer.stdout).map_err(|error| error.to_string())?;
        let message = period["status"]["conditions"][0]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if message.contains(&format!("job {NUMBER}")) {
            Ok(message)
        } else {
            Err(period["status"].to_string())
        }
    })
    .await;
    assert!(refusal.contains("acknowledgedGaps"), "{refusal}");
    let taken_back = fixture::ask_to_close(&lab.stack, MONTH, false).await?;
    assert!(taken_back.is_success(), "{taken_back:?}");

    // Once it is mended it is read by itself; the first reading of an operator that starts is a thorough one.
    let mended = format!("UPDATE meso_job_table SET time_end = time_start + 7 WHERE id_job = {NUMBER}");
    lab.stack.in_the_accounting(&mended).await?;
    operator.stop().await?;
    operator.start_with(&environment).await?;
    unsettled(0.0).await;
    let verified = lab
        .stack
        .run(&["meso", "ledger", "verify", "--ledger", &ledger, "-o", "json"])
        .await?;
    let verified: Value = serde_json::from_str(&verified.stdout).context("the ledger's verification")?;
    assert_eq!(verified["intact"], true, "{verified}");

    // As it was.
    lab.stack
        .in_the_accounting(&format!("DELETE FROM meso_job_table WHERE id_job = {NUMBER}"))
        .await?;
    let deleted = lab
        .stack
        .run(&["kubectl", "delete", "billingperiod", MONTH])
        .await?;
    assert!(deleted.is_success(), "{deleted:?}");
    operator.restart().await
}

//! Promise: what is reserved for an allocation is in the ledger for the time for which it was, used or not, and a month waits
//! for it.

use anyhow::Result;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mesocentre_api::Allocation;
use mesocentre_e2e::lab::Lab;
use mesocentre_e2e::wait_for;
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_is_reserved_for_an_allocation_is_metered_while_it_is_used_or_not() -> Result<()> {
    let lab = Lab::new("reserved").await?;
    let allocations: Api<Allocation> = Api::namespaced(lab.stack.admin(), &lab.tenant.name);
    let allocation = serde_json::from_value(
        json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": "Allocation",
        "metadata": {"name": "kept"}, "spec": {"scheduler": lab.tenant.scheduler, "title": "Nœuds à part",
        "validFrom": "2026-01-01", "validUntil": "2098-12-31", "budget": {}, "reserved": {"cores": 4}}}),
    )?;
    allocations.create(&PostParams::default(), &allocation).await?;
    // From the next look on, until it is another amount: then what was held so far is a record.
    let records = wait_for("four cores are metered for some seconds", PATIENCE, async || {
        let now = allocations.get("kept").await.map_err(|error| error.to_string())?;
        let cores = now.spec.reserved.map_or(0, |reserved| reserved.cores);
        let other = json!({"spec": {"reserved": {"cores": if cores == 4 { 8 } else { 4 }}}});
        allocations
            .patch("kept", &PatchParams::default(), &Patch::Merge(&other))
            .await
            .map_err(|error| error.to_string())?;
        let records = lab
            .stack
            .ledger_records(&lab.tenant.name)
            .await
            .map_err(|error| error.to_string())?;
        if records.is_empty() {
            Err("none yet".to_owned())
        } else {
            Ok(records)
        }
    })
    .await;
    for record in &records {
        let told = format!("{record:?}");
        assert!(
            told.contains("compute.reserved-core-hours") && told.contains("kept"),
            "{told}"
        );
    }
    Ok(())
}

//! Promise: what was left of an allocation is granted in the next until its day, a grace lets hours be passed until it is over,
//! and Slurm itself holds the allocation to that.

use anyhow::Result;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mesocentre_api::{Allocation, AllocationStatus, find_condition};
use mesocentre_e2e::lab::Lab;
use mesocentre_e2e::wait_for;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn hours_left_are_carried_over_and_a_grace_is_granted_and_slurm_holds_to_both() -> Result<()> {
    let lab = Lab::new("carried").await?;
    let allocations: Api<Allocation> = Api::namespaced(lab.stack.admin(), &lab.tenant.name);
    let make = async |name: &str, more: Value| {
        let mut spec = json!({"scheduler": lab.tenant.scheduler, "title": name, "validFrom": "2025-01-01",
            "validUntil": "2025-12-31", "budget": {"coreHours": "100"}});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        let allocation = serde_json::from_value(
            json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": "Allocation",
            "metadata": {"name": name}, "spec": spec}),
        )?;
        allocations.create(&PostParams::default(), &allocation).await?;
        anyhow::Ok(())
    };
    let until = async |name: &str, what: &str, holds: &dyn Fn(&AllocationStatus) -> bool| {
        wait_for(&format!("{name} {what}"), PATIENCE, async || {
            let found = allocations.get(name).await.map_err(|error| error.to_string())?;
            match found.status {
                Some(status) if holds(&status) => Ok(status),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    };
    let limit = async |name: &str, minutes: &str| {
        wait_for(
            &format!("Slurm holds {name} to {minutes}"),
            PATIENCE,
            async || match lab.limit_on_slurm(name).await {
                Ok(limit) if limit == minutes => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await;
    };
    let reason = |status: &AllocationStatus, type_: &str| {
        find_condition(&status.conditions, type_).map(|condition| condition.reason.clone())
    };

    // Nobody used last year's hundred hours, and forty of them may be carried over.
    make("last", json!({})).await?;
    let this_year = json!({"validFrom": "2026-01-01", "validUntil": "2098-12-31",
        "carryOver": {"from": "last", "atMost": {"coreHours": "40"}, "until": "2098-12-31"}});
    make("carrying", this_year).await?;
    let carrying = until("carrying", "carries hours over", &|status| {
        reason(status, "CarriedOver").as_deref() == Some("Carried")
    })
    .await;
    assert_eq!(carrying.remaining_core_hours.as_deref(), Some("140.000000"));
    limit("carrying", "8400").await;

    // From then on fewer may be; and a grace of a tenth comes on top.
    let patch =
        json!({"spec": {"carryOver": {"atMost": {"coreHours": "20"}}, "grace": {"percent": 10, "days": 14}}});
    allocations
        .patch("carrying", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    limit("carrying", "7920").await;
    let graced = until("carrying", "says what is granted", &|status| {
        status.granted.is_some()
    })
    .await;
    assert_eq!(graced.remaining_core_hours.as_deref(), Some("120.000000"));

    // What is not there carries nothing over, and says so; the allocation's own hours stand.
    let nowhere = json!({"validFrom": "2026-01-01", "validUntil": "2098-12-31",
        "carryOver": {"from": "nowhere", "until": "2098-12-31"}});
    make("alone", nowhere).await?;
    until("alone", "says that nothing is carried over", &|status| {
        reason(status, "CarriedOver").as_deref() == Some("NoSuchAllocation")
    })
    .await;
    limit("alone", "6000").await;

    // And it is told in a message that is ready to mail.
    let told = lab
        .stack
        .run(&[
            "meso",
            "notice",
            "carrying",
            "--tenant",
            &lab.tenant.name,
            "--to",
            "lab@univ.test",
        ])
        .await?;
    assert!(told.is_success(), "{told:?}");
    assert!(
        told.stdout.contains("To: lab@univ.test") && told.stdout.contains("reportées"),
        "{told:?}"
    );
    Ok(())
}

//! Promise: a tenant is warned before its convention ends, suspended after it or by an administrator, stopped after a
//! grace, and back in seconds; while the operator is down the date holds all the same.

use anyhow::{Context, Result};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mesocentre_api::{Condition, ConditionStatus, PerimeterRules, Phase, Tenant, TrustPerimeter, Workspace};
use mesocentre_e2e::lab::{HOURS, Lab, job_id};
use mesocentre_e2e::{Stack, fixture, wait_for};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const IMAGE: &str = "registry.meso.test/tools:1";

fn today() -> Result<Date> {
    Ok(Timestamp::now().to_zoned(TimeZone::get("Europe/Paris")?).date())
}

async fn patch_tenant(stack: &Stack, name: &str, spec: Value) -> Result<()> {
    let tenants: Api<Tenant> = Api::all(stack.admin());
    let patch = Patch::Merge(json!({"spec": spec}));
    tenants.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn until_ends(stack: &Stack, name: &str, last_day: Date) -> Result<()> {
    patch_tenant(stack, name, json!({"convention": {"validUntil": last_day}})).await
}

/// Waits until a condition of the tenant is this; gives it, and the tenant.
async fn until(
    stack: &Stack,
    name: &str,
    type_: &str,
    status: ConditionStatus,
    reason: &str,
) -> (Tenant, Condition) {
    let what = format!("is {status:?} {reason}");
    let holds = |c: &Condition| c.status == status && c.reason == reason;
    fixture::tenant_says(stack, name, type_, &what, holds).await
}

/// The tenant's events of this reason, each with how often it was told.
async fn told(stack: &Stack, name: &str, reason: &str) -> Result<Vec<i32>> {
    let events: Api<Event> = Api::namespaced(stack.admin(), "default");
    let of = format!("involvedObject.kind=Tenant,involvedObject.name={name},reason={reason}");
    let events = events.list(&ListParams::default().fields(&of)).await?.items;
    Ok(events
        .iter()
        .map(|event| {
            event
                .series
                .as_ref()
                .and_then(|series| series.count)
                .or(event.count)
                .unwrap_or(1)
        })
        .collect())
}

async fn until_told(stack: &Stack, name: &str, reason: &str) {
    wait_for(
        &format!("{name} is told {reason} once"),
        PATIENCE,
        async || match told(stack, name, reason).await {
            Ok(times) if times == [1] => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

fn pod_spec() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "main", "image": IMAGE,
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    })
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": pod_spec()})).unwrap_or_default()
}

fn rehearsed() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_tenant_is_warned_once_a_step_before_its_convention_ends() -> Result<()> {
    let stack = Stack::current().await?;
    let tenant = fixture::tenant(&stack, "warned").await?;
    let name = &tenant.name;
    until(
        &stack,
        name,
        "ConventionEnding",
        ConditionStatus::False,
        "NotSoon",
    )
    .await;
    for (days, reason) in [(45, "Within60Days"), (20, "Within30Days"), (5, "Within7Days")] {
        let last_day = today()?.checked_add(days.days())?;
        until_ends(&stack, name, last_day).await?;
        let (_, condition) = until(&stack, name, "ConventionEnding", ConditionStatus::True, reason).await;
        assert!(
            condition.message.contains(&format!("ends in {days} days")),
            "{condition:?}"
        );
        assert!(condition.message.contains(&last_day.to_string()), "{condition:?}");
        until_told(&stack, name, &format!("ConventionEnds{reason}")).await;
        let metrics = stack.operator().metrics().await?;
        let left = format!("mesocentre_convention_days_left{{tenant=\"{name}\"}} {days}\n");
        assert!(metrics.contains(&left), "{left}");
    }
    // Another look tells nothing again.
    patch_tenant(&stack, name, json!({"displayName": "Another name"})).await?;
    fixture::ready(&stack, "Tenant", None, name).await?;
    assert_eq!(told(&stack, name, "ConventionEndsWithin7Days").await?, [1]);
    until_ends(&stack, name, today()?.checked_add(400.days())?).await?;
    until(
        &stack,
        name,
        "ConventionEnding",
        ConditionStatus::False,
        "NotSoon",
    )
    .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_suspended_tenant_is_stopped_after_the_grace_keeps_its_data_and_comes_back() -> Result<()> {
    let lab = Lab::new("suspended").await?;
    let (stack, name, namespace) = (&lab.stack, &lab.tenant.name, &lab.namespace);
    let perimeters: Api<TrustPerimeter> = Api::all(stack.admin());
    let grace = Patch::Merge(json!({"spec": {"suspension": {"gracePeriod": "8s"}}}));
    perimeters
        .patch(&lab.tenant.perimeter, &PatchParams::default(), &grace)
        .await?;

    // What it has and runs.
    let pods: Api<Pod> = Api::namespaced(lab.member.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(lab.member.clone(), namespace);
    let labels = json!({"app": "served"});
    let deployment = serde_json::from_value(json!({"metadata": {"name": "served"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
    }}))?;
    deployments.create(&PostParams::default(), &deployment).await?;
    let served = ListParams::default().labels("app=served");
    let first_pod = wait_for("the deployment has a pod", PATIENCE, async || {
        let pods = pods.list(&served).await.map_err(|error| error.to_string())?;
        pods.items
            .first()
            .map(ResourceExt::name_any)
            .ok_or_else(|| "none".to_owned())
    })
    .await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(lab.member.clone(), namespace);
    let claim = serde_json::from_value(json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "standard",
    }}))?;
    claims.create(&PostParams::default(), &claim).await?;
    let configs: Api<ConfigMap> = Api::namespaced(lab.member.clone(), namespace);
    let config = serde_json::from_value(json!({"metadata": {"name": "results"}, "data": {"pi": "3.14"}}))?;
    configs.create(&PostParams::default(), &config).await?;
    let long =
        json!({"script": "#!/bin/bash\nsleep 600\n", "resources": {"memory": "10Mi", "timeLimit": "20m"}});
    lab.submit("long", long.clone()).await?;
    lab.until("long", "runs", |status| status.phase == Phase::Running)
        .await;
    // One more by hand, on a login node so to say.
    let (uid, account) = (
        format!("--uid={}", lab.tenant.member),
        format!("--account={name}.{HOURS}"),
    );
    let by_hand = [
        "sbatch",
        "--parsable",
        &uid,
        &account,
        "--chdir=/tmp",
        "--output=/dev/null",
        "--mem=10",
        "--time=20",
        "--wrap=sleep 600",
    ];
    let answer = stack.run(&by_hand).await?;
    assert!(answer.is_success(), "{answer:?}");
    let hands = answer.stdout.trim().to_owned();

    patch_tenant(
        stack,
        name,
        json!({"suspended": {"reason": "the invoice of October is not paid"}}),
    )
    .await?;
    let (tenant, condition) = until(
        stack,
        name,
        "Suspended",
        ConditionStatus::True,
        "SuspendedByAdministrator",
    )
    .await;
    let status = tenant.status.context("no status")?;
    let since = status.suspended_since.context("no suspendedSince")?;
    assert_eq!(status.stops_at, Some(since + SignedDuration::from_secs(8)));
    assert!(status.data_kept_until.is_some());
    assert!(
        condition.message.contains("the invoice of October is not paid"),
        "{condition:?}"
    );
    assert!(condition.message.contains("lift the suspension"), "{condition:?}");
    // Slurm takes nothing more into the account, while what runs goes on.
    wait_for("the account is closed", PATIENCE, async || {
        match stack.run(&by_hand).await {
            Ok(answer) if !answer.is_success() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let refused = lab
        .submit("another", long.clone())
        .await
        .expect_err("a job was taken");
    assert!(
        refused.to_string().contains("the invoice of October is not paid"),
        "{refused}"
    );
    let refused = pods
        .create(&PostParams::default(), &pod("another"))
        .await
        .expect_err("a pod was taken");
    assert!(refused.to_string().contains("lift the suspension"), "{refused}");

    // The grace is over.
    let ended = lab.until_over("long").await;
    assert_eq!(ended.phase, Phase::Cancelled, "{ended:?}");
    let message = ended.message.clone().unwrap_or_default();
    assert!(
        message.contains("was cancelled: the administrators of the datacentre suspended"),
        "{message}"
    );
    assert!(
        ended
            .finished_at
            .is_some_and(|at| at >= since + SignedDuration::from_secs(7)),
        "{ended:?}"
    );
    wait_for("no pod runs", PATIENCE, async || {
        let left = pods
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?;
        if left.items.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "{:?}",
                left.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
            ))
        }
    })
    .await;
    wait_for(
        "what was submitted by hand is cancelled as well",
        PATIENCE,
        async || match lab.sacct_of(&hands, "State").await {
            Ok(row) if row[0].starts_with("CANCELLED") => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    for reason in ["SuspendedByAdministrator", "WorkStopped"] {
        until_told(stack, name, reason).await;
    }
    assert!(
        stack
            .operator()
            .metrics()
            .await?
            .contains(&format!("mesocentre_tenant_suspended{{tenant=\"{name}\"}} 1\n"))
    );
    let metered = lab.until_metered("long").await;
    assert!(metered.usage.is_some(), "{metered:?}");
    assert!(job_id(&metered) != hands);
    // Data, and what makes pods, are there; a whole workspace of them is not thrown away before its time.
    claims.get("data").await?;
    assert_eq!(
        configs.get("results").await?.data.context("no data")?["pi"],
        "3.14"
    );
    deployments.get("served").await?;
    let owner = stack.user(&lab.tenant.owner, &[]).await?;
    let workspaces: Api<Workspace> = Api::namespaced(owner, name);
    wait_for("the workspace is kept", PATIENCE, async || {
        match workspaces
            .delete(
                "lab",
                &DeleteParams {
                    dry_run: true,
                    ..DeleteParams::default()
                },
            )
            .await
        {
            Err(error) if error.to_string().contains("its data are kept until") => Ok(()),
            other => Err(format!(
                "{:?}",
                other.map(|_| "it would go").map_err(|error| error.to_string())
            )),
        }
    })
    .await;

    patch_tenant(stack, name, json!({"suspended": null})).await?;
    let (tenant, _) = until(stack, name, "Suspended", ConditionStatus::False, "NotSuspended").await;
    assert_eq!(tenant.status.and_then(|status| status.suspended_since), None);
    until_told(stack, name, "Resumed").await;
    // The control plane tries again by itself, after as long as it had tried in vain at most.
    wait_for("the deployment has a pod again", PATIENCE, async || {
        let pods = pods.list(&served).await.map_err(|error| error.to_string())?;
        match pods.items.first().map(ResourceExt::name_any) {
            Some(name) if name != first_pod => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    fixture::ready(stack, "Allocation", Some(name), HOURS).await?;
    let short = json!({"script": "#!/bin/bash\ntrue\n", "resources": {"memory": "10Mi", "timeLimit": "2m"}});
    lab.submit("again", short).await?;
    let again = lab.until_over("again").await;
    assert_eq!(again.phase, Phase::Succeeded, "{again:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_end_of_a_convention_holds_while_the_operator_is_down() -> Result<()> {
    let stack = Stack::alone().await?;
    stack.operator().start().await?;
    let tenant = fixture::tenant(&stack, "ended").await?;
    let name = &tenant.name;
    let namespace = tenant.workspace(&stack, "lab").await?;
    let pods: Api<Pod> = Api::namespaced(stack.user(&tenant.member, &[]).await?, &namespace);
    let rules: Api<PerimeterRules> = Api::namespaced(stack.admin(), &namespace);
    let planned = rules
        .get("perimeter")
        .await?
        .spec
        .suspension
        .context("no end in the rules")?;
    // The fixtures' conventions run until 2035-12-31, in Paris.
    assert_eq!(planned.from, Some("2035-12-31T23:00:00Z".parse()?));
    wait_for("pods may start", PATIENCE, async || {
        pods.create(&rehearsed(), &pod("early"))
            .await
            .map_err(|error| error.to_string())
    })
    .await;

    // Midnight comes while nothing of ours runs.
    stack.operator().stop().await?;
    let midnight = Timestamp::now() + SignedDuration::from_secs(4);
    let patch = Patch::Merge(json!({"spec": {"suspension": {"from": midnight}}}));
    rules.patch("perimeter", &PatchParams::default(), &patch).await?;
    pods.create(&rehearsed(), &pod("before"))
        .await
        .context("before midnight")?;
    let refused = wait_for("midnight holds", PATIENCE, async || {
        match pods.create(&rehearsed(), &pod("after")).await {
            Err(error) => Ok(error.to_string()),
            Ok(_) => Err("a pod was taken".to_owned()),
        }
    })
    .await;
    assert!(Timestamp::now() >= midnight - SignedDuration::from_secs(1));
    assert!(refused.contains("to renew the convention"), "{refused}");

    // The same by the operator's own hand; and while it is down, an ended convention stays ended.
    stack.operator().start().await?;
    until_ends(&stack, name, today()?.yesterday()?).await?;
    let (_, condition) = until(
        &stack,
        name,
        "Suspended",
        ConditionStatus::True,
        "ConventionEnded",
    )
    .await;
    assert!(
        condition.message.contains("renew the convention"),
        "{condition:?}"
    );
    until(&stack, name, "Ready", ConditionStatus::False, "ConventionEnded").await;
    until_told(&stack, name, "ConventionEnded").await;
    stack.operator().stop().await?;
    let refused = pods
        .create(&rehearsed(), &pod("ended"))
        .await
        .expect_err("a pod was taken");
    assert!(
        refused.to_string().contains(&format!("of {name} ended on")),
        "{refused}"
    );
    stack.operator().start().await?;
    // A restart tells nothing again.
    until(
        &stack,
        name,
        "Suspended",
        ConditionStatus::True,
        "ConventionEnded",
    )
    .await;
    assert_eq!(told(&stack, name, "ConventionEnded").await?, [1]);

    // The next convention is signed.
    until_ends(&stack, name, today()?.checked_add(400.days())?).await?;
    fixture::ready(&stack, "Tenant", None, name).await?;
    fixture::ready(&stack, "Workspace", Some(name), "lab").await?;
    wait_for("pods may start again", PATIENCE, async || {
        pods.create(&rehearsed(), &pod("renewed"))
            .await
            .map_err(|error| error.to_string())
    })
    .await;
    Ok(())
}

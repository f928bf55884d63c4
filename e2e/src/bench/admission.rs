//! What our policies cost a pod that is created: in a workspace, and in a namespace alike but for its perimeter (the same
//! Pod Security, quota, limits and network policy). One request at a time, in turns, so that both meet the same noise.
//! With the operator away as well: what it then costs is admission's, and the rest is the operator's looks.

use super::median;
use super::stage::{administrator, object, perimeter, tenant};
use crate::{operator, process, wait};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, Pod, ResourceQuota};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use mesocentre_api::{Tenant, Workspace, is_ready};
use serde_json::json;
use std::time::{Duration, Instant};

const ROUNDS: usize = 21;
const PODS: usize = 40;

/// Seconds a pod: on the clock, and of the API server's processor time, which the machine's noise touches less.
#[derive(Clone, Copy)]
struct Took {
    clock: f64,
    processor: f64,
}

/// Measures and prints.
#[expect(clippy::float_arithmetic, reason = "a ratio of times, no money")]
pub async fn measure() -> Result<()> {
    let client = administrator().await?;
    stage(&client).await?;
    for (what, dry_run, operator_there) in [
        ("created", false, true),
        ("created in a dry run", true, true),
        ("created while the operator is away", false, false),
        ("created in a dry run while the operator is away", true, false),
    ] {
        if !operator_there {
            operator::stop(operator::NAME).await?;
        }
        let mut clock = Vec::new();
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (with, without) = if round % 2 == 0 {
                let with = pods(&client, "bench--pods", dry_run).await?;
                (with, pods(&client, "alike", dry_run).await?)
            } else {
                let without = pods(&client, "alike", dry_run).await?;
                (pods(&client, "bench--pods", dry_run).await?, without)
            };
            // The first round warms up what the API server compiles once.
            if round > 0 {
                clock.push(with.clock / without.clock);
                inside.push(with.processor);
                outside.push(without.processor);
            }
        }
        let (inside, outside) = (median(inside), median(outside));
        println!(
            "admission: a pod {what} inside a perimeter, against one in a namespace alike without: {:.2} × the time, {:.2} × the \
             API server's processor time ({:.2} and {:.2} ms a pod; medians of {} rounds of {PODS}; goal < 1.1)",
            median(clock),
            inside / outside,
            inside * 1000.0,
            outside * 1000.0,
            ROUNDS - 1,
        );
    }
    Ok(())
}

/// Creates pods one after the other; they are gone again afterwards.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a time, no money"
)]
async fn pods(client: &Client, namespace: &str, dry_run: bool) -> Result<Took> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let how = PostParams {
        dry_run,
        ..PostParams::default()
    };
    let spent = processor_time("kube-apiserver")?;
    let began = Instant::now();
    for number in 0..PODS {
        pods.create(&how, &pod(number)?).await?;
    }
    let took = Took {
        clock: began.elapsed().as_secs_f64() / PODS as f64,
        processor: (processor_time("kube-apiserver")? - spent).as_secs_f64() / PODS as f64,
    };
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default())
        .await?;
    wait::until("the pods are gone", Duration::from_secs(60), async || match pods
        .list(&ListParams::default())
        .await
    {
        Ok(list) if list.items.is_empty() => Ok(()),
        Ok(list) => Err(format!("{} are left", list.items.len())),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    Ok(took)
}

/// What a process of the stack has spent of the processors, to the nanosecond: the sum of its threads' first numbers in
/// /proc/PID/task/TID/schedstat (the kernel's sched-stats.rst).
fn processor_time(name: &str) -> Result<Duration> {
    let running = process::running(name)?.with_context(|| format!("{name} does not run"))?;
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{}/task", running.pid))? {
        // A thread may end meanwhile.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

fn pod(number: usize) -> Result<Pod> {
    object(json!({
        "metadata": {"name": format!("pod-{number}")},
        "spec": {
            // Nobody places it, so that nothing else is measured.
            "schedulerName": "nobody",
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main", "image": "registry.meso.test/main:1",
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }))
}

/// A workspace, and a namespace alike.
async fn stage(client: &Client) -> Result<()> {
    perimeter(client).await?;
    let create = PostParams::default();
    Api::<Tenant>::all(client.clone())
        .create(&create, &tenant("bench", "bench", None)?)
        .await?;
    let workspace: Workspace = object(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Workspace", "metadata": {"name": "pods", "namespace": "bench"},
        "spec": {"purpose": "bench"},
    }))?;
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), "bench");
    wait::until(
        "the workspace is Ready",
        Duration::from_secs(60),
        async || match workspaces.get_opt("pods").await {
            Ok(Some(seen)) if seen.status.as_ref().is_some_and(|s| is_ready(&s.conditions)) => Ok(()),
            Ok(Some(seen)) => Err(format!("{:?}", seen.status)),
            Ok(None) => Err(format!(
                "{:?}",
                workspaces.create(&create, &workspace).await.err()
            )),
            Err(error) => Err(error.to_string()),
        },
    )
    .await?;

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut labels = namespaces
        .get("bench--pods")
        .await?
        .metadata
        .labels
        .unwrap_or_default();
    labels.retain(|label, _| label.starts_with("pod-security.kubernetes.io/"));
    let alike: Namespace = object(json!({"metadata": {"name": "alike", "labels": labels}}))?;
    namespaces.create(&create, &alike).await?;
    for mut quota in Api::<ResourceQuota>::namespaced(client.clone(), "bench--pods")
        .list(&ListParams::default())
        .await?
    {
        quota.metadata = object(json!({"name": quota.metadata.name}))?;
        quota.status = None;
        Api::namespaced(client.clone(), "alike")
            .create(&create, &quota)
            .await?;
    }
    for mut limits in Api::<LimitRange>::namespaced(client.clone(), "bench--pods")
        .list(&ListParams::default())
        .await?
    {
        limits.metadata = object(json!({"name": limits.metadata.name}))?;
        Api::namespaced(client.clone(), "alike")
            .create(&create, &limits)
            .await?;
    }
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), "alike");
    wait::until("its quota is in force", Duration::from_secs(30), async || {
        let seen = quotas.get("tenant").await.map_err(|error| error.to_string())?;
        match seen.status.and_then(|status| status.hard) {
            Some(_) => Ok(()),
            None => Err("not yet".to_owned()),
        }
    })
    .await?;
    // A pod needs a service account, which the control plane makes.
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client.clone(), "alike");
    wait::until(
        "its service account is there",
        Duration::from_secs(30),
        async || match accounts.get_opt("default").await {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
}

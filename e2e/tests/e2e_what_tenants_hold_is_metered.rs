//! Promise: what a tenant's own pods request, its claims of devices and its volumes hold is in the ledger, each second once,
//! also over an operator that is killed; and a gap in which nobody looked is said.
//!
//! Real pods on a real node, made as a member; the records as `meso ledger export` writes them.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mesocentre_e2e::lab::Lab;
use mesocentre_e2e::pods;
use mesocentre_e2e::wait_for;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(180);

struct Ground {
    lab: Lab,
}

impl Ground {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.lab.member.clone(), &self.lab.namespace)
    }

    async fn run(&self, name: &str, command: &str) -> Result<()> {
        self.run_with(name, command, json!({})).await
    }

    /// The same with more in its spec.
    async fn run_with(&self, name: &str, command: &str, more: Value) -> Result<()> {
        let mut pod = json!({
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
                "tolerations": [{"key": pods::TAINT, "operator": "Exists"}],
                "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "c", "image": pods::IMAGE, "command": ["sh", "-c", command],
                    "resources": {"requests": {"cpu": "20m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            },
        });
        if let (Some(spec), Value::Object(more)) = (pod["spec"].as_object_mut(), more) {
            spec.extend(more);
        }
        let pod: Pod = serde_json::from_value(pod)?;
        self.pods().create(&PostParams::default(), &pod).await?;
        Ok(())
    }

    /// Waits for a phase, and gives the pod.
    async fn until(&self, name: &str, phase: &str) -> Pod {
        wait_for(&format!("{name} is {phase}"), PATIENCE, async || {
            let pod = self.pods().get(name).await.map_err(|error| error.to_string())?;
            let now = pod.status.as_ref().and_then(|status| status.phase.clone());
            if now.as_deref() == Some(phase) {
                Ok(pod)
            } else {
                Err(format!("{:?}", pod.status))
            }
        })
        .await
    }

    /// The tenant's records of what was held.
    async fn records(&self) -> Result<Vec<Value>, String> {
        let mut records = self
            .lab
            .stack
            .ledger_records(&self.lab.tenant.name)
            .await
            .map_err(|error| error.to_string())?;
        records.retain(|record| record["source"] == "platform");
        Ok(records)
    }

    /// Those of one thing and meter, once there are any.
    async fn records_of(&self, what: &str, meter: &str) -> Vec<Value> {
        let evidence = format!("{}/{what}\"", self.lab.namespace);
        wait_for(&format!("{what} is metered"), PATIENCE, async || {
            let all = self.records().await?;
            let of: Vec<Value> = all
                .iter()
                .filter(|record| {
                    record["meter"] == meter
                        && record["evidence"]
                            .as_str()
                            .is_some_and(|text| text.contains(&evidence))
                })
                .cloned()
                .collect();
            if of.is_empty() {
                Err(format!("{all:?}"))
            } else {
                Ok(of)
            }
        })
        .await
    }
}

fn quantity(record: &Value) -> i128 {
    record["quantity"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(-1)
}

/// Seconds from start to end.
fn seconds(record: &Value) -> i128 {
    let at = |name: &str| -> Option<jiff::Timestamp> { record[name].as_str()?.parse().ok() };
    match (at("start"), at("end")) {
        (Some(start), Some(end)) => i128::from(end.duration_since(start).as_secs()),
        _ => -1,
    }
}

/// Two devices that the scheduler allocates to a claim, by their class, until the claim is given back. There is no driver that
/// would hand them to a container: what is held, and by whom, is between the scheduler and the claim.
async fn claimed_devices(ground: &Ground) -> Result<()> {
    let stack = &ground.lab.stack;
    let (admin, tenant) = (stack.admin(), &ground.lab.tenant.name);
    let class = format!("{tenant}.gpu.meso.test");
    let made: DeviceClass = serde_json::from_value(json!({
        "metadata": {"name": class},
        "spec": {"selectors": [{"cel": {"expression": format!("device.driver == '{class}'")}}]},
    }))?;
    let slice: ResourceSlice = serde_json::from_value(json!({
        "metadata": {"name": class},
        "spec": {"driver": class, "pool": {"name": class, "generation": 1, "resourceSliceCount": 1}, "allNodes": true,
            "devices": [{"name": "gpu-0"}, {"name": "gpu-1"}]},
    }))?;
    let (classes, slices): (Api<DeviceClass>, Api<ResourceSlice>) =
        (Api::all(admin.clone()), Api::all(admin));
    classes.create(&PostParams::default(), &made).await?;
    slices.create(&PostParams::default(), &slice).await?;
    let counted = json!({"spec": {"quota": {"devices": {&class: 2}}}}).to_string();
    let patched = stack
        .run(&[
            "kubectl",
            "patch",
            "tenant",
            tenant,
            "--type=merge",
            "-p",
            &counted,
        ])
        .await?;
    assert!(patched.is_success(), "{}", patched.stderr);

    let claims: Api<ResourceClaim> = Api::namespaced(ground.lab.member.clone(), &ground.lab.namespace);
    let claim: ResourceClaim = serde_json::from_value(json!({
        "metadata": {"name": "gpus"},
        "spec": {"devices": {"requests": [{"name": "two", "exactly": {"deviceClassName": class, "count": 2}}]}},
    }))?;
    wait_for("the quota counts the class", PATIENCE, async || {
        let made = claims.create(&PostParams::default(), &claim).await;
        made.map(drop).map_err(|error| error.to_string())
    })
    .await;
    ground
        .run_with(
            "computes",
            "sleep 600",
            json!({"resourceClaims": [{"name": "gpus", "resourceClaimName": "gpus"}]}),
        )
        .await?;
    let allocated = wait_for(
        "the devices are allocated, for two seconds",
        PATIENCE,
        async || {
            let claim = claims.get("gpus").await.map_err(|error| error.to_string())?;
            let allocation = claim.status.and_then(|status| status.allocation);
            let since = allocation
                .and_then(|allocation| allocation.allocation_timestamp)
                .ok_or("nothing is allocated, or nobody says since when")?
                .0;
            if jiff::Timestamp::now().duration_since(since).as_secs() >= 2 {
                Ok(since)
            } else {
                Err(format!("since {since}"))
            }
        },
    )
    .await;
    let at_once = DeleteParams::default().grace_period(0);
    ground.pods().delete("computes", &at_once).await?;
    let held = ground.records_of("gpus", "cluster.device-hours").await;
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0]["start"], allocated.to_string());
    assert!(seconds(&held[0]) >= 2, "{held:?}");
    assert_eq!(quantity(&held[0]), 2 * seconds(&held[0]));
    let evidence = held[0]["evidence"].as_str().unwrap_or_default();
    assert!(evidence.contains(&format!(r#""model":"{class}""#)), "{evidence}");
    claims.delete("gpus", &DeleteParams::default()).await?;
    slices.delete(&class, &DeleteParams::default()).await?;
    classes.delete(&class, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_pods_request_and_volumes_hold_is_metered_and_a_killed_operator_loses_none_of_it() -> Result<()>
{
    let lab = Lab::alone("held").await?;
    let node = pods::up().await?;
    let stack = &lab.stack;
    let tolerated = json!({"spec": {"tolerations": [pods::TAINT]}}).to_string();
    let perimeter = lab.tenant.perimeter.clone();
    let patched = stack
        .run(&[
            "kubectl",
            "patch",
            "trustperimeter",
            &perimeter,
            "--type=merge",
            "-p",
            &tolerated,
        ])
        .await?;
    assert!(patched.is_success(), "{}", patched.stderr);
    let ground = Ground { lab };

    // One that ends by itself: from its node to its last container's end, in its own words.
    let made = wait_for("the perimeter's tolerations are let in", PATIENCE, async || {
        ground
            .run("ends", "sleep 3")
            .await
            .map_err(|error| error.to_string())
    });
    made.await;
    let pod = ground.until("ends", "Succeeded").await;
    let cpu = ground.records_of("ends", "cluster.cpu-hours").await;
    let memory = ground.records_of("ends", "cluster.memory-gib-hours").await;
    assert_eq!((cpu.len(), memory.len()), (1, 1), "{cpu:?}");
    let status = pod.status.context("no status")?;
    let finished = status
        .container_statuses
        .and_then(|mut all| all.pop()?.state?.terminated?.finished_at)
        .context("no end")?;
    assert_eq!(cpu[0]["end"], finished.0.to_string());
    assert!(seconds(&cpu[0]) >= 2, "{cpu:?}");
    assert_eq!(quantity(&cpu[0]), 20 * seconds(&cpu[0]));
    assert_eq!(quantity(&memory[0]), (16 << 20) * seconds(&memory[0]));
    assert_eq!(
        (&cpu[0]["unit"], &cpu[0]["tenant"]),
        (&json!("cpu_milli_seconds"), &json!(ground.lab.tenant.name))
    );

    let admin = ground.lab.stack.admin();
    let volumes: Api<PersistentVolume> = Api::all(admin.clone());
    let volume_name = format!("{}-data", ground.lab.tenant.name);
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": volume_name},
        "spec": {"capacity": {"storage": "3Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": ground.lab.namespace, "name": "data"},
            "csi": {"driver": "csi.meso.test", "volumeHandle": volume_name}},
    }))?;
    volumes.create(&PostParams::default(), &volume).await?;
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(ground.lab.member.clone(), &ground.lab.namespace);
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}, "storageClassName": "standard"},
    }))?;
    claims.create(&PostParams::default(), &claim).await?;
    wait_for("the claim is bound", PATIENCE, async || {
        let claim = claims.get("data").await.map_err(|error| error.to_string())?;
        match claim.status.and_then(|status| status.phase).as_deref() {
            Some("Bound") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    claimed_devices(&ground).await?;

    // One that is seen, and goes while no operator runs: up to the last look, and no second more.
    ground.run("goes", "sleep 600").await?;
    let pod = ground.until("goes", "Running").await;
    let started = pod
        .status
        .and_then(|status| status.start_time)
        .context("no start")?
        .0;
    // What is held for no whole second is no use.
    wait_for("it has been held for two seconds", PATIENCE, async || {
        let held = jiff::Timestamp::now().duration_since(started);
        if held.as_secs() >= 2 {
            Ok(())
        } else {
            Err(format!("{held:?}"))
        }
    })
    .await;
    let operator = ground.lab.stack.operator();
    // It looks at its start, and so knows the pod and the volume.
    operator.restart().await?;
    operator.leads(PATIENCE).await?;
    let looked = async || {
        operator
            .metrics()
            .await
            .map_err(|error| error.to_string())?
            .lines()
            .find(|line| line.starts_with("mesocentre_ledger_lag_seconds") && line.contains("platform"))
            .map(str::to_owned)
            .ok_or_else(|| "no look yet".to_owned())
    };
    wait_for("the operator has looked", PATIENCE, looked).await;
    operator.kill().await?;
    let killed = jiff::Timestamp::now();
    ground
        .pods()
        .delete("goes", &DeleteParams::default().grace_period(0))
        .await?;
    wait_for("the pod is gone", PATIENCE, async || {
        match ground.pods().get_opt("goes").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    operator.start().await?;
    let goes = ground.records_of("goes", "cluster.cpu-hours").await;
    assert_eq!(goes.len(), 1, "{goes:?}");
    let end: jiff::Timestamp = goes[0]["end"].as_str().context("no end")?.parse()?;
    assert!(end <= killed, "{goes:?}, and it was killed at {killed}");
    assert_eq!(quantity(&goes[0]), 20 * seconds(&goes[0]));

    // The volume's capacity, and not what was asked for, until the claim is deleted.
    claims.delete("data", &DeleteParams::default()).await?;
    let stored = ground.records_of("data", "storage.gib-months").await;
    assert!(seconds(&stored[0]) > 0, "{stored:?}");
    assert_eq!(quantity(&stored[0]), (3 << 30) * seconds(&stored[0]));
    volumes.delete(&volume_name, &DeleteParams::default()).await?;

    // Nothing of it twice.
    let all = ground.records().await.map_err(anyhow::Error::msg)?;
    assert_eq!(
        all.len(),
        8,
        "two meters of each of three pods, one of the claim, one of the volume: {all:?}"
    );
    node.end().await
}

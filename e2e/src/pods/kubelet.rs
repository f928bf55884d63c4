//! The kubelet, and the Node that stands for it.

use super::machine::{Machine, NODE_ADDRESS, POD_NETWORK};
use super::{NODE, cgroup, folder, runtime};
use crate::state::{self, write_secret};
use crate::{certificates, kubeconfig, parts, process, wait};
use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;
use std::fs;
use std::time::Duration;

const NAME: &str = "pods-kubelet";

/// Starts it, and returns when its Node is known and has a network for its pods.
pub async fn up(machine: Machine, admin: &Client) -> Result<()> {
    let user = format!("system:node:{NODE}");
    let record = state::of_the_stack()?;
    let access = folder().join("kubelet.kubeconfig");
    write_secret(
        &access,
        kubeconfig::for_user(&record, &user, &["system:nodes".into()], None)
            .await?
            .as_bytes(),
    )?;
    let configuration = folder().join("kubelet.yaml");
    let port = super::kubelet_port()?;
    fs::write(&configuration, serde_yaml::to_string(&configured(port))?)?;
    if process::running(NAME)?.is_none() {
        super::make_cgroups()?;
        process::start(
            NAME,
            machine
                .daemon(parts::program("kubelet")?)
                .arg(format!("--config={}", configuration.display()))
                .arg(format!("--kubeconfig={}", access.display()))
                .arg(format!("--hostname-override={NODE}"))
                .arg(format!("--node-ip={NODE_ADDRESS}")),
        )?;
    }
    machine.leads_out(port)?;
    let nodes: Api<Node> = Api::all(admin.clone());
    process::answers(NAME, Duration::from_secs(60), async || {
        nodes.get(NODE).await.map_err(|error| error.to_string())
    })
    .await?;
    // Pods of other tests stay where they are; the labels are those that the examples' perimeters ask for.
    let node = json!({
        "metadata": {"labels": {"mesocentre.io/perimeter": "health-hds"}},
        "spec": {
            "podCIDR": POD_NETWORK,
            "podCIDRs": [POD_NETWORK],
            "taints": [{"key": super::TAINT, "effect": "NoSchedule"}],
        },
    });
    nodes
        .patch(NODE, &PatchParams::default(), &Patch::Merge(&node))
        .await?;
    Ok(())
}

/// Returns when pods can run.
pub async fn ready(admin: &Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(admin.clone());
    process::answers(NAME, Duration::from_secs(90), async || {
        let node = nodes.get(NODE).await.map_err(|error| error.to_string())?;
        let conditions = node
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        match conditions.iter().find(|condition| condition.type_ == "Ready") {
            Some(ready) if ready.status == "True" => Ok(()),
            Some(ready) => Err(ready.message.clone().unwrap_or_default()),
            None => Err("the node says nothing of itself yet".into()),
        }
    })
    .await
}

/// Takes the Node away, and what is bound to it.
pub async fn forget(admin: &Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(admin.clone());
    match nodes.delete(NODE, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        result => result?,
    };
    wait::until(
        "the node is gone",
        Duration::from_secs(30),
        async || match nodes.get_opt(NODE).await {
            Ok(None) => Ok(()),
            Ok(Some(node)) => Err(format!("{:?}", node.metadata)),
            Err(error) => Err(error.to_string()),
        },
    )
    .await
}

fn configured(port: u16) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": port,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": certificates::folder().join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", runtime::SOCKET),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cgroup()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false,
        "resolvConf": "",
        // The machine's own disk is its owner's.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%"},
        "volumePluginDir": "/run/volume-plugins",
        "maxPods": 60,
    })
}

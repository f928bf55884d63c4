//! Kinds of other projects that tenants meet on a cluster: their own CRDs, from the Go modules that publish them, pinned
//! in `e2e/parts/crds`. They stay on the stack once a test has installed them: others' rights do not depend on it.

use crate::{apply, parts, paths, wait};
use anyhow::{Context, Result};
use kube::Client;
use serde_json::{Deserializer, Value};
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;

const GATEWAYS: &str = "sigs.k8s.io/gateway-api";
const SNAPSHOTS: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8";
/// Routes as the experimental channel has them: what it adds to them must be judged as well.
const FILES: [(&str, &str); 6] = [
    (
        GATEWAYS,
        "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
    ),
    (
        GATEWAYS,
        "config/crd/experimental/gateway.networking.k8s.io_httproutes.yaml",
    ),
    (
        GATEWAYS,
        "config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml",
    ),
    (
        SNAPSHOTS,
        "config/crd/snapshot.storage.k8s.io_volumesnapshots.yaml",
    ),
    (
        SNAPSHOTS,
        "config/crd/snapshot.storage.k8s.io_volumesnapshotcontents.yaml",
    ),
    (
        SNAPSHOTS,
        "config/crd/snapshot.storage.k8s.io_volumesnapshotclasses.yaml",
    ),
];
/// One of each, as it is asked for: they are served when these answer.
const LISTS: [&str; 4] = [
    "/apis/gateway.networking.k8s.io/v1/httproutes",
    "/apis/gateway.networking.k8s.io/v1/gateways",
    "/apis/gateway.networking.k8s.io/v1beta1/referencegrants",
    "/apis/snapshot.storage.k8s.io/v1/volumesnapshots",
];

/// Installs them, and returns when they are served.
///
/// # Errors
/// When the modules cannot be fetched, or the API server does not take them.
pub async fn install(client: &Client) -> Result<()> {
    for (module, file) in FILES {
        let path = folder(module).await?.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        apply::yaml(client, &text).await?;
    }
    for list in LISTS {
        wait::until(
            &format!("{list} is served"),
            Duration::from_secs(60),
            async || {
                let request = http::Request::get(list)
                    .body(Vec::new())
                    .map_err(|error| error.to_string())?;
                client
                    .request::<Value>(request)
                    .await
                    .map_err(|error| error.to_string())
            },
        )
        .await?;
    }
    Ok(())
}

/// Where Go keeps a module, fetched once.
async fn folder(module: &str) -> Result<PathBuf> {
    let answer = Command::new(parts::go()?)
        .current_dir(paths::repository().join("e2e/parts/crds"))
        .args(["mod", "download", "-json", module])
        .output()
        .await
        .with_context(|| format!("fetching the Go module {module}"))?;
    let said = String::from_utf8_lossy(&answer.stdout);
    Deserializer::from_str(&said)
        .into_iter::<Value>()
        .filter_map(Result::ok)
        .find_map(|answer| answer["Dir"].as_str().map(PathBuf::from))
        .with_context(|| {
            let why = String::from_utf8_lossy(&answer.stderr);
            format!("the Go module {module} could not be fetched: {said}{why}")
        })
}

//! The chart: CRDs, rights and admission policies, installed as an administrator installs them.

use crate::process::run;
use crate::progress::step;
use crate::{apply, kubeconfig, output, parts, paths, state, vault, wait};
use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, PostParams};
use mesocentre_api::SYSTEM_NAMESPACE;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

fn folder() -> PathBuf {
    paths::repository().join("charts/mesocentre")
}

/// Installs it, or upgrades it when its files changed since. `with_output`: the process behind its API is started too.
pub async fn up(with_output: bool) -> Result<()> {
    let record = state::of_the_stack()?;
    let with = if with_output {
        output::values(&record)?
    } else {
        Vec::new()
    };
    let digest = format!("{} {}", digest()?, with.join(" "));
    if record.chart == digest && kubeconfig::knows_the_chart(&record).await? {
        return Ok(());
    }
    let doing = step("the chart: CRDs, rights and admission policies");
    let admin = kubeconfig::admin(&record);
    let client = kubeconfig::client(&admin).await?;
    // Helm installs CRDs but never upgrades them; server-side apply does both.
    let crds = files(&folder().join("crds"))?;
    try_join_all(crds.iter().map(|file| install(&client, file))).await?;
    wait::until(
        "the API server serves our kinds",
        Duration::from_secs(60),
        async || match apply::knows_our_kinds(&client).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("some CRD is not established".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        },
    )
    .await?;
    let home = paths::state().join("helm");
    state::port("vault")?;
    let vault = format!("vault.address={}", vault::address(&state::of_the_stack()?)?);
    run(Command::new(parts::program("helm")?)
        .env("KUBECONFIG", &admin)
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .args(["upgrade", "--install", "mesocentre"])
        .arg(folder())
        .args([
            "--namespace",
            SYSTEM_NAMESPACE,
            "--create-namespace",
            "--skip-crds",
        ])
        .args(["--set", "operator.deploy=false"])
        // Made by the tests that reach Slurm over ssh.
        .args(["--set", "operator.slurm.sshSecrets={slurm-login}"])
        // Its rights; the certificate of the operator that runs outside is its own.
        .args(["--set", "operator.intake.tlsSecret=intake"])
        // Of nobody who is there: `admit_publishing.rs` acts as it.
        .args([
            "--set",
            "admission.publishers={system:serviceaccount:meso-publishers:controller}",
        ])
        .args(["--set", &vault])
        .args(with))
    .await?;
    in_force(&client).await?;
    state::edit(|record| {
        record.chart = digest;
        Ok(())
    })?;
    doing.done();
    Ok(())
}

async fn install(client: &Client, file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    apply::yaml(client, &text)
        .await
        .with_context(|| format!("installing {}", file.display()))?;
    Ok(())
}

/// Takes it away from somebody's own cluster: rights, roles and the admission policies. The CRDs stay with every object
/// in them, and so do the tenants' namespaces with what runs in them, and the operator's own: they are the cluster's
/// owner's to delete, as [`what_stays`] says. Nothing enforces perimeters meanwhile.
pub async fn uninstall(kubeconfig: &Path) -> Result<()> {
    run(Command::new(parts::program("helm")?)
        .env("KUBECONFIG", kubeconfig)
        .args([
            "uninstall",
            "mesocentre",
            "--ignore-not-found",
            "--namespace",
            SYSTEM_NAMESPACE,
        ]))
    .await
    .map(drop)
}

/// What [`uninstall`] leaves, and how it goes. Objects with our finalizer go only while an operator runs.
pub fn what_stays(kubeconfig: &Path) -> String {
    format!(
        "On the cluster of {} the CRDs stay with every object in them, and the tenants' namespaces, in which no policy \
         enforces the perimeter any more; to remove them: `cargo dev up --existing`, then `kubectl delete \
         tenants,trustperimeters,schedulers --all`, `cargo dev down`, `kubectl delete -f charts/mesocentre/crds`, \
         `kubectl delete namespace {SYSTEM_NAMESPACE}`",
        kubeconfig.display()
    )
}

/// The API server compiles policies a moment after they are stored: a forgery that is refused shows that they hold.
async fn in_force(client: &Client) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let forgery: Namespace = serde_json::from_value(json!({
        "metadata": {"name": "probe--policies", "labels": {"mesocentre.io/tenant": "probe"}},
    }))?;
    let rehearsal = PostParams {
        dry_run: true,
        ..Default::default()
    };
    wait::until(
        "the admission policies are in force",
        Duration::from_secs(60),
        async || match namespaces.create(&rehearsal, &forgery).await {
            Ok(_) => Err("a namespace that forges a tenant's label is still admitted".to_owned()),
            Err(kube::Error::Api(refusal)) if refusal.code == 422 || refusal.code == 403 => Ok(()),
            Err(error) => Err(error.to_string()),
        },
    )
    .await
}

/// Every file below a folder, in a steady order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn digest() -> Result<String> {
    let mut digest = Sha256::new();
    for file in files(&folder())? {
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update(bytes.len().to_be_bytes());
        digest.update(bytes);
    }
    Ok(digest.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

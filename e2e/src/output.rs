//! What serves the output of batch jobs, as a process of this machine under its own service account, behind the API
//! server's front proxy.

use crate::progress::step;
use crate::state::Record;
use crate::{binaries, certificates, kubeconfig, loopback, process, slurm, state, vault, wait};
use anyhow::{Result, bail};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mesocentre_api::output::{GROUP, SERVICE_ACCOUNT, VERSION};
use serde_json::json;
use std::time::Duration;

/// Its name among the stack's processes, and, where the API server reaches it, among its ports.
pub const NAME: &str = "output";
/// Where its health is served.
const HEALTH: &str = "output-health";

/// What the chart is told of it: that it runs outside the cluster, and whose certificate it shows. Nothing on somebody's
/// own cluster, whose API server may not reach this machine.
pub fn values(record: &Record) -> Result<Vec<String>> {
    if record.existing.is_some() {
        return Ok(Vec::new());
    }
    let port = state::port(NAME)?;
    Ok([
        "--set".to_owned(),
        format!("output.enabled=true,output.external.host=localhost,output.external.port={port}"),
        "--set-file".to_owned(),
        format!(
            "output.tls.caBundle={}",
            certificates::folder().join("ca.crt").display()
        ),
    ]
    .to_vec())
}

/// Starts it when it does not run, or runs another binary than the one just built; returns when it is ready.
pub async fn up(release: bool) -> Result<()> {
    let record = state::of_the_stack()?;
    if record.existing.is_some() {
        return Ok(());
    }
    let binary = binaries::operator(release);
    if let Some(running) = process::running(NAME)? {
        if running.runs(&binary) {
            return Ok(());
        }
        running.stop(Duration::from_secs(10)).await?;
    }
    if !binary.exists() {
        bail!("{} is not built: run `cargo dev up`", binary.display());
    }
    let doing = step("what serves the output of batch jobs");
    certificates::make_output()?;
    let pki = |file: &str| certificates::folder().join(file);
    let port = state::port(NAME)?;
    let health = state::port(HEALTH)?;
    let config = kubeconfig::write_account(&record, SERVICE_ACCOUNT, NAME).await?;
    process::start(
        NAME,
        process::daemon(binary)
            .arg("output")
            .env("KUBECONFIG", config)
            .env("SLURM_CONF", slurm::conf())
            .env("MESO_OUTPUT_LISTEN", format!("127.0.0.1:{port}"))
            .env("MESO_OUTPUT_TLS_CERT", pki("output.crt"))
            .env("MESO_OUTPUT_TLS_KEY", pki("output.key"))
            .env("MESO_HTTP", format!("127.0.0.1:{health}"))
            .env("VAULT_ADDR", vault::address(&record)?)
            .env("MESO_SLURM_PATH", slurm::path())
            .env("PATH", slurm::path()),
    )?;
    process::answers(NAME, Duration::from_secs(60), async || {
        match loopback::get(health, "/readyz").await {
            Ok((200, _)) => Ok(()),
            Ok((code, body)) => Err(format!("/readyz says {code} {}", body.trim())),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await?;
    is_served(&record).await?;
    doing.done();
    Ok(())
}

/// Returns when the API server serves it. It found nobody there at first, and looks again after half a minute, or when the
/// object has changed.
async fn is_served(record: &Record) -> Result<()> {
    let client = kubeconfig::client(&kubeconfig::admin(record)).await?;
    let version = format!("{VERSION}.{GROUP}");
    let services: Api<APIService> = Api::all(client);
    let note =
        json!({"metadata": {"annotations": {"mesocentre.io/started": jiff::Timestamp::now().to_string()}}});
    services
        .patch(&version, &PatchParams::default(), &Patch::Merge(note))
        .await?;
    wait::until(
        "the API server serves outputs",
        Duration::from_secs(60),
        async || {
            let service = services.get(&version).await.map_err(|error| error.to_string())?;
            let conditions = service
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            match conditions.iter().find(|condition| condition.type_ == "Available") {
                Some(available) if available.status == "True" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
}

//! The operator, as a process of this machine, under its own service account.
//!
//! Its contract is its environment: a kubeconfig with a token of the service account, where the ledger and Slurm are,
//! and where to serve its health. A second one, under another name, is a second replica.

use crate::progress::step;
use crate::state::{InvoicePlace, LedgerPlace, Record};
use crate::{
    binaries, bucket, certificates, kubeconfig, loopback, paths, postgres, process, slurm, state, vault,
};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::Duration;

/// Name of the operator among the stack's processes.
pub const NAME: &str = "operator";

/// How long a clean end may take: it finishes the writes that it has begun.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ledger's URL; one in PostgreSQL has the password in it.
///
/// # Errors
/// When the stack cannot be read.
pub fn ledger_url() -> Result<String> {
    let folder = paths::state().join("ledger");
    Ok(match state::of_the_stack()?.ledger {
        LedgerPlace::File => format!("sqlite://{}", folder.join("ledger.db").display()),
        LedgerPlace::Postgres => format!(
            "{}&head-file={}",
            postgres::url()?,
            folder.join("ledger.head").display()
        ),
    })
}

/// Where the invoices are that it delivers, as files: the bucket's objects are.
///
/// # Errors
/// When the stack cannot be read.
pub fn invoice_folder() -> Result<PathBuf> {
    Ok(match state::of_the_stack()?.invoices {
        InvoicePlace::Folder => paths::state().join("invoices"),
        InvoicePlace::Bucket => bucket::folder(),
    })
}

/// The key that it signs with.
pub fn signing_key() -> PathBuf {
    paths::state().join("ledger/signing-key.pk8")
}

/// Starts the operator when it does not run, or runs another binary than the one just built; returns when it is ready.
pub async fn up(release: bool) -> Result<()> {
    let binary = binaries::operator(release);
    if let Some(running) = process::running(NAME)?
        && !running.runs(&binary)
    {
        running.stop(PATIENCE).await?;
    }
    if process::running(NAME)?.is_some() && is_ready(NAME).await.is_ok() {
        return Ok(());
    }
    let doing = step("the operator, under its own service account");
    start(NAME, release, &[]).await?;
    ready(NAME).await?;
    doing.done();
    Ok(())
}

/// Starts an operator when it does not run, and does not wait until it is ready. `more` is added to its environment, and
/// wins.
pub async fn start(name: &str, release: bool, more: &[(&str, &str)]) -> Result<()> {
    if process::running(name)?.is_some() {
        return Ok(());
    }
    let binary = binaries::operator(release);
    if !binary.exists() {
        bail!("{} is not built: run `cargo dev up`", binary.display());
    }
    state::edit(|record| {
        record.release = release;
        Ok(())
    })?;
    let environment = prepare(name).await?;
    process::start(
        name,
        process::daemon(binary)
            .envs(environment)
            .envs(more.iter().copied()),
    )?;
    Ok(())
}

/// Makes what an operator needs, and gives its environment: all that it is told.
pub async fn prepare(name: &str) -> Result<Vec<(&'static str, String)>> {
    let port = state::port(name)?;
    let record = state::of_the_stack()?;
    let config = kubeconfig::write_operator(&record).await?;
    state::folder(&paths::state().join("ledger"))?;
    let invoices = invoice_folder()?;
    state::folder(&invoices)?;
    let path = slurm::path();
    let mut environment = vec![
        ("KUBECONFIG", config.display().to_string()),
        ("SLURM_CONF", slurm::conf().display().to_string()),
        ("MESO_LEDGER_URL", ledger_url()?),
        ("MESO_SIGNING_KEY", signing_key().display().to_string()),
        ("MESO_HTTP", format!("127.0.0.1:{port}")),
        ("MESO_TIME_ZONE", "Europe/Paris".into()),
        ("MESO_LOG_FORMAT", "human".into()),
        ("VAULT_ADDR", vault::address(&record)?),
        ("MESO_SLURM_PATH", path.clone()),
        ("PATH", path),
    ];
    match record.invoices {
        InvoicePlace::Folder => environment.push(("MESO_INVOICE_FOLDER", invoices.display().to_string())),
        InvoicePlace::Bucket => environment.extend(bucket::environment()?),
    }
    // On somebody's own cluster there is no authority of ours.
    if record.existing.is_none() {
        certificates::make_intake()?;
        let pki = |file: &str| certificates::folder().join(file).display().to_string();
        let intake = state::port(&format!("{name}-intake"))?;
        environment.extend([
            ("MESO_INTAKE_LISTEN", format!("127.0.0.1:{intake}")),
            ("MESO_INTAKE_TLS_CERT", pki("intake.crt")),
            ("MESO_INTAKE_TLS_KEY", pki("intake.key")),
        ]);
    }
    Ok(environment)
}

/// Ends an operator as a site does, and returns when it is gone.
pub async fn stop(name: &str) -> Result<()> {
    match process::running(name)? {
        Some(running) => running.stop(PATIENCE).await?,
        None => return Ok(()),
    }
    process::forget(name)
}

/// Ends an operator as a power cut does, and returns when it is gone.
pub async fn kill(name: &str) -> Result<()> {
    match process::running(name)? {
        Some(running) => running.kill().await?,
        None => return Ok(()),
    }
    process::forget(name)
}

/// Returns when an operator says that it is ready.
pub async fn ready(name: &str) -> Result<()> {
    process::answers(name, Duration::from_secs(60), async || is_ready(name).await).await
}

async fn is_ready(name: &str) -> Result<(), String> {
    let port = port(name).map_err(|error| error.to_string())?;
    match loopback::get(port, "/readyz").await {
        Ok((200, _)) => Ok(()),
        Ok((code, body)) => Err(format!("/readyz says {code} {}", body.trim())),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Where an operator serves its health and metrics.
pub fn port(name: &str) -> Result<u16> {
    state::of_the_stack()?.port(name)
}

/// Where the operator serves its health and metrics; empty before its first start.
pub fn url(record: &Record) -> String {
    record
        .port(NAME)
        .map(|port| format!("http://127.0.0.1:{port}"))
        .unwrap_or_default()
}

/// Its metrics, in Prometheus' text form.
pub async fn metrics(name: &str) -> Result<String> {
    let (code, body) = loopback::get(port(name)?, "/metrics").await?;
    if code == 200 {
        Ok(body)
    } else {
        Err(anyhow::anyhow!("{body}")).with_context(|| format!("/metrics of {name} says {code}"))
    }
}

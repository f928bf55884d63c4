//! `mesocentre-operator output`: what batch jobs on Slurm wrote, through the API server, for who has nothing but a
//! kubeconfig.
//!
//! ```text
//!  meso logs, kubectl get --raw ──► API server: who is it, may they get batchjobs/log there?
//!    ──TLS, as the front proxy──► this process ──► Tenant: the reader's posix account ──► Slurm's machine: reads as them
//! ```
//!
//! The API server authenticates, and authorizes by its own roles, before it sends a request on; this process takes
//! requests from it alone, decides nothing about rights, and reads as the posix account that the reader has in that
//! tenant. It is a process of its own, with few rights of its own: the operator may come and go, and an API that is
//! registered and does not answer keeps every namespace of a cluster from going (docs/decisions/0022).

mod answer;
mod front_proxy;
mod reader;
mod server;
mod settings;

pub use settings::OutputSettings;

use crate::batch::LoginAuthority;
use crate::http;
use crate::metrics::Metrics;
use crate::tls::TlsListener;
use anyhow::Context as _;
use front_proxy::FrontProxy;
use mesocentre_api::output::SERVICE_ACCOUNT;
use reader::Reader;
use std::sync::Arc;
use std::time::Duration;

/// How long who reads has, once this process is asked to stop: an output that is followed has no end of its own.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Serves until it is asked to stop.
///
/// # Errors
/// When it cannot begin: the API server, the certificate or the address.
pub async fn run(settings: OutputSettings) -> anyhow::Result<()> {
    let config = kube::Config::infer()
        .await
        .context("finding the API server: run in a pod with a service account, or set KUBECONFIG")?;
    let client = kube::Client::try_from(config).context("preparing to speak to the API server")?;
    let metrics = Metrics::new()?;
    let readiness = http::Readiness::default();
    let (ending, shutdown) = crate::ending();
    let health = http::listen(settings.http)
        .await
        .with_context(|| format!("listening on {}, for /healthz", settings.http))?;
    tokio::spawn(http::serve(
        health,
        metrics.clone(),
        readiness.clone(),
        shutdown(),
    ));

    let proxy = FrontProxy::read(&client).await?;
    let door = front_proxy::door(&proxy, &settings.certificate, &settings.key)?;
    let listener = TlsListener::bind(settings.listen, door)
        .await
        .with_context(|| format!("listening on {}, for the API server", settings.listen))?;
    let fresh = (client.clone(), settings.certificate.clone(), settings.key.clone());
    listener.keep_fresh(move || {
        let (client, certificate, key) = fresh.clone();
        async move {
            let proxy = FrontProxy::read(&client).await?;
            front_proxy::door(&proxy, &certificate, &key)
        }
    });
    let account = (settings.namespace.as_str(), SERVICE_ACCOUNT);
    let authority = LoginAuthority::new(&settings.vault, account, &client, metrics)?;
    let reader = Arc::new(Reader::new(client, &settings, authority));
    readiness.set();
    tracing::info!(address = %settings.listen, "serves the output of batch jobs");
    let served = axum::serve(listener, server::router(reader, proxy)).with_graceful_shutdown(shutdown());
    let served = async { served.await };
    tokio::pin!(served);
    tokio::select! {
        outcome = &mut served => return outcome.context("serving the output of batch jobs"),
        () = crate::stop_signal()? => {}
    }
    ending.send_replace(true);
    match tokio::time::timeout(LAST_WORDS, served).await {
        Ok(outcome) => outcome.context("serving the output of batch jobs"),
        // What is still followed is cut: who reads begins again where it ended.
        Err(_) => Ok(()),
    }
}

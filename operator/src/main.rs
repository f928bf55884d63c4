//! The operator: one process, one leader, one folder a kind.
//!
//! ```text
//!  lease ─► ledger ─► caches ─► controllers ─► /readyz
//!                                  each: gather ─► validate ─► plan ─► apply ─► report
//! ```
//!
//! Nothing is decided here: wiring, health, a clean end.

// After a burst of objects glibc's allocator kept as much again as was in use.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod address;
mod batch;
mod billing;
mod context;
mod controller;
mod elder;
mod failure;
mod http;
mod intake;
mod leader;
mod lock;
mod looks;
mod metrics;
mod output;
mod packed;
mod platform;
mod report;
mod reserved;
mod settings;
mod share;
mod tenancy;
mod tls;
mod triggers;
mod vault;
mod watch;

pub use context::Context;

/// The first word on the command line for the process that serves what batch jobs wrote.
const OUTPUT: &str = "output";

use anyhow::Context as _;
use axum::http::Request;
use clap::Parser;
use futures::FutureExt;
use kube::client::Body;
use kube::runtime::events::{Recorder, Reporter};
use mesocentre_metering::{DatacentreZone, Ledger};
use settings::{LogFormat, LogSettings, Settings};
use std::ffi::OsString;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch as flag;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == OUTPUT) {
        arguments.remove(1);
        let settings = output::OutputSettings::parse_from(arguments);
        return work(&settings.log.clone(), output::run(settings));
    }
    let settings = Settings::parse_from(arguments);
    work(&settings.log.clone(), run(settings))
}

/// Works until it is done, or cannot go on.
fn work(log: &LogSettings, work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    log_to_stderr(log);
    // The clients of Vault and of a bucket ask for the process's own; another cannot have been installed yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "starting failed");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(settings: &LogSettings) {
    let mut filter = tracing_subscriber::EnvFilter::new(&settings.log);
    // Tokens and signatures pass through them, and failures are told by us: nothing of theirs is logged, whatever is asked for.
    for silent in ["vaultrs=off", "rustify=off", "reqwest=off", "object_store=off"] {
        if let Ok(directive) = silent.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Human => log.with_ansi(false).with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let zone = DatacentreZone::named(&settings.time_zone)?;
    // Said at the start, and not when this process comes to lead.
    settings.ledger_url()?;
    settings.signing_key()?;
    settings.invoices.archive()?;
    let mut config = kube::Config::infer()
        .await
        .context("finding the API server: run in a pod with a service account, or set KUBECONFIG")?;
    // Long watches have their own bound; nothing else may hang for ever.
    config.read_timeout = Some(Duration::from_secs(330));
    let metrics = metrics::Metrics::new()?;
    let counted = metrics.clone();
    let client = kube::client::ClientBuilder::try_from(config.clone())
        .context("preparing to speak to the API server")?
        .with_layer(&tower::util::MapRequestLayer::new(
            move |request: Request<Body>| {
                counted.requested(request.method().as_str(), request.uri().path());
                request
            },
        ))
        .build();
    let readiness = http::Readiness::default();
    let (ending, shutdown) = ending();

    // Who cannot be asked whether it works does not work: it ends, and is started again.
    let listener = http::listen(settings.http).await.with_context(|| {
        format!(
            "health and metrics cannot be served on {}: see that MESO_HTTP is a free address",
            settings.http
        )
    })?;
    let server = tokio::spawn(
        http::serve(listener, metrics.clone(), readiness.clone(), shutdown()).inspect(|outcome| {
            if let Err(error) = outcome {
                tracing::error!(%error, "health and metrics are served no more");
            }
        }),
    );
    let stopped = stop_signal()?;
    tokio::pin!(stopped);

    let candidate = leader::Candidate::new(client.clone(), &settings.namespace);
    tokio::select! {
        () = candidate.acquire(|| readiness.set()) => {}
        () = &mut stopped => return Ok(()),
    }
    readiness.unset();
    metrics.leader.set(1);
    let in_charge_since = jiff::Timestamp::now();
    tracing::info!("this process leads");

    let work = lead(
        &settings,
        (config, client),
        zone,
        metrics,
        in_charge_since,
        &readiness,
        shutdown.clone(),
    );
    tokio::pin!(work);
    let outcome = tokio::select! {
        outcome = &mut work => outcome.map(|()| "its work has ended".to_owned()),
        () = &mut stopped => Ok("it was asked to stop".to_owned()),
        // Another may act from now on: nothing may follow, not even an orderly end.
        why = candidate.hold() => {
            tracing::error!("{why}; this process ends at once");
            std::process::exit(1);
        }
    };
    let why = outcome?;
    tracing::info!("ending: {why}");
    ending.send_replace(true);
    if tokio::time::timeout(Duration::from_secs(20), work).await.is_err() {
        tracing::warn!("some work did not end in time; it is taken up again at the next start");
    }
    candidate.release().await;
    let _ = server.await;
    Ok(())
}

/// Everything that a leader does, until `shutdown`.
async fn lead<Ended: std::future::Future<Output = ()> + Send + 'static>(
    settings: &Settings,
    (server, client): (kube::Config, kube::Client),
    zone: DatacentreZone,
    metrics: metrics::Metrics,
    in_charge_since: jiff::Timestamp,
    readiness: &http::Readiness,
    shutdown: impl Fn() -> Ended,
) -> anyhow::Result<()> {
    let ledger = Ledger::open(settings.ledger_url()?).await?;
    let version = client.apiserver_version().await;
    let signer = tenancy::proof::Signer::open(&settings.signing_key()?)?;
    let (triggers, queues) = triggers::triggers();
    let mut watches = context::Watches::new(&client);
    let stores = watches.stores();
    let batch = batch::Batch::new(settings, triggers.clone());
    let account = (
        settings.namespace.as_str(),
        mesocentre_api::OPERATOR_SERVICE_ACCOUNT,
    );
    let vault = vault::Vault::new(&settings.vault, account, metrics.clone())?;
    let authority = batch::LoginAuthority::new(&settings.vault, account, &client, metrics.clone())?;
    let tenancy = tenancy::Tenancy::new(vault.is_some(), &mut watches);
    let own_writes = controller::OwnWrites::default();
    tenancy.connect(&mut watches, &stores, &triggers);
    triggers::connect(&mut watches, &stores, &triggers, (&batch, &tenancy), &own_writes);
    let reserved = Arc::new(looks::Looks::default());
    let of_allocations = Arc::clone(&reserved);
    watches.allocations.on_spec_change(move |allocation| {
        if allocation.spec.reserved.is_some() {
            of_allocations.soon();
        }
    });
    let reporter = Reporter {
        controller: mesocentre_api::OPERATOR_SERVICE_ACCOUNT.into(),
        instance: None,
    };
    let platform = settings
        .meter_platform
        .then(|| platform::Platform::start(&client));
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        server,
        namespace: settings.namespace.clone(),
        kubernetes_version: version.map(|version| version.git_version).unwrap_or_default(),
        report_every: Duration::from_secs(settings.report_minutes.saturating_mul(60)),
        signer,
        ledger_origin: settings.ledger_origin.clone(),
        stores,
        triggers,
        own_writes,
        metrics,
        ledger,
        zone,
        batch,
        archive: settings.invoices.archive()?,
        platform,
        reserved,
        billing: Default::default(),
        in_charge_since,
        authority,
        tenancy,
    });
    watches.start();
    tokio::select! {
        () = context.stores.wait_until_full() => {}
        () = shutdown() => return Ok(()),
    }
    context.batch.usage().refresh(&context).await?;
    readiness.set();
    tracing::info!("caches are full; controllers start");

    let c = || Arc::clone(&context);
    let s = &context.stores;
    tokio::join!(
        controller::run(
            "perimeter",
            c(),
            s.perimeters.clone(),
            queues.perimeters,
            8,
            tenancy::perimeter::reconcile,
            shutdown()
        ),
        controller::run(
            "tenant",
            c(),
            s.tenants.clone(),
            queues.tenants,
            16,
            tenancy::tenant::reconcile,
            shutdown()
        ),
        controller::run(
            "workspace",
            c(),
            s.workspaces.clone(),
            queues.workspaces,
            32,
            tenancy::workspace::reconcile,
            shutdown()
        ),
        controller::run(
            "peering",
            c(),
            s.agreements.clone(),
            queues.agreements,
            8,
            tenancy::peering::reconcile,
            shutdown()
        ),
        controller::run(
            "scheduler",
            c(),
            s.schedulers.clone(),
            queues.schedulers,
            4,
            batch::scheduler::reconcile,
            shutdown()
        ),
        controller::run(
            "allocation",
            c(),
            s.allocations.clone(),
            queues.allocations,
            8,
            batch::allocation::reconcile,
            shutdown()
        ),
        controller::run(
            "batch_job",
            c(),
            s.jobs.clone(),
            queues.jobs,
            64,
            batch::job::reconcile,
            shutdown()
        ),
        controller::run(
            "tariff",
            c(),
            s.tariffs.clone(),
            queues.tariffs,
            4,
            billing::tariff::reconcile,
            shutdown()
        ),
        controller::run(
            "cost_pool",
            c(),
            s.pools.clone(),
            queues.pools,
            4,
            billing::cost_pool::reconcile,
            shutdown()
        ),
        controller::run(
            "co_investment",
            c(),
            s.co_investments.clone(),
            queues.co_investments,
            4,
            billing::co_investment::reconcile,
            shutdown()
        ),
        controller::run(
            "invoice_series",
            c(),
            s.series.clone(),
            queues.series,
            1,
            billing::invoice::series::reconcile,
            shutdown()
        ),
        controller::run(
            "invoice",
            c(),
            s.invoices.clone(),
            queues.invoices,
            1,
            billing::invoice::reconcile,
            shutdown()
        ),
        controller::run(
            "invoice_delivery",
            c(),
            s.invoices.clone(),
            queues.deliveries,
            1,
            billing::invoice::deliver::reconcile,
            shutdown()
        ),
        controller::run(
            "economic_ceiling",
            c(),
            s.ceilings.clone(),
            queues.ceilings,
            1,
            billing::ceiling::reconcile,
            shutdown()
        ),
        controller::run(
            "billing_period",
            c(),
            s.periods.clone(),
            queues.periods,
            1,
            billing::period::reconcile,
            shutdown()
        ),
        controller::run(
            "report",
            c(),
            s.tenants.clone(),
            queues.reports,
            2,
            tenancy::proof::reconcile,
            shutdown()
        ),
        tenancy::proof::guard(c(), shutdown()),
        tenancy::sweep(c(), shutdown()),
        tenancy::vault::keep(c(), vault, &settings.vault, shutdown()),
        batch::count_phases(c(), shutdown()),
        platform::meter(c(), shutdown()),
        reserved::meter(c(), shutdown()),
        async {
            let served = intake::serve(c(), &settings.intake, shutdown()).await;
            if let Err(error) = served {
                // Whoever reports hears nothing and keeps what they have: the rest of the operator goes on.
                tracing::error!("use that others measure is not taken: {error:#}");
            }
        },
    );
    context.batch.end().await;
    if let Some(authority) = &context.authority {
        authority.log_out().await;
    }
    context.ledger.close().await;
    Ok(())
}

/// Resolves when the process is asked to stop.
/// What says that the process ends, and what waits until it is said.
fn ending() -> (
    flag::Sender<bool>,
    impl Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Clone,
) {
    let (ending, ended) = flag::channel(false);
    let shutdown = move || {
        let mut ended = ended.clone();
        async move {
            // A sender that is gone ends the process as well.
            let _ = ended.wait_for(|ended| *ended).await;
        }
        .boxed()
    };
    (ending, shutdown)
}

fn stop_signal() -> anyhow::Result<impl std::future::Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

//! Brings the stack up, from nothing or from whatever of it still stands.
//!
//! ```text
//! packages ─┬─ etcd ▶ API server ─┬─ controllers, scheduler
//!           │                     └─ chart ─┐
//!           ├─ Slurm ───────────────────────┼─ operator, and what serves outputs
//!           ├─ PostgreSQL                   │
//!           ├─ a store of S3, if asked for ─┤
//!           ├─ Vault ───────────────────────┤ what its administrator sets up
//!           └─ cargo build ─────────────────┘
//! ```
//! What does not need each other is built and started side by side. What runs is left alone, so that a second `up`
//! changes nothing.

use crate::{
    binaries, bucket, chart, control_plane, down, operator, output, packages, parts, paths, pods, postgres,
    process, slurm, state, vault,
};
use anyhow::{Context, Result, bail};
use futures::try_join;

/// How to bring it up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// End what stands first.
    pub fresh: bool,
    /// Use the cluster of $KUBECONFIG and start no control plane.
    pub existing: bool,
    /// Start no operator, and build none.
    pub no_operator: bool,
    /// Run a release build of the operator.
    pub release: bool,
    /// Start a node with real pods, too.
    pub pods: bool,
    /// Which Slurm to run; the one that runs, else the machine's own, when absent.
    pub slurm: Option<slurm::Release>,
    /// Where the operator keeps its ledger; where it does, else in a file, when absent.
    pub ledger: Option<state::LedgerPlace>,
    /// Where the operator delivers invoices; where it does, else in a folder, when absent.
    pub invoices: Option<state::InvoicePlace>,
}

/// Brings it up and returns when all is ready.
pub async fn up(options: Options) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "the stack runs Slurm's jobs as several users, which takes root: work as root in a machine that may be \
             thrown away"
        );
    }
    state::reachable()?;
    let existing = existing(options.existing)?;
    let mut alone = state::alone()?;
    if options.fresh {
        down::end(&alone).await?;
        drop(alone);
        alone = state::alone()?;
    }
    remember(existing, options)?;
    packages::install().await?;
    // Another apt-get beside the first would wait for its lock.
    packages::install_for_postgres().await?;
    binaries::link(options.release)?;

    try_join!(
        async {
            if !options.existing {
                parts::build(&control_plane::PROGRAMS).await?;
                control_plane::up().await?;
                control_plane::start_controllers()?;
            }
            parts::build(&["helm", "kubectl"]).await?;
            chart::up(!options.no_operator).await
        },
        slurm::up(),
        postgres::up(),
        async {
            parts::build(&["vault"]).await?;
            vault::up().await
        },
        async {
            if state::of_the_stack()?.invoices == state::InvoicePlace::Bucket {
                parts::build(&[bucket::NAME]).await?;
                bucket::up().await?;
            }
            Ok(())
        },
        async {
            if options.no_operator {
                return Ok(());
            }
            binaries::build(options.release).await
        },
    )?;
    vault::set_up().await?;
    if options.no_operator {
        operator::prepare(operator::NAME).await?;
    } else {
        output::up(options.release).await?;
        operator::up(options.release).await?;
    }
    if options.pods {
        pods::up().await?;
    }
    process::all_alive()?;
    drop(alone);
    Ok(())
}

/// The kubeconfig of somebody's own cluster, when that is asked for.
fn existing(asked: bool) -> Result<Option<std::path::PathBuf>> {
    if !asked {
        return Ok(None);
    }
    let file =
        std::env::var_os("KUBECONFIG").context("--existing uses the cluster of $KUBECONFIG: set it")?;
    let file = std::fs::canonicalize(&file)
        .with_context(|| format!("KUBECONFIG names {}, which cannot be read", file.display()))?;
    if file.starts_with(paths::state()) {
        bail!(
            "KUBECONFIG names the stack's own control plane: set it to your cluster's kubeconfig, or leave out --existing"
        );
    }
    Ok(Some(file))
}

fn remember(existing: Option<std::path::PathBuf>, options: Options) -> Result<()> {
    state::folder(&paths::state().join("logs"))?;
    state::edit(|record| {
        // What ended since, as a replica that a test left behind, is started again below or wanted no more.
        record.processes.retain(|(_, process)| process.is_alive());
        let begun = !record.processes.is_empty();
        if begun && record.existing != existing {
            match &record.existing {
                Some(other) => bail!(
                    "the stack stands on the cluster of {}: run `cargo dev down` first, or `cargo dev up --existing` with \
                     that KUBECONFIG",
                    other.display()
                ),
                None => bail!("the stack stands with a control plane of its own: run `cargo dev down` first"),
            }
        }
        record.existing = existing;
        let release = options.slurm.unwrap_or(record.slurm);
        // What one Slurm has written down, the other does not read.
        if record.slurm != release && slurm::has_data() {
            bail!("the stack was made with another Slurm: run `cargo dev down` first, or leave out --slurm");
        }
        record.slurm = release;
        let ledger = options.ledger.unwrap_or(record.ledger);
        if begun && record.ledger != ledger {
            bail!("the stack keeps its ledger elsewhere: run `cargo dev down` first, or leave out --ledger");
        }
        record.ledger = ledger;
        let invoices = options.invoices.unwrap_or(record.invoices);
        if begun && record.invoices != invoices {
            bail!("the stack's invoices are elsewhere: run `cargo dev down` first, or leave out --invoices");
        }
        record.invoices = invoices;
        Ok(())
    })
}

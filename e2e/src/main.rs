//! `cargo dev`: the one way in for each task of development.

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use mesocentre_e2e::tasks;
use std::process::ExitCode;
use std::time::Instant;

/// The development stack of Mesocentre.
#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build what is missing, start the whole stack, and return when all is ready. Run twice, it changes nothing
    Up(Up),
    /// End what `up` started, and leave nothing behind but the cache of built parts; on a cluster of yours, CRDs and what
    /// is in them
    Down,
    /// Print what a shell exports to use the stack: eval "$(cargo dev env)"
    Env,
    /// Print a kubeconfig with a client certificate for a user
    Kubeconfig {
        /// Name of the user
        user: String,
        /// Groups of the user
        groups: Vec<String>,
        /// Namespace that kubectl uses when none is named
        #[arg(short, long)]
        namespace: Option<String>,
    },
    /// Start, stop, restart or kill the operator
    Operator {
        #[command(subcommand)]
        what: Operator,
    },
    /// From nothing to a bill: tenants, jobs on Slurm, use in the ledger, statements. Leaves the stack up
    Demo,
    /// Run unit, property and end-to-end tests: all on a fresh stack; with a later Slurm, those that read what it answers;
    /// with a filter, those whose name holds it, on the stack that stands
    Test {
        /// Part of a test's name
        filter: Option<String>,
        #[command(flatten)]
        up: Up,
    },
    /// Measure, as ratios within one run
    Bench {
        /// The one measurement to make; all when it is left out
        name: Option<String>,
    },
    /// Write the chart's CRDs from the Rust types
    Generate,
}

#[derive(Args, Clone, Copy)]
struct Up {
    /// End what stands, and begin from nothing
    #[arg(long)]
    fresh: bool,
    /// Use the cluster of $KUBECONFIG instead of a control plane of our own
    #[arg(long)]
    existing: bool,
    /// Start all but the operator, for one that runs in a debugger
    #[arg(long)]
    no_operator: bool,
    /// Run a release build of the operator
    #[arg(long)]
    release: bool,
    /// Start a node with real pods and a network that enforces policies, too
    #[arg(long)]
    pods: bool,
    /// Run the Slurm of this release of Debian
    #[arg(long)]
    slurm: Option<tasks::SlurmRelease>,
    /// Where the operator keeps its ledger
    #[arg(long)]
    ledger: Option<tasks::LedgerPlace>,
    /// Where the operator delivers invoices
    #[arg(long)]
    invoices: Option<tasks::InvoicePlace>,
}

impl From<Up> for tasks::Options {
    fn from(up: Up) -> Self {
        Self {
            fresh: up.fresh,
            existing: up.existing,
            no_operator: up.no_operator,
            release: up.release,
            pods: up.pods,
            slurm: up.slurm,
            ledger: up.ledger,
            invoices: up.invoices,
        }
    }
}

#[derive(Subcommand)]
enum Operator {
    /// Build it and start it; return when it is ready
    Start {
        /// A release build
        #[arg(long)]
        release: bool,
    },
    /// End it as a site does
    Stop,
    /// Build it, end the one that runs, start the new one; return when it is ready
    Restart {
        /// A release build
        #[arg(long)]
        release: bool,
    },
    /// End it as a power cut does
    Kill,
    /// Print its own environment, for one that runs in a debugger
    Env,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting");
    match runtime.and_then(|runtime| runtime.block_on(run(arguments.task))) {
        Ok(code) => code,
        // The sentence and its causes; where in this program it arose helps nobody.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Up(up) => {
            let since = Instant::now();
            tasks::up(up.into()).await?;
            eprintln!(
                "The stack is up ({:.1?}). To use it: eval \"$(cargo dev env)\"; to end it: cargo dev down",
                since.elapsed()
            );
        }
        Task::Down => tasks::down().await?,
        Task::Env => print!("{}", tasks::env()?),
        Task::Kubeconfig {
            user,
            groups,
            namespace,
        } => print!(
            "{}",
            tasks::kubeconfig_of(&user, &groups, namespace.as_deref()).await?
        ),
        Task::Operator { what } => match what {
            Operator::Start { release } => tasks::start_operator(release).await?,
            Operator::Stop => tasks::stop_operator().await?,
            Operator::Restart { release } => tasks::restart_operator(release).await?,
            Operator::Kill => tasks::kill_operator().await?,
            Operator::Env => print!("{}", tasks::operator_env().await?),
        },
        Task::Demo => tasks::demo().await?,
        Task::Test { filter, up } => return tasks::test(filter.as_deref(), up.into()).await,
        Task::Bench { name } => tasks::bench(name.as_deref()).await?,
        Task::Generate => tasks::generate().await?,
    }
    Ok(ExitCode::SUCCESS)
}

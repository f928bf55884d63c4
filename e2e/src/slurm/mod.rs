//! A whole Slurm on this machine: munge, the accounting database, slurmdbd, slurmctld and four nodes of 64 cores.
//!
//! ```text
//! munged ─┐
//! mariadbd ▶ slurmdbd ▶ slurmctld ▶ slurmd n1 … n4
//! ```

mod configuration;
mod database;
mod munge;
mod people;
mod release;

pub use configuration::{CLUSTER, NODES, conf};
pub use people::{home, make_one, take_away, uid};
pub use release::Release;

use crate::process::{self, run};
use crate::progress::step;
use crate::{binaries, paths, state};
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;

/// Slurm's part of the stack's folder.
fn base() -> PathBuf {
    paths::state().join("slurm")
}

/// Where Slurm's commands are looked for: what the stack has of its own comes first.
pub fn path() -> String {
    format!("{}:/usr/local/bin:/usr/bin:/bin", paths::bin().display())
}

/// One of Slurm's commands, told which configuration to use.
pub fn command(name: &str) -> Result<Command> {
    let mut command = Command::new(release()?.program(name));
    command.env("SLURM_CONF", conf());
    Ok(command)
}

/// Whether a Slurm of this stack has run.
pub fn has_data() -> bool {
    base().exists()
}

/// Which Slurm the stack runs.
fn release() -> Result<Release> {
    Ok(state::of_the_stack()?.slurm)
}

/// Runs SQL in slurmdbd's own database, behind its back: for what only a clock set back or a defect makes.
pub async fn in_the_accounting(statements: &str) -> Result<()> {
    database::sql(statements).await
}

/// One of its daemons, in the foreground of its own session.
fn daemon(name: &str) -> Result<std::process::Command> {
    let mut command = process::daemon(release()?.program(name));
    command.arg("-D").env("SLURM_CONF", conf());
    Ok(command)
}

/// Starts what does not run; returns when every node takes jobs.
pub async fn up() -> Result<()> {
    let doing = step("Slurm: slurmctld, slurmdbd and 4 nodes");
    state::folder(&base())?;
    people::make().await?;
    let release = release()?;
    release.prepare().await?;
    for name in release.commands() {
        binaries::link_one(name, &release.program(name))?;
    }
    if configuration::write(release)? {
        // They read it at their start only. Jobs go on meanwhile.
        let nodes = NODES.map(|node| format!("slurmd-{node}"));
        for name in nodes.iter().map(String::as_str).chain(["slurmctld"]) {
            if let Some(running) = process::running(name)? {
                running.stop(Duration::from_secs(30)).await?;
            }
        }
    }
    futures::try_join!(munge::up(), database::up())?;
    start_accounting().await?;
    start_controller().await?;
    start_nodes(release)?;
    nodes_take_jobs().await?;
    doing.done();
    Ok(())
}

/// Starts slurmdbd when it does not run; returns when it answers and knows the cluster.
pub async fn start_accounting() -> Result<()> {
    if process::running("slurmdbd")?.is_none() {
        process::start(
            "slurmdbd",
            daemon("slurmdbd")?.env("MYSQL_UNIX_PORT", database::socket()),
        )?;
    }
    let clusters = process::answers("slurmdbd", Duration::from_secs(60), async || {
        let mut list = command("sacctmgr").map_err(|error| error.to_string())?;
        run(list.args(["-n", "-P", "show", "cluster", "format=cluster"]))
            .await
            .map_err(|error| error.to_string())
    })
    .await?;
    if !clusters.lines().any(|line| line.trim() == CLUSTER) {
        run(command("sacctmgr")?.args(["-i", "add", "cluster", CLUSTER])).await?;
    }
    Ok(())
}

/// Starts slurmctld when it does not run; returns when it answers.
pub async fn start_controller() -> Result<()> {
    if process::running("slurmctld")?.is_none() {
        process::start("slurmctld", daemon("slurmctld")?.arg("-i"))?;
    }
    process::answers("slurmctld", Duration::from_secs(60), async || {
        // It exits with success when slurmctld is down, and says so.
        let mut ping = command("scontrol").map_err(|error| error.to_string())?;
        let answer = run(ping.arg("ping")).await.map_err(|error| error.to_string())?;
        if answer.contains("is UP") {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await
}

/// Starts the nodes that do not run.
fn start_nodes(release: Release) -> Result<()> {
    for node in NODES {
        let name = format!("slurmd-{node}");
        if process::running(&name)?.is_none() {
            let mut slurmd = daemon("slurmd")?;
            slurmd.args(["-N", node]);
            if let Some(stepd) = release.stepd() {
                slurmd.arg("-d").arg(stepd);
            }
            process::start(&name, &mut slurmd)?;
        }
    }
    Ok(())
}

/// Returns when every node takes jobs.
async fn nodes_take_jobs() -> Result<()> {
    process::answers("slurmctld", Duration::from_secs(60), async || {
        let mut list = command("sinfo").map_err(|error| error.to_string())?;
        let nodes = run(list.args(["-h", "-N", "-o", "%n %T"]))
            .await
            .map_err(|error| error.to_string())?;
        let good = |line: &&str| {
            ["idle", "mixed", "allocated"]
                .iter()
                .any(|state| line.ends_with(state))
        };
        if nodes.lines().filter(good).count() == NODES.len() {
            Ok(())
        } else {
            Err(format!(
                "its nodes are not ready: {}",
                nodes.trim().replace('\n', ", ")
            ))
        }
    })
    .await
}

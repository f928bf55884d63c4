//! Ends the stack: just what it started, and leaves nothing behind but the cache of parts; on somebody's own cluster,
//! what is its owner's to delete, and says so.

use crate::progress::step;
use crate::state::{self, Alone};
use crate::{chart, operator, paths, pods, process, slurm};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Ends everything; without a stack, nothing is done.
pub async fn down() -> Result<()> {
    if !paths::state().exists() {
        return Ok(());
    }
    let alone = state::alone()?;
    end(&alone).await
}

/// The same, when no other command is at work.
pub async fn end(_alone: &Alone) -> Result<()> {
    // A record that cannot be read hides nothing: the processes bear their mark.
    let record = match state::read() {
        Ok(record) => record.unwrap_or_default(),
        Err(error) => {
            eprintln!("{error:#}; ending what bears the stack's mark");
            state::Record::default()
        }
    };
    let doing = step("ending the stack");
    // The operator may finish the writes that it has begun, as somebody's own cluster keeps them.
    for (name, process) in &record.processes {
        if name.starts_with(operator::NAME) {
            process.stop(Duration::from_secs(10)).await?;
        }
    }
    if let Some(kubeconfig) = &record.existing {
        match chart::uninstall(kubeconfig).await {
            Ok(()) => eprintln!("{}", chart::what_stays(kubeconfig)),
            Err(error) => eprintln!(
                "the chart stays on the cluster of {}: {error:#}",
                kubeconfig.display()
            ),
        }
    }
    let mut uids = Vec::new();
    for person in &record.people {
        uids.extend(slurm::uid(person).await);
    }
    // Their data goes with them, so they need no time to put it in order.
    let since = Instant::now();
    loop {
        let left = process::all_of(&record, &uids);
        if left.is_empty() {
            break;
        }
        if since.elapsed() > Duration::from_secs(20) {
            let pids: Vec<String> = left.iter().map(|process| process.pid.to_string()).collect();
            bail!("processes {} do not end, not even when killed", pids.join(", "));
        }
        for process in left {
            process.signal(Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pods::forget_cgroups().await?;
    for person in &record.people {
        slurm::take_away(person).await?;
    }
    let folder = paths::state();
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", folder.display()));
        }
        _ => {}
    }
    doing.done();
    Ok(())
}

//! Processes that outlive the command that starts them, and are ended by the one that ends the stack.
//!
//! A process is known by its id and its start time, since ids come round again; it is written down as soon as it runs.
//! Should the command that started it die in between, the mark in its environment still says whose it is.

use crate::{paths, state};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Names the stack's folder in the environment of every process of the stack.
const MARK: &str = "MESO_DEV_STACK";

/// What Debian's root has; the daemons of the stack see nothing else of the caller's environment.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process that we started: its id, and when it started in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Process id.
    pub pid: u32,
    /// Field 22 of /proc/PID/stat (proc(5)).
    pub start: u64,
}

/// What /proc/PID/stat says: the state letter, the parent, the start time.
struct Stat {
    letter: char,
    parent: u32,
    start: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything: fields count from behind the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        letter: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

impl Started {
    /// Whether it runs this very file. One that was rebuilt replaces it: the old process's link then says "(deleted)".
    pub fn runs(&self, binary: &Path) -> bool {
        let of = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        fs::canonicalize(binary).is_ok_and(|binary| binary == of)
    }

    /// Of a process that runs now.
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self {
            pid,
            start: stat.start,
        })
    }

    /// Whether it is still that process, and no zombie. One whose first thread is one may have others that end still, and
    /// with them hold its ports.
    pub fn is_alive(&self) -> bool {
        let threads = || fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count);
        stat(self.pid).is_some_and(|stat| {
            stat.start == self.start && (!matches!(stat.letter, 'Z' | 'X') || threads() > 1)
        })
    }

    /// Sends a signal, if it is still that process.
    pub fn signal(&self, signal: Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return;
        };
        // The handle first, then the look: from here on the id cannot come to mean another process.
        if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
            && self.is_alive()
        {
            let _ = pidfd_send_signal(handle, signal);
        }
    }

    /// Ends it: politely, then not; returns when it is gone.
    pub async fn stop(&self, patience: Duration) -> Result<()> {
        self.signal(Signal::TERM);
        if self.gone_within(patience).await {
            return Ok(());
        }
        self.kill().await
    }

    /// Ends it at once; returns when it is gone.
    pub async fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL);
        if self.gone_within(Duration::from_secs(10)).await {
            return Ok(());
        }
        bail!("process {} does not end, not even when killed", self.pid)
    }

    async fn gone_within(&self, patience: Duration) -> bool {
        let since = Instant::now();
        while self.is_alive() {
            if since.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

/// A command in a session of its own, so that it survives the one that starts it and the Ctrl-C meant for that.
pub fn daemon(program: impl AsRef<Path>) -> std::process::Command {
    // setsid(1) becomes the program: the id stays.
    let mut command = std::process::Command::new("setsid");
    command
        .arg(program.as_ref())
        .env_clear()
        .env("PATH", SYSTEM_PATH)
        .env("HOME", paths::state())
        .env("LANG", "C.UTF-8")
        .env(MARK, paths::state())
        .current_dir(paths::state());
    command
}

/// The same, as another user without a way back to root.
pub fn daemon_of(user: &str, program: &str) -> std::process::Command {
    let mut command = daemon("setpriv");
    command.args(["--reuid", user, "--regid", user, "--init-groups", "--", program]);
    command
}

/// Starts a daemon, its output in its log file, and writes it down.
pub fn start(name: &str, command: &mut std::process::Command) -> Result<Started> {
    let log = paths::log(name);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("opening {}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let started =
        Started::of(child.id()).with_context(|| format!("{name} ended at once; see {}", log.display()))?;
    state::edit(|record| {
        record.processes.retain(|(n, _)| n != name);
        record.processes.push((name.into(), started));
        Ok(started)
    })
}

/// The process of this name, when it runs.
pub fn running(name: &str) -> Result<Option<Started>> {
    Ok(state::read()?.and_then(|record| record.running(name)))
}

/// Says so when a daemon of the stack has ended, with the end of its log.
pub fn all_alive() -> Result<()> {
    for (name, process) in state::of_the_stack()?.processes {
        if !process.is_alive() {
            let log = paths::log(&name);
            bail!(
                "{name} ended by itself; `cargo dev up` starts it again; the end of {}:\n{}",
                log.display(),
                tail(&log, 15)
            );
        }
    }
    Ok(())
}

/// Forgets a process that was ended on purpose.
pub fn forget(name: &str) -> Result<()> {
    state::edit(|record| {
        record
            .processes
            .retain(|(n, process)| n != name || process.is_alive());
        Ok(())
    })
}

/// Asks a daemon again and again until it answers. When it ended instead, says so at once, with the end of its log.
pub async fn answers<T, F>(name: &str, patience: Duration, mut ask: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let log = paths::log(name);
    let since = Instant::now();
    loop {
        let last = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(last) => last,
        };
        let tail = || format!("{}:\n{}", log.display(), tail(&log, 15));
        if running(name)?.is_none() {
            bail!("{name} ended; the end of {}", tail());
        }
        if since.elapsed() > patience {
            bail!(
                "{name} does not answer after {patience:?}: {last}; the end of {}",
                tail()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every process of this stack: recorded or marked, the steps of its Slurm's jobs, those of our people; and their
/// children down to the last.
pub fn all_of(record: &state::Record, uids: &[u32]) -> Vec<Started> {
    let mark = format!("{MARK}={}", paths::state().display());
    let conf = format!("SLURM_CONF={}", crate::slurm::conf().display());
    let mut found: Vec<Started> = Vec::new();
    let mut others: Vec<(Started, u32)> = Vec::new();
    for (process, parent) in living() {
        let pid = process.pid;
        let recorded = || record.processes.iter().any(|(_, known)| *known == process);
        let of_people =
            || fs::metadata(format!("/proc/{pid}")).is_ok_and(|found| uids.contains(&found.uid()));
        // slurmd lets go of the steps that it starts, and gives them little more than its configuration's name. People's
        // shells have that name, too.
        let is_step = || {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("slurmstepd"))
                && has_in_environment(pid, &conf)
        };
        if recorded() || has_in_environment(pid, &mark) || of_people() || is_step() {
            found.push(process);
        } else {
            others.push((process, parent));
        }
    }
    and_children(found, others)
}

/// Processes, and their children down to the last.
pub fn with_children(found: Vec<Started>) -> Vec<Started> {
    let others = living().filter(|(process, _)| !found.contains(process)).collect();
    and_children(found, others)
}

/// `others` with their parents.
fn and_children(mut found: Vec<Started>, mut others: Vec<(Started, u32)>) -> Vec<Started> {
    loop {
        let (children, rest): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|(_, parent)| found.iter().any(|process| process.pid == *parent));
        if children.is_empty() {
            return found;
        }
        found.extend(children.into_iter().map(|(process, _)| process));
        others = rest;
    }
}

/// Every process of the machine but this one, with its parent.
fn living() -> impl Iterator<Item = (Started, u32)> {
    let own = std::process::id();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(move |pid| *pid != own)
        .filter_map(|pid| {
            // One that has ended and that nobody waits for yet is no process any more.
            let stat = stat(pid).filter(|stat| stat.letter != 'Z')?;
            let start = stat.start;
            Some((Started { pid, start }, stat.parent))
        })
}

fn has_in_environment(pid: u32, variable: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| {
        bytes
            .split(|byte| *byte == 0)
            .any(|found| found == variable.as_bytes())
    })
}

/// Runs a command to its end and gives its output; when it fails, that is in the error.
pub async fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("starting {:?}", command.as_std().get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?} failed ({}): {}{}",
            command.as_std(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim(),
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines of a log, for an error message.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_known_by_id_and_start_so_that_a_stranger_is_never_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let ours = Started::of(child.id()).unwrap();
        let stranger = Started {
            start: ours.start + 1,
            ..ours
        };
        assert!(ours.is_alive());
        assert!(!stranger.is_alive());
        stranger.stop(Duration::from_secs(1)).await.unwrap();
        assert!(
            ours.is_alive(),
            "a process of the same id that started later was ended"
        );
        ours.signal(Signal::KILL);
        child.wait().unwrap();
        assert!(!ours.is_alive());
    }
}

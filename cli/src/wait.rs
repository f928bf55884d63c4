//! Following one job until its end, with its progress on standard error.

use crate::api_answer;
use crate::batch_jobs::{exit_code, phase};
use crate::elapsed::{clock, ran};
use crate::failure::Failure;
use crate::outlook;
use futures::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{Timestamp, tz::TimeZone};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use mesocentre_api::{BatchJob, Phase};
use std::io::IsTerminal;
use std::pin::Pin;
use std::time::Duration;

/// A job as it changes; none when it is gone.
pub type Changes = Pin<Box<dyn Stream<Item = Result<Option<BatchJob>, watcher::Error>> + Send>>;

/// Watches one job, again after every break.
pub fn changes(api: Api<BatchJob>, name: &str) -> Changes {
    Box::pin(watcher::watch_object(api, name).default_backoff())
}

/// Why a watch will never come back: the server refuses it.
pub fn refusal(error: &watcher::Error, doing: &str) -> Option<Failure> {
    let (watcher::Error::InitialListFailed(error)
    | watcher::Error::WatchStartFailed(error)
    | watcher::Error::WatchFailed(error)) = error
    else {
        return None;
    };
    match api_answer::failure(doing, error) {
        failure @ (Failure::Refused(_) | Failure::NotFound(_)) => Some(failure),
        _ => None,
    }
}

/// Waits until the job has ended.
///
/// # Errors
/// [`Failure::Exit`] with the job's own exit code, when that is not 0; [`Failure`], when the job is deleted meanwhile
/// or the server refuses.
pub async fn until_the_end(api: Api<BatchJob>, name: &str, command: &str) -> Result<(), Failure> {
    let doing = format!("waiting for {name}");
    let shown = Shown::new();
    let mut changes = changes(api, name);
    let mut last: Option<BatchJob> = None;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(Some(job))) => {
                    shown.job(name, &job, true);
                    if phase(&job).is_finished() {
                        shown.clear();
                        return ended(name, &job);
                    }
                    last = Some(job);
                }
                Some(Ok(None)) => {
                    shown.clear();
                    return Err(Failure::Failed(format!("{doing}: it was deleted, and with that cancelled")));
                }
                Some(Err(error)) => {
                    if let Some(failure) = refusal(&error, &doing) {
                        shown.clear();
                        return Err(failure);
                    }
                    shown.say("the API server does not answer; the job goes on, and so does waiting");
                }
                None => return Err(Failure::Unreachable(format!("{doing}: the API server ended the watch"))),
            },
            _ = tick.tick() => if let Some(job) = &last {
                shown.job(name, job, false);
            },
            _ = tokio::signal::ctrl_c() => {
                shown.clear();
                eprintln!("{name} goes on without this terminal: `{command} show {name}` shows it, `{command} cancel {name}` ends it");
                return Err(Failure::Exit(130));
            }
        }
    }
}

fn ended(name: &str, job: &BatchJob) -> Result<(), Failure> {
    let Some(status) = &job.status else {
        return Err(Failure::Exit(1));
    };
    let time = ran(status.started_at, status.finished_at, Timestamp::now())
        .map(|seconds| format!(" after {}", clock(seconds)))
        .unwrap_or_default();
    let why = match (&status.message, status.phase) {
        (Some(why), phase) if phase != Phase::Succeeded => format!(": {why}"),
        _ => String::new(),
    };
    eprintln!("{name} {}{time}{why}", status.phase.as_str());
    match exit_code(status) {
        0 => Ok(()),
        code => Err(Failure::Exit(code)),
    }
}

/// One line that says where the job is.
fn line(name: &str, job: &BatchJob, now: Timestamp) -> String {
    let Some(status) = &job.status else {
        return format!("{name} {}", Phase::Pending.as_str());
    };
    let mut line = format!("{name} {}", status.phase.as_str());
    if let Some(seconds) = ran(status.started_at, status.finished_at, now) {
        line.push(' ');
        line.push_str(&clock(seconds));
    }
    if !status.nodes.is_empty() {
        line.push_str(&format!(" on {}", status.nodes.join(",")));
    }
    if let Some(why) =
        outlook::why(status, now, &TimeZone::system()).filter(|_| status.phase != Phase::Running)
    {
        line.push_str(&format!(": {why}"));
    }
    line
}

/// Where the progress is drawn: a bar on a terminal, a line a phase elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    told: std::cell::Cell<Option<Phase>>,
}

impl Shown {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            told: std::cell::Cell::new(None),
        }
    }

    fn job(&self, name: &str, job: &BatchJob, changed: bool) {
        let text = line(name, job, Timestamp::now());
        match &self.bar {
            Some(bar) => {
                let tasks = job.status.as_ref().and_then(|status| status.tasks.as_ref());
                if let Some(tasks) = tasks.filter(|tasks| tasks.total > 1) {
                    let done = tasks.succeeded + tasks.failed + tasks.cancelled;
                    if bar.length() != u64::try_from(tasks.total).ok() {
                        bar.set_length(u64::try_from(tasks.total).unwrap_or_default());
                        if let Ok(style) =
                            ProgressStyle::with_template("{spinner} {wide_msg} [{bar:20}] {pos}/{len} tasks")
                        {
                            bar.set_style(style);
                        }
                    }
                    bar.set_position(u64::try_from(done).unwrap_or_default());
                }
                bar.set_message(text);
            }
            // The end has a line of its own.
            None if changed
                && !phase(job).is_finished()
                && self.told.replace(Some(phase(job))) != Some(phase(job)) =>
            {
                eprintln!("{text}");
            }
            None => {}
        }
    }

    fn say(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_job_says_what_it_waits_for_and_a_running_one_where_it_runs() {
        let job = |status| -> BatchJob {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"name": "pi"},
                "spec": {"allocation": "a", "script": "#!/bin/sh"}, "status": status,
            }))
            .unwrap()
        };
        let now = "2026-11-24T10:01:09Z".parse().unwrap();
        assert_eq!(
            line(
                "pi",
                &job(serde_json::json!({"phase": "Queued", "message": "waits for free nodes"})),
                now
            ),
            "pi Queued: waits for free nodes"
        );
        assert_eq!(
            line(
                "pi",
                &job(
                    serde_json::json!({"phase": "Running", "startedAt": "2026-11-24T10:00:00Z", "nodes": ["n1", "n2"]})
                ),
                now
            ),
            "pi Running 1:09 on n1,n2"
        );
        assert_eq!(line("pi", &job(serde_json::Value::Null), now), "pi Pending");
    }
}

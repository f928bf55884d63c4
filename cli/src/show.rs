//! `meso show`: everything that is known of a job, for people.

use crate::batch_jobs::{get, phase};
use crate::connection::{Connection, Place};
use crate::elapsed::{self, clock, ran};
use crate::failure::Failure;
use crate::outlook;
use crate::output::{self, FormatArgument, machine_readable};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mesocentre_api::{BatchJob, JobResources, Phase};

/// What `show` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The job's name, as `meso queue` shows it
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    place: Place,
}

/// Shows the job.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let namespace = connection.namespace()?;
    let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), namespace);
    let job = get(&api, &options.job, &format!("showing {}", options.job)).await?;
    if let Some(text) = machine_readable(options.format.format, &job)? {
        return output::print(&text);
    }
    let mut text = describe(&job, Timestamp::now(), &TimeZone::system());
    let events: Api<Event> = Api::namespaced(connection.client.clone(), namespace);
    let of = format!("involvedObject.uid={}", job.uid().unwrap_or_default());
    // The job is what was asked for; who may not read events still sees it.
    match events.list(&ListParams::default().fields(&of)).await {
        Ok(events) => text.push_str(&describe_events(events.items, &TimeZone::system())),
        Err(error) => eprintln!(
            "meso: {}",
            crate::api_answer::failure(&format!("listing the events of {}", options.job), &error)
        ),
    }
    output::print(&text)
}

fn at(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S %Z")
        .to_string()
}

/// One job, a line an answer; what is not known has no line.
fn describe(job: &BatchJob, now: Timestamp, zone: &TimeZone) -> String {
    let status = job.status.clone().unwrap_or_default();
    let scheduler = status.scheduler.unwrap_or_default();
    let spec = &job.spec;
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("{name:<12}{value}\n"));
        }
    };
    line("Job", Some(job.name_any()));
    line("Namespace", job.namespace());
    let asked = match phase(job) {
        phase if phase.is_finished() => "",
        _ if spec.cancel => " (being cancelled)",
        Phase::Running => "",
        _ if spec.hold == Some(true) => " (held)",
        _ => "",
    };
    line("Phase", Some(format!("{}{asked}", phase(job).as_str())));
    line("Why", status.message);
    line(
        "Foreseen",
        status.outlook.as_ref().and_then(|foreseen| {
            let words = outlook::in_words(foreseen, now, zone)?;
            Some(format!("{words} (as of {})", at(foreseen.at, zone)))
        }),
    );
    line("User", spec.submitted_by.clone());
    line("Allocation", Some(spec.allocation.clone()));
    line("Scheduler", Some(scheduler.name));
    line("Job id", scheduler.job_id);
    line("Account", scheduler.account);
    line("Runs as", scheduler.user);
    let reason = scheduler.reason.filter(|reason| reason != "None");
    line(
        "State there",
        scheduler.state.map(|state| match reason {
            Some(reason) => format!("{state} ({reason})"),
            None => state,
        }),
    );
    line("Asked for", spec.resources.as_ref().map(describe_resources));
    line(
        "Time limit",
        status
            .time_limit
            .map(|limit| format!("{} from its start on, set later", elapsed::limit(limit.into()))),
    );
    line(
        "Array",
        spec.array.as_ref().map(|array| match array.max_concurrent {
            Some(limit) => format!("{}, {limit} at a time", array.indices),
            None => array.indices.clone(),
        }),
    );
    let after: Vec<String> = spec
        .depends_on
        .iter()
        .map(|on| match &on.workspace {
            Some(workspace) => format!("{workspace}/{} {:?}", on.job, on.when),
            None => format!("{} {:?}", on.job, on.when),
        })
        .collect();
    line("After", Some(after.join(", ")));
    line("Arguments", Some(spec.arguments.join(" ")));
    line("Created", job.creation_timestamp().map(|time| at(time.0, zone)));
    line("Submitted", status.submitted_at.map(|time| at(time, zone)));
    line("Started", status.started_at.map(|time| at(time, zone)));
    line("Ended", status.finished_at.map(|time| at(time, zone)));
    line("Ran", ran(status.started_at, status.finished_at, now).map(clock));
    line("Nodes", Some(status.nodes.join(",")));
    line("Exit code", status.exit_code.map(|code| code.to_string()));
    line("Signal", status.signal.map(|signal| signal.to_string()));
    line(
        "Tasks",
        status.tasks.filter(|tasks| tasks.total > 1).map(|tasks| {
            format!(
                "{}: {} queued, {} running, {} succeeded, {} failed, {} cancelled",
                tasks.total, tasks.queued, tasks.running, tasks.succeeded, tasks.failed, tasks.cancelled
            )
        }),
    );
    line(
        "Used",
        status.usage.as_ref().map(|usage| match &usage.gpu_seconds {
            Some(gpu) => format!("{} core-seconds, {gpu} GPU-seconds", usage.core_seconds),
            None => format!("{} core-seconds", usage.core_seconds),
        }),
    );
    line(
        "Computed",
        status
            .usage
            .as_ref()
            .and_then(|usage| usage.cpu_seconds.as_ref())
            .map(|seconds| format!("{seconds} seconds, over all cores")),
    );
    line(
        "Memory",
        status.usage.as_ref().and_then(|usage| {
            let peak = usage.peak_memory.as_ref()?;
            Some(match &usage.allocated_memory {
                Some(allocated) => format!("at most {} of {}", peak.0, allocated.0),
                None => format!("at most {}", peak.0),
            })
        }),
    );
    line("Output", status.output_path);
    if !status.conditions.is_empty() {
        text.push_str("Conditions\n");
        for condition in &status.conditions {
            text.push_str(&format!(
                "  {:<10} {:<8} {}  {}\n",
                condition.type_,
                condition.status.as_str(),
                at(condition.last_transition_time, zone),
                condition.message
            ));
        }
    }
    text
}

fn describe_resources(resources: &JobResources) -> String {
    let of = |n: Option<i64>, what: &str| n.map(|n| format!("{n} {what}"));
    [
        of(resources.nodes, "nodes"),
        of(resources.tasks, "tasks"),
        of(resources.cpus_per_task, "CPUs a task"),
        resources
            .memory
            .as_ref()
            .map(|memory| format!("{} a node", memory.0)),
        of(resources.gpus, "GPUs a node"),
        resources
            .time_limit
            .as_ref()
            .map(|limit| format!("at most {}", clock_of(limit))),
        resources
            .partition
            .as_ref()
            .map(|partition| format!("partition {partition}")),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

fn clock_of(limit: &kube::core::Duration) -> String {
    let span = std::time::Duration::from(*limit);
    clock(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}

fn describe_events(mut events: Vec<Event>, zone: &TimeZone) -> String {
    if events.is_empty() {
        return String::new();
    }
    // Old and new clients write the time in different fields.
    let time = |event: &Event| {
        event
            .last_timestamp
            .as_ref()
            .map(|time| time.0)
            .or(event.event_time.as_ref().map(|time| time.0))
            .or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
    };
    events.sort_by_key(time);
    let mut text = "Events\n".to_owned();
    for event in &events {
        let times = match event
            .series
            .as_ref()
            .and_then(|series| series.count)
            .or(event.count)
        {
            Some(count) if count > 1 => format!(" ({count} times)"),
            _ => String::new(),
        };
        text.push_str(&format!(
            "  {}  {:<8} {:<12} {}{times}\n",
            time(event).map(|time| at(time, zone)).unwrap_or_default(),
            event.type_.as_deref().unwrap_or_default(),
            event.reason.as_deref().unwrap_or_default(),
            event.message.as_deref().unwrap_or_default(),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_shown_whole_and_what_is_not_known_is_left_out() {
        let job: BatchJob = serde_json::from_value(serde_json::json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob",
            "metadata": {"name": "pi", "namespace": "univ-caen--climate"},
            "spec": {"allocation": "climate-2026", "script": "#!/bin/sh", "submittedBy": "alice",
                     "resources": {"tasks": 1, "memory": "1Gi", "timeLimit": "5m"}},
            "status": {"phase": "Succeeded", "scheduler": {"name": "austral", "jobId": "42", "state": "COMPLETED", "reason": "None"},
                       "startedAt": "2026-11-24T10:00:02Z", "finishedAt": "2026-11-24T10:00:09Z", "exitCode": 0,
                       "nodes": ["n1"], "outputPath": "/home/alice/pi-42.out", "usage": {"coreSeconds": "14"},
                       "conditions": [{"type": "Metered", "status": "True", "reason": "InLedger", "message": "in the ledger",
                                       "lastTransitionTime": "2026-11-24T10:00:10Z"}]},
        }))
        .unwrap();
        assert_eq!(
            describe(&job, "2026-11-24T11:00:00Z".parse().unwrap(), &TimeZone::UTC),
            "Job         pi\n\
             Namespace   univ-caen--climate\n\
             Phase       Succeeded\n\
             User        alice\n\
             Allocation  climate-2026\n\
             Scheduler   austral\n\
             Job id      42\n\
             State there COMPLETED\n\
             Asked for   1 tasks, 1Gi a node, at most 5:00\n\
             Started     2026-11-24 10:00:02 UTC\n\
             Ended       2026-11-24 10:00:09 UTC\n\
             Ran         0:07\n\
             Nodes       n1\n\
             Exit code   0\n\
             Used        14 core-seconds\n\
             Output      /home/alice/pi-42.out\n\
             Conditions\n  Metered    True     2026-11-24 10:00:10 UTC  in the ledger\n"
        );
    }
}

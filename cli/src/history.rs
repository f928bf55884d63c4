//! `meso history`: jobs that have ended, as sacct: how, when, and what they held.
//!
//! Of the objects that are there still: a job goes `ttlAfterFinished` after its end, and what it used stays in the ledger
//! and on the statement.

use crate::batch_jobs::phase;
use crate::connection::{Connection, Place};
use crate::elapsed::{clock, ran};
use crate::failure::Failure;
use crate::output::{self, Format, FormatArgument, List, machine_readable};
use crate::table::{Align, Table};
use crate::whose::{Whose, is_of, jobs_of, of};
use clap::Args;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use kube::ResourceExt;
use mesocentre_api::{BatchJob, BatchJobStatus};
use std::collections::BTreeMap;

/// What `history` takes.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    whose: Whose,
    /// Jobs that ended since: a day (2026-11-01), or so long ago (90m, 12h, 7d)
    #[arg(short = 'S', long, value_name = "WHEN", default_value = "7d", value_parser = since)]
    since: Since,
    /// Jobs of this allocation
    #[arg(long, value_name = "NAME")]
    allocation: Option<String>,
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    place: Place,
}

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Day(Date),
    Ago(SignedDuration),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(day) = text.parse() {
        return Ok(Since::Day(day));
    }
    let wrong =
        || format!("{text:?} is neither a day nor a time: write for example 2026-11-01, 90m, 12h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let count: i64 = text
        .strip_suffix(unit)
        .and_then(|count| count.parse().ok())
        .filter(|count| (0..=100_000).contains(count))
        .ok_or_else(wrong)?;
    let hours = match unit {
        'm' => return Ok(Since::Ago(SignedDuration::from_mins(count))),
        'h' => count,
        'd' => count * 24,
        _ => return Err(wrong()),
    };
    Ok(Since::Ago(SignedDuration::from_hours(hours)))
}

impl Since {
    fn instant(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Day(day) => day
                .to_zoned(zone.clone())
                .map_or(Timestamp::MIN, |midnight| midnight.timestamp()),
            Self::Ago(span) => now.saturating_sub(span).unwrap_or(Timestamp::MIN),
        }
    }
}

/// Lists the jobs.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.clone().or(before)).await?;
    let namespaces = options.whose.namespaces(&connection).await?;
    let user = options.whose.user(&connection).await?;
    let zone = TimeZone::system();
    let since = options.since.instant(Timestamp::now(), &zone);
    let mut jobs = jobs_of(&connection, &namespaces).await?;
    jobs.retain(|job| {
        let ended = ended(job).is_some_and(|ended| ended >= since);
        let allocation = options.allocation.as_ref();
        ended && is_of(job, user.as_deref()) && allocation.is_none_or(|name| job.spec.allocation == *name)
    });
    jobs.sort_by_key(|job| (ended(job), job.namespace(), job.name_any()));
    if let Some(text) = machine_readable(options.format.format, &List::of(&jobs))? {
        return output::print(&text);
    }
    let table = table(&jobs, options.whose.all_tenant, user.is_none(), &zone);
    output::print(&table.render(output::terminal_width()))?;
    if options.format.format == Format::Table {
        eprintln!(
            "{}",
            if jobs.is_empty() {
                let others = if user.is_some() {
                    ", --everyone at those of others"
                } else {
                    ""
                };
                format!(
                    "No job{} ended in {} since {}; --since looks further back{others}",
                    of(user.as_deref()),
                    namespaces.join(", "),
                    when(since, &zone)
                )
            } else {
                sum(&jobs)
            }
        );
    }
    Ok(())
}

/// When it ended, or was found not to be able to run.
fn ended(job: &BatchJob) -> Option<Timestamp> {
    let status = job.status.as_ref().filter(|status| status.phase.is_finished())?;
    status.finished_at.or_else(|| {
        mesocentre_api::find_condition(&status.conditions, "Finished")
            .map(|finished| finished.last_transition_time)
    })
}

fn table(jobs: &[BatchJob], with_namespace: bool, with_user: bool, zone: &TimeZone) -> Table {
    let mut heads = vec![
        ("NAME", Align::Left),
        ("JOBID", Align::Right),
        ("ALLOCATION", Align::Left),
        ("STATE", Align::Left),
        ("EXIT", Align::Right),
        ("STARTED", Align::Left),
        ("ELAPSED", Align::Right),
        ("CORE-HOURS", Align::Right),
        ("WHY", Align::Left),
    ];
    if with_user {
        heads.insert(3, ("USER", Align::Left));
    }
    if with_namespace {
        heads.insert(0, ("NAMESPACE", Align::Left));
    }
    let mut table = Table::new(&heads);
    for job in jobs {
        let status = job.status.clone().unwrap_or_default();
        let elapsed = ran(status.started_at, status.finished_at, Timestamp::now());
        let mut row = vec![
            job.name_any(),
            status
                .scheduler
                .as_ref()
                .and_then(|scheduler| scheduler.job_id.clone())
                .unwrap_or_else(|| "-".to_owned()),
            job.spec.allocation.clone(),
            phase(job).as_str().to_owned(),
            exit(&status),
            status
                .started_at
                .map(|started| when(started, zone))
                .unwrap_or_default(),
            elapsed.map(clock).unwrap_or_default(),
            core_seconds(&status).map(hours).unwrap_or_default(),
            status.message.clone().unwrap_or_default(),
        ];
        if with_user {
            row.insert(3, job.spec.submitted_by.clone().unwrap_or_default());
        }
        if with_namespace {
            row.insert(0, job.namespace().unwrap_or_default());
        }
        table.row(row);
    }
    table
}

/// `code:signal`, as sacct's ExitCode; the highest of an array.
fn exit(status: &BatchJobStatus) -> String {
    match (status.exit_code, status.signal) {
        (None, None) => String::new(),
        (code, signal) => format!("{}:{}", code.unwrap_or(0), signal.unwrap_or(0)),
    }
}

fn core_seconds(status: &BatchJobStatus) -> Option<u128> {
    status.usage.as_ref()?.core_seconds.parse().ok()
}

/// In hours with two decimals, half-up.
fn hours(core_seconds: u128) -> String {
    let hundredths = (core_seconds * 100 + 1_800) / 3_600;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// How many, how they ended, and what they held.
fn sum(jobs: &[BatchJob]) -> String {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let mut held = 0;
    for job in jobs {
        *states.entry(phase(job).as_str()).or_default() += 1;
        held += job.status.as_ref().and_then(core_seconds).unwrap_or(0);
    }
    let states: Vec<String> = states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let count = match jobs.len() {
        1 => "1 job".to_owned(),
        several => format!("{several} jobs"),
    };
    format!("{count}, {} core-hours: {}", hours(held), states.join(", "))
}

fn when(instant: Timestamp, zone: &TimeZone) -> String {
    instant
        .to_zoned(zone.clone())
        .strftime("%Y-%m-%dT%H:%M:%S")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(status: &serde_json::Value) -> BatchJob {
        serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"name": "j"},
            "spec": {"allocation": "a", "script": "#!/bin/sh\n"}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn since_is_a_day_or_a_time_ago() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let at = |text: &str| since(text).unwrap().instant(now, &TimeZone::UTC).to_string();
        assert_eq!(at("2026-11-01"), "2026-11-01T00:00:00Z");
        assert_eq!(at("90m"), "2026-11-27T10:30:00Z");
        assert_eq!(at("7d"), "2026-11-20T12:00:00Z");
        for wrong in ["", "d", "7", "7w", "-1d", "2026-13-01", "1é"] {
            assert!(
                since(wrong).unwrap_err().contains("write for example 2026-11-01"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn jobs_are_summed_by_how_they_ended() {
        let used =
            |phase: &str, seconds: &str| job(&json!({"phase": phase, "usage": {"coreSeconds": seconds}}));
        let jobs = [
            used("Succeeded", "3600"),
            used("Succeeded", "1799"),
            used("Failed", "18"),
        ];
        assert_eq!(sum(&jobs), "3 jobs, 1.50 core-hours: 1 Failed, 2 Succeeded");
        assert_eq!(sum(&jobs[..1]), "1 job, 1.00 core-hours: 1 Succeeded");
    }

    #[test]
    fn a_job_that_never_ran_ended_when_that_was_found() {
        let refused = job(&json!({"phase": "Failed", "conditions": [
            {"type": "Finished", "status": "True", "reason": "Failed", "message": "", "lastTransitionTime": "2026-11-27T10:00:00Z"},
        ]}));
        assert_eq!(
            ended(&refused).map(|at| at.to_string()).as_deref(),
            Some("2026-11-27T10:00:00Z")
        );
        assert_eq!(exit(&refused.status.unwrap()), "");
        assert_eq!(ended(&job(&json!({"phase": "Running"}))), None);
    }
}

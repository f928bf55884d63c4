//! `meso efficiency`: what ended jobs made of the cores and the memory that they held, as seff.

use crate::batch_jobs::{get, list_all, phase, who_am_i};
use crate::connection::{Connection, Place};
use crate::elapsed::{clock, ran};
use crate::failure::Failure;
use crate::output::{self, Format, FormatArgument, List, machine_readable};
use crate::table::{Align, Table};
use clap::Args;
use jiff::Timestamp;
use kube::{Api, ResourceExt};
use mesocentre_api::{BatchJob, Phase};

/// What `efficiency` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The jobs' names, as `meso queue --all` shows them [default: yours that have ended]
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    place: Place,
}

/// Memory is measured by samples, some ten seconds apart: of a shorter job it says little.
const WORTH_JUDGING: i64 = 60;
const TOO_SHORT: &str = "too short to tell";
/// From here on nothing is to be gained.
const WELL_USED: u64 = 50;

/// Shows the jobs, oldest first.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let namespace = connection.namespace()?;
    let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), namespace);
    let mut jobs = Vec::new();
    if options.jobs.is_empty() {
        let user = who_am_i(&connection).await?;
        jobs = list_all(&api, &format!("listing the jobs of {namespace}")).await?;
        jobs.retain(|job| job.spec.submitted_by.as_deref() == Some(&user) && used(job).is_some());
        jobs.sort_by_key(|job| job.status.as_ref().and_then(|status| status.finished_at));
    }
    for name in &options.jobs {
        jobs.push(get(&api, name, &format!("showing {name}")).await?);
    }
    if let Some(text) = machine_readable(options.format.format, &List::of(&jobs))? {
        return output::print(&text);
    }
    if jobs.is_empty() && options.format.format == Format::Table {
        eprintln!(
            "No job of yours has run to its end in {namespace}; name one, or see `meso queue --all --everyone`"
        );
        return Ok(());
    }
    output::print(&table(&jobs).render(output::terminal_width()))
}

/// What a job made of what it held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Used {
    /// Seconds from its start to its end.
    ran: i64,
    /// Cores held times milliseconds.
    core_milliseconds: u64,
    cpu_milliseconds: Option<u64>,
    peak_kib: Option<u64>,
    allocated_kib: Option<u64>,
}

/// None of a job that has not ended, or never ran.
fn used(job: &BatchJob) -> Option<Used> {
    let status = job.status.as_ref().filter(|status| status.phase.is_finished())?;
    let usage = status.usage.as_ref()?;
    let core_seconds: u64 = usage.core_seconds.parse().ok()?;
    let kib = |quantity: &Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity>| {
        let text = &quantity.as_ref()?.0;
        let (amount, scale) = match (text.strip_suffix("Ki"), text.strip_suffix("Mi")) {
            (Some(amount), _) => (amount, 1),
            (_, Some(amount)) => (amount, 1024),
            _ => return None,
        };
        amount.parse::<u64>().ok()?.checked_mul(scale)
    };
    Some(Used {
        ran: ran(status.started_at, status.finished_at, Timestamp::now())?,
        core_milliseconds: core_seconds.checked_mul(1000)?,
        cpu_milliseconds: usage.cpu_seconds.as_deref().and_then(milliseconds),
        peak_kib: kib(&usage.peak_memory),
        allocated_kib: kib(&usage.allocated_memory),
    })
    .filter(|used| used.core_milliseconds > 0)
}

/// `62.250`, as the status has it.
fn milliseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.')?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(fraction.parse().ok()?)
}

impl Used {
    /// In whole percents of what was held.
    fn of_cores(&self) -> Option<u64> {
        percent(self.cpu_milliseconds?, self.core_milliseconds)
    }

    fn of_memory(&self) -> Option<u64> {
        percent(self.peak_kib?, self.allocated_kib?)
    }

    /// What to ask for the next time; nothing where all was used well, or too short to tell.
    fn advice(&self, phase: Phase, is_array: bool) -> String {
        match phase {
            Phase::OutOfMemory => return "ask for more memory (--mem)".into(),
            Phase::TimedOut => return "ask for more time (--time), or do less in one job".into(),
            _ => {}
        }
        if self.ran < WORTH_JUDGING {
            return TOO_SHORT.into();
        }
        let mut advice = Vec::new();
        // An array's tasks do not run for as long as the whole: how many cores one had is not known here.
        let cores = u64::try_from(self.ran)
            .ok()
            .and_then(|ran| self.core_milliseconds.checked_div(ran * 1000));
        if let (Some(of_cores), Some(computed), false) = (self.of_cores(), self.cpu_milliseconds, is_array)
            && of_cores < WELL_USED
            && let Some(cores) = cores.filter(|cores| *cores > 1)
        {
            let busy = computed
                .div_ceil(u64::try_from(self.ran).unwrap_or(1) * 1000)
                .max(1);
            advice.push(format!("held {cores} cores and kept {busy} busy"));
        }
        if let (Some(of_memory), Some(peak)) = (self.of_memory(), self.peak_kib)
            && of_memory < WELL_USED
        {
            // A quarter more than was seen, since samples miss peaks, in steps of 100 MiB.
            let enough = (peak + peak / 4).div_ceil(102_400).max(1) * 100;
            let asked = self.allocated_kib.unwrap_or(0) / 1024;
            if enough < asked {
                advice.push(format!("{enough}M of memory would do"));
            }
        }
        advice.join("; ")
    }
}

fn percent(part: u64, whole: u64) -> Option<u64> {
    part.checked_mul(100)?.checked_div(whole)
}

/// In MiB, or GiB with one decimal from 10 GiB on.
fn memory(kib: u64) -> String {
    match kib {
        0..10_485_760 => format!("{}M", kib.div_ceil(1024)),
        _ => format!("{}.{}G", kib / 1_048_576, kib % 1_048_576 * 10 / 1_048_576),
    }
}

fn table(jobs: &[BatchJob]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("PHASE", Align::Left),
        ("RAN", Align::Right),
        ("CORE-SECONDS", Align::Right),
        ("CPU", Align::Right),
        ("MEMORY", Align::Right),
        ("OF", Align::Right),
        ("MEM", Align::Right),
        ("ADVICE", Align::Left),
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let percent = |percent: Option<u64>| or_dash(percent.map(|percent| format!("{percent}%")));
    for job in jobs {
        let used = used(job);
        let phase = phase(job);
        let has_started = job
            .status
            .as_ref()
            .is_some_and(|status| status.started_at.is_some());
        let advice = match &used {
            Some(used) => used.advice(phase, job.spec.array.is_some()),
            None if phase.is_finished() && has_started => TOO_SHORT.to_owned(),
            None if phase.is_finished() => "it never ran".to_owned(),
            None => "it has not ended yet".to_owned(),
        };
        let used = used.unwrap_or_default();
        table.row(vec![
            job.name_any(),
            phase.as_str().to_owned(),
            clock(used.ran),
            (used.core_milliseconds / 1000).to_string(),
            percent(used.of_cores()),
            or_dash(used.peak_kib.map(memory)),
            or_dash(used.allocated_kib.map(memory)),
            percent(used.of_memory()),
            advice,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(phase: &str, usage: serde_json::Value) -> BatchJob {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "pi"}, "spec": {"allocation": "a", "script": "#!/bin/sh"},
            "status": {"phase": phase, "usage": usage, "startedAt": "2026-11-24T10:00:00Z", "finishedAt": "2026-11-24T10:10:00Z"},
        }))
        .unwrap()
    }

    fn row(job: BatchJob) -> String {
        table(&[job])
            .render(None)
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn cores_and_memory_are_told_in_percents_with_what_to_ask_for() {
        let usage = serde_json::json!({
            "coreSeconds": "2400", "cpuSeconds": "590.500", "peakMemory": "409600Ki", "allocatedMemory": "4096Mi",
        });
        assert_eq!(
            row(ended("Succeeded", usage)),
            "pi Succeeded 10:00 2400 24% 400M 4096M 9% held 4 cores and kept 1 busy; 500M of memory would do"
        );
        let well = serde_json::json!({
            "coreSeconds": "600", "cpuSeconds": "590.500", "peakMemory": "15728640Ki", "allocatedMemory": "20480Mi",
        });
        assert_eq!(
            row(ended("Succeeded", well)),
            "pi Succeeded 10:00 600 98% 15.0G 20.0G 75%"
        );
    }

    #[test]
    fn what_was_not_measured_is_not_made_up() {
        let usage = serde_json::json!({"coreSeconds": "600", "allocatedMemory": "100Mi"});
        assert_eq!(row(ended("Failed", usage)), "pi Failed 10:00 600 - - 100M -");
        let mut never_ran = ended("Cancelled", serde_json::Value::Null);
        never_ran.status.as_mut().unwrap().started_at = None;
        assert_eq!(row(never_ran), "pi Cancelled 0:00 0 - - - - it never ran");
        let within_a_second = ended("Succeeded", serde_json::json!({"coreSeconds": "0"}));
        assert_eq!(
            row(within_a_second),
            "pi Succeeded 0:00 0 - - - - too short to tell"
        );
    }

    #[test]
    fn a_limit_that_was_met_is_the_advice() {
        let usage =
            serde_json::json!({"coreSeconds": "600", "peakMemory": "1Ki", "allocatedMemory": "100Mi"});
        assert!(row(ended("OutOfMemory", usage.clone())).ends_with("ask for more memory (--mem)"));
        assert!(row(ended("TimedOut", usage)).contains("ask for more time"));
    }
}

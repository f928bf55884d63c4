//! `meso top`: who holds how many cores now, and the jobs that hold most.

use crate::batch_jobs::phase;
use crate::connection::{Connection, Place};
use crate::elapsed::{clock, ran};
use crate::failure::Failure;
use crate::live;
use crate::output;
use crate::table::{Align, Table};
use crate::whose::{is_of, jobs_of, namespaces};
use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use mesocentre_api::{BatchJob, Phase};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// What `top` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// Of every workspace of the tenant
    #[arg(short = 'A', long)]
    all_tenant: bool,
    /// Of this user [default: of everyone]
    #[arg(short = 'u', long, value_name = "USER")]
    user: Option<String>,
    /// Print it once, as where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Show at most so many jobs
    #[arg(long, value_name = "N", default_value_t = 20)]
    most: usize,
    #[command(flatten)]
    place: Place,
}

/// Shows it, until Ctrl-C on a terminal.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let namespaces = namespaces(&connection, options.all_tenant).await?;
    let takes = |job: &BatchJob| is_of(job, options.user.as_deref()) && !phase(job).is_finished();
    let drawing = |jobs: &[BatchJob]| {
        let width = output::terminal_width();
        page(jobs, options.most, options.all_tenant, Timestamp::now(), width)
    };
    if std::io::stdout().is_terminal() && !options.once {
        return live::draw(&connection, &namespaces, takes, drawing).await;
    }
    let mut jobs = jobs_of(&connection, &namespaces).await?;
    jobs.retain(takes);
    output::print(&drawing(&jobs))
}

/// What a person has in an allocation.
#[derive(Default)]
struct Held {
    running: usize,
    cores: i64,
    waiting: usize,
}

fn cores_of(job: &BatchJob) -> i64 {
    job.status.as_ref().and_then(|status| status.cores).unwrap_or(0)
}

fn page(
    jobs: &[BatchJob],
    most: usize,
    with_namespace: bool,
    now: Timestamp,
    width: Option<usize>,
) -> String {
    let mut held: BTreeMap<(String, String), Held> = BTreeMap::new();
    let mut running: Vec<&BatchJob> = Vec::new();
    for job in jobs {
        let user = job.spec.submitted_by.clone().unwrap_or_default();
        let of = held.entry((job.spec.allocation.clone(), user)).or_default();
        if phase(job) == Phase::Running {
            of.running += 1;
            of.cores += cores_of(job);
            running.push(job);
        } else {
            of.waiting += 1;
        }
    }
    let mut who = Table::new(&[
        ("ALLOCATION", Align::Left),
        ("USER", Align::Left),
        ("CORES", Align::Right),
        ("RUNNING", Align::Right),
        ("WAITING", Align::Right),
    ]);
    let mut most_first: Vec<_> = held.iter().collect();
    most_first.sort_by_key(|(_, of)| Reverse((of.cores, of.running)));
    for ((allocation, user), of) in &most_first {
        who.row(vec![
            allocation.clone(),
            user.clone(),
            of.cores.to_string(),
            of.running.to_string(),
            of.waiting.to_string(),
        ]);
    }
    let sum = |part: fn(&Held) -> i64| held.values().map(part).sum::<i64>();
    let heading = format!(
        "{} cores held by {} running jobs; {} wait\n",
        sum(|of| of.cores),
        running.len(),
        held.values().map(|of| of.waiting).sum::<usize>()
    );
    let mut page = heading;
    if !held.is_empty() {
        page += &format!("\n{}", who.render(width));
    }
    if !running.is_empty() {
        running.sort_by_key(|job| (Reverse(cores_of(job)), job.namespace(), job.name_any()));
        page += &format!("\n{}", table(&running, most, with_namespace, now).render(width));
        if running.len() > most {
            page += &format!("and {} more (--most N)\n", running.len() - most);
        }
    }
    page
}

fn table(running: &[&BatchJob], most: usize, with_namespace: bool, now: Timestamp) -> Table {
    let mut heads = vec![
        ("NAME", Align::Left),
        ("USER", Align::Left),
        ("CORES", Align::Right),
        ("TIME", Align::Right),
        ("TASKS", Align::Right),
        ("NODES", Align::Left),
    ];
    if with_namespace {
        heads.insert(0, ("NAMESPACE", Align::Left));
    }
    let mut table = Table::new(&heads);
    for job in running.iter().take(most) {
        let status = job.status.clone().unwrap_or_default();
        let tasks = status.tasks.unwrap_or_default();
        let mut row = vec![
            job.name_any(),
            job.spec.submitted_by.clone().unwrap_or_default(),
            cores_of(job).to_string(),
            clock(ran(status.started_at, None, now).unwrap_or(0)),
            if tasks.total > 1 {
                format!("{}/{}", tasks.running, tasks.total)
            } else {
                String::new()
            },
            status.nodes.join(","),
        ];
        if with_namespace {
            row.insert(0, job.namespace().unwrap_or_default());
        }
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(name: &str, user: &str, status: serde_json::Value) -> BatchJob {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "univ-caen--climate"},
            "spec": {"allocation": "climate-2026", "script": "#!/bin/sh", "submittedBy": user}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn who_holds_most_and_the_largest_job_come_first() {
        let jobs = [
            job(
                "pi",
                "alice",
                json!({"phase": "Running", "cores": 4, "startedAt": "2026-11-24T10:00:00Z", "nodes": ["n1"]}),
            ),
            job(
                "wide",
                "bob",
                json!({"phase": "Running", "cores": 128, "startedAt": "2026-11-24T08:00:00Z",
                "tasks": {"total": 40, "queued": 8, "running": 32, "succeeded": 0, "failed": 0, "cancelled": 0}}),
            ),
            job("next", "alice", json!({"phase": "Queued"})),
        ];
        let now = "2026-11-24T10:01:09Z".parse().unwrap();
        assert_eq!(
            page(&jobs, 20, false, now, None),
            "132 cores held by 2 running jobs; 1 wait\n\n\
             ALLOCATION    USER   CORES  RUNNING  WAITING\n\
             climate-2026  bob      128        1        0\n\
             climate-2026  alice      4        1        1\n\n\
             NAME  USER   CORES     TIME  TASKS  NODES\n\
             wide  bob      128  2:01:09  32/40\n\
             pi    alice      4     1:09         n1\n"
        );
        assert!(page(&jobs, 1, false, now, None).ends_with("and 1 more (--most N)\n"));
        assert_eq!(
            page(&[], 20, false, now, None),
            "0 cores held by 0 running jobs; 0 wait\n"
        );
    }
}

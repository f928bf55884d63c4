//! `meso queue`: jobs and where they are, as squeue.

use crate::batch_jobs::phase;
use crate::connection::{Connection, Place};
use crate::elapsed::{clock, ran};
use crate::failure::Failure;
use crate::live;
use crate::outlook;
use crate::output::{self, Format, FormatArgument, List, machine_readable};
use crate::suspension;
use crate::table::{Align, Table};
use crate::whose::{Whose, is_of, jobs_of, of, written};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use kube::ResourceExt;
use mesocentre_api::BatchJob;

/// What `queue` takes.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    whose: Whose,
    /// Finished jobs as well
    #[arg(long)]
    all: bool,
    /// Follow the changes until Ctrl-C
    #[arg(short = 'w', long, conflicts_with = "format")]
    watch: bool,
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    place: Place,
}

/// Which jobs are shown.
#[derive(Debug)]
struct Wanted {
    user: Option<String>,
    finished: bool,
}

impl Wanted {
    fn takes(&self, job: &BatchJob) -> bool {
        is_of(job, self.user.as_deref()) && (self.finished || !phase(job).is_finished())
    }
}

/// Lists the jobs.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let namespaces = options.whose.namespaces(&connection).await?;
    let wanted = Wanted {
        user: options.whose.user(&connection).await?,
        finished: options.all,
    };
    if options.watch {
        let drawing = |jobs: &[BatchJob]| {
            table(jobs, options.whose.all_tenant, Timestamp::now()).render(output::terminal_width())
        };
        return live::draw(&connection, &namespaces, |job| wanted.takes(job), drawing).await;
    }

    let mut jobs = jobs_of(&connection, &namespaces).await?;
    jobs.retain(|job| wanted.takes(job));
    jobs.sort_by_key(written);
    if let Some(text) = machine_readable(options.format.format, &List::of(&jobs))? {
        return output::print(&text);
    }
    output::print(
        &table(&jobs, options.whose.all_tenant, Timestamp::now()).render(output::terminal_width()),
    )?;
    if jobs.is_empty() && options.format.format == Format::Table {
        eprintln!("{}", nothing(&wanted, &namespaces));
    }
    if let (Format::Table, Some(namespace)) = (options.format.format, namespaces.first()) {
        suspension::tell(&connection, namespace).await;
    }
    Ok(())
}

/// Why the table is empty, and what would fill it.
fn nothing(wanted: &Wanted, namespaces: &[String]) -> String {
    let whose = of(wanted.user.as_deref());
    let which = if wanted.finished { "" } else { " unfinished" };
    let mut more = Vec::new();
    if !wanted.finished {
        more.push("--all shows finished ones");
    }
    if wanted.user.is_some() {
        more.push("--everyone those of others");
    }
    let more = if more.is_empty() {
        String::new()
    } else {
        format!("; {}", more.join(", "))
    };
    format!("No{which} job{whose} in {}{more}", namespaces.join(", "))
}

fn table(jobs: &[BatchJob], with_namespace: bool, now: Timestamp) -> Table {
    let mut heads = vec![
        ("NAME", Align::Left),
        ("JOBID", Align::Right),
        ("ALLOCATION", Align::Left),
        ("USER", Align::Left),
        ("PHASE", Align::Left),
        ("TIME", Align::Right),
        ("NODES", Align::Left),
        ("WHY", Align::Left),
    ];
    if with_namespace {
        heads.insert(0, ("NAMESPACE", Align::Left));
    }
    let mut table = Table::new(&heads);
    for job in jobs {
        let status = job.status.clone().unwrap_or_default();
        let why = outlook::why(&status, now, &TimeZone::system());
        let scheduler = status.scheduler.unwrap_or_default();
        let tasks = status.tasks.filter(|tasks| tasks.total > 1).map(|tasks| {
            format!(
                " {}/{}",
                tasks.succeeded + tasks.failed + tasks.cancelled,
                tasks.total
            )
        });
        let mut row = vec![
            job.name_any(),
            scheduler.job_id.unwrap_or_else(|| "-".to_owned()),
            job.spec.allocation.clone(),
            job.spec.submitted_by.clone().unwrap_or_default(),
            format!("{}{}", phase(job).as_str(), tasks.unwrap_or_default()),
            clock(ran(status.started_at, status.finished_at, now).unwrap_or(0)),
            status.nodes.join(","),
            why.or(scheduler.reason.filter(|reason| reason != "None"))
                .unwrap_or_default(),
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

    fn job(name: &str, user: &str, status: serde_json::Value) -> BatchJob {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob",
            "metadata": {"name": name, "namespace": "univ-caen--climate"},
            "spec": {"allocation": "climate-2026", "script": "#!/bin/sh", "submittedBy": user}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn the_queue_reads_as_squeue_does() {
        let jobs = [
            job(
                "pi",
                "alice",
                serde_json::json!({"phase": "Running", "startedAt": "2026-11-24T10:00:00Z",
                "scheduler": {"name": "austral", "jobId": "42"}, "nodes": ["n1"]}),
            ),
            job(
                "sweep",
                "alice",
                serde_json::json!({"phase": "Queued", "message": "waits for pi",
                "tasks": {"total": 20, "queued": 18, "running": 0, "succeeded": 1, "failed": 1, "cancelled": 0}}),
            ),
        ];
        assert_eq!(
            table(&jobs, false, "2026-11-24T10:01:09Z".parse().unwrap()).render(None),
            "NAME   JOBID  ALLOCATION    USER   PHASE        TIME  NODES  WHY\n\
             pi        42  climate-2026  alice  Running      1:09  n1\n\
             sweep      -  climate-2026  alice  Queued 2/20  0:00         waits for pi\n"
        );
        assert!(
            table(&jobs, true, Timestamp::now())
                .render(None)
                .contains("univ-caen--climate  pi")
        );
    }

    #[test]
    fn others_jobs_and_finished_ones_are_shown_when_asked_for() {
        let finished = job("done", "alice", serde_json::json!({"phase": "Succeeded"}));
        let (mine, hers) = (
            job("a", "alice", serde_json::Value::Null),
            job("b", "bob", serde_json::Value::Null),
        );
        let wanted = Wanted {
            user: Some("alice".to_owned()),
            finished: false,
        };
        assert!(wanted.takes(&mine) && !wanted.takes(&hers) && !wanted.takes(&finished));
        let wanted = Wanted {
            user: None,
            finished: true,
        };
        assert!(wanted.takes(&mine) && wanted.takes(&hers) && wanted.takes(&finished));
    }

    #[test]
    fn an_empty_queue_says_where_it_looked_and_what_would_show_more() {
        let wanted = Wanted {
            user: Some("alice".to_owned()),
            finished: false,
        };
        assert_eq!(
            nothing(&wanted, &["univ-caen--climate".to_owned()]),
            "No unfinished job of alice in univ-caen--climate; --all shows finished ones, --everyone those of others"
        );
    }
}

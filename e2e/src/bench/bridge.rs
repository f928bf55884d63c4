//! The bridge against Slurm's own commands, and what it costs to follow many jobs.
//!
//! Held jobs, but where they must run, so that no side also measures how fast jobs run.

use super::median;
use super::stage::{administrator, for_all, for_each_that, object, perimeter, quiet, requests, tenant};
use crate::{environment, operator, process, state, wait};
use anyhow::{Context, Result, ensure};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use mesocentre_api::{Allocation, BatchJob, ConditionStatus, Scheduler, Workspace, find_condition, is_ready};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};
use tokio::process::Command;

const SCRIPT: &str = "#!/bin/bash\n#SBATCH --hold\ntrue\n";
/// How long a measurement may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// How many are submitted one after the other, for how long one takes.
const ONE_BY_ONE: usize = 40;
/// How many jobs are followed, and how many fewer beside it.
const FOLLOWED: usize = 10_000;
const FEW: usize = 10;
/// For how long they are.
const QUIET: Duration = Duration::from_secs(90);
/// Tasks of the one large array.
const TASKS: usize = 100_000;
/// How many jobs run, for what their lives cost.
const LIVES: usize = 200;

/// Measures and prints all.
pub async fn measure() -> Result<()> {
    submissions().await?;
    many().await
}

/// What submitting costs. Each number on a fresh stack.
async fn submissions() -> Result<()> {
    for (jobs, rounds) in [(500, 3), (5_000, 1)] {
        super::fresh_stack(super::Build::Release).await?;
        let client = administrator().await?;
        prepare(&client).await?;
        against_the_loop(&client, jobs, rounds).await?;
        if jobs == 500 {
            clear(&client).await?;
            one_by_one(&client).await?;
            lives(&client).await?;
            super::memory::measure().await?;
        }
    }
    Ok(())
}

/// What many jobs and tasks cost while nothing changes, on a fresh stack.
pub async fn many() -> Result<()> {
    super::fresh_stack(super::Build::Release).await?;
    let client = administrator().await?;
    prepare(&client).await?;
    followed(&client).await?;
    one_large_array(&client).await
}

/// So many jobs at once, until each has its number, against `sbatch --parsable` in a loop by one caller.
#[expect(clippy::float_arithmetic, reason = "a ratio of times, no money")]
async fn against_the_loop(client: &Client, jobs: usize, rounds: usize) -> Result<()> {
    let mut ours = Vec::new();
    let mut loops = Vec::new();
    for round in 0..rounds {
        loops.push(sbatch_loop(jobs).await?);
        let prefix = format!("held-{jobs}-{round}");
        let (took, created) = submitted(client, &prefix, jobs, SCRIPT).await?;
        ensure!(
            in_slurm().await? == jobs,
            "Slurm holds another number of jobs than {jobs}"
        );
        println!(
            "  round {}: {took:.2} s, of which the creations alone {created:.2} s",
            round + 1
        );
        ours.push(took);
        // A collection of thousands is not deleted within one request's time, and the last needs no room.
        if round + 1 < rounds {
            clear(client).await?;
        }
    }
    let (ours, plain) = (median(ours), median(loops));
    println!(
        "bridge: {jobs} batch jobs until all are in Slurm and written down: {:.2} × the time of `sbatch --parsable` in a loop \
         (goal ≤ 1.2; medians of {rounds} rounds: {ours:.2} s and {plain:.2} s)",
        ours / plain
    );
    Ok(())
}

/// From the creation of one object until its number is in its status, against one sbatch, in turns.
#[expect(clippy::float_arithmetic, reason = "times, no money")]
async fn one_by_one(client: &Client) -> Result<()> {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for number in 0..ONE_BY_ONE {
        plain.push(sbatch_loop_of(1).await?);
        ours.push(submitted(client, &format!("one-{number}"), 1, SCRIPT).await?.0);
    }
    clear(client).await?;
    let (ours, plain) = (median(ours), median(plain));
    println!(
        "bridge: one batch job until its number is in its status: {:.0} ms, one sbatch: {:.0} ms; {:.0} ms more (goal < 100; \
         medians of {ONE_BY_ONE})",
        ours * 1000.0,
        plain * 1000.0,
        (ours - plain) * 1000.0
    );
    Ok(())
}

/// What a job's whole life costs the API server: from its creation until what it used is in the ledger.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a ratio of counts, no money"
)]
async fn lives(client: &Client) -> Result<()> {
    let before = requests(writes_a_job).await?;
    let jobs = create("life", LIVES, "#!/bin/bash\ntrue\n").await?;
    let metered = |job: &BatchJob| {
        job.status.as_ref().is_some_and(|status| {
            find_condition(&status.conditions, "Metered").is_some_and(|c| c.status == ConditionStatus::True)
        })
    };
    within(for_each_that(&jobs, LIVES, metered, |_| {
        std::future::ready(Ok(()))
    }))
    .await?;
    let writes = requests(writes_a_job).await? - before;
    println!(
        "bridge: {:.2} writes of the operator a job, over its life (goal ≤ 6; {LIVES} jobs that ran)",
        writes as f64 / LIVES as f64
    );
    clear(client).await
}

/// What it costs to follow many jobs of which nothing changes, against a few.
async fn followed(client: &Client) -> Result<()> {
    submitted(client, "few", FEW, SCRIPT).await?;
    print_quiet(FEW).await?;
    submitted(client, "many", FOLLOWED - FEW, SCRIPT).await?;
    print_quiet(FOLLOWED).await
}

#[expect(clippy::float_arithmetic, reason = "a ratio of times, no money")]
async fn print_quiet(jobs: usize) -> Result<()> {
    // What the submissions have to write down afterwards is not what is measured.
    quiet(writes_a_job, Duration::from_secs(10)).await?;
    let (calls, cpu) = (calls().await?, seconds_of_cpu()?);
    tokio::time::sleep(QUIET).await;
    let minutes = QUIET.as_secs_f64() / 60.0;
    let told: Vec<String> = self::calls()
        .await?
        .into_iter()
        .map(|(call, now)| (now - calls.get(&call).copied().unwrap_or(0), call))
        .filter(|(more, _)| *more > 0)
        .map(|(more, call)| {
            format!(
                "{call} {:.1}",
                f64::from(u32::try_from(more).unwrap_or(u32::MAX)) / minutes
            )
        })
        .collect();
    println!(
        "bridge: {jobs} held jobs followed for {} s: a minute {}; {:.1} % of a core (goal < 5), {} MB (goal < 150)",
        QUIET.as_secs(),
        told.join(", "),
        (seconds_of_cpu()? - cpu) / QUIET.as_secs_f64() * 100.0,
        super::memory::megabytes().await?
    );
    Ok(())
}

/// One object with very many tasks.
async fn one_large_array(client: &Client) -> Result<()> {
    let before = super::memory::megabytes().await?;
    let script = format!(
        "#!/bin/bash\n#SBATCH --hold\n#SBATCH --array=0-{}\ntrue\n",
        TASKS - 1
    );
    let (took, _) = submitted(client, "array", 1, &script).await?;
    quiet(writes_a_job, Duration::from_secs(10)).await?;
    let after = super::memory::megabytes().await?;
    let job = Api::<BatchJob>::namespaced(client.clone(), "bench--jobs")
        .get("array-0")
        .await?;
    let size = serde_json::to_vec(&job)?.len();
    println!(
        "bridge: one array of {TASKS} tasks until its number is in its status: {took:.2} s; the object has {size} bytes, the operator \
         {before} MB before and {after} MB after"
    );
    Ok(())
}

/// Creates so many jobs as their author, side by side.
async fn create(prefix: &str, count: usize, script: &str) -> Result<Api<BatchJob>> {
    let jobs: Api<BatchJob> = Api::namespaced(client_of("alice").await?, "bench--jobs");
    for_all(0..count, |number| {
        let jobs = jobs.clone();
        async move {
            let job: BatchJob = object(json!({
                "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob",
                "metadata": {"name": format!("{prefix}-{number}")},
                "spec": {"allocation": "hours", "script": script},
            }))?;
            jobs.create(&PostParams::default(), &job).await?;
            Ok(())
        }
    })
    .await?;
    Ok(jobs)
}

/// Seconds until so many jobs have their number written down, and until all were created.
async fn submitted(client: &Client, prefix: &str, count: usize, script: &str) -> Result<(f64, f64)> {
    let all = Api::<BatchJob>::namespaced(client.clone(), "bench--jobs");
    let is_numbered = |job: &BatchJob| {
        let scheduler = job.status.as_ref().and_then(|status| status.scheduler.as_ref());
        job.name_any().starts_with(prefix) && scheduler.is_some_and(|scheduler| scheduler.job_id.is_some())
    };
    let began = Instant::now();
    let created = async {
        create(prefix, count, script).await?;
        anyhow::Ok(began.elapsed().as_secs_f64())
    };
    let numbered = within(for_each_that(&all, count, is_numbered, |_| {
        std::future::ready(Ok(()))
    }));
    let (created, ()) = futures::try_join!(created, numbered)?;
    Ok((began.elapsed().as_secs_f64(), created))
}

async fn within(doing: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(PATIENCE, doing)
        .await
        .with_context(|| format!("not after {PATIENCE:?}"))?
}

/// How often the operator has called Slurm, by call.
async fn calls() -> Result<BTreeMap<String, u64>> {
    let metrics = operator::metrics(operator::NAME).await?;
    let mut calls = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("mesocentre_scheduler_call_seconds_count{") else {
            continue;
        };
        let (labels, count) = rest.split_once("} ").context("a metric without a value")?;
        let call = labels
            .split(',')
            .find_map(|label| label.strip_prefix("call=\""))
            .unwrap_or(labels);
        calls.insert(call.trim_end_matches('"').to_owned(), count.trim().parse()?);
    }
    Ok(calls)
}

/// Whether a request writes a batch job or its status.
fn writes_a_job(labels: &str) -> bool {
    labels.contains("resource=\"batchjobs\"") && !labels.contains("method=\"GET\"")
}

/// Processor time that the operator has used, in seconds.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a time, no money"
)]
fn seconds_of_cpu() -> Result<f64> {
    let process = process::running(operator::NAME)?.context("the operator does not run")?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid))?;
    // proc(5): the name may hold anything, and the fields begin behind its bracket.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("a short stat")?.parse()?) };
    // In ticks of a hundredth of a second, which is what Linux shows to programs everywhere.
    Ok((ticks(11)? + ticks(12)?) as f64 / 100.0)
}

async fn prepare(client: &Client) -> Result<()> {
    perimeter(client).await?;
    let create = PostParams::default();
    let tenants = Api::all(client.clone());
    tenants
        .create(&create, &tenant("bench", "alice", Some("alice"))?)
        .await?;
    let scheduler: Scheduler = object(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Scheduler", "metadata": {"name": "austral"},
        "spec": {"slurm": {"cluster": "meso", "transport": {"local": {}}, "partitions": ["standard"]}},
    }))?;
    Api::all(client.clone()).create(&create, &scheduler).await?;
    wait::until("the tenant's home namespace stands", Duration::from_secs(30), async || {
        let workspace: Workspace = object(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Workspace", "metadata": {"name": "jobs", "namespace": "bench"},
            "spec": {"purpose": "bench"},
        }))
        .map_err(|error| error.to_string())?;
        match Api::<Workspace>::namespaced(client.clone(), "bench").create(&create, &workspace).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    let allocation: Allocation = object(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Allocation", "metadata": {"name": "hours", "namespace": "bench"},
        "spec": {"scheduler": "austral", "title": "bench", "validFrom": "2020-01-01", "validUntil": "2099-12-31",
                 "budget": {"coreHours": "100000"}},
    }))?;
    let allocations: Api<Allocation> = Api::namespaced(client.clone(), "bench");
    allocations.create(&create, &allocation).await?;
    wait::until(
        "the allocation and the workspace are Ready",
        Duration::from_secs(60),
        async || {
            let allocation = allocations
                .get("hours")
                .await
                .map_err(|error| error.to_string())?;
            let workspace = Api::<Workspace>::namespaced(client.clone(), "bench")
                .get("jobs")
                .await
                .map_err(|error| error.to_string())?;
            let ready = allocation
                .status
                .as_ref()
                .is_some_and(|s| is_ready(&s.conditions))
                && workspace.status.as_ref().is_some_and(|s| is_ready(&s.conditions));
            if ready {
                Ok(())
            } else {
                Err(format!("{:?} {:?}", allocation.status, workspace.status))
            }
        },
    )
    .await
}

async fn client_of(user: &str) -> Result<Client> {
    let text = crate::kubeconfig::for_user(&state::of_the_stack()?, user, &[], None).await?;
    crate::kubeconfig::client_of_text(&text).await
}

/// One round of the plain tool: seconds. Slurm is empty after it.
async fn sbatch_loop(jobs: usize) -> Result<f64> {
    let took = sbatch_loop_of(jobs).await?;
    slurm("scancel", &["--account=bench.hours"]).await?;
    until_slurm_is_empty().await?;
    Ok(took)
}

async fn sbatch_loop_of(jobs: usize) -> Result<f64> {
    let script = std::env::temp_dir().join("mesocentre-bench-held.sh");
    std::fs::write(&script, SCRIPT)?;
    let command = format!(
        "cd && for i in $(seq {jobs}); do sbatch --parsable --account=bench.hours {} >/dev/null || exit 1; done",
        script.display()
    );
    let began = Instant::now();
    slurm("runuser", &["-u", "alice", "--", "bash", "-c", &command]).await?;
    Ok(began.elapsed().as_secs_f64())
}

async fn in_slurm() -> Result<usize> {
    let rows = slurm(
        "squeue",
        &[
            "--noheader",
            "--account=bench.hours",
            "--states=PENDING",
            "--format=%i",
        ],
    )
    .await?;
    Ok(rows.lines().count())
}

async fn until_slurm_is_empty() -> Result<()> {
    wait::until("the queue is empty", PATIENCE, async || match in_slurm().await {
        Ok(0) => Ok(()),
        Ok(left) => Err(format!("{left} jobs are left")),
        Err(error) => Err(error.to_string()),
    })
    .await
}

/// Deletes the round's jobs, which cancels them.
async fn clear(client: &Client) -> Result<()> {
    // All at once on Slurm's side; the objects follow.
    slurm("scancel", &["--account=bench.hours"]).await?;
    let jobs: Api<BatchJob> = Api::namespaced(client.clone(), "bench--jobs");
    jobs.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    wait::until("the round's jobs are gone", PATIENCE, async || {
        let left = jobs
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?
            .items
            .len();
        if left == 0 {
            Ok(())
        } else {
            Err(format!("{left} are left"))
        }
    })
    .await?;
    until_slurm_is_empty().await
}

async fn slurm(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in environment::of(&state::of_the_stack()?)? {
        command.env(name, value);
    }
    let output = command
        .output()
        .await
        .with_context(|| format!("starting {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

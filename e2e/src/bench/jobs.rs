//! 500 batch jobs created at once, until each has its number from Slurm written down, against `sbatch --parsable` in a
//! loop for the same 500. Held jobs, so that neither side also measures how fast they run.

use super::median;
use super::stage::{administrator, for_all, object, perimeter, tenant};
use crate::{environment, state, wait};
use anyhow::{Context, Result, ensure};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use mesocentre_api::{Allocation, BatchJob, Scheduler, Workspace, is_ready};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::process::Command;

const JOBS: usize = 500;
const ROUNDS: usize = 3;
const SCRIPT: &str = "#!/bin/bash\n#SBATCH --hold\ntrue\n";

/// Measures and prints.
#[expect(clippy::float_arithmetic, reason = "a ratio of times, no money")]
pub async fn measure() -> Result<()> {
    let client = administrator().await?;
    prepare(&client).await?;
    let mut ours = Vec::new();
    let mut loops = Vec::new();
    for round in 0..ROUNDS {
        loops.push(sbatch_loop().await?);
        ours.push(batch_jobs(&client, round).await?);
    }
    let (ours, plain) = (median(ours), median(loops));
    println!(
        "jobs: {JOBS} batch jobs until all are in Slurm and written down: {:.2} × the time of `sbatch --parsable` in a loop \
         (goal ≤ 1.5; medians of {ROUNDS} rounds: {ours:.2} s and {plain:.2} s)",
        ours / plain
    );
    Ok(())
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

/// One round of ours: seconds.
async fn batch_jobs(client: &Client, round: usize) -> Result<f64> {
    let jobs: Api<BatchJob> = Api::namespaced(client_of("alice").await?, "bench--jobs");
    let began = Instant::now();
    for_all(0..JOBS, |number| {
        let jobs = jobs.clone();
        async move {
            let job: BatchJob = object(json!({
                "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob",
                "metadata": {"name": format!("held-{round}-{number}")},
                "spec": {"allocation": "hours", "script": SCRIPT},
            }))?;
            jobs.create(&PostParams::default(), &job).await?;
            Ok(())
        }
    })
    .await?;
    let created = began.elapsed().as_secs_f64();
    wait::until("every job has its number", Duration::from_secs(120), async || {
        let all = Api::<BatchJob>::namespaced(client.clone(), "bench--jobs")
            .numbered()
            .await
            .map_err(|error| error.to_string())?;
        if all >= JOBS {
            Ok(())
        } else {
            Err(format!("{all} of {JOBS}"))
        }
    })
    .await?;
    let took = began.elapsed().as_secs_f64();
    ensure!(
        in_slurm().await? == JOBS,
        "Slurm holds another number of jobs than {JOBS}"
    );
    println!(
        "  round {}: {took:.2} s, of which the creations alone {created:.2} s",
        round + 1
    );
    clear(client).await?;
    Ok(took)
}

/// Counts jobs that have their number.
trait Numbered {
    async fn numbered(&self) -> Result<usize>;
}

impl Numbered for Api<BatchJob> {
    async fn numbered(&self) -> Result<usize> {
        // From the watch cache: it costs the API server as little as can be.
        let list = self.list(&ListParams::default().match_any()).await?;
        Ok(list
            .items
            .iter()
            .filter(|job| {
                job.status
                    .as_ref()
                    .and_then(|status| status.scheduler.as_ref())
                    .is_some_and(|scheduler| scheduler.job_id.is_some())
            })
            .count())
    }
}

async fn client_of(user: &str) -> Result<Client> {
    let text = crate::kubeconfig::for_user(&state::of_the_stack()?, user, &[], None).await?;
    crate::kubeconfig::client_of_text(&text).await
}

/// One round of the plain tool: seconds.
async fn sbatch_loop() -> Result<f64> {
    let script = std::env::temp_dir().join("mesocentre-bench-held.sh");
    std::fs::write(&script, SCRIPT)?;
    let command = format!(
        "cd && for i in $(seq {JOBS}); do sbatch --parsable --account=bench.hours {} >/dev/null || exit 1; done",
        script.display()
    );
    let began = Instant::now();
    slurm("runuser", &["-u", "alice", "--", "bash", "-c", &command]).await?;
    let took = began.elapsed().as_secs_f64();
    slurm("scancel", &["--account=bench.hours"]).await?;
    until_slurm_is_empty().await?;
    Ok(took)
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
    wait::until(
        "the queue is empty",
        Duration::from_secs(60),
        async || match in_slurm().await {
            Ok(0) => Ok(()),
            Ok(left) => Err(format!("{left} jobs are left")),
            Err(error) => Err(error.to_string()),
        },
    )
    .await
}

/// Deletes the round's jobs, which cancels them.
async fn clear(client: &Client) -> Result<()> {
    // All at once on Slurm's side; the objects follow.
    slurm("scancel", &["--account=bench.hours"]).await?;
    let jobs: Api<BatchJob> = Api::namespaced(client.clone(), "bench--jobs");
    jobs.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    wait::until(
        "the round's jobs are gone",
        Duration::from_secs(180),
        async || {
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
        },
    )
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

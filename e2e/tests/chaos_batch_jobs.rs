//! Promise: no job twice, no job lost, no use twice, whoever dies in between.

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mesocentre_api::{BatchJobStatus, ConditionStatus, Phase, Scheduler, find_condition};
use mesocentre_e2e::lab::{Lab, job};
use mesocentre_e2e::{Part, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(180);

/// A job that holds little, for a moment.
fn small(script: &str) -> Value {
    json!({"script": script, "resources": {"memory": "10Mi", "timeLimit": "5m"}})
}

/// Each of these jobs was run once, and what they used is in the ledger once.
async fn once_each(lab: &Lab, names: &[String]) -> Result<()> {
    for name in names {
        let status = lab.until_metered(name).await;
        assert_eq!(status.phase, Phase::Succeeded, "{name}: {status:?}");
    }
    let mut tokens: BTreeMap<String, u32> = BTreeMap::new();
    let mut core_seconds = 0;
    for row in lab.sacct("Comment,AllocCPUS,ElapsedRaw").await? {
        let [comment, cpus, elapsed] = &row[..] else {
            anyhow::bail!("sacct says {row:?}");
        };
        *tokens.entry(comment.clone()).or_default() += 1;
        core_seconds += cpus.parse::<u64>()? * elapsed.parse::<u64>()?;
    }
    assert_eq!(tokens.len(), names.len(), "{tokens:?}");
    assert!(
        tokens.values().all(|times| *times == 1),
        "a token ran twice: {tokens:?}"
    );
    lab.until_used(core_seconds).await;
    let verified = lab.stack.run(&["meso", "ledger", "verify"]).await?;
    assert!(verified.is_success(), "{verified:?}");
    Ok(())
}

/// A folder before Slurm's own in the operator's path, with an sbatch that does this instead. It runs as the job's
/// author, whose files of `marks` are the test's to read.
fn sbatch_instead(folder: &Path, script: &str) -> Result<String> {
    let sbatch = folder.join("sbatch");
    std::fs::write(&sbatch, script)?;
    for path in [folder, &sbatch] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    let marks = folder.join("marks");
    std::fs::create_dir(&marks)?;
    std::fs::set_permissions(&marks, std::fs::Permissions::from_mode(0o777))?;
    Ok(format!("{}:/usr/bin:/bin", folder.display()))
}

async fn marked(folder: &Path) -> String {
    let mark = folder.join("marks/mark");
    wait_for("sbatch was called", PATIENCE, async || {
        std::fs::read_to_string(&mark).map_err(|error| error.to_string())
    })
    .await
}

const SCRIPT: &str = "#!/bin/bash\nsleep 1\n";

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn killed_between_sbatch_and_the_status_write_there_is_one_slurm_job() -> Result<()> {
    let lab = Lab::alone("killed").await?;
    let folder = tempfile::Builder::new().prefix("meso-").tempdir_in("/var/tmp")?;
    // Slurm has taken the job, and its answer never arrives.
    let path = sbatch_instead(
        folder.path(),
        &format!(
            "#!/bin/sh\nid=$(/usr/bin/sbatch \"$@\"); echo \"$id\" > {0}/marks/.mark && mv {0}/marks/.mark {0}/marks/mark; exec sleep 600\n",
            folder.path().display()
        ),
    )?;
    let operator = lab.stack.operator();
    operator.stop().await?;
    operator.start_with(&[("MESO_SLURM_PATH", &path)]).await?;
    lab.submit("once", small(SCRIPT)).await?;
    let id = marked(folder.path()).await.trim().to_owned();
    operator.kill().await?;
    let before = lab
        .until("once", "has a token", |status| status.submission.is_some())
        .await;
    assert_eq!(
        before.scheduler.and_then(|s| s.job_id),
        None,
        "its number was written down already"
    );

    operator.start().await?;
    once_each(&lab, &["once".to_owned()]).await?;
    let after = lab.until_metered("once").await;
    assert_eq!(after.scheduler.and_then(|s| s.job_id), Some(id));
    assert_eq!(after.submission.context("no submission")?.attempt, 1);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn killed_before_slurm_was_asked_the_job_is_submitted_again_and_once() -> Result<()> {
    let lab = Lab::alone("unasked").await?;
    let folder = tempfile::Builder::new().prefix("meso-").tempdir_in("/var/tmp")?;
    // Slurm is never asked.
    let path = sbatch_instead(
        folder.path(),
        &format!(
            "#!/bin/sh\ntouch {}/marks/mark; exec sleep 600\n",
            folder.path().display()
        ),
    )?;
    let operator = lab.stack.operator();
    operator.stop().await?;
    operator.start_with(&[("MESO_SLURM_PATH", &path)]).await?;
    lab.submit("again", small(SCRIPT)).await?;
    marked(folder.path()).await;
    operator.kill().await?;

    operator.start().await?;
    once_each(&lab, &["again".to_owned()]).await?;
    let after = lab.until_metered("again").await;
    assert_eq!(
        after.submission.context("no submission")?.attempt,
        2,
        "the first attempt was looked up in vain"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn slurmctld_away_jobs_wait_the_scheduler_says_why_and_nothing_is_lost() -> Result<()> {
    let lab = Lab::alone("away").await?;
    let running = lab
        .submit("runs", small("#!/bin/bash\nsleep 15\n"))
        .await?
        .name_any();
    lab.until("runs", "runs", |status| status.phase == Phase::Running)
        .await;
    lab.stack.stop(Part::Slurmctld).await?;
    let names: Vec<String> = (0..5).map(|number| format!("waits-{number}")).collect();
    for name in &names {
        lab.submit(name, small(SCRIPT)).await?;
    }
    let away = scheduler_is(&lab, ConditionStatus::False).await;
    assert!(away.message.contains("slurmctld"), "{away:?}");
    // Away for as long as the operator takes to ask for it a dozen times more: about a minute.
    let errors = async || {
        let errors = lab
            .stack
            .operator()
            .metric("mesocentre_scheduler_errors_total")
            .await;
        errors
            .map(Option::unwrap_or_default)
            .map_err(|error| error.to_string())
    };
    let first = errors().await.map_err(anyhow::Error::msg)?;
    wait_for("the operator asks in vain", PATIENCE, async || {
        let now = errors().await?;
        if now >= first + 12.0 {
            Ok(())
        } else {
            Err(format!("{now} calls failed, {first} at first"))
        }
    })
    .await;
    for name in &names {
        let status = lab
            .until(name, "says what it waits for", |status| {
                status
                    .message
                    .as_deref()
                    .is_some_and(|why| why.contains("slurmctld"))
            })
            .await;
        assert!(
            !status.phase.is_finished(),
            "{name}: an unreachable slurmctld means wait, not fail: {status:?}"
        );
    }
    lab.stack.start(Part::Slurmctld).await?;
    let mut all = names;
    all.push(running);
    once_each(&lab, &all).await
}

/// What the scheduler's Ready condition says, once it is so.
async fn scheduler_is(lab: &Lab, status: ConditionStatus) -> mesocentre_api::Condition {
    let schedulers: Api<Scheduler> = Api::all(lab.stack.admin());
    wait_for(
        &format!("the scheduler is Ready: {status:?}"),
        PATIENCE,
        async || {
            let scheduler = schedulers
                .get(&lab.tenant.scheduler)
                .await
                .map_err(|error| error.to_string())?;
            match find_condition(&scheduler.status.unwrap_or_default().conditions, "Ready") {
                Some(ready) if ready.status == status => Ok(ready.clone()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn slurmctld_killed_a_job_says_at_once_which_scheduler_it_waits_for_and_runs_once_when_it_is_back()
-> Result<()> {
    let lab = Lab::alone("killed-ctld").await?;
    scheduler_is(&lab, ConditionStatus::True).await;
    lab.stack.kill(Part::Slurmctld).await?;
    lab.submit("first", small(SCRIPT)).await?;
    let waits = |status: &BatchJobStatus| {
        find_condition(&status.conditions, "Ready")
            .is_some_and(|ready| ready.reason == "SchedulerNotReady" && ready.message.contains(" since "))
    };
    let told = lab.until("first", "says what it waits for", waits).await;
    let message = told.message.unwrap_or_default();
    assert!(message.contains(&lab.tenant.scheduler), "{message}");
    assert!(message.contains("goes on by itself"), "{message}");
    let away = scheduler_is(&lab, ConditionStatus::False).await;
    assert_eq!(away.reason, "Unreachable");
    assert!(away.message.contains("slurmctld"), "{away:?}");

    // Nothing is asked of a scheduler that is away for a job that it does not have.
    lab.submit("second", small(SCRIPT)).await?;
    let told = lab.until("second", "says what it waits for", waits).await;
    assert_eq!(told.submission, None, "{told:?}");
    assert!(told.message.unwrap_or_default().contains("slurmctld"));

    lab.stack.start(Part::Slurmctld).await?;
    scheduler_is(&lab, ConditionStatus::True).await;
    once_each(&lab, &["first".to_owned(), "second".to_owned()]).await
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn slurmdbd_away_a_job_ends_when_the_accounting_says_so_and_is_metered_once() -> Result<()> {
    let lab = Lab::alone("dbd").await?;
    lab.stack.stop(Part::Slurmdbd).await?;
    lab.submit("meanwhile", small(SCRIPT)).await?;
    // slurmctld knows the accounts by heart and runs it; its end is the accounting's to tell.
    let id = lab
        .until("meanwhile", "is in Slurm", |s| {
            s.scheduler.as_ref().is_some_and(|s| s.job_id.is_some())
        })
        .await
        .scheduler
        .and_then(|scheduler| scheduler.job_id)
        .context("no number")?;
    wait_for("Slurm has run it", PATIENCE, async || {
        let queue = lab
            .stack
            .run(&["squeue", "-h", "--states=all", "-j", &id, "-o", "%T"])
            .await
            .map_err(|error| error.to_string())?;
        if queue.stdout.contains("COMPLETED") {
            Ok(())
        } else {
            Err(format!("{queue:?}"))
        }
    })
    .await;
    let status = lab.until("meanwhile", "has a status", |_| true).await;
    assert!(!status.phase.is_finished(), "{status:?}");
    lab.stack.start(Part::Slurmdbd).await?;
    once_each(&lab, &["meanwhile".to_owned()]).await
}

/// How many jobs come, in how many rounds; of each round some are cancelled again.
const JOBS: usize = 500;
const ROUNDS: usize = 25;
const CANCELLED_A_ROUND: usize = 4;

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn killed_every_second_while_500_jobs_come_and_100_go_the_operator_loses_and_doubles_nothing()
-> Result<()> {
    let lab = Lab::alone("burst").await?;
    let names: Vec<String> = (0..JOBS).map(|number| format!("burst-{number:03}")).collect();
    let rounds: Vec<&[String]> = names.chunks(JOBS / ROUNDS).collect();
    let mut cancelled = Vec::new();
    for (round, some) in rounds.iter().enumerate() {
        // Of this round, which is being handed over, and of the one before, which runs.
        let before = round
            .checked_sub(1)
            .and_then(|before| rounds.get(before))
            .unwrap_or(some);
        let to_cancel: Vec<&String> = some
            .iter()
            .take(CANCELLED_A_ROUND / 2)
            .chain(before.iter().skip(5).take(CANCELLED_A_ROUND / 2))
            .collect();
        let come_and_go = async {
            try_join_all(some.iter().map(|name| comes(&lab, name))).await?;
            try_join_all(to_cancel.iter().map(|name| is_called_off(&lab, name))).await
        };
        // Each time at another moment of what is going on.
        let moment = Duration::from_millis(u64::try_from(round * 137 % 900)?);
        let goes_down = async {
            tokio::time::sleep(moment).await;
            let part = match round {
                7 => Part::Slurmctld,
                13 => Part::Slurmdbd,
                19 => Part::ApiServer,
                _ => Part::Operator,
            };
            if part == Part::Operator {
                let operator = lab.stack.operator();
                operator.kill().await?;
                operator.start().await
            } else {
                lab.stack.kill(part).await?;
                lab.stack.start(part).await
            }
        };
        tokio::try_join!(come_and_go, goes_down)?;
        cancelled.extend(to_cancel);
    }
    assert_eq!(cancelled.len(), ROUNDS * CANCELLED_A_ROUND);
    // The API server was away: an operator that could not renew its lease has ended itself.
    lab.stack.operator().start().await?;

    let mut rows: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    let mut states = Vec::new();
    for name in &names {
        states.push((name, lab.until_metered(name).await));
    }
    let mut core_seconds = 0;
    for row in lab.sacct("Comment,State,AllocCPUS,ElapsedRaw").await? {
        let [comment, state, cpus, elapsed] = &row[..] else {
            anyhow::bail!("sacct says {row:?}");
        };
        let used = cpus.parse::<u64>()? * elapsed.parse::<u64>()?;
        core_seconds += used;
        let word = state.split_whitespace().next().unwrap_or_default().to_owned();
        rows.entry(comment.clone()).or_default().push((word, used));
    }
    let mut ended: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, status) in &states {
        *ended.entry(status.phase.as_str()).or_default() += 1;
        let called_off = cancelled.contains(name);
        let token = status
            .submission
            .as_ref()
            .map(|submission| format!("meso:{}", submission.token));
        let of_it = token.and_then(|token| rows.remove(&token)).unwrap_or_default();
        match (&of_it[..], status.phase) {
            // Called off before Slurm had it.
            ([], Phase::Cancelled) => assert!(called_off && status.usage.is_none(), "{name}: {status:?}"),
            ([(state, used)], phase) => {
                let expected = match state.as_str() {
                    "COMPLETED" => Phase::Succeeded,
                    "CANCELLED" if called_off => Phase::Cancelled,
                    state => anyhow::bail!("{name} is {state} on Slurm, and {status:?}"),
                };
                assert_eq!(phase, expected, "{name}: {status:?}");
                let usage = status.usage.clone().unwrap_or_default();
                assert_eq!(usage.core_seconds, used.to_string(), "{name}: {status:?}");
            }
            (runs, _) => anyhow::bail!("{name} was on Slurm as {runs:?}, and {status:?}"),
        }
    }
    println!("{ended:?}");
    assert!(rows.is_empty(), "jobs on Slurm that no object knows of: {rows:?}");
    lab.until_used(core_seconds).await;
    let verified = lab.stack.run(&["meso", "ledger", "verify"]).await?;
    assert!(verified.is_success(), "{verified:?}");
    Ok(())
}

/// Submits a job, again and again while the API server is away: its name makes it one.
async fn comes(lab: &Lab, name: &str) -> Result<()> {
    let job = job(name, small(SCRIPT))?;
    let jobs = lab.jobs();
    wait_for(&format!("{name} is taken"), PATIENCE, async || {
        match jobs.create(&PostParams::default(), &job).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            outcome => outcome.map(drop).map_err(|error| error.to_string()),
        }
    })
    .await;
    Ok(())
}

async fn is_called_off(lab: &Lab, name: &str) -> Result<()> {
    let (jobs, cancel) = (lab.jobs(), Patch::Merge(json!({"spec": {"cancel": true}})));
    wait_for(&format!("{name} is called off"), PATIENCE, async || {
        let patched = jobs.patch(name, &PatchParams::default(), &cancel).await;
        patched.map(drop).map_err(|error| error.to_string())
    })
    .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_second_replica_takes_over_from_one_that_hangs_and_nothing_is_done_twice() -> Result<()> {
    let lab = Lab::alone("replica").await?;
    let (first, second) = (lab.stack.operator(), lab.stack.replica("second"));
    second.start().await?;
    lab.submit("before", small(SCRIPT)).await?;
    lab.until("before", "has a token", |status| status.submission.is_some())
        .await;
    first.freeze()?;
    let outcome = async {
        second.leads(Duration::from_secs(15)).await?;
        lab.submit("after", small(SCRIPT)).await?;
        lab.until("after", "is in Slurm", |s| {
            s.scheduler.as_ref().is_some_and(|s| s.job_id.is_some())
        })
        .await;
        anyhow::Ok(())
    }
    .await;
    // Who was asleep finds the lease gone and ends itself, before it does anything.
    first.thaw()?;
    outcome?;
    wait_for(
        "the first replica has ended itself",
        Duration::from_secs(20),
        async || match first.pid() {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    let checked = once_each(&lab, &["before".to_owned(), "after".to_owned()]).await;
    second.stop().await?;
    first.start().await?;
    checked
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_api_server_away_a_job_runs_on_and_is_followed_again() -> Result<()> {
    let lab = Lab::alone("apiserver").await?;
    lab.submit("long", small("#!/bin/bash\nsleep 8\n")).await?;
    let status = lab
        .until("long", "runs", |status| status.phase == Phase::Running)
        .await;
    let id = status.scheduler.and_then(|s| s.job_id).context("no number")?;
    lab.stack.stop(Part::ApiServer).await?;
    wait_for("Slurm has ended it", PATIENCE, async || {
        let row = lab
            .stack
            .run(&["sacct", "-X", "-nP", "-j", &id, "--format=State"])
            .await
            .map_err(|error| error.to_string())?;
        if row.stdout.contains("COMPLETED") {
            Ok(())
        } else {
            Err(format!("{row:?}"))
        }
    })
    .await;
    lab.stack.start(Part::ApiServer).await?;
    // It says that it is ready, and refuses whatever a policy with parameters judges until it knows their kind.
    wait_for("batch jobs are taken again", PATIENCE, async || {
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let job = job("dry", small(SCRIPT)).map_err(|error| error.to_string())?;
        lab.jobs()
            .create(&dry, &job)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await;
    // Without its lease for too long the operator ends itself; whoever keeps it running starts it again.
    lab.stack.operator().start().await?;
    once_each(&lab, &["long".to_owned()]).await?;
    let told: Value = serde_json::to_value(lab.until_metered("long").await)?;
    assert_eq!(told["phase"], "Succeeded");
    Ok(())
}

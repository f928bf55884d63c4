//! Promise: a batch job runs once, as its author, within its allocation, and its whole life can be followed.

use anyhow::{Context, Result};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mesocentre_api::{
    Allocation, AllocationStatus, BatchJob, BatchJobStatus, ConditionStatus, Phase, find_condition,
};
use mesocentre_e2e::lab::{Lab, job, job_id};
use mesocentre_e2e::{Stack, fixture, wait_for};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

/// Submits what a typed client could not even write.
async fn submit_as_written(lab: &Lab, name: &str, spec: &Value) -> Result<DynamicObject> {
    let resource = ApiResource::erase::<BatchJob>(&());
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"name": name}, "spec": spec,
    }))?;
    let jobs: Api<DynamicObject> = Api::namespaced_with(lab.member.clone(), &lab.namespace, &resource);
    Ok(jobs.create(&PostParams::default(), &object).await?)
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_member_submits_and_a_stranger_cannot() -> Result<()> {
    let lab = Lab::new("member").await?;
    let spec = json!({"allocation": "hours", "script": "#!/bin/bash\nid -un; pwd\n", "submittedBy": "root"});
    // Who wrote it is stamped, whatever the client says.
    let made = lab.submit("mine", spec.clone()).await?;
    assert_eq!(
        made.spec.submitted_by.as_deref(),
        Some(lab.tenant.member.as_str())
    );
    let status = lab.until_over("mine").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    assert_eq!(status.exit_code, Some(0));
    let account = format!("{}.hours", lab.tenant.name);
    let row = lab.sacct_of(job_id(&status), "User,Account,State").await?;
    assert_eq!(row, [lab.tenant.member.as_str(), &account, "COMPLETED"]);
    let output = status.output_path.context("no output path")?;
    let written = std::fs::read_to_string(&output)?;
    assert!(written.starts_with(&lab.tenant.member), "{output}: {written}");

    let stranger: Api<BatchJob> = Api::namespaced(lab.stack.user("mallory", &[]).await?, &lab.namespace);
    let refused = stranger
        .create(&PostParams::default(), &job("theirs", spec)?)
        .await
        .expect_err("a stranger submitted a job");
    assert!(refused.to_string().contains("mallory"), "{refused}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn environment_and_arguments_reach_the_script_as_they_are_written() -> Result<()> {
    let lab = Lab::new("quotes").await?;
    let odd = "it's \"$HOME\"; `rm -rf` \\ \n second line é";
    lab.submit(
        "odd",
        json!({
            "allocation": "hours",
            "script": "#!/bin/bash\nprintf '%s' \"$ODD\" | od -An -tx1; printf '%s' \"$2\" | od -An -tx1; echo \"secret=${KUBECONFIG:-none} uid=$(id -u)\"\n",
            "environment": [{"name": "ODD", "value": odd}],
            "arguments": ["--flag", odd],
        }),
    )
    .await?;
    let status = lab.until_over("odd").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    let written = std::fs::read_to_string(status.output_path.context("no output path")?)?;
    let hex: String = odd.bytes().map(|byte| format!("{byte:02x}")).collect();
    let seen: String = written
        .lines()
        .take_while(|line| !line.starts_with("secret="))
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(seen, format!("{hex}{hex}"), "{written}");
    assert!(
        written.contains("secret=none"),
        "the operator's environment leaked: {written}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_array_is_one_object_that_counts_its_tasks() -> Result<()> {
    let lab = Lab::new("array").await?;
    lab.submit(
        "sweep",
        json!({
            "allocation": "hours", "array": {"indices": "1-40", "maxConcurrent": 20},
            "script": "#!/bin/bash\n[ $((SLURM_ARRAY_TASK_ID % 10)) != 3 ]\n",
            "resources": {"memory": "10Mi", "timeLimit": "2m"},
        }),
    )
    .await?;
    let status = lab.until_over("sweep").await;
    let tasks = status.tasks.clone().context("no tasks")?;
    assert_eq!(
        (tasks.total, tasks.succeeded, tasks.failed),
        (40, 36, 4),
        "{status:?}"
    );
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.exit_code, Some(1));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_heterogeneous_job_is_one_job_whose_components_are_each_paid_once() -> Result<()> {
    let lab = Lab::new("het").await?;
    // What the platform decides holds for every component, whatever its lines say.
    let script = |rest: &str| {
        format!(
            "#!/bin/bash\n#SBATCH -n 2 --mem=20M -t 2 -o %x-%j.txt\n#SBATCH hetjob\n\
             #SBATCH -n 3 --mem=10M -t 2 --account=root --comment=meso:forged/1 -o other.txt\n{rest}\n"
        )
    };
    lab.submit(
        "pair",
        json!({"script": script("echo $SLURM_HET_SIZE; while [ ! -e go-on ]; do sleep 0.1; done; exit 4")}),
    )
    .await?;
    let running = lab.until("pair", "runs", |status| status.cores == Some(5)).await;
    assert_eq!(running.tasks.map(|tasks| tasks.running), Some(2), "both of them");
    // Once it was seen to run, and not after a time in which nobody may have looked.
    let output = running.output_path.context("no output path")?;
    let folder = Path::new(&output).parent().context("no folder")?;
    fs::write(folder.join("go-on"), "")?;
    let status = lab.until_metered("pair").await;
    assert_eq!(
        (status.phase, status.exit_code),
        (Phase::Failed, Some(4)),
        "{status:?}"
    );
    assert_eq!(status.cores, None, "it holds none any more");
    let written = std::fs::read_to_string(status.output_path.clone().context("no output path")?)?;
    assert_eq!(written, "2\n");
    let rows = lab.sacct("JobID,Account,AllocCPUS,ElapsedRaw").await?;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let mut core_seconds = 0;
    for row in &rows {
        assert!(row[0].starts_with(&format!("{}+", job_id(&status))), "{row:?}");
        assert_eq!(
            row[1],
            format!("{}.hours", lab.tenant.name),
            "another account paid"
        );
        core_seconds += row[2].parse::<u64>()? * row[3].parse::<u64>()?;
    }
    assert_eq!(
        status.usage.context("no usage")?.core_seconds,
        core_seconds.to_string()
    );
    lab.until_used(core_seconds).await;

    // Held, released and cancelled as one.
    lab.submit("held", json!({"script": script("sleep 600"), "hold": true}))
        .await?;
    let held = lab
        .until("held", "is held", |status| {
            status.message.as_ref().is_some_and(|m| m.contains("held"))
        })
        .await;
    assert_eq!(held.tasks.map(|tasks| tasks.queued), Some(2));
    let change = async |spec: Value| {
        let patch = Patch::Merge(json!({"spec": spec}));
        lab.jobs().patch("held", &PatchParams::default(), &patch).await
    };
    change(json!({"hold": false})).await?;
    lab.until("held", "runs", |status| status.cores == Some(5)).await;
    change(json!({"cancel": true})).await?;
    let cancelled = lab.until_over("held").await;
    assert_eq!(cancelled.phase, Phase::Cancelled, "{cancelled:?}");
    assert_eq!(cancelled.tasks.map(|tasks| tasks.cancelled), Some(2));

    let kubeconfig = lab.stack.kubeconfig_for(&lab.tenant.member, &[]).await?;
    let top = ["meso", "top", "--namespace", &lab.namespace];
    let top = lab.stack.run_as(&kubeconfig, &top).await?;
    assert_eq!(top.stdout, "0 cores held by 0 running jobs; 0 wait\n", "{top:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_job_waits_for_the_one_it_depends_on_and_fails_when_that_can_never_be() -> Result<()> {
    let lab = Lab::new("depends").await?;
    let after = |job: &str, when: &str| {
        json!({"allocation": "hours", "script": "#!/bin/bash\ntrue\n", "dependsOn": [{"job": job, "when": when}],
               "resources": {"memory": "10Mi", "timeLimit": "2m"}})
    };
    // The second is written before the first exists.
    lab.submit("second", after("first", "Succeeded")).await?;
    lab.submit("never", after("broken", "Succeeded")).await?;
    let waits = lab
        .until("second", "says what it waits for", |s| s.message.is_some())
        .await;
    assert_eq!(waits.phase, Phase::Pending);
    assert!(waits.message.unwrap_or_default().contains("first"));
    lab.submit(
        "first",
        json!({"allocation": "hours", "script": "#!/bin/bash\nsleep 2\n"}),
    )
    .await?;
    lab.submit(
        "broken",
        json!({"allocation": "hours", "script": "#!/bin/bash\nexit 3\n"}),
    )
    .await?;
    let broken = lab.until_over("broken").await;
    assert_eq!(
        (broken.phase, broken.exit_code),
        (Phase::Failed, Some(3)),
        "{broken:?}"
    );
    let first = lab.until_over("first").await;
    let second = lab.until_over("second").await;
    assert_eq!(second.phase, Phase::Succeeded, "{second:?}");
    assert!(
        second.started_at >= first.finished_at,
        "{second:?} started before {first:?} ended"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn each_task_waits_for_its_own_of_an_array_in_another_workspace() -> Result<()> {
    let lab = Lab::new("taskwise").await?;
    let other = lab.tenant.workspace(&lab.stack, "other").await?;
    let first: BatchJob = job(
        "first",
        json!({"script": "#!/bin/bash\n[ $SLURM_ARRAY_TASK_ID != 2 ]\n", "array": {"indices": "1-3"},
               "resources": {"memory": "10Mi", "timeLimit": "2m"}}),
    )?;
    // Written before the first exists.
    lab.submit(
        "second",
        json!({"script": "#!/bin/bash\ntrue\n", "array": {"indices": "1-3"},
               "dependsOn": [{"job": "first", "workspace": "other", "when": "SameTaskSucceeded"}],
               "resources": {"memory": "10Mi", "timeLimit": "2m"}}),
    )
    .await?;
    let waits = lab
        .until("second", "says what it waits for", |s| s.message.is_some())
        .await;
    assert!(
        waits
            .message
            .clone()
            .unwrap_or_default()
            .contains(&format!("does not exist in {other}")),
        "{waits:?}"
    );
    Api::<BatchJob>::namespaced(lab.member.clone(), &other)
        .create(&PostParams::default(), &first)
        .await?;
    let counted = |succeeded| {
        move |status: &BatchJobStatus| {
            let told = status.message.as_deref().unwrap_or_default();
            let tasks = status.tasks.as_ref();
            tasks.is_some_and(|tasks| tasks.succeeded == succeeded && tasks.queued == 1)
                && told.contains("never start")
        }
    };
    let second = lab
        .until(
            "second",
            "has done the tasks whose own succeeded, and the other waits",
            counted(2),
        )
        .await;
    assert!(!second.phase.is_finished(), "{second:?}");
    // The one that never can is its author's to take away, as with sbatch.
    let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
    lab.jobs()
        .patch("second", &PatchParams::default(), &patch)
        .await?;
    let second = lab.until_over("second").await;
    assert_eq!(second.phase, Phase::Cancelled, "{second:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn cancelling_and_deleting_end_the_job_on_slurm() -> Result<()> {
    let lab = Lab::new("cancel").await?;
    let long = json!({"allocation": "hours", "script": "#!/bin/bash\nsleep 600\n", "resources": {"memory": "10Mi", "timeLimit": "20m"}});
    for name in ["cancelled", "deleted"] {
        lab.submit(name, long.clone()).await?;
    }
    let cancelled = lab
        .until("cancelled", "runs", |s| s.phase == Phase::Running)
        .await;
    let deleted = lab.until("deleted", "runs", |s| s.phase == Phase::Running).await;
    let (cancelled, deleted) = (job_id(&cancelled).to_owned(), job_id(&deleted).to_owned());

    let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
    lab.jobs()
        .patch("cancelled", &PatchParams::default(), &patch)
        .await?;
    let status = lab.until_over("cancelled").await;
    assert_eq!(status.phase, Phase::Cancelled, "{status:?}");

    lab.jobs().delete("deleted", &DeleteParams::default()).await?;
    let jobs = lab.jobs();
    wait_for(
        "the deleted job's object is gone",
        PATIENCE,
        async || match jobs.get_opt("deleted").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    for id in [cancelled, deleted] {
        let row = lab.sacct_of(&id, "State").await?;
        assert!(row[0].starts_with("CANCELLED"), "job {id} is {row:?}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_is_held_does_not_start_until_it_is_released_and_what_an_administrator_holds_stays() -> Result<()>
{
    let lab = Lab::new("hold").await?;
    let member = lab.stack.kubeconfig_for(&lab.tenant.member, &[]).await?;
    let meso = async |verb: &str, job: &str| {
        let said = lab
            .stack
            .run_as(&member, &["meso", verb, job, "--namespace", &lab.namespace])
            .await?;
        anyhow::ensure!(said.is_success(), "{said:?}");
        Ok(said.stdout)
    };
    let spec = |more: &str| json!({"allocation": "hours", "script": format!("#!/bin/bash\n{more}true\n")});

    // Held from the first moment on, by the field and by the script.
    let mut held = spec("");
    held["hold"] = json!(true);
    lab.submit("field", held).await?;
    lab.submit("line", spec("#SBATCH --hold\n")).await?;
    for name in ["field", "line"] {
        let status = lab
            .until(name, "is held, and says so", |status| {
                let reason = status.scheduler.as_ref().and_then(|s| s.reason.as_deref());
                reason == Some("JobHeldUser")
                    && status
                        .message
                        .as_deref()
                        .is_some_and(|m| m.contains("until they release it"))
            })
            .await;
        assert_eq!(status.phase, Phase::Queued);
        assert_eq!(
            meso("release", name).await?,
            format!("{name} is being released\n")
        );
        assert_eq!(lab.until_over(name).await.phase, Phase::Succeeded);
    }

    // Of an array, what waits is held and what runs goes on.
    let array = json!({"allocation": "hours", "script": "#!/bin/bash\nwhile [ ! -e go ]; do sleep 0.1; done\n",
        "array": {"indices": "1-3", "maxConcurrent": 1}});
    lab.submit("some", array).await?;
    let running = lab
        .until("some", "has one task that runs", |status| {
            status.phase == Phase::Running
        })
        .await;
    assert_eq!(
        meso("hold", "some").await?,
        "some: the tasks that wait are being held\n"
    );
    let id = job_id(&running).to_owned();
    let queue = async || {
        let rows = lab
            .stack
            .run(&["squeue", "--noheader", "--array", "--format=%T %r", "--jobs", &id])
            .await?;
        Ok::<_, anyhow::Error>(rows.stdout)
    };
    wait_for("two tasks are held", PATIENCE, async || {
        let rows = queue().await.map_err(|error| error.to_string())?;
        if rows.matches("PENDING JobHeldUser").count() == 2 && rows.contains("RUNNING") {
            Ok(())
        } else {
            Err(rows)
        }
    })
    .await;
    let home = std::path::Path::new(running.output_path.as_deref().context("no output path")?)
        .parent()
        .context("no home")?
        .to_owned();
    std::fs::write(home.join("go"), "")?;
    lab.until("some", "has ended one task and holds two", |status| {
        status
            .tasks
            .as_ref()
            .is_some_and(|tasks| (tasks.succeeded, tasks.queued) == (1, 2))
    })
    .await;

    // An administrator's hold is not lifted by the author; when it is gone, the author's word counts.
    // Its exit code tells of the task that has ended.
    lab.stack.run(&["scontrol", "hold", &id]).await?;
    wait_for("the administrator holds them", PATIENCE, async || {
        let rows = queue().await.map_err(|error| error.to_string())?;
        if rows.contains("JobHeldAdmin") {
            Ok(())
        } else {
            Err(rows)
        }
    })
    .await;
    meso("release", "some").await?;
    lab.until("some", "says who holds it", |status| {
        status.message.as_deref() == Some("is held by an administrator")
    })
    .await;
    lab.stack.run(&["scontrol", "release", &id]).await?;
    let over = lab.until_over("some").await;
    assert_eq!(over.phase, Phase::Succeeded, "{over:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_owner_gives_a_running_job_more_time_and_its_author_less() -> Result<()> {
    let lab = Lab::new("extend").await?;
    let meso = async |who: &str, time: &str| {
        let kubeconfig = lab.stack.kubeconfig_for(who, &[]).await?;
        let command = [
            "meso",
            "extend",
            "long",
            "--time",
            time,
            "--namespace",
            &lab.namespace,
        ];
        lab.stack.run_as(&kubeconfig, &command).await
    };
    let (owner, member) = (&lab.tenant.owner, &lab.tenant.member);
    lab.submit(
        "long",
        json!({"allocation": "hours", "script": "#!/bin/bash\nwhile [ ! -e go ]; do sleep 0.1; done\n",
               "resources": {"memory": "10Mi", "timeLimit": "10m"}}),
    )
    .await?;
    let running = lab
        .until("long", "runs", |status| status.phase == Phase::Running)
        .await;
    let id = job_id(&running).to_owned();
    let has = async |limit: &str| {
        wait_for(&format!("Slurm gives it {limit}"), PATIENCE, async || {
            let squeue = ["squeue", "--noheader", "--format=%l", "--jobs", &id];
            let said = lab.stack.run(&squeue).await.map_err(|error| error.to_string())?;
            if said.stdout.trim() == limit {
                Ok(())
            } else {
                Err(format!("{said:?}"))
            }
        })
        .await;
    };
    let told = meso(member, "1:00:00").await?;
    assert!(!told.is_success(), "{told:?}");
    assert!(
        told.stderr.contains("an Owner of the tenant writes it") && told.stderr.contains("at most 600s"),
        "{told:?}"
    );
    has("10:00").await;
    let said = meso(owner, "1:00:00").await?;
    assert!(said.is_success(), "{said:?}");
    assert_eq!(said.stdout, "long is given 1:00:00 from its start on\n");
    has("1:00:00").await;
    let said = meso(member, "20").await?;
    assert!(said.is_success(), "{said:?}");
    has("20:00").await;
    // Once: what an administrator does on the cluster afterwards stays.
    lab.stack
        .run(&["scontrol", "update", &format!("JobId={id}"), "TimeLimit=30"])
        .await?;
    has("30:00").await;
    let status = lab
        .until("long", "has its limit written down", |status| {
            status
                .time_limit
                .is_some_and(|limit| std::time::Duration::from(limit).as_secs() == 1200)
        })
        .await;
    let home = std::path::Path::new(status.output_path.as_deref().context("no output path")?)
        .parent()
        .context("no home")?
        .to_owned();
    std::fs::write(home.join("go"), "")?;
    let over = lab.until_over("long").await;
    assert_eq!(over.phase, Phase::Succeeded, "{over:?}");
    let row = lab.sacct_of(&id, "TimelimitRaw,State").await?;
    assert_eq!(row, ["30", "COMPLETED"]);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_a_job_made_of_its_cores_and_memory_is_told_when_it_ends() -> Result<()> {
    let lab = Lab::new("seff").await?;
    // One of two cores is kept busy, for longer than Slurm's samples of memory are apart, and until 7 seconds were computed,
    // however busy this machine is.
    let script = "#!/bin/bash\nend=$((SECONDS + 13)); stat=(); ticks=0\n\
        while [ $SECONDS -lt $end ] || [ $ticks -lt 700 ]; do read -r -a stat </proc/$$/stat; ticks=${stat[13]}; done\n";
    let resources = json!({"tasks": 1, "cpusPerTask": 2, "memory": "200Mi"});
    lab.submit(
        "half",
        json!({"allocation": "hours", "script": script, "resources": resources}),
    )
    .await?;
    let status = lab.until_over("half").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    let usage = status.usage.context("no usage")?;
    let held: f64 = usage.core_seconds.parse()?;
    let computed: f64 = usage
        .cpu_seconds
        .as_deref()
        .context("nothing measured")?
        .parse()?;
    assert!(computed > 6.0 && computed < held * 0.75, "{computed} of {held}");
    assert_eq!(
        usage.allocated_memory.as_ref().map(|memory| memory.0.as_str()),
        Some("200Mi")
    );
    let peak = usage
        .peak_memory
        .as_ref()
        .map(|memory| memory.0.trim_end_matches("Ki"));
    let peak: u64 = peak.context("its memory was not measured")?.parse()?;
    // A shell's, in KiB: more than nothing, and less than it was given.
    assert!((500..200 * 1024).contains(&peak), "{usage:?}");

    let member = lab.stack.kubeconfig_for(&lab.tenant.member, &[]).await?;
    let told = lab
        .stack
        .run_as(&member, &["meso", "efficiency", "--namespace", &lab.namespace])
        .await?;
    let line = told.stdout.lines().nth(1).unwrap_or_default().to_owned();
    anyhow::ensure!(
        line.starts_with("half ") && line.contains("200M") && line.contains('%'),
        "{told:?}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_job_past_its_time_limit_says_so() -> Result<()> {
    let lab = Lab::new("late").await?;
    // Slurm counts in minutes and looks now and then: this is the shortest there is.
    lab.submit(
        "late",
        json!({"allocation": "hours", "script": "#!/bin/bash\nsleep 600\n", "resources": {"memory": "10Mi", "timeLimit": "1s"}}),
    )
    .await?;
    let jobs = lab.jobs();
    let status = wait_for("the job is over", Duration::from_secs(240), async || {
        let status = jobs
            .get("late")
            .await
            .map_err(|error| error.to_string())?
            .status
            .unwrap_or_default();
        if status.phase.is_finished() {
            Ok(status)
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    assert_eq!(status.phase, Phase::TimedOut, "{status:?}");
    assert!(status.message.unwrap_or_default().contains("time limit"));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn hours_that_jobs_hold_are_shown_and_a_count_of_slurms_that_is_not_the_ledgers_is_said() -> Result<()>
{
    let lab = Lab::new("counted").await?;
    let allocations: Api<Allocation> = Api::namespaced(lab.stack.admin(), &lab.tenant.name);
    let says = async |what: &str, holds: &dyn Fn(&AllocationStatus) -> bool| {
        wait_for(what, Duration::from_secs(240), async || {
            let allocation = allocations
                .get("hours")
                .await
                .map_err(|error| error.to_string())?;
            let status = allocation.status.unwrap_or_default();
            if holds(&status) {
                Ok(status)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    };
    // Three core-hours, in a minute and a half.
    let wide = json!({
        "allocation": "hours", "script": "#!/bin/bash\nsleep 90\n",
        "resources": {"tasks": 120, "memory": "10Mi", "timeLimit": "30m"},
    });
    lab.submit("wide", wide).await?;
    let held = says("the hours that it holds", &|status| {
        let held = status.held_core_hours.as_deref();
        held.is_some_and(|held| held != "0.000000")
    })
    .await;
    let held: Decimal = held.held_core_hours.unwrap_or_default().parse()?;
    assert!(
        held > Decimal::from(55) && held <= Decimal::from(60),
        "{held} of 120 cores for half an hour"
    );
    lab.until_metered("wide").await;
    let agrees = |status: &AllocationStatus, expected| {
        find_condition(&status.conditions, "Reconciled").is_some_and(|condition| condition.status == expected)
    };
    let status = says("nothing is held and the two counts agree", &|status| {
        agrees(status, ConditionStatus::True) && status.held_core_hours.as_deref() == Some("0.000000")
    })
    .await;
    let used: Decimal = status.used_core_hours.unwrap_or_default().parse()?;
    assert!(used > Decimal::ONE, "{used}: too little to tell a difference");

    // An administrator of Slurm forgets what was used.
    let account = format!("{}.hours", lab.tenant.name);
    let forgets = [
        "sacctmgr",
        "-i",
        "modify",
        "account",
        &account,
        "set",
        "RawUsage=0",
    ];
    let answer = lab.stack.run(&forgets).await?;
    assert!(answer.is_success(), "{answer:?}");
    let status = says("the two counts differ", &|status| {
        agrees(status, ConditionStatus::False)
    })
    .await;
    let told = find_condition(&status.conditions, "Reconciled")
        .map(|condition| condition.message.clone())
        .unwrap_or_default();
    assert!(
        told.starts_with("Slurm counts 0.00 core-hours and the ledger "),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_sbatch_script_runs_with_meso_as_it_is_and_its_exit_code_comes_back() -> Result<()> {
    let lab = Lab::new("meso").await?;
    let kubeconfig = lab.stack.kubeconfig_for(&lab.tenant.member, &[]).await?;
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("job.sh");
    std::fs::write(
        &script,
        "#!/bin/bash\n#SBATCH --job-name=mine\n#SBATCH -n 2 --mem=20M\n#SBATCH --time=5\necho \"$SLURM_NTASKS tasks: $1\"; exit 7\n",
    )?;
    let script = script.to_string_lossy().into_owned();
    let meso = async |arguments: &[&str]| {
        let mut command = vec!["meso", "--namespace", &lab.namespace];
        command.extend(arguments);
        lab.stack.run_as(&kubeconfig, &command).await
    };
    let submitted = meso(&["submit", "--wait", "--name", "mine", &script, "hello world"]).await?;
    assert_eq!(submitted.code, Some(7), "{submitted:?}");
    let logs = meso(&["logs", "mine"]).await?;
    assert_eq!(logs.stdout, "2 tasks: hello world\n", "{logs:?}");
    let shown = meso(&["show", "mine", "-o", "json"]).await?;
    let shown: Value = serde_json::from_str(&shown.stdout)?;
    assert_eq!(shown["status"]["exitCode"], 7, "{shown}");
    let queue = meso(&["queue", "--all"]).await?;
    assert!(queue.is_success(), "{queue:?}");
    let hours = meso(&["allocations"]).await?;
    assert!(hours.stdout.contains("hours"), "{hours:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_a_job_used_is_metered_once_and_the_object_goes_after_its_time() -> Result<()> {
    let lab = Lab::new("metered").await?;
    lab.submit(
        "short",
        json!({"allocation": "hours", "script": "#!/bin/bash\nsleep 3\n", "ttlAfterFinished": "20s",
               "resources": {"cpusPerTask": 4, "memory": "10Mi", "timeLimit": "2m"}}),
    )
    .await?;
    let status = lab.until_metered("short").await;
    let row = lab.sacct_of(job_id(&status), "AllocCPUS,ElapsedRaw").await?;
    let seconds: u64 = row[0].parse::<u64>()? * row[1].parse::<u64>()?;
    assert_eq!(
        status.usage.context("no usage")?.core_seconds,
        seconds.to_string()
    );
    let jobs = lab.jobs();
    wait_for(
        "the object is gone after its ttl",
        PATIENCE,
        async || match jobs.get_opt("short").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    // The ledger keeps it: the allocation's hours say so.
    lab.until_used(seconds).await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn each_run_of_a_requeued_job_is_metered_by_itself() -> Result<()> {
    let lab = Lab::new("requeue").await?;
    // It takes itself back into the queue once, as a person with scontrol would.
    lab.submit(
        "again",
        json!({"allocation": "hours", "script": "#!/bin/bash\n#SBATCH --requeue\nsleep 2; if [ \"${SLURM_RESTART_COUNT:-0}\" = 0 ]; then scontrol requeue $SLURM_JOB_ID; sleep 60; fi\n",
               "resources": {"cpusPerTask": 2, "memory": "10Mi", "timeLimit": "5m"}}),
    )
    .await?;
    let jobs = lab.jobs();
    // A requeued job waits two minutes before it may start again; an administrator lets it go at once.
    wait_for("the job was requeued", PATIENCE, async || {
        let status = jobs
            .get("again")
            .await
            .map_err(|error| error.to_string())?
            .status
            .unwrap_or_default();
        let rows = lab
            .stack
            .run(&[
                "sacct",
                "--duplicates",
                "-X",
                "-nP",
                "-j",
                job_id(&status),
                "--format=State",
            ])
            .await
            .map_err(|error| error.to_string())?;
        if rows.stdout.contains("REQUEUED") {
            Ok(())
        } else {
            Err(rows.stdout)
        }
    })
    .await;
    let status = wait_for("the job is over", Duration::from_secs(240), async || {
        let status = jobs
            .get("again")
            .await
            .map_err(|error| error.to_string())?
            .status
            .unwrap_or_default();
        // The wait after a requeue is Slurm's; its start time may be set by an administrator.
        let id = job_id(&status).to_owned();
        let start = "StartTime=now";
        let _ = lab
            .stack
            .run(&["scontrol", "update", &format!("JobId={id}"), start])
            .await;
        if status.phase.is_finished() {
            Ok(status)
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    let rows = lab
        .stack
        .run(&[
            "sacct",
            "--duplicates",
            "-X",
            "-nP",
            "-j",
            job_id(&status),
            "--format=State,AllocCPUS,ElapsedRaw",
        ])
        .await?;
    // Let go so soon, the second run may find the first one's remains on its node and fail: it ended as Slurm says.
    let last = rows.stdout.lines().last().unwrap_or_default();
    let expected = if last.starts_with("COMPLETED") {
        Phase::Succeeded
    } else {
        Phase::Failed
    };
    assert_eq!(status.phase, expected, "{status:?} {rows:?}");
    let runs: Vec<u64> = rows
        .stdout
        .lines()
        .filter_map(|row| {
            let [_, cpus, seconds] = row.split('|').collect::<Vec<_>>()[..] else {
                return None;
            };
            Some(cpus.parse::<u64>().ok()? * seconds.parse::<u64>().ok()?)
        })
        .collect();
    assert_eq!(runs.len(), 2, "{rows:?}");
    assert_eq!(
        status.usage.context("no usage")?.core_seconds,
        runs.iter().sum::<u64>().to_string(),
        "{rows:?}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_budget_that_is_used_up_holds_the_next_job_and_says_why() -> Result<()> {
    let stack = Stack::current().await?;
    let tenant = fixture::tenant(&stack, "budget").await?;
    let namespace = tenant.workspace(&stack, "lab").await?;
    // Slurm books a job's whole time limit: two cores for an hour are more than one core-hour.
    tenant.allocation(&stack, "hours", 1).await?;
    let jobs: Api<BatchJob> = Api::namespaced(stack.user(&tenant.member, &[]).await?, &namespace);
    let spec = json!({"allocation": "hours", "script": "#!/bin/bash\ntrue\n", "resources": {"cpusPerTask": 2, "memory": "10Mi", "timeLimit": "1h"}});
    jobs.create(&PostParams::default(), &job("too-much", spec)?)
        .await?;
    let status = wait_for("the job says why it waits", PATIENCE, async || {
        let status = jobs
            .get("too-much")
            .await
            .map_err(|error| error.to_string())?
            .status
            .unwrap_or_default();
        match &status.scheduler {
            Some(scheduler)
                if scheduler
                    .reason
                    .as_deref()
                    .is_some_and(|r| r.contains("AssocGrp")) =>
            {
                Ok(status)
            }
            _ => Err(format!("{status:?}")),
        }
    })
    .await;
    assert!(!status.phase.is_finished());
    assert!(
        status.message.unwrap_or_default().contains("hours"),
        "for people: {:?}",
        status.scheduler
    );
    jobs.delete("too-much", &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_job_that_waits_for_its_turn_says_how_many_come_before_it_and_when_it_may_start() -> Result<()> {
    let lab = Lab::alone("turn").await?;
    let whole_cluster = || {
        json!({
            "allocation": "hours", "script": "#!/bin/bash\n#SBATCH --exclusive\nsleep 600\n",
            "resources": {"nodes": 4, "memory": "10Mi", "timeLimit": "10m"},
        })
    };
    lab.submit("first", whole_cluster()).await?;
    lab.until("first", "runs", |status| status.phase == Phase::Running)
        .await;
    for (ahead, name) in ["second", "third"].into_iter().enumerate() {
        lab.submit(name, whole_cluster()).await?;
        let status = lab
            .until(name, "says what is foreseen of it", |status| {
                let foreseen = status.outlook.as_ref();
                foreseen.is_some_and(|foreseen| {
                    foreseen.jobs_ahead.is_some() && foreseen.expected_start.is_some()
                })
            })
            .await;
        let foreseen = status.outlook.context("no outlook")?;
        assert_eq!(
            foreseen.jobs_ahead,
            i64::try_from(ahead).ok(),
            "{name}: {foreseen:?}"
        );
        assert!(
            foreseen.expected_start > Some(foreseen.at),
            "{name}: {foreseen:?}"
        );
    }
    let kubeconfig = lab.stack.kubeconfig_for(&lab.tenant.member, &[]).await?;
    let meso = async |arguments: &[&str]| {
        let mut command = vec!["meso", "--namespace", &lab.namespace];
        command.extend(arguments);
        lab.stack.run_as(&kubeconfig, &command).await
    };
    let queue = meso(&["queue"]).await?;
    let third = queue.stdout.lines().find(|line| line.starts_with("third"));
    assert!(
        third.is_some_and(|line| line.contains("(1 job ahead, expected to start ")),
        "{queue:?}"
    );
    // One that starts has nothing before it any more.
    assert!(meso(&["cancel", "first"]).await?.is_success());
    let status = lab
        .until("second", "runs", |status| status.phase == Phase::Running)
        .await;
    assert_eq!(status.outlook, None);
    assert!(meso(&["cancel", "second", "third"]).await?.is_success());
    lab.until_over("second").await;
    lab.until_over("third").await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_cannot_run_says_in_a_sentence_what_to_write_instead() -> Result<()> {
    let lab = Lab::new("wrong").await?;
    let script = "#!/bin/bash\ntrue\n";
    // At the door, where the API server can know it.
    for (spec, told) in [
        (
            json!({"allocation": "hours", "script": "echo no interpreter"}),
            "#!/bin/bash",
        ),
        (
            json!({"allocation": "hours", "script": script, "resources": {"memory": "lots"}}),
            "4Gi",
        ),
        (
            json!({"allocation": "hours", "script": script, "array": {"indices": "1-1000000"}}),
            "100000",
        ),
        (
            json!({"allocation": "hours", "script": script, "array": {"indices": "a few"}}),
            "1-20",
        ),
        (
            json!({"allocation": "hours", "script": script, "environment": [{"name": "SLURM_X", "value": ""}]}),
            "SLURM_",
        ),
        (
            json!({"allocation": "hours", "script": script, "resources": {"timeLimit": "a while"}}),
            "1h30m",
        ),
    ] {
        let refused = submit_as_written(&lab, "wrong", &spec)
            .await
            .expect_err(&format!("{spec} was taken"));
        assert!(refused.to_string().contains(told), "{spec}: {refused}");
    }
    // As a condition and an event, where only the cluster can.
    for (name, spec, reason, told) in [
        (
            "nowhere",
            json!({"allocation": "gold", "script": script}),
            "UnknownAllocation",
            "meso allocations",
        ),
        (
            "elsewhere",
            json!({"allocation": "hours", "script": script, "resources": {"partition": "secret"}}),
            "PartitionNotAllowed",
            "standard",
        ),
    ] {
        lab.submit(name, spec).await?;
        let status = lab
            .until(name, "is told why", |status| {
                find_condition(&status.conditions, "Accepted")
                    .is_some_and(|c| c.status == ConditionStatus::False)
            })
            .await;
        let accepted = find_condition(&status.conditions, "Accepted").context("no condition")?;
        assert_eq!(accepted.reason, reason);
        assert!(accepted.message.contains(told), "{accepted:?}");
        assert_eq!(status.phase, Phase::Pending);
        let events = lab
            .stack
            .run(&[
                "kubectl",
                "get",
                "events",
                "-n",
                &lab.namespace,
                "-o",
                "jsonpath={.items[*].reason}",
            ])
            .await?;
        assert!(events.stdout.contains(reason), "{events:?}");
    }
    // DOS line ends are found before Slurm is asked.
    lab.submit(
        "dos",
        json!({"allocation": "hours", "script": "#!/bin/bash\r\ntrue\r\n"}),
    )
    .await?;
    let status = lab.until_over("dos").await;
    assert_eq!(status.phase, Phase::Failed);
    assert!(status.message.unwrap_or_default().contains("dos2unix"));
    let job = lab.jobs().get("dos").await?;
    assert!(job.name_any() == "dos");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_template_of_the_site_becomes_a_job_with_the_values_as_its_variables() -> Result<()> {
    let lab = Lab::new("templates").await?;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/job-templates");
    let applied = lab.stack.run(&["kubectl", "apply", "-f", folder]).await?;
    assert!(applied.is_success(), "{applied:?}");
    let kubeconfig = lab.stack.kubeconfig_for(&lab.tenant.member, &[]).await?;
    let meso = async |arguments: &[&str]| {
        let mut command = vec!["meso", "-n", &lab.namespace];
        command.extend(arguments);
        lab.stack.run_as(&kubeconfig, &command).await
    };
    let listed = meso(&["template", "list"]).await?;
    assert!(
        listed.stdout.contains("mpi") && listed.stdout.contains("PROGRAM"),
        "{listed:?}"
    );
    let odd = "FILE=/no such; $(touch /tmp/never) file";
    let submitted = meso(&[
        "submit",
        "--template",
        "sweep",
        "--name",
        "from-template",
        "--wait",
        "--set",
        odd,
        "--set",
        "LINES=3-4",
        "--set",
        "MEMORY=10M",
    ])
    .await?;
    assert!(!submitted.is_success(), "{submitted:?}");
    let job = lab.jobs().get("from-template").await?;
    assert!(
        job.spec
            .script
            .contains("#SBATCH --array=3-4\n#SBATCH --cpus-per-task=1\n#SBATCH --mem=10M\n"),
        "{job:?}"
    );
    let status = job.status.context("no status")?;
    assert_eq!(
        status.tasks.map(|tasks| (tasks.total, tasks.failed)),
        Some((2, 2))
    );
    let output = fs::read_to_string(status.output_path.context("no output path")?.replace("%a", "3"))?;
    assert!(output.contains("/no such; $(touch /tmp/never) file"), "{output}");
    assert!(!fs::exists("/tmp/never")?, "a value was run");
    let refused = meso(&["submit", "--template", "sweep"]).await?;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("it wants FILE"), "{refused:?}");
    Ok(())
}

//! Promise: where the scheduler is Kubernetes, a batch job has the same object, the same life and the same bill, and runs
//! as pods.
//!
//! Real pods on a real node, whose kubelet starts, limits and ends them; submitted as a member, by kubectl and by meso.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mesocentre_api::{Allocation, BatchJob, BatchJobStatus, Phase};
use mesocentre_e2e::lab::{HOURS, Lab, hours, job_id};
use mesocentre_e2e::pods::{self, Pods};
use mesocentre_e2e::{apply_yaml, fixture, wait_for};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// Runs until it is told to end, and then does at once.
const UNTIL_TOLD: &str = "#!/bin/sh\ntrap 'exit 1' TERM\nsleep 600 & wait\n";
const FOR_UID: &str = "mesocentre.io/batch-job-uid";

/// A lab whose hours are on Kubernetes.
struct Ground {
    lab: Lab,
    pods: Pods,
}

impl Ground {
    async fn new(prefix: &str) -> Result<Self> {
        let lab = Lab::alone(prefix).await?;
        let pods = pods::up().await?;
        let admin = lab.stack.admin();
        let scheduler = format!(
            "apiVersion: mesocentre.io/v1alpha1\nkind: Scheduler\nmetadata: {{name: test-pods}}\nspec:\n  kubernetes:\n    \
             image: {}\n    tolerations: [{}]\n    defaultTimeLimit: 5m\n    maxTimeLimit: 20h\n    defaultMemoryPerCpu: 32Mi\n",
            pods::IMAGE,
            pods::TAINT,
        );
        apply_yaml(&admin, &scheduler).await?;
        fixture::ready(&lab.stack, "Scheduler", None, "test-pods").await?;
        let perimeter =
            json!({"spec": {"schedulers": ["austral", "test-pods"], "tolerations": [pods::TAINT]}});
        lab.stack
            .run(&[
                "kubectl",
                "patch",
                "trustperimeter",
                &lab.tenant.perimeter,
                "--type=merge",
                "-p",
                &perimeter.to_string(),
            ])
            .await?;
        let ground = Self { lab, pods };
        ground.grant("pod-hours", "10").await?;
        Ok(ground)
    }

    async fn grant(&self, name: &str, core_hours: &str) -> Result<()> {
        let home = &self.lab.tenant.name;
        let text = format!(
            "apiVersion: mesocentre.io/v1alpha1\nkind: Allocation\nmetadata: {{name: {name}, namespace: {home}}}\nspec:\n  \
             scheduler: test-pods\n  title: A test\n  validFrom: 2026-01-01\n  validUntil: 2035-12-31\n  \
             budget: {{coreHours: \"{core_hours}\"}}\n"
        );
        apply_yaml(&self.lab.stack.admin(), &text).await?;
        fixture::ready(&self.lab.stack, "Allocation", Some(home), name).await
    }

    async fn submit(&self, name: &str, script: &str, more: Value) -> Result<BatchJob> {
        let mut spec = json!({"allocation": "pod-hours", "script": script});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        self.lab.submit(name, spec).await
    }

    async fn output(&self, job: &str) -> Result<String> {
        let answer = self.meso(&["logs", job]).await?;
        Ok(answer)
    }

    /// What meso says to the member; on standard output where it went well.
    async fn meso(&self, command: &[&str]) -> Result<String> {
        let kubeconfig = self
            .lab
            .stack
            .kubeconfig_for(&self.lab.tenant.member, &[])
            .await?;
        let mut whole = vec!["meso"];
        whole.extend(command);
        whole.extend(["--namespace", &self.lab.namespace]);
        let answer = self.lab.stack.run_as(&kubeconfig, &whole).await?;
        Ok(if answer.is_success() {
            answer.stdout
        } else {
            answer.stderr
        })
    }

    fn pods_as(&self, client: kube::Client) -> Api<Pod> {
        Api::namespaced(client, &self.lab.namespace)
    }

    async fn pods_of(&self, job: &BatchJob) -> Result<Vec<Pod>> {
        let which = ListParams::default().labels(&format!("{FOR_UID}={}", job.uid().context("no uid")?));
        Ok(self.pods_as(self.lab.stack.admin()).list(&which).await?.items)
    }

    async fn runs(&self, name: &str) -> BatchJobStatus {
        self.lab
            .until(name, "runs", |status| status.phase == Phase::Running)
            .await
    }
}

/// The seconds that a pod's container ran.
fn seconds(pod: &Pod) -> Option<i64> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let end = statuses.first()?.state.as_ref()?.terminated.as_ref()?;
    Some(end.finished_at.as_ref()?.0.as_second() - end.started_at.as_ref()?.0.as_second())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_batch_job_on_kubernetes_has_the_same_life_and_the_same_bill() -> Result<()> {
    let ground = Ground::new("aspods").await?;
    a_script_is_run_as_it_is_written(&ground).await?;
    each_end_is_told(&ground).await?;
    an_array_is_one_object(&ground).await?;
    what_waits_says_why(&ground).await?;
    hours_are_kept_before_they_are_used(&ground).await?;
    nobody_else_makes_changes_or_deletes_what_is_billed(&ground).await?;
    a_pod_that_its_node_gave_up_runs_again_and_both_are_billed(&ground).await?;
    a_job_is_made_once_whenever_the_operator_is_killed(&ground).await?;
    the_hours_used_are_those_of_the_pods(&ground).await?;
    ground.pods.end().await
}

async fn a_script_is_run_as_it_is_written(ground: &Ground) -> Result<()> {
    let odd = "it's \"$HOME\"; $(SLURM_JOB_NAME) $$ \\ é";
    let script = "#!/bin/sh\n#SBATCH --ntasks=2 --job-name=sum --output=ignored.out\nsleep 2\necho \"$SLURM_JOB_NAME $SLURM_NTASKS $HOME $PWD\"\necho \"$ODD\"\necho \"$1\"\n[ -e /var/run/secrets/kubernetes.io ] || echo no token\necho kept >\"$HOME/kept\"\n";
    let more = json!({"environment": [{"name": "ODD", "value": odd}], "arguments": [odd]});
    let job = ground.submit("plain", script, more).await?;
    let status = ground.lab.until_metered("plain").await;
    assert_eq!(
        (status.phase, status.exit_code),
        (Phase::Succeeded, Some(0)),
        "{status:?}"
    );
    assert_eq!(job_id(&status), format!("bj-{}", job.uid().unwrap_or_default()));
    let user = &ground.lab.tenant.member;
    let expected = format!("sum 2 /home/{user} /home/{user}\n{odd}\n{odd}\nno token\n");
    assert_eq!(ground.output("plain").await?, expected);
    let pods = ground.pods_of(&job).await?;
    assert_eq!(pods.len(), 1);
    let held = 2 * seconds(&pods[0]).context("no end")?;
    let usage = status.usage.context("no usage")?;
    assert_eq!(usage.core_seconds, held.to_string());
    assert!(held >= 4, "{held}");
    assert_eq!(status.nodes, [pods::NODE]);
    // Metered, so kept no more.
    wait_for("the pod is let go of", PATIENCE, async || {
        let pods = ground.pods_of(&job).await.map_err(|error| error.to_string())?;
        let kept = pods.iter().any(|pod| {
            pod.finalizers()
                .iter()
                .any(|one| one == "mesocentre.io/unmetered")
        });
        if kept {
            Err(format!("{:?}", pods[0].metadata))
        } else {
            Ok(())
        }
    })
    .await;
    Ok(())
}

async fn each_end_is_told(ground: &Ground) -> Result<()> {
    let small = json!({"resources": {"timeLimit": "2m", "memory": "24Mi"}});
    ground
        .submit("three", "#!/bin/sh\nexit 3\n", small.clone())
        .await?;
    // A string that doubles until there is no room for it.
    let hungry = "#!/bin/sh\nx=0123456789abcdef\nwhile :; do x=$x$x; done\n";
    ground.submit("hungry", hungry, small).await?;
    ground
        .submit("late", UNTIL_TOLD, json!({"resources": {"timeLimit": "5s"}}))
        .await?;
    ground.submit("no-bash", "#!/bin/bash\ntrue\n", json!({})).await?;
    ground
        .submit(
            "off",
            "#!/bin/sh\ntrap 'exit 0' TERM\nsleep 300 & wait\n",
            json!({}),
        )
        .await?;
    ground.runs("off").await;
    let said = ground.meso(&["cancel", "off"]).await?;
    assert!(said.contains("off"), "{said}");
    for (name, phase, exit_code) in [
        ("three", Phase::Failed, Some(3)),
        ("hungry", Phase::OutOfMemory, Some(137)),
        ("no-bash", Phase::Failed, Some(1)),
        ("off", Phase::Cancelled, None),
    ] {
        let status = ground.lab.until_metered(name).await;
        assert_eq!(status.phase, phase, "{name}: {status:?}");
        if exit_code.is_some() {
            assert_eq!(status.exit_code, exit_code, "{name}: {status:?}");
        }
    }
    let late = ground.lab.until_metered("late").await;
    assert_eq!(late.phase, Phase::TimedOut, "{late:?}");
    // What the kernel says of an interpreter that the image has not.
    let no_bash = ground.output("no-bash").await?;
    assert!(no_bash.contains("no such file or directory"), "{no_bash}");

    // What cannot be is said at once, in one sentence.
    for (name, script, more, says) in [
        (
            "mail",
            "#!/bin/sh\n#SBATCH --mail-type=END\n",
            json!({}),
            "line 2 of the script: --mail-type is Slurm's",
        ),
        (
            "elsewhere",
            "#!/bin/sh\n",
            json!({"container": {"image": "docker.io/evil:1"}}),
            "docker.io/evil:1",
        ),
        (
            "long",
            "#!/bin/sh\n",
            json!({"resources": {"timeLimit": "100h"}}),
            "360000 seconds are asked for",
        ),
    ] {
        ground.submit(name, script, more).await?;
        let status = ground.lab.until_over(name).await;
        let message = status.message.clone().unwrap_or_default();
        assert!(
            status.phase == Phase::Failed && message.contains(says),
            "{name}: {status:?}"
        );
    }
    Ok(())
}

async fn an_array_is_one_object(ground: &Ground) -> Result<()> {
    let script = "#!/bin/sh\necho task $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT\n[ $SLURM_ARRAY_TASK_ID != 7 ]\n";
    let array = json!({"array": {"indices": "3-9:2,20", "maxConcurrent": 3}});
    ground.submit("sweep", script, array).await?;
    ground
        .submit("from-nothing", script, json!({"array": {"indices": "0-1"}}))
        .await?;
    let status = ground.lab.until_metered("sweep").await;
    let tasks = status.tasks.clone().context("no tasks")?;
    assert_eq!(
        (tasks.total, tasks.succeeded, tasks.failed),
        (5, 4, 1),
        "{status:?}"
    );
    assert_eq!((status.phase, status.exit_code), (Phase::Failed, Some(1)));
    assert_eq!(ground.output("sweep.20").await?, "task 20 of 5\n");
    assert_eq!(ground.output("sweep.7").await?, "task 7 of 5\n");
    let said = ground.output("sweep.4").await?;
    assert!(
        said.contains("sweep has no task 4: its indices are from 3 to 20"),
        "{said}"
    );
    ground.lab.until_metered("from-nothing").await;
    assert_eq!(ground.output("from-nothing.1").await?, "task 1 of 2\n");
    Ok(())
}

async fn what_waits_says_why(ground: &Ground) -> Result<()> {
    ground
        .submit("held", "#!/bin/sh\ntrue\n", json!({"hold": true}))
        .await?;
    let held = ground
        .lab
        .until("held", "is queued", |status| status.phase == Phase::Queued)
        .await;
    assert!(
        held.message.clone().unwrap_or_default().contains("meso release"),
        "{held:?}"
    );
    ground
        .submit(
            "after",
            "#!/bin/sh\ntrue\n",
            json!({"dependsOn": [{"job": "held"}]}),
        )
        .await?;
    let after = ground
        .lab
        .until("after", "says what for", |status| status.message.is_some())
        .await;
    assert_eq!(after.phase, Phase::Pending);
    assert!(after.message.unwrap_or_default().contains("waits for held"));
    ground.meso(&["release", "held"]).await?;
    assert_eq!(ground.lab.until_metered("held").await.phase, Phase::Succeeded);
    assert_eq!(ground.lab.until_metered("after").await.phase, Phase::Succeeded);

    let large = json!({"resources": {"cpusPerTask": 6, "timeLimit": "1m"}});
    ground.submit("large", "#!/bin/sh\ntrue\n", large).await?;
    let large = ground
        .lab
        .until("large", "says why it waits", |status| {
            status.message.is_some() && status.phase == Phase::Queued
        })
        .await;
    let why = large.message.unwrap_or_default();
    assert!(
        why.contains("waits for a node with enough that is free") && why.contains("cpu"),
        "{why}"
    );
    ground.meso(&["cancel", "large"]).await?;
    let large = ground.lab.until_metered("large").await;
    assert_eq!(large.phase, Phase::Cancelled);
    assert_eq!(large.usage.unwrap_or_default().core_seconds, "0");
    Ok(())
}

async fn hours_are_kept_before_they_are_used(ground: &Ground) -> Result<()> {
    ground.grant("small", "1").await?;
    let of_small = |time: &str| json!({"allocation": "small", "resources": {"timeLimit": time}});
    ground
        .submit("too-long", "#!/bin/sh\ntrue\n", of_small("2h"))
        .await?;
    let waits = ground
        .lab
        .until("too-long", "waits", |status| status.message.is_some())
        .await;
    let why = waits.message.unwrap_or_default();
    assert!(
        why.contains("the allocation small has 1.00 core-hours left, and this job may use 2.00"),
        "{why}"
    );
    ground.meso(&["cancel", "too-long"]).await?;

    // Two that fit one by one and not together.
    let script = UNTIL_TOLD;
    ground.submit("one", script, of_small("40m")).await?;
    ground.submit("other", script, of_small("40m")).await?;
    let first = wait_for("one of them runs", PATIENCE, async || {
        for name in ["one", "other"] {
            let job = ground
                .lab
                .jobs()
                .get(name)
                .await
                .map_err(|error| error.to_string())?;
            if job.status.is_some_and(|status| status.phase == Phase::Running) {
                return Ok(name);
            }
        }
        Err("neither runs".to_owned())
    })
    .await;
    let second = if first == "one" { "other" } else { "one" };
    let waits = ground
        .lab
        .until(second, "waits for hours", |status| {
            status
                .message
                .as_deref()
                .is_some_and(|message| message.contains("are kept for jobs that are open"))
        })
        .await;
    assert_eq!(waits.phase, Phase::Pending);
    ground.meso(&["cancel", first]).await?;
    ground.runs(second).await;
    ground.meso(&["cancel", second]).await?;
    for name in [first, second] {
        assert_eq!(ground.lab.until_metered(name).await.phase, Phase::Cancelled);
    }
    Ok(())
}

async fn nobody_else_makes_changes_or_deletes_what_is_billed(ground: &Ground) -> Result<()> {
    let job = ground.submit("billed", UNTIL_TOLD, json!({})).await?;
    ground.runs("billed").await;
    let member = ground.lab.stack.user(&ground.lab.tenant.owner, &[]).await?;
    let pods = ground.pods_as(member.clone());
    let jobs: Api<Job> = Api::namespaced(member.clone(), &ground.lab.namespace);
    let name = ground.pods_of(&job).await?.first().context("no pod")?.name_any();
    let made = format!("bj-{}", job.uid().unwrap_or_default());
    let refused = |what: &str, result: Result<(), kube::Error>| {
        let said = result.expect_err(what).to_string();
        assert!(said.contains("mesocentre-scheduler-jobs"), "{what}: {said}");
    };
    refused(
        "the pod is deleted",
        pods.delete(&name, &DeleteParams::default()).await.map(drop),
    );
    refused(
        "the Job is deleted",
        jobs.delete(&made, &DeleteParams::default()).await.map(drop),
    );
    for (what, patch) in [
        (
            "the pod loses its finalizer",
            json!({"metadata": {"finalizers": null}}),
        ),
        (
            "the pod loses its label",
            json!({"metadata": {"labels": {"mesocentre.io/batch-scheduler": null}}}),
        ),
        (
            "the pod says another account",
            json!({"metadata": {"annotations": {"mesocentre.io/batch-account": "x.y"}}}),
        ),
    ] {
        let patched = pods
            .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        refused(what, patched.map(drop));
    }
    let resumed = json!({"spec": {"suspend": true}});
    refused(
        "the Job is suspended",
        jobs.patch(&made, &PatchParams::default(), &Patch::Merge(resumed))
            .await
            .map(drop),
    );

    let template = json!({
        "metadata": {"labels": {"app": "forged", "mesocentre.io/batch-scheduler": "test-pods"}},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "job", "image": pods::IMAGE, "command": ["/bin/sleep", "60"],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    });
    let forged: Job = serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "forged"}, "spec": {"template": template},
    }))?;
    refused(
        "a Job is forged",
        jobs.create(&PostParams::default(), &forged).await.map(drop),
    );
    let mut forged_pod: Pod = serde_json::from_value(template.clone())?;
    forged_pod.metadata.name = Some("forged".to_owned());
    refused(
        "a pod is forged",
        pods.create(&PostParams::default(), &forged_pod).await.map(drop),
    );
    // Another controller's pods are made by Kubernetes as well, and are refused all the same.
    let mut by_set = template;
    by_set["spec"]["restartPolicy"] = json!("Always");
    let deployment: Deployment = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "forged"},
        "spec": {"selector": {"matchLabels": {"app": "forged"}}, "template": by_set},
    }))?;
    let deployments: Api<Deployment> = Api::namespaced(member, &ground.lab.namespace);
    deployments.create(&PostParams::default(), &deployment).await?;
    wait_for(
        "the forged Deployment is refused its pods",
        PATIENCE,
        async || {
            let one = deployments
                .get("forged")
                .await
                .map_err(|error| error.to_string())?;
            let conditions = one
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            let failure = conditions
                .iter()
                .find(|condition| condition.type_ == "ReplicaFailure");
            match failure.and_then(|failure| failure.message.as_deref()) {
                Some(message) if message.contains("mesocentre-scheduler-jobs") => Ok(()),
                _ => Err(format!("{conditions:?}")),
            }
        },
    )
    .await;
    deployments.delete("forged", &DeleteParams::default()).await?;
    // Whole seconds are billed, and below this one is looked for.
    wait_for("it has run for two seconds", PATIENCE, async || {
        let job = ground
            .lab
            .jobs()
            .get("billed")
            .await
            .map_err(|error| error.to_string())?;
        let started = job
            .status
            .and_then(|status| status.started_at)
            .ok_or("it has not begun")?;
        let ran = jiff::Timestamp::now().as_second() - started.as_second();
        if ran >= 2 { Ok(()) } else { Err(format!("{ran} s")) }
    })
    .await;
    // Its author may cancel it, by deleting the object that it is.
    ground
        .lab
        .jobs()
        .delete("billed", &DeleteParams::default())
        .await?;
    wait_for("nothing of it is left, once it is billed", PATIENCE, async || {
        let left = ground.pods_of(&job).await.map_err(|error| error.to_string())?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{} pods", left.len()))
        }
    })
    .await;
    Ok(())
}

async fn a_pod_that_its_node_gave_up_runs_again_and_both_are_billed(ground: &Ground) -> Result<()> {
    let job = ground
        .submit(
            "moved",
            "#!/bin/sh\ntrap 'exit 1' TERM\nsleep 8 & wait\n",
            json!({}),
        )
        .await?;
    ground.runs("moved").await;
    let first = ground.pods_of(&job).await?.first().context("no pod")?.name_any();
    // As kubectl drain does.
    ground
        .pods_as(ground.lab.stack.admin())
        .evict(&first, &EvictParams::default())
        .await?;
    let status = ground.lab.until_metered("moved").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    let usage: u64 = status.usage.context("no usage")?.core_seconds.parse()?;
    assert!(usage >= 8, "{usage}");
    Ok(())
}

async fn a_job_is_made_once_whenever_the_operator_is_killed(ground: &Ground) -> Result<()> {
    let operator = ground.lab.stack.operator();
    let mut made = Vec::new();
    for round in 0..4 {
        for number in 0..4 {
            let name = format!("once-{round}-{number}");
            made.push((
                ground.submit(&name, "#!/bin/sh\nsleep 1\n", json!({})).await?,
                name,
            ));
        }
        operator.kill().await?;
        operator.start().await?;
    }
    let jobs: Api<Job> = Api::namespaced(ground.lab.stack.admin(), &ground.lab.namespace);
    for (job, name) in &made {
        let status = ground.lab.until_metered(name).await;
        assert_eq!(status.phase, Phase::Succeeded, "{name}: {status:?}");
        let which = ListParams::default().labels(&format!("{FOR_UID}={}", job.uid().unwrap_or_default()));
        assert_eq!(jobs.list(&which).await?.items.len(), 1, "{name}");
        assert_eq!(ground.pods_of(job).await?.len(), 1, "{name}");
    }
    Ok(())
}

/// All that the allocation says was used is what the pods ran for, those that are gone included.
async fn the_hours_used_are_those_of_the_pods(ground: &Ground) -> Result<()> {
    let mut expected: u64 = 0;
    for job in ground.lab.jobs().list(&ListParams::default()).await?.items {
        if job.spec.allocation == "pod-hours" {
            let usage = job.status.and_then(|status| status.usage);
            expected += usage.map_or(Ok(0), |usage| usage.core_seconds.parse::<u64>())?;
        }
    }
    let allocations: Api<Allocation> = Api::namespaced(ground.lab.stack.admin(), &ground.lab.tenant.name);
    let used = |name: &str| {
        let (allocations, name) = (allocations.clone(), name.to_owned());
        async move {
            let allocation = allocations.get(&name).await.map_err(|error| error.to_string())?;
            Ok::<String, String>(
                allocation
                    .status
                    .and_then(|status| status.used_core_hours)
                    .unwrap_or_default(),
            )
        }
    };
    // The deleted job ran, too.
    wait_for(
        "the hours used are more than those of the jobs that are left",
        PATIENCE,
        async || {
            let used: String = used("pod-hours").await?;
            let least = hours(expected);
            let number = |hours: &str| hours.parse::<Decimal>().unwrap_or_default();
            if number(&used) > number(&least) {
                Ok(())
            } else {
                Err(format!("{used}, and {least} by the jobs"))
            }
        },
    )
    .await;
    assert_eq!(
        used(HOURS).await.map_err(anyhow::Error::msg)?,
        "0.000000",
        "nothing of it was Slurm's"
    );
    let said = ground
        .lab
        .stack
        .run(&[
            "meso",
            "ledger",
            "verify",
            "--ledger",
            &ground.lab.stack.ledger_url()?,
        ])
        .await?;
    assert!(said.is_success(), "{}", said.stderr);
    Ok(())
}

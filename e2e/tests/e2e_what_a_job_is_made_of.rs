//! Promise: a job's script and variables may be elsewhere, in the workspace where its owner lets batch jobs read or on the
//! cluster as its author reads it; and an allocation says which QOS and which reservation its jobs have.

use anyhow::{Context, Result};
use kube::Api;
use kube::api::{Patch, PatchParams};
use mesocentre_api::{Allocation, ConditionStatus, Phase, find_condition};
use mesocentre_e2e::lab::{HOURS, Lab, job_id};
use mesocentre_e2e::wait_for;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);
/// Whatever a shell could act on, and more than one line.
const ODD: &str = "s3cr3t it's $HOME `id` \"x\" \\ é\n\nend";

impl Made {
    /// Runs kubectl as somebody.
    async fn apply(&self, object: &Value) -> Result<()> {
        let file = self.folder.path().join("object.json");
        fs::write(&file, serde_json::to_vec(object)?)?;
        let kubectl = [
            "kubectl",
            "apply",
            "-n",
            &self.lab.namespace,
            "-f",
            &file.to_string_lossy(),
        ];
        let answer = self.lab.stack.run(&kubectl).await?;
        anyhow::ensure!(answer.is_success(), "{answer:?}");
        Ok(())
    }

    async fn written(&self, name: &str) -> Result<String> {
        let status = self.lab.until_over(name).await;
        anyhow::ensure!(status.phase == Phase::Succeeded, "{status:?}");
        Ok(fs::read_to_string(status.output_path.context("no output path")?)?)
    }

    async fn waits_with(&self, name: &str, sentence: &str) -> String {
        let status = self
            .lab
            .until(name, sentence, |status| {
                status
                    .message
                    .as_ref()
                    .is_some_and(|message| message.contains(sentence))
            })
            .await;
        assert_eq!(status.phase, Phase::Pending, "{status:?}");
        status.message.unwrap_or_default()
    }

    async fn open_the_workspace(&self) -> Result<()> {
        let workspaces: Api<mesocentre_api::Workspace> =
            Api::namespaced(self.lab.stack.admin(), &self.lab.tenant.name);
        let open = json!({"spec": {"batchJobsMayReadSecrets": true}});
        workspaces
            .patch("lab", &PatchParams::default(), &Patch::Merge(open))
            .await?;
        Ok(())
    }
}

struct Made {
    lab: Lab,
    folder: tempfile::TempDir,
}

impl Made {
    async fn new(prefix: &str) -> Result<Self> {
        Ok(Self {
            lab: Lab::new(prefix).await?,
            folder: tempfile::tempdir()?,
        })
    }
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn gpus_of_a_job_are_in_the_ledger_by_the_model_that_slurm_tracks() -> Result<()> {
    let lab = Lab::new("models").await?;
    let spec = json!({"script": "#!/bin/bash\nsleep 2\n", "resources": {"gpus": 2, "timeLimit": "5m"}});
    lab.submit("trains", spec).await?;
    lab.until_metered("trains").await;
    let records = lab.stack.ledger_records(&lab.tenant.name).await?;
    let of_gpus: Vec<&Value> = records
        .iter()
        .filter(|record| record["meter"] == "compute.gpu-hours")
        .collect();
    let [record] = of_gpus[..] else {
        panic!("{records:?}")
    };
    let evidence: Value = serde_json::from_str(record["evidence"].as_str().unwrap_or_default())?;
    assert_eq!(
        (&evidence["model"], &evidence["gpus"]),
        (&json!("a100"), &json!("2"))
    );
    let at =
        |name: &str| -> Result<jiff::Timestamp> { Ok(record[name].as_str().unwrap_or_default().parse()?) };
    let seconds = at("end")?.duration_since(at("start")?).as_secs();
    assert_eq!(record["quantity"], (2 * seconds).to_string());
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_secret_reaches_the_job_alone_and_only_once_the_workspaces_owner_lets_batch_jobs_read_it()
-> Result<()> {
    let made = Made::new("sources").await?;
    let lab = &made.lab;
    let spec = json!({
        "script": "#!/bin/bash\nprintf '%s|%s|%s' \"$TOKEN\" \"$MODEL\" \"$PLAIN\"\n",
        "environment": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "credentials", "key": "token"}}},
            {"name": "MODEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "model"}}},
            {"name": "PLAIN", "value": "plain"},
        ],
    });
    lab.submit("early", spec.clone()).await?;
    let told = made.waits_with("early", "may not read").await;
    assert!(
        told.contains("batchJobsMayReadSecrets: true") && told.contains("the Workspace lab"),
        "{told}"
    );
    // The operator has no right there of itself.
    let account = "system:serviceaccount:mesocentre-system:mesocentre-operator";
    let can = async |namespace: &str| {
        let asks = [
            "kubectl", "auth", "can-i", "get", "secrets", "-n", namespace, "--as", account,
        ];
        lab.stack
            .run(&asks)
            .await
            .map(|answer| answer.stdout.trim() == "yes")
    };
    assert!(!can(&lab.namespace).await?);

    made.open_the_workspace().await?;
    made.waits_with("early", "the Secret credentials, which does not exist")
        .await;
    made.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "credentials"}, "stringData": {"other": ODD},
    }))
    .await?;
    made.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"model": "arome"},
    }))
    .await?;
    made.waits_with("early", "the key token of the Secret credentials")
        .await;
    made.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "credentials"}, "stringData": {"token": ODD},
    }))
    .await?;
    assert_eq!(made.written("early").await?, format!("{ODD}|arome|plain"));
    assert!(can(&lab.namespace).await? && !can(&lab.tenant.name).await? && !can("kube-system").await?);

    // Nowhere that others read.
    let shown = lab
        .stack
        .run(&[
            "kubectl",
            "get",
            "bj",
            "early",
            "-n",
            &lab.namespace,
            "-o",
            "json",
        ])
        .await?;
    assert!(!shown.stdout.contains("s3cr3t"), "{shown:?}");
    let status = lab.until_over("early").await;
    let job = lab
        .stack
        .run(&["scontrol", "show", "job", job_id(&status)])
        .await?;
    assert!(!job.stdout.contains("s3cr3t"), "{job:?}");
    assert!(!lab.stack.log_of("operator", 10_000).contains("s3cr3t"));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_script_in_a_config_map_or_on_the_cluster_runs_as_if_it_stood_in_the_object() -> Result<()> {
    let made = Made::new("scripts").await?;
    let lab = &made.lab;
    made.open_the_workspace().await?;
    let script = "#!/bin/bash\n#SBATCH -J named -n 2\n#SBATCH -o %x-%j.txt\necho \"$SLURM_JOB_NAME $SLURM_NTASKS $1\"\n";
    made.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scripts"}, "data": {"one.sh": script},
    }))
    .await?;
    lab.submit(
        "from-map",
        json!({"scriptFrom": {"configMap": {"name": "scripts", "key": "one.sh"}}, "arguments": ["a b"]}),
    )
    .await?;
    assert_eq!(made.written("from-map").await?, "named 2 a b\n");

    // On the cluster: as its author reads it, and nobody else.
    let person = &lab.tenant.member;
    let file = lab.stack.home_of(person).join("one.sh");
    let own = async |mode: u32| -> Result<()> {
        fs::write(&file, script)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        let owner = format!("{person}:");
        let chown = lab.stack.run(&["chown", &owner, &file.to_string_lossy()]).await?;
        anyhow::ensure!(chown.is_success(), "{chown:?}");
        Ok(())
    };
    own(0o600).await?;
    let path = file.to_string_lossy().into_owned();
    let kubeconfig = lab.stack.kubeconfig_for(person, &[]).await?;
    let meso = async |arguments: &[&str]| {
        let mut command = vec!["meso", "submit", "--namespace", &lab.namespace];
        command.extend(arguments);
        lab.stack.run_as(&kubeconfig, &command).await
    };
    let submitted = meso(&["--wait", "--name", "from-path", "--on-cluster", &path, "a b"]).await?;
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    assert_eq!(made.written("from-path").await?, "named 2 a b\n");

    for (name, path, sentence) in [
        ("shadow", "/etc/shadow", "may not read it"),
        ("nowhere", "/home/nobody/here.sh", "there is no such file"),
        ("folder", "/etc", "no regular file"),
    ] {
        lab.submit(name, json!({"scriptFrom": {"path": path}})).await?;
        let status = lab.until_over(name).await;
        let told = status.message.unwrap_or_default();
        assert_eq!(status.phase, Phase::Failed);
        assert!(told.contains(path) && told.contains(sentence), "{told}");
    }
    let line = meso(&["--on-cluster", "--nice=5", &path]).await?;
    assert_eq!(line.code, Some(2), "{line:?}");
    assert!(line.stderr.contains("write #SBATCH --nice there"), "{line:?}");
    // As sbatch refuses an account, and nothing is made.
    let strange = meso(&["-A", "gold", "--name", "strange", "--wrap", "true"]).await?;
    assert_eq!(strange.code, Some(4), "{strange:?}");
    let sentence = format!(
        "{} has no allocation gold: write {HOURS}, the only one",
        lab.tenant.name
    );
    assert!(strange.stderr.contains(&sentence), "{strange:?}");
    let made_anyway = lab.jobs().get_opt("strange").await?;
    assert!(made_anyway.is_none(), "{made_anyway:?}");
    let both = lab
        .submit(
            "both",
            json!({"script": "#!/bin/sh\n", "scriptFrom": {"path": "/x"}}),
        )
        .await
        .expect_err("a job with two scripts");
    assert!(both.to_string().contains("one of the two"), "{both}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_allocation_says_which_qos_and_which_reservation_its_jobs_have() -> Result<()> {
    let made = Made::new("terms").await?;
    let lab = &made.lab;
    let urgent = format!("{}-urgent", lab.tenant.name);
    let admin = async |command: &[&str]| -> Result<String> {
        let answer = lab.stack.run(command).await?;
        anyhow::ensure!(answer.is_success(), "{command:?}: {answer:?}");
        Ok(answer.stdout)
    };
    let allocations: Api<Allocation> = Api::namespaced(lab.stack.admin(), &lab.tenant.name);
    let set = async |terms: Value| {
        let change = json!({"spec": {"slurm": terms}});
        allocations
            .patch(HOURS, &PatchParams::default(), &Patch::Merge(change))
            .await
    };
    let held = |line: &str| json!({"script": format!("#!/bin/bash\n#SBATCH --hold{line}\ntrue\n")});
    let terms_of = async |name: &str| -> Result<String> {
        let status = lab
            .until(name, "is in Slurm", |status| !job_id(status).is_empty())
            .await;
        let squeue = ["squeue", "-h", "-o", "%q|%v", "-j", job_id(&status)];
        admin(&squeue).await.map(|row| row.trim().to_owned())
    };

    // One that Slurm does not have is said where the administrator looks.
    set(json!({"qos": [urgent]})).await?;
    wait_for("the allocation says what is wrong", PATIENCE, async || {
        let allocation = allocations.get(HOURS).await.map_err(|error| error.to_string())?;
        let conditions = allocation.status.unwrap_or_default().conditions;
        match find_condition(&conditions, "Ready") {
            Some(ready) if ready.status == ConditionStatus::False && ready.message.contains(&urgent) => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    admin(&["sacctmgr", "-i", "add", "qos", &urgent]).await?;
    let reservation = format!("{}-school", lab.tenant.name);
    let account = format!("{}.{HOURS}", lab.tenant.name);
    let of_account = format!("account={account}");
    let show = [
        "sacctmgr",
        "-nP",
        "show",
        "assoc",
        "format=QOS,DefaultQOS",
        "where",
        &of_account,
    ];
    let associations = async || admin(&show).await;
    let made_there = [
        "scontrol",
        "create",
        "reservation",
        &format!("ReservationName={reservation}"),
        "StartTime=now",
        "Duration=60",
        "NodeCnt=1",
        "Flags=OVERLAP",
        &format!("Accounts={account}"),
    ];
    admin(&made_there).await?;
    set(json!({"qos": [urgent, "normal"], "reservation": reservation})).await?;
    wait_for(
        "the account has both QOS, the first as its default",
        PATIENCE,
        async || {
            let shown = associations().await.map_err(|error| error.to_string())?;
            let wanted = format!("normal,{urgent}|{urgent}");
            if shown.lines().count() >= 2 && shown.lines().all(|line| line == wanted) {
                Ok(())
            } else {
                Err(shown)
            }
        },
    )
    .await;
    lab.submit("usual", held("")).await?;
    assert_eq!(terms_of("usual").await?, format!("{urgent}|{reservation}"));
    lab.submit("asked", held("\n#SBATCH --qos=normal")).await?;
    assert_eq!(terms_of("asked").await?, format!("normal|{reservation}"));

    // What is reserved, and billed, is held against what the reservation keeps.
    for (cores, reason) in [(1, "Kept"), (100_000, "TooSmall")] {
        let reserved = json!({"spec": {"reserved": {"cores": cores}}});
        allocations
            .patch(HOURS, &PatchParams::default(), &Patch::Merge(reserved))
            .await?;
        wait_for(
            &format!("{cores} reserved cores are {reason}"),
            PATIENCE,
            async || {
                let found = allocations.get(HOURS).await.map_err(|error| error.to_string())?;
                let conditions = found.status.map(|status| status.conditions).unwrap_or_default();
                match find_condition(&conditions, "Reserved") {
                    Some(reserved) if reserved.reason == reason => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            },
        )
        .await;
    }

    // Taken out, it is as it was.
    allocations
        .patch(
            HOURS,
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"slurm": null}})),
        )
        .await?;
    wait_for("the account has what the tenant's has", PATIENCE, async || {
        let shown = associations().await.map_err(|error| error.to_string())?;
        if shown.lines().all(|line| line == "normal|") {
            Ok(())
        } else {
            Err(shown)
        }
    })
    .await;
    lab.submit("after", held("")).await?;
    assert_eq!(terms_of("after").await?, "normal|(null)");
    lab.submit("refused", held(&format!("\n#SBATCH --qos={urgent}")))
        .await?;
    let refused = lab.until_over("refused").await;
    assert_eq!(refused.phase, Phase::Failed, "{refused:?}");
    let told = refused.message.unwrap_or_default();
    assert!(told.to_lowercase().contains("qos"), "{told}");
    admin(&["scancel", &format!("--account={account}")]).await?;
    admin(&["scontrol", "delete", &format!("ReservationName={reservation}")]).await?;
    Ok(())
}

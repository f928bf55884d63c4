//! From a submission to the Job that it becomes. Pure.
//!
//! The script travels in an annotation of the pod and is executed by its own first line: one object is all that a
//! submission is, and nobody can change the script between its being taken and its being run. A Job's name is made of
//! the UID of the object that it is for, so the API server itself refuses a second.

use super::asked::Asked;
use super::{Defaults, Owner};
use crate::{ArrayIndices, InvalidSubmission, Reference, Submission, Uid};
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

/// Label: the Scheduler that a Job and its pods are of.
pub const SCHEDULER: &str = "mesocentre.io/batch-scheduler";
/// Label: the UID of the object that they are for.
pub const FOR_UID: &str = "mesocentre.io/batch-job-uid";
/// Label: the name of that object, for people; at most 63 characters of it.
pub const FOR: &str = "mesocentre.io/batch-job";
/// Label, when what they used is in the ledger: they are not looked at any more.
pub const METERED: &str = "mesocentre.io/batch-job-metered";
/// Keeps a pod until what it used is in the ledger.
pub const UNMETERED: &str = "mesocentre.io/unmetered";
/// Annotation: the submission's token.
pub const TOKEN: &str = "mesocentre.io/batch-token";
/// Annotation: whom the job is of.
pub const USER: &str = "mesocentre.io/batch-user";
/// Annotation: who pays.
pub const ACCOUNT: &str = "mesocentre.io/batch-account";
/// Annotation: how many tasks the job has.
pub const TASKS: &str = "mesocentre.io/batch-tasks";
/// Annotation: GPUs of a pod.
pub const GPUS: &str = "mesocentre.io/batch-gpus";
/// Annotation: held by its author.
pub const HELD: &str = "mesocentre.io/batch-held";
/// Annotation: when it was cancelled.
pub const CANCELLED: &str = "mesocentre.io/batch-cancelled";
/// Annotations that become files of the pod.
const SCRIPT: &str = "mesocentre.io/batch-script";
const STARTER: &str = "mesocentre.io/batch-starter";

/// What devices are asked for by.
const GPU_RESOURCE: &str = "nvidia.com/gpu";
/// Whom the script runs as, in its container: nobody's account, and never root.
const RUNS_AS: i64 = 1000;
/// Where script and starter are.
const FOLDER: &str = "/mesocentre";
/// All annotations of an object together are 256 KiB at most (Kubernetes, `TotalAnnotationSizeLimitB`).
const LONGEST_SCRIPT: usize = 240 << 10;
/// The container's name.
pub const CONTAINER: &str = "job";

/// What is to be made.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) job: Job,
    pub(super) uid: Uid,
}

/// Kubernetes replaces `$(NAME)` in commands, arguments and variables, and takes `$$` for `$`.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// As much of a name as a label takes, which ends as it begins, with a letter or a digit.
pub(super) fn label(name: &str) -> String {
    let kept: String = name.chars().take(63).collect();
    kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}

/// Checks a submission and turns it into a Job.
///
/// # Errors
/// What must change in the submission.
pub(super) fn prepare(
    submission: &Submission,
    scheduler: &str,
    owner: Option<&Owner>,
    defaults: &Defaults,
) -> Result<Manifest, InvalidSubmission> {
    let script = checked_script(submission)?;
    let uid = Uid::parse(submission.token.uid()).ok_or_else(|| {
        InvalidSubmission::value(
            "the token",
            submission.token.as_str(),
            "is of no object of Kubernetes: its UID is a UUID",
        )
    })?;
    let asked = Asked::of(submission, defaults)?;
    let image = submission.container.image.as_ref().or(defaults.image.as_ref());
    let Some(image) = image else {
        return Err(InvalidSubmission::Field {
            field: "the image",
            why: "none is named, and this scheduler has none of its own: write it into spec.container.image (meso submit --image)"
                .to_owned(),
        });
    };
    let home = format!("/home/{}", submission.user);
    let name = crate::JobId::Made(uid).to_string();
    let labels = json!({
        SCHEDULER: scheduler, FOR_UID: uid.to_string(), FOR: label(&submission.name),
    });
    let tasks = asked.pods();
    let told = json!({
        TOKEN: submission.token.as_str(), USER: submission.user.as_str(), ACCOUNT: submission.account.as_str(),
        TASKS: tasks.to_string(), GPUS: asked.gpus.to_string(),
    });
    let mut of_job = told.clone();
    if asked.hold {
        of_job[HELD] = json!("true");
    }
    let mut of_pod = told;
    of_pod[SCRIPT] = json!(script);
    let starter = asked
        .array
        .as_ref()
        .filter(|array| !array.counts_from_nothing())
        .map(starter);
    if let Some(starter) = &starter {
        of_pod[STARTER] = json!(starter);
    }
    let pod = json!({
        "metadata": {"labels": labels, "annotations": of_pod, "finalizers": [UNMETERED]},
        "spec": pod_spec(submission, &asked, defaults, (image, &home), starter.is_some())?,
    });
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "namespace": submission.container.namespace, "labels": labels, "annotations": of_job,
            "ownerReferences": owner.map(|owner| json!([{
                "apiVersion": owner.api_version, "kind": owner.kind, "name": submission.name, "uid": uid.to_string(),
            }])),
        },
        "spec": job_spec(&asked, defaults, &pod),
    });
    // What was written here is a Job, or a defect.
    let job = serde_json::from_value(job)
        .map_err(|_| InvalidSubmission::value("the job", &submission.name, "cannot be written as a Job"))?;
    Ok(Manifest { job, uid })
}

fn checked_script(submission: &Submission) -> Result<&str, InvalidSubmission> {
    submission.check_script()?;
    let script = &submission.script;
    if script.len() > LONGEST_SCRIPT {
        return Err(InvalidSubmission::value(
            "the script",
            "",
            "is longer than the 240 KiB that a pod can carry: put what is long into the image or the home",
        ));
    }
    std::str::from_utf8(script).map_err(|_| {
        InvalidSubmission::value(
            "the script",
            "",
            "is not UTF-8, and Kubernetes carries no other text: save it as UTF-8",
        )
    })
}

fn job_spec(asked: &Asked, defaults: &Defaults, pod: &Value) -> Value {
    let mut spec = json!({
        "template": pod, "suspend": asked.hold, "podReplacementPolicy": "Failed",
    });
    match &asked.array {
        Some(array) => {
            let tasks = array.tasks();
            let at_a_time = array
                .at_a_time
                .unwrap_or(tasks)
                .min(tasks)
                .min(defaults.pods_at_a_time);
            spec["completionMode"] = json!("Indexed");
            spec["completions"] = json!(tasks);
            spec["parallelism"] = json!(at_a_time);
            // A task that failed has failed, and the others go on, as Slurm's do.
            spec["backoffLimitPerIndex"] = json!(0);
        }
        None => {
            spec["backoffLimit"] = json!(0);
            spec["completions"] = json!(1);
            spec["parallelism"] = json!(1);
        }
    }
    if asked.requeue {
        // A node that fails under it, or is drained, is no failure of the job's: it runs again, as Slurm requeues.
        spec["podFailurePolicy"] = json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]});
    }
    spec
}

fn pod_spec(
    submission: &Submission,
    asked: &Asked,
    defaults: &Defaults,
    (image, home): (&str, &str),
    has_starter: bool,
) -> Result<Value, InvalidSubmission> {
    let script = format!("{FOLDER}/script");
    let command = if has_starter {
        vec![format!("{FOLDER}/starter"), script]
    } else {
        vec![script]
    };
    submission.check_arguments()?;
    let arguments: Vec<String> = submission
        .arguments
        .iter()
        .map(|argument| literal(argument))
        .collect();
    let mut resources = json!({"cpu": asked.cpus.to_string(), "memory": format!("{}Mi", asked.memory_mib)});
    if let Some(mib) = asked.disk_mib {
        resources["ephemeral-storage"] = json!(format!("{mib}Mi"));
    }
    if asked.gpus > 0 {
        resources[GPU_RESOURCE] = json!(asked.gpus.to_string());
    }
    let file = |name: &str, annotation: &str| json!({"path": name, "fieldRef": {"fieldPath": format!("metadata.annotations['{annotation}']")}});
    let mut files = vec![file("script", SCRIPT)];
    if has_starter {
        files.push(file("starter", STARTER));
    }
    let home_volume = match &submission.container.home_claim {
        Some(claim) => json!({"name": "home", "persistentVolumeClaim": {"claimName": claim}}),
        None => json!({"name": "home", "emptyDir": {}}),
    };
    Ok(json!({
        "restartPolicy": "Never",
        "activeDeadlineSeconds": asked.time_limit_seconds,
        "nodeSelector": defaults.node_selector,
        "tolerations": defaults.tolerations.iter().map(|key| json!({"key": key, "operator": "Exists"})).collect::<Vec<_>>(),
        // A script asks the API server for nothing.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": RUNS_AS, "runAsGroup": RUNS_AS, "fsGroup": RUNS_AS,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{
            "name": CONTAINER, "image": image, "command": command, "args": arguments,
            "workingDir": asked.work_dir.as_deref().unwrap_or(home),
            "env": environment(submission, asked, home)?,
            "resources": {"requests": resources, "limits": resources},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [
                {"name": "script", "mountPath": FOLDER, "readOnly": true}, {"name": "home", "mountPath": home},
            ],
        }],
        "volumes": [{"name": "script", "downwardAPI": {"defaultMode": 0o555, "items": files}}, home_volume],
    }))
}

/// The variables that scripts for Slurm look at, then the job's own.
fn environment(submission: &Submission, asked: &Asked, home: &str) -> Result<Vec<Value>, InvalidSubmission> {
    submission.check_environment()?;
    let mut all: Vec<(&str, String)> = vec![
        ("HOME", home.to_owned()),
        ("USER", submission.user.to_string()),
        ("LOGNAME", submission.user.to_string()),
        ("SLURM_JOB_NAME", asked.name.clone()),
        ("SLURM_JOB_USER", submission.user.to_string()),
        ("SLURM_JOB_ACCOUNT", submission.account.to_string()),
        (
            "SLURM_SUBMIT_DIR",
            asked.work_dir.clone().unwrap_or_else(|| home.to_owned()),
        ),
        ("SLURM_NTASKS", asked.tasks.to_string()),
        ("SLURM_CPUS_PER_TASK", asked.cpus_per_task.to_string()),
        ("SLURM_CPUS_ON_NODE", asked.cpus.to_string()),
        ("SLURM_JOB_NUM_NODES", "1".to_owned()),
        ("SLURM_MEM_PER_NODE", asked.memory_mib.to_string()),
        ("SLURM_JOB_ID", submission.token.uid().to_owned()),
    ];
    if let Some(array) = &asked.array {
        let (lowest, highest) = array.bounds().unwrap_or_default();
        all.extend([
            ("SLURM_ARRAY_JOB_ID", submission.token.uid().to_owned()),
            ("SLURM_ARRAY_TASK_COUNT", array.tasks().to_string()),
            ("SLURM_ARRAY_TASK_MIN", lowest.to_string()),
            ("SLURM_ARRAY_TASK_MAX", highest.to_string()),
        ]);
    }
    let mut written: Vec<Value> = all
        .iter()
        .map(|(name, text)| json!({"name": name, "value": literal(text)}))
        .collect();
    if asked
        .array
        .as_ref()
        .is_some_and(ArrayIndices::counts_from_nothing)
    {
        written.push(json!({"name": "SLURM_ARRAY_TASK_ID", "valueFrom": {"fieldRef": {
            "fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']",
        }}}));
    }
    for (name, text) in &submission.environment {
        written.push(json!({"name": name, "value": literal(text)}));
    }
    for (name, reference) in &submission.container.environment {
        let source = match reference {
            Reference::Secret { name, key } => json!({"secretKeyRef": {"name": name, "key": key}}),
            Reference::ConfigMap { name, key } => json!({"configMapKeyRef": {"name": name, "key": key}}),
        };
        written.push(json!({"name": name, "valueFrom": source}));
    }
    Ok(written)
}

/// Kubernetes counts the tasks of an array from nothing; this finds the index that the author wrote. POSIX sh, and nothing
/// but what is built into it.
fn starter(array: &ArrayIndices) -> String {
    format!(
        "#!/bin/sh
i=$JOB_COMPLETION_INDEX
for range in {}; do
  count=${{range##*:}} rest=${{range%:*}}
  first=${{rest%%:*}} step=${{rest#*:}}
  [ \"$i\" -ge \"$count\" ] || break
  i=$((i - count))
done
SLURM_ARRAY_TASK_ID=$((first + i * step))
export SLURM_ARRAY_TASK_ID
exec \"$@\"
",
        array.as_words()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountName, Container, Token, UserName};
    use std::process::Command;

    const UID: &str = "5b0e2c1a-0000-4000-8000-000000000000";

    fn submission(script: &str) -> Submission {
        let mut submission = Submission::new(
            Token::of_attempt(UID, 1).unwrap(),
            UserName::new("alice").unwrap(),
            AccountName::new("univ-caen.climate").unwrap(),
            "pi",
            script,
        );
        submission.container = Container {
            namespace: "univ-caen--climate".to_owned(),
            image: Some("registry.example.org/tools:1".to_owned()),
            home_claim: None,
            ..Container::default()
        };
        submission
    }

    fn defaults() -> Defaults {
        Defaults {
            image: None,
            time_limit_seconds: 3_600,
            longest_seconds: 86_400,
            memory_mib_per_cpu: 1_024,
            pods_at_a_time: 500,
            node_selector: [("pool".to_owned(), "batch".to_owned())].into(),
            tolerations: vec!["batch".to_owned()],
        }
    }

    fn made(submission: &Submission) -> Value {
        let owner = Owner {
            api_version: "mesocentre.io/v1alpha1",
            kind: "BatchJob",
        };
        serde_json::to_value(
            prepare(submission, "cluster-jobs", Some(&owner), &defaults())
                .unwrap()
                .job,
        )
        .unwrap()
    }

    #[test]
    fn a_submission_is_one_job_whose_name_there_is_once() {
        let mut one = submission("#!/bin/sh\n#SBATCH --mem=2G -c 2 --time=1\necho\n");
        let job = made(&one);
        assert_eq!(job["metadata"]["name"], format!("bj-{UID}"));
        assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], UID);
        let pod = &job["spec"]["template"];
        assert_eq!(pod["metadata"]["finalizers"], json!([UNMETERED]));
        assert_eq!(pod["spec"]["activeDeadlineSeconds"], 60);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["/mesocentre/script"]));
        assert_eq!(
            container["resources"]["limits"],
            json!({"cpu": "2", "memory": "2048Mi"})
        );
        // Another attempt for the same object cannot be a second job.
        one.token = Token::of_attempt(UID, 2).unwrap();
        assert_eq!(made(&one)["metadata"]["name"], job["metadata"]["name"]);
    }

    #[test]
    fn a_pod_runs_where_jobs_do_and_asks_for_nothing_that_pod_security_restricts() {
        let pod = &made(&submission("#!/bin/sh\n"))["spec"]["template"]["spec"];
        assert_eq!(pod["nodeSelector"], json!({"pool": "batch"}));
        assert_eq!(
            pod["tolerations"],
            json!([{"key": "batch", "operator": "Exists"}])
        );
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(
            container,
            &json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
        );
    }

    #[test]
    fn nothing_of_what_an_author_writes_is_replaced_by_kubernetes() {
        let mut one = submission("#!/bin/sh\n");
        one.arguments = vec!["$(HOME)".to_owned(), "a b".to_owned(), "5$".to_owned()];
        one.environment = vec![("MODEL".to_owned(), "$(SLURM_JOB_ID) $$".to_owned())];
        let container = &made(&one)["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["args"], json!(["$$(HOME)", "a b", "5$$"]));
        let model = container["env"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(model, json!({"name": "MODEL", "value": "$$(SLURM_JOB_ID) $$$$"}));
        one.environment = vec![("SLURM_JOB_ID".to_owned(), "1".to_owned())];
        assert!(prepare(&one, "s", None, &defaults()).is_err());
    }

    #[test]
    fn each_task_of_an_array_finds_the_index_that_was_written() {
        let mut one = submission("#!/bin/sh\n");
        one.array = Some("3-9:2,20%2".to_owned());
        let job = made(&one);
        let spec = &job["spec"];
        assert_eq!(
            (&spec["completions"], &spec["parallelism"]),
            (&json!(5), &json!(2))
        );
        assert_eq!(spec["backoffLimitPerIndex"], 0);
        let starter = spec["template"]["metadata"]["annotations"][STARTER]
            .as_str()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("starter");
        std::fs::write(&path, starter).unwrap();
        let found: Vec<String> = (0..5)
            .map(|index| {
                let said = Command::new("sh")
                    .arg(&path)
                    .args(["sh", "-c", "printf %s \"$SLURM_ARRAY_TASK_ID\""])
                    .env("JOB_COMPLETION_INDEX", index.to_string())
                    .output()
                    .unwrap();
                String::from_utf8(said.stdout).unwrap()
            })
            .collect();
        assert_eq!(found, ["3", "5", "7", "9", "20"]);
        one.array = Some("0-9".to_owned());
        let annotations = made(&one)["spec"]["template"]["metadata"]["annotations"].clone();
        assert!(
            annotations.get(STARTER).is_none(),
            "Kubernetes counts as the author does"
        );
    }

    #[test]
    fn a_submission_that_no_pod_could_carry_is_refused_at_once() {
        let why = |change: &dyn Fn(&mut Submission)| {
            let mut one = submission("#!/bin/sh\n");
            change(&mut one);
            prepare(&one, "s", None, &defaults()).unwrap_err().to_string()
        };
        assert!(why(&|one| one.container.image = None).contains("spec.container.image"));
        assert!(why(&|one| one.script = b"#!/bin/sh\r\n".to_vec()).contains("DOS line ends"));
        assert!(why(&|one| one.script = b"#!/bin/sh\n\xff".to_vec()).contains("not UTF-8"));
        assert!(why(&|one| one.script.resize(250 << 10, b'#')).contains("240 KiB"));
        assert!(why(&|one| one.token = Token::of_attempt("x", 1).unwrap()).contains("is of no object"));
    }

    #[test]
    fn a_long_name_is_a_label_all_the_same() {
        assert_eq!(label(&format!("{}.b", "a".repeat(62))), "a".repeat(62));
    }
}

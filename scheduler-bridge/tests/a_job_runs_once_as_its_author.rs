//! Promise: a submission becomes one job on a real Slurm, as the person who wrote it, and its whole life can be
//! followed. Every test uses the development stack.

#![allow(clippy::unwrap_used, clippy::panic)] // A test may end itself.

mod cluster;

use cluster::{administrator, config, ended, home_of, identity, queued, slurm, slurm_conf, submission, user};
use jiff::{SignedDuration, Timestamp};
use mesocentre_scheduler_bridge::slurm::Slurm;
use mesocentre_scheduler_bridge::{
    AccountName, BatchScheduler, Dependency, DependencyKind, InvalidSubmission, JobId, JobIdentity, Phase,
    SchedulerError, SubmitError, Window,
};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_script_runs_as_its_author_with_what_was_asked_for_and_nothing_of_ours() {
    let slurm = slurm();
    let mut job = submission(
        "id -un; pwd; echo \"$SLURM_SUBMIT_DIR\"; echo \"$MODEL\"; echo \"$LD_LIBRARY_PATH\"; umask; \
         echo \"$#:$1:$2\"; echo \"[$CARGO_PKG_NAME]\"; ulimit -n; id -Gn",
    );
    job.arguments = vec!["--member".to_owned(), "two words".to_owned()];
    job.environment = vec![
        ("MODEL".to_owned(), "line one\nit's \"two\", $HOME".to_owned()),
        ("LD_LIBRARY_PATH".to_owned(), "/opt/lib".to_owned()),
    ];
    let home = home_of("alice");
    let id = slurm.submit(&job).await.unwrap();
    let end = ended(&slurm, &identity(&job, id)).await;
    assert_eq!(
        (end.phase, end.exit_code, end.signal),
        (Phase::Succeeded, Some(0), None),
        "{end:?}"
    );
    assert_eq!(end.nodes.names(10).len(), 1);
    let path = slurm.output_path(&job, id).await.unwrap();
    assert_eq!(path, format!("{home}/bridge-{id}.out"));
    let output = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(
        lines[..9],
        [
            "alice",
            home.as_str(),
            home.as_str(),
            "line one",
            "it's \"two\", $HOME",
            "/opt/lib",
            "0022",
            "2:--member:two words",
            "[]",
        ],
        "{output}"
    );
    assert!(!lines[10].contains("root"), "{output}");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_scripts_own_lines_hold_where_no_field_says_otherwise() {
    let slurm = slurm();
    let mut job =
        submission("#SBATCH -J mine --time=17 --chdir=/tmp\n#SBATCH --output=/dev/null -c 3 -W0\nsleep 60");
    assert!(slurm.submit(&job).await.unwrap_err().is_final(), "-W is refused");
    job.script = b"#!/bin/bash\n#SBATCH -J mine --time=17 --chdir=/tmp -n1\n#SBATCH --output=/dev/null -c 3\nsleep 60\n".to_vec();
    job.cpus_per_task = Some(2);
    job.time_limit_seconds = None;
    let id = slurm.submit(&job).await.unwrap();
    let job = identity(&job, id);
    let row = queued(&slurm, &job, |row| row.phase == Phase::Running).await;
    assert_eq!(row.name, "mine");
    let shown = administrator(&["scontrol", "-o", "show", "job", &id.to_string()]);
    for held in [
        "TimeLimit=00:17:00",
        "WorkDir=/tmp",
        "StdOut=/dev/null",
        "CPUs/Task=2",
    ] {
        assert!(shown.contains(held), "{held} in {shown}");
    }
    slurm.cancel(&job).await.unwrap();
    let end = ended(&slurm, &job).await;
    assert_eq!(end.phase, Phase::Cancelled);
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn each_end_is_told_apart() {
    let slurm = slurm();
    let failed = submission("#SBATCH -o /dev/null\nexit 3");
    let signalled = submission("#SBATCH -o /dev/null\nkill -9 $$");
    let mut unhappy = submission("#SBATCH -o /dev/null\ntrue");
    let failed_id = slurm.submit(&failed).await.unwrap();
    let signalled_id = slurm.submit(&signalled).await.unwrap();
    unhappy.dependencies = vec![Dependency {
        kind: DependencyKind::Failed,
        job: failed_id,
    }];
    let unhappy_id = slurm.submit(&unhappy).await.unwrap();
    let end = ended(&slurm, &identity(&failed, failed_id)).await;
    assert_eq!(
        (end.phase, end.exit_code, end.signal),
        (Phase::Failed, Some(3), None)
    );
    let end = ended(&slurm, &identity(&signalled, signalled_id)).await;
    assert_eq!((end.phase, end.signal), (Phase::Failed, Some(9)), "{end:?}");
    let end = ended(&slurm, &identity(&unhappy, unhappy_id)).await;
    assert_eq!(end.phase, Phase::Succeeded);
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_array_is_one_job_with_its_tasks_counted_and_each_run_paid() {
    let slurm = slurm();
    let started = Timestamp::now();
    let mut job = submission("#SBATCH -o /dev/null\nsleep 2; [ $SLURM_ARRAY_TASK_ID != 3 ] || exit 7");
    job.array = Some("1-6%4".to_owned());
    job.cpus_per_task = Some(2);
    let id = slurm.submit(&job).await.unwrap();
    let whole = identity(&job, id);
    let row = queued(&slurm, &whole, |row| row.tasks.running > 0).await;
    assert_eq!((row.id, row.tasks.total, row.phase), (id, 6, Phase::Running));
    let end = ended(&slurm, &whole).await;
    assert_eq!((end.phase, end.exit_code), (Phase::Failed, Some(7)));
    assert_eq!(
        (end.tasks.total, end.tasks.succeeded, end.tasks.failed),
        (6, 5, 1)
    );
    let window = Window {
        from: started - SignedDuration::from_secs(2),
        until: Timestamp::now() + SignedDuration::from_secs(2),
    };
    let runs = slurm.runs(window).await.unwrap();
    assert_eq!(runs.malformed, []);
    let of_job: Vec<_> = runs
        .runs
        .iter()
        .filter(|run| run.token.as_ref() == Some(&job.token))
        .collect();
    assert_eq!(of_job.len(), 6);
    assert!(
        of_job
            .iter()
            .all(|run| run.tres.cpus == 2 && run.array_task.is_some_and(|task| task.array == id))
    );
    let sum: u64 = of_job.iter().map(|run| run.core_seconds().unwrap().0).sum();
    assert_eq!(end.core_seconds.0, sum);
    assert!(sum >= 6 * 2 * 2, "{sum} core seconds");
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_job_is_found_by_its_token_alone_and_only_by_its_author() {
    let slurm = slurm();
    let before = Timestamp::now();
    let job = submission("#SBATCH -o /dev/null\ntrue");
    let id = slurm.submit(&job).await.unwrap();
    let mut lost = JobIdentity {
        id: None,
        ..identity(&job, id)
    };
    assert_eq!(
        slurm.find(&lost, before).await.unwrap().map(|found| found.id),
        Some(id)
    );
    ended(&slurm, &identity(&job, id)).await;
    assert_eq!(
        slurm.find(&lost, before).await.unwrap().map(|found| found.id),
        Some(id)
    );
    lost.user = user("bob");
    assert_eq!(settled(&slurm, &lost, before).await, None);
    lost = JobIdentity {
        token: cluster::token(),
        user: user("alice"),
        ..lost
    };
    assert_eq!(settled(&slurm, &lost, before).await, None);
}

/// While other tests end jobs, slurmctld has news for slurmdbd, and "no" would be too early.
async fn settled(slurm: &Slurm, job: &JobIdentity, since: Timestamp) -> Option<JobId> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match slurm.find(job, since).await {
            Ok(found) => return found.map(|found| found.id),
            Err(error @ SchedulerError::Unreachable { .. }) => assert!(Instant::now() < deadline, "{error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_requeued_job_stays_the_same_and_all_its_runs_count() {
    let slurm = slurm();
    let job = submission("#SBATCH --requeue -o /dev/null\n[ -n \"$SLURM_RESTART_COUNT\" ] || sleep 60");
    let id = slurm.submit(&job).await.unwrap();
    let mut same = identity(&job, id);
    let row = queued(&slurm, &same, |row| row.phase == Phase::Running).await;
    same.submitted_at = Some(row.submitted_at);
    // At least a second, so that both runs have a submit time of their own.
    let deadline = Instant::now() + Duration::from_secs(20);
    while Timestamp::now().duration_since(row.started_at.unwrap()) < SignedDuration::from_secs(3) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    administrator(&["scontrol", "requeue", &id.to_string()]);
    let row = queued(&slurm, &same, |row| row.phase == Phase::Queued).await;
    assert_ne!(
        Some(row.submitted_at),
        same.submitted_at,
        "a requeue changes the submit time"
    );
    // Slurm starts it again after two minutes unless told otherwise; at once, its credential is still a revoked one.
    administrator(&["scontrol", "update", &format!("JobId={id}"), "StartTime=now+3"]);
    let end = ended(&slurm, &same).await;
    assert_eq!((end.phase, end.tasks.total), (Phase::Succeeded, 1), "{end:?}");
    assert!(end.core_seconds.0 >= 2, "the first run counts: {end:?}");
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn only_the_very_job_is_cancelled_held_and_released() {
    let slurm = slurm();
    let mut job = submission("#SBATCH -o /dev/null\nsleep 60");
    job.hold = true;
    let id = slurm.submit(&job).await.unwrap();
    let this = identity(&job, id);
    let row = queued(&slurm, &this, |_| true).await;
    assert_eq!(
        row.waits_for.as_deref(),
        Some("is held by its author, until they release it")
    );
    let stranger = JobIdentity {
        token: cluster::token(),
        submitted_at: Timestamp::from_second(1).ok(),
        ..this.clone()
    };
    slurm.release(&stranger).await.unwrap();
    slurm.cancel(&stranger).await.unwrap();
    assert_eq!(queued(&slurm, &this, |_| true).await.phase, Phase::Queued);
    slurm.release(&this).await.unwrap();
    queued(&slurm, &this, |row| row.phase == Phase::Running).await;
    slurm.cancel(&this).await.unwrap();
    assert_eq!(ended(&slurm, &this).await.phase, Phase::Cancelled);
    slurm.cancel(&this).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_name_cannot_forge_a_row_of_the_queue_or_of_the_accounting() {
    let slurm = slurm();
    let victim = cluster::token();
    let forged = format!("x\n1|N/A|1|1|RUNNING|None|bob|a|p|n|meso:{victim}|y\u{1f}\n~z~");
    let job = submission(&format!(
        "#SBATCH -o /dev/null\n#SBATCH --job-name=\"{}\"\ntrue",
        forged.replace('\n', " ")
    ));
    let id = slurm.submit(&job).await.unwrap();
    administrator(&[
        "scontrol",
        "update",
        &format!("JobId={id}"),
        &format!("JobName={forged}"),
    ]);
    let this = identity(&job, id);
    let row = queued(&slurm, &this, |_| true).await;
    assert_eq!(row.name, forged);
    let queue = slurm.queue().await.unwrap();
    let of_victim = JobIdentity {
        token: victim,
        user: user("bob"),
        id: None,
        submitted_at: None,
    };
    assert_eq!(queue.get(&of_victim), None);
    assert_eq!(ended(&slurm, &this).await.phase, Phase::Succeeded);
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_refusal_is_final_and_in_slurms_words() {
    let slurm = slurm();
    let mut job = submission("true");
    job.account = AccountName::new("no-such-account").unwrap();
    assert_eq!(
        slurm.submit(&job).await,
        Err(SubmitError::Refused(
            "Invalid account or account/partition combination specified".to_owned()
        ))
    );
    let mut job = submission("true");
    job.user = user("root");
    assert!(matches!(
        slurm.submit(&job).await,
        Err(SubmitError::Invalid(InvalidSubmission::Account { .. }))
    ));
    job.user = user("nobody-of-this-name");
    assert!(slurm.submit(&job).await.unwrap_err().is_final());
    let mut job = submission("true");
    job.work_dir = Some("/root".to_owned());
    let error = slurm.submit(&job).await.unwrap_err();
    assert!(error.is_final() && error.to_string().contains("/root"), "{error}");
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_large_script_arrives_whole() {
    let slurm = slurm();
    let filler = "# 0123456789012345678901234567890123456789012345678901234567890123456789\n".repeat(4000);
    let mut job = submission(&format!("#SBATCH -o /dev/null\n{filler}exit 5"));
    job.arguments = vec!["x".to_owned()];
    assert!(job.script.len() > 250_000);
    let id = slurm.submit(&job).await.unwrap();
    assert_eq!(ended(&slurm, &identity(&job, id)).await.exit_code, Some(5));
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_slurm_that_is_away_is_waited_for_and_never_taken_for_a_no() {
    // Same cluster, ports where nobody listens: as if both daemons had just died.
    let folder = tempfile::tempdir().unwrap();
    let away: String = std::fs::read_to_string(slurm_conf())
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("SlurmctldPort=") && !line.starts_with("AccountingStoragePort="))
        .map(|line| format!("{line}\n"))
        .collect();
    let conf = folder.path().join("slurm.conf");
    std::fs::write(
        &conf,
        away + "SlurmctldPort=1\nAccountingStoragePort=2\nMessageTimeout=2\n",
    )
    .unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut config = config();
    config.slurm_conf = Some(conf);
    let slurm = Slurm::new(config).unwrap();
    let job = submission("true");
    let identity = identity(&job, JobId::Number(1));
    let now = Timestamp::now();
    let window = Window {
        from: now - SignedDuration::from_mins(1),
        until: now,
    };
    let (submitted, ping, queue, found, finished, runs, accounts) = tokio::join!(
        slurm.submit(&job),
        slurm.ping(),
        slurm.queue(),
        slurm.find(&identity, now),
        slurm.finished(std::slice::from_ref(&identity)),
        slurm.runs(window),
        slurm.accounts(),
    );
    assert!(
        matches!(submitted, Err(SubmitError::Unreachable(_))),
        "{submitted:?}"
    );
    let answers = [
        ping.map(drop),
        queue.map(drop),
        found.map(drop),
        finished.map(drop),
        runs.map(drop),
        accounts.map(drop),
    ];
    for answer in answers {
        assert!(
            matches!(answer, Err(SchedulerError::Unreachable { .. })),
            "{answer:?}"
        );
    }
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn slurm_tells_its_version_and_partitions() {
    let slurm = slurm();
    let health = slurm.ping().await.unwrap();
    assert!(health.version.starts_with("2"), "{health:?}");
    assert!(
        health.settle_seconds > 0 && health.controllers.iter().any(|(_, up)| *up),
        "{health:?}"
    );
    let partitions = slurm.partitions().await.unwrap();
    let standard = partitions
        .iter()
        .find(|partition| partition.name.as_str() == "standard")
        .unwrap();
    assert_eq!(
        (standard.nodes, standard.state.as_str(), standard.is_default),
        (4, "up", true)
    );
    let mut other = config();
    other.cluster = "another".parse().unwrap();
    assert!(matches!(
        Slurm::new(other).unwrap().ping().await,
        Err(SchedulerError::Misconfigured(_))
    ));
}

/// Not a test by itself: the process that is killed in the next one. It submits with an sbatch that never answers.
#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_submission_that_hangs() {
    let Some(folder) = std::env::var_os("MESO_BRIDGE_TEST_HANGING_SBATCH") else {
        return;
    };
    let mut config = config();
    config.path = format!("{}:{}", folder.to_string_lossy(), config.path);
    let answer = Slurm::new(config).unwrap().submit(&submission("true")).await;
    panic!("it should hang, and said {answer:?}");
}

#[test]
#[ignore = "needs the development stack: cargo dev test runs it"]
fn sbatch_dies_with_the_process_that_started_it_even_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let sbatch = folder.path().join("sbatch");
    // Writes down who it is once it has the script, in one step, and stays.
    let script = "#!/bin/bash\ncd \"${0%/*}\"; cat >script; echo $$ $(id -un) >pid.new; mv pid.new pid; exec sleep 600\n";
    std::fs::write(&sbatch, script).unwrap();
    std::fs::set_permissions(&sbatch, PermissionsExt::from_mode(0o755)).unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_submission_that_hangs", "--include-ignored"])
        .env("MESO_BRIDGE_TEST_HANGING_SBATCH", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let said = loop {
        if let Ok(said) = std::fs::read_to_string(folder.path().join("pid")) {
            break said;
        }
        assert!(Instant::now() < deadline, "sbatch was not started");
        std::thread::sleep(Duration::from_millis(20));
    };
    let (pid, who) = said.trim().split_once(' ').unwrap();
    assert_eq!(who, "alice");
    parent.kill().unwrap();
    parent.wait().unwrap();
    let alive =
        || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while alive() {
        assert!(Instant::now() < deadline, "sbatch outlived its parent");
        std::thread::sleep(Duration::from_millis(5));
    }
}

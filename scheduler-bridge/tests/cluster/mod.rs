//! The real Slurm of the development stack, as the tests use it: accounts of their own beside the operator's.

#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // Each test file uses its part; a test may end itself.

use mesocentre_scheduler_bridge::slurm::{Slurm, SlurmConfig};
use mesocentre_scheduler_bridge::{
    AccountName, BatchScheduler, ClusterName, JobAccounting, JobId, JobIdentity, QueuedJob, Submission,
    Token, UserName,
};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where the stack's slurm.conf is.
pub fn slurm_conf() -> PathBuf {
    PathBuf::from(std::env::var_os("SLURM_CONF").expect("SLURM_CONF: cargo dev env exports it"))
}

pub fn config() -> SlurmConfig {
    let mut config = SlurmConfig::new(ClusterName::new("meso").unwrap());
    config.slurm_conf = Some(slurm_conf());
    // The stack's own Slurm, which may be another than the machine's.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = std::env::split_paths(&path).find(|folder| folder.join("sbatch").exists());
    config.path = format!("{}:{}", folder.unwrap().display(), config.path);
    config
}

pub fn slurm() -> Slurm {
    Slurm::new(config()).unwrap()
}

pub fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// What sacctmgr says of what is so already: 22.05, and later ones of an account and of an association.
const ALREADY: [&str; 3] = [
    "Nothing new added",
    "Already existing account",
    "Request didn't affect anything",
];

/// Runs a command of Slurm's that the bridge does not: what an administrator would do.
pub fn administrator(command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .env("SLURM_CONF", slurm_conf())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() || ALREADY.iter().any(|words| text.contains(words)),
        "{command:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// A person's home, wherever the stack has put it (passwd(5), the sixth field).
pub fn home_of(person: &str) -> String {
    let line = administrator(&["getent", "passwd", person]);
    line.split(':').nth(5).unwrap().to_owned()
}

/// An account of the tests' own, without Mesocentre's mark, so that an operator leaves it alone; alice and bob may use
/// it.
pub fn account() -> AccountName {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        administrator(&[
            "sacctmgr",
            "-i",
            "add",
            "account",
            "bridge-tests",
            "cluster=meso",
            "description=tests",
        ]);
        administrator(&[
            "sacctmgr",
            "-i",
            "add",
            "user",
            "alice,bob",
            "account=bridge-tests",
            "cluster=meso",
        ]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !administrator(&[
            "scontrol",
            "-o",
            "show",
            "assoc_mgr",
            "flags=assoc",
            "accounts=bridge-tests",
        ])
        .contains("UserName=bob(")
        {
            assert!(
                Instant::now() < deadline,
                "slurmctld has not heard of the account"
            );
        }
    });
    AccountName::new("bridge-tests").unwrap()
}

/// A token that no other test has.
pub fn token() -> Token {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since_1970 = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Token::of_attempt(&format!("test-{}-{since_1970}-{count}", std::process::id()), 1).unwrap()
}

/// A submission as alice that asks for little.
pub fn submission(script: &str) -> Submission {
    let mut submission = Submission::new(
        token(),
        user("alice"),
        account(),
        "bridge",
        format!("#!/bin/bash\n{script}\n"),
    );
    submission.time_limit_seconds = Some(300);
    submission.memory_mib = Some(10);
    submission
}

pub fn identity(submission: &Submission, id: JobId) -> JobIdentity {
    JobIdentity {
        token: submission.token.clone(),
        user: submission.user.clone(),
        id: Some(id),
        submitted_at: None,
    }
}

/// Waits until a job in the queue is as it should be.
pub async fn queued(
    slurm: &Slurm,
    job: &JobIdentity,
    as_it_should: impl Fn(&QueuedJob) -> bool,
) -> QueuedJob {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let queue = slurm.queue().await.unwrap();
        match queue.get(job) {
            Some(found) if as_it_should(found) => return found.clone(),
            found => assert!(Instant::now() < deadline, "after a minute it is {found:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the accounting knows a job's end.
pub async fn ended(slurm: &Slurm, job: &JobIdentity) -> JobAccounting {
    let deadline = Instant::now() + Duration::from_secs(60);
    // slurmdbd hears of an array's tasks one by one, so the queue says first that all are over. Until then, the
    // accounting has no comment either: the queue knows the submit time.
    let row = queued(slurm, job, |row| row.phase.is_finished()).await;
    let submitted_at = row.submitted_at;
    let job = JobIdentity {
        submitted_at: Some(submitted_at),
        ..job.clone()
    };
    loop {
        let found = slurm.finished(std::slice::from_ref(&job)).await.unwrap();
        match found.first() {
            Some(found) if found.phase.is_finished() && found.tasks.total >= row.tasks.total => {
                return found.clone();
            }
            found => assert!(Instant::now() < deadline, "after a minute it is {found:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

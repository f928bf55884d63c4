//! Runs one of Slurm's commands, here or on a login node (`ssh/`), and gives back what it said. Nothing is read out of it
//! here.
//!
//! Here no shell takes part, and nothing of this process's environment is passed on: a command sees what is set here,
//! times in UTC as seconds since 1970, and no colours or languages. A command dies with this process (`setpriv
//! --pdeathsig KILL`, which holds for SIGKILL too), when its answer is no longer waited for, or when its time is up. The
//! kernel binds it to the thread that started it (prctl(2)): start it from a worker thread of the runtime, which lives
//! as long as the runtime, never from a thread for blocking work, which ends when idle.

use super::posix_account::PosixAccount;
use super::ssh::LoginNode;
use super::{SlurmConfig, Transport, USUAL_PATH};
use crate::SchedulerError;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// What a command said.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its answer.
    pub stdout: String,
    /// Its complaints.
    pub stderr: String,
}

impl Said {
    pub(super) fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Its complaint as one line for people, without the names of programs in front.
    pub(super) fn complaint(&self) -> String {
        let source = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let mut lines: Vec<&str> = Vec::new();
        for line in source.lines() {
            let line = without_program(line);
            if !line.is_empty() && !lines.contains(&line) {
                lines.push(line);
            }
        }
        match (lines.is_empty(), self.code, self.signal) {
            (false, ..) => lines.join("; "),
            (true, Some(code), _) => format!("it ended with exit code {code} and said nothing"),
            (true, None, Some(signal)) => format!("it was ended by signal {signal}"),
            (true, None, None) => "it said nothing".to_owned(),
        }
    }
}

/// `sbatch: error: Batch job submission failed: X` is `X`.
fn without_program(line: &str) -> &str {
    let mut line = line.trim();
    for program in [
        "sbatch", "squeue", "sacct", "sacctmgr", "scontrol", "scancel", "sdiag",
    ] {
        if let Some(rest) = line.strip_prefix(program).and_then(|rest| rest.strip_prefix(':')) {
            line = rest.trim_start();
        }
    }
    for word in [
        "error:",
        "fatal:",
        "Batch job submission failed:",
        "slurm_load_jobs error:",
        "slurm_load_assoc_mgr_info error:",
    ] {
        line = line.strip_prefix(word).unwrap_or(line).trim_start();
    }
    line
}

/// Whether a complaint says that Slurm is away, rather than that it says no. These are the texts of Slurm's own
/// `slurm_errno.c` and of the layers below (sockets, munge) since 20.11.
pub(super) fn tells_of_absence(complaint: &str) -> bool {
    const ABSENCE: [&str; 24] = [
        "Unable to contact slurm controller",
        "Unable to contact",
        "controller not responding",
        "controller is not responding",
        "backup controller in standby",
        "Socket timed out",
        "Zero Bytes were transmitted",
        "Connection refused",
        "Connection reset",
        "Connection timed out",
        "connect failure",
        "Communication connection failure",
        "Unexpected missing socket",
        "failed to open persistent connection",
        "Unable to connect to database",
        "Problem talking to the database",
        "temporarily unable to accept job",
        "Resource temporarily unavailable",
        "Message send failure",
        "Message receive failure",
        "Munge encode failed",
        "Munge decode failed",
        "Protocol authentication error",
        "Failed to access",
    ];
    ABSENCE.iter().any(|text| complaint.contains(text))
}

/// Text between two fields, and after the last one, that nobody can have written into a field: names and comments hold
/// what their authors like, line ends included.
pub(super) fn separator() -> String {
    // The standard library's own hash keys are random for each process and never shown.
    let number = RandomState::new().build_hasher().finish();
    format!("~{number:016x}~")
}

/// Cuts an answer made of rows of `fields` fields, each field followed by the separator, rows by a line end.
pub(super) fn rows<'a>(answer: &'a str, separator: &str, fields: usize) -> Vec<Vec<&'a str>> {
    let mut all: Vec<&str> = answer.split(separator).collect();
    // What follows the last separator is the last row's line end.
    all.pop();
    // The first field of each further row has the line end of the one before it.
    for first in all.iter_mut().step_by(fields).skip(1) {
        *first = first.strip_prefix('\n').unwrap_or(first);
    }
    all.chunks(fields).map(<[&str]>::to_vec).collect()
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    setpriv: PathBuf,
    env: PathBuf,
    directories: Vec<PathBuf>,
}

impl Programs {
    fn find(path: &str) -> Result<Self, SchedulerError> {
        let directories: Vec<PathBuf> = std::env::split_paths(path).collect();
        Ok(Self {
            setpriv: program(&directories, "setpriv")?,
            env: program(&directories, "env")?,
            directories,
        })
    }

    pub(super) fn path_of(&self, name: &str) -> Result<PathBuf, SchedulerError> {
        program(&self.directories, name)
    }

    /// A command that dies with this process. By its full path, so that the standard library can start it without
    /// copying this process's memory map.
    pub(super) fn dying_with_us(&self) -> Command {
        let mut command = Command::new(&self.setpriv);
        command
            .arg("--pdeathsig=KILL")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// The same as a person: what `env` is told follows.
    pub(super) fn as_person(&self, account: &PosixAccount) -> Command {
        let mut command = self.dying_with_us();
        command
            .arg(format!("--reuid={}", account.uid))
            .arg(format!("--regid={}", account.gid))
            .args(["--init-groups", "--"])
            .arg(&self.env)
            .arg("--ignore-environment");
        command
    }
}

fn program(directories: &[PathBuf], name: &str) -> Result<PathBuf, SchedulerError> {
    directories
        .iter()
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let searched: Vec<_> = directories
                .iter()
                .map(|directory| directory.display().to_string())
                .collect();
            SchedulerError::Misconfigured(format!(
                "the command {name} is in none of {}: install it beside the operator, or name its directory",
                searched.join(", ")
            ))
        })
}

/// Where Slurm's commands are run.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// On this machine.
    Here(Programs),
    /// On a login node.
    LoginNode(Arc<LoginNode>),
}

impl Place {
    /// Nothing is run or reached yet.
    pub(super) fn find(config: &SlurmConfig) -> Result<Self, SchedulerError> {
        Ok(match &config.transport {
            Transport::Local => Self::Here(Programs::find(&config.path)?),
            // What starts ssh is here, whatever the path is there.
            Transport::Ssh(ssh) => {
                Self::LoginNode(Arc::new(LoginNode::new(ssh.clone(), Programs::find(USUAL_PATH)?)))
            }
        })
    }
}

/// What a command sees, and nothing else.
pub(super) fn environment(config: &SlurmConfig) -> Vec<(&'static str, OsString)> {
    let mut all: Vec<(&str, OsString)> = vec![
        ("PATH", (&config.path).into()),
        ("HOME", "/".into()),
        ("LC_ALL", "C".into()),
        ("TZ", "UTC".into()),
        ("SLURM_TIME_FORMAT", "%s".into()),
        // Whole array expressions, not their first 64 bytes.
        ("SLURM_BITSTR_LEN", "0".into()),
    ];
    if let Some(slurm_conf) = &config.slurm_conf {
        all.push(("SLURM_CONF", slurm_conf.into()));
    }
    all
}

/// Runs a command of the scheduler's, as this process's own user or as the one that logs in.
pub(super) async fn run<S: AsRef<OsStr>>(
    place: &Place,
    config: &SlurmConfig,
    name: &'static str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<Said, SchedulerError> {
    let started = std::time::Instant::now();
    let said = match place {
        Place::LoginNode(login_node) => login_node.run(config, name, arguments).await?,
        Place::Here(programs) => {
            let mut command = programs.dying_with_us();
            command.arg("--").arg(programs.path_of(name)?).args(arguments);
            command.envs(environment(config));
            Said::of(&within(config.answer_within, name, command.output()).await?)
        }
    };
    tracing::debug!(
        command = name,
        code = said.code,
        milliseconds = started.elapsed().as_millis(),
        "asked Slurm"
    );
    Ok(said)
}

pub(super) async fn within(
    limit: Duration,
    name: &'static str,
    output: impl Future<Output = std::io::Result<std::process::Output>>,
) -> Result<std::process::Output, SchedulerError> {
    match tokio::time::timeout(limit, output).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(SchedulerError::Unreachable {
            who: name,
            why: format!("it could not be started: {error}"),
        }),
        Err(_) => Err(SchedulerError::Unreachable {
            who: name,
            why: format!("no answer within {} seconds", limit.as_secs()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_complaint_is_told_without_the_programs_name() {
        let said = |stderr: &str| Said {
            code: Some(1),
            signal: None,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        assert_eq!(
            said("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified\n")
                .complaint(),
            "Invalid account or account/partition combination specified"
        );
        assert_eq!(
            said("sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed: \
                  Requested node configuration is not available\n")
            .complaint(),
            "Memory specification can not be satisfied; Requested node configuration is not available"
        );
        assert_eq!(said("").complaint(), "it ended with exit code 1 and said nothing");
    }

    #[test]
    fn absence_is_told_from_refusal() {
        assert!(tells_of_absence(
            "Unable to contact slurm controller (connect failure)"
        ));
        assert!(tells_of_absence("Socket timed out on send/recv operation"));
        assert!(!tells_of_absence(
            "Invalid account or account/partition combination specified"
        ));
        assert!(!tells_of_absence(
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
        ));
    }

    proptest! {
        #[test]
        fn whatever_a_field_holds_it_stays_one_field(table in proptest::collection::vec(
            proptest::collection::vec("[a-z\n|,\u{1f}~]{0,8}", 3), 0..5)) {
            let separator = separator();
            let answer: String = table.iter().map(|row| {
                row.iter().map(|field| format!("{field}{separator}")).collect::<String>() + "\n"
            }).collect();
            prop_assert_eq!(rows(&answer, &separator, 3), table);
        }
    }
}

//! What is handed to the scheduler, and what may come of it. Plain data: nothing is run here.

use crate::{AccountName, JobId, PartitionName, ReservationName, Token, UserName};
use std::fmt;

/// A script and how to run it. A field that is set wins over the script's own `#SBATCH` lines; one that is not leaves
/// the choice to them, then to the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// This attempt: written down by the caller before [`submit`](crate::BatchScheduler::submit) is called.
    pub token: Token,
    /// The posix account that the job runs as.
    pub user: UserName,
    /// The account that pays.
    pub account: AccountName,
    /// The script; its first line names the interpreter.
    pub script: Vec<u8>,
    /// The job's name where the script names none.
    pub name: String,
    /// Where the job starts; the user's home when absent. A `#SBATCH --chdir` wins over it.
    pub work_dir: Option<String>,
    /// Environment variables of the job, added to HOME, USER, LOGNAME, SHELL and PATH. Nothing else is passed on.
    pub environment: Vec<(String, String)>,
    /// The same for values that nobody else may see: never an argument of a process, which all people of a machine can list.
    /// For Slurm; on Kubernetes such a variable is a reference of the container.
    pub secrets: Vec<(String, Secret)>,
    /// Arguments of the script.
    pub arguments: Vec<String>,
    /// `--partition`.
    pub partition: Option<PartitionName>,
    /// `--reservation`, where the script names none.
    pub reservation: Option<ReservationName>,
    /// `--nodes`.
    pub nodes: Option<u32>,
    /// `--ntasks`.
    pub tasks: Option<u32>,
    /// `--cpus-per-task`.
    pub cpus_per_task: Option<u32>,
    /// Memory a node in MiB, `--mem`.
    pub memory_mib: Option<u64>,
    /// GPUs a node, `--gres=gpu:N`.
    pub gpus: Option<u32>,
    /// Longest run time in seconds, `--time`. The scheduler counts in minutes: a started minute is a whole one.
    pub time_limit_seconds: Option<u64>,
    /// Indices as `--array` takes them, with the limit of tasks at a time: `1-20%10`.
    pub array: Option<String>,
    /// Jobs that must have come so far first.
    pub dependencies: Vec<Dependency>,
    /// Held until released, `--hold`.
    pub hold: bool,
    /// On Kubernetes, where it runs and in what; nothing for Slurm.
    pub container: Container,
}

/// Where a job runs on Kubernetes, and in what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The namespace.
    pub namespace: String,
    /// The image; the scheduler's own when absent.
    pub image: Option<String>,
    /// The PersistentVolumeClaim that is the job's home; an empty folder that goes with the pod when absent.
    pub home_claim: Option<String>,
    /// Variables whose values are in objects of the namespace.
    pub environment: Vec<(String, Reference)>,
}

/// Where a value is, in the job's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A key of a Secret.
    Secret {
        /// The Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// A key of a ConfigMap.
    ConfigMap {
        /// The ConfigMap.
        name: String,
        /// The key.
        key: String,
    },
}

/// Text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it from being shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for who hands it over.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Submission {
    /// A submission with everything left to the script's lines and the site.
    pub fn new(
        token: Token,
        user: UserName,
        account: AccountName,
        name: &str,
        script: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            token,
            user,
            account,
            script: script.into(),
            name: name.to_owned(),
            work_dir: None,
            environment: Vec::new(),
            secrets: Vec::new(),
            arguments: Vec::new(),
            partition: None,
            reservation: None,
            nodes: None,
            tasks: None,
            cpus_per_task: None,
            memory_mib: None,
            gpus: None,
            time_limit_seconds: None,
            array: None,
            dependencies: Vec::new(),
            hold: false,
            container: Container::default(),
        }
    }
}

/// A job that must have come so far before another starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dependency {
    /// How far.
    pub kind: DependencyKind,
    /// The other job.
    pub job: JobId,
}

/// How far another job must have come (`sbatch(1)`, `--dependency`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DependencyKind {
    /// It ended with exit code 0: `afterok`.
    Succeeded,
    /// It ended otherwise: `afternotok`.
    Failed,
    /// It ended, however: `afterany`.
    Finished,
    /// It has started or was cancelled: `after`.
    Started,
    /// Of two arrays, each task of one for the task of the same index of the other: `aftercorr`.
    SameTaskSucceeded,
}

/// A submission that would be refused or misunderstood, found before anything is run. Each is for the job's author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubmission {
    /// The script names no interpreter.
    #[error(
        "the script does not begin with its interpreter: write #!/bin/bash (or another) as its first line"
    )]
    NoInterpreter,
    /// sbatch takes the script as text.
    #[error("the script holds a NUL byte: a batch script is text")]
    NulInScript,
    /// sbatch refuses scripts with the line ends of DOS.
    #[error("the script has DOS line ends (\\r\\n): save it with Unix ones, for example with dos2unix")]
    DosLineEnds,
    /// A `#SBATCH` line that cannot be read.
    #[error("line {line} of the script: {why}")]
    HeaderLine {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it and what to write.
        why: String,
    },
    /// A value that cannot be passed on.
    #[error("{what} {value:?} {why}")]
    Value {
        /// Which field.
        what: &'static str,
        /// What was written.
        value: String,
        /// What is wrong with it and what to write.
        why: &'static str,
    },
    /// A field that asks for what cannot be had.
    #[error("{field}: {why}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it and what to write.
        why: String,
    },
    /// A secret value that a shell would act on before it reaches the job.
    #[error("the variable {name} cannot come from a Secret: {why}")]
    SecretVariable {
        /// Its name.
        name: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A variable that would steer the scheduler's own command.
    #[error(
        "the environment variable {name} is the scheduler's own: use a field of the job, or an #SBATCH line, or another name"
    )]
    SchedulersVariable {
        /// Its name.
        name: String,
    },
    /// The posix account may not run jobs, or is unknown.
    #[error("the posix account {user} cannot run jobs: {why}")]
    Account {
        /// Its name.
        user: UserName,
        /// Why.
        why: String,
    },
}

impl InvalidSubmission {
    /// A value that cannot be passed on; a long one is told by its beginning.
    pub(crate) fn value(what: &'static str, written: &str, why: &'static str) -> Self {
        Self::Value {
            what,
            value: written.chars().take(100).collect(),
            why,
        }
    }
}

// What no scheduler takes.
impl Submission {
    /// A script is text that names its interpreter.
    pub(crate) fn check_script(&self) -> Result<(), InvalidSubmission> {
        let script = &self.script;
        if !script.starts_with(b"#!") {
            return Err(InvalidSubmission::NoInterpreter);
        }
        if script.contains(&0) {
            return Err(InvalidSubmission::NulInScript);
        }
        if script.windows(2).any(|pair| pair == b"\r\n") {
            return Err(InvalidSubmission::DosLineEnds);
        }
        Ok(())
    }

    pub(crate) fn check_arguments(&self) -> Result<(), InvalidSubmission> {
        match self.arguments.iter().find(|argument| argument.contains('\0')) {
            Some(argument) => Err(InvalidSubmission::value(
                "the argument",
                argument,
                "holds a NUL byte: arguments are text",
            )),
            None => Ok(()),
        }
    }

    /// Variables have names that a shell can read, none of the scheduler's own, and are text.
    pub(crate) fn check_environment(&self) -> Result<(), InvalidSubmission> {
        let plain = self
            .environment
            .iter()
            .map(|(name, written)| (name, written.as_str()));
        let secret = self.secrets.iter().map(|(name, secret)| (name, secret.reveal()));
        let referred = self.container.environment.iter().map(|(name, _)| (name, ""));
        for (name, written) in plain.chain(secret).chain(referred) {
            let first_fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !first_fits || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(InvalidSubmission::value(
                    "the environment variable",
                    name,
                    "has a name that no shell can read: write letters, digits and underscores",
                ));
            }
            if name.starts_with("SLURM_") || name.starts_with("SBATCH_") {
                return Err(InvalidSubmission::SchedulersVariable { name: name.clone() });
            }
            if written.contains('\0') {
                return Err(InvalidSubmission::value(
                    "the environment variable",
                    name,
                    "holds a NUL byte: variables are text",
                ));
            }
        }
        Ok(())
    }
}

/// Why a submission gave no job id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Nothing was run: the submission itself must change. Final.
    #[error(transparent)]
    Invalid(#[from] InvalidSubmission),
    /// The scheduler said no, in its own words. There is no job. Final: the author mends it.
    #[error("the scheduler refused the job: {0}")]
    Refused(String),
    /// The scheduler was not asked at all, for a reason of the moment. There is no job: try again later.
    #[error("the job could not be handed over: {0}; it is tried again")]
    NotAsked(String),
    /// The scheduler did not take it, and says that it may later: it is away, or a limit is reached. There may be a job
    /// all the same: wait, then look it up by its token.
    #[error("the scheduler does not answer: {0}; the job waits and is looked up again")]
    Unreachable(String),
    /// The command was killed, timed out or answered in a way that says nothing. There may be a job: look it up by its
    /// token.
    #[error(
        "the submission's outcome is not known: {0}; the job is looked up by its token before anything else"
    )]
    Unknown(String),
}

impl SubmitError {
    /// True when there is no job and trying again would not help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Refused(_))
    }
}

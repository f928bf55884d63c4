//! Slurm's commands on a login node, by OpenSSH's own client over one connection.
//!
//! sshd gives a command to the shell of the account that logs in. That text is always one of two fixed ones with numbers
//! in it ([`begin_line`]); the command itself goes by standard input, with its length in front: it is run whole or not at
//! all, no process list shows it, its size has no limit, and any login shell will do. `sh` reads it, every word quoted
//! ([`quote`]).
//!
//! ```text
//!   here                                     login node, as the user of the Scheduler
//!   ssh ──one connection──► sshd ──► shell ──► sh: reads N bytes, says that it begins ──► env -i … squeue
//!
//!   a submission goes on:   … ──► setpriv or sudo: the job's author ──► timeout ──► sh: says that it takes the script
//!   only then it is sent: environment, options, script, each with its length ──► sbatch, when all of it has arrived
//! ```
//!
//! Where each person logs in by themselves, a submission goes over a connection of theirs (`line.rs`), and the step that
//! becomes them is left out.
//!
//! When the connection is cut, or this process dies, what was begun on the login node may go on: `timeout` there ends it,
//! and what is sent to one that has ended is never run. So a submission outlives us by `submit_within` at most.

mod address;
mod connection;
mod credential;
mod failure;
mod line;
mod quote;
mod take;

pub use address::{Address, HostKey, HostKeys, Identity, InvalidLogin};
pub use credential::{Credential, Signer, Signing};

use super::SlurmConfig;
use super::command::{Programs, Said, environment};
use super::output::READ;
use super::posix_account::PosixAccount;
use crate::{SchedulerError, UserName};
use failure::in_one_line;
use line::Line;
pub(super) use quote::quoted;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;

/// How much longer than the login node itself is waited for its answer.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// Said by the far side before a command is run: what comes earlier is the account's own, as from its `.bashrc`.
const BEGINS: &str = "mesocentre: begins\n";

/// How a login node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshConfig {
    /// Who logs in, and where.
    pub address: Address,
    /// The keys by which it is known.
    pub host_keys: HostKeys,
    /// What logs in.
    pub credential: Credential,
    /// What logs in as each person for what is done as them, so that the account above need not become anybody. It becomes
    /// them, as root or by sudo, when absent.
    pub persons: Option<Credential>,
}

/// A login node, with the connections to it.
#[derive(Debug)]
pub(super) struct LoginNode {
    programs: Programs,
    own: Arc<Line>,
    persons: Mutex<HashMap<UserName, Arc<Line>>>,
}

/// As whom something is done there, by whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Root becomes the person.
    Root,
    /// The account of the Scheduler, by sudo.
    Sudo,
    /// The person logs in themselves.
    Themselves,
}

/// How long a person's connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(300);
/// How many persons' connections there are at a time: each is a process here and there.
const PERSONS: usize = 64;

/// The one kind of line that a login shell is given. It holds nothing that any usual shell reads differently.
fn begin_line(length: usize) -> String {
    // In the C locale a length is in bytes.
    format!(
        "sh -c 'LC_ALL=C; export LC_ALL; c=$(head -c \"$1\"); [ \"${{#c}}\" -eq \"$1\" ] || exit 97; \
         echo \"mesocentre: begins\"; eval \"$c\"' sh {length}"
    )
}

impl LoginNode {
    /// Nothing is reached yet.
    pub(super) fn new(config: SshConfig, programs: Programs) -> Self {
        Self {
            programs,
            own: Arc::new(Line::new(config)),
            persons: Mutex::default(),
        }
    }

    /// The way on which something is done as a person, and how it comes to be done as them.
    fn line_of(&self, person: &UserName) -> Result<(Arc<Line>, By), SchedulerError> {
        let own = &self.own.config;
        let Some(credential) = &own.persons else {
            let by = if own.address.is_root() { By::Root } else { By::Sudo };
            return Ok((Arc::clone(&self.own), by));
        };
        let mut persons = self.persons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = persons.get(person) {
            return Ok((Arc::clone(line), By::Themselves));
        }
        let address = Address::new(person.as_str(), own.address.host(), own.address.port())
            .map_err(|error| SchedulerError::IdentityRefused(error.to_string()))?;
        if persons.len() >= PERSONS {
            let longest_idle = persons.iter().max_by_key(|(_, line)| line.idle_for());
            let goes = longest_idle.map(|(person, _)| person.clone());
            goes.and_then(|person| persons.remove(&person));
        }
        let line = Arc::new(Line::new(SshConfig {
            address,
            credential: credential.clone(),
            persons: None,
            host_keys: own.host_keys.clone(),
        }));
        persons.insert(person.clone(), Arc::clone(&line));
        Ok((line, By::Themselves))
    }

    /// Ends the connections of persons that nobody has used for a while.
    fn end_idle(&self) {
        let mut persons = self.persons.lock().unwrap_or_else(PoisonError::into_inner);
        persons.retain(|_, line| line.idle_for() < IDLE);
    }

    /// Runs a command as the user who logs in.
    pub(super) async fn run<S: AsRef<OsStr>>(
        &self,
        config: &SlurmConfig,
        name: &'static str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Said, SchedulerError> {
        // Slurm is asked all the while, so this comes by often enough.
        self.end_idle();
        let mut words: Vec<OsString> = ["exec", "env", "-i"].map(OsString::from).to_vec();
        words.extend(environment(config).into_iter().map(|(name, value)| {
            let mut set = OsString::from(name);
            set.push("=");
            set.push(value);
            set
        }));
        words.extend(deadline(config.answer_within));
        words.push(name.into());
        words.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        let output = self.output_of(&self.own, config, name, words).await?;
        let said = Said::of(&output);
        match said.code {
            Some(127) if said.stderr.contains("No such file") => Err(SchedulerError::Misconfigured(format!(
                "on {} the command {name} or timeout is in none of {}: install it there, or name its directory in path",
                self.own.config.address, config.path
            ))),
            _ => Ok(said),
        }
    }

    /// What a command of these words says, from its first byte.
    async fn output_of(
        &self,
        line: &Line,
        config: &SlurmConfig,
        name: &'static str,
        words: Vec<OsString>,
    ) -> Result<std::process::Output, SchedulerError> {
        let mut command = quoted(words).map_err(|error| SchedulerError::Refused {
            what: format!("run {name}"),
            why: error.to_string(),
        })?;
        // What follows the command on its way in is not the command's.
        command.extend_from_slice(b" </dev/null");

        let (connection, _permit) = line.session(&self.programs).await?;
        let mut child = connection
            .command(&begin_line(command.len()))
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| line.away(&format!("ssh could not be started: {error}")))?;
        let stdin = child.stdin.take();
        let parts: [&[u8]; 1] = [&command];
        let both = async {
            let (written, output) = tokio::join!(write(stdin, &parts), child.wait_with_output());
            written.and(output)
        };
        let mut output = match tokio::time::timeout(config.answer_within + ON_THE_WAY, both).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(line.away(&format!("ssh could not be followed: {error}"))),
            Err(_) => {
                return Err(line.away(&format!(
                    "{name} gave no answer within {} seconds",
                    config.answer_within.as_secs()
                )));
            }
        };
        match after(&output.stdout, BEGINS).map(<[u8]>::to_vec) {
            Some(answer) => output.stdout = answer,
            None => return Err(not_begun(line, &Said::of(&output))),
        }
        match output.status.code() {
            // ssh's own code, also where a signal ended the command: an answer may be missing its end.
            Some(255) | None => Err(line.away(&format!(
                "{name} was cut off: {}",
                in_one_line(&String::from_utf8_lossy(&output.stderr))
            ))),
            Some(_) => Ok(output),
        }
    }

    /// Reads a piece of a file as a person there.
    pub(super) async fn read(
        &self,
        config: &SlurmConfig,
        account: &PosixAccount,
        reader: &UserName,
        arguments: [&str; 4],
    ) -> Result<std::process::Output, SchedulerError> {
        let (line, by) = self.line_of(reader)?;
        let mut words = take::as_person(by, config, account, reader.as_str());
        words.extend(deadline(config.answer_within));
        words.extend(
            ["sh", "-c", READ, "sh"]
                .into_iter()
                .chain(arguments)
                .map(OsString::from),
        );
        self.output_of(&line, config, "sh", words).await
    }
}

/// What it means that a command was not begun.
fn not_begun(line: &Line, said: &Said) -> SchedulerError {
    match said.code {
        Some(255) | None => line.away(&in_one_line(&said.stderr)),
        Some(code) => SchedulerError::Misconfigured(format!(
            "{} lets us in but runs no command as it is sent (exit code {code}: {}): give the account an ordinary login \
             shell, and its key no forced command",
            line.config.address,
            said.complaint()
        )),
    }
}

/// Ends a command on the login node, whatever becomes of us (`timeout(1)`).
fn deadline(within: Duration) -> [OsString; 3] {
    [
        "timeout".into(),
        "--signal=KILL".into(),
        within.as_secs().max(1).to_string().into(),
    ]
}

/// Writes it all, and ends the stream. One who ended before they read everything says why themselves.
async fn write(stdin: Option<ChildStdin>, parts: &[&[u8]]) -> std::io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    for part in parts {
        match stdin.write_all(part).await {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    match stdin.shutdown().await {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// What comes after a mark.
fn after<'a>(bytes: &'a [u8], mark: &str) -> Option<&'a [u8]> {
    let at = bytes
        .windows(mark.len())
        .position(|some| some == mark.as_bytes())?;
    bytes.get(at + mark.len()..)
}

//! The running stack as a test sees it: who asks, what is run, what is stopped.
//!
//! A test begins with [`Stack::current`], and other tests run beside it; one that stops a part begins with
//! [`Stack::alone`], and none does.

mod part;
mod replica;

pub use part::Part;
pub use replica::Operator;

use crate::state::{Record, random_hex, write_secret};
use crate::vault::Vault;
use crate::{certificates, environment, kubeconfig, operator, paths, process, slurm, state};
use anyhow::{Context, Result, bail};
use kube::Client;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// The running stack.
pub struct Stack {
    admin: Client,
    /// Held as long as the test lasts.
    _turn: File,
}

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Answer {
    /// Whether it ended well.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl Stack {
    /// The stack of this machine, shared with other tests.
    ///
    /// # Errors
    /// When none stands: `cargo dev up` brings it up.
    pub async fn current() -> Result<Self> {
        Self::take(|turn| turn.lock_shared()).await
    }

    /// The stack of this machine, once no other test uses it and until this one ends: for what is stopped or killed.
    ///
    /// # Errors
    /// When none stands: `cargo dev up` brings it up.
    pub async fn alone() -> Result<Self> {
        Self::take(|turn| turn.lock()).await
    }

    async fn take(lock: impl FnOnce(&File) -> std::io::Result<()> + Send + 'static) -> Result<Self> {
        let record = state::of_the_stack()?;
        if record.existing.is_none() && record.running("kube-apiserver").is_none() {
            bail!("the stack stands no more, its API server ended: run `cargo dev up`");
        }
        let turn = File::create(paths::state().join("tests.lock")).context("waiting for the stack")?;
        // On a thread of its own: a test may have a single one.
        let turn = tokio::task::spawn_blocking(move || lock(&turn).map(|()| turn))
            .await?
            .context("waiting for the stack")?;
        Ok(Self {
            admin: kubeconfig::client(&kubeconfig::admin(&record)).await?,
            _turn: turn,
        })
    }

    /// A client that speaks as the administrator.
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// A client that speaks as a user, by a certificate.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub async fn user(&self, name: &str, groups: &[&str]) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig_for(name, groups).await?).await
    }

    /// A kubeconfig file of a user; gone with the stack.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub async fn kubeconfig_for(&self, name: &str, groups: &[&str]) -> Result<PathBuf> {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let text = kubeconfig::for_user(&self.record()?, name, &groups, None).await?;
        let folder = paths::state().join("users");
        state::folder(&folder)?;
        let file = folder.join(format!("{}.kubeconfig", random_hex(8)?));
        write_secret(&file, text.as_bytes())?;
        Ok(file)
    }

    /// The administrator's kubeconfig.
    ///
    /// # Errors
    /// When the stack is gone.
    pub fn admin_kubeconfig(&self) -> Result<PathBuf> {
        Ok(kubeconfig::admin(&self.record()?))
    }

    /// Slurm's configuration file.
    pub fn slurm_conf(&self) -> PathBuf {
        slurm::conf()
    }

    /// Where the invoices are that the operator delivers, as files.
    ///
    /// # Errors
    /// When the stack is gone.
    pub fn invoice_folder(&self) -> Result<PathBuf> {
        operator::invoice_folder()
    }

    /// The home of a posix account that the stack made.
    pub fn home_of(&self, account: &str) -> PathBuf {
        slurm::home(account)
    }

    /// Where a part of the stack listens on 127.0.0.1.
    ///
    /// # Errors
    /// When it has no port.
    pub fn port(&self, part: &str) -> Result<u16> {
        self.record()?.port(part)
    }

    /// Runs SQL in slurmdbd's own database, behind its back: for what only a clock set back or a defect makes.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn in_the_accounting(&self, statements: &str) -> Result<()> {
        slurm::in_the_accounting(statements).await
    }

    /// The ledger's URL; one in PostgreSQL has the password in it.
    ///
    /// # Errors
    /// When the stack is gone.
    pub fn ledger_url(&self) -> Result<String> {
        operator::ledger_url()
    }

    /// A tenant's records, as `meso ledger export` writes them.
    ///
    /// # Errors
    /// When it fails, in its words.
    pub async fn ledger_records(&self, tenant: &str) -> Result<Vec<serde_json::Value>> {
        let url = self.ledger_url()?;
        let export = ["meso", "ledger", "export", "--form", "jsonl"];
        let of = ["--tenant", tenant, "--ledger", url.as_str()];
        let answer = self.run(&[&export[..], &of[..]].concat()).await?;
        if !answer.is_success() {
            bail!("{}", answer.stderr);
        }
        answer
            .stdout
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// Where the operator takes use that others measure, and the file of its certificate's authority.
    ///
    /// # Errors
    /// When it takes none.
    pub fn intake(&self) -> Result<(String, PathBuf)> {
        let port = self.record()?.port(&format!("{}-intake", operator::NAME))?;
        let authority = certificates::folder().join("ca.crt");
        Ok((format!("https://localhost:{port}"), authority))
    }

    /// The operator's signing key.
    pub fn signing_key(&self) -> PathBuf {
        operator::signing_key()
    }

    /// Vault.
    ///
    /// # Errors
    /// When the stack is gone.
    pub fn vault(&self) -> Result<Vault> {
        Vault::of_the_stack()
    }

    /// The operator.
    pub fn operator(&self) -> Operator {
        Operator::named(operator::NAME.into())
    }

    /// Another replica of the operator, which stands by until the first is gone. It runs once it is started; the test
    /// that starts it ends it.
    pub fn replica(&self, name: &str) -> Operator {
        Operator::named(format!("{}-{name}", operator::NAME))
    }

    /// Runs a command with the stack's environment, as the administrator.
    ///
    /// # Errors
    /// When it cannot be started; that it failed is in the answer.
    pub async fn run(&self, command: &[&str]) -> Result<Answer> {
        self.run_with(command, &[]).await
    }

    /// Runs kubectl or meso as the user of a kubeconfig.
    ///
    /// # Errors
    /// When it cannot be started; that it failed is in the answer.
    pub async fn run_as(&self, kubeconfig: &Path, command: &[&str]) -> Result<Answer> {
        self.run_with(command, &[("KUBECONFIG", &kubeconfig.to_string_lossy())])
            .await
    }

    async fn run_with(&self, command: &[&str], more: &[(&str, &str)]) -> Result<Answer> {
        let (program, arguments) = command.split_first().context("a command without a name")?;
        let output = Command::new(program)
            .args(arguments)
            .envs(environment::of(&self.record()?)?)
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("starting {program}"))?;
        Ok(Answer {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The last lines that a process of the stack wrote, for a message.
    pub fn log_of(&self, process: &str, lines: usize) -> String {
        process::tail(&paths::log(process), lines)
    }

    fn record(&self) -> Result<Record> {
        state::of_the_stack()
    }
}

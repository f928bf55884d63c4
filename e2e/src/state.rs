//! What is known of the running stack, in one file that survives the command that wrote it.
//!
//! Several commands and tests may read and change it at once, so it is never held in memory: each change reads the
//! file, changes it and puts it back whole, under a lock.

use crate::paths;
use crate::process::{Started, run};
use crate::slurm::Release;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// What is remembered of the stack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// Ports by name; the same from the first start to `down`.
    pub ports: BTreeMap<String, u16>,
    /// Processes by name, in the order of their start.
    pub processes: Vec<(String, Started)>,
    /// Posix accounts that we made, and take away again.
    pub people: Vec<String>,
    /// Kubeconfig of somebody's own cluster, when the control plane is not ours.
    pub existing: Option<PathBuf>,
    /// Vault's root token.
    pub vault_token: String,
    /// Digest of the chart that was installed last.
    pub chart: String,
    /// Whether the operator runs as a release build.
    pub release: bool,
    /// Which Slurm runs.
    #[serde(default)]
    pub slurm: Release,
    /// Where the ledger is.
    #[serde(default)]
    pub ledger: LedgerPlace,
    /// Where invoices are delivered.
    #[serde(default)]
    pub invoices: InvoicePlace,
}

/// Where the operator keeps its ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum LedgerPlace {
    /// In an SQLite file
    #[default]
    File,
    /// In the stack's PostgreSQL
    Postgres,
}

/// Where the operator delivers invoices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum InvoicePlace {
    /// In a folder
    #[default]
    Folder,
    /// In a bucket of a store of S3
    Bucket,
}

impl Record {
    /// The process of this name, when it runs.
    pub fn running(&self, name: &str) -> Option<Started> {
        self.processes
            .iter()
            .find(|(n, process)| n == name && process.is_alive())
            .map(|(_, process)| *process)
    }

    /// A port that was given out before.
    pub fn port(&self, name: &str) -> Result<u16> {
        self.ports
            .get(name)
            .copied()
            .with_context(|| format!("{name} has no port yet: run `cargo dev up`"))
    }
}

fn file() -> PathBuf {
    paths::state().join("state.json")
}

/// Reads it; nothing when no stack was made.
pub fn read() -> Result<Option<Record>> {
    let file = file();
    match fs::read(&file) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{} is not what this version wrote: run `cargo dev down`",
                file.display()
            )
        })?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// Reads it; without a stack, says how to get one.
pub fn of_the_stack() -> Result<Record> {
    read()?.context("no stack stands on this machine: run `cargo dev up`")
}

/// Changes it, alone, and writes it whole or not at all.
pub fn edit<T>(change: impl FnOnce(&mut Record) -> Result<T>) -> Result<T> {
    let lock = paths::state().join("state.lock");
    let lock = File::create(&lock)
        .with_context(|| format!("opening {}: is the stack up? `cargo dev up`", lock.display()))?;
    lock.lock().context("waiting for the state of the stack")?;
    let mut record = read()?.unwrap_or_default();
    let answer = change(&mut record)?;
    let fresh = file().with_extension("new");
    write_secret(&fresh, &serde_json::to_vec_pretty(&record)?)?;
    fs::rename(&fresh, file()).with_context(|| format!("writing {}", file().display()))?;
    Ok(answer)
}

/// A port of 127.0.0.1 that was free when it was first asked for; the same ever after.
///
/// It lies below the range from which outgoing connections take theirs (32768 and more on Linux), so that nobody takes
/// it while its process is away.
pub fn port(name: &str) -> Result<u16> {
    edit(|record| {
        if let Some(port) = record.ports.get(name) {
            return Ok(*port);
        }
        let first = 20000 + u16::from_be_bytes([random(2)?[0], random(2)?[0]]) % 12000;
        let port = (first..32700)
            .chain(20000..first)
            .find(|port| {
                !record.ports.values().any(|taken| taken == port)
                    && std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()
            })
            .context("no port of 127.0.0.1 between 20000 and 32700 is free")?;
        record.ports.insert(name.into(), port);
        Ok(port)
    })
}

/// Held by the one command that brings the whole stack up or down.
pub struct Alone {
    _folder: File,
}

/// Waits until no other command brings the stack up or down; makes the folder of the stack when it is missing.
pub fn alone() -> Result<Alone> {
    let path = paths::state();
    loop {
        folder(&path)?;
        let folder = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                eprintln!("another `cargo dev` brings the stack up or down: waiting for it");
                folder.lock().context("waiting for the other `cargo dev`")?;
            }
            Err(fs::TryLockError::Error(error)) => return Err(error).context("locking the stack"),
        }
        // `down` removes the folder: a lock on one that is gone keeps nobody out.
        let held = folder.metadata()?;
        if fs::metadata(&path).is_ok_and(|now| now.ino() == held.ino()) {
            return Ok(Alone { _folder: folder });
        }
    }
}

/// Makes a folder that others may pass through.
pub fn folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("opening {} to its readers", path.display()))
}

/// Makes a user of the machine the owner of a folder and what is in it.
pub async fn give_to(user: &str, path: &Path) -> Result<()> {
    run(Command::new("chown").arg("-R").arg(format!("{user}:")).arg(path))
        .await
        .map(drop)
}

/// Says so when daemons and people of other users cannot reach the stack's folder.
pub fn reachable() -> Result<()> {
    for folder in paths::state().ancestors().skip(1) {
        if let Ok(found) = fs::metadata(folder)
            && found.mode() & 0o001 == 0
        {
            bail!(
                "other users cannot pass through {}, and Slurm's jobs, munge and MariaDB run as other users: set \
                 MESO_STATE to a folder that all can reach",
                folder.display()
            );
        }
    }
    Ok(())
}

/// Writes a file that only its owner reads, whole or not at all.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_added_extension(format!("{}", std::process::id()));
    let writing = || format!("writing {}", path.display());
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(writing)?;
    file.write_all(bytes).with_context(writing)?;
    fs::rename(&fresh, path).with_context(writing)
}

/// Random bytes.
pub fn random(count: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0u8; count];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(bytes)
}

/// Random bytes for a secret or a name, as hexadecimal digits.
pub fn random_hex(bytes: usize) -> Result<String> {
    Ok(random(bytes)?.iter().map(|b| format!("{b:02x}")).collect())
}

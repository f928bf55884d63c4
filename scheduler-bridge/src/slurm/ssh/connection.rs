//! One connection to a login node, which all commands share: OpenSSH's own client in master mode (`ssh(1)`, `-M`).
//!
//! The master stays our child in the foreground instead of going on by itself (`ControlPersist`), so that it dies with
//! us, and with it the way by which anything of ours could still reach the login node. The private key is in memory that
//! the master reads while it logs in, never in a file. All that ssh would take from elsewhere is switched off: its
//! configuration, other keys, agents, other known hosts, passwords, forwarding.

use super::SshConfig;
use super::failure::{LOGIN_NODE, no_connection};
use crate::SchedulerError;
use crate::slurm::command::Programs;
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};

/// How long the login node may take to be reached and to let us in.
const CONNECTED_WITHIN: Duration = Duration::from_secs(20);
/// What the host is called in our file of known hosts, whatever its name and port.
const ALIAS: &str = "mesocentre";
/// A socket's path has at most 108 bytes (unix(7)), of which ssh takes 17 for a while.
const LONGEST_SOCKET: usize = 90;

/// A connection that was made. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    ssh: PathBuf,
    programs: Programs,
    target: [String; 2],
    master: Mutex<Child>,
    /// Holds the socket; ours alone. Goes after the master.
    folder: TempDir,
}

impl Connection {
    /// Reaches the login node, makes sure that it is the pinned one, and logs in.
    pub(super) async fn open(programs: &Programs, config: &SshConfig) -> Result<Self, SchedulerError> {
        let ssh = programs.path_of("ssh")?;
        let folder = private_folder().map_err(|error| {
            here(format!(
                "no folder for the connection to {} could be made in {}: {error}",
                config.address,
                std::env::temp_dir().display()
            ))
        })?;
        let socket = socket_in(folder.path());
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(here(format!(
                "{} is too long a folder for ssh's socket: name a shorter one by TMPDIR",
                folder.path().display()
            )));
        }
        let known_hosts = folder.path().join("known_hosts");
        std::fs::write(&known_hosts, config.host_keys.known_hosts(ALIAS))
            .map_err(|error| here(format!("{} could not be written: {error}", known_hosts.display())))?;
        let login = config.credential.login(&config.address).await?;
        let in_memory = |name, bytes| {
            in_memory(name, bytes).map_err(|error| {
                here(format!(
                    "the {name} for {} could not be held in memory: {error}",
                    config.address
                ))
            })
        };
        let identity = in_memory("private key", login.identity.bytes())?;
        let certificate = match &login.certificate {
            Some(certificate) => Some(in_memory("certificate", certificate.bytes())?),
            None => None,
        };
        let target = [
            format!("-l{}", config.address.user()),
            config.address.host().to_owned(),
        ];

        let mut command = programs.dying_with_us();
        command
            .arg("--")
            .arg(&ssh)
            .args(["-F", "none", "-M", "-N", "-T", "-a", "-x", "-S"])
            .arg(&socket);
        for option in [
            "BatchMode=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
            format!("Port={}", config.address.port()),
            format!("ConnectTimeout={}", CONNECTED_WITHIN.as_secs() / 2),
            // A connection that is cut is noticed within 15 seconds.
            "ServerAliveInterval=5".to_owned(),
            "ServerAliveCountMax=3".to_owned(),
            "ControlPersist=no".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("UserKnownHostsFile={}", known_hosts.display()),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            format!("HostKeyAlias={ALIAS}"),
            "UpdateHostKeys=no".to_owned(),
            "VerifyHostKeyDNS=no".to_owned(),
            "PreferredAuthentications=publickey".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            format!("IdentityFile={}", as_we_have_it_open(&identity)),
            "ForwardAgent=no".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
            "PermitLocalCommand=no".to_owned(),
            "EscapeChar=none".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        if let Some(certificate) = &certificate {
            command
                .arg("-o")
                .arg(format!("CertificateFile={}", as_we_have_it_open(certificate)));
        }
        command.args(&target).stdout(Stdio::null());
        let mut master = command
            .spawn()
            .map_err(|error| here(format!("{} could not be started: {error}", ssh.display())))?;
        let complaints = master.stderr.take();
        let connected = tokio::time::timeout(CONNECTED_WITHIN, until_connected(&mut master, &socket)).await;
        match connected {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                let stderr = said(complaints).await;
                return Err(no_connection(&stderr, config));
            }
            Ok(Err(error)) => {
                return Err(here(format!("{} could not be followed: {error}", ssh.display())));
            }
            Err(_) => {
                return Err(SchedulerError::Unreachable {
                    who: LOGIN_NODE,
                    why: format!(
                        "{}: it let nobody in within {} seconds",
                        config.address,
                        CONNECTED_WITHIN.as_secs()
                    ),
                });
            }
        }
        // What the master says later nobody waits for, but it must not be stopped by a full pipe.
        tokio::spawn(said(complaints));
        tracing::info!(address = %config.address, "connected to the login node");
        Ok(Self {
            ssh,
            programs: programs.clone(),
            target,
            master: Mutex::new(master),
            folder,
        })
    }

    /// Whether the master is there still.
    pub(super) fn stands(&self) -> bool {
        let mut master = self.master.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(master.try_wait(), Ok(None))
    }

    /// A command that runs this line on the login node, over this connection or not at all.
    pub(super) fn command(&self, line: &str) -> Command {
        let mut command = self.programs.dying_with_us();
        command
            .arg("--")
            .arg(&self.ssh)
            .args(["-F", "none", "-T", "-a", "-x", "-S"])
            .arg(socket_in(self.folder.path()));
        for option in [
            "BatchMode=yes",
            "LogLevel=ERROR",
            "ControlMaster=no",
            // Where the master does not answer, ssh would connect by itself: then by a program that ends at once.
            "ProxyCommand=false",
            "IdentitiesOnly=yes",
            "IdentityFile=none",
            "IdentityAgent=none",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "ForwardAgent=no",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "EscapeChar=none",
        ] {
            command.arg("-o").arg(option);
        }
        command.args(&self.target).arg(line);
        command
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("s")
}

fn here(why: String) -> SchedulerError {
    SchedulerError::Misconfigured(why)
}

/// A folder that nobody else may look into.
fn private_folder() -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("meso-ssh-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
}

/// Where ssh, which reads a file anew and more than once, finds one that this process has open.
fn as_we_have_it_open(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

/// A file that is nowhere but in memory. ssh takes no key that others may read.
fn in_memory(name: &str, bytes: &[u8]) -> std::io::Result<File> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC)?;
    fchmod(&memory, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    Ok(file)
}

/// Waits until the master takes commands; false when it has ended instead.
async fn until_connected(master: &mut Child, socket: &Path) -> std::io::Result<bool> {
    loop {
        if master.try_wait()?.is_some() {
            return Ok(false);
        }
        // It is there once the login has succeeded.
        if tokio::fs::try_exists(socket).await? {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All that the master says until it ends.
async fn said(complaints: Option<ChildStderr>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut complaints) = complaints
        && let Err(error) = complaints.read_to_end(&mut bytes).await
    {
        tracing::debug!(%error, "what ssh says cannot be read");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

//! Debian's packages that the stack needs: installed when they are missing, their own daemons never started.

use crate::process::run;
use crate::progress::step;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Each with a command that it brings.
const STACK: [(&str, &str); 9] = [
    ("slurm-wlm", "slurmctld"),
    ("slurm-wlm", "slurmd"),
    ("slurm-client", "sbatch"),
    ("slurmdbd", "slurmdbd"),
    ("munge", "munged"),
    ("mariadb-server", "mariadbd"),
    ("openssl", "openssl"),
    ("openssh-server", "sshd"),
    ("openssh-client", "ssh"),
];

/// The same for a node with real pods. Their daemons are started by hand, in namespaces of their own.
const PODS: [(&str, &str); 10] = [
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("containernetworking-plugins", "/usr/lib/cni/loopback"),
    ("busybox-static", "busybox"),
    ("socat", "socat"),
    ("iproute2", "ip"),
    ("iptables", "iptables"),
    ("bpftool", "bpftool"),
    ("clang-19", "clang-19"),
    ("llvm-19", "/usr/lib/llvm-19/bin/llc"),
];

/// The same for ledgers in PostgreSQL.
const POSTGRES: [(&str, &str); 1] = [("postgresql", "/usr/share/doc/postgresql")];

/// The same for another release of Debian in a root of its own.
const ANOTHER_DEBIAN: [(&str, &str); 3] = [
    ("debootstrap", "debootstrap"),
    (
        "debian-archive-keyring",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    ),
    ("patchelf", "patchelf"),
];

/// The same for the public tools that check invoices and FOCUS rows.
const PUBLIC_TOOLS: [(&str, &str); 3] = [
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("maven", "mvn"),
    ("default-jdk-headless", "javac"),
];

/// Asked by Debian's maintainer scripts whether they may start a daemon (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what the stack misses.
pub async fn install() -> Result<()> {
    install_those(&STACK).await
}

/// Installs what a node with real pods misses.
pub async fn install_for_pods() -> Result<()> {
    install_those(&PODS).await
}

/// Installs what a ledger in PostgreSQL misses.
pub async fn install_for_postgres() -> Result<()> {
    install_those(&POSTGRES).await
}

/// Installs what it takes to unpack another release of Debian.
pub async fn install_for_another_debian() -> Result<()> {
    install_those(&ANOTHER_DEBIAN).await
}

/// Installs what the public tools that check invoices and FOCUS rows miss.
pub async fn install_for_public_tools() -> Result<()> {
    install_those(&PUBLIC_TOOLS).await
}

async fn install_those(packages: &[(&'static str, &'static str)]) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |command: &str| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .any(|folder| folder.join(command).exists())
    };
    let mut missing: Vec<&str> = packages
        .iter()
        .filter(|(_, command)| !has(command))
        .map(|(package, _)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let doing = step(format!("installing {} from Debian", missing.join(", ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        command
    };
    run(&mut apt(&["update", "-qq"])).await?;
    let quiet = NoDaemons::of_packages()?;
    let mut install = apt(&["install", "-y", "-qq", "--no-install-recommends"]);
    run(install.args(&missing)).await?;
    drop(quiet);
    doing.done();
    Ok(())
}

/// While it lives, a package that is installed starts no daemon.
struct NoDaemons(bool);

impl NoDaemons {
    fn of_packages() -> Result<Self> {
        // An administrator's own policy stands.
        if Path::new(POLICY).exists() {
            return Ok(Self(false));
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("writing {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self(true))
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.0 {
            let _ = fs::remove_file(POLICY);
        }
    }
}

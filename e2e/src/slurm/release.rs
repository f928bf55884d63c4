//! Which Slurm the stack runs: that of the machine's own Debian, or that of a later one, so that what is read of its
//! commands is proven at both ends and in the middle.
//!
//! A later one is not installed: its Debian is unpacked into a root of its own in the cache (debootstrap(8)). What is
//! needed of it is put into the stack's folder, where all people can read it, and its programs are told where their
//! libraries are (patchelf(1)). They run on this machine as all others do, with its people, files and processes; nothing
//! is run in that root.

use super::base;
use crate::packages;
use crate::paths;
use crate::process::run;
use crate::progress::step;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use tokio::process::Command;

/// A release of Debian, by whose Slurm the stack's is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Release {
    /// The machine's own, Debian 12: Slurm 22.05
    #[default]
    Bookworm,
    /// Debian 13: Slurm 24.11
    Trixie,
    /// The one under way in 2026: Slurm 26.05
    Forky,
}

/// What people and the operator run.
const COMMANDS: [&str; 12] = [
    "sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sdiag", "sinfo", "sprio", "squeue", "srun",
    "sshare", "sstat",
];

/// What is started, by its file's name in Debian's package.
const DAEMONS: [(&str, &str); 4] = [
    ("slurmctld", "slurmctld-wlm"),
    ("slurmd", "slurmd-wlm"),
    ("slurmstepd", "slurmstepd-wlm"),
    ("slurmdbd", "slurmdbd"),
];

impl Release {
    /// Whether it is another than the machine's own.
    pub fn is_later(self) -> bool {
        self.later().is_some()
    }

    /// Where one of its programs is; its name alone where it is installed.
    pub(super) fn program(self, name: &str) -> PathBuf {
        match self.later() {
            None => name.into(),
            Some(debian) => debian.programs().join(name),
        }
    }

    /// Its commands, for the folder that people have in PATH; none where they are in everybody's.
    pub(super) fn commands(self) -> impl Iterator<Item = &'static str> {
        COMMANDS.into_iter().filter(move |_| self.is_later())
    }

    /// Where its plugins are, where Slurm does not find them itself.
    pub(super) fn plugins(self) -> Option<PathBuf> {
        self.later().map(|debian| debian.plugins())
    }

    /// The program that runs a job's steps, where slurmd does not find it itself.
    pub(super) fn stepd(self) -> Option<PathBuf> {
        self.later().map(|debian| debian.programs().join("slurmstepd"))
    }

    /// Makes what is missing of it.
    pub(super) async fn prepare(self) -> Result<()> {
        // The packages of the machine's own are the stack's.
        let Some(debian) = self.later() else {
            return Ok(());
        };
        packages::install_for_another_debian().await?;
        debian.unpack().await?;
        debian.put_here().await
    }

    fn later(self) -> Option<LaterDebian> {
        match self {
            Self::Bookworm => None,
            Self::Trixie => Some(LaterDebian("trixie")),
            Self::Forky => Some(LaterDebian("forky")),
        }
    }
}

/// Where a Debian of 64-bit PCs has its libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// A Debian that is not this machine's, by its name.
#[derive(Clone, Copy)]
struct LaterDebian(&'static str);

impl LaterDebian {
    /// All of it, in the cache.
    fn root(self) -> PathBuf {
        paths::cache()
            .join("parts")
            .join(format!("debian-{}-slurm", self.0))
    }

    /// What is used of it, in the stack's folder.
    fn here(self) -> PathBuf {
        base().join(format!("debian-{}", self.0))
    }

    fn programs(self) -> PathBuf {
        self.here().join("programs")
    }

    fn libraries(self) -> PathBuf {
        self.here().join("libraries")
    }

    fn plugins(self) -> PathBuf {
        self.libraries().join("slurm-wlm")
    }

    async fn unpack(self) -> Result<()> {
        let root = self.root();
        if root.exists() {
            return Ok(());
        }
        let doing = step(format!("Slurm of Debian {}, in a root of its own (once)", self.0));
        let fresh = root.with_extension(std::process::id().to_string());
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh).with_context(|| format!("making {}", fresh.display()))?;
        run(Command::new("debootstrap")
            .args(["--variant=minbase", "--include=slurm-wlm,slurmdbd", self.0])
            .arg(&fresh)
            .arg(self.mirror().await?)
            // The script for all that came since Debian 12; one of forky's name is in no debootstrap as old as this one.
            .arg("/usr/share/debootstrap/scripts/sid"))
        .await?;
        for waste in [
            "var/cache/apt",
            "var/lib/apt",
            "usr/share/doc",
            "usr/share/man",
            "usr/share/locale",
        ] {
            let _ = fs::remove_dir_all(fresh.join(waste));
        }
        fs::rename(&fresh, &root).with_context(|| format!("putting {} into the cache", root.display()))?;
        doing.done();
        Ok(())
    }

    /// Puts libraries and programs into the stack's folder, the programs with the paths of the libraries there.
    async fn put_here(self) -> Result<()> {
        let here = self.here();
        if here.exists() {
            return Ok(());
        }
        let fresh = here.with_extension("new");
        let _ = fs::remove_dir_all(&fresh);
        let put = fresh.join("programs");
        fs::create_dir_all(&put).with_context(|| format!("making {}", put.display()))?;
        run(Command::new("cp")
            .args(["--archive", "--reflink=auto"])
            .arg(self.root().join(LIBRARIES))
            .arg(fresh.join("libraries")))
        .await?;
        let folders = std::env::join_paths([self.libraries(), self.plugins()])?;
        let commands = COMMANDS.map(|name| (name, format!("usr/bin/{name}")));
        let daemons = DAEMONS.map(|(name, file)| (name, format!("usr/sbin/{file}")));
        for (name, file) in commands.into_iter().chain(daemons) {
            let program = put.join(name);
            fs::copy(self.root().join(&file), &program)
                .with_context(|| format!("copying {file} of Debian {}", self.0))?;
            run(Command::new("patchelf")
                .arg("--set-interpreter")
                .arg(self.libraries().join("ld-linux-x86-64.so.2"))
                // RPATH rather than RUNPATH: it holds for the libraries of libraries and of plugins as well (ld.so(8)).
                .args(["--force-rpath", "--set-rpath"])
                .arg(&folders)
                .arg(&program))
            .await?;
        }
        fs::rename(&fresh, &here).with_context(|| format!("making {}", here.display()))
    }

    /// The archive that this machine has its own packages from.
    async fn mirror(self) -> Result<String> {
        let targets = run(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE)",
            "Created-By: Packages",
            "Component: main",
        ]))
        .await?;
        let of_the_archive = targets.lines().find_map(|line| {
            let (uri, release) = line.split_once(' ')?;
            let is_the_archive = uri.trim_end_matches('/').ends_with("/debian") && !release.contains('-');
            is_the_archive.then(|| uri.to_owned())
        });
        match of_the_archive {
            Some(uri) => Ok(uri),
            None => bail!(
                "apt-get knows no archive of Debian's to take {} from: see sources.list(5)",
                self.0
            ),
        }
    }
}

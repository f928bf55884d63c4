//! Our own binaries, built by cargo, and the folder of commands that a user of the stack has in PATH.

use crate::progress::step;
use crate::{cargo, parts, paths, state};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Builds the operator and `meso`.
pub async fn build(release: bool) -> Result<()> {
    let doing = step("building mesocentre-operator and meso");
    let mut cargo = cargo::command();
    cargo.args(["build", "--quiet", "--color=always"]).args([
        "--package",
        "mesocentre-operator",
        "--package",
        "mesocentre-cli",
    ]);
    if release {
        cargo.arg("--release");
    }
    // Kept from the terminal while steps are drawn there; shown whole when it fails.
    let output = cargo
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("starting cargo")?;
    if !output.status.success() {
        bail!(
            "{}cargo could not build mesocentre-operator and mesocentre-cli: see above; `cargo dev up --no-operator` \
             starts the rest of the stack",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    doing.done();
    Ok(())
}

/// The operator's binary.
pub fn operator(release: bool) -> PathBuf {
    paths::target(release).join("mesocentre-operator")
}

/// Links the commands into one folder: kubectl, helm, vault, meso and kubectl-meso.
pub fn link(release: bool) -> Result<()> {
    state::folder(&paths::bin())?;
    for name in ["kubectl", "helm", "vault"] {
        link_one(name, &parts::program(name)?)?;
    }
    let meso = paths::target(release).join("meso");
    link_one("meso", &meso)?;
    link_one("kubectl-meso", &meso)
}

/// Links one command into it.
pub fn link_one(name: &str, target: &Path) -> Result<()> {
    let link = paths::bin().join(name);
    if fs::read_link(&link).is_ok_and(|now| now == target) {
        return Ok(());
    }
    let _ = fs::remove_file(&link);
    symlink(target, &link).with_context(|| format!("linking {}", link.display()))
}

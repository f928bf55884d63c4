//! Public tools that check what we write, installed into the cache once a version: for invoices the Python package factur-x
//! with Saxon, and Mustang's validator, which has veraPDF inside; for FOCUS rows the Python package focus-validator. Python
//! packages have environments of their own.

use crate::process::run;
use crate::progress::step;
use crate::{packages, paths};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use tokio::process::Command;

/// What pins the tools of a folder of `e2e/parts`.
struct Pinned {
    name: &'static str,
    by: &'static str,
}

const FACTUR_X: Pinned = Pinned {
    name: "factur-x",
    by: "requirements.txt",
};

const FOCUS_VALIDATOR: Pinned = Pinned {
    name: "focus-validator",
    by: "requirements.txt",
};

const MUSTANG: Pinned = Pinned {
    name: "mustang",
    by: "pom.xml",
};

impl Pinned {
    fn file(&self) -> PathBuf {
        paths::repository()
            .join("e2e/parts")
            .join(self.name)
            .join(self.by)
    }

    /// Where they are, or will be once they are installed.
    fn folder(&self) -> Result<PathBuf> {
        let file = self.file();
        let pinned = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let digest: String = Sha256::digest(pinned)[..5]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(paths::cache()
            .join("parts")
            .join(format!("{}-{digest}", self.name)))
    }

    /// Written last: an installation that was cut is begun again.
    fn whole(&self) -> Result<PathBuf> {
        Ok(self.folder()?.join("whole"))
    }
}

/// The Python that has factur-x and Saxon.
pub fn factur_x() -> Result<PathBuf> {
    python_of(&FACTUR_X)
}

/// The Python that has focus-validator.
pub fn focus_validator() -> Result<PathBuf> {
    python_of(&FOCUS_VALIDATOR)
}

/// The class path that has Mustang's validator.
pub fn mustang() -> Result<PathBuf> {
    Ok(MUSTANG.folder()?.join("*"))
}

/// Installs them when they are missing.
pub async fn prepare() -> Result<()> {
    packages::install_for_public_tools().await?;
    install_python_packages(&FACTUR_X, &[]).await?;
    // It asks for Python 3.12, which Debian 12 does not have: `check.py` beside its requirements says why that is enough.
    install_python_packages(&FOCUS_VALIDATOR, &["--ignore-requires-python"]).await?;
    install_mustang().await
}

fn python_of(tools: &Pinned) -> Result<PathBuf> {
    Ok(tools.folder()?.join("bin/python"))
}

/// From PyPI, in an environment of their own.
async fn install_python_packages(tools: &Pinned, options: &[&str]) -> Result<()> {
    if tools.whole()?.exists() {
        return Ok(());
    }
    let doing = step(format!("installing {} from PyPI (once)", tools.name));
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(tools.folder()?))
    .await
    .context("making a Python environment")?;
    run(Command::new(python_of(tools)?)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(options)
        .arg("--requirement")
        .arg(tools.file())
        // What builds a package is pinned, too.
        .env("PIP_CONSTRAINT", tools.file()))
    .await
    .with_context(|| format!("installing {}", tools.file().display()))?;
    finish(tools)?;
    doing.done();
    Ok(())
}

async fn install_mustang() -> Result<()> {
    if MUSTANG.whole()?.exists() {
        return Ok(());
    }
    let doing = step("installing Mustang's validator from Maven (once)");
    run(Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(MUSTANG.file())
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", MUSTANG.folder()?.display())))
    .await
    .with_context(|| format!("installing {}", MUSTANG.file().display()))?;
    finish(&MUSTANG)?;
    doing.done();
    Ok(())
}

fn finish(tools: &Pinned) -> Result<()> {
    let whole = tools.whole()?;
    fs::write(&whole, "").with_context(|| format!("writing {}", whole.display()))
}

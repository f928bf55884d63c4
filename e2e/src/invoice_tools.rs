//! Public tools that check invoices, installed into the cache once a version: the Python package factur-x with Saxon, in an
//! environment of their own, and Mustang's validator, which has veraPDF inside.

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
pub fn python() -> Result<PathBuf> {
    Ok(FACTUR_X.folder()?.join("bin/python"))
}

/// The class path that has Mustang's validator.
pub fn mustang() -> Result<PathBuf> {
    Ok(MUSTANG.folder()?.join("*"))
}

/// Installs them when they are missing.
pub async fn prepare() -> Result<()> {
    packages::install_for_invoice_tools().await?;
    if !FACTUR_X.whole()?.exists() {
        let doing = step("installing factur-x and Saxon from PyPI (once)");
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(FACTUR_X.folder()?))
        .await
        .context("making a Python environment")?;
        run(Command::new(python()?)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(FACTUR_X.file()))
        .await
        .context("installing e2e/parts/factur-x/requirements.txt")?;
        finish(&FACTUR_X)?;
        doing.done();
    }
    if !MUSTANG.whole()?.exists() {
        let doing = step("installing Mustang's validator from Maven (once)");
        run(Command::new("mvn")
            .args(["--quiet", "--batch-mode", "--file"])
            .arg(MUSTANG.file())
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", MUSTANG.folder()?.display())))
        .await
        .context("installing e2e/parts/mustang/pom.xml")?;
        finish(&MUSTANG)?;
        doing.done();
    }
    Ok(())
}

fn finish(tools: &Pinned) -> Result<()> {
    let whole = tools.whole()?;
    fs::write(&whole, "").with_context(|| format!("writing {}", whole.display()))
}

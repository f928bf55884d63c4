//! MariaDB of our own for slurmdbd: its own data and socket, and no network.

use super::base;
use crate::process::{self, run};
use crate::state::give_to;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;

fn data() -> PathBuf {
    base().join("mariadb")
}

/// Its socket; slurmdbd learns it from MYSQL_UNIX_PORT, since its own configuration has no word for it.
pub(super) fn socket() -> PathBuf {
    data().join("socket")
}

/// Runs SQL in slurmdbd's own database, behind its back.
pub(super) async fn sql(statements: &str) -> Result<()> {
    run(Command::new("mariadb")
        .args([
            "--no-defaults",
            "-u",
            "root",
            "--database=slurm_acct_db",
            "--socket",
        ])
        .arg(socket())
        .args(["-e", statements]))
    .await
    .map(drop)
}

/// Made anew when it is missing or was cut while it was made; started when it does not run.
pub(super) async fn up() -> Result<()> {
    if process::running("mariadbd")?.is_some() {
        return Ok(());
    }
    let data = data();
    if !data.exists() {
        let fresh = data.with_extension("new");
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh).with_context(|| format!("making {}", fresh.display()))?;
        give_to("mysql", &fresh).await?;
        run(Command::new("mariadb-install-db")
            .args([
                "--no-defaults",
                "--user=mysql",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=8M",
                "--innodb-flush-method=nosync",
            ])
            .arg(format!("--datadir={}", fresh.display())))
        .await?;
        fs::rename(&fresh, &data).with_context(|| format!("making {}", data.display()))?;
    }
    process::start(
        "mariadbd",
        process::daemon_of("mysql", "mariadbd").args([
            "--no-defaults".into(),
            format!("--datadir={}", data.display()),
            format!("--socket={}", socket().display()),
            format!("--pid-file={}", data.join("pid").display()),
            "--skip-networking".into(),
            "--skip-log-bin".into(),
            "--innodb-log-file-size=8M".into(),
            // slurmdbd warns below this, and asks for a patience as long for its roll-ups.
            "--innodb-buffer-pool-size=128M".into(),
            "--innodb-lock-wait-timeout=900".into(),
            // The data may be lost with the machine; its speed may not be the disk's.
            "--innodb-flush-method=nosync".into(),
            "--innodb-flush-log-at-trx-commit=0".into(),
            "--innodb-doublewrite=0".into(),
        ]),
    )?;
    process::answers("mariadbd", Duration::from_secs(60), async || {
        run(Command::new("mariadb")
            .args(["--no-defaults", "-u", "root", "--socket"])
            .arg(socket())
            .args(["-e", "CREATE DATABASE IF NOT EXISTS slurm_acct_db"]))
        .await
        .map(drop)
        .map_err(|error| error.to_string())
    })
    .await
}

//! PostgreSQL of our own, for ledgers that are kept there: its own data and socket, and no network.

use crate::process::{self, run};
use crate::progress::step;
use crate::{paths, state};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

const NAME: &str = "postgres";

/// Who runs it.
const USER_OF_DEBIAN: &str = "postgres";

/// Who owns the ledgers in it.
const USER: &str = "mesocentre";

/// The database that is there from the beginning.
const DATABASE: &str = "ledgers";

/// The folder of its data and its socket.
fn base() -> PathBuf {
    paths::state().join(NAME)
}

fn password_file() -> PathBuf {
    base().join("password")
}

/// Debian keeps each version's programs in a folder of its own: the newest.
fn programs() -> Result<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql");
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(versions)
        .with_context(|| format!("looking for PostgreSQL in {}", versions.display()))?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs.join("postgres").exists().then_some((version, programs))
        })
        .collect();
    found.sort();
    found
        .pop()
        .map(|(_, programs)| programs)
        .with_context(|| format!("no server of PostgreSQL's is in {}", versions.display()))
}

/// Where a test or a person finds it: a URL with the password in it.
///
/// # Errors
/// When the stack has none.
pub fn url() -> Result<String> {
    let file = password_file();
    let password = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let folder = base().display().to_string().replace('/', "%2F");
    Ok(format!(
        "postgresql://{USER}:{}@localhost/{DATABASE}?host={folder}",
        password.trim()
    ))
}

/// Ends it at once and without a farewell, as its machine's end would.
///
/// # Errors
/// When it does not end.
pub async fn kill() -> Result<()> {
    if let Some(running) = process::running(NAME)? {
        running.kill().await?;
    }
    Ok(())
}

/// Made anew when it is missing or was cut while it was made; started when it does not run.
///
/// # Errors
/// When it cannot be made or does not answer.
pub async fn up() -> Result<()> {
    if process::running(NAME)?.is_some() {
        return Ok(());
    }
    let doing = step("PostgreSQL");
    let programs = programs()?;
    let data = base().join("data");
    if !data.exists() {
        let _ = fs::remove_dir_all(base());
        state::folder(&base())?;
        fs::write(password_file(), state::random_hex(16)?)?;
        fs::set_permissions(password_file(), fs::Permissions::from_mode(0o600))?;
        let fresh = base().join("new");
        state::give_to(USER_OF_DEBIAN, &base()).await?;
        let mut make = Command::from(process::daemon_of(
            USER_OF_DEBIAN,
            &programs.join("initdb").display().to_string(),
        ));
        make.args(["--auth=scram-sha-256", "--no-sync", "--locale=C.UTF-8"])
            .arg(format!("--username={USER}"))
            .arg(format!("--pwfile={}", password_file().display()))
            .arg(format!("--pgdata={}", fresh.display()));
        run(&mut make).await?;
        fs::rename(&fresh, &data).with_context(|| format!("making {}", data.display()))?;
    }
    // Of a server that was killed. Its number may be a zombie's still, while the one that started it runs, and PostgreSQL
    // takes a zombie for a server.
    for lock in [data.join("postmaster.pid"), base().join(".s.PGSQL.5432.lock")] {
        let _ = fs::remove_file(lock);
    }
    let program = programs.join("postgres").display().to_string();
    process::start(
        NAME,
        process::daemon_of(USER_OF_DEBIAN, &program).args([
            "-D".into(),
            data.display().to_string(),
            "-k".into(),
            base().display().to_string(),
            "-c".into(),
            "listen_addresses=".into(),
            "-c".into(),
            "max_connections=200".into(),
            // A commit that was answered survives the server's end as always, and the machine's is nobody's concern here.
            "-c".into(),
            "fsync=off".into(),
        ]),
    )?;
    process::answers(NAME, Duration::from_secs(60), async || {
        let mut make = Command::new(programs.join("psql"));
        make.args(["--no-psqlrc", "--quiet", "--host"])
            .arg(base())
            .args(["--username", USER, "--dbname", "postgres", "--command"])
            .arg(format!("CREATE DATABASE {DATABASE}"))
            .env(
                "PGPASSWORD",
                fs::read_to_string(password_file()).unwrap_or_default(),
            );
        match run(&mut make).await {
            Err(error) if !format!("{error:#}").contains("already exists") => Err(error.to_string()),
            _ => Ok(()),
        }
    })
    .await?;
    doing.done();
    Ok(())
}

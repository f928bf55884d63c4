//! A store of S3 of our own, versitygw, for invoices that are delivered to a bucket: each object is a file.

use crate::process;
use crate::progress::step;
use crate::{parts, paths, state};
use anyhow::Result;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;

/// Its program, and its name among the stack's processes.
pub const NAME: &str = "versitygw";

/// The one bucket that there is.
const BUCKET: &str = "invoices";

fn base() -> PathBuf {
    paths::state().join(NAME)
}

/// Where the bucket's objects are.
pub fn folder() -> PathBuf {
    base().join("objects").join(BUCKET)
}

fn key_id() -> PathBuf {
    base().join("key-id")
}

fn secret() -> PathBuf {
    base().join("secret")
}

/// What an operator is told that delivers there.
///
/// # Errors
/// When it has no port.
pub fn environment() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("MESO_INVOICE_BUCKET", BUCKET.into()),
        (
            "MESO_INVOICE_BUCKET_ENDPOINT",
            format!("http://127.0.0.1:{}", state::port(NAME)?),
        ),
        ("MESO_INVOICE_BUCKET_KEY_ID_FILE", key_id().display().to_string()),
        ("MESO_INVOICE_BUCKET_SECRET_FILE", secret().display().to_string()),
    ])
}

/// Started when it does not run, with a key of its own.
///
/// # Errors
/// When it does not answer.
pub async fn up() -> Result<()> {
    if process::running(NAME)?.is_some() {
        return Ok(());
    }
    let doing = step("a store of S3");
    state::folder(&folder())?;
    for file in [key_id(), secret()] {
        if !file.exists() {
            state::write_secret(&file, state::random_hex(16)?.as_bytes())?;
        }
    }
    let port = state::port(NAME)?;
    process::start(
        NAME,
        process::daemon(parts::program(NAME)?)
            .env("ROOT_ACCESS_KEY_ID", fs::read_to_string(key_id())?)
            .env("ROOT_SECRET_ACCESS_KEY", fs::read_to_string(secret())?)
            .args(["--quiet", "--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(base().join("objects")),
    )?;
    process::answers(NAME, Duration::from_secs(30), async || {
        let answer = TcpStream::connect(("127.0.0.1", port)).await;
        answer.map(drop).map_err(|error| error.to_string())
    })
    .await?;
    doing.done();
    Ok(())
}

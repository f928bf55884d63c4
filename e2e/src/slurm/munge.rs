//! munged of our own, with its own key and socket: how Slurm's daemons and commands know each other.

use super::base;
use crate::process;
use crate::state::give_to;
use crate::state::{folder, random_hex, write_secret};
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

/// Its socket.
pub(super) fn socket() -> PathBuf {
    base().join("munge/socket")
}

/// Starts it when it does not run.
pub(super) async fn up() -> Result<()> {
    if process::running("munged")?.is_some() {
        return Ok(());
    }
    let base = base().join("munge");
    folder(&base)?;
    let key = base.join("munge.key");
    if !key.exists() {
        write_secret(&key, random_hex(64)?.as_bytes())?;
    }
    give_to("munge", &base).await?;
    let file = |option: &str, name: &str| format!("--{option}={}", base.join(name).display());
    process::start(
        "munged",
        process::daemon_of("munge", "munged")
            .args(["--foreground", "--force"])
            .args([
                file("key-file", "munge.key"),
                format!("--socket={}", socket().display()),
                file("pid-file", "pid"),
                file("seed-file", "seed"),
            ]),
    )?;
    process::answers("munged", Duration::from_secs(20), async || {
        tokio::net::UnixStream::connect(socket())
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await
}

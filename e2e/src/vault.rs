//! Vault, in its development mode: in memory, unsealed.

use crate::progress::step;
use crate::state::{Record, random_hex};
use crate::{parts, process, state};
use anyhow::Result;
use std::time::Duration;

/// Vault's address.
pub fn address(record: &Record) -> Result<String> {
    Ok(format!("http://127.0.0.1:{}", record.port("vault")?))
}

/// Starts it when it does not run.
pub async fn up() -> Result<()> {
    let port = state::port("vault")?;
    if process::running("vault")?.is_some() {
        return answers(port).await;
    }
    let doing = step("Vault (dev)");
    let token = state::edit(|record| {
        if record.vault_token.is_empty() {
            record.vault_token = format!("dev-{}", random_hex(16)?);
        }
        Ok(record.vault_token.clone())
    })?;
    process::start(
        "vault",
        process::daemon(parts::program("vault")?)
            .args(["server", "-dev", "-dev-no-store-token", "-log-level=warn"])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("VAULT_DEV_ROOT_TOKEN_ID", token),
    )?;
    answers(port).await?;
    doing.done();
    Ok(())
}

async fn answers(port: u16) -> Result<()> {
    process::answers("vault", Duration::from_secs(30), async || {
        // 200: initialised, unsealed and active (Vault's API, sys/health).
        match crate::http_get::get(port, "/v1/sys/health").await {
            Ok((200, _)) => Ok(()),
            Ok((code, body)) => Err(format!("{code} {body}")),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}

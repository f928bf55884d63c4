//! A plain GET of a daemon on this machine: health and metrics, nothing more.

use anyhow::{Context, Result};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Status and body.
pub async fn get(port: u16, path: &str) -> Result<(u16, String)> {
    tokio::time::timeout(Duration::from_secs(5), ask(port, path))
        .await
        .with_context(|| format!("http://127.0.0.1:{port}{path} does not answer within 5 s"))?
        .with_context(|| format!("asking http://127.0.0.1:{port}{path}"))
}

async fn ask(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // 1.0: the body ends where the connection does, in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let code = answer
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("the answer is not HTTP")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((code, body.to_owned()))
}

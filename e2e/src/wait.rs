//! Waiting for a condition, with a deadline and the last state seen; never for a time.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Asks again and again until the answer is there. `what` says what is waited for; the question's `Err` is the last
/// state seen, for the message when time is up.
pub async fn until<T, F>(what: &str, patience: Duration, mut ask: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let since = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(last) if since.elapsed() > patience => {
                bail!("{what}: not after {patience:?}; last seen: {last}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The same in a test, which it ends when time is up.
///
/// ```no_run
/// # async fn example(jobs: kube::Api<mesocentre_api::BatchJob>) {
/// # use std::time::Duration;
/// let job = mesocentre_e2e::wait_for("the job has a status", Duration::from_secs(30), async || {
///     let job = jobs.get("hello").await.map_err(|error| error.to_string())?;
///     if job.status.is_some() { Ok(job) } else { Err(format!("{job:?}")) }
/// })
/// .await;
/// # }
/// ```
#[expect(clippy::panic, reason = "a test ends by it, with the last state seen")]
pub async fn wait_for<T, F>(what: &str, patience: Duration, ask: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    match until(what, patience, ask).await {
        Ok(answer) => answer,
        Err(error) => panic!("{error}"),
    }
}

//! `/healthz` (the process lives), `/readyz` (it leads and its caches are full, or another leads and it stands by),
//! `/metrics`.

use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Whether the process does its work.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on it does.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// It has something to prepare first.
    pub fn unset(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How long the one before may take to let go of the address, when it was killed.
const FREE_WITHIN: Duration = Duration::from_secs(10);

/// Listens on an address, as soon as it is free.
///
/// # Errors
/// When it is not in time, or is none of this machine's.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && began.elapsed() < FREE_WITHIN => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// When connections can be taken no more.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state((metrics, readiness));
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
}

async fn ready(State((_, readiness)): State<(Metrics, Readiness)>) -> (StatusCode, &'static str) {
    if readiness.is() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "waits for the lease, or for its caches to be filled\n",
        )
    }
}

async fn text(State((metrics, _)): State<(Metrics, Readiness)>) -> String {
    metrics.text()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_the_one_before_lets_go_of_is_waited_for() {
        let before = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = before.local_addr().unwrap();
        let waits = tokio::spawn(listen(address));
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "two listen on one address");
        drop(before);
        assert_eq!(waits.await.unwrap().unwrap().local_addr().unwrap(), address);
        // What is nobody's here is said at once.
        assert!(listen("192.0.2.1:1".parse().unwrap()).await.is_err());
    }
}

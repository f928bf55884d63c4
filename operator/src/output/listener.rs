//! Takes connections of the front proxy, and of nobody else. A handshake that hangs keeps no other one waiting.

use super::front_proxy::{self, FrontProxy};
use axum::serve::Listener;
use kube::Client;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::lock::locked;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many are made at a time.
const HANDSHAKES: usize = 32;
/// How often certificates are read anew.
const FRESH: Duration = Duration::from_secs(60);

type Accepted = (TlsStream<TcpStream>, SocketAddr);
type Tls = Arc<Mutex<(Arc<ServerConfig>, FrontProxy)>>;

/// What axum serves on.
pub struct TlsListener {
    address: SocketAddr,
    tls: Tls,
    accepted: mpsc::Receiver<Accepted>,
}

impl TlsListener {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        config: Arc<ServerConfig>,
        proxy: FrontProxy,
    ) -> std::io::Result<Self> {
        let listener = crate::http::listen(address).await?;
        let address = listener.local_addr()?;
        let tls: Tls = Arc::new(Mutex::new((config, proxy)));
        let (sender, accepted) = mpsc::channel(HANDSHAKES);
        tokio::spawn(accept(listener, Arc::clone(&tls), sender));
        Ok(Self {
            address,
            tls,
            accepted,
        })
    }

    /// Reads its certificate and who the front proxy is anew, once a minute.
    pub fn keep_fresh(&self, client: Client, certificate: PathBuf, key: PathBuf) {
        let tls = Arc::downgrade(&self.tls);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(FRESH).await;
                let Some(tls) = tls.upgrade() else { return };
                let fresh = async {
                    let proxy = FrontProxy::read(&client).await?;
                    let config = front_proxy::tls(&proxy, &certificate, &key)?;
                    anyhow::Ok((config, proxy))
                };
                match fresh.await {
                    Ok(fresh) => *locked(&tls) = fresh,
                    Err(error) => tracing::warn!("the certificates stay as they are: {error:#}"),
                }
            }
        });
    }
}

async fn accept(listener: TcpListener, tls: Tls, sender: mpsc::Sender<Accepted>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // As when there are no more file descriptors: others end.
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
            () = sender.closed() => return,
        };
        let (config, proxy) = locked(&tls).clone();
        let sender = sender.clone();
        tokio::spawn(async move {
            let _place = place;
            let shaken = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
            let stream = match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%from, %error, "a connection that is not the API server's was refused");
                    return;
                }
                Err(_) => return,
            };
            let certificates = stream.get_ref().1.peer_certificates();
            let first = certificates.and_then(|all| all.first());
            if first.is_some_and(|certificate| proxy.is(certificate)) {
                // Nobody takes it when the process ends.
                let _ = sender.send((stream, from)).await;
            } else {
                tracing::warn!(%from, "a client of the front proxy's authority that is not the front proxy was refused");
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // Its task lives as long as this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

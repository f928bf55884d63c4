//! Connections over TLS: by a certificate that may be renewed, from whom it may be. A handshake that hangs keeps no other
//! one waiting.

use crate::lock::locked;
use anyhow::Context as _;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many are made at a time.
const HANDSHAKES: usize = 32;
/// How often certificates are read anew.
const FRESH: Duration = Duration::from_secs(60);

type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// Whether a client that showed this certificate, or none, is let in.
type Admits = dyn Fn(Option<&CertificateDer<'_>>) -> bool + Send + Sync;

/// What connections are made with, and whose are let in.
#[derive(Clone)]
pub struct Door {
    /// Our certificate, and what a client's must be.
    pub config: Arc<ServerConfig>,
    /// Who is let in, of those whose handshake is done.
    pub admits: Arc<Admits>,
}

impl Door {
    /// For whoever comes: who it is, is told by what they send.
    ///
    /// # Errors
    /// When the certificate or its key cannot be read.
    pub fn for_all(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let (chain, key) = certified(certificate, key)?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("the certificate and its key")?;
        Ok(Self::new(config, |_| true))
    }

    /// With this configuration, for HTTP/1.1.
    pub fn new(
        mut config: ServerConfig,
        admits: impl Fn(Option<&CertificateDer<'_>>) -> bool + Send + Sync + 'static,
    ) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
            admits: Arc::new(admits),
        }
    }
}

/// Our certificate's chain, and its key.
///
/// # Errors
/// When one of them cannot be read.
pub fn certified(
    certificate: &Path,
    key: &Path,
) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("reading the certificate {}", certificate.display()))?;
    let key =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("reading the key {}", key.display()))?;
    Ok((chain, key))
}

/// What axum serves on.
pub struct TlsListener {
    address: SocketAddr,
    door: Arc<Mutex<Door>>,
    accepted: mpsc::Receiver<Accepted>,
}

impl TlsListener {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr, door: Door) -> std::io::Result<Self> {
        let listener = crate::http::listen(address).await?;
        let address = listener.local_addr()?;
        let door = Arc::new(Mutex::new(door));
        let (sender, accepted) = mpsc::channel(HANDSHAKES);
        tokio::spawn(accept(listener, Arc::clone(&door), sender));
        Ok(Self {
            address,
            door,
            accepted,
        })
    }

    /// Makes the door anew, once a minute.
    pub fn keep_fresh<Made: Future<Output = anyhow::Result<Door>> + Send>(
        &self,
        make: impl Fn() -> Made + Send + Sync + 'static,
    ) {
        let door = Arc::downgrade(&self.door);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(FRESH).await;
                let Some(door) = door.upgrade() else { return };
                match make().await {
                    Ok(fresh) => *locked(&door) = fresh,
                    Err(error) => tracing::warn!("the certificates stay as they are: {error:#}"),
                }
            }
        });
    }
}

async fn accept(listener: TcpListener, door: Arc<Mutex<Door>>, sender: mpsc::Sender<Accepted>) {
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
        let door = locked(&door).clone();
        let sender = sender.clone();
        tokio::spawn(async move {
            let _place = place;
            let shaken = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(door.config).accept(stream)).await;
            let stream = match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%from, %error, "a connection was refused");
                    return;
                }
                Err(_) => return,
            };
            let certificates = stream.get_ref().1.peer_certificates();
            if (door.admits)(certificates.and_then(|all| all.first())) {
                // Nobody takes it when the process ends.
                let _ = sender.send((stream, from)).await;
            } else {
                tracing::warn!(%from, "a client whose certificate is not the one that may come was refused");
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

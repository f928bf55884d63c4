//! Connections from inside a pod's network, as a process in the pod makes them.

use super::machine::Machine;
use super::runtime::ctr;
use crate::process::run;
use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a connection may take; one that is dropped on the way never answers. A second covers the kernel's first
/// repetition of a lost SYN.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long an answer to a datagram is waited for before it is sent again: nobody else repeats a lost one.
const REPEATED_AFTER: Duration = Duration::from_millis(400);

/// A network that connections are made from.
#[derive(Clone, Debug)]
pub struct Place {
    network: PathBuf,
}

/// What became of a connection, or of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Open,
    /// Somebody answered that nobody listens: packets pass.
    Refused,
    /// Nobody answered, or no way leads there.
    Closed,
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Held(TcpStream);

impl Held {
    /// Whether what is sent comes back.
    ///
    /// # Errors
    /// When the answer is another than what was sent.
    pub fn echoes(&mut self) -> Result<bool> {
        self.0.set_read_timeout(Some(PATIENCE))?;
        let mut back = [0u8; 5];
        let answer = self
            .0
            .write_all(b"hello")
            .and_then(|()| self.0.read_exact(&mut back));
        match answer {
            Ok(()) => {
                anyhow::ensure!(&back == b"hello", "another answer than what was sent: {back:?}");
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }
}

impl Place {
    pub(super) fn new(network: PathBuf) -> Self {
        Self { network }
    }

    /// Connects, and says what came of it.
    ///
    /// # Errors
    /// When the network cannot be entered.
    pub async fn connects(&self, to: SocketAddr) -> Result<Outcome> {
        self.inside(move || match TcpStream::connect_timeout(&to, PATIENCE) {
            Ok(_) => Ok(Outcome::Open),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Ok(Outcome::Refused),
                ErrorKind::TimedOut
                | ErrorKind::WouldBlock
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::PermissionDenied => Ok(Outcome::Closed),
                _ => Err(error).with_context(|| format!("connecting to {to}")),
            },
        })
        .await
    }

    /// Sends datagrams to who sends them back, and says what came of it.
    ///
    /// # Errors
    /// When the network cannot be entered.
    pub async fn sends(&self, to: SocketAddr) -> Result<Outcome> {
        self.inside(move || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(REPEATED_AFTER))?;
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until {
                let mut back = [0u8; 5];
                let answer = socket
                    .connect(to)
                    .and_then(|()| socket.send(b"hello"))
                    .and_then(|_| socket.recv(&mut back));
                match answer.map_err(|error| error.kind()) {
                    Ok(_) => return Ok(Outcome::Open),
                    Err(ErrorKind::ConnectionRefused) => return Ok(Outcome::Refused),
                    Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(
                        ErrorKind::HostUnreachable
                        | ErrorKind::NetworkUnreachable
                        | ErrorKind::PermissionDenied,
                    ) => return Ok(Outcome::Closed),
                    Err(kind) => bail!("sending datagrams to {to}: {kind}"),
                }
            }
            Ok(Outcome::Closed)
        })
        .await
    }

    /// Sends every datagram back that comes to an address of this network, until the test ends.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn sends_back(&self, at: SocketAddr) -> Result<()> {
        let socket = self
            .inside(move || UdpSocket::bind(at).with_context(|| format!("taking datagrams at {at}")))
            .await?;
        std::thread::spawn(move || {
            let mut datagram = [0u8; 64];
            while let Ok((length, from)) = socket.recv_from(&mut datagram) {
                // Who does not wait for it any more is no concern.
                let _ = socket.send_to(datagram.get(..length).unwrap_or_default(), from);
            }
        });
        Ok(())
    }

    /// Connects and keeps the connection.
    ///
    /// # Errors
    /// When it is not made.
    pub async fn holds(&self, to: SocketAddr) -> Result<Held> {
        self.inside(move || {
            TcpStream::connect_timeout(&to, PATIENCE)
                .map(Held)
                .with_context(|| format!("connecting to {to}"))
        })
        .await
    }

    /// Takes every connection to an address of this network, until the test ends.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn listens(&self, at: SocketAddr) -> Result<()> {
        let listener = self
            .inside(move || TcpListener::bind(at).with_context(|| format!("listening at {at}")))
            .await?;
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                drop(connection);
            }
        });
        Ok(())
    }

    /// Does something on a thread that lives in this network.
    async fn inside<T: Send + 'static>(&self, act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let network = self.network.clone();
        let (send, receive) = tokio::sync::oneshot::channel();
        // A thread of its own, which ends with it: it never leaves the network that it entered.
        std::thread::spawn(move || {
            let _ = send.send(enter(&network).and_then(|()| act()));
        });
        receive.await.context("a thread inside a pod's network ended")?
    }
}

fn enter(network: &PathBuf) -> Result<()> {
    let entering = || format!("entering the network {}", network.display());
    let file = File::open(network).with_context(entering)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).with_context(entering)
}

/// By containerd's record of the pod's sandbox.
pub async fn place_of(machine: Machine, namespace: &str, pod: &str) -> Result<Place> {
    let sandbox = format!(
        "labels.\"io.cri-containerd.kind\"==sandbox,labels.\"io.kubernetes.pod.namespace\"==\"{namespace}\",\
         labels.\"io.kubernetes.pod.name\"==\"{pod}\""
    );
    let found = run(ctr(machine).args(["containers", "list", "--quiet", &sandbox])).await?;
    for id in found.lines() {
        let about: serde_json::Value =
            serde_json::from_str(&run(ctr(machine).args(["containers", "info", id])).await?)?;
        let network = about["Spec"]["linux"]["namespaces"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|space| space["type"] == "network")
            .and_then(|space| space["path"].as_str())
            .with_context(|| format!("the pod {namespace}/{pod} has no network of its own"))?;
        // Under /var/run, which is a link that would lead out of the machine's own files.
        let network = machine.path(&network.replacen("/var/run/", "/run/", 1));
        // A pod of this name that is gone leaves its record for a while, and no network.
        if network.exists() {
            return Ok(Place::new(network));
        }
    }
    bail!("containerd knows no pod {namespace}/{pod} that runs")
}

//! The node's machine: mounts, network and process ids of its own on this one, held by one process and gone with it.

use super::folder;
use crate::{paths, process, state};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The name of its first process among those of the stack.
pub const NAME: &str = "pods-machine";
/// Where pods have their addresses.
pub const POD_NETWORK: &str = "10.244.0.0/24";
/// The node's own address.
pub const NODE_ADDRESS: &str = "10.245.0.2";
/// Of the world outside on the wire to the node: the address that connections from there bear.
pub const GATEWAY_ADDRESS: &str = "10.245.0.1";
/// Addresses of the world outside the cluster: of the examples' institutional mirror, and of nobody in particular.
pub const OUTSIDE: [&str; 2] = ["192.0.2.7", "198.51.100.7"];

/// The machine that runs.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pid: u32,
}

impl Machine {
    /// The one that runs; none when it does not.
    pub fn running() -> Result<Option<Self>> {
        Ok(process::running(NAME)?.map(|process| Self { pid: process.pid }))
    }

    /// Starts it.
    pub async fn start() -> Result<Self> {
        let ready = folder().join("machine.ready");
        let _ = fs::remove_file(&ready);
        let api_port = state::port("kube-apiserver")?;
        let socket = folder().join("api.socket");
        let _ = fs::remove_file(&socket);
        process::start(
            "pods-api",
            process::daemon("socat").args([
                format!("UNIX-LISTEN:{},fork,mode=600", socket.display()),
                format!("TCP4:127.0.0.1:{api_port}"),
            ]),
        )?;
        let script = folder().join("machine.sh");
        fs::write(&script, include_str!("machine.sh"))?;
        process::start(
            NAME,
            process::daemon("unshare")
                .args([
                    "--mount",
                    "--net",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount-proc",
                ])
                .args(["--propagation", "private", "sh"])
                .arg(&script)
                .env("STATE", paths::state())
                .env("PODS", folder())
                .env("API_PORT", api_port.to_string())
                .env("POD_NETWORK", POD_NETWORK)
                .env("NODE_ADDRESS", NODE_ADDRESS)
                .env("GATEWAY_ADDRESS", GATEWAY_ADDRESS)
                .env("OUTSIDE", OUTSIDE.join(" ")),
        )?;
        process::answers(NAME, Duration::from_secs(20), async || {
            if ready.exists() {
                Ok(())
            } else {
                Err("its namespaces are being made".to_owned())
            }
        })
        .await?;
        Self::running()?.context("the node's machine ended at once")
    }

    /// Has what listens on a port of the node's address answer on this machine's own, through a socket in a file.
    pub fn leads_out(&self, port: u16) -> Result<()> {
        let socket = folder().join(format!("port-{port}.socket"));
        let inside = format!("pods-port-{port}");
        if process::running(&inside)?.is_none() {
            let _ = fs::remove_file(&socket);
            process::start(
                &inside,
                self.daemon("socat").args([
                    format!("UNIX-LISTEN:{},fork,mode=600", socket.display()),
                    format!("TCP4:{NODE_ADDRESS}:{port}"),
                ]),
            )?;
        }
        let outside = format!("pods-port-{port}-here");
        if process::running(&outside)?.is_none() {
            process::start(
                &outside,
                process::daemon("socat").args([
                    format!("TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"),
                    format!("UNIX-CONNECT:{}", socket.display()),
                ]),
            )?;
        }
        Ok(())
    }

    /// A daemon inside.
    pub fn daemon(&self, program: impl AsRef<Path>) -> Command {
        let mut command = process::daemon("nsenter");
        command.args(self.namespaces()).arg("--").arg(program.as_ref());
        command
    }

    /// A command inside, that ends by itself.
    pub fn command(&self, program: impl AsRef<Path>) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("nsenter");
        command.args(self.namespaces()).arg("--").arg(program.as_ref());
        command
    }

    /// What a path means inside.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// The node's own network.
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    fn namespaces(&self) -> [String; 3] {
        let of = |kind: &str| format!("/proc/{}/ns/{kind}", self.pid);
        [
            format!("--mount={}", of("mnt")),
            format!("--net={}", of("net")),
            // That of its children: the process itself is outside.
            format!("--pid={}", of("pid_for_children")),
        ]
    }
}

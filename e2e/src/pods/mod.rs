//! A node on which pods run, with a network that enforces NetworkPolicy: for what is measured with connections.
//!
//! ```text
//! this machine            ║ the node's: own mounts, network, process ids                    ║ outside: own network
//! API server 127.0.0.1 ◀──╫── kubelet ▶ containerd ▶ pods 10.244.0.0/24 ─┬─ uplink 10.245.0.2 ─╫─ 192.0.2.7
//!            socat, over  ║   cilium-agent ▶ programs at each pod's door ─┘                 ║  198.51.100.7
//!            a file       ║                                                                 ║
//! ```
//! The kubelet is reached from this machine in the same way, the other way round: the API server asks it for logs.
//!
//! It takes time and memory, so it starts only when asked. Nothing of it touches this machine's own network, mounts or
//! kernel settings; all of it is gone with the first process of its namespaces, but for its cgroups and its folder.

mod engine;
mod kubelet;
mod machine;
mod reach;
mod runtime;

pub use machine::{GATEWAY_ADDRESS, NODE_ADDRESS, OUTSIDE};
pub use reach::{Held, Outcome, Place};
pub use runtime::IMAGE;

use crate::process::Started;
use crate::progress::step;
use crate::state::{self, Record};
use crate::{binaries, kubeconfig, packages, parts, paths, process, wait};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use machine::Machine;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

/// The Node's name. The API server reaches a kubelet by its node's name, and this one through a socket of this machine.
pub const NODE: &str = "localhost";
/// A taint of the Node, which other tests' pods do not tolerate and so stay off.
pub const TAINT: &str = "e2e.meso.test/real-pods";

/// The node, with what a test needs to know of it.
pub struct Pods {
    machine: Machine,
    admin: Client,
    /// The image that pods run, by name and digest.
    pub image_by_digest: String,
}

/// Where the kubelet listens, on the node's address and on this machine's own.
///
/// # Errors
/// When no port is free.
pub fn kubelet_port() -> Result<u16> {
    state::port("kubelet")
}

/// Installs and builds what it takes and is missing.
///
/// # Errors
/// When a package or a module cannot be had.
pub async fn prepare() -> Result<()> {
    packages::install_for_pods().await?;
    parts::build(&["kubelet", "cilium-agent", "cilium-cni", "cyclonus"]).await
}

/// Starts the node when it does not run; returns when it is Ready and pods on it have a network.
///
/// # Errors
/// When this machine cannot hold one, or a part is not ready in time: with the end of its log.
pub async fn up() -> Result<Pods> {
    let record = state::of_the_stack()?;
    if record.existing.is_some() {
        bail!("real pods run beside a control plane of our own: run `cargo dev up` without --existing");
    }
    prepare().await?;
    binaries::link_one("cyclonus", &parts::program("cyclonus")?)?;
    let admin = kubeconfig::client(&kubeconfig::admin(&record)).await?;
    let doing = step("a node with real pods, and Cilium");
    state::folder(&folder())?;
    let machine = match Machine::running()? {
        Some(machine) => machine,
        None => {
            // What an earlier one left behind, when it was killed.
            clear().await?;
            state::folder(&folder())?;
            Machine::start().await?
        }
    };
    engine::install().await?;
    let image_by_digest = runtime::up(machine).await?;
    kubelet::up(machine, &admin).await?;
    engine::up(machine)?;
    engine::ready().await?;
    kubelet::ready(&admin).await?;
    doing.done();
    Ok(Pods {
        machine,
        admin,
        image_by_digest,
    })
}

impl Pods {
    /// Ends it: pods, Node, network engine and all that they left.
    ///
    /// # Errors
    /// When something does not end.
    pub async fn end(self) -> Result<()> {
        let pods: Api<Pod> = Api::all(self.admin.clone());
        let here = ListParams::default().fields(&format!("spec.nodeName={NODE}"));
        for pod in pods.list(&here).await?.items {
            let name = pod.metadata.name.unwrap_or_default();
            let place: Api<Pod> =
                Api::namespaced(self.admin.clone(), &pod.metadata.namespace.unwrap_or_default());
            // Nobody is left to say that it ended.
            let at_once = DeleteParams::default().grace_period(0);
            match place.delete(&name, &at_once).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                result => {
                    result.with_context(|| format!("deleting pod {name}"))?;
                }
            }
        }
        clear().await?;
        kubelet::forget(&self.admin).await?;
        engine::forget().await
    }

    /// Where a pod is on the network, once it runs.
    ///
    /// # Errors
    /// When containerd does not know it.
    pub async fn place_of(&self, namespace: &str, pod: &str) -> Result<Place> {
        reach::place_of(self.machine, namespace, pod).await
    }

    /// The node itself.
    pub fn node(&self) -> Place {
        Place::new(self.machine.network())
    }

    /// The world outside the cluster.
    pub fn outside(&self) -> Place {
        Place::new(self.machine.path("/run/netns/outside"))
    }
}

/// The node's part of the stack's folder.
fn folder() -> PathBuf {
    paths::state().join("pods")
}

/// The cgroup under which this stack's pods are.
fn cgroup() -> String {
    let mut hasher = DefaultHasher::new();
    paths::state().hash(&mut hasher);
    format!("mesocentre-{:04x}", hasher.finish() & 0xffff)
}

/// Ends the node's processes, and takes away what they leave: cgroups, and the folder.
async fn clear() -> Result<()> {
    let record = state::read()?.unwrap_or_default();
    wait::until("the node's processes end", Duration::from_secs(20), async || {
        let left = processes(&record);
        for process in &left {
            process.signal(rustix::process::Signal::KILL);
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await?;
    state::edit(|record| {
        record.processes.retain(|(name, _)| !name.starts_with("pods-"));
        Ok(())
    })?;
    forget_cgroups().await?;
    match fs::remove_dir_all(folder()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder().display()))
        }
        _ => Ok(()),
    }
}

/// Those of the node, known by their names in the record; their children with them.
fn processes(record: &Record) -> Vec<Started> {
    let of_pods: Vec<Started> = record
        .processes
        .iter()
        .filter(|(name, process)| name.starts_with("pods-") && process.is_alive())
        .map(|(_, process)| *process)
        .collect();
    process::with_children(of_pods)
}

/// The cgroup in each hierarchy that this machine has: one of version 2, or many of version 1.
fn cgroups() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(cgroup())];
    }
    fs::read_dir(&root)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path().join(cgroup()))
        .collect()
}

/// Makes it, since the kubelet wants to find it.
fn make_cgroups() -> Result<()> {
    for ours in cgroups() {
        fs::create_dir_all(&ours).with_context(|| format!("making the cgroup {}", ours.display()))?;
    }
    Ok(())
}

/// Removes the pods' cgroups, which outlive the processes in them.
pub async fn forget_cgroups() -> Result<()> {
    for ours in cgroups() {
        wait::until("the pods' cgroups go", Duration::from_secs(10), async || {
            remove_tree(&ours).map_err(|error| format!("{}: {error}", ours.display()))
        })
        .await?;
    }
    Ok(())
}

/// Folders of a cgroup are removed from the leaves on; the files in them are the kernel's.
fn remove_tree(folder: &std::path::Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

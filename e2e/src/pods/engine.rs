//! Cilium, which enforces NetworkPolicy with programs in the kernel, compiled when it starts.

use super::machine::{Machine, POD_NETWORK};
use super::{NODE, folder};
use crate::process::{self, run};
use crate::{kubeconfig, parts};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;

const NAME: &str = "pods-cilium";
const MODULE: &str = "github.com/cilium/cilium";
/// Its custom resources, in its module; no operator of it makes them here.
const KINDS: &str = "pkg/k8s/apis/cilium.io/client/crds";

/// Makes what the agent and containerd find: its kinds, its programs' sources, the plugin that gives pods their network.
pub async fn install() -> Result<()> {
    until_none_is_leaving().await?;
    kubectl("apply").await?;
    let cni = folder().join("cni");
    for part in ["bin", "conf"] {
        fs::create_dir_all(cni.join(part))?;
    }
    for (name, target) in [
        ("loopback", "/usr/lib/cni/loopback".into()),
        ("cilium-cni", parts::program("cilium-cni")?),
    ] {
        let link = cni.join("bin").join(name);
        let _ = fs::remove_file(&link);
        symlink(&target, &link).with_context(|| format!("linking {}", link.display()))?;
    }
    let library = library();
    if !library.exists() {
        fs::create_dir_all(&library)?;
        run(Command::new("cp")
            .arg("-r")
            .arg(parts::folder("cilium", MODULE, "bpf").await?)
            .arg(library.join("bpf")))
        .await?;
    }
    Ok(())
}

fn library() -> PathBuf {
    folder().join("cilium")
}

/// Starts the agent; it lets containerd know of the network once it is ready.
pub fn up(machine: Machine) -> Result<()> {
    if process::running(NAME)?.is_some() {
        return Ok(());
    }
    let (library, cni) = (library(), folder().join("cni"));
    let script = folder().join("agent.sh");
    fs::write(&script, include_str!("agent.sh"))?;
    let path = "/usr/lib/llvm-19/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    process::start(
        NAME,
        machine
            .daemon("unshare")
            .args(["--mount", "--propagation", "private", "sh"])
            .arg(&script)
            .arg(parts::program("cilium-agent")?)
            .args([
                format!(
                    "--k8s-kubeconfig-path={}",
                    kubeconfig::of_component("admin").display()
                ),
                format!("--lib-dir={}", library.display()),
                format!("--ipv4-native-routing-cidr={POD_NETWORK}"),
                format!(
                    "--write-cni-conf-when-ready={}",
                    cni.join("conf/05-cilium.conflist").display()
                ),
                format!("--cni-log-file={}", folder().join("cilium-cni.log").display()),
            ])
            .args([
                "--ipam=kubernetes",
                "--identity-allocation-mode=crd",
                "--enable-ipv6=false",
                "--routing-mode=native",
                "--enable-l7-proxy=false",
                "--kube-proxy-replacement=false",
                "--enable-bpf-masquerade=false",
                "--enable-ipv4-masquerade=false",
                "--enable-hubble=false",
                "--enable-health-checking=false",
                "--enable-endpoint-health-checking=false",
                "--cgroup-root=/sys/fs/cgroup/unified",
                "--bpf-root=/sys/fs/bpf",
                "--install-iptables-rules=false",
                "--enable-xt-socket-fallback=false",
                "--devices=uplink",
                "--direct-routing-device=uplink",
                "--cni-exclusive=false",
                "--preallocate-bpf-maps=false",
                "--bpf-map-dynamic-size-ratio=0.0025",
            ])
            .env("PATH", path)
            .env("K8S_NODE_NAME", NODE),
    )?;
    Ok(())
}

/// Returns when the agent is ready for pods.
pub async fn ready() -> Result<()> {
    let conf = folder().join("cni/conf/05-cilium.conflist");
    process::answers(NAME, Duration::from_secs(240), async || {
        if conf.exists() {
            Ok(())
        } else {
            Err("it is compiling its programs".to_owned())
        }
    })
    .await
}

/// Has its kinds taken away, and with them what it wrote. That takes the API server minutes at times, for which nobody waits
/// who does not want them again.
pub async fn forget() -> Result<()> {
    kubectl("delete").await
}

/// A kind that is being deleted takes no new object, and is gone a moment later.
async fn until_none_is_leaving() -> Result<()> {
    let kubectl = || -> Result<Command> {
        let mut command = Command::new(parts::program("kubectl")?);
        command.env("KUBECONFIG", kubeconfig::of_component("admin"));
        Ok(command)
    };
    let leaving = "jsonpath={range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name}{\"\\n\"}{end}";
    let listed = run(kubectl()?.args(["get", "crds", "--output", leaving])).await?;
    let kinds: Vec<String> = listed
        .lines()
        .filter(|name| name.ends_with(".cilium.io"))
        .map(|name| format!("crd/{name}"))
        .collect();
    if !kinds.is_empty() {
        run(kubectl()?
            .args(["wait", "--for=delete", "--timeout=10m"])
            .args(kinds))
        .await?;
    }
    Ok(())
}

async fn kubectl(verb: &str) -> Result<()> {
    let kinds = parts::folder("cilium", MODULE, KINDS).await?;
    let mut command = Command::new(parts::program("kubectl")?);
    command
        .env("KUBECONFIG", kubeconfig::of_component("admin"))
        .arg(verb);
    match verb {
        "apply" => command.args(["--server-side", "--force-conflicts"]),
        _ => command.args(["--ignore-not-found", "--wait=false"]),
    };
    run(command.args(["--recursive", "--filename"]).arg(kinds)).await?;
    Ok(())
}

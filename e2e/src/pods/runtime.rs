//! containerd, an instance of our own, and the one image that pods run: a shell and a server that echoes.

use super::folder;
use super::machine::Machine;
use crate::process::{self, run};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

const NAME: &str = "pods-containerd";
/// Its socket, inside the machine.
pub const SOCKET: &str = "/run/containerd/containerd.sock";
/// The image by its name, which perimeters without digests admit.
pub const IMAGE: &str = "registry.meso.test/echo:1";
/// The same image where a perimeter wants a digest.
const REVIEWED: &str = "registry.meso.test/hds/echo";
/// Debian's busybox, whole in one file.
const BUSYBOX: &str = "/bin/busybox";

/// Starts it and gives it the image; returns the image's name with its digest.
pub async fn up(machine: Machine) -> Result<String> {
    let configuration = folder().join("containerd.toml");
    fs::write(&configuration, configured())?;
    if process::running(NAME)?.is_none() {
        process::start(
            NAME,
            machine.daemon("containerd").arg("--config").arg(&configuration),
        )?;
    }
    let (archive, by_digest) = image().await?;
    process::answers(NAME, Duration::from_secs(30), async || {
        run(ctr(machine).arg("version"))
            .await
            .map_err(|error| error.to_string())
    })
    .await?;
    run(ctr(machine).args(["images", "import"]).arg(&archive)).await?;
    Ok(by_digest)
}

/// containerd's own command line, in the namespace of Kubernetes.
pub fn ctr(machine: Machine) -> Command {
    let mut command = machine.command("ctr");
    command.args(["--address", SOCKET, "--namespace", "k8s.io"]);
    command
}

fn configured() -> String {
    let root = folder().join("containerd");
    let (root, cni) = (root.display(), folder().join("cni"));
    let cni = cni.display();
    // Debian's 1.6. Lowering oom_score_adj is not allowed everywhere.
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}/bin"
conf_dir = "{cni}/conf"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#
    )
}

/// An OCI layout in a tar file, made of busybox alone (OCI image-spec 1.0), and the image's name with its digest.
async fn image() -> Result<(PathBuf, String)> {
    let place = folder().join("image");
    let _ = fs::remove_dir_all(&place);
    let (root, layout) = (place.join("root"), place.join("layout"));
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    fs::copy(BUSYBOX, root.join("bin/busybox")).with_context(|| format!("reading {BUSYBOX}"))?;
    for name in ["sh", "sleep", "nc", "cat"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
    }
    let layer = place.join("layer.tar");
    // The same bytes every time: the digest is one that a perimeter could name.
    run(Command::new("tar")
        .args([
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "-cf",
        ])
        .arg(&layer)
        .arg("-C")
        .arg(&root)
        .arg("."))
    .await?;
    let layer = blob(
        &layout,
        &fs::read(&layer)?,
        "application/vnd.oci.image.layer.v1.tar",
    )?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        // Of the pause container; pods say what they run.
        "config": {"Cmd": ["/bin/sleep", "2147483647"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = blob(
        &layout,
        config.to_string().as_bytes(),
        "application/vnd.oci.image.config.v1+json",
    )?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    let manifest = blob(&layout, manifest.to_string().as_bytes(), kind)?;
    let digest = manifest["digest"].as_str().unwrap_or_default();
    let by_digest = format!("{REVIEWED}@{digest}");
    let named = |name: &str| {
        let mut named = manifest.clone();
        named["annotations"] = json!({"io.containerd.image.name": name});
        named
    };
    let index = json!({"schemaVersion": 2, "manifests": [named(IMAGE), named(&by_digest)]});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let archive = place.join("image.tar");
    run(Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&layout)
        .arg("."))
    .await?;
    Ok((archive, by_digest))
}

/// Puts bytes into a layout and gives their descriptor.
fn blob(layout: &Path, bytes: &[u8], media_type: &str) -> Result<Value> {
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    fs::write(layout.join("blobs/sha256").join(&digest), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
}

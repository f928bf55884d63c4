//! The stack's Go programs, built from the modules pinned in `e2e/parts` into the cache, once a version.
//!
//! A folder of the cache is named by the module's version and by a digest of its files, so a changed pin never meets an
//! old binary. A build goes to a name of its own and is renamed when whole: one that was cut is never taken for it.

use crate::paths;
use crate::process::run;
use crate::progress::step;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use tokio::process::Command;
use tokio::sync::Mutex;

struct Module {
    /// Its folder in `e2e/parts`.
    name: &'static str,
    version: &'static str,
    tags: &'static str,
    /// Each program and its package.
    programs: &'static [(&'static str, &'static str)],
}

const ETCD: Module = Module {
    name: "etcd",
    version: "3.6.8",
    tags: "",
    programs: &[("etcd", ".")],
};

const KUBERNETES: Module = Module {
    name: "kubernetes",
    version: "1.36.3",
    tags: "",
    programs: &[
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        (
            "kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
        ),
        ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    ],
};

const CILIUM: Module = Module {
    name: "cilium",
    version: "1.17.6",
    tags: "",
    programs: &[
        ("cilium-agent", "github.com/cilium/cilium/daemon"),
        ("cilium-cni", "github.com/cilium/cilium/plugins/cilium-cni"),
    ],
};

const CYCLONUS: Module = Module {
    name: "cyclonus",
    version: "0.5.6",
    tags: "",
    programs: &[("cyclonus", "github.com/mattfenwick/cyclonus/cmd/cyclonus")],
};

const HELM: Module = Module {
    name: "helm",
    version: "4.3.1",
    tags: "",
    programs: &[("helm", "helm.sh/helm/v4/cmd/helm")],
};

const VAULT: Module = Module {
    name: "vault",
    version: "1.21.0",
    tags: "minimal",
    programs: &[("vault", ".")],
};

const VERSITYGW: Module = Module {
    name: "versitygw",
    version: "1.8.0",
    tags: "",
    programs: &[("versitygw", "github.com/versity/versitygw/cmd/versitygw")],
};

const MODULES: [&Module; 7] = [&ETCD, &KUBERNETES, &HELM, &VAULT, &CILIUM, &CYCLONUS, &VERSITYGW];

/// Where a program is, or will be once it is built.
pub fn program(name: &str) -> Result<PathBuf> {
    let module = MODULES
        .iter()
        .find(|module| module.programs.iter().any(|(program, _)| *program == name))
        .with_context(|| format!("no module of e2e/parts builds {name}"))?;
    Ok(module.folder()?.join(name))
}

/// One build at a time, in the order they are asked for: each takes all cores, and much memory.
static BUILDING: Mutex<()> = Mutex::const_new(());

/// Builds those of these programs that are missing.
pub async fn build(programs: &[&str]) -> Result<()> {
    for name in programs {
        let target = program(name)?;
        if target.exists() {
            continue;
        }
        let _turn = BUILDING.lock().await;
        for module in MODULES {
            for (program, package) in module.programs {
                if program == name {
                    module.build(program, package).await?;
                }
            }
        }
    }
    Ok(())
}

/// A folder of a module's own source that a program reads while it runs, copied beside the programs once a version.
pub async fn folder(of: &str, module: &str, folder: &str) -> Result<PathBuf> {
    let own = MODULES
        .iter()
        .find(|known| known.name == of)
        .with_context(|| format!("no module of e2e/parts is named {of}"))?;
    let target = own.folder()?.join(folder.replace('/', "-"));
    if target.exists() {
        return Ok(target);
    }
    let _turn = BUILDING.lock().await;
    let mut list = Command::new(go()?);
    list.current_dir(own.source())
        .args(["mod", "download", "-json", module]);
    let found: serde_json::Value =
        serde_json::from_str(&run(&mut list).await?).with_context(|| format!("looking up {module}"))?;
    let source = PathBuf::from(found["Dir"].as_str().unwrap_or_default()).join(folder);
    let fresh = target.with_extension(std::process::id().to_string());
    fs::create_dir_all(own.folder()?)?;
    // Go keeps its modules read-only; a copy is changed by who uses it.
    run(Command::new("cp")
        .args(["-r", "--no-preserve=mode"])
        .arg(&source)
        .arg(&fresh))
    .await?;
    fs::rename(&fresh, &target).with_context(|| format!("putting {folder} of {module} into the cache"))?;
    Ok(target)
}

impl Module {
    fn source(&self) -> PathBuf {
        paths::repository().join("e2e/parts").join(self.name)
    }

    fn folder(&self) -> Result<PathBuf> {
        let mut digest = Sha256::new();
        for file in ["go.mod", "go.sum", "main.go"] {
            // Some have no main.go: their programs are packages of the module they require.
            let bytes = match fs::read(self.source().join(file)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                read => read.with_context(|| format!("reading e2e/parts/{}/{file}", self.name))?,
            };
            digest.update(bytes.len().to_be_bytes());
            digest.update(bytes);
        }
        digest.update(self.flags());
        let digest: String = digest.finalize()[..5]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let name = format!("{}-{}-{digest}", self.name, self.version);
        Ok(paths::cache().join("parts").join(name))
    }

    /// The linker's flags. Kubernetes learns its version from them.
    fn flags(&self) -> String {
        let mut flags = String::from("-s -w");
        if self.name == KUBERNETES.name {
            let mut numbers = self.version.split('.');
            let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
            for (variable, value) in [
                ("gitVersion", format!("v{}", self.version)),
                ("gitMajor", major.into()),
                ("gitMinor", minor.into()),
            ] {
                flags += &format!(" -X k8s.io/component-base/version.{variable}={value}");
            }
        }
        flags
    }

    async fn build(&self, program: &str, package: &str) -> Result<()> {
        let folder = self.folder()?;
        let target = folder.join(program);
        if target.exists() {
            return Ok(());
        }
        let doing = step(format!("building {program} {} (once)", self.version));
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let fresh = folder.join(format!(".{program}.{}", std::process::id()));
        let mut build = Command::new(go()?);
        build
            .current_dir(self.source())
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath"]);
        if !self.tags.is_empty() {
            build.args(["-tags", self.tags]);
        }
        build
            .args(["-ldflags", &self.flags(), "-o"])
            .arg(&fresh)
            .arg(package);
        run(&mut build)
            .await
            .with_context(|| format!("building {program} from e2e/parts/{}", self.name))?;
        fs::rename(&fresh, &target).with_context(|| format!("putting {program} into the cache"))?;
        doing.done();
        Ok(())
    }
}

/// The go command.
pub fn go() -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/local/go/bin")])
        .map(|folder| folder.join("go"))
        .find(|go| go.exists())
        .map(Into::into)
        .context("Go is needed to build Kubernetes: install it, or put its bin folder into PATH")
}

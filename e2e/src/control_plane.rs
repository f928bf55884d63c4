//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler, as a site runs them.

use crate::progress::step;
use crate::{certificates, kubeconfig, parts, paths, process, state};
use anyhow::Result;
use std::time::Duration;

/// Its programs, in the order they are wanted.
pub const PROGRAMS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// Starts what does not run; returns when the API server is ready.
pub async fn up() -> Result<()> {
    let doing = step("Kubernetes: etcd and the API server");
    certificates::make()?;
    let (client, peer) = (state::port("etcd")?, state::port("etcd-peer")?);
    let port = state::port("kube-apiserver")?;
    let pki = |file: &str| certificates::folder().join(file).display().to_string();
    let etcd = format!("http://127.0.0.1:{client}");
    let peers = format!("http://127.0.0.1:{peer}");
    start(
        "etcd",
        &[
            format!("--data-dir={}", paths::state().join("etcd").display()),
            format!("--listen-client-urls={etcd}"),
            format!("--advertise-client-urls={etcd}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            // The stack's data may be lost with the machine; its speed may not be the disk's.
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ],
    )?;
    // It waits for etcd by itself.
    start(
        "kube-apiserver",
        &[
            format!("--etcd-servers={etcd}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--allow-privileged=true".into(),
            "--profiling=false".into(),
            format!("--tls-cert-file={}", pki("apiserver.crt")),
            format!("--tls-private-key-file={}", pki("apiserver.key")),
            format!("--client-ca-file={}", pki("ca.crt")),
            // For the logs of pods, where there is a node that runs some.
            format!("--kubelet-client-certificate={}", pki("apiserver-kubelet.crt")),
            format!("--kubelet-client-key={}", pki("apiserver-kubelet.key")),
            // For APIs that are served by others behind it: who asks, and that it is the API server who says so.
            format!("--requestheader-client-ca-file={}", pki("front-proxy-ca.crt")),
            format!("--requestheader-allowed-names={}", certificates::FRONT_PROXY),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            format!("--proxy-client-cert-file={}", pki("front-proxy.crt")),
            format!("--proxy-client-key-file={}", pki("front-proxy.key")),
            // Where Vault finds the keys that verify service accounts' tokens, by OIDC discovery.
            format!("--service-account-issuer=https://127.0.0.1:{port}"),
            "--api-audiences=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", pki("tokens.pub")),
            format!("--service-account-signing-key-file={}", pki("tokens.key")),
        ],
    )?;
    kubeconfig::write_own(&state::of_the_stack()?).await?;
    let admin = kubeconfig::client(&kubeconfig::of_component("admin")).await?;
    process::answers("kube-apiserver", Duration::from_secs(90), async || {
        let request = http::Request::get("/readyz").body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        admin
            .request_text(request)
            .await
            .map_err(|error| error.to_string())
    })
    .await?;
    doing.done();
    Ok(())
}

/// Starts the controllers and the scheduler, when they do not run: they want an API server that is ready.
pub fn start_controllers() -> Result<()> {
    let pki = |file: &str| certificates::folder().join(file).display().to_string();
    let configs = |name: &str| {
        let file = kubeconfig::of_component(name);
        [
            "kubeconfig",
            "authentication-kubeconfig",
            "authorization-kubeconfig",
        ]
        .map(|flag| format!("--{flag}={}", file.display()))
    };
    let serving = |name: &str| -> Result<[String; 3]> {
        Ok([
            format!("--secure-port={}", state::port(name)?),
            "--bind-address=127.0.0.1".into(),
            // One of each: no lease to wait for after a restart.
            "--leader-elect=false".into(),
        ])
    };
    let name = "kube-controller-manager";
    let mut arguments = Vec::from(configs(name));
    arguments.extend(serving(name)?);
    arguments.extend([
        "--use-service-account-credentials=true".into(),
        format!("--service-account-private-key-file={}", pki("tokens.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        // Promptness for tests: quota and namespaces settle in a moment, however many.
        "--kube-api-qps=300".into(),
        "--kube-api-burst=600".into(),
        "--concurrent-namespace-syncs=20".into(),
        "--concurrent-resource-quota-syncs=10".into(),
    ]);
    start(name, &arguments)?;

    let name = "kube-scheduler";
    let mut arguments = Vec::from(configs(name));
    arguments.extend(serving(name)?);
    start(name, &arguments)
}

fn start(name: &str, arguments: &[String]) -> Result<()> {
    if process::running(name)?.is_none() {
        let mut daemon = process::daemon(parts::program(name)?);
        // Two cores carry the whole datacentre here: memory, of which there is enough, spares them a quarter of the API
        // server's work.
        daemon.env("GOGC", "400").args(arguments);
        process::start(name, &mut daemon)?;
    }
    Ok(())
}

//! Kubeconfigs: the administrator's, the operator's, and any user's.

use crate::state::{Record, random_hex, write_secret};
use crate::{apply, certificates, paths, wait};
use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use mesocentre_api::{OPERATOR_SERVICE_ACCOUNT, SYSTEM_NAMESPACE};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The administrator's kubeconfig.
pub fn admin(record: &Record) -> PathBuf {
    record.existing.clone().unwrap_or_else(|| of_component("admin"))
}

/// The kubeconfig of a part of the control plane.
pub fn of_component(name: &str) -> PathBuf {
    paths::state().join(format!("{name}.kubeconfig"))
}

/// A client that speaks as the user of a kubeconfig.
pub async fn client(file: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(file).with_context(|| format!("reading {}", file.display()))?;
    client_of(config)
        .await
        .with_context(|| format!("making a client of {}", file.display()))
}

/// A client that speaks as the user of a kubeconfig's text.
pub async fn client_of_text(text: &str) -> Result<Client> {
    client_of(Kubeconfig::from_yaml(text)?).await
}

async fn client_of(config: Kubeconfig) -> Result<Client> {
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// A kubeconfig with one user and one cluster, in YAML.
fn text(cluster: Value, user: &str, credentials: Value, namespace: Option<&str>) -> Result<String> {
    let mut context = json!({"cluster": "mesocentre", "user": user});
    if let Some(namespace) = namespace {
        context["namespace"] = namespace.into();
    }
    Ok(serde_yaml::to_string(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "mesocentre", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "mesocentre", "context": context}],
        "current-context": "mesocentre",
    }))?)
}

/// As Kubernetes writes bytes in JSON.
fn base64(bytes: &[u8]) -> Result<Value> {
    Ok(serde_json::to_value(ByteString(bytes.to_vec()))?)
}

/// The cluster's part of a kubeconfig: ours, or somebody's own as their kubeconfig has it.
fn cluster(record: &Record) -> Result<Value> {
    let Some(existing) = &record.existing else {
        let authority = certificates::folder().join("ca.crt");
        let authority = fs::read(&authority).with_context(|| format!("reading {}", authority.display()))?;
        let port = record.port("kube-apiserver")?;
        return Ok(json!({
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": base64(&authority)?,
        }));
    };
    let config = Kubeconfig::read_from(existing)?;
    let current = config.current_context.as_deref();
    let context = config
        .contexts
        .iter()
        .find(|context| Some(context.name.as_str()) == current)
        .and_then(|context| context.context.as_ref())
        .with_context(|| {
            format!(
                "{} has no current context: choose one with kubectl config use-context",
                existing.display()
            )
        })?;
    let cluster = config
        .clusters
        .iter()
        .find(|cluster| cluster.name == context.cluster)
        .and_then(|cluster| cluster.cluster.clone())
        .with_context(|| {
            format!(
                "{} names cluster {} and does not hold it",
                existing.display(),
                context.cluster
            )
        })?;
    Ok(serde_json::to_value(cluster)?)
}

/// The API server's address, and its certificate authority in PEM; empty when the system's is meant.
pub fn server(record: &Record) -> Result<(String, String)> {
    let cluster = cluster(record)?;
    let server = cluster["server"]
        .as_str()
        .context("the kubeconfig names no server")?;
    let authority = match (
        &cluster["certificate-authority-data"],
        cluster["certificate-authority"].as_str(),
    ) {
        (Value::Null, None) => Vec::new(),
        (Value::Null, Some(file)) => fs::read(file).with_context(|| format!("reading {file}"))?,
        (data, _) => serde_json::from_value::<ByteString>(data.clone())?.0,
    };
    Ok((
        server.trim_end_matches('/').to_owned(),
        String::from_utf8(authority)?,
    ))
}

/// A kubeconfig for a user, by a client certificate: of our own authority, or of the cluster's own signer.
pub async fn for_user(
    record: &Record,
    user: &str,
    groups: &[String],
    namespace: Option<&str>,
) -> Result<String> {
    let (certificate, key) = if record.existing.is_some() {
        signed_by_the_cluster(record, user, groups).await?
    } else {
        let identity = certificates::client(user, groups).await?;
        (identity.certificate.into_bytes(), identity.key)
    };
    let credentials = json!({
        "client-certificate-data": base64(&certificate)?,
        "client-key-data": base64(key.as_bytes())?,
    });
    text(cluster(record)?, user, credentials, namespace)
}

async fn signed_by_the_cluster(record: &Record, user: &str, groups: &[String]) -> Result<(Vec<u8>, String)> {
    let identity = certificates::request(user, groups).await?;
    let requests: Api<CertificateSigningRequest> = Api::all(client(&admin(record)).await?);
    let name = format!("mesocentre-dev-{}", random_hex(6)?);
    let request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
            "request": base64(identity.certificate.as_bytes())?,
        },
    }))?;
    requests.create(&PostParams::default(), &request).await?;
    let approved = CertificateSigningRequest {
        status: Some(CertificateSigningRequestStatus {
            certificate: None,
            conditions: Some(vec![CertificateSigningRequestCondition {
                type_: "Approved".into(),
                status: "True".into(),
                reason: Some("Development".into()),
                message: Some("asked for by cargo dev kubeconfig".into()),
                ..Default::default()
            }]),
        }),
        ..request
    };
    requests
        .patch_approval(&name, &PatchParams::default(), &Patch::Merge(&approved))
        .await?;
    let certificate = wait::until(
        "the cluster signs the user's certificate",
        Duration::from_secs(30),
        async || {
            let request = requests.get(&name).await.map_err(|error| error.to_string())?;
            let status = request.status.unwrap_or_default();
            status
                .certificate
                .ok_or_else(|| format!("{:?}", status.conditions))
        },
    )
    .await?;
    Ok((certificate.0, identity.key))
}

/// Writes the kubeconfigs of our own control plane: the administrator's, and one for each component.
pub async fn write_own(record: &Record) -> Result<()> {
    for (file, user, group) in [
        ("admin", "mesocentre-administrator", Some("system:masters")),
        ("kube-controller-manager", "system:kube-controller-manager", None),
        ("kube-scheduler", "system:kube-scheduler", None),
    ] {
        let path = of_component(file);
        if !path.exists() {
            let groups: Vec<String> = group.into_iter().map(String::from).collect();
            let config = for_user(record, user, &groups, None).await?;
            write_secret(&path, config.as_bytes())?;
        }
    }
    Ok(())
}

/// Writes the operator's kubeconfig: a token of its own service account, asked of the API server.
pub async fn write_operator(record: &Record) -> Result<PathBuf> {
    write_account(record, OPERATOR_SERVICE_ACCOUNT, "operator").await
}

/// Writes the kubeconfig of a service account of the chart's, for a component.
pub async fn write_account(record: &Record, account: &str, component: &str) -> Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client(&admin(record)).await?, SYSTEM_NAMESPACE);
    let asked = TokenRequest {
        spec: Some(TokenRequestSpec {
            // A day of work: `up` starts an operator whose token is spent anew.
            expiration_seconds: Some(24 * 3600),
            ..Default::default()
        }),
        ..Default::default()
    };
    let token = accounts
        .create_token_request(account, &PostParams::default(), &asked)
        .await
        .with_context(|| {
            format!(
                "asking for a token of service account {SYSTEM_NAMESPACE}/{account}, which the chart makes"
            )
        })?
        .status
        .context("the API server answered without a token")?
        .token;
    let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{account}");
    let config = text(cluster(record)?, &user, json!({"token": token}), None)?;
    let path = of_component(component);
    write_secret(&path, config.as_bytes())?;
    Ok(path)
}

/// Whether the API server knows every kind of a file of CRDs, and the service account that the chart makes.
pub async fn knows_the_chart(record: &Record) -> Result<bool> {
    let client = client(&admin(record)).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    Ok(
        accounts.get_opt(OPERATOR_SERVICE_ACCOUNT).await?.is_some()
            && apply::knows_our_kinds(&client).await?,
    )
}

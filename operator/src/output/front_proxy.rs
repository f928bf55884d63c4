//! Who the API server is, when it sends a request on in somebody's name, and which headers then say whose.
//!
//! It says so itself, in a ConfigMap of kube-system that an API behind it may read
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/>).

use crate::tls::{Door, certified};
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

const CONFIG_MAP: &str = "extension-apiserver-authentication";

/// By what the API server is known, and how it names the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontProxy {
    authority: String,
    /// Common names of its certificate; none: any of that authority.
    names: Vec<String>,
    /// Headers with the user's name; the first that is there counts.
    pub user_headers: Vec<String>,
}

impl FrontProxy {
    /// As the API server publishes it.
    ///
    /// # Errors
    /// When it does not, or in another form.
    pub async fn read(client: &Client) -> anyhow::Result<Self> {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
        let map = maps
            .get(CONFIG_MAP)
            .await
            .with_context(|| format!("reading the ConfigMap {CONFIG_MAP} of kube-system"))?;
        Self::of(&map)
    }

    fn of(map: &ConfigMap) -> anyhow::Result<Self> {
        let entry = |name: &str| {
            map.data
                .as_ref()
                .and_then(|data| data.get(name))
                .map(String::as_str)
        };
        let list = |name: &str| -> anyhow::Result<Vec<String>> {
            match entry(name) {
                Some(json) => {
                    serde_json::from_str(json).with_context(|| format!("{name} of {CONFIG_MAP} is no list"))
                }
                None => Ok(Vec::new()),
            }
        };
        let Some(authority) = entry("requestheader-client-ca-file") else {
            bail!(
                "the API server says nothing of a front proxy: start it with --requestheader-client-ca-file, \
                 --proxy-client-cert-file and what goes with them (the aggregation layer)"
            );
        };
        let user_headers = list("requestheader-username-headers")?;
        if user_headers.is_empty() {
            bail!(
                "the API server names no header for the user: start it with --requestheader-username-headers=X-Remote-User"
            );
        }
        Ok(Self {
            authority: authority.to_owned(),
            names: list("requestheader-allowed-names")?,
            user_headers,
        })
    }

    /// Whether this certificate, which its authority has signed, is the API server's: another client's may be signed by
    /// the same authority.
    pub fn is(&self, certificate: &CertificateDer<'_>) -> bool {
        if self.names.is_empty() {
            return true;
        }
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return false;
        };
        certificate
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok())
            .any(|name| self.names.iter().any(|allowed| allowed == name))
    }
}

/// What connections are made with: our certificate, and the front proxy's authority for whoever comes.
///
/// # Errors
/// When a certificate or a key cannot be read.
pub fn door(proxy: &FrontProxy, certificate: &Path, key: &Path) -> anyhow::Result<Door> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(proxy.authority.as_bytes()) {
        roots.add(authority.context("reading the front proxy's authority")?)?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .context("the front proxy's authority")?;
    let (chain, key) = certified(certificate, key)?;
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .context("the certificate and its key")?;
    let proxy = proxy.clone();
    Ok(Door::new(config, move |certificate| {
        certificate.is_some_and(|certificate| proxy.is(certificate))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(data: serde_json::Value) -> ConfigMap {
        serde_json::from_value(json!({"data": data})).unwrap()
    }

    #[test]
    fn the_front_proxy_is_who_the_api_server_says() {
        let proxy = FrontProxy::of(&map(json!({
            "requestheader-client-ca-file": "PEM",
            "requestheader-allowed-names": "[\"front-proxy-client\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        })))
        .unwrap();
        assert_eq!(proxy.names, ["front-proxy-client"]);
        assert_eq!(proxy.user_headers, ["X-Remote-User"]);
        assert!(!proxy.is(&CertificateDer::from(vec![0])), "no certificate at all");
    }

    #[test]
    fn another_client_of_the_same_authority_is_not_the_front_proxy() {
        let proxy = |names: &[&str]| FrontProxy {
            authority: String::new(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            user_headers: vec!["X-Remote-User".into()],
        };
        let named = |name: &str| {
            let mut certificate = rcgen::CertificateParams::default();
            certificate.distinguished_name = rcgen::DistinguishedName::new();
            certificate
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().unwrap();
            certificate.self_signed(&key).unwrap().der().clone()
        };
        let aggregator = proxy(&["front-proxy-client", "aggregator"]);
        assert!(aggregator.is(&named("front-proxy-client")));
        assert!(aggregator.is(&named("aggregator")));
        assert!(!aggregator.is(&named("system:admin")));
        assert!(!aggregator.is(&named("front-proxy-client.evil")));
        assert!(proxy(&[]).is(&named("anybody")), "the API server names none");
    }

    #[test]
    fn an_api_server_without_a_front_proxy_is_told_what_to_start_it_with() {
        for (data, told) in [
            (json!({}), "--requestheader-client-ca-file"),
            (
                json!({"requestheader-client-ca-file": "PEM"}),
                "--requestheader-username-headers",
            ),
            (
                json!({"requestheader-client-ca-file": "PEM", "requestheader-username-headers": "X"}),
                "is no list",
            ),
        ] {
            let error = FrontProxy::of(&map(data)).unwrap_err();
            assert!(format!("{error:#}").contains(told), "{error:#}");
        }
    }
}

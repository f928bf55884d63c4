//! Speaks to Vault: logs in, lists, reads, writes, deletes. What is written where is decided in
//! `mesocentre_tenancy::vault`.
//!
//! ```text
//!  token of our own service account, for Vault's audience, ten minutes ─► auth/<jwt>/login ─► a token of Vault
//!    a file that the kubelet keeps fresh, or asked of the API server         renewed at half its time, then a new login
//! ```
//! No token and no answer of Vault is ever logged: vaultrs and its layers are silent whatever the log's filter says (see
//! `main.rs`), and what went wrong is told here, in Vault's own words about a path.

mod failure;
mod login;
mod settings;

pub use failure::VaultFailure;
pub use settings::VaultSettings;

use crate::metrics::Metrics;
use login::Login;
use mesocentre_tenancy::vault::VaultPath;
use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use serde_json::Value;
use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use vaultrs::api;
use vaultrs::client::{VaultClient, VaultClientSettings};
use vaultrs::error::ClientError;

/// How long Vault may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Vault, as the operator.
pub struct Vault {
    client: VaultClient,
    address: String,
    jwt: VaultPath,
    audience: String,
    /// Where the kubelet writes our service account's token, when we are in a pod.
    token_file: Option<PathBuf>,
    /// Namespace of our service account.
    namespace: String,
    /// Its name, which our role in Vault bears too.
    account: &'static str,
    login: Option<Login>,
    metrics: Metrics,
}

/// One request, as vaultrs sends it.
struct Call<'a> {
    method: RequestMethod,
    path: &'a str,
    body: Option<&'a Value>,
}

impl Endpoint for Call<'_> {
    type Response = Value;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.into()
    }

    fn method(&self) -> RequestMethod {
        self.method.clone()
    }

    fn body(&self) -> Result<Option<Vec<u8>>, rustify::errors::ClientError> {
        let Some(body) = self.body else { return Ok(None) };
        serde_json::to_vec(body)
            .map(Some)
            .map_err(|error| rustify::errors::ClientError::DataParseError { source: error.into() })
    }
}

impl Vault {
    /// At an address, to log in as a service account of ours; nothing is asked yet. None when no address is set.
    ///
    /// # Errors
    /// When the certificate authority's file cannot be read.
    pub fn new(
        settings: &VaultSettings,
        (namespace, account): (&str, &'static str),
        metrics: Metrics,
    ) -> anyhow::Result<Option<Self>> {
        let Some(address) = &settings.address else {
            return Ok(None);
        };
        let ca_certs = settings.authority.iter().map(|file| file.display().to_string());
        // Every field by hand: the builder would take a token and more from the environment.
        let client = VaultClient::new(VaultClientSettings {
            address: address.url().clone(),
            ca_certs: ca_certs.collect(),
            identity: None,
            timeout: Some(PATIENCE),
            token: String::new(),
            verify: true,
            version: 1,
            wrapping: false,
            namespace: None,
            proxy: None,
        })
        .map_err(|error| anyhow::anyhow!("preparing to speak to Vault: {}", failure::in_words(&error)))?;
        Ok(Some(Self {
            client,
            address: address.to_string(),
            jwt: settings.jwt_mount.clone(),
            audience: settings.audience.clone(),
            token_file: settings.token_file.clone(),
            namespace: namespace.into(),
            account,
            login: None,
            metrics,
        }))
    }

    /// The names below a path; those of folders without their slash. None where there are none.
    ///
    /// # Errors
    /// When Vault does not say.
    pub async fn list(&self, path: &str) -> Result<BTreeSet<String>, VaultFailure> {
        let call = Call {
            method: RequestMethod::LIST,
            path,
            body: None,
        };
        let answer = self
            .tell("list", path, api::exec_with_result(&self.client, call))
            .await?;
        let answer = answer.unwrap_or_default();
        let keys = answer["keys"].as_array().into_iter().flatten();
        Ok(keys
            .filter_map(|key| Some(key.as_str()?.trim_end_matches('/').to_owned()))
            .collect())
    }

    /// What is at a path; none when nothing is.
    ///
    /// # Errors
    /// When Vault does not say.
    pub async fn read(&self, path: &str) -> Result<Option<Value>, VaultFailure> {
        let call = Call {
            method: RequestMethod::GET,
            path,
            body: None,
        };
        self.tell("read", path, api::exec_with_result(&self.client, call))
            .await
    }

    /// Writes to a path.
    ///
    /// # Errors
    /// When Vault does not take it.
    pub async fn write(&self, path: &str, body: &Value) -> Result<(), VaultFailure> {
        let call = Call {
            method: RequestMethod::POST,
            path,
            body: Some(body),
        };
        self.tell("write", path, api::exec_with_empty(&self.client, call))
            .await?
            .ok_or_else(|| failure::nothing_there(path))
    }

    /// Writes to a path that answers.
    ///
    /// # Errors
    /// When Vault does not take it.
    pub async fn ask(&self, path: &str, body: &Value) -> Result<Value, VaultFailure> {
        let call = Call {
            method: RequestMethod::POST,
            path,
            body: Some(body),
        };
        self.tell("write", path, api::exec_with_result(&self.client, call))
            .await?
            .ok_or_else(|| failure::nothing_there(path))
    }

    /// Deletes what is at a path; what is gone is gone.
    ///
    /// # Errors
    /// When Vault does not do it.
    pub async fn delete(&self, path: &str) -> Result<(), VaultFailure> {
        let call = Call {
            method: RequestMethod::DELETE,
            path,
            body: None,
        };
        self.tell("delete", path, api::exec_with_empty(&self.client, call))
            .await
            .map(drop)
    }

    /// Counts a call, and says what went wrong; none when Vault has nothing at the path.
    async fn tell<T>(
        &self,
        call: &str,
        path: &str,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<Option<T>, VaultFailure> {
        let began = Instant::now();
        let answer = answer.await;
        self.metrics
            .vault_seconds
            .with_label_values(&[call])
            .observe(began.elapsed().as_secs_f64());
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => match failure::of(&self.address, &format!("{call} {path}"), &error) {
                None => Ok(None),
                Some(failure) => {
                    self.metrics.vault_errors.with_label_values(&[call]).inc();
                    Err(failure)
                }
            },
        }
    }
}

//! The operator's own login: short, renewed at half its time, and made anew when it cannot be renewed any more.

use super::{Vault, VaultFailure, failure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use std::time::{Duration, Instant};
use vaultrs::api::AuthInfo;
use vaultrs::client::Client as _;

/// A login of Vault.
pub(super) struct Login {
    /// For how long it held when it was new.
    lasts: Duration,
    /// When it is renewed.
    renewed_at: Instant,
}

/// The shortest token of a service account that the API server gives.
const SERVICE_ACCOUNT_TOKEN_SECONDS: i64 = 600;

impl Login {
    fn of(auth: &AuthInfo) -> Self {
        let lasts = Duration::from_secs(auth.lease_duration);
        Self {
            lasts,
            renewed_at: Instant::now() + lasts / 2,
        }
    }
}

impl Vault {
    /// Sees to it that the login holds on for a while. Without one, nothing else can be asked.
    ///
    /// # Errors
    /// When Vault does not let us in.
    pub async fn stay_logged_in(&mut self, client: &kube::Client) -> Result<(), VaultFailure> {
        if let Some(login) = &self.login {
            if Instant::now() < login.renewed_at {
                return Ok(());
            }
            let lasts = login.lasts;
            let began = Instant::now();
            let renewed = self.client.renew(None).await;
            self.took("renew", began, renewed.is_ok());
            match renewed {
                // Near its end, a renewal gives less than was asked for.
                Ok(auth) if Duration::from_secs(auth.lease_duration) > lasts / 2 => {
                    self.login = Some(Login {
                        lasts,
                        ..Login::of(&auth)
                    });
                    return Ok(());
                }
                _ => self.forget_login(),
            }
        }
        let token = self.own_token(client).await?;
        let began = Instant::now();
        let role = Some(self.account.to_owned());
        let answer = vaultrs::auth::oidc::login(&self.client, self.jwt.as_str(), &token, role).await;
        self.took("login", began, answer.is_ok());
        let auth = answer.map_err(|error| failure::of_login(&self.address, self.jwt.as_str(), &error))?;
        self.client.set_token(&auth.client_token);
        self.login = Some(Login::of(&auth));
        Ok(())
    }

    /// The next look logs in anew: Vault knows our token no more, or its rights have changed.
    pub fn forget_login(&mut self) {
        self.login = None;
        self.client.set_token("");
    }

    /// Gives the login back, when there is one.
    pub async fn log_out(&mut self) {
        if self.login.is_some()
            && let Err(error) = self.client.revoke().await
        {
            tracing::debug!(
                why = failure::in_words(&error),
                "the login in Vault ends by itself"
            );
        }
        self.forget_login();
    }

    /// A token of our own service account, for Vault and nobody else.
    async fn own_token(&self, client: &kube::Client) -> Result<String, VaultFailure> {
        if let Some(file) = &self.token_file {
            return match tokio::fs::read_to_string(file).await {
                Ok(token) => Ok(token.trim().to_owned()),
                Err(error) => Err(VaultFailure::NoToken(format!(
                    "{} of MESO_VAULT_TOKEN_FILE cannot be read ({error})",
                    file.display()
                ))),
            };
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &self.namespace);
        let asked = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![self.audience.clone()]),
                expiration_seconds: Some(SERVICE_ACCOUNT_TOKEN_SECONDS),
                bound_object_ref: None,
            }),
            ..Default::default()
        };
        let refused = |why: String| {
            VaultFailure::NoToken(format!(
                "the API server gives none of the service account {}/{} ({why}); the chart's value vault.address grants the right to ask, or set MESO_VAULT_TOKEN_FILE",
                self.namespace, self.account
            ))
        };
        accounts
            .create_token_request(self.account, &PostParams::default(), &asked)
            .await
            .map_err(|error| refused(crate::failure::in_words(&error)))?
            .status
            .and_then(|status| status.token)
            .ok_or_else(|| refused("it answered without one".into()))
    }

    fn took(&self, call: &str, began: Instant, is_ok: bool) {
        self.metrics
            .vault_seconds
            .with_label_values(&[call])
            .observe(began.elapsed().as_secs_f64());
        if !is_ok {
            self.metrics.vault_errors.with_label_values(&[call]).inc();
        }
    }
}

//! Certificates for the operator's own logins on login nodes, signed by Vault's SSH engine.
//!
//! Its mount is not the one that has the tenants' roles: those the operator writes itself, and who may write a role may
//! have anything signed by it.

use crate::metrics::Metrics;
use crate::vault::{Vault, VaultFailure, VaultSettings};
use mesocentre_scheduler_bridge::SchedulerError;
use mesocentre_scheduler_bridge::slurm::ssh::{Signer, Signing};
use mesocentre_tenancy::vault::VaultPath;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Vault's SSH engine, as far as it signs for the operator itself. Its login in Vault is its own.
pub struct LoginAuthority {
    vault: Mutex<Vault>,
    client: kube::Client,
    /// Our role in Vault.
    account: &'static str,
    mount: VaultPath,
}

impl LoginAuthority {
    /// That of the settings, asked as this service account of ours; nothing is asked yet. None when they name no Vault.
    ///
    /// # Errors
    /// As [`Vault::new`].
    pub fn new(
        settings: &VaultSettings,
        account: (&str, &'static str),
        client: &kube::Client,
        metrics: Metrics,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        let vault = Vault::new(settings, account, metrics)?;
        Ok(vault.map(|vault| {
            Arc::new(Self {
                vault: Mutex::new(vault),
                client: client.clone(),
                account: account.1,
                mount: settings.login_mount.clone(),
            })
        }))
    }

    /// What signs by a role.
    pub fn role(self: &Arc<Self>, role: &str) -> RoleSigner {
        RoleSigner {
            authority: Arc::clone(self),
            path: format!("{}/sign/{role}", self.mount),
            name: format!("the role {role} of Vault's {}", self.mount),
        }
    }

    /// Gives its login in Vault back.
    pub async fn log_out(&self) {
        self.vault.lock().await.log_out().await;
    }
}

/// A role of Vault's SSH engine.
pub struct RoleSigner {
    authority: Arc<LoginAuthority>,
    path: String,
    name: String,
}

impl Signer for RoleSigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn sign<'a>(&'a self, public_key: &'a str, user: &'a str) -> Signing<'a> {
        Box::pin(async move {
            let body = json!({"public_key": public_key, "valid_principals": user, "cert_type": "user"});
            let mut vault = self.authority.vault.lock().await;
            let answer = async {
                vault.stay_logged_in(&self.authority.client).await?;
                vault.ask(&self.path, &body).await
            }
            .await;
            match answer {
                Ok(answer) => match answer["signed_key"].as_str() {
                    Some(signed) => Ok(signed.to_owned()),
                    None => Err(SchedulerError::IdentityRefused(format!(
                        "{} gave no certificate: it must be a role of an SSH engine with key_type=ca",
                        self.name
                    ))),
                },
                Err(failure) => {
                    // What a login may do is decided when it is made: a policy that was given since needs a new one.
                    vault.forget_login();
                    Err(not_signed(
                        &failure,
                        self.authority.account,
                        &self.name,
                        &self.path,
                    ))
                }
            }
        })
    }
}

/// What it means that nothing was signed, for who can mend it.
fn not_signed(failure: &VaultFailure, account: &str, name: &str, path: &str) -> SchedulerError {
    match failure {
        VaultFailure::Unreachable { .. } | VaultFailure::Sealed { .. } => SchedulerError::Unreachable {
            who: "what signs the operator's login",
            why: failure.to_string(),
        },
        VaultFailure::Forbidden { .. } => SchedulerError::IdentityRefused(format!(
            "Vault does not let {account} sign by {name}: give its role in Vault a policy with update on {path}, as docs/administrator.md says under Slurm on a login node"
        )),
        other => SchedulerError::IdentityRefused(format!("{name} signs no login: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_that_is_away_means_wait_and_one_that_says_no_says_what_to_mend() {
        let told = |failure: VaultFailure| {
            not_signed(
                &failure,
                "mesocentre-operator",
                "the role operator of Vault's mesocentre-login",
                "mesocentre-login/sign/operator",
            )
        };
        let address = || "https://vault.example.org:8200".to_owned();
        for away in [
            VaultFailure::Sealed { address: address() },
            VaultFailure::Unreachable {
                address: address(),
                why: "refused".into(),
            },
        ] {
            assert!(matches!(told(away), SchedulerError::Unreachable { .. }));
        }
        let SchedulerError::IdentityRefused(sentence) = told(VaultFailure::Forbidden {
            doing: "write".into(),
        }) else {
            unreachable!();
        };
        assert!(
            sentence.contains("update on mesocentre-login/sign/operator"),
            "{sentence}"
        );
    }
}

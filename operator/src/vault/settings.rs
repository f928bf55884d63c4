//! Where Vault is, and where things are in it.

use crate::address::{Unsafe, bare};
use clap::Args;
use mesocentre_tenancy::vault::{BadName, VaultPath};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// Where Vault is, and where things are in it. Without an address, perimeters that ask for Vault say so.
#[derive(Clone, Debug, Args)]
pub struct VaultSettings {
    /// Vault's address, for example https://vault.example.org:8200 [default: none, no tenant gets its part of Vault]
    #[arg(
        id = "vault_address",
        long = "vault-addr",
        env = "VAULT_ADDR",
        value_name = "URL"
    )]
    pub address: Option<VaultAddress>,
    /// Certificate authority of Vault's certificate, in PEM [default: the system's]
    #[arg(
        id = "vault_authority",
        long = "vault-cacert",
        env = "VAULT_CACERT",
        value_name = "FILE"
    )]
    pub authority: Option<PathBuf>,
    /// Path in Vault below which each tenant has its mounts
    #[arg(
        id = "vault_tenants",
        long = "vault-tenants",
        env = "MESO_VAULT_TENANTS",
        value_name = "PATH",
        default_value = "tenants",
        value_parser = path
    )]
    pub tenants: VaultPath,
    /// Mount of the JWT auth method that knows this cluster's service accounts
    #[arg(
        long = "vault-jwt-mount",
        env = "MESO_VAULT_JWT_MOUNT",
        value_name = "PATH",
        default_value = "mesocentre",
        value_parser = path
    )]
    pub jwt_mount: VaultPath,
    /// Mount of the SSH engine that signs certificates for the login nodes
    #[arg(
        long = "vault-ssh-mount",
        env = "MESO_VAULT_SSH_MOUNT",
        value_name = "PATH",
        default_value = "mesocentre-ssh",
        value_parser = path
    )]
    pub ssh_mount: VaultPath,
    /// Mount of the SSH engine that signs the operator's own logins on login nodes of Slurm
    #[arg(
        long = "vault-login-mount",
        env = "MESO_VAULT_LOGIN_MOUNT",
        value_name = "PATH",
        default_value = "mesocentre-login",
        value_parser = path
    )]
    pub login_mount: VaultPath,
    /// Audience of the tokens that service accounts log in with
    #[arg(
        id = "vault_audience",
        long = "vault-audience",
        env = "MESO_VAULT_AUDIENCE",
        value_name = "AUDIENCE",
        default_value = "vault"
    )]
    pub audience: String,
    /// File with a token of the operator's own service account for that audience, kept fresh by the kubelet [default: it
    /// is asked of the API server]
    #[arg(
        id = "vault_token_file",
        long = "vault-token-file",
        env = "MESO_VAULT_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
}

fn path(text: &str) -> Result<VaultPath, BadName> {
    VaultPath::new(text)
}

/// An address of Vault: https, or http to this very machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultAddress(Url);

impl VaultAddress {
    /// As a URL.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for VaultAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for VaultAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}: write for example https://vault.example.org:8200");
        bare(text).map(Self).map_err(|error| match error {
            Unsafe::NoUrl(why) => wrong(&format!("it is no URL, {why}")),
            Unsafe::NotBare => wrong("it is more than a scheme, a host and a port"),
            Unsafe::InTheClear => wrong("tokens would cross the network in the clear"),
            Unsafe::NotHttps => wrong("Vault speaks https"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_tokens_from_the_open_network() {
        for fine in [
            "https://vault.example.org:8200",
            "http://127.0.0.1:8200/",
            "http://[::1]:1",
            "http://localhost",
        ] {
            assert!(fine.parse::<VaultAddress>().is_ok(), "{fine}");
        }
        for wrong in [
            "",
            "vault",
            "http://vault.example.org",
            "http://127.0.0.1.evil.test",
            "https://user:secret@vault",
            "https://vault/v1",
            "https://vault?x=1",
            "ftp://vault",
            "https://vault:99999",
        ] {
            let error = wrong.parse::<VaultAddress>().unwrap_err();
            assert!(error.contains("write for example https://"), "{wrong}: {error}");
        }
    }
}

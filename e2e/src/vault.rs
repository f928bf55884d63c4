//! Vault, in its development mode: in memory, unsealed; and set up as docs/administrator.md tells administrators to.

use crate::progress::step;
use crate::state::{Record, random_hex};
use crate::{apply, kubeconfig, loopback, parts, paths, process, state};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// Mount of the JWT auth method.
pub const JWT: &str = "mesocentre";
/// Mount of the SSH engine.
pub const SSH: &str = "mesocentre-ssh";
/// The operator's policy and its role.
const OPERATOR: &str = "mesocentre-operator";

/// Lets Vault read the keys that verify service accounts' tokens, without a token of its own.
const DISCOVERY: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: mesocentre-dev-token-keys}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:service-account-issuer-discovery'}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:unauthenticated'}
";

/// Vault's API.
pub struct Vault {
    port: u16,
}

impl Vault {
    /// That of the stack.
    ///
    /// # Errors
    /// When none stands.
    pub fn of_the_stack() -> Result<Self> {
        let port = state::of_the_stack()?.port("vault")?;
        Ok(Self { port })
    }

    /// One request with a token: the status, and the body as JSON.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call(&self, token: &str, method: &str, path: &str, body: Value) -> Result<(u16, Value)> {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let headers = [("X-Vault-Token", token), ("X-Vault-Request", "true")];
        let headers = if token.is_empty() {
            &headers[1..]
        } else {
            &headers[..]
        };
        let (code, answer) =
            loopback::call(self.port, method, &format!("/v1/{path}"), headers, &text).await?;
        Ok((code, serde_json::from_str(&answer).unwrap_or_default()))
    }

    /// One request with the root token.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn as_root(&self, method: &str, path: &str, body: Value) -> Result<(u16, Value)> {
        let token = state::of_the_stack()?.vault_token;
        self.call(&token, method, path, body).await
    }

    /// Logs in with a service account's token: the token of Vault, or the refusal.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn log_in(&self, role: &str, token: &str) -> Result<Result<String, Value>> {
        let body = json!({"role": role, "jwt": token});
        let (code, answer) = self.call("", "POST", &format!("auth/{JWT}/login"), body).await?;
        Ok(match (code, answer["auth"]["client_token"].as_str()) {
            (200, Some(token)) => Ok(token.to_owned()),
            _ => Err(answer),
        })
    }

    /// Seals it, as an administrator does.
    ///
    /// # Errors
    /// When it does not.
    pub async fn seal(&self) -> Result<()> {
        self.done("PUT", "sys/seal", Value::Null).await.map(drop)
    }

    /// Unseals it with the key that its development mode has told.
    ///
    /// # Errors
    /// When it stays sealed.
    pub async fn unseal(&self) -> Result<()> {
        let log = fs::read_to_string(paths::log("vault")).context("reading the unseal key")?;
        let key = log
            .lines()
            .filter_map(|line| line.strip_prefix("Unseal Key: "))
            .next_back()
            .context("Vault has told no unseal key")?;
        let (_, answer) = self
            .call("", "PUT", "sys/unseal", json!({"key": key.trim()}))
            .await?;
        if answer["sealed"] != false {
            bail!("Vault stays sealed: {answer}");
        }
        answers(self.port).await
    }

    async fn done(&self, method: &str, path: &str, body: Value) -> Result<Value> {
        let (code, answer) = self.as_root(method, path, body).await?;
        if !(200..300).contains(&code) {
            bail!("{method} {path} in Vault: {code} {answer}");
        }
        Ok(answer)
    }

    async fn is_there(&self, path: &str) -> Result<bool> {
        let (code, _) = self.as_root("GET", path, Value::Null).await?;
        Ok(code == 200)
    }
}

/// Vault's address.
pub fn address(record: &Record) -> Result<String> {
    Ok(format!("http://127.0.0.1:{}", record.port("vault")?))
}

/// Starts it when it does not run.
pub async fn up() -> Result<()> {
    let port = state::port("vault")?;
    if process::running("vault")?.is_some() {
        return answers(port).await;
    }
    let doing = step("Vault (dev)");
    let token = state::edit(|record| {
        if record.vault_token.is_empty() {
            record.vault_token = format!("dev-{}", random_hex(16)?);
        }
        Ok(record.vault_token.clone())
    })?;
    process::start(
        "vault",
        process::daemon(parts::program("vault")?)
            .args(["server", "-dev", "-dev-no-store-token", "-log-level=warn"])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("VAULT_DEV_ROOT_TOKEN_ID", token),
    )?;
    answers(port).await?;
    doing.done();
    Ok(())
}

/// What an administrator sets up once: the JWT auth method that knows the cluster's service accounts, the operator's
/// policy and role, the SSH engine with its authority. The API server must answer, and the chart be installed.
pub async fn set_up() -> Result<()> {
    let vault = Vault::of_the_stack()?;
    let record = state::of_the_stack()?;
    let admin = kubeconfig::client(&kubeconfig::admin(&record)).await?;
    apply::yaml(&admin, DISCOVERY).await?;
    let issuer = admin
        .request::<Value>(http::Request::get("/.well-known/openid-configuration").body(Vec::new())?)
        .await
        .context("asking the API server who issues service accounts' tokens")?;
    let (server, authority) = kubeconfig::server(&record)?;
    if !vault.is_there(&format!("sys/auth/{JWT}/tune")).await? {
        vault
            .done("POST", &format!("sys/auth/{JWT}"), json!({"type": "jwt"}))
            .await?;
    }
    let config = json!({
        "jwks_url": format!("{server}/openid/v1/jwks"),
        "jwks_ca_pem": authority,
        "bound_issuer": issuer["issuer"],
    });
    vault.done("POST", &format!("auth/{JWT}/config"), config).await?;
    let of_the_chart = |file: &str| {
        let file = paths::repository()
            .join("charts/mesocentre/files/vault")
            .join(file);
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
    };
    let policy = json!({"policy": of_the_chart("operator-policy.hcl")?});
    vault
        .done("PUT", &format!("sys/policies/acl/{OPERATOR}"), policy)
        .await?;
    let role = serde_json::from_str(&of_the_chart("operator-role.json")?)?;
    vault
        .done("POST", &format!("auth/{JWT}/role/{OPERATOR}"), role)
        .await?;
    if !vault.is_there(&format!("sys/mounts/{SSH}")).await? {
        vault
            .done("POST", &format!("sys/mounts/{SSH}"), json!({"type": "ssh"}))
            .await?;
    }
    if !vault.is_there(&format!("{SSH}/config/ca")).await? {
        vault
            .done(
                "POST",
                &format!("{SSH}/config/ca"),
                json!({"generate_signing_key": true, "key_type": "ed25519"}),
            )
            .await?;
    }
    Ok(())
}

async fn answers(port: u16) -> Result<()> {
    process::answers("vault", Duration::from_secs(30), async || {
        // 200: initialised, unsealed and active (Vault's API, sys/health).
        match loopback::get(port, "/v1/sys/health").await {
            Ok((200, _)) => Ok(()),
            Ok((code, body)) => Err(format!("{code} {body}")),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}

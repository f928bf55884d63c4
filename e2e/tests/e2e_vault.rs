//! Promise: in a perimeter that asks for it, a tenant's workloads reach its own secrets in Vault and nobody else's; what
//! is taken away comes back; what belongs to others is left alone; and when the tenant ends, its doors shut at once.

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use mesocentre_api::{Condition, ConditionStatus, Tenant, TrustPerimeter};
use mesocentre_e2e::fixture::{self, TenantFixture};
use mesocentre_e2e::{Part, Stack, Vault, wait_for};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Within which drift is repaired.
const REPAIRED: Duration = Duration::from_secs(10);

/// A tenant whose perimeter asks for secrets, with a workspace.
struct Lab {
    tenant: TenantFixture,
    namespace: String,
}

async fn lab(stack: &Stack, prefix: &str) -> Result<Lab> {
    let tenant = fixture::tenant(stack, prefix).await?;
    ask(stack, &tenant.perimeter, json!({"vault": {"secrets": true}})).await?;
    let namespace = tenant.workspace(stack, "lab").await?;
    let lab = Lab { tenant, namespace };
    lab.until(stack, "is open", |vault| vault.reason == "Open").await;
    // It may have been open before the workspace stood.
    let namespace = json!(lab.namespace);
    until_at(
        &stack.vault()?,
        "the role knows the workspace",
        &lab.role(),
        PATIENCE,
        |_, body| {
            let bound = body["data"]["bound_claims"]["/kubernetes.io/namespace"].as_array();
            bound.is_some_and(|bound| bound.contains(&namespace))
        },
    )
    .await;
    Ok(lab)
}

/// Changes a perimeter's spec.
async fn ask(stack: &Stack, perimeter: &str, spec: Value) -> Result<()> {
    let perimeters: Api<TrustPerimeter> = Api::all(stack.admin());
    let patch = Patch::Merge(json!({ "spec": spec }));
    perimeters
        .patch(perimeter, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

impl Lab {
    /// Waits until the condition Vault of the tenant is so.
    async fn until(&self, stack: &Stack, what: &str, holds: impl Fn(&Condition) -> bool) -> Condition {
        fixture::tenant_says(stack, &self.tenant.name, "Vault", what, holds)
            .await
            .1
    }

    /// A token of the workspace's own service account, as the kubelet asks for one.
    async fn workloads_token(&self, stack: &Stack, audience: &str) -> Result<String> {
        token(stack, &self.namespace, audience).await
    }

    /// A workload's login, by its tenant's role.
    async fn log_in(&self, stack: &Stack, vault: &Vault) -> Result<String> {
        let token = self.workloads_token(stack, "vault").await?;
        // A workspace that was made a moment ago is in the role with the next look.
        Ok(wait_for("the workload logs in", PATIENCE, async || {
            match vault.log_in(&self.tenant.name, &token).await {
                Ok(Ok(login)) => Ok(login),
                Ok(Err(refusal)) => Err(refusal.to_string()),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await)
    }

    fn kv(&self) -> String {
        format!("tenants/{}/kv", self.tenant.name)
    }

    fn transit(&self, what: &str) -> String {
        format!("tenants/{0}/transit/{what}/{0}", self.tenant.name)
    }

    fn mount(&self, engine: &str) -> String {
        format!("sys/mounts/tenants/{}/{engine}", self.tenant.name)
    }

    /// The path of its policy.
    async fn policy(&self, stack: &Stack) -> Result<String> {
        let tenants: Api<Tenant> = Api::all(stack.admin());
        let uid = tenants
            .get(&self.tenant.name)
            .await?
            .metadata
            .uid
            .context("a UID")?;
        Ok(format!(
            "sys/policies/acl/mesocentre-tenant--{}--{uid}",
            self.tenant.name
        ))
    }

    fn role(&self) -> String {
        format!("auth/mesocentre/role/{}", self.tenant.name)
    }

    fn ssh_role(&self) -> String {
        format!("mesocentre-ssh/roles/{}", self.tenant.name)
    }

    /// A workload writes its secret. A KV mount takes a moment after it was made.
    async fn keep_secret(&self, vault: &Vault, login: &str, secret: &str) {
        wait_for("the workload writes its secret", PATIENCE, async || {
            let body = json!({"data": {"password": secret}});
            match vault
                .call(login, "POST", &format!("{}/data/db", self.kv()), body)
                .await
            {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

async fn token(stack: &Stack, namespace: &str, audience: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(stack.admin(), namespace);
    wait_for(
        "the service account is there",
        PATIENCE,
        async || match accounts.get_opt("default").await {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    token_of(stack, namespace, "default", audience).await
}

async fn token_of(stack: &Stack, namespace: &str, account: &str, audience: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(stack.admin(), namespace);
    let asked = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![audience.into()]),
            expiration_seconds: Some(600),
            bound_object_ref: None,
        }),
        ..Default::default()
    };
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &asked)
        .await?;
    answer.status.and_then(|status| status.token).context("a token")
}

/// Waits until a path in Vault answers so.
async fn until_at(
    vault: &Vault,
    what: &str,
    path: &str,
    patience: Duration,
    holds: impl Fn(u16, &Value) -> bool,
) {
    wait_for(what, patience, async || {
        match vault.as_root("GET", path, Value::Null).await {
            Ok((code, body)) if holds(code, &body) => Ok(()),
            other => Err(format!("{path}: {other:?}")),
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_workload_reads_its_own_tenants_secrets_and_no_others() -> Result<()> {
    let stack = Stack::current().await?;
    let vault = stack.vault()?;
    let (a, b) = tokio::try_join!(lab(&stack, "va"), lab(&stack, "vb"))?;
    let (of_a, of_b) = tokio::try_join!(a.log_in(&stack, &vault), b.log_in(&stack, &vault))?;
    a.keep_secret(&vault, &of_a, "a's own").await;
    b.keep_secret(&vault, &of_b, "b's own").await;

    let secret = format!("{}/data/db", a.kv());
    let (code, read) = vault.call(&of_a, "GET", &secret, Value::Null).await?;
    assert_eq!(
        (code, &read["data"]["data"]["password"]),
        (200, &json!("a's own"))
    );
    // Its key: what it encrypts it can decrypt.
    let plain = json!({"plaintext": "c2Vuc2l0aXZl"});
    let (_, sealed) = vault
        .call(&of_a, "POST", &a.transit("encrypt"), plain.clone())
        .await?;
    let sealed = json!({"ciphertext": sealed["data"]["ciphertext"]});
    let (code, opened) = vault
        .call(&of_a, "POST", &a.transit("decrypt"), sealed.clone())
        .await?;
    assert_eq!(
        (code, &opened["data"]["plaintext"]),
        (200, &json!("c2Vuc2l0aXZl"))
    );

    // What is the other's, and what is nobody's business.
    for (method, path, body) in [
        ("GET", secret.clone(), Value::Null),
        ("POST", secret.clone(), json!({"data": {"password": "b's"}})),
        ("DELETE", secret.clone(), Value::Null),
        ("LIST", format!("{}/metadata/", a.kv()), Value::Null),
        ("POST", a.transit("encrypt"), plain),
        ("POST", a.transit("decrypt"), sealed),
        ("GET", a.transit("keys"), Value::Null),
        ("GET", b.transit("export/encryption-key"), Value::Null),
        ("DELETE", b.transit("keys"), Value::Null),
        ("GET", "sys/mounts".into(), Value::Null),
        ("GET", b.role(), Value::Null),
        ("GET", b.policy(&stack).await?, Value::Null),
        ("DELETE", b.mount("kv"), Value::Null),
        // A workload would be any member by this.
        (
            "POST",
            format!("mesocentre-ssh/sign/{}", b.tenant.name),
            json!({"public_key": PUBLIC_KEY, "valid_principals": b.tenant.owner}),
        ),
    ] {
        let (code, answer) = vault.call(&of_b, method, &path, body).await?;
        assert_eq!(code, 403, "{method} {path}: {answer}");
    }

    // The door of A opens to nobody else: not to B's workloads, not to others of the cluster, not for another audience.
    for (whose, token) in [
        ("b's", b.workloads_token(&stack, "vault").await?),
        (
            "the platform's",
            token_of(&stack, "kube-system", "default", "vault").await?,
        ),
        (
            "the operator's",
            token_of(&stack, "mesocentre-system", "mesocentre-operator", "vault").await?,
        ),
        (
            "its own, for the API server",
            a.workloads_token(&stack, "https://kubernetes.default.svc")
                .await?,
        ),
    ] {
        let refused = vault.log_in(&a.tenant.name, &token).await?;
        assert!(refused.is_err(), "{whose} token logs in as a's workload");
    }
    // Nor does a workload pass for the operator.
    let own = a.workloads_token(&stack, "vault").await?;
    assert!(vault.log_in("mesocentre-operator", &own).await?.is_err());
    Ok(())
}

/// A key of nobody.
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPTwlATnxThBtrX/PpEvbvGDqvjRbBvAcLYhI7NLJfW4";

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_operator_reads_no_secret_uses_no_key_and_widens_no_right_of_its_own() -> Result<()> {
    let stack = Stack::current().await?;
    let vault = stack.vault()?;
    let a = lab(&stack, "vop").await?;
    let workload = a.log_in(&stack, &vault).await?;
    a.keep_secret(&vault, &workload, "not-for-the-operator").await;
    let token = token_of(&stack, "mesocentre-system", "mesocentre-operator", "vault").await?;
    let login = vault.log_in("mesocentre-operator", &token).await?;
    let operator = login.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let (code, about) = vault
        .call(&operator, "GET", "auth/token/lookup-self", Value::Null)
        .await?;
    assert_eq!(code, 200);
    let lasts = about["data"]["ttl"].as_u64().unwrap_or(u64::MAX);
    assert!(lasts <= 600, "its login is short: {about}");
    for (method, path, body) in [
        ("GET", format!("{}/data/db", a.kv()), Value::Null),
        ("LIST", format!("{}/metadata/", a.kv()), Value::Null),
        ("POST", a.transit("encrypt"), json!({"plaintext": "YQ=="})),
        ("GET", a.transit("export/encryption-key"), Value::Null),
        ("POST", a.transit("keys") + "/config", json!({"exportable": true})),
        (
            "POST",
            format!("mesocentre-ssh/sign/{}", a.tenant.name),
            json!({"public_key": PUBLIC_KEY, "valid_principals": a.tenant.owner}),
        ),
        (
            "POST",
            "mesocentre-ssh/config/ca".into(),
            json!({"generate_signing_key": true}),
        ),
        (
            "PUT",
            "sys/policies/acl/mesocentre-operator".into(),
            json!({"policy": ""}),
        ),
        (
            "POST",
            "auth/mesocentre/role/mesocentre-operator".into(),
            json!({"token_ttl": "9000h"}),
        ),
        (
            "POST",
            "auth/mesocentre/config".into(),
            json!({"jwks_url": "https://evil.test"}),
        ),
        ("POST", "sys/mounts/library".into(), json!({"type": "kv"})),
        ("DELETE", "sys/mounts/mesocentre-ssh".into(), Value::Null),
        ("PUT", "sys/seal".into(), Value::Null),
    ] {
        let (code, answer) = vault.call(&operator, method, &path, body).await?;
        assert_eq!(code, 403, "{method} {path}: {answer}");
    }
    // Whatever it is told, its log holds no secret and no token.
    let log = std::fs::read_to_string(stack.operator().log())?;
    for secret in ["not-for-the-operator", "hvs.", "eyJ"] {
        assert!(!log.contains(secret), "the operator's log holds {secret}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_certificate_names_a_member_for_five_minutes_and_nobody_else() -> Result<()> {
    let stack = Stack::current().await?;
    let vault = stack.vault()?;
    let a = lab(&stack, "vssh").await?;
    let sign = format!("mesocentre-ssh/sign/{}", a.tenant.name);
    // As the administrator: no policy that the operator writes lets anybody sign.
    let of = |who: &str, more: Value| {
        let mut body = json!({"public_key": PUBLIC_KEY, "valid_principals": who});
        for (field, value) in more.as_object().into_iter().flatten() {
            body[field.as_str()] = value.clone();
        }
        body
    };
    let (code, signed) = vault
        .as_root("POST", &sign, of(&a.tenant.member, json!({})))
        .await?;
    assert_eq!(code, 200, "{signed}");
    for (what, body) in [
        ("a stranger", of("root", json!({}))),
        ("everybody", of("*", json!({}))),
        ("nobody", of("", json!({}))),
        (
            "a member and a stranger",
            of(&format!("{},root", a.tenant.member), json!({})),
        ),
        ("an hour", of(&a.tenant.member, json!({"ttl": "1h"}))),
        ("a host", of(&a.tenant.member, json!({"cert_type": "host"}))),
        (
            "forwarding",
            of(
                &a.tenant.member,
                json!({"extensions": {"permit-port-forwarding": ""}}),
            ),
        ),
        (
            "another's key id",
            of(&a.tenant.member, json!({"key_id": "somebody"})),
        ),
    ] {
        let (code, answer) = vault.as_root("POST", &sign, body).await?;
        assert_eq!(code, 400, "for {what}: {answer}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_somebody_changes_or_takes_away_in_vault_is_as_planned_again_within_ten_seconds() -> Result<()> {
    let stack = Stack::current().await?;
    let vault = stack.vault()?;
    let a = lab(&stack, "vdrift").await?;
    let drift = async || stack.operator().metric("mesocentre_drift_repaired_total").await;
    let before = drift().await?.unwrap_or_default();
    let policy = a.policy(&stack).await?;
    let (_, whole) = vault.as_root("GET", &policy, Value::Null).await?;
    let whole = whole["data"]["policy"].clone();
    let (_, role) = vault.as_root("GET", &a.role(), Value::Null).await?;
    let role = role["data"].clone();

    // Taken away.
    for path in [policy.clone(), a.role(), a.ssh_role(), a.mount("transit")] {
        let (code, answer) = vault.as_root("DELETE", &path, Value::Null).await?;
        assert_eq!(code, 204, "{path}: {answer}");
    }
    until_at(&vault, "the policy is back", &policy, REPAIRED, |_, body| {
        body["data"]["policy"] == whole
    })
    .await;
    for path in [a.role(), a.ssh_role(), a.transit("keys")] {
        until_at(&vault, "it is back", &path, REPAIRED, |code, _| code == 200).await;
    }
    // Changed: a policy that opens all, a role that lets anybody in.
    let open = whole.as_str().unwrap_or_default().to_owned() + "\npath \"*\" { capabilities = [\"read\"] }\n";
    vault.as_root("PUT", &policy, json!({"policy": open})).await?;
    let mut wide = role.clone();
    wide["bound_claims"] = json!({});
    let (code, answer) = vault.as_root("POST", &a.role(), wide).await?;
    assert_eq!(code, 204, "{answer}");
    until_at(&vault, "the policy is as it was", &policy, REPAIRED, |_, body| {
        body["data"]["policy"] == whole
    })
    .await;
    until_at(&vault, "the role is as it was", &a.role(), REPAIRED, |_, body| {
        body["data"] == role
    })
    .await;
    let after = drift().await?.unwrap_or_default();
    assert!(
        after > before,
        "repairs are counted: {before} before, {after} after"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_stands_in_vault_and_is_not_ours_is_left_alone_and_the_tenant_is_told() -> Result<()> {
    let stack = Stack::current().await?;
    let vault = stack.vault()?;
    let tenant = fixture::tenant(&stack, "vtaken").await?;
    let namespace = tenant.workspace(&stack, "lab").await?;
    let lab = Lab { tenant, namespace };
    let by_hand = json!({"type": "kv", "description": "the library's"});
    let (code, answer) = vault.as_root("POST", &lab.mount("kv"), by_hand).await?;
    assert_eq!(code, 204, "{answer}");
    ask(&stack, &lab.tenant.perimeter, json!({"vault": {"secrets": true}})).await?;
    let told = lab
        .until(&stack, "is told", |vault| vault.reason == "Taken")
        .await;
    assert!(told.message.contains("left alone"), "{told:?}");
    let (_, there) = vault.as_root("GET", &lab.mount("kv"), Value::Null).await?;
    assert_eq!(there["data"]["description"], "the library's");
    // Once it is away, ours is made; a role that somebody else made is left alone just so.
    vault.as_root("DELETE", &lab.mount("kv"), Value::Null).await?;
    lab.until(&stack, "is open", |vault| vault.reason == "Open").await;
    let theirs = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["library"], "oidc_scopes": [], "token_policies": ["default"]});
    vault.as_root("POST", &lab.role(), theirs).await?;
    lab.until(&stack, "is told", |vault| vault.reason == "Taken")
        .await;
    let (_, there) = vault.as_root("GET", &lab.role(), Value::Null).await?;
    assert_eq!(there["data"]["bound_audiences"], json!(["library"]));
    vault.as_root("DELETE", &lab.role(), Value::Null).await?;
    lab.until(&stack, "is open", |vault| vault.reason == "Open").await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn when_a_tenant_ends_nobody_logs_in_and_its_data_are_kept_for_the_retention() -> Result<()> {
    let stack = Stack::current().await?;
    let vault = stack.vault()?;
    let (kept, gone) = tokio::try_join!(lab(&stack, "vkept"), lab(&stack, "vgone"))?;
    ask(
        &stack,
        &kept.tenant.perimeter,
        json!({"suspension": {"retentionDays": 30}}),
    )
    .await?;
    ask(
        &stack,
        &gone.tenant.perimeter,
        json!({"suspension": {"retentionDays": 0}}),
    )
    .await?;
    let login = kept.log_in(&stack, &vault).await?;
    kept.keep_secret(&vault, &login, "kept").await;
    let token = kept.workloads_token(&stack, "vault").await?;
    let days = |days: &str| {
        let days = format!("keep-days={days}");
        move |_: u16, body: &Value| {
            body["data"]["description"]
                .as_str()
                .is_some_and(|text| text.ends_with(&days))
        }
    };
    until_at(
        &vault,
        "Vault remembers the retention",
        &kept.mount("kv"),
        PATIENCE,
        days("30"),
    )
    .await;
    until_at(
        &vault,
        "Vault remembers the retention",
        &gone.mount("kv"),
        PATIENCE,
        days("0"),
    )
    .await;
    until_at(
        &vault,
        "Vault remembers the retention",
        &gone.mount("transit"),
        PATIENCE,
        days("0"),
    )
    .await;

    let tenants: Api<Tenant> = Api::all(stack.admin());
    let before = tenants.get(&kept.tenant.name).await?;
    for lab in [&kept, &gone] {
        tenants.delete(&lab.tenant.name, &DeleteParams::default()).await?;
    }
    // A login that was made before loses all that it could do, and there is no other.
    let secret = format!("{}/data/db", kept.kv());
    wait_for(
        "the login can do nothing any more",
        REPAIRED,
        async || match vault.call(&login, "GET", &secret, Value::Null).await {
            Ok((403, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    wait_for("nobody logs in", REPAIRED, async || {
        match vault.log_in(&kept.tenant.name, &token).await {
            Ok(Err(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    until_at(
        &vault,
        "the SSH role is gone",
        &kept.ssh_role(),
        REPAIRED,
        |code, _| code == 404,
    )
    .await;
    until_at(
        &vault,
        "the mount says until when it is kept",
        &kept.mount("kv"),
        REPAIRED,
        |_, body| {
            body["data"]["description"]
                .as_str()
                .is_some_and(|text| text.contains(" destroy="))
        },
    )
    .await;
    let (code, read) = vault.as_root("GET", &secret, Value::Null).await?;
    assert_eq!((code, &read["data"]["data"]["password"]), (200, &json!("kept")));
    for engine in ["kv", "transit"] {
        until_at(
            &vault,
            "what is kept for no day is destroyed",
            &gone.mount(engine),
            PATIENCE,
            |code, _| code != 200,
        )
        .await;
    }

    // A tenant that is made again under the name gets none of it, and says so.
    wait_for("the tenant is gone", PATIENCE, async || {
        match tenants.get_opt(&kept.tenant.name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let again: Tenant = serde_json::from_value(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Tenant", "metadata": {"name": kept.tenant.name}, "spec": before.spec,
    }))?;
    tenants.create(&PostParams::default(), &again).await?;
    let told = kept
        .until(&stack, "is told", |vault| vault.reason == "Remains")
        .await;
    assert!(told.message.contains(&kept.kv()), "{told:?}");
    assert!(vault.log_in(&kept.tenant.name, &token).await?.is_err());
    // Its administrators decide that nobody needs the old data.
    for engine in ["kv", "transit"] {
        vault.as_root("DELETE", &kept.mount(engine), Value::Null).await?;
    }
    kept.until(&stack, "is open", |vault| vault.reason == "Open")
        .await;
    let (code, _) = vault.call(&login, "GET", &secret, Value::Null).await?;
    assert_eq!(
        code, 403,
        "a login of the tenant before opens nothing of this one's"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn while_vault_is_sealed_or_away_tenants_are_told_and_then_all_is_whole_again() -> Result<()> {
    let stack = Stack::alone().await?;
    let vault = stack.vault()?;
    let a = lab(&stack, "vseal").await?;
    vault.seal().await?;
    let told = a
        .until(&stack, "is sealed", |vault| vault.reason == "Sealed")
        .await;
    assert_eq!(told.status, ConditionStatus::False);
    assert!(told.message.contains("unseal it"), "{told:?}");
    // A tenant and a workspace are made meanwhile all the same.
    let b = fixture::tenant(&stack, "vmean").await?;
    ask(&stack, &b.perimeter, json!({"vault": {"secrets": true}})).await?;
    let namespace = b.workspace(&stack, "lab").await?;
    let b = Lab { tenant: b, namespace };
    b.until(&stack, "is sealed", |vault| vault.reason == "Sealed")
        .await;
    vault.unseal().await?;
    for lab in [&a, &b] {
        lab.until(&stack, "is open", |vault| vault.reason == "Open").await;
        let login = lab.log_in(&stack, &vault).await?;
        lab.keep_secret(&vault, &login, "again").await;
    }
    // Away, and back with nothing of what it knew: its development mode forgets.
    stack.kill(Part::Vault).await?;
    let told = a
        .until(&stack, "is away", |vault| vault.reason == "Unreachable")
        .await;
    assert!(told.message.contains("does not answer"), "{told:?}");
    stack.start(Part::Vault).await?;
    a.until(&stack, "is open", |vault| vault.reason == "Open").await;
    let login = a.log_in(&stack, &vault).await?;
    a.keep_secret(&vault, &login, "anew").await;
    // The operator cut off in the middle takes it up where it was.
    vault.as_root("DELETE", &a.role(), Value::Null).await?;
    stack.operator().kill().await?;
    stack.operator().start().await?;
    until_at(&vault, "the role is back", &a.role(), PATIENCE, |code, _| {
        code == 200
    })
    .await;
    Ok(())
}

//! What is written into Vault at a path, whole, and when what is there is as it should be.

use super::mark::{Mark, State};
use super::policy;
use super::{Layout, Wanted};
use serde_json::{Map, Value, json};

/// What kind of thing stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    /// A mount of the KV or transit engine.
    Mount,
    /// A transit key.
    Key,
    /// A policy.
    Policy,
    /// A role of the JWT auth method.
    JwtRole,
    /// A role of the SSH engine.
    SshRole,
}

impl Thing {
    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mount => "VaultMount",
            Self::Key => "VaultKey",
            Self::Policy => "VaultPolicy",
            Self::JwtRole => "VaultJwtRole",
            Self::SshRole => "VaultSshRole",
        }
    }

    /// In a sentence.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Key => "transit key",
            Self::Policy => "policy",
            Self::JwtRole => "JWT role",
            Self::SshRole => "SSH role",
        }
    }
}

/// Something that must be in Vault: written by POST to its path, read by GET.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is.
    pub thing: Thing,
    /// Its path.
    pub path: String,
    /// Every field that decides anything, as it is written and as Vault gives it back.
    pub body: Value,
}

/// How long a certificate holds, in seconds: a few minutes, to reach a login node.
const CERTIFICATE_SECONDS: u32 = 300;
/// How long a workload's login holds before it is renewed, in seconds.
const LOGIN_SECONDS: u32 = 900;
/// How long it can be renewed, in seconds: then the workload logs in again.
const LOGIN_AT_MOST_SECONDS: u32 = 3_600;

impl Entry {
    /// Whether what Vault gave back for its path is what must be. An empty list, map or text is as good as none.
    pub fn is_met_by(&self, read: &Value) -> bool {
        fn is_nothing(value: &Value) -> bool {
            match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            }
        }
        self.body.as_object().into_iter().flatten().all(|(field, must)| {
            let is = &read[field.as_str()];
            is == must || (is_nothing(is) && is_nothing(must))
        })
    }
}

/// The mark that what Vault gave back bears, when it bears one.
pub(super) fn mark_of(thing: Thing, read: &Value) -> Option<Mark> {
    let text = match thing {
        Thing::Mount => read["description"].as_str()?,
        // A key has no place for a mark: it is in a mount that bears one.
        Thing::Key => return None,
        Thing::Policy => read["policy"].as_str()?.lines().next()?.strip_prefix("# ")?,
        Thing::JwtRole => match read["oidc_scopes"].as_array()?.as_slice() {
            [one] => one.as_str()?,
            _ => return None,
        },
        Thing::SshRole => read["key_id_format"].as_str()?.strip_suffix(SIGNED_FOR)?,
    };
    Mark::parse(text)
}

/// Who had a certificate signed stands in its key id, which sshd logs.
const SIGNED_FOR: &str = " for={{token_display_name}}";

/// The mark of a tenant that lives.
pub(super) fn in_use(layout: &Layout, wanted: &Wanted) -> Mark {
    Mark {
        tenant: wanted.tenant.clone(),
        uid: wanted.uid.clone(),
        cluster: layout.cluster.clone(),
        state: State::InUse {
            keep_days: wanted.kept_days,
        },
    }
}

/// The key of a tenant, in its transit mount.
pub(super) fn key(layout: &Layout, wanted: &Wanted) -> Entry {
    Entry {
        thing: Thing::Key,
        path: format!("{}/keys/{}", layout.transit(&wanted.tenant), wanted.tenant),
        body: json!({
            "type": "aes256-gcm96",
            "derived": false,
            // Nobody takes it out of Vault.
            "exportable": false,
            "allow_plaintext_backup": false,
        }),
    }
}

/// What lets workloads in, when the tenant is open: policy, then role, then the SSH role.
pub(super) fn doors(layout: &Layout, wanted: &Wanted) -> Vec<Entry> {
    let mark = in_use(layout, wanted).to_string();
    let name = layout.policy(&wanted.tenant, &wanted.uid);
    let mut doors = vec![
        Entry {
            thing: Thing::Policy,
            path: format!("sys/policies/acl/{name}"),
            body: json!({"policy": policy::of_tenant(layout, wanted, &mark)}),
        },
        jwt_role(layout, wanted, &mark, &name),
    ];
    // A role for nobody would be one that anybody may widen unseen.
    if !wanted.accounts.is_empty() {
        doors.push(ssh_role(layout, wanted, &mark));
    }
    doors
}

fn jwt_role(layout: &Layout, wanted: &Wanted, mark: &str, policy: &str) -> Entry {
    let namespaces: Vec<&str> = wanted.namespaces.iter().map(AsRef::as_ref).collect();
    Entry {
        thing: Thing::JwtRole,
        path: format!("auth/{}/role/{}", layout.jwt, wanted.tenant),
        body: json!({
            "role_type": "jwt",
            // One entity a service account, in Vault's audit log too.
            "user_claim": "sub",
            "user_claim_json_pointer": false,
            "bound_audiences": [layout.audience],
            "bound_subject": "",
            // Each namespace by its whole name: no pattern could match another tenant's.
            "bound_claims_type": "string",
            "bound_claims": {"/kubernetes.io/namespace": namespaces},
            "claim_mappings": {},
            "groups_claim": "",
            "allowed_redirect_uris": [],
            "oidc_scopes": [mark],
            "verbose_oidc_logging": false,
            "token_type": "service",
            "token_policies": [policy],
            "token_no_default_policy": false,
            "token_ttl": LOGIN_SECONDS,
            "token_max_ttl": LOGIN_AT_MOST_SECONDS,
            "token_explicit_max_ttl": LOGIN_AT_MOST_SECONDS,
            "token_period": 0,
            "token_num_uses": 0,
            "token_bound_cidrs": [],
        }),
    }
}

fn ssh_role(layout: &Layout, wanted: &Wanted, mark: &str) -> Entry {
    let accounts: Vec<&str> = wanted.accounts.iter().map(|account| account.as_str()).collect();
    Entry {
        thing: Thing::SshRole,
        path: format!("{}/roles/{}", layout.ssh, wanted.tenant),
        body: json!({
            "key_type": "ca",
            "allow_user_certificates": true,
            "allow_host_certificates": false,
            "allowed_users": accounts.join(","),
            "allowed_users_template": false,
            "allow_empty_principals": false,
            "default_user": "",
            "default_user_template": false,
            // sbatch by ssh wants no terminal and no forwarding.
            "allowed_extensions": "",
            "default_extensions": {},
            "default_extensions_template": false,
            "ttl": CERTIFICATE_SECONDS,
            "max_ttl": CERTIFICATE_SECONDS,
            "allow_user_key_ids": false,
            "key_id_format": format!("{mark}{SIGNED_FOR}"),
        }),
    }
}

/// What is asked for when a mount is made.
pub(super) fn mount_body(engine: &str, mark: &Mark) -> Value {
    let mut body = Map::new();
    body.insert("type".into(), json!(engine));
    body.insert("description".into(), json!(mark.to_string()));
    if engine == "kv" {
        body.insert("options".into(), json!({"version": "2"}));
    }
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_met_by_what_has_all_its_fields_whatever_else_it_has() {
        let entry = Entry {
            thing: Thing::JwtRole,
            path: "p".into(),
            body: json!({"ttl": 300, "scopes": [], "names": ["a"]}),
        };
        assert!(entry.is_met_by(&json!({"ttl": 300, "names": ["a"], "more": 1})));
        assert!(entry.is_met_by(&json!({"ttl": 300, "names": ["a"], "scopes": null})));
        for other in [
            json!({"ttl": 301, "names": ["a"]}),
            json!({"ttl": 300, "names": ["a", "b"]}),
            json!({"ttl": 300, "names": ["a"], "scopes": ["x"]}),
            json!({}),
            Value::Null,
        ] {
            assert!(!entry.is_met_by(&other), "{other}");
        }
    }
}

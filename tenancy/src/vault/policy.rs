//! Vault's policies: a tenant's, and the operator's own.
//!
//! Paths are made of [`VaultPath`]s and tenants' names, which hold nothing that HCL or Vault's patterns would read
//! otherwise; so nothing is escaped.

use super::{Layout, OPERATOR_ROLE, VaultPath, Wanted};
use std::fmt::Write;

/// What the names of tenants' policies begin with.
pub(super) const PREFIX: &str = "mesocentre-tenant--";

/// One path of a policy and what may be done there.
struct Rule {
    path: String,
    capabilities: &'static str,
    /// The parameters that may be given, each with its values or none for any; all, where none is named.
    parameters: &'static [(&'static str, &'static str)],
}

fn below(path: &VaultPath, rest: &str, capabilities: &'static str) -> Rule {
    Rule {
        path: format!("{path}/{rest}"),
        capabilities,
        parameters: &[],
    }
}

fn write(text: &mut String, rule: &Rule) {
    // Writing into a String does not fail.
    let _ = writeln!(
        text,
        "path \"{}\" {{\n  capabilities = [{}]",
        rule.path, rule.capabilities
    );
    if !rule.parameters.is_empty() {
        text.push_str("  allowed_parameters = {\n");
        for (name, values) in rule.parameters {
            let _ = writeln!(text, "    \"{name}\" = [{values}]");
        }
        text.push_str("  }\n");
    }
    text.push_str("}\n");
}

/// What a tenant's workloads may do: their own secrets, and work with their own key. Not the SSH role: a workload would sign
/// as any member.
pub(super) fn of_tenant(layout: &Layout, wanted: &Wanted, mark: &str) -> String {
    let (kv, transit, key) = (
        layout.kv(&wanted.tenant),
        layout.transit(&wanted.tenant),
        &wanted.tenant,
    );
    let mut text = format!("# {mark}\n");
    for rule in [
        below(&kv, "data/*", r#""create", "read", "update", "patch", "delete""#),
        below(
            &kv,
            "metadata/*",
            r#""create", "read", "update", "patch", "delete", "list""#,
        ),
        below(&kv, "metadata", r#""list""#),
        below(&kv, "subkeys/*", r#""read""#),
        below(&kv, "delete/*", r#""update""#),
        below(&kv, "undelete/*", r#""update""#),
        below(&kv, "destroy/*", r#""update""#),
        below(&transit, &format!("keys/{key}"), r#""read""#),
        below(&transit, &format!("keys/{key}/rotate"), r#""update""#),
        below(&transit, &format!("encrypt/{key}"), r#""update""#),
        below(&transit, &format!("decrypt/{key}"), r#""update""#),
        below(&transit, &format!("rewrap/{key}"), r#""update""#),
        below(&transit, &format!("datakey/plaintext/{key}"), r#""update""#),
        below(&transit, &format!("datakey/wrapped/{key}"), r#""update""#),
        below(&transit, &format!("hmac/{key}"), r#""update""#),
        below(&transit, &format!("verify/{key}"), r#""update""#),
    ] {
        write(&mut text, &rule);
    }
    text
}

/// What the operator may do, as the administrator writes it: charts/mesocentre/files/vault/operator-policy.hcl has it for
/// the default paths, and a test holds it.
pub fn operator_policy(tenants: &VaultPath, jwt: &VaultPath, ssh: &VaultPath) -> String {
    let mut text = format!(
        "# What the operator of Mesocentre may do in Vault, for the paths {tenants} (tenants' mounts), auth/{jwt} (JWT auth\n\
         # method) and {ssh} (SSH engine). Nothing here reads a tenant's secrets, uses its key or signs a certificate.\n"
    );
    let mut add_with = |why: &str, path: String, capabilities, parameters| {
        let _ = writeln!(text, "\n# {why}");
        write(
            &mut text,
            &Rule {
                path,
                capabilities,
                parameters,
            },
        );
    };
    let mounts: [(_, &'static [_]); 2] = [
        ("kv", &[("type", "\"kv\""), ("description", ""), ("options", "")]),
        ("transit", &[("type", "\"transit\""), ("description", "")]),
    ];
    for (engine, parameters) in mounts {
        add_with(
            "Made; destroyed after the retention.",
            format!("sys/mounts/{tenants}/+/{engine}"),
            r#""create", "update", "delete""#,
            parameters,
        );
        add_with(
            "Its mark, which says until when it is kept, and no other setting.",
            format!("sys/mounts/{tenants}/+/{engine}/tune"),
            r#""update""#,
            &[("description", "")],
        );
    }
    let mut add =
        |why: &str, path: String, capabilities: &'static str| add_with(why, path, capabilities, &[]);
    add(
        "One look for all tenants: which mounts there are, and which bear our mark.",
        "sys/mounts".into(),
        r#""read""#,
    );
    add(
        "A tenant's key is made and looked at; who may use it is the tenant's policy's matter.",
        format!("{tenants}/+/transit/keys/+"),
        r#""create", "read", "update""#,
    );
    add(
        "Which policies there are.",
        "sys/policies/acl".into(),
        r#""list""#,
    );
    add(
        "Tenants' policies. Not its own, nor anybody else's.",
        format!("sys/policies/acl/{PREFIX}*"),
        r#""create", "read", "update", "delete""#,
    );
    add("Which roles there are.", format!("auth/{jwt}/role"), r#""list""#);
    add(
        "Tenants' roles.",
        format!("auth/{jwt}/role/+"),
        r#""create", "read", "update", "delete""#,
    );
    add(
        "Its own role is the administrator's.",
        format!("auth/{jwt}/role/{OPERATOR_ROLE}"),
        r#""deny""#,
    );
    add("Which SSH roles there are.", format!("{ssh}/roles"), r#""list""#);
    add(
        "Tenants' SSH roles. It signs nothing.",
        format!("{ssh}/roles/+"),
        r#""create", "read", "update", "delete""#,
    );
    text
}

//! Does in Vault what is planned: each step by itself harmless when done twice.

use crate::vault::{Vault, VaultFailure};
use mesocentre_tenancy::vault::{Entry, Layout, Leftover, Refusal, Seen, SeenMount, Step, TenantPlan, Thing};
use serde_json::{Value, json};

/// Why a tenant's part is not as it must be.
pub enum NotMade {
    /// Something is in the way.
    Refused(Refusal),
    /// Vault did not do it.
    Failed(VaultFailure),
}

impl From<VaultFailure> for NotMade {
    fn from(failure: VaultFailure) -> Self {
        Self::Failed(failure)
    }
}

/// One listing for all tenants.
///
/// # Errors
/// When Vault does not give it.
pub async fn look(vault: &Vault, layout: &Layout) -> Result<Seen, VaultFailure> {
    let mounts = vault.read("sys/mounts").await?.unwrap_or_default();
    let mounts = mounts.as_object().into_iter().flatten().map(|(path, mount)| {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let seen = SeenMount {
            engine: text(&mount["type"]).unwrap_or_default(),
            version: text(&mount["options"]["version"]),
            description: text(&mount["description"]).unwrap_or_default(),
        };
        (path.trim_end_matches('/').to_owned(), seen)
    });
    Ok(Seen {
        mounts: mounts.collect(),
        policies: vault.list("sys/policies/acl").await?,
        jwt_roles: vault.list(&format!("auth/{}/role", layout.jwt)).await?,
        ssh_roles: vault.list(&format!("{}/roles", layout.ssh)).await?,
    })
}

/// Brings a tenant's part about; gives what was written.
///
/// # Errors
/// When something is in the way, or Vault does not do it.
pub async fn bring_about(vault: &Vault, layout: &Layout, plan: &TenantPlan) -> Result<Vec<Thing>, NotMade> {
    let mut written = Vec::new();
    for step in &plan.mounts {
        match step {
            Step::Mount { path, body } => {
                vault.write(&format!("sys/mounts/{path}"), body).await?;
            }
            Step::Describe { path, mark } => describe(vault, path.as_str(), &mark.to_string()).await?,
        }
        written.push(Thing::Mount);
    }
    for entry in &plan.entries {
        if write(vault, layout, plan, entry).await? {
            written.push(entry.thing);
        }
    }
    Ok(written)
}

async fn describe(vault: &Vault, path: &str, mark: &str) -> Result<(), VaultFailure> {
    vault
        .write(&format!("sys/mounts/{path}/tune"), &json!({"description": mark}))
        .await
}

/// Writes one entry, if it is not met; true when it was written.
async fn write(vault: &Vault, layout: &Layout, plan: &TenantPlan, entry: &Entry) -> Result<bool, NotMade> {
    let before = vault.read(&entry.path).await?;
    if let Some(before) = &before {
        if entry.is_met_by(before) {
            return Ok(false);
        }
        // A key bears no mark, and is in a mount that does.
        if entry.thing != Thing::Key && !layout.is_ours(entry.thing, before) {
            return Err(NotMade::Refused(Refusal::Taken {
                thing: entry.thing,
                path: entry.path.clone(),
                tenant: plan.wanted.tenant.clone(),
            }));
        }
    }
    vault.write(&entry.path, &entry.body).await?;
    // What was there may resist: a key that was made exportable stays so.
    if before.is_some() {
        let now = vault.read(&entry.path).await?.unwrap_or_default();
        if !entry.is_met_by(&now) {
            return Err(NotMade::Refused(Refusal::Stays {
                thing: entry.thing,
                path: entry.path.clone(),
            }));
        }
    }
    Ok(true)
}

/// What became of something left over.
pub enum Cleared {
    /// It is done.
    Done,
    /// It is somebody else's, and stays.
    Foreign,
}

/// Clears away one thing that is left over.
///
/// # Errors
/// When Vault does not do it.
pub async fn clear(vault: &Vault, layout: &Layout, leftover: &Leftover) -> Result<Cleared, VaultFailure> {
    match leftover {
        Leftover::Door { thing, path } => {
            let Some(there) = vault.read(path).await? else {
                return Ok(Cleared::Done);
            };
            if !layout.is_ours(*thing, &there) {
                return Ok(Cleared::Foreign);
            }
            vault.delete(path).await?;
            tracing::info!(
                path,
                "the {} in Vault is gone: nobody wants it any more",
                thing.in_words()
            );
        }
        Leftover::Seal { path, mark } => {
            describe(vault, path.as_str(), &mark.to_string()).await?;
            tracing::info!(%path, %mark, "the mount in Vault is sealed off: its tenant has ended, or its perimeter asks for none");
        }
        Leftover::Destroy { path, mark } => {
            vault.delete(&format!("sys/mounts/{path}")).await?;
            tracing::warn!(%path, %mark, "the mount in Vault is destroyed: it was kept as long as it had to be");
        }
    }
    Ok(Cleared::Done)
}

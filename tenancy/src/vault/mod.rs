//! What a tenant has in Vault: a KV mount, a transit mount with a key, a policy, a JWT role, an SSH role.
//!
//! Pure: who wants what and what one listing of Vault showed go in; what must be written, what is left over from a tenant
//! that has ended, and what is in the way come out.
//!
//! ```text
//! <tenants>/univ-caen/kv, …/transit     mounts; the description is the mark: tenant, UID, cluster, for how long kept
//! <tenants>/univ-caen/transit/keys/…    one key, of the tenant's name
//! policy mesocentre-tenant--univ-caen--<UID>   these two mounts and nothing else
//! auth/<jwt>/role/univ-caen             tokens of service accounts of the tenant's namespaces, for that policy
//! <ssh>/roles/univ-caen                 certificates of five minutes for its members' posix accounts
//! ```
//! The mounts are also the memory: when the Tenant object is gone, their descriptions say until when they are kept.
//! Whatever lacks the mark was made by somebody else, and is never written to nor deleted.

mod entry;
mod mark;
mod names;
mod plan;
mod policy;

pub use entry::{Entry, Thing};
pub use mark::{Mark, State};
pub use names::{BadName, PosixAccount, Uid, VaultPath};
pub use plan::{Leftover, Plan, Refusal, Seen, SeenMount, Step, TenantPlan, plan};
pub use policy::operator_policy;

use crate::names::{NamespaceName, TenantName};
use std::collections::BTreeSet;

/// The operator's own role of the JWT auth method; no tenant can have that name.
pub const OPERATOR_ROLE: &str = "mesocentre-operator";

/// Where things are in Vault, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Below it, each tenant has its mounts.
    pub tenants: VaultPath,
    /// Mount of the JWT auth method, which the administrator makes.
    pub jwt: VaultPath,
    /// Mount of the SSH secrets engine with its certificate authority, which the administrator makes.
    pub ssh: VaultPath,
    /// The audience that service accounts' tokens must be for.
    pub audience: String,
    /// The cluster that all of it belongs to: what another cluster made in the same Vault is somebody else's.
    pub cluster: Uid,
}

/// A tenant that is to have its part of Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub tenant: TenantName,
    /// The Tenant object's UID.
    pub uid: Uid,
    /// Its namespaces, each made for it: who has a service account's token from one of them may log in.
    pub namespaces: BTreeSet<NamespaceName>,
    /// Posix accounts of its members who run jobs.
    pub accounts: BTreeSet<PosixAccount>,
    /// For how many days its data are kept after its end.
    pub kept_days: i64,
}

/// The tenants, as far as Vault is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Those that are to have their part.
    pub wanted: Vec<Wanted>,
    /// Those of which this cannot be told now, by name and UID: what stands of them is neither repaired nor sealed off.
    pub left_alone: Vec<(TenantName, Uid)>,
}

impl Layout {
    /// A tenant's KV mount.
    pub fn kv(&self, tenant: &TenantName) -> VaultPath {
        self.tenants.child(tenant).child_word("kv")
    }

    /// A tenant's transit mount.
    pub fn transit(&self, tenant: &TenantName) -> VaultPath {
        self.tenants.child(tenant).child_word("transit")
    }

    /// The name of a tenant's policy. It holds the UID, so that a login of an earlier tenant of the same name opens
    /// nothing of a later one's.
    pub fn policy(&self, tenant: &TenantName, uid: &Uid) -> String {
        format!("{}{tenant}--{uid}", policy::PREFIX)
    }
}

//! Perimeters, tenants, workspaces and peering agreements. All judgement is in the crate `mesocentre-tenancy`; here it
//! is gathered for, asked, and done.
//!
//! ```text
//!  TrustPerimeter ─► counted, kept while somebody lives in it
//!  Tenant ─standing─► home namespace ─► fences ─► access            leave: jobs, workspaces, agreements,
//!  Workspace ──────► namespace ─► fences, slice of the quota ─► access     allocations, home namespace
//!  PeeringAgreement ─► policies in its own tenant's namespaces
//!
//!  made    what was made, and what was written last       claims   posix accounts over all tenants
//!  apply   creates, replaces, deletes what differs        remains  what would be lost with a tenant
//!  stop    ends what runs of a suspended tenant
//!  sweep   has looked at what no event tells of           counts   numbers in a status, written a moment later
//!  vault   what tenants have in Vault
//!  proof   what shows that the perimeter holds; the chart's admission policies put back; what drifted
//! ```

mod apply;
mod claims;
mod counts;
mod fence;
mod made;
mod namespace;
pub mod peering;
pub mod perimeter;
pub mod proof;
mod quota;
mod remains;
pub mod standing;
mod stop;
mod sweep;
pub mod tenant;
mod unbilled;
pub mod vault;
pub mod workspace;

pub use standing::suspension_of;
pub use sweep::sweep;

use crate::Context;
use crate::context::{Stores, Watches};
use crate::triggers::Triggers;
use crate::watch::{ByNamespace, Watch, Watchable};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
pub use made::Kind;
use made::Made;
use mesocentre_api::{Condition, READY, Tenant, Workspace, find_condition};
use mesocentre_tenancy::TenantClaims;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How soon that is looked at again of which no watch tells.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(10);

/// What the reconciles of tenants share. Cheap to clone.
#[derive(Clone)]
pub struct Tenancy(Arc<Shared>);

/// What the reconciles of tenants share.
pub struct Shared {
    made: Made,
    /// Workspaces, by their tenants' home namespaces.
    workspaces: ByNamespace<Workspace>,
    quotas: quota::Quotas,
    claims: claims::Claims,
    counts: counts::Counts,
    remains: remains::Remains,
    /// How tenants stand in Vault.
    pub vault: vault::InVault,
    proof: proof::Proof,
}

impl std::ops::Deref for Tenancy {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Tenancy {
    /// With or without an address of Vault.
    pub fn new(has_vault: bool, watches: &mut Watches) -> Self {
        Self(Arc::new(Shared {
            made: Made::default(),
            workspaces: ByNamespace::of(&mut watches.workspaces),
            quotas: quota::Quotas::default(),
            claims: claims::Claims::default(),
            counts: counts::Counts::default(),
            remains: remains::Remains::default(),
            vault: vault::InVault::new(has_vault),
            proof: proof::Proof::default(),
        }))
    }

    /// Listens to the watches: before those that have objects looked at, so that these find everything up to date.
    pub fn connect(&self, watches: &mut Watches, stores: &Stores, triggers: &Triggers) {
        // What is wanted in Vault hangs on these.
        let tenancy = self.clone();
        watches
            .perimeters
            .on_spec_change(move |_| tenancy.vault.look_soon());
        let tenancy = self.clone();
        watches.namespaces.on_change(move |_| tenancy.vault.look_soon());
        let tenancy = self.clone();
        watches.tenants.on_spec_change(move |_| tenancy.vault.look_soon());
        proof::connect(self, watches, stores, triggers);
        // Nodes tell of themselves all the time; what counts here changes seldom.
        let (s, t) = (stores.clone(), triggers.clone());
        watches.nodes.on_difference(move |before, now| {
            let what_counts = |node: &Node| (node.metadata.labels.clone(), node.spec.clone());
            if before.map(what_counts) != now.map(what_counts) {
                for perimeter in s.perimeters.state() {
                    if perimeter.spec.nodes.as_ref().is_some_and(|nodes| nodes.dedicated) {
                        t.perimeters.reconcile(ObjectRef::from_obj(perimeter.as_ref()));
                    }
                }
            }
        });
        // Another's nodes may come to be these.
        let (s, t) = (stores.clone(), triggers.clone());
        watches.perimeters.on_spec_change(move |changed| {
            for other in s.perimeters.state() {
                let dedicated = other.spec.nodes.as_ref().is_some_and(|nodes| nodes.dedicated);
                if dedicated && other.uid() != changed.uid() && changed.spec.nodes.is_some() {
                    t.perimeters.reconcile(ObjectRef::from_obj(other.as_ref()));
                }
            }
        });

        let (tenancy, s, t) = (self.clone(), stores.clone(), triggers.clone());
        watches.tenants.on_spec_change(move |tenant| {
            tenancy.claims.outdated();
            for other in s.tenants.state() {
                if other.uid() != tenant.uid() && contend(tenant, &other) {
                    t.tenants.reconcile(ObjectRef::from_obj(other.as_ref()));
                }
            }
        });
    }

    /// Who holds each posix account and each hostname, over all tenants.
    pub fn tenant_claims(&self, context: &Context) -> Arc<TenantClaims> {
        self.claims.now(context)
    }

    /// Keeps track of what was made of a kind, and calls `listener` with each object as it was and as it is, when the
    /// watch tells what this process does not know: not of its own writes, which whoever wrote them has looked at.
    pub fn on_news<K: Watchable>(
        &self,
        kind: Kind,
        watch: &mut Watch<K>,
        listener: impl Fn(Option<&K>, Option<&K>) + Send + Sync + 'static,
    ) {
        let tenancy = self.clone();
        watch.on_difference(move |before, now| {
            let Some(object) = now.or(before) else { return };
            if tenancy.made.seen(kind, object, now.is_some()) {
                listener(before, now);
            }
        });
    }
}

/// Reasons of tenants that wait for what another has.
const WAITING: [&str; 3] = ["PosixAccountTaken", "HostnameTaken", "ForeignServiceAccount"];

/// Whether a change of one tenant may decide for or against the other: a posix account, or a service account of a
/// namespace that comes to be, or ceases to be, the changed tenant's.
fn contend(changed: &Tenant, other: &Tenant) -> bool {
    fn accounts(tenant: &Tenant) -> BTreeSet<&str> {
        let members = tenant.spec.members.iter();
        members.filter_map(|m| m.posix_account.as_deref()).collect()
    }
    let conditions: &[Condition] = other.status.as_ref().map_or(&[], |status| &status.conditions);
    let reason = find_condition(conditions, READY).map_or("", |c| c.reason.as_str());
    let waits = WAITING.contains(&reason);
    let home = changed.metadata.name.as_deref();
    let names_it = |member: &mesocentre_api::TenantMember| {
        member
            .service_account
            .as_ref()
            .map(|account| account.namespace.as_str())
            == home
    };
    waits || other.spec.members.iter().any(names_it) || !accounts(changed).is_disjoint(&accounts(other))
}

/// Has tenants looked at that wait for what another had.
fn look_at_those_who_wait(context: &Context) {
    for tenant in context.stores.tenants.state() {
        let conditions: &[Condition] = tenant.status.as_ref().map_or(&[], |status| &status.conditions);
        if find_condition(conditions, READY).is_some_and(|c| WAITING.contains(&c.reason.as_str())) {
            context
                .triggers
                .tenants
                .reconcile(ObjectRef::from_obj(tenant.as_ref()));
        }
    }
}

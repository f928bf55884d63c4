//! First step: what a period rests on, from the caches. Nothing is decided.

use crate::Context;
use crate::billing::tariff;
use crate::report::is_leaving;
use kube::ResourceExt;
use mesocentre_api::{BillingPeriod, Statement, labels};
use mesocentre_metering::{NamedCoInvestment, NamedPool, NamedTariff, RatedTenant};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a tenant's statement belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// It stands.
    Stands,
    /// It is being deleted, and takes nothing new.
    Leaving,
}

/// What a period rests on besides the ledger, and what there is of it.
pub struct Gathered {
    /// All tenants.
    pub tenants: Vec<RatedTenant>,
    /// All tariffs.
    pub tariffs: Vec<NamedTariff>,
    /// All cost pools.
    pub cost_pools: Vec<NamedPool>,
    /// All co-investments.
    pub co_investments: Vec<NamedCoInvestment>,
    /// The home namespaces that there are, by tenant.
    pub homes: BTreeMap<String, Home>,
    /// The month's statements, by namespace.
    pub statements: BTreeMap<String, Arc<Statement>>,
}

/// Reads the caches.
pub fn gather(context: &Context, period: &BillingPeriod) -> Gathered {
    let stores = &context.stores;
    let tenants = stores.tenants.state();
    let pools = stores.pools.state();
    let staying = pools.iter().filter(|pool| !is_leaving(pool.as_ref()));
    let name = period.name_any();
    let of_the_month = stores
        .statements
        .state_filter(|statement| statement.metadata.name.as_deref() == Some(&name));
    Gathered {
        tenants: tenants
            .iter()
            .map(|tenant| RatedTenant {
                name: tenant.name_any(),
                category: tenant.spec.category,
            })
            .collect(),
        tariffs: tariff::gather(context),
        cost_pools: staying
            .map(|pool| NamedPool {
                name: pool.name_any(),
                spec: pool.spec.clone(),
            })
            .collect(),
        co_investments: stores
            .co_investments
            .state()
            .iter()
            .filter(|of| !is_leaving(of.as_ref()))
            .map(|of| NamedCoInvestment {
                name: of.name_any(),
                spec: of.spec.clone(),
            })
            .collect(),
        homes: homes(context),
        statements: of_the_month
            .into_iter()
            .map(|statement| context.own_writes.fresher(statement))
            .map(|statement| (statement.namespace().unwrap_or_default(), statement))
            .collect(),
    }
}

fn homes(context: &Context) -> BTreeMap<String, Home> {
    let namespaces = context.stores.namespaces.state();
    namespaces
        .iter()
        .filter_map(|namespace| namespace.read())
        .filter_map(|namespace| {
            let name = namespace.name_any();
            let marks = namespace.labels();
            let of = marks.get(labels::TENANT)?;
            let is_ours = marks.get(labels::MANAGED_BY)? == labels::MANAGED_BY_VALUE;
            let home = if is_leaving(&namespace) {
                Home::Leaving
            } else {
                Home::Stands
            };
            // A home namespace has its tenant's name; a workspace's has another.
            (is_ours && *of == name).then_some((name, home))
        })
        .collect()
}

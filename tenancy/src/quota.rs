//! A quota over all of a tenant's namespaces, without a webhook: each workspace's namespace gets a slice.
//!
//! Kubernetes enforces a ResourceQuota in one namespace: its admission compares `status.hard` with `status.used`, and
//! the controller manager copies `spec.hard` into `status.hard` some time after it changes. So what a namespace may
//! take, now or soon, is the greatest of `spec.hard`, `status.hard` and `status.used`: its *commitment*. A slice grows
//! only by what the sum of all commitments leaves of the tenant's quota, so it grows after another's shrinking has
//! been *seen* in force, and the sum holds at every instant, whatever is lost or late between two steps.
//!
//! The caller's part: one task plans for a tenant at a time; what it gives is no older than its own last writes
//! (merge the answers of writes over the cache), and after a restart or a change of leader it begins with a
//! consistent read. Kubernetes' own quota admission is exact within a namespace, so nothing else is needed.

use crate::names::NamespaceName;
use crate::quantity::{self, Fraction, QuantityError, Unit};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use mesocentre_api::TenantQuota;
use std::collections::BTreeMap;

/// A resource that tenants' quotas count, as ResourceQuota names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// CPUs that pods are limited to.
    LimitsCpu,
    /// Memory that pods are limited to.
    LimitsMemory,
    /// Pods that have not ended.
    Pods,
    /// CPUs that pods request.
    RequestsCpu,
    /// Memory that pods request.
    RequestsMemory,
    /// GPUs that pods request.
    RequestsGpu,
    /// Storage that claims request.
    RequestsStorage,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Resource; 7] = [
        Resource::LimitsCpu,
        Resource::LimitsMemory,
        Resource::Pods,
        Resource::RequestsCpu,
        Resource::RequestsMemory,
        Resource::RequestsGpu,
        Resource::RequestsStorage,
    ];

    /// As ResourceQuota names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LimitsCpu => "limits.cpu",
            Self::LimitsMemory => "limits.memory",
            Self::Pods => "pods",
            Self::RequestsCpu => "requests.cpu",
            Self::RequestsMemory => "requests.memory",
            Self::RequestsGpu => "requests.nvidia.com/gpu",
            Self::RequestsStorage => "requests.storage",
        }
    }

    /// What it is counted in.
    pub fn unit(self) -> Unit {
        match self {
            Self::LimitsCpu | Self::RequestsCpu => Unit::MilliCpu,
            Self::LimitsMemory | Self::RequestsMemory | Self::RequestsStorage => Unit::Byte,
            Self::Pods | Self::RequestsGpu => Unit::Count,
        }
    }

    /// Slices are cut at multiples of this many units, so that people can read them; the rest goes to the first.
    fn grain(self) -> u64 {
        match self.unit() {
            Unit::MilliCpu => 100,
            Unit::Byte => 1 << 20,
            Unit::Count => 1,
        }
    }
}

/// An amount of each resource, in its unit; what is not named is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<Resource, u64>);

impl Amounts {
    /// The amount of a resource.
    pub fn get(&self, resource: Resource) -> u64 {
        self.0.get(&resource).copied().unwrap_or(0)
    }

    /// Sets the amount of a resource.
    pub fn set(&mut self, resource: Resource, amount: u64) {
        self.0.insert(resource, amount);
    }

    /// What a tenant may use. CPU and memory bound both what pods request and what they are limited to.
    /// Errors: each field that cannot be counted, and why.
    pub fn of_tenant(quota: &TenantQuota) -> Result<Self, Vec<(&'static str, QuantityError)>> {
        let mut amounts = Self::default();
        let mut wrong = Vec::new();
        let mut read = |field, text: &str, unit, resources: &[Resource]| match quantity::parse(
            text,
            unit,
            Fraction::Refuse,
        ) {
            Ok(amount) => resources.iter().for_each(|r| amounts.set(*r, amount)),
            Err(error) => wrong.push((field, error)),
        };
        read(
            "cpu",
            &quota.cpu.0,
            Unit::MilliCpu,
            &[Resource::RequestsCpu, Resource::LimitsCpu],
        );
        read(
            "memory",
            &quota.memory.0,
            Unit::Byte,
            &[Resource::RequestsMemory, Resource::LimitsMemory],
        );
        read(
            "storage",
            &quota.storage.0,
            Unit::Byte,
            &[Resource::RequestsStorage],
        );
        read("pods", &quota.pods.to_string(), Unit::Count, &[Resource::Pods]);
        read(
            "gpus",
            &quota.gpus.to_string(),
            Unit::Count,
            &[Resource::RequestsGpu],
        );
        if wrong.is_empty() { Ok(amounts) } else { Err(wrong) }
    }

    /// Reads `hard` or `used` of a ResourceQuota; resources that are not sliced are passed over, and a fraction of a
    /// unit counts as a whole one. Errors: the resource that cannot be read, and why.
    pub fn of_resource_list(list: &BTreeMap<String, Quantity>) -> Result<Self, (String, QuantityError)> {
        let mut amounts = Self::default();
        for resource in Resource::ALL {
            if let Some(text) = list.get(resource.as_str()) {
                let amount = quantity::parse(&text.0, resource.unit(), Fraction::RoundUp)
                    .map_err(|error| (resource.as_str().to_owned(), error))?;
                amounts.set(resource, amount);
            }
        }
        Ok(amounts)
    }

    /// As `hard` of a ResourceQuota, every resource named, in the form that the API server stores.
    pub fn to_hard(&self) -> BTreeMap<String, String> {
        Resource::ALL
            .into_iter()
            .map(|r| (r.as_str().to_owned(), quantity::print(self.get(r), r.unit())))
            .collect()
    }
}

/// The quota of one workspace's namespace, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The namespace.
    pub namespace: NamespaceName,
    /// `spec.hard`; none while there is no ResourceQuota.
    pub spec_hard: Option<Amounts>,
    /// `status.hard`: what is enforced; none until the controller manager (or the operator) has filled it in.
    pub status_hard: Option<Amounts>,
    /// `status.used`.
    pub used: Amounts,
    /// Whether the workspace is going away: its slice only shrinks.
    pub leaving: bool,
}

/// The next `spec.hard` of each namespace that should get another one than it has: shrinkings, which are always safe,
/// and growths by what is free. Empty means settled, or waiting for a shrinking to be seen in force.
///
/// Growths are safe in any order and each by itself. Call it again whenever a quota of the tenant changes.
pub fn plan_quota(total: &Amounts, current: &[Slice]) -> Vec<(NamespaceName, Amounts)> {
    let _ = (total, current);
    todo!()
}

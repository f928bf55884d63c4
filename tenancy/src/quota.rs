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
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A resource that tenants' quotas count, as ResourceQuota names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// CPUs that pods are limited to.
    LimitsCpu,
    /// Memory that pods are limited to.
    LimitsMemory,
    /// Disk of nodes that pods are limited to.
    LimitsEphemeralStorage,
    /// Services that are load balancers.
    LoadBalancers,
    /// Pods that have not ended.
    Pods,
    /// CPUs that pods request.
    RequestsCpu,
    /// Memory that pods request.
    RequestsMemory,
    /// Disk of nodes that pods request.
    RequestsEphemeralStorage,
    /// GPUs that pods request.
    RequestsGpu,
    /// Storage that claims request.
    RequestsStorage,
    /// Devices of a class that resource claims ask for (dynamic resource allocation).
    Devices(String),
    /// An extended resource that pods request, by its name.
    Extended(String),
    /// Objects, by `resource` or `resource.group`.
    Objects(String),
}

/// How ResourceQuota names the devices of a class.
const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";

/// How many objects of each kind a tenant may have whose quota does not say: enough that nobody meets it who works, and
/// few enough that one tenant does not fill the control plane's memory for all.
const OBJECTS: [(&str, u64); 18] = [
    ("batchjobs.mesocentre.io", 50_000),
    ("configmaps", 1_000),
    ("controllerrevisions.apps", 2_000),
    ("cronjobs.batch", 500),
    ("deployments.apps", 500),
    ("httproutes.gateway.networking.k8s.io", 200),
    ("ingresses.networking.k8s.io", 200),
    ("jobs.batch", 5_000),
    ("persistentvolumeclaims", 1_000),
    ("pods", 20_000),
    ("replicasets.apps", 5_000),
    ("resourceclaims.resource.k8s.io", 1_000),
    ("resourceclaimtemplates.resource.k8s.io", 500),
    ("secrets", 1_000),
    ("serviceaccounts", 500),
    ("services", 500),
    ("statefulsets.apps", 500),
    ("volumesnapshots.snapshot.storage.k8s.io", 500),
];

impl Resource {
    /// Those that every quota names; what is not granted is zero.
    pub const ALWAYS: [Resource; 10] = [
        Resource::LimitsCpu,
        Resource::LimitsEphemeralStorage,
        Resource::LimitsMemory,
        Resource::LoadBalancers,
        Resource::Pods,
        Resource::RequestsCpu,
        Resource::RequestsEphemeralStorage,
        Resource::RequestsMemory,
        Resource::RequestsGpu,
        Resource::RequestsStorage,
    ];

    /// As ResourceQuota names it.
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::LimitsCpu => "limits.cpu",
            Self::LimitsEphemeralStorage => "limits.ephemeral-storage",
            Self::LimitsMemory => "limits.memory",
            Self::LoadBalancers => "services.loadbalancers",
            Self::Pods => "pods",
            Self::RequestsCpu => "requests.cpu",
            Self::RequestsEphemeralStorage => "requests.ephemeral-storage",
            Self::RequestsMemory => "requests.memory",
            Self::RequestsGpu => "requests.nvidia.com/gpu",
            Self::RequestsStorage => "requests.storage",
            Self::Devices(class) => return Cow::Owned(format!("{class}{DEVICES}")),
            Self::Extended(name) => return Cow::Owned(format!("requests.{name}")),
            Self::Objects(resource) => return Cow::Owned(format!("count/{resource}")),
        })
    }

    /// What ResourceQuota means by a name; none for what is not sliced.
    fn named(name: &str) -> Option<Self> {
        if let Some(always) = Self::ALWAYS.into_iter().find(|r| r.name() == name) {
            return Some(always);
        }
        if let Some(resource) = name.strip_prefix("count/") {
            return Some(Self::Objects(resource.into()));
        }
        if let Some(class) = name.strip_suffix(DEVICES) {
            return Some(Self::Devices(class.into()));
        }
        name.strip_prefix("requests.")
            .filter(|resource| resource.contains('/'))
            .map(|resource| Self::Extended(resource.into()))
    }

    /// What it is counted in.
    pub fn unit(&self) -> Unit {
        match self {
            Self::LimitsCpu | Self::RequestsCpu => Unit::MilliCpu,
            Self::LimitsEphemeralStorage
            | Self::LimitsMemory
            | Self::RequestsEphemeralStorage
            | Self::RequestsMemory
            | Self::RequestsStorage => Unit::Byte,
            Self::LoadBalancers
            | Self::Pods
            | Self::RequestsGpu
            | Self::Devices(_)
            | Self::Extended(_)
            | Self::Objects(_) => Unit::Count,
        }
    }

    /// Slices are cut at multiples of this many units, so that people can read them; the rest goes to the first.
    fn grain(&self) -> u64 {
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
    pub fn get(&self, resource: &Resource) -> u64 {
        self.0.get(resource).copied().unwrap_or(0)
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
            Ok(amount) => resources.iter().for_each(|r| amounts.set(r.clone(), amount)),
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
        let a_gibibyte_a_pod = Quantity(format!("{}Gi", quota.pods));
        read(
            "ephemeralStorage",
            &quota.ephemeral_storage.as_ref().unwrap_or(&a_gibibyte_a_pod).0,
            Unit::Byte,
            &[
                Resource::RequestsEphemeralStorage,
                Resource::LimitsEphemeralStorage,
            ],
        );
        read("pods", &quota.pods.to_string(), Unit::Count, &[Resource::Pods]);
        read(
            "gpus",
            &quota.gpus.to_string(),
            Unit::Count,
            &[Resource::RequestsGpu],
        );
        read(
            "loadBalancers",
            &quota.load_balancers.to_string(),
            Unit::Count,
            &[Resource::LoadBalancers],
        );
        for (resource, count) in OBJECTS {
            amounts.set(Resource::Objects(resource.into()), count);
        }
        // The schema lets no negative number in.
        let counts = |list: &BTreeMap<String, i64>, resource: fn(String) -> Resource| {
            list.iter()
                .map(|(name, count)| (resource(name.clone()), u64::try_from(*count).unwrap_or(0)))
                .collect::<Vec<_>>()
        };
        amounts.0.extend(counts(&quota.devices, Resource::Devices));
        amounts
            .0
            .extend(counts(&quota.extended_resources, Resource::Extended));
        amounts.0.extend(counts(&quota.objects, Resource::Objects));
        if wrong.is_empty() { Ok(amounts) } else { Err(wrong) }
    }

    /// What a tenant's home namespace may hold: no pods and nothing of theirs, and of what is written there as much as one
    /// who works could want. A workspace above the tenant's number gets no namespace, and is told so; these keep one tenant
    /// from filling the control plane's memory.
    pub fn of_home(quota: &TenantQuota) -> Self {
        let count = |resource: &str, default: u64| {
            let named = quota
                .objects
                .get(resource)
                .map(|n| u64::try_from(*n).unwrap_or(0));
            (Resource::Objects(resource.into()), named.unwrap_or(default))
        };
        let workspaces = u64::try_from(quota.workspaces).unwrap_or(0);
        Self(BTreeMap::from([
            count("peeringagreements.mesocentre.io", 100),
            count("workspaces.mesocentre.io", 2 * workspaces + 10),
        ]))
    }

    /// Reads `hard` or `used` of a ResourceQuota; resources that are not sliced are passed over, and a fraction of a
    /// unit counts as a whole one. Errors: the resource that cannot be read, and why.
    pub fn of_resource_list(list: &BTreeMap<String, Quantity>) -> Result<Self, (String, QuantityError)> {
        let mut amounts = Self::default();
        for (name, text) in list {
            if let Some(resource) = Resource::named(name) {
                let amount = quantity::parse(&text.0, resource.unit(), Fraction::RoundUp)
                    .map_err(|error| (name.clone(), error))?;
                amounts.set(resource, amount);
            }
        }
        Ok(amounts)
    }

    /// As `hard` of a ResourceQuota, in the form that the API server stores.
    pub fn to_hard(&self) -> BTreeMap<String, String> {
        self.resources()
            .map(|r| (r.name().into_owned(), quantity::print(self.get(&r), r.unit())))
            .collect()
    }

    /// Those that every quota names, and those that this one names beside them.
    fn resources(&self) -> impl Iterator<Item = Resource> {
        Resource::ALWAYS
            .into_iter()
            .chain(self.0.keys().cloned())
            .collect::<BTreeSet<_>>()
            .into_iter()
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

/// The next `spec.hard` of every namespace given: shrinkings, which are always safe, and growths by what is free.
/// Where it equals what the namespace has, nothing is to be done, or a shrinking is still to be seen in force.
///
/// What is used is kept; what is free is split equally, and split anew when a namespace has less than half of an equal
/// share left (not at each change of use, so that a quota is quiet while there is room). Growths are safe in any order
/// and each by itself. Call it again whenever a quota of the tenant changes.
pub fn plan_quota(total: &Amounts, current: &[Slice]) -> Vec<(NamespaceName, Amounts)> {
    let mut slices: Vec<&Slice> = current.iter().collect();
    slices.sort_by(|a, b| a.namespace.cmp(&b.namespace));
    let mut next: Vec<Amounts> = vec![Amounts::default(); slices.len()];
    for resource in total.resources() {
        let shares: Vec<Share> = slices.iter().map(|slice| Share::of(slice, &resource)).collect();
        let hard = next_hard(total.get(&resource), resource.grain(), &shares);
        for (amounts, hard) in next.iter_mut().zip(hard) {
            amounts.set(resource.clone(), hard);
        }
    }
    slices
        .into_iter()
        .map(|slice| slice.namespace.clone())
        .zip(next)
        .collect()
}

/// One resource in one namespace.
#[derive(Clone, Copy, Debug)]
struct Share {
    spec: u64,
    status: u64,
    used: u64,
    leaving: bool,
}

impl Share {
    fn of(slice: &Slice, resource: &Resource) -> Self {
        let of = |amounts: &Option<Amounts>| amounts.as_ref().map_or(0, |a| a.get(resource));
        Self {
            spec: of(&slice.spec_hard),
            status: of(&slice.status_hard),
            used: slice.used.get(resource),
            leaving: slice.leaving,
        }
    }

    /// What the namespace may take, now or soon.
    fn commitment(self) -> u64 {
        self.spec.max(self.status).max(self.used)
    }
}

fn next_hard(total: u64, grain: u64, shares: &[Share]) -> Vec<u64> {
    let targets = targets(total, grain, shares);
    let committed: u64 = shares.iter().fold(0, |sum, s| sum.saturating_add(s.commitment()));
    // More is committed than there is: the quota was lowered, or a view is late and shows as taken what another slice
    // was given since. A raise that seems to be within such a commitment would come on top, so nothing is raised.
    let Some(mut free) = total.checked_sub(committed) else {
        return shares
            .iter()
            .zip(targets)
            .map(|(share, target)| target.min(share.spec))
            .collect();
    };
    shares
        .iter()
        .zip(targets)
        .map(|(share, target)| {
            let committed = share.commitment();
            if target <= committed {
                return target;
            }
            let growth = (target - committed).min(free);
            free -= growth;
            // Nothing free: a raise within the commitment alone would be undone by the next plan.
            if growth == 0 {
                target.min(share.spec)
            } else {
                committed + growth
            }
        })
        .collect()
}

/// Where each share is heading.
fn targets(total: u64, grain: u64, shares: &[Share]) -> Vec<u64> {
    let leaving: u64 = shares
        .iter()
        .filter(|s| s.leaving)
        .fold(0, |sum, s| sum.saturating_add(s.spec.min(s.used)));
    let total = total.saturating_sub(leaving);
    let staying = || shares.iter().filter(|s| !s.leaving);
    let count = u64::try_from(staying().count()).unwrap_or(u64::MAX).max(1);
    let used: u64 = staying().fold(0, |sum, s| sum.saturating_add(s.used));
    let free = total.checked_sub(used);
    let fair = free.unwrap_or(0) / count;

    let handed_out: u64 = staying().fold(0, |sum, s| sum.saturating_add(s.spec));
    let settled = handed_out == total && staying().all(|s| s.spec >= s.used.saturating_add(fair / 2));

    let mut rest = free.map_or(0, |free| free - (fair - fair % grain) * count);
    shares
        .iter()
        .map(|share| match (share.leaving, free) {
            (true, _) => share.spec.min(share.used),
            (false, _) if settled => share.spec,
            (false, Some(_)) => share.used + (fair - fair % grain) + std::mem::take(&mut rest),
            // More is used than there is (the tenant's quota was lowered): to each by its use, and nobody gets new.
            (false, None) => {
                let part = u128::from(total) * u128::from(share.used) / u128::from(used.max(1));
                u64::try_from(part).unwrap_or(total)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn namespace(index: usize) -> NamespaceName {
        NamespaceName::new(&format!("t--w{index}")).unwrap()
    }

    fn pods(count: u64) -> Amounts {
        let mut amounts = Amounts::default();
        amounts.set(Resource::Pods, count);
        amounts
    }

    fn slice(index: usize, spec: Option<u64>, status: Option<u64>, used: u64) -> Slice {
        Slice {
            namespace: namespace(index),
            spec_hard: spec.map(pods),
            status_hard: status.map(pods),
            used: pods(used),
            leaving: false,
        }
    }

    fn planned(total: u64, current: &[Slice]) -> Vec<u64> {
        plan_quota(&pods(total), current)
            .iter()
            .map(|(_, hard)| hard.get(&Resource::Pods))
            .collect()
    }

    #[test]
    fn new_workspaces_split_the_quota_equally_and_to_the_last_unit() {
        let three: Vec<Slice> = (0..3).map(|i| slice(i, None, None, 0)).collect();
        assert_eq!(planned(200, &three), [68, 66, 66]);
        assert_eq!(planned(1, &three), [1, 0, 0]);
    }

    #[test]
    fn a_new_workspace_waits_until_the_others_shrinking_is_seen_in_force() {
        let new = slice(1, None, None, 0);
        assert_eq!(
            planned(100, &[slice(0, Some(100), Some(100), 10), new.clone()]),
            [55, 0]
        );
        assert_eq!(
            planned(100, &[slice(0, Some(55), Some(100), 10), new.clone()]),
            [55, 0]
        );
        assert_eq!(planned(100, &[slice(0, Some(55), Some(55), 10), new]), [55, 45]);
    }

    #[test]
    fn a_late_view_of_what_shrank_raises_nothing_as_another_may_have_grown_by_it() {
        let current = [
            slice(0, Some(51), Some(51), 26),
            slice(1, Some(31), Some(40), 0),
            // Its 31 are in force by now, and the first has grown by the rest.
            slice(2, Some(31), Some(40), 0),
        ];
        assert_eq!(planned(122, &current), [51, 31, 31]);
    }

    #[test]
    fn nothing_moves_while_there_is_room_and_slices_follow_use_when_there_is_not() {
        let with = |used| {
            [
                slice(0, Some(50), Some(50), used),
                slice(1, Some(50), Some(50), 0),
            ]
        };
        assert_eq!(planned(100, &with(30)), [50, 50]);
        assert_eq!(planned(100, &with(40)), [50, 30], "the second shrinks first");
        let shrunk = [slice(0, Some(50), Some(50), 40), slice(1, Some(30), Some(30), 0)];
        assert_eq!(planned(100, &shrunk), [70, 30]);
    }

    #[test]
    fn a_lowered_quota_takes_from_what_is_free_first_and_lets_nobody_start_more() {
        let current = [slice(0, Some(50), Some(50), 20), slice(1, Some(50), Some(50), 0)];
        assert_eq!(planned(30, &current), [25, 5]);
        let overused = [slice(0, Some(50), Some(50), 40), slice(1, Some(50), Some(50), 40)];
        assert_eq!(planned(20, &overused), [10, 10]);
    }

    #[test]
    fn what_a_quota_names_is_read_back_as_what_was_written() {
        let quota: TenantQuota = serde_json::from_value(serde_json::json!({
            "cpu": "8", "memory": "16Gi", "storage": "10Gi", "pods": 50, "workspaces": 10, "loadBalancers": 2,
            "devices": {"h100.nvidia.com": 8}, "extendedResources": {"amd.com/gpu": 4},
            "objects": {"configmaps": 10, "widgets.example.org": 3},
        }))
        .unwrap();
        let amounts = Amounts::of_tenant(&quota).unwrap();
        let hard = amounts.to_hard();
        for (name, amount) in [
            ("h100.nvidia.com.deviceclass.resource.k8s.io/devices", "8"),
            ("requests.amd.com/gpu", "4"),
            ("requests.nvidia.com/gpu", "0"),
            ("services.loadbalancers", "2"),
            ("count/configmaps", "10"),
            ("count/widgets.example.org", "3"),
            ("count/secrets", "1k"),
        ] {
            assert_eq!(hard.get(name).map(String::as_str), Some(amount), "{name}");
        }
        let list = hard
            .into_iter()
            .map(|(name, amount)| (name, Quantity(amount)))
            .collect();
        assert_eq!(Amounts::of_resource_list(&list).unwrap(), amounts);
        let beside = BTreeMap::from([("services.nodeports".to_owned(), Quantity("0".into()))]);
        assert_eq!(Amounts::of_resource_list(&beside).unwrap(), Amounts::default());
    }

    #[test]
    fn objects_are_split_like_everything_else() {
        let mut total = pods(10);
        total.set(Resource::Objects("configmaps".into()), 11);
        let two: Vec<Slice> = (0..2).map(|i| slice(i, Some(5), Some(5), 0)).collect();
        let plan = plan_quota(&total, &two);
        let of = |i: usize| plan[i].1.get(&Resource::Objects("configmaps".into()));
        assert_eq!((of(0), of(1)), (6, 5));
    }

    #[test]
    fn a_leaving_workspace_gives_back_what_it_does_not_use() {
        let mut leaving = slice(0, Some(50), Some(50), 5);
        leaving.leaving = true;
        assert_eq!(
            planned(100, &[leaving.clone(), slice(1, Some(50), Some(50), 0)]),
            [5, 50]
        );
        leaving.spec_hard = Some(pods(5));
        leaving.status_hard = Some(pods(5));
        assert_eq!(planned(100, &[leaving, slice(1, Some(50), Some(50), 0)]), [5, 95]);
    }

    /// What can happen, in any order.
    #[derive(Clone, Debug)]
    enum Event {
        /// The operator plans, seeing each quota so many versions late (never before its own last write), and this
        /// many of its writes arrive before it is killed.
        Plan { lag: Vec<usize>, writes: usize },
        /// The controller manager brings one namespace's status up to its spec.
        Enforce(usize),
        /// Pods are asked for; quota admission decides.
        Start(usize, u64),
        /// Pods end.
        End(usize, u64),
        /// The workspace is deleted.
        Leave(usize),
    }

    fn event(namespaces: usize) -> impl Strategy<Value = Event> {
        let one = 0..namespaces;
        prop_oneof![
            3 => (prop::collection::vec(0usize..4, namespaces), 0..=namespaces)
                .prop_map(|(lag, writes)| Event::Plan { lag, writes }),
            3 => one.clone().prop_map(Event::Enforce),
            4 => (one.clone(), 0u64..60).prop_map(|(i, n)| Event::Start(i, n)),
            2 => (one.clone(), 0u64..60).prop_map(|(i, n)| Event::End(i, n)),
            1 => one.prop_map(Event::Leave),
        ]
    }

    /// A quota's versions, the newest last, and the oldest that the operator may still see.
    struct Quota {
        versions: Vec<Slice>,
        seen: usize,
    }

    impl Quota {
        fn now(&self) -> &Slice {
            self.versions.last().unwrap()
        }

        fn change(&mut self, change: impl FnOnce(&mut Slice)) {
            let mut next = self.now().clone();
            change(&mut next);
            self.versions.push(next);
        }
    }

    fn taken(slice: &Slice) -> u64 {
        Share::of(slice, &Resource::Pods).commitment()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]
        #[test]
        fn the_sum_never_passes_the_total_in_any_order_of_steps_and_it_settles(
            total in 0u64..200,
            (count, events) in (1usize..5).prop_flat_map(|n| (Just(n), prop::collection::vec(event(n), 0..60))),
        ) {
            let mut quotas: Vec<Quota> = (0..count)
                .map(|i| Quota { versions: vec![slice(i, None, None, 0)], seen: 0 })
                .collect();
            for event in events {
                match event {
                    Event::Plan { lag, writes } => {
                        let seen: Vec<Slice> = quotas
                            .iter()
                            .zip(lag)
                            .map(|(q, lag)| q.versions[(q.versions.len() - 1).saturating_sub(lag).max(q.seen)].clone())
                            .collect();
                        for (i, (_, hard)) in plan_quota(&pods(total), &seen).into_iter().enumerate().take(writes) {
                            if seen[i].spec_hard.as_ref() != Some(&hard) {
                                quotas[i].change(|slice| slice.spec_hard = Some(hard));
                                quotas[i].seen = quotas[i].versions.len() - 1;
                            }
                        }
                    }
                    Event::Enforce(i) => quotas[i].change(|slice| slice.status_hard = slice.spec_hard.clone()),
                    Event::Start(i, pods_wanted) => {
                        let slice = quotas[i].now().clone();
                        let used = slice.used.get(&Resource::Pods) + pods_wanted;
                        if slice.status_hard.is_some_and(|hard| used <= hard.get(&Resource::Pods)) {
                            quotas[i].change(|slice| slice.used = pods(used));
                        }
                    }
                    Event::End(i, ended) => quotas[i].change(|slice| {
                        slice.used = pods(slice.used.get(&Resource::Pods).saturating_sub(ended));
                    }),
                    Event::Leave(i) => quotas[i].change(|slice| slice.leaving = true),
                }
                let sum: u64 = quotas.iter().map(|q| taken(q.now())).sum();
                prop_assert!(sum <= total, "{sum} of {total} can be taken");
            }
            // Left alone, it settles in a few rounds, and then plans nothing new.
            for round in 0..6 {
                let seen: Vec<Slice> = quotas.iter().map(|q| q.now().clone()).collect();
                let plan = plan_quota(&pods(total), &seen);
                let quiet = plan.iter().zip(&seen).all(|((_, hard), s)| s.spec_hard.as_ref() == Some(hard));
                if quiet {
                    break;
                }
                prop_assert!(round < 5, "not settled: {seen:?} {plan:?}");
                for (i, (_, hard)) in plan.into_iter().enumerate() {
                    quotas[i].change(|slice| { slice.spec_hard = Some(hard.clone()); slice.status_hard = Some(hard) });
                }
            }
            if quotas.iter().any(|q| !q.now().leaving) {
                let sum: u64 = quotas.iter().map(|q| taken(q.now())).sum();
                prop_assert_eq!(sum, total, "everything is handed out");
            }
        }
    }
}

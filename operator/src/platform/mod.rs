//! What tenants hold of the cluster itself: their pods' requests, the devices that they claimed, and their volumes. Into the
//! ledger, each second once.
//!
//! ```text
//!  watch of pods, claims … ─► caches  ─┐  every minute, and soon after one ended
//!        └─ those that went ───────────┴─► shown ─► metering::holding::look ─► ledger: records, and what is held now
//! ```
//!
//! Pods of batch jobs are metered by their scheduler's feed and left out here. All judgement about time is in
//! [`mesocentre_metering::holding`].

mod devices;
mod pods;
mod volumes;

use crate::Context;
use crate::context::Stores;
use crate::failure::Failure;
use crate::lock::locked;
use crate::looks::{self, Looks};
use crate::watch::Watch;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::api::ListParams;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use mesocentre_api::{Meter, TenantCategory, judged_by_category};
use mesocentre_metering::MODEL;
use mesocentre_metering::holding::{Holding, Known, Shown, Source};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// What reports it, and of which cluster, in the ledger.
pub const SOURCE: Source<'static> = Source {
    source: "platform",
    cluster: "kubernetes",
};

/// How long a kubelet may take to say that a pod has ended.
const HEARD_OF: SignedDuration = SignedDuration::from_secs(30);

/// What is held of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    id: String,
    namespace: String,
    amounts: BTreeMap<Meter, u64>,
    evidence: BTreeMap<String, String>,
    from: Timestamp,
    until: Option<Timestamp>,
}

impl Held {
    /// Devices of one model that are held beside it, for the same time.
    fn device(&self, model: &str, count: u64) -> Self {
        let mut evidence = self.evidence.clone();
        evidence.insert(MODEL.to_owned(), model.to_owned());
        Self {
            id: format!("{}/{model}", self.id),
            amounts: BTreeMap::from([(Meter::ClusterDeviceHours, count)]),
            evidence,
            ..self.clone()
        }
    }
}

/// The watches, and what is known of what went.
pub struct Platform {
    pods: Store<Pod>,
    devices: Store<ResourceClaim>,
    volumes: Store<PersistentVolumeClaim>,
    gone: Mutex<Vec<Held>>,
    looks: Looks,
}

impl Platform {
    /// Begins to watch.
    pub fn start(client: &Client) -> Arc<Self> {
        let mut pods = Watch::<Pod>::all(Api::all(client.clone())).slim(pods::slim);
        let mut devices = Watch::<ResourceClaim>::all(Api::all(client.clone())).slim(devices::slim);
        let mut volumes = Watch::<PersistentVolumeClaim>::all(Api::all(client.clone())).slim(volumes::slim);
        let platform = Arc::new(Self {
            pods: pods.store(),
            devices: devices.store(),
            volumes: volumes.store(),
            gone: Mutex::default(),
            looks: Looks::default(),
        });
        let of_pods = Arc::clone(&platform);
        pods.on_difference(move |before, now| match (before, now) {
            (Some(gone), None) => of_pods.went(pods::went(gone, Timestamp::now())),
            (before, Some(now)) if pods::is_over(now) && !before.is_some_and(pods::is_over) => {
                of_pods.looks.soon();
            }
            _ => {}
        });
        let of_devices = Arc::clone(&platform);
        devices.on_difference(move |before, now| {
            if let Some(before) = before {
                of_devices.went(devices::went(before, now, Timestamp::now()));
            }
        });
        let of_volumes = Arc::clone(&platform);
        volumes.on_difference(move |before, now| {
            if let (Some(gone), None) = (before, now) {
                of_volumes.went(volumes::went(gone, Timestamp::now()));
            }
        });
        tokio::spawn(pods.run());
        tokio::spawn(devices.run());
        tokio::spawn(volumes.run());
        platform
    }

    fn went(&self, held: impl IntoIterator<Item = Held>) {
        // How it ended nobody saw, when it was missed by an interrupted watch: it then counts up to the last look.
        let mut gone = locked(&self.gone);
        let before = gone.len();
        gone.extend(held);
        if gone.len() > before {
            self.looks.soon();
        }
    }

    /// Has all that is held metered up to now, soon: somebody closes a month that is not over.
    pub fn meter_to_now(&self) {
        self.looks.meter_to_now();
    }
}

/// Meters until the process ends; not at all where that is not asked for.
pub async fn meter(context: Arc<Context>, shutdown: impl Future<Output = ()>) {
    let Some(platform) = &context.platform else {
        return;
    };
    let metering = async {
        let _ = platform.pods.wait_until_ready().await;
        let _ = platform.devices.wait_until_ready().await;
        let _ = platform.volumes.wait_until_ready().await;
        looks::each_minute(&context, &platform.looks, SOURCE, async || {
            look_now(&context, platform).await
        })
        .await;
    };
    tokio::select! {
        () = metering => {}
        () = shutdown => {}
    }
}

async fn look_now(context: &Context, platform: &Platform) -> Result<(), Failure> {
    // While the API server is away the caches show what was: nothing is said of now from them.
    let one = ListParams::default().limit(1);
    Api::<Pod>::all(context.client.clone())
        .list_metadata(&one)
        .await
        .map_err(|error| Failure::api("asking for a pod".to_owned(), error))?;
    let now = Timestamp::now();
    let gone: Vec<Held> = locked(&platform.gone).clone();
    let pods = platform.pods.state();
    let devices = platform.devices.state();
    let volumes = platform.volumes.state();
    let held = gone
        .iter()
        .cloned()
        .chain(pods.iter().flat_map(|pod| pods::held(pod)))
        .chain(devices.iter().flat_map(|claim| devices::held(claim)))
        .chain(volumes.iter().filter_map(|volume| volumes::held(volume)));
    let known = context.ledger.known_holdings(SOURCE).await?;
    let shown = shown(held, &Tenants::of(&context.stores), &known);
    // What ended just before midnight may be heard of a moment after it.
    let day = context.zone.day_of(now - HEARD_OF);
    let midnight = context.zone.start_of(day).unwrap_or(now);
    looks::take(context, &platform.looks, SOURCE, (&known, shown), (now, midnight)).await?;
    // What went since is for the next look.
    locked(&platform.gone).drain(..gone.len());
    Ok(())
}

/// Whose a namespace is.
struct Tenants {
    namespaces: HashMap<String, String>,
    categories: HashMap<String, TenantCategory>,
}

impl Tenants {
    fn of(stores: &Stores) -> Self {
        let mut tenants = Self {
            namespaces: HashMap::new(),
            categories: HashMap::new(),
        };
        for tenant in stores.tenants.state() {
            let name = tenant.name_any();
            tenants.categories.insert(name.clone(), tenant.spec.category);
            // As their status says: a namespace that was there before, and is not ours, is nobody's.
            let home = tenant
                .status
                .as_ref()
                .and_then(|status| status.home_namespace.clone());
            tenants.namespaces.extend(home.map(|home| (home, name)));
        }
        for workspace in stores.workspaces.state() {
            let namespace = workspace
                .status
                .as_ref()
                .and_then(|status| status.namespace.clone());
            tenants.namespaces.extend(namespace.zip(workspace.namespace()));
        }
        tenants
    }
}

/// As a look shows it, with whose it is. What was a tenant's and is in a namespace that is going now is still theirs.
fn shown(held: impl Iterator<Item = Held>, tenants: &Tenants, known: &Known) -> Vec<Shown> {
    held.filter_map(|held| {
        let holding = match tenants.namespaces.get(&held.namespace) {
            Some(tenant) => {
                let (activity, activity_reason) = judged_by_category(*tenants.categories.get(tenant)?);
                Holding {
                    tenant: tenant.clone(),
                    allocation: None,
                    activity,
                    activity_reason,
                    amounts: held.amounts,
                    evidence: held.evidence,
                }
            }
            None => known.kept.get(&held.id)?.holding.clone(),
        };
        Some(Shown {
            id: held.id,
            holding,
            from: held.from,
            until: held.until,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesocentre_metering::holding::Kept;

    fn held(namespace: &str) -> Held {
        Held {
            id: "pod/1".into(),
            namespace: namespace.into(),
            amounts: BTreeMap::from([(Meter::ClusterCpuHours, 500)]),
            evidence: BTreeMap::new(),
            from: Timestamp::UNIX_EPOCH,
            until: None,
        }
    }

    #[test]
    fn what_is_in_no_tenants_namespace_is_nobodys_unless_it_was_somebodys() {
        let tenants = Tenants {
            namespaces: HashMap::from([("caen--web".into(), "caen".into())]),
            categories: HashMap::from([("caen".into(), TenantCategory::University)]),
        };
        let of = |namespace: &str, known: &Known| {
            let shown = shown([held(namespace)].into_iter(), &tenants, known);
            shown.into_iter().next().map(|one| one.holding)
        };
        let nothing = Known::default();
        let theirs = of("caen--web", &nothing).unwrap();
        assert_eq!(
            (theirs.tenant.as_str(), theirs.activity_reason.as_str()),
            ("caen", "category University")
        );
        assert_eq!(of("kube-system", &nothing), None);
        let kept = Kept {
            holding: theirs.clone(),
            metered: Timestamp::UNIX_EPOCH,
        };
        let known = Known {
            kept: BTreeMap::from([("pod/1".to_owned(), kept)]),
            looked: None,
        };
        assert_eq!(of("caen--gone", &known), Some(theirs));
    }
}

//! What the measurements are made on: a perimeter of their own, tenants, and many writes side by side.

use crate::{kubeconfig, operator, state, wait};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use mesocentre_api::{Tenant, TrustPerimeter};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// How many requests are under way side by side.
pub const SIDE_BY_SIDE: usize = 32;

/// A client of the administrator, without the client's own limits.
pub async fn administrator() -> Result<Client> {
    kubeconfig::client(&kubeconfig::admin(&state::of_the_stack()?)).await
}

/// An object from JSON.
pub fn object<K: DeserializeOwned>(json: Value) -> Result<K> {
    serde_json::from_value(json).context("an object of a measurement")
}

/// Does something for each, side by side.
pub async fn for_all<T, Done: Future<Output = Result<()>>>(
    all: impl IntoIterator<Item = T>,
    act: impl Fn(T) -> Done,
) -> Result<()> {
    futures::stream::iter(all.into_iter().map(act))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

/// Watches until there have been so many objects of which something holds, and does something for each of them, several
/// side by side. To list them again and again would take the API server as much time as what is measured.
pub async fn for_each_that<K, Done: Future<Output = Result<()>>>(
    api: &Api<K>,
    count: usize,
    holds: impl Fn(&K) -> bool,
    act: impl Fn(K) -> Done,
) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut seen = HashSet::new();
    watcher(api.clone(), watcher::Config::default())
        .applied_objects()
        .map_err(anyhow::Error::from)
        .try_filter(|object| std::future::ready(holds(object)))
        .try_filter(|object| std::future::ready(seen.insert(object.uid())))
        .take(count)
        .map_ok(act)
        .try_buffer_unordered(SIDE_BY_SIDE)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

/// The operator's requests since it started whose labels are so.
pub async fn requests(counted: impl Fn(&str) -> bool) -> Result<u64> {
    let metrics = operator::metrics(operator::NAME).await?;
    let mut sum = 0;
    for line in metrics.lines() {
        let Some(line) = line.strip_prefix("mesocentre_api_requests_total{") else {
            continue;
        };
        if let Some((labels, value)) = line.split_once("} ")
            && counted(labels)
        {
            sum += value.trim().parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// Returns when the operator has made none of these requests for so long.
pub async fn quiet(counted: impl Fn(&str) -> bool + Copy, pause: Duration) -> Result<()> {
    let mut last = (requests(counted).await?, Instant::now());
    wait::until("the operator is quiet", Duration::from_secs(900), async || {
        let now = requests(counted).await.map_err(|error| error.to_string())?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() > pause {
            Ok(())
        } else {
            Err(format!("{now} requests so far"))
        }
    })
    .await
}

/// The perimeter of the measurements.
pub async fn perimeter(client: &Client) -> Result<()> {
    let perimeter: TrustPerimeter = object(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "TrustPerimeter", "metadata": {"name": "bench"},
        "spec": {
            "displayName": "Bench", "classification": "Internal", "tenantCategories": ["University"],
            "podSecurity": "restricted", "images": {"registries": ["registry.meso.test/"]},
            "storageClasses": ["standard"], "schedulers": ["austral"],
            "network": {"egress": [{"cidr": "192.0.2.0/24", "ports": [{"port": 443, "protocol": "TCP"}], "reason": "mirror"}]},
        },
    }))?;
    let perimeters: Api<TrustPerimeter> = Api::all(client.clone());
    if perimeters.get_opt("bench").await?.is_none() {
        perimeters.create(&PostParams::default(), &perimeter).await?;
    }
    Ok(())
}

/// A tenant of the measurements; `posix_account` for one whose owner runs jobs.
pub fn tenant(name: &str, owner: &str, posix_account: Option<&str>) -> Result<Tenant> {
    let mut member = json!({"user": owner, "role": "Owner"});
    if let Some(account) = posix_account {
        member["posixAccount"] = account.into();
    }
    object(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
        "spec": {
            "displayName": name, "category": "University", "perimeter": "bench",
            "legalEntity": {
                "name": name, "siret": "19141408500016",
                "address": {"street": "1 rue", "postalCode": "14000", "city": "Caen", "countryCode": "FR"},
                "invoicing": {"email": "factures@univ.test"},
            },
            "convention": {"reference": "C-1", "validFrom": "2020-01-01", "validUntil": "2099-12-31"},
            "members": [member, {"user": format!("{owner}-2"), "role": "Member"}, {"group": format!("{name}:billing"), "role": "Billing"}],
            "quota": {"cpu": "64", "memory": "256Gi", "storage": "2Ti", "pods": 200, "gpus": 4, "workspaces": 10},
        },
    }))
}

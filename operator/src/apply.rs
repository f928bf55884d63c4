//! The fourth step: server-side apply of what differs, under one field manager, and pruning of what is no longer planned.
//!
//! What was just written is remembered until the watch has caught up, so that a cache that lags makes us neither write
//! twice nor decide on yesterday's state.

use crate::error::{Doing, Error};
use crate::metrics::Metrics;
use futures::future::try_join_all;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource, ResourceExt};
use mesocentre_api::{FIELD_MANAGER, labels};
use mesocentre_tenancy::Planned;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// Which object: kind, namespace (empty for cluster-scoped) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    fn of(planned: &Planned) -> Self {
        Self {
            kind: planned.kind.clone(),
            namespace: planned.namespace.clone().unwrap_or_default(),
            name: planned.name.clone(),
        }
    }
}

type Get = Box<dyn Fn(&Key) -> Option<Value> + Send + Sync>;
type InNamespace = Box<dyn Fn(&str) -> Vec<String> + Send + Sync>;

struct Cache {
    resource: ApiResource,
    get: Get,
    in_namespace: InNamespace,
}

struct Written {
    object: Value,
    desired: u64,
}

/// The objects that the operator makes for tenants, as they are and as they were last written.
pub(crate) struct Children {
    client: Client,
    metrics: Arc<Metrics>,
    caches: HashMap<String, Cache>,
    written: Mutex<HashMap<Key, Written>>,
}

/// What an apply did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Objects written.
    pub(crate) written: usize,
    /// Of these, how many somebody else had changed or removed.
    pub(crate) repaired: usize,
}

impl std::ops::AddAssign for Applied {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.repaired += other.repaired;
    }
}

impl Children {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics, caches: HashMap::new(), written: Mutex::default() }
    }

    /// Names a kind and the cache that holds what there is of it.
    pub(crate) fn know<K>(&mut self, store: Store<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + Send + Sync + 'static,
    {
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(&K::group(&()), &K::version(&()), &K::kind(&())),
            &K::plural(&()),
        );
        let by_key = store.clone();
        let get = move |key: &Key| {
            let mut reference = ObjectRef::<K>::new(&key.name);
            if !key.namespace.is_empty() {
                reference = reference.within(&key.namespace);
            }
            by_key.get(&reference).and_then(|object| serde_json::to_value(&*object).ok())
        };
        let in_namespace = move |namespace: &str| {
            store
                .state_filter(|object| {
                    object.meta().namespace.as_deref() == Some(namespace)
                        && object.labels().get(labels::MANAGED_BY).is_some_and(|v| v == labels::MANAGED_BY_VALUE)
                })
                .iter()
                .map(|object| object.name_any())
                .collect()
        };
        self.caches.insert(
            K::kind(&()).into_owned(),
            Cache { resource, get: Box::new(get), in_namespace: Box::new(in_namespace) },
        );
    }

    /// The object is gone: what we wrote of it is history.
    pub(crate) fn forget<K: Resource<DynamicType = ()>>(&self, object: &K) {
        let key = Key {
            kind: K::kind(&()).into_owned(),
            namespace: object.meta().namespace.clone().unwrap_or_default(),
            name: object.name_any(),
        };
        if let Some(written) = self.lock().get_mut(&key) {
            written.object = Value::Null;
        }
    }

    /// The newest state known of an object: the watch's, or what we wrote last where the watch lags.
    pub(crate) fn live(&self, key: &Key) -> Option<Value> {
        let cached = self.caches.get(&key.kind).and_then(|cache| (cache.get)(key));
        let mut written = self.lock();
        let Some(ours) = written.get_mut(key).filter(|w| !w.object.is_null()) else {
            return cached;
        };
        if cached.as_ref().is_some_and(|c| version(c) >= version(&ours.object)) {
            ours.object = Value::Null;
            cached
        } else {
            Some(ours.object.clone())
        }
    }

    /// Writes what differs from the plan, side by side.
    pub(crate) async fn apply(&self, plan: &[Planned]) -> Result<Applied, Error> {
        let mut done = Applied::default();
        for one in try_join_all(plan.iter().map(|planned| self.apply_one(planned))).await? {
            done += one;
        }
        Ok(done)
    }

    async fn apply_one(&self, planned: &Planned) -> Result<Applied, Error> {
        let key = Key::of(planned);
        let live = self.live(&key);
        if live.as_ref().is_some_and(|live| !differs(&planned.body, live)) {
            return Ok(Applied::default());
        }
        let desired = digest(&planned.body);
        let drifted = self.lock().get(&key).is_some_and(|w| w.desired == desired);
        let api = self.api(&key);
        let doing = || format!("applying {} {}", key.kind, path(&key));
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let object = api.patch(&key.name, &params, &Patch::Apply(&planned.body)).await.doing(doing)?;
        let object = serde_json::to_value(&object).unwrap_or_default();
        if differs(&planned.body, &object) {
            // Somebody else's field manager put in what apply does not take away: say how it must be as a whole.
            let mut whole = planned.body.clone();
            if let Some(version) = object.pointer("/metadata/resourceVersion") {
                whole["metadata"]["resourceVersion"] = version.clone();
            }
            let whole: DynamicObject = serde_json::from_value(whole).map_err(|error| Error::Api {
                doing: doing(),
                source: kube::Error::SerdeError(error),
            })?;
            let replaced = api.replace(&key.name, &Default::default(), &whole).await.doing(doing)?;
            self.remember(key.clone(), serde_json::to_value(&replaced).unwrap_or_default(), desired);
        } else {
            self.remember(key.clone(), object, desired);
        }
        if drifted {
            self.metrics.drift.with_label_values(&[&key.kind]).inc();
            tracing::warn!(kind = key.kind, object = path(&key), "somebody changed or removed it; put back");
        }
        Ok(Applied { written: 1, repaired: usize::from(drifted) })
    }

    /// Deletes what of these kinds is ours in the namespace and not in the plan.
    pub(crate) async fn prune(&self, namespace: &str, kinds: &[&str], plan: &[Planned]) -> Result<Applied, Error> {
        let mut done = Applied::default();
        for kind in kinds {
            let names = self.caches.get(*kind).map(|cache| (cache.in_namespace)(namespace)).unwrap_or_default();
            for name in names {
                let planned = plan
                    .iter()
                    .any(|p| p.kind == *kind && p.namespace.as_deref() == Some(namespace) && p.name == name);
                if !planned {
                    self.delete(&Key { kind: (*kind).into(), namespace: namespace.into(), name }).await?;
                    done.written += 1;
                }
            }
        }
        Ok(done)
    }

    /// Deletes an object; one that is gone already is fine.
    pub(crate) async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.lock().remove(key);
        match self.api(key).delete(&key.name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(Error::Api { doing: format!("deleting {} {}", key.kind, path(key)), source }),
        }
    }

    fn api(&self, key: &Key) -> Api<DynamicObject> {
        let resource = match self.caches.get(&key.kind) {
            Some(cache) => cache.resource.clone(),
            // Every kind that is planned is made known in `wiring`; a kind that is not fails in the API, by name.
            None => ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", &key.kind)),
        };
        if key.namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource)
        }
    }

    fn remember(&self, key: Key, mut object: Value, desired: u64) {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        self.lock().insert(key, Written { object, desired });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(key: &Key) -> String {
    if key.namespace.is_empty() { key.name.clone() } else { format!("{}/{}", key.namespace, key.name) }
}

/// Resource versions are decimal integers that grow (KEP-5504); what is none counts as oldest.
pub(crate) fn version(object: &Value) -> u128 {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Everything planned must be as planned, and labels and annotations at least there. Status is somebody else's.
fn differs(desired: &Value, live: &Value) -> bool {
    let Some(desired) = desired.as_object() else { return true };
    desired.iter().any(|(field, value)| match field.as_str() {
        "apiVersion" | "kind" | "status" => false,
        "metadata" => ["labels", "annotations"].iter().any(|map| {
            value[*map].as_object().is_some_and(|wanted| {
                wanted.iter().any(|(name, text)| live.pointer("/metadata").map(|m| &m[*map][name]) != Some(text))
            })
        }),
        _ => live.get(field) != Some(value),
    })
}

fn digest(body: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rule_that_somebody_added_is_a_difference() {
        let desired = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"ingress": []}});
        let same = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "uid": "x"}, "spec": {"ingress": []}, "status": {}});
        let opened = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"ingress": [{}]}});
        let added = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"ingress": [], "podSelector": {"matchLabels": {"x": "y"}}}});
        let relabelled = json!({"metadata": {"labels": {"a": "2"}}, "spec": {"ingress": []}});
        assert!(!differs(&desired, &same));
        assert!(differs(&desired, &opened));
        assert!(differs(&desired, &added));
        assert!(differs(&desired, &relabelled));
    }
}

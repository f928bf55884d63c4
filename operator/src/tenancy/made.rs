//! What the operator made in tenants' namespaces: as the caches have it, and as it was last written where they lag.
//!
//! ```text
//!  watches ──seen──► which objects there are, by namespace          what pruning asks
//!  answers of writes ──remember──► newer than the cache, or not     what applying compares with
//!  digests of plans ──expect──► drift, or a plan that changed       what the metric counts
//! ```
//!
//! An answer is dropped as soon as the watch has caught up with it. Resource versions of one kind can be compared
//! (KEP-5504).

use crate::context::Stores;
use crate::lock::locked;
use crate::watch::{Watchable, key};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use mesocentre_api::PerimeterRules;
use mesocentre_tenancy::Planned;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The kinds of which the operator makes objects for tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// v1
    LimitRange,
    /// v1
    Namespace,
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// mesocentre.io/v1alpha1
    PerimeterRules,
    /// v1
    ResourceQuota,
    /// rbac.authorization.k8s.io/v1
    RoleBinding,
}

impl Kind {
    /// The kind of a planned object.
    pub fn of(planned: &Planned) -> Option<Self> {
        Some(match planned.kind.as_str() {
            "LimitRange" => Self::LimitRange,
            "Namespace" => Self::Namespace,
            "NetworkPolicy" => Self::NetworkPolicy,
            "PerimeterRules" => Self::PerimeterRules,
            "ResourceQuota" => Self::ResourceQuota,
            "RoleBinding" => Self::RoleBinding,
            _ => return None,
        })
    }

    /// Its name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LimitRange => "LimitRange",
            Self::Namespace => "Namespace",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::PerimeterRules => "PerimeterRules",
            Self::ResourceQuota => "ResourceQuota",
            Self::RoleBinding => "RoleBinding",
        }
    }

    /// Where the API server has the objects of a namespace.
    pub fn url_path(self, namespace: Option<&str>) -> String {
        match self {
            Self::LimitRange => LimitRange::url_path(&(), namespace),
            Self::Namespace => Namespace::url_path(&(), None),
            Self::NetworkPolicy => NetworkPolicy::url_path(&(), namespace),
            Self::PerimeterRules => PerimeterRules::url_path(&(), namespace),
            Self::ResourceQuota => ResourceQuota::url_path(&(), namespace),
            Self::RoleBinding => RoleBinding::url_path(&(), namespace),
        }
    }

    fn cached(self, stores: &Stores, which: &Key) -> Option<Value> {
        match self {
            Self::LimitRange => in_cache(&stores.limits, which),
            Self::Namespace => in_cache(&stores.namespaces, which),
            Self::NetworkPolicy => in_cache(&stores.policies, which),
            Self::PerimeterRules => in_cache(&stores.rules, which),
            Self::ResourceQuota => in_cache(&stores.quotas, which),
            Self::RoleBinding => in_cache(&stores.bindings, which),
        }
    }
}

fn in_cache<K: Watchable + Serialize>(store: &Store<K>, which: &Key) -> Option<Value> {
    let object = store.get(&key(which.namespace.as_deref(), &which.name))?;
    serde_json::to_value(object.as_ref()).ok()
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; none for a namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A namespace.
    pub fn namespace(name: &str) -> Self {
        Self {
            kind: Kind::Namespace,
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// An object in a namespace.
    pub fn within(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// The key of a planned object.
    pub fn of(planned: &Planned) -> Option<Self> {
        Some(Self {
            kind: Kind::of(planned)?,
            namespace: planned.namespace.clone(),
            name: planned.name.clone(),
        })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.as_str(), self.name),
            None => write!(f, "{} {}", self.kind.as_str(), self.name),
        }
    }
}

/// What the operator made.
#[derive(Default)]
pub struct Made(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    answers: HashMap<Key, Answer>,
    expected: HashMap<Key, u64>,
    by_namespace: BTreeMap<String, BTreeSet<(Kind, String)>>,
}

/// What the API server answered to a write, until the watch shows it too.
struct Answer {
    version: u64,
    object: Value,
    since: Instant,
}

impl Made {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.0)
    }

    /// The object as it is: the newer of the cache's and of what was written last.
    pub fn live(&self, stores: &Stores, key: &Key) -> Option<Value> {
        let cached = key.kind.cached(stores, key);
        let mut inner = self.inner();
        let Some(answer) = inner.answers.get(key) else {
            return cached;
        };
        match cached {
            Some(cached) if version(&cached) >= answer.version => {
                inner.answers.remove(key);
                Some(cached)
            }
            _ => Some(answer.object.clone()),
        }
    }

    /// Keeps the API server's answer to a write.
    pub fn remember(&self, key: &Key, object: Value) {
        let answer = Answer {
            version: version(&object),
            object,
            since: Instant::now(),
        };
        self.inner().answers.insert(key.clone(), answer);
    }

    /// Keeps what the API server showed, when nothing newer is known.
    pub fn remember_if_newer(&self, stores: &Stores, key: &Key, object: Value) {
        let known = self.live(stores, key).map_or(0, |live| version(&live));
        if known < version(&object) {
            self.remember(key, object);
        }
    }

    /// Forgets what was written: the object is gone, or is to be read again.
    pub fn forget(&self, key: &Key) {
        self.inner().answers.remove(key);
    }

    /// The watch told of an object; `there` is whether it still is.
    pub fn seen<K: Watchable>(&self, kind: Kind, object: &K, there: bool) {
        let key = Key {
            kind,
            namespace: object.namespace(),
            name: object.name_any(),
        };
        let version = object
            .resource_version()
            .and_then(|v| v.parse().ok())
            .unwrap_or(0_u64);
        let mut inner = self.inner();
        if inner.answers.get(&key).is_some_and(|a| a.version <= version) {
            inner.answers.remove(&key);
        }
        let Some(namespace) = key.namespace else {
            if !there {
                // With the namespace went all that was in it.
                inner
                    .expected
                    .retain(|k, _| k.namespace.as_deref() != Some(&key.name));
            }
            return;
        };
        if there {
            inner
                .by_namespace
                .entry(namespace)
                .or_default()
                .insert((kind, key.name));
        } else if let Some(names) = inner.by_namespace.get_mut(&namespace) {
            names.remove(&(kind, key.name));
            if names.is_empty() {
                inner.by_namespace.remove(&namespace);
            }
        }
    }

    /// The objects of a kind that are in a namespace and ours.
    pub fn names(&self, namespace: &str, kind: Kind) -> Vec<String> {
        let inner = self.inner();
        let mut names: Vec<String> = inner
            .by_namespace
            .get(namespace)
            .into_iter()
            .flatten()
            .filter(|(k, _)| *k == kind)
            .map(|(_, name)| name.clone())
            .collect();
        // What was written and is not in the cache yet.
        for key in inner.answers.keys() {
            if key.kind == kind && key.namespace.as_deref() == Some(namespace) && !names.contains(&key.name) {
                names.push(key.name.clone());
            }
        }
        names
    }

    /// The workspaces' namespaces of a tenant in which there is something of ours.
    pub fn namespaces_of(&self, tenant: &str) -> Vec<String> {
        let prefix = format!("{tenant}--");
        let inner = self.inner();
        let mut namespaces: Vec<String> = inner
            .by_namespace
            .range(prefix.clone()..)
            .map(|(namespace, _)| namespace.as_str())
            .take_while(|namespace| namespace.starts_with(&prefix))
            .chain(
                inner
                    .answers
                    .keys()
                    .filter_map(|key| key.namespace.as_deref())
                    .filter(|namespace| namespace.starts_with(&prefix)),
            )
            .map(ToOwned::to_owned)
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }

    /// Says what an object is from now on to be.
    pub fn expect(&self, key: &Key, digest: u64) {
        self.inner().expected.insert(key.clone(), digest);
    }

    /// Says that an object is not to be any more.
    pub fn expect_nothing(&self, key: &Key) {
        let mut inner = self.inner();
        inner.expected.remove(key);
        inner.answers.remove(key);
    }

    /// Whether the object was as it should be, so that whatever it is now is somebody else's doing.
    pub fn expected(&self, key: &Key, digest: u64) -> bool {
        self.inner().expected.get(key) == Some(&digest)
    }

    /// What was written longer ago than that, and no watch has shown since.
    pub fn unconfirmed(&self, age: Duration) -> Vec<(Key, Value)> {
        self.inner()
            .answers
            .iter()
            .filter(|(_, answer)| answer.since.elapsed() > age)
            .map(|(key, answer)| (key.clone(), answer.object.clone()))
            .collect()
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

//! What the operator made in tenants' namespaces: as the caches have it, and as it was last written where they lag.
//!
//! ```text
//!  watches ──seen──► which objects there are, by namespace          what pruning asks
//!                    └─► news, or the echo of a write of ours       who is looked at again
//!  answers of writes ──remember──► newer than the cache, or not     what applying compares with
//!  digests of plans ──expect──► drift, or a plan that changed       what the metric counts
//! ```
//!
//! An answer is dropped as soon as the watch has caught up with it. Resource versions of one kind can be compared
//! (KEP-5504).

use crate::context::Stores;
use crate::lock::locked;
use crate::packed::Packed;
use crate::watch::{Watchable, key};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use mesocentre_api::PerimeterRules;
use mesocentre_tenancy::Planned;
use serde_json::Value;
use std::collections::BTreeMap;
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

fn in_cache<K>(store: &Store<Packed<K>>, which: &Key) -> Option<Value>
where
    Packed<K>: Watchable,
{
    let object = store.get(&key(which.namespace.as_deref(), &which.name))?;
    Some(object.value())
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
    /// The namespace that it is, or is in.
    fn place(&self) -> &str {
        self.namespace.as_deref().unwrap_or(&self.name)
    }

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
    /// By namespace, which has its own object here too, then by kind and name.
    places: BTreeMap<String, Place>,
}

type Place = BTreeMap<(Kind, String), Entry>;

/// What is known of an object beside what the cache holds.
#[derive(Default)]
struct Entry {
    /// Whether the watch shows it.
    there: bool,
    /// What it was to be when it was written, or looked at, last.
    expected: Option<u64>,
    /// What the API server answered to a write, until the watch shows it too.
    answer: Option<Box<Answer>>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        !self.there && self.expected.is_none() && self.answer.is_none()
    }

    /// Whether there is such an object, as far as is known.
    fn stands(&self) -> bool {
        self.there || self.answer.is_some()
    }
}

struct Answer {
    version: u64,
    object: Value,
    since: Instant,
}

impl Inner {
    fn entry(&self, key: &Key) -> Option<&Entry> {
        // A map is searched by what its keys are, and these own their names.
        self.places.get(key.place())?.get(&(key.kind, key.name.clone()))
    }

    /// Changes what is known of an object; keeps nothing of one of which nothing is known.
    fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut Entry) -> T) -> T {
        let place = self.places.entry(key.place().to_owned()).or_default();
        let id = (key.kind, key.name.clone());
        let entry = place.entry(id.clone()).or_default();
        let outcome = change(entry);
        if entry.is_empty() {
            place.remove(&id);
            if place.is_empty() {
                self.places.remove(key.place());
            }
        }
        outcome
    }
}

impl Made {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.0)
    }

    /// The object as it is: the newer of the cache's and of what was written last.
    pub fn live(&self, stores: &Stores, key: &Key) -> Option<Value> {
        let cached = key.kind.cached(stores, key);
        let mut inner = self.inner();
        let Some(answer) = inner.entry(key).and_then(|entry| entry.answer.as_ref()) else {
            return cached;
        };
        match cached {
            Some(cached) if version(&cached) >= answer.version => {
                inner.change(key, |entry| entry.answer = None);
                Some(cached)
            }
            _ => Some(answer.object.clone()),
        }
    }

    /// Keeps the API server's answer to a write.
    pub fn remember(&self, key: &Key, object: Value) {
        let answer = Box::new(Answer {
            version: version(&object),
            object,
            since: Instant::now(),
        });
        self.inner().change(key, |entry| entry.answer = Some(answer));
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
        self.inner().change(key, |entry| entry.answer = None);
    }

    /// The watch told of an object; `there` is whether it still is. True when that is news: not what was answered to this
    /// process's own write, or is older than such an answer.
    pub fn seen<K: Watchable>(&self, kind: Kind, object: &K, there: bool) -> bool {
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
        let is_news = inner.change(&key, |entry| {
            entry.there = there;
            let answered = entry.answer.as_ref().map(|answer| answer.version);
            if answered.is_some_and(|answered| answered <= version) {
                entry.answer = None;
            }
            // What was written held only against what was known, so nothing older is news. An end always is.
            !there || answered.is_none_or(|answered| answered < version)
        });
        if kind == Kind::Namespace && !there {
            // With the namespace went all that was in it.
            if let Some(place) = inner.places.get_mut(&key.name) {
                place.retain(|_, entry| {
                    entry.expected = None;
                    !entry.is_empty()
                });
                if place.is_empty() {
                    inner.places.remove(&key.name);
                }
            }
        }
        is_news
    }

    /// The objects of a kind that are in a namespace and ours, those among them that the cache does not show yet.
    pub fn names(&self, namespace: &str, kind: Kind) -> Vec<String> {
        let inner = self.inner();
        inner
            .places
            .get(namespace)
            .into_iter()
            .flat_map(|place| place.range((kind, String::new())..))
            .take_while(|((k, _), _)| *k == kind)
            .filter(|(_, entry)| entry.stands())
            .map(|((_, name), _)| name.clone())
            .collect()
    }

    /// The workspaces' namespaces of a tenant in which there is something of ours.
    pub fn namespaces_of(&self, tenant: &str) -> Vec<String> {
        let prefix = format!("{tenant}--");
        let inner = self.inner();
        inner
            .places
            .range(prefix.clone()..)
            .take_while(|(namespace, _)| namespace.starts_with(&prefix))
            .filter(|(_, place)| {
                place
                    .iter()
                    .any(|((kind, _), entry)| *kind != Kind::Namespace && entry.stands())
            })
            .map(|(namespace, _)| namespace.clone())
            .collect()
    }

    /// Says what an object is from now on to be.
    pub fn expect(&self, key: &Key, digest: u64) {
        self.inner().change(key, |entry| entry.expected = Some(digest));
    }

    /// Says that an object is not to be any more.
    pub fn expect_nothing(&self, key: &Key) {
        self.inner().change(key, |entry| {
            entry.expected = None;
            entry.answer = None;
        });
    }

    /// Whether the object was as it should be, so that whatever it is now is somebody else's doing.
    pub fn expected(&self, key: &Key, digest: u64) -> bool {
        self.inner()
            .entry(key)
            .is_some_and(|entry| entry.expected == Some(digest))
    }

    /// What was written longer ago than that, and no watch has shown since.
    pub fn unconfirmed(&self, age: Duration) -> Vec<(Key, Value)> {
        let inner = self.inner();
        let entries = inner
            .places
            .iter()
            .flat_map(|(namespace, place)| place.iter().map(move |(id, entry)| (namespace, id, entry)));
        entries
            .filter_map(|(namespace, (kind, name), entry)| {
                let answer = entry.answer.as_ref().filter(|a| a.since.elapsed() > age)?;
                let key = match kind {
                    Kind::Namespace => Key::namespace(name),
                    _ => Key::within(*kind, namespace, name),
                };
                Some((key, answer.object.clone()))
            })
            .collect()
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

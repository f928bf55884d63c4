//! One watch and one cache a kind, shared by all controllers.
//!
//! ```text
//!  API server ──watch──► Watch<K> ──► Store<K>     what everybody reads
//!                            └──────► listeners    who is to be reconciled again
//! ```
//!
//! Lists are consistent reads, and the first one is made after the lease was taken: what is in a cache is never older
//! than this process's charge. What was removed while a watch was interrupted is told to the listeners as well.

use crate::lock::locked;
use futures::StreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// What can be watched: a kind that is known when this program is built.
pub trait Watchable:
    Resource<DynamicType: Default + Eq + Hash + Clone + Debug + Unpin>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}
impl<K> Watchable for K where
    K: Resource<DynamicType: Default + Eq + Hash + Clone + Debug + Unpin>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

type Listener<K> = Box<dyn Fn(&Arc<K>) + Send + Sync>;

/// Told what an object was, and what it is.
type Comparer<K> = Box<dyn Fn(Option<&K>, Option<&K>) + Send + Sync>;

/// A kind's watch, before it is started.
pub struct Watch<K: Watchable> {
    api: Api<K>,
    config: watcher::Config,
    slim: fn(&mut K),
    writer: Writer<K>,
    store: Store<K>,
    listeners: Vec<Listener<K>>,
    spec_listeners: Vec<Listener<K>>,
    comparers: Vec<Comparer<K>>,
}

impl<K: Watchable> Watch<K> {
    /// Of all objects of the kind, in all namespaces.
    pub fn all(api: Api<K>) -> Self {
        Self::of(api, watcher::Config::default())
    }

    /// Of those that the operator made.
    pub fn ours(api: Api<K>) -> Self {
        let selector = format!(
            "{}={}",
            mesocentre_api::labels::MANAGED_BY,
            mesocentre_api::labels::MANAGED_BY_VALUE
        );
        Self::of(api, watcher::Config::default().labels(&selector))
    }

    /// Of those that the operator did not make.
    pub fn foreign(api: Api<K>) -> Self {
        let selector = format!(
            "{}!={}",
            mesocentre_api::labels::MANAGED_BY,
            mesocentre_api::labels::MANAGED_BY_VALUE
        );
        Self::of(api, watcher::Config::default().labels(&selector))
    }

    /// Of those that bear a tenant's label, whoever made them.
    pub fn claimed(api: Api<K>) -> Self {
        Self::of(
            api,
            watcher::Config::default().labels(mesocentre_api::labels::TENANT),
        )
    }

    /// Of those that the chart installed.
    pub fn charts(api: Api<K>) -> Self {
        Self::of(
            api,
            watcher::Config::default().labels("app.kubernetes.io/name=mesocentre"),
        )
    }

    fn of(api: Api<K>, config: watcher::Config) -> Self {
        let writer = Writer::default();
        Self {
            api,
            config,
            slim: |_| {},
            store: writer.as_reader(),
            writer,
            listeners: Vec::new(),
            spec_listeners: Vec::new(),
            comparers: Vec::new(),
        }
    }

    /// Leaves out what nobody reads before an object is kept.
    pub fn slim(mut self, slim: fn(&mut K)) -> Self {
        self.slim = slim;
        self
    }

    /// The cache.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Calls `listener` with each object that came, changed or went.
    pub fn on_change(&mut self, listener: impl Fn(&Arc<K>) + Send + Sync + 'static) {
        self.listeners.push(Box::new(listener));
    }

    /// Calls `listener` with each object that came or went, or whose spec, labels, annotations or deletion changed: not
    /// for a status that is written often.
    pub fn on_spec_change(&mut self, listener: impl Fn(&Arc<K>) + Send + Sync + 'static) {
        self.spec_listeners.push(Box::new(listener));
    }

    /// Calls `listener` with each object as it was, if it was known before, and as it is, if it still is: for who asks
    /// what changed of it.
    pub fn on_difference(&mut self, listener: impl Fn(Option<&K>, Option<&K>) + Send + Sync + 'static) {
        self.comparers.push(Box::new(listener));
    }

    /// Watches until the process ends.
    pub async fn run(mut self) {
        let slim = self.slim;
        let mut events = watch(self.api.clone(), self.config.clone())
            .default_backoff()
            .modify(move |object: &mut K| {
                object.meta_mut().managed_fields = None;
                slim(object);
            })
            .boxed();
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&K::DynamicType::default()), %error, "watching was interrupted and goes on");
                    continue;
                }
            };
            match event {
                Event::Apply(object) => {
                    let key = ObjectRef::from_obj(&object);
                    let before = self.store.get(&key);
                    self.writer.apply_watcher_event(&Event::Apply(object));
                    // Nobody else writes into the cache.
                    if let Some(now) = self.store.get(&key) {
                        let only_status = before
                            .as_ref()
                            .is_some_and(|before| same_spec(before.as_ref(), now.as_ref()));
                        self.tell(before.as_deref(), &now, only_status);
                    }
                }
                Event::Delete(object) => {
                    let gone = Arc::new(object.clone());
                    self.writer.apply_watcher_event(&Event::Delete(object));
                    self.tell_of_end(&gone);
                }
                Event::Init | Event::InitApply(_) => self.writer.apply_watcher_event(&event),
                Event::InitDone => {
                    let mut gone: HashMap<ObjectRef<K>, Arc<K>> = self
                        .store
                        .state()
                        .into_iter()
                        .map(|object| (ObjectRef::from_obj(object.as_ref()), object))
                        .collect();
                    self.writer.apply_watcher_event(&Event::InitDone);
                    for object in self.store.state() {
                        let before = gone.remove(&ObjectRef::from_obj(object.as_ref()));
                        self.tell(before.as_deref(), &object, false);
                    }
                    gone.values().for_each(|object| self.tell_of_end(object));
                }
            }
        }
    }

    fn tell(&self, before: Option<&K>, now: &Arc<K>, only_status: bool) {
        self.comparers
            .iter()
            .for_each(|comparer| comparer(before, Some(now.as_ref())));
        self.listeners.iter().for_each(|listener| listener(now));
        if !only_status {
            self.spec_listeners.iter().for_each(|listener| listener(now));
        }
    }

    fn tell_of_end(&self, gone: &Arc<K>) {
        self.comparers
            .iter()
            .for_each(|comparer| comparer(Some(gone.as_ref()), None));
        self.listeners.iter().for_each(|listener| listener(gone));
        self.spec_listeners.iter().for_each(|listener| listener(gone));
    }
}

/// The objects of a cache by namespace, so that who asks for one tenant's does not look through all.
pub struct ByNamespace<K: Watchable> {
    store: Store<K>,
    names: Arc<Mutex<HashMap<String, BTreeSet<String>>>>,
}

impl<K: Watchable> ByNamespace<K> {
    /// Of what this watch shows from now on.
    pub fn of(watch: &mut Watch<K>) -> Self {
        let names: Arc<Mutex<HashMap<String, BTreeSet<String>>>> = Arc::default();
        let (seen, store) = (Arc::clone(&names), watch.store());
        watch.on_change(move |object| {
            let there = store.get(&ObjectRef::from_obj(object.as_ref())).is_some();
            let namespace = object.namespace().unwrap_or_default();
            let mut seen = locked(&seen);
            if there {
                seen.entry(namespace).or_default().insert(object.name_any());
            } else if let Entry::Occupied(mut names) = seen.entry(namespace) {
                names.get_mut().remove(&object.name_any());
                if names.get().is_empty() {
                    names.remove();
                }
            }
        });
        Self {
            store: watch.store(),
            names,
        }
    }

    /// Those in this namespace, by name.
    pub fn within(&self, namespace: &str) -> Vec<Arc<K>>
    where
        K::DynamicType: Default,
    {
        let names = locked(&self.names);
        names
            .get(namespace)
            .into_iter()
            .flatten()
            .filter_map(|name| self.store.get(&key(Some(namespace), name)))
            .collect()
    }
}

/// Whether two versions of an object differ in nothing but status. Kinds without a generation always differ.
fn same_spec<K: Resource>(before: &K, now: &K) -> bool {
    let (before, now) = (before.meta(), now.meta());
    before.generation.is_some()
        && before.generation == now.generation
        && before.uid == now.uid
        && before.labels == now.labels
        && before.annotations == now.annotations
        && before.deletion_timestamp == now.deletion_timestamp
}

/// The key of an object in a store.
pub fn key<K: Resource<DynamicType: Default>>(namespace: Option<&str>, name: &str) -> ObjectRef<K> {
    let key = ObjectRef::new(name);
    match namespace {
        Some(namespace) => key.within(namespace),
        None => key,
    }
}

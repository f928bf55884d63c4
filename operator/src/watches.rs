//! One watch a kind, shared by every controller.
//!
//! ```text
//! API server ──watch──▶ reflector store (what gather reads)
//!                  └──▶ mappers ──ObjectRef──▶ the queues of the controllers that care
//! ```
//! Deletions reach the mappers too: that is how drift is repaired at once. What a broken watch missed is found when
//! it lists again, and by each controller's own slow resync.

use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, reflector::Lookup, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;

type Mapper<K> = Box<dyn Fn(&K) + Send + Sync>;

/// A kind being watched; built before it runs, so that no controller misses a beginning.
pub(crate) struct Watch<K: Lookup + Clone + 'static>
where
    K::DynamicType: Eq + Hash + Clone,
{
    api: Api<K>,
    config: watcher::Config,
    reader: Store<K>,
    writer: kube::runtime::reflector::store::Writer<K>,
    mappers: Vec<Mapper<K>>,
    on_delete: Vec<Mapper<K>>,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Watches what the API and the configuration select.
    pub(crate) fn new(api: Api<K>, config: watcher::Config) -> Self {
        let (reader, writer) = store();
        Self { api, config, reader, writer, mappers: Vec::new(), on_delete: Vec::new() }
    }

    /// The cache.
    pub(crate) fn store(&self) -> Store<K> {
        self.reader.clone()
    }

    /// The objects to reconcile of another kind (or of the same) whenever an object of this kind is touched.
    pub(crate) fn touches<T, I>(&mut self, map: impl Fn(&K) -> I + Send + Sync + 'static) -> impl Stream<Item = ObjectRef<T>> + Send + 'static
    where
        T: Resource<DynamicType = ()> + Send + Sync + 'static,
        I: IntoIterator<Item = ObjectRef<T>>,
    {
        let (sender, receiver) = mpsc::unbounded();
        self.mappers.push(Box::new(move |object| {
            for target in map(object) {
                // The receiver goes only when the process ends.
                let _ = sender.unbounded_send(target);
            }
        }));
        receiver
    }

    /// Called when an object is gone, before anything is reconciled for it.
    pub(crate) fn on_delete(&mut self, forget: impl Fn(&K) + Send + Sync + 'static) {
        self.on_delete.push(Box::new(forget));
    }

    /// Runs until the process ends.
    pub(crate) async fn run(self) {
        let kind = K::kind(&()).into_owned();
        let (mappers, on_delete, reader) = (self.mappers, self.on_delete, self.reader);
        let touched = |object: &K| mappers.iter().for_each(|map| map(object));
        let mut stream = watcher(self.api, self.config)
            .default_backoff()
            .modify(|object| {
                // Nothing reads these, and they are half of an object's size.
                object.managed_fields_mut().clear();
                object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
            })
            .reflect(self.writer)
            .boxed();
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Apply(object)) => touched(&object),
                Ok(watcher::Event::Delete(object)) => {
                    on_delete.iter().for_each(|forget| forget(&object));
                    touched(&object);
                }
                // The store takes a new list as a whole: only now does it hold what the list brought.
                Ok(watcher::Event::InitDone) => reader.state().iter().for_each(|object| touched(object)),
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Err(error) => tracing::warn!(kind, %error, "the watch broke; it begins again"),
            }
        }
    }
}

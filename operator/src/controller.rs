//! Runs a controller: a queue of objects to look at, each by one reconcile at a time, tried again with growing pauses
//! when it fails.

use crate::Context;
use crate::failure::Failure;
use crate::lock::locked;
use crate::watch::{Watch, Watchable};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Asks a controller to look at an object. Cheap to clone.
#[derive(Debug)]
pub struct Trigger<K: Watchable>(UnboundedSender<ObjectRef<K>>);

impl<K: Watchable> Clone for Trigger<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Watchable> Trigger<K> {
    /// Has an object looked at, soon and once for any number of calls. One that is not there is passed over.
    pub fn reconcile(&self, object: ObjectRef<K>) {
        // The queue only ends with the process.
        let _ = self.0.unbounded_send(object);
    }

    /// Has all that are in the cache looked at.
    pub fn reconcile_all(&self, store: &Store<K>) {
        for object in store.state() {
            self.reconcile(ObjectRef::from_obj(object.as_ref()));
        }
    }
}

/// A [`Trigger`] for what changes many times a second: an object is looked at at once, and then at most once a pause.
/// No change goes without a look after it.
pub struct Paced<K: Watchable> {
    trigger: Trigger<K>,
    pause: Duration,
    /// Those looked at less than a pause ago, and whether they are owed another look.
    recent: Arc<Mutex<HashMap<ObjectRef<K>, bool>>>,
}

impl<K: Watchable> Clone for Paced<K> {
    fn clone(&self) -> Self {
        Self {
            trigger: self.trigger.clone(),
            pause: self.pause,
            recent: Arc::clone(&self.recent),
        }
    }
}

impl<K: Watchable> Paced<K> {
    /// With `pause` between two looks at one object.
    pub fn new(trigger: Trigger<K>, pause: Duration) -> Self {
        Self {
            trigger,
            pause,
            recent: Arc::default(),
        }
    }

    /// Has an object looked at, now or when the pause is over. To be called from within the runtime.
    pub fn reconcile(&self, object: ObjectRef<K>) {
        match locked(&self.recent).entry(object.clone()) {
            Entry::Occupied(mut recent) => {
                recent.insert(true);
                return;
            }
            Entry::Vacant(recent) => {
                recent.insert(false);
            }
        }
        self.trigger.reconcile(object.clone());
        let paced = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(paced.pause).await;
            let owed = locked(&paced.recent).remove(&object);
            if owed == Some(true) {
                paced.reconcile(object);
            }
        });
    }
}

/// The other end of a [`Trigger`].
pub type Queue<K> = UnboundedReceiver<ObjectRef<K>>;

/// A queue and its trigger.
pub fn queue<K: Watchable>() -> (Trigger<K>, Queue<K>) {
    let (sender, receiver) = unbounded();
    (Trigger(sender), receiver)
}

/// How long after a failure an object is looked at again: first soon, then ever less often.
pub fn pause_after(failures: u32) -> Duration {
    Duration::from_millis(200)
        .saturating_mul(1 << failures.min(9))
        .min(Duration::from_secs(60))
}

/// Reconciles what is in the queue until `shutdown`, then ends what is under way.
pub async fn run<K, Reconciled>(
    name: &'static str,
    context: Arc<Context>,
    store: Store<K>,
    queue: Queue<K>,
    concurrency: u16,
    reconcile: impl Fn(Arc<K>, Arc<Context>) -> Reconciled + Clone + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) where
    K: Watchable,
    Reconciled: Future<Output = Result<Action, Failure>> + Send + 'static,
{
    let failures: Arc<Mutex<HashMap<ObjectRef<K>, u32>>> = Arc::default();
    let asked: Arc<Mutex<HashSet<ObjectRef<K>>>> = Arc::default();
    let queued = context.metrics.reconciles_queued.with_label_values(&[name]);
    let noted = {
        let (asked, queued, store) = (Arc::clone(&asked), queued.clone(), store.clone());
        move |object: &ObjectRef<K>| {
            // One that is gone is never looked at.
            if store.get(object).is_some() {
                let mut asked = locked(&asked);
                asked.insert(object.clone());
                queued.set(i64::try_from(asked.len()).unwrap_or(i64::MAX));
            }
        }
    };
    let one = {
        let failures = Arc::clone(&failures);
        let running = context.metrics.reconciles_running.with_label_values(&[name]);
        move |cached: Arc<K>, context: Arc<Context>| {
            let reconcile = reconcile.clone();
            let (failures, asked) = (Arc::clone(&failures), Arc::clone(&asked));
            let (queued, running) = (queued.clone(), running.clone());
            async move {
                let object = context.own_writes.fresher(cached);
                let key = ObjectRef::from_obj(object.as_ref());
                {
                    let mut asked = locked(&asked);
                    asked.remove(&key);
                    queued.set(i64::try_from(asked.len()).unwrap_or(i64::MAX));
                }
                running.inc();
                let started = Instant::now();
                let outcome = reconcile(object, Arc::clone(&context)).await;
                running.dec();
                context.metrics.reconciled(name, started.elapsed(), &outcome);
                let mut failures = locked(&failures);
                let action = match outcome {
                    Ok(action) => {
                        failures.remove(&key);
                        action
                    }
                    Err(Failure::Conflict { .. }) => Action::requeue(Duration::from_millis(50)),
                    Err(failure) => {
                        let times = failures.entry(key.clone()).or_default();
                        let pause = pause_after(*times);
                        *times = times.saturating_add(1);
                        tracing::warn!(controller = name, object = %key, failure = %failure, "tried again in {pause:?}");
                        Action::requeue(pause)
                    }
                };
                Ok::<Action, Infallible>(action)
            }
            .boxed()
        }
    };
    kube::runtime::applier(
        one,
        |_, never: &Infallible, _| match *never {},
        context,
        store,
        queue.inspect(noted).map(Ok::<_, Infallible>).take_until(shutdown),
        Config::default().concurrency(concurrency),
    )
    // What was asked for and is gone is no error.
    .for_each(|_| std::future::ready(()))
    .await;
}

/// The last answers of the API server to this process's own writes, for as long as the caches have not caught up: a
/// reconcile never sees an object older than what it wrote itself.
/// Cheap to clone.
#[derive(Clone, Default)]
pub struct OwnWrites(Arc<Mutex<HashMap<String, Answer>>>);

/// The resource version of an answer, and the object of whatever kind.
type Answer = (u64, Arc<dyn std::any::Any + Send + Sync>);

/// A resource version as a number. Since Kubernetes 1.35 those of one kind can be compared (KEP-5504).
fn version<K: ResourceExt>(object: &K) -> u64 {
    object
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

impl OwnWrites {
    /// Remembers the API server's answer to a write.
    pub fn remember<K: Watchable>(&self, answer: Arc<K>) {
        let Some(uid) = answer.uid() else { return };
        let mut answers = locked(&self.0);
        answers.insert(uid, (version(answer.as_ref()), answer));
    }

    /// Has each object looked at that the watch shows otherwise than this process wrote it: whoever wrote it has looked.
    pub fn on_news<K: Watchable>(&self, watch: &mut Watch<K>, trigger: &Trigger<K>) {
        let (own, trigger, store) = (self.clone(), trigger.clone(), watch.store());
        watch.on_change(move |object| {
            let key = ObjectRef::from_obj(object.as_ref());
            if store.get(&key).is_none() || !own.is_echo(object.as_ref()) {
                trigger.reconcile(key);
            }
        });
    }

    /// Whether what the watch shows is what this process wrote, or is older than that: it wrote on what it knew.
    fn is_echo<K: Watchable>(&self, shown: &K) -> bool {
        let Some(uid) = shown.uid() else { return false };
        let mut answers = locked(&self.0);
        let Some((written, _)) = answers.get(&uid) else {
            return false;
        };
        let (written, shown) = (*written, version(shown));
        if written <= shown {
            // The cache holds it.
            answers.remove(&uid);
        }
        shown <= written
    }

    /// The newer of what is cached and what was written.
    pub fn fresher<K: Watchable>(&self, cached: Arc<K>) -> Arc<K> {
        let Some(uid) = cached.uid() else { return cached };
        let mut answers = locked(&self.0);
        match answers.get(&uid) {
            Some((written, answer)) if *written > version(cached.as_ref()) => {
                Arc::clone(answer).downcast::<K>().unwrap_or(cached)
            }
            Some(_) => {
                answers.remove(&uid);
                cached
            }
            None => cached,
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        locked(&self.0).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_changes_often_is_looked_at_at_once_and_then_once_a_pause_and_never_left_without_a_look() {
        let (trigger, mut looks) = queue::<k8s_openapi::api::core::v1::ResourceQuota>();
        let paced = Paced::new(trigger, Duration::from_millis(500));
        let began = tokio::time::Instant::now();
        let changes = tokio::spawn(async move {
            // A hundred changes in a second, then one alone.
            for _ in 0..100 {
                paced.reconcile(ObjectRef::new("tenant").within("univ-caen--main"));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            paced.reconcile(ObjectRef::new("tenant").within("univ-caen--main"));
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        let mut at = Vec::new();
        while looks.next().await.is_some() {
            at.push(began.elapsed().as_millis());
        }
        changes.await.unwrap();
        assert_eq!(at.len(), 4, "{at:?}");
        assert_eq!(at[0], 0);
        assert!((500..520).contains(&at[1]), "{at:?}");
        assert!(
            (1000..1040).contains(&at[2]),
            "the last of the hundred has a look after it: {at:?}"
        );
        assert!((6000..6100).contains(&at[3]), "{at:?}");
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses: Vec<u128> = (0..12).map(|n| pause_after(n).as_millis()).collect();
        assert_eq!(pauses[..4], [200, 400, 800, 1600]);
        assert_eq!(pauses[11], 60_000);
        assert!(pauses.windows(2).all(|two| two[0] <= two[1]));
    }
}

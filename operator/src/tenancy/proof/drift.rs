//! What drifted lately, for reports, events and the metric. Bounded, whoever fights with us: twenty entries a tenant, and an
//! event on an object at most every half minute, with how often it happened since.

use super::super::made::Key;
use crate::Context;
use crate::lock::locked;
use crate::report::in_seconds;
use crate::watch::key;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType};
use mesocentre_api::{Drift, Tenant, Workspace, labels};
use mesocentre_tenancy::drift::Change;
use mesocentre_tenancy::proof::Foreign;
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many a tenant's report lists.
const KEPT: usize = 20;
/// How often an event tells of one object.
const TOLD_AGAIN: Duration = Duration::from_secs(30);

/// What drifted lately.
#[derive(Default)]
pub struct DriftLog(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By tenant, the newest first.
    of_tenant: HashMap<String, VecDeque<Drift>>,
    /// Of the chart's policies, which hold every tenant.
    of_all: VecDeque<Drift>,
    /// Objects of which an event told lately, and how often it was left out since.
    told: HashMap<String, (Instant, u32)>,
}

impl DriftLog {
    /// Takes in what a report of an earlier process tells.
    pub fn seed(&self, tenant: &str, earlier: Vec<Drift>) {
        let mut inner = locked(&self.0);
        let of_all: HashSet<(String, Timestamp)> = inner
            .of_all
            .iter()
            .map(|d| (d.object.clone(), d.seen_at))
            .collect();
        let entries = inner.of_tenant.entry(tenant.to_owned()).or_default();
        for drift in earlier {
            let known = entries
                .iter()
                .any(|d| d.object == drift.object && d.seen_at == drift.seen_at)
                || of_all.contains(&(drift.object.clone(), drift.seen_at));
            if !known {
                entries.push_back(drift);
            }
        }
        entries.truncate(KEPT);
    }

    /// What a tenant's report lists, the newest first.
    pub fn of(&self, tenant: &str) -> Vec<Drift> {
        let inner = locked(&self.0);
        let mut all: Vec<Drift> = inner
            .of_tenant
            .get(tenant)
            .into_iter()
            .flatten()
            .chain(&inner.of_all)
            .cloned()
            .collect();
        all.sort_by(|a, b| b.seen_at.cmp(&a.seen_at).then_with(|| a.object.cmp(&b.object)));
        all.truncate(KEPT);
        all
    }

    /// The tenant is gone.
    pub fn forget(&self, tenant: &str) {
        locked(&self.0).of_tenant.remove(tenant);
    }

    fn note(&self, tenant: Option<&str>, drift: Drift) {
        let mut inner = locked(&self.0);
        let entries = match tenant {
            Some(tenant) => inner.of_tenant.entry(tenant.to_owned()).or_default(),
            None => &mut inner.of_all,
        };
        entries.push_front(drift);
        entries.truncate(KEPT);
    }

    /// Notes that an object which holds every tenant is as it should be; whether that is news.
    fn is_back(&self, object: &str, now: Timestamp) -> bool {
        let mut inner = locked(&self.0);
        let open = inner
            .of_all
            .iter_mut()
            .filter(|entry| entry.repaired_at.is_none());
        let mut is_news = false;
        for entry in open.filter(|entry| entry.object == object) {
            entry.repaired_at = Some(now);
            is_news = true;
        }
        is_news
    }

    /// Notes what is foreign now, and that what is so no more was set right; gives what is new.
    pub fn foreign<'f>(&self, tenant: &str, found: &'f [Foreign], now: Timestamp) -> Vec<&'f Foreign> {
        let mut inner = locked(&self.0);
        let entries = inner.of_tenant.entry(tenant.to_owned()).or_default();
        for entry in entries.iter_mut().filter(|entry| entry.repaired_at.is_none()) {
            if !found.iter().any(|f| f.object == entry.object) {
                entry.repaired_at = Some(now);
            }
        }
        let mut new = Vec::new();
        for foreign in found {
            if !entries
                .iter()
                .any(|e| e.repaired_at.is_none() && e.object == foreign.object)
            {
                entries.push_front(Drift {
                    object: foreign.object.clone(),
                    what: foreign.what.clone(),
                    seen_at: now,
                    by: None,
                    changed_at: None,
                    repaired_at: None,
                });
                new.push(foreign);
            }
        }
        entries.truncate(KEPT);
        new
    }

    /// Whether an event may tell of this object now, and how often none did since the last.
    fn may_tell(&self, object: &str) -> Option<u32> {
        let mut inner = locked(&self.0);
        inner
            .told
            .retain(|_, (at, _)| at.elapsed() < TOLD_AGAIN.saturating_mul(10));
        match inner.told.get_mut(object) {
            Some((at, unsaid)) if at.elapsed() < TOLD_AGAIN => {
                *unsaid = unsaid.saturating_add(1);
                None
            }
            Some((at, unsaid)) => {
                *at = Instant::now();
                Some(std::mem::take(unsaid))
            }
            None => {
                inner.told.insert(object.to_owned(), (Instant::now(), 0));
                Some(0)
            }
        }
    }
}

/// In whole seconds, as Kubernetes has times.
pub fn now() -> Timestamp {
    in_seconds(Timestamp::now())
}

/// An object in a tenant's namespace was not as planned, and is now.
pub async fn repaired(context: &Context, which: &Key, planned: &Value, change: Change) {
    let kind = which.kind.as_str();
    context.metrics.drift_repaired.with_label_values(&[kind]).inc();
    let object = which.to_string();
    tracing::warn!(
        object,
        by = change.by,
        "it {}, and is as planned again",
        change.what
    );
    let marks = &planned["metadata"]["labels"];
    let Some(tenant) = marks[labels::TENANT].as_str() else {
        return;
    };
    let note = format!(
        "the {object} {}, {}; it is as planned again",
        change.what,
        change.by_whom()
    );
    context
        .tenancy
        .proof
        .drift
        .note(Some(tenant), entry(&object, &change));
    context.triggers.reports.reconcile(key(None, tenant));
    let related = ObjectReference {
        api_version: planned["apiVersion"].as_str().map(ToOwned::to_owned),
        kind: Some(kind.into()),
        name: Some(which.name.clone()),
        namespace: which.namespace.clone(),
        ..Default::default()
    };
    // Where its people look: the workspace is in their home namespace, the tenant is the administrators'.
    let s = &context.stores;
    let workspace = marks[labels::WORKSPACE]
        .as_str()
        .and_then(|name| s.workspaces.get(&key::<Workspace>(Some(tenant), name)));
    let about = match workspace {
        Some(workspace) => Some(workspace.object_ref(&())),
        None => s
            .tenants
            .get(&key::<Tenant>(None, tenant))
            .map(|tenant| tenant.object_ref(&())),
    };
    if let Some(about) = about {
        tell(context, &object, &about, related, "DriftRepaired", note).await;
    }
}

/// A policy of the chart was not as the chart has it, and is now, or could not be put back.
pub async fn of_the_chart(context: &Context, kind: &str, name: &str, change: &Change, failed: Option<&str>) {
    let object = format!("{kind} {name}");
    let note = match failed {
        None => {
            context.metrics.drift_repaired.with_label_values(&[kind]).inc();
            tracing::warn!(
                object,
                by = change.by,
                "it {}, and is as the chart has it again",
                change.what
            );
            format!(
                "the {object} {}, {}; it is as the chart has it again",
                change.what,
                change.by_whom()
            )
        }
        Some(why) => {
            tracing::error!(
                object,
                by = change.by,
                why,
                "it {}, and cannot be put back: perimeters are open",
                change.what
            );
            format!(
                "the {object} {}, {}, and the operator cannot put it back ({why}): run helm upgrade, since perimeters do not hold until then",
                change.what,
                change.by_whom()
            )
        }
    };
    let mut drift = entry(&object, change);
    let log = &context.tenancy.proof.drift;
    if failed.is_some() {
        drift.repaired_at = None;
    } else {
        log.is_back(&object, now());
    }
    log.note(None, drift);
    context.triggers.reports.reconcile_all(&context.stores.tenants);
    let about = ObjectReference {
        api_version: Some("admissionregistration.k8s.io/v1".into()),
        kind: Some(kind.into()),
        name: Some(name.into()),
        ..Default::default()
    };
    let reason = if failed.is_some() {
        "DriftNotRepaired"
    } else {
        "DriftRepaired"
    };
    tell(context, &object, &about.clone(), about, reason, note).await;
}

/// A policy of the chart is as the chart has it: where it could not be put back before, somebody else did it.
pub fn is_back(context: &Context, kind: &str, name: &str) {
    let log = &context.tenancy.proof.drift;
    if log.is_back(&format!("{kind} {name}"), now()) {
        context.triggers.reports.reconcile_all(&context.stores.tenants);
    }
}

/// Something foreign came into a tenant's namespaces.
pub async fn foreign_came(context: &Context, tenant: &Tenant, foreign: &Foreign) {
    let sentence = foreign.sentence();
    tracing::warn!(tenant = tenant.metadata.name, "{sentence}");
    let (kind, name) = foreign.object.split_once(' ').unwrap_or(("", &foreign.object));
    let (namespace, name) = name
        .split_once('/')
        .map_or((None, name), |(n, name)| (Some(n.to_owned()), name));
    let related = ObjectReference {
        kind: Some(kind.into()),
        name: Some(name.into()),
        namespace,
        ..Default::default()
    };
    tell(
        context,
        &foreign.object,
        &tenant.object_ref(&()),
        related,
        "Foreign",
        sentence,
    )
    .await;
}

fn entry(object: &str, change: &Change) -> Drift {
    let now = now();
    Drift {
        object: object.to_owned(),
        what: change.what.clone(),
        seen_at: now,
        by: change.by.clone(),
        changed_at: change.at,
        repaired_at: Some(now),
    }
}

/// An event that is lost is no reason to fail. Each object has its own, since events of one reason about one object are
/// counted as one, with the first one's words.
async fn tell(
    context: &Context,
    object: &str,
    about: &ObjectReference,
    related: ObjectReference,
    reason: &str,
    note: String,
) {
    let Some(unsaid) = context.tenancy.proof.drift.may_tell(object) else {
        return;
    };
    let more = if unsaid > 0 {
        format!(" ({unsaid} times more since the last event)")
    } else {
        String::new()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: reason.into(),
        // The API server takes a kilobyte.
        note: Some(note.chars().take(900).chain(more.chars()).collect()),
        action: "Repair".into(),
        secondary: Some(related),
    };
    if let Err(error) = context.recorder.publish(&event, about).await {
        tracing::debug!(%error, object, "an event was lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_could_not_be_put_back_is_told_as_repaired_once_it_is_back() {
        let log = DriftLog::default();
        let drift = |object: &str| Drift {
            object: object.to_owned(),
            what: "was deleted".to_owned(),
            seen_at: now(),
            by: None,
            changed_at: None,
            repaired_at: None,
        };
        log.note(None, drift("ValidatingAdmissionPolicy mesocentre-pods"));
        log.note(None, drift("ValidatingAdmissionPolicy mesocentre-tokens"));
        let still_open = || -> Vec<String> {
            let all = log.of("univ-caen");
            all.into_iter()
                .filter(|drift| drift.repaired_at.is_none())
                .map(|drift| drift.object)
                .collect()
        };
        assert_eq!(still_open().len(), 2);
        assert!(log.is_back("ValidatingAdmissionPolicy mesocentre-tokens", now()));
        assert_eq!(still_open(), ["ValidatingAdmissionPolicy mesocentre-pods"]);
        // Once is enough: nobody is told again.
        assert!(!log.is_back("ValidatingAdmissionPolicy mesocentre-tokens", now()));
    }
}

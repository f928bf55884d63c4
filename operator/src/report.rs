//! The last step of each reconcile: status and conditions, written only when they changed; and events.

use crate::Context;
use crate::failure::Failure;
use crate::watch::Watchable;
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::object::HasStatus;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Client, Resource, ResourceExt};
use mesocentre_api::{Condition, ConditionStatus, FIELD_MANAGER, READY, labels, set_condition};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

/// An instant as Kubernetes has times: in whole seconds.
pub fn in_seconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

/// An object's own API: of its namespace, or of the cluster.
pub trait Home: Watchable {
    /// The API that an object is reached through.
    fn api(client: Client, namespace: Option<&str>) -> Api<Self>;
}

macro_rules! home {
    (namespaced: $($namespaced:ty),+; cluster: $($cluster:ty),+ $(;)?) => {
        $(impl Home for $namespaced {
            fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
                namespaced(client, namespace)
            }
        })+
        $(impl Home for $cluster {
            fn api(client: Client, _: Option<&str>) -> Api<Self> {
                cluster(client)
            }
        })+
    };
}

home! {
    namespaced: mesocentre_api::Allocation, mesocentre_api::BatchJob, mesocentre_api::Invoice, mesocentre_api::PeeringAgreement,
        mesocentre_api::Statement, mesocentre_api::Workspace;
    cluster: mesocentre_api::BillingPeriod, mesocentre_api::CoInvestment, mesocentre_api::CostPool, mesocentre_api::EconomicCeiling, mesocentre_api::InvoiceSeries, mesocentre_api::Scheduler,
        mesocentre_api::Tariff, mesocentre_api::Tenant, mesocentre_api::TrustPerimeter;
}

fn namespaced<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType: Default, Scope = NamespaceResourceScope>,
{
    Api::namespaced(client, namespace.unwrap_or("default"))
}

fn cluster<K>(client: Client) -> Api<K>
where
    K: Resource<DynamicType: Default, Scope = ClusterResourceScope>,
{
    Api::all(client)
}

/// The API of the object that is being reconciled.
pub fn api_of<K: Home>(context: &Context, object: &K) -> Api<K> {
    K::api(context.client.clone(), object.namespace().as_deref())
}

/// `Tenant univ-caen`, for sentences.
pub fn named<K: Home>(object: &K) -> String {
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    match object.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{}", object.name_any()),
        None => format!("{kind} {}", object.name_any()),
    }
}

/// Writes an object's status when it differs from the one that was seen; gives the object as it is now.
///
/// The write holds only against the version that was seen, so nothing is decided on an old view.
///
/// # Errors
/// [`Failure::Conflict`] when the object has changed meanwhile.
pub async fn write_status<K>(context: &Context, object: &Arc<K>, status: K::Status) -> Result<Arc<K>, Failure>
where
    K: Home + HasStatus<Status: Serialize + PartialEq>,
{
    if object.status() == Some(&status) {
        return Ok(Arc::clone(object));
    }
    let doing = || format!("writing the status of {}", named(object.as_ref()));
    let body = json!({
        "apiVersion": K::api_version(&K::DynamicType::default()),
        "kind": K::kind(&K::DynamicType::default()),
        // The spec is left out: the API server takes it from what is stored.
        "metadata": {"name": object.name_any(), "namespace": object.namespace(), "resourceVersion": object.resource_version()},
        "status": status,
    });
    let path = K::url_path(&K::DynamicType::default(), object.namespace().as_deref());
    let request = kube::core::Request::new(path)
        .replace_subresource(
            "status",
            &object.name_any(),
            &kube::api::PostParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..Default::default()
            },
            serde_json::to_vec(&body).map_err(|source| Failure::Form {
                doing: doing(),
                source,
            })?,
        )
        .map_err(|error| Failure::api(doing(), kube::Error::BuildRequest(error)))?;
    let mut answer: K = context
        .client
        .request(request)
        .await
        .map_err(|error| Failure::api(doing(), error))?;
    answer.meta_mut().managed_fields = None;
    let answer = Arc::new(answer);
    context.own_writes.remember(Arc::clone(&answer));
    Ok(answer)
}

/// A status that says nothing but whether its object is in order.
pub trait Judgement: Clone + Default + PartialEq + Serialize {
    /// Takes what is said of this generation of the object.
    fn take(&mut self, verdict: &Verdict, generation: Option<i64>);

    /// All conditions.
    fn conditions(&self) -> &[Condition];
}

macro_rules! judgement {
    ($($status:ty),+ $(,)?) => {
        $(impl Judgement for $status {
            fn take(&mut self, verdict: &Verdict, generation: Option<i64>) {
                self.observed_generation = generation;
                verdict.ready(&mut self.conditions, generation);
            }

            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }
        })+
    };
}

judgement!(
    mesocentre_api::CoInvestmentStatus,
    mesocentre_api::CostPoolStatus,
    mesocentre_api::InvoiceSeriesStatus,
    mesocentre_api::TariffStatus,
);

/// Says whether an object is in order, with an event when it turns out not to be.
///
/// # Errors
/// As [`write_status`].
pub async fn judge<K>(context: &Context, object: &Arc<K>, verdict: &Verdict) -> Result<(), Failure>
where
    K: Home + HasStatus<Status: Judgement>,
{
    let before = object.status().cloned().unwrap_or_default();
    let mut status = before.clone();
    status.take(verdict, object.meta().generation);
    let now = status.conditions().to_vec();
    let object = write_status(context, object, status).await?;
    warn_when_not_ready(context, object.as_ref(), before.conditions(), &now).await;
    Ok(())
}

/// One condition's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl Verdict {
    /// It holds.
    pub fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::True, reason, message)
    }

    /// It does not, and the message says what to mend.
    pub fn no(reason: &str, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::False, reason, message)
    }

    fn new(status: ConditionStatus, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Sets the condition of this type; true when it turned or says something else.
    pub fn set(&self, conditions: &mut Vec<Condition>, type_: &str, generation: Option<i64>) -> bool {
        set_condition(
            conditions,
            type_,
            self.status,
            &self.reason,
            &self.message,
            generation,
            jiff::Timestamp::now(),
        )
    }

    /// Sets `Ready`.
    pub fn ready(&self, conditions: &mut Vec<Condition>, generation: Option<i64>) -> bool {
        self.set(conditions, READY, generation)
    }
}

/// Tells whoever watches an object of something that happened to it. An event that is lost is no reason to fail.
pub async fn event<K: Home>(context: &Context, object: &K, type_: EventType, reason: &str, note: &str) {
    // The API server takes a kilobyte.
    let note: String = note.chars().take(900).collect();
    let event = Event {
        type_,
        reason: reason.into(),
        note: Some(note),
        action: "Reconcile".into(),
        secondary: None,
    };
    let about = object.object_ref(&K::DynamicType::default());
    if let Err(error) = context.recorder.publish(&event, &about).await {
        tracing::debug!(%error, object = %named(object), "an event was lost");
    }
}

/// Says once, when the `Ready` condition turned false or its reason changed, why.
pub async fn warn_when_not_ready<K: Home>(
    context: &Context,
    object: &K,
    before: &[Condition],
    now: &[Condition],
) {
    warn_when_not(context, object, READY, before, now).await;
}

/// The same of another condition.
pub async fn warn_when_not<K: Home>(
    context: &Context,
    object: &K,
    type_: &str,
    before: &[Condition],
    now: &[Condition],
) {
    let of = |conditions: &[Condition]| {
        mesocentre_api::find_condition(conditions, type_)
            .map(|c| (c.status, c.reason.clone(), c.message.clone()))
    };
    if let Some((ConditionStatus::False, reason, message)) = of(now)
        && of(before).map(|(status, reason, _)| (status, reason))
            != Some((ConditionStatus::False, reason.clone()))
    {
        event(context, object, EventType::Warning, &reason, &message).await;
    }
}

/// Whether our finalizer is on the object.
pub fn has_finalizer<K: Resource>(object: &K) -> bool {
    object
        .meta()
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == labels::FINALIZER)
}

/// Whether its deletion was asked for.
pub fn is_leaving<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Whether somebody wrote the annotation that forces a deletion.
pub fn is_forced<K: Resource>(object: &K) -> bool {
    object
        .meta()
        .annotations
        .iter()
        .flatten()
        .any(|(name, value)| name == labels::FORCE_DELETE && value == "true")
}

/// Puts our finalizer on an object that lacks it; gives the object as it is now.
///
/// # Errors
/// [`Failure::Conflict`] when the object has changed meanwhile.
pub async fn add_finalizer<K: Home>(context: &Context, object: &Arc<K>) -> Result<Arc<K>, Failure> {
    if has_finalizer(object.as_ref()) || is_leaving(object.as_ref()) {
        return Ok(Arc::clone(object));
    }
    let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
    finalizers.push(labels::FINALIZER.into());
    set_finalizers(context, object, finalizers).await
}

/// Takes our finalizer off: what it stood for is undone.
///
/// # Errors
/// [`Failure::Conflict`] when the object has changed meanwhile.
pub async fn remove_finalizer<K: Home>(context: &Context, object: &Arc<K>) -> Result<(), Failure> {
    if !has_finalizer(object.as_ref()) {
        return Ok(());
    }
    let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != labels::FINALIZER);
    let outcome = match set_finalizers(context, object, finalizers).await {
        Err(Failure::Api { source, .. }) if crate::failure::is_not_found(&source) => Ok(()),
        other => other.map(drop),
    };
    // It is gone with that, and nobody asks for it again.
    context.own_writes.forget(&object.uid().unwrap_or_default());
    outcome
}

async fn set_finalizers<K: Home>(
    context: &Context,
    object: &Arc<K>,
    finalizers: Vec<String>,
) -> Result<Arc<K>, Failure> {
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..Default::default()
    };
    let mut answer = api_of(context, object.as_ref())
        .patch(&object.name_any(), &parameters, &Patch::Merge(&patch))
        .await
        .map_err(|error| {
            Failure::api(
                format!("writing the finalizers of {}", named(object.as_ref())),
                error,
            )
        })?;
    answer.meta_mut().managed_fields = None;
    let answer = Arc::new(answer);
    context.own_writes.remember(Arc::clone(&answer));
    Ok(answer)
}

/// Asks for the deletion of an object, of this UID and no other of its name. One that is gone already is gone.
///
/// # Errors
/// When the API server refuses.
pub async fn delete<K: Home>(context: &Context, object: &K) -> Result<(), Failure> {
    let parameters = DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: object.uid(),
            resource_version: None,
        }),
        ..Default::default()
    };
    match api_of(context, object)
        .delete(&object.name_any(), &parameters)
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if crate::failure::is_not_found(&error) => Ok(()),
        Err(error) => Err(Failure::api(format!("deleting {}", named(object)), error)),
    }
}

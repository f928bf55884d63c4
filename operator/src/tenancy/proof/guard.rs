//! Guards the chart's admission policies: compares them with what the chart recorded, and puts back what somebody removed
//! or changed (docs/decisions/0013).
//!
//! ```text
//! watch of the four kinds ─wakes─▶ record (ConfigMap) ─▶ compare each ─▶ what differs is written, and told
//! ```
//! The record is read anew each time: during an upgrade it changes first, and its policies a moment later. For as long
//! nothing is written, or Helm would find its own work done by another.

use super::drift;
use crate::Context;
use crate::failure::{Failure, is_not_found};
use crate::lock::locked;
use crate::watch::{Watch, Watchable, key};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{GetParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::runtime::reflector::Store;
use kube::{Api, Resource, ResourceExt};
use mesocentre_api::FIELD_MANAGER;
use mesocentre_tenancy::drift::{Change, strays};
use mesocentre_tenancy::proof::Wall;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The ConfigMap in which the chart records its policies.
const RECORD: &str = "mesocentre-admission";
/// Whose fields the policies are: Helm's. What the operator writes in its name, the next upgrade may change.
const HELM: &str = "helm";
/// How long Helm is left to do what its record says.
const UPGRADE: Duration = Duration::from_secs(8);
/// How often it is looked at without being told.
const EVERY: Duration = Duration::from_secs(300);
/// How soon what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the watch may take to show a write.
const UNSEEN: Duration = Duration::from_secs(15);

/// A kind and a name.
type Which = (String, String);

/// What is known of the chart's policies.
#[derive(Default)]
pub struct Guard {
    wake: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the watches have told of each: the newest resource version.
    seen: HashMap<Which, u64>,
    /// What was written and the watch has not shown.
    written: HashMap<Which, (u64, Instant)>,
    /// As the record and the caches last had them; none before the first look.
    walls: Option<Result<Vec<Wall>, String>>,
    /// What could not be put back: told once.
    given_up: HashSet<Which>,
    /// The record's resource version, and until when Helm is left to follow it.
    record: Option<(String, Instant)>,
}

impl Guard {
    fn wrote(&self, which: &Which, version: u64) {
        let mut state = locked(&self.state);
        state.written.insert(which.clone(), (version, Instant::now()));
        state.given_up.remove(which);
    }

    /// Whether this is the first time in a row that it cannot be put back.
    fn gives_up(&self, which: &Which) -> bool {
        locked(&self.state).given_up.insert(which.clone())
    }

    /// The chart's policies as they were found last; or why that cannot be told.
    pub fn walls(&self) -> Result<Vec<Wall>, String> {
        locked(&self.state)
            .walls
            .clone()
            .unwrap_or_else(|| Err("the chart's admission policies have not been looked at yet".into()))
    }
}

/// Listens to a kind of the chart's policies.
pub fn listen<K>(tenancy: &super::super::Tenancy, watch: &mut Watch<K>)
where
    K: Watchable + Resource<DynamicType = ()>,
{
    let tenancy = tenancy.clone();
    watch.on_change(move |object| {
        let version = object
            .resource_version()
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        let which = (K::kind(&()).into_owned(), object.name_any());
        let guard = &tenancy.proof.guard;
        let mut state = locked(&guard.state);
        let seen = state.seen.entry(which).or_default();
        *seen = version.max(*seen);
        drop(state);
        guard.wake.notify_one();
    });
}

/// Guards until `shutdown`.
pub async fn guard(context: Arc<Context>, shutdown: impl Future<Output = ()>) {
    tokio::pin!(shutdown);
    loop {
        let again = match look(&context).await {
            Ok(again) => again,
            Err(failure) => {
                tracing::warn!(%failure, "the chart's admission policies are looked at again");
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(again) => {}
            () = context.tenancy.proof.guard.wake.notified() => {}
            () = &mut shutdown => return,
        }
    }
}

/// One look; how soon the next is due.
async fn look(context: &Context) -> Result<Duration, Failure> {
    let guard = &context.tenancy.proof.guard;
    let Some((version, record)) = record(context).await? else {
        let why = format!(
            "the ConfigMap {RECORD}, in which the chart records its admission policies, is missing, so they cannot be compared: run helm upgrade"
        );
        let before = locked(&guard.state).walls.replace(Err(why.clone()));
        if !matches!(before, Some(Err(_))) {
            tracing::error!("{why}");
            context.triggers.reports.reconcile_all(&context.stores.tenants);
        }
        return Ok(EVERY);
    };
    let left_to_helm = {
        let mut state = locked(&guard.state);
        match &state.record {
            Some((known, until)) if *known == version => until.saturating_duration_since(Instant::now()),
            _ => {
                state.record = Some((version, Instant::now() + UPGRADE));
                state.given_up.clear();
                UPGRADE
            }
        }
    };
    let mut walls = Vec::new();
    let mut again = EVERY;
    for (which, written) in &record {
        let live = live(context, which);
        let wall = |wrong: Option<String>, live: Option<&Value>| Wall {
            kind: which.0.clone(),
            name: which.1.clone(),
            generation: live.and_then(|live| live["metadata"]["generation"].as_i64()),
            wrong,
        };
        let fields = live.as_ref().map(|live| strays(written, live));
        let as_written = fields.as_ref().is_some_and(Vec::is_empty);
        if as_written || unseen(guard, which) {
            locked(&guard.state).given_up.remove(which);
            drift::is_back(context, &which.0, &which.1);
            walls.push(wall(None, live.as_ref()));
            continue;
        }
        let mut change = match &fields {
            None => Change::removed(),
            Some(fields) => Change::in_fields(fields, &Value::Null),
        };
        if !left_to_helm.is_zero() {
            again = again.min(left_to_helm);
            walls.push(wall(Some(change.what), live.as_ref()));
            continue;
        }
        match put_back(context, which, written, fields.unwrap_or_default(), &mut change).await {
            Ok(version) => {
                guard.wrote(which, version);
                drift::of_the_chart(context, &which.0, &which.1, &change, None).await;
                walls.push(wall(None, live.as_ref()));
            }
            Err(failure) => {
                again = again.min(AGAIN);
                // The API server itself writes a policy's status after each change: nothing is in the way of another try.
                let is_raced = matches!(failure, Failure::Conflict { .. });
                if !is_raced && guard.gives_up(which) {
                    drift::of_the_chart(context, &which.0, &which.1, &change, Some(&failure.to_string()))
                        .await;
                }
                walls.push(wall(
                    Some(format!("{} and is not back", change.what)),
                    live.as_ref(),
                ));
            }
        }
    }
    let before = locked(&guard.state).walls.replace(Ok(walls.clone()));
    if before.is_some_and(|before| before != Ok(walls)) {
        context.triggers.reports.reconcile_all(&context.stores.tenants);
    }
    Ok(again)
}

/// The record's version, and what it says of each policy; none when there is no record.
async fn record(context: &Context) -> Result<Option<(String, BTreeMap<Which, Value>)>, Failure> {
    let doing = || format!("reading the ConfigMap {RECORD}");
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.namespace);
    let Some(map) = maps
        .get_opt(RECORD)
        .await
        .map_err(|error| Failure::api(doing(), error))?
    else {
        return Ok(None);
    };
    let mut policies = BTreeMap::new();
    for (which, text) in map.data.iter().flatten() {
        let form = |source| Failure::Form {
            doing: doing(),
            source,
        };
        let (kind, name) = which
            .split_once('.')
            .ok_or_else(|| form(serde::de::Error::custom(format!("{which} is no kind and name"))))?;
        let body: Value = serde_json::from_str(text).map_err(form)?;
        policies.insert((kind.to_owned(), name.to_owned()), body);
    }
    Ok(Some((map.resource_version().unwrap_or_default(), policies)))
}

fn live(context: &Context, which: &Which) -> Option<Value> {
    fn of<K: Watchable + Serialize>(store: &Store<K>, name: &str) -> Option<Value> {
        serde_json::to_value(store.get(&key(None, name))?.as_ref()).ok()
    }
    let s = &context.stores;
    match which.0.as_str() {
        "ValidatingAdmissionPolicy" => of(&s.validating_policies, &which.1),
        "ValidatingAdmissionPolicyBinding" => of(&s.validating_bindings, &which.1),
        "MutatingAdmissionPolicy" => of(&s.mutating_policies, &which.1),
        "MutatingAdmissionPolicyBinding" => of(&s.mutating_bindings, &which.1),
        _ => None,
    }
}

fn path(kind: &str) -> Option<String> {
    Some(match kind {
        "ValidatingAdmissionPolicy" => ValidatingAdmissionPolicy::url_path(&(), None),
        "ValidatingAdmissionPolicyBinding" => ValidatingAdmissionPolicyBinding::url_path(&(), None),
        "MutatingAdmissionPolicy" => MutatingAdmissionPolicy::url_path(&(), None),
        "MutatingAdmissionPolicyBinding" => MutatingAdmissionPolicyBinding::url_path(&(), None),
        _ => return None,
    })
}

/// Whether it was just written and the watch has not shown it.
fn unseen(guard: &Guard, which: &Which) -> bool {
    let mut state = locked(&guard.state);
    let seen = state.seen.get(which).copied().unwrap_or(0);
    match state.written.get(which) {
        Some((version, since)) if seen < *version && since.elapsed() < UNSEEN => true,
        _ => {
            state.written.remove(which);
            false
        }
    }
}

/// Writes a policy as the chart has it; gives its version then.
///
/// What is missing is applied server-side: that names the object, so that the right to create can be narrowed to names.
/// What differs is replaced first, since an apply leaves what others added to a list. Then the fields are made Helm's
/// alone, or its next upgrade would stumble over a second manager.
async fn put_back(
    context: &Context,
    which: &Which,
    written: &Value,
    fields: Vec<String>,
    change: &mut Change,
) -> Result<u64, Failure> {
    let (kind, name) = which;
    let doing = || format!("putting back the {kind} {name}");
    let form = |source| Failure::Form {
        doing: doing(),
        source,
    };
    let path =
        path(kind).ok_or_else(|| form(serde::de::Error::custom("no admission policy is of this kind")))?;
    let request = Request::new(path);
    let send = async |request: Result<axum::http::Request<Vec<u8>>, kube::core::request::Error>| {
        let answer: Value = context
            .client
            .request(request.map_err(kube::Error::BuildRequest)?)
            .await?;
        Ok::<Value, kube::Error>(answer)
    };
    let failed = |error| Failure::api(doing(), error);
    match send(request.get(name, &GetParams::default())).await {
        Ok(mut live) => {
            *change = Change::in_fields(&fields, &live);
            live["spec"] = written["spec"].clone();
            let body = serde_json::to_vec(&live).map_err(form)?;
            let ours = PostParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..Default::default()
            };
            send(request.replace(name, &ours, body)).await.map_err(failed)?;
        }
        Err(error) if is_not_found(&error) => *change = Change::removed(),
        Err(error) => return Err(failed(error)),
    }
    let as_helm = PatchParams::apply(HELM).force();
    let mut now = send(request.patch(name, &as_helm, &Patch::Apply(written)))
        .await
        .map_err(failed)?;
    let managers = now["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let helms: Vec<Value> = managers
        .iter()
        .filter(|m| m["manager"] == HELM && m["operation"] == "Apply" || m["subresource"] == "status")
        .cloned()
        .collect();
    if helms.len() != managers.len() {
        let only = json!({"metadata": {"managedFields": helms, "resourceVersion": now["metadata"]["resourceVersion"]}});
        let patch = request.patch(name, &PatchParams::default(), &Patch::Merge(&only));
        match send(patch).await {
            Ok(answer) => now = answer,
            // It is in force; who the fields belong to matters to the next upgrade alone.
            Err(error) => tracing::warn!(%error, "the fields of the {kind} {name} are not Helm's alone"),
        }
    }
    let version = now["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|v| v.parse().ok());
    Ok(version.unwrap_or(0))
}

//! Proof: for each tenant a report that its perimeter holds, renewed on a schedule and after what changed; the chart's
//! admission policies put back; what drifted, told.
//!
//! ```text
//!  reports ─due?─► gather ─► rules (mesocentre_tenancy::proof) ─► sign ─► PerimeterReport
//!             caches, guard, auditor's dry runs
//!  guard    the chart's admission policies        drift    what was not as it should be, lately
//!  auditor  tries what is forbidden               signer   holds the key
//! ```
//!
//! Cost: a report is some seventeen dry runs. Two are made at a time, and after each its place is kept empty four times as long
//! as it took, so that reports never take more than a fifth of what they could, however many tenants there are.

mod auditor;
pub mod drift;
mod gather;
mod guard;
mod signer;

pub use guard::guard;
pub use signer::Signer;

use super::{Tenancy, namespace, standing};
use crate::Context;
use crate::context::{Stores, Watches};
use crate::failure::{Failure, exists_already};
use crate::lock::locked;
use crate::report::{Verdict, is_leaving};
use crate::triggers::Triggers;
use crate::watch::key;
use jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use mesocentre_api::{
    ConditionStatus, FIELD_MANAGER, PERIMETER_REPORT_NAME, PerimeterReport, PerimeterReportStatus,
    Reachability, ReportSubject, Tenant, TrustPerimeter, VERIFY_NOW, labels, signed_bytes,
};
use mesocentre_tenancy::proof::{Found, rules, verdict};
use mesocentre_tenancy::{NamespaceName, TenantName};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long at least between two looks, unless somebody asks.
const FLOOR: Duration = Duration::from_secs(10);
/// How soon what did not hold is looked at again: first, then ever less often.
const AGAIN: Duration = Duration::from_secs(15);
/// How many open ways a report lists.
const WAYS: usize = 100;

/// What reports share.
#[derive(Default)]
pub struct Proof {
    /// What drifted lately.
    pub drift: drift::DriftLog,
    /// The chart's admission policies.
    guard: guard::Guard,
    auditor: auditor::Auditor,
    looks: Mutex<HashMap<String, Look>>,
}

/// What is known of a tenant's last look.
#[derive(Clone, Default)]
struct Look {
    at: Option<Instant>,
    /// What the report says, but for the time.
    digest: u64,
    /// How many looks in a row found that not all holds.
    in_a_row: u32,
    /// How many looks there were: each tries another workspace.
    turn: usize,
}

/// Has reports written when what they tell of changes.
pub(super) fn connect(tenancy: &Tenancy, watches: &mut Watches, stores: &Stores, triggers: &Triggers) {
    guard::listen(tenancy, &mut watches.validating_policies);
    guard::listen(tenancy, &mut watches.validating_bindings);
    guard::listen(tenancy, &mut watches.mutating_policies);
    guard::listen(tenancy, &mut watches.mutating_bindings);

    let t = triggers.clone();
    watches
        .tenants
        .on_spec_change(move |tenant| t.reports.reconcile(ObjectRef::from_obj(tenant.as_ref())));
    let t = triggers.clone();
    watches
        .workspaces
        .on_spec_change(move |workspace| of_home(&t, workspace.metadata.namespace.as_deref()));
    let t = triggers.clone();
    watches
        .reports
        .on_spec_change(move |report| of_home(&t, report.metadata.namespace.as_deref()));
    let t = triggers.clone();
    watches.agreements.on_change(move |agreement| {
        of_home(&t, agreement.metadata.namespace.as_deref());
        of_home(&t, Some(&agreement.spec.with));
    });
    let t = triggers.clone();
    watches.namespaces.on_change(move |namespace| {
        of_home(
            &t,
            namespace.value()["metadata"]["labels"][labels::TENANT].as_str(),
        );
    });
    let t = triggers.clone();
    watches
        .foreign_policies
        .on_change(move |policy| of_namespace(&t, policy.meta().namespace.as_deref()));
    let t = triggers.clone();
    watches
        .foreign_bindings
        .on_change(move |binding| of_namespace(&t, binding.meta().namespace.as_deref()));
    let (s, t) = (stores.clone(), triggers.clone());
    watches.cluster_bindings.on_change(move |binding| {
        for tenant in s.tenants.state() {
            if mesocentre_tenancy::proof::binding_that_reaches_in(binding, &tenant).is_some() {
                t.reports.reconcile(ObjectRef::from_obj(tenant.as_ref()));
            }
        }
    });
    let (s, t) = (stores.clone(), triggers.clone());
    watches.perimeters.on_spec_change(move |perimeter| {
        let name = perimeter.name_any();
        for tenant in s.tenants.state() {
            if tenant.spec.perimeter == name {
                t.reports.reconcile(ObjectRef::from_obj(tenant.as_ref()));
            }
        }
    });
}

fn of_home(triggers: &Triggers, home: Option<&str>) {
    if let Some(home) = home {
        triggers.reports.reconcile(key(None, home));
    }
}

fn of_namespace(triggers: &Triggers, namespace: Option<&str>) {
    of_home(
        triggers,
        namespace.map(|n| n.split_once("--").map_or(n, |(tenant, _)| tenant)),
    );
}

/// One look at a tenant's perimeter, when it is due.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(tenant: Arc<Tenant>, context: Arc<Context>) -> Result<Action, Failure> {
    let name = tenant.name_any();
    let uid = tenant.uid().unwrap_or_default();
    let proof = &context.tenancy.proof;
    let stands = TenantName::new(&name)
        .is_ok_and(|valid| namespace::stands(&context, &NamespaceName::home(&valid), &uid));
    if is_leaving(tenant.as_ref()) || !stands {
        locked(&proof.looks).remove(&name);
        proof.drift.forget(&name);
        return Ok(Action::await_change());
    }
    let report = context
        .stores
        .reports
        .get(&key::<PerimeterReport>(Some(&name), PERIMETER_REPORT_NAME));
    let earlier = report.as_ref().and_then(|report| report.status.clone());
    let asked = report
        .as_ref()
        .and_then(|report| report.annotations().get(VERIFY_NOW).cloned());
    let look = locked(&proof.looks).get(&name).cloned().unwrap_or_default();
    let is_asked = asked.is_some() && earlier.as_ref().is_some_and(|e| e.answers != asked);
    if !is_asked
        && let Some(wait) = look
            .at
            .and_then(|at| FLOOR.checked_sub(at.elapsed()))
            .filter(|wait| !wait.is_zero())
    {
        return Ok(Action::requeue(wait));
    }
    // A tenant that has just been made gets its first report when there is something to see.
    if earlier.is_none()
        && !tenant
            .status
            .as_ref()
            .is_some_and(|status| mesocentre_api::is_ready(&status.conditions))
        && look.turn == 0
    {
        locked(&proof.looks).insert(
            name,
            Look {
                at: Some(Instant::now()),
                turn: 1,
                ..look
            },
        );
        return Ok(Action::requeue(FLOOR));
    }
    if let Some(earlier) = &earlier {
        proof.drift.seed(&name, earlier.drift.clone());
    }
    let started = Instant::now();
    let written = write(&context, &tenant, earlier, asked, &look).await;
    tokio::time::sleep(started.elapsed().saturating_mul(4).min(Duration::from_secs(10))).await;
    let (digest, holds, due) = written?;
    let in_a_row = if holds { 0 } else { look.in_a_row.saturating_add(1) };
    let next = if holds {
        due.max(FLOOR)
    } else {
        AGAIN.saturating_mul(1 << in_a_row.min(6)).min(due.max(FLOOR))
    };
    let look = Look {
        at: Some(started),
        digest,
        in_a_row,
        turn: look.turn.saturating_add(1),
    };
    locked(&proof.looks).insert(name, look);
    Ok(Action::requeue(next))
}

/// Up to a tenth less, so that tenants made at once are not looked at at once for ever.
fn spread(uid: &str, every: Duration) -> Duration {
    let percent = u32::try_from(digest_of(&uid) % 10).unwrap_or(0);
    every.saturating_sub(every.saturating_mul(percent) / 100)
}

fn digest_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Looks, and writes down what differs or is due. The digest of what it says, whether all holds, and when it is due again.
async fn write(
    context: &Context,
    tenant: &Tenant,
    earlier: Option<PerimeterReportStatus>,
    asked: Option<String>,
    look: &Look,
) -> Result<(u64, bool, Duration), Failure> {
    let name = tenant.name_any();
    let claimed = gather::claimed_namespaces(context, &name);
    let foreign = gather::foreign(context, tenant, &claimed);
    let now = drift::now();
    let drift = &context.tenancy.proof.drift;
    for new in drift.foreign(&name, &foreign, now) {
        drift::foreign_came(context, tenant, new).await;
    }
    let found = match standing::validate(context, tenant) {
        Ok(valid) => Ok(gather::gather(context, tenant, &valid, &claimed, foreign, look.turn).await?),
        Err(refused) => match &refused.before_convention {
            Some(valid) => Ok(gather::gather(context, tenant, valid, &claimed, foreign, look.turn).await?),
            None => Err(refused.verdict().message),
        },
    };
    let mut status = status(context, tenant, found, asked.clone(), now);
    status.conditions = earlier
        .as_ref()
        .map(|earlier| earlier.conditions.clone())
        .unwrap_or_default();
    let (holds, reason, message) = match status.rules.as_slice() {
        [] => (
            ConditionStatus::Unknown,
            "TenantNotValid",
            "the tenant does not fit its perimeter, so nothing can be compared: see its condition Ready"
                .to_owned(),
        ),
        rules => verdict(rules),
    };
    let verdict = Verdict {
        status: holds,
        reason: reason.into(),
        message,
    };
    verdict.ready(&mut status.conditions, None);
    let all_holds = holds == ConditionStatus::True;

    let digest = digest_of(&without_time(&status));
    let every = spread(&tenant.uid().unwrap_or_default(), context.report_every);
    let left = earlier.as_ref().map_or(Duration::ZERO, |earlier| {
        every.saturating_sub(now.duration_since(earlier.generated_at).unsigned_abs())
    });
    let answered = earlier.as_ref().is_some_and(|earlier| earlier.answers == asked);
    if digest == look.digest && !left.is_zero() && answered {
        return Ok((digest, all_holds, left));
    }
    put(context, &name, status).await?;
    Ok((digest, all_holds, every))
}

/// What a report says, but for times and versions that move by themselves.
fn without_time(status: &PerimeterReportStatus) -> String {
    let status = PerimeterReportStatus {
        generated_at: Timestamp::UNIX_EPOCH,
        ..status.clone()
    };
    let mut value = serde_json::to_value(&status).unwrap_or_default();
    for rule in value["rules"].as_array_mut().into_iter().flatten() {
        // Another workspace's turn is no news.
        for attempt in rule["attempts"].as_array_mut().into_iter().flatten() {
            attempt["namespace"] = Value::Null;
            attempt["answer"] = Value::Null;
        }
    }
    value.to_string()
}

fn status(
    context: &Context,
    tenant: &Tenant,
    found: Result<Found, String>,
    asked: Option<String>,
    now: Timestamp,
) -> PerimeterReportStatus {
    let perimeter = context
        .stores
        .perimeters
        .get(&key::<TrustPerimeter>(None, &tenant.spec.perimeter));
    let (rules, mut open) = match found {
        Ok(found) => (rules(&found), found.ways),
        Err(_) => (Vec::new(), Vec::new()),
    };
    // What nothing promises is listed whatever else there is.
    open.sort_by_key(|way| way.because.is_some());
    let more = open.len().saturating_sub(WAYS);
    open.truncate(WAYS);
    PerimeterReportStatus {
        generated_at: now,
        answers: asked,
        operator_version: env!("CARGO_PKG_VERSION").into(),
        kubernetes_version: context.kubernetes_version.clone(),
        tenant: ReportSubject {
            name: tenant.name_any(),
            uid: tenant.uid().unwrap_or_default(),
            generation: tenant.metadata.generation,
        },
        perimeter: ReportSubject {
            name: tenant.spec.perimeter.clone(),
            uid: perimeter.as_ref().and_then(|p| p.uid()).unwrap_or_default(),
            generation: perimeter.as_ref().and_then(|p| p.metadata.generation),
        },
        rules,
        reachability: Reachability {
            open,
            more: i64::try_from(more).ok().filter(|more| *more > 0),
        },
        drift: context.tenancy.proof.drift.of(&tenant.name_any()),
        conditions: Vec::new(),
        signature: None,
    }
}

/// Writes the report, signed, against the version that stands.
async fn put(context: &Context, tenant: &str, status: PerimeterReportStatus) -> Result<(), Failure> {
    let doing = || format!("writing the report of the perimeter in {tenant}");
    let failed = |error| Failure::api(doing(), error);
    let form = |source| Failure::Form {
        doing: doing(),
        source,
    };
    let reports: Api<PerimeterReport> = Api::namespaced(context.client.clone(), tenant);
    let ours = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..Default::default()
    };
    let mut report = match reports.get_opt(PERIMETER_REPORT_NAME).await.map_err(failed)? {
        Some(report) => report,
        None => {
            let new: PerimeterReport = serde_json::from_value(json!({"metadata": {
                "name": PERIMETER_REPORT_NAME,
                "labels": {labels::MANAGED_BY: labels::MANAGED_BY_VALUE, labels::TENANT: tenant},
            }}))
            .map_err(form)?;
            match reports.create(&ours, &new).await {
                Ok(report) => report,
                Err(error) if exists_already(&error) => {
                    reports.get(PERIMETER_REPORT_NAME).await.map_err(failed)?
                }
                Err(error) => return Err(failed(error)),
            }
        }
    };
    report.status = Some(status);
    let bytes = |report: &PerimeterReport| {
        let value = serde_json::to_value(report).map_err(form)?;
        Ok::<Vec<u8>, Failure>(signed_bytes(&value).unwrap_or_default())
    };
    let signed = bytes(&report)?;
    if let Some(status) = &mut report.status {
        status.signature = Some(context.signer.sign(&signed));
    }
    let answer = reports
        .replace_status(PERIMETER_REPORT_NAME, &ours, &report)
        .await
        .map_err(failed)?;
    if bytes(&answer)? != signed {
        tracing::error!(
            tenant,
            "the API server keeps the report in another form than was signed: this is a defect of the operator, please report it"
        );
    }
    Ok(())
}

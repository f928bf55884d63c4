//! Fifth step: the statements are written, side by side, each object before its status.

use super::plan::{Homeless, Plan, Write};
use crate::Context;
use crate::failure::{Failure, is_not_found};
use crate::report::{delete, write_status};
use futures::{FutureExt, StreamExt};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use mesocentre_api::{FIELD_MANAGER, Statement};
use std::sync::Arc;

/// Writes at once.
const SIDE_BY_SIDE: usize = 8;

/// Does what is planned; gives the tenants whose home namespace went meanwhile. One statement that cannot be written
/// keeps no other from being written.
///
/// # Errors
/// The first that the API server refused, after all were tried.
pub async fn apply(context: &Context, plan: &Plan) -> Result<Vec<Homeless>, Failure> {
    let mut writes = Vec::with_capacity(plan.writes.len());
    for write in &plan.writes {
        writes.push(apply_one(context, write).boxed());
    }
    let mut outcomes = futures::stream::iter(writes).buffer_unordered(SIDE_BY_SIDE);
    let mut homeless = Vec::new();
    let mut failed = None;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(went) => homeless.extend(went),
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    for statement in &plan.superfluous {
        match delete(context, statement.as_ref()).await {
            Ok(()) => context.own_writes.forget(&statement.uid().unwrap_or_default()),
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None => Ok(homeless),
    }
}

async fn apply_one(context: &Context, write: &Write) -> Result<Option<Homeless>, Failure> {
    let object = match (&write.object, &write.live) {
        (None, Some(live)) => Arc::clone(live),
        (Some(object), _) => {
            let api: Api<Statement> = Api::namespaced(context.client.clone(), &write.tenant);
            let name = &write.status.period.month;
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            match api.patch(name, &parameters, &Patch::Apply(object)).await {
                Ok(mut answer) => {
                    answer.meta_mut().managed_fields = None;
                    Arc::new(answer)
                }
                Err(error) if home_went(&error) => {
                    return Ok(Some(Homeless {
                        tenant: write.tenant.clone(),
                        leaving: true,
                    }));
                }
                Err(error) => {
                    let doing = format!("applying the Statement {}/{name}", write.tenant);
                    return Err(Failure::api(doing, error));
                }
            }
        }
        (None, None) => return Ok(None),
    };
    if write.drifted {
        tracing::warn!(
            tenant = write.tenant,
            month = write.status.period.month,
            "somebody changed a statement; it is put back"
        );
        context
            .metrics
            .drift_repaired
            .with_label_values(&["Statement"])
            .inc();
    }
    match write_status(context, &object, write.status.clone()).await {
        // It was deleted while it was written: its watch tells, and it is made again.
        Err(Failure::Api { source, .. }) if is_not_found(&source) => Ok(None),
        other => other.map(|_| None),
    }
}

/// The namespace is not there any more, or takes nothing new.
fn home_went(error: &kube::Error) -> bool {
    is_not_found(error)
        || matches!(error, kube::Error::Api(status) if status.code == 403
            && status.details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")))
}

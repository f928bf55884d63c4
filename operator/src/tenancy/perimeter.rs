//! Trust perimeters: in force as soon as they are written, since each tenant's reconcile reads them; here they are
//! counted, and kept while a tenant lives in one.

use crate::Context;
use crate::failure::Failure;
use crate::report::{
    Verdict, add_finalizer, has_finalizer, is_leaving, remove_finalizer, warn_when_not_ready, write_status,
};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::{TrustPerimeter, TrustPerimeterStatus};
use mesocentre_tenancy::nodes::{Dedication, dedication};
use std::sync::Arc;

/// How many tenants a sentence names before it counts the rest.
const NAMED: usize = 5;

/// One reconcile.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(perimeter: Arc<TrustPerimeter>, context: Arc<Context>) -> Result<Action, Failure> {
    let name = perimeter.name_any();
    let inside = tenants_inside(&context, &name);
    let (perimeter, verdict) = if is_leaving(perimeter.as_ref()) {
        if inside.is_empty() || !has_finalizer(perimeter.as_ref()) {
            remove_finalizer(&context, &perimeter).await?;
            return Ok(Action::await_change());
        }
        (perimeter, in_use(&inside))
    } else {
        let perimeter = add_finalizer(&context, &perimeter).await?;
        let verdict = in_force(&context, &perimeter);
        (perimeter, verdict)
    };

    let before = perimeter.status.clone().unwrap_or_default();
    let mut status = TrustPerimeterStatus {
        observed_generation: perimeter.metadata.generation,
        ..before.clone()
    };
    verdict.ready(&mut status.conditions, perimeter.metadata.generation);
    let uid = perimeter.uid().unwrap_or_default();
    let tenants = i32::try_from(inside.len()).unwrap_or(i32::MAX);
    if status == before
        && status.tenants != tenants
        && let Some(later) = context.tenancy.counts.later(&uid)
    {
        return Ok(Action::requeue(later));
    }
    context.tenancy.counts.written(&uid);
    status.tenants = tenants;
    let perimeter = write_status(&context, &perimeter, status.clone()).await?;
    warn_when_not_ready(
        &context,
        perimeter.as_ref(),
        &before.conditions,
        &status.conditions,
    )
    .await;
    Ok(Action::await_change())
}

/// Its rules hold; whether its nodes are its alone is for the nodes to say.
fn in_force(context: &Context, perimeter: &TrustPerimeter) -> Verdict {
    let all = context.stores.perimeters.state();
    let stands = dedication(
        perimeter,
        all.iter().map(AsRef::as_ref),
        &context.stores.nodes.state(),
    );
    if let Some((reason, message)) = stands
        .as_ref()
        .and_then(|stands| stands.wrong(&perimeter.name_any()))
    {
        return Verdict::no(reason, message);
    }
    let message = match stands {
        Some(Dedication::Kept { nodes: 0 }) => {
            "its rules hold for every tenant inside; no node bears the labels of spec.nodes.selector, so pods wait for one"
        }
        _ => "its rules hold for every tenant inside",
    };
    Verdict::yes("InForce", message)
}

fn tenants_inside(context: &Context, perimeter: &str) -> Vec<String> {
    let mut names: Vec<String> = context
        .stores
        .tenants
        .state_filter(|tenant| tenant.spec.perimeter == perimeter)
        .iter()
        .map(|tenant| tenant.name_any())
        .collect();
    names.sort_unstable();
    names
}

fn in_use(inside: &[String]) -> Verdict {
    let named = inside
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let more = inside.len().saturating_sub(NAMED);
    let who = match (inside.len(), more) {
        (1, _) => format!("the tenant {named} lives in it: delete that tenant first"),
        (count, 0) => format!("{count} tenants live in it ({named}): delete them first"),
        (count, more) => format!("{count} tenants live in it ({named} and {more} more): delete them first"),
    };
    Verdict::no(
        "InUse",
        format!("the perimeter goes once nobody lives in it, and its rules hold until then; {who}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_a_perimeter_is_named() {
        let names: Vec<String> = (0..7).map(|i| format!("t{i}")).collect();
        assert!(in_use(&names[..1]).message.contains("the tenant t0 lives in it"));
        assert!(
            in_use(&names)
                .message
                .contains("7 tenants live in it (t0, t1, t2, t3, t4 and 2 more)")
        );
    }
}

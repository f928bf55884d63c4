//! Looks now and then at what no event tells of: midnight in the datacentre's zone, the ends of batch jobs, the
//! ledger's growth, and writes that no watch has shown. What changed is looked at again, nothing else.

use super::apply;
use crate::Context;
use crate::failure::Failure;
use crate::watch::key;
use jiff::civil::Date;
use mesocentre_tenancy::NamespaceName;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How often.
const EVERY: Duration = Duration::from_secs(2);
/// After how long a write that no watch has shown is looked at.
const UNCONFIRMED: Duration = Duration::from_secs(15);

/// Sweeps until `shutdown`.
pub async fn sweep(context: Arc<Context>, shutdown: impl Future<Output = ()>) {
    tokio::pin!(shutdown);
    let mut day = context.today();
    loop {
        midnight(&context, &mut day);
        jobs(&context);
        if let Err(failure) = ledger(&context).await {
            tracing::warn!(%failure, "what of the tenants' use is billed is asked again");
        }
        if let Err(failure) = unconfirmed(&context).await {
            tracing::warn!(%failure, "what no watch has shown is read again");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = &mut shutdown => return,
        }
    }
}

/// Conventions and agreements begin and end with the day.
fn midnight(context: &Context, day: &mut Date) {
    let today = context.today();
    if *day != today {
        *day = today;
        context.triggers.tenants.reconcile_all(&context.stores.tenants);
        context
            .triggers
            .agreements
            .reconcile_all(&context.stores.agreements);
    }
}

/// Jobs that came or ended stand in the way of a deletion, or do so no more.
fn jobs(context: &Context) {
    for namespace in context.tenancy.remains.look_at_jobs(&context.stores) {
        if let Ok((tenant, Some(workspace))) = NamespaceName::split(&namespace) {
            let t = &context.triggers;
            t.workspaces
                .reconcile(key(Some(tenant.as_str()), workspace.as_str()));
            t.tenants.reconcile(key(None, tenant.as_str()));
        }
    }
}

/// So does use that is not billed.
async fn ledger(context: &Context) -> Result<(), Failure> {
    let remains = &context.tenancy.remains;
    let mut read = remains.ledger.lock().await;
    let changed = read.catch_up(&context.ledger, &context.zone).await?;
    let first = remains.note_unbilled(&read, &changed);
    drop(read);
    if first {
        // What is written down may be of yesterday.
        context.triggers.tenants.reconcile_all(&context.stores.tenants);
    } else {
        for tenant in changed {
            context.triggers.tenants.reconcile(key(None, &tenant));
        }
    }
    Ok(())
}

/// A write that no watch shows was undone before the watch saw it, or the watch lags: the API server says which, and
/// the owner looks again.
async fn unconfirmed(context: &Context) -> Result<(), Failure> {
    let made = &context.tenancy.made;
    for (key, written) in made.unconfirmed(UNCONFIRMED) {
        match apply::read(context, &key).await? {
            Some(now) => made.remember(&key, now),
            None => made.forget(&key),
        }
        context.triggers.of_whom_it_is_for(&written["metadata"]["labels"]);
    }
    Ok(())
}

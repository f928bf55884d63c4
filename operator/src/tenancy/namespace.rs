//! Namespaces: made, and never adopted. One that exists and was not made for this very Tenant or Workspace is left
//! alone.

use super::apply::{self, key_of};
use super::made::Key;
use crate::Context;
use crate::failure::Failure;
use crate::report::Verdict;
use mesocentre_tenancy::plan::is_ours;
use mesocentre_tenancy::{Invalid, NamespaceName, Planned};
use serde_json::Value;

/// Sees to it that a namespace stands; the condition that says why it does not.
///
/// # Errors
/// When the API server refuses.
pub async fn stand_up(
    context: &Context,
    planned: &Planned,
    uid: &str,
    namespace: &NamespaceName,
    owner: &str,
) -> Result<Result<(), Verdict>, Failure> {
    let key = key_of(planned)?;
    let live = match context.tenancy.made.live(&context.stores, &key) {
        Some(live) => live,
        None => match apply::create(context, &key, planned).await? {
            Some(made) => made,
            None => match apply::read(context, &key).await? {
                Some(live) => live,
                None => {
                    return Err(Failure::Conflict {
                        doing: format!("making the {key}"),
                    });
                }
            },
        },
    };
    if !is_ours(&live, uid) {
        let taken = Invalid::NamespaceTaken {
            namespace: namespace.clone(),
            owner: owner.to_owned(),
        };
        return Ok(Err(Verdict::no(taken.reason(), taken.to_string())));
    }
    if is_going(&live) {
        return Ok(Err(Verdict::no(
            "NamespaceTerminating",
            format!(
                "somebody deleted the namespace {namespace}, and it is going: it is made anew as soon as it is gone"
            ),
        )));
    }
    // Ours, though the cache did not show it: it lags, or the label is off.
    context
        .tenancy
        .made
        .remember_if_newer(&context.stores, &key, live);
    apply::apply_one(context, planned).await?;
    Ok(Ok(()))
}

/// Whether a namespace stands that was made for the object of this UID.
pub fn stands(context: &Context, namespace: &NamespaceName, uid: &str) -> bool {
    let key = Key::namespace(namespace.as_str());
    context
        .tenancy
        .made
        .live(&context.stores, &key)
        .is_some_and(|live| is_ours(&live, uid) && !is_going(&live))
}

/// The namespace that was made for the object of this UID, while there is any of it: asked of the API server where the
/// cache knows none, since what follows is final.
///
/// # Errors
/// When the API server refuses.
pub async fn remains(
    context: &Context,
    namespace: &NamespaceName,
    uid: &str,
) -> Result<Option<Value>, Failure> {
    let key = Key::namespace(namespace.as_str());
    let live = match context.tenancy.made.live(&context.stores, &key) {
        Some(live) => Some(live),
        None => apply::read(context, &key).await?,
    };
    Ok(live.filter(|live| is_ours(live, uid)))
}

/// Asks for its deletion, unless that was done.
///
/// # Errors
/// When the API server refuses.
pub async fn delete(context: &Context, live: &Value) -> Result<(), Failure> {
    if is_going(live) {
        return Ok(());
    }
    let name = live["metadata"]["name"].as_str().unwrap_or_default();
    apply::delete(context, &Key::namespace(name), live["metadata"]["uid"].as_str()).await
}

fn is_going(live: &Value) -> bool {
    !live["metadata"]["deletionTimestamp"].is_null()
}

//! Stops what runs in a workspace of a suspended tenant, once its grace is over: pods, whoever made them. What makes pods
//! stays, and makes them again when the tenant is resumed; until then admission refuses them.
//!
//! Pods are deleted by one request a namespace, which names none, so the operator reads none. Whether there are any is
//! told by the quota that it keeps there.

use super::made::{Key, Kind};
use crate::Context;
use crate::failure::{Failure, is_not_found};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use mesocentre_tenancy::NamespaceName;
use mesocentre_tenancy::convention::RETRIEVAL_POD;
use mesocentre_tenancy::plan::QUOTA_NAME;

/// How long a container may take to end, whatever its pod asks for.
const SECONDS_TO_END: u32 = 30;

/// Deletes the pods of a namespace, but for the one by which data are fetched; true while the quota counts any.
///
/// # Errors
/// When the API server refuses.
pub async fn pods(context: &Context, namespace: &NamespaceName) -> Result<bool, Failure> {
    if !counts_pods(context, namespace) {
        return Ok(false);
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace.as_str());
    let gently = DeleteParams {
        grace_period_seconds: Some(SECONDS_TO_END),
        ..DeleteParams::default()
    };
    let all_but_one = ListParams::default().fields(&format!("metadata.name!={RETRIEVAL_POD}"));
    match pods.delete_collection(&gently, &all_but_one).await {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(Failure::api(format!("stopping the pods of {namespace}"), error)),
    }
}

/// One that cannot be read may count some.
fn counts_pods(context: &Context, namespace: &NamespaceName) -> bool {
    let quota = Key::within(Kind::ResourceQuota, namespace.as_str(), QUOTA_NAME);
    let live = context.tenancy.made.live(&context.stores, &quota);
    live.is_none_or(|live| live["status"]["used"]["pods"] != "0")
}

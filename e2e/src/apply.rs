//! Applies manifests as `kubectl apply --server-side` does, without its process.

use anyhow::{Context, Result};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use kube::{Client, Resource, ResourceExt};
use serde::Deserialize;

/// Who applies. A name of its own: what a person writes is not the operator's.
const FIELD_MANAGER: &str = "mesocentre-dev";

/// Applies every document of a text, in its order, by server-side apply; gives what the API server made of each.
pub async fn yaml(client: &Client, text: &str) -> Result<Vec<DynamicObject>> {
    let mut applied = Vec::new();
    for object in documents(text)? {
        applied.push(one(client, &object).await?);
    }
    Ok(applied)
}

/// The objects of a text of several documents.
pub fn documents(text: &str) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document).context("reading YAML")?;
        // A document of comments only.
        if value.is_null() {
            continue;
        }
        objects.push(serde_yaml::from_value(value).context("reading a Kubernetes object")?);
    }
    Ok(objects)
}

async fn one(client: &Client, object: &DynamicObject) -> Result<DynamicObject> {
    let types = object
        .types
        .as_ref()
        .context("an object without apiVersion and kind")?;
    let name = object.name_any();
    let kind = GroupVersionKind::try_from(types)?;
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await.with_context(|| {
        format!(
            "asking the API server for kind {} of {}",
            types.kind, types.api_version
        )
    })?;
    let api: Api<DynamicObject> = match (capabilities.scope, &object.meta().namespace) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
    };
    api.patch(
        &name,
        &PatchParams::apply(FIELD_MANAGER).force(),
        &Patch::Apply(object),
    )
    .await
    .with_context(|| format!("applying {} {name}", types.kind))
}

/// Whether every kind of ours is served.
pub async fn knows_our_kinds(client: &Client) -> Result<bool> {
    let served = match discovery::pinned_group(
        client,
        &kube::core::GroupVersion::gv(mesocentre_api::GROUP, mesocentre_api::VERSION),
    )
    .await
    {
        Ok(group) => group,
        Err(kube::Error::Discovery(_)) => return Ok(false),
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
        Err(error) => return Err(error).context("asking the API server which kinds it serves"),
    };
    let served: Vec<String> = served
        .versioned_resources(mesocentre_api::VERSION)
        .into_iter()
        .map(|(resource, _)| resource.kind)
        .collect();
    Ok(mesocentre_api::crds::all()
        .iter()
        .all(|crd| served.contains(&crd.spec.names.kind)))
}

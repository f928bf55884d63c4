//! 100 tenants with 2 workspaces each, until all are Ready, against the plain writes of the same objects: what the API
//! server itself takes for them when nobody thinks.

use super::stage::{administrator, for_all, object, perimeter, tenant};
use crate::wait;
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{ListParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use mesocentre_api::{PerimeterRules, Tenant, Workspace, is_ready};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::time::{Duration, Instant};

const TENANTS: usize = 100;

fn name(number: usize) -> String {
    format!("bench-{number:04}")
}

/// Measures and prints.
#[expect(clippy::float_arithmetic, reason = "a ratio of times, no money")]
pub async fn measure() -> Result<()> {
    let client = administrator().await?;
    perimeter(&client).await?;
    let ours = ready(&client).await?;
    let (plain, objects) = plain_writes(&client).await?;
    println!(
        "tenants: {TENANTS} tenants with 2 workspaces each until all are Ready: {ours:.2} s, {:.2} × the plain writes of the \
         same {objects} objects ({plain:.2} s); goal 3 s, a peer in Go takes 27 s on such a machine",
        ours / plain
    );
    Ok(())
}

/// Seconds until every tenant and workspace is Ready. The workspaces are written when the home namespaces stand.
async fn ready(client: &Client) -> Result<f64> {
    let tenants: Api<Tenant> = Api::all(client.clone());
    let began = Instant::now();
    for_all(0..TENANTS, |number| {
        let (tenants, client) = (tenants.clone(), client.clone());
        async move {
            let name = name(number);
            tenants
                .create(&PostParams::default(), &tenant(&name, &name, None)?)
                .await?;
            for workspace in ["one", "two"] {
                workspace_of(&client, &name, workspace).await?;
            }
            Ok(())
        }
    })
    .await?;
    wait::until(
        "all tenants and workspaces are Ready",
        Duration::from_secs(120),
        async || {
            let any = ListParams::default().match_any();
            let tenants = tenants.list(&any).await.map_err(|error| error.to_string())?;
            let workspaces = Api::<Workspace>::all(client.clone())
                .list(&any)
                .await
                .map_err(|error| error.to_string())?;
            let tenants = tenants
                .items
                .iter()
                .filter(|t| {
                    t.name_any().starts_with("bench-")
                        && t.status.as_ref().is_some_and(|s| is_ready(&s.conditions))
                })
                .count();
            let workspaces = workspaces
                .items
                .iter()
                .filter(|w| {
                    w.namespace().unwrap_or_default().starts_with("bench-")
                        && w.status.as_ref().is_some_and(|s| is_ready(&s.conditions))
                })
                .count();
            if tenants == TENANTS && workspaces == 2 * TENANTS {
                Ok(())
            } else {
                Err(format!("{tenants} tenants and {workspaces} workspaces"))
            }
        },
    )
    .await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Makes a workspace as soon as the home namespace takes it.
async fn workspace_of(client: &Client, tenant: &str, workspace: &str) -> Result<()> {
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), tenant);
    let object: Workspace = object(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Workspace",
        "metadata": {"name": workspace, "namespace": tenant}, "spec": {"purpose": "bench"},
    }))?;
    wait::until(
        "the home namespace takes a workspace",
        Duration::from_secs(60),
        async || match workspaces.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error.to_string()),
        },
    )
    .await
}

/// Seconds for creating the same objects in namespaces without a perimeter, and how many there are.
async fn plain_writes(client: &Client) -> Result<(f64, usize)> {
    let mut patterns = Vec::new();
    for suffix in ["", "--one", "--two"] {
        patterns.push((
            suffix,
            Pattern::of(client, &format!("{}{suffix}", name(0))).await?,
        ));
    }
    let objects = patterns
        .iter()
        .map(|(_, pattern)| 1 + pattern.len())
        .sum::<usize>()
        * TENANTS;
    ensure!(objects > TENANTS, "the operator made nothing");
    let began = Instant::now();
    for_all(0..TENANTS, |number| {
        let (client, patterns) = (client.clone(), &patterns);
        async move {
            for (suffix, pattern) in patterns {
                pattern
                    .write(&client, &format!("plain-{number:04}{suffix}"))
                    .await?;
            }
            Ok(())
        }
    })
    .await?;
    Ok((began.elapsed().as_secs_f64(), objects))
}

/// What the operator made in a namespace, without whose it is.
struct Pattern {
    quotas: Vec<ResourceQuota>,
    limits: Vec<LimitRange>,
    policies: Vec<NetworkPolicy>,
    bindings: Vec<RoleBinding>,
    rules: Vec<PerimeterRules>,
}

impl Pattern {
    async fn of(client: &Client, namespace: &str) -> Result<Self> {
        Ok(Self {
            quotas: stripped(client, namespace).await?,
            limits: stripped(client, namespace).await?,
            policies: stripped(client, namespace).await?,
            bindings: stripped(client, namespace).await?,
            rules: stripped(client, namespace).await?,
        })
    }

    fn len(&self) -> usize {
        self.quotas.len() + self.limits.len() + self.policies.len() + self.bindings.len() + self.rules.len()
    }

    async fn write(&self, client: &Client, namespace: &str) -> Result<()> {
        let object: Namespace = object(json!({"metadata": {"name": namespace}}))?;
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await?;
        futures::try_join!(
            create(client, namespace, &self.quotas),
            create(client, namespace, &self.limits),
            create(client, namespace, &self.policies),
            create(client, namespace, &self.bindings),
            create(client, namespace, &self.rules),
        )?;
        Ok(())
    }
}

async fn stripped<K>(client: &Client, namespace: &str) -> Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let all = Api::<K>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await?;
    Ok(all
        .items
        .into_iter()
        .map(|mut object| {
            let name = object.meta().name.clone();
            *object.meta_mut() = Default::default();
            object.meta_mut().name = name;
            object
        })
        .collect())
}

async fn create<K>(client: &Client, namespace: &str, objects: &[K]) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Serialize
        + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    for object in objects {
        api.create(&PostParams::default(), object).await?;
    }
    Ok(())
}

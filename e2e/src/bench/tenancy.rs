//! 100, 300 and 1,000 tenants with 2 workspaces each, until all are Ready, against the plain writes of the same objects:
//! what the API server itself takes for them when nobody thinks. And what one changed tenant among them costs.

use super::stage::{administrator, for_all, for_each_that, object, perimeter, quiet, requests, tenant};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use mesocentre_api::{PerimeterRules, Tenant, Workspace, is_ready};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How many tenants, each time on a fresh stack.
const SIZES: [usize; 3] = [100, 300, 1_000];

/// How long all may take to be Ready.
const PATIENCE: Duration = Duration::from_secs(600);

fn name(number: usize) -> String {
    format!("bench-{number:04}")
}

/// What was measured with so many tenants.
struct Measured {
    tenants: usize,
    seconds: f64,
    plain_seconds: f64,
    objects: usize,
    writes: u64,
    megabytes: u64,
}

/// Measures and prints.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "ratios of times, no money"
)]
pub async fn measure() -> Result<()> {
    let mut before: Option<Measured> = None;
    for tenants in SIZES {
        super::fresh_stack(super::Build::Release).await?;
        let now = measure_so_many(tenants).await?;
        println!(
            "tenancy: {tenants} tenants with 2 workspaces each until all are Ready: {:.2} s, {:.2} × the plain writes of the \
             same {} objects ({:.2} s); {:.1} writes a tenant; the operator holds {} MB",
            now.seconds,
            now.seconds / now.plain_seconds,
            now.objects,
            now.plain_seconds,
            now.writes as f64 / tenants as f64,
            now.megabytes,
        );
        if let Some(before) = before {
            println!(
                "  {:.2} × as many tenants: {:.2} × the time, {:.2} × the writes, {:.2} × the memory",
                tenants as f64 / before.tenants as f64,
                now.seconds / before.seconds,
                now.writes as f64 / before.writes as f64,
                now.megabytes as f64 / before.megabytes as f64,
            );
        }
        if Some(&tenants) == SIZES.last() {
            one_changed(tenants).await?;
        }
        before = Some(now);
    }
    println!(
        "  goals: 100 in 3 s, 1,000 in 40 s and under 120 MB; a peer in Go takes 27 s for 100 on such a machine"
    );
    Ok(())
}

async fn measure_so_many(tenants: usize) -> Result<Measured> {
    let client = administrator().await?;
    perimeter(&client).await?;
    let writes_before = writes().await?;
    let seconds = ready(&client, tenants).await?;
    let writes = writes().await? - writes_before;
    let megabytes = super::memory::megabytes().await?;
    let (plain_seconds, objects) = plain_writes(&client, tenants).await?;
    Ok(Measured {
        tenants,
        seconds,
        plain_seconds,
        objects,
        writes,
        megabytes,
    })
}

/// What the operator wrote since it started to hold tenants.
async fn writes() -> Result<u64> {
    requests(|labels| !labels.contains("method=\"GET\"") && is_counted(labels)).await
}

/// Whether a request is for what holds tenants: not for the lease, nor for the reports of perimeters, which are renewed all
/// the while at a bounded pace.
fn is_counted(labels: &str) -> bool {
    !["leases", "perimeterreports", "serviceaccounts"]
        .iter()
        .any(|resource| labels.contains(&format!("resource=\"{resource}\"")))
}

/// One tenant among many gets another member: what the operator asks of the API server, and how many objects changed.
async fn one_changed(tenants: usize) -> Result<()> {
    let client = administrator().await?;
    quiet(is_counted, Duration::from_secs(2)).await?;
    let changed = name(tenants / 2);
    let versions_before = versions(&client, &changed).await?;
    let asked_before = requests(is_counted).await?;
    let patch = json!({"spec": {"members": [
        {"user": changed, "role": "Owner"}, {"user": "another", "role": "Member"},
    ]}});
    Api::<Tenant>::all(client.clone())
        .patch(&changed, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    quiet(is_counted, Duration::from_secs(2)).await?;
    let asked = requests(is_counted).await? - asked_before;
    let versions_now = versions(&client, &changed).await?;
    // The tenant's own spec was the administrator's write, and its status the operator's: one object, one call.
    let objects = versions_before
        .iter()
        .filter(|(key, version)| versions_now.get(*key) != Some(version))
        .count()
        + versions_now
            .keys()
            .filter(|key| !versions_before.contains_key(*key))
            .count();
    println!(
        "  one tenant of {tenants} gets another member: {asked} calls of the operator for {objects} objects that changed \
         (goal: at most as many)"
    );
    Ok(())
}

/// The versions of a tenant, its workspaces, and what holds them.
async fn versions(client: &Client, tenant: &str) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut add = |kind: &str, namespace: &str, metadata: &ObjectMeta| {
        all.insert(
            format!("{kind} {namespace}/{}", metadata.name.clone().unwrap_or_default()),
            metadata.resource_version.clone().unwrap_or_default(),
        );
    };
    add(
        "Tenant",
        "",
        &Api::<Tenant>::all(client.clone()).get(tenant).await?.metadata,
    );
    for workspace in Api::<Workspace>::namespaced(client.clone(), tenant)
        .list(&ListParams::default())
        .await?
    {
        add("Workspace", tenant, &workspace.metadata);
    }
    for suffix in ["", "--one", "--two"] {
        let namespace = format!("{tenant}{suffix}");
        add(
            "Namespace",
            "",
            &Api::<Namespace>::all(client.clone())
                .get(&namespace)
                .await?
                .metadata,
        );
        add_all::<ResourceQuota>(client, &namespace, &mut add).await?;
        add_all::<LimitRange>(client, &namespace, &mut add).await?;
        add_all::<NetworkPolicy>(client, &namespace, &mut add).await?;
        add_all::<RoleBinding>(client, &namespace, &mut add).await?;
        add_all::<PerimeterRules>(client, &namespace, &mut add).await?;
    }
    Ok(all)
}

async fn add_all<K>(
    client: &Client,
    namespace: &str,
    add: &mut impl FnMut(&str, &str, &ObjectMeta),
) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let all = Api::<K>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await?;
    for object in all {
        add(&K::kind(&()), namespace, object.meta());
    }
    Ok(())
}

/// Seconds until every tenant and workspace is Ready. The workspaces are written when the home namespaces stand.
///
/// Who waits, watches: to ask again and again would take the API server as much time as the tenants do.
async fn ready(client: &Client, count: usize) -> Result<f64> {
    let tenants: Api<Tenant> = Api::all(client.clone());
    let began = Instant::now();
    let workspaces: Api<Workspace> = Api::all(client.clone());
    let standing = futures::future::try_join(
        for_each_that(
            &tenants,
            count,
            |tenant| {
                tenant
                    .status
                    .as_ref()
                    .is_some_and(|status| is_ready(&status.conditions))
            },
            |tenant| async move {
                for workspace in ["one", "two"] {
                    workspace_of(client, &tenant.name_any(), workspace).await?;
                }
                Ok(())
            },
        ),
        for_each_that(
            &workspaces,
            2 * count,
            |workspace| {
                workspace
                    .status
                    .as_ref()
                    .is_some_and(|status| is_ready(&status.conditions))
            },
            |_| std::future::ready(Ok(())),
        ),
    );
    let written = for_all(0..count, |number| {
        let tenants = tenants.clone();
        async move {
            let name = name(number);
            tenants
                .create(&PostParams::default(), &tenant(&name, &name, None)?)
                .await?;
            Ok(())
        }
    });
    tokio::time::timeout(PATIENCE, futures::future::try_join(standing, written))
        .await
        .with_context(|| format!("not all tenants and workspaces are Ready after {PATIENCE:?}"))??;
    Ok(began.elapsed().as_secs_f64())
}

/// Makes a workspace.
async fn workspace_of(client: &Client, tenant: &str, workspace: &str) -> Result<()> {
    let object: Workspace = object(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Workspace",
        "metadata": {"name": workspace, "namespace": tenant}, "spec": {"purpose": "bench"},
    }))?;
    Api::<Workspace>::namespaced(client.clone(), tenant)
        .create(&PostParams::default(), &object)
        .await?;
    Ok(())
}

/// Seconds for creating the same objects in namespaces without a perimeter, and how many there are.
async fn plain_writes(client: &Client, tenants: usize) -> Result<(f64, usize)> {
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
        * tenants;
    ensure!(objects > tenants, "the operator made nothing");
    let began = Instant::now();
    for_all(0..tenants, |number| {
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

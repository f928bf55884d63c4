//! A tenant of a test's own, inside a perimeter of its own, so that tests neither meet nor wait for each other.

use crate::stack::Stack;
use crate::state::random_hex;
use crate::{apply, wait};
use anyhow::{Context, Result};
use kube::api::{Api, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use mesocentre_api::{GROUP, VERSION};
use std::time::Duration;

/// How long an object may take to be Ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tenant with a perimeter of its own: alice owns it, bob is a member, and carol and dave are strangers.
pub struct TenantFixture {
    /// The tenant's name, its home namespace, and its Slurm account.
    pub name: String,
    /// Its perimeter.
    pub perimeter: String,
    /// The Slurm cluster, as a Scheduler that the perimeter allows.
    pub scheduler: String,
}

/// Makes one whose names begin with `prefix`, and returns when it is Ready.
///
/// # Errors
/// When it is not Ready in time: with its conditions.
pub async fn tenant(stack: &Stack, prefix: &str) -> Result<TenantFixture> {
    let name = format!("{prefix}-{}", random_hex(3)?);
    let fixture = TenantFixture {
        perimeter: name.clone(),
        scheduler: name.clone(),
        name,
    };
    apply::yaml(&stack.admin(), &manifest(&fixture)).await?;
    ready(stack, "Scheduler", None, &fixture.scheduler).await?;
    ready(stack, "Tenant", None, &fixture.name).await?;
    Ok(fixture)
}

impl TenantFixture {
    /// Makes a workspace as an Owner does, and gives its namespace once it is Ready.
    ///
    /// # Errors
    /// When it is not Ready in time.
    pub async fn workspace(&self, stack: &Stack, name: &str) -> Result<String> {
        let home = &self.name;
        let text = format!(
            "apiVersion: {GROUP}/{VERSION}\nkind: Workspace\nmetadata: {{name: {name}, namespace: {home}}}\n\
             spec: {{purpose: A test}}\n"
        );
        apply::yaml(&stack.user("alice", &[]).await?, &text).await?;
        ready(stack, "Workspace", Some(home), name).await?;
        Ok(format!("{home}--{name}"))
    }

    /// Grants core hours to alice and bob, and returns when Slurm knows of them.
    ///
    /// # Errors
    /// When they are not Ready in time.
    pub async fn allocation(&self, stack: &Stack, name: &str, core_hours: u32) -> Result<()> {
        let (home, scheduler) = (&self.name, &self.scheduler);
        let text = format!(
            "apiVersion: {GROUP}/{VERSION}\nkind: Allocation\nmetadata: {{name: {name}, namespace: {home}}}\n\
             spec:\n  scheduler: {scheduler}\n  title: A test\n  validFrom: 2026-01-01\n  validUntil: 2035-12-31\n  \
             budget: {{coreHours: \"{core_hours}\"}}\n  whenExhausted: Refuse\n  members: [alice, bob]\n"
        );
        apply::yaml(&stack.admin(), &text).await?;
        ready(stack, "Allocation", Some(home), name).await
    }
}

/// Returns when an object of ours has the condition Ready for its present generation.
///
/// # Errors
/// When it has not in time: with its conditions.
pub async fn ready(stack: &Stack, kind: &str, namespace: Option<&str>, name: &str) -> Result<()> {
    let client = stack.admin();
    let (resource, capabilities) =
        discovery::pinned_kind(&client, &GroupVersionKind::gvk(GROUP, VERSION, kind)).await?;
    let objects: Api<DynamicObject> = match (capabilities.scope, namespace) {
        (Scope::Cluster, _) => Api::all_with(client, &resource),
        (Scope::Namespaced, namespace) => Api::namespaced_with(
            client,
            namespace.with_context(|| format!("{kind} {name} lives in a namespace, and none is named"))?,
            &resource,
        ),
    };
    wait::until(&format!("{kind} {name} is Ready"), PATIENCE, async || {
        let object = objects.get(name).await.map_err(|error| error.to_string())?;
        let status = &object.data["status"];
        let conditions = &status["conditions"];
        let is_ready = conditions.as_array().into_iter().flatten().any(|condition| {
            condition["type"] == "Ready"
                && condition["status"] == "True"
                && status["observedGeneration"].as_i64() == object.metadata.generation
        });
        if is_ready {
            Ok(())
        } else {
            Err(conditions.to_string())
        }
    })
    .await
}

fn manifest(fixture: &TenantFixture) -> String {
    let TenantFixture {
        name,
        perimeter,
        scheduler,
    } = fixture;
    let api = format!("{GROUP}/{VERSION}");
    format!(
        r#"apiVersion: {api}
kind: Scheduler
metadata: {{name: {scheduler}}}
spec:
  slurm: {{cluster: meso, transport: {{local: {{}}}}, partitions: [standard]}}
---
apiVersion: {api}
kind: TrustPerimeter
metadata: {{name: {perimeter}}}
spec:
  displayName: A test
  classification: Internal
  tenantCategories: [University, PublicService]
  podSecurity: restricted
  images: {{registries: ["registry.meso.test/"]}}
  storageClasses: [standard]
  schedulers: [{scheduler}]
---
apiVersion: {api}
kind: Tenant
metadata: {{name: {name}}}
spec:
  displayName: A test
  category: University
  perimeter: {perimeter}
  legalEntity:
    name: A test
    siret: "19141408500016"
    address: {{street: Esplanade de la Paix, postalCode: "14032", city: Caen, countryCode: FR}}
    invoicing: {{email: factures@univ.test, serviceCode: SCIENCES, engagementNumber: "2026-0042"}}
  convention: {{reference: CONV-TEST, validFrom: 2026-01-01, validUntil: 2035-12-31}}
  members:
  - {{user: alice, role: Owner, posixAccount: alice}}
  - {{user: bob, role: Member, posixAccount: bob}}
  quota: {{cpu: "8", memory: 16Gi, storage: 10Gi, pods: 50, gpus: 0, workspaces: 10}}
"#
    )
}

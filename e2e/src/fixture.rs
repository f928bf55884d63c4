//! A tenant of a test's own, inside a perimeter of its own, so that tests neither meet nor wait for each other.
//!
//! A posix account belongs to one tenant, so each tenant's people have accounts that no other has.

use crate::stack::{Answer, Stack};
use crate::state::random_hex;
use crate::{apply, paths, slurm, wait};
use anyhow::{Context, Result, bail};
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use mesocentre_api::{Condition, GROUP, Tenant, VERSION, find_condition};
use std::collections::HashSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

/// How long an object may take to be Ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The scheduler of the examples: a Slurm cluster has one Scheduler.
const SCHEDULER: &str = "austral";
/// How many posix accounts tests may use between two fresh stacks.
const ACCOUNTS: u32 = 400;

/// A tenant with a perimeter of its own, an owner, a member, and as strangers everybody else.
pub struct TenantFixture {
    /// The tenant's name, its home namespace, and its Slurm account.
    pub name: String,
    /// Its perimeter.
    pub perimeter: String,
    /// The Slurm cluster, as a Scheduler that the perimeter allows.
    pub scheduler: String,
    /// Its Owner, whose posix account has the same name.
    pub owner: String,
    /// Its Member, whose posix account has the same name.
    pub member: String,
}

/// Makes one whose names begin with `prefix`, and returns when it is Ready.
///
/// # Errors
/// When it is not Ready in time: with its conditions.
pub async fn tenant(stack: &Stack, prefix: &str) -> Result<TenantFixture> {
    let fixture = made(stack, prefix).await?;
    ready(stack, "Scheduler", None, &fixture.scheduler).await?;
    ready(stack, "Tenant", None, &fixture.name).await?;
    Ok(fixture)
}

/// Two posix accounts that nobody has claimed, and the tenant that claims them: one test at a time.
async fn made(stack: &Stack, prefix: &str) -> Result<TenantFixture> {
    let turn = File::create(paths::state().join("fixtures.lock")).context("waiting for posix accounts")?;
    let turn = tokio::task::spawn_blocking(move || turn.lock().map(|()| turn))
        .await?
        .context("waiting for posix accounts")?;
    let claimed: HashSet<String> = Api::<Tenant>::all(stack.admin())
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .flat_map(|tenant| tenant.spec.members)
        .filter_map(|member| member.posix_account)
        .collect();
    let prefix_of_accounts = accounts_of(&paths::state());
    let mut free = (1..=ACCOUNTS)
        .map(|number| format!("{prefix_of_accounts}{number:03}"))
        .filter(|account| !claimed.contains(account));
    let (Some(owner), Some(member)) = (free.next(), free.next()) else {
        bail!("tests have used up their posix accounts on this stack: run `cargo dev up --fresh`");
    };
    slurm::make_one(&owner).await?;
    slurm::make_one(&member).await?;
    let name = format!("{prefix}-{}", random_hex(3)?);
    let fixture = TenantFixture {
        perimeter: name.clone(),
        scheduler: SCHEDULER.into(),
        name,
        owner,
        member,
    };
    apply::yaml(&stack.admin(), &manifest(&fixture)).await?;
    drop(turn);
    Ok(fixture)
}

/// What the names of the posix accounts begin with: accounts are the machine's, so each stack on it has its own.
fn accounts_of(state: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    format!("tester{:04x}", hasher.finish() & 0xffff)
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
        apply::yaml(&stack.user(&self.owner, &[]).await?, &text).await?;
        ready(stack, "Workspace", Some(home), name).await?;
        Ok(format!("{home}--{name}"))
    }

    /// Grants core hours to the owner and the member, and returns when Slurm knows of them.
    ///
    /// # Errors
    /// When they are not Ready in time.
    pub async fn allocation(&self, stack: &Stack, name: &str, core_hours: u32) -> Result<()> {
        let (home, scheduler, owner, member) = (&self.name, &self.scheduler, &self.owner, &self.member);
        let text = format!(
            "apiVersion: {GROUP}/{VERSION}\nkind: Allocation\nmetadata: {{name: {name}, namespace: {home}}}\n\
             spec:\n  scheduler: {scheduler}\n  title: A test\n  validFrom: 2026-01-01\n  validUntil: 2035-12-31\n  \
             budget: {{coreHours: \"{core_hours}\"}}\n  whenExhausted: Refuse\n  members: [{owner}, {member}]\n"
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

/// Writes `close` into a billing period, as an administrator does; gives kubectl's answer.
///
/// # Errors
/// When kubectl cannot be run.
pub async fn ask_to_close(stack: &Stack, month: &str, close: bool) -> Result<Answer> {
    let patch = format!(r#"{{"spec":{{"close":{close}}}}}"#);
    stack
        .run(&[
            "kubectl",
            "patch",
            "billingperiod",
            month,
            "--type=merge",
            "-p",
            &patch,
        ])
        .await
}

/// Waits until a condition of a Tenant is so, told as `what`; gives the Tenant and the condition.
pub async fn tenant_says(
    stack: &Stack,
    name: &str,
    type_: &str,
    what: &str,
    holds: impl Fn(&Condition) -> bool,
) -> (Tenant, Condition) {
    let tenants: Api<Tenant> = Api::all(stack.admin());
    wait::wait_for(&format!("{name}: {type_} {what}"), PATIENCE, async || {
        let tenant = tenants.get(name).await.map_err(|error| error.to_string())?;
        let conditions = tenant.status.clone().unwrap_or_default().conditions;
        match find_condition(&conditions, type_) {
            Some(found) if holds(found) => Ok((tenant, found.clone())),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

fn manifest(fixture: &TenantFixture) -> String {
    let TenantFixture {
        name,
        perimeter,
        scheduler,
        owner,
        member,
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
  - {{user: {owner}, role: Owner, posixAccount: {owner}}}
  - {{user: {member}, role: Member, posixAccount: {member}}}
  quota: {{cpu: "8", memory: 16Gi, storage: 10Gi, pods: 50, gpus: 0, workspaces: 10}}
"#
    )
}

/// Numbers of a seller, of which a test may spoil some.
#[derive(Clone, Copy, Debug)]
pub struct Seller {
    /// SIRET.
    pub siret: &'static str,
    /// VAT number.
    pub vat_number: &'static str,
    /// IBAN.
    pub iban: &'static str,
}

impl Seller {
    /// Its numbers fit their check digits, and are nobody's.
    pub const OF_TESTS: Self = Self {
        siret: "13000000300017",
        vat_number: "FR75130000003",
        iban: "FR7630001007941234567890185",
    };

    /// The InvoiceSeries `factures` with this seller, whose numbers begin with F2026.
    pub fn series(self) -> String {
        let Self {
            siret,
            vat_number,
            iban,
        } = self;
        format!(
            "apiVersion: {GROUP}/{VERSION}\nkind: InvoiceSeries\nmetadata: {{name: factures}}\nspec:\n  series: F2026\n  \
             seller:\n    name: Mésocentre de démonstration\n    legalForm: GIP\n    siret: \"{siret}\"\n    \
             vatNumber: {vat_number}\n    \
             address: {{street: 1 rue de la Recherche, postalCode: \"14000\", city: Caen, countryCode: FR}}\n    \
             electronicAddress: {{directory: \"130000003\"}}\n    account: {{iban: {iban}}}\n"
        )
    }
}

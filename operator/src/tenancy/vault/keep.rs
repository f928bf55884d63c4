//! The task that looks at Vault: gather, look, plan, apply, report; then again.

use super::apply::{self, Cleared, NotMade};
use super::gather;
use crate::Context;
use crate::report::{Verdict, event};
use crate::vault::{Vault, VaultFailure, VaultSettings};
use crate::watch::key;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt};
use mesocentre_tenancy::vault::{Layout, Leftover, Plan, TenantPlan, Thing, Uid, Wanted, Wish, plan};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often all of it is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How soon after one look a change may have another.
const AT_MOST_EVERY: Duration = Duration::from_millis(300);
/// How long at most between two tries while Vault is away.
const TRIED_AGAIN: Duration = Duration::from_secs(10);
/// For how many tenants a look compares everything, not only names.
const CLOSER: usize = 50;
/// How many tenants are served side by side.
const SIDE_BY_SIDE: usize = 8;
/// How long what is somebody else's is not looked at again.
const FOREIGN_FOR: Duration = Duration::from_secs(60);

/// What is remembered from one look to the next; all of it can be forgotten.
struct Keeper {
    vault: Vault,
    settings: VaultSettings,
    layout: Option<Layout>,
    /// Tenants that were seen whole, as they were wanted then: what they lack now was taken away.
    whole: HashMap<Uid, Wanted>,
    /// Paths that are named like ours and are not, and since when that is known.
    foreign: HashMap<String, Instant>,
    /// Whose turn it is to be looked at closely.
    turn: usize,
    /// What went wrong last, so that it is logged once.
    told: Option<VaultFailure>,
}

/// Looks until `shutdown`, if there is a Vault.
pub async fn keep(
    context: Arc<Context>,
    vault: Option<Vault>,
    settings: &VaultSettings,
    shutdown: impl Future<Output = ()>,
) {
    tokio::pin!(shutdown);
    let Some(vault) = vault else {
        shutdown.await;
        return;
    };
    let mut keeper = Keeper {
        vault,
        settings: settings.clone(),
        layout: None,
        whole: HashMap::new(),
        foreign: HashMap::new(),
        turn: 0,
        told: None,
    };
    let mut failures: u32 = 0;
    loop {
        let outcome = tokio::select! {
            // What is cut here is begun again by the next look, of whichever process.
            outcome = keeper.look(&context) => outcome,
            () = &mut shutdown => break,
        };
        let pause = match outcome {
            Ok(()) => {
                failures = 0;
                EVERY
            }
            Err(()) => {
                failures = failures.saturating_add(1);
                Duration::from_millis(500)
                    .saturating_mul(1 << failures.min(6))
                    .min(TRIED_AGAIN)
            }
        };
        let again = async {
            tokio::time::sleep(AT_MOST_EVERY).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = context.tenancy.vault.changed.notified(), if failures == 0 => {}
            }
        };
        tokio::select! {
            () = again => {}
            () = &mut shutdown => break,
        }
    }
    keeper.vault.log_out().await;
}

impl Keeper {
    /// One look. That it failed is told already.
    async fn look(&mut self, context: &Context) -> Result<(), ()> {
        let wish = gather::wish(context);
        let outcome = self.bring_about(context, &wish).await;
        let verdicts = match &outcome {
            Ok(verdicts) => verdicts.clone(),
            Err(failure) => {
                // Its login may be what is wrong: Vault was set up anew, or takes it no more.
                self.vault.forget_login();
                let verdict = Verdict::no(failure.reason(), failure.to_string());
                let uids = wish.wanted.iter().map(|wanted| wanted.uid.to_string());
                uids.map(|uid| (uid, verdict.clone())).collect()
            }
        };
        self.tell(outcome.as_ref().err());
        report(context, verdicts);
        outcome.map(drop).map_err(drop)
    }

    fn tell(&mut self, failure: Option<&VaultFailure>) {
        if self.told.as_ref() != failure {
            match failure {
                Some(failure) => tracing::warn!(%failure, "tenants' secrets wait"),
                None => tracing::info!("Vault serves again"),
            }
            self.told = failure.cloned();
        }
    }

    async fn bring_about(
        &mut self,
        context: &Context,
        wish: &Wish,
    ) -> Result<HashMap<String, Verdict>, VaultFailure> {
        let layout = self.layout(context).await?;
        self.vault.stay_logged_in(&context.client).await?;
        let seen = apply::look(&self.vault, &layout).await?;
        let plan = plan(&layout, wish, &seen, jiff::Timestamp::now());
        // First what shuts doors.
        self.clear_away(&layout, &plan).await?;
        let mut verdicts = HashMap::new();
        for (wanted, refusal) in &plan.refused {
            self.whole.remove(&wanted.uid);
            verdicts.insert(
                wanted.uid.to_string(),
                Verdict::no(refusal.reason(), refusal.to_string()),
            );
        }
        for (uid, until) in &plan.kept {
            verdicts.entry(uid.to_string()).or_insert_with(|| {
                Verdict::no(
                    "SealedOff",
                    format!(
                        "the perimeter asks for no secrets in Vault: those that the tenant had there are sealed off and destroyed after {until}; they are whole again if the perimeter asks for them before"
                    ),
                )
            });
        }
        let closer = self.whose_turn(&plan);
        let served: Vec<(&TenantPlan, Result<Vec<Thing>, NotMade>)> =
            futures::stream::iter(plan.tenants.iter().filter(|tenant| {
                tenant.is_lacking
                    || self.whole.get(&tenant.wanted.uid) != Some(&tenant.wanted)
                    || closer.contains(&tenant.wanted.uid)
            }))
            .map(|tenant| {
                let done = apply::bring_about(&self.vault, &layout, tenant);
                async move { (tenant, done.await) }
            })
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await;
        for tenant in &plan.tenants {
            verdicts.insert(tenant.wanted.uid.to_string(), made(&layout, &tenant.wanted));
        }
        for (tenant, outcome) in served {
            let uid = &tenant.wanted.uid;
            match outcome {
                Ok(written) => {
                    if self.whole.get(uid) == Some(&tenant.wanted) {
                        repaired(context, &tenant.wanted, &written).await;
                    }
                    self.whole.insert(uid.clone(), tenant.wanted.clone());
                }
                Err(NotMade::Refused(refusal)) => {
                    self.whole.remove(uid);
                    verdicts.insert(
                        uid.to_string(),
                        Verdict::no(refusal.reason(), refusal.to_string()),
                    );
                }
                Err(NotMade::Failed(failure)) if failure.is_of_all() => return Err(failure),
                Err(NotMade::Failed(failure)) => {
                    verdicts.insert(
                        uid.to_string(),
                        Verdict::no(failure.reason(), failure.to_string()),
                    );
                }
            }
        }
        let living: HashSet<&Uid> = plan.tenants.iter().map(|tenant| &tenant.wanted.uid).collect();
        self.whole.retain(|uid, _| living.contains(uid));
        Ok(verdicts)
    }

    /// Where things are, and whose: the cluster is known by the UID of its namespace kube-system, which no re-installation
    /// of ours changes.
    async fn layout(&mut self, context: &Context) -> Result<Layout, VaultFailure> {
        if let Some(layout) = &self.layout {
            return Ok(layout.clone());
        }
        let refused = |why: String| VaultFailure::Refused {
            doing: "finding out which cluster this is, which marks what is made".into(),
            why,
        };
        let namespaces: Api<Namespace> = Api::all(context.client.clone());
        let system = namespaces
            .get("kube-system")
            .await
            .map_err(|error| refused(crate::failure::in_words(&error)))?;
        let layout = Layout {
            tenants: self.settings.tenants.clone(),
            jwt: self.settings.jwt_mount.clone(),
            ssh: self.settings.ssh_mount.clone(),
            audience: self.settings.audience.clone(),
            cluster: Uid::new(&system.uid().unwrap_or_default())
                .map_err(|error| refused(error.to_string()))?,
        };
        self.layout = Some(layout.clone());
        Ok(layout)
    }

    async fn clear_away(&mut self, layout: &Layout, plan: &Plan) -> Result<(), VaultFailure> {
        self.foreign.retain(|_, since| since.elapsed() < FOREIGN_FOR);
        for leftover in &plan.leftovers {
            if let Leftover::Door { path, .. } = leftover
                && self.foreign.contains_key(path)
            {
                continue;
            }
            if let Cleared::Foreign = apply::clear(&self.vault, layout, leftover).await?
                && let Leftover::Door { path, .. } = leftover
            {
                self.foreign.insert(path.clone(), Instant::now());
            }
        }
        Ok(())
    }

    /// Some of the tenants, others each time.
    fn whose_turn(&mut self, plan: &Plan) -> HashSet<Uid> {
        let all = plan.tenants.len();
        if all == 0 {
            return HashSet::new();
        }
        let first = self.turn.checked_rem(all).unwrap_or(0);
        self.turn = first.saturating_add(CLOSER);
        let round = plan.tenants.iter().cycle().skip(first).take(CLOSER.min(all));
        round.map(|tenant| tenant.wanted.uid.clone()).collect()
    }
}

fn made(layout: &Layout, wanted: &Wanted) -> Verdict {
    let tenant = &wanted.tenant;
    Verdict::yes(
        "Open",
        format!(
            "secrets are at {}, the key is {}/keys/{tenant}; workloads log in at auth/{} with the role {tenant} and a token for the audience {}",
            layout.kv(tenant),
            layout.transit(tenant),
            layout.jwt,
            layout.audience
        ),
    )
}

/// Somebody changed or took away what had been seen whole.
async fn repaired(context: &Context, wanted: &Wanted, written: &[Thing]) {
    if written.is_empty() {
        return;
    }
    for thing in written {
        context
            .metrics
            .drift_repaired
            .with_label_values(&[thing.as_str()])
            .inc();
    }
    let mut words: Vec<&str> = written.iter().map(|thing| thing.in_words()).collect();
    words.dedup();
    let words = words.join(", ");
    tracing::warn!(tenant = %wanted.tenant, "somebody changed or removed its {words} in Vault, and it is as planned again");
    let Some(tenant) = context.stores.tenants.get(&key(None, wanted.tenant.as_str())) else {
        return;
    };
    let lost = if written.contains(&Thing::Mount) || written.contains(&Thing::Key) {
        "; a mount or key that was removed is empty now: what was in it comes back from a backup of Vault only"
    } else {
        ""
    };
    let note = format!("somebody changed or removed in Vault: {words}; it is as planned again{lost}");
    event(
        context,
        tenant.as_ref(),
        EventType::Warning,
        "VaultRepaired",
        &note,
    )
    .await;
}

/// Has those Tenants looked at of whom something else is said now.
fn report(context: &Context, verdicts: HashMap<String, Verdict>) {
    let changed = context.tenancy.vault.take(verdicts);
    if changed.is_empty() {
        return;
    }
    let changed: HashSet<String> = changed.into_iter().collect();
    for tenant in context.stores.tenants.state() {
        if tenant.uid().is_some_and(|uid| changed.contains(&uid)) {
            context.triggers.tenants.reconcile(key(None, &tenant.name_any()));
            context.triggers.reports.reconcile(key(None, &tenant.name_any()));
        }
    }
}

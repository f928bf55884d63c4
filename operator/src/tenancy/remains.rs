//! What would be lost with a tenant or a workspace: jobs that have not finished, and use that is not billed. Kept by
//! the sweep, since no event of theirs tells of it; read by the reconciles, which write it down as deletion blockers.

use super::unbilled::Unbilled;
use crate::context::Stores;
use crate::lock::locked;
use kube::ResourceExt;
use mesocentre_api::BatchJob;
use mesocentre_tenancy::deletion::{JobName, UnbilledUse};
use mesocentre_tenancy::{NamespaceName, TenantName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// Unfinished batch jobs, by namespace.
type Running = BTreeMap<String, BTreeSet<String>>;

/// What is known to be left.
#[derive(Default)]
pub struct Remains {
    /// None until the first look: nothing is known, and what is written down holds.
    running: Mutex<Option<Running>>,
    /// Of each tenant, as of the last look; none until the first.
    unbilled: Mutex<Option<BTreeMap<String, Vec<UnbilledUse>>>>,
    /// The ledger as far as it was read. One reads at a time.
    pub ledger: tokio::sync::Mutex<Unbilled>,
}

impl Remains {
    /// Looks at the batch jobs; the namespaces in which others are unfinished than before.
    pub fn look_at_jobs(&self, stores: &Stores) -> Vec<String> {
        let mut now = Running::new();
        for job in stores.jobs.state() {
            if !is_finished(&job)
                && let Some(namespace) = job.namespace()
            {
                now.entry(namespace).or_default().insert(job.name_any());
            }
        }
        let mut known = locked(&self.running);
        let first = known.is_none();
        let before = known.take().unwrap_or_default();
        let changed = if first {
            // What is written down may be of yesterday: all are looked at.
            let mut all: BTreeSet<String> = now.keys().cloned().collect();
            all.extend(stores.workspaces.state().iter().filter_map(|workspace| {
                let status = workspace.status.as_ref()?;
                (!status.deletion_blockers.is_empty()).then(|| status.namespace.clone())?
            }));
            all.into_iter().collect()
        } else {
            before
                .keys()
                .chain(now.keys())
                .filter(|namespace| before.get(*namespace) != now.get(*namespace))
                .cloned()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        };
        *known = Some(now);
        changed
    }

    /// Notes what of these tenants' use is not billed; true when it is the first look.
    pub fn note_unbilled(&self, read: &Unbilled, changed: &[String]) -> bool {
        let mut known = locked(&self.unbilled);
        let first = known.is_none();
        let notes = known.get_or_insert_default();
        for tenant in changed {
            notes.insert(tenant.clone(), read.of(tenant));
        }
        first
    }

    /// The unfinished jobs of a tenant, and its use that is not billed; none while either is not known.
    pub fn of_tenant(&self, tenant: &TenantName) -> Option<(Vec<JobName>, Vec<UnbilledUse>)> {
        let unbilled = locked(&self.unbilled)
            .as_ref()?
            .get(tenant.as_str())
            .cloned()
            .unwrap_or_default();
        let prefix = format!("{tenant}--");
        let jobs = locked(&self.running)
            .as_ref()?
            .range(prefix.clone()..)
            .take_while(|(namespace, _)| namespace.starts_with(&prefix))
            .flat_map(|(namespace, jobs)| named(namespace, jobs))
            .collect();
        Some((jobs, unbilled))
    }

    /// The unfinished jobs of a workspace; none while they are not known.
    pub fn of_workspace(&self, namespace: &NamespaceName) -> Option<Vec<JobName>> {
        let known = locked(&self.running);
        let jobs = known.as_ref()?.get(namespace.as_str());
        Some(
            jobs.map(|jobs| named(namespace.as_str(), jobs))
                .unwrap_or_default(),
        )
    }
}

fn named(namespace: &str, jobs: &BTreeSet<String>) -> Vec<JobName> {
    let Ok((_, Some(workspace))) = NamespaceName::split(namespace) else {
        return Vec::new();
    };
    jobs.iter()
        .map(|name| JobName {
            workspace: workspace.clone(),
            name: name.clone(),
        })
        .collect()
}

/// Whether nothing more will happen to a job.
pub fn is_finished(job: &BatchJob) -> bool {
    job.status
        .as_ref()
        .is_some_and(|status| status.phase.is_finished())
}

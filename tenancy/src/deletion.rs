//! Why a tenant or a workspace cannot be deleted now, and in which order it goes when it can.
//!
//! Order: batch jobs (their finalizer cancels them on the scheduler), workspaces, peering agreements, allocations
//! (their accounts on the scheduler), the home namespace, and last the finalizer. Each step is asked for again until
//! nothing of it is left, so that a deletion may be cut anywhere and go on. The same blockers stand in the status
//! beforehand, where admission refuses the deletion at the door.

use crate::names::{NamespaceName, WorkspaceName};

/// A batch job of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobName {
    /// Its workspace.
    pub workspace: WorkspaceName,
    /// Its name.
    pub name: String,
}

/// Use of a month that no closed period has billed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnbilledUse {
    /// The month, for example 2026-11.
    pub month: String,
    /// How many usage records.
    pub records: u64,
}

/// What is left of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantRemains {
    /// Batch jobs that have not finished, over all workspaces.
    pub jobs: Vec<JobName>,
    /// Use that is not billed yet.
    pub unbilled: Vec<UnbilledUse>,
    /// Why its data are kept, while it is suspended.
    pub retention: Option<String>,
    /// Workspace objects.
    pub workspaces: Vec<WorkspaceName>,
    /// Peering agreements in the home namespace.
    pub agreements: Vec<String>,
    /// Allocations in the home namespace.
    pub allocations: Vec<String>,
    /// The home namespace, while it exists and is ours.
    pub home: Option<NamespaceName>,
}

/// What is left of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceRemains {
    /// Batch jobs that have not finished.
    pub running: Vec<JobName>,
    /// BatchJob objects, finished or not.
    pub jobs: Vec<JobName>,
    /// Why its data are kept, while its tenant is suspended.
    pub retention: Option<String>,
    /// The namespace, while it exists and is ours.
    pub namespace: Option<NamespaceName>,
}

/// The next step of a deletion that has been asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeletionStep {
    /// Nothing may go yet; each a sentence.
    Blocked(Vec<String>),
    /// Delete these batch jobs (their finalizer cancels them on the scheduler), then ask again.
    DeleteJobs(Vec<JobName>),
    /// Delete these workspaces, then ask again.
    DeleteWorkspaces(Vec<WorkspaceName>),
    /// Delete these peering agreements, then ask again.
    DeleteAgreements(Vec<String>),
    /// Delete these allocations, then ask again.
    DeleteAllocations(Vec<String>),
    /// Delete this namespace, then ask again once it is gone.
    DeleteNamespace(NamespaceName),
    /// All is gone: take the finalizer off.
    Done,
}

/// How many names a sentence lists before it counts the rest: a status is no job list.
const NAMED: usize = 5;

/// Why a tenant cannot be deleted now; empty means that it can.
pub fn tenant_blockers(remains: &TenantRemains) -> Vec<String> {
    let mut blockers: Vec<String> = running_jobs(&remains.jobs).into_iter().collect();
    blockers.extend(remains.unbilled.iter().map(|unbilled| {
        let (month, records) = (&unbilled.month, unbilled.records);
        let what = if records == 1 {
            "usage record"
        } else {
            "usage records"
        };
        format!("use of {month} is not billed yet ({records} {what}): close the BillingPeriod {month} first")
    }));
    blockers.extend(remains.retention.clone());
    blockers
}

/// Why a workspace cannot be deleted now; empty means that it can. What its jobs used stays billable without it.
pub fn workspace_blockers(remains: &WorkspaceRemains) -> Vec<String> {
    running_jobs(&remains.running)
        .into_iter()
        .chain(remains.retention.clone())
        .collect()
}

fn running_jobs(jobs: &[JobName]) -> Option<String> {
    let mut jobs: Vec<&JobName> = jobs.iter().collect();
    jobs.sort();
    let named: Vec<String> = jobs
        .iter()
        .take(NAMED)
        .map(|job| format!("{}/{}", job.workspace, job.name))
        .collect();
    let (count, named) = (jobs.len(), named.join(", "));
    match count {
        0 => None,
        1 => Some(format!(
            "the batch job {named} has not finished: wait for its end, or cancel it (meso cancel)"
        )),
        _ => {
            let more = if count > NAMED {
                format!(" and {} more", count - NAMED)
            } else {
                String::new()
            };
            Some(format!(
                "{count} batch jobs have not finished ({named}{more}): wait for their end, or cancel them (meso cancel)"
            ))
        }
    }
}

/// The next step of a tenant's deletion; `forced` is the annotation `mesocentre.io/force-delete: "true"`.
pub fn next_tenant_step(remains: &TenantRemains, forced: bool) -> DeletionStep {
    let blockers = tenant_blockers(remains);
    if !forced && !blockers.is_empty() {
        return DeletionStep::Blocked(blockers);
    }
    if !remains.jobs.is_empty() {
        DeletionStep::DeleteJobs(remains.jobs.clone())
    } else if !remains.workspaces.is_empty() {
        DeletionStep::DeleteWorkspaces(remains.workspaces.clone())
    } else if !remains.agreements.is_empty() {
        DeletionStep::DeleteAgreements(remains.agreements.clone())
    } else if !remains.allocations.is_empty() {
        DeletionStep::DeleteAllocations(remains.allocations.clone())
    } else {
        namespace_step(&remains.home)
    }
}

/// The next step of a workspace's deletion; `forced` is the annotation on it, or its tenant's deletion being forced.
pub fn next_workspace_step(remains: &WorkspaceRemains, forced: bool) -> DeletionStep {
    let blockers = workspace_blockers(remains);
    if !forced && !blockers.is_empty() {
        DeletionStep::Blocked(blockers)
    } else if !remains.jobs.is_empty() {
        DeletionStep::DeleteJobs(remains.jobs.clone())
    } else {
        namespace_step(&remains.namespace)
    }
}

fn namespace_step(namespace: &Option<NamespaceName>) -> DeletionStep {
    match namespace {
        Some(namespace) => DeletionStep::DeleteNamespace(namespace.clone()),
        None => DeletionStep::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> JobName {
        JobName {
            workspace: WorkspaceName::new("climate").unwrap(),
            name: name.into(),
        }
    }

    fn remains() -> TenantRemains {
        TenantRemains {
            jobs: vec![job("pi")],
            unbilled: vec![UnbilledUse {
                month: "2026-11".into(),
                records: 22,
            }],
            retention: None,
            workspaces: vec![WorkspaceName::new("climate").unwrap()],
            agreements: vec!["genomics".into()],
            allocations: vec!["climate-2026".into()],
            home: Some(NamespaceName::new("univ-caen").unwrap()),
        }
    }

    #[test]
    fn running_jobs_and_unbilled_use_hold_a_tenant_unless_it_is_forced() {
        let DeletionStep::Blocked(why) = next_tenant_step(&remains(), false) else {
            panic!("not blocked");
        };
        assert_eq!(
            why,
            [
                "the batch job climate/pi has not finished: wait for its end, or cancel it (meso cancel)",
                "use of 2026-11 is not billed yet (22 usage records): close the BillingPeriod 2026-11 first",
            ]
        );
    }

    #[test]
    fn a_forced_deletion_goes_from_jobs_to_the_home_namespace_and_ends() {
        let mut left = remains();
        let mut went = Vec::new();
        for _ in 0..10 {
            let step = next_tenant_step(&left, true);
            match &step {
                DeletionStep::Blocked(why) => panic!("{why:?}"),
                DeletionStep::DeleteJobs(_) => left.jobs.clear(),
                DeletionStep::DeleteWorkspaces(_) => left.workspaces.clear(),
                DeletionStep::DeleteAgreements(_) => left.agreements.clear(),
                DeletionStep::DeleteAllocations(_) => left.allocations.clear(),
                DeletionStep::DeleteNamespace(_) => left.home = None,
                DeletionStep::Done => break,
            }
            went.push(step);
        }
        let all = remains();
        assert_eq!(
            went,
            [
                DeletionStep::DeleteJobs(all.jobs),
                DeletionStep::DeleteWorkspaces(all.workspaces),
                DeletionStep::DeleteAgreements(all.agreements),
                DeletionStep::DeleteAllocations(all.allocations),
                DeletionStep::DeleteNamespace(all.home.unwrap()),
            ]
        );
        assert_eq!(next_tenant_step(&left, true), DeletionStep::Done);
    }

    #[test]
    fn a_workspace_waits_for_its_running_jobs_and_takes_finished_ones_along() {
        let namespace = NamespaceName::new("univ-caen--climate").unwrap();
        let mut left = WorkspaceRemains {
            running: vec![job("pi")],
            jobs: vec![job("old"), job("pi")],
            namespace: Some(namespace.clone()),
            retention: None,
        };
        assert!(matches!(
            next_workspace_step(&left, false),
            DeletionStep::Blocked(_)
        ));
        left.running.clear();
        assert_eq!(
            next_workspace_step(&left, false),
            DeletionStep::DeleteJobs(left.jobs.clone())
        );
        left.jobs.clear();
        assert_eq!(
            next_workspace_step(&left, false),
            DeletionStep::DeleteNamespace(namespace)
        );
    }

    #[test]
    fn the_data_of_a_suspended_tenant_hold_it_and_its_workspaces_unless_they_are_forced() {
        let kept = "its data are kept until 2027-03-01";
        let tenant = TenantRemains {
            retention: Some(kept.into()),
            ..TenantRemains::default()
        };
        assert_eq!(tenant_blockers(&tenant), [kept]);
        assert_eq!(next_tenant_step(&tenant, true), DeletionStep::Done);
        let workspace = WorkspaceRemains {
            retention: Some(kept.into()),
            ..WorkspaceRemains::default()
        };
        assert_eq!(workspace_blockers(&workspace), [kept]);
        assert_eq!(next_workspace_step(&workspace, true), DeletionStep::Done);
    }

    #[test]
    fn a_long_list_of_jobs_is_counted_rather_than_written_out() {
        let jobs: Vec<JobName> = (0..500).map(|i| job(&format!("j{i:03}"))).collect();
        let sentence = running_jobs(&jobs).unwrap();
        assert!(
            sentence.starts_with("500 batch jobs have not finished (climate/j000, "),
            "{sentence}"
        );
        assert!(sentence.contains("and 495 more"), "{sentence}");
    }
}

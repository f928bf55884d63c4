//! Why a tenant or a workspace cannot be deleted now, and in which order it goes when it can.

use crate::names::{NamespaceName, WorkspaceName};

/// A batch job or a month's use that holds a deletion up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunningJob {
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
    pub jobs: Vec<RunningJob>,
    /// Use that is not billed yet.
    pub unbilled: Vec<UnbilledUse>,
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
    pub running: Vec<String>,
    /// BatchJob objects, finished or not.
    pub jobs: Vec<String>,
    /// The namespace, while it exists and is ours.
    pub namespace: Option<NamespaceName>,
}

/// The next step of a deletion that has been asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeletionStep {
    /// Nothing may go yet; each a sentence.
    Blocked(Vec<String>),
    /// Delete these batch jobs (their finalizer cancels them on the scheduler), then ask again.
    DeleteJobs(Vec<String>),
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

/// Why a tenant cannot be deleted now; empty means that it can.
pub fn tenant_blockers(remains: &TenantRemains) -> Vec<String> {
    let _ = remains;
    todo!()
}

/// Why a workspace cannot be deleted now; empty means that it can.
pub fn workspace_blockers(remains: &WorkspaceRemains) -> Vec<String> {
    let _ = remains;
    todo!()
}

/// The next step of a tenant's deletion; `forced` is the annotation `mesocentre.io/force-delete: "true"`.
pub fn next_tenant_step(remains: &TenantRemains, forced: bool) -> DeletionStep {
    let _ = (remains, forced);
    todo!()
}

/// The next step of a workspace's deletion; `forced` is the annotation on it, or its tenant's deletion being forced.
pub fn next_workspace_step(remains: &WorkspaceRemains, forced: bool) -> DeletionStep {
    let _ = (remains, forced);
    todo!()
}

//! What every reconcile may read and use.

use crate::batch::{Batch, LoginSources};
use crate::controller::OwnWrites;
use crate::metrics::Metrics;
use crate::packed::Packed;
use crate::triggers::Triggers;
use crate::watch::Watch;
use jiff::Timestamp;
use jiff::civil::Date;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, Node, NodeSpec, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::Store;
use kube::{Api, Client};
use mesocentre_api::{
    Allocation, BatchJob, BillingPeriod, CoInvestment, CostPool, EconomicCeiling, Invoice, InvoiceSeries,
    PeeringAgreement, PerimeterReport, PerimeterRules, Scheduler, Statement, Tariff, Tenant, TrustPerimeter,
    Workspace,
};
use mesocentre_metering::{DatacentreZone, Ledger};
use mesocentre_tenancy::Now;
use std::sync::Arc;

/// What every reconcile may read and use.
pub struct Context {
    /// Speaks as the operator.
    pub client: Client,
    /// Where the API server is, to speak to it as another.
    pub server: kube::Config,
    /// The operator's own namespace.
    pub namespace: String,
    /// The API server's version, as it said at the start.
    pub kubernetes_version: String,
    /// How often each tenant's report is renewed.
    pub report_every: std::time::Duration,
    /// Signs reports.
    pub signer: crate::tenancy::proof::Signer,
    /// The caches.
    pub stores: Stores,
    /// Has other objects looked at.
    pub triggers: Triggers,
    /// What this process wrote lately.
    pub own_writes: OwnWrites,
    /// What /metrics shows.
    pub metrics: Metrics,
    /// Writes events.
    pub recorder: Recorder,
    /// The ledger.
    pub ledger: Ledger,
    /// Whose it is, on its checkpoints.
    pub ledger_origin: String,
    /// The datacentre's time zone.
    pub zone: DatacentreZone,
    /// The batch schedulers, and what is known of them.
    pub batch: Batch,
    /// Where issued documents are delivered to; none where they are not.
    pub archive: Option<crate::billing::invoice::Archive>,
    /// What tenants hold of the cluster; none where that is not metered.
    pub platform: Option<Arc<crate::platform::Platform>>,
    /// When what is reserved for allocations is looked at.
    pub reserved: Arc<crate::looks::Looks>,
    /// What is known of billing beyond the caches.
    pub billing: crate::billing::Billing,
    /// Since when this process alone acts: when it took the lease.
    pub in_charge_since: Timestamp,
    /// What signs the operator's logins on login nodes, where there is a Vault.
    pub authority: Option<Arc<crate::batch::LoginAuthority>>,
    /// What the reconciles of tenants share.
    pub tenancy: crate::tenancy::Tenancy,
}

impl Context {
    /// The civil day now, in the datacentre's zone.
    pub fn today(&self) -> Date {
        self.zone.day_of(Timestamp::now())
    }

    /// Where what logs in on login nodes is found.
    pub fn login_sources(&self) -> LoginSources<'_> {
        LoginSources {
            client: &self.client,
            namespace: &self.namespace,
            authority: self.authority.as_ref(),
        }
    }

    /// The instant now, and the datacentre's zone.
    pub fn now(&self) -> Now {
        Now {
            instant: Timestamp::now(),
            zone: self.zone.rules().clone(),
        }
    }
}

macro_rules! stores {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $which:ident $(, slim $slim:path)?;)+) => {
        /// The caches, one a kind.
        #[derive(Clone)]
        pub struct Stores {
            $($(#[$doc])* pub $field: Store<$kind>,)+
        }

        /// The watches, before they are started: listeners are added here.
        pub struct Watches {
            $($(#[$doc])* pub $field: Watch<$kind>,)+
        }

        impl Watches {
            /// Prepares them; nothing is asked yet.
            pub fn new(client: &Client) -> Self {
                Self {
                    $($field: Watch::$which(Api::all(client.clone()))$(.slim($slim))?,)+
                }
            }

            /// Their caches.
            pub fn stores(&self) -> Stores {
                Stores { $($field: self.$field.store(),)+ }
            }

            /// Starts them, each in a task of its own.
            pub fn start(self) {
                $(tokio::spawn(self.$field.run());)+
            }
        }

        impl Stores {
            /// Waits until every cache holds what there is.
            pub async fn wait_until_full(&self) {
                // A cache whose watch has ended is never full, and the process is ending then.
                $(let _ = self.$field.wait_until_ready().await;)+
            }
        }
    };
}

stores! {
    /// Trust perimeters.
    perimeters: TrustPerimeter = all;
    /// Tenants.
    tenants: Tenant = all;
    /// Workspaces.
    workspaces: Workspace = all;
    /// Peering agreements.
    agreements: PeeringAgreement = all;
    /// Schedulers.
    schedulers: Scheduler = all;
    /// Allocations.
    allocations: Allocation = all;
    /// Batch jobs, without the scripts of those that the scheduler has.
    jobs: BatchJob = all, slim slim_job;
    /// Tariffs.
    tariffs: Tariff = all;
    /// Cost pools.
    pools: CostPool = all;
    /// Co-investments.
    co_investments: CoInvestment = all;
    /// Ceilings on economic use.
    ceilings: EconomicCeiling = all;
    /// Billing periods.
    periods: BillingPeriod = all;
    /// Series of invoices.
    series: InvoiceSeries = all;
    /// Invoices.
    invoices: Invoice = all;
    /// Statements.
    statements: Statement = all;
    /// Rules of admission, in tenants' namespaces.
    rules: Packed<PerimeterRules> = ours;
    /// Nodes: their names, labels and taints.
    nodes: Node = all, slim slim_node;
    /// Namespaces that bear a tenant's label, whoever made them.
    namespaces: Packed<Namespace> = claimed;
    /// Quotas that we made.
    quotas: Packed<ResourceQuota> = ours;
    /// Limit ranges that we made.
    limits: Packed<LimitRange> = ours;
    /// Network policies that we made.
    policies: Packed<NetworkPolicy> = ours;
    /// Role bindings that we made.
    bindings: Packed<RoleBinding> = ours;
    /// Reports, without what they say.
    reports: PerimeterReport = all, slim slim_report;
    /// Network policies that we did not make.
    foreign_policies: Packed<NetworkPolicy> = foreign;
    /// Role bindings that we did not make.
    foreign_bindings: Packed<RoleBinding> = foreign;
    /// Rights in the whole cluster.
    cluster_bindings: ClusterRoleBinding = all;
    /// The chart's policies.
    validating_policies: ValidatingAdmissionPolicy = charts;
    /// The chart's bindings of these.
    validating_bindings: ValidatingAdmissionPolicyBinding = charts;
    /// The chart's mutating policies.
    mutating_policies: MutatingAdmissionPolicy = charts;
    /// The chart's bindings of these.
    mutating_bindings: MutatingAdmissionPolicyBinding = charts;
}

/// A report may be twenty kilobytes, and is read where it stands: what is kept is when it was written, and of drift.
fn slim_report(report: &mut PerimeterReport) {
    if let Some(status) = &mut report.status {
        status.rules = Vec::new();
        status.reachability = Default::default();
        status.signature = None;
    }
}

/// What decides whose a node is.
fn slim_node(node: &mut Node) {
    node.metadata.annotations = None;
    node.status = None;
    node.spec = Some(NodeSpec {
        taints: node.spec.take().and_then(|spec| spec.taints),
        ..NodeSpec::default()
    });
}

/// What is not needed any more once the scheduler has the job: a script may be a quarter of a megabyte.
fn slim_job(job: &mut BatchJob) {
    let handed_over = job.status.as_ref().is_some_and(|status| {
        status.phase.is_finished() || status.scheduler.as_ref().is_some_and(|s| s.job_id.is_some())
    });
    if handed_over {
        job.spec.script = String::new();
        job.spec.environment = Vec::new();
        job.spec.arguments = Vec::new();
    }
    if let Some(annotations) = &mut job.metadata.annotations {
        // kubectl's own copy of the whole object.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

//! Who is looked at again when something changes: the one place that says so.
//!
//! | a change of | has looked at |
//! | --- | --- |
//! | TrustPerimeter | its tenants, their workspaces, all agreements |
//! | Tenant | its perimeter, workspaces, agreements (its own and those that name it), allocations and their accounts; cost pools and co-investments that name it; ceilings; its invoices; periods |
//! | Workspace | its tenant, the tenant's other workspaces (they share a quota), the tenant's agreements |
//! | PeeringAgreement | the other side's of the same name |
//! | namespace, quota, limits, policy, binding, rules of ours | the workspace or tenant that it was made for (for what is used of a quota: at most twice a second); of a home namespace also periods |
//! | Scheduler | its allocations, batch jobs that wait for it, all schedulers |
//! | Allocation | the scheduler's accounts, batch jobs that wait for it, its tenant, ceilings |
//! | EconomicCeiling | all ceilings; by its grants all allocations and their accounts |
//! | BatchJob | those that wait for it |
//! | Tariff | all tariffs, periods |
//! | CostPool | periods; drafts of calls for funds |
//! | CoInvestment | periods |
//! | InvoiceSeries | all series, all invoices |
//! | Invoice, its number | the invoices of its tenant |
//! | Invoice, when it was looked at | its delivery |
//! | BillingPeriod | drafts of its month |
//! | Statement | its period |
//! | Tenant, its namespaces, workspaces, agreements; foreign objects in its namespaces; a request in its report | the tenant's report |
//! | the first call of a scheduler that is in vain, or no more (`batch/cluster.rs`) | its Scheduler, at most once in 3 s |
//! | a policy of the chart | the guard of these, and the reports of all tenants when it was not as it should be |
//!
//! And each has itself looked at. What hangs on the spec alone is not disturbed by a status.

use crate::batch::{Batch, WaitsFor};
use crate::billing::ceiling::grants_differ;
use crate::context::{Stores, Watches};
use crate::controller::{OwnWrites, Paced, Queue, Trigger, queue};
use crate::packed::Packed;
use crate::tenancy::{Kind, Tenancy};
use crate::watch::{Watch, Watchable, key};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{
    Allocation, BatchJob, BillingPeriod, CoInvestment, CostPool, EconomicCeiling, Invoice, InvoiceSeries,
    PeeringAgreement, Scheduler, Tariff, Tenant, TrustPerimeter, Workspace, labels,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

macro_rules! triggers {
    ($($(#[$doc:meta])* $field:ident: $kind:ty;)+) => {
        /// Asks controllers to look at objects. Cheap to clone.
        #[derive(Clone)]
        pub struct Triggers {
            $($(#[$doc])* pub $field: Trigger<$kind>,)+
        }

        /// The queues of the controllers.
        pub struct Queues {
            $($(#[$doc])* pub $field: Queue<$kind>,)+
        }

        /// Triggers and the queues that they fill.
        pub fn triggers() -> (Triggers, Queues) {
            $(let $field = queue::<$kind>();)+
            (Triggers { $($field: $field.0,)+ }, Queues { $($field: $field.1,)+ })
        }
    };
}

triggers! {
    /// Trust perimeters.
    perimeters: TrustPerimeter;
    /// Tenants.
    tenants: Tenant;
    /// Workspaces.
    workspaces: Workspace;
    /// Peering agreements.
    agreements: PeeringAgreement;
    /// Schedulers.
    schedulers: Scheduler;
    /// Allocations.
    allocations: Allocation;
    /// Batch jobs.
    jobs: BatchJob;
    /// Tariffs.
    tariffs: Tariff;
    /// Cost pools.
    pools: CostPool;
    /// Co-investments.
    co_investments: CoInvestment;
    /// Ceilings on economic use.
    ceilings: EconomicCeiling;
    /// Series of invoices.
    series: InvoiceSeries;
    /// Invoices.
    invoices: Invoice;
    /// Invoices whose documents are to be delivered.
    deliveries: Invoice;
    /// Billing periods.
    periods: BillingPeriod;
    /// Tenants whose report is to be written.
    reports: Tenant;
}

/// Adds the listeners to the watches.
pub fn connect(
    watches: &mut Watches,
    stores: &Stores,
    triggers: &Triggers,
    (batch, in_tenancy): (&Batch, &Tenancy),
    own_writes: &OwnWrites,
) {
    made_for(watches, triggers, in_tenancy);
    tenancy(watches, stores, triggers, batch, own_writes);
    batches(watches, stores, triggers, batch);
    billing(watches, stores, triggers, batch);
}

fn tenancy(
    watches: &mut Watches,
    stores: &Stores,
    triggers: &Triggers,
    batch: &Batch,
    own_writes: &OwnWrites,
) {
    let t = triggers.clone();
    watches
        .perimeters
        .on_change(move |perimeter| t.perimeters.reconcile(ObjectRef::from_obj(perimeter.as_ref())));
    let (s, t) = (stores.clone(), triggers.clone());
    watches.perimeters.on_spec_change(move |perimeter| {
        let name = perimeter.name_any();
        for tenant in s.tenants.state() {
            if tenant.spec.perimeter == name {
                t.tenants.reconcile(ObjectRef::from_obj(tenant.as_ref()));
                for workspace in s.workspaces.state() {
                    if workspace.namespace().as_deref() == Some(&tenant.name_any()) {
                        t.workspaces.reconcile(ObjectRef::from_obj(workspace.as_ref()));
                    }
                }
            }
        }
        t.agreements.reconcile_all(&s.agreements);
    });

    own_writes.on_news(&mut watches.tenants, &triggers.tenants);
    let (s, t, b) = (stores.clone(), triggers.clone(), batch.clone());
    watches.tenants.on_spec_change(move |tenant| {
        let name = tenant.name_any();
        t.perimeters.reconcile(key(None, &tenant.spec.perimeter));
        for workspace in s.workspaces.state() {
            if workspace.namespace().as_deref() == Some(&name) {
                t.workspaces.reconcile(ObjectRef::from_obj(workspace.as_ref()));
            }
        }
        agreements_of(&name, &s, &t);
        for allocation in s.allocations.state() {
            if allocation.namespace().as_deref() == Some(&name) {
                t.allocations.reconcile(ObjectRef::from_obj(allocation.as_ref()));
                b.accounts_changed(&allocation.spec.scheduler);
                b.wake(&WaitsFor::Allocation(name.clone(), allocation.name_any()));
            }
        }
        for pool in s.pools.state() {
            if pool.spec.tenants().any(|tenant| tenant == name) {
                t.pools.reconcile(ObjectRef::from_obj(pool.as_ref()));
            }
        }
        for of in s.co_investments.state() {
            if of.spec.shares.iter().any(|share| share.tenant == name) {
                t.co_investments.reconcile(ObjectRef::from_obj(of.as_ref()));
            }
        }
        t.ceilings.reconcile_all(&s.ceilings);
        for invoice in s.invoices.state() {
            if invoice.namespace().as_deref() == Some(&name) {
                t.invoices.reconcile(ObjectRef::from_obj(invoice.as_ref()));
            }
        }
        t.periods.reconcile_all(&s.periods);
    });

    own_writes.on_news(&mut watches.workspaces, &triggers.workspaces);
    let (s, t) = (stores.clone(), triggers.clone());
    watches.workspaces.on_spec_change(move |workspace| {
        let Some(tenant) = workspace.namespace() else {
            return;
        };
        t.tenants.reconcile(key(None, &tenant));
        for other in s.workspaces.state() {
            if other.namespace().as_deref() == Some(&tenant) {
                t.workspaces.reconcile(ObjectRef::from_obj(other.as_ref()));
            }
        }
        agreements_of(&tenant, &s, &t);
    });

    let t = triggers.clone();
    watches
        .agreements
        .on_change(move |agreement| t.agreements.reconcile(ObjectRef::from_obj(agreement.as_ref())));
    let t = triggers.clone();
    watches.agreements.on_spec_change(move |agreement| {
        t.agreements
            .reconcile(key(Some(&agreement.spec.with), &agreement.name_any()));
    });
}

fn agreements_of(tenant: &str, stores: &Stores, triggers: &Triggers) {
    for agreement in stores.agreements.state() {
        if agreement.namespace().as_deref() == Some(tenant) || agreement.spec.with == tenant {
            triggers
                .agreements
                .reconcile(ObjectRef::from_obj(agreement.as_ref()));
        }
    }
}

/// What we made and label with whom it is for: looked at when it is not as this process wrote it.
fn made_for(watches: &mut Watches, triggers: &Triggers, tenancy: &Tenancy) {
    fn listen<K>(tenancy: &Tenancy, kind: Kind, watch: &mut Watch<Packed<K>>, triggers: &Triggers)
    where
        Packed<K>: Watchable,
    {
        let t = triggers.clone();
        tenancy.on_news(kind, watch, move |before, now| {
            let Some(object) = now.or(before) else { return };
            t.of_whom_it_is_for(&object.value()["metadata"]["labels"]);
        });
    }
    listen(tenancy, Kind::Namespace, &mut watches.namespaces, triggers);
    listen(tenancy, Kind::NetworkPolicy, &mut watches.policies, triggers);
    listen(tenancy, Kind::LimitRange, &mut watches.limits, triggers);
    listen(tenancy, Kind::RoleBinding, &mut watches.bindings, triggers);
    listen(tenancy, Kind::PerimeterRules, &mut watches.rules, triggers);
    quotas(watches, triggers, tenancy);
}

impl Triggers {
    /// Has the tenant or workspace looked at that an object with these labels was made for, and the agreement that a
    /// peering's policy is of.
    pub fn of_whom_it_is_for(&self, marks: &Value) {
        let Some(tenant) = marks[labels::TENANT].as_str() else {
            return;
        };
        match marks[labels::WORKSPACE].as_str() {
            Some(workspace) => self.workspaces.reconcile(key(Some(tenant), workspace)),
            None => self.tenants.reconcile(key(None, tenant)),
        }
        if let Some(peering) = marks[mesocentre_tenancy::peering::PEERING].as_str() {
            self.agreements.reconcile(key(Some(tenant), peering));
        }
    }
}

/// How often what is used of a quota has its workspace looked at.
const USE_PAUSE: Duration = Duration::from_millis(500);

/// Each object that a tenant makes changes what is used of a quota. A slice must follow that, but not at every object:
/// hundreds of looks a second would compete with the very creations.
fn quotas(watches: &mut Watches, triggers: &Triggers, tenancy: &Tenancy) {
    let t = triggers.clone();
    let of_use = Paced::new(triggers.workspaces.clone(), USE_PAUSE);
    tenancy.on_news(Kind::ResourceQuota, &mut watches.quotas, move |before, now| {
        let Some(quota) = now.or(before) else { return };
        let marks = quota.value()["metadata"]["labels"].take();
        let in_use_alone = before
            .and_then(Packed::read)
            .zip(now.and_then(Packed::read))
            .is_some_and(|(before, now)| differ_in_use_alone(&before, &now));
        match (marks[labels::TENANT].as_str(), marks[labels::WORKSPACE].as_str()) {
            (Some(tenant), Some(workspace)) if in_use_alone => {
                of_use.reconcile(key(Some(tenant), workspace));
            }
            _ => t.of_whom_it_is_for(&marks),
        }
    });
}

/// Whether what is asked of a quota, and what the API server holds it to, are as they were.
fn differ_in_use_alone(before: &ResourceQuota, now: &ResourceQuota) -> bool {
    fn in_force(quota: &ResourceQuota) -> Option<&BTreeMap<String, Quantity>> {
        quota.status.as_ref()?.hard.as_ref()
    }
    before.metadata.uid == now.metadata.uid
        && before.metadata.deletion_timestamp == now.metadata.deletion_timestamp
        && before.metadata.labels == now.metadata.labels
        && before.spec == now.spec
        && in_force(before) == in_force(now)
}

fn batches(watches: &mut Watches, stores: &Stores, triggers: &Triggers, batch: &Batch) {
    let t = triggers.clone();
    watches
        .schedulers
        .on_change(move |scheduler| t.schedulers.reconcile(ObjectRef::from_obj(scheduler.as_ref())));
    let (s, t, b) = (stores.clone(), triggers.clone(), batch.clone());
    watches.schedulers.on_change(move |scheduler| {
        let name = scheduler.name_any();
        for allocation in s.allocations.state() {
            if allocation.spec.scheduler == name {
                t.allocations.reconcile(ObjectRef::from_obj(allocation.as_ref()));
            }
        }
        b.wake(&WaitsFor::Scheduler(name));
    });
    // Two of one cluster: when the first goes, the second may begin.
    let (s, t) = (stores.clone(), triggers.clone());
    watches
        .schedulers
        .on_spec_change(move |_| t.schedulers.reconcile_all(&s.schedulers));

    let (t, b) = (triggers.clone(), batch.clone());
    watches.allocations.on_change(move |allocation| {
        t.allocations.reconcile(ObjectRef::from_obj(allocation.as_ref()));
        let home = allocation.namespace().unwrap_or_default();
        b.wake(&WaitsFor::Allocation(home, allocation.name_any()));
    });
    let (t, b) = (triggers.clone(), batch.clone());
    let s = stores.clone();
    watches.allocations.on_spec_change(move |allocation| {
        b.accounts_changed(&allocation.spec.scheduler);
        t.ceilings.reconcile_all(&s.ceilings);
        t.tenants
            .reconcile(key(None, &allocation.namespace().unwrap_or_default()));
    });

    let (t, b) = (triggers.clone(), batch.clone());
    watches.jobs.on_change(move |job| {
        t.jobs.reconcile(ObjectRef::from_obj(job.as_ref()));
        b.wake(&WaitsFor::Job(
            job.namespace().unwrap_or_default(),
            job.name_any(),
        ));
    });
}

fn billing(watches: &mut Watches, stores: &Stores, triggers: &Triggers, batch: &Batch) {
    let (s, t) = (stores.clone(), triggers.clone());
    watches.tariffs.on_spec_change(move |_| {
        // Each may overlap with each.
        t.tariffs.reconcile_all(&s.tariffs);
        t.periods.reconcile_all(&s.periods);
        calls_in_draft(&s, &t);
    });
    let (s, t) = (stores.clone(), triggers.clone());
    watches.pools.on_spec_change(move |pool| {
        t.pools.reconcile(ObjectRef::from_obj(pool.as_ref()));
        t.periods.reconcile_all(&s.periods);
        calls_in_draft(&s, &t);
    });
    let (s, t) = (stores.clone(), triggers.clone());
    watches.co_investments.on_spec_change(move |of| {
        t.co_investments.reconcile(ObjectRef::from_obj(of.as_ref()));
        t.periods.reconcile_all(&s.periods);
    });
    let (s, t, b) = (stores.clone(), triggers.clone(), batch.clone());
    watches.ceilings.on_difference(move |before, now| {
        // Two of one year stand in each other's way.
        if before.map(|ceiling| &ceiling.spec) != now.map(|ceiling| &ceiling.spec) {
            t.ceilings.reconcile_all(&s.ceilings);
        }
        if grants_differ(before, now) {
            t.allocations.reconcile_all(&s.allocations);
            for scheduler in s.schedulers.state() {
                b.accounts_changed(&scheduler.name_any());
            }
        }
    });
    let (s, t) = (stores.clone(), triggers.clone());
    watches.periods.on_change(move |period| {
        t.periods.reconcile(ObjectRef::from_obj(period.as_ref()));
        // Drafts wait until their month is closed.
        for invoice in s.invoices.state() {
            if !is_issued(&invoice) && invoice.spec.month.as_ref() == Some(&period.spec.month) {
                t.invoices.reconcile(ObjectRef::from_obj(invoice.as_ref()));
            }
        }
    });
    let (s, t) = (stores.clone(), triggers.clone());
    watches.series.on_spec_change(move |_| {
        t.series.reconcile_all(&s.series);
        t.invoices.reconcile_all(&s.invoices);
    });
    // What one is issued as says what another may credit, replace or bill.
    let (s, t) = (stores.clone(), triggers.clone());
    watches.invoices.on_difference(move |before, now| {
        let number = |invoice: Option<&Invoice>| invoice?.status.as_ref()?.number.clone();
        let spec = |invoice: Option<&Invoice>| invoice.map(|invoice| invoice.spec.clone());
        if spec(before) == spec(now) && number(before) == number(now) {
            return;
        }
        let home = now.or(before).and_then(ResourceExt::namespace);
        for invoice in s.invoices.state() {
            if invoice.namespace() == home {
                t.invoices.reconcile(ObjectRef::from_obj(invoice.as_ref()));
            }
        }
    });
    // A statement stands in its tenant's home namespace, and waits for it.
    let (s, t) = (stores.clone(), triggers.clone());
    watches.namespaces.on_change(move |namespace| {
        let is_of = |label: &str| namespace.value()["metadata"]["labels"][label].is_string();
        if is_of(labels::TENANT) && !is_of(labels::WORKSPACE) {
            t.periods.reconcile_all(&s.periods);
        }
    });
    let t = triggers.clone();
    watches
        .statements
        .on_change(move |statement| t.periods.reconcile(key(None, &statement.name_any())));
}

fn is_issued(invoice: &Invoice) -> bool {
    let status = invoice.status.as_ref();
    status.is_some_and(|status| status.number.is_some())
}

/// A call for funds rests on its pool, and on the tariffs for whether its share bears VAT.
fn calls_in_draft(stores: &Stores, triggers: &Triggers) {
    for invoice in stores.invoices.state() {
        if invoice.spec.call.is_some() && !is_issued(&invoice) {
            triggers.invoices.reconcile(ObjectRef::from_obj(invoice.as_ref()));
        }
    }
}

/// The tenant that a batch job's namespace belongs to: `<tenant>--<workspace>`.
pub fn tenant_of(job: &BatchJob) -> String {
    let namespace = job.namespace().unwrap_or_default();
    namespace
        .split_once("--")
        .map_or(namespace.as_str(), |(tenant, _)| tenant)
        .to_owned()
}

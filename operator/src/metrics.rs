//! What /metrics shows. Names carry their unit; no label has a value that a tenant chooses without bound.

use crate::failure::Failure;
use kube::runtime::controller::Action;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::time::Duration;

/// Every metric of the operator.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    /// Objects that a controller was asked to look at and has not looked at since.
    pub reconciles_queued: IntGaugeVec,
    /// Reconciles under way.
    pub reconciles_running: IntGaugeVec,
    api_requests: IntCounterVec,
    /// Batch jobs by phase.
    pub batch_jobs: IntGaugeVec,
    /// Seconds that calls of a scheduler took, by call.
    pub scheduler_seconds: HistogramVec,
    /// Calls of a scheduler that failed, by call.
    pub scheduler_errors: IntCounterVec,
    /// Usage records taken into the ledger.
    pub ledger_records: IntCounter,
    /// Reports that went into quarantine.
    pub ledger_quarantined: IntCounter,
    /// Seconds between now and the moment up to which a source has reported everything.
    pub ledger_lag_seconds: IntGaugeVec,
    /// Runs that could not be taken, by source and cluster.
    pub ledger_unsettled: IntGaugeVec,
    /// Seconds that calls of Vault took, by call.
    pub vault_seconds: HistogramVec,
    /// Calls of Vault that failed, by call.
    pub vault_errors: IntCounterVec,
    /// Drift that was repaired, by kind.
    pub drift_repaired: IntCounterVec,
    /// Days until the last day of each tenant's convention; negative after it.
    convention_days_left: IntGaugeVec,
    /// 1 for each tenant that is suspended, 0 for the others.
    tenant_suspended: IntGaugeVec,
    /// Percent of a year's capacity that is set aside for economic use, and that is used by it.
    pub economic_use_percent: GaugeVec,
    /// Invoices and credit notes that were issued.
    pub invoices_issued: IntCounter,
    /// Invoices that are past their day and not paid.
    pub invoices_overdue: IntGauge,
    /// 1 while this process leads.
    pub leader: IntGauge,
}

impl Metrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// When two metrics have one name: a defect.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
                let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let histograms =
            |name: &str, help: &str, labels: &[&str]| -> Result<HistogramVec, prometheus::Error> {
                let buckets = vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];
                let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let economic_use_percent = GaugeVec::new(
            Opts::new(
                "mesocentre_economic_use_percent",
                "Percent of a year's capacity that is allocated to economic use, or used by it",
            ),
            &["year", "measure", "kind"],
        )?;
        registry.register(Box::new(economic_use_percent.clone()))?;
        let invoices_overdue = IntGauge::new(
            "mesocentre_invoices_overdue",
            "Invoices that are past their day and not paid",
        )?;
        registry.register(Box::new(invoices_overdue.clone()))?;
        let leader = IntGauge::new("mesocentre_leader", "1 while this process leads")?;
        registry.register(Box::new(leader.clone()))?;
        Ok(Self {
            reconciles: counters(
                "mesocentre_reconciles_total",
                "Reconciles by controller and outcome (done, conflict, failed)",
                &["controller", "outcome"],
            )?,
            reconcile_seconds: histograms(
                "mesocentre_reconcile_seconds",
                "Duration of reconciles",
                &["controller"],
            )?,
            reconciles_queued: gauges(
                "mesocentre_reconciles_queued",
                "Objects that a controller was asked to look at and has not looked at since",
                &["controller"],
            )?,
            reconciles_running: gauges(
                "mesocentre_reconciles_running",
                "Reconciles under way",
                &["controller"],
            )?,
            api_requests: counters(
                "mesocentre_api_requests_total",
                "Requests to the API server, by method and resource; a watch is one GET each time that it begins",
                &["method", "resource"],
            )?,
            batch_jobs: gauges("mesocentre_batch_jobs", "Batch jobs by phase", &["phase"])?,
            scheduler_seconds: histograms(
                "mesocentre_scheduler_call_seconds",
                "Duration of calls to a batch scheduler",
                &["scheduler", "call"],
            )?,
            scheduler_errors: counters(
                "mesocentre_scheduler_errors_total",
                "Calls to a batch scheduler that got no usable answer",
                &["scheduler", "call"],
            )?,
            ledger_records: counter(
                "mesocentre_ledger_records_total",
                "Usage records taken into the ledger",
            )?,
            ledger_quarantined: counter(
                "mesocentre_ledger_quarantined_total",
                "Reports that went into the ledger's quarantine",
            )?,
            ledger_lag_seconds: gauges(
                "mesocentre_ledger_lag_seconds",
                "Age of the moment up to which a source has reported everything",
                &["source", "cluster"],
            )?,
            ledger_unsettled: gauges(
                "mesocentre_ledger_unsettled",
                "Runs that a source told of and that cannot be taken into the ledger: they keep months open",
                &["source", "cluster"],
            )?,
            vault_seconds: histograms(
                "mesocentre_vault_call_seconds",
                "Duration of calls to Vault",
                &["call"],
            )?,
            vault_errors: counters(
                "mesocentre_vault_errors_total",
                "Calls to Vault that got no usable answer",
                &["call"],
            )?,
            drift_repaired: counters(
                "mesocentre_drift_repaired_total",
                "Objects that were not as planned and were set right",
                &["kind"],
            )?,
            convention_days_left: gauges(
                "mesocentre_convention_days_left",
                "Days until the last day of the tenant's convention; negative after it",
                &["tenant"],
            )?,
            tenant_suspended: gauges(
                "mesocentre_tenant_suspended",
                "1 when the tenant is suspended, else 0",
                &["tenant"],
            )?,
            economic_use_percent,
            invoices_overdue,
            invoices_issued: counter(
                "mesocentre_invoices_issued_total",
                "Invoices and credit notes that were issued",
            )?,
            leader,
            registry,
        })
    }

    /// How a tenant stands in time. Administrators name tenants, so there are as many as they make.
    pub fn tenant_in_time(&self, tenant: &str, days_left: i32, suspended: bool) {
        self.convention_days_left
            .with_label_values(&[tenant])
            .set(i64::from(days_left));
        self.tenant_suspended
            .with_label_values(&[tenant])
            .set(i64::from(suspended));
    }

    /// A tenant is gone.
    pub fn tenant_is_gone(&self, tenant: &str) {
        // One that was never shown need not be hidden.
        let _ = self.convention_days_left.remove_label_values(&[tenant]);
        let _ = self.tenant_suspended.remove_label_values(&[tenant]);
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, controller: &str, took: Duration, outcome: &Result<Action, Failure>) {
        let word = match outcome {
            Ok(_) => "done",
            Err(Failure::Conflict { .. }) => "conflict",
            Err(_) => "failed",
        };
        self.reconciles.with_label_values(&[controller, word]).inc();
        self.reconcile_seconds
            .with_label_values(&[controller])
            .observe(took.as_secs_f64());
    }

    /// Counts a request to the API server.
    pub fn requested(&self, method: &str, path: &str) {
        self.api_requests
            .with_label_values(&[method, resource_of(path)])
            .inc();
    }

    /// Everything, in Prometheus' text form, with the process's own memory.
    pub fn text(&self) -> String {
        let mut buffer = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut buffer) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        let mut text = String::from_utf8_lossy(&buffer).into_owned();
        if let Some(bytes) = resident_bytes() {
            text.push_str(&format!(
                "# HELP process_resident_memory_bytes Resident memory\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {bytes}\n"
            ));
        }
        text
    }
}

/// The resource that a path of the API server is about, without names and subresources: `/api/v1/…` and
/// `/apis/GROUP/VERSION/…`, then `namespaces/NAMESPACE/` where the resource is in one (Kubernetes API concepts).
fn resource_of(path: &str) -> &str {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let before = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return "other",
    };
    let rest: Vec<&str> = parts.skip(before).collect();
    match rest.as_slice() {
        ["namespaces", _, "status" | "finalize"] => "namespaces",
        ["namespaces", _, resource, ..] | [resource, ..] => resource,
        [] => "other",
    }
}

/// `VmRSS` of this process (proc(5)), in bytes.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::resource_of;

    #[test]
    fn a_request_is_counted_under_its_resource_and_under_no_name_that_a_tenant_chose() {
        for (path, resource) in [
            ("/api/v1/namespaces", "namespaces"),
            ("/api/v1/namespaces/univ-caen", "namespaces"),
            ("/api/v1/namespaces/univ-caen/finalize", "namespaces"),
            (
                "/api/v1/namespaces/univ-caen/resourcequotas/tenant/status",
                "resourcequotas",
            ),
            ("/apis/mesocentre.io/v1alpha1/tenants/univ-caen/status", "tenants"),
            (
                "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies",
                "networkpolicies",
            ),
            ("/version", "other"),
            ("/apis", "other"),
        ] {
            assert_eq!(resource_of(path), resource, "{path}");
        }
    }
}

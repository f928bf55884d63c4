//! The CRDs as YAML, one file a kind: what the chart carries.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Every CRD of this crate.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        crate::Allocation::crd(),
        crate::BatchJob::crd(),
        crate::BillingPeriod::crd(),
        crate::CoInvestment::crd(),
        crate::CostPool::crd(),
        crate::EconomicCeiling::crd(),
        crate::Invoice::crd(),
        crate::InvoiceDocument::crd(),
        crate::InvoiceSeries::crd(),
        crate::PeeringAgreement::crd(),
        crate::PerimeterReport::crd(),
        crate::PerimeterRules::crd(),
        crate::Scheduler::crd(),
        crate::Statement::crd(),
        crate::Tariff::crd(),
        crate::Tenant::crd(),
        crate::TrustPerimeter::crd(),
        crate::Workspace::crd(),
    ]
}

//! InvoiceDocument: an issued invoice as people and programs read it.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// An issued invoice's PDF and XML.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "InvoiceDocument",
    plural = "invoicedocuments",
    namespaced,
    doc = "The PDF and the XML of an issued invoice or credit note, in the tenant's home namespace for as long as its InvoiceSeries says. Written by the operator alone; read by the tenant's Owners and Billing, by meso invoice pdf.",
    derive = "PartialEq",
    printcolumn(name = "Number", type_ = "string", json_path = ".spec.number"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("an issued document does not change"))]
pub struct InvoiceDocumentSpec {
    /// The document's number.
    #[schemars(length(max = 35))]
    pub number: String,
    /// PDF/A-3 with the XML inside (Factur-X), in base64; of a call for funds without VAT without one.
    #[schemars(schema_with = "bytes")]
    pub pdf: String,
    /// EN 16931 in the syntax CII; a call for funds without VAT, which is no invoice, has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml: Option<String>,
}

fn bytes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "format": "byte"})
}

//! InvoiceSeries: who sells, how invoices are numbered, paid and delivered.

use crate::{Condition, PostalAddress};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A series of invoices.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "InvoiceSeries",
    plural = "invoiceseries",
    category = "meso",
    status = "InvoiceSeriesStatus",
    doc = "A series of invoices: who sells, how invoices are numbered, paid and delivered. What was issued stays as it was issued, whatever is changed here. Written by administrators.",
    derive = "PartialEq",
    printcolumn(name = "Series", type_ = "string", json_path = ".spec.series"),
    printcolumn(name = "Seller", type_ = "string", json_path = ".spec.seller.name"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.callSeries) || (self.callSeries != self.series && (!has(self.creditSeries) || self.callSeries != self.creditSeries))").message("calls for funds are no invoices, and have numbers of their own: write a callSeries that is neither series nor creditSeries"))]
pub struct InvoiceSeriesSpec {
    /// What its numbers begin with: F2026 gives F2026-000001, F2026-000002 ... without a gap (CGI, ann. 2, art. 242 nonies A, I, 7°).
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z0-9]([A-Z0-9-]*[A-Z0-9])?$')").message("write capitals and digits, with dashes between them, for example F2026"), validation = Rule::new("self == oldSelf").message("a series does not change its numbers: make another InvoiceSeries"))]
    pub series: String,
    /// What the numbers of credit notes begin with; the same series when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z0-9]([A-Z0-9-]*[A-Z0-9])?$')").message("write capitals and digits, with dashes between them, for example A2026"))]
    pub credit_series: Option<String>,
    /// What the numbers of calls for funds begin with: a series of their own, since they are no invoices. Without it none is
    /// issued. Calls whose shares bear VAT are prepayment invoices, with numbers of the series of invoices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z0-9]([A-Z0-9-]*[A-Z0-9])?$')").message("write capitals and digits, with dashes between them, for example AF2026"))]
    pub call_series: Option<String>,
    /// Who issues the invoices.
    pub seller: InvoiceSeller,
    /// Days from issue until payment is due: at most 60 for a business, 30 for a public buyer, 50 for a public health
    /// establishment.
    #[serde(default = "thirty")]
    #[schemars(range(min = 0, max = 60))]
    pub payment_days: i64,
    /// The article of the code général des impôts by which lines without VAT bear none. Without it such lines are not invoiced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<VatExemption>,
    /// Folder below the operator's MESO_INVOICE_FOLDER, or in its MESO_INVOICE_BUCKET, that PDF and XML are written to; the object's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("write one folder's name, in lower-case letters, digits and hyphens, for example factures-2026"))]
    pub folder: Option<String>,
    /// For how many days after its issue a document stands in the tenant's home namespace, for meso invoice pdf. In the
    /// folder and in the ledger it stays.
    #[serde(default = "ninety")]
    #[schemars(range(min = 0, max = 3650))]
    pub document_days: i64,
}

fn thirty() -> i64 {
    30
}

fn ninety() -> i64 {
    90
}

/// Who issues invoices.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceSeller {
    /// Registered name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Legal form and what must stand with it, for example GIP, or SAS au capital de 10 000 €, RCS Caen (code de commerce,
    /// R123-237).
    #[schemars(length(min = 1, max = 200))]
    pub legal_form: String,
    /// SIRET of the establishment that sells: 14 digits.
    #[schemars(length(max = 14))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{14}$')").message("write the 14 digits of the SIRET number without spaces, in quotes"))]
    pub siret: String,
    /// VAT number, for example FR75130000003.
    #[schemars(length(min = 13, max = 13))]
    pub vat_number: String,
    /// Registered address.
    pub address: PostalAddress,
    /// Where messages about invoices are received.
    pub electronic_address: InvoiceAddress,
    /// The account to pay to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<InvoiceAccount>,
}

/// Where electronic invoices, or answers to them, go.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.directory) != has(self.email)").message("name one: write directory for an address of the French directory of electronic invoicing, or email"))]
pub struct InvoiceAddress {
    /// An address of the French directory of electronic invoicing: the SIREN, or the SIREN and what follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 125))]
    pub directory: Option<String>,
    /// An address for mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 125))]
    pub email: Option<String>,
}

/// A bank account.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceAccount {
    /// IBAN.
    #[schemars(length(min = 15, max = 42))]
    pub iban: String,
    /// BIC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 11))]
    pub bic: Option<String>,
}

/// Why a service bears no VAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VatExemption {
    /// Services of a group to its members, at cost (CGI, art. 261 B).
    Cgi261B,
    /// Teaching (CGI, art. 261, 4, 4°).
    Cgi261Teaching,
}

/// What the operator knows of the series.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceSeriesStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

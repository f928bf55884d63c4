//! Invoice: a month of a tenant, from draft to paid; a credit note on one; or a call for funds ahead.

use crate::{Condition, Currency};
use jiff::civil::Date;
use kube::{CustomResource, KubeSchema};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A month of a tenant as an invoice, a credit note, or a call for funds.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "Invoice",
    plural = "invoices",
    category = "meso",
    namespaced,
    status = "InvoiceStatus",
    doc = "A closed month of a tenant as an invoice, in its home namespace, a credit note on one, or a call for funds of a cost pool ahead, which is a prepayment invoice where its shares bear VAT. A draft until issue: true; then it has its number and nothing of it changes, here or in the ledger, which keeps it. Written by administrators, read by the tenant's Owners and Billing.",
    derive = "PartialEq",
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind"),
    printcolumn(name = "Number", type_ = "string", json_path = ".status.number"),
    printcolumn(name = "Month", type_ = "string", json_path = ".status.month"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Gross", type_ = "string", json_path = ".status.gross"),
    printcolumn(name = "Due", type_ = "string", json_path = ".status.due"),
    printcolumn(name = "Due-on", type_ = "string", json_path = ".status.dueOn"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    // At the root, where a rule sees the status: until it has its number, whoever wrote it may mend it.
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.number) || (self.spec.issue && self.spec.series == oldSelf.spec.series && has(self.spec.month) == has(oldSelf.spec.month) && (!has(self.spec.month) || self.spec.month == oldSelf.spec.month) && has(self.spec.replaces) == has(oldSelf.spec.replaces) && (!has(self.spec.replaces) || self.spec.replaces == oldSelf.spec.replaces) && has(self.spec.credits) == has(oldSelf.spec.credits) && (!has(self.spec.credits) || self.spec.credits == oldSelf.spec.credits) && has(self.spec.call) == has(oldSelf.spec.call) && (!has(self.spec.call) || self.spec.call == oldSelf.spec.call))").message("what was issued does not change: credit it by another Invoice with credits, and issue one that replaces it").field_path(".spec")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.month), has(self.credits), has(self.call)].filter(x, x).size() == 1").message("an invoice bills a month, a credit note takes back what was billed, a call for funds asks ahead: write one of month, credits and call"))]
#[x_kube(validation = Rule::new("!has(self.credits) || (!has(self.replaces) && (!has(self.payments) || self.payments.size() == 0))").message("a credit note neither replaces an invoice nor is paid: write replaces and payments on invoices"))]
#[x_kube(validation = Rule::new("!has(oldSelf.payments) || oldSelf.payments.size() == 0 || (has(self.payments) && oldSelf.payments.all(p, self.payments.exists(q, q == p)))").message("a payment that was recorded stays: take it back by another one below zero, with a reference of its own"))]
pub struct InvoiceSpec {
    /// The InvoiceSeries that it is issued in.
    #[schemars(length(min = 1, max = 63))]
    pub series: String,
    /// The month that it bills, for example 2026-11; it must be closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7))]
    #[x_kube(validation = Rule::new("self.matches('^20[0-9]{2}-(0[1-9]|1[0-2])$')").message("write the month as year and month, for example 2026-11"))]
    pub month: Option<String>,
    /// true issues it: the number is taken, and nothing of it changes any more. Until then it is a draft.
    #[serde(default)]
    pub issue: bool,
    /// The Invoice of the same month or call that this one takes the place of, by its name here; it must have been credited
    /// whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub replaces: Option<String>,
    /// Makes it a credit note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<InvoiceCredit>,
    /// Makes it a call for funds; a prepayment invoice where the shares bear VAT by the tariff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<FundsCall>,
    /// What was paid on it, one entry a payment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(validation = Rule::new("self.all(p, self.exists_one(q, q.reference == p.reference))").message("each payment has a reference of its own"))]
    pub payments: Vec<InvoicePayment>,
}

/// What a credit note takes back, and why.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceCredit {
    /// The Invoice, by its name here.
    #[schemars(length(min = 1, max = 63))]
    pub invoice: String,
    /// Why: stands on the credit note.
    #[schemars(length(min = 3, max = 300))]
    pub reason: String,
    /// Which lines, and how much of each; none named takes back all that is left of the invoice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub lines: Vec<InvoiceCreditLine>,
}

/// What a call for funds asks for: the tenant's foreseen share of a cost pool in months to come.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from <= self.until").message("the call ends before it begins: write an until that is not before from"))]
pub struct FundsCall {
    /// The CostPool.
    #[schemars(length(min = 1, max = 63))]
    pub cost_pool: String,
    /// The first month, for example 2027-01.
    #[schemars(length(max = 7))]
    #[x_kube(validation = Rule::new("self.matches('^20[0-9]{2}-(0[1-9]|1[0-2])$')").message("write the month as year and month, for example 2027-01"))]
    pub from: String,
    /// The last month, for example 2027-03.
    #[schemars(length(max = 7))]
    #[x_kube(validation = Rule::new("self.matches('^20[0-9]{2}-(0[1-9]|1[0-2])$')").message("write the month as year and month, for example 2027-03"))]
    pub until: String,
}

/// How much of a line is taken back.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceCreditLine {
    /// The line's number on the invoice.
    #[schemars(range(min = 1, max = 100000))]
    pub line: i64,
    /// Amount without VAT, of the line's own sign.
    #[schemars(schema_with = "crate::schema::money")]
    pub amount: Decimal,
}

/// A payment.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoicePayment {
    /// The bank's or the accounts' reference.
    #[schemars(length(min = 1, max = 100))]
    pub reference: String,
    /// How much; below zero for what was paid back.
    #[schemars(schema_with = "crate::schema::money")]
    pub amount: Decimal,
    /// When.
    #[schemars(schema_with = "crate::schema::date")]
    pub paid_on: Date,
}

/// How far an invoice has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InvoicePhase {
    /// Worked out, and nothing kept of it.
    #[default]
    Draft,
    /// It has its number.
    Issued,
    /// Something of it is paid.
    PartlyPaid,
    /// Nothing of it is due.
    Paid,
    /// Taken back whole.
    Credited,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InvoiceKind {
    /// An invoice (type 380).
    Invoice,
    /// A credit note (type 381): on an invoice, a prepayment invoice, a call for funds, or over a month that comes to less than nothing.
    CreditNote,
    /// A call for funds, which is no invoice.
    Call,
    /// A call for funds whose shares bear VAT: a prepayment invoice (type 386).
    Prepayment,
}

/// What the operator knows of the invoice, out of the ledger. Amounts are in the currency, with two decimals.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far it has come.
    #[serde(default)]
    pub phase: InvoicePhase,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<InvoiceKind>,
    /// Its number, once it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The number of the document that it corrects, of a credit note; several with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    /// The month that is billed, or the first that is called for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
    /// The last month that is called for, of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Day of its issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_date")]
    pub issued_on: Option<Date>,
    /// Day until which it is to be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_date")]
    pub due_on: Option<Date>,
    /// Currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// Without VAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<String>,
    /// VAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vat: Option<String>,
    /// With VAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross: Option<String>,
    /// What the tenant had paid in advance, on calls for funds and prepayment invoices, and is taken off; with VAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advances: Option<String>,
    /// What credit notes took back, with VAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credited: Option<String>,
    /// What was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<String>,
    /// What is still to be paid; below zero where something is to be paid back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// The InvoiceDocument with its PDF and XML, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The files that it was delivered as.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<DeliveredFile>,
    /// Conditions: Ready, Delivered, Overdue.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A file that a document was delivered as.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredFile {
    /// Below the operator's MESO_INVOICE_FOLDER; or the key in its MESO_INVOICE_BUCKET.
    pub path: String,
    /// SHA-256 of what was written.
    pub sha256: String,
}

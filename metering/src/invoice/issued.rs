//! What was issued: a document with its number and its date.

use super::document::{Purpose, ValidInvoice};
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// A series of numbers without a gap: `F2026` gives `F2026-000001`, `F2026-000002` …
///
/// There may be several, for example one a year or one a kind of buyer (CGI, ann. 2, art. 242 nonies A, I, 7°; BOI-TVA-DECLA-30-20-20-10).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Series(String);

/// Not a series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no series of invoices: write 1 to 20 capitals and digits, with dashes between them, for example F2026"
)]
pub struct SeriesError {
    /// What was written.
    pub text: String,
}

impl Series {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number of it, at most 35 characters (BR-FR-01).
    pub(crate) fn number(&self, seq: i64) -> InvoiceNumber {
        InvoiceNumber(format!("{}-{seq:06}", self.0))
    }
}

impl std::str::FromStr for Series {
    type Err = SeriesError;

    fn from_str(text: &str) -> Result<Self, SeriesError> {
        let fits = (1..=20).contains(&text.len())
            && text
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        fits.then(|| Self(text.to_owned())).ok_or_else(|| SeriesError {
            text: text.to_owned(),
        })
    }
}

impl TryFrom<String> for Series {
    type Error = SeriesError;

    fn try_from(text: String) -> Result<Self, SeriesError> {
        text.parse()
    }
}

impl From<Series> for String {
    fn from(series: Series) -> Self {
        series.0
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of an issued document (BT-1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InvoiceNumber(pub String);

impl std::fmt::Display for InvoiceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document that was issued: its number was taken by it and by nothing else, and nothing of it changes any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedInvoice {
    number: InvoiceNumber,
    issued_on: Date,
    document: ValidInvoice,
}

impl IssuedInvoice {
    /// Only the ledger gives numbers; the tests of documents have no ledger.
    pub(crate) fn new(number: InvoiceNumber, issued_on: Date, document: ValidInvoice) -> Self {
        Self {
            number,
            issued_on,
            document,
        }
    }

    /// Its number.
    pub fn number(&self) -> &InvoiceNumber {
        &self.number
    }

    /// The day of its issue (BT-2), in the datacentre's zone.
    pub fn issued_on(&self) -> Date {
        self.issued_on
    }

    /// The day until which it is to be paid (BT-9); what gives back has none.
    pub fn due_on(&self) -> Option<Date> {
        match self.document.purpose() {
            Purpose::Invoice { .. } | Purpose::Call { .. } | Purpose::Prepayment { .. } => self
                .issued_on
                .checked_add(i64::from(self.document.payment_days()).days())
                .ok(),
            Purpose::CreditNote { .. } | Purpose::MonthCredit { .. } => None,
        }
    }

    /// What it says.
    pub fn document(&self) -> &ValidInvoice {
        &self.document
    }
}

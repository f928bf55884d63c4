//! Invoices and credit notes that a French accountant accepts, out of final statements. Pure.
//!
//! ```text
//!  final statement ─┐
//!  seller, buyer ───┼─ draft ──► ValidInvoice ──► ledger.issue ──► IssuedInvoice ─┬─ cii ──► XML (EN 16931)
//!  terms ───────────┘               ▲              (the number)      │            └─ page ─► PDF/A-3, the XML inside
//!                                   └────────────── credit ◄─────────┘
//!  cost pool, months ─ call_for_funds ─► ValidInvoice ─► … ─► page ─► PDF/A; with VAT as an invoice
//! ```
//!
//! An invoice (type 380) says what its statement says, to the cent. A credit note (type 381) names the invoice that it
//! corrects and never takes more than is left of it; a month below nothing is one, too. A call for funds is no invoice, or a
//! prepayment invoice (type 386) where its shares bear VAT: what is paid on it is set against invoices that follow
//! ([`Account`]). Nothing is rounded here but the VAT of a credit note and of an advance, whose parts sum to the VAT of their
//! invoice.
//!
//! The rules: EN 16931-1 (`BT-…`, `BG-…` are its terms), its syntax in UN/CEFACT CII as Factur-X 1.0 profiles it, and
//! the French ones (`BR-FR-…`, AFNOR XP Z12-012). Knows no database and no Kubernetes; numbers come from the
//! [ledger](crate::ledger). Who is to be billed, and when, is decided by whoever calls.

mod account;
mod call;
mod cii;
mod credit;
mod document;
mod draft;
mod fault;
mod identity;
mod issued;
mod line;
mod mentions;
mod page;
mod party;

pub use account::{Account, Advance, BilledMonth, Cited, TaxedAdvance};
pub use call::{Called, call_for_funds};
pub use cii::{XmlError, render_xml};
pub(crate) use credit::numbers;
pub use credit::{Credit, CreditedLine, credit};
pub use document::{Ahead, Exemption, Purpose, Sums, Terms, ValidInvoice, VatCategory, VatSum};
pub use draft::draft;
pub(crate) use draft::statement_digest;
pub use fault::Fault;
pub use issued::{InvoiceNumber, IssuedInvoice, Series, SeriesError};
pub use line::{InvoiceLine, Quantity, Unit};
pub use page::{PdfError, render_pdf};
pub use party::{Address, BankAccount, Buyer, BuyerKind, ElectronicAddress, Seller};

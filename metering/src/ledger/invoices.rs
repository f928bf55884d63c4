//! Issuing: a number is taken in the transaction that stores the document, or not at all.
//!
//! ```text
//!  draft ─► issue ─► invoice (series, seq) ─┬─ credit notes on it   rows of the same table      append-only
//!                                           └─ invoice_payment      what was paid              append-only
//! ```
//!
//! Who issues a draft again, after a crash or beside somebody else, is given what was issued: a month of a tenant is
//! invoiced once, whatever the series. What an invoice stands at (paid, credited, due) is no field of it: it is
//! computed from the rows that came after it. Calls for funds and prepayment invoices are documents of the same table: what is
//! paid on one is set against invoices of its tenant that are issued later, never twice.

use super::database::{DatabaseError, Session, Stored, query};
use super::head_file::{AnchoredIssue, HeadFile};
use super::{Ledger, LedgerError};
use crate::calendar::BillingMonth;
use crate::digest::{Digest, canonical_json};
use crate::invoice::{
    Account, InvoiceNumber, IssuedInvoice, Purpose, Series, ValidInvoice, numbers, statement_digest,
};
use crate::money::Cents;
use crate::statement::MonthDocument;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why a document is not issued, or a payment not recorded.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The month is open.
    #[error("{month} is not closed in this ledger, and only a closed month is invoiced: close it first")]
    NotClosed {
        /// The month.
        month: BillingMonth,
    },
    /// The statement is another.
    #[error(
        "the draft for {tenant} rests on another statement than the ledger keeps for {month}: draft it again from the closed month"
    )]
    NotTheStatement {
        /// The tenant.
        tenant: String,
        /// The month.
        month: BillingMonth,
    },
    /// It was invoiced otherwise.
    #[error(
        "{month} of {tenant} was invoiced as {number}, with other parties or terms: credit {number} whole, and draft another one that replaces it"
    )]
    Invoiced {
        /// The tenant.
        tenant: String,
        /// The month.
        month: BillingMonth,
        /// The invoice.
        number: InvoiceNumber,
    },
    /// What is replaced still stands.
    #[error("{number} cannot be replaced: {why}")]
    NotReplaceable {
        /// The invoice.
        number: InvoiceNumber,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A month of a pool is called already.
    #[error(
        "{tenant} was called for funds of {pool} for some of these months as {number}: call others, or credit {number} whole and name it in replaces"
    )]
    Called {
        /// The tenant.
        tenant: String,
        /// The pool.
        pool: String,
        /// The call.
        number: InvoiceNumber,
    },
    /// Something was paid in advance since.
    #[error(
        "what {tenant} paid in advance, or what was set against invoices of it, changed since this was drafted: draft it again"
    )]
    AdvancesChanged {
        /// The tenant.
        tenant: String,
    },
    /// What was set against invoices would be credited.
    #[error(
        "{used} of what was paid on {number} was set against invoices, and a credit note leaves as much of it: credit lines and amounts, at most {left} with VAT"
    )]
    SetOff {
        /// The call or prepayment invoice.
        number: InvoiceNumber,
        /// What was set off.
        used: Cents,
        /// What is left to be credited.
        left: Cents,
    },
    /// Another credit note came first.
    #[error(
        "another credit note on {number} was issued since this one was drafted: draft it again from what is left"
    )]
    CreditedMeanwhile {
        /// The invoice.
        number: InvoiceNumber,
    },
    /// There is no such document.
    #[error("the ledger holds no invoice {number}: name one that was issued, for example F2026-000001")]
    Unknown {
        /// The number.
        number: InvoiceNumber,
    },
    /// Paid was something else than an invoice or a call.
    #[error(
        "{number} is a credit note on another document, and payments are recorded on that one: record what was paid back on what it corrects, below zero"
    )]
    NotAnInvoice {
        /// The number.
        number: InvoiceNumber,
    },
    /// It would stand before an earlier one.
    #[error(
        "the series {series} has a document of {last}, and one of {asked} cannot follow it: numbers follow the days of issue; write {last} or a later day"
    )]
    OutOfOrder {
        /// The series.
        series: Series,
        /// The last day.
        last: String,
        /// The day that was asked for.
        asked: Date,
    },
    /// The same reference with another amount.
    #[error(
        "the payment {reference:?} on {number} is recorded with another amount or day: give each payment a reference of its own"
    )]
    OtherPayment {
        /// The invoice.
        number: InvoiceNumber,
        /// The reference.
        reference: String,
    },
}

/// Something that was paid on an invoice, or paid back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The bank's or the accounts' reference, one for each payment.
    pub reference: String,
    /// How much; below zero for what was paid back.
    pub amount: Cents,
    /// When.
    pub paid_on: Date,
}

/// Where an invoice or a call for funds stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it came to, with VAT; below zero where it gives back.
    pub gross: Cents,
    /// What of that was paid in advance.
    pub advances: Cents,
    /// What credit notes took back, with VAT.
    pub credited: Cents,
    /// What was paid.
    pub paid: Cents,
}

impl Standing {
    /// What is still to be paid; below zero where something is to be paid back.
    pub fn due(&self) -> Cents {
        self.gross - self.advances - self.credited - self.paid
    }
}

const ISSUING: &str = "issuing an invoice in";
const READING: &str = "reading the invoices of";

impl Ledger {
    /// Issues a draft: stores it with the next number of its series. The same draft again is given what was issued.
    ///
    /// # Errors
    /// [`IssueError`]; then nothing was written, and no number taken.
    pub async fn issue(
        &self,
        series: &Series,
        draft: &ValidInvoice,
        issued_on: Date,
    ) -> Result<IssuedInvoice, IssueError> {
        let digest = draft.digest().map_err(no_form)?;
        let claim = claim(draft)?;
        let mut tx = self.database.write().await.map_err(self.failed(ISSUING))?;
        self.check_anchor(&mut tx).await?;
        if let Some(there) = self.invoice_by(&mut tx, "claim", &claim).await? {
            let same = draft.is_again(there.document());
            let anchor = HeadFile::of(&mut tx).await.map_err(self.failed(ISSUING))?;
            tx.rollback().await.map_err(self.failed(ISSUING))?;
            // Who issued it may have been killed before this.
            self.anchor(anchor).await?;
            return match draft.purpose() {
                _ if same => Ok(there),
                Purpose::Invoice { .. } | Purpose::MonthCredit { .. } => Err(IssueError::Invoiced {
                    tenant: draft.tenant().to_owned(),
                    month: draft.month(),
                    number: there.number().clone(),
                }),
                Purpose::Call { cost_pool, .. } | Purpose::Prepayment { cost_pool, .. } => {
                    Err(IssueError::Called {
                        tenant: draft.tenant().to_owned(),
                        pool: cost_pool.clone(),
                        number: there.number().clone(),
                    })
                }
                Purpose::CreditNote { corrects, .. } => Err(IssueError::CreditedMeanwhile {
                    number: corrects.clone(),
                }),
            };
        }
        match draft.purpose() {
            Purpose::Invoice { replaces } => {
                self.check_statement(&mut tx, draft).await?;
                if let Some(number) = replaces {
                    self.check_replaceable(&mut tx, number, draft).await?;
                }
                let account = self.account_in(&mut tx, draft.tenant()).await?;
                if account.advances_on(draft.vat()) != draft.advances() {
                    return Err(IssueError::AdvancesChanged {
                        tenant: draft.tenant().to_owned(),
                    });
                }
            }
            Purpose::MonthCredit { corrects } => {
                self.check_statement(&mut tx, draft).await?;
                for cited in corrects {
                    if self
                        .invoice_by(&mut tx, "number", &cited.number.0)
                        .await?
                        .is_none()
                    {
                        return Err(IssueError::Unknown {
                            number: cited.number.clone(),
                        });
                    }
                }
            }
            Purpose::Call {
                cost_pool, replaces, ..
            }
            | Purpose::Prepayment {
                cost_pool, replaces, ..
            } => {
                if let Some(number) = replaces {
                    self.check_replaceable(&mut tx, number, draft).await?;
                }
                self.check_not_called(&mut tx, cost_pool, draft).await?;
            }
            Purpose::CreditNote { corrects, after, .. } => {
                let Some(known) = self.invoice_by(&mut tx, "number", &corrects.0).await? else {
                    return Err(IssueError::Unknown {
                        number: corrects.clone(),
                    });
                };
                let credits = self.credits_on(&mut tx, corrects).await?;
                if numbers(&credits) != *after {
                    return Err(IssueError::CreditedMeanwhile {
                        number: corrects.clone(),
                    });
                }
                if known.document().purpose().called().is_some() {
                    let left = known.document().sums().gross - gross_of(&credits);
                    self.check_not_set_off(&mut tx, corrects, left, draft).await?;
                }
            }
        }
        let last = query("SELECT seq, issued_on FROM invoice WHERE series = ? ORDER BY seq DESC LIMIT 1")
            .bind(series.as_str())
            .row(&mut tx)
            .await
            .map_err(self.failed(ISSUING))?;
        let (seq, day): (i64, String) = match &last {
            None => (0, String::new()),
            Some(row) => row
                .get(0)
                .and_then(|seq| Ok((seq, row.get(1)?)))
                .map_err(self.failed(ISSUING))?,
        };
        if issued_on.to_string() < day {
            return Err(IssueError::OutOfOrder {
                series: series.clone(),
                last: day,
                asked: issued_on,
            });
        }
        let before = last_anchor(&mut tx)
            .await
            .map_err(self.failed(ISSUING))?
            .unwrap_or(AnchoredIssue {
                place: 0,
                hash: Digest::ZERO,
            });
        let issued = IssuedInvoice::new(series.number(seq + 1), issued_on, draft.clone());
        let document = canonical_json(&issued).map_err(no_form)?;
        // Of a month below nothing, what it gives back is in no invoice's own account.
        let corrects = match draft.purpose() {
            Purpose::CreditNote { corrects, .. } => Some(corrects.0.as_str()),
            Purpose::Invoice { .. }
            | Purpose::MonthCredit { .. }
            | Purpose::Call { .. }
            | Purpose::Prepayment { .. } => None,
        };
        query(
            "INSERT INTO invoice \
             (place, series, seq, number, claim, tenant, month, corrects, issued_on, draft, document, hash) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(before.place + 1)
        .bind(series.as_str())
        .bind(seq + 1)
        .bind(issued.number().0.as_str())
        .bind(claim)
        .bind(draft.tenant())
        .bind(draft.month().to_string())
        .bind(corrects)
        .bind(issued_on.to_string())
        .bind(&digest.0[..])
        .bind(document.as_slice())
        .bind(&Digest::of(&[&before.hash.0, &document]).0[..])
        .execute(&mut tx)
        .await
        .map_err(self.failed(ISSUING))?;
        self.commit(tx, ISSUING).await?;
        Ok(issued)
    }

    /// An issued document; none when there is no such number.
    ///
    /// # Errors
    /// [`LedgerError`], when it cannot be read or was changed.
    pub async fn invoice(&self, number: &InvoiceNumber) -> Result<Option<IssuedInvoice>, LedgerError> {
        let mut reading = self.reading(READING).await?;
        self.invoice_by(&mut reading, "number", &number.0).await
    }

    /// What was issued to a tenant for a month, credit notes too, in the order of issue.
    ///
    /// # Errors
    /// [`LedgerError`], when they cannot be read or were changed.
    pub async fn invoices_of(
        &self,
        tenant: &str,
        month: BillingMonth,
    ) -> Result<Vec<IssuedInvoice>, LedgerError> {
        let mut reading = self.reading(READING).await?;
        let rows = query(
            "SELECT number, draft, document FROM invoice WHERE tenant = ? AND month = ? ORDER BY place",
        )
        .bind(tenant)
        .bind(month.to_string())
        .rows(&mut reading)
        .await
        .map_err(self.failed(READING))?;
        rows.iter().map(|row| self.read_invoice(row)).collect()
    }

    /// What a tenant was billed and paid so far.
    ///
    /// # Errors
    /// [`LedgerError`], when it cannot be read or was changed.
    pub async fn account_of(&self, tenant: &str) -> Result<Account, LedgerError> {
        let mut reading = self.reading(READING).await?;
        self.account_in(&mut reading, tenant).await
    }

    async fn account_in(&self, session: &mut Session, tenant: &str) -> Result<Account, LedgerError> {
        let documents = self.documents_of(session, tenant).await?;
        let rows = query(
            "SELECT p.number, p.cents FROM invoice_payment p JOIN invoice i ON i.number = p.number WHERE i.tenant = ?",
        )
        .bind(tenant)
        .rows(session)
        .await
        .map_err(self.failed(READING))?;
        let mut paid: BTreeMap<InvoiceNumber, Cents> = BTreeMap::new();
        for row in &rows {
            let (number, cents): (String, String) = row
                .get(0)
                .and_then(|number| Ok((number, row.get(1)?)))
                .map_err(self.failed(READING))?;
            let cents = self.cents_paid(&number, &cents)?;
            let of_number = paid.entry(InvoiceNumber(number)).or_default();
            *of_number = *of_number + cents;
        }
        Ok(Account::of(&documents, &paid))
    }

    /// All documents of a tenant, in the order of issue.
    async fn documents_of(
        &self,
        session: &mut Session,
        tenant: &str,
    ) -> Result<Vec<IssuedInvoice>, LedgerError> {
        let rows = query("SELECT number, draft, document FROM invoice WHERE tenant = ? ORDER BY place")
            .bind(tenant)
            .rows(session)
            .await
            .map_err(self.failed(READING))?;
        rows.iter().map(|row| self.read_invoice(row)).collect()
    }

    fn cents_paid(&self, number: &str, cents: &str) -> Result<Cents, LedgerError> {
        cents
            .parse()
            .map(Cents)
            .map_err(|_| self.unreadable(number, format!("a payment on it is {cents:?} cents")))
    }

    /// The credit notes on an invoice, in the order of issue.
    ///
    /// # Errors
    /// [`LedgerError`], when they cannot be read or were changed.
    pub async fn credit_notes_on(&self, number: &InvoiceNumber) -> Result<Vec<IssuedInvoice>, LedgerError> {
        let mut reading = self.reading(READING).await?;
        self.credits_on(&mut reading, number).await
    }

    /// Records a payment on an invoice, once for each reference.
    ///
    /// # Errors
    /// [`IssueError`], when there is no such invoice, or another payment with that reference.
    pub async fn record_payment(&self, number: &InvoiceNumber, payment: &Payment) -> Result<(), IssueError> {
        let doing = "recording a payment in";
        let mut tx = self.database.write().await.map_err(self.failed(doing))?;
        let number = number.clone();
        match self.invoice_by(&mut tx, "number", &number.0).await? {
            None => return Err(IssueError::Unknown { number }),
            Some(there) if !is_paid(&there) => return Err(IssueError::NotAnInvoice { number }),
            Some(_) => {}
        }
        let (cents, day) = (payment.amount.0.to_string(), payment.paid_on.to_string());
        let there = query("SELECT cents, paid_on FROM invoice_payment WHERE number = ? AND reference = ?")
            .bind(number.0.as_str())
            .bind(payment.reference.as_str())
            .row(&mut tx)
            .await
            .map_err(self.failed(doing))?;
        if let Some(row) = there {
            let there: (String, String) = row
                .get(0)
                .and_then(|cents| Ok((cents, row.get(1)?)))
                .map_err(self.failed(doing))?;
            if there == (cents, day) {
                return Ok(());
            }
            return Err(IssueError::OtherPayment {
                number,
                reference: payment.reference.clone(),
            });
        }
        query("INSERT INTO invoice_payment (number, reference, cents, paid_on) VALUES (?, ?, ?, ?)")
            .bind(number.0.as_str())
            .bind(payment.reference.as_str())
            .bind(cents)
            .bind(day)
            .execute(&mut tx)
            .await
            .map_err(self.failed(doing))?;
        tx.commit().await.map_err(self.failed(doing))?;
        Ok(())
    }

    /// Where an invoice stands; none when there is no invoice of that number.
    ///
    /// # Errors
    /// [`LedgerError`], when it cannot be read or was changed.
    pub async fn standing(&self, number: &InvoiceNumber) -> Result<Option<Standing>, LedgerError> {
        let mut reading = self.reading(READING).await?;
        let found = self.invoice_by(&mut reading, "number", &number.0).await?;
        let Some(invoice) = found.filter(is_paid) else {
            return Ok(None);
        };
        let credits = self.credits_on(&mut reading, number).await?;
        let payments: Vec<String> = query("SELECT cents FROM invoice_payment WHERE number = ?")
            .bind(number.0.as_str())
            .values(&mut reading)
            .await
            .map_err(self.failed(READING))?;
        let mut paid = Cents::default();
        for cents in payments {
            paid = paid + self.cents_paid(&number.0, &cents)?;
        }
        Ok(Some(Standing {
            gross: invoice.document().owed(),
            advances: invoice.document().prepaid(),
            credited: gross_of(&credits),
            paid,
        }))
    }

    /// Refuses a ledger that does not hold the document that the file beside it says was issued last.
    pub(super) async fn check_issued(
        &self,
        session: &mut Session,
        issue: AnchoredIssue,
        anchor: PathBuf,
    ) -> Result<(), LedgerError> {
        let hash: Option<Vec<u8>> = query("SELECT hash FROM invoice WHERE place = ?")
            .bind(issue.place)
            .value(session)
            .await
            .map_err(self.failed(READING))?;
        if hash.as_deref() == Some(&issue.hash.0[..]) {
            return Ok(());
        }
        Err(LedgerError::NotWhatWasIssued {
            ledger: self.url.clone(),
            anchor,
            place: issue.place,
        })
    }

    /// The statement that the draft rests on must be the one that the closed month keeps.
    async fn check_statement(&self, tx: &mut Session, draft: &ValidInvoice) -> Result<(), IssueError> {
        let month = draft.month();
        let bytes: Option<Vec<u8>> = query("SELECT statements FROM closed_month WHERE month = ?")
            .bind(month.to_string())
            .value(tx)
            .await
            .map_err(self.failed(ISSUING))?;
        let bytes = bytes.ok_or(IssueError::NotClosed { month })?;
        let closed: MonthDocument =
            serde_json::from_slice(&bytes).map_err(|e| LedgerError::UnreadableMonth {
                ledger: self.url.clone(),
                month: month.to_string(),
                what: e.to_string(),
            })?;
        let kept = closed
            .statements
            .iter()
            .find(|kept| kept.tenant == draft.tenant());
        let kept = kept.map(statement_digest).transpose().map_err(no_form)?;
        if kept == Some(draft.statement()) {
            return Ok(());
        }
        Err(IssueError::NotTheStatement {
            tenant: draft.tenant().to_owned(),
            month,
        })
    }

    async fn check_replaceable(
        &self,
        tx: &mut Session,
        number: &InvoiceNumber,
        draft: &ValidInvoice,
    ) -> Result<(), IssueError> {
        let replaced = self.invoice_by(tx, "number", &number.0).await?;
        let replaced = replaced.ok_or_else(|| IssueError::Unknown {
            number: number.clone(),
        })?;
        let not = |why| {
            Err(IssueError::NotReplaceable {
                number: number.clone(),
                why,
            })
        };
        let document = replaced.document();
        let is_alike = match (document.purpose(), draft.purpose()) {
            (before @ Purpose::Call { .. }, after @ Purpose::Call { .. })
            | (before @ Purpose::Prepayment { .. }, after @ Purpose::Prepayment { .. }) => {
                before.called() == after.called()
            }
            (Purpose::Invoice { .. }, Purpose::Invoice { .. }) => true,
            _ => false,
        };
        if !is_alike || document.tenant() != draft.tenant() || document.month() != draft.month() {
            return not("it bills another tenant or month; name the one over the same");
        }
        let credits = self.credits_on(tx, number).await?;
        if gross_of(&credits) != document.sums().gross {
            return not("it is not credited whole; issue a credit note over what is left of it first");
        }
        Ok(())
    }

    /// No month of a pool is called twice from a tenant, unless the call before was credited whole.
    async fn check_not_called(
        &self,
        tx: &mut Session,
        pool: &str,
        draft: &ValidInvoice,
    ) -> Result<(), IssueError> {
        let last = draft.purpose().until();
        for before in self.documents_of(tx, draft.tenant()).await? {
            let document = before.document();
            let Some((cost_pool, until)) = document.purpose().called() else {
                continue;
            };
            let meets = document.month() <= last.unwrap_or(draft.month()) && draft.month() <= until;
            if cost_pool == pool
                && meets
                && gross_of(&self.credits_on(tx, before.number()).await?) != document.sums().gross
            {
                return Err(IssueError::Called {
                    tenant: draft.tenant().to_owned(),
                    pool: pool.to_owned(),
                    number: before.number().clone(),
                });
            }
        }
        Ok(())
    }

    /// What was set against invoices stays asked for: it paid them, and its VAT is taken off theirs. `left` is what of the call
    /// or prepayment invoice is not credited yet.
    async fn check_not_set_off(
        &self,
        tx: &mut Session,
        number: &InvoiceNumber,
        left: Cents,
        draft: &ValidInvoice,
    ) -> Result<(), IssueError> {
        let account = self.account_in(tx, draft.tenant()).await?;
        let used = account.used.get(number).copied().unwrap_or_default();
        if draft.sums().gross <= left - used {
            return Ok(());
        }
        Err(IssueError::SetOff {
            number: number.clone(),
            used,
            left: left - used,
        })
    }

    async fn invoice_by(
        &self,
        session: &mut Session,
        column: &'static str,
        value: &str,
    ) -> Result<Option<IssuedInvoice>, LedgerError> {
        let sql = match column {
            "claim" => "SELECT number, draft, document FROM invoice WHERE claim = ?",
            _ => "SELECT number, draft, document FROM invoice WHERE number = ?",
        };
        let row = query(sql)
            .bind(value)
            .row(session)
            .await
            .map_err(self.failed(READING))?;
        row.map(|row| self.read_invoice(&row)).transpose()
    }

    async fn credits_on(
        &self,
        session: &mut Session,
        number: &InvoiceNumber,
    ) -> Result<Vec<IssuedInvoice>, LedgerError> {
        let rows = query("SELECT number, draft, document FROM invoice WHERE corrects = ? ORDER BY place")
            .bind(number.0.as_str())
            .rows(session)
            .await
            .map_err(self.failed(READING))?;
        rows.iter().map(|row| self.read_invoice(row)).collect()
    }

    fn read_invoice(&self, row: &Stored) -> Result<IssuedInvoice, LedgerError> {
        let number: String = row.get(0).map_err(self.failed(READING))?;
        let draft: &[u8] = row.get(1).map_err(self.failed(READING))?;
        let document: &[u8] = row.get(2).map_err(self.failed(READING))?;
        read_document(&number, draft, document).map_err(|what| self.unreadable(&number, what))
    }

    fn unreadable(&self, number: &str, what: String) -> LedgerError {
        LedgerError::UnreadableInvoice {
            ledger: self.url.clone(),
            number: number.to_owned(),
            what,
        }
    }
}

/// The document issued last.
pub(super) async fn last_anchor(session: &mut Session) -> Result<Option<AnchoredIssue>, DatabaseError> {
    let row = query("SELECT place, hash FROM invoice ORDER BY place DESC LIMIT 1")
        .row(session)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (place, hash): (i64, &[u8]) = (row.get(0)?, row.get(1)?);
    Ok(Digest::from_bytes(hash).map(|hash| AnchoredIssue { place, hash }))
}

/// A stored document, else what is wrong with it.
pub(super) fn read_document(number: &str, draft: &[u8], document: &[u8]) -> Result<IssuedInvoice, String> {
    let issued: IssuedInvoice = serde_json::from_slice(document).map_err(|e| e.to_string())?;
    let digest = issued.document().digest().map_err(|e| e.to_string())?;
    if issued.number().0 != number || digest.0[..] != *draft {
        return Err("its content does not have the number or the digest that stand beside it".to_owned());
    }
    Ok(issued)
}

/// Whether something is paid on it: not on a credit note on another document.
fn is_paid(issued: &IssuedInvoice) -> bool {
    !matches!(issued.document().purpose(), Purpose::CreditNote { .. })
}

fn gross_of(documents: &[IssuedInvoice]) -> Cents {
    documents
        .iter()
        .map(|issued| issued.document().sums().gross)
        .sum()
}

/// What a document bills or takes back, in one text: no two documents share it.
fn claim(draft: &ValidInvoice) -> Result<String, LedgerError> {
    let claim = match draft.purpose() {
        Purpose::Invoice { replaces } => {
            serde_json::to_string(&("invoice", draft.tenant(), draft.month().to_string(), replaces))
        }
        // A month is billed once, whichever way it comes out.
        Purpose::MonthCredit { .. } => serde_json::to_string(&(
            "invoice",
            draft.tenant(),
            draft.month().to_string(),
            None::<InvoiceNumber>,
        )),
        Purpose::Call {
            cost_pool,
            until,
            replaces,
        }
        | Purpose::Prepayment {
            cost_pool,
            until,
            replaces,
        } => serde_json::to_string(&(
            "call",
            draft.tenant(),
            cost_pool,
            draft.month().to_string(),
            until,
            replaces,
        )),
        Purpose::CreditNote { corrects, after, .. } => {
            serde_json::to_string(&("credit note", corrects, after.len()))
        }
    };
    claim.map_err(no_form)
}

fn no_form(source: serde_json::Error) -> LedgerError {
    LedgerError::Canonical {
        what: "an invoice",
        source,
    }
}

//! Why an invoice or a credit note cannot be made. Each names what to write instead.

use crate::money::Cents;

/// One reason; all that are found are told at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something that must be there is empty.
    #[error("{who} has no {what}, and an invoice must name it: write it")]
    Missing {
        /// Who.
        who: String,
        /// What.
        what: &'static str,
    },
    /// A text with a control character.
    #[error("the {what} of {who} holds a character that cannot be printed: write it again by hand")]
    Unprintable {
        /// Who.
        who: String,
        /// What.
        what: &'static str,
    },
    /// A mistyped SIRET.
    #[error(
        "the SIRET number {siret:?} of {who} is mistyped, its check digit does not fit: write the 14 digits as on the INSEE notice (avis de situation)"
    )]
    Siret {
        /// Who.
        who: String,
        /// What was written.
        siret: String,
    },
    /// A VAT number that is not theirs.
    #[error(
        "the VAT number {number:?} of {who} does not fit: write FR, the key of two characters, and the SIREN {siren}"
    )]
    VatNumber {
        /// Who.
        who: String,
        /// What was written.
        number: String,
        /// The SIREN that it must end with.
        siren: String,
    },
    /// A mistyped IBAN.
    #[error(
        "the seller's IBAN {iban:?} is mistyped, its check digits do not fit: write it as on the bank's notice (RIB)"
    )]
    Iban {
        /// What was written.
        iban: String,
    },
    /// A mistyped BIC.
    #[error("the seller's BIC {bic:?} is none: write its 8 or 11 capitals and digits, or leave it out")]
    Bic {
        /// What was written.
        bic: String,
    },
    /// Somebody outside metropolitan France.
    #[error(
        "{who} is established in {country:?}: invoices are made between parties in France (FR), since the VAT of others is decided by other rules; bill it by hand"
    )]
    Abroad {
        /// Who.
        who: String,
        /// The country.
        country: String,
    },
    /// An address that nothing reaches.
    #[error(
        "the electronic address {address:?} of {who} is none: write an address for mail, or one of the French directory, which begins with the SIREN"
    )]
    ElectronicAddress {
        /// Who.
        who: String,
        /// What was written.
        address: String,
    },
    /// The service code is missing where it is required.
    #[error(
        "{buyer} refuses invoices without a service code (BT-10), and none is written: ask it for the code of the service that pays, and write it as serviceCode"
    )]
    NoServiceCode {
        /// The buyer.
        buyer: String,
    },
    /// The engagement is missing where it is required.
    #[error(
        "{buyer} refuses invoices without an engagement number (BT-13), and none is written: ask it for the number of its purchase order, and write it as engagementNumber"
    )]
    NoEngagement {
        /// The buyer.
        buyer: String,
    },
    /// Too long a term of payment.
    #[error(
        "a term of payment of {days} days is longer than the {longest} that the law allows this buyer ({law}): write {longest} or less"
    )]
    Term {
        /// The term.
        days: u32,
        /// The longest.
        longest: u32,
        /// The law.
        law: &'static str,
    },
    /// The month is open.
    #[error(
        "the statement {month} of {tenant} is provisional, and only a closed month is invoiced: close {month} first"
    )]
    Provisional {
        /// The tenant.
        tenant: String,
        /// The month.
        month: String,
    },
    /// A statement without a line.
    #[error("{tenant} used and shares nothing in {month}: there is nothing to invoice")]
    NoLines {
        /// The tenant.
        tenant: String,
        /// The month.
        month: String,
    },
    /// More is given back than used, and of no invoice.
    #[error(
        "the statement {month} of {tenant} comes to {gross}, and a credit note names the invoices that it gives back of, of which none stands: issue those of the months that its lines correct first"
    )]
    Negative {
        /// The tenant.
        tenant: String,
        /// The month.
        month: String,
        /// The total.
        gross: Cents,
    },
    /// A call that cannot be made.
    #[error("{tenant} cannot be called for funds of the cost pool {pool}: {why}")]
    CannotBeCalled {
        /// The tenant.
        tenant: String,
        /// The pool.
        pool: String,
        /// Why, and what to write.
        why: String,
    },
    /// A number that is none.
    #[error(
        "the statement {month} of {tenant} has the {what} {text:?}, which cannot be read: somebody changed it; take the statement from the ledger"
    )]
    Unreadable {
        /// The tenant.
        tenant: String,
        /// The month.
        month: String,
        /// What.
        what: &'static str,
        /// What stands there.
        text: String,
    },
    /// The statement's own sums are wrong.
    #[error(
        "the lines of the statement {month} of {tenant} come to {found} of {what}, and its totals say {said}: somebody changed it; take the statement from the ledger"
    )]
    Totals {
        /// The tenant.
        tenant: String,
        /// The month.
        month: String,
        /// Net, VAT or gross.
        what: &'static str,
        /// What the lines come to.
        found: Cents,
        /// What the totals say.
        said: Cents,
    },
    /// A line without VAT, and no mention why.
    #[error(
        "{tenant} has lines without VAT in {month}, and no exemption says why: name the article that exempts them, for example CGI 261 B for the services of a group to its members"
    )]
    NoExemption {
        /// The tenant.
        tenant: String,
        /// The month.
        month: String,
    },
    /// A rate that France never had.
    #[error(
        "the VAT rate {rate} % is none of the French ones (BR-FR-16: 20, 10, 5.5, 2.1, 8.5 ...): mend the tariff, and correct what it billed"
    )]
    VatRate {
        /// The rate.
        rate: String,
    },
    /// A correction without a reason.
    #[error("a credit note says why it is made, and no reason is written: write one")]
    NoReason,
    /// Something else than an invoice is credited.
    #[error("{number} is a credit note, and only invoices are credited: name the invoice that it corrects")]
    NotAnInvoice {
        /// Its number.
        number: String,
    },
    /// Another's credit note was counted.
    #[error("{number} is no credit note on {original}: give those on {original}, all of them")]
    NotOnIt {
        /// The one that is not.
        number: String,
        /// The invoice.
        original: String,
    },
    /// A line that the invoice has not.
    #[error("the invoice {number} has no line {line}: name one of its {lines} lines")]
    NoSuchLine {
        /// The invoice.
        number: String,
        /// The line.
        line: u32,
        /// How many it has.
        lines: usize,
    },
    /// A line is named twice.
    #[error("line {line} of {number} is named twice in one credit note: name it once, with the sum")]
    LineTwice {
        /// The invoice.
        number: String,
        /// The line.
        line: u32,
    },
    /// More than is left of a line.
    #[error(
        "{asked} cannot be credited on line {line} of {number}: {left} of it are left. Write an amount between 0 and {left}"
    )]
    MoreThanLeft {
        /// The invoice.
        number: String,
        /// The line.
        line: u32,
        /// The amount.
        asked: Cents,
        /// What is left.
        left: Cents,
    },
    /// More than is left of the whole.
    #[error(
        "{asked} with VAT cannot be credited on {number}: {left} of it are left. Credit less, or the whole"
    )]
    MoreThanInvoice {
        /// The invoice.
        number: String,
        /// The amount with VAT.
        asked: Cents,
        /// What is left.
        left: Cents,
    },
    /// Nothing is left, or nothing is asked.
    #[error(
        "the credit note on {number} comes to nothing: name lines and amounts of which something is left"
    )]
    NothingToCredit {
        /// The invoice.
        number: String,
    },
}

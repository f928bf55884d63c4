//! What the law wants to stand on an invoice, word for word (BG-1; BR-FR-05: PMT, PMD and AAB, once each).

use super::account::Advance;
use super::page::french;
use super::party::BuyerKind;

/// Words in both languages.
pub(super) struct Words {
    /// French.
    pub french: &'static str,
    /// English.
    pub english: &'static str,
}

/// Why a month is a credit note.
pub(super) const BELOW_NOTHING: Words = Words {
    french: "Le décompte du mois est négatif : les régularisations dépassent ce qui est facturé.",
    english: "The month's statement comes to less than nothing: more is given back than billed.",
};

/// What becomes of it.
pub(super) const TO_BE_PAID_BACK: Words = Words {
    french: "À rembourser, ou à déduire d'un règlement à venir.",
    english: "To be paid back, or deducted from a payment to come.",
};

/// What a call for funds is.
pub(super) const CALL: Words = Words {
    french: "Appel de fonds provisionnel sur les charges mutualisées : ce document n'est pas une facture. Ce qui est versé est déduit des factures qui suivent ; la part variable est appelée selon la clé fixe, et les dépenses réelles sont régularisées après la clôture de l'exercice.",
    english: "Provisional call for funds on mutualised costs; this is no invoice. What is paid is deducted from the invoices that follow; the part by use is called by weight, and the real costs are made up after the end of the year.",
};

/// What a prepayment invoice is.
pub(super) const PREPAYMENT: Words = Words {
    french: "Facture d'acompte sur les charges mutualisées : la TVA est exigible à l'encaissement de l'acompte (CGI, article 269, 2, c). Ce qui est payé est déduit des factures définitives qui portent de la TVA au même taux ; la part variable est appelée selon la clé fixe, et les dépenses réelles sont régularisées après la clôture de l'exercice.",
    english: "Prepayment invoice on mutualised costs: VAT is due when the advance is paid. What is paid is deducted from the final invoices that bear VAT at the same rate; the part by use is called by weight, and the real costs are made up after the end of the year.",
};

/// Of an advance that was paid on a prepayment invoice: which one, and the VAT that was asked for with it. EN 16931 has no
/// other place for it (BT-22).
pub(super) fn invoiced_with(advance: &Advance) -> Option<String> {
    let (taxed, vat) = (advance.taxed?, advance.vat()?);
    Some(format!(
        "Déjà facturé et payé avec la facture d'acompte {} du {} : {} TTC, dont {} HT et {} de TVA à {}.",
        advance.call,
        french::day(taxed.issued_on),
        french::euros(advance.amount),
        french::euros(vat.base),
        french::euros(vat.amount),
        french::percent(taxed.rate),
    ))
}

/// A mention.
pub(super) struct Mention {
    /// Its subject in UNTDID 4451 (BT-21).
    pub code: &'static str,
    /// French (BT-22).
    pub french: &'static str,
    /// English.
    pub english: &'static str,
}

/// Early payment.
const NO_DISCOUNT: Mention = Mention {
    code: "AAB",
    french: "Aucun escompte n'est accordé pour paiement anticipé.",
    english: "No discount is granted for early payment.",
};

/// The mentions for a buyer: cost of recovery, delay, early payment.
pub(super) fn mentions(buyer: BuyerKind) -> [Mention; 3] {
    match buyer {
        BuyerKind::Business => [
            Mention {
                code: "PMT",
                french: "Indemnité forfaitaire pour frais de recouvrement en cas de retard de paiement : 40 € (code de commerce, articles L441-10 et D441-5).",
                english: "Fixed compensation for the cost of recovery after late payment: 40 €.",
            },
            Mention {
                code: "PMD",
                french: "Pénalités de retard, exigibles dès le lendemain de l'échéance sans rappel : taux de refinancement de la Banque centrale européenne majoré de 10 points (code de commerce, article L441-10).",
                english: "Penalties for late payment, due from the day after the due date without a reminder: refinancing rate of the European Central Bank plus 10 points.",
            },
            NO_DISCOUNT,
        ],
        BuyerKind::Public | BuyerKind::PublicHealth => [
            Mention {
                code: "PMT",
                french: "Indemnité forfaitaire pour frais de recouvrement en cas de retard de paiement : 40 € (code de la commande publique, articles L2192-13 et D2192-35).",
                english: "Fixed compensation for the cost of recovery after late payment: 40 €.",
            },
            Mention {
                code: "PMD",
                french: "Intérêts moratoires en cas de retard de paiement : taux de refinancement de la Banque centrale européenne majoré de 8 points (code de la commande publique, articles L2192-13 et R2192-31).",
                english: "Interest on late payment: refinancing rate of the European Central Bank plus 8 points.",
            },
            NO_DISCOUNT,
        ],
    }
}

//! Who sells and who buys, as French invoicing wants them written.
//!
//! Both come as somebody typed them; [`draft`](super::draft) checks them and keeps them in one form. Buyers are
//! established in France: what VAT others owe is not decided here.

use super::fault::Fault;
use super::identity::{is_bic, is_french_vat_number, is_iban, siren_of};
use serde::{Deserialize, Serialize};

/// Who issues the invoice (BG-4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seller {
    /// Registered name (BT-27).
    pub name: String,
    /// Legal form and what must stand with it, for example `GIP` or `SAS au capital de 10 000 €, RCS Caen` (BT-33; code de
    /// commerce, R123-237).
    pub legal_form: String,
    /// SIRET of the establishment that sells (BT-29); its SIREN is BT-30.
    pub siret: String,
    /// VAT number (BT-31; CGI, ann. 2, art. 242 nonies A).
    pub vat_number: String,
    /// Registered address (BG-5).
    pub address: Address,
    /// Where messages about the invoice are received (BT-34).
    pub electronic_address: ElectronicAddress,
    /// The account to pay to (BG-17).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<BankAccount>,
}

/// Who owes the invoice (BG-7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buyer {
    /// Registered name (BT-44).
    pub name: String,
    /// Which rules of payment hold for it.
    pub kind: BuyerKind,
    /// SIRET (BT-46); its SIREN is BT-47.
    pub siret: String,
    /// VAT number, for bodies that have one (BT-48).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vat_number: Option<String>,
    /// Registered address (BG-8).
    pub address: Address,
    /// Where the invoice is received (BT-49).
    pub electronic_address: ElectronicAddress,
    /// Service code, by which Chorus Pro finds the service of a public buyer (BT-10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_code: Option<String>,
    /// Whether the buyer refuses invoices without a service code: Chorus Pro's directory says so.
    #[serde(default)]
    pub service_code_required: bool,
    /// Number of the legal commitment that the buyer opened (BT-13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement_number: Option<String>,
    /// Whether the buyer refuses invoices without an engagement: Chorus Pro's directory says so.
    #[serde(default)]
    pub engagement_required: bool,
    /// The signed convention or contract (BT-12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
}

/// Which law says how soon a buyer pays and what a delay costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuyerKind {
    /// A business: code de commerce, L441-10.
    Business,
    /// A public buyer: code de la commande publique, R2192-10.
    Public,
    /// A public health establishment: code de la commande publique, R2192-11.
    PublicHealth,
}

impl BuyerKind {
    /// The longest term of payment, in days, and the law that sets it.
    pub fn longest_term(self) -> (u32, &'static str) {
        match self {
            Self::Business => (60, "code de commerce, L441-10"),
            Self::Public => (30, "code de la commande publique, R2192-10"),
            Self::PublicHealth => (50, "code de la commande publique, R2192-11"),
        }
    }
}

/// A postal address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Number and street.
    pub street: String,
    /// Postal code.
    pub postal_code: String,
    /// Town.
    pub city: String,
    /// Country, ISO 3166-1 alpha-2.
    pub country_code: String,
}

/// Where electronic invoices and answers to them go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ElectronicAddress {
    /// An address of the French directory of electronic invoicing: the SIREN, or the SIREN and what follows it with
    /// underscores (scheme 0225).
    Directory(String),
    /// An address for mail (scheme EM).
    Email(String),
}

impl ElectronicAddress {
    /// Its scheme in the code list of electronic addresses (EAS).
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Directory(_) => "0225",
            Self::Email(_) => "EM",
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Directory(text) | Self::Email(text) => text,
        }
    }
}

/// A bank account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BankAccount {
    /// IBAN (BT-84).
    pub iban: String,
    /// BIC (BT-86).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bic: Option<String>,
}

impl Seller {
    /// SIREN: the first nine digits of the SIRET.
    pub fn siren(&self) -> String {
        siren_of(&self.siret)
    }

    /// All reasons why it cannot issue invoices.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.in_one_form().faults(&mut faults);
        faults
    }

    /// The same in the one form in which it is checked and written.
    pub(super) fn in_one_form(&self) -> Self {
        Self {
            name: tidy(&self.name),
            legal_form: tidy(&self.legal_form),
            siret: close_up(&self.siret),
            vat_number: close_up(&self.vat_number),
            address: self.address.in_one_form(),
            electronic_address: self.electronic_address.in_one_form(),
            account: self.account.as_ref().map(|account| BankAccount {
                iban: close_up(&account.iban),
                bic: account.bic.as_deref().and_then(|bic| some(close_up(bic))),
            }),
        }
    }

    pub(super) fn faults(&self, faults: &mut Vec<Fault>) {
        let who = "the seller";
        identity(who, &self.name, &self.siret, faults);
        required(who, "legal form", &self.legal_form, faults);
        vat_number(who, &self.vat_number, &self.siret, faults);
        self.address.faults(who, faults);
        self.electronic_address.faults(who, &self.siret, faults);
        let Some(account) = &self.account else { return };
        if !is_iban(&account.iban) {
            faults.push(Fault::Iban {
                iban: account.iban.clone(),
            });
        }
        if let Some(bic) = account.bic.as_ref().filter(|bic| !is_bic(bic)) {
            faults.push(Fault::Bic { bic: bic.clone() });
        }
    }
}

impl Buyer {
    /// SIREN: the first nine digits of the SIRET.
    pub fn siren(&self) -> String {
        siren_of(&self.siret)
    }

    /// The same in the one form in which it is checked and written.
    pub(super) fn in_one_form(&self) -> Self {
        let optional = |text: &Option<String>| text.as_deref().and_then(|text| some(tidy(text)));
        Self {
            name: tidy(&self.name),
            kind: self.kind,
            siret: close_up(&self.siret),
            vat_number: self.vat_number.as_deref().and_then(|text| some(close_up(text))),
            address: self.address.in_one_form(),
            electronic_address: self.electronic_address.in_one_form(),
            service_code: optional(&self.service_code),
            service_code_required: self.service_code_required,
            engagement_number: optional(&self.engagement_number),
            engagement_required: self.engagement_required,
            contract: optional(&self.contract),
        }
    }

    pub(super) fn faults(&self, faults: &mut Vec<Fault>) {
        let who = self.name.as_str();
        identity("the buyer", who, &self.siret, faults);
        if let Some(number) = &self.vat_number {
            vat_number(who, number, &self.siret, faults);
        }
        self.address.faults(who, faults);
        self.electronic_address.faults(who, &self.siret, faults);
        if self.service_code_required && self.service_code.is_none() {
            faults.push(Fault::NoServiceCode {
                buyer: who.to_owned(),
            });
        }
        if self.engagement_required && self.engagement_number.is_none() {
            faults.push(Fault::NoEngagement {
                buyer: who.to_owned(),
            });
        }
        for (what, text) in [
            ("service code", &self.service_code),
            ("engagement number", &self.engagement_number),
            ("contract", &self.contract),
        ] {
            if let Some(text) = text {
                printable(who, what, text, faults);
            }
        }
    }
}

impl Address {
    fn in_one_form(&self) -> Self {
        Self {
            street: tidy(&self.street),
            postal_code: tidy(&self.postal_code),
            city: tidy(&self.city),
            country_code: close_up(&self.country_code),
        }
    }

    fn faults(&self, who: &str, faults: &mut Vec<Fault>) {
        required(who, "street", &self.street, faults);
        required(who, "postal code", &self.postal_code, faults);
        required(who, "town", &self.city, faults);
        if self.country_code != "FR" {
            faults.push(Fault::Abroad {
                who: who.to_owned(),
                country: self.country_code.clone(),
            });
        }
    }
}

impl ElectronicAddress {
    fn in_one_form(&self) -> Self {
        match self {
            Self::Directory(text) => Self::Directory(close_up(text)),
            Self::Email(text) => Self::Email(tidy(text)),
        }
    }

    fn faults(&self, who: &str, siret: &str, faults: &mut Vec<Fault>) {
        let text = self.as_str();
        let fits = match self {
            // BR-FR-21, BR-FR-23, BR-FR-25.
            Self::Directory(_) => {
                text.starts_with(&siren_of(siret))
                    && text.len() <= 125
                    && text
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+-_.".contains(c))
            }
            Self::Email(_) => {
                text.len() <= 125
                    && text
                        .split_once('@')
                        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
                    && !text.chars().any(|c| c.is_whitespace() || c.is_control())
            }
        };
        if !fits {
            faults.push(Fault::ElectronicAddress {
                who: who.to_owned(),
                address: text.to_owned(),
            });
        }
    }
}

fn identity(who: &str, name: &str, siret: &str, faults: &mut Vec<Fault>) {
    required(who, "name", name, faults);
    if !mesocentre_api::is_siret(siret) {
        faults.push(Fault::Siret {
            who: who.to_owned(),
            siret: siret.to_owned(),
        });
    }
}

fn vat_number(who: &str, number: &str, siret: &str, faults: &mut Vec<Fault>) {
    let siren = siren_of(siret);
    if !is_french_vat_number(number, &siren) {
        faults.push(Fault::VatNumber {
            who: who.to_owned(),
            number: number.to_owned(),
            siren,
        });
    }
}

fn required(who: &str, what: &'static str, text: &str, faults: &mut Vec<Fault>) {
    if text.is_empty() {
        faults.push(Fault::Missing {
            who: who.to_owned(),
            what,
        });
    }
    printable(who, what, text, faults);
}

fn printable(who: &str, what: &'static str, text: &str, faults: &mut Vec<Fault>) {
    if text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
    {
        faults.push(Fault::Unprintable {
            who: who.to_owned(),
            what,
        });
    }
}

/// XML has no way to write a control character.
pub(super) fn is_printable(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Without white space around it, and one space where there are several.
pub(super) fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Without any white space: numbers are often written in groups.
fn close_up(text: &str) -> String {
    text.split_whitespace().collect()
}

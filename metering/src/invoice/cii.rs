//! A document as the XML of EN 16931: UN/CEFACT Cross Industry Invoice D22B in the order that Factur-X 1.0 wants
//! (profile EN 16931).
//!
//! Writes what the document says and decides nothing.

use super::document::{Purpose, ValidInvoice, VatCategory, VatSum};
use super::issued::IssuedInvoice;
use super::line::InvoiceLine;
use super::mentions::{BELOW_NOTHING, PREPAYMENT, TO_BE_PAID_BACK, invoiced_with, mentions};
use super::party::{Address, ElectronicAddress};
use jiff::civil::Date;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::fmt::Display;

/// The profile (BT-24).
const GUIDELINE: &str = "urn:cen.eu:en16931:2017";
/// The business process (BT-23): an invoice for services, sent by the seller (BR-FR-08).
const PROCESS: &str = "S1";
/// The same after prepayment invoices (*facture définitive après acompte*).
const PROCESS_AFTER_PREPAYMENT: &str = "S4";

const NAMESPACES: [(&str, &str); 4] = [
    (
        "xmlns:rsm",
        "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    ),
    (
        "xmlns:ram",
        "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    ),
    (
        "xmlns:qdt",
        "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
    ),
    (
        "xmlns:udt",
        "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
    ),
];

/// There is no XML.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// It is none of those that have one.
    #[error(
        "{number} is a call for funds, or takes one back: it is no invoice, and has no XML; take its PDF"
    )]
    NoInvoice {
        /// The document.
        number: String,
    },
    /// It could not be written.
    #[error("writing the XML of {number} failed: {source}")]
    Write {
        /// The document.
        number: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The XML of a document: the same bytes each time.
///
/// # Errors
/// When it is no invoice, or there is no memory to write it to.
pub fn render_xml(issued: &IssuedInvoice) -> Result<Vec<u8>, XmlError> {
    let number = || issued.number().to_string();
    if !issued.document().purpose().is_invoice() {
        return Err(XmlError::NoInvoice { number: number() });
    }
    write(issued).map_err(|source| XmlError::Write {
        number: number(),
        source,
    })
}

type Written = std::io::Result<()>;

fn write(issued: &IssuedInvoice) -> std::io::Result<Vec<u8>> {
    let mut xml = Xml(Writer::new_with_indent(Vec::new(), b' ', 2));
    xml.0
        .write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut root = BytesStart::new("rsm:CrossIndustryInvoice");
    root.extend_attributes(NAMESPACES);
    xml.0.write_event(Event::Start(root))?;
    xml.within("rsm:ExchangedDocumentContext", |xml| {
        xml.within("ram:BusinessProcessSpecifiedDocumentContextParameter", |xml| {
            let is_after_prepayment = !issued.document().vat_of_advances().is_empty();
            xml.text(
                "ram:ID",
                if is_after_prepayment {
                    PROCESS_AFTER_PREPAYMENT
                } else {
                    PROCESS
                },
            )
        })?;
        xml.within("ram:GuidelineSpecifiedDocumentContextParameter", |xml| {
            xml.text("ram:ID", GUIDELINE)
        })
    })?;
    xml.within("rsm:ExchangedDocument", |xml| header(xml, issued))?;
    xml.within("rsm:SupplyChainTradeTransaction", |xml| {
        let document = issued.document();
        for written in document.lines() {
            xml.within("ram:IncludedSupplyChainTradeLineItem", |xml| line(xml, written))?;
        }
        xml.within("ram:ApplicableHeaderTradeAgreement", |xml| {
            agreement(xml, document)
        })?;
        xml.within("ram:ApplicableHeaderTradeDelivery", |xml| {
            match document.purpose().ahead() {
                // Nothing is rendered yet. The element must be there and not empty: for whom it will be (BT-70).
                Some(_) => xml.within("ram:ShipToTradeParty", |xml| {
                    xml.text("ram:Name", &document.buyer().name)
                }),
                // A service of a whole month is rendered on its last day (BT-72).
                None => xml.within("ram:ActualDeliverySupplyChainEvent", |xml| {
                    xml.day("ram:OccurrenceDateTime", document.month().last_day())
                }),
            }
        })?;
        xml.within("ram:ApplicableHeaderTradeSettlement", |xml| {
            settlement(xml, issued)
        })
    })?;
    xml.0
        .write_event(Event::End(BytesEnd::new("rsm:CrossIndustryInvoice")))?;
    let mut bytes = xml.0.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn header(xml: &mut Xml, issued: &IssuedInvoice) -> Written {
    let document = issued.document();
    xml.text("ram:ID", issued.number())?;
    let code = match document.purpose() {
        Purpose::Invoice { .. } | Purpose::Call { .. } => "380",
        Purpose::Prepayment { .. } => "386",
        Purpose::CreditNote { .. } | Purpose::MonthCredit { .. } => "381",
    };
    xml.text("ram:TypeCode", code)?;
    xml.day("ram:IssueDateTime", issued.issued_on())?;
    let reason = match document.purpose() {
        Purpose::CreditNote { reason, .. } => Some(reason.as_str()),
        Purpose::MonthCredit { .. } => Some(BELOW_NOTHING.french),
        Purpose::Prepayment { .. } => Some(PREPAYMENT.french),
        Purpose::Invoice { .. } | Purpose::Call { .. } => None,
    };
    let invoiced: Vec<String> = document.advances().iter().filter_map(invoiced_with).collect();
    for note in reason.into_iter().chain(invoiced.iter().map(String::as_str)) {
        xml.within("ram:IncludedNote", |xml| xml.text("ram:Content", note))?;
    }
    for mention in mentions(document.buyer().kind) {
        xml.within("ram:IncludedNote", |xml| {
            xml.text("ram:Content", mention.french)?;
            xml.text("ram:SubjectCode", mention.code)
        })?;
    }
    Ok(())
}

fn line(xml: &mut Xml, line: &InvoiceLine) -> Written {
    xml.within("ram:AssociatedDocumentLineDocument", |xml| {
        xml.text("ram:LineID", line.number)?;
        match &line.note {
            Some(note) => xml.within("ram:IncludedNote", |xml| xml.text("ram:Content", note)),
            None => Ok(()),
        }
    })?;
    xml.within("ram:SpecifiedTradeProduct", |xml| {
        xml.text("ram:Name", &line.name)?;
        xml.text("ram:Description", &line.name_en)?;
        for (label, value) in &line.details {
            xml.within("ram:ApplicableProductCharacteristic", |xml| {
                xml.text("ram:Description", label)?;
                xml.text("ram:Value", value)
            })?;
        }
        Ok(())
    })?;
    xml.within("ram:SpecifiedLineTradeAgreement", |xml| {
        xml.within("ram:NetPriceProductTradePrice", |xml| {
            xml.text("ram:ChargeAmount", line.quantity.unit_price)
        })
    })?;
    xml.within("ram:SpecifiedLineTradeDelivery", |xml| {
        let unit = ("unitCode", line.quantity.unit.code());
        xml.attributed("ram:BilledQuantity", unit, line.quantity.count)
    })?;
    xml.within("ram:SpecifiedLineTradeSettlement", |xml| {
        xml.within("ram:ApplicableTradeTax", |xml| {
            xml.text("ram:TypeCode", "VAT")?;
            xml.text("ram:CategoryCode", category_code(line.vat))?;
            xml.text("ram:RateApplicablePercent", line.vat.rate())
        })?;
        xml.within("ram:SpecifiedTradeSettlementLineMonetarySummation", |xml| {
            xml.text("ram:LineTotalAmount", line.amount)
        })
    })
}

fn agreement(xml: &mut Xml, document: &ValidInvoice) -> Written {
    let (seller, buyer) = (document.seller(), document.buyer());
    if let Some(code) = &buyer.service_code {
        xml.text("ram:BuyerReference", code)?;
    }
    xml.within("ram:SellerTradeParty", |xml| {
        let party = Party {
            siret: &seller.siret,
            name: &seller.name,
            legal_form: Some(&seller.legal_form),
            siren: &seller.siren(),
            address: &seller.address,
            electronic_address: &seller.electronic_address,
            vat_number: Some(&seller.vat_number),
        };
        party.write(xml)
    })?;
    xml.within("ram:BuyerTradeParty", |xml| {
        let party = Party {
            siret: &buyer.siret,
            name: &buyer.name,
            legal_form: None,
            siren: &buyer.siren(),
            address: &buyer.address,
            electronic_address: &buyer.electronic_address,
            vat_number: buyer.vat_number.as_deref(),
        };
        party.write(xml)
    })?;
    for (element, reference) in [
        ("ram:BuyerOrderReferencedDocument", &buyer.engagement_number),
        ("ram:ContractReferencedDocument", &buyer.contract),
    ] {
        if let Some(reference) = reference {
            xml.within(element, |xml| xml.text("ram:IssuerAssignedID", reference))?;
        }
    }
    Ok(())
}

struct Party<'a> {
    siret: &'a str,
    name: &'a str,
    legal_form: Option<&'a str>,
    siren: &'a str,
    address: &'a Address,
    electronic_address: &'a ElectronicAddress,
    vat_number: Option<&'a str>,
}

impl Party<'_> {
    fn write(&self, xml: &mut Xml) -> Written {
        // Schemes of ISO/IEC 6523: 0009 is SIRET, 0002 SIREN (BR-FR-09, BR-FR-10).
        xml.attributed("ram:GlobalID", ("schemeID", "0009"), self.siret)?;
        xml.text("ram:Name", self.name)?;
        if let Some(legal_form) = self.legal_form {
            xml.text("ram:Description", legal_form)?;
        }
        xml.within("ram:SpecifiedLegalOrganization", |xml| {
            xml.attributed("ram:ID", ("schemeID", "0002"), self.siren)
        })?;
        xml.within("ram:PostalTradeAddress", |xml| {
            xml.text("ram:PostcodeCode", &self.address.postal_code)?;
            xml.text("ram:LineOne", &self.address.street)?;
            xml.text("ram:CityName", &self.address.city)?;
            xml.text("ram:CountryID", &self.address.country_code)
        })?;
        xml.within("ram:URIUniversalCommunication", |xml| {
            let scheme = ("schemeID", self.electronic_address.scheme());
            xml.attributed("ram:URIID", scheme, self.electronic_address.as_str())
        })?;
        match self.vat_number {
            Some(number) => xml.within("ram:SpecifiedTaxRegistration", |xml| {
                xml.attributed("ram:ID", ("schemeID", "VA"), number)
            }),
            None => Ok(()),
        }
    }
}

fn settlement(xml: &mut Xml, issued: &IssuedInvoice) -> Written {
    let document = issued.document();
    let (sums, currency) = (document.sums(), document.currency().as_str());
    xml.text("ram:PaymentReference", issued.number())?;
    xml.text("ram:InvoiceCurrencyCode", currency)?;
    if let (Purpose::Invoice { .. } | Purpose::Prepayment { .. }, Some(account)) =
        (document.purpose(), &document.seller().account)
    {
        xml.within("ram:SpecifiedTradeSettlementPaymentMeans", |xml| {
            // UNTDID 4461: a SEPA credit transfer.
            xml.text("ram:TypeCode", "58")?;
            xml.within("ram:PayeePartyCreditorFinancialAccount", |xml| {
                xml.text("ram:IBANID", &account.iban)
            })?;
            match &account.bic {
                Some(bic) => xml.within("ram:PayeeSpecifiedCreditorFinancialInstitution", |xml| {
                    xml.text("ram:BICID", bic)
                }),
                None => Ok(()),
            }
        })?;
    }
    for sum in document.vat() {
        xml.within("ram:ApplicableTradeTax", |xml| tax(xml, document, sum))?;
    }
    xml.within("ram:BillingSpecifiedPeriod", |xml| {
        xml.day("ram:StartDateTime", document.month().first_day())?;
        let last = document.purpose().until().unwrap_or(document.month());
        xml.day("ram:EndDateTime", last.last_day())
    })?;
    xml.within("ram:SpecifiedTradePaymentTerms", |xml| {
        match (document.purpose(), issued.due_on()) {
            (Purpose::CreditNote { corrects, .. }, _) => xml.text(
                "ram:Description",
                format!("À déduire de la facture {corrects}, ou à rembourser si elle est payée."),
            ),
            (Purpose::MonthCredit { .. }, _) => xml.text("ram:Description", TO_BE_PAID_BACK.french),
            (Purpose::Invoice { .. } | Purpose::Call { .. } | Purpose::Prepayment { .. }, due) => {
                let days = document.payment_days();
                xml.text(
                    "ram:Description",
                    format!("Paiement à {days} jours, date de facture."),
                )?;
                match due {
                    Some(due) => xml.day("ram:DueDateDateTime", due),
                    None => Ok(()),
                }
            }
        }
    })?;
    xml.within("ram:SpecifiedTradeSettlementHeaderMonetarySummation", |xml| {
        xml.text("ram:LineTotalAmount", sums.net)?;
        xml.text("ram:TaxBasisTotalAmount", sums.net)?;
        xml.attributed("ram:TaxTotalAmount", ("currencyID", currency), sums.vat)?;
        xml.text("ram:GrandTotalAmount", sums.gross)?;
        let prepaid = document.prepaid();
        if prepaid.0 != 0 {
            xml.text("ram:TotalPrepaidAmount", prepaid)?;
        }
        xml.text("ram:DuePayableAmount", sums.gross - prepaid)
    })?;
    let referenced: Vec<_> = match document.purpose() {
        Purpose::Invoice { replaces } => {
            let prepayments = document
                .advances()
                .iter()
                .filter_map(|advance| Some((&advance.call, Some(advance.taxed?.issued_on))));
            let replaced = replaces.iter().map(|number| (number, None));
            replaced.chain(prepayments).collect()
        }
        Purpose::Prepayment { replaces, .. } => replaces.iter().map(|number| (number, None)).collect(),
        Purpose::MonthCredit { corrects } => corrects
            .iter()
            .map(|cited| (&cited.number, Some(cited.issued_on)))
            .collect(),
        Purpose::CreditNote {
            corrects,
            corrected_on,
            ..
        } => vec![(corrects, Some(*corrected_on))],
        Purpose::Call { .. } => Vec::new(),
    };
    for (number, day) in referenced {
        xml.within("ram:InvoiceReferencedDocument", |xml| {
            xml.text("ram:IssuerAssignedID", number)?;
            match day {
                Some(day) => xml.within("ram:FormattedIssueDateTime", |xml| {
                    xml.attributed("qdt:DateTimeString", ("format", "102"), digits_of(day))
                }),
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}

fn tax(xml: &mut Xml, document: &ValidInvoice, sum: &VatSum) -> Written {
    let exemption = document
        .exemption()
        .filter(|_| sum.category == VatCategory::Exempt);
    xml.text("ram:CalculatedAmount", sum.amount)?;
    xml.text("ram:TypeCode", "VAT")?;
    if let Some(exemption) = exemption {
        xml.text("ram:ExemptionReason", exemption.mention())?;
    }
    xml.text("ram:BasisAmount", sum.base)?;
    xml.text("ram:CategoryCode", category_code(sum.category))?;
    if let Some(exemption) = exemption {
        xml.text("ram:ExemptionReasonCode", exemption.code())?;
    }
    xml.text("ram:RateApplicablePercent", sum.category.rate())
}

fn category_code(category: VatCategory) -> &'static str {
    match category {
        VatCategory::Exempt => "E",
        VatCategory::Rate(_) => "S",
    }
}

/// A day as format 102 of UNTDID 2379.
fn digits_of(day: Date) -> String {
    format!("{:04}{:02}{:02}", day.year(), day.month(), day.day())
}

struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn within(&mut self, element: &str, content: impl FnOnce(&mut Self) -> Written) -> Written {
        self.0.write_event(Event::Start(BytesStart::new(element)))?;
        content(self)?;
        self.0.write_event(Event::End(BytesEnd::new(element)))
    }

    fn text(&mut self, element: &str, content: impl Display) -> Written {
        self.leaf(BytesStart::new(element), content)
    }

    fn attributed(&mut self, element: &str, attribute: (&str, &str), content: impl Display) -> Written {
        let mut start = BytesStart::new(element);
        start.push_attribute(attribute);
        self.leaf(start, content)
    }

    fn leaf(&mut self, start: BytesStart<'_>, content: impl Display) -> Written {
        let end = start.to_end().into_owned();
        self.0.write_event(Event::Start(start))?;
        self.0
            .write_event(Event::Text(BytesText::new(&content.to_string())))?;
        self.0.write_event(Event::End(end))
    }

    fn day(&mut self, element: &str, day: Date) -> Written {
        self.within(element, |xml| {
            xml.attributed("udt:DateTimeString", ("format", "102"), digits_of(day))
        })
    }
}

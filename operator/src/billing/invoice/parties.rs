//! Seller, buyer and terms: from what is written in InvoiceSeries and Tenant to the library's own types. Pure.

use mesocentre_api::{
    BuyerLaw, InvoiceAddress, InvoiceSeriesSpec, PostalAddress, TenantCategory, TenantSpec, VatExemption,
};
use mesocentre_metering::invoice::{
    Account, Address, BankAccount, Buyer, BuyerKind, ElectronicAddress, Exemption, InvoiceNumber, Seller,
    Terms,
};

/// Who issues the invoices of a series.
pub fn seller(series: &InvoiceSeriesSpec) -> Seller {
    let seller = &series.seller;
    Seller {
        name: seller.name.clone(),
        legal_form: seller.legal_form.clone(),
        siret: seller.siret.clone(),
        vat_number: seller.vat_number.clone(),
        address: address(&seller.address),
        electronic_address: electronic(&seller.electronic_address),
        account: seller.account.as_ref().map(|account| BankAccount {
            iban: account.iban.clone(),
            bic: account.bic.clone(),
        }),
    }
}

/// Who owes the invoices of a tenant.
pub fn buyer(tenant: &TenantSpec) -> Buyer {
    let entity = &tenant.legal_entity;
    let invoicing = &entity.invoicing;
    let law = invoicing.buyer.unwrap_or(match tenant.category {
        TenantCategory::PrivateClient => BuyerLaw::Business,
        TenantCategory::University | TenantCategory::PublicService => BuyerLaw::Public,
    });
    Buyer {
        name: entity.name.clone(),
        kind: match law {
            BuyerLaw::Business => BuyerKind::Business,
            BuyerLaw::Public => BuyerKind::Public,
            BuyerLaw::PublicHealth => BuyerKind::PublicHealth,
        },
        siret: entity.siret.clone(),
        vat_number: entity.vat_number.clone(),
        address: address(&entity.address),
        electronic_address: match &invoicing.directory_address {
            Some(address) => ElectronicAddress::Directory(address.clone()),
            None => ElectronicAddress::Email(invoicing.email.clone()),
        },
        service_code: invoicing.service_code.clone(),
        service_code_required: invoicing.service_code_required,
        engagement_number: invoicing.engagement_number.clone(),
        engagement_required: invoicing.engagement_required,
        contract: Some(tenant.convention.reference.clone()),
    }
}

/// What else stands on an invoice of a series.
pub fn terms(series: &InvoiceSeriesSpec, replaces: Option<InvoiceNumber>, account: Account) -> Terms {
    Terms {
        payment_days: u32::try_from(series.payment_days).unwrap_or(0),
        exemption: series.exemption.map(|exemption| match exemption {
            VatExemption::Cgi261B => Exemption::Cgi261B,
            VatExemption::Cgi261Teaching => Exemption::Cgi261Teaching,
        }),
        replaces,
        account,
    }
}

fn address(address: &PostalAddress) -> Address {
    Address {
        street: address.street.clone(),
        postal_code: address.postal_code.clone(),
        city: address.city.clone(),
        country_code: address.country_code.clone(),
    }
}

fn electronic(address: &InvoiceAddress) -> ElectronicAddress {
    match (&address.directory, &address.email) {
        (Some(directory), _) => ElectronicAddress::Directory(directory.clone()),
        (None, email) => ElectronicAddress::Email(email.clone().unwrap_or_default()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use serde_json::json;

    fn tenant(category: &str, invoicing: &serde_json::Value) -> TenantSpec {
        serde_json::from_value(json!({
            "displayName": "Un établissement", "category": category, "perimeter": "p",
            "legalEntity": {
                "name": "Un établissement", "siret": "19141408500016", "invoicing": invoicing,
                "address": {"street": "1, rue Neuve", "postalCode": "14000", "city": "Caen", "countryCode": "FR"},
            },
            "convention": {"reference": "CONV-2026-011", "validFrom": "2026-01-01", "validUntil": "2028-12-31"},
            "members": [],
            "quota": {"cpu": "1", "memory": "1Gi", "storage": "1Gi", "pods": 1, "workspaces": 1},
        }))
        .unwrap()
    }

    #[test]
    fn which_law_holds_follows_from_the_category_unless_somebody_says_otherwise() {
        let mail = json!({"email": "factures@univ.test"});
        assert_eq!(buyer(&tenant("University", &mail)).kind, BuyerKind::Public);
        assert_eq!(buyer(&tenant("PrivateClient", &mail)).kind, BuyerKind::Business);
        let hospital = json!({"email": "factures@chu.test", "buyer": "PublicHealth", "serviceCode": "DSI", "serviceCodeRequired": true});
        let hospital = buyer(&tenant("PublicService", &hospital));
        assert_eq!(hospital.kind, BuyerKind::PublicHealth);
        assert!(hospital.service_code_required && !hospital.engagement_required);
        assert_eq!(hospital.contract.as_deref(), Some("CONV-2026-011"));
    }

    #[test]
    fn the_french_directory_is_named_before_mail() {
        let both = json!({"email": "factures@univ.test", "directoryAddress": "191414085"});
        assert_eq!(
            buyer(&tenant("University", &both)).electronic_address,
            ElectronicAddress::Directory("191414085".into())
        );
    }
}

//! The manifests of `examples/`, as types.

#![allow(dead_code, reason = "each test file uses a part of the examples")]

use jiff::civil::Date;
use mesocentre_api::{PeeringAgreement, Tenant, TrustPerimeter, Workspace};
use mesocentre_tenancy::{Invalid, Now, TenantClaims, ValidTenant};
use serde::de::DeserializeOwned;
use std::path::Path;

/// What the tests need of them.
pub struct Examples {
    pub perimeters: Vec<TrustPerimeter>,
    pub tenants: Vec<Tenant>,
    workspaces: Vec<Workspace>,
    agreements: Vec<PeeringAgreement>,
}

pub fn date(year: i16, month: i8, day: i8) -> Date {
    Date::new(year, month, day).unwrap()
}

/// Noon of a day in Paris.
pub fn noon(day: Date) -> Now {
    let zone = jiff::tz::TimeZone::get("Europe/Paris").unwrap();
    Now {
        instant: day.at(12, 0, 0, 0).to_zoned(zone.clone()).unwrap().timestamp(),
        zone,
    }
}

fn read<K: DeserializeOwned>(file: &str) -> Vec<K> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| K::deserialize(document).unwrap())
        .collect()
}

impl Examples {
    pub fn read() -> Self {
        let mut examples = Self {
            perimeters: read("10-perimeters.yaml"),
            tenants: read("20-tenants.yaml"),
            workspaces: read("30-workspaces.yaml"),
            agreements: read("40-peering.yaml"),
        };
        for tenant in &mut examples.tenants {
            tenant.metadata.uid = tenant.metadata.name.as_ref().map(|name| format!("uid-of-{name}"));
        }
        for workspace in &mut examples.workspaces {
            workspace.metadata.uid = workspace
                .metadata
                .name
                .as_ref()
                .map(|name| format!("uid-of-{name}"));
        }
        examples
    }

    pub fn tenant(&self, name: &str) -> &Tenant {
        self.tenants
            .iter()
            .find(|t| t.metadata.name.as_deref() == Some(name))
            .unwrap()
    }

    pub fn perimeter(&self, name: &str) -> Option<&TrustPerimeter> {
        self.perimeters
            .iter()
            .find(|p| p.metadata.name.as_deref() == Some(name))
    }

    pub fn valid(&self, name: &str, today: Date) -> Result<ValidTenant, Vec<Invalid>> {
        self.validate(self.tenant(name), today)
    }

    pub fn validate(&self, tenant: &Tenant, today: Date) -> Result<ValidTenant, Vec<Invalid>> {
        let claims = TenantClaims::of(&self.tenants);
        ValidTenant::new(
            tenant,
            self.perimeter(&tenant.spec.perimeter),
            &claims,
            &noon(today),
        )
    }
    pub fn workspaces_of(&self, tenant: &str) -> Vec<&Workspace> {
        self.workspaces
            .iter()
            .filter(|w| w.metadata.namespace.as_deref() == Some(tenant))
            .collect()
    }
    pub fn agreement(&self, tenant: &str) -> Option<&PeeringAgreement> {
        self.agreements
            .iter()
            .find(|a| a.metadata.namespace.as_deref() == Some(tenant))
    }
}

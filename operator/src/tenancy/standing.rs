//! Whether a tenant stands: gathered and validated for its own reconcile, and for those of what lives in it.

use super::made::Key;
use crate::Context;
use crate::report::{Verdict, is_leaving};
use crate::watch::key;
use kube::ResourceExt;
use mesocentre_api::{SuspensionRules, Tenant};
use mesocentre_tenancy::convention::{self, Suspension};
use mesocentre_tenancy::plan::is_ours;
use mesocentre_tenancy::{Invalid, ValidTenant};
use std::sync::Arc;

/// A tenant that does not fit, with everything that is wrong with it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What is wrong, the weightiest first; never empty.
    pub wrong: Vec<Invalid>,
    /// The tenant as it will be on the first day of its convention: what stands of it already is kept in repair. None
    /// when more is wrong than the date.
    pub before_convention: Option<Box<ValidTenant>>,
}

impl Refused {
    /// As a condition.
    pub fn verdict(&self) -> Verdict {
        let sentences: Vec<String> = self.wrong.iter().map(ToString::to_string).collect();
        Verdict::no(
            self.wrong.first().map_or("Invalid", Invalid::reason),
            sentences.join("; "),
        )
    }
}

/// How a tenant stands for those who depend on it.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It is valid, and its home namespace is its own.
    Stands(Box<ValidTenant>),
    /// So it is, and it is suspended: what stands is kept, and nothing new starts.
    Suspended(Box<ValidTenant>, Suspension),
    /// It is not valid.
    Refused(Refused),
    /// It does not stand yet, or no more.
    Not {
        /// Why, in a sentence.
        why: String,
    },
    /// There is none of this name.
    Unknown,
}

/// Proves that a tenant fits, or says what is wrong with it.
///
/// # Errors
/// When it does not fit.
pub fn validate(context: &Context, tenant: &Tenant) -> Result<Box<ValidTenant>, Refused> {
    let perimeter = context.stores.perimeters.get(&key(None, &tenant.spec.perimeter));
    let claims = context.tenancy.claims.now(context);
    let now = context.now();
    ValidTenant::new(tenant, perimeter.as_deref(), &claims, &now)
        .map(Box::new)
        .map_err(|wrong| {
            let begins = tenant.spec.convention.valid_from;
            let first_day = (now.today() < begins).then(|| now.on(begins)).flatten();
            Refused {
                wrong,
                before_convention: first_day
                    .and_then(|then| ValidTenant::new(tenant, perimeter.as_deref(), &claims, &then).ok())
                    .map(Box::new),
            }
        })
}

/// Whether a tenant is suspended, whatever else is wrong with it.
pub fn suspension(context: &Context, tenant: &Tenant) -> Option<Suspension> {
    let perimeter = context.stores.perimeters.get(&key(None, &tenant.spec.perimeter));
    let rules = perimeter.map_or_else(SuspensionRules::default, |perimeter| {
        perimeter.spec.suspension.clone()
    });
    convention::suspension(tenant, &rules, &context.now())
}

/// Whether the tenant of this name is suspended.
pub fn suspension_of(context: &Context, name: &str) -> Option<Suspension> {
    let tenant = context.stores.tenants.get(&key(None, name))?;
    suspension(context, &context.own_writes.fresher(tenant))
}

/// How the tenant of this name stands.
pub fn of(context: &Context, name: &str) -> Standing {
    let Some(tenant) = context.stores.tenants.get(&key(None, name)) else {
        return Standing::Unknown;
    };
    let tenant: Arc<Tenant> = context.own_writes.fresher(tenant);
    if is_leaving(tenant.as_ref()) {
        return Standing::Not {
            why: format!("the tenant {name} is being deleted"),
        };
    }
    match validate(context, &tenant) {
        Err(refused) => Standing::Refused(refused),
        Ok(valid) => {
            // Whoever wrote into a namespace of the tenant's name that is not the tenant's does not speak for it.
            let home = context.tenancy.made.live(&context.stores, &Key::namespace(name));
            if home.is_some_and(|home| is_ours(&home, &tenant.uid().unwrap_or_default())) {
                match valid.suspension.clone() {
                    Some(suspension) => Standing::Suspended(valid, suspension),
                    None => Standing::Stands(valid),
                }
            } else {
                Standing::Not {
                    why: format!("the home namespace of {name} is not made yet"),
                }
            }
        }
    }
}

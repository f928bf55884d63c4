//! From an Allocation to a [`ValidAllocation`]: hours that can be used today, by persons who are members.

use crate::Context;
use crate::billing::ceiling::{Standing, standing};
use crate::watch::key;
use jiff::civil::Date;
use kube::ResourceExt;
use mesocentre_api::{Allocation, Budget, SlurmTerms, Tenant, TrustPerimeter, WhenExhausted};
use mesocentre_scheduler_bridge::slurm::accounts::{Limits, Qualities};
use mesocentre_scheduler_bridge::{AccountName, InvalidName, QosName, ReservationName, UserName};
use mesocentre_tenancy::validate::MemberSubject;
use mesocentre_tenancy::{Invalid, TenantClaims, ValidTenant};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use std::collections::BTreeSet;

/// Why an allocation cannot be used. Each sentence says what to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not in a tenant's home namespace.
    #[error(
        "the allocation {allocation} is in the namespace {namespace}, which is no tenant's home namespace: make it in the namespace of the tenant's own name"
    )]
    NoTenant {
        /// Its name.
        allocation: String,
        /// Where it is.
        namespace: String,
    },
    /// The tenant cannot stand.
    #[error("the tenant {tenant} is not valid now: {why}")]
    TenantNotReady {
        /// The tenant.
        tenant: String,
        /// Why.
        why: String,
    },
    /// The tenant is suspended.
    #[error("{why}")]
    TenantSuspended {
        /// Why, and the way out.
        why: String,
    },
    /// No such scheduler.
    #[error(
        "the allocation {allocation} is on the scheduler {scheduler}, which does not exist: make that Scheduler, or make the allocation again on one that kubectl get schedulers shows"
    )]
    UnknownScheduler {
        /// Its name.
        allocation: String,
        /// What it names.
        scheduler: String,
    },
    /// A scheduler that the perimeter does not list.
    #[error(
        "the perimeter {perimeter} of {tenant} uses {listed}, and not the scheduler {scheduler}: make the allocation on one of these, or have {scheduler} added to the perimeter's schedulers"
    )]
    OutsideThePerimeter {
        /// The tenant.
        tenant: String,
        /// Its perimeter.
        perimeter: String,
        /// What it lists.
        listed: String,
        /// What the allocation names.
        scheduler: String,
    },
    /// Its first day is to come.
    #[error(
        "the allocation {allocation} begins on {begins}: wait until then, or have its validFrom set earlier"
    )]
    NotBegun {
        /// Its name.
        allocation: String,
        /// Its first day.
        begins: Date,
    },
    /// Its last day has passed.
    #[error(
        "the allocation {allocation} ended on {ended}: use another one (meso allocations), or ask the administrators for a later validUntil"
    )]
    Over {
        /// Its name.
        allocation: String,
        /// Its last day.
        ended: Date,
    },
    /// A ceiling on economic use that has not counted it.
    #[error(
        "the allocation {allocation} is economic, and the ceiling {ceiling} has not counted it yet: wait a moment; kubectl get economicceiling {ceiling} says what it waits for"
    )]
    CeilingPending {
        /// Its name.
        allocation: String,
        /// The ceiling.
        ceiling: String,
    },
    /// A ceiling on economic use that leaves nothing for it.
    #[error("the allocation {allocation} is economic, and the ceiling {ceiling} grants it nothing: {why}")]
    CeilingReached {
        /// Its name.
        allocation: String,
        /// The ceiling.
        ceiling: String,
        /// Why.
        why: String,
    },
    /// Terms of Slurm's on a scheduler that is none.
    #[error(
        "the scheduler {scheduler} is Kubernetes, which has neither QOS nor reservations: take spec.slurm out of the allocation {allocation}"
    )]
    NotSlurm {
        /// Its name.
        allocation: String,
        /// What it names.
        scheduler: String,
    },
    /// A name that Slurm's commands would misread.
    #[error("the Slurm account of {allocation} cannot be named: {why}")]
    Unnameable {
        /// Its name.
        allocation: String,
        /// Why.
        why: InvalidName,
    },
}

impl Refused {
    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoTenant { .. } => "NoTenant",
            Self::TenantNotReady { .. } => "TenantNotReady",
            Self::TenantSuspended { .. } => "TenantSuspended",
            Self::UnknownScheduler { .. } => "UnknownScheduler",
            Self::OutsideThePerimeter { .. } => "OutsideThePerimeter",
            Self::NotBegun { .. } => "NotBegun",
            Self::Over { .. } => "AllocationOver",
            Self::CeilingPending { .. } => "CeilingPending",
            Self::CeilingReached { .. } => "CeilingReached",
            Self::NotSlurm { .. } => "NotSlurm",
            Self::Unnameable { .. } => "BadName",
        }
    }
}

/// An allocation that can be used today, unless its tenant is suspended: its account is closed then.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidAllocation {
    /// Its Slurm account.
    pub account: AccountName,
    /// What Slurm enforces.
    pub limits: Limits,
    /// The reservation that its jobs go into.
    pub reservation: Option<ReservationName>,
    /// Who may use it: user names as the API server has them, and their posix accounts.
    pub members: Vec<(String, UserName)>,
    /// Users that it names and who cannot use it.
    pub strangers: Vec<String>,
    /// Why less than its budget may be used.
    pub curtailed: Option<String>,
}

impl ValidAllocation {
    /// Proves that an allocation can be used today. Whether its scheduler exists is for who has the schedulers.
    pub fn new(
        allocation: &Allocation,
        tenant: &ValidTenant,
        today: Date,
        standing: &Standing,
    ) -> Result<Self, Refused> {
        let (name, spec) = (allocation.name_any(), &allocation.spec);
        let perimeter = &tenant.perimeter;
        if !perimeter.rules.schedulers.contains(&spec.scheduler) {
            return Err(Refused::OutsideThePerimeter {
                tenant: tenant.name.to_string(),
                perimeter: perimeter.name.to_string(),
                listed: if perimeter.rules.schedulers.is_empty() {
                    "no scheduler".to_owned()
                } else {
                    perimeter.rules.schedulers.join(" and ")
                },
                scheduler: spec.scheduler.clone(),
            });
        }
        if today < spec.valid_from {
            return Err(Refused::NotBegun {
                allocation: name,
                begins: spec.valid_from,
            });
        }
        if today > spec.valid_until {
            return Err(Refused::Over {
                allocation: name,
                ended: spec.valid_until,
            });
        }
        let (budget, curtailed) = match standing {
            Standing::Whole => (allocation.hours(), None),
            Standing::NotCounted { ceiling } => {
                return Err(Refused::CeilingPending {
                    allocation: name,
                    ceiling: ceiling.clone(),
                });
            }
            Standing::Less { ceiling, why, .. } if standing.is_nothing() => {
                return Err(Refused::CeilingReached {
                    allocation: name,
                    ceiling: ceiling.clone(),
                    why: why.clone(),
                });
            }
            Standing::Less { budget, ceiling, why } => (
                budget,
                Some(format!(
                    "less than its budget is granted by the ceiling {ceiling}: {why}"
                )),
            ),
        };
        let account =
            AccountName::new(&format!("{}.{name}", tenant.name)).map_err(|why| Refused::Unnameable {
                allocation: name,
                why,
            })?;
        let all: Vec<(String, UserName)> = tenant
            .members
            .iter()
            .filter(|member| member.role.runs_batch_jobs())
            .filter_map(|member| match &member.subject {
                MemberSubject::User {
                    name,
                    posix_account: Some(account),
                } => Some((name.clone(), UserName::new(account).ok()?)),
                _ => None,
            })
            .collect();
        let strangers = spec
            .members
            .iter()
            .filter(|user| !all.iter().any(|(member, _)| member == *user))
            .cloned()
            .collect();
        let members = all
            .into_iter()
            .filter(|(user, _)| spec.members.is_empty() || spec.members.contains(user))
            .collect();
        Ok(Self {
            account,
            limits: limits(budget, spec.when_exhausted, tenant.suspension.is_some()),
            // The schema lets no other names through.
            reservation: spec
                .slurm
                .as_ref()
                .and_then(|terms| ReservationName::new(terms.reservation.as_deref()?).ok()),
            curtailed,
            members,
            strangers,
        })
    }

    /// The posix account that a user's jobs in it run as.
    pub fn posix_account(&self, user: &str) -> Option<&UserName> {
        self.members
            .iter()
            .find(|(member, _)| member == user)
            .map(|(_, account)| account)
    }

    /// The posix accounts of all who may use it.
    pub fn posix_accounts(&self) -> BTreeSet<UserName> {
        self.members.iter().map(|(_, account)| account.clone()).collect()
    }
}

/// What Slurm enforces: hours × 60, whole minutes, nothing where what is over is charged; and that nothing new starts
/// while the tenant is suspended.
pub fn limits(budget: &Budget, when_exhausted: WhenExhausted, suspended: bool) -> Limits {
    let minutes = |hours: Option<Decimal>| hours?.checked_mul(Decimal::from(60))?.floor().to_u64();
    match when_exhausted {
        WhenExhausted::Refuse => Limits {
            core_minutes: minutes(budget.core_hours),
            gpu_minutes: minutes(budget.gpu_hours),
            closed: suspended,
        },
        WhenExhausted::Charge => Limits {
            closed: suspended,
            ..Limits::default()
        },
    }
}

/// The qualities of service that Slurm lets its jobs ask for; none where the allocation says nothing of them.
pub fn qualities(terms: Option<&SlurmTerms>) -> Option<Qualities> {
    // The schema lets no other names through.
    let names: Vec<QosName> = terms?
        .qos
        .iter()
        .filter_map(|name| QosName::new(name).ok())
        .collect();
    Some(Qualities {
        default: names.first()?.clone(),
        names: names.into_iter().collect(),
    })
}

/// The tenant of a home namespace: proven, or why not; none when there is no such tenant.
pub fn valid_tenant(
    context: &Context,
    home: &str,
    claims: &TenantClaims,
) -> Option<Result<ValidTenant, Vec<Invalid>>> {
    let tenant = context.stores.tenants.get(&key::<Tenant>(None, home))?;
    let perimeter = context
        .stores
        .perimeters
        .get(&key::<TrustPerimeter>(None, &tenant.spec.perimeter));
    Some(ValidTenant::new(
        &tenant,
        perimeter.as_deref(),
        claims,
        &context.now(),
    ))
}

/// An allocation with all that it refers to, from the caches.
///
/// # Errors
/// Why it cannot be used.
pub fn validate(context: &Context, allocation: &Allocation) -> Result<ValidAllocation, Refused> {
    let home = allocation.namespace().unwrap_or_default();
    let claims = context.tenancy.tenant_claims(context);
    let tenant = match valid_tenant(context, &home, &claims) {
        None => {
            return Err(Refused::NoTenant {
                allocation: allocation.name_any(),
                namespace: home,
            });
        }
        Some(Err(why)) => {
            return Err(Refused::TenantNotReady {
                tenant: home,
                why: why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            });
        }
        Some(Ok(tenant)) => tenant,
    };
    if let Some(suspension) = &tenant.suspension {
        return Err(Refused::TenantSuspended {
            why: suspension.sentence.clone(),
        });
    }
    let name = &allocation.spec.scheduler;
    match context.stores.schedulers.get(&key(None, name)) {
        None => Err(Refused::UnknownScheduler {
            allocation: allocation.name_any(),
            scheduler: name.clone(),
        }),
        Some(scheduler) if scheduler.spec.kubernetes.is_some() && allocation.spec.slurm.is_some() => {
            Err(Refused::NotSlurm {
                allocation: allocation.name_any(),
                scheduler: name.clone(),
            })
        }
        Some(_) => ValidAllocation::new(
            allocation,
            &tenant,
            context.today(),
            &standing(context, allocation),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(core_hours: &str, when_exhausted: WhenExhausted) -> Limits {
        let budget = Budget {
            core_hours: Some(core_hours.parse().unwrap()),
            gpu_hours: None,
        };
        limits(&budget, when_exhausted, false)
    }

    #[test]
    fn the_first_qos_is_the_default_and_none_is_none() {
        let terms = |qos: &[&str]| SlurmTerms {
            qos: qos.iter().map(|name| (*name).to_owned()).collect(),
            reservation: None,
        };
        let both = qualities(Some(&terms(&["urgent", "normal"]))).unwrap();
        assert_eq!(both.default.as_str(), "urgent");
        assert_eq!(both.names.len(), 2);
        assert_eq!(qualities(Some(&terms(&[]))), None);
        assert_eq!(qualities(None), None);
    }

    #[test]
    fn hours_become_whole_minutes_and_what_is_charged_has_no_limit() {
        assert_eq!(of("50000", WhenExhausted::Refuse).core_minutes, Some(3_000_000));
        assert_eq!(of("0.5083", WhenExhausted::Refuse).core_minutes, Some(30));
        assert_eq!(of("50000", WhenExhausted::Charge), Limits::default());
    }
}

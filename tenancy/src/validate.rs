//! From what was written to what is proven: a tenant that fits its perimeter, a workspace that fits its tenant.
//!
//! Holding a [`ValidTenant`] or [`ValidWorkspace`] means that nothing in it needs checking again. What does not fit is
//! an [`Invalid`]: one sentence for the person who can mend it, and one CamelCase word for the condition's reason.

use crate::convention::{self, Now, Suspension};
use crate::names::{NameError, NamespaceName, PerimeterName, TenantName, WorkspaceName};
use crate::quantity::QuantityError;
use crate::quota::Amounts;
use jiff::Timestamp;
use jiff::civil::Date;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mesocentre_api::{
    Role, RulesSuspension, ServiceAccountName, Tenant, TenantCategory, TrustPerimeter, TrustPerimeterSpec,
    Workspace,
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Why a tenant or a workspace cannot stand as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A name that cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The perimeter that the tenant names does not exist.
    #[error(
        "the tenant {tenant} names the perimeter {perimeter}, which does not exist: make that TrustPerimeter, or make the tenant again in one that kubectl get trustperimeters shows"
    )]
    UnknownPerimeter {
        /// The tenant.
        tenant: TenantName,
        /// What it names.
        perimeter: String,
    },
    /// The perimeter is going away, and the tenant is new.
    #[error(
        "the perimeter {perimeter} is being deleted and takes no new tenants: make {tenant} in another one that kubectl get trustperimeters shows"
    )]
    PerimeterLeaving {
        /// The tenant.
        tenant: TenantName,
        /// Its perimeter.
        perimeter: PerimeterName,
    },
    /// The perimeter does not take tenants of this category.
    #[error(
        "the perimeter {perimeter} admits {admitted}, and {tenant} is a {category}: choose a perimeter that admits a {category}, or have {category} added to the perimeter's tenantCategories"
    )]
    CategoryNotAdmitted {
        /// The tenant.
        tenant: TenantName,
        /// Its perimeter.
        perimeter: PerimeterName,
        /// Its category.
        category: &'static str,
        /// The categories that the perimeter takes.
        admitted: String,
    },
    /// The convention's first day is still to come.
    #[error(
        "the convention {reference} of {tenant} begins on {begins}: wait until then, or write an earlier validFrom if that is what was signed"
    )]
    ConventionNotBegun {
        /// The tenant.
        tenant: TenantName,
        /// The convention's reference.
        reference: String,
        /// Its first day.
        begins: Date,
    },
    /// A private client without a co-investment convention.
    #[error(
        "{tenant} is a PrivateClient, and private clients come in by co-investment: write kind: CoInvestment into spec.convention once such a convention is signed"
    )]
    CoInvestmentRequired {
        /// The tenant.
        tenant: TenantName,
    },
    /// Another tenant's member, or another member, has the posix account.
    #[error(
        "the posix account {account} of {user} in {tenant} is taken by {holder} in {held_by}, who had it first: jobs of both would run as one; give {user} another posixAccount"
    )]
    PosixAccountTaken {
        /// The tenant that asks.
        tenant: TenantName,
        /// The member who asks.
        user: String,
        /// The account.
        account: String,
        /// The tenant that has it.
        held_by: String,
        /// The member who has it.
        holder: String,
    },
    /// Another tenant holds the hostname, or one that overlaps with it.
    #[error(
        "the hostname {hostname} of {tenant} is taken: {held_by} holds {held}, and had it first; give {tenant} another hostname, or take {held} from {held_by} once nothing is published there any more"
    )]
    HostnameTaken {
        /// The tenant that asks.
        tenant: TenantName,
        /// What it asks for.
        hostname: String,
        /// The tenant that has it.
        held_by: String,
        /// What that one has.
        held: String,
    },
    /// A user, a group or a service account named more than once.
    #[error(
        "{who} stands more than once among the members of {tenant}: keep one line with the role that counts"
    )]
    DuplicateMember {
        /// The tenant.
        tenant: TenantName,
        /// The user, group or service account.
        who: String,
    },
    /// A service account that is not the tenant's.
    #[error(
        "the service account {account} is named among the members of {tenant}, and {namespace} is the namespace of {whose}: name one of a workspace of {tenant} ({tenant}--<workspace>), or of a namespace that the administrators keep for its automation"
    )]
    ForeignServiceAccount {
        /// The tenant.
        tenant: TenantName,
        /// The service account's name.
        account: String,
        /// Its namespace.
        namespace: String,
        /// Whose that is.
        whose: String,
    },
    /// A service account of a workspace that would have more than those who may use it.
    #[error(
        "the service account {account} of the workspace's namespace {namespace} is to be {role} of {tenant}, and every Member may run pods under it: give it the role Member or Viewer, or name a service account of a namespace that the administrators keep for the automation of {tenant}"
    )]
    ServiceAccountTooMighty {
        /// The tenant.
        tenant: TenantName,
        /// The service account's name.
        account: String,
        /// Its namespace.
        namespace: String,
        /// The role that it is to have.
        role: &'static str,
    },
    /// The SIRET number's check digit is wrong.
    #[error(
        "the SIRET number {siret} of {tenant} is mistyped, its check digit does not fit: write the 14 digits as on the INSEE notice (avis de situation)"
    )]
    BadSiret {
        /// The tenant.
        tenant: TenantName,
        /// What is written.
        siret: String,
    },
    /// A quota that cannot be counted.
    #[error("the quota {field} of {tenant} cannot be counted: {error}")]
    BadQuota {
        /// The tenant.
        tenant: TenantName,
        /// The field under spec.quota.
        field: &'static str,
        /// What is wrong with it.
        error: QuantityError,
    },
    /// The workspace is not in a tenant's home namespace.
    #[error(
        "the workspace {workspace} is in the namespace {namespace}, which is not the home namespace of {tenant}: make it in {tenant}"
    )]
    NotInHomeNamespace {
        /// The workspace.
        workspace: WorkspaceName,
        /// Where it is.
        namespace: String,
        /// The tenant.
        tenant: TenantName,
    },
    /// The tenant has as many workspaces as it may.
    #[error(
        "{tenant} may have {allowed} workspaces and has them already: delete one, or ask the datacentre's administrators for more (spec.quota.workspaces)"
    )]
    TooManyWorkspaces {
        /// The tenant.
        tenant: TenantName,
        /// How many it may have.
        allowed: i64,
    },
    /// The namespace exists and was not made for this tenant or workspace.
    #[error(
        "the namespace {namespace} exists already and was not made for {owner}, so it is left alone: choose another name, or have the administrators delete that namespace if nobody needs it"
    )]
    NamespaceTaken {
        /// The namespace.
        namespace: NamespaceName,
        /// For whom it would be.
        owner: String,
    },
}

impl Invalid {
    /// The condition's reason: one CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) => "BadName",
            Self::UnknownPerimeter { .. } => "UnknownPerimeter",
            Self::PerimeterLeaving { .. } => "PerimeterLeaving",
            Self::CategoryNotAdmitted { .. } => "CategoryNotAdmitted",
            Self::ConventionNotBegun { .. } => "ConventionNotBegun",
            Self::CoInvestmentRequired { .. } => "CoInvestmentRequired",
            Self::PosixAccountTaken { .. } => "PosixAccountTaken",
            Self::DuplicateMember { .. } => "DuplicateMember",
            Self::HostnameTaken { .. } => "HostnameTaken",
            Self::ForeignServiceAccount { .. } => "ForeignServiceAccount",
            Self::ServiceAccountTooMighty { .. } => "ServiceAccountTooMighty",
            Self::BadSiret { .. } => "BadSiret",
            Self::BadQuota { .. } => "BadQuota",
            Self::NotInHomeNamespace { .. } => "NotInHomeNamespace",
            Self::TooManyWorkspaces { .. } => "TooManyWorkspaces",
            Self::NamespaceTaken { .. } => "NamespaceTaken",
        }
    }
}

/// A perimeter as a tenant lives in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPerimeter {
    /// Its name.
    pub name: PerimeterName,
    /// Its rules.
    pub rules: TrustPerimeterSpec,
}

/// Whom a member's line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberSubject {
    /// A user, as the API server names them, and the posix account that their batch jobs run as.
    User {
        /// User name.
        name: String,
        /// Posix account; without one, no batch jobs.
        posix_account: Option<String>,
    },
    /// A group, as the API server names it.
    Group {
        /// Group name.
        name: String,
    },
    /// A service account: of a workspace of the tenant, or of no tenant.
    ServiceAccount(ServiceAccountName),
}

/// One who may act for a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValidMember {
    /// Who.
    pub subject: MemberSubject,
    /// As what.
    pub role: Role,
}

/// A tenant that fits its perimeter, its convention begun; it may be suspended.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidTenant {
    /// Its name.
    pub name: TenantName,
    /// The object's UID: its namespaces are made for it, and for no other tenant that had or will have the name.
    pub uid: String,
    /// Where it lives.
    pub perimeter: ValidPerimeter,
    /// Who may act for it, in a stable order.
    pub members: Vec<ValidMember>,
    /// What it may use over all its namespaces together.
    pub quota: Amounts,
    /// What its home namespace may hold.
    pub home_quota: Amounts,
    /// How many workspaces it may have.
    pub workspaces: i64,
    /// Hostnames that it holds: those among what it asks for that its status says.
    pub hostnames: Vec<String>,
    /// Extended resources that its quota counts, beside the GPUs that every quota counts.
    pub extended_resources: Vec<String>,
    /// Classes of devices that its quota counts.
    pub device_classes: Vec<String>,
    /// Set when it is suspended: it stands as it is, and nothing new starts.
    pub suspension: Option<Suspension>,
    /// From when on nothing new starts, as the API server enforces it.
    pub nothing_new: Option<RulesSuspension>,
}

impl ValidTenant {
    /// Its home namespace.
    pub fn home(&self) -> NamespaceName {
        NamespaceName::home(&self.name)
    }

    /// The posix account that a user's batch jobs run as.
    pub fn posix_account(&self, user: &str) -> Option<&str> {
        self.members.iter().find_map(|member| match &member.subject {
            MemberSubject::User { name, posix_account } if name == user => posix_account.as_deref(),
            _ => None,
        })
    }

    /// Proves that a tenant can stand, or says everything that is wrong with it, the weightiest first.
    ///
    /// `perimeter` is the one that it names, when it exists; `claims` is made from all tenants, this one among them;
    /// `now` decides whether the convention has begun, and whether the tenant is suspended: that is no fault of it.
    pub fn new(
        tenant: &Tenant,
        perimeter: Option<&TrustPerimeter>,
        claims: &TenantClaims,
        now: &Now,
    ) -> Result<Self, Vec<Invalid>> {
        let spec = &tenant.spec;
        let name = TenantName::new(name_of(&tenant.metadata)).map_err(|e| vec![e.into()])?;
        let Some(perimeter) = perimeter else {
            return Err(vec![Invalid::UnknownPerimeter {
                tenant: name,
                perimeter: spec.perimeter.clone(),
            }]);
        };
        // Those who live in it go on until they have left it.
        let leaving = perimeter.metadata.deletion_timestamp.is_some()
            && tenant
                .status
                .as_ref()
                .is_none_or(|status| status.home_namespace.is_none());
        let perimeter = ValidPerimeter {
            name: PerimeterName::new(name_of(&perimeter.metadata)).map_err(|e| vec![e.into()])?,
            rules: perimeter.spec.clone(),
        };

        let mut wrong = Vec::new();
        if leaving {
            wrong.push(Invalid::PerimeterLeaving {
                tenant: name.clone(),
                perimeter: perimeter.name.clone(),
            });
        }
        let admitted = &perimeter.rules.tenant_categories;
        if !admitted.contains(&spec.category) {
            wrong.push(Invalid::CategoryNotAdmitted {
                tenant: name.clone(),
                perimeter: perimeter.name.clone(),
                category: spec.category.as_str(),
                admitted: admitted
                    .iter()
                    .map(|c| c.as_str())
                    .collect::<Vec<_>>()
                    .join(" and "),
            });
        }
        let convention = &spec.convention;
        if now.today() < convention.valid_from {
            wrong.push(Invalid::ConventionNotBegun {
                tenant: name.clone(),
                reference: convention.reference.clone(),
                begins: convention.valid_from,
            });
        }
        if spec.category == TenantCategory::PrivateClient
            && convention.kind == Some(mesocentre_api::ConventionKind::Service)
        {
            wrong.push(Invalid::CoInvestmentRequired { tenant: name.clone() });
        }
        if !mesocentre_api::is_siret(&spec.legal_entity.siret) {
            wrong.push(Invalid::BadSiret {
                tenant: name.clone(),
                siret: spec.legal_entity.siret.clone(),
            });
        }
        let members = members(tenant, &name, claims, &mut wrong);
        for hostname in &spec.hostnames {
            if let Some(held) = claims.hostname_holder(name.as_str(), hostname) {
                wrong.push(Invalid::HostnameTaken {
                    tenant: name.clone(),
                    hostname: hostname.clone(),
                    held_by: held.tenant.clone(),
                    held: held.hostname.clone(),
                });
            }
        }
        let held = tenant.status.as_ref().map_or(&[][..], |status| &status.hostnames);
        let quota = Amounts::of_tenant(&spec.quota).unwrap_or_else(|bad| {
            wrong.extend(bad.into_iter().map(|(field, error)| Invalid::BadQuota {
                tenant: name.clone(),
                field,
                error,
            }));
            Amounts::default()
        });
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            uid: tenant.metadata.uid.clone().unwrap_or_default(),
            name,
            members,
            quota,
            home_quota: Amounts::of_home(&spec.quota),
            workspaces: spec.quota.workspaces,
            hostnames: spec
                .hostnames
                .iter()
                .filter(|hostname| held.contains(hostname))
                .cloned()
                .collect(),
            extended_resources: spec.quota.extended_resources.keys().cloned().collect(),
            device_classes: spec.quota.devices.keys().cloned().collect(),
            suspension: convention::suspension(tenant, &perimeter.rules.suspension, now),
            nothing_new: convention::nothing_new(tenant, now),
            perimeter,
        })
    }
}

/// Whom two lines must not both be about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum MemberKey {
    User(String),
    Group(String),
}

/// What is wrong with a service account as a member.
///
/// Whoever may run pods in a workspace may run them under its service accounts, so none of them gets a role that a
/// Member has not. A namespace with "--" is a workspace's, whether its tenant exists yet or not.
fn service_account(
    tenant: &TenantName,
    account: &ServiceAccountName,
    role: Role,
    claims: &TenantClaims,
) -> Option<Invalid> {
    let namespace = account.namespace.as_str();
    let whose = match namespace.split_once("--") {
        Some((owner, _)) if owner == tenant.as_str() => {
            return match role {
                Role::Member | Role::Viewer => None,
                Role::Owner | Role::Billing => Some(Invalid::ServiceAccountTooMighty {
                    tenant: tenant.clone(),
                    account: account.name.clone(),
                    namespace: namespace.into(),
                    role: role.as_str(),
                }),
            };
        }
        Some((owner, _)) => format!("a workspace of {owner}"),
        None if namespace == tenant.as_str() => "the tenant's own home, where nothing runs".to_owned(),
        None if claims.is_tenant(namespace) => format!("the tenant {namespace}"),
        None if ["kube-", "mesocentre-"].iter().any(|p| namespace.starts_with(p))
            || namespace == "default" =>
        {
            "the platform".to_owned()
        }
        None => return None,
    };
    Some(Invalid::ForeignServiceAccount {
        tenant: tenant.clone(),
        account: account.name.clone(),
        namespace: namespace.into(),
        whose,
    })
}

/// The members in a stable order; what is wrong among them goes into `wrong`.
fn members(
    tenant: &Tenant,
    name: &TenantName,
    claims: &TenantClaims,
    wrong: &mut Vec<Invalid>,
) -> Vec<ValidMember> {
    let mut seen: BTreeMap<MemberKey, usize> = BTreeMap::new();
    let mut valid = Vec::with_capacity(tenant.spec.members.len());
    for member in &tenant.spec.members {
        // The schema allows exactly one of the three; a line with none gives nobody anything.
        let (subject, key) = match (&member.user, &member.group, &member.service_account) {
            (Some(user), _, _) => (
                MemberSubject::User {
                    name: user.clone(),
                    posix_account: member.posix_account.clone(),
                },
                MemberKey::User(user.clone()),
            ),
            (None, Some(group), _) => (
                MemberSubject::Group { name: group.clone() },
                MemberKey::Group(group.clone()),
            ),
            (None, None, Some(account)) => {
                wrong.extend(service_account(name, account, member.role, claims));
                (
                    MemberSubject::ServiceAccount(account.clone()),
                    MemberKey::User(account.user_name()),
                )
            }
            (None, None, None) => continue,
        };
        let times = seen.entry(key.clone()).or_default();
        *times += 1;
        if *times == 2 {
            let (MemberKey::User(who) | MemberKey::Group(who)) = key;
            wrong.push(Invalid::DuplicateMember {
                tenant: name.clone(),
                who,
            });
        }
        if let (Some(user), Some(account)) = (&member.user, &member.posix_account)
            && let Some(claim) = claims.holder(account)
            && (claim.tenant != name.as_str() || claim.user != *user)
        {
            wrong.push(Invalid::PosixAccountTaken {
                tenant: name.clone(),
                user: user.clone(),
                account: account.clone(),
                held_by: claim.tenant.clone(),
                holder: claim.user.clone(),
            });
        }
        valid.push(ValidMember {
            subject,
            role: member.role,
        });
    }
    valid.sort();
    valid
}

fn name_of(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or("")
}

/// What belongs to one tenant among all: posix accounts, to the tenant that was created first and in it to the member
/// named first; hostnames, to who holds them by its status, then to who was created first; and names of tenants. Built
/// once for many validations.
#[derive(Clone, Debug, Default)]
pub struct TenantClaims {
    by_account: HashMap<String, Claim>,
    /// Every hostname that is held or asked for, the first to have it first.
    hostnames: Vec<HostnameClaim>,
    tenants: HashSet<String>,
}

/// A hostname that a tenant holds or asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HostnameClaim {
    /// Who holds it by their status goes before who asks.
    asks: bool,
    since: Timestamp,
    tenant: String,
    hostname: String,
}

/// Whether there is a name that both are about: equal, or one below the other's suffix.
fn overlap(one: &str, other: &str) -> bool {
    // Of *.a.b the suffix .a.b: a name below it ends so, and so does a deeper suffix.
    let below = |name: &str, wildcard: &str| {
        wildcard
            .strip_prefix('*')
            .is_some_and(|suffix| name.ends_with(suffix))
    };
    one == other || below(one, other) || below(other, one)
}

/// A posix account's holder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    since: Timestamp,
    tenant: String,
    user: String,
}

impl TenantClaims {
    /// The holders among these tenants.
    pub fn of<'a>(tenants: impl IntoIterator<Item = &'a Tenant>) -> Self {
        let mut by_account: HashMap<String, Claim> = HashMap::new();
        let mut names = HashSet::new();
        let mut hostnames = Vec::new();
        for tenant in tenants {
            // An object that the API server has not stamped yet comes last.
            let since = tenant
                .metadata
                .creation_timestamp
                .as_ref()
                .map_or(Timestamp::MAX, |t| t.0);
            let name = name_of(&tenant.metadata);
            names.insert(name.to_owned());
            let held = tenant.status.as_ref().map_or(&[][..], |status| &status.hostnames);
            let asked = tenant
                .spec
                .hostnames
                .iter()
                .filter(|hostname| !held.contains(hostname));
            let claim = |asks, hostname: &String| HostnameClaim {
                asks,
                since,
                tenant: name.to_owned(),
                hostname: hostname.clone(),
            };
            hostnames.extend(held.iter().map(|hostname| claim(false, hostname)));
            hostnames.extend(asked.map(|hostname| claim(true, hostname)));
            for member in &tenant.spec.members {
                let (Some(user), Some(account)) = (&member.user, &member.posix_account) else {
                    continue;
                };
                let earlier = by_account
                    .get(account)
                    .is_some_and(|held| (held.since, held.tenant.as_str()) <= (since, name));
                if !earlier {
                    by_account.insert(
                        account.clone(),
                        Claim {
                            since,
                            tenant: name.into(),
                            user: user.clone(),
                        },
                    );
                }
            }
        }
        hostnames.sort();
        Self {
            by_account,
            hostnames,
            tenants: names,
        }
    }

    /// Who goes before a tenant with a hostname that overlaps with this one.
    fn hostname_holder(&self, tenant: &str, hostname: &str) -> Option<&HostnameClaim> {
        self.hostnames
            .iter()
            .filter(|claim| overlap(&claim.hostname, hostname))
            .take_while(|claim| claim.tenant != tenant || claim.hostname != hostname)
            .find(|claim| claim.tenant != tenant)
    }

    fn is_tenant(&self, name: &str) -> bool {
        self.tenants.contains(name)
    }

    fn holder(&self, account: &str) -> Option<&Claim> {
        self.by_account.get(account)
    }
}

/// A workspace of a valid tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidWorkspace {
    /// Its name.
    pub name: WorkspaceName,
    /// The tenant that it belongs to.
    pub tenant: TenantName,
    /// The object's UID: its namespace is made for it alone.
    pub uid: String,
    /// Whether its batch jobs take scripts and environment from its Secrets and ConfigMaps.
    pub batch_jobs_may_read_secrets: bool,
}

impl ValidWorkspace {
    /// Proves that a workspace fits its tenant. `earlier` is how many of the tenant's workspaces were created before
    /// this one, by [`seniority`]: the first keep their places.
    pub fn new(workspace: &Workspace, tenant: &ValidTenant, earlier: usize) -> Result<Self, Invalid> {
        let name = WorkspaceName::new(name_of(&workspace.metadata))?;
        let namespace = workspace.metadata.namespace.as_deref().unwrap_or("");
        if namespace != tenant.name.as_str() {
            return Err(Invalid::NotInHomeNamespace {
                workspace: name,
                namespace: namespace.into(),
                tenant: tenant.name.clone(),
            });
        }
        if i64::try_from(earlier).unwrap_or(i64::MAX) >= tenant.workspaces {
            return Err(Invalid::TooManyWorkspaces {
                tenant: tenant.name.clone(),
                allowed: tenant.workspaces,
            });
        }
        Ok(Self {
            name,
            tenant: tenant.name.clone(),
            uid: workspace.metadata.uid.clone().unwrap_or_default(),
            batch_jobs_may_read_secrets: workspace.spec.batch_jobs_may_read_secrets,
        })
    }

    /// Its namespace.
    pub fn namespace(&self) -> NamespaceName {
        NamespaceName::workspace(&self.tenant, &self.name)
    }
}

/// Orders objects of a kind by creation, then by name: who is first in it keeps what others ask for as well.
pub fn seniority(metadata: &ObjectMeta) -> (Timestamp, String) {
    (
        metadata
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::MAX, |t| t.0),
        name_of(metadata).to_owned(),
    )
}

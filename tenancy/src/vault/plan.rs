//! The plan: what must be written for each tenant, what is left over, and what is in the way.

use super::entry::{self, Entry, Thing, mark_of};
use super::mark::{Mark, State};
use super::names::{Uid, VaultPath};
use super::{Layout, Wanted, Wish, policy};
use crate::names::TenantName;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// One listing of Vault, for all tenants at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Mounts by their path, without the slash at the end.
    pub mounts: BTreeMap<String, SeenMount>,
    /// Names of policies.
    pub policies: BTreeSet<String>,
    /// Names of roles of the JWT auth method.
    pub jwt_roles: BTreeSet<String>,
    /// Names of roles of the SSH engine.
    pub ssh_roles: BTreeSet<String>,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenMount {
    /// The engine's type.
    pub engine: String,
    /// The option `version`, which the KV engine has.
    pub version: Option<String>,
    /// Its description, where ours bear their mark.
    pub description: String,
}

/// Something in the way of a tenant's part of Vault: a sentence for the administrator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else's mount is where ours would be.
    #[error(
        "the mount {path} in Vault does not bear the mark of {tenant}, so it is left alone: move it away; or, if only its description was changed, write it back: vault secrets tune -description=\"{mark}\" {path}/"
    )]
    MountTaken {
        /// Its path.
        path: VaultPath,
        /// For whom ours would be.
        tenant: TenantName,
        /// The mark that ours would bear.
        mark: Box<str>,
    },
    /// Somebody else's role or policy is where ours would be.
    #[error(
        "the {} {path} in Vault was not made for {tenant} by this cluster's operator, so it is left alone: delete it if nobody needs it, and it is made anew",
        .thing.in_words()
    )]
    Taken {
        /// What it is.
        thing: Thing,
        /// Its path.
        path: String,
        /// For whom ours would be.
        tenant: TenantName,
    },
    /// What is ours does not become what it must be.
    #[error(
        "the {} {path} in Vault is not as it must be, and writing it changed nothing: see with vault read {path} what differs; a key that was made exportable stays so, and is replaced by hand",
        .thing.in_words()
    )]
    Stays {
        /// What it is.
        thing: Thing,
        /// Its path.
        path: String,
    },
    /// The data of an earlier tenant of the same name are still kept.
    #[error(
        "Vault still keeps the secrets of an earlier tenant {tenant} at {path}, sealed off until {destroy}: this one gets its own once they are destroyed then; if nobody may need them any more, vault secrets disable {path}/"
    )]
    Remains {
        /// The tenant.
        tenant: TenantName,
        /// The mount.
        path: VaultPath,
        /// From when on it is destroyed.
        destroy: Timestamp,
    },
}

impl Refusal {
    /// The condition's reason: one CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MountTaken { .. } | Self::Taken { .. } => "Taken",
            Self::Stays { .. } => "NotAsPlanned",
            Self::Remains { .. } => "Remains",
        }
    }
}

/// One change of a mount.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is made.
    Mount {
        /// Its path.
        path: VaultPath,
        /// What is asked for.
        body: Value,
    },
    /// Its mark is written anew.
    Describe {
        /// Its path.
        path: VaultPath,
        /// The mark.
        mark: Mark,
    },
}

/// What must be for one tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantPlan {
    /// The tenant.
    pub wanted: Wanted,
    /// Its mounts, first; nothing when they stand as they must.
    pub mounts: Vec<Step>,
    /// What must be there, in this order; each is looked at, and written when it is not met.
    pub entries: Vec<Entry>,
    /// Whether something of it is known to be missing or not as it must be, without a closer look.
    pub is_lacking: bool,
}

/// Something of ours that nobody wants any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// It is named like ours: when a closer look shows our mark (see [`Layout::is_ours`]), it goes.
    Door {
        /// What it is.
        thing: Thing,
        /// Its path.
        path: String,
    },
    /// A mount of a tenant that has ended: from now on it says until when it is kept.
    Seal {
        /// Its path.
        path: VaultPath,
        /// The mark that it gets.
        mark: Mark,
    },
    /// A mount that has been kept long enough.
    Destroy {
        /// Its path.
        path: VaultPath,
        /// The mark that it bears.
        mark: Mark,
    },
}

/// What is to be done, for all tenants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// For each tenant that wants its part.
    pub tenants: Vec<TenantPlan>,
    /// Those that cannot have it now, and why.
    pub refused: Vec<(Wanted, Refusal)>,
    /// What is left over, doors before mounts.
    pub leftovers: Vec<Leftover>,
    /// Until when the data of UIDs that want nothing are kept.
    pub kept: BTreeMap<Uid, Timestamp>,
}

impl Layout {
    /// Whether what was read at a path was made by this cluster's operator.
    pub fn is_ours(&self, thing: Thing, read: &Value) -> bool {
        mark_of(thing, read).is_some_and(|mark| mark.cluster == self.cluster)
    }
}

/// Plans. `now` is when what has ended is sealed off, and decides what is destroyed.
pub fn plan(layout: &Layout, wish: &Wish, seen: &Seen, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let mut doors: HashSet<String> = HashSet::new();
    for wanted in &wish.wanted {
        match of_tenant(layout, wanted, seen, now) {
            Ok(tenant) => {
                doors.extend(tenant.entries.iter().map(|entry| entry.path.clone()));
                plan.tenants.push(tenant);
            }
            Err(refusal) => plan.refused.push((wanted.clone(), refusal)),
        }
    }
    for (tenant, uid) in &wish.left_alone {
        doors.extend(paths_of_doors(layout, tenant, uid).map(|(_, path)| path));
    }
    plan.leftovers = leftover_doors(layout, seen, &doors);
    leftover_mounts(layout, wish, seen, now, &mut plan);
    plan
}

fn of_tenant(layout: &Layout, wanted: &Wanted, seen: &Seen, now: Timestamp) -> Result<TenantPlan, Refusal> {
    let mark = entry::in_use(layout, wanted);
    let mut mounts = Vec::new();
    for (path, engine) in [
        (layout.kv(&wanted.tenant), "kv"),
        (layout.transit(&wanted.tenant), "transit"),
    ] {
        let Some(there) = seen.mounts.get(path.as_str()) else {
            mounts.push(Step::Mount {
                path,
                body: entry::mount_body(engine, &mark),
            });
            continue;
        };
        let fits = there.engine == engine && (engine != "kv" || there.version.as_deref() == Some("2"));
        match Mark::parse(&there.description) {
            Some(found) if fits && found == mark => {}
            // It is the same tenant's: sealed off and asked for again, or kept for another time now.
            Some(found) if fits && found.uid == mark.uid && found.cluster == mark.cluster => {
                mounts.push(Step::Describe {
                    path,
                    mark: mark.clone(),
                });
            }
            Some(found) if found.cluster == mark.cluster && found.tenant == mark.tenant => {
                return Err(Refusal::Remains {
                    tenant: wanted.tenant.clone(),
                    path,
                    destroy: found.state.destroyed_from(now),
                });
            }
            _ => {
                return Err(Refusal::MountTaken {
                    path,
                    tenant: wanted.tenant.clone(),
                    mark: mark.to_string().into(),
                });
            }
        }
    }
    let mut entries = vec![entry::key(layout, wanted)];
    entries.extend(entry::doors(layout, wanted));
    let is_lacking = !mounts.is_empty() || entries.iter().any(|entry| !is_listed(layout, seen, entry));
    Ok(TenantPlan {
        wanted: wanted.clone(),
        mounts,
        entries,
        is_lacking,
    })
}

/// Whether the listing names it; of keys there is no listing.
fn is_listed(layout: &Layout, seen: &Seen, entry: &Entry) -> bool {
    let listed = |names: &BTreeSet<String>, folder: String| {
        entry
            .path
            .strip_prefix(&folder)
            .is_some_and(|name| names.contains(name))
    };
    match entry.thing {
        Thing::Mount | Thing::Key => true,
        Thing::Policy => listed(&seen.policies, "sys/policies/acl/".into()),
        Thing::JwtRole => listed(&seen.jwt_roles, format!("auth/{}/role/", layout.jwt)),
        Thing::SshRole => listed(&seen.ssh_roles, format!("{}/roles/", layout.ssh)),
    }
}

fn paths_of_doors(layout: &Layout, tenant: &TenantName, uid: &Uid) -> impl Iterator<Item = (Thing, String)> {
    [
        (
            Thing::Policy,
            format!("sys/policies/acl/{}", layout.policy(tenant, uid)),
        ),
        (Thing::JwtRole, format!("auth/{}/role/{tenant}", layout.jwt)),
        (Thing::SshRole, format!("{}/roles/{tenant}", layout.ssh)),
    ]
    .into_iter()
}

/// Whether a policy is named as [`Layout::policy`] names them.
fn is_policy_name(name: &str) -> bool {
    name.strip_prefix(policy::PREFIX)
        .and_then(|rest| rest.split_once("--"))
        .is_some_and(|(tenant, uid)| TenantName::new(tenant).is_ok() && Uid::new(uid).is_ok())
}

/// What is named like ours and is nobody's: policies first, for with its policy a login loses all that it could do.
fn leftover_doors(layout: &Layout, seen: &Seen, wanted: &HashSet<String>) -> Vec<Leftover> {
    let is_tenants = |name: &&String| TenantName::new(name).is_ok();
    let policies = seen
        .policies
        .iter()
        .filter(|name| is_policy_name(name))
        .map(|name| (Thing::Policy, format!("sys/policies/acl/{name}")));
    let jwt = seen
        .jwt_roles
        .iter()
        .filter(is_tenants)
        .map(|name| (Thing::JwtRole, format!("auth/{}/role/{name}", layout.jwt)));
    let ssh = seen
        .ssh_roles
        .iter()
        .filter(is_tenants)
        .map(|name| (Thing::SshRole, format!("{}/roles/{name}", layout.ssh)));
    policies
        .chain(jwt)
        .chain(ssh)
        .filter(|(_, path)| !wanted.contains(path))
        .map(|(thing, path)| Leftover::Door { thing, path })
        .collect()
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

impl State {
    /// From when on what is in this state now is destroyed, if its tenant has ended.
    fn destroyed_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::SealedOff { destroy, .. } => destroy,
            Self::InUse { keep_days } => {
                let kept = SignedDuration::from_hours(keep_days.saturating_mul(24));
                // A time that no calendar has is as good as never.
                whole_second(now.checked_add(kept).unwrap_or(Timestamp::MAX))
            }
        }
    }
}

fn leftover_mounts(layout: &Layout, wish: &Wish, seen: &Seen, now: Timestamp, plan: &mut Plan) {
    let living: HashSet<&Uid> = wish
        .wanted
        .iter()
        .map(|wanted| &wanted.uid)
        .chain(wish.left_alone.iter().map(|(_, uid)| uid))
        .collect();
    for (path, mount) in &seen.mounts {
        let Some(mark) = Mark::parse(&mount.description).filter(|mark| mark.cluster == layout.cluster) else {
            continue;
        };
        // A mark that was copied elsewhere makes nothing ours.
        let Some(path) = [layout.kv(&mark.tenant), layout.transit(&mark.tenant)]
            .into_iter()
            .find(|own| own.as_str() == path)
        else {
            continue;
        };
        if living.contains(&mark.uid) {
            continue;
        }
        let destroy = mark.state.destroyed_from(now);
        let is_sealed = matches!(mark.state, State::SealedOff { .. });
        if !is_sealed {
            plan.leftovers.push(Leftover::Seal {
                path: path.clone(),
                mark: Mark {
                    state: State::SealedOff {
                        since: whole_second(now),
                        destroy,
                    },
                    ..mark.clone()
                },
            });
        }
        plan.kept
            .entry(mark.uid.clone())
            .and_modify(|until| *until = (*until).max(destroy))
            .or_insert(destroy);
        // What was sealed off in an earlier look: never in the same, so that the mark is seen written before data go.
        if is_sealed && destroy <= now {
            plan.leftovers.push(Leftover::Destroy { path, mark });
        }
    }
}

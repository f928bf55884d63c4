//! Whether two agreements open traffic between two tenants, and the NetworkPolicies that do.
//!
//! ```text
//! chu-rouen/genomics: exposes cohort, app=cohort-api, 8443 ─┐            ┌ chu-rouen--cohort: in, from genomics
//! univ-caen/genomics: from genomics                         ├─▶ open ─▶ ─┤
//! neither suspended, both perimeters willing, both in date ┘            └ univ-caen--genomics: out, to cohort-api
//! ```
//!
//! Peers are selected by labels of their namespaces, which no tenant can write; pods only narrow that down.

use crate::names::{NamespaceName, TenantName, WorkspaceName};
use crate::plan::Planned;
use crate::validate::{Invalid, ValidTenant};
use jiff::civil::Date;
use mesocentre_api::{PeeringAgreement, PeeringExposure, labels};
use serde_json::{Value, json};

/// Label on the NetworkPolicies of a peering: the agreement's name. With it, those of a closed one are found.
pub const PEERING: &str = "mesocentre.io/peering";

/// One side of a peering: what the operator knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The tenant, or the first reason why it is not valid. None: there is no such tenant.
    pub tenant: Option<Result<&'a ValidTenant, &'a Invalid>>,
    /// The agreement of the name in question in its home namespace.
    pub agreement: Option<&'a PeeringAgreement>,
    /// Its workspaces that stand.
    pub workspaces: &'a [WorkspaceName],
}

/// What two agreements come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Peering {
    /// Traffic is open: these NetworkPolicies must exist.
    Open {
        /// What is open, in a sentence, for the agreement's condition.
        message: String,
        /// In both tenants' workspaces, ours and theirs.
        policies: Vec<Planned>,
    },
    /// It is not: none may exist.
    Closed {
        /// One CamelCase word.
        reason: &'static str,
        /// Why, and what to do, in a sentence.
        message: String,
    },
}

/// Decides the peering that the agreement `ours` asks for; asked from the other side, it comes to the same policies.
/// `theirs` is the side of the tenant that `ours` names, with its agreement of the same name. `today` is the civil day
/// in the datacentre's zone.
pub fn plan_peering(ours: Side<'_>, theirs: Side<'_>, today: Date) -> Peering {
    match open(ours, theirs, today) {
        Ok(peering) => peering,
        Err((reason, message)) => Peering::Closed { reason, message },
    }
}

type Closed = (&'static str, String);

/// One side, everything about it proven.
struct Party<'a> {
    tenant: &'a ValidTenant,
    agreement: &'a PeeringAgreement,
    workspaces: &'a [WorkspaceName],
}

fn open(ours: Side<'_>, theirs: Side<'_>, today: Date) -> Result<Peering, Closed> {
    let our_agreement = ours.agreement.ok_or_else(|| {
        (
            "NoConsent",
            "this side's agreement is gone, so traffic is closed".to_owned(),
        )
    })?;
    let name = our_agreement.metadata.name.as_deref().unwrap_or("");
    let our_name = our_agreement.metadata.namespace.as_deref().unwrap_or("");
    let their_name = our_agreement.spec.with.as_str();

    if our_name == their_name {
        return Err((
            "WithItself",
            format!(
                "the agreement {name} of {our_name} is with {our_name} itself: write another tenant's name into spec.with"
            ),
        ));
    }
    let our_tenant = proven(our_name, ours.tenant)?;
    let their_tenant = proven(their_name, theirs.tenant)?;
    let their_agreement = theirs.agreement.ok_or_else(|| {
        (
            "NoConsent",
            format!(
                "{their_name} has not consented: its Owner writes a PeeringAgreement named {name} in {their_name} with: {our_name}"
            ),
        )
    })?;
    if their_agreement.spec.with != our_name {
        return Err((
            "NoConsent",
            format!(
                "the agreement {name} of {their_name} is with {}, not with {our_name}: give the two agreements a name of their own",
                their_agreement.spec.with
            ),
        ));
    }
    for (tenant, agreement) in [(our_name, our_agreement), (their_name, their_agreement)] {
        if today > agreement.spec.valid_until {
            return Err((
                "Expired",
                format!(
                    "the agreement {name} of {tenant} ended on {}: its Owner writes a later validUntil to open it again",
                    agreement.spec.valid_until
                ),
            ));
        }
    }
    for (one, other) in [(our_tenant, their_tenant), (their_tenant, our_tenant)] {
        let (perimeter, peer) = (&one.perimeter, &other.perimeter.name);
        if !perimeter.rules.peers_with.iter().any(|p| p == peer.as_str()) {
            return Err((
                "PerimeterRefuses",
                format!(
                    "the perimeter {} of {} does not peer with {peer}, the perimeter of {}: an administrator of the datacentre would have to add {peer} to its peersWith",
                    perimeter.name, one.name, other.name
                ),
            ));
        }
    }

    let ours = Party {
        tenant: our_tenant,
        agreement: our_agreement,
        workspaces: ours.workspaces,
    };
    let theirs = Party {
        tenant: their_tenant,
        agreement: their_agreement,
        workspaces: theirs.workspaces,
    };
    for party in [&ours, &theirs] {
        party.names_only_its_workspaces()?;
    }
    // In the order of the tenants' names, so that both sides come to the same plan.
    let (first, second) = if ours.tenant.name <= theirs.tenant.name {
        (&ours, &theirs)
    } else {
        (&theirs, &ours)
    };
    let mut policies = first.opens_to(name, second);
    policies.extend(second.opens_to(name, first));
    let message = match (
        our_agreement.spec.exposes.len(),
        their_agreement.spec.exposes.len(),
    ) {
        (0, 0) => format!(
            "both sides consent, but neither exposes anything: write under exposes what {their_name} may reach"
        ),
        (0, _) => format!(
            "open until {}: our workspaces reach what {their_name} exposes",
            until(&ours, &theirs)
        ),
        (_, 0) => format!(
            "open until {}: {their_name} reaches what we expose",
            until(&ours, &theirs)
        ),
        _ => format!(
            "open until {}: each side reaches what the other exposes",
            until(&ours, &theirs)
        ),
    };
    Ok(Peering::Open { message, policies })
}

fn until(ours: &Party<'_>, theirs: &Party<'_>) -> Date {
    ours.agreement
        .spec
        .valid_until
        .min(theirs.agreement.spec.valid_until)
}

fn proven<'a>(
    name: &str,
    tenant: Option<Result<&'a ValidTenant, &'a Invalid>>,
) -> Result<&'a ValidTenant, Closed> {
    match tenant {
        // Why is between the tenant and the datacentre: its peers are not told.
        Some(Ok(tenant)) if tenant.suspension.is_some() => Err((
            "TenantSuspended",
            format!(
                "{name} is suspended, so traffic is closed: it opens again by itself once {name} is resumed"
            ),
        )),
        Some(Ok(tenant)) => Ok(tenant),
        Some(Err(invalid)) => Err(("TenantNotReady", format!("{name} cannot peer now: {invalid}"))),
        None => Err((
            "UnknownTenant",
            format!("there is no tenant {name}: write the other tenant's name into spec.with"),
        )),
    }
}

impl Party<'_> {
    fn names_only_its_workspaces(&self) -> Result<(), Closed> {
        let spec = &self.agreement.spec;
        let named = spec
            .exposes
            .iter()
            .map(|exposure| &exposure.workspace)
            .chain(spec.from.iter().map(|source| &source.workspace));
        for workspace in named {
            if !self.workspaces.iter().any(|w| w.as_str() == workspace) {
                return Err((
                    "UnknownWorkspace",
                    format!(
                        "{} has no workspace {workspace}, which its agreement names: make it, or name another",
                        self.tenant.name
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The policies that let `clients` reach what this side exposes, on both ends.
    fn opens_to(&self, name: &str, clients: &Party<'_>) -> Vec<Planned> {
        let exposes = &self.agreement.spec.exposes;
        let sources = clients.source_selectors();
        // A policy that names no source admits every source: with nobody to admit, there is none.
        if exposes.is_empty() || sources.is_empty() {
            return Vec::new();
        }
        let mut policies: Vec<Planned> = exposes
            .iter()
            .enumerate()
            .filter_map(|(index, exposure)| {
                let workspace = self.workspace(&exposure.workspace)?;
                Some(policy(
                    name,
                    &self.tenant.name,
                    workspace,
                    &format!("peering-{name}-in-{index}"),
                    json!({
                        "podSelector": {"matchLabels": exposure.pod_selector.match_labels},
                        "policyTypes": ["Ingress"],
                        "ingress": [{"from": sources, "ports": ports(exposure)}],
                    }),
                ))
            })
            .collect();
        let targets: Vec<Value> = exposes
            .iter()
            .map(|exposure| {
                json!({
                    "to": [{
                        "namespaceSelector": workspace_selector(&self.tenant.name, &exposure.workspace),
                        "podSelector": {"matchLabels": exposure.pod_selector.match_labels},
                    }],
                    "ports": ports(exposure),
                })
            })
            .collect();
        policies.extend(clients.sources().map(|workspace| {
            policy(
                name,
                &clients.tenant.name,
                workspace,
                &format!("peering-{name}-out"),
                json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": targets}),
            )
        }));
        policies
    }

    fn workspace(&self, name: &str) -> Option<&WorkspaceName> {
        self.workspaces.iter().find(|w| w.as_str() == name)
    }

    /// The workspaces that may use what the other side exposes.
    fn sources(&self) -> impl Iterator<Item = &WorkspaceName> {
        let from = &self.agreement.spec.from;
        self.workspaces
            .iter()
            .filter(move |w| from.is_empty() || from.iter().any(|source| source.workspace == w.as_str()))
    }

    fn source_selectors(&self) -> Vec<Value> {
        self.sources()
            .map(|workspace| json!({"namespaceSelector": workspace_selector(&self.tenant.name, workspace.as_str())}))
            .collect()
    }
}

fn workspace_selector(tenant: &TenantName, workspace: &str) -> Value {
    json!({"matchLabels": {labels::TENANT: tenant.as_str(), labels::WORKSPACE: workspace}})
}

fn ports(exposure: &PeeringExposure) -> Value {
    exposure
        .ports
        .iter()
        .map(|p| json!({"port": p.port, "protocol": p.protocol.as_str()}))
        .collect()
}

fn policy(peering: &str, tenant: &TenantName, workspace: &WorkspaceName, name: &str, spec: Value) -> Planned {
    Planned::in_namespace(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        &NamespaceName::workspace(tenant, workspace),
        name,
        json!({
            labels::MANAGED_BY: labels::MANAGED_BY_VALUE,
            labels::TENANT: tenant.as_str(),
            labels::WORKSPACE: workspace.as_str(),
            PEERING: peering,
        }),
        json!({"spec": spec}),
    )
}

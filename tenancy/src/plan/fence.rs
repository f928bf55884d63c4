//! What holds a namespace inside its perimeter: quota, limits, network, and the rules that admission reads.

use super::{Place, Planned};
use crate::quota::Amounts;
use crate::validate::MemberSubject;
use mesocentre_api::{
    EgressRule, IngressRule, PERIMETER_RULES_NAME, PerimeterRulesSpec, PortRule, RulesMember, labels,
};
use serde_json::{Value, json};

/// The ResourceQuota's name in each namespace.
pub const QUOTA_NAME: &str = "tenant";

/// What `quota.gpus` counts, as containers ask for it.
const GPUS: &str = "nvidia.com/gpu";

/// What a container gets that says nothing: requests, then limits. Every pod must say both, since the quota counts both.
const DEFAULT_REQUEST: (&str, &str, &str) = ("100m", "128Mi", "100Mi");
const DEFAULT_LIMIT: (&str, &str, &str) = ("500m", "512Mi", "1Gi");

/// The quota: this namespace's slice, and no ports of the nodes, which would open them to the outside.
pub(super) fn quota(place: &Place<'_>, hard: &Amounts) -> Planned {
    let mut hard = json!(hard.to_hard());
    hard["services.nodeports"] = json!("0");
    place.planned("v1", "ResourceQuota", QUOTA_NAME, json!({"spec": {"hard": hard}}))
}

/// The body that a merge patch of `resourcequotas/status` takes right after `quota` was made, as `live`, in a namespace
/// that nobody may act in yet: the quota is enforced from then on, without waiting for the controller manager. None when
/// all of it is counted.
///
/// What the controller manager has counted meanwhile stays, and what it does not know of (a kind whose definition came a
/// moment ago) is counted from here on: without a number, the API server would refuse all of that kind for minutes. It is
/// for the version that was seen, so that it goes over nothing newer.
pub fn first_quota_status(quota: &Planned, live: &Value) -> Option<Value> {
    let hard = &quota.body["spec"]["hard"];
    let counted = &live["status"]["used"];
    let uncounted: Vec<&String> = hard
        .as_object()
        .into_iter()
        .flat_map(|hard| hard.keys())
        .filter(|resource| counted[resource.as_str()].is_null())
        .collect();
    if uncounted.is_empty() && !live["status"]["hard"].is_null() {
        return None;
    }
    let mut used = counted.as_object().cloned().unwrap_or_default();
    for resource in uncounted {
        let there = if MADE_BY_KUBERNETES.contains(&resource.as_str()) {
            "1"
        } else {
            "0"
        };
        used.insert(resource.clone(), json!(there));
    }
    Some(json!({
        "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
        "status": {"hard": hard, "used": used},
    }))
}

/// What Kubernetes itself puts into each namespace, as a quota counts it: the `default` service account and the config
/// map `kube-root-ca.crt`. Whether they are there before the quota or after it is a race, so they count from the start:
/// too high by one until the controller manager counts anew, and never too low.
const MADE_BY_KUBERNETES: [&str; 2] = ["count/configmaps", "count/serviceaccounts"];

/// Defaults for containers that name no requests or limits.
pub(super) fn limits(place: &Place<'_>) -> Planned {
    let amounts = |(cpu, memory, disk): (&str, &str, &str)| json!({"cpu": cpu, "memory": memory, "ephemeral-storage": disk});
    place.planned(
        "v1",
        "LimitRange",
        "defaults",
        json!({"spec": {"limits": [{
            "type": "Container",
            "default": amounts(DEFAULT_LIMIT),
            "defaultRequest": amounts(DEFAULT_REQUEST),
        }]}}),
    )
}

/// The network: nothing in or out but the tenant's own pods, DNS, and what the perimeter lists. Peers have policies of
/// their own beside it.
pub(super) fn network(place: &Place<'_>) -> Planned {
    // The label is on namespaces, where no tenant can write it.
    let own_pods =
        json!([{"namespaceSelector": {"matchLabels": {labels::TENANT: place.tenant.name.as_str()}}}]);
    let mut egress = vec![
        json!({"to": own_pods}),
        json!({
            "to": [{
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }],
            "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
        }),
    ];
    let rules = &place.tenant.perimeter.rules.network;
    egress.extend(rules.egress.iter().map(destination));
    let mut ingress = vec![json!({"from": own_pods})];
    ingress.extend(rules.ingress_from.iter().map(source));
    // An empty list would let in everybody.
    let cidrs = rules.ingress.iter().flat_map(|from| &from.cidrs);
    let from: Vec<Value> = cidrs.map(|cidr| json!({"ipBlock": {"cidr": cidr}})).collect();
    if !from.is_empty() {
        ingress.push(json!({"from": from}));
    }
    place.planned(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "perimeter",
        json!({"spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        }}),
    )
}

fn destination(rule: &EgressRule) -> Value {
    with_ports(json!({"to": [{"ipBlock": {"cidr": rule.cidr}}]}), &rule.ports)
}

/// A namespace of the platform, by the name that the API server writes on it. Other tenants come by agreement only, so a
/// namespace of theirs does not pass even when it is named.
fn source(rule: &IngressRule) -> Value {
    let from = json!({"from": [{"namespaceSelector": {
        "matchLabels": {"kubernetes.io/metadata.name": rule.namespace},
        "matchExpressions": [{"key": labels::TENANT, "operator": "DoesNotExist"}],
    }}]});
    with_ports(from, &rule.ports)
}

/// None named means all.
fn with_ports(mut rule: Value, ports: &[PortRule]) -> Value {
    if !ports.is_empty() {
        rule["ports"] = ports
            .iter()
            .map(|p| json!({"port": p.port, "protocol": p.protocol.as_str()}))
            .collect();
    }
    rule
}

/// The rules that the API server's admission policies read.
pub(super) fn rules(place: &Place<'_>) -> Planned {
    let perimeter = &place.tenant.perimeter;
    let ingress = perimeter.rules.network.ingress.as_ref();
    let spec = PerimeterRulesSpec {
        tenant: place.tenant.name.to_string(),
        workspace: place.workspace.map(|w| w.name.to_string()),
        perimeter: perimeter.name.to_string(),
        image_registries: perimeter.rules.images.registries.clone(),
        require_image_digest: perimeter.rules.images.require_digest,
        node_selector: perimeter
            .rules
            .nodes
            .as_ref()
            .map(|nodes| nodes.selector.clone())
            .unwrap_or_default(),
        runtime_class_name: perimeter.rules.runtime_class_name.clone(),
        runtime_classes: perimeter.rules.runtime_classes.clone(),
        tolerations: perimeter.rules.tolerations.clone(),
        priority_classes: perimeter.rules.priority_classes.clone(),
        storage_classes: perimeter.rules.storage_classes.clone(),
        volume_attributes_classes: perimeter.rules.volume_attributes_classes.clone(),
        snapshot_classes: perimeter.rules.snapshot_classes.clone(),
        hostnames: place.tenant.hostnames.clone(),
        ingress_classes: ingress.map(|i| i.classes.clone()).unwrap_or_default(),
        gateways: ingress
            .into_iter()
            .flat_map(|i| &i.gateways)
            .map(|gateway| format!("{}/{}", gateway.namespace, gateway.name))
            .collect(),
        ingress_cidrs: ingress.map(|i| i.cidrs.clone()).unwrap_or_default(),
        publishing_annotations: perimeter.rules.network.publishing_annotations.clone(),
        load_balancers: perimeter.rules.network.load_balancers,
        extended_resources: std::iter::once(GPUS.to_owned())
            .chain(place.tenant.extended_resources.iter().cloned())
            .collect(),
        device_classes: place.tenant.device_classes.clone(),
        members: place
            .tenant
            .members
            .iter()
            .map(|member| match &member.subject {
                MemberSubject::User { name, posix_account } => RulesMember {
                    user: Some(name.clone()),
                    group: None,
                    role: member.role,
                    runs_batch_jobs: posix_account.is_some() && member.role.runs_batch_jobs(),
                },
                MemberSubject::Group { name } => RulesMember {
                    user: None,
                    group: Some(name.clone()),
                    role: member.role,
                    runs_batch_jobs: false,
                },
                MemberSubject::ServiceAccount(account) => RulesMember {
                    user: Some(account.user_name()),
                    group: None,
                    role: member.role,
                    runs_batch_jobs: false,
                },
            })
            .collect(),
        suspension: place.tenant.nothing_new.clone(),
    };
    place.planned(
        "mesocentre.io/v1alpha1",
        "PerimeterRules",
        PERIMETER_RULES_NAME,
        json!({"spec": spec}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_puts_into_a_namespace_counts_from_the_start() {
        let hard = json!({"count/configmaps": "9", "count/serviceaccounts": "9", "pods": "4"});
        let quota = Planned {
            kind: "ResourceQuota".into(),
            namespace: None,
            name: QUOTA_NAME.into(),
            body: json!({"spec": {"hard": hard}}),
        };
        let made = json!({"metadata": {"resourceVersion": "7"}});
        let used = json!({"count/configmaps": "1", "count/serviceaccounts": "1", "pods": "0"});
        assert_eq!(
            first_quota_status(&quota, &made),
            Some(json!({"metadata": {"resourceVersion": "7"}, "status": {"hard": hard, "used": used}}))
        );
        // The controller manager was there first, and knows less than all.
        let counted = json!({"metadata": {"resourceVersion": "8"},
            "status": {"hard": hard, "used": {"count/configmaps": "1", "pods": "3"}}});
        let used = json!({"count/configmaps": "1", "count/serviceaccounts": "1", "pods": "3"});
        assert_eq!(
            first_quota_status(&quota, &counted),
            Some(json!({"metadata": {"resourceVersion": "8"}, "status": {"hard": hard, "used": used}}))
        );
        let whole = json!({"metadata": {"resourceVersion": "9"}, "status": {"hard": hard, "used": used}});
        assert_eq!(first_quota_status(&quota, &whole), None);
    }
}

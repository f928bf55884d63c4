//! Who reaches whom is what the network policies say, and what the examples' perimeters promise is all that is open.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

mod examples;

use examples::{Examples, date};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mesocentre_api::{PeeringAgreement, Protocol};
use mesocentre_tenancy::peering::{Peering, Side, plan_peering};
use mesocentre_tenancy::quota::Amounts;
use mesocentre_tenancy::reachability::{End, Labels, Network, Ports, Promised, View, ways_of};
use mesocentre_tenancy::{Planned, ValidTenant, ValidWorkspace, WorkspaceName, plan_home, plan_workspace};
use proptest::prelude::*;
use serde_json::json;

/// Two tenants of the examples, with their namespaces and policies, and the peering between them.
struct World {
    caen: ValidTenant,
    namespaces: Vec<(String, Labels)>,
    policies: Vec<NetworkPolicy>,
    agreements: [PeeringAgreement; 2],
}

fn labels_of(planned: &Planned) -> Labels {
    serde_json::from_value(planned.body["metadata"]["labels"].clone()).unwrap()
}

fn world(peered: bool) -> World {
    let examples = Examples::read();
    let today = date(2026, 11, 24);
    let (mut namespaces, mut policies) = (Vec::new(), Vec::new());
    let mut note = |plan: &mesocentre_tenancy::NamespacePlan| {
        namespaces.push((plan.namespace.to_string(), labels_of(&plan.object)));
        let network = plan
            .fences
            .iter()
            .filter(|planned| planned.kind == "NetworkPolicy");
        policies.extend(network.map(|planned| serde_json::from_value(planned.body.clone()).unwrap()));
    };
    let mut tenants = Vec::new();
    for name in ["univ-caen", "chu-rouen"] {
        let tenant = examples.valid(name, today).unwrap();
        note(&plan_home(&tenant));
        let mut names: Vec<WorkspaceName> = Vec::new();
        for workspace in examples.workspaces_of(name) {
            let valid = ValidWorkspace::new(workspace, &tenant, 0).unwrap();
            note(&plan_workspace(&tenant, &valid, &Amounts::default()));
            names.push(valid.name);
        }
        tenants.push((tenant, names));
    }
    let agreements = [
        examples.agreement("univ-caen").unwrap().clone(),
        examples.agreement("chu-rouen").unwrap().clone(),
    ];
    let side = |index: usize| Side {
        tenant: Some(Ok(&tenants[index].0)),
        agreement: Some(&agreements[index]),
        workspaces: &tenants[index].1,
    };
    if peered {
        let Peering::Open { policies: more, .. } = plan_peering(side(0), side(1), today) else {
            panic!("the examples' peering is closed")
        };
        policies.extend(
            more.iter()
                .map(|planned| serde_json::from_value::<NetworkPolicy>(planned.body.clone()).unwrap()),
        );
    }
    World {
        caen: tenants.remove(0).0,
        namespaces,
        policies,
        agreements,
    }
}

impl World {
    fn network(&self) -> Network<'_> {
        Network::new(
            self.namespaces
                .iter()
                .map(|(name, labels)| (name.as_str(), labels)),
            &self.policies,
        )
    }

    fn ways(&self) -> Vec<mesocentre_api::OpenWay> {
        let promised = Promised {
            egress: &self.caen.perimeter.rules.network.egress,
            peerings: vec![[&self.agreements[0], &self.agreements[1]]],
        };
        ways_of("univ-caen", &self.network(), &promised)
    }

    fn policies_in<'a>(&'a self, namespaces: &'a [&str]) -> impl Iterator<Item = &'a NetworkPolicy> {
        self.policies
            .iter()
            .filter(|policy| namespaces.contains(&policy.metadata.namespace.as_deref().unwrap_or_default()))
    }

    fn add(&mut self, policy: serde_json::Value) {
        self.policies.push(serde_json::from_value(policy).unwrap());
    }
}

#[test]
fn whatever_the_examples_open_is_promised_and_the_peering_opens_what_it_exposes() {
    for peered in [false, true] {
        let ways = world(peered).ways();
        let unpromised: Vec<_> = ways.iter().filter(|way| way.because.is_none()).collect();
        assert!(unpromised.is_empty(), "{unpromised:#?}");
        let to_the_hospital: Vec<_> = ways
            .iter()
            .filter(|way| way.to.starts_with("chu-rouen"))
            .collect();
        assert_eq!(!to_the_hospital.is_empty(), peered, "{to_the_hospital:#?}");
        assert!(
            ways.iter().all(|way| !way.from.starts_with("chu-rouen")),
            "{ways:#?}"
        );
        for reason in ["the tenant's own pods", "DNS", "the perimeter's egress"] {
            assert!(
                ways.iter()
                    .any(|way| way.because.as_deref().is_some_and(|b| b.starts_with(reason))),
                "{reason}: {ways:#?}"
            );
        }
    }
}

#[test]
fn a_policy_that_somebody_adds_opens_a_way_that_nothing_promises() {
    let opened = |spec: serde_json::Value| {
        let mut world = world(true);
        world.add(json!({"metadata": {"name": "theirs", "namespace": "univ-caen--climate"}, "spec": spec}));
        let ways = world.ways().into_iter().filter(|way| way.because.is_none());
        ways.map(|way| format!("{} to {}", way.from, way.to))
            .collect::<Vec<_>>()
    };
    let everybody = opened(json!({"podSelector": {}, "ingress": [{}]}));
    assert!(
        everybody.contains(&"every address outside to univ-caen--climate".to_owned()),
        "{everybody:#?}"
    );
    assert!(
        everybody.contains(&"any other namespace to univ-caen--climate".to_owned()),
        "{everybody:#?}"
    );
    let out = opened(
        json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}),
    );
    assert_eq!(out, ["univ-caen--climate to 0.0.0.0/0"]);
    let some_pods = opened(json!({
        "podSelector": {"matchLabels": {"app": "x"}},
        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "platform"}}}]}],
    }));
    assert_eq!(
        some_pods,
        ["namespaces with team=platform to univ-caen--climate pods app=x"]
    );
    // The other side lets nobody in, so this one opens nothing.
    let to_another = opened(json!({
        "podSelector": {}, "policyTypes": ["Egress"],
        "egress": [{"to": [{"namespaceSelector": {"matchLabels": {"mesocentre.io/tenant": "chu-rouen"}}}]}],
    }));
    assert_eq!(to_another, Vec::<String>::new());
}

#[test]
fn without_its_policy_a_namespace_is_open_and_that_is_seen() {
    let mut world = world(false);
    world
        .policies
        .retain(|policy| policy.metadata.namespace.as_deref() != Some("univ-caen--climate"));
    let ways = world.ways();
    let outside = ways.iter().find(|way| way.to == "every address outside").unwrap();
    assert_eq!(outside.from, "univ-caen--climate");
    assert_eq!((outside.ports.len(), outside.because.as_deref()), (0, None));
}

#[test]
fn addresses_are_in_a_block_but_for_its_exceptions() {
    let policy: NetworkPolicy = serde_json::from_value(json!({
        "metadata": {"namespace": "a"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [
            {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80, "endPort": 90}]},
            {"to": [{"ipBlock": {"cidr": "2001:db8::/32"}}], "ports": [{"protocol": "UDP", "port": "dns"}]},
        ]},
    }))
    .unwrap();
    let labels = Labels::new();
    let network = Network::new([("a", &labels)], [&policy]);
    let to = |address: &str| {
        network.ports(
            End::Pod {
                namespace: "a",
                labels: &labels,
            },
            End::Outside(address.parse().unwrap()),
        )
    };
    assert!(to("10.2.0.1").contains(85, Protocol::TCP) && !to("10.2.0.1").contains(91, Protocol::TCP));
    assert!(!to("10.2.0.1").contains(85, Protocol::UDP));
    assert!(to("10.1.2.3").is_empty() && to("11.0.0.1").is_empty() && to("2001:db9::1").is_empty());
    assert!(
        to("2001:db8::1").contains(5353, Protocol::UDP),
        "a named port counts as every port"
    );
}

const NAMESPACES: [&str; 3] = ["a", "b", "c"];

fn small_labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[xy]", "[12]", 0..3)
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let operator = prop_oneof![Just("In"), Just("NotIn"), Just("Exists"), Just("DoesNotExist")];
    (small_labels(), proptest::option::of((operator, "[xy]", "[12]"))).prop_map(|(labels, expression)| {
        let expressions = expression.map(|(operator, key, value)| {
            let values = if operator.ends_with("In") {
                vec![value]
            } else {
                Vec::new()
            };
            json!({"key": key, "operator": operator, "values": values})
        });
        serde_json::from_value(
            json!({"matchLabels": labels, "matchExpressions": Vec::from_iter(expressions)}),
        )
        .unwrap()
    })
}

fn rule(peers: &'static str) -> impl Strategy<Value = serde_json::Value> {
    let peer = (proptest::option::of(selector()), proptest::option::of(selector()))
        .prop_filter("a peer selects something", |(n, p)| n.is_some() || p.is_some())
        .prop_map(|(n, p)| json!({"namespaceSelector": n, "podSelector": p}));
    let port = (1_i32..6, 0_i32..3, prop_oneof![Just("TCP"), Just("UDP")]).prop_map(
        |(first, more, protocol)| json!({"port": first, "endPort": first + more, "protocol": protocol}),
    );
    (
        proptest::collection::vec(peer, 0..3),
        proptest::collection::vec(port, 0..3),
    )
        .prop_map(move |(who, ports)| json!({peers: who, "ports": ports}))
}

fn policy() -> impl Strategy<Value = NetworkPolicy> {
    let types = prop_oneof![
        Just(json!(null)),
        Just(json!(["Ingress"])),
        Just(json!(["Egress"])),
        Just(json!(["Ingress", "Egress"]))
    ];
    let rules = |peers| proptest::collection::vec(rule(peers), 0..3);
    (0_usize..3, selector(), types, rules("from"), rules("to")).prop_map(
        |(namespace, pods, types, ingress, egress)| {
            serde_json::from_value(json!({
                "metadata": {"namespace": NAMESPACES[namespace]},
                "spec": {"podSelector": pods, "policyTypes": types, "ingress": ingress, "egress": egress},
            }))
            .unwrap()
        },
    )
}

/// The specification read once more, one port at a time and one side after the other, sharing nothing with the crate.
mod once_more {
    use super::*;

    pub struct Pod<'a>(pub &'a str, pub &'a Labels, pub &'a Labels);

    fn selected(selector: &LabelSelector, labels: &Labels) -> bool {
        for (key, value) in selector.match_labels.iter().flatten() {
            if labels.get(key) != Some(value) {
                return false;
            }
        }
        for expression in selector.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            let ok = match (expression.operator.as_str(), labels.get(&expression.key)) {
                ("In", Some(value)) => values.contains(value),
                ("NotIn", Some(value)) => !values.contains(value),
                ("NotIn", None) | ("DoesNotExist", None) | ("Exists", Some(_)) => true,
                _ => false,
            };
            if !ok {
                return false;
            }
        }
        true
    }

    type Rule = (Option<Vec<NetworkPolicyPeer>>, Option<Vec<NetworkPolicyPort>>);

    fn lets(rules: Vec<Rule>, home: &str, other: &Pod<'_>, number: i32, protocol: &str) -> bool {
        rules.into_iter().any(|(peers, ports)| {
            let peers = peers.unwrap_or_default();
            let ports = ports.unwrap_or_default();
            let who = peers.is_empty()
                || peers.iter().any(|peer| {
                    let namespace = match &peer.namespace_selector {
                        None => other.0 == home,
                        Some(selector) => selected(selector, other.1),
                    };
                    namespace && peer.pod_selector.as_ref().is_none_or(|s| selected(s, other.2))
                });
            let port = ports.is_empty()
                || ports.iter().any(|port| {
                    let Some(IntOrString::Int(first)) = port.port else {
                        return false;
                    };
                    port.protocol.as_deref() == Some(protocol)
                        && number >= first
                        && number <= port.end_port.unwrap_or(first)
                });
            who && port
        })
    }

    pub fn admits(
        policies: &[NetworkPolicy],
        from: &Pod<'_>,
        to: &Pod<'_>,
        number: i32,
        protocol: &str,
    ) -> bool {
        let side = |home: &Pod<'_>, other: &Pod<'_>, ingress: bool| {
            let mut isolated = false;
            let mut open = false;
            for policy in policies
                .iter()
                .filter(|p| p.metadata.namespace.as_deref() == Some(home.0))
            {
                let spec = policy.spec.clone().unwrap();
                if !spec.pod_selector.as_ref().is_none_or(|s| selected(s, home.2)) {
                    continue;
                }
                let types = spec.policy_types.clone().unwrap_or_else(|| {
                    let mut types = vec!["Ingress".to_owned()];
                    if spec.egress.as_ref().is_some_and(|egress| !egress.is_empty()) {
                        types.push("Egress".into());
                    }
                    types
                });
                let wanted = if ingress { "Ingress" } else { "Egress" };
                if !types.contains(&wanted.to_owned()) {
                    continue;
                }
                isolated = true;
                let rules = if ingress {
                    spec.ingress
                        .unwrap_or_default()
                        .into_iter()
                        .map(|r| (r.from, r.ports))
                        .collect()
                } else {
                    spec.egress
                        .unwrap_or_default()
                        .into_iter()
                        .map(|r| (r.to, r.ports))
                        .collect()
                };
                open |= lets(rules, home.0, other, number, protocol);
            }
            !isolated || open
        };
        side(from, to, false) && side(to, from, true)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn ports_agree_with_the_specification_read_once_more(
        policies in proptest::collection::vec(policy(), 0..6),
        namespaces in proptest::collection::vec(small_labels(), 3),
        (from_at, from_pod) in (0_usize..3, small_labels()),
        (to_at, to_pod) in (0_usize..3, small_labels()),
    ) {
        let network = Network::new(NAMESPACES.into_iter().zip(&namespaces), &policies);
        let ports: Ports = network.ports(
            End::Pod { namespace: NAMESPACES[from_at], labels: &from_pod },
            End::Pod { namespace: NAMESPACES[to_at], labels: &to_pod },
        );
        let pod = |at: usize, labels| once_more::Pod(NAMESPACES[at], &namespaces[at], labels);
        for number in 1..9 {
            for (protocol, word) in [(Protocol::TCP, "TCP"), (Protocol::UDP, "UDP"), (Protocol::SCTP, "SCTP")] {
                prop_assert_eq!(
                    ports.contains(number, protocol),
                    once_more::admits(&policies, &pod(from_at, &from_pod), &pod(to_at, &to_pod), number, word),
                    "{}/{}", number, word
                );
            }
        }
    }
}

/// One of the things that somebody may write into a namespace.
fn some_policy() -> impl Strategy<Value = serde_json::Value> {
    let peer = prop_oneof![
        Just(json!({"podSelector": {}})),
        Just(json!({"namespaceSelector": {}})),
        Just(json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}})),
        Just(json!({"namespaceSelector": {"matchLabels": {"mesocentre.io/tenant": "chu-rouen"}}})),
        Just(json!({"namespaceSelector": {"matchLabels": {"mesocentre.io/tenant": "univ-caen"}}})),
        Just(json!({"namespaceSelector": {"matchExpressions": [
            {"key": "mesocentre.io/tenant", "operator": "NotIn", "values": ["univ-caen"]}]}})),
        Just(json!({"ipBlock": {"cidr": "192.0.2.0/24"}})),
    ];
    let peers = proptest::collection::vec(peer, 0..3);
    let selector = prop_oneof![Just(json!({})), Just(json!({"matchLabels": {"app": "web"}}))];
    let types = prop_oneof![
        Just(json!(["Ingress"])),
        Just(json!(["Egress"])),
        Just(json!(["Ingress", "Egress"]))
    ];
    (selector, types, peers, any::<bool>()).prop_map(|(selector, types, peers, with_peers)| {
        let rule = |direction: &str| {
            if with_peers {
                json!([{direction: peers}])
            } else {
                json!([{}])
            }
        };
        json!({"podSelector": selector, "policyTypes": types, "ingress": rule("from"), "egress": rule("to")})
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn who_is_not_in_view_of_a_tenants_own_policies_has_no_way_in_or_out(
        peered: bool,
        fences_are_gone: bool,
        added in proptest::collection::vec((0_usize..8, some_policy()), 0..4),
    ) {
        let mut world = world(peered);
        if fences_are_gone {
            world.policies.retain(|policy| policy.metadata.namespace.as_deref() != Some("univ-caen--climate"));
        }
        for (index, (at, spec)) in added.iter().enumerate() {
            let (namespace, _) = &world.namespaces[at % world.namespaces.len()];
            let policy = json!({"metadata": {"name": format!("more-{index}"), "namespace": namespace}, "spec": spec});
            world.add(policy);
        }
        let is_own = |labels: &Labels| labels.get("mesocentre.io/tenant").is_some_and(|tenant| tenant == "univ-caen");
        let own: Vec<&str> =
            world.namespaces.iter().filter(|(_, labels)| is_own(labels)).map(|(name, _)| name.as_str()).collect();
        let own_policies: Vec<NetworkPolicy> = world.policies_in(&own).cloned().collect();
        let view = View::of(&own, &own_policies);
        let in_view: Vec<(&str, &Labels)> = world
            .namespaces
            .iter()
            .filter(|(_, labels)| is_own(labels) || view.holds(labels))
            .map(|(name, labels)| (name.as_str(), labels))
            .collect();
        let names: Vec<&str> = in_view.iter().map(|(name, _)| *name).collect();
        let policies = world.policies_in(&names);
        let promised = Promised {
            egress: &world.caen.perimeter.rules.network.egress,
            peerings: vec![[&world.agreements[0], &world.agreements[1]]],
        };
        let seen = ways_of("univ-caen", &Network::new(in_view.clone(), policies), &promised);
        prop_assert_eq!(seen, world.ways());
    }
}

#[test]
fn two_tenants_without_a_peering_are_not_in_view_of_each_other() {
    for (peered, in_view) in [(false, false), (true, true)] {
        let world = world(peered);
        let own = ["univ-caen", "univ-caen--climate", "univ-caen--genomics"];
        let policies: Vec<NetworkPolicy> = world.policies_in(&own).cloned().collect();
        let view = View::of(&own, &policies);
        let others = world
            .namespaces
            .iter()
            .filter(|(name, _)| name.starts_with("chu-rouen"));
        assert_eq!(others.into_iter().any(|(_, labels)| view.holds(labels)), in_view);
    }
}

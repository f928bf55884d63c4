//! Who reaches whom, computed from NetworkPolicies alone, as <https://kubernetes.io/docs/concepts/services-networking/network-policies/>
//! says that an engine enforces them.
//!
//! ```text
//! namespaces' labels, their policies ──Network──▶ ports(from, to)         any two ends
//!                                        └──ways_of(tenant)──▶ every way in or out, and what promises it
//! ```
//!
//! Pods are told apart by what policies can tell apart: a pod without labels, and one for each pod selector that a policy
//! names. Where it cannot be known, a way counts as open: a named port is every port, and a namespace that belongs to no
//! tenant lets everything pass. An ipBlock is about addresses outside the cluster. Policies of other kinds (Cilium's own,
//! AdminNetworkPolicy) are not read.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mesocentre_api::{EgressRule, OpenPort, OpenWay, PeeringAgreement, PortRule, Protocol, labels};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Labels of a pod or a namespace.
pub type Labels = BTreeMap<String, String>;

/// The label that the API server puts on every namespace: its name.
const NAME: &str = "kubernetes.io/metadata.name";
const PROTOCOLS: [Protocol; 3] = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
const LAST_PORT: i32 = 65_535;

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A pod with these labels in a namespace of the network.
    Pod {
        /// Its namespace.
        namespace: &'a str,
        /// Its labels.
        labels: &'a Labels,
    },
    /// An address outside the cluster.
    Outside(IpAddr),
}

/// The ports on which a way is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(BTreeSet<OpenPort>);

impl Ports {
    /// Every port of every protocol.
    pub fn all() -> Self {
        Self(PROTOCOLS.into_iter().map(every).collect())
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is open.
    pub fn contains(&self, port: i32, protocol: Protocol) -> bool {
        self.0.iter().any(|open| {
            let (first, last) = bounds(open);
            open.protocol == protocol && (first..=last).contains(&port)
        })
    }

    fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    fn common(&self, other: &Self) -> Self {
        let mut common = BTreeSet::new();
        for one in &self.0 {
            for two in other.0.iter().filter(|two| two.protocol == one.protocol) {
                let ((a, b), (c, d)) = (bounds(one), bounds(two));
                let (first, last) = (a.max(c), b.min(d));
                if first <= last {
                    common.insert(between(first, last, one.protocol));
                }
            }
        }
        Self(common)
    }

    fn are_within(&self, other: &Self) -> bool {
        self.0.iter().all(|one| {
            let (a, b) = bounds(one);
            other.0.iter().any(|two| {
                let (c, d) = bounds(two);
                two.protocol == one.protocol && c <= a && b <= d
            })
        })
    }

    /// As a report lists them: an empty list means all.
    fn listed(self) -> Vec<OpenPort> {
        if PROTOCOLS.into_iter().all(|p| self.0.contains(&every(p))) {
            Vec::new()
        } else {
            self.0.into_iter().collect()
        }
    }

    fn of_rule(ports: Option<&Vec<NetworkPolicyPort>>) -> Self {
        match ports {
            Some(ports) if !ports.is_empty() => Self(ports.iter().map(of_policy_port).collect()),
            _ => Self::all(),
        }
    }

    fn promised(rules: &[PortRule]) -> Self {
        if rules.is_empty() {
            return Self::all();
        }
        Self(
            rules
                .iter()
                .map(|r| between(r.port, r.port, r.protocol))
                .collect(),
        )
    }
}

fn every(protocol: Protocol) -> OpenPort {
    OpenPort {
        port: None,
        end_port: None,
        protocol,
    }
}

fn between(first: i32, last: i32, protocol: Protocol) -> OpenPort {
    if first <= 1 && last >= LAST_PORT {
        return every(protocol);
    }
    OpenPort {
        port: Some(first),
        end_port: (last > first).then_some(last),
        protocol,
    }
}

fn bounds(port: &OpenPort) -> (i32, i32) {
    match port.port {
        Some(first) => (first, port.end_port.unwrap_or(first)),
        None => (1, LAST_PORT),
    }
}

fn of_policy_port(port: &NetworkPolicyPort) -> OpenPort {
    let protocol = match port.protocol.as_deref() {
        Some("UDP") => Protocol::UDP,
        Some("SCTP") => Protocol::SCTP,
        _ => Protocol::TCP,
    };
    match port.port {
        Some(IntOrString::Int(first)) => between(first, port.end_port.unwrap_or(first), protocol),
        // What a name stands for, each pod says for itself.
        Some(IntOrString::String(_)) | None => every(protocol),
    }
}

/// Namespaces and the policies in them.
#[derive(Default)]
pub struct Network<'a> {
    namespaces: HashMap<&'a str, &'a Labels>,
    policies: HashMap<&'a str, Vec<&'a NetworkPolicy>>,
}

impl<'a> Network<'a> {
    /// The namespaces whose policies are known, with their labels, and all policies in them.
    pub fn new(
        namespaces: impl IntoIterator<Item = (&'a str, &'a Labels)>,
        policies: impl IntoIterator<Item = &'a NetworkPolicy>,
    ) -> Self {
        let mut by_namespace: HashMap<&str, Vec<&NetworkPolicy>> = HashMap::new();
        for policy in policies {
            let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
            by_namespace.entry(namespace).or_default().push(policy);
        }
        Self {
            namespaces: namespaces.into_iter().collect(),
            policies: by_namespace,
        }
    }

    /// The ports on which `from` may open connections to `to`.
    pub fn ports(&self, from: End<'_>, to: End<'_>) -> Ports {
        let (from, to) = (self.side(from), self.side(to));
        let out = self.out(&from, &to);
        if out.is_empty() {
            return out;
        }
        out.common(&self.into(&from, &to))
    }

    fn side<'e>(&self, end: End<'e>) -> Side<'e>
    where
        'a: 'e,
    {
        match end {
            End::Outside(address) => Side::Outside(address),
            End::Pod { namespace, labels } => Side::Pod {
                namespace,
                namespace_labels: self.namespaces.get(namespace).copied(),
                labels,
            },
        }
    }

    fn policies_of(&self, namespace: &str) -> &[&'a NetworkPolicy] {
        self.policies.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// What the policies of where it begins let out.
    fn out(&self, from: &Side<'_>, to: &Side<'_>) -> Ports {
        let Side::Pod {
            namespace, labels, ..
        } = from
        else {
            return Ports::all();
        };
        let mut open = Ports::default();
        let mut isolated = false;
        for policy in self.policies_of(namespace) {
            let Some(rules) = egress(policy, labels) else {
                continue;
            };
            isolated = true;
            for rule in rules {
                if any(rule.to.as_ref(), to, namespace) {
                    open.add(Ports::of_rule(rule.ports.as_ref()));
                }
            }
        }
        if isolated { open } else { Ports::all() }
    }

    /// What the policies of where it leads let in.
    fn into(&self, from: &Side<'_>, to: &Side<'_>) -> Ports {
        let Side::Pod {
            namespace, labels, ..
        } = to
        else {
            return Ports::all();
        };
        let mut open = Ports::default();
        let mut isolated = false;
        for policy in self.policies_of(namespace) {
            let Some(rules) = ingress(policy, labels) else {
                continue;
            };
            isolated = true;
            for rule in rules {
                if any(rule.from.as_ref(), from, namespace) {
                    open.add(Ports::of_rule(rule.ports.as_ref()));
                }
            }
        }
        if isolated { open } else { Ports::all() }
    }
}

/// One end with all that a peer is matched by.
enum Side<'a> {
    Pod {
        namespace: &'a str,
        namespace_labels: Option<&'a Labels>,
        labels: &'a Labels,
    },
    Outside(IpAddr),
}

/// The egress rules of a policy that isolates pods with these labels; none when it does not.
fn egress<'p>(policy: &'p NetworkPolicy, pod: &Labels) -> Option<&'p [NetworkPolicyEgressRule]> {
    let spec = policy.spec.as_ref()?;
    let rules = spec.egress.as_deref();
    let isolates = match &spec.policy_types {
        Some(types) if !types.is_empty() => types.iter().any(|t| t == "Egress"),
        _ => rules.is_some_and(|rules| !rules.is_empty()),
    };
    (isolates && selects_or_all(spec.pod_selector.as_ref(), pod)).then_some(rules.unwrap_or_default())
}

/// The ingress rules of a policy that isolates pods with these labels; none when it does not.
fn ingress<'p>(policy: &'p NetworkPolicy, pod: &Labels) -> Option<&'p [NetworkPolicyIngressRule]> {
    let spec = policy.spec.as_ref()?;
    let isolates = match &spec.policy_types {
        Some(types) if !types.is_empty() => types.iter().any(|t| t == "Ingress"),
        _ => true,
    };
    (isolates && selects_or_all(spec.pod_selector.as_ref(), pod))
        .then_some(spec.ingress.as_deref().unwrap_or_default())
}

/// Whether a rule's peers have this end among them; a rule without peers has everybody.
fn any(peers: Option<&Vec<NetworkPolicyPeer>>, end: &Side<'_>, home: &str) -> bool {
    match peers {
        Some(peers) if !peers.is_empty() => peers.iter().any(|peer| is_peer(peer, end, home)),
        _ => true,
    }
}

fn is_peer(peer: &NetworkPolicyPeer, end: &Side<'_>, home: &str) -> bool {
    match end {
        Side::Outside(address) => peer.ip_block.as_ref().is_some_and(|block| holds(block, *address)),
        Side::Pod {
            namespace,
            namespace_labels,
            labels,
        } => {
            if peer.ip_block.is_some() {
                return false;
            }
            let there = match &peer.namespace_selector {
                Some(selector) => namespace_labels.is_some_and(|labels| selects(selector, labels)),
                None => *namespace == home,
            };
            there && selects_or_all(peer.pod_selector.as_ref(), labels)
        }
    }
}

fn selects_or_all(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    selector.is_none_or(|selector| selects(selector, labels))
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let matches = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    matches
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && expressions.into_iter().all(|expression| {
            let value = labels.get(&expression.key);
            let among = |value: &String| expression.values.iter().flatten().any(|v| v == value);
            match expression.operator.as_str() {
                "In" => value.is_some_and(among),
                "NotIn" => !value.is_some_and(among),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

fn holds(block: &IPBlock, address: IpAddr) -> bool {
    is_in(&block.cidr, address) && !block.except.iter().flatten().any(|cidr| is_in(cidr, address))
}

fn is_in(cidr: &str, address: IpAddr) -> bool {
    let Some((network, bits)) = cidr
        .split_once('/')
        .and_then(|(network, bits)| Some((network.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?)))
    else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

/// What a perimeter promises to be open for a tenant, beside its own pods and DNS.
#[derive(Default)]
pub struct Promised<'a> {
    /// The perimeter's egress.
    pub egress: &'a [EgressRule],
    /// Both agreements of each peering that is open, the tenant's own first.
    pub peerings: Vec<[&'a PeeringAgreement; 2]>,
}

/// What a tenant's own policies let it see: whoever is not in view has no way into its namespaces and none out of them,
/// whatever their own policies say.
pub struct View<'a> {
    /// Some pod, or some rule, is open to everybody.
    everybody: bool,
    peers: Vec<&'a NetworkPolicyPeer>,
}

impl<'a> View<'a> {
    /// Of these namespaces, by all the policies in them.
    pub fn of(namespaces: &[&str], policies: &'a [NetworkPolicy]) -> Self {
        let isolates_all = |namespace: &&str| {
            let own = policies
                .iter()
                .filter(|policy| policy.metadata.namespace.as_deref() == Some(namespace));
            let nobody = Labels::new();
            let of_all = own.filter(|policy| {
                let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
                selector.is_none_or(|selector| {
                    selector.match_labels.iter().flatten().next().is_none()
                        && selector.match_expressions.iter().flatten().next().is_none()
                })
            });
            let (mut into, mut out) = (false, false);
            for policy in of_all {
                into |= ingress(policy, &nobody).is_some();
                out |= egress(policy, &nobody).is_some();
            }
            into && out
        };
        let specs = || policies.iter().filter_map(|policy| policy.spec.as_ref());
        let from = specs().flat_map(|spec| spec.ingress.iter().flatten().map(|rule| rule.from.as_ref()));
        let to = specs().flat_map(|spec| spec.egress.iter().flatten().map(|rule| rule.to.as_ref()));
        let is_open = |peers: Option<&Vec<NetworkPolicyPeer>>| peers.is_none_or(Vec::is_empty);
        Self {
            everybody: !namespaces.iter().all(isolates_all) || from.chain(to).any(is_open),
            peers: peers_of(&policies.iter().collect::<Vec<_>>()),
        }
    }

    /// Whether a namespace with these labels is in view.
    pub fn holds(&self, namespace: &Labels) -> bool {
        self.everybody
            || self.peers.iter().any(|peer| {
                let selector = peer.namespace_selector.as_ref();
                selector.is_some_and(|selector| selects(selector, namespace))
            })
    }
}

/// Every way that is open into or out of the tenant's namespaces, sorted. The network may be without the namespaces that are
/// not in the tenant's [`View`].
pub fn ways_of(tenant: &str, network: &Network<'_>, promised: &Promised<'_>) -> Vec<OpenWay> {
    let own: BTreeMap<&str, &Labels> = network
        .namespaces
        .iter()
        .filter(|(_, labels)| labels.get(labels::TENANT).is_some_and(|t| t == tenant))
        .map(|(name, labels)| (*name, *labels))
        .collect();
    let policies: Vec<&NetworkPolicy> = own
        .keys()
        .flat_map(|namespace| network.policies_of(namespace))
        .copied()
        .collect();
    let peers = peers_of(&policies);
    let elsewhere = elsewhere(&peers);
    let mut places: Vec<Place<'_>> = Vec::new();
    for (name, labels) in &network.namespaces {
        places.push(Place::new(name, labels, network.policies_of(name), &peers));
    }
    for (name, labels) in &elsewhere {
        places.push(Place::new(name, labels, &[], &peers));
    }
    let mut ways: BTreeSet<OpenWay> = BTreeSet::new();
    for here in places.iter().filter(|place| own.contains_key(place.name)) {
        for there in &places {
            for pod in &here.pods {
                for other in &there.pods {
                    let (here_end, there_end) = (here.side(pod), there.side(other));
                    let mut note = |from: (&Place<'_>, &Labels), to: (&Place<'_>, &Labels), ports: Ports| {
                        if !ports.is_empty() {
                            ways.insert(OpenWay {
                                from: from.0.in_words(from.1),
                                to: to.0.in_words(to.1),
                                because: because(tenant, from, to, &ports, promised),
                                ports: ports.listed(),
                            });
                        }
                    };
                    let out = network.out(&here_end, &there_end);
                    if !out.is_empty() {
                        let ports = out.common(&network.into(&here_end, &there_end));
                        note((here, pod), (there, other), ports);
                    }
                    if own.contains_key(there.name) {
                        continue;
                    }
                    let into = network.into(&there_end, &here_end);
                    if !into.is_empty() {
                        let ports = into.common(&network.out(&there_end, &here_end));
                        note((there, other), (here, pod), ports);
                    }
                }
            }
        }
        for pod in &here.pods {
            outside(here, pod, network.policies_of(here.name), promised, &mut ways);
        }
    }
    ways.into_iter().collect()
}

/// A namespace, or what stands for others like it, with the pods that policies tell apart.
struct Place<'a> {
    name: &'a str,
    labels: &'a Labels,
    pods: BTreeSet<Labels>,
}

impl<'a> Place<'a> {
    fn new(
        name: &'a str,
        labels: &'a Labels,
        policies: &[&NetworkPolicy],
        peers: &[&NetworkPolicyPeer],
    ) -> Self {
        let mut pods = BTreeSet::from([Labels::new()]);
        let own = policies
            .iter()
            .filter_map(|p| p.spec.as_ref()?.pod_selector.as_ref());
        // A peer that has this namespace in view may tell its pods apart.
        let seen = peers
            .iter()
            .filter(|peer| selects_or_all(peer.namespace_selector.as_ref(), labels))
            .filter_map(|peer| peer.pod_selector.as_ref());
        pods.extend(own.chain(seen).map(satisfying));
        Self { name, labels, pods }
    }

    fn side<'e>(&'e self, pod: &'e Labels) -> Side<'e> {
        Side::Pod {
            namespace: self.name,
            namespace_labels: Some(self.labels),
            labels: pod,
        }
    }

    fn in_words(&self, pod: &Labels) -> String {
        if pod.is_empty() {
            return self.name.to_owned();
        }
        format!("{} pods {}", self.name, equations(pod))
    }

    fn tenant(&self) -> Option<&str> {
        self.labels.get(labels::TENANT).map(String::as_str)
    }
}

fn equations(labels: &Labels) -> String {
    let each: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    each.join(",")
}

/// Labels that a selector selects, as few as possible.
fn satisfying(selector: &LabelSelector) -> Labels {
    let mut labels = selector.match_labels.clone().unwrap_or_default();
    for expression in selector.match_expressions.iter().flatten() {
        let first = expression.values.iter().flatten().next().cloned();
        match expression.operator.as_str() {
            "In" => labels.insert(expression.key.clone(), first.unwrap_or_default()),
            "Exists" => labels.insert(expression.key.clone(), String::new()),
            _ => None,
        };
    }
    labels
}

fn peers_of<'p>(policies: &[&'p NetworkPolicy]) -> Vec<&'p NetworkPolicyPeer> {
    let specs = policies.iter().filter_map(|policy| policy.spec.as_ref());
    specs
        .flat_map(|spec| {
            let into = spec
                .ingress
                .iter()
                .flatten()
                .filter_map(|rule| rule.from.as_ref());
            let out = spec.egress.iter().flatten().filter_map(|rule| rule.to.as_ref());
            into.chain(out).flatten()
        })
        .collect()
}

/// What stands for namespaces of no tenant: the platform's, any, and one for each selector that a policy names.
fn elsewhere(peers: &[&NetworkPolicyPeer]) -> BTreeMap<String, Labels> {
    let named = |name: &str| Labels::from([(NAME.to_owned(), name.to_owned())]);
    let mut places = BTreeMap::from([
        ("kube-system".to_owned(), named("kube-system")),
        ("any other namespace".to_owned(), named("any other namespace")),
    ]);
    for selector in peers.iter().filter_map(|peer| peer.namespace_selector.as_ref()) {
        let labels = satisfying(selector);
        match labels.get(NAME) {
            _ if labels.is_empty() || labels.contains_key(labels::TENANT) => {}
            Some(name) if labels.len() == 1 => {
                places.insert(name.clone(), labels.clone());
            }
            _ => {
                places.insert(format!("namespaces with {}", equations(&labels)), labels);
            }
        }
    }
    places
}

/// Ways to and from addresses outside, as far as the policies name them.
fn outside(
    here: &Place<'_>,
    pod: &Labels,
    policies: &[&NetworkPolicy],
    promised: &Promised<'_>,
    ways: &mut BTreeSet<OpenWay>,
) {
    let into: Vec<_> = policies
        .iter()
        .filter_map(|policy| ingress(policy, pod))
        .collect();
    let out: Vec<_> = policies.iter().filter_map(|policy| egress(policy, pod)).collect();
    let into = addresses(
        into.iter()
            .map(|rules| rules.iter().map(|r| (r.from.as_ref(), r.ports.as_ref()))),
    );
    let out = addresses(
        out.iter()
            .map(|rules| rules.iter().map(|r| (r.to.as_ref(), r.ports.as_ref()))),
    );
    let words = here.in_words(pod);
    for (block, ports) in out {
        let because = promised.egress.iter().find(|rule| {
            block.as_deref() == Some(rule.cidr.as_str()) && ports.are_within(&Ports::promised(&rule.ports))
        });
        ways.insert(OpenWay {
            from: words.clone(),
            to: in_words(block),
            because: because.map(|rule| format!("the perimeter's egress: {}", rule.reason)),
            ports: ports.listed(),
        });
    }
    for (block, ports) in into {
        ways.insert(OpenWay {
            from: in_words(block),
            to: words.clone(),
            because: None,
            ports: ports.listed(),
        });
    }
}

fn in_words(block: Option<String>) -> String {
    block.unwrap_or_else(|| "every address outside".to_owned())
}

type Peers<'p> = (
    Option<&'p Vec<NetworkPolicyPeer>>,
    Option<&'p Vec<NetworkPolicyPort>>,
);

/// The blocks of addresses that isolating policies name, or every address (none) where nothing isolates or a rule has no
/// peers.
fn addresses<'p>(
    policies: impl ExactSizeIterator<Item = impl Iterator<Item = Peers<'p>>>,
) -> Vec<(Option<String>, Ports)> {
    if policies.len() == 0 {
        return vec![(None, Ports::all())];
    }
    let mut found = Vec::new();
    for (peers, ports) in policies.flatten() {
        let ports = Ports::of_rule(ports);
        match peers {
            Some(peers) if !peers.is_empty() => {
                for block in peers.iter().filter_map(|peer| peer.ip_block.as_ref()) {
                    let except: Vec<&str> = block.except.iter().flatten().map(String::as_str).collect();
                    let words = if except.is_empty() {
                        block.cidr.clone()
                    } else {
                        format!("{} except {}", block.cidr, except.join(", "))
                    };
                    found.push((Some(words), ports.clone()));
                }
            }
            _ => found.push((None, ports)),
        }
    }
    found
}

/// What promises this way.
fn because(
    tenant: &str,
    from: (&Place<'_>, &Labels),
    to: (&Place<'_>, &Labels),
    ports: &Ports,
    promised: &Promised<'_>,
) -> Option<String> {
    let ((from, _), (to, pod)) = (from, to);
    if from.tenant() == Some(tenant) && to.tenant() == Some(tenant) {
        return Some("the tenant's own pods".into());
    }
    let dns = Ports(BTreeSet::from([
        between(53, 53, Protocol::TCP),
        between(53, 53, Protocol::UDP),
    ]));
    let is_dns = to.name == "kube-system" && pod.get("k8s-app").is_some_and(|app| app == "kube-dns");
    if from.tenant() == Some(tenant) && is_dns && ports.are_within(&dns) {
        return Some("DNS".into());
    }
    let (from_tenant, to_tenant) = (from.tenant()?, to.tenant()?);
    promised.peerings.iter().find_map(|both| {
        let of = |name: &str| {
            both.iter()
                .find(|a| a.metadata.namespace.as_deref() == Some(name))
        };
        let (source, target) = (of(from_tenant)?, of(to_tenant)?);
        let within =
            |home: &str, workspace: &str, place: &Place<'_>| place.name == format!("{home}--{workspace}");
        let may_use = source.spec.from.is_empty()
            || source
                .spec
                .from
                .iter()
                .any(|s| within(from_tenant, &s.workspace, from));
        let exposed = target.spec.exposes.iter().any(|exposure| {
            within(to_tenant, &exposure.workspace, to)
                && exposure
                    .pod_selector
                    .match_labels
                    .iter()
                    .all(|(k, v)| pod.get(k) == Some(v))
                && ports.are_within(&Ports::promised(&exposure.ports))
        });
        let name = source.metadata.name.as_deref().unwrap_or_default();
        (may_use && exposed).then(|| format!("the peering agreement {name}"))
    })
}

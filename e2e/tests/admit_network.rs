//! Promise: nobody opens a way into or out of a perimeter but its administrators.

mod support;

use anyhow::Result;
use serde_json::{Value, json};
use support::{Attempt, Ground, Who, merged, pod, pod_spec, workloads};

const SERVICES: &str = "/api/v1/namespaces/{ns}/services";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices";
const ENDPOINTS: &str = "/api/v1/namespaces/{ns}/endpoints";
const INSIDE: &str = "opens services inside only";
const CLUSTER_IP: &str = "write type: ClusterIP, and a PeeringAgreement where another tenant is to reach it";
const HELD: &str = "hold the perimeter";
const ASK: &str = "ask the administrators of the datacentre";
const NETWORK: &str = "leaves the network to the datacentre";
const NOBODY_IN: &str = "lets nobody in from outside";

fn service(changes: Value) -> Value {
    merged(
        json!({"metadata": {"generateName": "tried-"}, "spec": {"ports": [{"port": 80}], "selector": {"app": "tried"}}}),
        json!({"spec": changes}),
    )
}

fn named(name: &str, mut object: Value) -> Value {
    object["metadata"] = json!({"name": name});
    object
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn services_stay_inside() -> Result<()> {
    let ground = Ground::new("services", json!({})).await?;
    ground
        .both_have(SERVICES, &named("standing", service(json!({}))))
        .await?;
    let standing = format!("{SERVICES}/standing");
    let inside = |attempt: Attempt| attempt.told(INSIDE, CLUSTER_IP);
    let addresses =
        |attempt: Attempt| attempt.told("takes no addresses from outside", "leave spec.externalIPs out");
    let types = [
        ("a node's port", json!({"type": "NodePort"})),
        ("a load balancer", json!({"type": "LoadBalancer"})),
        (
            "a load balancer of a class",
            json!({"type": "LoadBalancer", "loadBalancerClass": "meso.test/lb"}),
        ),
        (
            "a name of another tenant",
            json!({"type": "ExternalName", "externalName": "db.other--lab.svc.cluster.local"}),
        ),
        (
            "a name outside",
            json!({"type": "ExternalName", "externalName": "evil.example"}),
        ),
    ];
    let mut attempts = Vec::new();
    for (what, spec) in types {
        attempts.push(inside(Attempt::create(what, SERVICES, service(spec.clone()))));
        attempts.push(inside(
            Attempt::create(what, SERVICES, service(spec.clone())).by(Who::Owner),
        ));
        attempts.push(inside(Attempt::patch(
            format!("{what} afterwards"),
            &standing,
            json!({"spec": spec}),
        )));
    }
    let caught = json!({"externalIPs": ["192.0.2.1"]});
    attempts.extend([
        addresses(Attempt::create(
            "others' addresses",
            SERVICES,
            service(caught.clone()),
        )),
        addresses(Attempt::create(
            "others' addresses without a selector",
            SERVICES,
            service(merged(caught.clone(), json!({"selector": null}))),
        )),
        addresses(Attempt::patch(
            "others' addresses afterwards",
            &standing,
            json!({"spec": caught}),
        )),
        addresses(Attempt::patch_of(
            "application/json-patch+json",
            "others' addresses by JSON patch",
            &standing,
            json!([{"op": "add", "path": "/spec/externalIPs", "value": ["10.96.0.1"]}]),
        )),
        Attempt::patch(
            "what a service's status says, which may be addresses",
            format!("{standing}/status"),
            json!({"status": {"conditions": [{
                "type": "Tried", "status": "True", "reason": "Tried", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}}),
        )
        .no_right()
        .told(HELD, ASK),
        Attempt::get(
            "a service by the API server's own way",
            format!("{standing}/proxy/"),
        )
        .no_right()
        .only_here(),
        Attempt::get(
            "a pod by the API server's own way",
            "/api/v1/namespaces/{ns}/pods/p/proxy/",
        )
        .no_right()
        .only_here(),
    ]);
    ground.refuses(attempts).await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn nobody_says_where_a_service_leads_or_what_the_network_lets_through() -> Result<()> {
    let ground = Ground::new("network", json!({})).await?;
    let address = json!({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]});
    let endpoints = json!({"metadata": {"name": "tried"}, "subsets": [address]});
    let slice = json!({
        "metadata": {"name": "tried", "labels": {"kubernetes.io/service-name": "tried"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"port": 80}],
    });
    ground
        .both_have(ENDPOINTS, &named("standing", endpoints.clone()))
        .await?;
    ground
        .both_have(SLICES, &named("standing", slice.clone()))
        .await?;
    let open = json!({"metadata": {"name": "tried"}, "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]}});
    // Where no perimeter holds, one of the same name to try things on.
    let free = POLICIES.replace("{ns}", "{free}");
    ground
        .ask(
            &ground.outsider,
            http::Method::POST,
            &free,
            named("perimeter", open.clone()),
        )
        .await
        .unwrap();
    let perimeter = format!("{POLICIES}/perimeter");
    let rule = json!({"host": "www.meso.test", "http": {"paths": [{"path": "/", "pathType": "Prefix",
        "backend": {"service": {"name": "tried", "port": {"number": 80}}}}]}});
    let ingress =
        json!({"metadata": {"name": "tried"}, "spec": {"ingressClassName": "nginx", "rules": [rule]}});
    let ingresses = "/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses";
    let gateways = "/apis/gateway.networking.k8s.io/v1/namespaces/{ns}";
    let held = |attempt: Attempt| attempt.no_right().told(HELD, ASK);
    // Kinds of networks and gateways that are not installed here: no role has a right to them.
    let foreign = |what: &str, path: &str| Attempt::create(what, path, open.clone()).no_right().only_here();
    ground
        .refuses(vec![
            held(Attempt::create("endpoints in another tenant", ENDPOINTS, endpoints)),
            held(Attempt::create("a slice of endpoints in another tenant", SLICES, slice)),
            held(Attempt::patch("endpoints afterwards", format!("{ENDPOINTS}/standing"), json!({"subsets": [{"addresses": [{"ip": "192.0.2.2"}]}]}))),
            held(Attempt::patch("a slice afterwards", format!("{SLICES}/standing"), json!({"endpoints": [{"addresses": ["192.0.2.2"]}]}))),
            held(Attempt::delete("a slice's end", format!("{SLICES}/standing"))),
            held(Attempt::create("a network policy that lets all through", POLICIES, open.clone())),
            held(Attempt::create("the same by an Owner", POLICIES, open.clone()).by(Who::Owner)),
            held(Attempt::patch("the perimeter's policy, opened", &perimeter, json!({"spec": {"ingress": [{}], "egress": [{}]}}))),
            held(Attempt::patch("the perimeter's policy, for no pods", &perimeter, json!({"spec": {"podSelector": {"matchLabels": {"no": "pod"}}}}))),
            held(Attempt::patch(
                "the perimeter's policy, left to the garbage collector",
                &perimeter,
                json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0"}]}}),
            )),
            held(Attempt::delete("the perimeter's policy, deleted", &perimeter).by(Who::Owner)),
            held(Attempt::delete("every network policy", POLICIES)),
            Attempt::create("an ingress", ingresses, ingress.clone()).told(NOBODY_IN, ASK),
            Attempt::create("an ingress by an Owner", ingresses, ingress).by(Who::Owner).told(NOBODY_IN, ASK),
            Attempt::create(
                "an ingress class",
                "/apis/networking.k8s.io/v1/ingressclasses",
                json!({"metadata": {"name": "tried"}, "spec": {"controller": "meso.test/evil"}}),
            )
            .no_right(),
            foreign("a gateway", &format!("{gateways}/gateways")),
            foreign("a grant to another namespace's routes", &format!("{gateways}/referencegrants")),
            foreign("a Cilium policy", "/apis/cilium.io/v2/namespaces/{ns}/ciliumnetworkpolicies"),
            foreign("a Calico policy", "/apis/crd.projectcalico.org/v1/namespaces/{ns}/networkpolicies"),
        ])
        .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_network_is_not_configured_by_annotations() -> Result<()> {
    let ground = Ground::new("netnotes", json!({})).await?;
    let image = "registry.meso.test/tools:1";
    let pods = "/api/v1/namespaces/{ns}/pods";
    ground
        .both_have(
            pods,
            &merged(pod(image), json!({"metadata": {"name": "standing"}})),
        )
        .await?;
    ground
        .both_have(SERVICES, &named("standing", service(json!({}))))
        .await?;
    let noted = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
    let left = |attempt: Attempt| attempt.told(NETWORK, "leave it out");
    let mut attempts = Vec::new();
    for key in [
        "k8s.v1.cni.cncf.io/networks",
        "v1.multus-cni.io/default-network",
        "cni.projectcalico.org/ipAddrs",
        "ovn.kubernetes.io/logical_switch",
        "k8s.ovn.org/pod-networks",
        "policy.cilium.io/no-track-port",
        "io.cilium.proxy-visibility",
        "external-dns.alpha.kubernetes.io/hostname",
    ] {
        attempts.push(left(Attempt::create(
            format!("{key} on a pod"),
            pods,
            merged(pod(image), noted(key)),
        )));
    }
    // Between its creation and its network a pod's annotations can still be written.
    attempts.push(left(Attempt::patch(
        "a further network afterwards",
        format!("{pods}/standing"),
        noted("k8s.v1.cni.cncf.io/networks"),
    )));
    let cron_jobs = "/apis/batch/v1/namespaces/{ns}/cronjobs";
    for (kind, path, body, right) in workloads(&pod_spec(image)) {
        let further = noted("k8s.v1.cni.cncf.io/networks");
        let template = if path == cron_jobs {
            json!({"spec": {"jobTemplate": {"spec": {"template": further}}}})
        } else {
            json!({"spec": {"template": further}})
        };
        let attempt = left(Attempt::create(
            format!("a further network in {kind}"),
            path,
            merged(body, template),
        ));
        attempts.push(if right { attempt } else { attempt.no_right() });
    }
    for key in [
        "external-dns.alpha.kubernetes.io/hostname",
        "service.cilium.io/global",
    ] {
        attempts.push(left(Attempt::create(
            format!("{key} on a service"),
            SERVICES,
            merged(service(json!({"clusterIP": "None"})), noted(key)),
        )));
        attempts.push(left(Attempt::patch(
            format!("{key} on a service afterwards"),
            format!("{SERVICES}/standing"),
            noted(key),
        )));
    }
    ground.refuses(attempts).await;
    // What says nothing to the network is written as ever.
    for path in [format!("{pods}/standing"), format!("{SERVICES}/standing")] {
        let written = ground
            .ask(
                &ground.member,
                http::Method::PATCH,
                &path,
                noted("example.org/note"),
            )
            .await;
        assert!(written.is_ok(), "{path}: {written:?}");
    }
    Ok(())
}

//! Promise: a hostname belongs to one tenant, and what leads there from outside is what the perimeter lists.

mod support;

use anyhow::Result;
use http::Method;
use mesocentre_e2e::{apply_yaml, kinds_of_others, wait_for};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Attempt, Ground, Who, merged};

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses";
const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/{ns}/httproutes";
const SERVICES: &str = "/api/v1/namespaces/{ns}/services";
const PATIENCE: Duration = Duration::from_secs(30);
const NOBODY_IN: &str = "lets nobody in from outside";
const ASK: &str = "ask the administrators of the datacentre";
const HELD: &str = "publishes a hostname for the tenant that holds it";
const WRITE_ONE: &str = "write one of these, or ask the administrators for it in spec.hostnames";
const ANNOTATION: &str = "lets nobody configure what publishes by annotations";
const NO_ANNOTATION: &str = "ask the administrators for network.publishingAnnotations";

/// Gives the tenant hostnames below its own name, and returns when its workspace may use them.
async fn with_hostnames(ground: &Ground) -> Result<(String, String)> {
    let tenant = &ground.tenant.name;
    let (exact, wildcard) = (format!("www.{tenant}.test"), format!("*.apps.{tenant}.test"));
    let admin = ground.stack.admin();
    let path = format!("/apis/mesocentre.io/v1alpha1/tenants/{tenant}");
    let hostnames = json!({"spec": {"hostnames": [exact, wildcard], "quota": {"loadBalancers": 2}}});
    ground
        .ask(&admin, Method::PATCH, &path, hostnames)
        .await
        .map_err(anyhow::Error::msg)?;
    wait_for("the rules name the hostnames", PATIENCE, async || {
        let rules = "/apis/mesocentre.io/v1alpha1/namespaces/{ns}/perimeterrules/perimeter";
        let rules = ground.ask(&admin, Method::GET, rules, Value::Null).await?;
        let quota = "/api/v1/namespaces/{ns}/resourcequotas/tenant";
        let quota = ground.ask(&admin, Method::GET, quota, Value::Null).await?;
        let held = rules["spec"]["hostnames"] == json!([exact, wildcard]);
        if held && quota["status"]["hard"]["services.loadbalancers"] == "2" {
            Ok(())
        } else {
            Err(format!("{} {}", rules["spec"], quota["status"]))
        }
    })
    .await;
    Ok((exact, wildcard))
}

fn ingress(host: &str, changes: Value) -> Value {
    let service = json!({"service": {"name": "tried", "port": {"number": 80}}});
    merged(
        json!({"metadata": {"generateName": "tried-"}, "spec": {
            "ingressClassName": "admit-public",
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": service}]}}],
        }}),
        changes,
    )
}

fn route(hostnames: Value, changes: Value) -> Value {
    merged(
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"generateName": "tried-"}, "spec": {
            "parentRefs": [{"namespace": "admit-gateways", "name": "public"}],
            "hostnames": hostnames,
            "rules": [{"backendRefs": [{"name": "tried", "port": 80}]}],
        }}),
        changes,
    )
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_ingress_is_for_hostnames_that_the_tenant_holds() -> Result<()> {
    let rules = json!({"network": {
        "ingress": {"classes": ["admit-public"]}, "publishingAnnotations": ["admit.meso.test/timeout"],
    }});
    let ground = Ground::new("ingress", rules).await?;
    let (www, wildcard) = with_hostnames(&ground).await?;
    let tenant = ground.tenant.name.clone();
    let app = format!("shop.apps.{tenant}.test");
    let standing = merged(
        ingress(&www, json!({})),
        json!({"metadata": {"generateName": null, "name": "standing"}}),
    );
    ground.both_have(INGRESSES, &standing).await?;
    let at = format!("{INGRESSES}/standing");
    let fine = [
        ("its hostname", ingress(&www, json!({}))),
        ("one below its wildcard", ingress(&app, json!({}))),
        ("its wildcard", ingress(&wildcard, json!({}))),
        (
            "its hostname by TLS",
            ingress(
                &www,
                json!({"spec": {"tls": [{"hosts": [www], "secretName": "s"}]}}),
            ),
        ),
        (
            "an annotation of the perimeter's",
            ingress(
                &www,
                json!({"metadata": {"annotations": {"admit.meso.test/timeout": "5s"}}}),
            ),
        ),
        (
            "notes of what deploys it",
            ingress(
                &www,
                json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x", "helm.toolkit.fluxcd.io/driftDetection": "disabled"}}}),
            ),
        ),
    ];
    for (what, body) in fine {
        let made = ground
            .ask(
                &ground.member,
                Method::POST,
                &format!("{INGRESSES}?dryRun=All"),
                body,
            )
            .await;
        made.unwrap_or_else(|told| panic!("{what}: {told}"));
    }
    let held = |attempt: Attempt| attempt.told(HELD, WRITE_ONE);
    let mut attempts = Vec::new();
    for (what, host) in [
        ("another's hostname", "www.others.test".to_owned()),
        ("a hostname that begins the same", format!("{www}.evil.test")),
        ("a hostname that ends the same", format!("evil{www}")),
        ("one below an exact hostname", format!("evil.{www}")),
        ("the domain above", format!("{tenant}.test")),
        ("the wildcard's own suffix", format!("apps.{tenant}.test")),
        (
            "one that ends like the wildcard",
            format!("evilapps.{tenant}.test"),
        ),
        ("a wildcard above", format!("*.{tenant}.test")),
        ("a wildcard of everything", "*.test".to_owned()),
        ("no hostname", String::new()),
    ] {
        attempts.push(held(Attempt::create(what, INGRESSES, ingress(&host, json!({})))));
        attempts.push(held(Attempt::patch(
            format!("{what} afterwards"),
            &at,
            json!({"spec": ingress(&host, json!({}))["spec"]}),
        )));
    }
    let two = json!({"spec": {"rules": [ingress(&www, json!({}))["spec"]["rules"][0], ingress("www.others.test", json!({}))["spec"]["rules"][0]]}});
    let noted = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
    let unconfigured = |attempt: Attempt| attempt.told(ANNOTATION, NO_ANNOTATION);
    let class = |attempt: Attempt| {
        attempt.told(
            "publishes by the ingress class admit-public only",
            "write spec.ingressClassName: admit-public",
        )
    };
    let backend = json!({"spec": {"defaultBackend": {"service": {"name": "tried", "port": {"number": 80}}}}});
    let bucket = json!({"spec": {"rules": [{"host": www, "http": {"paths": [{"path": "/", "pathType": "Prefix",
        "backend": {"resource": {"apiGroup": "meso.test", "kind": "Bucket", "name": "others"}}}]}}]}});
    attempts.extend([
        held(Attempt::create(
            "another's hostname beside one's own",
            INGRESSES,
            ingress(&www, two),
        )),
        held(
            Attempt::create(
                "another's hostname by an Owner",
                INGRESSES,
                ingress("www.others.test", json!({})),
            )
            .by(Who::Owner),
        ),
        held(Attempt::create(
            "another's hostname by TLS",
            INGRESSES,
            ingress(&www, json!({"spec": {"tls": [{"hosts": ["www.others.test"]}]}})),
        )),
        held(Attempt::create(
            "every hostname by TLS",
            INGRESSES,
            ingress(&www, json!({"spec": {"tls": [{"secretName": "s"}]}})),
        )),
        held(Attempt::patch_of(
            "application/json-patch+json",
            "another's hostname by JSON patch",
            &at,
            json!([{"op": "replace", "path": "/spec/rules/0/host", "value": "www.others.test"}]),
        )),
        Attempt::create("a default backend", INGRESSES, ingress(&www, backend.clone())).told(
            "a default backend would take those of everybody",
            "leave spec.defaultBackend out",
        ),
        Attempt::create(
            "a default backend alone",
            INGRESSES,
            ingress(&www, merged(backend, json!({"spec": {"rules": null}}))),
        )
        .told(
            "a default backend would take those of everybody",
            "leave spec.defaultBackend out",
        ),
        Attempt::create("what is no service", INGRESSES, ingress(&www, bucket))
            .told("publishes services", "write a service, not a resource"),
        class(Attempt::create(
            "another class",
            INGRESSES,
            ingress(&www, json!({"spec": {"ingressClassName": "admit-inside"}})),
        )),
        class(Attempt::create(
            "no class",
            INGRESSES,
            ingress(&www, json!({"spec": {"ingressClassName": null}})),
        )),
        class(Attempt::patch(
            "another class afterwards",
            &at,
            json!({"spec": {"ingressClassName": "admit-inside"}}),
        )),
        unconfigured(Attempt::patch(
            "a snippet afterwards",
            &at,
            noted("nginx.ingress.kubernetes.io/server-snippet"),
        )),
        Attempt::create(
            "a class of old",
            INGRESSES,
            ingress(
                &www,
                merged(
                    noted("kubernetes.io/ingress.class"),
                    json!({"spec": {"ingressClassName": null}}),
                ),
            ),
        )
        .unlike(ingress(&www, json!({})))
        .told(
            "publishes by the ingress class admit-public only",
            "write spec.ingressClassName: admit-public",
        ),
        Attempt::patch(
            "an ingress's status",
            format!("{at}/status"),
            json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
        )
        .no_right(),
        Attempt::create("an ingress by a Viewer", INGRESSES, ingress(&www, json!({})))
            .by(Who::Viewer)
            .no_right(),
    ]);
    for key in [
        "nginx.ingress.kubernetes.io/configuration-snippet",
        "nginx.ingress.kubernetes.io/auth-url",
        "haproxy.org/backend-config-snippet",
        "traefik.ingress.kubernetes.io/router.middlewares",
        "cert-manager.io/cluster-issuer",
        "external-dns.alpha.kubernetes.io/hostname",
        "admit.meso.test/timeout2",
    ] {
        attempts.push(unconfigured(Attempt::create(
            format!("the annotation {key}"),
            INGRESSES,
            ingress(&www, noted(key)),
        )));
    }
    ground.refuses(attempts).await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_route_is_for_hostnames_that_the_tenant_holds_by_the_perimeters_gateways() -> Result<()> {
    let rules =
        json!({"network": {"ingress": {"gateways": [{"namespace": "admit-gateways", "name": "public"}]}}});
    let ground = Ground::new("routes", rules).await?;
    kinds_of_others::install(&ground.stack.admin()).await?;
    let (www, wildcard) = with_hostnames(&ground).await?;
    let standing = merged(
        route(json!([www]), json!({})),
        json!({"metadata": {"generateName": null, "name": "standing"}}),
    );
    ground.both_have(ROUTES, &standing).await?;
    let at = format!("{ROUTES}/standing");
    for hostnames in [
        json!([www]),
        json!([wildcard]),
        json!([www, format!("a.b.apps.{}.test", ground.tenant.name)]),
    ] {
        let made = ground
            .ask(
                &ground.member,
                Method::POST,
                &format!("{ROUTES}?dryRun=All"),
                route(hostnames.clone(), json!({})),
            )
            .await;
        made.unwrap_or_else(|told| panic!("{hostnames}: {told}"));
    }
    let held = |attempt: Attempt| attempt.told(HELD, WRITE_ONE);
    let gateway = |attempt: Attempt| {
        attempt.told(
            "publishes by the gateway admit-gateways/public only",
            "name it with its namespace under spec.parentRefs",
        )
    };
    let inside = |attempt: Attempt| {
        attempt.told(
            "and nothing else",
            "under backendRefs write services of this namespace",
        )
    };
    let parents = |parents: Value| json!({"spec": {"parentRefs": parents}});
    let rule = |rule: Value| json!({"spec": {"rules": [merged(json!({"backendRefs": [{"name": "tried", "port": 80}]}), rule)]}});
    let mirror = json!([{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "db", "namespace": "others--lab", "port": 80}}}]);
    let extension = json!([{"type": "ExtensionRef", "extensionRef": {"group": "meso.test", "kind": "Snippet", "name": "x"}}]);
    let gateways = "/apis/gateway.networking.k8s.io/v1/namespaces/{ns}/gateways";
    let grants = "/apis/gateway.networking.k8s.io/v1beta1/namespaces/{ns}/referencegrants";
    let of_ones_own = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "own"}, "spec": {"gatewayClassName": "admit", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}});
    let grant = json!({"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": {"name": "tried"}, "spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "others--lab"}], "to": [{"group": "", "kind": "Service"}],
    }});
    let listed = |route_changes: Value| route(json!([www]), route_changes);
    ground
        .refuses(vec![
            held(Attempt::create("another's hostname", ROUTES, route(json!(["www.others.test"]), json!({})))),
            held(Attempt::create("another's hostname beside one's own", ROUTES, route(json!([www, "www.others.test"]), json!({})))),
            held(Attempt::create("every hostname", ROUTES, route(Value::Null, json!({})))),
            held(Attempt::create("a wildcard above", ROUTES, route(json!([format!("*.{}.test", ground.tenant.name)]), json!({})))),
            held(Attempt::patch("another's hostname afterwards", &at, json!({"spec": {"hostnames": ["www.others.test"]}}))),
            held(Attempt::patch("every hostname afterwards", &at, json!({"spec": {"hostnames": null}})).by(Who::Owner)),
            gateway(Attempt::create("another gateway there", ROUTES, listed(parents(json!([{"namespace": "admit-gateways", "name": "inside"}]))))),
            gateway(Attempt::create("a gateway of the same name elsewhere", ROUTES, listed(parents(json!([{"namespace": "others--lab", "name": "public"}]))))),
            gateway(Attempt::create("a gateway of one's own", ROUTES, listed(parents(json!([{"name": "public"}]))))),
            gateway(Attempt::create("another gateway beside", ROUTES, listed(parents(json!([{"namespace": "admit-gateways", "name": "public"}, {"namespace": "x", "name": "y"}]))))),
            gateway(Attempt::create(
                "a service as a parent",
                ROUTES,
                listed(parents(json!([{"group": "", "kind": "Service", "namespace": "admit-gateways", "name": "public"}]))),
            )),
            gateway(Attempt::create("no gateway", ROUTES, listed(parents(Value::Null)))),
            gateway(Attempt::create("the gateways that the cluster has by default", ROUTES, listed(json!({"spec": {"useDefaultGateways": "All"}})))),
            inside(Attempt::create("another's service", ROUTES, listed(rule(json!({"backendRefs": [{"name": "db", "namespace": "others--lab", "port": 80}]}))))),
            inside(Attempt::create("what is no service", ROUTES, listed(rule(json!({"backendRefs": [{"group": "meso.test", "kind": "Bucket", "name": "x"}]}))))),
            inside(Attempt::create("a mirror to another's service", ROUTES, listed(rule(json!({"filters": mirror}))))),
            inside(Attempt::create("a mirror behind a backend", ROUTES, listed(rule(json!({"backendRefs": [{"name": "tried", "port": 80, "filters": mirror}]}))))),
            inside(Attempt::create("configuration of the gateway", ROUTES, listed(rule(json!({"filters": extension}))))),
            Attempt::create("an annotation", ROUTES, listed(json!({"metadata": {"annotations": {"konghq.com/plugins": "x"}}}))).told(ANNOTATION, NO_ANNOTATION),
            Attempt::create("a gateway of one's own making", gateways, of_ones_own).no_right().told(NOBODY_IN, ASK),
            Attempt::create("a grant to others' routes", grants, grant).no_right().told(NOBODY_IN, ASK),
            Attempt::patch("a route's status", format!("{at}/status"), json!({"status": {"parents": []}})).no_right(),
        ])
        .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_load_balancer_opens_no_port_of_a_node_and_is_counted() -> Result<()> {
    let ground = Ground::new(
        "balancers",
        json!({"network": {"loadBalancers": true, "ingress": {"cidrs": ["192.0.2.0/24", "2001:db8::/32"]}}}),
    )
    .await?;
    with_hostnames(&ground).await?;
    let balancer = |changes: Value| {
        merged(
            json!({"metadata": {"generateName": "tried-"}, "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                "loadBalancerSourceRanges": ["192.0.2.0/25"], "ports": [{"port": 80}], "selector": {"app": "tried"}}}),
            changes,
        )
    };
    let standing = balancer(json!({"metadata": {"generateName": null, "name": "standing"}}));
    ground.both_have(SERVICES, &standing).await?;
    let at = format!("{SERVICES}/standing");
    let ports = |attempt: Attempt| attempt.told("opens no ports of its nodes", "write");
    let clients = |attempt: Attempt| {
        attempt.told(
            "lets in clients from 192.0.2.0/24 and 2001:db8::/32 only",
            "under spec.loadBalancerSourceRanges",
        )
    };
    let from = |ranges: Value| json!({"spec": {"loadBalancerSourceRanges": ranges}});
    let left = |attempt: Attempt| {
        attempt.told(
            "leaves addresses and classes of load balancers to the datacentre",
            "leave spec.loadBalancerClass",
        )
    };
    ground
        .refuses(vec![
            ports(Attempt::create("ports of the nodes", SERVICES, balancer(json!({"spec": {"allocateLoadBalancerNodePorts": true}})))),
            ports(Attempt::create("ports of the nodes by default", SERVICES, balancer(json!({"spec": {"allocateLoadBalancerNodePorts": null}})))),
            ports(Attempt::create("a port of the nodes by number", SERVICES, balancer(json!({"spec": {"ports": [{"port": 80, "nodePort": 30999}]}})))),
            ports(Attempt::patch("ports of the nodes afterwards", &at, json!({"spec": {"allocateLoadBalancerNodePorts": true}}))),
            ports(Attempt::create("a health check on the nodes", SERVICES, balancer(json!({"spec": {"externalTrafficPolicy": "Local"}})))),
            ports(Attempt::patch("a health check afterwards", &at, json!({"spec": {"externalTrafficPolicy": "Local"}}))),
            clients(Attempt::create("clients from everywhere", SERVICES, balancer(from(json!(["0.0.0.0/0"]))))),
            clients(Attempt::create("clients from everywhere by default", SERVICES, balancer(from(Value::Null)))),
            clients(Attempt::create("clients from a wider network", SERVICES, balancer(from(json!(["192.0.2.0/24", "192.0.0.0/16"]))))),
            clients(Attempt::create("clients from everywhere by IPv6", SERVICES, balancer(from(json!(["192.0.2.0/24", "::/0"]))))),
            clients(Attempt::patch("clients from everywhere afterwards", &at, from(Value::Null))),
            left(Attempt::create("a class", SERVICES, balancer(json!({"spec": {"loadBalancerClass": "meso.test/lb"}})))),
            left(Attempt::create("another's address", SERVICES, balancer(json!({"spec": {"loadBalancerIP": "192.0.2.1"}})))),
            left(Attempt::patch("another's address afterwards", &at, json!({"spec": {"loadBalancerIP": "192.0.2.1"}}))),
            Attempt::create(
                "another's address by annotation",
                SERVICES,
                balancer(json!({"metadata": {"annotations": {"metallb.universe.tf/loadBalancerIPs": "192.0.2.1"}}})),
            )
            .told(ANNOTATION, NO_ANNOTATION),
            Attempt::patch("another's address by annotation afterwards", &at, json!({"metadata": {"annotations": {"metallb.universe.tf/allow-shared-ip": "x"}}}))
                .told(ANNOTATION, NO_ANNOTATION),
            Attempt::create("others' addresses", SERVICES, balancer(json!({"spec": {"externalIPs": ["192.0.2.1"]}})))
                .told("takes no addresses from outside", "leave spec.externalIPs out"),
            Attempt::create("a node's port", SERVICES, balancer(json!({"spec": {"type": "NodePort", "allocateLoadBalancerNodePorts": null, "loadBalancerSourceRanges": null}})))
                .told("opens services inside only", "write type: ClusterIP"),
            Attempt::create(
                "a name of another tenant",
                SERVICES,
                json!({"metadata": {"name": "tried"}, "spec": {"type": "ExternalName", "externalName": "db.other--lab.svc.cluster.local"}}),
            )
            .told("opens services inside only", "write type: ClusterIP"),
        ])
        .await;
    // One stands; the quota has room for one more, for clients of both kinds of networks.
    let only_from = balancer(from(json!(["192.0.2.0/24", "2001:db8:1::/48"])));
    let made = ground
        .ask(&ground.member, Method::POST, SERVICES, only_from.clone())
        .await;
    made.unwrap_or_else(|told| panic!("{told}"));
    let told = ground
        .ask(&ground.member, Method::POST, SERVICES, only_from)
        .await
        .unwrap_err();
    assert!(told.contains("exceeded quota: tenant"), "{told}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_publishes_for_the_datacentre_writes_addresses_and_notes_and_no_spec() -> Result<()> {
    let ground = Ground::new(
        "publishers",
        json!({"network": {"loadBalancers": true, "ingress": {"cidrs": ["192.0.2.0/24", "2001:db8::/32"]}}}),
    )
    .await?;
    with_hostnames(&ground).await?;
    let user = "system:serviceaccount:meso-publishers:controller";
    let rights = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: admit-publishers}}\nrules:\n\
         - {{apiGroups: [\"\"], resources: [services, services/status, resourcequotas/status], verbs: [get, patch]}}\n\
         ---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: admit-publishers}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admit-publishers}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: \"{user}\"}}]\n"
    );
    apply_yaml(&ground.stack.admin(), &rights).await?;
    let publisher = ground.stack.user(user, &[]).await?;
    let balancer = json!({"metadata": {"name": "published"}, "spec": {
        "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "loadBalancerSourceRanges": ["192.0.2.0/24"],
        "ports": [{"port": 80}], "selector": {"app": "tried"},
    }});
    let ask = async |client, method, path: &str, body| ground.ask(client, method, path, body).await;
    ask(&ground.member, Method::POST, SERVICES, balancer)
        .await
        .unwrap_or_else(|told| panic!("{told}"));
    let (at, status) = (
        format!("{SERVICES}/published"),
        format!("{SERVICES}/published/status"),
    );
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}]}}});
    let note = json!({"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "public"}}});
    wait_for("it may write the address", PATIENCE, async || {
        ask(&publisher, Method::PATCH, &status, address.clone()).await
    })
    .await;
    let noted = ask(&publisher, Method::PATCH, &at, note).await;
    assert!(noted.is_ok(), "{noted:?}");
    // With its note on it, the service is still its owner's to change, and the note is not.
    let ports = json!({"spec": {"ports": [{"port": 8080}]}});
    let changed = ask(&ground.member, Method::PATCH, &at, ports.clone()).await;
    assert!(changed.is_ok(), "{changed:?}");
    let forged = json!({"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "others"}}});
    let told = ask(&ground.member, Method::PATCH, &at, forged).await.unwrap_err();
    assert!(told.contains(ANNOTATION), "{told}");
    // A note that was put on before it led outside is judged when it does.
    let inside = json!({"metadata": {"name": "inside", "annotations": {"metallb.io/address-pool": "others"}},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "tried"}}});
    let made = ask(&ground.member, Method::POST, SERVICES, inside).await;
    assert!(made.is_ok(), "{made:?}");
    let outside = json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "loadBalancerSourceRanges": ["192.0.2.0/24"]}});
    let told = ask(
        &ground.member,
        Method::PATCH,
        &format!("{SERVICES}/inside"),
        outside,
    )
    .await
    .unwrap_err();
    assert!(told.contains(ANNOTATION), "{told}");
    // And nothing else: neither what leads outside, nor what holds the perimeter.
    let node_ports = json!({"spec": {"allocateLoadBalancerNodePorts": true}});
    let told = ask(&publisher, Method::PATCH, &at, node_ports).await.unwrap_err();
    assert!(told.contains("opens no ports of its nodes"), "{told}");
    let quota = "/api/v1/namespaces/{ns}/resourcequotas/tenant/status";
    let told = ask(&publisher, Method::PATCH, quota, json!({"status": {"used": {}}}))
        .await
        .unwrap_err();
    assert!(told.contains("hold the perimeter"), "{told}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_first_to_have_a_hostname_keeps_it_and_the_second_is_told() -> Result<()> {
    // The younger tenant has it first, and keeps it when the older one asks.
    let older = Ground::new("hostold", json!({})).await?;
    let younger = Ground::new("hostnew", json!({})).await?;
    let admin = older.stack.admin();
    let tenant = |name: &str| format!("/apis/mesocentre.io/v1alpha1/tenants/{name}");
    let (first, second) = (&younger.tenant.name, &older.tenant.name);
    let write = async |name: &str, hostnames: Value| {
        let change = json!({"spec": {"hostnames": hostnames}});
        let written = older.ask(&admin, Method::PATCH, &tenant(name), change).await;
        written.unwrap_or_else(|told| panic!("{told}"));
    };
    let stands = async |name: &str, reason: &str, held: Value, told: &str| {
        wait_for(&format!("{name} is {reason}"), PATIENCE, async || {
            let found = older.ask(&admin, Method::GET, &tenant(name), Value::Null).await?;
            let status = &found["status"];
            let ready = &status["conditions"][0];
            let message = ready["message"].as_str().unwrap_or_default();
            let same_generation = status["observedGeneration"] == found["metadata"]["generation"];
            let holds = status["hostnames"] == held;
            if same_generation && ready["reason"] == reason && holds && message.contains(told) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
    };
    let domain = format!("{first}.test");
    let wildcard = json!([format!("*.{domain}")]);
    write(first, wildcard.clone()).await;
    stands(first, "Standing", wildcard.clone(), "").await;
    for taken in [
        format!("www.{domain}"),
        format!("*.{domain}"),
        format!("*.apps.{domain}"),
        format!("*.b.apps.{domain}"),
    ] {
        write(second, json!([taken])).await;
        let told = format!("the hostname {taken} of {second} is taken: {first} holds *.{domain}");
        stands(second, "HostnameTaken", Value::Null, &told).await;
    }
    stands(first, "Standing", wildcard, "").await;
    // Beside it is free, and so it is once the first gives it up.
    write(second, json!([domain])).await;
    stands(second, "Standing", json!([domain]), "").await;
    write(second, json!([format!("www.{domain}")])).await;
    stands(second, "HostnameTaken", json!([domain]), "had it first").await;
    write(first, json!([])).await;
    stands(second, "Standing", json!([format!("www.{domain}")]), "").await;
    Ok(())
}

//! Promise: a perimeter's pods run on its nodes and only there, nobody else's do, and who runs first is not for tenants
//! to say.

mod support;

use anyhow::Result;
use http::Method;
use mesocentre_e2e::apply_yaml;
use serde_json::{Value, json};
use support::{Attempt, Ground, pod, pod_spec, pod_with, workloads};

const PODS: &str = "/api/v1/namespaces/{ns}/pods";
const IMAGE: &str = "registry.meso.test/tools:1";
const LABEL: &str = "mesocentre.io/perimeter";
const OTHERS: &str = "keeps pods off the nodes of the platform and of other perimeters";
const NO_TOLERATION: &str = "leave it out of spec.tolerations";
const CLASS: &str = "is another runtime class";
const NO_CLASS: &str = "ask the administrators for runtimeClasses";
const PRIORITY: &str = "lets pods run before those of others by";
const NEIGHBOURS: &str = "lets pods choose their neighbours among those of";
const OWN_NEIGHBOURS: &str = "leave namespaceSelector and namespaces out";
const CHOICE: &str = "leaves the choice of a node to the scheduler";

/// `admit-kata` and `admit-high` are what the perimeter with nodes runs by; `admit-other` brings a pod onto another perimeter's nodes.
const CLASSES: &str = "\
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: admit-kata}
handler: kata
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: admit-plain}
handler: runc
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: admit-other}
handler: runc
scheduling: {tolerations: [{key: mesocentre.io/perimeter, operator: Equal, value: health-hds, effect: NoSchedule}]}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: admit-high}
value: 1000
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: admit-higher}
value: 2000
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: admit-low}
value: -10
";

fn standing() -> Value {
    let mut standing = pod(IMAGE);
    standing["metadata"] = json!({"name": "standing"});
    standing
}

fn tolerating(toleration: Value) -> Value {
    json!({"tolerations": [toleration]})
}

/// What a pod's spec may say to get onto nodes that are not its own, with what is told.
fn ways_out() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let any = json!({"operator": "Exists"});
    let every_perimeter = json!({"key": LABEL, "operator": "Exists"});
    let another = json!({"key": LABEL, "operator": "Equal", "value": "health-hds", "effect": "NoSchedule"});
    let ordinary = json!({"key": LABEL, "value": "health-hds"});
    let control_plane = json!({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"});
    let set_aside = json!({"key": "dedicated", "value": "infra", "effect": "NoSchedule"});
    let no_network =
        json!({"key": "node.cilium.io/agent-not-ready", "operator": "Exists", "effect": "NoSchedule"});
    let not_ready =
        json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"});
    // One pod that is there keeps others away, whoever's they are: the scheduler reads it both ways.
    let term = |more: Value| {
        support::merged(
            json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}),
            more,
        )
    };
    let kept_away = |more: Value| json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(more)]}}});
    let anothers = json!({"namespaceSelector": {"matchLabels": {"mesocentre.io/tenant": "chu-rouen"}}});
    let beside = json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": term(json!({"namespaceSelector": {}}))},
    ]}}});
    vec![
        (
            "what keeps another tenant's pods away",
            kept_away(anothers),
            NEIGHBOURS,
            OWN_NEIGHBOURS,
        ),
        (
            "what keeps pods of a namespace away",
            kept_away(json!({"namespaces": ["chu-rouen--cohort"]})),
            NEIGHBOURS,
            OWN_NEIGHBOURS,
        ),
        (
            "a place beside anybody's pods",
            beside,
            NEIGHBOURS,
            OWN_NEIGHBOURS,
        ),
        (
            "a toleration of every taint",
            tolerating(any),
            OTHERS,
            NO_TOLERATION,
        ),
        (
            "a toleration of every perimeter",
            tolerating(every_perimeter),
            OTHERS,
            NO_TOLERATION,
        ),
        (
            "a toleration of another perimeter",
            tolerating(another),
            OTHERS,
            NO_TOLERATION,
        ),
        (
            "a toleration of another perimeter, operator left out",
            tolerating(ordinary),
            OTHERS,
            NO_TOLERATION,
        ),
        (
            "a toleration of the control plane's nodes",
            tolerating(control_plane),
            OTHERS,
            NO_TOLERATION,
        ),
        (
            "a toleration of nodes that are set aside",
            tolerating(set_aside),
            OTHERS,
            NO_TOLERATION,
        ),
        (
            "a toleration of nodes without a network policy yet",
            tolerating(no_network),
            OTHERS,
            NO_TOLERATION,
        ),
        (
            "a toleration of nodes that are not ready for new pods",
            tolerating(not_ready),
            OTHERS,
            NO_TOLERATION,
        ),
        (
            "a node by name",
            json!({"nodeName": "n1"}),
            CHOICE,
            "leave spec.nodeName out",
        ),
    ]
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn no_pod_of_a_perimeter_without_nodes_gets_onto_anothers() -> Result<()> {
    let rules =
        json!({"runtimeClasses": ["admit-other", "admit-kata"], "tolerations": ["admit.meso.test/spot"]});
    let ground = Ground::new("nodeshared", rules).await?;
    apply_yaml(&ground.stack.admin(), CLASSES).await?;
    ground.both_have(PODS, &standing()).await?;
    let mut attempts = Vec::new();
    let unlisted = (
        "a runtime class that the perimeter does not list",
        json!({"runtimeClassName": "admit-plain"}),
        CLASS,
        NO_CLASS,
    );
    for (what, spec, rule, way_out) in ways_out().into_iter().chain([unlisted]) {
        attempts.push(Attempt::create(what, PODS, pod_with(IMAGE, spec.clone())).told(rule, way_out));
        let made = workloads(&support::merged(pod_spec(IMAGE), spec));
        for (kind, path, body, right) in made {
            let attempt = Attempt::create(format!("{what} in {kind}"), path, body).told(rule, way_out);
            attempts.push(if right { attempt } else { attempt.no_right() });
        }
    }
    let target = json!({"apiVersion": "v1", "kind": "Node", "name": "n1"});
    let binding = json!({"metadata": {"name": "standing"}, "target": target});
    attempts.extend([
        // It has no nodes, so its own name on a taint is another's too.
        Attempt::create(
            "a toleration of the perimeter itself, which has no nodes",
            PODS,
            pod_with(IMAGE, tolerating(json!({"key": LABEL, "value": "{tenant}"}))),
        )
        .told(OTHERS, NO_TOLERATION),
        Attempt::create(
            "a runtime class that brings a toleration",
            PODS,
            pod_with(IMAGE, json!({"runtimeClassName": "admit-other"})),
        )
        .told(OTHERS, NO_TOLERATION),
        Attempt::patch(
            "a toleration afterwards",
            format!("{PODS}/standing"),
            json!({"spec": {"tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": LABEL, "operator": "Exists"},
            ]}}),
        )
        .told("the tolerations of a pod do not change", "make another pod"),
        Attempt::create("a binding of a pod", format!("{PODS}/standing/binding"), binding.clone())
            .no_right()
            .told(CHOICE, "no bindings"),
        Attempt::create("a binding of old", "/api/v1/namespaces/{ns}/bindings", binding)
            .no_right()
            .told(CHOICE, "no bindings"),
        Attempt::create(
            "the priority of the platform",
            PODS,
            pod_with(IMAGE, json!({"priorityClassName": "system-node-critical"})),
        )
        .told(PRIORITY, "leave spec.priorityClassName out"),
        Attempt::create(
            "a priority before others",
            PODS,
            pod_with(IMAGE, json!({"priorityClassName": "admit-high"})),
        )
        .told(PRIORITY, "leave spec.priorityClassName out"),
    ]);
    ground.refuses(attempts).await;

    // What the perimeter lists, and what Kubernetes writes of a node's health.
    for listed in [
        json!({"runtimeClassName": "admit-kata"}),
        tolerating(json!({"key": "admit.meso.test/spot", "operator": "Exists"})),
        tolerating(
            json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}),
        ),
        tolerating(json!({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})),
    ] {
        let made = ground
            .ask(
                &ground.member,
                Method::POST,
                &format!("{PODS}?dryRun=All"),
                pod_with(IMAGE, listed.clone()),
            )
            .await;
        assert!(made.is_ok(), "{listed}: {made:?}");
    }

    // Whose neighbours are the tenant's own, as replicas that keep apart are.
    for reach in [
        json!({}),
        json!({"namespaces": ["{ns}"]}),
        json!({"namespaceSelector": {"matchLabels": {"mesocentre.io/tenant": "{tenant}"}}}),
    ] {
        let apart = support::merged(
            json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "tried"}}}),
            reach,
        );
        let spread = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}});
        let made = ground
            .ask(
                &ground.member,
                Method::POST,
                PODS,
                pod_with(IMAGE, spread.clone()),
            )
            .await;
        assert!(made.is_ok(), "{spread}: {made:?}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn pods_of_a_perimeter_with_nodes_run_there_whatever_they_say() -> Result<()> {
    let rules = json!({
        "nodes": {"dedicated": true, "selector": {LABEL: "admit-dedicated"}},
        "runtimeClassName": "admit-kata",
        "priorityClasses": ["admit-high"],
    });
    let ground = Ground::new("nodeown", rules).await?;
    apply_yaml(&ground.stack.admin(), CLASSES).await?;
    let own = "has nodes of its own and its pods run only there";
    let elsewhere = json!({"nodeSelector": {LABEL: "health-hds"}});
    let plain = json!({"runtimeClassName": "admit-plain"});
    // What placement fills in or sets right, rather than refuses.
    let expression = json!({"key": LABEL, "operator": "In", "values": ["health-hds"]});
    let corrected = [
        ("nothing", json!({})),
        ("another perimeter's nodes", elsewhere.clone()),
        ("one more label", json!({"nodeSelector": {"disk": "fast"}})),
        ("another runtime class", plain.clone()),
        (
            "affinity with another perimeter's nodes",
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}}),
        ),
        (
            "a spread over all nodes",
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "tried"}}}]}),
        ),
        (
            "a priority of the perimeter's",
            json!({"priorityClassName": "admit-high"}),
        ),
        (
            "a priority after others",
            json!({"priorityClassName": "admit-low"}),
        ),
        (
            "a toleration of its own perimeter",
            tolerating(json!({"key": LABEL, "value": ground.tenant.perimeter.as_str()})),
        ),
    ];
    let create = format!("{PODS}?dryRun=All");
    for (what, spec) in corrected {
        let asked = pod_with(IMAGE, spec);
        let free = ground
            .ask_elsewhere(&ground.outsider, Method::POST, &create, asked.clone())
            .await
            .unwrap();
        assert_ne!(free["spec"]["nodeSelector"][LABEL], "admit-dedicated", "{what}");
        for client in [&ground.member, &ground.misled] {
            let made = ground
                .ask(client, Method::POST, &create, asked.clone())
                .await
                .unwrap();
            let spec = &made["spec"];
            assert_eq!(spec["nodeSelector"][LABEL], "admit-dedicated", "{what}: {spec}");
            assert_eq!(spec["runtimeClassName"], "admit-kata", "{what}: {spec}");
            let tolerations: Vec<&Value> = spec["tolerations"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|t| t["key"] == LABEL)
                .collect();
            assert_eq!(tolerations.len(), 1, "{what}: {spec}");
            assert_eq!(
                tolerations[0]["value"],
                ground.tenant.perimeter.as_str(),
                "{what}: {spec}"
            );
        }
    }
    let mut attempts: Vec<Attempt> = ways_out()
        .into_iter()
        .map(|(what, spec, rule, way_out)| {
            Attempt::create(what, PODS, pod_with(IMAGE, spec)).told(rule, way_out)
        })
        .collect();
    attempts.push(
        Attempt::create(
            "a priority before others",
            PODS,
            pod_with(IMAGE, json!({"priorityClassName": "admit-higher"})),
        )
        .told(
            "the priority class admit-high only",
            "ask the administrators for priorityClasses",
        ),
    );
    // Beside the toleration of its own.
    attempts.push(
        Attempt::create(
            "a toleration of another perimeter beside its own",
            PODS,
            pod_with(IMAGE, json!({"tolerations": [{"key": LABEL, "value": "{tenant}"}, {"key": LABEL, "value": "health-hds"}]})),
        )
        .told(OTHERS, NO_TOLERATION),
    );
    for (what, spec, rule, way_out) in [
        (
            "another perimeter's nodes",
            elsewhere,
            own,
            "leave its labels out of spec.nodeSelector",
        ),
        (
            "another runtime class",
            plain,
            "runs pods with the runtime class admit-kata",
            "leave spec.runtimeClassName out",
        ),
    ] {
        for (kind, path, body, right) in workloads(&support::merged(pod_spec(IMAGE), spec)) {
            let attempt = Attempt::create(format!("{what} in {kind}"), path, body).told(rule, way_out);
            attempts.push(if right { attempt } else { attempt.no_right() });
        }
    }
    ground.refuses(attempts).await;
    // What is right passes at the door, though a template lacks what placement fills in.
    for (kind, path, body, right) in workloads(&pod_spec(IMAGE)) {
        let client = if right { &ground.member } else { &ground.misled };
        let made = ground
            .ask(client, Method::POST, &format!("{path}?dryRun=All"), body)
            .await;
        made.unwrap_or_else(|told| panic!("{kind}: {told}"));
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_node_does_not_say_of_itself_whose_it_is() -> Result<()> {
    let ground = Ground::new("nodelabel", json!({})).await?;
    // Cordoned: nothing is to run on it.
    let name = format!("{}-node", ground.tenant.name);
    let mut node = json!({"metadata": {"name": name}, "spec": {"unschedulable": true}});
    let admin = ground.stack.admin();
    ground
        .ask(&admin, Method::POST, "/api/v1/nodes", node.clone())
        .await
        .unwrap();
    let kubelet = ground
        .stack
        .user(&format!("system:node:{name}"), &["system:nodes"])
        .await?;
    let other = ground
        .stack
        .user(&format!("system:node:{name}-new"), &["system:nodes"])
        .await?;
    let node_path = format!("/api/v1/nodes/{name}");
    node["metadata"]["name"] = json!(format!("{name}-new"));
    for (label, works) in [("example.org/pool", true), (LABEL, false)] {
        let labels = json!({"metadata": {"labels": {label: "health-hds"}}});
        let answers = [
            ground
                .ask(
                    &kubelet,
                    Method::PATCH,
                    &format!("{node_path}?dryRun=All"),
                    labels.clone(),
                )
                .await,
            ground
                .ask(
                    &kubelet,
                    Method::PATCH,
                    &format!("{node_path}/status?dryRun=All"),
                    labels.clone(),
                )
                .await,
            ground
                .ask(
                    &other,
                    Method::POST,
                    "/api/v1/nodes?dryRun=All",
                    support::merged(node.clone(), labels),
                )
                .await,
        ];
        for answer in answers {
            assert_eq!(answer.is_ok(), works, "{label}: {answer:?}");
            if let Err(told) = answer {
                assert!(
                    told.contains("decides which perimeter's pods run there"),
                    "{told}"
                );
                assert!(told.contains("kubectl label node"), "{told}");
            }
        }
    }
    // Its taints are NodeRestriction's to keep.
    let taints = json!({"spec": {"taints": [{"key": LABEL, "value": "health-hds", "effect": "NoSchedule"}]}});
    let told = ground
        .ask(
            &kubelet,
            Method::PATCH,
            &format!("{node_path}?dryRun=All"),
            taints,
        )
        .await
        .unwrap_err();
    assert!(told.contains("not allowed to modify taints"), "{told}");
    ground
        .refuses(vec![
            Attempt::patch(
                "a node's label by a tenant",
                &node_path,
                json!({"metadata": {"labels": {LABEL: "x"}}}),
            )
            .no_right(),
            Attempt::patch(
                "the same by its status",
                format!("{node_path}/status"),
                json!({"metadata": {"labels": {LABEL: "x"}}}),
            )
            .no_right(),
            Attempt::patch(
                "a node's taints by a tenant",
                &node_path,
                json!({"spec": {"taints": null}}),
            )
            .no_right(),
            Attempt::create("a node of a tenant's own", "/api/v1/nodes", node).no_right(),
            Attempt::delete("a node's end", &node_path).no_right(),
            Attempt::get("a node's kubelet", format!("{node_path}/proxy/pods"))
                .no_right()
                .only_here(),
            Attempt::create(
                "a runtime class",
                "/apis/node.k8s.io/v1/runtimeclasses",
                json!({"metadata": {"name": "tried"}, "handler": "runc"}),
            )
            .no_right(),
            Attempt::create(
                "a priority class",
                "/apis/scheduling.k8s.io/v1/priorityclasses",
                json!({"metadata": {"name": "tried"}, "value": 1000}),
            )
            .no_right(),
        ])
        .await;
    ground
        .ask(&admin, Method::DELETE, &node_path, Value::Null)
        .await
        .unwrap();

    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_perimeter_says_which_of_its_dedicated_nodes_are_open_to_others() -> Result<()> {
    let ground = Ground::new("nodetaint", json!({})).await?;
    let admin = ground.stack.admin();
    let perimeter = ground.tenant.perimeter.as_str();
    let name = format!("{perimeter}-node");
    // Cordoned: nothing is to run on it.
    let node =
        json!({"metadata": {"name": name, "labels": {LABEL: perimeter}}, "spec": {"unschedulable": true}});
    ground
        .ask(&admin, Method::POST, "/api/v1/nodes", node)
        .await
        .unwrap();
    let node = format!("/api/v1/nodes/{name}");
    let perimeters = "/apis/mesocentre.io/v1alpha1/trustperimeters";
    let own = format!("{perimeters}/{perimeter}");
    let stands = async |reason: &str, told: &str| {
        let patience = std::time::Duration::from_secs(20);
        mesocentre_e2e::wait_for(&format!("the perimeter is {reason}"), patience, async || {
            let found = ground.ask(&admin, Method::GET, &own, Value::Null).await?;
            let ready = &found["status"]["conditions"][0];
            let message = ready["message"].as_str().unwrap_or_default();
            if ready["reason"] == reason && message.contains(told) {
                Ok(())
            } else {
                Err(found["status"].to_string())
            }
        })
        .await;
    };
    let dedicated = |selector: Value| json!({"spec": {"nodes": {"dedicated": true, "selector": selector}}});
    let by_label = dedicated(json!({LABEL: perimeter}));
    ground
        .ask(&admin, Method::PATCH, &own, by_label.clone())
        .await
        .unwrap();
    let command = format!("kubectl taint node {name} {LABEL}={perimeter}:NoSchedule");
    stands("NodesNotTainted", &command).await;
    let taint =
        |value: &str| json!({"spec": {"taints": [{"key": LABEL, "value": value, "effect": "NoSchedule"}]}});
    ground
        .ask(&admin, Method::PATCH, &node, taint("another"))
        .await
        .unwrap();
    stands("NodesNotTainted", &command).await;
    ground
        .ask(&admin, Method::PATCH, &node, taint(perimeter))
        .await
        .unwrap();
    stands("InForce", "its rules hold").await;
    // Another that selects the same nodes.
    let mut other = ground.ask(&admin, Method::GET, &own, Value::Null).await.unwrap();
    let second = format!("{perimeter}-too");
    other = json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": "TrustPerimeter", "metadata": {"name": second}, "spec": other["spec"]});
    ground.ask(&admin, Method::POST, perimeters, other).await.unwrap();
    stands(
        "NodesShared",
        &format!("the perimeter {second} selects {name} too"),
    )
    .await;
    ground
        .ask(
            &admin,
            Method::DELETE,
            &format!("{perimeters}/{second}"),
            Value::Null,
        )
        .await
        .unwrap();
    stands("InForce", "its rules hold").await;
    ground
        .ask(&admin, Method::DELETE, &node, Value::Null)
        .await
        .unwrap();
    stands("InForce", "no node bears the labels").await;
    // A node writes other labels on itself.
    for label in [
        "pool",
        "example.org/pool",
        "node.kubernetes.io/pool",
        "mesocentre.io.evil/perimeter",
    ] {
        let told = ground
            .ask(
                &admin,
                Method::PATCH,
                &format!("{own}?dryRun=All"),
                dedicated(json!({LABEL: null, label: "x"})),
            )
            .await
            .expect_err(label);
        assert!(
            told.contains("a node may write any other label on itself"),
            "{label}: {told}"
        );
        assert!(
            told.contains("for example mesocentre.io/perimeter: health-hds"),
            "{label}: {told}"
        );
    }
    let held = dedicated(json!({LABEL: null, "node-restriction.kubernetes.io/pool": "x"}));
    ground
        .ask(&admin, Method::PATCH, &format!("{own}?dryRun=All"), held)
        .await
        .unwrap();
    Ok(())
}

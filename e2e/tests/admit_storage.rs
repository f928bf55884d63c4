//! Promise: a tenant's data is on claims of the perimeter's classes, each with a volume of its own; nothing else is
//! mounted, and no pod gets hold of its node.

mod support;

use anyhow::Result;
use http::Method;
use mesocentre_e2e::{kinds_of_others, wait_for};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Attempt, Ground, as_another, container, merged, pod, pod_spec, pod_with, workloads};

const PODS: &str = "/api/v1/namespaces/{ns}/pods";
const CLAIMS: &str = "/api/v1/namespaces/{ns}/persistentvolumeclaims";
const IMAGE: &str = "registry.meso.test/tools:1";
const CLASSES: &str = "keeps data on standard only";
const WRITE_CLASS: &str = "write spec.storageClassName: standard";
const OWN_VOLUME: &str = "gives each claim a volume of its own";
const FROM_SPEC: &str = "reads a claim from its spec";

fn claim(changes: Value) -> Value {
    merged(
        json!({
            "metadata": {"generateName": "tried-"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "standard",
            },
        }),
        changes,
    )
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn claims_are_of_the_perimeters_classes_and_get_volumes_of_their_own() -> Result<()> {
    let ground = Ground::new("claims", json!({})).await?;
    ground
        .ask(&ground.member, Method::POST, CLAIMS, claim(json!({})))
        .await
        .unwrap();
    ground
        .both_have(
            CLAIMS,
            &claim(json!({"metadata": {"generateName": null, "name": "standing"}})),
        )
        .await?;
    let standing = format!("{CLAIMS}/standing");
    // A volume that another tenant gave back, and an administrator made free again.
    let volume = format!("{}-released", ground.tenant.name);
    let others = json!({"metadata": {"name": volume, "labels": {"tenant": "other"}}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "admit-none",
        "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "csi.meso.test", "volumeHandle": "others"},
    }});
    let admin = ground.stack.admin();
    ground
        .ask(&admin, Method::POST, "/api/v1/persistentvolumes", others.clone())
        .await
        .unwrap();
    let noted = |key: &str, value: &str| claim(json!({"metadata": {"annotations": {key: value}}}));
    let class = |attempt: Attempt| attempt.told(CLASSES, WRITE_CLASS);
    let own = |attempt: Attempt, way_out| attempt.told(OWN_VOLUME, way_out);
    let from_spec =
        |attempt: Attempt| attempt.told(FROM_SPEC, "leave them out and write spec.storageClassName");
    let stays = "leave spec.volumeName and volume.kubernetes.io/selected-node as they are";
    let volumes = "/api/v1/persistentvolumes";
    let on_volume = format!("{volumes}/{volume}");
    ground
        .refuses(vec![
            class(Attempt::create("another class", CLAIMS, claim(json!({"spec": {"storageClassName": "fast"}})))),
            class(Attempt::create("the cluster's own class", CLAIMS, claim(json!({"spec": {"storageClassName": null}})))),
            class(Attempt::create("no class", CLAIMS, claim(json!({"spec": {"storageClassName": ""}})))),
            class(Attempt::create("a class that begins the same", CLAIMS, claim(json!({"spec": {"storageClassName": "standard2"}})))),
            class(Attempt::create("another class by another role", CLAIMS, claim(json!({"spec": {"storageClassName": "fast"}}))).by(support::Who::Owner)),
            from_spec(Attempt::create("another class by annotation", CLAIMS, noted("volume.beta.kubernetes.io/storage-class", "fast"))),
            from_spec(Attempt::create("another provisioner by annotation", CLAIMS, noted("volume.kubernetes.io/storage-provisioner", "evil"))),
            from_spec(Attempt::create("another provisioner by an older annotation", CLAIMS, noted("volume.beta.kubernetes.io/storage-provisioner", "evil"))),
            from_spec(Attempt::create("a node by annotation", CLAIMS, noted("volume.kubernetes.io/selected-node", "n1"))),
            from_spec(Attempt::create("a binding by annotation", CLAIMS, noted("pv.kubernetes.io/bind-completed", "yes"))),
            own(Attempt::create("another's volume by name", CLAIMS, claim(json!({"spec": {"volumeName": volume}}))), "leave spec.volumeName out"),
            own(Attempt::create("another's volume by its labels", CLAIMS, claim(json!({"spec": {"selector": {"matchLabels": {"tenant": "other"}}}}))), "leave spec.selector out"),
            own(Attempt::create("any volume by no labels", CLAIMS, claim(json!({"spec": {"selector": {}}}))), "leave spec.selector out"),
            own(Attempt::patch("another's volume afterwards", &standing, json!({"spec": {"volumeName": volume}})), stays),
            own(
                Attempt::patch_of(
                    "application/json-patch+json",
                    "another's volume afterwards by JSON patch",
                    &standing,
                    json!([{"op": "add", "path": "/spec/volumeName", "value": volume}]),
                ),
                stays,
            ),
            own(
                Attempt::patch_of(
                    "application/apply-patch+yaml",
                    "another's volume afterwards by server-side apply",
                    format!("{standing}?fieldManager=tried&force=true"),
                    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "standing"}, "spec": {"volumeName": volume}}),
                ),
                stays,
            ),
            own(
                Attempt::patch("a node afterwards", &standing, json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}})),
                stays,
            ),
            Attempt::create("data of a kind that may come from anywhere", CLAIMS, claim(json!({"spec": {"dataSourceRef": {"apiGroup": "meso.test", "kind": "Bucket", "name": "others"}}})))
                .told("fills claims from claims and snapshots of their own namespace only", "name a PersistentVolumeClaim or a VolumeSnapshot"),
            Attempt::create("attributes of a class", CLAIMS, claim(json!({"spec": {"volumeAttributesClassName": "admit-fast"}})))
                .told("has no classes of volume attributes", "leave spec.volumeAttributesClassName out"),
            Attempt::create("a volume of one's own making", volumes, merged(others, json!({"metadata": {"name": "tried"}}))).no_right(),
            Attempt::patch("another's volume, claimed from its own side", &on_volume, json!({"spec": {"claimRef": {"namespace": "{ns}", "name": "standing"}}})).no_right(),
            Attempt::delete("another's volume, deleted", &on_volume).no_right(),
            Attempt::get("others' volumes, listed", volumes).no_right(),
            Attempt::create(
                "a storage class",
                "/apis/storage.k8s.io/v1/storageclasses",
                json!({"metadata": {"name": "tried"}, "provisioner": "csi.meso.test"}),
            )
            .no_right(),
            Attempt::create(
                "an attachment of a volume",
                "/apis/storage.k8s.io/v1/volumeattachments",
                json!({"metadata": {"name": "tried"}, "spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": volume}}}),
            )
            .no_right(),
            Attempt::patch("a claim's status", format!("{standing}/status"), json!({"status": {"phase": "Bound"}})).no_right(),
        ])
        .await;
    ground
        .ask(&admin, Method::DELETE, &on_volume, Value::Null)
        .await
        .unwrap();

    // Nor does an administrator make another's volume free for whoever claims next.
    let kept = format!("{}-kept", ground.tenant.name);
    let volume = json!({"metadata": {"name": kept}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "admit-none",
        "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "csi.meso.test", "volumeHandle": "kept"},
        "claimRef": {"namespace": "{ns}", "name": "gone", "uid": "0"},
    }});
    ground
        .ask(&admin, Method::POST, volumes, volume.clone())
        .await
        .unwrap();
    let on_kept = format!("{volumes}/{kept}?dryRun=All");
    for (what, reference) in [
        ("free", Value::Null),
        (
            "another tenant's",
            json!({"namespace": "others--lab", "name": "theirs", "uid": null}),
        ),
        (
            "nobody's",
            json!({"namespace": "default", "name": "theirs", "uid": null}),
        ),
    ] {
        let change = json!({"spec": {"claimRef": reference}});
        let told = ground
            .ask(&admin, Method::PATCH, &on_kept, change.clone())
            .await
            .expect_err(what);
        let data = format!("holds data of {}", ground.tenant.name);
        assert!(
            told.contains(&data) && told.contains("delete it, or write into spec.claimRef"),
            "{what}: {told}"
        );
        // What no tenant had may be given on.
        let mut others = volume.clone();
        others["metadata"]["name"] = json!(format!("{kept}-{}", what.len()));
        others["spec"]["claimRef"]["namespace"] = json!("{free}");
        ground.ask(&admin, Method::POST, volumes, others).await.unwrap();
        let on_others = format!("{volumes}/{kept}-{}", what.len());
        ground
            .ask(&admin, Method::PATCH, &format!("{on_others}?dryRun=All"), change)
            .await
            .unwrap();
        ground
            .ask(&admin, Method::DELETE, &on_others, Value::Null)
            .await
            .unwrap();
    }
    let within =
        json!({"spec": {"claimRef": {"namespace": "{tenant}--other", "name": "again", "uid": null}}});
    ground.ask(&admin, Method::PATCH, &on_kept, within).await.unwrap();
    ground
        .ask(&admin, Method::DELETE, &format!("{volumes}/{kept}"), Value::Null)
        .await
        .unwrap();

    // The API server drops what it does not know yet; the policy waits for the day that it does.
    let elsewhere = json!({"spec": {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "theirs", "namespace": "kube-system"}}});
    match ground
        .ask(
            &ground.member,
            Method::POST,
            &format!("{CLAIMS}?dryRun=All"),
            claim(elsewhere),
        )
        .await
    {
        Ok(made) => assert!(made["spec"]["dataSourceRef"]["namespace"].is_null(), "{made}"),
        Err(told) => assert!(told.contains("leave spec.dataSourceRef.namespace out"), "{told}"),
    }
    // Claims that controllers make for pods and stateful sets are claims like others.
    for controller in ["ephemeral-volume-controller", "statefulset-controller"] {
        let account = format!("system:serviceaccount:kube-system:{controller}");
        let fast = claim(json!({"spec": {"storageClassName": "fast"}}));
        let told = as_another(&ground, &account, Method::POST, CLAIMS, fast)
            .await
            .unwrap_err();
        assert!(told.contains(CLASSES), "{controller}: {told}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn nothing_but_claims_is_mounted_even_where_pod_security_would_let_it() -> Result<()> {
    let ground = Ground::new("volumes", json!({"podSecurity": "baseline"})).await?;
    let rule = "keeps data on claims, and the volume v would be mounted from elsewhere";
    let way_out = "write a PersistentVolumeClaim";
    let mounted = |source: Value| json!({"volumes": [merged(json!({"name": "v"}), source)]});
    let secret = json!({"name": "s"});
    let sources = [
        ("nfs", json!({"nfs": {"server": "192.0.2.1", "path": "/others"}})),
        (
            "an inline csi volume",
            json!({"csi": {"driver": "nfs.csi.k8s.io", "volumeAttributes": {"share": "/others"}}}),
        ),
        (
            "iscsi",
            json!({"iscsi": {"targetPortal": "192.0.2.1", "iqn": "iqn.2001-04.test:others", "lun": 0}}),
        ),
        (
            "cephfs",
            json!({"cephfs": {"monitors": ["192.0.2.1"], "path": "/others", "secretRef": secret}}),
        ),
        (
            "rbd",
            json!({"rbd": {"monitors": ["192.0.2.1"], "image": "others"}}),
        ),
        (
            "fc",
            json!({"fc": {"targetWWNs": ["500a0982991b8dc5"], "lun": 0}}),
        ),
        (
            "a flex volume",
            json!({"flexVolume": {"driver": "meso.test/evil"}}),
        ),
        (
            "glusterfs",
            json!({"glusterfs": {"endpoints": "others", "path": "others"}}),
        ),
    ];
    let mut attempts: Vec<Attempt> = sources
        .iter()
        .map(|(what, source)| {
            Attempt::create(*what, PODS, pod_with(IMAGE, mounted(source.clone()))).told(rule, way_out)
        })
        .collect();
    for (kind, path, body, right) in workloads(&merged(pod_spec(IMAGE), mounted(sources[0].1.clone()))) {
        let attempt = Attempt::create(format!("nfs in {kind}"), path, body).told(rule, way_out);
        attempts.push(if right { attempt } else { attempt.no_right() });
    }
    attempts.push(
        Attempt::create(
            "the node's files",
            PODS,
            pod_with(IMAGE, mounted(json!({"hostPath": {"path": "/"}}))),
        )
        .told_by_kubernetes("violates PodSecurity \"baseline:latest\": hostPath volumes"),
    );
    ground.refuses(attempts).await;
    // What is left is enough to work with.
    let fine = json!({"volumes": [
        {"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "c"}}, {"name": "c", "secret": {"secretName": "s"}},
        {"name": "d", "projected": {"sources": []}}, {"name": "e", "downwardAPI": {"items": []}},
        {"name": "f", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "g", "image": {"reference": IMAGE}},
        {"name": "h", "ephemeral": {"volumeClaimTemplate": {"spec": claim(json!({}))["spec"]}}},
    ]});
    ground
        .ask(
            &ground.member,
            Method::POST,
            &format!("{PODS}?dryRun=All"),
            pod_with(IMAGE, fine),
        )
        .await
        .unwrap();
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn no_pod_gets_hold_of_its_node() -> Result<()> {
    let ground = Ground::new("podsecurity", json!({})).await?;
    ground
        .ask(
            &ground.member,
            Method::POST,
            &format!("{PODS}?dryRun=All"),
            pod(IMAGE),
        )
        .await
        .unwrap();
    let secured = |security: Value| json!({"containers": [merged(container("main", IMAGE), json!({"securityContext": security}))]});
    let words = "violates PodSecurity \"restricted:latest\"";
    let attempts = [
        ("a privileged container", secured(json!({"privileged": true, "allowPrivilegeEscalation": true}))),
        ("more privileges later", secured(json!({"allowPrivilegeEscalation": true}))),
        ("a capability", secured(json!({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}))),
        ("every system call", secured(json!({"seccompProfile": {"type": "Unconfined"}}))),
        ("root", secured(json!({"runAsUser": 0}))),
        ("an unmasked /proc", merged(secured(json!({"procMount": "Unmasked"})), json!({"hostUsers": false}))),
        ("the node's network", json!({"hostNetwork": true})),
        ("the node's processes", json!({"hostPID": true})),
        ("the node's IPC", json!({"hostIPC": true})),
        ("a port of the node", json!({"containers": [merged(container("main", IMAGE), json!({"ports": [{"containerPort": 80, "hostPort": 80}]}))]})),
        ("the node's files", json!({"volumes": [{"name": "v", "hostPath": {"path": "/var/lib/kubelet"}}]})),
        ("a system setting", json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}})),
        ("a privileged init container", json!({"initContainers": [merged(container("i", IMAGE), json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": true}}))]})),
    ]
    .map(|(what, spec)| Attempt::create(what, PODS, pod_with(IMAGE, spec)).told_by_kubernetes(words));
    ground.refuses(Vec::from(attempts)).await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn attributes_and_snapshots_are_of_the_perimeters_classes() -> Result<()> {
    let ground = Ground::new(
        "snapshots",
        json!({"volumeAttributesClasses": ["admit-quick"], "snapshotClasses": ["admit-daily"]}),
    )
    .await?;
    let admin = ground.stack.admin();
    kinds_of_others::install(&admin).await?;
    wait_for(
        "the rules name the classes",
        Duration::from_secs(30),
        async || {
            let rules = "/apis/mesocentre.io/v1alpha1/namespaces/{ns}/perimeterrules/perimeter";
            let rules = ground.ask(&admin, Method::GET, rules, Value::Null).await?;
            if rules["spec"]["snapshotClasses"] == json!(["admit-daily"]) {
                Ok(())
            } else {
                Err(rules["spec"].to_string())
            }
        },
    )
    .await;
    let named = |name: &str| json!({"metadata": {"generateName": null, "name": name}});
    ground.both_have(CLAIMS, &claim(named("standing"))).await?;
    let snapshots = "/apis/snapshot.storage.k8s.io/v1/namespaces/{ns}/volumesnapshots";
    let snapshot = |changes: Value| {
        merged(
            json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"generateName": "tried-"}, "spec": {
                "volumeSnapshotClassName": "admit-daily", "source": {"persistentVolumeClaimName": "standing"},
            }}),
            changes,
        )
    };
    ground.both_have(snapshots, &snapshot(named("standing"))).await?;
    let taken = format!("{snapshots}/standing");
    let of = |class: Value| snapshot(json!({"spec": {"volumeSnapshotClassName": class}}));
    let content = json!({"spec": {"source": {"persistentVolumeClaimName": null, "volumeSnapshotContentName": "others"}}});
    let class = |attempt: Attempt| {
        attempt.told(
            "takes snapshots by the class admit-daily only",
            "write spec.volumeSnapshotClassName: admit-daily",
        )
    };
    let attributes = |attempt: Attempt| {
        attempt.told(
            "has the volume attributes class admit-quick only",
            "leave spec.volumeAttributesClassName out",
        )
    };
    let from = json!({"spec": {"dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "standing"}}});
    for (path, body) in [
        (CLAIMS, claim(from)),
        (
            CLAIMS,
            claim(json!({"spec": {"volumeAttributesClassName": "admit-quick"}})),
        ),
        (snapshots, snapshot(json!({}))),
    ] {
        let made = ground
            .ask(&ground.member, Method::POST, &format!("{path}?dryRun=All"), body)
            .await;
        made.unwrap_or_else(|told| panic!("{path}: {told}"));
    }
    let contents = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents";
    ground
        .refuses(vec![
            class(Attempt::create("another class of snapshots", snapshots, of(json!("admit-elsewhere")))),
            class(Attempt::create("the cluster's own class of snapshots", snapshots, of(Value::Null))),
            class(Attempt::create("another class of snapshots by an Owner", snapshots, of(json!("admit-elsewhere"))).by(support::Who::Owner)),
            class(Attempt::patch("another class of snapshots afterwards", &taken, json!({"spec": {"volumeSnapshotClassName": "admit-elsewhere"}}))),
            Attempt::create("a snapshot of another's content", snapshots, snapshot(content))
                .told("takes snapshots of claims of their own namespace", "write spec.source.persistentVolumeClaimName"),
            Attempt::create(
                "a content that is another's snapshot",
                contents,
                json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": {"name": "tried"}, "spec": {"deletionPolicy": "Retain", "driver": "csi.meso.test",
                    "source": {"snapshotHandle": "others"}, "volumeSnapshotRef": {"namespace": "{ns}", "name": "standing"}}}),
            )
            .no_right(),
            Attempt::get("others' contents, listed", contents).no_right(),
            Attempt::create(
                "a class of snapshots",
                "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses",
                json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": "tried"}, "driver": "csi.meso.test", "deletionPolicy": "Retain"}),
            )
            .no_right(),
            Attempt::patch("a snapshot's status", format!("{taken}/status"), json!({"status": {"boundVolumeSnapshotContentName": "others"}})).no_right(),
            Attempt::create("a snapshot by a Viewer", snapshots, snapshot(json!({}))).by(support::Who::Viewer).no_right(),
            attributes(Attempt::create("another class of attributes", CLAIMS, claim(json!({"spec": {"volumeAttributesClassName": "admit-fast"}})))),
        ])
        .await;
    Ok(())
}

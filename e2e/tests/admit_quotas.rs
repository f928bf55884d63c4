//! Promise: what a tenant uses is counted, over all its namespaces at once, and what no quota counts is not to be had.

mod support;

use anyhow::Result;
use futures::future::join_all;
use http::Method;
use mesocentre_e2e::{until, wait_for};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Attempt, Ground, container, merged, pod_spec, pod_with, workloads};

const PODS: &str = "/api/v1/namespaces/{ns}/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/{ns}/configmaps";
const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaims";
const TEMPLATES: &str = "/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaimtemplates";
const JOBS: &str = "/apis/mesocentre.io/v1alpha1/namespaces/{ns}/batchjobs";
const IMAGE: &str = "registry.meso.test/tools:1";
const PATIENCE: Duration = Duration::from_secs(30);

/// Widens the tenant's quota, and returns when it is in force in the workspace.
async fn with_quota(ground: &Ground, quota: Value, in_force: &[(&str, &str)]) -> Result<()> {
    let admin = ground.stack.admin();
    let tenant = format!("/apis/mesocentre.io/v1alpha1/tenants/{}", ground.tenant.name);
    ground
        .ask(&admin, Method::PATCH, &tenant, json!({"spec": {"quota": quota}}))
        .await
        .map_err(anyhow::Error::msg)?;
    wait_for("the quota is in force", PATIENCE, async || {
        let path = "/api/v1/namespaces/{ns}/resourcequotas/tenant";
        let held = ground.ask(&admin, Method::GET, path, Value::Null).await?;
        let holds = |(name, amount): &(&str, &str)| held["status"]["hard"][*name] == *amount;
        if in_force.iter().all(holds) {
            Ok(())
        } else {
            Err(held["status"].to_string())
        }
    })
    .await;
    Ok(())
}

fn claim(request: Value) -> Value {
    json!({
        "metadata": {"generateName": "tried-"},
        "spec": {"devices": {"requests": [merged(json!({"name": "r"}), request)]}},
    })
}

fn exactly(class: &str, more: Value) -> Value {
    claim(json!({"exactly": merged(json!({"deviceClassName": class}), more)}))
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn devices_that_no_quota_counts_are_not_to_be_had() -> Result<()> {
    let ground = Ground::new("devices", json!({})).await?;
    let unnamed = "counts devices by quota";
    let way_out = "ask the administrators for quota.devices";
    let template =
        |claim: Value| json!({"metadata": {"generateName": "tried-"}, "spec": {"spec": claim["spec"]}});
    let by_the_way = claim(
        json!({"firstAvailable": [{"name": "a", "deviceClassName": "admit-gpu"}, {"name": "b", "deviceClassName": "other"}]}),
    );
    // A claim that asks for nothing takes nothing.
    let nothing = json!({"metadata": {"generateName": "tried-"}, "spec": {}});
    let made = ground.ask(&ground.member, Method::POST, CLAIMS, nothing).await;
    assert!(made.is_ok(), "{made:?}");
    // At first the quota counts none.
    ground
        .refuses(vec![
            Attempt::create("a device", CLAIMS, exactly("admit-gpu", json!({})))
                .told("counts none by their class", way_out),
            Attempt::create(
                "a device by a template",
                TEMPLATES,
                template(exactly("admit-gpu", json!({}))),
            )
            .told("counts none by their class", way_out),
        ])
        .await;
    let class = "admit-gpu.deviceclass.resource.k8s.io/devices";
    let quota = json!({"devices": {"admit-gpu": 2}, "extendedResources": {"example.org/fpga": 3}});
    with_quota(
        &ground,
        quota,
        &[(class, "2"), ("requests.example.org/fpga", "3")],
    )
    .await?;
    let admin = ground.stack.admin();
    wait_for("the rules name the class", PATIENCE, async || {
        let path = "/apis/mesocentre.io/v1alpha1/namespaces/{ns}/perimeterrules/perimeter";
        let rules = ground.ask(&admin, Method::GET, path, Value::Null).await?;
        if rules["spec"]["deviceClasses"] == json!(["admit-gpu"]) {
            Ok(())
        } else {
            Err(rules["spec"].to_string())
        }
    })
    .await;
    let asks = |resource: &str, amount: &str| json!({"resources": {"limits": {resource: amount}, "requests": {resource: amount}}});
    let of = |resource: &str, amount: &str| json!({"containers": [merged(container("main", IMAGE), asks(resource, amount))]});
    let together = json!({"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "2Mi"});
    let small = json!({"cpu": "10m", "memory": "16Mi"});
    let huge_pages = json!({
        "resources": {"limits": together, "requests": together},
        "containers": [merged(container("main", IMAGE), json!({"resources": {"limits": small, "requests": small}}))],
    });
    let uncounted = "asks for a resource that no quota of";
    let ask = "ask the administrators for quota.extendedResources";
    let over = "exceeded quota: tenant";
    let mut attempts = vec![
        Attempt::create("another class", CLAIMS, exactly("other", json!({}))).told(unnamed, way_out),
        Attempt::create("a class that begins the same", CLAIMS, exactly("admit-gpu2", json!({}))).told(unnamed, way_out),
        Attempt::create("another class second", CLAIMS, by_the_way.clone()).told(unnamed, way_out),
        Attempt::create("another class by a template", TEMPLATES, template(by_the_way)).told(unnamed, way_out),
        Attempt::create("another class by an Owner", CLAIMS, exactly("other", json!({})))
            .by(support::Who::Owner)
            .told(unnamed, way_out),
        Attempt::create("a claim by a Viewer", CLAIMS, exactly("admit-gpu", json!({})))
            .by(support::Who::Viewer)
            .no_right(),
        Attempt::create("more devices than there are", CLAIMS, exactly("admit-gpu", json!({"count": 3}))).told_by_kubernetes(over),
        Attempt::create("all devices", CLAIMS, exactly("admit-gpu", json!({"allocationMode": "All"}))).told_by_kubernetes(over),
        Attempt::create(
            "more of an extended resource than there is",
            PODS,
            pod_with(IMAGE, of("example.org/fpga", "4")),
        )
        .told_by_kubernetes(over),
        Attempt::create(
            "a device that is set aside",
            CLAIMS,
            exactly("admit-gpu", json!({"tolerations": [{"operator": "Exists"}]})),
        )
        .told("a device that the datacentre has set aside", "leave tolerations out"),
        Attempt::create("huge pages of a pod as a whole", PODS, pod_with(IMAGE, huge_pages)).told(
            "spec.resources of the pod asks for hugepages-2Mi",
            "write cpu and memory under spec.resources",
        ),
        Attempt::create("a GPU where there are none", PODS, pod_with(IMAGE, of("nvidia.com/gpu", "1"))).told_by_kubernetes(over),
        Attempt::create(
            "an extended resource in an init container",
            PODS,
            pod_with(
                IMAGE,
                json!({"initContainers": [merged(container("first", IMAGE), asks("amd.com/gpu", "1"))]}),
            ),
        )
        .told(uncounted, ask),
        Attempt::create(
            "an extended resource in a sidecar",
            PODS,
            pod_with(
                IMAGE,
                json!({"initContainers": [merged(container("beside", IMAGE), merged(json!({"restartPolicy": "Always"}), asks("amd.com/gpu", "1")))]}),
            ),
        )
        .told(uncounted, ask),
    ];
    for resource in [
        "amd.com/gpu",
        "nvidia.com/gpu.shared",
        "deviceclass.resource.kubernetes.io/other",
    ] {
        attempts.push(
            Attempt::create(
                format!("{resource} in a pod"),
                PODS,
                pod_with(IMAGE, of(resource, "1")),
            )
            .told(uncounted, ask),
        );
    }
    for (kind, path, body, right) in workloads(&merged(pod_spec(IMAGE), of("amd.com/gpu", "1"))) {
        let attempt =
            Attempt::create(format!("an extended resource in {kind}"), path, body).told(uncounted, ask);
        attempts.push(if right { attempt } else { attempt.no_right() });
    }
    ground.refuses(attempts).await;
    // What is counted is to be had.
    for (path, body) in [
        (CLAIMS, exactly("admit-gpu", json!({"count": 2}))),
        (PODS, pod_with(IMAGE, of("example.org/fpga", "3"))),
    ] {
        let made = ground
            .ask(&ground.member, Method::POST, &format!("{path}?dryRun=All"), body)
            .await;
        made.unwrap_or_else(|told| panic!("{path}: {told}"));
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn objects_are_counted_over_all_namespaces_of_a_tenant_at_once() -> Result<()> {
    let ground = Ground::new("objects", json!({})).await?;
    let total = 20;
    let quota = json!({"objects": {"configmaps": total, "batchjobs.mesocentre.io": 2}});
    with_quota(
        &ground,
        quota,
        &[("count/configmaps", "20"), ("count/batchjobs.mesocentre.io", "2")],
    )
    .await?;
    let job = json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"generateName": "tried-"},
        "spec": {"allocation": "none", "script": "#!/bin/bash\ntrue\n"}});
    for _ in 0..2 {
        let made = ground.ask(&ground.member, Method::POST, JOBS, job.clone()).await;
        made.unwrap_or_else(|told| panic!("{told}"));
    }
    let told = ground
        .ask(&ground.member, Method::POST, JOBS, job)
        .await
        .unwrap_err();
    assert!(told.contains("exceeded quota: tenant"), "{told}");

    // Two namespaces that fill up in the same instant do not exceed the sum.
    let second = ground.tenant.workspace(&ground.stack, "second").await?;
    let admin = ground.stack.admin();
    let both = [ground.workspace.clone(), second];
    let at = |namespace: &str| CONFIG_MAPS.replace("{ns}", namespace);
    let count = async || {
        let mut count = 0;
        for namespace in &both {
            let list = ground
                .ask(&admin, Method::GET, &at(namespace), Value::Null)
                .await?;
            count += list["items"].as_array().map_or(0, Vec::len);
        }
        Ok::<usize, String>(count)
    };
    // The config map that Kubernetes puts into each namespace counts from the start, and once more when it comes after
    // the quota, until the controller manager counts anew: on a deletion at once, otherwise within minutes. It writes
    // nothing where its own view of the quota is from before our creation and so looks right: then the next deletion is
    // what makes it count.
    for namespace in &both {
        wait_for("the quota counts what is there", PATIENCE, async || {
            let made = json!({"metadata": {"name": "counted-anew"}});
            ground
                .ask(&ground.member, Method::POST, &at(namespace), made)
                .await?;
            let made = format!("{}/counted-anew", at(namespace));
            ground
                .ask(&ground.member, Method::DELETE, &made, Value::Null)
                .await?;
            let counted = until("after one deletion", Duration::from_secs(3), async || {
                let path = format!("/api/v1/namespaces/{namespace}/resourcequotas/tenant");
                let quota = ground.ask(&admin, Method::GET, &path, Value::Null).await?;
                let list = ground
                    .ask(&admin, Method::GET, &at(namespace), Value::Null)
                    .await?;
                let there = list["items"].as_array().map_or(0, Vec::len).to_string();
                let used = &quota["status"]["used"]["count/configmaps"];
                if *used == there {
                    Ok(())
                } else {
                    Err(format!("{used} of {there}"))
                }
            });
            counted.await.map_err(|error| error.to_string())
        })
        .await;
    }
    wait_for(
        "the tenant's config maps are as many as it may have",
        PATIENCE,
        async || {
            let made = json!({"metadata": {"generateName": "tried-"}});
            let answers = join_all((0..30).map(|i| {
                let (path, made, ground) = (at(&both[i % 2]), made.clone(), &ground);
                async move { ground.ask(&ground.member, Method::POST, &path, made).await }
            }))
            .await;
            for told in answers.into_iter().filter_map(Result::err) {
                assert!(
                    told.contains("exceeded quota: tenant") || told.contains("please try again"),
                    "{told}"
                );
            }
            let there = count().await?;
            assert!(there <= total, "{there} of {total}");
            if there == total {
                Ok(())
            } else {
                Err(format!("{there} of {total}"))
            }
        },
    )
    .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_disks_of_nodes_are_counted_and_a_container_that_says_nothing_gets_a_gibibyte() -> Result<()> {
    let ground = Ground::new("disks", json!({})).await?;
    with_quota(
        &ground,
        json!({"ephemeralStorage": "4Gi"}),
        &[
            ("limits.ephemeral-storage", "4Gi"),
            ("requests.ephemeral-storage", "4Gi"),
        ],
    )
    .await?;
    let of = |limit: &str| json!({"containers": [merged(container("main", IMAGE), json!({"resources": {"limits": {"ephemeral-storage": limit}}}))]});
    let over = "exceeded quota: tenant";
    let mut attempts = vec![
        Attempt::create(
            "more of the nodes' disks than there is",
            PODS,
            pod_with(IMAGE, of("5Gi")),
        )
        .told_by_kubernetes(over),
        Attempt::create(
            "more in five containers",
            PODS,
            pod_with(
                IMAGE,
                json!({"containers": (0..5).map(|i| container(&format!("c{i}"), IMAGE)).collect::<Vec<_>>()}),
            ),
        )
        .told_by_kubernetes(over),
    ];
    attempts.push(
        Attempt::create(
            "more in an init container",
            PODS,
            pod_with(
                IMAGE,
                json!({"initContainers": [merged(container("first", IMAGE), json!({"resources": {"limits": {"ephemeral-storage": "5Gi"}}}))]}),
            ),
        )
        .told_by_kubernetes(over),
    );
    ground.refuses(attempts).await;
    let made = ground
        .ask(
            &ground.member,
            Method::POST,
            &format!("{PODS}?dryRun=All"),
            pod_with(IMAGE, json!({})),
        )
        .await;
    let made = made.unwrap_or_else(|told| panic!("{told}"));
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(resources["limits"]["ephemeral-storage"], "1Gi", "{resources}");
    assert_eq!(resources["requests"]["ephemeral-storage"], "100Mi", "{resources}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_owner_does_not_fill_the_control_plane_from_the_home_namespace() -> Result<()> {
    let ground = Ground::new("homes", json!({})).await?;
    let admin = ground.stack.admin();
    let tenant = &ground.tenant.name;
    let change =
        json!({"spec": {"quota": {"workspaces": 1, "objects": {"peeringagreements.mesocentre.io": 2}}}});
    ground
        .ask(
            &admin,
            Method::PATCH,
            &format!("/apis/mesocentre.io/v1alpha1/tenants/{tenant}"),
            change,
        )
        .await
        .map_err(anyhow::Error::msg)?;
    let quota = format!("/api/v1/namespaces/{tenant}/resourcequotas/tenant");
    wait_for("the home namespace counts", PATIENCE, async || {
        let held = ground.ask(&admin, Method::GET, &quota, Value::Null).await?;
        let hard = &held["status"]["hard"];
        let used = &held["status"]["used"]["count/workspaces.mesocentre.io"];
        if hard["count/workspaces.mesocentre.io"] == "12"
            && hard["count/peeringagreements.mesocentre.io"] == "2"
            && *used == "1"
        {
            Ok(())
        } else {
            Err(held["status"].to_string())
        }
    })
    .await;
    for (plural, kind, spec, room) in [
        ("workspaces", "Workspace", json!({"purpose": "One of many"}), 11),
        (
            "peeringagreements",
            "PeeringAgreement",
            json!({
                "with": "nobody", "purpose": "One of many", "validUntil": "2099-12-31",
            }),
            2,
        ),
    ] {
        let path = format!("/apis/mesocentre.io/v1alpha1/namespaces/{tenant}/{plural}");
        for n in 0..=room {
            let body = json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": kind, "metadata": {"name": format!("n{n}")}, "spec": spec});
            let made = ground.ask(&ground.owner, Method::POST, &path, body).await;
            match made {
                Ok(_) => assert!(n < room, "{kind} number {n} of {room} was made"),
                Err(told) => {
                    assert_eq!(n, room, "{kind}: {told}");
                    assert!(told.contains("exceeded quota: tenant"), "{told}");
                }
            }
        }
    }
    Ok(())
}

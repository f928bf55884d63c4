//! Promise: a suspended tenant starts nothing new, by whatever way, and is told why and what to do; what it has can still
//! be read, fetched and deleted.

mod support;

use anyhow::Result;
use http::Method;
use kube::api::{Api, Patch, PatchParams};
use mesocentre_api::{PerimeterRules, Tenant};
use mesocentre_e2e::wait_for;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Attempt, Ground, Who, container, merged, pod, pod_spec, workloads};

const PODS: &str = "/api/v1/namespaces/{ns}/pods";
const CLAIMS: &str = "/api/v1/namespaces/{ns}/persistentvolumeclaims";
const JOBS: &str = "/apis/mesocentre.io/v1alpha1/namespaces/{ns}/batchjobs";
const WORKSPACES: &str = "/apis/mesocentre.io/v1alpha1/namespaces/{home}/workspaces";
const AGREEMENTS: &str = "/apis/mesocentre.io/v1alpha1/namespaces/{home}/peeringagreements";
const IMAGE: &str = "registry.meso.test/tools:1";
const WHY: &str = "the report of the security officer is awaited";
const WAY_OUT: &str = "ask the administrators of the datacentre to lift the suspension";

/// The one pod by which data are fetched.
fn retrieval(changes: Value) -> Value {
    let mut only = container("main", IMAGE);
    only["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    only["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    merged(
        json!({"metadata": {"name": "retrieval"}, "spec": merged(pod_spec(IMAGE), json!({
            "restartPolicy": "Never", "activeDeadlineSeconds": 14400, "containers": [only],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "standing"}}],
        }))}),
        changes,
    )
}

fn claim() -> Value {
    json!({"metadata": {"generateName": "tried-"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "standard",
    }})
}

fn ours(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": kind, "metadata": {"generateName": "tried-"}, "spec": spec})
}

async fn suspend(ground: &Ground) -> Result<()> {
    let tenants: Api<Tenant> = Api::all(ground.stack.admin());
    let patch = Patch::Merge(json!({"spec": {"suspended": {"reason": WHY}}}));
    tenants
        .patch(&ground.tenant.name, &PatchParams::default(), &patch)
        .await?;
    for namespace in [&ground.tenant.name, &ground.workspace] {
        let rules: Api<PerimeterRules> = Api::namespaced(ground.stack.admin(), namespace);
        wait_for(
            &format!("the rules of {namespace} say so"),
            Duration::from_secs(30),
            async || {
                let rules = rules.get("perimeter").await.map_err(|error| error.to_string())?;
                match rules.spec.suspension {
                    Some(suspension) if suspension.why.contains(WHY) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            },
        )
        .await;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_suspended_tenant_starts_nothing_new_and_keeps_what_it_has() -> Result<()> {
    let ground = Ground::new("halted", json!({})).await?;
    let named =
        |name: &str, body: Value| merged(body, json!({"metadata": {"generateName": null, "name": name}}));
    ground.both_have(CLAIMS, &named("standing", claim())).await?;
    let config = json!({"metadata": {"name": "standing"}, "data": {"a": "1"}});
    let configs = "/api/v1/namespaces/{ns}/configmaps";
    ground.both_have(configs, &config).await?;
    ground.both_have(PODS, &named("standing", pod(IMAGE))).await?;
    // Before, the name by which data are fetched is nobody's: what stops pods would pass it over.
    let reserved = Attempt::create("a pod named retrieval before", PODS, retrieval(json!({})))
        .unlike_here(retrieval(
            json!({"metadata": {"name": "retrieval-of-another-kind"}}),
        ))
        .told_of_no_perimeter(
            "only to fetch the data of a tenant that is suspended",
            "another name",
        );
    ground.refuses(vec![reserved]).await;

    suspend(&ground).await?;
    let halted = |attempt: Attempt| attempt.told_of_no_perimeter(WHY, WAY_OUT);
    let mut attempts = vec![
        halted(Attempt::create("a pod", PODS, pod(IMAGE))),
        halted(Attempt::create("a pod by an Owner", PODS, pod(IMAGE)).by(Who::Owner)),
        // The instant is the API server's own, whatever is written.
        halted(Attempt::create(
            "a pod made long ago",
            PODS,
            merged(
                pod(IMAGE),
                json!({"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}}),
            ),
        )),
        halted(Attempt::create("a claim", CLAIMS, claim())),
        halted(Attempt::create(
            "a claim of devices",
            "/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaims",
            json!({"metadata": {"generateName": "tried-"}, "spec": {}}),
        )),
        halted(
            Attempt::create(
                "a batch job",
                JOBS,
                ours(
                    "BatchJob",
                    json!({"allocation": "none", "script": "#!/bin/bash\ntrue\n"}),
                ),
            )
            .only_here()
            .alone(),
        ),
        halted(
            Attempt::create(
                "a workspace",
                WORKSPACES,
                ours("Workspace", json!({"purpose": "A test"})),
            )
            .by(Who::Owner),
        ),
        halted(
            Attempt::create(
                "an agreement",
                AGREEMENTS,
                ours(
                    "PeeringAgreement",
                    json!({"with": "chu-rouen", "purpose": "A test", "validUntil": "2035-12-31"}),
                ),
            )
            .by(Who::Owner),
        ),
    ];
    for (what, path, body, has_right) in workloads(&pod_spec(IMAGE)) {
        let attempt = Attempt::create(what, path, body);
        attempts.push(halted(if has_right { attempt } else { attempt.no_right() }));
    }
    let forms = [
        (
            "a pod retrieval that does not end",
            json!({"spec": {"activeDeadlineSeconds": null}}),
        ),
        (
            "one that ends after a day",
            json!({"spec": {"activeDeadlineSeconds": 86400}}),
        ),
        (
            "one that starts again",
            json!({"spec": {"restartPolicy": "OnFailure"}}),
        ),
        (
            "one without a claim",
            json!({"spec": {
                "volumes": [{"name": "data", "emptyDir": {}}],
            }}),
        ),
        (
            "one with two containers",
            json!({"spec": {
                "containers": [retrieval(json!({}))["spec"]["containers"][0], container("more", IMAGE)],
            }}),
        ),
        (
            "one with an init container",
            json!({"spec": {"initContainers": [container("first", IMAGE)]}}),
        ),
        (
            "one with a device",
            json!({"spec": {"resourceClaims": [{"name": "gpu", "resourceClaimName": "standing"}]}}),
        ),
        (
            "one that has more as a whole",
            json!({"spec": {"resources": {"limits": {"cpu": "8", "memory": "8Gi"}}}}),
        ),
        (
            "one of two CPUs",
            json!({"spec": {"containers": [merged(
                retrieval(json!({}))["spec"]["containers"][0].clone(),
                json!({"resources": {"limits": {"cpu": "2"}}}),
            )]}}),
        ),
        (
            "one of 4 GiB",
            json!({"spec": {"containers": [merged(
                retrieval(json!({}))["spec"]["containers"][0].clone(),
                json!({"resources": {"limits": {"memory": "4Gi"}}}),
            )]}}),
        ),
    ];
    attempts.extend(forms.into_iter().map(|(what, changes)| {
        Attempt::create(what, PODS, retrieval(changes))
            .unlike_here(retrieval(json!({})))
            .told_of_no_perimeter(WHY, "The pod retrieval fetches data meanwhile")
    }));
    ground.refuses(attempts).await;

    // What is there can be read, changed and deleted, and fetched by the one pod.
    let path = |of: &str, name: &str| format!("{of}/{name}");
    let member = &ground.member;
    for (method, path, body) in [
        (Method::GET, path(configs, "standing"), Value::Null),
        (
            Method::PATCH,
            path(configs, "standing"),
            json!({"data": {"a": "2"}}),
        ),
        (
            Method::POST,
            configs.to_owned(),
            json!({"metadata": {"name": "script"}, "data": {}}),
        ),
        (Method::POST, PODS.to_owned(), retrieval(json!({}))),
        (Method::DELETE, path(PODS, "standing"), Value::Null),
        (Method::DELETE, path(CLAIMS, "standing"), Value::Null),
        (Method::DELETE, path(configs, "standing"), Value::Null),
    ] {
        ground
            .ask(member, method.clone(), &path, body)
            .await
            .unwrap_or_else(|said| panic!("{method} {path}: {said}"));
    }
    // One at a time.
    let second = ground.ask(member, Method::POST, PODS, retrieval(json!({}))).await;
    assert!(second.unwrap_err().contains("already exists"));
    Ok(())
}

//! Promise: inside a perimeter runs what comes from its registries, by digest where it asks, whatever carries the image.

mod support;

use anyhow::Result;
use http::Method;
use mesocentre_e2e::wait_for;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Attempt, Ground, as_another, container, pod, pod_spec, pod_with, workloads};

const PATIENCE: Duration = Duration::from_secs(30);
const PODS: &str = "/api/v1/namespaces/{ns}/pods";
const GOOD: &str = "registry.meso.test/tools:1";
const EVIL: &str = "registry.meso.test.evil/tools:1";
const RULE: &str = "takes images from registry.meso.test/ only";
const WAY_OUT: &str = "push the image there and write its full name";

/// A pod that stands, for attempts on it.
fn standing(image: &str) -> Value {
    let mut standing = pod(image);
    standing["metadata"] = json!({"name": "standing"});
    standing
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn no_spelling_passes_for_the_perimeters_registry() -> Result<()> {
    let ground = Ground::new("imgname", json!({})).await?;
    ground
        .ask(&ground.member, Method::POST, PODS, pod(GOOD))
        .await
        .unwrap();
    let spellings = [
        ("a longer host", EVIL),
        ("a longer host in front", "xregistry.meso.test/tools:1"),
        ("the host as a path", "evil.example/registry.meso.test/tools:1"),
        ("upper case", "REGISTRY.MESO.TEST/tools:1"),
        ("upper case in the path", "registry.meso.test/Tools:1"),
        ("no registry", "tools:1"),
        ("no registry, two parts", "library/tools:1"),
        ("another registry", "docker.io/library/tools:1"),
        ("the host alone", "registry.meso.test"),
        ("a port", "registry.meso.test:5000/tools:1"),
        (
            "a user before the host",
            "registry.meso.test@evil.example/tools:1",
        ),
        ("a user part", "registry.meso.test/@evil.example/tools:1"),
        ("a way up", "registry.meso.test/../evil/tools:1"),
        ("a way up, escaped", "registry.meso.test/%2e%2e/evil/tools:1"),
        ("a scheme", "https://registry.meso.test/tools:1"),
        ("a query", "registry.meso.test/tools:1?from=evil.example"),
        ("a letter that looks the same", "reg\u{131}stry.meso.test/tools:1"),
        (
            "a second line",
            "registry.meso.test/tools:1\nevil.example/tools:1",
        ),
        (
            "a space inside",
            "registry.meso.test/tools:1 evil.example/tools:1",
        ),
        ("a backslash", "registry.meso.test/\\evil.example/tools:1"),
        ("a digest of another kind", "registry.meso.test/tools@sha512:abc"),
    ];
    let attempts = spellings.map(|(what, image)| Attempt::create(what, PODS, pod(image)).told(RULE, WAY_OUT));
    ground.refuses(Vec::from(attempts)).await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn nothing_carries_a_strangers_image_in() -> Result<()> {
    let ground = Ground::new("imgwhere", json!({})).await?;
    ground.both_have(PODS, &standing(GOOD)).await?;
    let deployment = "/apis/apps/v1/namespaces/{ns}/deployments";
    let mut deployed = workloads(&pod_spec(GOOD))[0].2.clone();
    deployed["metadata"] = json!({"name": "standing"});
    ground.both_have(deployment, &deployed).await?;
    let on_pod = format!("{PODS}/standing");
    let on_debug = format!("{PODS}/standing/ephemeralcontainers");
    let sidecar = {
        let mut sidecar = container("side", EVIL);
        sidecar["restartPolicy"] = json!("Always");
        sidecar
    };
    let volume = json!([{"name": "v", "image": {"reference": EVIL}}]);
    let debug = json!({"spec": {"ephemeralContainers": [container("debug", EVIL)]}});
    let new_image = json!({"spec": {"containers": [{"name": "main", "image": EVIL}]}});
    let mut applied = pod(EVIL);
    applied["apiVersion"] = json!("v1");
    applied["kind"] = json!("Pod");
    applied["metadata"] = json!({"name": "applied"});
    let stays = |attempt: Attempt| attempt.told("the images of a pod do not change", "make another pod");
    let mut attempts = vec![
        Attempt::create(
            "a second container",
            PODS,
            pod_with(
                GOOD,
                json!({"containers": [container("main", GOOD), container("other", EVIL)]}),
            ),
        ),
        Attempt::create(
            "an init container",
            PODS,
            pod_with(GOOD, json!({"initContainers": [container("init", EVIL)]})),
        ),
        Attempt::create(
            "a sidecar",
            PODS,
            pod_with(GOOD, json!({"initContainers": [sidecar]})),
        ),
        Attempt::create(
            "an image volume",
            PODS,
            pod_with(GOOD, json!({"volumes": volume})),
        ),
        Attempt::patch_of(
            "application/apply-patch+yaml",
            "server-side apply",
            format!("{PODS}/applied?fieldManager=tried"),
            applied,
        ),
        Attempt::patch_of(
            "application/strategic-merge-patch+json",
            "a debug container by strategic patch",
            &on_debug,
            debug.clone(),
        ),
        Attempt::patch("a debug container by merge patch", &on_debug, debug),
        Attempt::patch_of(
            "application/json-patch+json",
            "a debug container by JSON patch",
            &on_debug,
            json!([{"op": "add", "path": "/spec/ephemeralContainers", "value": [container("debug", EVIL)]}]),
        ),
        Attempt::patch_of(
            "application/strategic-merge-patch+json",
            "a new image in a Deployment",
            format!("{deployment}/standing"),
            json!({"spec": {"template": new_image.clone()}}),
        ),
    ];
    for (what, path, body, right) in workloads(&pod_spec(EVIL)) {
        let attempt = Attempt::create(what, path, body);
        attempts.push(if right { attempt } else { attempt.no_right() });
    }
    let mut attempts: Vec<Attempt> = attempts.into_iter().map(|a| a.told(RULE, WAY_OUT)).collect();
    attempts.extend([
        stays(Attempt::patch_of("application/strategic-merge-patch+json", "a pod's image afterwards", &on_pod, new_image)),
        stays(Attempt::patch_of(
            "application/json-patch+json",
            "a pod's image by JSON patch",
            &on_pod,
            json!([{"op": "replace", "path": "/spec/containers/0/image", "value": EVIL}]),
        )),
        // Another of the perimeter's own: what was reviewed is what runs.
        stays(Attempt::patch_of(
            "application/json-patch+json",
            "a pod's image to another of the registry",
            &on_pod,
            json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "registry.meso.test/other:1"}]),
        )),
    ]);
    ground.refuses(attempts).await;

    // The wall is around pods: it holds though a controller makes them.
    let told = as_another(
        &ground,
        "system:serviceaccount:kube-system:replicaset-controller",
        Method::POST,
        PODS,
        pod(EVIL),
    )
    .await
    .expect_err("a controller made a pod of a stranger's image");
    assert!(told.contains(RULE), "{told}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn where_a_perimeter_asks_for_digests_a_tag_is_refused() -> Result<()> {
    let rules = json!({"images": {"registries": ["registry.meso.test/hds/"], "requireDigest": true}});
    let ground = Ground::new("imgdigest", rules).await?;
    let digest = "0123456789abcdef".repeat(4);
    let good = format!("registry.meso.test/hds/tools@sha256:{digest}");
    ground.both_have(PODS, &standing(&good)).await?;
    let wanted = |attempt: Attempt| attempt.told("wants images by digest", "write name@sha256:");
    let strange = |attempt: Attempt| {
        attempt.told(
            "takes images from registry.meso.test/hds/ only",
            "push the image there",
        )
    };
    let tagged = "registry.meso.test/hds/tools:1";
    let mut attempts = vec![
        wanted(Attempt::create("a tag", PODS, pod(tagged))),
        wanted(Attempt::create(
            "neither tag nor digest",
            PODS,
            pod("registry.meso.test/hds/tools"),
        )),
        wanted(Attempt::create(
            "an init container by tag",
            PODS,
            pod_with(&good, json!({"initContainers": [container("i", tagged)]})),
        )),
        wanted(Attempt::patch(
            "a debug container by tag",
            format!("{PODS}/standing/ephemeralcontainers"),
            json!({"spec": {"ephemeralContainers": [container("debug", tagged)]}}),
        )),
        strange(Attempt::create(
            "a digest that is cut short",
            PODS,
            pod("registry.meso.test/hds/tools@sha256:0123"),
        )),
        strange(Attempt::create(
            "a digest in upper case",
            PODS,
            pod(&format!(
                "registry.meso.test/hds/tools@sha256:{}",
                digest.to_uppercase()
            )),
        )),
        strange(Attempt::create(
            "two digests",
            PODS,
            pod(&format!("{good}@sha256:{digest}")),
        )),
        strange(Attempt::create(
            "a digest of another folder",
            PODS,
            pod(&format!("registry.meso.test/other/tools@sha256:{digest}")),
        )),
        strange(Attempt::create(
            "a folder that begins the same",
            PODS,
            pod(&format!("registry.meso.test/hds-evil/tools@sha256:{digest}")),
        )),
        strange(Attempt::create(
            "a way up out of the folder",
            PODS,
            pod(&format!("registry.meso.test/hds/../other/tools@sha256:{digest}")),
        )),
    ];
    attempts.extend(
        workloads(&pod_spec(tagged))
            .into_iter()
            .filter(|(_, _, _, right)| *right)
            .map(|(what, path, body, _)| wanted(Attempt::create(format!("{what} by tag"), path, body))),
    );
    ground.refuses(attempts).await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_pod_whose_registry_has_left_the_perimeter_is_still_looked_into() -> Result<()> {
    let ground = Ground::new("imgleft", json!({})).await?;
    ground.both_have(PODS, &standing(GOOD)).await?;
    let debug = format!("{PODS}/standing/ephemeralcontainers");
    let with = |containers: &[Value]| json!({"spec": {"ephemeralContainers": containers}});
    let looks = async |containers: &[Value]| {
        ground
            .ask(&ground.member, Method::PATCH, &debug, with(containers))
            .await
    };
    let first = container("first", GOOD);
    let looked = looks(std::slice::from_ref(&first)).await;
    assert!(looked.is_ok(), "{looked:?}");
    let admin = ground.stack.admin();
    let perimeter = format!(
        "/apis/mesocentre.io/v1alpha1/trustperimeters/{}",
        ground.tenant.perimeter
    );
    let moved = json!({"spec": {"images": {"registries": ["registry2.meso.test/"]}}});
    ground
        .ask(&admin, Method::PATCH, &perimeter, moved)
        .await
        .map_err(anyhow::Error::msg)?;
    wait_for("the rules name the new registry", PATIENCE, async || {
        let path = "/apis/mesocentre.io/v1alpha1/namespaces/{ns}/perimeterrules/perimeter";
        let rules = ground.ask(&admin, Method::GET, path, Value::Null).await?;
        if rules["spec"]["imageRegistries"] == json!(["registry2.meso.test/"]) {
            Ok(())
        } else {
            Err(rules["spec"].to_string())
        }
    })
    .await;
    let second = container("second", "registry2.meso.test/tools:1");
    let looked = looks(&[first.clone(), second.clone()]).await;
    assert!(looked.is_ok(), "{looked:?}");
    let told = looks(&[first, second, container("third", GOOD)])
        .await
        .unwrap_err();
    assert!(
        told.contains("takes images from registry2.meso.test/ only"),
        "{told}"
    );
    Ok(())
}

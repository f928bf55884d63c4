//! Promise: who measures power or storage reports it as CloudEvents over HTTPS, as themselves and as no other source; it is
//! in the ledger once, and a month waits for who has not said that they have said all.
//!
//! As a service account with a token made for it by `kubectl create token`, against the operator's own port.

use anyhow::Result;
use http::{Method, Request, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use mesocentre_e2e::{Stack, apply_yaml, fixture, wait_for};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const ONE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// Somebody who reports.
struct Sender {
    client: kube::Client,
}

impl Sender {
    async fn with(stack: &Stack, token: &str) -> Result<Self> {
        let (url, authority) = stack.intake()?;
        let config: Kubeconfig = serde_json::from_value(json!({
            "clusters": [{"name": "intake", "cluster": {"server": url, "certificate-authority": authority}}],
            "users": [{"name": "sender", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "intake", "user": "sender"}}], "current-context": "c",
        }))?;
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        Ok(Self {
            client: kube::Client::try_from(config)?,
        })
    }

    /// The status and the answer.
    async fn sends(&self, kind: &str, body: &str) -> Result<(u16, Value)> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/usage")
            .header(header::CONTENT_TYPE, kind)
            .body(body.to_owned().into_bytes().into())?;
        let response = self.client.send(request).await?;
        let status = response.status().as_u16();
        let bytes = http_body_util::BodyExt::collect(response.into_body())
            .await?
            .to_bytes();
        Ok((status, serde_json::from_slice(&bytes)?))
    }
}

async fn token(stack: &Stack, account: &str, audience: &str) -> Result<String> {
    let answer = stack
        .run(&[
            "kubectl",
            "create",
            "token",
            account,
            "--namespace",
            "mesocentre-system",
            "--audience",
            audience,
        ])
        .await?;
    assert!(answer.is_success(), "{}", answer.stderr);
    Ok(answer.stdout.trim().to_owned())
}

fn event(id: &str, source: &str, tenant: &str, watt_hours: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": source, "type": "io.mesocentre.usage.v1",
        "data": {"tenant": tenant, "meter": "energy.kwh", "quantity": watt_hours, "unit": "watt_hours",
            "start": "2026-11-28T00:00:00Z", "end": "2026-11-28T01:00:00Z", "evidence": {"rack": "A3"}},
    })
}

fn outcomes(answer: &Value) -> Vec<String> {
    answer["events"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| event["outcome"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn who_measures_reports_as_themselves_and_each_event_is_in_the_ledger_once() -> Result<()> {
    let stack = Stack::current().await?;
    let tenant = fixture::tenant(&stack, "racks").await?;
    let source = format!("power-{}", tenant.name);
    let account = source.as_str();
    let rights = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}, namespace: mesocentre-system}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {account}}}\nrules:\n- apiGroups: [intake.mesocentre.io]\n  \
         resources: [usagerecords]\n  verbs: [create]\n  resourceNames: [{source}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {account}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, \
         kind: ClusterRole, name: {account}}}\nsubjects: [{{kind: ServiceAccount, name: {account}, namespace: mesocentre-system}}]\n"
    );
    apply_yaml(&stack.admin(), &rights).await?;
    let sender = Sender::with(&stack, &token(&stack, account, "mesocentre-intake").await?).await?;
    let one = event("1", &source, &tenant.name, "1250");

    // The operator knows the tenant, and the API server the role, a moment after they were made.
    let first = wait_for("the first event is taken", PATIENCE, async || {
        let answer = sender
            .sends(ONE, &one.to_string())
            .await
            .map_err(|error| error.to_string())?;
        if answer.0 == 200 && outcomes(&answer.1) == ["inLedger"] {
            Ok(answer.1)
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    assert_eq!(first["events"][0]["id"], "1");

    // The same again, another, one that says otherwise, one of nobody's, one that is malformed: each told by itself.
    let batch = json!([
        one,
        event("2", &source, &tenant.name, "750"),
        event("1", &source, &tenant.name, "9999"),
        event("3", &source, "nobody-at-all", "1"),
        {"specversion": "1.0", "id": "4", "source": source, "type": "something.else", "data": {}},
    ]);
    let (status, answer) = sender.sends(BATCH, &batch.to_string()).await?;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        outcomes(&answer),
        ["inLedger", "inLedger", "quarantined", "refused", "refused"],
        "{answer}"
    );
    assert!(
        answer["events"][3]["why"]
            .as_str()
            .is_some_and(|why| why.contains("no tenant")),
        "{answer}"
    );

    // As another source, by a token of another audience, by none, by one that is made up.
    let other = event("1", "power-of-others", &tenant.name, "1");
    let (status, answer) = sender.sends(ONE, &other.to_string()).await?;
    assert_eq!(status, 403);
    assert!(
        answer["message"]
            .as_str()
            .is_some_and(|why| why.contains("resourceNames: [power-of-others]")),
        "{answer}"
    );
    for wrong in [
        token(&stack, account, "https://kubernetes.default.svc").await?,
        "made.up.token".to_owned(),
    ] {
        let (status, answer) = Sender::with(&stack, &wrong)
            .await?
            .sends(ONE, &one.to_string())
            .await?;
        assert_eq!(status, 401, "{answer}");
    }
    for (kind, body, expected) in [
        ("application/json", one.to_string(), 415),
        (BATCH, "[".to_owned(), 400),
        (BATCH, format!("[{}]", " ".repeat(9 << 20)), 413),
    ] {
        let (status, answer) = sender.sends(kind, &body).await?;
        assert_eq!(status, expected, "{answer}");
    }

    // A counter: the first reading begins, the second is a difference.
    let reads = |id: &str, shows: &str, at: &str| {
        json!({"specversion": "1.0", "id": id, "source": source, "type": "io.mesocentre.reading.v1",
            "data": {"tenant": tenant.name, "counter": "pdu-7", "meter": "energy.kwh", "reading": shows, "unit": "watt_hours", "at": at}})
    };
    let batch = json!([
        reads("r1", "100000", "2026-11-28T02:00:00Z"),
        reads("r2", "100900", "2026-11-28T03:00:00Z")
    ]);
    for expected in [["noted", "inLedger"], ["inLedger", "inLedger"]] {
        let (status, answer) = sender.sends(BATCH, &batch.to_string()).await?;
        assert_eq!(
            (status, outcomes(&answer)),
            (200, expected.map(str::to_owned).to_vec()),
            "{answer}"
        );
    }

    // A source that says up to when it has said all is waited for from then on, until it says that it has.
    let said = |more: Value| {
        let mut data = json!({"through": "2026-11-28T01:00:00Z"});
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        json!({"specversion": "1.0", "id": "said", "source": source, "type": "io.mesocentre.reported.v1", "data": data}).to_string()
    };
    let with_a_fault = format!(
        "[{}, {}]",
        event("5", &source, "nobody-at-all", "1"),
        said(json!({}))
    );
    let (status, answer) = sender.sends(BATCH, &with_a_fault).await?;
    assert_eq!(
        (status, outcomes(&answer)),
        (200, vec!["refused".to_owned(); 2]),
        "{answer}"
    );
    let (status, answer) = sender.sends(ONE, &said(json!({}))).await?;
    assert_eq!(
        (status, outcomes(&answer)),
        (200, vec!["noted".to_owned()]),
        "{answer}"
    );

    let records = stack.ledger_records(&tenant.name).await?;
    let taken: Vec<(&str, &str)> = records
        .iter()
        .map(|record| {
            (
                record["native_key"].as_str().unwrap_or_default(),
                record["quantity"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    let counted = ("pdu-7@2026-11-28T02:00:00Z", "900");
    assert_eq!(taken, [("1", "1250"), ("2", "750"), counted], "{records:?}");
    assert_eq!(
        (&records[0]["source"], &records[0]["cluster"]),
        (&json!("intake"), &json!(source))
    );

    // What keeps months open must not keep those of other tests.
    let (status, answer) = sender.sends(ONE, &said(json!({"last": true}))).await?;
    assert_eq!(
        (status, outcomes(&answer)),
        (200, vec!["noted".to_owned()]),
        "{answer}"
    );
    for kind in ["clusterrolebinding", "clusterrole"] {
        stack.run(&["kubectl", "delete", kind, account]).await?;
    }
    Ok(())
}

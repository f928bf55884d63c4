//! Promise: that a perimeter holds can be shown, is shown truly, and what an administrator breaks is back within 10 s,
//! with an event that says what was changed and by which field manager.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{Event, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use mesocentre_api::{
    ConditionStatus, PerimeterReport, PerimeterReportStatus, Tenant, TrustPerimeter, find_condition,
};
use mesocentre_e2e::{Stack, fixture, wait_for};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// How soon what drifted must be back.
const REPAIR: Duration = Duration::from_secs(10);
const ADMINISTRATOR: &str = "an-administrator";

fn by_an_administrator() -> PatchParams {
    PatchParams {
        field_manager: Some(ADMINISTRATOR.into()),
        ..Default::default()
    }
}

async fn report(client: &Client, tenant: &str) -> Result<PerimeterReportStatus, String> {
    let reports: Api<PerimeterReport> = Api::namespaced(client.clone(), tenant);
    let report = reports
        .get("perimeter")
        .await
        .map_err(|error| error.to_string())?;
    report.status.ok_or_else(|| "the report says nothing".to_owned())
}

/// Waits until the report says whether all holds, and gives it.
async fn until(
    client: &Client,
    tenant: &str,
    what: &str,
    holds: impl Fn(&PerimeterReportStatus) -> bool,
) -> PerimeterReportStatus {
    wait_for(&format!("the report of {tenant}: {what}"), PATIENCE, async || {
        let status = report(client, tenant).await?;
        if holds(&status) {
            Ok(status)
        } else {
            let ready = find_condition(&status.conditions, "Ready").map(|c| (c.status, c.message.clone()));
            Err(format!("{ready:?}; drift {:?}", status.drift))
        }
    })
    .await
}

fn is(status: &PerimeterReportStatus, wanted: ConditionStatus) -> bool {
    find_condition(&status.conditions, "Ready").is_some_and(|c| c.status == wanted)
}

/// Waits for an event whose message holds all of these words.
async fn told(client: &Client, namespace: &str, words: &[&str]) {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    wait_for(
        &format!("an event in {namespace} tells of {words:?}"),
        PATIENCE,
        async || {
            let all = events
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let messages: Vec<String> = all.items.into_iter().filter_map(|event| event.message).collect();
            if messages
                .iter()
                .any(|message| words.iter().all(|word| message.contains(word)))
            {
                Ok(())
            } else {
                Err(messages.join("\n"))
            }
        },
    )
    .await;
}

/// Waits until an object is there again, and as it should be.
async fn back<K>(api: &Api<K>, name: &str, is_right: impl Fn(&Value) -> bool)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + serde::Serialize,
{
    wait_for(&format!("{} {name} is back", K::kind(&())), REPAIR, async || {
        let object = api.get(name).await.map_err(|error| error.to_string())?;
        let value = serde_json::to_value(&object).map_err(|error| error.to_string())?;
        if is_right(&value) {
            Ok(())
        } else {
            Err(value["spec"].to_string())
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn on_a_fresh_tenant_every_rule_is_in_force_and_the_document_shows_it_to_an_auditor() -> Result<()> {
    let stack = Stack::current().await?;
    let tenant = fixture::tenant(&stack, "proof").await?;
    let namespace = tenant.workspace(&stack, "lab").await?;
    let owner = stack.kubeconfig_for(&tenant.owner, &[]).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("report.json");
    let document = file.to_string_lossy().into_owned();
    let verify = [
        "meso",
        "perimeter",
        "verify",
        &tenant.name,
        "--now",
        "-o",
        "json",
        "--document",
        &document,
    ];
    let answer = wait_for("all rules are in force", PATIENCE, async || {
        let answer = stack
            .run_as(&owner, &verify)
            .await
            .map_err(|error| error.to_string())?;
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(format!("{} {}", answer.stderr, why(&answer.stdout)))
        }
    })
    .await;

    let report: PerimeterReport = serde_json::from_str(&answer.stdout)?;
    let status = report.status.context("the report says nothing")?;
    let attempts: Vec<_> = status.rules.iter().flat_map(|rule| &rule.attempts).collect();
    ensure!(attempts.len() >= 15, "{} attempts", attempts.len());
    for rule in &status.rules {
        ensure!(rule.in_force == ConditionStatus::True, "{rule:?}");
        ensure!(
            // This perimeter asks for no place in Vault.
            ["others", "secrets"].contains(&rule.rule.as_str()) || !rule.controls.is_empty(),
            "nothing enforces {}",
            rule.rule
        );
    }
    for attempt in attempts {
        ensure!(
            attempt.as_promised && attempt.namespace == namespace,
            "{attempt:?}"
        );
    }
    ensure!(
        status.reachability.open.iter().all(|way| way.because.is_some()),
        "{:?}",
        status.reachability
    );

    // The key is named by whoever does not trust the document.
    let key = status_key(&stack, &tenant.name).await?;
    let check = |file: String, key: String| {
        let stack = &stack;
        async move {
            stack
                .run(&["meso", "perimeter", "check", &file, "--key", &key])
                .await
        }
    };
    let good = check(document.clone(), key.clone()).await?;
    ensure!(good.is_success(), "{good:?}");
    let text = std::fs::read_to_string(&file)?;
    let forged: PathBuf = folder.path().join("forged.json");
    std::fs::write(&forged, text.replacen("mesocentre-pods", "mesocentre-podz", 1))?;
    let bad = check(forged.to_string_lossy().into_owned(), key).await?;
    ensure!(
        bad.code == Some(1) && bad.stderr.contains("not as it was signed"),
        "{bad:?}"
    );
    let strange = check(document, "00".repeat(32)).await?;
    ensure!(
        strange.code == Some(1) && strange.stderr.contains("not the one that you named"),
        "{strange:?}"
    );
    Ok(())
}

/// What is not in force, of a report that was printed.
fn why(stdout: &str) -> String {
    let report: Value = serde_json::from_str(stdout).unwrap_or_default();
    report["status"]["conditions"].to_string()
}

async fn status_key(stack: &Stack, tenant: &str) -> Result<String> {
    let status = report(&stack.admin(), tenant).await.map_err(anyhow::Error::msg)?;
    Ok(status.signature.context("the report is not signed")?.public_key)
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_an_administrator_breaks_in_a_tenants_namespace_is_repaired_and_told_with_who_did_it()
-> Result<()> {
    let stack = Stack::current().await?;
    let tenant = fixture::tenant(&stack, "told").await?;
    let namespace = tenant.workspace(&stack, "lab").await?;
    let admin = stack.admin();
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &namespace);
    let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &namespace);

    let open = Patch::Merge(json!({"spec": {"ingress": [{}]}}));
    policies.patch("perimeter", &by_an_administrator(), &open).await?;
    back(&policies, "perimeter", |policy| {
        policy["spec"]["ingress"][0]["from"].is_array()
    })
    .await;
    quotas.delete("tenant", &DeleteParams::default()).await?;
    back(&quotas, "tenant", |_| true).await;
    bindings
        .delete("mesocentre-member", &DeleteParams::default())
        .await?;
    back(&bindings, "mesocentre-member", |_| true).await;

    // Where the tenant's people look.
    told(
        &admin,
        &tenant.name,
        &["NetworkPolicy", "spec.ingress", ADMINISTRATOR, "as planned again"],
    )
    .await;
    told(
        &admin,
        &tenant.name,
        &["ResourceQuota", "was deleted", "audit log"],
    )
    .await;
    told(&admin, &tenant.name, &["RoleBinding", "was deleted"]).await;
    let status = until(&admin, &tenant.name, "lists what drifted", |status| {
        // What drifted of the chart's own policies meanwhile is in every report.
        ["NetworkPolicy", "ResourceQuota", "RoleBinding"]
            .iter()
            .all(|kind| status.drift.iter().any(|drift| drift.object.contains(kind)))
    })
    .await;
    let opened = status
        .drift
        .iter()
        .find(|d| d.object.contains("NetworkPolicy"))
        .context("no policy")?;
    ensure!(
        opened.by.as_deref() == Some(ADMINISTRATOR) && opened.changed_at.is_some(),
        "{opened:?}"
    );
    ensure!(
        status.drift.iter().all(|drift| drift.repaired_at.is_some()),
        "{:?}",
        status.drift
    );

    // What is not ours is left alone, and said.
    let foreign: NetworkPolicy = serde_json::from_value(json!({
        "metadata": {"name": "theirs"}, "spec": {"podSelector": {}, "ingress": [{}]},
    }))?;
    policies.create(&PostParams::default(), &foreign).await?;
    let stranger: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "theirs"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "a-stranger"}],
    }))?;
    bindings.create(&PostParams::default(), &stranger).await?;
    let says = |status: &PerimeterReportStatus, rule: &str, words: &str| {
        let rule = status.rules.iter().find(|r| r.rule == rule);
        rule.is_some_and(|r| {
            r.in_force == ConditionStatus::False && r.evidence.iter().any(|e| e.contains(words))
        })
    };
    until(&admin, &tenant.name, "names what is foreign", |status| {
        is(status, ConditionStatus::False)
            && says(status, "network", "theirs")
            && says(status, "network", "every address outside")
            && says(status, "roles", "a-stranger")
    })
    .await;
    policies.delete("theirs", &DeleteParams::default()).await?;
    bindings.delete("theirs", &DeleteParams::default()).await?;
    let status = until(&admin, &tenant.name, "all is well again", |status| {
        is(status, ConditionStatus::True)
    })
    .await;
    ensure!(
        status.drift.iter().all(|drift| drift.repaired_at.is_some()),
        "{:?}",
        status.drift
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_suspended_tenants_report_shows_that_nothing_starts_and_that_its_secrets_are_kept() -> Result<()> {
    let stack = Stack::current().await?;
    let tenant = fixture::tenant(&stack, "ended").await?;
    tenant.workspace(&stack, "lab").await?;
    let admin = stack.admin();
    let perimeters: Api<TrustPerimeter> = Api::all(admin.clone());
    let secrets = Patch::Merge(json!({"spec": {"vault": {"secrets": true}}}));
    perimeters
        .patch(&tenant.perimeter, &PatchParams::default(), &secrets)
        .await?;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let reason = "the invoice of October is not paid";
    let suspended = Patch::Merge(json!({"spec": {"suspended": {"reason": reason}}}));
    tenants
        .patch(&tenant.name, &PatchParams::default(), &suspended)
        .await?;
    let rule =
        |status: &PerimeterReportStatus, name: &str| status.rules.iter().find(|r| r.rule == name).cloned();
    let status = until(
        &admin,
        &tenant.name,
        "all holds while it is suspended",
        |status| {
            is(status, ConditionStatus::True)
                && rule(status, "convention").is_some_and(|rule| rule.promise.contains(reason))
                && rule(status, "secrets").is_some_and(|rule| !rule.controls.is_empty())
        },
    )
    .await;
    let convention = rule(&status, "convention").context("no such rule")?;
    let refused = convention.attempts.first().context("nothing was tried")?;
    ensure!(
        refused.as_promised && refused.answer.contains(reason),
        "{refused:?}"
    );
    let quota = rule(&status, "quota").context("no such rule")?;
    ensure!(
        quota
            .evidence
            .iter()
            .any(|e| e.contains("refused because the tenant is suspended")),
        "{quota:?}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_admission_policy_that_an_administrator_removes_or_weakens_is_back_and_stays_helms() -> Result<()>
{
    // No perimeter holds for a moment.
    let stack = Stack::alone().await?;
    let tenant = fixture::tenant(&stack, "walls").await?;
    tenant.workspace(&stack, "lab").await?;
    let admin = stack.admin();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(admin.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(admin.clone());

    policies
        .delete("mesocentre-services", &DeleteParams::default())
        .await?;
    back(&policies, "mesocentre-services", |_| true).await;
    let audit = Patch::Merge(json!({"spec": {"validationActions": ["Audit"]}}));
    bindings
        .patch("mesocentre-pods", &by_an_administrator(), &audit)
        .await?;
    back(&bindings, "mesocentre-pods", |binding| {
        binding["spec"]["validationActions"] == json!(["Deny"])
    })
    .await;
    let never =
        Patch::Merge(json!({"spec": {"matchConditions": [{"name": "never", "expression": "false"}]}}));
    policies
        .patch("mesocentre-tokens", &by_an_administrator(), &never)
        .await?;
    back(&policies, "mesocentre-tokens", |policy| {
        policy["spec"]["matchConditions"].is_null()
    })
    .await;

    told(
        &admin,
        "default",
        &["ValidatingAdmissionPolicy mesocentre-services", "was deleted"],
    )
    .await;
    told(
        &admin,
        "default",
        &[
            "ValidatingAdmissionPolicyBinding mesocentre-pods",
            "validationActions",
            ADMINISTRATOR,
        ],
    )
    .await;
    told(
        &admin,
        "default",
        &[
            "ValidatingAdmissionPolicy mesocentre-tokens",
            "matchConditions",
            ADMINISTRATOR,
        ],
    )
    .await;
    until(
        &admin,
        &tenant.name,
        "lists the policies that drifted, and holds",
        |status| {
            is(status, ConditionStatus::True)
                && status
                    .drift
                    .iter()
                    .filter(|d| d.object.contains("mesocentre-"))
                    .count()
                    >= 3
        },
    )
    .await;

    // The next upgrade meets no second manager.
    let binding = bindings.get("mesocentre-pods").await?;
    let managers: Vec<String> = binding
        .metadata
        .managed_fields
        .into_iter()
        .flatten()
        .filter_map(|m| m.manager)
        .collect();
    ensure!(managers == ["helm"], "{managers:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_auditor_only_rehearses_and_the_operator_writes_no_policy_but_the_charts() -> Result<()> {
    let stack = Stack::current().await?;
    let auditor = "--as=system:serviceaccount:mesocentre-system:mesocentre-auditor";
    let make = [
        "kubectl",
        "create",
        "service",
        "clusterip",
        "a-rehearsal",
        "--tcp=80",
        "--namespace=default",
        auditor,
    ];
    let done = stack.run(&make).await?;
    ensure!(
        !done.is_success() && done.stderr.contains("only rehearses"),
        "{done:?}"
    );
    let rehearsed = stack.run(&[&make[..], &["--dry-run=server"]].concat()).await?;
    ensure!(rehearsed.is_success(), "{rehearsed:?}");
    let read = stack
        .run(&["kubectl", "get", "secrets", "--all-namespaces", auditor])
        .await?;
    ensure!(read.stderr.contains("forbidden"), "{read:?}");

    let operator = "--as=system:serviceaccount:mesocentre-system:mesocentre-operator";
    let may = async |verb: &str, what: &str, more: &[&str]| -> Result<String> {
        let command = [&["kubectl", "auth", "can-i", verb, what, operator][..], more].concat();
        Ok(stack.run(&command).await?.stdout.trim().to_owned())
    };
    let policy = "validatingadmissionpolicies.admissionregistration.k8s.io";
    for verb in ["create", "update", "patch"] {
        ensure!(
            may(verb, &format!("{policy}/mesocentre-pods"), &[]).await? == "yes",
            "{verb} of the chart's"
        );
        ensure!(
            may(verb, &format!("{policy}/somebody-elses"), &[]).await? == "no",
            "{verb} of another's"
        );
        ensure!(may(verb, policy, &[]).await? == "no", "{verb} of any");
    }
    ensure!(
        may("delete", &format!("{policy}/mesocentre-pods"), &[]).await? == "no",
        "delete"
    );
    let system = "--namespace=mesocentre-system";
    ensure!(
        may(
            "create",
            "serviceaccounts/mesocentre-auditor",
            &["--subresource=token", system]
        )
        .await?
            == "yes",
        "the auditor's token"
    );
    ensure!(
        may(
            "create",
            "serviceaccounts/default",
            &["--subresource=token", system]
        )
        .await?
            == "no",
        "another's token"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_tenants_owner_asks_for_a_fresh_report_and_writes_nothing_else_into_it() -> Result<()> {
    let stack = Stack::current().await?;
    let tenant = fixture::tenant(&stack, "asked").await?;
    until(&stack.admin(), &tenant.name, "is there", |_| true).await;
    let reports: Api<PerimeterReport> = Api::namespaced(stack.user(&tenant.owner, &[]).await?, &tenant.name);
    let merge = async |body: Value| {
        reports
            .patch("perimeter", &PatchParams::default(), &Patch::Merge(body))
            .await
    };
    merge(json!({"metadata": {"annotations": {"mesocentre.io/verify-now": "please"}}})).await?;
    until(&stack.admin(), &tenant.name, "answers", |status| {
        status.answers.as_deref() == Some("please")
    })
    .await;
    for forbidden in [
        json!({"metadata": {"annotations": {"other": "x"}}}),
        json!({"metadata": {"labels": {"mesocentre.io/tenant": "x"}}}),
        json!({"metadata": {"finalizers": ["x.test/stay"]}}),
        json!({"metadata": {"annotations": {"mesocentre.io/verify-now": "x".repeat(65)}}}),
    ] {
        let refused = merge(forbidden.clone()).await;
        let said = refused
            .err()
            .with_context(|| format!("{forbidden} was let in"))?
            .to_string();
        ensure!(said.contains("mesocentre-reports"), "{said}");
    }
    ensure!(
        reports
            .delete("perimeter", &DeleteParams::default())
            .await
            .is_err(),
        "deleted"
    );
    let status = json!({"status": {"rules": []}});
    ensure!(
        reports
            .patch_status("perimeter", &PatchParams::default(), &Patch::Merge(status))
            .await
            .is_err(),
        "written"
    );
    Ok(())
}

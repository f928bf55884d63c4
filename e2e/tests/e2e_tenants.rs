//! Promise: a tenant is safe inside its perimeter: what holds it comes back, what is not ours is never adopted, and what
//! is wrong is said in a sentence.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use mesocentre_api::{
    BatchJob, Condition, ConditionStatus, PeeringAgreement, Phase, Tenant, Workspace, find_condition,
};
use mesocentre_e2e::{Stack, fixture, wait_for};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

/// A tenant that nobody's jobs run for; `change` writes into its spec.
fn tenant(name: &str, perimeter: &str, change: impl FnOnce(&mut Value)) -> Result<Tenant> {
    let mut spec = json!({
        "displayName": "A test", "category": "University", "perimeter": perimeter,
        "legalEntity": {
            "name": "A test", "siret": "19141408500016",
            "address": {"street": "1 rue", "postalCode": "14000", "city": "Caen", "countryCode": "FR"},
            "invoicing": {"email": "factures@univ.test"},
        },
        "convention": {"reference": "CONV-TEST", "validFrom": "2026-01-01", "validUntil": "2035-12-31"},
        "members": [{"user": format!("{name}-owner"), "role": "Owner"}],
        "quota": {"cpu": "8", "memory": "16Gi", "storage": "10Gi", "pods": 60, "gpus": 0, "workspaces": 3},
    });
    change(&mut spec);
    Ok(serde_json::from_value(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec,
    }))?)
}

async fn until_not_ready(client: &Client, name: &str) -> Condition {
    let tenants: Api<Tenant> = Api::all(client.clone());
    wait_for(
        &format!("the tenant {name} is told why it cannot stand"),
        PATIENCE,
        async || {
            let status = tenants
                .get(name)
                .await
                .map_err(|error| error.to_string())?
                .status
                .unwrap_or_default();
            match find_condition(&status.conditions, "Ready") {
                Some(ready) if ready.status == ConditionStatus::False => Ok(ready.clone()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_an_administrator_deletes_or_changes_in_a_tenants_fences_is_back() -> Result<()> {
    async fn comes_back<K>(client: &Client, namespace: &str, name: &str) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::namespaced(client.clone(), namespace);
        let before = api
            .get(name)
            .await
            .with_context(|| format!("{namespace}/{name}"))?;
        api.delete(name, &DeleteParams::default()).await?;
        wait_for(
            &format!("{name} is back in {namespace}"),
            Duration::from_secs(10),
            async || match api.get_opt(name).await {
                Ok(Some(now)) if now.meta().uid != before.meta().uid => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await;
        Ok(())
    }
    let stack = Stack::current().await?;
    let fixture = fixture::tenant(&stack, "drift").await?;
    let namespace = fixture.workspace(&stack, "lab").await?;
    let client = stack.admin();
    comes_back::<RoleBinding>(&client, &namespace, "mesocentre-member").await?;
    comes_back::<NetworkPolicy>(&client, &namespace, "perimeter").await?;
    comes_back::<ResourceQuota>(&client, &namespace, "tenant").await?;
    comes_back::<mesocentre_api::PerimeterRules>(&client, &namespace, "perimeter").await?;

    // One who opens the network by hand finds it closed again.
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), &namespace);
    let open = Patch::Merge(json!({"spec": {"ingress": [{}]}}));
    policies
        .patch("perimeter", &PatchParams::default(), &open)
        .await?;
    wait_for(
        "the network is closed again",
        Duration::from_secs(10),
        async || {
            let policy = policies
                .get("perimeter")
                .await
                .map_err(|error| error.to_string())?;
            let ingress = policy.spec.and_then(|spec| spec.ingress).unwrap_or_default();
            if ingress.iter().all(|rule| rule.from.is_some()) {
                Ok(())
            } else {
                Err(format!("{ingress:?}"))
            }
        },
    )
    .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_namespace_that_exists_and_is_not_ours_is_never_adopted() -> Result<()> {
    let stack = Stack::current().await?;
    let client = stack.admin();
    let perimeter = fixture::tenant(&stack, "adopt").await?.perimeter;
    let name = format!("{perimeter}x");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let foreign: Namespace =
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {"theirs": "yes"}}}))?;
    let before = namespaces.create(&PostParams::default(), &foreign).await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    tenants
        .create(&PostParams::default(), &tenant(&name, &perimeter, |_| {})?)
        .await?;
    let told = until_not_ready(&client, &name).await;
    assert_eq!(told.reason, "NamespaceTaken", "{told:?}");
    assert!(told.message.contains("left alone"), "{told:?}");
    let after = namespaces.get(&name).await?;
    assert_eq!(after.metadata.labels, before.metadata.labels);
    let bindings: Api<RoleBinding> = Api::namespaced(client, &name);
    assert_eq!(bindings.list(&ListParams::default()).await?.items.len(), 0);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_tenant_that_cannot_stand_says_what_to_mend() -> Result<()> {
    let stack = Stack::current().await?;
    let client = stack.admin();
    let perimeter = fixture::tenant(&stack, "stand").await?.perimeter;
    let tenants: Api<Tenant> = Api::all(client.clone());
    // At the door.
    for (name, told) in [
        (format!("{perimeter}--x"), "univ-caen"),
        ("kube-tenant".to_owned(), "belong to the platform"),
    ] {
        let refused = tenants
            .create(&PostParams::default(), &tenant(&name, &perimeter, |_| {})?)
            .await
            .expect_err("a tenant of a name that cannot be");
        assert!(refused.to_string().contains(told), "{name}: {refused}");
    }
    // As a condition, where only the cluster can know.
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str, &str); 4] = [
        (
            "a",
            |spec| spec["perimeter"] = "nowhere".into(),
            "UnknownPerimeter",
            "make that TrustPerimeter",
        ),
        (
            "b",
            |spec| spec["category"] = "PrivateClient".into(),
            "CategoryNotAdmitted",
            "tenantCategories",
        ),
        (
            "c",
            |spec| {
                spec["convention"] =
                    json!({"reference": "OLD", "validFrom": "2020-01-01", "validUntil": "2020-12-31"})
            },
            "ConventionEnded",
            "2020-12-31",
        ),
        (
            "d",
            |spec| spec["legalEntity"]["siret"] = "19141408500017".into(),
            "BadSiret",
            "avis de situation",
        ),
    ];
    for (suffix, change, reason, told) in cases {
        let name = format!("{perimeter}{suffix}");
        tenants
            .create(&PostParams::default(), &tenant(&name, &perimeter, change)?)
            .await?;
        let ready = until_not_ready(&client, &name).await;
        assert_eq!(ready.reason, reason, "{ready:?}");
        assert!(ready.message.contains(told), "{ready:?}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn the_quotas_of_all_workspaces_together_are_the_tenants() -> Result<()> {
    let stack = Stack::current().await?;
    let client = stack.admin();
    let perimeter = fixture::tenant(&stack, "quota").await?.perimeter;
    let name = format!("{perimeter}q");
    let tenants: Api<Tenant> = Api::all(client.clone());
    tenants
        .create(&PostParams::default(), &tenant(&name, &perimeter, |_| {})?)
        .await?;
    fixture::ready(&stack, "Tenant", None, &name).await?;
    let owner = stack.user(&format!("{name}-owner"), &[]).await?;
    let workspaces: Api<Workspace> = Api::namespaced(owner, &name);
    let workspace = |w: &str| -> Result<Workspace> {
        Ok(serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Workspace", "metadata": {"name": w}, "spec": {"purpose": "A test"},
        }))?)
    };
    for w in ["w1", "w2", "w3", "w4"] {
        workspaces.create(&PostParams::default(), &workspace(w)?).await?;
    }
    for w in ["w1", "w2", "w3"] {
        fixture::ready(&stack, "Workspace", Some(&name), w).await?;
    }
    // The first three keep their places: of those of one second, the first by name.
    let too_many = wait_for("the fourth is told", PATIENCE, async || {
        let status = workspaces
            .get("w4")
            .await
            .map_err(|error| error.to_string())?
            .status
            .unwrap_or_default();
        match find_condition(&status.conditions, "Ready") {
            Some(ready) if ready.status == ConditionStatus::False => Ok(ready.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(too_many.reason, "TooManyWorkspaces", "{too_many:?}");
    wait_for("all is handed out, and no more", PATIENCE, async || {
        let mut pods = 0;
        for w in ["w1", "w2", "w3"] {
            let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), &format!("{name}--{w}"));
            let quota = quotas.get("tenant").await.map_err(|error| error.to_string())?;
            let hard = quota.status.and_then(|s| s.hard).unwrap_or_default();
            let hard = hard.get("pods").map(|q| q.0.clone()).unwrap_or_default();
            pods += hard
                .parse::<u32>()
                .map_err(|error| format!("{w}: {hard}: {error}"))?;
        }
        if pods == 60 {
            Ok(())
        } else {
            Err(format!("{pods} pods"))
        }
    })
    .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_tenant_with_a_running_job_is_not_deleted_unless_it_is_forced_and_then_in_order() -> Result<()> {
    let stack = Stack::current().await?;
    let client = stack.admin();
    let fixture = fixture::tenant(&stack, "leave").await?;
    let namespace = fixture.workspace(&stack, "lab").await?;
    fixture.allocation(&stack, "hours", 10).await?;
    let jobs: Api<BatchJob> = Api::namespaced(stack.user(&fixture.member, &[]).await?, &namespace);
    let job: BatchJob = serde_json::from_value(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"name": "long"},
        "spec": {"allocation": "hours", "script": "#!/bin/bash\nsleep 600\n", "resources": {"memory": "10Mi", "timeLimit": "20m"}},
    }))?;
    jobs.create(&PostParams::default(), &job).await?;
    let id = wait_for("the job runs", PATIENCE, async || {
        let status = jobs
            .get("long")
            .await
            .map_err(|error| error.to_string())?
            .status
            .unwrap_or_default();
        match (
            status.phase,
            status.scheduler.as_ref().and_then(|s| s.job_id.clone()),
        ) {
            (Phase::Running, Some(id)) => Ok(id),
            _ => Err(format!("{status:?}")),
        }
    })
    .await;
    let tenants: Api<Tenant> = Api::all(client.clone());
    let refused = wait_for("the deletion is refused", PATIENCE, async || {
        // Only looked at: the status that admission reads is a moment behind.
        let dry = DeleteParams::default().dry_run();
        match tenants.delete(&fixture.name, &dry).await {
            Err(error) => Ok(error.to_string()),
            Ok(_) => Err("it would be deleted".to_owned()),
        }
    })
    .await;
    assert!(
        refused.contains("lab/long") && refused.contains("force-delete"),
        "{refused}"
    );

    let force = Patch::Merge(json!({"metadata": {"annotations": {"mesocentre.io/force-delete": "true"}}}));
    tenants
        .patch(&fixture.name, &PatchParams::default(), &force)
        .await?;
    tenants.delete(&fixture.name, &DeleteParams::default()).await?;
    let namespaces: Api<Namespace> = Api::all(client);
    wait_for(
        "the tenant and its namespaces are gone",
        Duration::from_secs(180),
        async || {
            let left = (
                tenants
                    .get_opt(&fixture.name)
                    .await
                    .map_err(|error| error.to_string())?
                    .map(|t| t.status),
                namespaces
                    .get_opt(&fixture.name)
                    .await
                    .map_err(|error| error.to_string())?
                    .is_some(),
                namespaces
                    .get_opt(&namespace)
                    .await
                    .map_err(|error| error.to_string())?
                    .is_some(),
            );
            if matches!(left, (None, false, false)) {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        },
    )
    .await;
    let ended = stack
        .run(&["sacct", "-X", "-nP", "-j", &id, "--format=State"])
        .await?;
    assert!(ended.stdout.starts_with("CANCELLED"), "{ended:?}");
    let account = format!("account={}", fixture.name);
    let left = stack
        .run(&[
            "sacctmgr",
            "-nP",
            "show",
            "assoc",
            "where",
            &account,
            "format=Account,User",
        ])
        .await?;
    assert_eq!(left.stdout, "", "its Slurm account is still there");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn traffic_between_tenants_opens_by_two_consents_and_closes_when_one_goes() -> Result<()> {
    let stack = Stack::current().await?;
    let client = stack.admin();
    let (ours, theirs) = (
        fixture::tenant(&stack, "peer-a").await?,
        fixture::tenant(&stack, "peer-b").await?,
    );
    for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
        let perimeters: Api<mesocentre_api::TrustPerimeter> = Api::all(client.clone());
        let willing = Patch::Merge(json!({"spec": {"peersWith": [other.perimeter]}}));
        perimeters
            .patch(&one.perimeter, &PatchParams::default(), &willing)
            .await?;
    }
    let (our_ns, their_ns) = (
        ours.workspace(&stack, "lab").await?,
        theirs.workspace(&stack, "lab").await?,
    );
    let agree = async |tenant: &fixture::TenantFixture, with: &str, exposes: Value| -> Result<()> {
        let agreements: Api<PeeringAgreement> =
            Api::namespaced(stack.user(&tenant.owner, &[]).await?, &tenant.name);
        let agreement: PeeringAgreement = serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "PeeringAgreement", "metadata": {"name": "study"},
            "spec": {"with": with, "purpose": "A test", "validUntil": "2035-12-31", "exposes": exposes},
        }))?;
        agreements.create(&PostParams::default(), &agreement).await?;
        Ok(())
    };
    let policies = async |namespace: &str| -> Result<Vec<String>, String> {
        let all = Api::<NetworkPolicy>::namespaced(client.clone(), namespace)
            .list(&ListParams::default().labels("mesocentre.io/peering=study"))
            .await
            .map_err(|error| error.to_string())?;
        Ok(all
            .items
            .into_iter()
            .filter_map(|policy| policy.metadata.name)
            .collect())
    };
    agree(
        &ours,
        &theirs.name,
        json!([{"workspace": "lab", "podSelector": {"matchLabels": {"app": "api"}}, "ports": [{"port": 8443, "protocol": "TCP"}]}]),
    )
    .await?;
    // One consent opens nothing, and says who else has to.
    let agreements: Api<PeeringAgreement> = Api::namespaced(client.clone(), &ours.name);
    let waits = wait_for("the agreement says what is missing", PATIENCE, async || {
        let status = agreements
            .get("study")
            .await
            .map_err(|error| error.to_string())?
            .status
            .unwrap_or_default();
        match find_condition(&status.conditions, "Ready") {
            Some(ready) if ready.status == ConditionStatus::False => Ok(ready.message.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(waits.contains(&theirs.name), "{waits}");
    assert_eq!(policies(&our_ns).await, Ok(Vec::new()));

    agree(&theirs, &ours.name, json!([])).await?;
    wait_for("traffic is open on both ends", PATIENCE, async || {
        let both = (policies(&our_ns).await?, policies(&their_ns).await?);
        if both.0 == ["peering-study-in-0"] && both.1 == ["peering-study-out"] {
            Ok(())
        } else {
            Err(format!("{both:?}"))
        }
    })
    .await;
    let theirs_of: Api<PeeringAgreement> =
        Api::namespaced(stack.user(&theirs.owner, &[]).await?, &theirs.name);
    theirs_of.delete("study", &DeleteParams::default()).await?;
    wait_for(
        "traffic is closed within seconds",
        Duration::from_secs(10),
        async || {
            let both = (policies(&our_ns).await?, policies(&their_ns).await?);
            if both.0.is_empty() && both.1.is_empty() {
                Ok(())
            } else {
                Err(format!("{both:?}"))
            }
        },
    )
    .await;
    Ok(())
}

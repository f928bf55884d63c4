//! What every end-to-end test stands on: users that are who they are, a tenant of one's own, parts that come back.

use anyhow::Result;
use mesocentre_e2e::{Part, Stack, apply_yaml, fixture, wait_for};
use std::time::Duration;

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_user_is_who_the_certificate_says_and_no_administrator() -> Result<()> {
    let stack = Stack::current().await?;
    let alice = stack.kubeconfig_for("alice", &["lab", "univ:members"]).await?;
    let whoami = stack
        .run_as(
            &alice,
            &["kubectl", "auth", "whoami", "-o", "jsonpath={.status.userInfo}"],
        )
        .await?;
    assert!(whoami.is_success(), "{whoami:?}");
    for part in [r#""username":"alice""#, r#""lab""#, r#""univ:members""#] {
        assert!(whoami.stdout.contains(part), "{part} is not in {whoami:?}");
    }
    let refused = stack.run_as(&alice, &["kubectl", "get", "secrets", "-A"]).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("forbidden"), "{refused:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_tenant_of_ones_own_has_a_workspace_and_hours_on_slurm() -> Result<()> {
    let stack = Stack::current().await?;
    let tenant = fixture::tenant(&stack, "own").await?;
    let namespace = tenant.workspace(&stack, "lab").await?;
    assert_eq!(namespace, format!("{}--lab", tenant.name));
    tenant.allocation(&stack, "hours", 10).await?;
    let account = format!("account={}.hours", tenant.name);
    let granted = stack
        .run(&[
            "sacctmgr",
            "-nP",
            "show",
            "assoc",
            &account,
            "format=user,grptresmins",
        ])
        .await?;
    assert!(granted.stdout.contains("cpu=600"), "{granted:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_operator_that_is_killed_leads_again_once_it_is_started() -> Result<()> {
    let stack = Stack::alone().await?;
    let operator = stack.operator();
    let before = operator.pid()?;
    operator.kill().await?;
    assert_eq!(operator.pid()?, None);
    operator.start().await?;
    assert_ne!(operator.pid()?, before);
    operator.leads(Duration::from_secs(30)).await
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn slurm_and_the_api_server_go_away_and_come_back_as_they_were() -> Result<()> {
    let stack = Stack::alone().await?;
    let map =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: default}\ndata: {key: value}\n";
    apply_yaml(&stack.admin(), map).await?;
    for part in [Part::Slurmctld, Part::Slurmdbd, Part::ApiServer] {
        stack.stop(part).await?;
    }
    let gone = stack.run(&["scontrol", "ping"]).await?;
    assert!(gone.stdout.contains("is DOWN"), "{gone:?}");
    for part in [Part::ApiServer, Part::Slurmdbd, Part::Slurmctld] {
        stack.start(part).await?;
    }
    let kept = stack
        .run(&["kubectl", "get", "configmap", "kept", "-n", "default"])
        .await?;
    assert!(kept.is_success(), "{kept:?}");
    wait_for("Slurm's nodes take jobs", Duration::from_secs(60), async || {
        let nodes = stack
            .run(&["sinfo", "-h", "-o", "%T"])
            .await
            .map_err(|error| error.to_string())?;
        if nodes
            .stdout
            .lines()
            .all(|state| ["idle", "mixed", "allocated"].contains(&state))
        {
            Ok(())
        } else {
            Err(nodes.stdout)
        }
    })
    .await;
    stack.operator().start().await?;
    stack.operator().leads(Duration::from_secs(60)).await
}

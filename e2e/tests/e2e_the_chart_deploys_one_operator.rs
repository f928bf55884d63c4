//! The chart's Deployment: one operator, without rights on its node unless it must submit jobs as their authors.

use anyhow::Result;
use mesocentre_e2e::{Answer, Stack};
use serde::Deserialize;
use serde_yaml::Value;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/mesocentre");

async fn rendered(stack: &Stack, values: &str) -> Result<Answer> {
    stack
        .run(&["helm", "template", "m", CHART, "--set", values])
        .await
}

/// The pod that the chart deploys, and its container.
async fn pod(stack: &Stack, values: &str) -> Result<(Value, Value)> {
    let linted = stack.run(&["helm", "lint", CHART, "--set", values]).await?;
    assert!(linted.is_success(), "{linted:?}");
    let answer = rendered(stack, values).await?;
    assert!(answer.is_success(), "{answer:?}");
    for document in serde_yaml::Deserializer::from_str(&answer.stdout) {
        let object = Value::deserialize(document)?;
        if object["kind"] == "Deployment" {
            let pod = object["spec"]["template"]["spec"].clone();
            return Ok((pod.clone(), pod["containers"][0].clone()));
        }
    }
    anyhow::bail!("no Deployment in {}", answer.stdout)
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_operator_that_submits_no_jobs_is_not_root_and_has_no_capability() -> Result<()> {
    let stack = Stack::current().await?;
    let (pod, container) = pod(&stack, "operator.slurm.enabled=false").await?;
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(
        security["capabilities"],
        serde_yaml::from_str::<Value>("drop: [ALL]")?
    );
    let environment = serde_yaml::to_string(&container["env"])?;
    assert!(
        environment.contains("MESO_NAMESPACE") && environment.contains("metadata.namespace"),
        "{environment}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_operator_that_submits_jobs_is_root_with_what_that_takes_and_no_more() -> Result<()> {
    let stack = Stack::current().await?;
    let (pod, container) = pod(&stack, "operator.slurm.enabled=true").await?;
    assert_eq!(pod["securityContext"]["runAsUser"], 0);
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(
        security["capabilities"],
        serde_yaml::from_str::<Value>("{drop: [ALL], add: [SETUID, SETGID, CHOWN, KILL]}")?
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_operator_in_a_pod_logs_in_to_vault_by_a_token_for_vault_alone() -> Result<()> {
    let stack = Stack::current().await?;
    let with_vault = "vault.address=https://vault.test:8200";
    let (pod, container) = pod(&stack, with_vault).await?;
    let token = serde_yaml::from_str::<Value>(
        "{name: vault-token, projected: {sources: [{serviceAccountToken: {audience: vault, expirationSeconds: 600, path: token}}]}}",
    )?;
    let volumes = pod["volumes"].as_sequence();
    assert!(volumes.is_some_and(|volumes| volumes.contains(&token)), "{pod:?}");
    let environment = serde_yaml::to_string(&container["env"])?;
    for word in [
        "VAULT_ADDR",
        "MESO_VAULT_TOKEN_FILE",
        "/var/run/secrets/mesocentre/vault/token",
    ] {
        assert!(environment.contains(word), "{environment}");
    }
    // The kubelet writes it, so it may ask for none of its own; outside the cluster it may.
    let own_tokens = "resources: [serviceaccounts/token]\n  resourceNames: [mesocentre-operator]\n";
    let inside = rendered(&stack, with_vault).await?;
    assert!(!inside.stdout.contains(own_tokens), "{}", inside.stdout);
    let outside = rendered(&stack, &format!("{with_vault},operator.deploy=false")).await?;
    assert!(outside.stdout.contains(own_tokens), "{}", outside.stdout);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn an_operator_that_reaches_slurm_over_ssh_is_not_root_and_reads_the_named_secrets_alone() -> Result<()>
{
    let stack = Stack::current().await?;
    let over_ssh = "operator.slurm.sshSecrets={slurm-login}";
    let (pod, container) = pod(&stack, over_ssh).await?;
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        container["securityContext"]["capabilities"],
        serde_yaml::from_str::<Value>("drop: [ALL]")?
    );
    let rights = |rendered: &str| -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for document in serde_yaml::Deserializer::from_str(rendered) {
            let object = Value::deserialize(document)?;
            let role = object["kind"].as_str().unwrap_or_default().to_owned();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            // What is bound in a workspace whose Owner said so is nobody's right by itself.
            if name == "mesocentre-operator-reads-sources" {
                let reads = serde_yaml::from_str::<Value>(
                    "[{apiGroups: [''], resources: [secrets, configmaps], verbs: [get]}]",
                )?;
                assert_eq!((role.as_str(), &object["rules"]), ("ClusterRole", &reads));
                continue;
            }
            assert_ne!(
                object["roleRef"]["name"], "mesocentre-operator-reads-sources",
                "{object:?}"
            );
            if !role.ends_with("Role") || !name.starts_with("mesocentre-operator") {
                continue;
            }
            for rule in object["rules"].as_sequence().into_iter().flatten() {
                let resources = rule["resources"].as_sequence();
                if resources.is_some_and(|resources| resources.iter().any(|r| r == "secrets")) {
                    assert_eq!(role, "Role", "{object:?}");
                    found.push(rule.clone());
                }
            }
        }
        Ok(found)
    };
    let one = serde_yaml::from_str::<Value>(
        "{apiGroups: [''], resources: [secrets], resourceNames: [slurm-login], verbs: [get]}",
    )?;
    assert_eq!(rights(&rendered(&stack, over_ssh).await?.stdout)?, [one]);
    assert!(rights(&rendered(&stack, "operator.deploy=true").await?.stdout)?.is_empty());
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn with_a_ledger_in_postgresql_several_replicas_share_its_password_and_key_by_secrets() -> Result<()> {
    let stack = Stack::current().await?;
    let values = "operator.replicas=3,operator.ledgerClaim=,operator.ledgerUrl=postgresql://meso@db/ledger,\
                  operator.ledgerPassword.secret=ledger-login,operator.signingKeySecret=signing";
    let (pod, container) = pod(&stack, values).await?;
    let environment = container["env"].as_sequence().into_iter().flatten();
    let password = environment
        .clone()
        .find(|one| one["name"] == "PGPASSWORD")
        .unwrap();
    assert_eq!(password["valueFrom"]["secretKeyRef"]["name"], "ledger-login");
    assert_eq!(password["valueFrom"]["secretKeyRef"]["key"], "password");
    let key = environment
        .clone()
        .find(|one| one["name"] == "MESO_SIGNING_KEY")
        .unwrap();
    let mounts = container["volumeMounts"].as_sequence().into_iter().flatten();
    let folder = mounts.clone().find(|one| one["name"] == "signing-key").unwrap();
    let folder = folder["mountPath"].as_str().unwrap();
    assert_eq!(
        key["value"].as_str().unwrap(),
        format!("{folder}/signing-key.pk8")
    );
    let volumes = pod["volumes"].as_sequence().into_iter().flatten();
    let names: Vec<&str> = volumes.filter_map(|volume| volume["name"].as_str()).collect();
    assert!(
        names.contains(&"signing-key") && !names.contains(&"ledger"),
        "{names:?}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn invoices_go_into_the_folder_or_into_a_bucket_whose_key_is_a_secrets_files() -> Result<()> {
    let stack = Stack::current().await?;
    let (_, container) = pod(&stack, "operator.deploy=true").await?;
    let environment = serde_yaml::to_string(&container["env"])?;
    assert!(
        environment.contains("MESO_INVOICE_FOLDER") && !environment.contains("MESO_INVOICE_BUCKET"),
        "{environment}"
    );
    let values = "operator.invoiceFolder=,operator.invoiceBucket.name=factures,\
                  operator.invoiceBucket.endpoint=https://s3.test,operator.invoiceBucket.secret=bucket-key,\
                  operator.invoiceBucket.authority=s3-authority";
    let (pod, container) = pod(&stack, values).await?;
    let variables: Vec<&Value> = container["env"].as_sequence().into_iter().flatten().collect();
    let value = |name: &str| {
        let found = variables.iter().find(|one| one["name"] == name);
        found.and_then(|one| one["value"].as_str())
    };
    assert_eq!(value("MESO_INVOICE_FOLDER"), None);
    assert_eq!(value("MESO_INVOICE_BUCKET"), Some("factures"));
    assert_eq!(value("MESO_INVOICE_BUCKET_ENDPOINT"), Some("https://s3.test"));
    let mount_of = |name: &str| {
        let mut mounts = container["volumeMounts"].as_sequence().into_iter().flatten();
        mounts
            .find(|one| one["name"] == name)
            .and_then(|one| one["mountPath"].as_str())
    };
    let key = mount_of("invoice-bucket").unwrap();
    for (variable, file) in [
        ("MESO_INVOICE_BUCKET_KEY_ID_FILE", "AWS_ACCESS_KEY_ID"),
        ("MESO_INVOICE_BUCKET_SECRET_FILE", "AWS_SECRET_ACCESS_KEY"),
    ] {
        assert_eq!(value(variable), Some(format!("{key}/{file}").as_str()));
    }
    let authority = format!("{}/ca.crt", mount_of("invoice-bucket-authority").unwrap());
    assert_eq!(value("MESO_INVOICE_BUCKET_CACERT"), Some(authority.as_str()));
    let mut volumes = pod["volumes"].as_sequence().into_iter().flatten();
    let secret = volumes.find(|one| one["name"] == "invoice-bucket").unwrap();
    assert_eq!(secret["secret"]["secretName"], "bucket-key");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_the_operator_would_refuse_the_chart_refuses_with_what_to_write() -> Result<()> {
    let stack = Stack::current().await?;
    for (values, sentence) in [
        ("operator.replicas=2", "one process writes: write 1"),
        (
            "operator.ledgerUrl=postgres://db/ledger",
            "operator.signingKeySecret",
        ),
        (
            "operator.ledgerUrl=mysql://db/ledger",
            "write sqlite:// and the absolute path",
        ),
        (
            "operator.ledgerUrl=postgres://db",
            "write sqlite:// and the absolute path",
        ),
        (
            "operator.ledgerUrl=postgres://meso:secret@db/ledger",
            "operator.ledgerPassword",
        ),
        (
            "operator.ledgerUrl=postgres://db/ledger?password=secret",
            "operator.ledgerPassword",
        ),
        ("vault.address=http://vault.test:8200", "/vault/address"),
        ("operator.invoiceBucket.name=factures", "beside a bucket"),
        (
            "operator.invoiceFolder=,operator.invoiceBucket.name=factures",
            "operator.invoiceBucket.endpoint",
        ),
        (
            "operator.invoiceBucket.endpoint=http://s3.test",
            "/operator/invoiceBucket/endpoint",
        ),
    ] {
        let refused = rendered(&stack, values).await?;
        assert!(
            !refused.is_success() && refused.stderr.contains(sentence),
            "{values}: {refused:?}"
        );
    }
    Ok(())
}

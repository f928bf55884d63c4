//! Promise: every example applies as it stands and becomes Ready; the month closes, and closing it again gives the same
//! bytes; its statements become invoices that add up. One test, since the examples are one datacentre.

mod invoicing;

use anyhow::{Context, Result};
use mesocentre_e2e::{Part, Stack, fixture, wait_for};
use rust_decimal::Decimal;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const MONTH: &str = "2026-11";
const KINDS: &str =
    "trustperimeters,tenants,workspaces,peeringagreements,schedulers,tariffs,costpools,billingperiods";

fn example(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
        .display()
        .to_string()
}

async fn json(stack: &Stack, arguments: &[&str]) -> Result<Value> {
    let mut command = vec!["kubectl", "get", "-o", "json"];
    command.extend(arguments);
    let answer = stack.run(&command).await?;
    serde_json::from_str(&answer.stdout).with_context(|| format!("{command:?}: {answer:?}"))
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn every_example_applies_and_becomes_ready_and_a_second_close_gives_the_same_bytes() -> Result<()> {
    // The accounting is away for a moment.
    let stack = Stack::alone().await?;
    for file in [
        "10-perimeters.yaml",
        "20-tenants.yaml",
        "30-workspaces.yaml",
        "40-peering.yaml",
        "50-compute.yaml",
        "70-billing.yaml",
    ] {
        // A home namespace stands a moment after its tenant was written.
        wait_for(&format!("{file} applies"), PATIENCE, async || {
            let applied = stack
                .run(&["kubectl", "apply", "-f", &example(file)])
                .await
                .map_err(|error| error.to_string())?;
            if applied.is_success() {
                Ok(())
            } else {
                Err(applied.stderr)
            }
        })
        .await;
    }
    let alice = stack.kubeconfig_for("alice", &[]).await?;
    wait_for("alice's jobs apply", PATIENCE, async || {
        let applied = stack
            .run_as(&alice, &["kubectl", "apply", "-f", &example("60-jobs.yaml")])
            .await
            .map_err(|error| error.to_string())?;
        if applied.is_success() {
            Ok(())
        } else {
            Err(applied.stderr)
        }
    })
    .await;
    for (kinds, namespace) in [
        (KINDS, None),
        ("allocations", Some("univ-caen")),
        ("allocations", Some("nova-motors")),
        ("batchjobs", Some("univ-caen--climate")),
    ] {
        wait_for(&format!("{kinds} are Ready"), PATIENCE, async || {
            let place = namespace.map_or(vec!["--all-namespaces"], |n| vec!["--namespace", n]);
            let mut arguments = vec![kinds];
            arguments.extend(place);
            let all = json(&stack, &arguments)
                .await
                .map_err(|error| error.to_string())?;
            not_ready(&all)
        })
        .await;
    }
    wait_for("both jobs are metered", PATIENCE, async || {
        let all = json(&stack, &["batchjobs", "--namespace", "univ-caen--climate"])
            .await
            .map_err(|error| error.to_string())?;
        let metered = all["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|job| condition(job, "Metered") == Some("True"))
            .count();
        if metered == 2 {
            Ok(())
        } else {
            Err(all.to_string())
        }
    })
    .await;
    a_close_waits_for_use_that_was_not_read(&stack).await?;
    close_twice(&stack).await?;
    let kept = the_closed_month_has_a_checkpoint(&stack).await?;
    invoicing::of_the_month(&stack, MONTH).await?;
    a_partner_cosigns_what_goes_on_from_it(&stack, &kept).await
}

/// Whose ledger the stack's is.
const ORIGIN: &str = "mesocentre/ledger";

/// What the operator signed when it closed the month, in a file.
async fn the_closed_month_has_a_checkpoint(stack: &Stack) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let period = json(stack, &["billingperiod", MONTH]).await?;
    let checkpoint = period["status"]["checkpoint"].as_str().unwrap_or_default();
    let digest = period["status"]["digest"].as_str().unwrap_or_default();
    assert!(checkpoint.starts_with(&format!("{ORIGIN}\n")), "{period}");
    assert!(
        checkpoint.contains(&format!("closed {MONTH} {digest}\n")),
        "{checkpoint}"
    );
    std::fs::write(folder.path().join("kept.txt"), checkpoint)?;
    Ok(folder)
}

/// With nothing but files: a partner that kept the checkpoint cosigns a later one, and no forged one.
async fn a_partner_cosigns_what_goes_on_from_it(stack: &Stack, kept: &tempfile::TempDir) -> Result<()> {
    let at = |name: &str| kept.path().join(name).display().to_string();
    let ledger = stack.ledger_url()?;
    let key = stack.signing_key().display().to_string();
    let meso = async |arguments: &[&str]| {
        let mut command = vec!["meso", "ledger"];
        command.extend(arguments);
        stack.run(&command).await
    };
    let ours = meso(&["key", &key, "--name", ORIGIN])
        .await?
        .stdout
        .trim()
        .to_owned();
    let partner = ["key", &at("partner.pk8"), "--name", "univ-caen.test", "--witness"];
    let theirs = meso(&partner).await?.stdout.trim().to_owned();
    let verify = [
        "verify",
        "--ledger",
        &ledger,
        "--checkpoint",
        &at("kept.txt"),
        "--trust",
        &ours,
    ];
    let verified = meso(&verify).await?;
    assert!(
        verified.is_success() && verified.stdout.contains("Checkpoint  of"),
        "{verified:?}"
    );

    // Invoices were issued since: the ledger has gone on.
    let since = [
        "checkpoint",
        "--ledger",
        &ledger,
        "--key",
        &key,
        "--origin",
        ORIGIN,
        "--since",
        &at("kept.txt"),
    ];
    let request = meso(&since).await?;
    assert!(
        request.is_success() && request.stdout.starts_with("old "),
        "{request:?}"
    );
    std::fs::write(at("request.txt"), &request.stdout)?;
    let cosign = async |request: &str| {
        meso(&[
            "cosign",
            request,
            "--kept",
            &at("kept.txt"),
            "--trust",
            &ours,
            "--key",
            &at("partner.pk8"),
            "--name",
            "univ-caen.test",
        ])
        .await
    };
    let cosigned = cosign(&at("request.txt")).await?;
    assert!(
        cosigned.is_success() && cosigned.stdout.contains("\u{2014} univ-caen.test "),
        "{cosigned:?}"
    );
    std::fs::write(at("cosigned.txt"), &cosigned.stdout)?;
    let verify = [
        "verify",
        "--ledger",
        &ledger,
        "--checkpoint",
        &at("cosigned.txt"),
        "--trust",
        &theirs,
    ];
    let verified = meso(&verify).await?;
    assert!(verified.is_success(), "{verified:?}");

    // Another key under the datacentre's name.
    let forger = ["key", &at("forger.pk8"), "--name", ORIGIN];
    meso(&forger).await?;
    let forged = [
        "checkpoint",
        "--ledger",
        &ledger,
        "--key",
        &at("forger.pk8"),
        "--origin",
        ORIGIN,
    ];
    std::fs::write(
        at("forged.txt"),
        format!("old 1\n\n{}", meso(&forged).await?.stdout),
    )?;
    let refused = cosign(&at("forged.txt")).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("bears no signature"), "{refused:?}");
    Ok(())
}

/// The month is asked to be closed while nobody can tell what ran last: it waits, says why, and is closed by itself.
async fn a_close_waits_for_use_that_was_not_read(stack: &Stack) -> Result<()> {
    stack.stop(Part::Slurmdbd).await?;
    let patched = fixture::ask_to_close(stack, MONTH, true).await?;
    let waits = wait_for("the period waits", PATIENCE, async || {
        let period = json(stack, &["billingperiod", MONTH])
            .await
            .map_err(|error| error.to_string())?;
        let ready = period["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        match ready {
            Some(ready) if ready["reason"] == "UseNotRead" => Ok(period.clone()),
            _ => Err(period["status"].to_string()),
        }
    })
    .await;
    stack.start(Part::Slurmdbd).await?;
    assert!(patched.is_success(), "{patched:?}");
    assert_eq!(waits["status"]["state"], "Open", "{waits}");
    let said = waits["status"]["conditions"].to_string();
    assert!(
        said.contains("that of meso is up to") && said.contains("acknowledgedGaps"),
        "{said}"
    );
    until_closed(stack).await;
    Ok(())
}

/// The objects of the examples that are not Ready; what other tests made does not count.
fn not_ready(all: &Value) -> Result<(), String> {
    let tenants = ["univ-caen", "chu-rouen", "nova-motors"];
    let waiting: Vec<String> = all["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|object| {
            let namespace = object["metadata"]["namespace"].as_str();
            namespace.is_none_or(|n| tenants.iter().any(|tenant| n.starts_with(tenant)))
                && object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
                    .is_string()
        })
        .filter(|object| condition(object, "Ready") != Some("True"))
        .map(|object| {
            format!(
                "{} {}: {}",
                object["kind"], object["metadata"]["name"], object["status"]["conditions"]
            )
        })
        .collect();
    if waiting.is_empty() {
        Ok(())
    } else {
        Err(waiting.join("\n"))
    }
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a str> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == type_)?["status"]
        .as_str()
}

/// The period, once it is closed.
async fn until_closed(stack: &Stack) -> Value {
    wait_for("the period is closed", PATIENCE, async || {
        let period = json(stack, &["billingperiod", MONTH])
            .await
            .map_err(|error| error.to_string())?;
        if period["status"]["state"] == "Closed" && period["status"]["digest"].is_string() {
            Ok(period)
        } else {
            Err(period["status"].to_string())
        }
    })
    .await
}

/// FOCUS rows and spreadsheets of all tenants tell the period's own net, to the cent.
async fn tables_sum_to_the_period(stack: &Stack) -> Result<()> {
    let period = json(stack, &["billingperiod", MONTH]).await?;
    let net: Decimal = period["status"]["net"].as_str().context("no net")?.parse()?;
    let table = async |format: &str| {
        let said = stack
            .run(&["meso", "statement", MONTH, "--all-tenants", "-o", format])
            .await?;
        anyhow::ensure!(said.is_success(), "{said:?}");
        Ok(said.stdout)
    };
    let focus = table("focus").await?;
    let mut reader = csv::Reader::from_reader(focus.as_bytes());
    let headings = reader.headers()?.clone();
    let at = |column: &str| {
        headings
            .iter()
            .position(|heading| heading == column)
            .context("no such column")
    };
    let (billed, category) = (at("BilledCost")?, at("ChargeCategory")?);
    let mut sum = Decimal::ZERO;
    for row in reader.records() {
        let row = row?;
        if &row[category] != "Tax" {
            sum += row[billed].parse::<Decimal>()?;
        }
    }
    assert_eq!(sum, net, "{focus}");
    let sheet = table("csv").await?;
    let sheet = sheet.strip_prefix('\u{feff}').context("no byte order mark")?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b';')
        .from_reader(sheet.as_bytes());
    let amount = reader
        .headers()?
        .iter()
        .position(|heading| heading == "Montant HT")
        .context("no amounts")?;
    let mut sum = Decimal::ZERO;
    for row in reader.records() {
        sum += row?[amount].replace(',', ".").parse::<Decimal>()?;
    }
    assert_eq!(sum, net, "{sheet}");
    Ok(())
}

async fn close_twice(stack: &Stack) -> Result<()> {
    let close = async || -> Result<(Value, Value)> {
        let patched = fixture::ask_to_close(stack, MONTH, true).await?;
        assert!(patched.is_success(), "{patched:?}");
        let period = until_closed(stack).await;
        let statement = wait_for("the statement is final", PATIENCE, async || {
            let statement = json(stack, &["statement", MONTH, "-n", "univ-caen"])
                .await
                .map_err(|error| error.to_string())?;
            if statement["status"]["state"] == "Final" {
                Ok(statement)
            } else {
                Err(statement["status"].to_string())
            }
        })
        .await;
        Ok((period["status"]["digest"].clone(), statement["status"].clone()))
    };
    let first = close().await?;
    tables_sum_to_the_period(stack).await?;
    let reopened = fixture::ask_to_close(stack, MONTH, false).await?;
    assert!(
        reopened.stderr.contains("a closed period stays closed"),
        "{reopened:?}"
    );
    // The object goes and comes back; the ledger does not forget.
    let deleted = stack.run(&["kubectl", "delete", "billingperiod", MONTH]).await?;
    assert!(deleted.is_success(), "{deleted:?}");
    let applied = stack
        .run(&["kubectl", "apply", "-f", &example("70-billing.yaml")])
        .await?;
    assert!(applied.is_success(), "{applied:?}");
    let second = close().await?;
    assert_eq!(first, second);
    Ok(())
}

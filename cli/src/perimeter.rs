//! `meso perimeter verify` and `meso perimeter check`: what shows that a tenant's perimeter holds.
//!
//! `verify` reads the report that the operator writes; it tries nothing itself, since what its user may do shows nothing of
//! what a tenant may do. `check` asks nobody.

use crate::api_answer;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use crate::output::{self, FormatArgument, machine_readable};
use crate::perimeter_document::{Document, document};
use crate::table::{Align, Table};
use clap::Args;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::{Api, Client, Resource};
use mesocentre_api::{
    ConditionStatus, PERIMETER_REPORT_NAME, PerimeterReport, PerimeterReportStatus, VERIFY_NOW,
    find_condition,
};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a fresh report may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `perimeter verify` takes.
#[derive(Args, Debug)]
pub struct VerifyOptions {
    /// The tenant
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// Have the operator look at everything anew, and wait for it (an Owner or an administrator may)
    #[arg(long)]
    now: bool,
    /// Write the report with its signature into a file, for an auditor to keep
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// The public key that reports are signed by, as the datacentre publishes it
    #[arg(long, env = "MESO_REPORT_KEY", value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    place: Place,
}

/// What `perimeter check` takes.
#[derive(Args, Debug)]
pub struct CheckOptions {
    /// The document, as `perimeter verify --document` wrote it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The public key that reports are signed by, as the datacentre publishes it
    #[arg(long, env = "MESO_REPORT_KEY", value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    format: FormatArgument,
}

/// Shows the report of a tenant's perimeter.
///
/// # Errors
/// Exit code 1 when not every rule is in force, or the signature does not fit; [`Failure`], as the API server answers.
pub async fn verify(options: VerifyOptions, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let report = if options.now {
        fresh(&connection.client, &options.tenant).await?
    } else {
        read(&connection.client, &options.tenant).await?
    };
    let document = document(&report).ok_or_else(|| {
        Failure::Failed(format!(
            "the report of {} says nothing yet: try again in a moment",
            options.tenant
        ))
    })?;
    let (kept, signer) = document
        .check(options.key.as_deref())
        .map_err(|why| Failure::Failed(format!("the report of {} proves nothing: {why}", options.tenant)))?;
    if let Some(file) = &options.document {
        let text = serde_json::to_string_pretty(&document)
            .map_err(|error| Failure::Failed(format!("writing the document failed: {error}")))?;
        std::fs::write(file, text + "\n")
            .map_err(|error| Failure::Failed(format!("writing {} failed: {error}", file.display())))?;
    }
    show(&kept, &signer, options.key.is_some(), options.format)
}

/// Checks a document.
///
/// # Errors
/// Exit code 1 when it is not as it was signed, or says that not every rule was in force.
pub async fn check(options: CheckOptions) -> Result<(), Failure> {
    let file = options.file.display();
    let text = std::fs::read_to_string(&options.file)
        .map_err(|error| Failure::NotFound(format!("reading {file} failed: {error}")))?;
    let document: Document = serde_json::from_str(&text).map_err(|error| {
        Failure::Failed(format!("{file} is no document of meso perimeter verify: {error}"))
    })?;
    let (report, signer) = document
        .check(options.key.as_deref())
        .map_err(|why| Failure::Failed(format!("{file} proves nothing: {why}")))?;
    show(&report, &signer, options.key.is_some(), options.format)
}

/// The report as the API server has it, field for field: what is signed must not be read and written anew.
async fn read(client: &Client, tenant: &str) -> Result<Value, Failure> {
    let doing = format!("reading the report of {tenant}");
    let request = Request::new(PerimeterReport::url_path(&(), Some(tenant)))
        .get(PERIMETER_REPORT_NAME, &Default::default())
        .map_err(|error| Failure::Failed(format!("{doing}: {error}")))?;
    client
        .request(request)
        .await
        .map_err(|error| api_answer::failure(&doing, &error))
}

/// Asks for a fresh report, and waits for it.
async fn fresh(client: &Client, tenant: &str) -> Result<Value, Failure> {
    let reports: Api<PerimeterReport> = Api::namespaced(client.clone(), tenant);
    let request = Timestamp::now().to_string();
    let ask = json!({"metadata": {"annotations": {VERIFY_NOW: request}}});
    reports
        .patch(
            PERIMETER_REPORT_NAME,
            &PatchParams::default(),
            &Patch::Merge(&ask),
        )
        .await
        .map_err(|error| api_answer::failure(&format!("asking for a fresh report of {tenant}"), &error))?;
    let until = Instant::now() + PATIENCE;
    loop {
        let report = read(client, tenant).await?;
        if report["status"]["answers"] == request.as_str() {
            return Ok(report);
        }
        if Instant::now() > until {
            return Err(Failure::Failed(format!(
                "no fresh report of {tenant} came in {} seconds: see that the operator runs, or leave out --now to see the last one",
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn show(
    report: &PerimeterReport,
    signer: &str,
    is_known: bool,
    format: FormatArgument,
) -> Result<(), Failure> {
    let Some(status) = &report.status else {
        return Err(Failure::Failed("the report says nothing".into()));
    };
    let text = match machine_readable(format.format, report)? {
        Some(text) => text,
        None => describe(status, signer, is_known),
    };
    output::print(&text)?;
    let holds =
        find_condition(&status.conditions, "Ready").is_some_and(|c| c.status == ConditionStatus::True);
    if holds { Ok(()) } else { Err(Failure::Exit(1)) }
}

fn describe(status: &PerimeterReportStatus, signer: &str, is_known: bool) -> String {
    let mut text = format!(
        "Périmètre / Perimeter  {}  locataire / tenant  {}  {}\n",
        status.perimeter.name, status.tenant.name, status.generated_at
    );
    if let Some(ready) = find_condition(&status.conditions, "Ready") {
        text.push_str(&format!(
            "In force: {}, {}\n",
            ready.status.as_str(),
            ready.message
        ));
    }
    text.push('\n');
    let mut rules = Table::new(&[
        ("RULE", Align::Left),
        ("IN FORCE", Align::Left),
        ("CONTROL", Align::Left),
        ("EVIDENCE", Align::Left),
    ]);
    for rule in &status.rules {
        let control = match rule.controls.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        let refused = rule.attempts.iter().filter(|attempt| attempt.as_promised).count();
        let evidence = match (rule.in_force, rule.attempts.len()) {
            (ConditionStatus::True, 0) => rule.evidence.first().cloned().unwrap_or_default(),
            (ConditionStatus::True, _) => format!(
                "{refused} attempts answered as promised; {}",
                rule.evidence.first().map_or("", String::as_str)
            ),
            _ => rule.evidence.first().cloned().unwrap_or_default(),
        };
        rules.row(vec![
            rule.rule.clone(),
            rule.in_force.as_str().into(),
            control,
            evidence,
        ]);
    }
    text.push_str(&rules.render(output::terminal_width()));

    let mut ways = Table::new(&[
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("BECAUSE OF", Align::Left),
    ]);
    for way in &status.reachability.open {
        let because = way
            .because
            .clone()
            .unwrap_or_else(|| "nothing promises it".into());
        ways.row(vec![way.from.clone(), way.to.clone(), because]);
    }
    text.push('\n');
    text.push_str(&ways.render(output::terminal_width()));
    if let Some(more) = status.reachability.more {
        text.push_str(&format!("and {more} more\n"));
    }

    if !status.drift.is_empty() {
        let mut drift = Table::new(&[
            ("SEEN", Align::Left),
            ("REPAIRED", Align::Left),
            ("BY", Align::Left),
            ("WHAT", Align::Left),
        ]);
        for entry in &status.drift {
            drift.row(vec![
                entry.seen_at.to_string(),
                entry.repaired_at.map_or_else(|| "no".into(), |at| at.to_string()),
                entry.by.clone().unwrap_or_else(|| "not known".into()),
                format!("{} {}", entry.object, entry.what),
            ]);
        }
        text.push('\n');
        text.push_str(&drift.render(output::terminal_width()));
    }
    let known = if is_known {
        "the key that you named"
    } else {
        "compare this key with the one that the datacentre publishes, or name that with --key"
    };
    text.push_str(&format!("\nSigned by {signer}: {known}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_shown_rule_by_rule_with_what_is_wrong() {
        let status: PerimeterReportStatus = serde_json::from_value(json!({
            "generatedAt": "2026-11-25T01:00:00Z", "operatorVersion": "0.1.0",
            "tenant": {"name": "chu"}, "perimeter": {"name": "hds"},
            "rules": [
                {"rule": "images", "promise": "x", "controls": ["ValidatingAdmissionPolicy/mesocentre-pods", "b"], "inForce": "True",
                 "evidence": ["as the chart has them"], "attempts": [{"what": "a", "namespace": "n", "asPromised": true, "answer": "no"}]},
                {"rule": "tokens", "promise": "x", "controls": [], "inForce": "False", "evidence": ["it was deleted"]},
            ],
            "reachability": {"open": [{"from": "x", "to": "chu--lab", "ports": []}]},
            "drift": [{"object": "ResourceQuota a/b", "what": "was deleted", "seenAt": "2026-11-25T00:59:00Z"}],
            "conditions": [{"type": "Ready", "status": "False", "reason": "NotInForce", "message": "tokens: it was deleted",
                            "lastTransitionTime": "2026-11-25T01:00:00Z"}],
        }))
        .unwrap();
        let shown = describe(&status, "ab12", false);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "In force: False, tokens: it was deleted");
        assert!(
            lines[4].starts_with(
                "images  True      ValidatingAdmissionPolicy/mesocentre-pods and 1 more  1 attempts"
            ),
            "{shown}"
        );
        assert!(
            lines[5].starts_with("tokens  False") && lines[5].ends_with("it was deleted"),
            "{shown}"
        );
        assert!(shown.contains("x     chu--lab  nothing promises it"), "{shown}");
        assert!(
            shown.contains("2026-11-25T00:59:00Z  no        not known  ResourceQuota a/b was deleted"),
            "{shown}"
        );
        assert!(shown.contains("Signed by ab12: compare"), "{shown}");
    }
}

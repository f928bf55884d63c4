//! The closed month of the examples as invoices: from a seller who cannot issue any to the last cent that is paid.

use anyhow::{Context, Result, ensure};
use mesocentre_e2e::fixture::Seller;
use mesocentre_e2e::{Stack, apply_yaml, wait_for};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);
const TENANTS: [&str; 3] = ["univ-caen", "chu-rouen", "nova-motors"];

/// Plays it, for a month that is closed.
pub async fn of_the_month(stack: &Stack, month: &str) -> Result<()> {
    let name = format!("facture-{month}");
    what_is_wrong_is_told_with_all_reasons(stack, &name, month).await?;
    let numbers = numbers_have_no_gap_whatever_is_killed(stack, &name, month).await?;
    the_documents_are_the_same_everywhere_and_for_some_eyes_only(stack, &name, &numbers[0]).await?;
    what_was_issued_stays(stack, &name, month).await?;
    let taxed = taxed_shares_are_asked_for_by_prepayment_invoices(stack).await?;
    let exempt = funds_are_called_ahead(stack).await?;
    what_is_credited_paid_and_replaced_adds_up(stack, &name, month, taxed + exempt).await?;
    the_invoice_after_a_prepayment_names_it_and_its_vat(stack).await?;
    let verified = stack.run(&["meso", "ledger", "verify"]).await?;
    ensure!(verified.is_success(), "{verified:?}");
    Ok(())
}

async fn what_is_wrong_is_told_with_all_reasons(stack: &Stack, name: &str, month: &str) -> Result<()> {
    let wrong = Seller {
        siret: "13000000300018",
        vat_number: "FR76130000003",
        iban: "FR7630001007941234567890186",
    };
    series(stack, wrong).await?;
    let told = wait_for("the series says what is wrong", PATIENCE, async || {
        let series = get(stack, &["invoiceseries", "factures"]).await?;
        match condition(&series, "Ready") {
            Some(ready) if ready["reason"] == "BadSeller" => Ok(ready["message"].to_string()),
            _ => Err(series["status"].to_string()),
        }
    })
    .await;
    for part in ["13000000300018", "FR76130000003", "FR7630001007941234567890186"] {
        ensure!(told.contains(part), "{part} is not told: {told}");
    }
    for tenant in TENANTS {
        invoice(
            stack,
            tenant,
            name,
            &json!({"series": "factures", "month": month}),
        )
        .await?;
    }
    says(stack, "univ-caen", name, "CannotBeInvoiced").await;
    // Another month is open, another series is not there, and one month is one invoice.
    for (other, spec, reason) in [
        (
            "open",
            json!({"series": "factures", "month": "2026-12"}),
            "MonthOpen",
        ),
        (
            "nowhere",
            json!({"series": "avoirs", "month": "2026-10"}),
            "UnknownSeries",
        ),
        (
            "twice",
            json!({"series": "factures", "month": month}),
            "MonthTaken",
        ),
    ] {
        invoice(stack, "univ-caen", other, &spec).await?;
        says(stack, "univ-caen", other, reason).await;
        delete(stack, "univ-caen", other).await?;
    }
    series(stack, Seller::OF_TESTS).await?;
    for tenant in TENANTS {
        let draft = says(stack, tenant, name, "Draft").await;
        let statement = get(stack, &["statement", month, "-n", tenant])
            .await
            .map_err(anyhow::Error::msg)?;
        for total in ["net", "gross"] {
            ensure!(
                draft["status"][total] == statement["status"]["totals"][total],
                "{tenant}: {} and {}",
                draft["status"],
                statement["status"]["totals"]
            );
        }
        ensure!(
            draft["status"]["number"].is_null(),
            "a draft has a number: {draft}"
        );
    }
    Ok(())
}

/// The operator is killed after each is asked to be issued. Gives the numbers, in the order of the tenants.
async fn numbers_have_no_gap_whatever_is_killed(
    stack: &Stack,
    name: &str,
    month: &str,
) -> Result<Vec<String>> {
    let operator = stack.operator();
    for tenant in TENANTS {
        change(stack, tenant, name, &json!({"issue": true})).await?;
        operator.kill().await?;
        operator.start().await?;
    }
    let (mut numbers, mut net) = (Vec::new(), Decimal::ZERO);
    for tenant in TENANTS {
        let issued = says(stack, tenant, name, "Issued").await;
        numbers.push(text(&issued["status"]["number"]));
        net += decimal(&issued["status"]["net"])?;
    }
    let expected: BTreeSet<String> = (1..=3).map(|n| format!("F2026-{n:06}")).collect();
    ensure!(
        numbers.iter().cloned().collect::<BTreeSet<_>>() == expected,
        "the numbers are {numbers:?}"
    );
    let period = get(stack, &["billingperiod", month])
        .await
        .map_err(anyhow::Error::msg)?;
    // What other tests' tenants used is in the month as well, and not invoiced here.
    let statements = get(stack, &["statements", "--all-namespaces"])
        .await
        .map_err(anyhow::Error::msg)?;
    for statement in statements["items"].as_array().into_iter().flatten() {
        let (name, tenant) = (
            &statement["metadata"]["name"],
            &statement["metadata"]["namespace"],
        );
        if name == month && !TENANTS.iter().any(|ours| tenant == ours) {
            net += decimal(&statement["status"]["totals"]["net"])?;
        }
    }
    ensure!(
        net == decimal(&period["status"]["net"])?,
        "the invoices and the statements of others come to {net}, and the period to {}",
        period["status"]["net"]
    );
    Ok(numbers)
}

async fn the_documents_are_the_same_everywhere_and_for_some_eyes_only(
    stack: &Stack,
    name: &str,
    number: &str,
) -> Result<()> {
    // It is issued before it is delivered, and does not wait for that.
    until(stack, "univ-caen", name, "is delivered", |invoice| {
        condition(invoice, "Delivered").is_some_and(|c| c["status"] == "True")
            && invoice["status"]["files"]
                .as_array()
                .is_some_and(|files| files.len() == 2)
    })
    .await;
    let folder = tempfile::tempdir()?;
    let as_billing = stack.kubeconfig_for("comptable", &["univ-caen:billing"]).await?;
    for form in ["pdf", "xml"] {
        let file = folder.path().join(form);
        let path = file.to_str().context("a path")?;
        let read = [
            "meso",
            "invoice",
            form,
            number,
            "--tenant",
            "univ-caen",
            "-o",
            path,
        ];
        let answer = stack.run_as(&as_billing, &read).await?;
        ensure!(answer.is_success(), "{answer:?}");
        let delivered = stack.invoice_folder()?.join(format!("factures/{number}.{form}"));
        ensure!(
            fs::read(&file)? == fs::read(&delivered)?,
            "{form}: what is read is not what was delivered"
        );
        let again = stack.run_as(&as_billing, &read).await?;
        ensure!(again.stderr.contains("is not written over"), "{again:?}");
    }
    ensure!(
        fs::read(folder.path().join("pdf"))?.starts_with(b"%PDF-1."),
        "no PDF"
    );
    let xml = fs::read_to_string(folder.path().join("xml"))?;
    for part in [number, "19141408500016", "SCIENCES", "2026-0042", "CONV-2026-011"] {
        ensure!(xml.contains(part), "{part} is not in {xml}");
    }
    let list = stack
        .run_as(&as_billing, &["meso", "invoice", "list", "--tenant", "univ-caen"])
        .await?;
    ensure!(
        list.stdout.contains(number) && list.stdout.contains("émise / issued"),
        "{list:?}"
    );

    // Neither a member, nor another tenant; and nobody of the tenant writes any of it.
    for (who, verb, what) in [
        ("bob", "get", "invoicedocuments"),
        ("bob", "get", "invoices"),
        ("carol", "get", "invoices"),
        ("alice", "patch", "invoices"),
        ("alice", "create", "invoices"),
        ("alice", "delete", "invoicedocuments"),
    ] {
        let can = [
            "kubectl",
            "auth",
            "can-i",
            verb,
            what,
            "-n",
            "univ-caen",
            "--as",
            who,
        ];
        let answer = stack.run(&can).await?;
        ensure!(
            answer.stdout.trim() == "no",
            "{who} may {verb} {what}: {answer:?}"
        );
    }
    // A file that goes comes back with the same bytes; one that somebody changed is told of and left alone.
    let delivered = stack.invoice_folder()?.join(format!("factures/{number}.pdf"));
    let before = fs::read(&delivered)?;
    fs::remove_file(&delivered)?;
    look_again(stack, "univ-caen", name).await?;
    wait_for("the file is there again", PATIENCE, async || {
        fs::read(&delivered).map_err(|error| error.to_string())
    })
    .await;
    ensure!(fs::read(&delivered)? == before, "it came back with other bytes");
    fs::write(&delivered, b"other")?;
    look_again(stack, "univ-caen", name).await?;
    until(
        stack,
        "univ-caen",
        name,
        "says that the file is another",
        |invoice| condition(invoice, "Delivered").is_some_and(|c| c["reason"] == "NotWritten"),
    )
    .await;
    ensure!(fs::read(&delivered)? == b"other", "a file was written over");
    fs::remove_file(&delivered)?;
    Ok(())
}

async fn what_was_issued_stays(stack: &Stack, name: &str, month: &str) -> Result<()> {
    for spec in [
        json!({"issue": false}),
        json!({"month": "2026-10"}),
        json!({"series": "avoirs"}),
    ] {
        let answer = patch(stack, "chu-rouen", name, &spec).await?;
        ensure!(
            answer.stderr.contains("what was issued does not change"),
            "{spec}: {answer:?}"
        );
    }
    let before = get(stack, &["invoice", name, "-n", "chu-rouen"])
        .await
        .map_err(anyhow::Error::msg)?;
    delete(stack, "chu-rouen", name).await?;
    // Under another name, and as a draft: the ledger has it.
    invoice(
        stack,
        "chu-rouen",
        "retrouvee",
        &json!({"series": "factures", "month": month}),
    )
    .await?;
    let after = says(stack, "chu-rouen", "retrouvee", "Issued").await;
    for field in ["number", "issuedOn", "gross"] {
        ensure!(
            before["status"][field] == after["status"][field],
            "{before} {after}"
        );
    }
    Ok(())
}

/// Shares of this year bear VAT, so a call for them is a prepayment invoice, with a number of the series of invoices. Gives
/// what univ-caen paid of it.
async fn taxed_shares_are_asked_for_by_prepayment_invoices(stack: &Stack) -> Result<Decimal> {
    let tenant = "univ-caen";
    apply_yaml(&stack.admin(), &series_of_calls(false)).await?;
    invoice(
        stack,
        tenant,
        "acompte",
        &called("datacentre-2026", "2026-12", "2026-12"),
    )
    .await?;
    let issued = says(stack, tenant, "acompte", "Issued").await;
    for (field, value) in [("kind", "Prepayment"), ("number", "FA2027-000001")] {
        ensure!(issued["status"][field] == value, "{field}: {issued}");
    }
    let (net, vat) = (
        decimal(&issued["status"]["net"])?,
        decimal(&issued["status"]["vat"])?,
    );
    ensure!(
        vat == net / Decimal::from(5) && decimal(&issued["status"]["gross"])? == net + vat,
        "{issued}"
    );
    let payment = json!({"reference": "VIR-T1", "amount": "300.00", "paidOn": "2026-12-19"});
    change(stack, tenant, "acompte", &json!({"payments": [payment]})).await?;
    until(stack, tenant, "acompte", "is paid in part", |invoice| {
        invoice["status"]["phase"] == "PartlyPaid" && invoice["status"]["paid"] == "300.00"
    })
    .await;
    let xml = xml_of(stack, "FA2027-000001").await?;
    ensure!(xml.contains("<ram:TypeCode>386</ram:TypeCode>"), "{xml}");
    Ok(Decimal::new(30_000, 2))
}

/// What was paid of the prepayment invoice is invoiced, and cannot be credited any more; the rest can.
async fn the_invoice_after_a_prepayment_names_it_and_its_vat(stack: &Stack) -> Result<()> {
    let tenant = "univ-caen";
    let xml = xml_of(stack, "F2026-000006").await?;
    for part in [
        "<ram:ID>S4</ram:ID>",
        "<ram:TotalPrepaidAmount>800.00</ram:TotalPrepaidAmount>",
        "<ram:IssuerAssignedID>FA2027-000001</ram:IssuerAssignedID>",
        "250,00\u{a0}€ HT et 50,00\u{a0}€ de TVA à 20\u{a0}%",
    ] {
        ensure!(xml.contains(part), "{part} is not in {xml}");
    }
    let whole = json!({
        "series": "appels", "issue": true, "credits": {"invoice": "acompte", "reason": "clé modifiée"},
    });
    invoice(stack, tenant, "avoir-acompte", &whole).await?;
    let refused = says(stack, tenant, "avoir-acompte", "NotIssued").await;
    ensure!(
        refused["status"]
            .to_string()
            .contains("300.00 of what was paid on FA2027-000001"),
        "{refused}"
    );
    let part = json!({
        "invoice": "acompte", "reason": "clé modifiée", "lines": [{"line": 1, "amount": "100.00"}],
    });
    change(stack, tenant, "avoir-acompte", &json!({"credits": part})).await?;
    let note = says(stack, tenant, "avoir-acompte", "Issued").await;
    for (field, value) in [
        ("kind", "CreditNote"),
        ("number", "FA2027-000002"),
        ("gross", "120.00"),
    ] {
        ensure!(note["status"][field] == value, "{field}: {note}");
    }
    Ok(())
}

/// A document's XML, as who keeps the tenant's accounts reads it.
async fn xml_of(stack: &Stack, number: &str) -> Result<String> {
    let as_billing = stack.kubeconfig_for("comptable", &["univ-caen:billing"]).await?;
    let read = [
        "meso",
        "invoice",
        "xml",
        number,
        "--tenant",
        "univ-caen",
        "-o",
        "-",
    ];
    let xml = stack.run_as(&as_billing, &read).await?;
    ensure!(xml.is_success(), "{xml:?}");
    Ok(xml.stdout)
}

/// The spec of an Invoice that asks ahead.
fn called(pool: &str, from: &str, until: &str) -> Value {
    json!({"series": "appels", "issue": true, "call": {"costPool": pool, "from": from, "until": until}})
}

/// A year to come, whose shares bear no VAT: univ-caen is called for its first quarter and pays half of a month. Gives what
/// it paid.
async fn funds_are_called_ahead(stack: &Stack) -> Result<Decimal> {
    let tenant = "univ-caen";
    apply_yaml(
        &stack.admin(),
        "apiVersion: mesocentre.io/v1alpha1\nkind: Tariff\nmetadata: {name: exempt-2027}\nspec:\n  currency: EUR\n  \
         validFrom: 2027-01-01\n  validUntil: 2027-12-31\n  categories: [University, PublicService]\n  vat: {rate: \"0\"}\n  \
         prices: [{meter: compute.core-hours, unitPrice: \"0.0120\"}]\n---\n\
         apiVersion: mesocentre.io/v1alpha1\nkind: CostPool\nmetadata: {name: datacentre-2027}\nspec:\n  \
         description: Bâtiment et énergie\n  currency: EUR\n  validFrom: 2027-01-01\n  validUntil: 2027-12-31\n  \
         annualAmount: \"24000.00\"\n  shares: [{tenant: univ-caen, weight: 1}, {tenant: chu-rouen, weight: 1}]\n  \
         key: {fixed: 100, usage: 0}\n",
    )
    .await?;
    invoice(
        stack,
        tenant,
        "appel",
        &called("datacentre-2027", "2027-01", "2027-03"),
    )
    .await?;
    says(stack, tenant, "appel", "NoCallSeries").await;
    apply_yaml(&stack.admin(), &series_of_calls(true)).await?;
    let issued = says(stack, tenant, "appel", "Issued").await;
    for (field, value) in [
        ("kind", "Call"),
        ("number", "AF2027-000001"),
        ("gross", "3000.00"),
        ("until", "2027-03"),
    ] {
        ensure!(issued["status"][field] == value, "{field}: {issued}");
    }
    invoice(
        stack,
        tenant,
        "appel-encore",
        &called("datacentre-2027", "2027-03", "2027-04"),
    )
    .await?;
    let twice = says(stack, tenant, "appel-encore", "NotIssued").await;
    ensure!(twice["status"].to_string().contains("AF2027-000001"), "{twice}");
    delete(stack, tenant, "appel-encore").await?;

    let payment = json!({"reference": "VIR-A1", "amount": "500.00", "paidOn": "2026-12-20"});
    change(stack, tenant, "appel", &json!({"payments": [payment]})).await?;
    until(stack, tenant, "appel", "is paid in part", |invoice| {
        invoice["status"]["phase"] == "PartlyPaid" && invoice["status"]["due"] == "2500.00"
    })
    .await;
    let as_billing = stack.kubeconfig_for("comptable", &["univ-caen:billing"]).await?;
    let read = |form| {
        [
            "meso",
            "invoice",
            form,
            "AF2027-000001",
            "--tenant",
            "univ-caen",
            "-o",
            "-",
        ]
    };
    let pdf = stack.run_as(&as_billing, &read("pdf")).await?;
    ensure!(pdf.is_success(), "{}", pdf.stderr);
    let xml = stack.run_as(&as_billing, &read("xml")).await?;
    ensure!(xml.stderr.contains("is no invoice, and has no XML"), "{xml:?}");
    until(stack, tenant, "appel", "is delivered", |invoice| {
        condition(invoice, "Delivered").is_some_and(|c| c["status"] == "True")
    })
    .await;
    let folder = stack.invoice_folder()?.join("appels");
    ensure!(
        folder.join("AF2027-000001.pdf").exists() && !folder.join("AF2027-000001.xml").exists(),
        "{folder:?}"
    );
    for what in ["tariff/exempt-2027", "costpool/datacentre-2027"] {
        let answer = stack.run(&["kubectl", "delete", what]).await?;
        ensure!(answer.is_success(), "{answer:?}");
    }
    Ok(Decimal::new(50_000, 2))
}

fn series_of_calls(with_numbers: bool) -> String {
    let series = Seller::OF_TESTS
        .series()
        .replace("name: factures}", "name: appels}")
        .replace("series: F2026", "series: FA2027\n  exemption: Cgi261B");
    let call_series = if with_numbers {
        "  callSeries: AF2027\n"
    } else {
        ""
    };
    format!("{series}{call_series}")
}

async fn what_is_credited_paid_and_replaced_adds_up(
    stack: &Stack,
    name: &str,
    month: &str,
    advance: Decimal,
) -> Result<()> {
    let tenant = "nova-motors";
    let operator = stack.operator();
    let credit = json!({
        "series": "factures", "issue": true,
        "credits": {"invoice": name, "reason": "panne du 12 novembre", "lines": [{"line": 1, "amount": "0.01"}]},
    });
    invoice(stack, tenant, "avoir-1", &credit).await?;
    operator.kill().await?;
    operator.start().await?;
    let note = says(stack, tenant, "avoir-1", "Issued").await;
    ensure!(note["status"]["number"] == "F2026-000004", "{note}");
    let credited = decimal(&note["status"]["gross"])?;
    let partly = until(stack, tenant, name, "is credited in part", |invoice| {
        invoice["status"]["credited"] == note["status"]["gross"]
    })
    .await;
    let gross = decimal(&partly["status"]["gross"])?;
    ensure!(decimal(&partly["status"]["due"])? == gross - credited, "{partly}");

    let payment = json!({"reference": "VIR-1", "amount": "1.00", "paidOn": "2026-12-20"});
    change(stack, tenant, name, &json!({"payments": [payment]})).await?;
    until(stack, tenant, name, "is paid in part", |invoice| {
        invoice["status"]["phase"] == "PartlyPaid" && invoice["status"]["paid"] == "1.00"
    })
    .await;
    let answer = patch(
        stack,
        tenant,
        name,
        &json!({"payments": [{"reference": "VIR-1", "amount": "2.00", "paidOn": "2026-12-20"}]}),
    )
    .await?;
    ensure!(
        answer.stderr.contains("a payment that was recorded stays"),
        "{answer:?}"
    );
    let rest = json!({"reference": "VIR-2", "amount": (gross - credited - Decimal::ONE).to_string(), "paidOn": "2026-12-21"});
    change(stack, tenant, name, &json!({"payments": [payment, rest]})).await?;
    until(stack, tenant, name, "is paid", |invoice| {
        invoice["status"]["phase"] == "Paid" && invoice["status"]["due"] == "0.00"
    })
    .await;

    // Billed anew: the first is credited whole, and the new one names it.
    let tenant = "univ-caen";
    let again = json!({"series": "factures", "month": month, "replaces": name, "issue": true});
    invoice(stack, tenant, "nouvelle", &again).await?;
    says(stack, tenant, "nouvelle", "NotIssued").await;
    let whole = json!({
        "series": "factures", "issue": true, "credits": {"invoice": name, "reason": "nouvelle adresse de facturation"},
    });
    invoice(stack, tenant, "avoir-2", &whole).await?;
    until(stack, tenant, name, "is credited whole", |invoice| {
        invoice["status"]["phase"] == "Credited"
    })
    .await;
    let replaced = says(stack, tenant, "nouvelle", "Issued").await;
    ensure!(replaced["status"]["number"] == "F2026-000006", "{replaced}");
    // What was paid ahead is set against it, since it is the next invoice.
    ensure!(decimal(&replaced["status"]["advances"])? == advance, "{replaced}");
    ensure!(
        decimal(&replaced["status"]["due"])? == decimal(&replaced["status"]["gross"])? - advance,
        "{replaced}"
    );
    Ok(())
}

async fn series(stack: &Stack, seller: Seller) -> Result<()> {
    apply_yaml(&stack.admin(), &seller.series()).await.map(drop)
}

async fn invoice(stack: &Stack, tenant: &str, name: &str, spec: &Value) -> Result<()> {
    let invoice = json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "Invoice", "metadata": {"name": name, "namespace": tenant}, "spec": spec,
    });
    apply_yaml(&stack.admin(), &invoice.to_string()).await.map(drop)
}

async fn patch(stack: &Stack, tenant: &str, name: &str, spec: &Value) -> Result<mesocentre_e2e::Answer> {
    let patch = json!({"spec": spec}).to_string();
    stack
        .run(&[
            "kubectl",
            "patch",
            "invoice",
            name,
            "-n",
            tenant,
            "--type=merge",
            "-p",
            &patch,
        ])
        .await
}

async fn change(stack: &Stack, tenant: &str, name: &str, spec: &Value) -> Result<()> {
    let answer = patch(stack, tenant, name, spec).await?;
    ensure!(answer.is_success(), "{answer:?}");
    Ok(())
}

/// Has the operator look at it now, as it does by itself a quarter of an hour later.
async fn look_again(stack: &Stack, tenant: &str, name: &str) -> Result<()> {
    let now = format!("tests/looked-at={}", jiff::Timestamp::now().as_nanosecond());
    let answer = stack
        .run(&[
            "kubectl",
            "annotate",
            "invoice",
            name,
            "-n",
            tenant,
            "--overwrite",
            &now,
        ])
        .await?;
    ensure!(answer.is_success(), "{answer:?}");
    // An annotation alone is nothing to the operator; its restart looks at everything.
    stack.operator().stop().await?;
    stack.operator().start().await
}

async fn delete(stack: &Stack, tenant: &str, name: &str) -> Result<()> {
    let answer = stack
        .run(&["kubectl", "delete", "invoice", name, "-n", tenant])
        .await?;
    ensure!(answer.is_success(), "{answer:?}");
    Ok(())
}

async fn get(stack: &Stack, which: &[&str]) -> Result<Value, String> {
    let mut command = vec!["kubectl", "get", "-o", "json"];
    command.extend(which);
    let answer = stack.run(&command).await.map_err(|error| error.to_string())?;
    serde_json::from_str(&answer.stdout).map_err(|error| format!("{error}: {answer:?}"))
}

/// The Invoice, once Ready has this reason for the spec as it is.
async fn says(stack: &Stack, tenant: &str, name: &str, reason: &str) -> Value {
    until(stack, tenant, name, &format!("says {reason}"), |invoice| {
        condition(invoice, "Ready").is_some_and(|ready| ready["reason"] == reason)
    })
    .await
}

async fn until(stack: &Stack, tenant: &str, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait_for(
        &format!("the invoice {name} of {tenant} {what}"),
        PATIENCE,
        async || {
            let invoice = get(stack, &["invoice", name, "-n", tenant]).await?;
            if invoice["status"]["observedGeneration"] == invoice["metadata"]["generation"] && holds(&invoice)
            {
                Ok(invoice)
            } else {
                Err(invoice["status"].to_string())
            }
        },
    )
    .await
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == type_)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn decimal(value: &Value) -> Result<Decimal> {
    Ok(value.as_str().with_context(|| format!("{value}"))?.parse()?)
}

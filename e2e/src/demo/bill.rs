//! The month's end: closed, and each statement recomputed from sacct and the tariffs with arithmetic of its own.

use super::people::Person;
use super::usage::CoreSeconds;
use crate::fixture::Seller;
use crate::wait;
use anyhow::{Context, Result, ensure};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The month that the demonstration's jobs run in.
fn this_month() -> Result<String> {
    let zone = jiff::tz::TimeZone::get("Europe/Paris").context("finding the time zone Europe/Paris")?;
    let today = jiff::Timestamp::now().to_zoned(zone).date();
    Ok(format!("{:04}-{:02}", today.year(), today.month()))
}

/// Makes the billing period of this month where the examples have another.
pub async fn open_this_month(administrator: &Person) -> Result<String> {
    let month = this_month()?;
    ensure!(
        month.starts_with("2026-"),
        "the examples' tariffs and allocations are of 2026, and this is {month}: the demonstration needs examples of this year"
    );
    let period = format!(
        "apiVersion: mesocentre.io/v1alpha1\nkind: BillingPeriod\nmetadata: {{name: \"{month}\"}}\nspec: {{month: \"{month}\"}}\n"
    );
    let known = administrator
        .run("kubectl", &["get", "billingperiod", &month], "")
        .await?;
    if !known.succeeded {
        let made = administrator
            .run("kubectl", &["create", "-f", "-"], &period)
            .await?;
        ensure!(made.succeeded, "making the period {month}: {}", made.complaint);
    }
    Ok(month)
}

/// Closes the month and waits until it is.
pub async fn close(administrator: &Person, month: &str) -> Result<()> {
    administrator
        .kubectl(&[
            "patch",
            "billingperiod",
            month,
            "--type=merge",
            "-p",
            r#"{"spec":{"close":true}}"#,
        ])
        .await?;
    wait::until("the month is closed", Duration::from_secs(60), async || {
        let period = administrator
            .kubectl(&["get", "billingperiod", month, "-o", "json"])
            .await
            .map_err(|error| error.to_string())?;
        let period: Value = serde_json::from_str(&period).map_err(|error| error.to_string())?;
        if period["status"]["state"] == "Closed" && period["status"]["digest"].is_string() {
            Ok(())
        } else {
            Err(period["status"].to_string())
        }
    })
    .await
}

/// Issues the month's invoices, and gives the sum of their net amounts.
pub async fn invoice(administrator: &Person, tenants: &[&str], month: &str) -> Result<Decimal> {
    let mut manifest = Seller::OF_TESTS.series();
    for tenant in tenants {
        manifest.push_str(&format!(
            "---\napiVersion: mesocentre.io/v1alpha1\nkind: Invoice\nmetadata: {{name: facture-{month}, namespace: {tenant}}}\n\
             spec: {{series: factures, month: \"{month}\", issue: true}}\n"
        ));
    }
    let made = administrator
        .run("kubectl", &["apply", "-f", "-"], &manifest)
        .await?;
    ensure!(made.succeeded, "writing the invoices: {}", made.complaint);
    let mut net = Decimal::ZERO;
    for tenant in tenants {
        let name = format!("facture-{month}");
        let issued = wait::until(
            &format!("the invoice of {tenant} is issued"),
            Duration::from_secs(60),
            async || {
                let invoice = administrator
                    .kubectl(&["get", "invoice", &name, "-n", tenant, "-o", "json"])
                    .await
                    .map_err(|error| error.to_string())?;
                let invoice: Value = serde_json::from_str(&invoice).map_err(|error| error.to_string())?;
                if invoice["status"]["document"].is_string() {
                    Ok(invoice)
                } else {
                    Err(invoice["status"].to_string())
                }
            },
        )
        .await?;
        net += decimal(&issued["status"]["net"])?;
    }
    Ok(net)
}

/// The net amount of a closed month, as the period says it.
pub async fn net_of(administrator: &Person, month: &str) -> Result<Decimal> {
    let period = administrator
        .kubectl(&["get", "billingperiod", month, "-o", "json"])
        .await?;
    decimal(&serde_json::from_str::<Value>(&period)?["status"]["net"])
}

/// A statement that was recomputed.
pub struct Checked {
    /// What was found, in words.
    pub told: String,
    /// Its share of the cost pool.
    pub share: Decimal,
}

/// Recomputes a tenant's statement: use from sacct times the example's price, rounded half-up once; net, VAT, gross.
pub async fn recompute(
    administrator: &Person,
    tenant: &str,
    month: &str,
    by_slurm: &CoreSeconds,
) -> Result<Checked> {
    let statement = administrator
        .kubectl(&["get", "statement", month, "-n", tenant, "-o", "json"])
        .await?;
    let statement: Value = serde_json::from_str(&statement)?;
    let status = &statement["status"];
    ensure!(
        status["state"] == "Final",
        "the statement of {tenant} is not final: {status}"
    );
    // examples/70-billing.yaml; both tenants' use is far below the first tier's end.
    let price: Decimal = if tenant == "nova-motors" {
        "0.0600"
    } else {
        "0.0120"
    }
    .parse()?;
    let prefix = format!("{tenant}.");
    let seconds: i128 = by_slurm
        .iter()
        .filter(|(account, _)| account.starts_with(&prefix))
        .map(|(_, seconds)| seconds)
        .sum();
    let by_hand = (Decimal::try_from_i128_with_scale(seconds, 0)? * price / Decimal::from(3_600))
        .round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);

    let mut usage = Decimal::ZERO;
    let mut share = Decimal::ZERO;
    for line in status["lines"].as_array().into_iter().flatten() {
        let amount = decimal(&line["amount"])?;
        match line["kind"].as_str() {
            Some("Usage") => usage += amount,
            Some("CostShare") => share += amount,
            other => anyhow::bail!("an unexpected line on the statement of {tenant}: {other:?}"),
        }
    }
    ensure!(
        usage == by_hand,
        "{tenant} used {seconds} core-seconds by sacct, which is {by_hand} €, and its statement says {usage} €"
    );
    let net = decimal(&status["totals"]["net"])?;
    ensure!(
        net == usage + share,
        "the lines of {tenant} sum to {}, and its net is {net}",
        usage + share
    );
    let vat = (net * Decimal::new(20, 2)).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    let gross = decimal(&status["totals"]["gross"])?;
    ensure!(
        gross == net + vat,
        "{net} and 20 % of VAT ({vat}) are {}, and the statement of {tenant} says {gross}",
        net + vat
    );
    Ok(Checked {
        told: format!(
            "{tenant}: {seconds} core-seconds by sacct × {price} € ÷ 3600 = {by_hand} €; + {share} € of the pool = {net} €; + VAT {vat} € = {gross} €, as on the statement"
        ),
        share,
    })
}

/// The shares of the month's cost pool must sum to a twelfth of 480,000.00 €.
pub fn shares_sum(shares: &BTreeMap<&str, Decimal>) -> Result<String> {
    let sum: Decimal = shares.values().sum();
    let twelfth: Decimal = "40000.00".parse()?;
    ensure!(
        sum == twelfth,
        "the shares sum to {sum} €, and the month's part of the pool is {twelfth} €"
    );
    Ok(format!(
        "the three shares sum to {sum} €, a twelfth of the pool of 480000.00 €, to the cent"
    ))
}

fn decimal(value: &Value) -> Result<Decimal> {
    let text = value
        .as_str()
        .with_context(|| format!("{value} is no decimal string"))?;
    text.parse()
        .with_context(|| format!("{text} is no decimal number"))
}

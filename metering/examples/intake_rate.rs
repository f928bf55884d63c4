//! How fast the ledger takes records, proves itself and rates a month, on this machine:
//! `cargo run -p mesocentre-metering --example intake_rate -- 100000`. Prints; asserts nothing about time.

use jiff::{SignedDuration, Timestamp};
use mesocentre_api::Meter;
use mesocentre_metering::{
    Activity, Ledger, LedgerUrl, RatedTenant, RatingBasis, RecordKey, UsageRecord, rate_month, verify,
};
use std::collections::BTreeMap;
use std::time::Instant;

const BATCH: usize = 5_000;

fn record(i: usize, first: Timestamp) -> UsageRecord {
    let start = first + SignedDuration::from_secs(i64::try_from(i % 2_000_000).unwrap_or(0));
    UsageRecord {
        key: RecordKey {
            source: "slurm".into(),
            cluster: "austral".into(),
            native_key: format!("{i}@{first}#{start}"),
            meter: Meter::ComputeCoreHours,
            revision: 0,
        },
        tenant: "univ-caen".into(),
        allocation: Some(format!("allocation-{}", i % 20)),
        user: Some(format!("user{}", i % 200)),
        activity: Activity::NonEconomic,
        activity_reason: "category University".into(),
        quantity: 4 * 600,
        start,
        end: start + SignedDuration::from_secs(600),
        evidence: BTreeMap::from([("cpus".into(), "4".into()), ("state".into(), "COMPLETED".into())]),
    }
}

fn say(what: &str, records: usize, since: Instant) {
    let micros = since.elapsed().as_micros().max(1);
    let rate = records as u128 * 1_000_000 / micros;
    println!(
        "{what}: {records} records in {} ms, {rate} a second",
        micros / 1_000
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records: usize = std::env::args().nth(1).unwrap_or("100000".into()).parse()?;
    let folder = tempfile::tempdir()?;
    let url: LedgerUrl = format!("sqlite://{}/ledger.db", folder.path().display()).parse()?;
    let ledger = Ledger::open(&url).await?;
    let first: Timestamp = "2026-11-02T00:00:00Z".parse()?;
    let all: Vec<UsageRecord> = (0..records).map(|i| record(i, first)).collect();
    let since = Instant::now();
    for batch in all.chunks(BATCH) {
        ledger.append(batch, first).await?;
    }
    say("durable intake, in batches", records, since);
    let since = Instant::now();
    for batch in all.chunks(BATCH) {
        ledger.append(batch, first).await?;
    }
    say("the same intake again", records, since);
    let since = Instant::now();
    let proof = verify(&url).await?;
    say("verification", usize::try_from(proof.records)?, since);
    let basis = RatingBasis {
        month: "2026-11".parse()?,
        time_zone: "Europe/Paris".into(),
        tenants: vec![RatedTenant {
            name: "univ-caen".into(),
            category: mesocentre_api::TenantCategory::University,
        }],
        tariffs: Vec::new(),
        cost_pools: Vec::new(),
        acknowledged_gaps: Vec::new(),
    };
    let since = Instant::now();
    rate_month(&ledger, &basis).await?;
    say("rating of the month", records, since);
    for line in std::fs::read_to_string("/proc/self/status")?
        .lines()
        .filter(|line| line.starts_with("VmHWM"))
    {
        println!("{line} (with {records} records held by this example itself)");
    }
    Ok(())
}

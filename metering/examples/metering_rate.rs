//! How fast a ledger takes records, proves itself, and becomes issued invoices, on this machine; each beside the least that
//! could be done: to write, to read, to hash and to sum the same bytes. Prints; asserts nothing about time.
//!
//! `cargo run --release -p mesocentre-metering --example metering_rate -- 1000000 [URL]`: a file in a folder of its own,
//! else the ledger of this URL, which must be empty. `cargo dev bench metering` runs it on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_arithmetic,
    reason = "a measurement ends by what goes wrong, and money is none of it"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use jiff::SignedDuration;
use jiff::civil::date;
use mesocentre_api::{Meter, TenantCategory};
use mesocentre_metering::*;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

// As the operator has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BATCH: usize = 5_000;
const TENANTS: usize = 20;

/// Run `i` of November: of 20 tenants, 200 people, ten minutes, all over the month.
fn run(i: usize) -> UsageRecord {
    let seconds = i64::try_from((i * 7) % 2_500_000).unwrap_or(0);
    let start = support::at("2026-11-01T00:00:00Z") + SignedDuration::from_secs(seconds);
    UsageRecord {
        key: RecordKey {
            source: "slurm".into(),
            cluster: "austral".into(),
            native_key: format!("{i}@2026-11-01T00:00:00Z#{start}"),
            meter: Meter::ComputeCoreHours,
            revision: 0,
        },
        tenant: format!("tenant-{:02}", i % TENANTS),
        allocation: Some(format!("allocation-{}", i % (3 * TENANTS))),
        user: Some(format!("user{}", i % 200)),
        activity: Activity::NonEconomic,
        activity_reason: "category University".into(),
        quantity: 4 * 600,
        start,
        end: start + SignedDuration::from_secs(600),
        evidence: BTreeMap::from([("cpus".into(), "4".into()), ("state".into(), "COMPLETED".into())]),
    }
}

fn batches(records: usize) -> impl Iterator<Item = Vec<UsageRecord>> {
    (0..records)
        .step_by(BATCH)
        .map(move |first| (first..records.min(first + BATCH)).map(run).collect())
}

/// The least that intake could be: each record as JSON, hashed, in a file, on the disk once a batch.
fn written(records: usize, path: &Path) -> Duration {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut took = Duration::ZERO;
    for batch in batches(records) {
        let since = Instant::now();
        for record in &batch {
            let bytes = serde_json::to_vec(record).unwrap();
            let hash = Sha256::digest(&bytes);
            file.write_all(&bytes).unwrap();
            file.write_all(format!(" {}\n", hash[0]).as_bytes()).unwrap();
        }
        file.flush().unwrap();
        file.get_ref().sync_data().unwrap();
        took += since.elapsed();
    }
    took
}

/// The least that a proof or a bill could be: the same bytes read, hashed, and their quantities summed.
fn read(path: &Path) -> Duration {
    let since = Instant::now();
    let mut reader = BufReader::new(File::open(path).unwrap());
    let (mut line, mut sum, mut last) = (String::new(), 0_i128, 0_u8);
    while reader.read_line(&mut line).unwrap() > 0 {
        last ^= Sha256::digest(line.as_bytes())[0];
        let after = line.split_once("\"quantity\":").unwrap().1;
        let digits: String = after
            .trim_start_matches('"')
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        sum += digits.parse::<i128>().unwrap();
        line.clear();
    }
    std::hint::black_box((sum, last));
    since.elapsed()
}

fn say(what: &str, records: usize, took: Duration, least: Duration) {
    println!(
        "{what}: {records} records in {:.2} s, {:.0} a second, {:.1} times the least",
        took.as_secs_f64(),
        records as f64 / took.as_secs_f64(),
        took.as_secs_f64() / least.as_secs_f64()
    );
}

/// The most that this process ever held, in MB; with `clear_refs`, since the last time.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    kib / 1_000
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records: usize = std::env::args().nth(1).unwrap_or("100000".into()).parse()?;
    let folder = tempfile::tempdir()?;
    let in_a_file = format!("sqlite://{}/ledger.db", folder.path().display());
    let url: LedgerUrl = std::env::args().nth(2).unwrap_or(in_a_file).parse()?;
    println!("{url}");
    let bytes = folder.path().join("least.jsonl");
    let ledger = Ledger::open(&url).await?;
    let received = support::at("2026-12-01T08:00:00Z");

    let least_written = written(records, &bytes);
    let mut took = Duration::ZERO;
    for batch in batches(records) {
        let since = Instant::now();
        ledger.append(&batch, received).await?;
        took += since.elapsed();
    }
    say(
        "durable intake, in batches of 5,000",
        records,
        took,
        least_written,
    );
    let known = records.min(100_000);
    let mut took = Duration::ZERO;
    for batch in batches(known) {
        let since = Instant::now();
        ledger.append(&batch, received).await?;
        took += since.elapsed();
    }
    let part = least_written.mul_f64(known as f64 / records as f64);
    say("the same again, which changes nothing", known, took, part);
    println!("memory: {} MB at most during intake", peak());

    let least_read = read(&bytes);
    let since = Instant::now();
    let proof = verify(&url).await?;
    assert!(proof.is_intact(), "{:?}", proof.faults);
    say("verification", records, since.elapsed(), least_read);
    println!("memory: {} MB at most during verification", peak());

    let mut basis = support::basis_without_pools("2026-11");
    basis.tenants = (0..TENANTS)
        .map(|i| RatedTenant {
            name: format!("tenant-{i:02}"),
            category: TenantCategory::University,
        })
        .collect();
    let since = Instant::now();
    let closed = close_month(&ledger, &basis, support::at("2026-12-05T08:00:00Z")).await?;
    let document: MonthDocument = serde_json::from_slice(&closed.statements)?;
    for statement in &document.statements {
        let (seller, buyer, terms) = (support::seller(), support::university(), support::terms(30));
        let draft = invoice::draft(statement, &seller, &buyer, &terms).unwrap();
        ledger.issue(&"F2026".parse()?, &draft, date(2026, 12, 7)).await?;
    }
    assert_eq!(document.statements.len(), TENANTS.min(records));
    say(
        "from the ledger to issued invoices",
        records,
        since.elapsed(),
        least_read,
    );
    println!("memory: {} MB at most during it", peak());
    ledger.close().await;
    Ok(())
}

//! The month that docs/billing.md recomputes by hand, from the very `sacct` lines that stand there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::LineKind;
use mesocentre_metering::*;
use std::collections::BTreeMap;
use support::*;

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/billing.md")).unwrap()
}

/// jobid, account, user, state, start, end, elapsedraw, alloccpus.
fn runs(page: &str) -> Vec<UsageRecord> {
    let (_, rows) = page.split_once("```sacct\n").unwrap();
    let (rows, _) = rows.split_once("```").unwrap();
    rows.lines()
        .map(|row| {
            let fields: Vec<&str> = row.split('|').collect();
            let [job, account, user, state, start, end, elapsed, cpus] = fields[..] else {
                panic!("not a row of sacct: {row}")
            };
            let (tenant, allocation) = account.split_once('.').unwrap();
            let run = BatchRun {
                source: "slurm".into(),
                cluster: "meso".into(),
                job_id: job.into(),
                submitted: at(&format!("{start}Z")),
                tenant: tenant.into(),
                allocation: Some(allocation.into()),
                user: Some(user.into()),
                activity: Activity::NonEconomic,
                activity_reason: "category University".into(),
                cpus: cpus.parse().unwrap(),
                gpus: 0,
                gpus_by_model: BTreeMap::new(),
                start: at(&format!("{start}Z")),
                end: at(&format!("{end}Z")),
                suspended_seconds: 0,
                state: state.into(),
            };
            let record = from_batch_run(&run).remove(0);
            let by_slurm = elapsed.parse::<i128>().unwrap() * cpus.parse::<i128>().unwrap();
            assert_eq!(record.quantity, by_slurm, "{row}");
            record
        })
        .collect()
}

/// 22060.44 → 22,060.44, as the page writes it.
fn written(amount: &str) -> String {
    let (whole, cents) = amount.split_once('.').unwrap();
    let digits: Vec<char> = whole.chars().rev().collect();
    let groups: Vec<String> = digits.chunks(3).map(|group| group.iter().collect()).collect();
    let whole: String = groups.join(",").chars().rev().collect();
    format!("{whole}.{cents}")
}

#[test]
fn the_month_that_the_page_recomputes_by_hand_comes_out_to_the_cent() {
    let page = page();
    let rated = rate(&basis("2026-11"), &runs(&page));
    assert_eq!(rated.faults, []);
    for (tenant, used, share, net, gross) in [
        ("univ-caen", Some("0.04"), "22060.40", "22060.44", "26472.53"),
        ("nova-motors", Some("0.08"), "10739.60", "10739.68", "12887.62"),
        ("chu-rouen", None, "7200.00", "7200.00", "8640.00"),
    ] {
        let status = statement(&rated, tenant);
        let amount = |kind| {
            let mut lines = status.lines.iter().filter(move |line| line.kind == kind);
            lines.next().map(|line| line.amount.as_str())
        };
        assert_eq!(amount(LineKind::Usage), used, "{tenant}");
        assert_eq!(amount(LineKind::CostShare), Some(share), "{tenant}");
        assert_eq!(
            (status.totals.net.as_str(), status.totals.gross.as_str()),
            (net, gross)
        );
        let row = page
            .lines()
            .rfind(|line| line.starts_with(&format!("| {tenant} |")))
            .unwrap();
        for figure in [net, status.totals.vat[0].amount.as_str(), gross] {
            assert!(
                row.contains(&written(figure)),
                "the page says {row}, and {figure} comes out"
            );
        }
    }
    assert_eq!(rated.net(), Some(Cents(4_000_012)));
}

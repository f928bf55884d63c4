//! Runs of batch jobs, from the accounting, become usage records.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use jiff::Timestamp;
use mesocentre_api::Meter;
use mesocentre_metering::*;
use std::collections::BTreeMap;
use support::*;

fn run() -> BatchRun {
    BatchRun {
        source: "slurm".to_owned(),
        cluster: "austral".to_owned(),
        job_id: "42".to_owned(),
        submitted: at("2026-11-24T10:00:01Z"),
        tenant: "univ-caen".to_owned(),
        allocation: Some("climate-2026".to_owned()),
        user: Some("alice".to_owned()),
        activity: Activity::NonEconomic,
        activity_reason: "category University".to_owned(),
        cpus: 2,
        gpus: 0,
        gpus_by_model: BTreeMap::new(),
        start: at("2026-11-24T10:00:02Z"),
        end: at("2026-11-24T10:00:09Z"),
        suspended_seconds: 0,
        state: "COMPLETED".to_owned(),
    }
}

fn keys(runs: &[BatchRun]) -> std::collections::BTreeSet<RecordKey> {
    runs.iter()
        .flat_map(from_batch_run)
        .map(|record| record.key)
        .collect()
}

#[test]
fn cores_held_times_seconds_run_are_core_seconds() {
    let records = from_batch_run(&run());
    assert_eq!(records.len(), 1);
    assert_eq!(
        (records[0].key.meter, records[0].quantity),
        (Meter::ComputeCoreHours, 14)
    );
    assert_eq!(
        records[0].key.native_key,
        "42@2026-11-24T10:00:01Z#2026-11-24T10:00:02Z"
    );
    let with_gpus = from_batch_run(&BatchRun { gpus: 3, ..run() });
    assert_eq!(
        (with_gpus[1].key.meter, with_gpus[1].quantity),
        (Meter::ComputeGpuHours, 21)
    );
}

#[test]
fn a_requeue_is_each_run_once_by_itself() {
    let second = BatchRun {
        start: at("2026-11-24T11:00:00Z"),
        end: at("2026-11-24T11:00:01Z"),
        ..run()
    };
    assert_eq!(keys(&[run(), second.clone()]).len(), 2);
    assert_eq!(from_batch_run(&second)[0].quantity, 2);
}

#[test]
fn a_recycled_job_id_is_two_jobs() {
    let years_later = BatchRun {
        submitted: at("2029-01-01T00:00:00Z"),
        ..run()
    };
    assert_eq!(keys(&[run(), years_later]).len(), 2);
}

#[test]
fn a_resized_job_is_billed_each_size_for_its_time() {
    let small = BatchRun {
        end: at("2026-11-24T10:00:05Z"),
        state: "RESIZING".to_owned(),
        ..run()
    };
    let large = BatchRun {
        start: at("2026-11-24T10:00:05Z"),
        cpus: 8,
        ..run()
    };
    let quantities: Vec<i128> = [&small, &large]
        .into_iter()
        .flat_map(from_batch_run)
        .map(|r| r.quantity)
        .collect();
    assert_eq!(quantities, [6, 32]);
    assert_eq!(keys(&[small, large]).len(), 2);
}

#[test]
fn suspended_time_is_not_metered() {
    let suspended = BatchRun {
        suspended_seconds: 4,
        ..run()
    };
    assert_eq!(from_batch_run(&suspended)[0].quantity, 6);
}

#[test]
fn a_run_of_zero_seconds_or_without_cores_is_a_record_of_nothing() {
    let short = BatchRun {
        end: run().start,
        ..run()
    };
    let record = ValidRecord::try_from(from_batch_run(&short).remove(0)).unwrap();
    assert_eq!(record.quantity, 0);
    let coreless = from_batch_run(&BatchRun { cpus: 0, ..run() }).remove(0);
    assert_eq!(coreless.evidence["flag"], "no cores allocated: nothing is billed");
    assert_eq!(ValidRecord::try_from(coreless).unwrap().quantity, 0);
}

#[test]
fn an_end_before_the_start_is_refused_and_never_negative() {
    let refused = |run: BatchRun| ValidRecord::try_from(from_batch_run(&run).remove(0)).unwrap_err();
    assert!(matches!(
        refused(BatchRun {
            end: Timestamp::UNIX_EPOCH,
            ..run()
        }),
        RecordFault::EndBeforeStart { .. }
    ));
    assert!(matches!(
        refused(BatchRun {
            suspended_seconds: 8,
            ..run()
        }),
        RecordFault::Negative { .. }
    ));
}

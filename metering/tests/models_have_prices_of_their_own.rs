//! Promise: GPUs and devices are priced by model where the tariff says so, and never at a price that is not written.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::{Meter, Price, StatementStatus, Tier};
use mesocentre_metering::rating::Change;
use mesocentre_metering::*;
use std::collections::BTreeMap;
use support::*;

const FROM: &str = "2026-11-10T10:00:00Z";
const TO: &str = "2026-11-10T11:00:00Z";

/// So many GPU-hours of a model; of none that is known.
fn gpu_hours(key: &str, model: Option<&str>, hours: i128) -> UsageRecord {
    let mut used = with_meter(
        record(key, "univ-caen", hours * 3_600, FROM, TO),
        Meter::ComputeGpuHours,
    );
    let model = model.map(|model| (MODEL.to_owned(), model.to_owned()));
    used.evidence.extend(model);
    used
}

fn price(model: Option<&str>, unit_price: &str) -> Price {
    Price {
        meter: Meter::ComputeGpuHours,
        model: model.map(str::to_owned),
        unit_price: Some(unit_price.parse().unwrap()),
        tiers: None,
    }
}

/// The examples' tariffs with these prices of GPU-hours.
fn priced(month: &str, prices: &[Price]) -> RatingBasis {
    let mut basis = basis_without_pools(month);
    for tariff in &mut basis.tariffs {
        let of_tariff = &mut tariff.spec.prices;
        of_tariff.retain(|price| price.meter != Meter::ComputeGpuHours);
        of_tariff.extend_from_slice(prices);
    }
    basis
}

fn lines(status: &StatementStatus) -> Vec<(Option<&str>, Option<i32>, &str, &str)> {
    let lines = status.lines.iter().map(|line| {
        let quantity = line.base_quantity.as_deref().unwrap_or_default();
        (line.model.as_deref(), line.tier, quantity, line.amount.as_str())
    });
    lines.collect()
}

#[test]
fn a_model_has_its_own_price_and_all_others_share_the_one_without_a_model() {
    let basis = priced("2026-11", &[price(None, "0.65"), price(Some("h100"), "2.50")]);
    let used = [
        gpu_hours("1", Some("h100"), 2),
        gpu_hours("2", Some("a100"), 3),
        gpu_hours("3", None, 1),
        gpu_hours("4", Some("h100"), 1),
    ];
    let rated = rate(&basis, &used);
    assert_eq!(rated.faults, []);
    let status = statement(&rated, "univ-caen");
    assert_eq!(
        lines(status),
        [
            (None, None, "14400", "2.60"),
            (Some("h100"), None, "10800", "7.50")
        ]
    );
    // Use by activity and cost pools know the meter, whatever the model.
    assert_eq!(rated.activity[&Meter::ComputeGpuHours].non_economic, 7 * 3_600);
    let rows = focus::rows("univ-caen", status, "Mésocentre").unwrap();
    let h100 = rows
        .iter()
        .find(|row| row.get("x_Model") == Some("h100"))
        .unwrap();
    assert!(h100.get("SkuId").unwrap().ends_with("/compute.gpu-hours/h100"));
}

#[test]
fn a_model_that_no_price_is_for_keeps_its_tenant_from_being_billed_and_is_named() {
    let basis = priced("2026-11", &[price(Some("h100"), "2.50")]);
    let rated = rate(&basis, &[gpu_hours("1", Some("a100"), 1)]);
    let [fault] = &rated.faults[..] else {
        panic!("{:?}", rated.faults)
    };
    assert_eq!(fault.concerns(), ["univ-caen"]);
    let said = fault.to_string();
    assert!(
        said.contains("write a tariff that prices compute.gpu-hours of the model a100"),
        "{said}"
    );
}

#[test]
fn tiers_of_a_model_are_filled_by_that_model_alone_and_late_use_goes_on_where_they_were_left() {
    let tiers = Price {
        unit_price: None,
        tiers: Some(vec![
            Tier {
                up_to: Some("10".parse().unwrap()),
                unit_price: "2".parse().unwrap(),
            },
            Tier {
                up_to: None,
                unit_price: "1".parse().unwrap(),
            },
        ]),
        ..price(Some("h100"), "0")
    };
    let prices = [price(None, "0.65"), tiers];
    let in_time = [gpu_hours("1", Some("h100"), 8), gpu_hours("2", Some("a100"), 100)];
    let basis = priced("2026-11", &prices);
    let rated = rate(&basis, &in_time);
    assert_eq!(
        lines(statement(&rated, "univ-caen")),
        [
            (None, None, "360000", "65.00"),
            (Some("h100"), Some(1), "28800", "16.00")
        ]
    );

    let mut billed = statement::BilledBefore::default();
    billed.add(&rated.into_document(&basis));
    let december = priced("2026-12", &prices);
    let mut rating = Rating::new(&december).unwrap();
    let late = ValidRecord::try_from(gpu_hours("3", Some("h100"), 4)).unwrap();
    rating
        .add_change(Change::Added, &late, "2026-11".parse().unwrap())
        .unwrap();
    let head = Head {
        seq: 3,
        hash: Digest::ZERO,
    };
    let rated = rating.finish(mesocentre_api::StatementState::Provisional, &head, &billed);
    assert_eq!(
        lines(statement(&rated, "univ-caen")),
        [
            (Some("h100"), Some(1), "7200", "4.00"),
            (Some("h100"), Some(2), "7200", "2.00")
        ]
    );
}

#[test]
fn a_run_on_gpus_of_several_models_is_a_record_of_each_and_none_is_counted_twice() {
    let run = BatchRun {
        source: "slurm".into(),
        cluster: "austral".into(),
        job_id: "42".into(),
        submitted: at(FROM),
        tenant: "univ-caen".into(),
        allocation: None,
        user: None,
        activity: Activity::NonEconomic,
        activity_reason: "category University".into(),
        cpus: 1,
        gpus: 4,
        gpus_by_model: BTreeMap::from([("a100".into(), 1), ("h100".into(), 2)]),
        start: at(FROM),
        end: at(TO),
        suspended_seconds: 0,
        state: "COMPLETED".into(),
    };
    let records = from_batch_run(&run);
    let gpus: Vec<_> = records
        .iter()
        .filter(|record| record.key.meter == Meter::ComputeGpuHours)
        .map(|record| (record.evidence.get(MODEL).map(String::as_str), record.quantity))
        .collect();
    assert_eq!(
        gpus,
        [(Some("a100"), 3_600), (Some("h100"), 7_200), (None, 3_600)]
    );
    let keys: std::collections::BTreeSet<_> = records.iter().map(|record| &record.key).collect();
    assert_eq!(keys.len(), records.len());
}

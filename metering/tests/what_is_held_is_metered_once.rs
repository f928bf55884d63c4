//! Pods and volumes: nobody reports when they are over. Each second that they were held is counted once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use jiff::{SignedDuration, Timestamp};
use mesocentre_api::Meter;
use mesocentre_metering::holding::*;
use mesocentre_metering::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::*;

const SOURCE: Source<'static> = Source {
    source: "platform",
    cluster: "kubernetes",
};

fn holding(milli: u64, bytes: u64) -> Holding {
    Holding {
        tenant: "univ-caen".to_owned(),
        allocation: None,
        activity: Activity::NonEconomic,
        activity_reason: "category University".to_owned(),
        amounts: BTreeMap::from([
            (Meter::ClusterCpuHours, milli),
            (Meter::ClusterMemoryGibHours, bytes),
        ]),
        evidence: BTreeMap::from([("pod".to_owned(), "univ-caen--web/nginx".to_owned())]),
    }
}

fn shown(id: &str, holding: Holding, from: &str, until: Option<&str>) -> Shown {
    Shown {
        id: id.to_owned(),
        holding,
        from: at(from),
        until: until.map(at),
    }
}

/// A look at this time; Paris' midnights cut.
fn moment(now: &str) -> Moment {
    let zone = DatacentreZone::named("Europe/Paris").unwrap();
    let now = at(now);
    Moment {
        now,
        cut: zone.start_of(zone.day_of(now)).unwrap(),
        tolerance: SignedDuration::from_mins(5),
    }
}

/// The look, and what is known after it.
fn looked(known: &mut Known, shown: Vec<Shown>, moment: Moment) -> Looked {
    let looked = look(SOURCE, known, shown, moment);
    for id in &looked.over {
        assert!(known.kept.remove(id).is_some());
    }
    known.kept.extend(looked.keep.clone());
    known.looked = Some(moment.now);
    looked
}

fn cpu(records: &[UsageRecord]) -> Vec<(String, String, i128)> {
    records
        .iter()
        .filter(|record| record.key.meter == Meter::ClusterCpuHours)
        .map(|record| (record.start.to_string(), record.end.to_string(), record.quantity))
        .collect()
}

#[test]
fn a_pod_over_midnight_is_cut_there_and_ends_when_it_ends() {
    let mut known = Known {
        looked: Some(at("2026-11-30T20:00:00Z")),
        ..Known::default()
    };
    let pod = |until| {
        vec![shown(
            "pod/1",
            holding(500, 1 << 30),
            "2026-11-30T20:00:10Z",
            until,
        )]
    };
    let evening = looked(&mut known, pod(None), moment("2026-11-30T20:01:00Z"));
    assert_eq!(evening.records, []);
    assert_eq!(
        evening.through,
        Some(at("2026-11-30T20:00:10Z")),
        "all until it began"
    );
    // Midnight in Paris is 23:00 in UTC.
    let night = looked(&mut known, pod(None), moment("2026-11-30T23:00:30Z"));
    assert_eq!(
        night.gap,
        Some((at("2026-11-30T20:01:00Z"), at("2026-11-30T23:00:30Z")))
    );
    assert_eq!(
        cpu(&night.records),
        [(
            "2026-11-30T20:00:10Z".to_owned(),
            "2026-11-30T23:00:00Z".to_owned(),
            500 * 10_790
        )]
    );
    assert_eq!(
        night.through,
        Some(at("2026-11-30T23:00:00Z")),
        "the month is whole"
    );
    let over = looked(
        &mut known,
        pod(Some("2026-11-30T23:01:00Z")),
        moment("2026-11-30T23:02:00Z"),
    );
    assert_eq!(
        cpu(&over.records),
        [(
            "2026-11-30T23:00:00Z".to_owned(),
            "2026-11-30T23:01:00Z".to_owned(),
            500 * 60
        )]
    );
    let memory: Vec<i128> = over
        .records
        .iter()
        .filter(|record| record.key.meter == Meter::ClusterMemoryGibHours)
        .map(|record| record.quantity)
        .collect();
    assert_eq!(memory, [60 << 30]);
    assert_eq!(
        (known.kept.len(), over.through),
        (0, Some(at("2026-11-30T23:02:00Z")))
    );
}

#[test]
fn what_was_there_before_anybody_looked_begins_now_and_what_came_in_a_gap_at_its_own_time() {
    let mut known = Known::default();
    let old = shown("pod/old", holding(1_000, 0), "2026-01-01T00:00:00Z", None);
    looked(&mut known, vec![old.clone()], moment("2026-11-10T10:00:00Z"));
    assert_eq!(known.kept["pod/old"].metered, at("2026-11-10T10:00:00Z"));
    let new = shown("pod/new", holding(1_000, 0), "2026-11-10T10:20:00Z", None);
    let after = looked(&mut known, vec![old, new], moment("2026-11-10T10:30:00Z"));
    assert_eq!(known.kept["pod/new"].metered, at("2026-11-10T10:20:00Z"));
    assert!(after.gap.is_some());
}

#[test]
fn a_look_within_a_second_makes_no_piece_of_one() {
    let mut known = Known {
        looked: Some(at("2026-11-10T10:00:00.7Z")),
        ..Known::default()
    };
    let pod = |until| vec![shown("pod/1", holding(1_000, 0), "2026-11-10T09:00:00Z", until)];
    looked(&mut known, pod(None), moment("2026-11-10T10:00:01.3Z"));
    let over = looked(
        &mut known,
        pod(Some("2026-11-10T10:00:05Z")),
        moment("2026-11-10T10:00:05.9Z"),
    );
    assert_eq!(
        cpu(&over.records),
        [(
            "2026-11-10T10:00:00Z".to_owned(),
            "2026-11-10T10:00:05Z".to_owned(),
            5_000
        )]
    );
}

#[test]
fn what_is_resized_is_billed_each_size_for_its_time() {
    let mut known = Known {
        looked: Some(at("2026-11-10T09:59:00Z")),
        ..Known::default()
    };
    let pod = |milli, until| vec![shown("pod/1", holding(milli, 0), "2026-11-10T10:00:00Z", until)];
    looked(&mut known, pod(500, None), moment("2026-11-10T10:01:00Z"));
    let resized = looked(&mut known, pod(2_000, None), moment("2026-11-10T10:02:00Z"));
    assert_eq!(
        cpu(&resized.records),
        [(
            "2026-11-10T10:00:00Z".to_owned(),
            "2026-11-10T10:02:00Z".to_owned(),
            500 * 120
        )]
    );
    let over = looked(
        &mut known,
        pod(2_000, Some("2026-11-10T10:02:30Z")),
        moment("2026-11-10T10:03:00Z"),
    );
    assert_eq!(
        cpu(&over.records),
        [(
            "2026-11-10T10:02:00Z".to_owned(),
            "2026-11-10T10:02:30Z".to_owned(),
            2_000 * 30
        )]
    );
}

#[test]
fn what_is_gone_at_a_look_counts_to_the_look_before_and_a_long_gap_is_said() {
    let mut known = Known {
        looked: Some(at("2026-11-10T09:59:00Z")),
        ..Known::default()
    };
    let pod = shown("pod/1", holding(1_000, 0), "2026-11-10T10:00:00Z", None);
    looked(&mut known, vec![pod], moment("2026-11-10T10:01:00Z"));
    let soon = look(SOURCE, &known, vec![], moment("2026-11-10T10:02:00Z"));
    assert_eq!(soon.gap, None);
    let late = looked(&mut known, vec![], moment("2026-11-10T11:00:00Z"));
    assert_eq!(cpu(&late.records), cpu(&soon.records));
    assert_eq!(
        cpu(&late.records),
        [(
            "2026-11-10T10:00:00Z".to_owned(),
            "2026-11-10T10:01:00Z".to_owned(),
            60_000
        )]
    );
    assert_eq!(
        late.gap,
        Some((at("2026-11-10T10:01:00Z"), at("2026-11-10T11:00:00Z")))
    );
}

#[tokio::test]
async fn a_look_is_taken_whole_and_a_gap_keeps_months_open_until_somebody_acknowledges_it() {
    let test = TestLedger::new().await;
    let ledger = &test.ledger;
    let pod = |until| {
        vec![shown(
            "pod/1",
            holding(1_000, 1 << 30),
            "2026-11-10T10:00:00Z",
            until,
        )]
    };
    let mut records = 0;
    for (until, now) in [
        (None, "2026-11-10T10:00:30Z"),
        (None, "2026-11-10T10:01:00Z"),
        (Some("2026-11-10T10:01:30Z"), "2026-11-10T10:02:00Z"),
    ] {
        let known = ledger.known_holdings(SOURCE).await.unwrap();
        let moment = moment(now);
        let looked = look(SOURCE, &known, pod(until), moment);
        // The process is killed before the answer, and looks again at what it then knows.
        let again = look(
            SOURCE,
            &ledger.known_holdings(SOURCE).await.unwrap(),
            pod(until),
            moment,
        );
        assert_eq!(again, looked);
        records += ledger.take_look(SOURCE, &looked, moment.now).await.unwrap().new;
    }
    // It was there when somebody first looked, at 10:00:30.
    assert_eq!(records, 2);
    let known = ledger.known_holdings(SOURCE).await.unwrap();
    assert_eq!(
        (known.kept.len(), known.looked),
        (0, Some(at("2026-11-10T10:02:00Z")))
    );
    let watermark = ledger.watermark("platform", "kubernetes").await.unwrap();
    assert_eq!(watermark, Some(at("2026-11-10T10:02:00Z")));
    assert_eq!(ledger.unsettled("platform", "kubernetes").await.unwrap(), []);

    let late = moment("2026-11-10T12:00:00Z");
    let looked = look(SOURCE, &known, vec![], late);
    ledger.take_look(SOURCE, &looked, late.now).await.unwrap();
    let gaps = ledger.unsettled("platform", "kubernetes").await.unwrap();
    assert_eq!(gaps.len(), 1);
    assert!(
        gaps[0].what.contains("10:02:00Z and 2026-11-10T12:00:00Z") && gaps[0].why.contains("nobody looked"),
        "{gaps:?}"
    );
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However looks fall, and whenever a look is lost before it was written: who is seen to end is billed to the second.
    #[test]
    fn every_second_held_is_counted_once(
        lives in prop::collection::vec((0_i64..200_000, 1_i64..200_000, 1_u64..4_000), 1..8),
        steps in prop::collection::vec((1_i64..3_000, any::<bool>()), 1..200),
    ) {
        let begin = at("2026-11-29T08:00:00Z");
        let after = |seconds: i64| begin + SignedDuration::from_secs(seconds);
        let mut known = Known { looked: Some(begin), ..Known::default() };
        let mut billed: BTreeMap<String, Vec<(Timestamp, Timestamp, i128)>> = BTreeMap::new();
        let mut told: Vec<bool> = vec![false; lives.len()];
        let mut now = 0;
        // A last step, when all is over.
        let steps = steps.into_iter().chain([(500_000, true)]);
        for (step, is_written) in steps {
            now += step;
            let mut shows = Vec::new();
            for (i, (start, length, milli)) in lives.iter().enumerate() {
                let over = start + length <= now;
                if *start <= now && !told[i] {
                    shows.push(Shown {
                        id: format!("pod/{i}"),
                        holding: holding(*milli, 0),
                        from: after(*start),
                        until: over.then(|| after(start + length)),
                    });
                }
            }
            let mut moment = moment(&after(now).to_string());
            moment.tolerance = SignedDuration::from_hours(1_000);
            if !is_written {
                let _ = look(SOURCE, &known, shows, moment);
                continue;
            }
            for one in &shows {
                let i: usize = one.id["pod/".len()..].parse().unwrap();
                told[i] = one.until.is_some();
            }
            for record in looked(&mut known, shows, moment).records {
                prop_assert_eq!(
                    record.quantity,
                    i128::from(record.end.duration_since(record.start).as_secs())
                        * i128::from(lives[record.key.native_key[4..5].parse::<usize>().unwrap()].2)
                );
                let id = record.key.native_key.split('@').next().unwrap().to_owned();
                billed.entry(id).or_default().push((record.start, record.end, record.quantity));
            }
        }
        prop_assert!(known.kept.is_empty());
        for (i, (start, length, milli)) in lives.iter().enumerate() {
            let pieces = &billed[&format!("pod/{i}")];
            // What began before a look that saw it began at its own time: pieces meet, from the first second to the last.
            prop_assert_eq!(pieces.first().unwrap().0, after(*start));
            prop_assert_eq!(pieces.last().unwrap().1, after(start + length));
            for pair in pieces.windows(2) {
                prop_assert_eq!(pair[0].1, pair[1].0);
            }
            let sum: i128 = pieces.iter().map(|(_, _, quantity)| quantity).sum();
            prop_assert_eq!(sum, i128::from(*length) * i128::from(*milli));
        }
    }
}

#[tokio::test]
async fn readings_of_a_counter_are_taken_once_in_whatever_batches_they_come() {
    use mesocentre_metering::counter::{CounterReading, Holder};
    use mesocentre_metering::ledger::TakenReading;
    let source = Source {
        source: "intake",
        cluster: "power-room-a",
    };
    let reading = |shows, hour: u32| CounterReading {
        counter: "rack-a3".to_owned(),
        meter: Meter::EnergyKwh,
        shows,
        at: at(&format!("2026-11-10T{hour:02}:00:00Z")),
        holder: Holder {
            tenant: "univ-caen".to_owned(),
            allocation: None,
            activity: Activity::NonEconomic,
            activity_reason: "category University".to_owned(),
            evidence: BTreeMap::new(),
        },
    };
    let now = at("2026-11-11T00:00:00Z");
    let test = TestLedger::new().await;
    let take = async |readings: &[CounterReading]| {
        let (taken, appended) = test.ledger.take_readings(source, readings, now).await.unwrap();
        (taken, appended.map_or(0, |appended| appended.new))
    };
    // Out of order within a batch; the second began anew.
    let first = [reading(2_250, 10), reading(1_000, 9), reading(40, 11)];
    assert_eq!(
        take(&first).await,
        (
            vec![TakenReading::Used, TakenReading::First, TakenReading::Used],
            2
        )
    );
    assert_eq!(take(&first).await.1, 0, "the same again is nothing");
    assert_eq!(take(&[reading(90, 12), reading(90, 13)]).await.1, 2);
    let (taken, new) = take(&[reading(91, 13)]).await;
    assert!(
        matches!(&taken[..], [TakenReading::Not { why }] if why.contains("showed 90")),
        "{taken:?}"
    );
    assert_eq!(new, 0);
    let mut used = Vec::new();
    let rows = test.ledger.for_each_row(i64::MAX, |row| {
        used.push((row.record.start.to_string(), row.record.quantity));
        Ok(())
    });
    rows.await.unwrap().unwrap();
    let expected = [(9, 1_250), (10, 40), (11, 50), (12, 0)];
    let expected =
        expected.map(|(hour, quantity)| (at(&format!("2026-11-10T{hour:02}:00:00Z")).to_string(), quantity));
    assert_eq!(used, expected);
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

//! A tenant in time: when it is warned, suspended, stopped and resumed, and that each is told once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

mod examples;

use examples::{Examples, date, noon};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use mesocentre_api::{SuspendedByAdministrator, SuspensionRules, Tenant, TenantStatus, find_condition};
use mesocentre_tenancy::convention::{self, CONVENTION_ENDING, DATA_KEPT, Now, SUSPENDED};
use proptest::prelude::*;

/// chu-rouen, whose convention runs from 2026-03-01 to 2027-02-28.
fn tenant() -> Tenant {
    Examples::read().tenant("chu-rouen").clone()
}

fn rules(grace: &str, retention_days: i32) -> SuspensionRules {
    SuspensionRules {
        grace_period: grace.parse().unwrap(),
        retention_days,
    }
}

fn at(instant: &str) -> Now {
    Now {
        instant: instant.parse().unwrap(),
        zone: TimeZone::get("Europe/Paris").unwrap(),
    }
}

/// Looks at the tenant as the operator does: its status follows, and what is told comes back.
fn look(tenant: &mut Tenant, rules: &SuspensionRules, now: &Now) -> Vec<String> {
    let before = tenant.status.clone().unwrap_or_default();
    let suspension = convention::suspension(tenant, rules, now);
    let mut status = before.clone();
    convention::report(tenant, suspension.as_ref(), now, &mut status);
    let news = convention::news(&before, &status);
    tenant.status = Some(status);
    news.into_iter().map(|news| news.reason).collect()
}

fn said(tenant: &Tenant, type_: &str) -> (String, String) {
    let status = tenant.status.clone().unwrap();
    let condition = find_condition(&status.conditions, type_).unwrap().clone();
    (
        format!("{:?} {}", condition.status, condition.reason),
        condition.message,
    )
}

#[test]
fn a_tenant_is_warned_60_30_and_7_days_ahead_then_suspended_stopped_and_at_last_free_to_go() {
    let mut tenant = tenant();
    let rules = rules("24h", 90);
    let mut told = Vec::new();
    let mut day = date(2026, 11, 1);
    while day < date(2027, 7, 1) {
        // Twice a day, as after a restart: nothing is told twice.
        for now in [noon(day), noon(day)] {
            for news in look(&mut tenant, &rules, &now) {
                told.push(format!("{day} {news}"));
            }
        }
        day = day.tomorrow().unwrap();
    }
    assert_eq!(
        told,
        [
            "2026-12-30 ConventionEndsWithin60Days",
            "2027-01-29 ConventionEndsWithin30Days",
            "2027-02-21 ConventionEndsWithin7Days",
            "2027-03-01 ConventionEnded",
            "2027-03-02 WorkStopped",
            "2027-05-30 RetentionOver",
        ]
    );
    // A new date lifts everything.
    tenant.spec.convention.valid_until = date(2030, 2, 28);
    assert_eq!(look(&mut tenant, &rules, &noon(day)), ["Resumed"]);
    let status = tenant.status.clone().unwrap();
    assert_eq!(status.suspended_since, None);
    assert_eq!(status.stops_at, None);
    assert_eq!(status.stopped_at, None);
    assert_eq!(status.data_kept_until, None);
    assert!(find_condition(&status.conditions, DATA_KEPT).is_none());
    assert_eq!(said(&tenant, SUSPENDED).0, "False NotSuspended");
    assert_eq!(said(&tenant, CONVENTION_ENDING).0, "False NotSoon");
}

#[test]
fn both_days_of_a_convention_belong_to_it_in_the_datacentres_zone() {
    let mut tenant = tenant();
    let rules = rules("24h", 90);
    // 2027-02-28 ends at 23:00 UTC in Paris.
    look(&mut tenant, &rules, &at("2027-02-28T22:59:59Z"));
    let (state, message) = said(&tenant, CONVENTION_ENDING);
    assert_eq!(state, "True Within7Days");
    assert!(
        message.contains("in 0 days (2027-02-28 is its last day)"),
        "{message}"
    );
    assert_eq!(said(&tenant, SUSPENDED).0, "False NotSuspended");
    look(&mut tenant, &rules, &at("2027-02-28T23:00:00Z"));
    let (state, message) = said(&tenant, SUSPENDED);
    assert_eq!(state, "True ConventionEnded");
    for part in [
        "the convention CONV-2026-014 of chu-rouen ended on 2027-02-28",
        "suspended since 2027-03-01 00:00 CET",
        "what runs is stopped at 2027-03-02 00:00 CET",
        "data are kept until 2027-05-30",
        "ask the administrators of the datacentre to renew the convention",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // The API server is told of that instant long before.
    let told = convention::nothing_new(&tenant, &at("2026-11-24T12:00:00Z")).unwrap();
    assert_eq!(told.from, Some("2027-02-28T23:00:00Z".parse().unwrap()));
    assert!(told.why.contains("ended on 2027-02-28"), "{}", told.why);
}

#[test]
fn an_administrators_suspension_is_the_same_mechanism_and_begins_at_once() {
    let mut tenant = tenant();
    let rules = rules("1h30m", 10);
    look(&mut tenant, &rules, &at("2026-11-24T12:00:00Z"));
    tenant.spec.suspended = Some(SuspendedByAdministrator {
        reason: "the invoice of October is not paid.".into(),
    });
    assert_eq!(
        look(&mut tenant, &rules, &at("2026-11-24T12:00:05.5Z")),
        ["SuspendedByAdministrator"]
    );
    let now = at("2026-11-24T12:00:05.5Z");
    let told = convention::nothing_new(&tenant, &now).unwrap();
    assert_eq!(told.from, None);
    assert_eq!(
        told.why,
        "the administrators of the datacentre suspended chu-rouen: the invoice of October is not paid; nothing new starts, and what is there can be read, fetched and deleted; ask the administrators of the datacentre to lift the suspension"
    );
    let suspension = convention::suspension(&tenant, &rules, &now).unwrap();
    assert_eq!(
        suspension.stops_at,
        "2026-11-24T13:30:05Z".parse::<Timestamp>().unwrap()
    );
    assert_eq!(
        convention::look_again_at(Some(&suspension)),
        Some(suspension.stops_at)
    );
    assert_eq!(suspension.data_kept_until, date(2026, 12, 4));
    assert!(
        suspension
            .retention_blocker()
            .unwrap()
            .contains("kept until 2026-12-04")
    );
    assert_eq!(
        look(&mut tenant, &rules, &at("2026-11-24T13:30:05Z")),
        ["WorkStopped"]
    );
    // A longer grace afterwards begins nothing again.
    let longer = self::rules("1000h", 10);
    assert!(
        convention::suspension(&tenant, &longer, &at("2026-11-24T13:31:00Z"))
            .unwrap()
            .work_stops
    );
    // Its convention ends meanwhile: both stand in the way, and both are said.
    let both = convention::suspension(&tenant, &rules, &noon(date(2027, 3, 1))).unwrap();
    assert!(
        both.sentence
            .contains("lift the suspension and to renew the convention"),
        "{}",
        both.sentence
    );
    assert_eq!(both.retention_blocker(), None);
}

#[test]
fn a_date_mistyped_into_the_past_stops_nobodys_work_at_once() {
    let mut tenant = tenant();
    let rules = rules("24h", 90);
    tenant.spec.convention.valid_until = date(2026, 3, 2);
    look(&mut tenant, &rules, &at("2026-11-24T12:00:00Z"));
    let status = tenant.status.clone().unwrap();
    assert_eq!(status.stops_at, Some("2026-11-25T12:00:00Z".parse().unwrap()));
    assert_eq!(status.stopped_at, None);
    assert_eq!(status.data_kept_until, Some(date(2027, 2, 22)));
}

#[test]
fn nothing_of_what_is_said_breaks_the_line_that_admission_needs() {
    let mut tenant = tenant();
    tenant.spec.convention.reference = "CONV\n2026'\"\\".into();
    let told = convention::nothing_new(&tenant, &noon(date(2026, 11, 24))).unwrap();
    assert!(!told.why.chars().any(char::is_control), "{}", told.why);
}

const ZONES: [&str; 4] = ["Europe/Paris", "UTC", "Pacific/Auckland", "America/Sao_Paulo"];

prop_compose! {
    /// Within two years of 2026-01-01, on any second.
    fn any_now()(zone in 0..ZONES.len(), seconds in 0_i64..2 * 365 * 86_400) -> Now {
        Now {
            instant: Timestamp::from_second(1_767_225_600 + seconds).unwrap(),
            zone: TimeZone::get(ZONES[zone]).unwrap(),
        }
    }
}

prop_compose! {
    fn any_day()(days in 0_i64..2 * 365) -> Date {
        date(2026, 1, 1).checked_add(days.days()).unwrap()
    }
}

proptest! {
    #[test]
    fn the_api_servers_clock_and_the_operators_day_say_the_same(now in any_now(), last_day in any_day()) {
        let mut tenant = tenant();
        tenant.spec.convention.valid_until = last_day;
        let told = convention::nothing_new(&tenant, &now).unwrap();
        let refused = told.from.is_none_or(|from| now.instant >= from);
        let suspended = convention::suspension(&tenant, &rules("24h", 90), &now).is_some();
        prop_assert_eq!(refused, suspended);
        prop_assert_eq!(suspended, convention::days_left(&tenant.spec.convention, now.today()) < 0);
    }

    #[test]
    fn another_look_at_the_same_instant_changes_nothing_and_tells_nothing(
        now in any_now(), last_day in any_day(), by_administrator in any::<bool>(), hours in 0_u32..100, days in 0..200,
    ) {
        let mut tenant = tenant();
        tenant.spec.convention.valid_until = last_day;
        tenant.spec.suspended = by_administrator.then(|| SuspendedByAdministrator { reason: "a reason".into() });
        let rules = rules(&format!("{hours}h"), days);
        look(&mut tenant, &rules, &now);
        let status: Option<TenantStatus> = tenant.status.clone();
        prop_assert_eq!(look(&mut tenant, &rules, &now), Vec::<String>::new());
        prop_assert_eq!(tenant.status, status);
    }

    #[test]
    fn as_time_goes_on_work_stops_after_the_suspension_and_data_go_after_their_retention(
        start in any_now(), last_day in any_day(), hours in proptest::collection::vec(1_i64..500, 1..30),
    ) {
        let mut tenant = tenant();
        tenant.spec.convention.valid_until = last_day;
        let rules = rules("24h", 30);
        let mut now = start;
        let mut told = Vec::new();
        for step in hours {
            told.extend(look(&mut tenant, &rules, &now));
            now.instant += jiff::SignedDuration::from_hours(step);
        }
        // Steps may be passed over, none comes twice, and none before the one that it follows.
        let order = [
            "ConventionEndsWithin60Days", "ConventionEndsWithin30Days", "ConventionEndsWithin7Days",
            "ConventionEnded", "WorkStopped", "RetentionOver",
        ];
        let places: Vec<usize> = told.iter().map(|news| order.iter().position(|o| o == news).unwrap()).collect();
        prop_assert!(places.windows(2).all(|two| two[0] < two[1]), "{:?}", told);
    }
}

//! A tenant in time: warned before its convention ends, suspended after it or by an administrator, resumed by a new
//! date. What that means at an instant, what its status says of it, and what is told once.
//!
//! ```text
//!  60 d   30 d    7 d   last day  midnight        grace            retention
//!  ──┴──────┴──────┴───────┴─────────┼───────────────┼─────────────────┼──▶
//!    ConventionEnding                │ Suspended: nothing new starts   │ data may be deleted (by people)
//!                                    │               │ what runs is stopped
//! ```
//!
//! Days are those of the datacentre's zone, and both days of a convention belong to it. The date holds without the
//! operator: it stands in PerimeterRules, and the API server compares it with its own clock. The grace and the retention
//! begin when the operator sees the suspension: a date mistyped into the past stops nobody's work at once.
//!
//! What is remembered between two looks is in the tenant's status: since when, and whether work was stopped.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use mesocentre_api::{
    Condition, ConditionStatus, Convention, RulesSuspension, SuspensionRules, Tenant, TenantStatus,
    find_condition, set_condition,
};

/// The condition that says whether a tenant is suspended.
pub const SUSPENDED: &str = "Suspended";
/// The condition that says whether its convention ends within 60 days.
pub const CONVENTION_ENDING: &str = "ConventionEnding";
/// The condition of a suspended tenant that says whether its data are still kept.
pub const DATA_KEPT: &str = "DataKept";

/// The name of the one pod by which data are fetched from a suspended tenant's workspace. Admission takes it only then,
/// and only in a form that ends by itself.
pub const RETRIEVAL_POD: &str = "retrieval";

/// An instant, and the zone in which it is some day.
#[derive(Clone, Debug)]
pub struct Now {
    /// The instant.
    pub instant: Timestamp,
    /// The datacentre's zone.
    pub zone: TimeZone,
}

impl Now {
    /// The civil day.
    pub fn today(&self) -> Date {
        self.day_of(self.instant)
    }

    /// The first instant of another day; none at the end of the calendar.
    pub fn on(&self, day: Date) -> Option<Self> {
        Some(Self {
            instant: self.start_of(day)?,
            zone: self.zone.clone(),
        })
    }

    fn day_of(&self, instant: Timestamp) -> Date {
        self.zone.to_datetime(instant).date()
    }

    /// The first instant of a day; none at the end of the calendar.
    fn start_of(&self, day: Date) -> Option<Timestamp> {
        let midnight = day.to_zoned(self.zone.clone()).ok()?;
        Some(midnight.start_of_day().ok()?.timestamp())
    }

    fn written(&self, instant: Timestamp) -> String {
        instant
            .to_zoned(self.zone.clone())
            .strftime("%Y-%m-%d %H:%M %Z")
            .to_string()
    }
}

/// How near the end of a convention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// 60 to 31 days.
    Within60Days,
    /// 30 to 8 days.
    Within30Days,
    /// 7 days or fewer.
    Within7Days,
}

impl Step {
    fn of(days_left: i32) -> Option<Self> {
        match days_left {
            0..=7 => Some(Self::Within7Days),
            8..=30 => Some(Self::Within30Days),
            31..=60 => Some(Self::Within60Days),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Within60Days => "Within60Days",
            Self::Within30Days => "Within30Days",
            Self::Within7Days => "Within7Days",
        }
    }
}

/// Days from today to a convention's last day: 0 on it, negative after it.
pub fn days_left(convention: &Convention, today: Date) -> i32 {
    (convention.valid_until - today).get_days()
}

/// Why a tenant is suspended; at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Causes {
    /// Its convention ended: the reference, and the last day.
    pub ended: Option<(String, Date)>,
    /// An administrator suspended it, for this reason.
    pub by_administrator: Option<String>,
}

impl Causes {
    fn reason(&self) -> &'static str {
        if self.by_administrator.is_some() {
            "SuspendedByAdministrator"
        } else {
            "ConventionEnded"
        }
    }

    /// What has happened, and the way out: on one line, as admission needs it.
    fn sentence(&self, tenant: &str) -> String {
        let mut why = Vec::new();
        let mut way_out = Vec::new();
        if let Some(reason) = &self.by_administrator {
            why.push(format!(
                "the administrators of the datacentre suspended {tenant}: {}",
                reason.trim_end_matches('.')
            ));
            way_out.push("lift the suspension");
        }
        if let Some((reference, last_day)) = &self.ended {
            why.push(format!(
                "the convention {reference} of {tenant} ended on {last_day}"
            ));
            way_out.push("renew the convention");
        }
        let sentence = format!(
            "{}; nothing new starts, and what is there can be read, fetched and deleted; ask the administrators of the datacentre to {}",
            why.join(", and "),
            way_out.join(" and to ")
        );
        sentence
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }
}

/// A tenant that is suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Why.
    pub causes: Causes,
    /// Since when, as it was seen.
    pub since: Timestamp,
    /// When what runs is stopped.
    pub stops_at: Timestamp,
    /// Whether that instant has come.
    pub work_stops: bool,
    /// The first day on which its data may be deleted.
    pub data_kept_until: Date,
    /// Whether that day is still to come.
    pub data_kept: bool,
    /// Why, what is possible, and the way out: one line.
    pub sentence: String,
}

impl Suspension {
    /// The condition's reason: one CamelCase word.
    pub fn reason(&self) -> &'static str {
        self.causes.reason()
    }

    /// Why its data cannot be deleted with it now.
    pub fn retention_blocker(&self) -> Option<String> {
        self.data_kept.then(|| {
            format!(
                "its data are kept until {}, since the tenant is suspended and may come back: wait until then",
                self.data_kept_until
            )
        })
    }
}

/// What is so of a tenant because of the day, or because an administrator said so; none: it is not suspended.
pub fn suspension(tenant: &Tenant, rules: &SuspensionRules, now: &Now) -> Option<Suspension> {
    let convention = &tenant.spec.convention;
    let causes = Causes {
        ended: (now.today() > convention.valid_until)
            .then(|| (convention.reference.clone(), convention.valid_until)),
        by_administrator: tenant.spec.suspended.as_ref().map(|s| s.reason.clone()),
    };
    if causes.ended.is_none() && causes.by_administrator.is_none() {
        return None;
    }
    let status = tenant.status.as_ref();
    // Conditions and fields keep times in whole seconds.
    let whole_seconds = Timestamp::from_second(now.instant.as_second()).unwrap_or(now.instant);
    let since = status.and_then(|s| s.suspended_since).unwrap_or(whole_seconds);
    let grace = SignedDuration::try_from(std::time::Duration::from(rules.grace_period))
        .unwrap_or(SignedDuration::MAX);
    let stops_at = since.saturating_add(grace).unwrap_or(Timestamp::MAX);
    let data_kept_until = now
        .day_of(since)
        .saturating_add(i64::from(rules.retention_days.max(0)).days());
    Some(Suspension {
        sentence: causes.sentence(tenant.metadata.name.as_deref().unwrap_or("")),
        causes,
        since,
        stops_at,
        // What was stopped does not begin again because the grace is made longer.
        work_stops: now.instant >= stops_at || status.is_some_and(|s| s.stopped_at.is_some()),
        data_kept_until,
        data_kept: now.today() < data_kept_until,
    })
}

/// From when on nothing new starts in a tenant's namespaces, as the API server is told beforehand: the first instant
/// after its convention; at once when an administrator suspended it.
pub fn nothing_new(tenant: &Tenant, now: &Now) -> Option<RulesSuspension> {
    let convention = &tenant.spec.convention;
    let by_administrator = tenant.spec.suspended.as_ref().map(|s| s.reason.clone());
    let ended = (by_administrator.is_none() || now.today() > convention.valid_until)
        .then(|| (convention.reference.clone(), convention.valid_until));
    let from = match by_administrator {
        Some(_) => None,
        // A convention that ends with the calendar does not end.
        None => Some(now.start_of(convention.valid_until.tomorrow().ok()?)?),
    };
    let causes = Causes {
        ended,
        by_administrator,
    };
    Some(RulesSuspension {
        from,
        why: causes.sentence(tenant.metadata.name.as_deref().unwrap_or("")),
    })
}

/// When a tenant is to be looked at again, beside each midnight: when its work is to be stopped.
pub fn look_again_at(suspension: Option<&Suspension>) -> Option<Timestamp> {
    suspension.filter(|s| !s.work_stops).map(|s| s.stops_at)
}

/// Writes into a tenant's status what is so in time.
pub fn report(tenant: &Tenant, suspension: Option<&Suspension>, now: &Now, status: &mut TenantStatus) {
    let convention = &tenant.spec.convention;
    let generation = tenant.metadata.generation;
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        set_condition(
            &mut status.conditions,
            type_,
            ConditionStatus::from(holds),
            reason,
            message,
            generation,
            now.instant,
        );
    };
    let (reference, last_day) = (&convention.reference, convention.valid_until);
    let days = days_left(convention, now.today());
    match Step::of(days) {
        Some(step) => set(
            CONVENTION_ENDING,
            true,
            step.as_str(),
            &format!(
                "the convention {reference} ends in {} ({last_day} is its last day), and the tenant is suspended then: sign the next one and write its reference and dates into spec.convention",
                if days == 1 {
                    "1 day".to_owned()
                } else {
                    format!("{days} days")
                }
            ),
        ),
        None if days < 0 => set(
            CONVENTION_ENDING,
            false,
            "Ended",
            &format!("the convention {reference} ended on {last_day}"),
        ),
        None => set(
            CONVENTION_ENDING,
            false,
            "NotSoon",
            &format!("the convention {reference} runs until {last_day}"),
        ),
    }
    let Some(suspension) = suspension else {
        set(SUSPENDED, false, "NotSuspended", "it may start new work");
        status.conditions.retain(|c| c.type_ != DATA_KEPT);
        status.suspended_since = None;
        status.stops_at = None;
        status.stopped_at = None;
        status.data_kept_until = None;
        return;
    };
    set(SUSPENDED, true, suspension.reason(), &in_full(suspension, now));
    if suspension.data_kept {
        set(
            DATA_KEPT,
            true,
            "Retained",
            &format!(
                "its volumes and objects are kept until {}",
                suspension.data_kept_until
            ),
        );
    } else {
        set(
            DATA_KEPT,
            false,
            "RetentionOver",
            &format!(
                "its data were kept until {} and may be deleted now: delete the Tenant once the institution has what it needs; nothing is deleted by itself",
                suspension.data_kept_until
            ),
        );
    }
    status.suspended_since = Some(suspension.since);
    status.stops_at = Some(suspension.stops_at);
    if suspension.work_stops && status.stopped_at.is_none() {
        status.stopped_at = Timestamp::from_second(now.instant.as_second()).ok();
    }
    status.data_kept_until = Some(suspension.data_kept_until);
}

/// The sentence of a suspended tenant's conditions.
pub fn in_full(suspension: &Suspension, now: &Now) -> String {
    format!(
        "{} (suspended since {}; what runs {} at {}; data are kept until {})",
        suspension.sentence,
        now.written(suspension.since),
        if suspension.work_stops {
            "was stopped"
        } else {
            "is stopped"
        },
        now.written(suspension.stops_at),
        suspension.data_kept_until,
    )
}

/// Something that whoever watches a tenant is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether it is a warning.
    pub warns: bool,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

/// What is to be told of a change from one status to the next. What was told stands in the status, so neither another
/// look nor a restart tells it again.
pub fn news(before: &TenantStatus, now: &TenantStatus) -> Vec<News> {
    let of = |status: &TenantStatus, type_: &str| -> Option<Condition> {
        find_condition(&status.conditions, type_).cloned()
    };
    let holds = |condition: &Option<Condition>| {
        condition
            .as_ref()
            .is_some_and(|c| c.status == ConditionStatus::True)
    };
    let said = |condition: Option<Condition>| condition.map(|c| (c.status, c.reason, c.message));
    let mut news = Vec::new();
    let mut tell = |warns: bool, reason: String, note: String| {
        news.push(News { warns, reason, note });
    };
    // A reason that changed is another step, or another cause.
    for type_ in [CONVENTION_ENDING, SUSPENDED] {
        let (was, is) = (of(before, type_), of(now, type_));
        if holds(&is)
            && was.as_ref().map(|c| (c.status, c.reason.as_str()))
                != is.as_ref().map(|c| (c.status, c.reason.as_str()))
            && let Some((_, reason, message)) = said(is)
        {
            let reason = if type_ == CONVENTION_ENDING {
                format!("ConventionEnds{reason}")
            } else {
                reason
            };
            tell(true, reason, message);
        }
    }
    if before.stopped_at.is_none() && now.stopped_at.is_some() {
        tell(
            true,
            "WorkStopped".into(),
            "the grace is over: pods are deleted and batch jobs cancelled; data, objects and hours granted stay".into(),
        );
    }
    let over =
        |status: &TenantStatus| of(status, DATA_KEPT).is_some_and(|c| c.status == ConditionStatus::False);
    if !over(before)
        && over(now)
        && let Some((_, reason, message)) = said(of(now, DATA_KEPT))
    {
        tell(true, reason, message);
    }
    if holds(&of(before, SUSPENDED)) && !holds(&of(now, SUSPENDED)) {
        tell(
            false,
            "Resumed".into(),
            "the tenant is suspended no more: pods come back with what makes them, and batch jobs are taken again".into(),
        );
    }
    news
}

//! CloudEvents 1.0 in JSON, one or a batch (<https://github.com/cloudevents/spec>, JSON event format, sections 3 and 4), as
//! use and as what a source says of itself. Pure.

use jiff::Timestamp;
use mesocentre_api::Meter;
use mesocentre_metering::counter::{CounterReading, Holder};
use mesocentre_metering::{Activity, RecordKey, UsageRecord, base_unit, parse_meter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

const USAGE: &str = "io.mesocentre.usage.v1";
const READING: &str = "io.mesocentre.reading.v1";
const REPORTED: &str = "io.mesocentre.reported.v1";
/// The most events of one request.
const MOST_EVENTS: usize = 10_000;
/// The longest name of a counter.
const MOST_OF_A_NAME: usize = 150;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One event.
    One,
    /// A list of events.
    Batch,
}

/// The events of a request, all of one source.
#[derive(Debug, PartialEq)]
pub struct Body {
    /// Who measures.
    pub source: String,
    /// Each event by its id, or what is wrong with it.
    pub events: Vec<(String, Result<Event, String>)>,
}

/// What an event says.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Something was used.
    Usage(Usage),
    /// A counter shows something.
    Reading(Reading),
    /// A source has said all.
    Reported(Reported),
}

/// Something was used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Usage {
    /// Whose use it is.
    pub tenant: String,
    /// Of which allocation; of none, when absent.
    #[serde(default)]
    pub allocation: Option<String>,
    meter: String,
    quantity: String,
    unit: String,
    start: Timestamp,
    /// When it was over.
    pub end: Timestamp,
    #[serde(default)]
    revision: u32,
    #[serde(default)]
    evidence: BTreeMap<String, String>,
}

/// What a counter shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reading {
    /// Whose it is.
    pub tenant: String,
    /// Of which allocation its use is; of none, when absent.
    #[serde(default)]
    pub allocation: Option<String>,
    counter: String,
    meter: String,
    reading: String,
    unit: String,
    /// When it was read.
    pub at: Timestamp,
    #[serde(default)]
    evidence: BTreeMap<String, String>,
}

/// Up to when a source has reported everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reported {
    /// Up to when.
    pub through: Timestamp,
    /// There is nothing more to come, ever: no month waits for it any more.
    #[serde(default)]
    last: bool,
}

impl Reported {
    /// For the ledger.
    pub fn instant(&self) -> Timestamp {
        if self.last {
            // What nanoseconds in 64 bits hold: no month is later.
            Timestamp::from_nanosecond(i128::from(i64::MAX)).unwrap_or(self.through)
        } else {
            self.through
        }
    }

    /// Whether it says more.
    pub fn is_after(&self, other: &Self) -> bool {
        self.instant() >= other.instant()
    }
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The event's id.
    pub id: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    /// It is in the ledger, now or since it was sent before.
    InLedger,
    /// What a source says of itself is written down.
    Noted,
    /// It is set aside: what it says cannot be billed, or is known otherwise.
    Quarantined {
        /// Why.
        why: String,
    },
    /// It was not taken at all.
    Refused {
        /// What to write instead.
        why: String,
    },
}

impl Outcome {
    /// Whether what it says is not in the ledger.
    pub fn is_not_taken(&self) -> bool {
        matches!(self, Self::Quarantined { .. } | Self::Refused { .. })
    }
}

#[derive(Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Option<Value>,
}

impl Body {
    /// By the content type of a request.
    pub fn form(content_type: &str) -> Result<Form, String> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/cloudevents+json" => Ok(Form::One),
            "application/cloudevents-batch+json" => Ok(Form::Batch),
            _ => Err(
                "the content type is neither application/cloudevents+json (one event) nor application/cloudevents-batch+json (a list of them)"
                    .to_owned(),
            ),
        }
    }

    /// Reads a request. One malformed event does not keep the others from being taken.
    pub fn read(form: Form, bytes: &[u8]) -> Result<Self, String> {
        let body: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("the body is no JSON: {error}"))?;
        let values = match (form, body) {
            (Form::One, value) => vec![value],
            (Form::Batch, Value::Array(values)) => values,
            (Form::Batch, _) => return Err("the body is no list of events".to_owned()),
        };
        if values.len() > MOST_EVENTS {
            return Err(format!(
                "{} events are more than the {MOST_EVENTS} of one request: send fewer at a time",
                values.len()
            ));
        }
        let mut source: Option<String> = None;
        let mut events = Vec::with_capacity(values.len());
        for (place, value) in values.into_iter().enumerate() {
            let id = value["id"].as_str().unwrap_or_default().to_owned();
            let event: CloudEvent = match serde_json::from_value(value) {
                Ok(event) => event,
                Err(error) => {
                    let id = if id.is_empty() {
                        format!("number {place}")
                    } else {
                        id
                    };
                    events.push((id, Err(format!("it is no CloudEvent: {error}"))));
                    continue;
                }
            };
            let theirs = source.get_or_insert_with(|| event.source.clone());
            if *theirs != event.source {
                return Err(format!(
                    "the events are of several sources, {theirs} and {}: send those of each by themselves",
                    event.source
                ));
            }
            let id = event.id.clone();
            events.push((id, read(event)));
        }
        let source = source.ok_or("the request holds no CloudEvent with a source")?;
        let is_a_name = !source.is_empty()
            && source.len() <= 63
            && source
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
            && !source.starts_with(['.', '-'])
            && !source.ends_with(['.', '-']);
        if !is_a_name {
            return Err(format!(
                "{source:?} is no source: write a name of lower-case letters, digits, - and ., as power-room-a"
            ));
        }
        Ok(Self { source, events })
    }
}

fn read(event: CloudEvent) -> Result<Event, String> {
    if event.specversion != "1.0" {
        return Err(format!("its specversion is {:?}: write 1.0", event.specversion));
    }
    let data = event
        .data
        .ok_or("it has no data, as JSON: data_base64 is not read")?;
    let wrong = |error: serde_json::Error| format!("its data: {error}");
    match event.kind.as_str() {
        USAGE => serde_json::from_value(data).map(Event::Usage).map_err(wrong),
        READING => serde_json::from_value(data).map(Event::Reading).map_err(wrong),
        REPORTED => serde_json::from_value(data).map(Event::Reported).map_err(wrong),
        other => Err(format!(
            "its type is {other:?}: write {USAGE}, {READING} or {REPORTED}"
        )),
    }
}

/// The meter of this name, where the unit is its base unit.
fn counted_in(name: &str, written: &str) -> Result<(Meter, &'static str), String> {
    let meter = parse_meter(name).ok_or_else(|| {
        let known: Vec<&str> = Meter::ALL.iter().map(|meter| meter.as_str()).collect();
        format!("no meter is called {name:?}: write one of {}", known.join(", "))
    })?;
    let unit = base_unit(meter);
    if written == unit {
        Ok((meter, unit))
    } else {
        Err(format!(
            "{name} is counted in {unit}, and it says {written:?}: convert it, and write unit: {unit}"
        ))
    }
}

impl Reading {
    /// For the ledger; else what is wrong.
    pub fn into_counters(
        self,
        (activity, activity_reason): (Activity, String),
    ) -> Result<CounterReading, String> {
        let (meter, unit) = counted_in(&self.meter, &self.unit)?;
        let fits = !self.counter.is_empty()
            && self.counter.len() <= MOST_OF_A_NAME
            && !self.counter.chars().any(char::is_control);
        if !fits {
            return Err(format!(
                "its counter is {:?}: write a name of at most {MOST_OF_A_NAME} bytes, without control characters",
                self.counter
            ));
        }
        let shows = self.reading.parse().map_err(|_| {
            format!(
                "its reading is {:?}: write what the counter shows, a whole number of {unit}, as a string",
                self.reading
            )
        })?;
        Ok(CounterReading {
            counter: self.counter,
            meter,
            shows,
            at: self.at,
            holder: Holder {
                tenant: self.tenant,
                allocation: self.allocation,
                activity,
                activity_reason,
                evidence: self.evidence,
            },
        })
    }
}

impl Usage {
    /// As a record; else what is wrong.
    pub fn into_record(
        self,
        (source, cluster): (&str, &str),
        id: &str,
        (activity, activity_reason): (Activity, String),
    ) -> Result<UsageRecord, String> {
        let (meter, unit) = counted_in(&self.meter, &self.unit)?;
        let quantity = self.quantity.parse().map_err(|_| {
            format!(
                "its quantity is {:?}: write a whole number of {unit}, as a string",
                self.quantity
            )
        })?;
        Ok(UsageRecord {
            key: RecordKey {
                source: source.to_owned(),
                cluster: cluster.to_owned(),
                native_key: id.to_owned(),
                meter,
                revision: self.revision,
            },
            tenant: self.tenant,
            allocation: self.allocation,
            user: None,
            activity,
            activity_reason,
            quantity,
            start: self.start,
            end: self.end,
            evidence: self.evidence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usage(id: &str) -> Value {
        json!({
            "specversion": "1.0", "id": id, "source": "power-room-a", "type": USAGE, "time": "2026-11-28T10:00:05Z",
            "datacontenttype": "application/json", "subject": "rack-3",
            "data": {"tenant": "chu-rouen", "meter": "energy.kwh", "quantity": "1250", "unit": "watt_hours",
                "start": "2026-11-28T09:00:00Z", "end": "2026-11-28T10:00:00Z", "evidence": {"rack": "A3"}},
        })
    }

    fn batch(events: &[Value]) -> Result<Body, String> {
        Body::read(Form::Batch, json!(events).to_string().as_bytes())
    }

    fn of(event: Value) -> Result<UsageRecord, String> {
        let mut body = Body::read(Form::One, event.to_string().as_bytes()).unwrap();
        match body.events.pop().unwrap().1? {
            Event::Usage(usage) => usage.into_record(
                ("intake", "power-room-a"),
                "1",
                (Activity::NonEconomic, "because".into()),
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_event_of_use_is_a_record() {
        let record = of(usage("1")).unwrap();
        assert_eq!(
            record.key.to_string(),
            "intake/power-room-a/1 energy.kwh revision 0"
        );
        assert_eq!((record.quantity, record.tenant.as_str()), (1_250, "chu-rouen"));
        assert_eq!(record.evidence["rack"], "A3");
    }

    #[test]
    fn what_is_wrong_with_an_event_is_said_and_the_others_are_taken() {
        let mut other_version = usage("2");
        other_version["specversion"] = json!("0.3");
        let mut unknown_field = usage("3");
        unknown_field["data"]["amount"] = json!("1");
        let body = batch(&[
            usage("1"),
            other_version,
            unknown_field,
            json!({"id": "4"}),
            json!(5),
        ])
        .unwrap();
        assert_eq!(body.source, "power-room-a");
        let wrong: Vec<(&str, &str)> = body
            .events
            .iter()
            .map(|(id, event)| (id.as_str(), event.as_ref().err().map_or("", String::as_str)))
            .collect();
        assert_eq!(wrong[0], ("1", ""));
        assert!(wrong[1].1.contains("write 1.0"), "{wrong:?}");
        assert!(wrong[2].1.contains("amount"), "{wrong:?}");
        assert_eq!((wrong[3].0, wrong[4].0), ("4", "number 4"));
        let say = |change: fn(&mut Value), word: &str| {
            let mut event = usage("1");
            change(&mut event["data"]);
            let why = of(event).unwrap_err();
            assert!(why.contains(word), "{why}");
        };
        say(|data| data["meter"] = json!("energy.joules"), "write one of");
        say(|data| data["unit"] = json!("kwh"), "write unit: watt_hours");
        say(
            |data| data["quantity"] = json!("1.25"),
            "a whole number of watt_hours",
        );
        say(|data| data["quantity"] = json!(1_250), "string");
        say(|data| data["end"] = json!("yesterday"), "its data");
    }

    #[test]
    fn a_request_is_of_one_source_and_of_a_form_that_is_known() {
        let mut another = usage("2");
        another["source"] = json!("power-room-b");
        assert!(
            batch(&[usage("1"), another])
                .unwrap_err()
                .contains("several sources")
        );
        let mut path = usage("1");
        path["source"] = json!("../../etc");
        assert!(batch(&[path]).unwrap_err().contains("no source"));
        assert!(batch(&[]).unwrap_err().contains("no CloudEvent"));
        assert!(Body::read(Form::Batch, b"{}").unwrap_err().contains("no list"));
        assert!(Body::read(Form::One, b"<xml/>").unwrap_err().contains("no JSON"));
        assert_eq!(
            Body::form("application/cloudevents-batch+json; charset=UTF-8"),
            Ok(Form::Batch)
        );
        assert!(Body::form("application/json").is_err());
    }

    #[test]
    fn a_source_says_up_to_when_it_has_said_all() {
        let event = json!({"specversion": "1.0", "id": "9", "source": "power-room-a", "type": REPORTED,
            "data": {"through": "2026-12-01T00:00:00Z"}});
        let body = Body::read(Form::One, event.to_string().as_bytes()).unwrap();
        let Ok(Event::Reported(reported)) = body.events[0].1 else {
            panic!("{body:?}");
        };
        assert_eq!(reported.instant().to_string(), "2026-12-01T00:00:00Z");
        let last = Reported {
            last: true,
            ..reported
        };
        assert!(last.is_after(&reported) && !reported.is_after(&last));
    }
}

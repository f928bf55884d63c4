//! Use that others measure: power meters, storage arrays, racks. As CloudEvents over HTTPS, in batches, into the ledger.
//!
//! ```text
//!  POST /v1/usage, bearer token ─► who is it? (TokenReview) ─► may they report as this source? (SubjectAccessReview)
//!      ─► events ─► usage records ─► ledger: each once ─► what became of each, in the answer
//! ```
//!
//! Nothing here knows who may: the API server does, by its own roles. What is taken is on the disk before the answer, and
//! the same events again change nothing, so a sender that heard no answer sends them again.

mod access;
mod event;

use crate::Context;
use crate::billing;
use crate::tls::{Door, TlsListener};
use crate::watch::key;
use access::Access;
use anyhow::Context as _;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use event::{Body as Events, Event, Outcome, Reading, Reported, Told, Usage};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use mesocentre_api::judged_by_category;
use mesocentre_metering::counter::CounterReading;
use mesocentre_metering::holding::Source;
use mesocentre_metering::ledger::TakenReading;
use mesocentre_metering::{Activity, Appended, UsageRecord};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What reports it, in the ledger; the cluster is the name of the sender's source.
pub const SOURCE: &str = "intake";

/// The most that one request may hold.
const MOST_BYTES: usize = 8 << 20;
/// The most that is read of one that holds more.
const MOST_DROPPED: usize = 64 << 20;
/// How long one may take, with all that is asked of the API server and the ledger.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many are worked on at a time: each holds its body.
const AT_A_TIME: usize = 8;
/// What was read before is of a clock that stands: 2000-01-01.
const EARLIEST: Timestamp = Timestamp::constant(946_684_800, 0);
/// How far a sender's clock may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Where it is served.
#[derive(clap::Args, Clone, Debug)]
pub struct IntakeSettings {
    /// Address at which use that others measure is taken, over TLS [default: none, it is not taken]
    #[arg(
        long = "intake-listen",
        env = "MESO_INTAKE_LISTEN",
        value_name = "ADDRESS",
        requires_all = ["intake_certificate", "intake_key"]
    )]
    pub listen: Option<SocketAddr>,
    /// Its certificate (PEM); read anew when it changes
    #[arg(
        long = "intake-tls-cert",
        id = "intake_certificate",
        env = "MESO_INTAKE_TLS_CERT",
        value_name = "FILE"
    )]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(
        long = "intake-tls-key",
        id = "intake_key",
        env = "MESO_INTAKE_TLS_KEY",
        value_name = "FILE"
    )]
    pub key: Option<PathBuf>,
}

struct Served {
    context: Arc<Context>,
    places: Semaphore,
}

/// Serves until the process ends; nothing where no address is given.
///
/// # Errors
/// When it cannot begin.
pub async fn serve(
    context: Arc<Context>,
    settings: &IntakeSettings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let (Some(listen), Some(certificate), Some(key)) = (
        settings.listen,
        settings.certificate.clone(),
        settings.key.clone(),
    ) else {
        return Ok(());
    };
    let door = Door::for_all(&certificate, &key)?;
    let listener = TlsListener::bind(listen, door)
        .await
        .with_context(|| format!("listening on {listen}, for use that others measure"))?;
    listener.keep_fresh(move || {
        let door = Door::for_all(&certificate, &key);
        async move { door }
    });
    let served = Arc::new(Served {
        context,
        places: Semaphore::new(AT_A_TIME),
    });
    let router = Router::new().route("/v1/usage", post(usage)).with_state(served);
    tracing::info!(address = %listen, "takes use that others measure");
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
        .context("serving the intake of use")
}

/// Why a request is not taken as a whole. Nothing of it is in the ledger then.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"message": self.message}))).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                header::HeaderValue::from_static("Bearer"),
            );
        }
        response
    }
}

async fn usage(State(served): State<Arc<Served>>, request: Request<Body>) -> Response {
    let Ok(_place) = served.places.try_acquire() else {
        return Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many reports are being taken at this moment: send it again in a few seconds",
        )
        .into_response();
    };
    let taken = tokio::time::timeout(PATIENCE, take(&served.context, request)).await;
    let answer = taken.unwrap_or_else(|_| {
        Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "it was not taken in time: send it again; what is in the ledger already stays once",
        ))
    });
    match answer {
        Ok(told) => Json(json!({ "events": told })).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn take(context: &Context, request: Request<Body>) -> Result<Vec<Told>, Refusal> {
    let (head, body) = request.into_parts();
    // Who sends is known before what they send is read.
    let access = Access::of(&context.client, &head.headers).await?;
    let kind = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let form = Events::form(kind).map_err(|why| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))?;
    let bytes = whole(body).await?;
    let events = Events::read(form, &bytes).map_err(|why| Refusal::new(StatusCode::BAD_REQUEST, why))?;
    access.may_report_as(&context.client, &events.source).await?;
    into_the_ledger(context, events, Timestamp::now()).await
}

/// The body, where it is not too large. What is too large is read a while and dropped: who is still sending hears no answer.
async fn whole(body: Body) -> Result<Vec<u8>, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the request was cut"))?;
        length = length.saturating_add(piece.len());
        if length <= MOST_BYTES {
            bytes.extend_from_slice(&piece);
        } else {
            bytes = Vec::new();
        }
        if length > MOST_DROPPED {
            break;
        }
    }
    if length > MOST_BYTES {
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the request holds more than {} MiB: send fewer events at a time",
                MOST_BYTES >> 20
            ),
        ));
    }
    Ok(bytes)
}

async fn into_the_ledger(context: &Context, events: Events, now: Timestamp) -> Result<Vec<Told>, Refusal> {
    let Events { source, events } = events;
    let mut told: Vec<Told> = Vec::with_capacity(events.len());
    let mut records: Vec<UsageRecord> = Vec::new();
    // Whose event each record is, by its place in the answer.
    let mut places: Vec<usize> = Vec::new();
    let mut readings: Vec<CounterReading> = Vec::new();
    let mut places_of_readings: Vec<usize> = Vec::new();
    let mut through: Option<Reported> = None;
    // The events that say so.
    let mut whole: BTreeSet<String> = BTreeSet::new();
    for (id, event) in events {
        let outcome = match event {
            Err(why) => Outcome::Refused { why },
            Ok(Event::Usage(usage)) => match record(context, &source, &id, usage, now) {
                Ok(record) => {
                    records.push(record);
                    places.push(told.len());
                    Outcome::InLedger
                }
                Err(why) => Outcome::Refused { why },
            },
            Ok(Event::Reading(reading)) => match counted(context, reading, now) {
                Ok(reading) => {
                    readings.push(reading);
                    places_of_readings.push(told.len());
                    Outcome::InLedger
                }
                Err(why) => Outcome::Refused { why },
            },
            Ok(Event::Reported(reported)) if reported.through > now + AHEAD => Outcome::Refused {
                why: format!(
                    "{} has not come yet: use up to then cannot be known",
                    reported.through
                ),
            },
            Ok(Event::Reported(reported)) => {
                whole.insert(id.clone());
                through = through
                    .filter(|before| before.is_after(&reported))
                    .or(Some(reported));
                Outcome::Noted
            }
        };
        told.push(Told { id, outcome });
    }
    let away = |error: mesocentre_metering::LedgerError| {
        tracing::warn!(source, %error, "use that others measure is not taken now");
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the ledger does not take it now: send it again; what is in it already stays once",
        )
    };
    if !records.is_empty() {
        let appended = context.ledger.append(&records, now).await.map_err(away)?;
        tell(context, &appended);
        for quarantined in &appended.quarantined {
            let event = places
                .get(quarantined.index)
                .and_then(|place| told.get_mut(*place));
            if let Some(event) = event {
                event.outcome = Outcome::Quarantined {
                    why: quarantined.message.clone(),
                };
            }
        }
    }
    if !readings.is_empty() {
        let from = Source {
            source: SOURCE,
            cluster: &source,
        };
        let taken = context.ledger.take_readings(from, &readings, now).await;
        let (taken, appended) = taken.map_err(away)?;
        if let Some(appended) = appended {
            tell(context, &appended);
        }
        for (place, taken) in places_of_readings.into_iter().zip(taken) {
            if let Some(event) = told.get_mut(place) {
                event.outcome = match taken {
                    TakenReading::Used | TakenReading::Known => Outcome::InLedger,
                    TakenReading::First => Outcome::Noted,
                    TakenReading::Not { why } => Outcome::Quarantined { why },
                };
            }
        }
    }
    // After the use that it speaks of: what is said to be whole is in the ledger.
    if let Some(reported) = through {
        if told.iter().any(|one| one.outcome.is_not_taken()) {
            for one in told.iter_mut().filter(|one| whole.contains(&one.id)) {
                one.outcome = Outcome::Refused {
                    why: "events of this request were not taken: mend them, and say it again after them"
                        .to_owned(),
                };
            }
            return Ok(told);
        }
        context
            .ledger
            .advance_watermark(SOURCE, &source, reported.instant())
            .await
            .map_err(away)?;
        billing::read_further(context);
    }
    Ok(told)
}

/// What came of it, for who looks after the operator.
fn tell(context: &Context, appended: &Appended) {
    billing::count_appended(context, appended);
    if appended.new > 0 {
        billing::ledger_grew(context);
    }
}

/// Whose use it is, as their category or the allocation says; else what is wrong.
fn judged(context: &Context, name: &str, allocation: Option<&str>) -> Result<(Activity, String), String> {
    let tenants = &context.stores.tenants;
    let tenant = tenants
        .get(&key(None, name))
        .ok_or_else(|| format!("there is no tenant {name:?}: write the name of a Tenant"))?;
    let Some(allocation) = allocation else {
        return Ok(judged_by_category(tenant.spec.category));
    };
    let allocations = &context.stores.allocations;
    let granted = allocations.get(&key(Some(name), allocation)).ok_or_else(|| {
        format!("{name} has no allocation {allocation:?}: write one of its Allocations, or leave it out")
    })?;
    Ok(granted.spec.judged(tenant.spec.category))
}

/// A reading of a counter, else what is wrong with the event.
fn counted(context: &Context, reading: Reading, now: Timestamp) -> Result<CounterReading, String> {
    if reading.at > now + AHEAD || reading.at < EARLIEST {
        return Err(format!(
            "it was read at {}: see that its clock is right",
            reading.at
        ));
    }
    let judged = judged(context, &reading.tenant, reading.allocation.as_deref())?;
    reading.into_counters(judged)
}

/// A usage record, else what is wrong with the event.
fn record(
    context: &Context,
    source: &str,
    id: &str,
    usage: Usage,
    now: Timestamp,
) -> Result<UsageRecord, String> {
    if usage.end > now + AHEAD {
        return Err(format!(
            "it ends at {}, which has not come yet: report use when it is over",
            usage.end
        ));
    }
    let judged = judged(context, &usage.tenant, usage.allocation.as_deref())?;
    usage.into_record((SOURCE, source), id, judged)
}

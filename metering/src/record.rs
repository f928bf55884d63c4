//! Usage records: what a source says was used, and the proof that it can stand in the ledger.
//!
//! ```text
//!  BatchRun, pod, volume … ──► UsageRecord (as reported) ──► ValidRecord (proven) ──► ledger
//!                                             └──► a sentence ──► quarantine
//! ```
//!
//! Knows no source's protocol: the operator reads Slurm and the cluster and hands plain values here.

use crate::calendar::TimeSpan;
use jiff::Timestamp;
use mesocentre_api::{Activity, Meter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a usage record is known by: one of each is in the ledger, once. A source that changes its mind sends the next
/// revision, which takes the place of the one before; revision with quantity 0 takes it back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// What reports it, for example `slurm`.
    pub source: String,
    /// The cluster that it reports on; names of things are unique within one.
    pub cluster: String,
    /// The source's own name for the thing that was used, unique for ever. For a run of a batch job, its number *and*
    /// its times: numbers come round.
    pub native_key: String,
    /// What was metered.
    pub meter: Meter,
    /// 0 for the first report, one more for each that replaces it.
    pub revision: u32,
}

impl std::fmt::Display for RecordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            source,
            cluster,
            native_key,
            meter,
            revision,
        } = self;
        write!(
            f,
            "{source}/{cluster}/{native_key} {} revision {revision}",
            meter.as_str()
        )
    }
}

/// Use of one thing, as a source reports it. Nothing is proven yet: [`ValidRecord`] is what the ledger takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// What it is known by.
    #[serde(flatten)]
    pub key: RecordKey,
    /// The tenant that pays.
    pub tenant: String,
    /// The allocation that it was taken from, of batch jobs.
    pub allocation: Option<String>,
    /// Who used it, as the source names them. The ledger keeps a pseudonym instead.
    pub user: Option<String>,
    /// Economic or not.
    pub activity: Activity,
    /// Why it is so: the tenant's category, or the decision of a person.
    pub activity_reason: String,
    /// How much, in the meter's base units (see [`base_unit`](crate::base_unit)); never negative.
    #[serde(with = "decimal_integer")]
    pub quantity: i128,
    /// First instant of the use.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// What a person who doubts it would look at, for example `state` and `cpus`.
    pub evidence: BTreeMap<String, String>,
}

/// Integers of 128 bits as strings: JSON readers lose digits of larger numbers.
pub(crate) mod decimal_integer {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(n: &i128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(n)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Why a record cannot stand in the ledger. The sentence goes to the quarantine beside what was reported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// A name is missing.
    #[error("the usage record {key} has no {field}: the source must name it")]
    Missing {
        /// Which record.
        key: RecordKey,
        /// Which field.
        field: &'static str,
    },
    /// Text that cannot be kept.
    #[error(
        "the {field} of the usage record {key} is longer than {limit} bytes or holds control characters: the source must shorten or clean it"
    )]
    Unfit {
        /// Which record.
        key: RecordKey,
        /// Which field.
        field: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Time runs backwards.
    #[error(
        "the usage record {key} ends at {end}, before it starts at {start}: look at the clocks of the source"
    )]
    EndBeforeStart {
        /// Which record.
        key: RecordKey,
        /// Its start.
        start: Timestamp,
        /// Its end.
        end: Timestamp,
    },
    /// Less than nothing.
    #[error(
        "the usage record {key} has the negative quantity {quantity}: a source that takes use back sends the next revision with what is left of it"
    )]
    Negative {
        /// Which record.
        key: RecordKey,
        /// Its quantity.
        quantity: i128,
    },
    /// Something in no time.
    #[error(
        "the usage record {key} has the quantity {quantity} within no time at all ({start}): use is spread over its time, so the source must say when it ended"
    )]
    NoTime {
        /// Which record.
        key: RecordKey,
        /// Its quantity.
        quantity: i128,
        /// Its instant.
        start: Timestamp,
    },
    /// Outside of what the ledger can hold.
    #[error(
        "the usage record {key} lies outside the years 1678 to 2262 or its quantity outside 10^30 base units: look at the source's clock and units"
    )]
    OutOfRange {
        /// Which record.
        key: RecordKey,
    },
}

impl RecordFault {
    /// One word for programs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "Missing",
            Self::Unfit { .. } => "Unfit",
            Self::EndBeforeStart { .. } => "EndBeforeStart",
            Self::Negative { .. } => "Negative",
            Self::NoTime { .. } => "NoTime",
            Self::OutOfRange { .. } => "OutOfRange",
        }
    }
}

/// The evidence by which a record says of which model of GPU or device it is: prices may be by model.
pub const MODEL: &str = "model";

/// A usage record that can be billed: it has its names, its time runs forward, and its quantity fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidRecord(UsageRecord);

/// The states of a run that its node's failure ended: Slurm's words (`squeue(1)`, JOB STATE CODES), and ours for pods.
const ENDED_BY_THE_NODE: [&str; 3] = ["NODE_FAIL", "BOOT_FAIL", "NodeFailed"];

/// Far above any datacentre's century, and far below where sums of records pass 128 bits.
const MOST: i128 = 10_i128.pow(30);

impl ValidRecord {
    /// When it was used.
    pub fn span(&self) -> TimeSpan {
        TimeSpan {
            from: self.0.start,
            to: self.0.end,
        }
    }

    /// The model of GPU or device, as its source names it.
    pub fn model(&self) -> Option<&str> {
        self.0.evidence.get(MODEL).map(String::as_str)
    }

    /// Whether a node failed under it, as its source says.
    pub fn ended_by_the_node(&self) -> bool {
        let state = self.0.evidence.get("state");
        state.is_some_and(|state| ENDED_BY_THE_NODE.contains(&state.as_str()))
    }
}

impl std::ops::Deref for ValidRecord {
    type Target = UsageRecord;

    fn deref(&self) -> &UsageRecord {
        &self.0
    }
}

impl TryFrom<UsageRecord> for ValidRecord {
    type Error = RecordFault;

    fn try_from(record: UsageRecord) -> Result<Self, RecordFault> {
        let key = || record.key.clone();
        let names = [
            ("source", Some(&record.key.source), 63),
            ("cluster", Some(&record.key.cluster), 63),
            ("native key", Some(&record.key.native_key), 250),
            ("tenant", Some(&record.tenant), 63),
            (
                "reason for its activity class",
                Some(&record.activity_reason),
                500,
            ),
            ("allocation", record.allocation.as_ref(), 63),
            ("user", record.user.as_ref(), 250),
        ];
        for (field, text, limit) in names {
            let Some(text) = text else { continue };
            if text.is_empty() {
                return Err(RecordFault::Missing { key: key(), field });
            }
            if text.len() > limit || has_control(text) {
                return Err(RecordFault::Unfit {
                    key: key(),
                    field,
                    limit,
                });
            }
        }
        if record
            .evidence
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
            > 4_000
        {
            return Err(RecordFault::Unfit {
                key: key(),
                field: "evidence",
                limit: 4_000,
            });
        }
        let (start, end) = (record.start, record.end);
        if end < start {
            return Err(RecordFault::EndBeforeStart {
                key: key(),
                start,
                end,
            });
        }
        if record.quantity < 0 {
            return Err(RecordFault::Negative {
                key: key(),
                quantity: record.quantity,
            });
        }
        if start == end && record.quantity != 0 {
            return Err(RecordFault::NoTime {
                key: key(),
                quantity: record.quantity,
                start,
            });
        }
        let fits = |instant: Timestamp| i64::try_from(instant.as_nanosecond()).is_ok();
        if !fits(start) || !fits(end) || record.quantity > MOST {
            return Err(RecordFault::OutOfRange { key: key() });
        }
        Ok(Self(record))
    }
}

/// Whether a character of the text is a control character. Most names are ASCII, which is looked through faster.
fn has_control(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    }
}

/// One run of one batch job, from the scheduler's accounting. A requeued job has several; a component of an array or
/// of a heterogeneous job is a job of its own; a resized job has a run a size; steps are not runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRun {
    /// What reports it, for example `slurm`.
    pub source: String,
    /// The cluster.
    pub cluster: String,
    /// The job's own number there; different for each task of an array.
    pub job_id: String,
    /// When the scheduler took it: with the number and the start, the run's name. Numbers come round.
    pub submitted: Timestamp,
    /// The tenant that its account belongs to.
    pub tenant: String,
    /// The allocation that its account belongs to.
    pub allocation: Option<String>,
    /// The posix account that it ran as.
    pub user: Option<String>,
    /// Economic or not.
    pub activity: Activity,
    /// Why it is so.
    pub activity_reason: String,
    /// Cores allocated (AllocTRES `cpu`), used or not.
    pub cpus: u64,
    /// GPUs allocated (AllocTRES `gres/gpu`).
    pub gpus: u64,
    /// Of these, the ones whose model is known (AllocTRES `gres/gpu:a100`).
    pub gpus_by_model: BTreeMap<String, u64>,
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Seconds that it was suspended: it held no cores then, so they are not metered.
    pub suspended_seconds: u64,
    /// The scheduler's own word for how it ended.
    pub state: String,
}

/// The records of a run that has ended: core seconds always (a run of zero seconds is kept, and costs nothing), GPU
/// seconds where it held any, of each model on their own. Quantity = allocated × (end − start − suspended), in whole
/// seconds. Never from Slurm's `billing` TRES, which is truncated.
///
/// The cores are taken as spread evenly over the run: where a month ends inside a run that was suspended, each side
/// bears suspension by its length.
///
/// What is wrong with the run (an end before its start, more suspension than time) is still said, as a record that the
/// ledger will put into quarantine with the reason.
pub fn from_batch_run(run: &BatchRun) -> Vec<UsageRecord> {
    let seconds = i128::from(run.end.as_second())
        - i128::from(run.start.as_second())
        - i128::from(run.suspended_seconds);
    let mut evidence = BTreeMap::from([
        ("cpus".to_owned(), run.cpus.to_string()),
        ("gpus".to_owned(), run.gpus.to_string()),
        ("jobId".to_owned(), run.job_id.clone()),
        ("state".to_owned(), run.state.clone()),
        ("submitted".to_owned(), run.submitted.to_string()),
        ("suspendedSeconds".to_owned(), run.suspended_seconds.to_string()),
    ]);
    if run.cpus == 0 {
        evidence.insert(
            "flag".to_owned(),
            "no cores allocated: nothing is billed".to_owned(),
        );
    }
    let name = format!("{}@{}#{}", run.job_id, run.submitted, run.start);
    let record = |native_key: String, meter, held: u64| UsageRecord {
        key: RecordKey {
            source: run.source.clone(),
            cluster: run.cluster.clone(),
            native_key,
            meter,
            revision: 0,
        },
        tenant: run.tenant.clone(),
        allocation: run.allocation.clone(),
        user: run.user.clone(),
        activity: run.activity,
        activity_reason: run.activity_reason.clone(),
        quantity: i128::from(held) * seconds,
        start: run.start,
        end: run.end,
        evidence: evidence.clone(),
    };
    let mut records = vec![record(name.clone(), Meter::ComputeCoreHours, run.cpus)];
    let mut of_no_known_model = run.gpus;
    for (model, gpus) in run.gpus_by_model.iter().filter(|(_, gpus)| **gpus > 0) {
        let mut of_model = record(format!("{name}/{model}"), Meter::ComputeGpuHours, *gpus);
        of_model.evidence.insert(MODEL.to_owned(), model.clone());
        records.push(of_model);
        of_no_known_model = of_no_known_model.saturating_sub(*gpus);
    }
    if of_no_known_model > 0 {
        records.push(record(name, Meter::ComputeGpuHours, of_no_known_model));
    }
    records
}

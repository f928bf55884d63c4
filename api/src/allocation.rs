//! Allocation: hours granted to a tenant on a scheduler.

use crate::{Condition, TenantCategory};
use jiff::civil::Date;
use kube::{CustomResource, KubeSchema};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hours granted to a tenant on a scheduler.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "Allocation",
    plural = "allocations",
    shortname = "alloc",
    category = "meso",
    namespaced,
    status = "AllocationStatus",
    doc = "Hours granted to a tenant on a scheduler, in its home namespace. Written by administrators, read by the tenant. On Slurm it is the account <tenant>.<allocation>.",
    derive = "PartialEq",
    printcolumn(name = "Scheduler", type_ = "string", json_path = ".spec.scheduler"),
    printcolumn(name = "Core-hours", type_ = "string", json_path = ".spec.budget.coreHours"),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.usedCoreHours"),
    printcolumn(name = "Left", type_ = "string", json_path = ".status.remainingCoreHours"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.validUntil"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$')").message("an allocation's name has at most 40 lower-case letters, digits and hyphens and begins with a letter; write for example climate-2026")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.carryOver) || (self.carryOver.until >= self.validFrom && self.carryOver.until <= self.validUntil)").message("hours that are carried over may be used within the allocation's own days: write a carryOver.until between validFrom and validUntil"))]
#[x_kube(validation = Rule::new("!has(self.grace) || self.whenExhausted == 'Refuse'").message("a grace says how far hours may be passed before jobs are refused, and with whenExhausted: Charge none are: leave grace out, or write Refuse"))]
#[x_kube(validation = Rule::new("self.validFrom <= self.validUntil").message("the allocation ends before it begins: write a validUntil on or after validFrom"))]
#[x_kube(validation = Rule::new("has(self.activity) == has(oldSelf.activity) && (!has(self.activity) || self.activity == oldSelf.activity)").message("an allocation's activity does not change, since its use is in the ledger as it was judged: make another allocation for what is judged otherwise, and end this one"))]
pub struct AllocationSpec {
    /// The scheduler that the hours are on.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("an allocation does not move to another scheduler; make another allocation there"))]
    pub scheduler: String,
    /// What the hours are for.
    #[schemars(length(min = 1, max = 300))]
    pub title: String,
    /// First day, in the datacentre's zone.
    #[schemars(schema_with = "crate::schema::date")]
    pub valid_from: Date,
    /// Last day, in the datacentre's zone.
    #[schemars(schema_with = "crate::schema::date")]
    pub valid_until: Date,
    /// The hours.
    pub budget: Budget,
    /// What was left of an earlier allocation and may be used in this one, for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carry_over: Option<CarryOver>,
    /// How far the hours may be passed, and for how long: as with the soft and the hard limit of a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Grace>,
    /// What happens when they are used up.
    #[serde(default)]
    pub when_exhausted: WhenExhausted,
    /// Percentages of the budget at which the condition WithinBudget warns.
    #[serde(default = "eighty_and_ninety_five")]
    #[schemars(length(max = 5), inner(range(min = 1, max = 100)))]
    pub alert_at: Vec<i64>,
    /// Whether what it is used for counts as economic, where a person decided otherwise than the tenant's category says: a
    /// PrivateClient's is economic, everybody else's is not. It does not change: what is judged otherwise is another allocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<ActivityDecision>,
    /// What is kept for it alone, used or not, by a reservation or nodes of its own that its administrators made: metered for
    /// all of its days. What its jobs use is free up to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<ReservedCapacity>,
    /// What of Slurm's its jobs may use; for an allocation on Slurm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slurm: Option<SlurmTerms>,
    /// Users who may use it, out of the tenant's members; none named means every member with a posix account.
    #[serde(default)]
    #[schemars(length(max = 500), inner(length(max = 253)))]
    pub members: Vec<String>,
}

/// What of Slurm's the jobs of an allocation may use. Its administrators make both there: nothing here makes one.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlurmTerms {
    /// The qualities of service (QOS) that jobs may ask for, that of a job that asks for none first. None written: those of
    /// the tenant's account, which is the site's to say (sacctmgr modify account TENANT set qos=…).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*$'))").message("write the names of QOS as sacctmgr show qos prints them, for example normal"), validation = Rule::new("self.all(name, self.exists_one(other, other == name))").message("a QOS is listed twice: write each name once, the default first"))]
    pub qos: Vec<String>,
    /// The reservation that jobs go into whose script names none (sbatch --reservation). Once it is over, Slurm refuses them:
    /// take it out then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*$')").message("write one reservation as scontrol show reservations prints it, for example school-2026"))]
    pub reservation: Option<String>,
}

fn eighty_and_ninety_five() -> Vec<i64> {
    vec![80, 95]
}

/// A person's judgement of an activity.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityDecision {
    /// Economic or not.
    pub class: Activity,
    /// Who judged so and why, for who audits it: stands in each usage record.
    #[schemars(length(min = 10, max = 300))]
    pub reason: String,
}

/// Whether use counts as a market activity (Framework for State aid for R&D&I, 2022/C 414/01, points 20 and 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Activity {
    /// It does: offering goods or services on a market.
    Economic,
    /// It does not: education, independent research, public tasks.
    NonEconomic,
}

impl Activity {
    /// What holds for a tenant of this category unless a person decided otherwise.
    pub fn of_category(category: TenantCategory) -> Self {
        match category {
            TenantCategory::PrivateClient => Self::Economic,
            TenantCategory::University | TenantCategory::PublicService => Self::NonEconomic,
        }
    }

    /// As the ledger writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Economic => "economic",
            Self::NonEconomic => "non-economic",
        }
    }
}

impl Allocation {
    /// The hours that may be used in it now: its budget, with what the operator found to be carried over and graced.
    pub fn hours(&self) -> &Budget {
        let granted = self.status.as_ref().and_then(|status| status.granted.as_ref());
        match granted {
            Some(granted) if self.spec.carry_over.is_some() || self.spec.grace.is_some() => granted,
            _ => &self.spec.budget,
        }
    }
}

impl AllocationSpec {
    /// Whether its use is economic, and why: a person's decision, else the category of its tenant.
    pub fn judged(&self, category: TenantCategory) -> (Activity, String) {
        match &self.activity {
            Some(decision) => (decision.class, format!("decision: {}", decision.reason)),
            None => judged_by_category(category),
        }
    }
}

/// What holds where nobody decided, and why.
pub fn judged_by_category(category: TenantCategory) -> (Activity, String) {
    (
        Activity::of_category(category),
        format!("category {}", category.as_str()),
    )
}

/// Hours granted. What is not named is not limited by hours.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Core-hours: one core held for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_decimal")]
    pub core_hours: Option<Decimal>,
    /// GPU-hours: one GPU held for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_decimal")]
    pub gpu_hours: Option<Decimal>,
}

/// A capacity that is kept for an allocation.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.cores > 0 || self.gpus > 0").message("a reserved capacity is of cores or GPUs: write how many, or leave reserved out"))]
pub struct ReservedCapacity {
    /// Cores.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10000000))]
    pub cores: i64,
    /// GPUs.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000000))]
    pub gpus: i64,
}

/// What was left of an earlier allocation.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CarryOver {
    /// The earlier Allocation, in this namespace and on the same scheduler, which ends before this one begins. What was left
    /// of its own hours is carried, not what it had carried over itself.
    #[schemars(length(min = 1, max = 40))]
    pub from: String,
    /// No more than this of it; all where nothing is written.
    #[serde(default)]
    pub at_most: Budget,
    /// The last day on which it may be used, before the allocation's own hours: what is left of it then is forfeited.
    #[schemars(schema_with = "crate::schema::date")]
    pub until: Date,
}

/// How far hours may be passed.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grace {
    /// By so many percent of the hours.
    #[schemars(range(min = 1, max = 100))]
    pub percent: i64,
    /// Until so many days after the day on which they were used up.
    #[schemars(range(min = 1, max = 366))]
    pub days: i64,
}

/// What happens when an allocation's hours are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenExhausted {
    /// Jobs that would pass the budget do not start; Slurm itself holds them (GrpTRESMins).
    #[default]
    Refuse,
    /// Jobs run on, and what is over is billed at the tariff.
    Charge,
}

/// What the operator knows of the allocation.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Slurm account, once it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Core-hours used since the beginning, from the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_core_hours: Option<String>,
    /// What may be used of it now, where it carries hours over or has a grace: the budget, with both. The scheduler's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Budget>,
    /// What of the hours carried over counts: all of them until their last day, then what was used of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Budget>,
    /// The last day on which the hours may be passed, once they are used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_date")]
    pub grace_until: Option<Date>,
    /// Core-hours left of the budget and of what is carried over, from the ledger; negative when over. Absent without a
    /// budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_core_hours: Option<String>,
    /// GPU-hours used since the beginning, from the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_gpu_hours: Option<String>,
    /// GPU-hours left of the budget and of what is carried over, from the ledger; negative when over. Absent without a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_gpu_hours: Option<String>,
    /// Core-hours that jobs of it hold beyond what they used: of those that run, until their time limits; on Kubernetes of all
    /// that were handed over. They come back when a job ends early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_core_hours: Option<String>,
    /// Core-hours used as the scheduler counts them itself, by which it lets jobs start: those of running jobs included, and
    /// less where usage decays. Slurm's; absent on Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_core_hours: Option<String>,
    /// Percent of the budget that is used, of the hours of which the larger part is. Absent without a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<String>,
    /// The same on the last day, if it goes on as so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast_percent: Option<String>,
    /// Users whose jobs the scheduler takes in it.
    #[serde(default)]
    pub members: Vec<String>,
    /// Conditions: Ready, WithinBudget; CarriedOver: what became of hours that are carried over; Reserved: whether Slurm's reservation keeps what is reserved; Reconciled: whether Slurm's own count of what was used and the ledger's agree.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

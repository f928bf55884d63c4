//! Scheduler: whether it answers, which one it is, and the tasks that work with it.

use super::{Away, Cluster, Means, WaitsFor, transport};
use crate::Context;
use crate::elder::first_before;
use crate::failure::Failure;
use crate::report::{self, Verdict, write_status};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::{READY, Scheduler, SchedulerStatus, SlurmScheduler, find_condition};
use mesocentre_scheduler_bridge::{BatchScheduler, Health, Partition, SchedulerError};
use mesocentre_tenancy::validate::seniority;
use std::sync::Arc;
use std::time::Duration;

/// Does not answer.
const UNREACHABLE: &str = "Unreachable";
/// How often one that answers is asked again, unless some other call of it is in vain.
const ASKED_EVERY: Duration = Duration::from_secs(30);
/// How often one that does not.
const AWAY_ASKED_EVERY: Duration = Duration::from_secs(3);

/// What a scheduler says of itself.
struct Answer {
    kind: &'static str,
    version: String,
    cpus: Option<i64>,
    partitions: Vec<String>,
    caveats: Vec<String>,
}

/// One reconcile.
///
/// # Errors
/// When the API server could not be written to now.
pub async fn reconcile(scheduler: Arc<Scheduler>, context: Arc<Context>) -> Result<Action, Failure> {
    let name = scheduler.name_any();
    if report::is_leaving(scheduler.as_ref()) {
        return leave(&scheduler, &context).await;
    }
    let scheduler = report::add_finalizer(&context, &scheduler).await?;
    let answer = match (&scheduler.spec.slurm, &scheduler.spec.kubernetes) {
        (Some(slurm), _) => match who_has_it(&scheduler, slurm, &context) {
            None => ask_slurm(&context, &scheduler, slurm).await,
            Some(other) => {
                context.batch.dismiss(&name);
                Err(SchedulerError::Misconfigured(format!(
                    "the Slurm cluster {} is the Scheduler {other}'s already, and two would undo each other's accounts: make allocations on {other}, and delete this one",
                    slurm.cluster
                )))
            }
        },
        _ => ask_kubernetes(&context, &scheduler).await,
    };
    let mut status = scheduler.status.clone().unwrap_or_default();
    let before = status.conditions.clone();
    status.observed_generation = scheduler.metadata.generation;
    let (verdict, again) = verdict(&scheduler, &mut status, answer);
    let turned =
        !mesocentre_api::is_ready(&before) && verdict.status == mesocentre_api::ConditionStatus::True;
    verdict.ready(&mut status.conditions, scheduler.metadata.generation);
    report::warn_when_not_ready(&context, scheduler.as_ref(), &before, &status.conditions).await;
    write_status(&context, &scheduler, status).await?;
    if turned {
        context.batch.accounts_changed(&name);
        context.batch.wake(&WaitsFor::Scheduler(name));
    }
    Ok(Action::requeue(again))
}

/// What is said of it, and when it is asked again.
fn verdict(
    scheduler: &Scheduler,
    status: &mut SchedulerStatus,
    answer: Result<Answer, SchedulerError>,
) -> (Verdict, Duration) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error @ SchedulerError::Unreachable { .. }) => {
            return (Verdict::no(UNREACHABLE, error.to_string()), AWAY_ASKED_EVERY);
        }
        Err(error) => {
            let reason = match &error {
                SchedulerError::HostKeyChanged(_) => "HostKeyChanged",
                SchedulerError::IdentityRefused(_) => "IdentityRefused",
                _ => "Misconfigured",
            };
            return (Verdict::no(reason, error.to_string()), ASKED_EVERY);
        }
    };
    status.kind = Some(answer.kind.into());
    status.version = Some(answer.version.clone());
    status.cpus = answer.cpus;
    let offered = scheduler
        .spec
        .slurm
        .as_ref()
        .map_or(&[][..], |slurm| &slurm.partitions);
    if let Some(missing) = offered
        .iter()
        .find(|partition| !answer.partitions.contains(partition))
    {
        let message = format!(
            "the cluster has no partition {missing}: it has {}; mend spec.slurm.partitions",
            answer.partitions.join(", ")
        );
        return (Verdict::no("UnknownPartition", message), ASKED_EVERY);
    }
    status.partitions = if offered.is_empty() {
        answer.partitions
    } else {
        offered.to_vec()
    };
    if !answer.caveats.is_empty() {
        // It works; who grants hours should know.
        let message = format!(
            "{} {} answers; {}",
            answer.kind,
            answer.version,
            answer.caveats.join("; ")
        );
        return (Verdict::yes("AnswersWithCaveats", message), ASKED_EVERY);
    }
    let message = match answer.cpus {
        Some(cpus) => format!("{} {} answers, with {cpus} CPUs", answer.kind, answer.version),
        None => format!("{} {} answers", answer.kind, answer.version),
    };
    (Verdict::yes("Answers", message), ASKED_EVERY)
}

/// The Scheduler that was there first for the same cluster.
fn who_has_it(scheduler: &Scheduler, slurm: &SlurmScheduler, context: &Context) -> Option<String> {
    first_before(
        &context.stores.schedulers.state(),
        scheduler,
        |s| seniority(&s.metadata),
        |other| {
            let theirs = other.spec.slurm.as_ref();
            theirs.is_some_and(|theirs| theirs.cluster == slurm.cluster)
        },
    )
}

async fn ask_slurm(
    context: &Arc<Context>,
    scheduler: &Scheduler,
    spec: &SlurmScheduler,
) -> Result<Answer, SchedulerError> {
    let transport = match transport::gather(context.login_sources(), spec).await {
        // Whoever takes the key away takes the way to the cluster away.
        Err(error @ SchedulerError::Misconfigured(_)) => {
            context.batch.dismiss(&scheduler.name_any());
            return Err(error);
        }
        Err(error) => {
            // The connection that stands goes on being used.
            if let Some(cluster) = context.batch.cluster(&scheduler.name_any()) {
                note(context, scheduler, &cluster, None);
            }
            return Err(error);
        }
        Ok(transport) => transport,
    };
    let cluster = context
        .batch
        .employ(context, scheduler, Means::Commands(transport))?;
    let asked = ask(context, &cluster).await;
    note(context, scheduler, &cluster, asked.as_ref().err());
    let (health, partitions) = asked?;
    // A node may be in several partitions: the largest says most.
    let cpus = partitions.iter().map(|partition| partition.cpus).max();
    Ok(Answer {
        kind: "Slurm",
        version: health.version,
        cpus: cpus.and_then(|cpus| i64::try_from(cpus).ok()),
        partitions: partitions
            .iter()
            .map(|partition| partition.name.to_string())
            .collect(),
        caveats: health.caveats,
    })
}

async fn ask(context: &Context, cluster: &Cluster) -> Result<(Health, Vec<Partition>), SchedulerError> {
    let health = cluster.measure(context, "ping", cluster.engine.ping()).await?;
    cluster.set_settle(health.settle_seconds);
    let partitions = cluster
        .measure(context, "partitions", cluster.engine.partitions())
        .await?;
    Ok((health, partitions))
}

/// Notes for its jobs whether it answers, and has those looked at that wait for it when it does again.
fn note(context: &Context, scheduler: &Scheduler, cluster: &Cluster, error: Option<&SchedulerError>) {
    let Some(error @ SchedulerError::Unreachable { .. }) = error else {
        if cluster.set_away(None) {
            context.batch.wake(&WaitsFor::Scheduler(cluster.name.clone()));
        }
        return;
    };
    // As told by the process before this one, where it was.
    let told = scheduler
        .status
        .as_ref()
        .and_then(|status| find_condition(&status.conditions, READY))
        .filter(|ready| ready.reason == UNREACHABLE)
        .map(|ready| ready.last_transition_time);
    let noted = cluster.away().map(|away| away.since).or(told);
    cluster.set_away(Some(Away {
        since: noted.unwrap_or_else(|| report::in_seconds(Timestamp::now())),
        why: error.to_string(),
    }));
}

async fn ask_kubernetes(context: &Arc<Context>, scheduler: &Scheduler) -> Result<Answer, SchedulerError> {
    let cluster = context.batch.employ(context, scheduler, Means::TheApiServer)?;
    let asked = cluster.measure(context, "ping", cluster.engine.ping()).await;
    note(context, scheduler, &cluster, asked.as_ref().err());
    let health = match asked {
        // Whoever takes the rights away takes the scheduler away.
        Err(error @ SchedulerError::Misconfigured(_)) => {
            context.batch.dismiss(&scheduler.name_any());
            return Err(error);
        }
        other => other?,
    };
    cluster.set_settle(health.settle_seconds);
    Ok(Answer {
        kind: "Kubernetes",
        version: health.version,
        cpus: None,
        partitions: Vec::new(),
        caveats: health.caveats,
    })
}

/// It goes when no allocation is on it any more.
async fn leave(scheduler: &Arc<Scheduler>, context: &Arc<Context>) -> Result<Action, Failure> {
    let name = scheduler.name_any();
    let on_it: Vec<String> = context
        .stores
        .allocations
        .state()
        .iter()
        .filter(|allocation| allocation.spec.scheduler == name)
        .map(|allocation| {
            format!(
                "{}/{}",
                allocation.namespace().unwrap_or_default(),
                allocation.name_any()
            )
        })
        .collect();
    if on_it.is_empty() || report::is_forced(scheduler.as_ref()) {
        context.batch.dismiss(&name);
        report::remove_finalizer(context, scheduler).await?;
        return Ok(Action::await_change());
    }
    let mut status = scheduler.status.clone().unwrap_or_default();
    let before = status.conditions.clone();
    let message = format!(
        "it is being deleted and waits for the allocations on it: {}; delete them, or write the annotation mesocentre.io/force-delete: \"true\"",
        on_it.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
    );
    Verdict::no("InUse", message).ready(&mut status.conditions, scheduler.metadata.generation);
    report::warn_when_not_ready(context, scheduler.as_ref(), &before, &status.conditions).await;
    write_status(context, scheduler, status).await?;
    Ok(Action::requeue(Duration::from_secs(5)))
}

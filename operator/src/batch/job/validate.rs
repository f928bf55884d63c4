//! From a BatchJob and what it refers to, to a submission that the scheduler can be asked to take.

use super::super::allocation::validate as allocation;
use super::super::{Cluster, Engine, WaitsFor};
use super::sources::{self, Sources};
use super::view;
use crate::Context;
use crate::triggers::tenant_of;
use crate::watch::key;
use kube::ResourceExt;
use mesocentre_api::{Allocation, BatchJob, DependencyState, JobResources, Phase, TrustPerimeter};
use mesocentre_scheduler_bridge::slurm::ScriptHeader;
use mesocentre_scheduler_bridge::slurm::accounts::Limits;
use mesocentre_scheduler_bridge::{
    AccountName, Container, Dependency, DependencyKind, JobId, PartitionName, ReservationName, Submission,
    Token, UserName,
};
use mesocentre_tenancy::quantity::{self, Fraction, Unit};
use std::sync::Arc;

/// It waits for its scheduler to be at work, or to answer.
pub const SCHEDULER_NOT_READY: &str = "SchedulerNotReady";

/// A job that can be handed over.
pub struct Fit {
    /// To whom.
    pub cluster: Arc<Cluster>,
    /// As whom.
    pub user: UserName,
    /// Who pays.
    pub account: AccountName,
    /// What of its allocation may be used at all.
    pub limits: Limits,
    dependencies: Vec<Dependency>,
    partition: Option<PartitionName>,
    reservation: Option<ReservationName>,
    sources: Sources,
}

/// A job that cannot be handed over now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Somebody has to mend something.
    Refused {
        /// One CamelCase word.
        reason: &'static str,
        /// What, and where.
        message: String,
    },
    /// It will come by itself.
    Waits {
        /// For what.
        what: WaitsFor,
        /// One CamelCase word.
        reason: &'static str,
        /// In a sentence.
        message: String,
    },
    /// It never will.
    Never {
        /// Why, in a sentence.
        message: String,
    },
}

fn refused(reason: &'static str, message: impl Into<String>) -> Unfit {
    Unfit::Refused {
        reason,
        message: message.into(),
    }
}

/// Proves that a job can be handed over now, and reads what of it is elsewhere.
///
/// # Errors
/// What stands in the way.
pub async fn validate(job: &BatchJob, context: &Context) -> Result<Fit, Unfit> {
    let mut fit = place(job, context)?;
    let has_token = job
        .status
        .as_ref()
        .is_some_and(|status| status.submission.is_some());
    if !has_token && let Some(unfit) = waits_for(&fit.cluster) {
        return Err(unfit);
    }
    fit.sources = sources::read(job, context, &fit.cluster, &fit.user).await?;
    fit.partition = if matches!(fit.cluster.engine, Engine::Slurm(_)) {
        partition(job, context, &fit.cluster, &fit.sources.script)?
    } else {
        // There are none: one that is asked for is refused there.
        let asked = job
            .spec
            .resources
            .as_ref()
            .and_then(|resources| resources.partition.as_deref());
        asked.and_then(|partition| PartitionName::new(partition).ok())
    };
    Ok(fit)
}

/// While the scheduler is away, nothing is asked of it, or read there, for a job that it does not have.
pub fn waits_for(cluster: &Cluster) -> Option<Unfit> {
    cluster.wait().map(|message| Unfit::Waits {
        what: WaitsFor::Scheduler(cluster.name.clone()),
        reason: SCHEDULER_NOT_READY,
        message,
    })
}

/// To whom, as whom, who pays, and after which jobs: from the caches alone.
fn place(job: &BatchJob, context: &Context) -> Result<Fit, Unfit> {
    let home = tenant_of(job);
    let name = &job.spec.allocation;
    let granted = context
        .stores
        .allocations
        .get(&key::<Allocation>(Some(&home), name))
        .ok_or_else(|| {
            refused(
                "UnknownAllocation",
                format!(
                    "{home} has no allocation {name}: write one that `meso allocations` shows into spec.allocation of a new job, or ask the administrators for it"
                ),
            )
        })?;
    let valid = allocation::validate(context, &granted).map_err(|why| match &why {
        allocation::Refused::UnknownScheduler { scheduler, .. } => Unfit::Waits {
            what: WaitsFor::Scheduler(scheduler.clone()),
            reason: SCHEDULER_NOT_READY,
            message: why.to_string(),
        },
        _ => refused(why.reason(), why.to_string()),
    })?;
    let author = job.spec.submitted_by.as_deref().unwrap_or_default();
    let user = valid.posix_account(author).ok_or_else(|| {
        refused(
            "NotAMember",
            if author.is_empty() {
                "nobody is known to have written this job: make it again, so that the API server writes its author down".to_owned()
            } else {
                format!(
                    "{author} may not use the allocation {name} of {home}: ask an Owner of {home} to have the administrators add {author}, with a posixAccount, to the members of the tenant and of the allocation"
                )
            },
        )
    })?;
    let scheduler = &granted.spec.scheduler;
    let waits_for_account = |message: String| Unfit::Waits {
        what: WaitsFor::Allocation(home.clone(), name.clone()),
        reason: "AccountPending",
        message,
    };
    let cluster = context.batch.cluster(scheduler).ok_or_else(|| Unfit::Waits {
        what: WaitsFor::Scheduler(scheduler.clone()),
        reason: SCHEDULER_NOT_READY,
        message: format!("the scheduler {scheduler} is not at work yet"),
    })?;
    let accounts = cluster.accounts();
    if let Some(why) = accounts.wrong.get(&valid.account) {
        return Err(waits_for_account(why.clone()));
    }
    if !accounts.admits(&valid.account, user.as_str()) {
        return Err(waits_for_account(match &accounts.away {
            Some(why) => format!(
                "it waits until the account {} is up to date: {why}",
                valid.account
            ),
            None => format!("the account {} is being made ready for {author}", valid.account),
        }));
    }
    let is_slurm = matches!(cluster.engine, Engine::Slurm(_));
    if is_slurm && job.spec.container.is_some() {
        return Err(Unfit::Never {
            message: format!(
                "spec.container is for schedulers that are Kubernetes, and {scheduler} is Slurm: leave it out of a new job, and write --container or Apptainer into its script"
            ),
        });
    }
    Ok(Fit {
        dependencies: dependencies(job, context, scheduler, is_slurm)?,
        partition: None,
        sources: Sources::default(),
        cluster,
        user: user.clone(),
        account: valid.account,
        limits: valid.limits,
        reservation: valid.reservation,
    })
}

/// The jobs that must have come so far, as the scheduler numbers them. What has come so far already is left out.
fn dependencies(
    job: &BatchJob,
    context: &Context,
    scheduler: &str,
    is_slurm: bool,
) -> Result<Vec<Dependency>, Unfit> {
    let own = job.namespace().unwrap_or_default();
    let mut dependencies = Vec::new();
    for dependency in &job.spec.depends_on {
        let other = &dependency.job;
        let namespace = match &dependency.workspace {
            // Of the same tenant, whose members act in all of its workspaces.
            Some(workspace) => format!("{}--{workspace}", crate::triggers::tenant_of(job)),
            None => own.clone(),
        };
        if *other == job.name_any() && namespace == own {
            return Err(Unfit::Never {
                message:
                    "it depends on itself, so it would never start: take it out of dependsOn of a new job"
                        .into(),
            });
        }
        let waits = |message: String| Unfit::Waits {
            what: WaitsFor::Job(namespace.clone(), other.clone()),
            reason: "WaitsForJob",
            message,
        };
        let Some(earlier) = context.stores.jobs.get(&key(Some(&namespace), other)) else {
            return Err(Unfit::Waits {
                what: WaitsFor::Job(namespace.clone(), other.clone()),
                reason: "UnknownJob",
                message: format!(
                    "it waits for the batch job {other}, which does not exist in {namespace} (yet)"
                ),
            });
        };
        let status = earlier.status.clone().unwrap_or_default();
        match come_so_far(status.phase, dependency.when) {
            Some(true) => continue,
            Some(false) => {
                return Err(Unfit::Never {
                    message: format!(
                        "it depends on {other}, which ended as {} and not as asked for ({:?}): submit it again once {other} has",
                        status.phase.as_str(),
                        dependency.when
                    ),
                });
            }
            None => {}
        }
        if !is_slurm && dependency.when == DependencyState::SameTaskSucceeded {
            return Err(Unfit::Never {
                message: format!(
                    "on a scheduler that is Kubernetes no task waits for a task of {other}: write when: Succeeded, which waits for all of them"
                ),
            });
        }
        if !is_slurm {
            // Kubernetes knows of no job that waits for another: it waits here.
            return Err(waits(format!(
                "it waits for {other}, which is {}",
                status.phase.as_str()
            )));
        }
        let at = status.scheduler.as_ref();
        let id = at.and_then(|at| at.job_id.as_deref()?.parse::<JobId>().ok());
        let Some(id) = id else {
            return Err(waits(format!(
                "it waits until {other} is handed over to the scheduler"
            )));
        };
        if at.is_some_and(|at| at.name != scheduler) {
            // Two schedulers know nothing of each other: this one waits here.
            return Err(waits(format!(
                "it waits for {other}, which is on another scheduler"
            )));
        }
        dependencies.push(Dependency {
            kind: match dependency.when {
                DependencyState::Succeeded => DependencyKind::Succeeded,
                DependencyState::Failed => DependencyKind::Failed,
                DependencyState::Finished => DependencyKind::Finished,
                DependencyState::Started => DependencyKind::Started,
                DependencyState::SameTaskSucceeded => DependencyKind::SameTaskSucceeded,
            },
            job: id,
        });
    }
    Ok(dependencies)
}

/// Whether a job in this phase has come as far as another asks: none while that is open.
fn come_so_far(phase: Phase, when: DependencyState) -> Option<bool> {
    let finished = phase.is_finished();
    match when {
        DependencyState::Started => (finished || phase == Phase::Running).then_some(true),
        DependencyState::Finished => finished.then_some(true),
        // Of an array that is over, which tasks succeeded is not known here.
        DependencyState::Succeeded | DependencyState::SameTaskSucceeded => {
            finished.then_some(phase == Phase::Succeeded)
        }
        DependencyState::Failed => finished.then_some(phase != Phase::Succeeded),
    }
}

/// The partition, where the job, the scheduler or the perimeter leaves a choice to be made here.
fn partition(
    job: &BatchJob,
    context: &Context,
    cluster: &Cluster,
    script: &[u8],
) -> Result<Option<PartitionName>, Unfit> {
    let home = tenant_of(job);
    let offered = cluster.offers();
    let in_perimeter = context
        .stores
        .tenants
        .get(&key(None, &home))
        .and_then(|tenant| {
            context
                .stores
                .perimeters
                .get(&key::<TrustPerimeter>(None, &tenant.spec.perimeter))
        })
        .map(|perimeter| perimeter.spec.partitions.clone())
        .unwrap_or_default();
    let allowed = |partition: &str| {
        (offered.is_empty() || offered.iter().any(|p| p == partition))
            && (in_perimeter.is_empty() || in_perimeter.iter().any(|p| p == partition))
    };
    let header = ScriptHeader::parse(script).map_err(|why| Unfit::Never {
        message: why.to_string(),
    })?;
    let of_field = job
        .spec
        .resources
        .as_ref()
        .and_then(|resources| resources.partition.as_deref());
    // A field holds for all components of a heterogeneous job; of its lines, each for its own.
    let choices = || {
        let all = if in_perimeter.is_empty() {
            offered
        } else {
            &in_perimeter
        };
        all.iter()
            .filter(|p| allowed(p))
            .cloned()
            .collect::<Vec<_>>()
            .join(" or ")
    };
    let of_all: Vec<&str> = match of_field {
        Some(field) => vec![field],
        None => header.values("partition").flatten().collect(),
    };
    // sbatch takes a list, and chooses.
    if let Some(partition) = of_all
        .iter()
        .flat_map(|list| list.split(','))
        .find(|partition| !allowed(partition))
    {
        return Err(refused(
            "PartitionNotAllowed",
            format!(
                "the partition {partition} is not open to {home} on this scheduler: write {} into resources.partition of a new job",
                choices()
            ),
        ));
    }
    let Some(first) = of_all.first() else {
        // Left to the site where nothing is forbidden.
        let usual = in_perimeter.iter().find(|partition| allowed(partition));
        return Ok(usual.and_then(|partition| PartitionName::new(partition).ok()));
    };
    if of_field.is_some() || header.components() == 1 {
        return Ok(PartitionName::new(first).ok());
    }
    // The lines of each component hold. For one that says nothing the site would choose, perhaps outside the perimeter.
    if of_all.len() < header.components() && !in_perimeter.is_empty() {
        return Err(refused(
            "PartitionNotAllowed",
            format!(
                "some components of this heterogeneous job name a partition and others none: write {} for each, on its #SBATCH lines",
                choices()
            ),
        ));
    }
    Ok(None)
}

/// The submission of an attempt.
///
/// # Errors
/// A quantity or number that cannot be passed on.
pub fn submission(job: &BatchJob, fit: &Fit, token: &Token) -> Result<Submission, String> {
    let spec = &job.spec;
    let name = job.name_any();
    let mut submission = Submission::new(
        token.clone(),
        fit.user.clone(),
        fit.account.clone(),
        &name,
        fit.sources.script.as_slice(),
    );
    submission.arguments.clone_from(&spec.arguments);
    submission.environment.clone_from(&fit.sources.environment);
    submission.secrets.clone_from(&fit.sources.secrets);
    submission.partition.clone_from(&fit.partition);
    submission.reservation.clone_from(&fit.reservation);
    submission.dependencies.clone_from(&fit.dependencies);
    submission.hold = spec.hold == Some(true);
    submission.array = spec.array.as_ref().map(|array| match array.max_concurrent {
        Some(most) => format!("{}%{most}", array.indices),
        None => array.indices.clone(),
    });
    let container = spec.container.clone().unwrap_or_default();
    submission.container = Container {
        namespace: job.namespace().unwrap_or_default(),
        image: container.image,
        home_claim: container.home_claim,
        environment: fit.sources.references.clone(),
    };
    if let Some(resources) = &spec.resources {
        resources_of(&mut submission, resources)?;
    }
    Ok(submission)
}

fn resources_of(submission: &mut Submission, resources: &JobResources) -> Result<(), String> {
    let number = |what: &str, n: Option<i64>| {
        n.map(|n| u32::try_from(n).map_err(|_| format!("resources.{what} is {n}: write a smaller number")))
            .transpose()
    };
    submission.nodes = number("nodes", resources.nodes)?;
    submission.tasks = number("tasks", resources.tasks)?;
    submission.cpus_per_task = number("cpusPerTask", resources.cpus_per_task)?;
    submission.gpus = number("gpus", resources.gpus)?;
    submission.memory_mib = resources
        .memory
        .as_ref()
        .map(|memory| {
            quantity::parse(&memory.0, Unit::Byte, Fraction::RoundUp)
                // sbatch counts in MiB: a started one is a whole one.
                .map(|bytes| bytes.div_ceil(1 << 20).max(1))
                .map_err(|error| format!("resources.memory cannot be counted: {error}"))
        })
        .transpose()?;
    submission.time_limit_seconds = resources.time_limit.map(view::in_seconds);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_open_until_its_job_ends_and_then_holds_or_not() {
        use DependencyState::{Failed, Finished, Started, Succeeded};
        for (phase, when, come) in [
            (Phase::Queued, Succeeded, None),
            (Phase::Running, Succeeded, None),
            (Phase::Running, Started, Some(true)),
            (Phase::Succeeded, Succeeded, Some(true)),
            (Phase::Succeeded, Failed, Some(false)),
            (Phase::TimedOut, Succeeded, Some(false)),
            (Phase::TimedOut, Failed, Some(true)),
            (Phase::Cancelled, Finished, Some(true)),
        ] {
            assert_eq!(come_so_far(phase, when), come, "{phase:?} {when:?}");
        }
    }
}

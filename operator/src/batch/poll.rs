//! One squeue a tick for all jobs of a cluster, and one sacct for those that have left it. Ticks stretch when nothing
//! moves; without an open job of ours, nothing is asked at all.

use super::Cluster;
use super::pace::Pace;
use crate::Context;
use crate::batch::job::report::is_news;
use crate::batch::job::view;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{BatchJob, JobOutlook};
use mesocentre_scheduler_bridge::{
    BatchScheduler, JobAccounting, JobId, JobIdentity, Outlook, Phase, Queue, QueuedJob, SchedulerError,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is seen whether there is anything to ask.
const IDLE: Duration = Duration::from_secs(5);

/// An open job of ours.
struct Open {
    uid: String,
    key: ObjectRef<BatchJob>,
    identity: JobIdentity,
    /// What its author was told of its start.
    told: Option<JobOutlook>,
    /// How many tasks it is known to have.
    tasks: u64,
}

/// What was last seen of a job in the queue, but for what is foreseen of it.
#[derive(PartialEq, Eq)]
enum Seen {
    Row(Box<QueuedJob>),
    Gone,
}

/// Polls until the cluster is set aside.
pub async fn run(context: Arc<Context>, cluster: Arc<Cluster>) {
    let mut pace = Pace::new();
    let mut seen: HashMap<String, Seen> = HashMap::new();
    let mut away = false;
    loop {
        let open = open_jobs(&context, &cluster.name);
        if open.is_empty() {
            seen.clear();
            let woken = tokio::time::timeout(IDLE, cluster.ask_soon.notified()).await;
            if woken.is_ok() {
                pace.moved();
            }
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep_until(pace.next()) => {}
            () = cluster.ask_soon.notified() => {
                pace.moved();
                tokio::time::sleep_until(pace.next()).await;
            }
        }
        pace.tick();
        let began = Instant::now();
        match tick(&context, &cluster, &mut seen).await {
            Ok(moved) => {
                if moved {
                    pace.moved();
                }
                away = false;
            }
            Err(error) => {
                if !away {
                    tracing::warn!(scheduler = cluster.name, %error, "its jobs cannot be followed now");
                }
                away = true;
            }
        }
        pace.took(began.elapsed());
    }
}

fn open_jobs(context: &Context, scheduler: &str) -> Vec<Open> {
    context
        .stores
        .jobs
        .state()
        .into_iter()
        .filter_map(|job| {
            let status = job.status.as_ref()?;
            let theirs = status
                .scheduler
                .as_ref()
                .is_some_and(|s| s.name == scheduler && s.job_id.is_some());
            if !theirs || status.phase.is_finished() {
                return None;
            }
            Some(Open {
                uid: job.uid()?,
                key: ObjectRef::from_obj(job.as_ref()),
                identity: view::identity(&job)?,
                told: status.outlook.clone(),
                tasks: status
                    .tasks
                    .as_ref()
                    .and_then(|tasks| u64::try_from(tasks.total).ok())
                    .unwrap_or(0),
            })
        })
        .collect()
}

/// True when anything moved.
async fn tick(
    context: &Context,
    cluster: &Cluster,
    seen: &mut HashMap<String, Seen>,
) -> Result<bool, SchedulerError> {
    let queue = Arc::new(cluster.call(context, "queue", cluster.engine.queue()).await?);
    cluster.set_queue(Arc::clone(&queue));
    // What is written down since the queue was asked for may not be in it.
    let open = open_jobs(context, &cluster.name);
    let mut moved: HashSet<usize> = HashSet::new();
    // That others start changes when a job will, and is no reason to ask more often.
    let mut foreseen_anew: HashSet<usize> = HashSet::new();
    let mut put_off = false;
    for (index, job) in open.iter().enumerate() {
        let now = now_of(&queue, job);
        if matches!(&now, Seen::Gone) || matches!(&now, Seen::Row(row) if row.phase.is_finished()) {
            // Only the accounting tells how it ended.
            cluster.want_accounting(&job.uid, job.identity.clone());
        } else if matches!(&now, Seen::Row(row) if row.tasks.total >= job.tasks) {
            // Written down after the queue was asked, it was taken for gone; or it came back by a requeue. The queue tells all
            // of it, and the accounting is not asked at every tick for what it says anyway.
            cluster.forget(&job.uid);
        }
        // In a burst, handing over comes first: that the others wait can be written down when it is done.
        let news_can_wait = cluster.submitting() > 0
            && !seen.contains_key(&job.uid)
            && matches!(&now, Seen::Row(row) if row.phase == Phase::Queued);
        if news_can_wait {
            put_off = true;
            continue;
        }
        if seen.get(&job.uid) != Some(&now) {
            moved.insert(index);
        }
        if let Some(row) = queue.get(&job.identity)
            && is_news(job.told.as_ref(), &row.outlook, queue.asked_at)
        {
            foreseen_anew.insert(index);
        }
        seen.insert(job.uid.clone(), now);
    }
    let uids: HashSet<&str> = open.iter().map(|job| job.uid.as_str()).collect();
    seen.retain(|uid, _| uids.contains(uid.as_str()));

    let asked = ask_accounting(context, cluster, &uids).await;
    let any = put_off || !moved.is_empty();
    for (index, job) in open.iter().enumerate() {
        let has_answer = asked.as_ref().is_ok_and(|asked| asked.contains(&job.uid));
        if moved.contains(&index) || foreseen_anew.contains(&index) || has_answer {
            context.triggers.jobs.reconcile(job.key.clone());
        }
    }
    asked.map(|_| any)
}

fn now_of(queue: &Queue, job: &Open) -> Seen {
    match queue.get(&job.identity) {
        Some(row) => Seen::Row(Box::new(QueuedJob {
            priority: None,
            outlook: Outlook::default(),
            ..row.clone()
        })),
        None => Seen::Gone,
    }
}

/// Asks the accounting for all that are wanted, in one call; gives those that it was asked for.
async fn ask_accounting(
    context: &Context,
    cluster: &Cluster,
    open: &HashSet<&str>,
) -> Result<HashSet<String>, SchedulerError> {
    let mut wanted = cluster.wanted();
    wanted.retain(|(uid, _)| {
        let is_open = open.contains(uid.as_str());
        if !is_open {
            cluster.forget(uid);
        }
        is_open
    });
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let jobs: Vec<JobIdentity> = wanted.iter().map(|(_, job)| job.clone()).collect();
    let asked_at = Timestamp::now();
    let answers = cluster
        .call(context, "accounting", cluster.engine.finished(&jobs))
        .await?;
    let mut by_id: HashMap<JobId, Vec<JobAccounting>> = HashMap::with_capacity(answers.len());
    for answer in answers {
        by_id.entry(answer.id).or_default().push(answer);
    }
    for (uid, job) in &wanted {
        let answer = job.id.and_then(|id| by_id.get(&id)).and_then(|answers| {
            answers.iter().find(|answer| {
                job.is(
                    answer.id,
                    &answer.user,
                    answer.token.as_ref(),
                    answer.submitted_at,
                )
            })
        });
        cluster.set_accounting(uid, asked_at, answer.cloned());
    }
    Ok(wanted.into_iter().map(|(uid, _)| uid).collect())
}

//! BatchJob: one step of its life after the other, as `lifecycle::next` says, until there is nothing to do now.
//!
//! ```text
//!  gather   what is written down, what this process did, what the cluster's tasks saw
//!  validate who, in which account, after which jobs            validate.rs, sources.rs
//!  plan     the one next step                                  mesocentre_scheduler_bridge::lifecycle
//!  apply    sbatch, scancel, a look-up                         here
//!  report   status and conditions                              report.rs
//! ```

pub mod report;
mod sources;
pub mod validate;
pub mod view;

use super::{Cluster, Engine, WaitsFor};
use crate::Context;
use crate::failure::Failure;
use crate::report::{self as frame, in_seconds, write_status};
use crate::watch::key;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{BatchJob, BatchJobStatus, Phase};
use mesocentre_scheduler_bridge::kubernetes::AtMost;
use mesocentre_scheduler_bridge::lifecycle::{
    Answer, Attempt, JobView, Observed, OwnDoing, Progress, Step, next,
};
use mesocentre_scheduler_bridge::{BatchScheduler, SchedulerError, Token};
use std::sync::Arc;
use std::time::Duration;
use validate::{Fit, SCHEDULER_NOT_READY, Unfit, submission, validate, waits_for};

/// How long to wait where nothing says when to look again; what changes tells by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The same for a job whose place is written down, of which there may be thousands.
const FOLLOWED_LOOK: Duration = Duration::from_secs(600);
/// How long a wait lasts before it is written down.
const WORTH_TELLING: Duration = Duration::from_secs(4);
/// How soon a step is looked at that others are to take now: a lookup in vain, a cancellation.
const SOON: Duration = Duration::from_secs(2);

/// One reconcile.
///
/// # Errors
/// When the API server could not be written to now.
pub async fn reconcile(job: Arc<BatchJob>, context: Arc<Context>) -> Result<Action, Failure> {
    let leaving = frame::is_leaving(job.as_ref());
    let phase = job.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let has_token = job
        .status
        .as_ref()
        .is_some_and(|status| status.submission.is_some());
    if leaving && (phase.is_finished() || !has_token) {
        return go(&job, &context).await;
    }
    if phase.is_finished() {
        return after_the_end(&job, &context).await;
    }
    let job = frame::add_finalizer(&context, &job).await?;
    let stop = crate::tenancy::suspension_of(&context, &crate::triggers::tenant_of(&job))
        .filter(|suspension| suspension.work_stops)
        .map(|suspension| suspension.sentence);
    Life { job, context, stop }.live().await
}

/// The call that hands a job over.
const SUBMIT: &str = "submit";

/// A job that is not over.
struct Life {
    job: Arc<BatchJob>,
    context: Arc<Context>,
    /// Why it is cancelled although its author did not ask: its tenant is suspended, and the grace is over.
    stop: Option<String>,
}

/// What a step led to.
enum Then {
    /// Look for the next step at once.
    On,
    /// Nothing more now.
    Rest(Action),
}

impl Life {
    async fn live(mut self) -> Result<Action, Failure> {
        // Whom it runs as and where: from what is written down, else from what it refers to.
        let mut fit = None;
        let written = self.written_cluster();
        if written.is_none() {
            match validate(&self.job, &self.context).await {
                Ok(found) => fit = Some(found),
                Err(unfit) => return self.unfit(unfit).await,
            }
        }
        let Some(cluster) = written.or_else(|| fit.as_ref().map(|fit| Arc::clone(&fit.cluster))) else {
            return self.scheduler_is_gone().await;
        };
        let Some(mut view) = self.view(fit.as_ref()) else {
            return Ok(Action::await_change());
        };
        let mut observed = Observed::nothing(self.context.in_charge_since, cluster.settle());
        observed.own = self.context.batch.own_doing(&view.uid);
        // Each step is taken at most once in a reconcile; the bound is only against a defect.
        for _ in 0..16 {
            let step = next(&view, &observed, Timestamp::now());
            tracing::debug!(job = %frame::named(self.job.as_ref()), ?step);
            match self.take(step, &cluster, &mut fit, &view, &mut observed).await? {
                Then::Rest(action) => return Ok(action),
                Then::On => {}
            }
            if let Some(now) = self.view(fit.as_ref()) {
                view = now;
            }
        }
        Ok(Action::requeue(SOON))
    }

    fn view(&self, fit: Option<&Fit>) -> Option<JobView> {
        let view = view::of(&self.job, fit.map(|fit| &fit.user))?;
        Some(JobView {
            cancel: view.cancel || self.stop.is_some(),
            ..view
        })
    }

    /// Whether somebody asked for its end: by `cancel`, or by deleting it.
    fn is_called_off(&self) -> bool {
        self.job.spec.cancel || frame::is_leaving(self.job.as_ref())
    }

    /// The cluster that has or may have the job.
    fn written_cluster(&self) -> Option<Arc<Cluster>> {
        let scheduler = self.job.status.as_ref()?.scheduler.as_ref()?;
        self.context.batch.cluster(&scheduler.name)
    }

    async fn scheduler_is_gone(&self) -> Result<Action, Failure> {
        let name = self
            .job
            .status
            .as_ref()
            .and_then(|status| status.scheduler.as_ref())
            .map(|scheduler| scheduler.name.clone())
            .unwrap_or_default();
        let what = WaitsFor::Scheduler(name.clone());
        let message = format!(
            "the scheduler {name} that has this job is not at work: make that Scheduler again, so that the job can be followed"
        );
        self.unfit(Unfit::Waits {
            what,
            reason: SCHEDULER_NOT_READY,
            message,
        })
        .await
    }

    async fn take(
        &mut self,
        step: Step,
        cluster: &Arc<Cluster>,
        fit: &mut Option<Fit>,
        view: &JobView,
        observed: &mut Observed,
    ) -> Result<Then, Failure> {
        match step {
            Step::WriteToken { number } => self.write_token(number, fit, view, observed).await,
            Step::Submit => self.submit(cluster, fit, view, observed).await,
            Step::LookUp => {
                if let Some(unfit) = waits_for(cluster) {
                    return self.unfit(unfit).await.map(Then::Rest);
                }
                observed.lookup = self.look_up(cluster, view).await;
                Ok(Then::On)
            }
            Step::AskQueue => Ok(self.ask_queue(cluster, view, observed)),
            Step::AskAccounting => Ok(self.ask_accounting(cluster, view, observed)),
            Step::Cancel => self.cancel(cluster, view).await,
            Step::Hold(hold) => self.hold(cluster, view, hold).await,
            Step::TimeLimit(seconds) => self.limit_time(cluster, view, seconds).await,
            Step::Record(progress) => self.record(cluster, fit.as_ref(), view, &progress).await,
            Step::Finish(progress) => self.finish(cluster, view, &progress).await,
            Step::Wait { until, why } => {
                tracing::debug!(job = %frame::named(self.job.as_ref()), why, "waits");
                let unheard = matches!(observed.lookup, Answer::Unreachable(_));
                self.tell_of_the_wait(&view.uid, &why, unheard).await?;
                let pause = until.map_or(LOOK_AGAIN, |until| {
                    Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
                        + Duration::from_millis(100)
                });
                // An answer in vain is asked for again soon; the cluster's own tasks bring the rest.
                let pause = if unheard || !self.is_told(&why) {
                    pause.min(Duration::from_secs(5))
                } else {
                    pause
                };
                Ok(Then::Rest(Action::requeue(pause)))
            }
            Step::Done => Ok(Then::Rest(Action::requeue(Duration::ZERO))),
        }
    }

    fn is_told(&self, why: &str) -> bool {
        let told = self
            .job
            .status
            .as_ref()
            .and_then(|status| status.message.as_deref());
        told == Some(why)
    }

    /// A wait that goes on is written down for the job's author; a moment's is not. One for the scheduler to answer is a
    /// condition.
    async fn tell_of_the_wait(&mut self, uid: &str, why: &str, unheard: bool) -> Result<(), Failure> {
        if self.context.batch.waits_for(uid, why) < WORTH_TELLING {
            return Ok(());
        }
        let status = if unheard {
            report::with_wait(&self.job, SCHEDULER_NOT_READY, why)
        } else {
            let mut status = self.job.status.clone().unwrap_or_default();
            status.message = Some(why.to_owned());
            status
        };
        self.job = write_status(&self.context, &self.job, status).await?;
        Ok(())
    }

    /// What it refers to, proven; else the rest of the reconcile.
    async fn fit(&self, fit: &mut Option<Fit>) -> Result<Option<Action>, Failure> {
        if fit.is_none() {
            match validate(&self.job, &self.context).await {
                Ok(found) => *fit = Some(found),
                Err(unfit) => return self.unfit(unfit).await.map(Some),
            }
        }
        Ok(None)
    }

    async fn write_token(
        &mut self,
        number: u32,
        fit: &mut Option<Fit>,
        view: &JobView,
        observed: &mut Observed,
    ) -> Result<Then, Failure> {
        if let Some(action) = self.fit(fit).await? {
            return Ok(Then::Rest(action));
        }
        let Some(fit) = fit.as_ref() else {
            return Ok(Then::Rest(Action::requeue(SOON)));
        };
        let before = view.attempt.as_ref().filter(|_| number > 1);
        // Kubernetes keeps times in whole seconds in some places; what is compared later is what was written.
        let attempt = match Attempt::after(before, &view.uid, Timestamp::now()) {
            Ok(attempt) => attempt,
            Err(why) => return self.never(&why.to_string()).await,
        };
        // Found out before a token is written, for what is wrong with a submission stays wrong.
        let planned = match submission(&self.job, fit, &attempt.token) {
            Ok(submission) => submission,
            Err(why) => return self.never(&why).await,
        };
        if let Err(error) = fit.cluster.engine.check(&planned).await
            && error.is_final()
        {
            return self.never(&error.to_string()).await;
        }
        let most = match fit.cluster.engine.at_most(&planned) {
            Ok(most) => most,
            Err(why) => return self.never(&why.to_string()).await,
        };
        if let Some(most) = most
            && let Err(unfit) = self.keep(fit, most)
        {
            return self.unfit(unfit).await.map(Then::Rest);
        }
        let status = report::with_token(&self.job, fit, &attempt, most);
        self.job = write_status(&self.context, &self.job, status).await?;
        if most.is_some() {
            let home = crate::triggers::tenant_of(&self.job);
            let allocations = &self.context.triggers.allocations;
            allocations.reconcile(key(Some(&home), &self.job.spec.allocation));
        }
        observed.own = OwnDoing::Wrote;
        observed.lookup = Answer::NotAsked;
        self.context.batch.did(&view.uid, OwnDoing::Wrote);
        Ok(Then::On)
    }

    /// Keeps what the job may use of its allocation, where no scheduler sees to the budget.
    fn keep(&self, fit: &Fit, most: AtMost) -> Result<(), Unfit> {
        let tenant = crate::triggers::tenant_of(&self.job);
        let allocation = &self.job.spec.allocation;
        let scheduler = &fit.cluster.name;
        if fit.cluster.last_pass().is_none() {
            return Err(Unfit::Waits {
                what: WaitsFor::Use(scheduler.clone()),
                reason: "UsePending",
                message: format!("it waits until what was used on {scheduler} is read, to know what is left"),
            });
        }
        let kept = fit
            .cluster
            .holds
            .keep(&self.context, &self.job, (&tenant, allocation), &fit.limits, most);
        kept.map_err(|message| Unfit::Waits {
            what: WaitsFor::Allocation(tenant, allocation.clone()),
            reason: "BudgetSpent",
            message,
        })
    }

    async fn submit(
        &mut self,
        cluster: &Arc<Cluster>,
        fit: &mut Option<Fit>,
        view: &JobView,
        observed: &mut Observed,
    ) -> Result<Then, Failure> {
        if let Some(action) = self.fit(fit).await? {
            return Ok(Then::Rest(action));
        }
        let (Some(fit), Some(attempt)) = (fit.as_ref(), &view.attempt) else {
            return Ok(Then::Rest(Action::requeue(SOON)));
        };
        let planned = match submission(&self.job, fit, &attempt.token) {
            Ok(submission) => submission,
            Err(why) => return self.never(&why).await,
        };
        if let Some(unfit) = waits_for(cluster) {
            return self.unfit(unfit).await.map(Then::Rest);
        }
        // Until the answer is here its outcome is unknown, whatever becomes of this future.
        self.context.batch.did(
            &view.uid,
            OwnDoing::Asked {
                at: Timestamp::now(),
                answer: Err(mesocentre_scheduler_bridge::SubmitError::Unknown(
                    "the answer was not waited for".into(),
                )),
            },
        );
        let submitting = cluster.submits();
        let context = Arc::clone(&self.context);
        let mut call = std::pin::pin!(cluster.call(&context, SUBMIT, cluster.engine.submit(&planned)));
        let asked_at = in_seconds(Timestamp::now());
        let answer = match tokio::time::timeout(WORTH_TELLING, &mut call).await {
            Ok(answer) => answer,
            Err(_) => {
                // Whether it is away is the Scheduler's to find out.
                cluster.is_in_vain(SUBMIT);
                tokio::join!(call, self.tell_of_no_answer(cluster, asked_at)).0
            }
        };
        drop(submitting);
        if let Err(error) = &answer {
            tracing::warn!(job = %frame::named(self.job.as_ref()), %error, "was not submitted");
        }
        let doing = OwnDoing::Asked {
            at: Timestamp::now(),
            answer,
        };
        self.context.batch.did(&view.uid, doing.clone());
        observed.own = doing;
        Ok(Then::On)
    }

    /// It is being handed over, and that takes long.
    async fn tell_of_no_answer(&mut self, cluster: &Cluster, asked_at: Timestamp) {
        let why = format!(
            "it is being handed over to the scheduler {}, which has not answered since {asked_at}: nothing is to be done, it goes on by itself when that answers",
            cluster.name
        );
        let status = report::with_wait(&self.job, SCHEDULER_NOT_READY, &why);
        match write_status(&self.context, &self.job, status).await {
            Ok(job) => self.job = job,
            // What is wrong with it, the write after the answer says.
            Err(failure) => tracing::debug!(job = %frame::named(self.job.as_ref()), %failure, "is not told"),
        }
    }

    async fn look_up(
        &self,
        cluster: &Cluster,
        view: &JobView,
    ) -> Answer<(Timestamp, Option<mesocentre_scheduler_bridge::QueuedJob>)> {
        let (Some(identity), Some(attempt)) = (view.identity(), &view.attempt) else {
            return Answer::NotAsked;
        };
        let asked_at = Timestamp::now();
        // A minute early: the clocks of two machines may be apart.
        let since = attempt
            .written_at
            .saturating_sub(SignedDuration::from_mins(1))
            .unwrap_or(attempt.written_at);
        match cluster
            .call(&self.context, "find", cluster.engine.find(&identity, since))
            .await
        {
            Ok(found) => Answer::Known((asked_at, found)),
            Err(error) => Answer::Unreachable(error.to_string()),
        }
    }

    fn ask_queue(&self, cluster: &Cluster, view: &JobView, observed: &mut Observed) -> Then {
        let written_at = view.attempt.as_ref().map(|attempt| attempt.written_at);
        match cluster.queue() {
            Some(queue) if written_at.is_none_or(|written_at| queue.asked_at > written_at) => {
                let row = view.identity().and_then(|identity| queue.get(&identity).cloned());
                observed.queue = Answer::Known(row);
                Then::On
            }
            _ => {
                cluster.ask_soon.notify_one();
                Then::Rest(Action::requeue(LOOK_AGAIN))
            }
        }
    }

    fn ask_accounting(&self, cluster: &Cluster, view: &JobView, observed: &mut Observed) -> Then {
        if let Some((_, answer)) = cluster.accounting_of(&view.uid) {
            observed.accounting = Answer::Known(answer);
            return Then::On;
        }
        if let Some(identity) = view.identity() {
            cluster.want_accounting(&view.uid, identity);
        }
        Then::Rest(Action::requeue(LOOK_AGAIN))
    }

    async fn cancel(&self, cluster: &Cluster, view: &JobView) -> Result<Then, Failure> {
        if let Some(identity) = view.identity() {
            match cluster
                .call(&self.context, "cancel", cluster.engine.cancel(&identity))
                .await
            {
                Ok(()) => cluster.ask_soon.notify_one(),
                Err(error) => {
                    tracing::warn!(job = %frame::named(self.job.as_ref()), %error, "is not cancelled yet");
                }
            }
        }
        Ok(Then::Rest(Action::requeue(SOON)))
    }

    async fn hold(&mut self, cluster: &Cluster, view: &JobView, hold: bool) -> Result<Then, Failure> {
        let Some(identity) = view.identity() else {
            return Ok(Then::Rest(Action::requeue(SOON)));
        };
        let (done, not_yet) = if hold {
            let call = cluster.engine.hold(&identity);
            (cluster.call(&self.context, "hold", call).await, "is not held yet")
        } else {
            let call = cluster.engine.release(&identity);
            (
                cluster.call(&self.context, "release", call).await,
                "is not released yet",
            )
        };
        self.brought_about(cluster, view, done, report::with_hold(&self.job, hold), not_yet)
            .await
    }

    async fn limit_time(&mut self, cluster: &Cluster, view: &JobView, seconds: u64) -> Result<Then, Failure> {
        let Some(identity) = view.identity() else {
            return Ok(Then::Rest(Action::requeue(SOON)));
        };
        let call = cluster.engine.set_time_limit(&identity, seconds);
        let mut done = cluster.call(&self.context, "set_time_limit", call).await;
        if let Err(SchedulerError::Refused { .. }) = &done
            && matches!(cluster.engine, Engine::Kubernetes(_))
        {
            // It would say so for ever: once is enough, and the job goes on as it is.
            let note = done.as_ref().map_or_else(ToString::to_string, |()| String::new());
            frame::event(
                &self.context,
                self.job.as_ref(),
                EventType::Warning,
                "TimeLimitUnchanged",
                &note,
            )
            .await;
            done = Ok(());
        }
        let status = report::with_time_limit(&self.job);
        self.brought_about(cluster, view, done, status, "has not its new time limit yet")
            .await
    }

    /// What the spec asks of a job that exists is written down only once it is done: done twice, it does no harm.
    async fn brought_about(
        &mut self,
        cluster: &Cluster,
        view: &JobView,
        done: Result<(), SchedulerError>,
        status: BatchJobStatus,
        not_yet: &str,
    ) -> Result<Then, Failure> {
        match done {
            Ok(()) => {
                self.job = write_status(&self.context, &self.job, status).await?;
                cluster.ask_soon.notify_one();
                Ok(Then::On)
            }
            Err(error) => {
                tracing::warn!(job = %frame::named(self.job.as_ref()), %error, "{not_yet}");
                self.tell_of_the_wait(&view.uid, &format!("{not_yet}: {error}"), false)
                    .await?;
                Ok(Then::Rest(Action::requeue(SOON)))
            }
        }
    }

    async fn record(
        &mut self,
        cluster: &Cluster,
        fit: Option<&Fit>,
        view: &JobView,
        progress: &Progress,
    ) -> Result<Then, Failure> {
        let is_new = view.id.is_none();
        let output = if is_new {
            self.output_path(cluster, fit, view, progress).await
        } else {
            None
        };
        let status = report::with_progress(&self.job, progress, output, Timestamp::now());
        self.job = write_status(&self.context, &self.job, status).await?;
        self.context.batch.waits_no_more(&view.uid);
        if is_new {
            self.context.batch.forget(&view.uid);
            cluster.ask_soon.notify_one();
        }
        if view.cancel && is_new {
            return Ok(Then::On);
        }
        // The cluster's own tasks bring it back when anything moves, the API server when somebody changes it.
        Ok(Then::Rest(Action::requeue(FOLLOWED_LOOK)))
    }

    /// Where the output goes; asked once, when the number is written down.
    async fn output_path(
        &self,
        cluster: &Cluster,
        fit: Option<&Fit>,
        view: &JobView,
        progress: &Progress,
    ) -> Option<String> {
        let id = progress.id?;
        let token: &Token = &view.attempt.as_ref()?.token;
        let found;
        let fit = match fit {
            Some(fit) => fit,
            None => {
                found = validate(&self.job, &self.context).await.ok()?;
                &found
            }
        };
        let planned = submission(&self.job, fit, token).ok()?;
        cluster.engine.output_path(&planned, id).await
    }

    async fn finish(
        &mut self,
        cluster: &Cluster,
        view: &JobView,
        progress: &Progress,
    ) -> Result<Then, Failure> {
        let mut progress = progress.clone();
        if let Some(why) = &self.stop
            && progress.phase == view::to_bridge(Phase::Cancelled)
            && !self.is_called_off()
        {
            progress.message = Some(format!("was cancelled: {why}"));
        }
        let status = report::with_progress(&self.job, &progress, None, Timestamp::now());
        let phase = status.phase;
        let message = status.message.clone();
        self.job = write_status(&self.context, &self.job, status).await?;
        self.context.batch.forget(&view.uid);
        cluster.forget(&view.uid);
        cluster.ended.notify_one();
        if phase != Phase::Succeeded {
            let note = message.unwrap_or_else(|| "it did not succeed".into());
            frame::event(
                &self.context,
                self.job.as_ref(),
                EventType::Warning,
                phase.as_str(),
                &note,
            )
            .await;
        }
        // Its own change brings it back, for what follows the end.
        Ok(Then::Rest(Action::await_change()))
    }

    /// It cannot be handed over, now or ever.
    async fn unfit(&self, unfit: Unfit) -> Result<Action, Failure> {
        // Somebody who cancels it wants no mending.
        if self.is_called_off() || self.stop.is_some() {
            let has_token = self.job.status.as_ref().is_some_and(|s| s.submission.is_some());
            if !has_token {
                let why = match &self.stop {
                    Some(why) if !self.is_called_off() => format!("was cancelled: {why}"),
                    _ => "was cancelled before the scheduler had it".to_owned(),
                };
                return self.end(Phase::Cancelled, &why).await;
            }
        }
        match unfit {
            Unfit::Never { message } => self.end(Phase::Failed, &message).await,
            Unfit::Refused { reason, message } => {
                let before = self.job.status.clone().unwrap_or_default();
                let status = report::with_refusal(&self.job, reason, &message);
                frame::warn_when_not_ready(
                    &self.context,
                    self.job.as_ref(),
                    &before.conditions,
                    &status.conditions,
                )
                .await;
                write_status(&self.context, &self.job, status).await?;
                let home = crate::triggers::tenant_of(&self.job);
                // Both are where such a thing is mended.
                let allocation = WaitsFor::Allocation(home, self.job.spec.allocation.clone());
                let workspace = WaitsFor::Sources(self.job.namespace().unwrap_or_default());
                for what in [allocation, workspace] {
                    self.context.batch.wait(self.key(), what);
                }
                Ok(Action::requeue(Duration::from_secs(300)))
            }
            Unfit::Waits {
                what,
                reason,
                message,
            } => {
                self.context.batch.wait(self.key(), what.clone());
                let came_back = match &what {
                    WaitsFor::Scheduler(name) => {
                        let cluster = self.context.batch.cluster(name);
                        cluster.is_some_and(|cluster| cluster.away().is_none())
                    }
                    _ => false,
                };
                let status = report::with_wait(&self.job, reason, &message);
                write_status(&self.context, &self.job, status).await?;
                // What it waits for may have come between the look and the note.
                Ok(Action::requeue(if came_back { SOON } else { LOOK_AGAIN }))
            }
        }
    }

    fn key(&self) -> ObjectRef<BatchJob> {
        ObjectRef::from_obj(self.job.as_ref())
    }

    /// It can never be handed over as it stands.
    async fn never(&self, why: &str) -> Result<Then, Failure> {
        self.end(Phase::Failed, why).await.map(Then::Rest)
    }

    /// Ends a job that the scheduler never had.
    async fn end(&self, phase: Phase, why: &str) -> Result<Action, Failure> {
        let progress = Progress {
            ended_at: Some(in_seconds(Timestamp::now())),
            ..Progress::bare(view::to_bridge(phase), Some(why.into()))
        };
        let status = report::with_progress(&self.job, &progress, None, Timestamp::now());
        let job = write_status(&self.context, &self.job, status).await?;
        self.context.batch.forget(&job.uid().unwrap_or_default());
        let type_ = if phase == Phase::Cancelled {
            EventType::Normal
        } else {
            EventType::Warning
        };
        frame::event(&self.context, job.as_ref(), type_, phase.as_str(), why).await;
        Ok(Action::await_change())
    }
}

/// After the end: whether it is metered, and whether it is time for the object to go.
async fn after_the_end(job: &Arc<BatchJob>, context: &Arc<Context>) -> Result<Action, Failure> {
    let Some(status) = &job.status else {
        return Ok(Action::await_change());
    };
    if !report::is_metered(status) {
        if !is_covered(status, context) {
            // The feed has it looked at after each reading.
            return Ok(Action::requeue(Duration::from_secs(60)));
        }
        write_status(context, job, report::with_metered(job)).await?;
        close(job, context).await;
        return Ok(Action::await_change());
    }
    let (Some(ttl), Some(ended)) = (job.spec.ttl_after_finished, status.finished_at) else {
        return Ok(Action::await_change());
    };
    let ttl = SignedDuration::try_from(std::time::Duration::from(ttl)).unwrap_or(SignedDuration::MAX);
    let due = ended.saturating_add(ttl).unwrap_or(Timestamp::MAX);
    match Duration::try_from(due.duration_since(Timestamp::now())) {
        Ok(left) if !left.is_zero() => Ok(Action::requeue(left.min(Duration::from_secs(3_600)))),
        _ => {
            frame::delete(context, job.as_ref()).await?;
            Ok(Action::await_change())
        }
    }
}

/// What the scheduler kept for metering is not needed any more, and what was kept of the allocation is free again.
async fn close(job: &BatchJob, context: &Arc<Context>) {
    let home = crate::triggers::tenant_of(job);
    context
        .triggers
        .allocations
        .reconcile(key(Some(&home), &job.spec.allocation));
    context
        .batch
        .wake(&WaitsFor::Allocation(home, job.spec.allocation.clone()));
    let scheduler = job.status.as_ref().and_then(|status| status.scheduler.as_ref());
    let cluster = scheduler.and_then(|scheduler| context.batch.cluster(&scheduler.name));
    if let (Some(cluster), Some(identity)) = (cluster, view::identity(job)) {
        let call = cluster.engine.close(&identity);
        if let Err(error) = cluster.call(context, "close", call).await {
            // It is looked at once more at each tick: slower, and no more than that.
            tracing::warn!(job = %frame::named(job), %error, "its Job is not marked as metered");
        }
    }
}

/// Whether the accounting was read into the ledger after the job's end was known.
fn is_covered(status: &BatchJobStatus, context: &Context) -> bool {
    let (Some(since), Some(scheduler)) = (report::finished_since(status), &status.scheduler) else {
        return false;
    };
    let Some(cluster) = context.batch.cluster(&scheduler.name) else {
        return false;
    };
    // The condition's time is in whole seconds, rounded down.
    let known = since
        .saturating_add(SignedDuration::from_secs(1))
        .unwrap_or(since);
    // What ended in the future, by another clock, is metered then.
    let known = known.max(status.finished_at.unwrap_or(known));
    cluster.last_pass().is_some_and(|pass| pass.began >= known)
}

/// The object may go: there is nothing on the scheduler that it stands for.
async fn go(job: &Arc<BatchJob>, context: &Arc<Context>) -> Result<Action, Failure> {
    let uid = job.uid().unwrap_or_default();
    frame::remove_finalizer(context, job).await?;
    context.batch.forget(&uid);
    if let Some(scheduler) = job.status.as_ref().and_then(|status| status.scheduler.as_ref())
        && let Some(cluster) = context.batch.cluster(&scheduler.name)
    {
        cluster.forget(&uid);
    }
    context.own_writes.forget(&uid);
    Ok(Action::await_change())
}

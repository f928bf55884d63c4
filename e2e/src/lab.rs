//! A lab of a test's own: a tenant with a workspace, hours on Slurm, and a member who submits jobs.

use crate::fixture::{self, TenantFixture};
use crate::{Stack, wait_for};
use anyhow::{Context, Result};
use kube::api::PostParams;
use kube::{Api, Client};
use mesocentre_api::{Allocation, BatchJob, BatchJobStatus, ConditionStatus, find_condition};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a job may take to come so far on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// The allocation's name.
pub const HOURS: &str = "hours";

/// A tenant with a workspace and hours, and its member's client.
pub struct Lab {
    /// The stack.
    pub stack: Stack,
    /// The tenant.
    pub tenant: TenantFixture,
    /// Its workspace's namespace.
    pub namespace: String,
    /// Speaks as its member.
    pub member: Client,
}

impl Lab {
    /// Beside other tests.
    ///
    /// # Errors
    /// When something of it is not Ready in time.
    pub async fn new(prefix: &str) -> Result<Self> {
        Self::on(Stack::current().await?, prefix).await
    }

    /// Once no other test uses the stack, and until this one ends: for what is stopped or killed.
    ///
    /// # Errors
    /// When something of it is not Ready in time.
    pub async fn alone(prefix: &str) -> Result<Self> {
        let stack = Stack::alone().await?;
        // Whatever the test before left of it.
        stack.operator().start().await?;
        Self::on(stack, prefix).await
    }

    async fn on(stack: Stack, prefix: &str) -> Result<Self> {
        let tenant = fixture::tenant(&stack, prefix).await?;
        let namespace = tenant.workspace(&stack, "lab").await?;
        tenant.allocation(&stack, HOURS, 1_000).await?;
        let member = stack.user(&tenant.member, &[]).await?;
        Ok(Self {
            stack,
            tenant,
            namespace,
            member,
        })
    }

    /// The workspace's jobs, as the member.
    pub fn jobs(&self) -> Api<BatchJob> {
        Api::namespaced(self.member.clone(), &self.namespace)
    }

    /// Submits a job as the member; its allocation is the lab's.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn submit(&self, name: &str, spec: Value) -> Result<BatchJob> {
        let job = job(name, spec)?;
        Ok(self.jobs().create(&PostParams::default(), &job).await?)
    }

    /// Waits until a job's status is as it should be; panics with the last one.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&BatchJobStatus) -> bool,
    ) -> BatchJobStatus {
        // As the administrator: a test of rights may have taken the member's.
        let jobs = Api::<BatchJob>::namespaced(self.stack.admin(), &self.namespace);
        wait_for(&format!("{name} {what}"), PATIENCE, async || {
            let job = jobs.get(name).await.map_err(|error| error.to_string())?;
            let status = job.status.unwrap_or_default();
            if holds(&status) {
                Ok(status)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    }

    /// Waits until a job is over.
    pub async fn until_over(&self, name: &str) -> BatchJobStatus {
        self.until(name, "is over", |status| status.phase.is_finished())
            .await
    }

    /// Waits until what a job used is in the ledger.
    pub async fn until_metered(&self, name: &str) -> BatchJobStatus {
        self.until(name, "is over and metered", |status| {
            find_condition(&status.conditions, "Metered").is_some_and(|c| c.status == ConditionStatus::True)
        })
        .await
    }

    /// Waits until the allocation's used hours, which the ledger tells, are these core seconds.
    pub async fn until_used(&self, core_seconds: u64) {
        let allocations: Api<Allocation> = Api::namespaced(self.stack.admin(), &self.tenant.name);
        wait_for(
            "the hours used are those of Slurm's accounting",
            PATIENCE,
            async || {
                let allocation = allocations.get(HOURS).await.map_err(|error| error.to_string())?;
                let used = allocation
                    .status
                    .and_then(|s| s.used_core_hours)
                    .unwrap_or_default();
                if used == hours(core_seconds) {
                    Ok(())
                } else {
                    Err(format!("{used} hours, and {core_seconds} core seconds"))
                }
            },
        )
        .await;
    }

    /// What Slurm's accounting says of all of the lab's jobs, each run by itself: these fields of each row.
    ///
    /// # Errors
    /// When sacct cannot be run.
    pub async fn sacct(&self, fields: &str) -> Result<Vec<Vec<String>>> {
        let account = format!("--accounts={}.{HOURS}", self.tenant.name);
        let more = ["--allusers", "--starttime=now-1day", account.as_str()];
        rows(&self.stack, &more, fields).await
    }

    /// The core-minutes that Slurm lets an allocation use.
    ///
    /// # Errors
    /// When Slurm has no such limit.
    pub async fn limit_on_slurm(&self, allocation: &str) -> Result<String> {
        let account = format!("account={}.{allocation}", self.tenant.name);
        let answer = self
            .stack
            .run(&[
                "sacctmgr",
                "-nP",
                "show",
                "assoc",
                "where",
                &account,
                "user=",
                "format=GrpTRESMins",
            ])
            .await?;
        let cpu = answer
            .stdout
            .trim()
            .split(',')
            .find_map(|tres| tres.strip_prefix("cpu="));
        Ok(cpu.with_context(|| format!("{answer:?}"))?.to_owned())
    }

    /// What Slurm's accounting says of the first run of a job.
    ///
    /// # Errors
    /// When it does not know the job.
    pub async fn sacct_of(&self, id: &str, fields: &str) -> Result<Vec<String>> {
        let mut rows = rows(&self.stack, &["-j", id], fields).await?.into_iter();
        rows.next()
            .with_context(|| format!("the accounting knows no job {id}"))
    }
}

async fn rows(stack: &Stack, which: &[&str], fields: &str) -> Result<Vec<Vec<String>>> {
    let format = format!("--format={fields}");
    let mut command = vec!["sacct", "--duplicates", "-X", "-nP", format.as_str()];
    command.extend(which);
    let answer = stack.run(&command).await?;
    Ok(answer
        .stdout
        .lines()
        .map(|row| row.split('|').map(ToOwned::to_owned).collect())
        .collect())
}

/// A batch job of the lab's allocation, where its spec names no other.
///
/// # Errors
/// When the spec is none.
pub fn job(name: &str, mut spec: Value) -> Result<BatchJob> {
    if spec.get("allocation").is_none() {
        spec["allocation"] = HOURS.into();
    }
    serde_json::from_value(json!({
        "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"name": name}, "spec": spec,
    }))
    .context("a batch job of a test")
}

/// The job's number on Slurm; empty before it has one.
pub fn job_id(status: &BatchJobStatus) -> &str {
    status
        .scheduler
        .as_ref()
        .and_then(|scheduler| scheduler.job_id.as_deref())
        .unwrap_or_default()
}

/// Core seconds in hours as statuses show them: six decimals, half-up.
pub fn hours(core_seconds: u64) -> String {
    let hours = (Decimal::from(core_seconds) / Decimal::from(3_600))
        .round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero);
    format!("{hours:.6}")
}

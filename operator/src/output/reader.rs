//! From a reader and a job to the file, and to pieces of it as the posix account that the reader has in that tenant.
//!
//! Nothing is kept of anybody's: who the reader is in the tenant is asked each time, so who was taken out reads no more.

use super::OutputSettings;
use super::answer::Refusal;
use crate::batch::{LoginAuthority, LoginSources, transport};
use crate::failure::{in_words, is_not_found};
use crate::lock::locked;
use crate::settings::SlurmSettings;
use kube::{Api, Client, Resource, ResourceExt};
use mesocentre_api::output::no_output_yet;
use mesocentre_api::{
    BatchJob, ConditionStatus, Phase, READY, Scheduler, SchedulerSpec, Tenant, find_condition,
};
use mesocentre_scheduler_bridge::slurm::{
    OutputError, OutputPiece, OutputStart, Slurm, Transport, output_of_task,
};
use mesocentre_scheduler_bridge::{JobId, SchedulerError, UserName};
use mesocentre_tenancy::convention::SUSPENDED;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How much is read at a time, in bytes.
pub const PIECE: u64 = 1 << 20;
/// How many outputs are read at a time; of one reader.
const READERS: usize = 64;
const OF_ONE: usize = 8;
/// How long what logs in on a login node is believed to be as it was.
const BELIEVED_FOR: Duration = Duration::from_secs(30);

/// Reads outputs.
pub struct Reader {
    client: Client,
    namespace: String,
    slurm: SlurmSettings,
    authority: Option<Arc<LoginAuthority>>,
    clusters: tokio::sync::Mutex<HashMap<String, Known>>,
    readers: Arc<Mutex<HashMap<String, usize>>>,
}

/// A Slurm cluster that was read from lately.
struct Known {
    since: Instant,
    spec: SchedulerSpec,
    transport: Transport,
    slurm: Slurm,
}

/// A place among the readers, until it is dropped.
pub struct Seat {
    readers: Arc<Mutex<HashMap<String, usize>>>,
    user: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut readers = locked(&self.readers);
        if let Some(count) = readers.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                readers.remove(&self.user);
            }
        }
    }
}

/// A job's output, and as whom it is read.
#[derive(Clone)]
pub struct Output {
    slurm: Slurm,
    /// The reader's posix account.
    pub account: UserName,
    /// The file, on the scheduler's file system.
    pub file: String,
    job: String,
}

impl Reader {
    /// Nothing is asked yet.
    pub fn new(client: Client, settings: &OutputSettings, authority: Option<Arc<LoginAuthority>>) -> Self {
        Self {
            client,
            namespace: settings.namespace.clone(),
            slurm: settings.slurm.clone(),
            authority,
            clusters: tokio::sync::Mutex::default(),
            readers: Arc::default(),
        }
    }

    /// A place for one more reading of this user's.
    ///
    /// # Errors
    /// When too many are taken.
    pub fn seat(&self, user: &str) -> Result<Seat, Refusal> {
        let mut readers = locked(&self.readers);
        let mine = readers.get(user).copied().unwrap_or(0);
        if mine >= OF_ONE {
            return Err(Refusal::forbidden(format!(
                "{user} reads {mine} outputs already: end one of them first"
            )));
        }
        if readers.values().sum::<usize>() >= READERS {
            return Err(Refusal::forbidden(format!(
                "{READERS} outputs are being read already: try again in a moment"
            )));
        }
        readers.insert(user.to_owned(), mine + 1);
        Ok(Seat {
            readers: Arc::clone(&self.readers),
            user: user.to_owned(),
        })
    }

    /// The output of a job, or of a task of it, for this reader.
    ///
    /// # Errors
    /// When there is none, or none that they may read.
    pub async fn output(
        &self,
        user: &str,
        namespace: &str,
        name: &str,
        task: Option<&str>,
    ) -> Result<Output, Refusal> {
        let job = self.job(namespace, name).await?;
        let Some(scheduler) = scheduler_of(&job)? else {
            return Err(Refusal::not_found(no_output_yet(&job)));
        };
        let account = self.account(user, namespace).await?;
        let Some(pattern) = job
            .status
            .as_ref()
            .and_then(|status| status.output_path.as_deref())
        else {
            return Err(Refusal::not_found(no_output_yet(&job)));
        };
        let file = output_of_task(pattern, task).ok_or_else(|| {
            Refusal::bad_request(format!(
                "{name} is an array, and each task writes a file of its own: name the task, as ?task=1"
            ))
        })?;
        Ok(Output {
            slurm: self.cluster(scheduler).await?,
            account,
            file,
            job: name.to_owned(),
        })
    }

    /// Whether nothing more comes of a job. One that is gone is over; one that cannot be asked after is not.
    pub async fn is_over(&self, namespace: &str, name: &str) -> bool {
        let jobs: Api<BatchJob> = Api::namespaced(self.client.clone(), namespace);
        match jobs.get_opt(name).await {
            Ok(Some(job)) => phase(&job).is_finished(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    async fn job(&self, namespace: &str, name: &str) -> Result<BatchJob, Refusal> {
        let jobs: Api<BatchJob> = Api::namespaced(self.client.clone(), namespace);
        get(&jobs, name)
            .await?
            .ok_or_else(|| Refusal::not_found(format!("there is no batch job {name} in {namespace}")))
    }

    /// The posix account that the reader has in the tenant of this namespace.
    async fn account(&self, user: &str, namespace: &str) -> Result<UserName, Refusal> {
        let name = namespace.split_once("--").map_or(namespace, |(tenant, _)| tenant);
        let tenant = get(&Api::<Tenant>::all(self.client.clone()), name).await?;
        account_in(tenant.as_ref(), name, user)
    }

    /// The Slurm cluster of a Scheduler.
    async fn cluster(&self, name: &str) -> Result<Slurm, Refusal> {
        let scheduler = get(&Api::<Scheduler>::all(self.client.clone()), name).await?;
        let Some(Scheduler { spec, .. }) = scheduler else {
            return Err(Refusal::not_found(format!(
                "there is no Scheduler {name} any more: ask the administrators of the datacentre"
            )));
        };
        let mut clusters = self.clusters.lock().await;
        if let Some(known) = clusters.get(name)
            && known.spec == spec
            && known.since.elapsed() < BELIEVED_FOR
        {
            return Ok(known.slurm.clone());
        }
        let Some(slurm) = &spec.slurm else {
            return Err(Refusal::bad_request(format!("{name} is no Slurm cluster")));
        };
        let sources = LoginSources {
            client: &self.client,
            namespace: &self.namespace,
            authority: self.authority.as_ref(),
        };
        let transport = transport::gather(sources, slurm).await.map_err(away)?;
        let since = Instant::now();
        if let Some(known) = clusters.get_mut(name)
            && known.spec == spec
            && known.transport == transport
        {
            known.since = since;
            return Ok(known.slurm.clone());
        }
        let config = transport::config(slurm, transport.clone(), &self.slurm).map_err(away)?;
        let slurm = Slurm::new(config).map_err(away)?;
        let known = Known {
            since,
            spec,
            transport,
            slurm: slurm.clone(),
        };
        clusters.insert(name.to_owned(), known);
        Ok(slurm)
    }
}

impl Output {
    /// A piece of it.
    ///
    /// # Errors
    /// When it cannot be read, or not by this reader.
    pub async fn piece(&self, start: OutputStart) -> Result<OutputPiece, Refusal> {
        let read = self
            .slurm
            .read_output(&self.account, &self.file, start, PIECE)
            .await;
        read.map_err(|error| {
            let sentence = format!("the output of {} is {}, and {error}", self.job, self.file);
            match error {
                OutputError::NoFile => Refusal::not_found(sentence),
                OutputError::NotReadable(_) | OutputError::NoAccount(_) => Refusal::forbidden(sentence),
                OutputError::NotRegular | OutputError::NotAbsolute => Refusal::bad_request(sentence),
                OutputError::Scheduler(error) => away(error),
            }
        })
    }
}

fn away(error: SchedulerError) -> Refusal {
    Refusal::away(error.to_string())
}

async fn get<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Refusal>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    match api.get(name).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(Refusal::away(in_words(&error))),
    }
}

fn phase(job: &BatchJob) -> Phase {
    job.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// The Scheduler that has a job, where it writes its output to a file.
fn scheduler_of(job: &BatchJob) -> Result<Option<&str>, Refusal> {
    let Some(scheduler) = job.status.as_ref().and_then(|status| status.scheduler.as_ref()) else {
        return Ok(None);
    };
    let id = scheduler
        .job_id
        .as_deref()
        .and_then(|id| id.parse::<JobId>().ok());
    match id {
        Some(JobId::Made(_)) => Err(Refusal::bad_request(format!(
            "{name} runs as pods, and its output is their log: `meso logs {name}`, or `kubectl logs` of its pods",
            name = job.name_any()
        ))),
        _ => Ok(Some(&scheduler.name)),
    }
}

/// The posix account of a user in a tenant. Only one that stands says who has which: of two that name one account, the
/// other is told so and is not Ready.
fn account_in(tenant: Option<&Tenant>, name: &str, user: &str) -> Result<UserName, Refusal> {
    let Some(tenant) = tenant else {
        return Err(Refusal::not_found(format!("there is no tenant {name}")));
    };
    if !stands(tenant) {
        return Err(Refusal::away(format!(
            "the tenant {name} is not Ready, so nothing is read as one of its members: its condition Ready says what to mend"
        )));
    }
    let members = &tenant.spec.members;
    let Some(member) = members.iter().find(|member| member.user.as_deref() == Some(user)) else {
        return Err(Refusal::forbidden(format!(
            "{user} is not named among the members of {name}, so there is no posix account to read as: ask the administrators of the datacentre to name you with one"
        )));
    };
    let Some(account) = &member.posix_account else {
        return Err(Refusal::forbidden(format!(
            "{user} has no posix account in {name}, and what jobs write is read as one: ask the administrators of the datacentre for it"
        )));
    };
    UserName::new(account).map_err(|error| Refusal::forbidden(error.to_string()))
}

/// Whether what the tenant's spec says holds: it is Ready, or would be if it were not suspended.
fn stands(tenant: &Tenant) -> bool {
    let Some(status) = &tenant.status else {
        return false;
    };
    let of = |type_| find_condition(&status.conditions, type_);
    let Some(ready) = of(READY) else { return false };
    let is_suspended_only = of(SUSPENDED).is_some_and(|suspended| {
        suspended.status == ConditionStatus::True && suspended.reason == ready.reason
    });
    tenant.metadata.generation == status.observed_generation
        && (ready.status == ConditionStatus::True || is_suspended_only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tenant(observed: i64, ready: (&str, &str), suspended: (&str, &str)) -> Tenant {
        serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "univ-caen", "generation": 3},
            "spec": {
                "displayName": "Caen", "category": "University", "perimeter": "open",
                "legalEntity": {
                    "name": "Caen", "siret": "19141408500016",
                    "address": {"street": "1 rue", "postalCode": "14000", "city": "Caen", "countryCode": "FR"},
                    "invoicing": {"email": "factures@univ.test"},
                },
                "convention": {"reference": "C-1", "validFrom": "2020-01-01", "validUntil": "2099-12-31"},
                "members": [
                    {"user": "alice@univ.test", "role": "Member", "posixAccount": "alice"},
                    {"user": "bob@univ.test", "role": "Viewer"},
                    {"group": "univ:lab", "role": "Viewer"},
                ],
                "quota": {"cpu": "64", "memory": "256Gi", "storage": "2Ti", "pods": 200, "gpus": 4, "workspaces": 10},
            },
            "status": {"observedGeneration": observed, "conditions": [
                {"type": "Ready", "status": ready.0, "reason": ready.1, "message": "", "lastTransitionTime": "2026-11-24T10:00:00Z"},
                {"type": "Suspended", "status": suspended.0, "reason": suspended.1, "message": "", "lastTransitionTime": "2026-11-24T10:00:00Z"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_member_reads_as_their_own_posix_account_and_nobody_else_reads() {
        let stands = tenant(3, ("True", "Standing"), ("False", "NotSuspended"));
        let account = |user| account_in(Some(&stands), "univ-caen", user);
        assert_eq!(account("alice@univ.test").unwrap().as_str(), "alice");
        for (user, told) in [
            ("bob@univ.test", "has no posix account in univ-caen"),
            ("alice", "is not named among the members"),
            ("univ:lab", "is not named among the members"),
        ] {
            let refusal = account(user).unwrap_err();
            assert!(refusal.message.contains(told), "{refusal:?}");
        }
        assert!(account_in(None, "univ-caen", "alice@univ.test").is_err());
    }

    #[test]
    fn a_tenant_that_does_not_stand_gives_nobody_an_account_and_one_that_is_only_suspended_does() {
        let gives = |tenant: &Tenant| account_in(Some(tenant), "univ-caen", "alice@univ.test").is_ok();
        let not = ("False", "NotSuspended");
        assert!(!gives(&tenant(3, ("False", "PosixAccountTaken"), not)));
        assert!(
            !gives(&tenant(2, ("True", "Standing"), not)),
            "what it says now has not been judged"
        );
        let ended = ("True", "ConventionEnded");
        assert!(gives(&tenant(3, ("False", "ConventionEnded"), ended)));
        assert!(!gives(&tenant(3, ("False", "PosixAccountTaken"), ended)));
    }

    #[test]
    fn one_user_leaves_room_for_others() {
        let readers: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let seat = |user: &str| Seat {
            readers: Arc::clone(&readers),
            user: user.to_owned(),
        };
        locked(&readers).insert("alice".into(), 2);
        drop(seat("alice"));
        assert_eq!(locked(&readers).get("alice"), Some(&1));
        drop(seat("alice"));
        assert!(locked(&readers).is_empty());
    }
}

//! One leader at a time, by a Lease: taken and renewed by compare-and-swap, measured by this process's own clock.
//!
//! A lease alone fences nobody, so who cannot renew in time ends its process, well before another may take over. A
//! process that died on this very machine is known to be dead (its number and start time are in its name), so its
//! successor does not wait.

use crate::failure::{Failure, exists_already, is_conflict, is_not_found};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "mesocentre-operator";
/// For how long a lease that is not renewed is still its holder's, as the others see it.
const LASTS: Duration = Duration::from_secs(12);
/// How often the holder renews.
const RENEWED_EVERY: Duration = Duration::from_secs(3);
/// After how long without renewal the holder ends itself: before another may begin.
const GIVES_UP_AFTER: Duration = Duration::from_secs(8);
/// How often others look.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// A candidate for the lease, or its holder.
#[derive(Clone)]
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
}

impl Candidate {
    /// Of this process, in the operator's namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity: identity(),
        }
    }

    /// Waits until this process leads. `waits` is called each time another is found to.
    pub async fn acquire(&self, waits: impl Fn()) {
        let mut seen: Option<(Option<String>, Instant)> = None;
        loop {
            match self.try_to_acquire(&mut seen).await {
                Ok(true) => return,
                Ok(false) => waits(),
                Err(failure) => tracing::warn!(%failure, "the lease is asked for again"),
            }
            tokio::time::sleep(LOOKED_AT_EVERY).await;
        }
    }

    /// `seen` is the version of the lease that was seen last, and since when.
    async fn try_to_acquire(&self, seen: &mut Option<(Option<String>, Instant)>) -> Result<bool, Failure> {
        let failed = |error| Failure::api(format!("reading the lease {NAME}"), error);
        let Some(lease) = self.api.get_opt(NAME).await.map_err(failed)? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.into()),
                    ..Default::default()
                },
                spec: Some(self.held(None)),
            };
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(_) => Ok(true),
                Err(error) if exists_already(&error) => Ok(false),
                Err(error) => Err(Failure::api(format!("making the lease {NAME}"), error)),
            };
        };
        let version = lease.metadata.resource_version.clone();
        let since = match seen {
            Some((last, since)) if *last == version => *since,
            _ => {
                let now = Instant::now();
                *seen = Some((version, now));
                now
            }
        };
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or_default();
        let free = holder.is_empty()
            || holder == self.identity
            || died_here(holder, &self.identity)
            || since.elapsed() >= LASTS;
        if !free {
            tracing::info!(holder, "another replica leads; this one waits");
            return Ok(false);
        }
        self.take(lease).await
    }

    async fn take(&self, mut lease: Lease) -> Result<bool, Failure> {
        lease.spec = Some(self.held(lease.spec.as_ref()));
        match self.api.replace(NAME, &PostParams::default(), &lease).await {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(false),
            Err(error) => Err(Failure::api(format!("taking the lease {NAME}"), error)),
        }
    }

    fn held(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            acquire_time: if ours {
                before.and_then(|spec| spec.acquire_time.clone())
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(if ours {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..Default::default()
        }
    }

    /// Renews the lease; returns when it is lost, with the reason.
    pub async fn hold(&self) -> String {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RENEWED_EVERY).await;
            let left = GIVES_UP_AFTER.saturating_sub(renewed.elapsed());
            let why = match tokio::time::timeout(left, self.renew()).await {
                Ok(Ok(true)) => {
                    renewed = Instant::now();
                    continue;
                }
                Ok(Ok(false)) => return "another replica has taken the lease".to_owned(),
                Ok(Err(failure)) => failure.to_string(),
                Err(_) => "the API server does not answer".to_owned(),
            };
            if renewed.elapsed() >= GIVES_UP_AFTER {
                return format!("the lease could not be renewed for {GIVES_UP_AFTER:?}: {why}");
            }
        }
    }

    /// False when it is another's.
    async fn renew(&self) -> Result<bool, Failure> {
        let lease = self
            .api
            .get(NAME)
            .await
            .map_err(|error| Failure::api(format!("reading the lease {NAME}"), error))?;
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        if holder != Some(&self.identity) {
            return Ok(false);
        }
        self.take(lease).await
    }

    /// Gives the lease back, so that the next one need not wait.
    pub async fn release(&self) {
        let outcome = async {
            let mut lease = self.api.get(NAME).await?;
            if let Some(spec) = lease
                .spec
                .as_mut()
                .filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity))
            {
                spec.holder_identity = None;
                spec.acquire_time = None;
                spec.renew_time = None;
                self.api.replace(NAME, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(3), outcome).await {
            tracing::debug!(%error, "the lease was not given back; it runs out by itself");
        }
    }
}

/// This process's name: where it runs, and which process it is there.
///
/// `<host>_<boot>.<pid namespace>_<pid>.<start time>`: equal places can see each other's processes in /proc.
fn identity() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let host = read("/proc/sys/kernel/hostname");
    let pid = std::process::id();
    format!(
        "{}_{}_{pid}.{}",
        host.trim().replace('_', "-"),
        place(),
        start_time(pid).unwrap_or_default()
    )
}

/// The boot of this machine and the pid namespace of this process.
fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid")
        .map(|link| {
            link.to_string_lossy()
                .chars()
                .filter(char::is_ascii_digit)
                .collect::<String>()
        })
        .unwrap_or_default();
    format!("{}.{namespace}", boot.trim())
}

/// When a process that lives started, in clock ticks since boot (proc(5), field 22 of stat). One that has ended and is
/// not waited for by its parent yet does not live.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces and brackets itself.
    let (_, rest) = stat.rsplit_once(')')?;
    if rest.trim_start().starts_with(['Z', 'X']) {
        return None;
    }
    rest.split_whitespace().nth(19).map(ToOwned::to_owned)
}

/// Whether a holder ran where this process runs, and is no more.
fn died_here(holder: &str, own: &str) -> bool {
    let parts = |name: &str| -> Option<(String, u32, String)> {
        let (place, process) = name.rsplit_once('_')?;
        let (pid, start) = process.split_once('.')?;
        Some((place.to_owned(), pid.parse().ok()?, start.to_owned()))
    };
    match (parts(holder), parts(own)) {
        (Some((place, pid, start)), Some((own_place, ..))) => {
            place == own_place && !start.is_empty() && start_time(pid).as_deref() != Some(&start)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_process_of_this_machine_loses_the_lease_at_once() {
        let own = identity();
        assert!(!died_here(&own, &own), "this process lives");
        let (place, _) = own.rsplit_once('_').unwrap();
        assert!(
            died_here(&format!("{place}_{}.1", std::process::id()), &own),
            "its number was given anew"
        );
        assert!(!died_here(
            &format!("elsewhere_boot.1_{}.1", std::process::id()),
            &own
        ));
        assert!(!died_here("", &own));
        assert!(!died_here("a-pods-name", &own));
    }
}

//! Looking at what is held, again and again, and taking what came of it into the ledger: the same for pods and volumes
//! ([`platform`](crate::platform)) and for what is reserved for allocations ([`reserved`](crate::reserved)). All judgement
//! about time is in [`mesocentre_metering::holding`].

use crate::Context;
use crate::billing;
use crate::failure::Failure;
use jiff::{SignedDuration, Timestamp};
use mesocentre_metering::holding::{Known, Moment, Shown, Source, look};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(60);
/// What ends is awaited so long, to be written together.
const TOGETHER: Duration = Duration::from_secs(1);
/// The same after a look that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// Looks may be so far apart before it is said that nobody looked: an operator that is upgraded, or another that takes over.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// When somebody looks again.
#[derive(Debug, Default)]
pub struct Looks {
    /// Something ended, or somebody waits.
    soon: Notify,
    /// All that is held is to be metered up to now, and not up to the last midnight alone.
    to_now: AtomicBool,
}

impl Looks {
    /// Has somebody look soon.
    pub fn soon(&self) {
        self.soon.notify_one();
    }

    /// Has all that is held metered up to now, soon: somebody closes a month that is not over.
    pub fn meter_to_now(&self) {
        self.to_now.store(true, Ordering::SeqCst);
        self.soon.notify_one();
    }
}

/// Looks every minute, and sooner where that is wished, for ever.
pub async fn each_minute(
    context: &Context,
    looks: &Looks,
    source: Source<'_>,
    look_now: impl AsyncFn() -> Result<(), Failure>,
) {
    let mut failed = false;
    loop {
        let pause = match look_now().await {
            Ok(()) => {
                failed = false;
                EVERY
            }
            Err(failure) => {
                if !failed {
                    tracing::warn!(%failure, source = source.source, "what tenants hold is not metered now; it is looked at again");
                }
                failed = true;
                AGAIN
            }
        };
        billing::show_source(context, source.source, source.cluster).await;
        // Whichever comes first; both lead to the same.
        if tokio::time::timeout(pause, looks.soon.notified()).await.is_ok() {
            tokio::time::sleep(TOGETHER).await;
        }
    }
}

/// Takes what a look shows against what was known. All is metered up to `midnight` at least.
///
/// # Errors
/// When the ledger could not be written to now.
pub async fn take(
    context: &Context,
    looks: &Looks,
    source: Source<'_>,
    (known, shown): (&Known, Vec<Shown>),
    (now, midnight): (Timestamp, Timestamp),
) -> Result<(), Failure> {
    let to_now = looks.to_now.swap(false, Ordering::SeqCst);
    let moment = Moment {
        now,
        cut: if to_now { now } else { midnight },
        tolerance: TOLERANCE,
    };
    let looked = look(source, known, shown, moment);
    let taken = context.ledger.take_look(source, &looked, now).await;
    if taken.is_err() && to_now {
        looks.to_now.store(true, Ordering::SeqCst);
    }
    let appended = taken?;
    billing::count_appended(context, &appended);
    if let Some((from, to)) = looked.gap {
        tracing::warn!(source = source.source, %from, %to, "nobody looked at what tenants held: no month is closed until somebody acknowledges the gap");
    }
    if appended.new > 0 {
        billing::ledger_grew(context);
    }
    billing::read_further(context);
    Ok(())
}

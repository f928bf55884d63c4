//! Why a reconcile could not be carried through now. Each is a sentence: what was being done, to what, and why not.
//!
//! What a person has written wrong is no failure: it is a condition on the object.

use mesocentre_metering::{LedgerError, PeriodError};
use mesocentre_scheduler_bridge::SchedulerError;

/// What went wrong for now; the reconcile is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API server did not do it.
    #[error("{doing} failed: {}", in_words(.source))]
    Api {
        /// What was being done.
        doing: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// Somebody else changed the object meanwhile: look again.
    #[error("{doing}: the object has changed meanwhile, so it is read again")]
    Conflict {
        /// What was being done.
        doing: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A period.
    #[error(transparent)]
    Period(#[from] PeriodError),
    /// A batch scheduler.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// An issued document could not be written out.
    #[error(
        "writing out the document {number} failed: {why}; this is a defect of the operator, please report it"
    )]
    Render {
        /// Its number.
        number: String,
        /// Why.
        why: String,
    },
    /// An object of ours has no form that can be sent: a defect of this program.
    #[error("{doing} failed: {source}; this is a defect of the operator, please report it")]
    Form {
        /// What was being done.
        doing: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Failure {
    /// From the API server's answer.
    pub fn api(doing: impl Into<String>, source: kube::Error) -> Self {
        let doing = doing.into();
        if is_conflict(&source) {
            Self::Conflict { doing }
        } else {
            Self::Api {
                doing,
                source: Box::new(source),
            }
        }
    }
}

/// The API server's own sentence, without the words around it.
pub fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// The object was changed by somebody else since it was read.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict")
}

/// An object of that name is there already.
pub fn exists_already(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// There is no such object.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

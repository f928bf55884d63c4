//! What makes a reconcile fail and be tried again. What a user can mend is never here: that is a condition.

/// A reconcile could not be finished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused or did not answer.
    #[error("{doing}: {source}")]
    Api {
        /// What was being done, to what.
        doing: String,
        source: kube::Error,
    },
    /// The ledger could not be read or written.
    #[error("{doing}: {source}")]
    Ledger {
        doing: String,
        source: mesocentre_metering::LedgerError,
    },
    /// The batch scheduler did not do what it was asked.
    #[error("{doing}: {source}")]
    Scheduler {
        doing: String,
        source: mesocentre_scheduler_bridge::BridgeError,
    },
}

impl Error {
    /// True when somebody else wrote first: read again and go on, nothing to tell.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Error::Api { source: kube::Error::Api(status), .. } if status.code == 409)
    }
}

/// Says what was being done when the API server refused.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, kube::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Api { doing: what(), source })
    }
}

impl<T> Doing<T> for Result<T, mesocentre_metering::LedgerError> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Ledger { doing: what(), source })
    }
}

impl<T> Doing<T> for Result<T, mesocentre_scheduler_bridge::BridgeError> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Scheduler { doing: what(), source })
    }
}

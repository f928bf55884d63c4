//! The connection of one account to a login node, made when it is needed and kept while it is used.

use super::SshConfig;
use super::connection::Connection;
use super::failure::LOGIN_NODE;
use crate::SchedulerError;
use crate::slurm::command::Programs;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// Commands at a time over one connection; sshd's own limit is 10 (`sshd_config(5)`, MaxSessions).
const SESSIONS: usize = 8;

/// An account's way to the login node.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) config: SshConfig,
    way: Mutex<Way>,
    sessions: Arc<Semaphore>,
    used: StdMutex<Instant>,
}

/// The connection, if any.
#[derive(Debug)]
enum Way {
    Untried,
    Open(Arc<Connection>),
    /// The last attempt failed: it is not made again at once, since a login node locks out who tries too often.
    Closed {
        since: Instant,
        why: SchedulerError,
    },
}

/// How long a failure is believed.
fn believed_for(why: &SchedulerError) -> Duration {
    match why {
        SchedulerError::Unreachable { .. } => Duration::from_secs(2),
        _ => Duration::from_secs(20),
    }
}

impl Line {
    /// Nothing is reached yet.
    pub(super) fn new(config: SshConfig) -> Self {
        Self {
            config,
            way: Mutex::new(Way::Untried),
            sessions: Arc::new(Semaphore::new(SESSIONS)),
            used: StdMutex::new(Instant::now()),
        }
    }

    /// The connection, and leave to run a command over it.
    pub(super) async fn session(
        &self,
        programs: &Programs,
    ) -> Result<(Arc<Connection>, OwnedSemaphorePermit), SchedulerError> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let permit =
            Arc::clone(&self.sessions)
                .acquire_owned()
                .await
                .map_err(|_| SchedulerError::Unreachable {
                    who: LOGIN_NODE,
                    why: "the connection is being ended".to_owned(),
                })?;
        let mut way = self.way.lock().await;
        match &*way {
            Way::Open(connection) if connection.stands() => return Ok((Arc::clone(connection), permit)),
            Way::Closed { since, why } if since.elapsed() < believed_for(why) => return Err(why.clone()),
            _ => {}
        }
        match Connection::open(programs, &self.config).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *way = Way::Open(Arc::clone(&connection));
                Ok((connection, permit))
            }
            Err(why) => {
                *way = Way::Closed {
                    since: Instant::now(),
                    why: why.clone(),
                };
                Err(why)
            }
        }
    }

    /// For how long no command has been run over it; nothing while one is.
    pub(super) fn idle_for(&self) -> Duration {
        if self.sessions.available_permits() < SESSIONS {
            return Duration::ZERO;
        }
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub(super) fn away(&self, why: &str) -> SchedulerError {
        SchedulerError::Unreachable {
            who: LOGIN_NODE,
            why: format!("{}: {why}", self.config.address),
        }
    }
}

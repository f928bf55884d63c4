//! Posix accounts, as the machine knows them (`getent passwd`: files, LDAP, whatever the site has).

use super::SlurmConfig;
use super::command::{Place, run};
use crate::{InvalidSubmission, SchedulerError, UserName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Accounts below it are the system's (`useradd(8)`, UID_MIN).
const FIRST_PERSON: u32 = 1000;
/// `nobody`.
const NOBODY: u32 = 65534;
/// How long an account is believed to be as it was.
const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// A person's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PosixAccount {
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub shell: String,
}

/// Accounts looked up lately.
#[derive(Debug, Default)]
pub(super) struct PosixAccounts {
    known: Mutex<HashMap<UserName, (Instant, Arc<PosixAccount>)>>,
}

/// Why there is no account to run as.
#[derive(Debug)]
pub(super) enum NoAccount {
    /// There is none, or it may not run jobs.
    Invalid(InvalidSubmission),
    /// It could not be looked up.
    Unknown(SchedulerError),
}

impl PosixAccounts {
    /// A person's account; never the system's.
    pub(super) async fn get(
        &self,
        place: &Place,
        config: &SlurmConfig,
        user: &UserName,
    ) -> Result<Arc<PosixAccount>, NoAccount> {
        if let Some((since, account)) = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(user)
            && since.elapsed() < BELIEVED_FOR
        {
            return Ok(Arc::clone(account));
        }
        let said = run(place, config, "getent", ["passwd", "--", user.as_str()])
            .await
            .map_err(NoAccount::Unknown)?;
        let account = match said.code {
            Some(0) => parse(user, &said.stdout)
                .map(Arc::new)
                .map_err(NoAccount::Invalid)?,
            // getent(1): the name could not be found.
            Some(2) => {
                return Err(NoAccount::Invalid(invalid(
                    user,
                    "there is no such account on the scheduler's machine: ask its administrator for one",
                )));
            }
            _ => {
                return Err(NoAccount::Unknown(SchedulerError::Unreachable {
                    who: "the machine's directory of accounts",
                    why: said.complaint(),
                }));
            }
        };
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(user.clone(), (Instant::now(), Arc::clone(&account)));
        Ok(account)
    }
}

fn invalid(user: &UserName, why: &str) -> InvalidSubmission {
    InvalidSubmission::Account {
        user: user.clone(),
        why: why.to_owned(),
    }
}

/// Reads a line of `passwd(5)`.
fn parse(user: &UserName, line: &str) -> Result<PosixAccount, InvalidSubmission> {
    let fields: Vec<&str> = line.trim_end_matches('\n').split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields.as_slice() else {
        return Err(invalid(user, "the machine's answer about it cannot be read"));
    };
    let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else {
        return Err(invalid(user, "the machine's answer about it cannot be read"));
    };
    // getent also takes numbers for names.
    if *name != user.as_str() {
        return Err(invalid(user, "there is no account of this very name"));
    }
    if uid < FIRST_PERSON || uid == NOBODY || gid == 0 {
        return Err(invalid(user, "it is a system account, not a person's"));
    }
    if !home.starts_with('/') {
        return Err(invalid(user, "it has no home directory"));
    }
    Ok(PosixAccount {
        uid,
        gid,
        home: (*home).to_owned(),
        shell: if shell.is_empty() {
            "/bin/sh".to_owned()
        } else {
            (*shell).to_owned()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_account_is_read_and_a_system_account_refused() {
        let user = |name| UserName::new(name).unwrap();
        let alice = parse(&user("alice"), "alice:x:1001:1001:Alice:/home/alice:/bin/bash\n").unwrap();
        assert_eq!(
            (alice.uid, alice.gid, alice.home.as_str()),
            (1001, 1001, "/home/alice")
        );
        for line in [
            "root:x:0:0:root:/root:/bin/bash",
            "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
        ] {
            let name = user(line.split(':').next().unwrap());
            let error = parse(&name, line).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("the posix account {name} cannot run jobs: it is a system account, not a person's")
            );
        }
        assert!(parse(&user("1001"), "alice:x:1001:1001:Alice:/home/alice:/bin/bash").is_err());
    }
}

//! Reads Slurm's accounts, associations and limits, and makes the changes that `accounts.rs` planned. Decides nothing.

use super::Slurm;
use super::accounts::{
    ALLOCATION, ActualAccount, ActualAccounts, ActualQualities, Change, Conflict, DesiredAccounts, Limits,
    TENANT, plan,
};
use super::command::{Said, tells_of_absence};
use crate::{AccountName, SchedulerError, UserName};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

/// A change that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedChange {
    /// What was to be done.
    pub change: Change,
    /// Why it was not.
    pub error: SchedulerError,
}

/// What of an account's limits is used, as slurmctld counts it (decayed where the site lets usage decay).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountUse {
    /// Its limits.
    pub limits: Limits,
    /// Core minutes used.
    pub core_minutes: u64,
    /// GPU minutes used.
    pub gpu_minutes: u64,
    /// Core minutes that running jobs have booked until their time limits.
    pub booked_core_minutes: u64,
}

impl Slurm {
    /// Reads the accounts and associations of this cluster.
    ///
    /// # Errors
    /// [`SchedulerError::Unreachable`] when slurmdbd is away.
    pub async fn accounts(&self) -> Result<ActualAccounts, SchedulerError> {
        let cluster = format!("cluster={}", self.config.cluster);
        let read = async |what: &[&str]| -> Result<String, SchedulerError> {
            let mut arguments = vec!["--noheader", "--parsable2", "show"];
            arguments.extend_from_slice(what);
            answer(self.run("sacctmgr", arguments).await?, "read its accounts")
        };
        let accounts = read(&["account", "format=Account,Description"]).await?;
        let associations = read(&[
            "association",
            "where",
            &cluster,
            "format=Account,User,Partition,ParentName,GrpTRESMins,GrpJobs,GrpSubmit,QOS,DefaultQOS",
        ])
        .await?;
        let users = read(&[
            "user",
            "withassoc",
            "where",
            &cluster,
            "format=User,DefaultAccount,Account",
        ])
        .await?;
        let tres = read(&["tres", "format=Type,Name"]).await?;
        read_accounts(&accounts, &associations, &users, &tres)
    }

    /// Makes changes, in their order. One that is refused is told of and does not stop the others; when Slurm stops
    /// answering, the rest is left for the next time.
    ///
    /// # Errors
    /// [`SchedulerError::Unreachable`].
    pub async fn change_accounts(&self, changes: &[Change]) -> Result<Vec<FailedChange>, SchedulerError> {
        let mut failed = Vec::new();
        for change in changes {
            let arguments = arguments(change, self.config.cluster.as_str());
            let said = self.run("sacctmgr", arguments).await?;
            match answer(said, "change its accounts") {
                Ok(_) => tracing::info!(?change, "changed Slurm's accounts"),
                Err(SchedulerError::Unreachable { who, why }) => {
                    return Err(SchedulerError::Unreachable { who, why });
                }
                Err(error) => failed.push(FailedChange {
                    change: change.clone(),
                    error,
                }),
            }
        }
        Ok(failed)
    }

    /// Brings the accounts to what is desired: reads, plans, changes. What is not ours is never touched.
    ///
    /// # Errors
    /// [`SchedulerError::Unreachable`].
    pub async fn keep_accounts(
        &self,
        desired: &DesiredAccounts,
    ) -> Result<(Vec<Conflict>, Vec<FailedChange>), SchedulerError> {
        let plan = plan(desired, &self.accounts().await?);
        let failed = self.change_accounts(&plan.changes).await?;
        Ok((plan.conflicts, failed))
    }

    /// What is used of accounts, in one call. An account that slurmctld does not know (yet) is absent, and jobs cannot
    /// be submitted to it.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    pub async fn account_use(
        &self,
        accounts: &[AccountName],
    ) -> Result<HashMap<AccountName, AccountUse>, SchedulerError> {
        if accounts.is_empty() {
            return Ok(HashMap::new());
        }
        let arguments = [
            "--oneliner".to_owned(),
            "show".to_owned(),
            "assoc_mgr".to_owned(),
            "flags=assoc".to_owned(),
            format!("accounts={}", list(accounts)),
        ];
        Ok(read_use(
            &self.scontrol("show what accounts have used", &arguments).await?,
        ))
    }
}

fn answer(said: Said, what: &str) -> Result<String, SchedulerError> {
    // Exit code 1 with one of these: it was so already.
    let already = [
        "Nothing new added",
        "Nothing modified",
        "Nothing deleted",
        // Since 23.11, of an account and of an association.
        "Already existing account",
        "Request didn't affect anything",
    ];
    if said.succeeded()
        || already.iter().any(|words| said.stdout.contains(words)) && said.stderr.trim().is_empty()
    {
        return Ok(said.stdout);
    }
    // It explains itself on both.
    let complaint = if said.stderr.trim().is_empty() {
        said.complaint()
    } else {
        let more: Vec<&str> = said
            .stdout
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        if more.is_empty() {
            said.complaint()
        } else {
            format!("{}; {}", said.complaint(), more.join("; "))
        }
    };
    Err(if tells_of_absence(&complaint) {
        SchedulerError::Unreachable {
            who: "slurmdbd",
            why: complaint,
        }
    } else {
        SchedulerError::Refused {
            what: what.to_owned(),
            why: complaint,
        }
    })
}

fn list<T: Display>(names: &[T]) -> String {
    names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// `GrpTRESMins=cpu=60,gres/gpu=-1`: -1 is no limit.
fn limits_option(limits: &Limits, tracks_gpus: bool) -> String {
    let minutes = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |minutes| minutes.to_string());
    let mut option = format!("GrpTRESMins=cpu={}", minutes(limits.core_minutes));
    if tracks_gpus {
        option.push_str(&format!(",gres/gpu={}", minutes(limits.gpu_minutes)));
    }
    option
}

/// Limits on numbers of jobs are the site's own, but for those by which an account is closed.
fn closed_options(closes: bool, reopens: bool) -> Vec<String> {
    let number = match (closes, reopens) {
        (true, _) => "0",
        (false, true) => "-1",
        (false, false) => return Vec::new(),
    };
    vec![format!("GrpSubmitJobs={number}"), format!("GrpJobs={number}")]
}

/// What accounts are changed by; what is set follows.
fn set_of(accounts: &[AccountName], cluster: String) -> Vec<String> {
    vec![
        "modify".to_owned(),
        "account".to_owned(),
        "where".to_owned(),
        format!("name={}", list(accounts)),
        cluster,
        "set".to_owned(),
    ]
}

fn arguments(change: &Change, cluster: &str) -> Vec<String> {
    let cluster = format!("cluster={cluster}");
    let mut all = vec!["--immediate".to_owned()];
    let rest = match change {
        Change::AddTenants { accounts } => vec![
            "add".to_owned(),
            "account".to_owned(),
            list(accounts),
            "parent=root".to_owned(),
            cluster,
            format!("description={TENANT}"),
            "organization=mesocentre".to_owned(),
        ],
        Change::AddAllocations {
            tenant,
            accounts,
            limits,
        } => {
            let mut words = vec![
                "add".to_owned(),
                "account".to_owned(),
                list(accounts),
                format!("parent={tenant}"),
                cluster,
                format!("description={ALLOCATION}"),
                format!("organization={tenant}"),
            ];
            if *limits != Limits::default() {
                words.push(limits_option(limits, limits.gpu_minutes.is_some()));
            }
            words.extend(closed_options(limits.closed, false));
            words
        }
        Change::SetLimits {
            accounts,
            limits,
            tracks_gpus,
            reopens,
        } => {
            let mut words = set_of(accounts, cluster);
            words.push(limits_option(limits, *tracks_gpus));
            words.extend(closed_options(limits.closed, *reopens));
            words
        }
        Change::SetQualities { accounts, qualities } => {
            // Nothing, and -1: what the account above has (sacctmgr(1)).
            let (names, default) = match qualities {
                Some(qualities) => {
                    let names: Vec<_> = qualities.names.iter().collect();
                    (list(&names), qualities.default.to_string())
                }
                None => (String::new(), "-1".to_owned()),
            };
            let mut words = set_of(accounts, cluster);
            words.extend([format!("qos={names}"), format!("defaultqos={default}")]);
            words
        }
        Change::AddMembers { accounts, users } => vec![
            "add".to_owned(),
            "user".to_owned(),
            list(users),
            format!("account={}", list(accounts)),
            cluster,
        ],
        Change::SetDefaultAccount { user, account } => vec![
            "modify".to_owned(),
            "user".to_owned(),
            "where".to_owned(),
            format!("name={user}"),
            cluster,
            "set".to_owned(),
            format!("defaultaccount={account}"),
        ],
        Change::RemoveMembers { account, users } => vec![
            "delete".to_owned(),
            "user".to_owned(),
            "where".to_owned(),
            format!("name={}", list(users)),
            format!("account={account}"),
            cluster,
        ],
        Change::RemoveAccounts { accounts } => vec![
            "delete".to_owned(),
            "account".to_owned(),
            "where".to_owned(),
            format!("name={}", list(accounts)),
            cluster,
        ],
    };
    all.extend(rest);
    all
}

fn read_accounts(
    accounts: &str,
    associations: &str,
    users: &str,
    tres: &str,
) -> Result<ActualAccounts, SchedulerError> {
    let garbled = |why: String| SchedulerError::Garbled {
        command: "sacctmgr",
        why,
    };
    let mut actual = ActualAccounts {
        tracks_gpus: tres.lines().any(|line| line == "gres|gpu"),
        ..ActualAccounts::default()
    };
    for line in accounts.lines().filter(|line| !line.is_empty()) {
        // Names hold no bar; what is written freely comes last.
        let (name, description) = line
            .split_once('|')
            .ok_or_else(|| garbled(format!("the account {line:?}")))?;
        // A name that we could not have made is somebody else's.
        let Ok(name) = AccountName::new(name) else {
            continue;
        };
        actual.accounts.insert(
            name,
            ActualAccount {
                ours: ActualAccount::is_ours(description),
                ..ActualAccount::default()
            },
        );
    }
    for line in associations.lines().filter(|line| !line.is_empty()) {
        let unreadable = || garbled(format!("the association {line:?}"));
        let &[
            account,
            user,
            partition,
            parent,
            limits,
            jobs,
            submitted,
            qualities,
            default,
        ] = line.split('|').collect::<Vec<_>>().as_slice()
        else {
            return Err(unreadable());
        };
        let Ok(account) = AccountName::new(account) else {
            continue;
        };
        if user.is_empty() {
            let there = actual.accounts.entry(account).or_default();
            there.parent = AccountName::new(parent).ok();
            there.limits = read_limits(limits).ok_or_else(unreadable)?;
            there.limits.closed = jobs == "0" && submitted == "0";
            there.qualities = ActualQualities {
                default: Some(default).filter(|name| !name.is_empty()).map(str::to_owned),
                names: qualities
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
            };
        } else if partition.is_empty()
            && let Ok(user) = UserName::new(user)
        {
            actual
                .accounts_of
                .entry(user.clone())
                .or_default()
                .insert(account.clone());
            if actual.accounts.get(&account).is_some_and(|account| account.ours) {
                actual.members.insert((account, user));
            }
        }
    }
    for line in users.lines().filter(|line| !line.is_empty()) {
        let &[user, default, _] = line.split('|').collect::<Vec<_>>().as_slice() else {
            return Err(garbled(format!("the user {line:?}")));
        };
        if let (Ok(user), Ok(default)) = (UserName::new(user), AccountName::new(default)) {
            actual.default_accounts.insert(user, default);
        }
    }
    Ok(actual)
}

/// `cpu=3000,gres/gpu=0`; limits on anything else are the site's own.
fn read_limits(list: &str) -> Option<Limits> {
    let mut limits = Limits::default();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (name, minutes) = part.split_once('=')?;
        let minutes = minutes.parse().ok();
        match name {
            "cpu" => limits.core_minutes = Some(minutes?),
            "gres/gpu" => limits.gpu_minutes = Some(minutes?),
            _ => {}
        }
    }
    Some(limits)
}

/// `Account=a UserName= … GrpTRESMins=cpu=3000(12),gres/gpu=N(0) GrpTRESRunMins=cpu=N(5)`.
fn read_use(answer: &str) -> HashMap<AccountName, AccountUse> {
    let mut all = HashMap::new();
    for line in answer.lines() {
        let words: BTreeMap<&str, &str> = line
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .collect();
        let (Some(account), Some(&""), Some(used), Some(booked)) = (
            words.get("Account").and_then(|name| AccountName::new(name).ok()),
            words.get("UserName"),
            words.get("GrpTRESMins"),
            words.get("GrpTRESRunMins"),
        ) else {
            continue;
        };
        let of = |list: &str, name: &str| {
            let (limit, used) = list
                .split(',')
                .filter_map(|part| part.split_once('='))
                .find(|(tres, _)| *tres == name)
                .and_then(|(_, amounts)| amounts.strip_suffix(')')?.split_once('('))?;
            Some((limit.parse::<u64>().ok(), used.parse::<u64>().ok()?))
        };
        let (core_limit, core_minutes) = of(used, "cpu").unwrap_or_default();
        let (gpu_limit, gpu_minutes) = of(used, "gres/gpu").unwrap_or_default();
        let (_, booked_core_minutes) = of(booked, "cpu").unwrap_or_default();
        all.insert(
            account,
            AccountUse {
                limits: Limits {
                    core_minutes: core_limit,
                    gpu_minutes: gpu_limit,
                    closed: ["GrpSubmitJobs", "GrpJobs"]
                        .iter()
                        .all(|name| words.get(name).is_some_and(|amounts| amounts.starts_with("0("))),
                },
                core_minutes,
                gpu_minutes,
                booked_core_minutes,
            },
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountName {
        AccountName::new(name).unwrap()
    }

    #[test]
    fn what_22_05_answers_is_read() {
        let actual = read_accounts(
            "root|default root account\nt|mesocentre:tenant\nt.a|mesocentre:allocation\ngone|mesocentre:tenant\n\
             phys|a | b\n",
            "root|||||||normal|\nroot|root||||||normal|\nt|||root||||normal|\n\
             t.a|||t|cpu=3000,gres/gpu=60|0|0|normal,urgent|urgent\nt.a|alice||||||normal,urgent|urgent\n\
             phys|||root||5|0|normal|\nphys|bob||||||normal|\nt.a|carol|long|||||normal|\n",
            "alice|t.a|t.a\nbob|phys|phys\n",
            "cpu|\nmem|\nfs|disk\ngres|gpu\n",
        )
        .unwrap();
        assert!(actual.tracks_gpus);
        assert_eq!(actual.accounts.len(), 5);
        assert_eq!(actual.accounts[&account("gone")].parent, None);
        assert!(!actual.accounts[&account("phys")].ours);
        assert!(!actual.accounts[&account("phys")].limits.closed);
        let limits = Limits {
            core_minutes: Some(3000),
            gpu_minutes: Some(60),
            closed: true,
        };
        assert_eq!(
            actual.accounts[&account("t.a")],
            ActualAccount {
                parent: Some(account("t")),
                ours: true,
                limits,
                qualities: ActualQualities {
                    default: Some("urgent".to_owned()),
                    names: ["normal", "urgent"].map(str::to_owned).into(),
                },
            }
        );
        assert_eq!(actual.accounts[&account("t")].qualities.default, None);
        assert_eq!(actual.members.len(), 1);
        assert_eq!(actual.default_accounts.len(), 2);
    }

    #[test]
    fn what_24_11_answers_is_read() {
        let actual = read_accounts(
            include_str!("answers/24.11/accounts"),
            include_str!("answers/24.11/associations"),
            include_str!("answers/24.11/users"),
            include_str!("answers/24.11/tres"),
        )
        .unwrap();
        let limits = Limits {
            core_minutes: Some(6000),
            gpu_minutes: Some(60),
            closed: false,
        };
        let hours = account("lab.hours");
        let there = &actual.accounts[&hours];
        assert_eq!(
            (there.ours, there.parent.as_ref(), there.limits),
            (true, Some(&account("lab")), limits)
        );
        let alice = UserName::new("alice").unwrap();
        assert!(actual.tracks_gpus);
        assert!(actual.members.contains(&(hours.clone(), alice.clone())));
        assert_eq!(actual.default_accounts[&alice], hours);
        let used = read_use(include_str!("answers/24.11/assoc_mgr"))[&hours];
        assert_eq!(used.limits, limits);
        assert!(used.booked_core_minutes > 0, "{used:?}");
    }

    #[test]
    fn what_24_11_says_of_a_change_is_told_apart() {
        let of = |code, stdout: &str, stderr: &str| {
            let said = Said {
                code: Some(code),
                signal: None,
                stdout: stdout.to_owned(),
                stderr: stderr.to_owned(),
            };
            answer(said, "change its accounts")
        };
        assert!(of(0, include_str!("answers/24.11/sacctmgr-of-what-is-so"), "").is_ok());
        assert!(of(1, include_str!("answers/24.11/sacctmgr-of-what-is-there"), "").is_ok());
        assert!(of(1, include_str!("answers/24.11/sacctmgr-of-who-is-there"), "").is_ok());
        let refusal = of(
            1,
            "",
            include_str!("answers/24.11/sacctmgr-of-what-is-not.complaint"),
        );
        assert!(
            matches!(refusal, Err(SchedulerError::Refused { .. })),
            "{refusal:?}"
        );
    }

    #[test]
    fn what_is_so_already_is_no_refusal_in_any_release_and_a_missing_account_is_one() {
        let of = |stdout: &str, stderr: &str| {
            let said = Said {
                code: Some(1),
                signal: None,
                stdout: stdout.to_owned(),
                stderr: stderr.to_owned(),
            };
            answer(said, "change its accounts")
        };
        for so_already in [
            " Nothing new added.\n",
            " Already existing account t.a on cluster meso\n",
            "Request didn't affect anything\nNothing added.\nMake sure the accounts requested here have been added\n",
            " Modified account associations...\n  Nothing modified\n",
        ] {
            assert!(of(so_already, "").is_ok(), "{so_already}");
        }
        let missing = "No account t.b on cluster meso, skipping.\nNothing added.\n";
        assert!(matches!(of(missing, ""), Err(SchedulerError::Refused { .. })));
        let wrong = of(
            "",
            "sacctmgr: error: You gave a bad qos 'nope'. Valid QOS's are normal\n Unknown option: qos=nope\n",
        );
        assert!(wrong.unwrap_err().to_string().contains("bad qos 'nope'"));
    }

    #[test]
    fn what_is_used_of_an_account_is_read_beside_its_limit() {
        let line = "ClusterName=meso Account=t.a UserName= Partition= ID=4 GrpJobs=0(1) GrpSubmitJobs=0(1) GrpWall=N(0.00) \
                    GrpTRESMins=cpu=3000(12),mem=N(3),gres/gpu=N(1) GrpTRESRunMins=cpu=N(7),mem=N(0) MaxJobs=\n\
                    ClusterName=meso Account=t.a UserName=alice(1001) GrpTRESMins=cpu=N(9) GrpTRESRunMins=cpu=N(0)\n";
        let all = read_use(line);
        assert_eq!(
            all[&account("t.a")],
            AccountUse {
                limits: Limits {
                    core_minutes: Some(3000),
                    gpu_minutes: None,
                    closed: true,
                },
                core_minutes: 12,
                gpu_minutes: 1,
                booked_core_minutes: 7,
            }
        );
    }

    #[test]
    fn a_limit_that_is_lifted_is_written_as_minus_one() {
        let change = Change::SetLimits {
            accounts: vec![account("t.a"), account("t.b")],
            limits: Limits::default(),
            tracks_gpus: true,
            reopens: false,
        };
        assert_eq!(
            arguments(&change, "meso").join(" "),
            "--immediate modify account where name=t.a,t.b cluster=meso set GrpTRESMins=cpu=-1,gres/gpu=-1"
        );
    }

    #[test]
    fn an_account_is_closed_and_opened_by_numbers_of_jobs_that_are_otherwise_the_sites_own() {
        assert_eq!(closed_options(true, false), ["GrpSubmitJobs=0", "GrpJobs=0"]);
        assert_eq!(closed_options(false, true), ["GrpSubmitJobs=-1", "GrpJobs=-1"]);
        assert!(closed_options(false, false).is_empty());
    }
}

//! What slurmctld says of itself: whether it is up, how it is set up, its partitions, and how far behind the
//! accounting is.

use super::Slurm;
use super::command::tells_of_absence;
use crate::{Health, Partition, PartitionName, SchedulerError};
use std::collections::HashMap;

/// How slurmctld is set up, as far as promises depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    version: String,
    cluster: String,
    message_timeout_seconds: u64,
    keeps_comments: bool,
    /// What is missing in AccountingStorageEnforce.
    not_enforced: Option<&'static str>,
    /// Whether what was used is forgotten with time, and so what was granted comes back.
    usage_decays: bool,
}

impl Setup {
    /// What of it keeps granted hours from holding as they are written.
    fn caveats(&self) -> Vec<String> {
        let mut caveats = Vec::new();
        if let Some(missing) = self.not_enforced {
            caveats.push(format!(
                "Slurm does not hold jobs back when an allocation's hours are used up: add {missing} to \
                 AccountingStorageEnforce in slurm.conf and restart slurmctld"
            ));
        }
        if self.usage_decays {
            caveats.push(
                "Slurm forgets with time what allocations have used, so it lets them use more than was granted: set \
                 PriorityDecayHalfLife=0 and PriorityUsageResetPeriod=NONE in slurm.conf, and restart slurmctld"
                    .to_owned(),
            );
        }
        caveats
    }
}

impl Slurm {
    pub(super) async fn scontrol(&self, what: &str, arguments: &[String]) -> Result<String, SchedulerError> {
        let said = self.run("scontrol", arguments).await?;
        if said.succeeded() {
            return Ok(said.stdout);
        }
        let complaint = said.complaint();
        Err(if tells_of_absence(&complaint) {
            SchedulerError::Unreachable {
                who: "slurmctld",
                why: complaint,
            }
        } else {
            SchedulerError::Refused {
                what: what.to_owned(),
                why: complaint,
            }
        })
    }

    pub(super) async fn health(&self) -> Result<Health, SchedulerError> {
        let said = self.run("scontrol", ["ping"]).await?;
        let controllers = read_ping(&said.stdout);
        if !controllers.iter().any(|(_, up)| *up) {
            let why = if controllers.is_empty() {
                said.complaint()
            } else {
                let names: Vec<_> = controllers.iter().map(|(name, _)| name.as_str()).collect();
                format!("{} is down; jobs wait until it is back", names.join(" and "))
            };
            return Err(SchedulerError::Unreachable {
                who: "slurmctld",
                why,
            });
        }
        let setup = self.setup().await?;
        Ok(Health {
            version: setup.version.clone(),
            controllers,
            settle_seconds: setup
                .message_timeout_seconds
                .saturating_add(self.config.outlives_us().as_secs()),
            caveats: setup.caveats(),
        })
    }

    /// Asks how Slurm is set up, and whether that lets promises be kept.
    pub(super) async fn setup(&self) -> Result<Setup, SchedulerError> {
        let answer = self
            .scontrol(
                "show its configuration",
                &["show".to_owned(), "config".to_owned()],
            )
            .await?;
        let setup = read_config(&answer)?;
        if setup.cluster != self.config.cluster.as_str() {
            return Err(SchedulerError::Misconfigured(format!(
                "the scheduler that answers is of cluster {}, not {}: mend the Scheduler's cluster, or SLURM_CONF",
                setup.cluster, self.config.cluster
            )));
        }
        if !setup.keeps_comments {
            return Err(SchedulerError::Misconfigured(
                "Slurm's accounting does not keep job comments, so a job could not be found again after a crash: add \
                 job_comment to AccountingStoreFlags in slurm.conf and restart slurmctld"
                    .to_owned(),
            ));
        }
        Ok(setup)
    }

    pub(super) async fn read_partitions(&self) -> Result<Vec<Partition>, SchedulerError> {
        let arguments = ["--oneliner", "--all", "show", "partition"].map(str::to_owned);
        read_partitions(&self.scontrol("show its partitions", &arguments).await?)
    }

    /// Refuses to say that a job is unknown while slurmctld has news that slurmdbd has not taken yet.
    pub async fn accounting_is_up_to_date(&self) -> Result<(), SchedulerError> {
        let said = self.run("sdiag", std::iter::empty::<&str>()).await?;
        let complaint = said.complaint();
        if !said.succeeded() {
            return Err(SchedulerError::Unreachable {
                who: "slurmctld",
                why: complaint,
            });
        }
        let waiting = read_waiting(&said.stdout).ok_or_else(|| SchedulerError::Garbled {
            command: "sdiag",
            why: "it does not say the length of the DBD agent's queue".to_owned(),
        })?;
        if waiting == 0 {
            Ok(())
        } else {
            Err(SchedulerError::Unreachable {
                who: "slurmdbd",
                why: format!("{waiting} records of slurmctld's have not reached it yet"),
            })
        }
    }
}

/// `DBD Agent queue size: 0`, of sdiag.
fn read_waiting(answer: &str) -> Option<u64> {
    answer
        .lines()
        .find_map(|line| line.trim().strip_prefix("DBD Agent queue size:"))
        .and_then(|number| number.trim().parse().ok())
}

/// `Slurmctld(primary) at ctl1 is UP`.
fn read_ping(answer: &str) -> Vec<(String, bool)> {
    answer
        .lines()
        .filter_map(|line| {
            let (who, state) = line.trim().strip_prefix("Slurmctld(")?.rsplit_once(" is ")?;
            let (_, host) = who.split_once(" at ")?;
            Some((host.to_owned(), state == "UP"))
        })
        .collect()
}

fn read_config(answer: &str) -> Result<Setup, SchedulerError> {
    let values: HashMap<&str, &str> = answer
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let value = |name: &str| {
        values.get(name).copied().ok_or_else(|| SchedulerError::Garbled {
            command: "scontrol show config",
            why: format!("it does not say {name}"),
        })
    };
    let message_timeout = value("MessageTimeout")?;
    Ok(Setup {
        version: value("SLURM_VERSION")?.to_owned(),
        cluster: value("ClusterName")?.to_owned(),
        message_timeout_seconds: message_timeout
            .split(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| SchedulerError::Garbled {
                command: "scontrol show config",
                why: format!("MessageTimeout is {message_timeout:?}"),
            })?,
        keeps_comments: value("AccountingStoreFlags")?
            .split(',')
            .any(|flag| flag == "job_comment"),
        not_enforced: not_enforced(
            values
                .get("AccountingStorageEnforce")
                .copied()
                .unwrap_or_default(),
        ),
        usage_decays: values
            .get("PriorityType")
            .is_some_and(|kind| kind.contains("multifactor"))
            && (values
                .get("PriorityDecayHalfLife")
                .is_some_and(|half_life| *half_life != "00:00:00")
                || values
                    .get("PriorityUsageResetPeriod")
                    .is_some_and(|period| *period != "NONE")),
    })
}

/// What Slurm does not enforce of what granted hours rest on: `safe` implies limits, limits imply associations
/// (`slurm.conf(5)`, AccountingStorageEnforce), but the configuration shows only what was written.
fn not_enforced(written: &str) -> Option<&'static str> {
    let has = |word: &str| {
        written
            .split(',')
            .any(|flag| flag.trim().eq_ignore_ascii_case(word))
    };
    if has("all") || has("safe") {
        None
    } else if has("limits") {
        Some("safe")
    } else {
        Some("limits,safe")
    }
}

fn read_partitions(answer: &str) -> Result<Vec<Partition>, SchedulerError> {
    answer
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(read_partition)
        .collect()
}

fn read_partition(line: &str) -> Result<Partition, SchedulerError> {
    let garbled = |what: &str| SchedulerError::Garbled {
        command: "scontrol show partition",
        why: format!("{what} is missing in {line:?}"),
    };
    let values: HashMap<&str, &str> = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .collect();
    let value = |name: &str| values.get(name).copied().ok_or_else(|| garbled(name));
    let number = |name: &str| value(name)?.parse::<u64>().map_err(|_| garbled(name));
    // TRES=cpu=256,mem=…,gres/gpu=8: only since 22.05, and only what is tracked.
    let gpus = values.get("TRES").and_then(|list| {
        list.split(',')
            .find_map(|part| part.strip_prefix("gres/gpu="))
            .and_then(|count| count.parse().ok())
    });
    Ok(Partition {
        name: PartitionName::new(value("PartitionName")?).map_err(|error| SchedulerError::Garbled {
            command: "scontrol show partition",
            why: error.to_string(),
        })?,
        is_default: value("Default")? == "YES",
        state: value("State")?.to_ascii_lowercase(),
        nodes: number("TotalNodes")?,
        cpus: number("TotalCPUs")?,
        gpus: gpus.unwrap_or(0),
        max_time_seconds: match value("MaxTime")? {
            "UNLIMITED" | "INFINITE" => None,
            limit => Some(limit_seconds(limit).ok_or_else(|| garbled("MaxTime"))?),
        },
    })
}

/// `[days-]hours:minutes:seconds`.
fn limit_seconds(text: &str) -> Option<u64> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let seconds = clock.split(':').try_fold(0_u64, |total, part| {
        total.checked_mul(60)?.checked_add(part.parse().ok()?)
    })?;
    days.parse::<u64>().ok()?.checked_mul(86400)?.checked_add(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_names_each_controller_and_whether_it_is_up() {
        assert_eq!(
            read_ping("Slurmctld(primary) at ctl1 is UP\nSlurmctld(backup) at ctl2 is DOWN\n"),
            [("ctl1".to_owned(), true), ("ctl2".to_owned(), false)]
        );
        assert_eq!(read_ping("scontrol: error\n"), []);
    }

    #[test]
    fn what_promises_depend_on_is_read_from_the_configuration() {
        let config = "Configuration data as of 2026-11-24T15:00:00\nAccountingStoreFlags    = job_comment,job_script\n\
                      ClusterName             = meso\nMessageTimeout          = 10 sec\nSLURM_VERSION           = 22.05.8\n";
        let setup = read_config(config).unwrap();
        assert_eq!(
            (
                setup.version.as_str(),
                setup.message_timeout_seconds,
                setup.keeps_comments
            ),
            ("22.05.8", 10, true)
        );
        let forgetful = read_config(&config.replace("job_comment,", "")).unwrap();
        assert!(!forgetful.keeps_comments);
        assert!(read_config("").unwrap_err().to_string().contains("does not say"));
    }

    #[test]
    fn what_24_11_says_of_itself_is_read() {
        let controllers = read_ping(include_str!("answers/24.11/ping"));
        assert!(matches!(controllers.as_slice(), [(_, true)]), "{controllers:?}");
        let setup = read_config(include_str!("answers/24.11/config")).unwrap();
        assert_eq!(
            (
                setup.version.as_str(),
                setup.cluster.as_str(),
                setup.message_timeout_seconds,
                setup.keeps_comments
            ),
            ("24.11.5", "meso", 10, true)
        );
        assert_eq!(setup.caveats(), Vec::<String>::new());
        let partitions = read_partitions(include_str!("answers/24.11/partitions")).unwrap();
        let standard = partitions.first().unwrap();
        assert_eq!((standard.nodes, standard.cpus, standard.gpus), (4, 256, 4));
        assert_eq!(standard.max_time_seconds, Some(604_800));
        assert_eq!(read_waiting(include_str!("answers/24.11/sdiag")), Some(0));
    }

    #[test]
    fn what_keeps_granted_hours_from_holding_is_said() {
        let config = |enforce: &str, half_life: &str| {
            format!(
                "AccountingStoreFlags = job_comment\nClusterName = meso\nMessageTimeout = 10 sec\nSLURM_VERSION = 22.05.8\n\
                 AccountingStorageEnforce = {enforce}\nPriorityType = priority/multifactor\n\
                 PriorityDecayHalfLife = {half_life}\nPriorityUsageResetPeriod = NONE\n"
            )
        };
        let caveats =
            |enforce: &str, half_life: &str| read_config(&config(enforce, half_life)).unwrap().caveats();
        assert_eq!(
            caveats("associations,limits,qos,safe", "00:00:00"),
            Vec::<String>::new()
        );
        assert!(caveats("associations", "00:00:00")[0].contains("add limits,safe to"));
        assert!(caveats("limits", "00:00:00")[0].contains("add safe to"));
        assert!(caveats("all", "7-00:00:00")[0].contains("PriorityDecayHalfLife=0"));
    }

    #[test]
    fn a_partition_is_read() {
        let line = "PartitionName=standard AllowGroups=ALL Default=YES MaxTime=7-00:00:00 State=UP TotalCPUs=256 \
                    TotalNodes=4 TRES=cpu=256,mem=1024000M,node=4,billing=256,gres/gpu=8\n";
        let partition = read_partitions(line).unwrap().remove(0);
        assert_eq!(partition.name.as_str(), "standard");
        assert_eq!((partition.cpus, partition.nodes, partition.gpus), (256, 4, 8));
        assert_eq!(
            (partition.is_default, partition.max_time_seconds),
            (true, Some(604_800))
        );
    }
}

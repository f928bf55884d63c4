//! Slurm's words for why a job waits, as sentences for people (`squeue(1)`, JOB REASON CODES, and the page "Resource
//! Limits" of Slurm's documentation).

use crate::job::Holder;

/// What the job waits for; none when Slurm has not said yet, or the word says it best itself.
pub(super) fn sentence(reason: &str) -> Option<String> {
    let plain = |text: &str| Some(text.to_owned());
    match reason {
        "None" | "" | "WaitingForScheduling" => None,
        "Resources" => plain("waits for free resources"),
        "Priority" => plain("waits behind jobs of higher priority"),
        "Dependency" => plain("waits for another job"),
        "DependencyNeverSatisfied" => {
            plain("waits for another job that ended otherwise than asked: it will never start, cancel it")
        }
        "BeginTime" => plain("waits for its earliest start time"),
        "JobHeldUser" => plain("is held by its author, until they release it"),
        "JobHeldAdmin" => plain("is held by an administrator"),
        "JobArrayTaskLimit" => plain("waits for other tasks of its array: no more may run at a time"),
        "PartitionTimeLimit" => {
            plain("asks for more time than its partition allows: ask for less, or another partition")
        }
        "PartitionNodeLimit" => plain("asks for more nodes than its partition has or allows: ask for fewer"),
        "PartitionDown" | "PartitionInactive" => plain("waits for its partition to be opened"),
        "ReqNodeNotAvail" => plain("waits for nodes that are down, drained or reserved"),
        "NodeDown" => plain("waits for a node that is down"),
        "Reservation" => plain("waits for its reservation to begin"),
        "Licenses" => plain("waits for a licence"),
        "BadConstraints" => plain("asks for what no node has: ask for less, or for something else"),
        "InvalidAccount" => plain("has an account that the scheduler does not know any more"),
        "InvalidQOS" => plain("has a QOS that it may not use"),
        "Cleaning" => plain("was put back into the queue and is being cleaned up"),
        "Prolog" => plain("waits for the scheduler to prepare its nodes"),
        "JobLaunchFailure" | "launch failed requeued held" | "launch_failed_requeued_held" => {
            plain("could not be started and is held: an administrator should look")
        }
        other => limit(other).or_else(|| Some(format!("waits: the scheduler says {other}"))),
    }
}

/// Whether a job that waits for this reason competes for a start now: it waits for nothing but its turn.
pub(super) fn competes(reason: &str) -> bool {
    matches!(
        reason,
        "None" | "" | "WaitingForScheduling" | "Resources" | "Priority"
    )
}

/// Who holds a job back that waits for this reason.
pub(super) fn holder(reason: &str) -> Option<Holder> {
    match reason {
        "JobHeldUser" => Some(Holder::User),
        "JobHeldAdmin"
        | "JobLaunchFailure"
        | "launch failed requeued held"
        | "launch_failed_requeued_held" => Some(Holder::Administrator),
        _ => None,
    }
}

/// `AssocGrpCPUMinutesLimit` and its two hundred relatives: who, which limit, of what.
fn limit(reason: &str) -> Option<String> {
    if let Some(rest) = reason.strip_prefix("ReqNodeNotAvail") {
        return Some(format!(
            "waits for nodes that are down, drained or reserved ({})",
            rest.trim_matches([',', ' '])
        ));
    }
    let (holder, rest) = [
        ("Assoc", "the allocation"),
        ("QOS", "the quality of service"),
        ("MaxJobs", "the allocation"),
    ]
    .into_iter()
    .find_map(|(prefix, holder)| reason.strip_prefix(prefix).map(|rest| (holder, rest)))?;
    let minutes = rest.contains("Minutes") || rest.contains("CPURunMin") || rest.contains("RunMinutes");
    let gpus = rest.to_ascii_lowercase().contains("gres");
    let sentence = match () {
        () if rest.starts_with("GrpSubmit") || rest.starts_with("MaxSubmit") => {
            format!("{holder} has as many jobs in the queue as it may")
        }
        () if rest.starts_with("GrpJobs")
            || rest.starts_with("MaxJobs")
            || rest.starts_with("PerAccount") =>
        {
            format!("{holder} has as many jobs running as it may")
        }
        () if rest.starts_with("Grp") && minutes && rest.contains("Run") => {
            format!("{holder}'s running jobs have booked all the hours that may be booked at a time")
        }
        // With `safe` among AccountingStorageEnforce, a job starts only when it can end within what is left.
        () if rest.starts_with("Grp") && minutes && gpus => {
            format!(
                "{holder} has not enough GPU hours left for the time that the job asks for: ask for less time"
            )
        }
        () if rest.starts_with("Grp") && minutes => format!(
            "{holder} has not enough hours left for the time that the job asks for: set a time limit, or a shorter one, or \
             wait until running jobs give back what they booked"
        ),
        () if rest.starts_with("Max") && minutes => {
            format!("the job asks for more hours than {holder} allows one job")
        }
        () if rest.starts_with("MaxWall") => {
            format!("the job asks for more time than {holder} allows one job")
        }
        () if rest.starts_with("GrpWall") => format!("{holder}'s time is used up"),
        () if rest.starts_with("Grp") => format!("waits until running jobs of {holder} free what they hold"),
        () if rest.starts_with("Max") => format!("the job asks for more than {holder} allows one job"),
        () => return None,
    };
    Some(format!("{sentence} ({reason})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_in_words_and_the_limit_by_its_name() {
        for (reason, told) in [
            ("Resources", "waits for free resources"),
            ("Dependency", "waits for another job"),
            (
                "AssocGrpCPUMinutesLimit",
                "the allocation has not enough hours left for the time that the job asks for: set a time limit, or a \
                 shorter one, or wait until running jobs give back what they booked (AssocGrpCPUMinutesLimit)",
            ),
            (
                "AssocGrpGRESMinutes",
                "the allocation has not enough GPU hours left for the time that the job asks for: ask for less time \
                 (AssocGrpGRESMinutes)",
            ),
            (
                "AssocMaxWallDurationPerJobLimit",
                "the job asks for more time than the allocation allows one job (AssocMaxWallDurationPerJobLimit)",
            ),
            (
                "QOSMaxCpuPerUserLimit",
                "the job asks for more than the quality of service allows one job (QOSMaxCpuPerUserLimit)",
            ),
            ("SomethingNew", "waits: the scheduler says SomethingNew"),
        ] {
            assert_eq!(sentence(reason).as_deref(), Some(told));
        }
        assert_eq!(sentence("None"), None);
    }
}

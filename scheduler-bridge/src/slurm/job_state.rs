//! Slurm's words for a job's state, and what they mean in a job's life (`squeue(1)`, JOB STATE CODES).

use crate::Phase;

/// The phase of a state as `squeue %T` and `sacct State` write it (`CANCELLED by 1001` included). None for a word of a
/// later version.
pub(super) fn phase_of(state: &str) -> Option<Phase> {
    Some(match state.split([' ', '+', ',']).next().unwrap_or_default() {
        "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT" | "RESV_DEL_HOLD"
        | "EXPEDITING" => Phase::Queued,
        // Nodes are allocated, and counted, from CONFIGURING until COMPLETING is over.
        "RUNNING" | "CONFIGURING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT"
        | "RESIZING" | "UPDATE_DB" | "POWER_UP_NODE" => Phase::Running,
        "COMPLETED" => Phase::Succeeded,
        "FAILED" | "LAUNCH_FAILED" | "RECONFIG_FAIL" => Phase::Failed,
        "CANCELLED" | "PREEMPTED" | "REVOKED" => Phase::Cancelled,
        "TIMEOUT" | "DEADLINE" => Phase::TimedOut,
        "OUT_OF_MEMORY" => Phase::OutOfMemory,
        "NODE_FAIL" | "BOOT_FAIL" => Phase::NodeFailed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskCounts;
    use crate::job::phase_of_all;

    #[test]
    fn each_state_of_slurm_has_its_phase() {
        for (state, phase) in [
            ("PENDING", Phase::Queued),
            ("REQUEUED", Phase::Queued),
            ("CONFIGURING", Phase::Running),
            ("COMPLETING", Phase::Running),
            ("SUSPENDED", Phase::Running),
            ("COMPLETED", Phase::Succeeded),
            ("FAILED", Phase::Failed),
            ("CANCELLED by 1001", Phase::Cancelled),
            ("PREEMPTED", Phase::Cancelled),
            ("TIMEOUT", Phase::TimedOut),
            ("DEADLINE", Phase::TimedOut),
            ("OUT_OF_MEMORY", Phase::OutOfMemory),
            ("NODE_FAIL", Phase::NodeFailed),
            ("BOOT_FAIL", Phase::NodeFailed),
        ] {
            assert_eq!(phase_of(state), Some(phase), "{state}");
        }
        assert_eq!(phase_of("SOMETHING_NEW"), None);
    }

    #[test]
    fn an_array_is_over_when_all_its_tasks_are_and_then_as_its_worst_task() {
        let of = |phases: &[Phase]| {
            let mut tasks = TaskCounts::default();
            phases.iter().for_each(|phase| tasks.add(*phase, 1));
            phase_of_all(phases.iter().copied(), &tasks)
        };
        assert_eq!(of(&[Phase::Queued, Phase::Queued]), Phase::Queued);
        assert_eq!(of(&[Phase::Queued, Phase::Succeeded]), Phase::Running);
        assert_eq!(of(&[Phase::Running, Phase::Failed]), Phase::Running);
        assert_eq!(
            of(&[Phase::Succeeded, Phase::Failed, Phase::Cancelled]),
            Phase::Failed
        );
        assert_eq!(of(&[Phase::Succeeded, Phase::Cancelled]), Phase::Cancelled);
        assert_eq!(of(&[Phase::Succeeded, Phase::Succeeded]), Phase::Succeeded);
    }
}

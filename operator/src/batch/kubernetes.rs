//! How a Scheduler that is Kubernetes is used, from its spec.

use mesocentre_api::KubernetesScheduler;
use mesocentre_scheduler_bridge::kubernetes::{Defaults, KubernetesConfig, Owner};
use mesocentre_scheduler_bridge::{ClusterName, SchedulerError};
use mesocentre_tenancy::quantity::{self, Fraction, Unit};

/// Batch jobs own the Jobs that are made for them: Kubernetes takes them away together.
const OWNER: Owner = Owner {
    api_version: "mesocentre.io/v1alpha1",
    kind: "BatchJob",
};
const HOUR: u64 = 3_600;
const USUAL_PODS: u32 = 500;

/// All that the bridge needs to know.
///
/// # Errors
/// [`SchedulerError::Misconfigured`] when the name or a quantity is none.
pub fn config(name: &str, spec: &KubernetesScheduler) -> Result<KubernetesConfig, SchedulerError> {
    let misconfigured = |what: &str| SchedulerError::Misconfigured(what.to_owned());
    let scheduler = ClusterName::new(name).map_err(|error| misconfigured(&error.to_string()))?;
    let seconds = |duration: Option<kube::core::Duration>, usual: u64| {
        duration.map_or(usual, super::job::view::in_seconds).max(1)
    };
    let memory_mib_per_cpu = match &spec.default_memory_per_cpu {
        Some(memory) => quantity::parse(&memory.0, Unit::Byte, Fraction::RoundUp)
            .map(|bytes| bytes.div_ceil(1 << 20).max(1))
            .map_err(|error| {
                misconfigured(&format!(
                    "spec.kubernetes.defaultMemoryPerCpu cannot be counted: {error}"
                ))
            })?,
        None => 1_024,
    };
    Ok(KubernetesConfig {
        scheduler,
        owner: Some(OWNER),
        defaults: Defaults {
            image: spec.image.clone(),
            time_limit_seconds: seconds(spec.default_time_limit, HOUR),
            longest_seconds: seconds(spec.max_time_limit, 7 * 24 * HOUR),
            memory_mib_per_cpu,
            pods_at_a_time: spec
                .max_pods_at_a_time
                .and_then(|pods| u32::try_from(pods).ok())
                .unwrap_or(USUAL_PODS),
            node_selector: spec.node_selector.clone(),
            tolerations: spec.tolerations.clone(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scheduler_says_nothing_of_is_the_usual() {
        let plain = config("cluster-jobs", &KubernetesScheduler::default())
            .unwrap()
            .defaults;
        assert_eq!(
            (plain.time_limit_seconds, plain.longest_seconds),
            (3_600, 604_800)
        );
        assert_eq!((plain.memory_mib_per_cpu, plain.pods_at_a_time), (1_024, 500));
        let said: KubernetesScheduler = serde_json::from_value(serde_json::json!({
            "image": "tools:1", "defaultTimeLimit": "10m", "maxTimeLimit": "2h", "defaultMemoryPerCpu": "2Gi", "maxPodsAtATime": 20,
        }))
        .unwrap();
        let said = config("cluster-jobs", &said).unwrap().defaults;
        assert_eq!((said.time_limit_seconds, said.longest_seconds), (600, 7_200));
        assert_eq!((said.memory_mib_per_cpu, said.pods_at_a_time), (2_048, 20));
    }
}

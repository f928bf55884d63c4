//! What a pod holds: what its scheduler set aside for it on a node, from the moment that it has one until it is over. What a
//! device plugin hands out and is no whole GPU is held on its own, by the resource's name; devices that are claimed are the
//! claim's ([`devices`](super::devices)).

use super::Held;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mesocentre_api::Meter;
use mesocentre_scheduler_bridge::kubernetes::SCHEDULER;
use mesocentre_tenancy::quantity::{Fraction, Unit, parse};
use std::collections::{BTreeMap, BTreeSet};

type Requests = BTreeMap<String, Quantity>;

/// Leaves out what nobody reads here: a pod's environment, commands and volumes are not the operator's to know.
pub(super) fn slim(pod: &mut Pod) {
    pod.metadata.annotations = None;
    pod.metadata.owner_references = None;
    pod.metadata.finalizers = None;
    if let Some(spec) = &mut pod.spec {
        let bare = |containers: &mut Vec<Container>| {
            for container in containers {
                *container = Container {
                    resources: container.resources.take().map(requests_alone),
                    restart_policy: container.restart_policy.take(),
                    ..Container::default()
                };
            }
        };
        let mut kept = PodSpec {
            containers: std::mem::take(&mut spec.containers),
            init_containers: spec.init_containers.take(),
            node_name: spec.node_name.take(),
            overhead: spec.overhead.take(),
            resources: spec.resources.take().map(requests_alone),
            ..PodSpec::default()
        };
        bare(&mut kept.containers);
        kept.init_containers.as_mut().map(bare).unwrap_or_default();
        *spec = kept;
    }
}

fn requests_alone(resources: ResourceRequirements) -> ResourceRequirements {
    ResourceRequirements {
        requests: resources.requests,
        ..ResourceRequirements::default()
    }
}

/// What a pod holds; nothing while it has no node, or for a batch job, which is metered by its scheduler.
pub(super) fn held(pod: &Pod) -> Vec<Held> {
    let Some(of_pod) = of_pod(pod) else {
        return Vec::new();
    };
    let devices: Vec<Held> = devices(pod)
        .into_iter()
        .map(|(resource, count)| of_pod.device(&resource, count))
        .collect();
    std::iter::once(of_pod).chain(devices).collect()
}

/// Whether it held something, and is over.
pub(super) fn is_over(pod: &Pod) -> bool {
    of_pod(pod).is_some_and(|held| held.until.is_some())
}

fn of_pod(pod: &Pod) -> Option<Held> {
    if pod
        .metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key(SCHEDULER))
    {
        return None;
    }
    let spec = pod.spec.as_ref()?;
    spec.node_name.as_ref().filter(|node| !node.is_empty())?;
    let status = pod.status.as_ref()?;
    let scheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|one| one.type_ == "PodScheduled" && one.status == "True")
        .and_then(|one| one.last_transition_time.as_ref());
    let from = instant(
        scheduled
            .or(status.start_time.as_ref())
            .or(pod.metadata.creation_timestamp.as_ref())?,
    );
    let namespace = pod.metadata.namespace.clone()?;
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    Some(Held {
        id: format!("pod/{}", pod.metadata.uid.as_ref()?),
        amounts: amounts(pod, spec),
        evidence: BTreeMap::from([(
            "pod".to_owned(),
            format!("{namespace}/{}", pod.metadata.name.as_deref().unwrap_or_default()),
        )]),
        namespace,
        from,
        // Evicted before a container began, it says no time: what is known is that it is over.
        until: is_over.then(|| finished(pod).unwrap_or(from)),
    })
}

/// The same of one that was there and is not: until its last container ended, else now. Nothing when nothing says that it
/// was deleted: then a watch was interrupted, and when it went is not known.
pub(super) fn went(pod: &Pod, now: Timestamp) -> Vec<Held> {
    let deleted = || pod.metadata.deletion_timestamp.as_ref().map(|_| now);
    let ended = |held: Held| {
        let until = held.until.or_else(|| finished(pod)).or_else(deleted)?;
        Some(Held {
            until: Some(until.min(now)),
            ..held
        })
    };
    held(pod).into_iter().filter_map(ended).collect()
}

/// When the last container ended; none while one has not.
fn finished(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended: Option<Vec<Timestamp>> = statuses
        .iter()
        .map(|status| {
            let terminated = status.state.as_ref()?.terminated.as_ref()?;
            terminated.finished_at.as_ref().map(instant)
        })
        .collect();
    ended?.into_iter().max()
}

fn instant(time: &Time) -> Timestamp {
    time.0
}

/// What Kubernetes sets aside for a pod: its own requests where it has any, else its containers' and its sidecars' together,
/// or what one of its init containers takes beside the sidecars before it, whichever is more; and its overhead
/// (Kubernetes, "Resource Management for Pods and Containers", "Sidecar containers", "Pod Overhead").
fn set_aside(spec: &PodSpec, resource: &str, unit: Unit) -> u64 {
    let of = |requests: Option<&Requests>| of(requests, resource, unit);
    let asked = |container: &Container| of(requests(container.resources.as_ref()));
    let mut sidecars = 0_u64;
    let mut at_start = 0_u64;
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.saturating_add(asked(container));
            at_start = at_start.max(sidecars);
        } else {
            at_start = at_start.max(sidecars.saturating_add(asked(container)));
        }
    }
    let running = spec
        .containers
        .iter()
        .fold(sidecars, |sum, container| sum.saturating_add(asked(container)));
    let whole = requests(spec.resources.as_ref()).filter(|whole| whole.contains_key(resource));
    let own = match whole {
        Some(whole) => of(Some(whole)),
        None => running.max(at_start),
    };
    own.saturating_add(of(spec.overhead.as_ref()))
}

fn amounts(pod: &Pod, spec: &PodSpec) -> BTreeMap<Meter, u64> {
    let gpus = extended_resources(pod)
        .iter()
        .filter(|resource| is_whole_gpu(resource))
        .fold(0_u64, |sum, gpu| {
            sum.saturating_add(set_aside(spec, gpu, Unit::Count))
        });
    let amounts = [
        (Meter::ClusterCpuHours, set_aside(spec, "cpu", Unit::MilliCpu)),
        (
            Meter::ClusterMemoryGibHours,
            set_aside(spec, "memory", Unit::Byte),
        ),
        (Meter::ClusterGpuHours, gpus),
    ];
    amounts.into_iter().filter(|(_, amount)| *amount > 0).collect()
}

/// What else device plugins hand out to it, and how many: slices of GPUs (`nvidia.com/mig-1g.5gb`), network cards.
fn devices(pod: &Pod) -> Vec<(String, u64)> {
    let held = |resource: String| {
        let count = set_aside(pod.spec.as_ref()?, &resource, Unit::Count);
        Some((resource, count))
    };
    extended_resources(pod)
        .into_iter()
        .filter(|resource| !is_whole_gpu(resource))
        .filter_map(held)
        .collect()
}

/// As their makers' device plugins name them: nvidia.com/gpu, amd.com/gpu.
fn is_whole_gpu(resource: &str) -> bool {
    resource.ends_with("/gpu")
}

/// What is asked for by a name of somebody's domain, outside of Kubernetes' own ("Extended resources for a Container"), and
/// handed out by a device plugin: what the scheduler made a claim of is the claim's, as it says in the status.
fn extended_resources(pod: &Pod) -> BTreeSet<String> {
    let claimed: BTreeSet<&str> = pod
        .status
        .iter()
        .filter_map(|status| status.extended_resource_claim_status.as_ref())
        .flat_map(|claim| &claim.request_mappings)
        .map(|mapping| mapping.resource_name.as_str())
        .collect();
    let is_extended = |resource: &str| {
        resource
            .split_once('/')
            .is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
    };
    let containers = pod.spec.iter().flat_map(|spec| {
        let first = spec.init_containers.iter().flatten();
        spec.containers.iter().chain(first)
    });
    containers
        .filter_map(|container| requests(container.resources.as_ref()))
        .flat_map(|requests| requests.keys())
        .filter(|resource| is_extended(resource) && !claimed.contains(resource.as_str()))
        .cloned()
        .collect()
}

fn requests(resources: Option<&ResourceRequirements>) -> Option<&Requests> {
    resources?.requests.as_ref()
}

/// A quantity that the API server took can be read; one beyond 2^63 is held to that.
fn of(requests: Option<&Requests>, resource: &str, unit: Unit) -> u64 {
    let written = requests.and_then(|requests| requests.get(resource));
    written.map_or(0, |Quantity(text)| {
        parse(text, unit, Fraction::RoundUp).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesocentre_metering::MODEL;
    use serde_json::{Value, json};

    fn pod(spec: Value, status: Value) -> Pod {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "caen--web", "uid": "u", "creationTimestamp": "2026-11-10T09:00:00Z",
                "annotations": {"a": "b"}},
            "spec": spec, "status": status,
        }))
        .unwrap();
        slim(&mut pod);
        pod
    }

    fn asking(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "image": "i", "env": [{"name": "PASSWORD", "value": "secret"}],
            "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "64"}}})
    }

    fn scheduled() -> Value {
        json!({"phase": "Running", "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-10T10:00:00Z"}]})
    }

    fn amounts_of(spec: Value) -> Vec<(Meter, u64)> {
        one(held(&pod(spec, scheduled()))).amounts.into_iter().collect()
    }

    fn one(held: Vec<Held>) -> Held {
        let [held] = <[Held; 1]>::try_from(held).unwrap();
        held
    }

    #[test]
    fn a_pod_holds_what_its_scheduler_sets_aside_for_it() {
        let plain = json!({"nodeName": "n1", "containers": [asking("500m", "1Gi"), asking("1", "1G")]});
        assert_eq!(
            amounts_of(plain),
            [
                (Meter::ClusterCpuHours, 1_500),
                (Meter::ClusterMemoryGibHours, (1 << 30) + 1_000_000_000)
            ]
        );
        let mut sidecar = asking("100m", "0");
        sidecar["restartPolicy"] = json!("Always");
        let with_init = json!({"nodeName": "n1", "overhead": {"cpu": "50m"},
            "initContainers": [asking("200m", "0"), sidecar, asking("3", "0")], "containers": [asking("1", "0")]});
        // The last init container beside the sidecar is more than the container beside it.
        assert_eq!(amounts_of(with_init), [(Meter::ClusterCpuHours, 3_150)]);
        let whole = json!({"nodeName": "n1", "resources": {"requests": {"cpu": "4"}}, "containers": [asking("1", "64Mi")]});
        assert_eq!(
            amounts_of(whole),
            [
                (Meter::ClusterCpuHours, 4_000),
                (Meter::ClusterMemoryGibHours, 64 << 20)
            ]
        );
        let gpus = json!({"nodeName": "n1", "containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": "2"}}}]});
        assert_eq!(amounts_of(gpus), [(Meter::ClusterGpuHours, 2)]);
    }

    #[test]
    fn a_slice_of_a_gpu_is_held_on_its_own_by_its_name() {
        let spec = json!({"nodeName": "n1", "containers": [
            {"name": "c", "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "2", "nvidia.com/mig-1g.5gb": "3",
                "hugepages-2Mi": "4Mi", "x.kubernetes.io/y": "1"}}}]});
        let [own, slice] = <[Held; 2]>::try_from(held(&pod(spec, scheduled()))).unwrap();
        assert_eq!(
            own.amounts,
            BTreeMap::from([(Meter::ClusterCpuHours, 1_000), (Meter::ClusterGpuHours, 2)])
        );
        assert_eq!(slice.id, "pod/u/nvidia.com/mig-1g.5gb");
        assert_eq!(slice.amounts, BTreeMap::from([(Meter::ClusterDeviceHours, 3)]));
        assert_eq!(slice.evidence[MODEL], "nvidia.com/mig-1g.5gb");
        assert_eq!(slice.from, own.from);
    }

    #[test]
    fn what_the_scheduler_made_a_claim_of_is_left_to_the_claim() {
        let spec = json!({"nodeName": "n1", "containers": [
            {"name": "c", "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "2", "example.org/fpga": "1"}}}]});
        let mut status = scheduled();
        status["extendedResourceClaimStatus"] = json!({"resourceClaimName": "web-extended-resources-x",
            "requestMappings": [{"containerName": "c", "requestName": "r", "resourceName": "nvidia.com/gpu"}]});
        let [own, fpga] = <[Held; 2]>::try_from(held(&pod(spec, status))).unwrap();
        assert_eq!(own.amounts, BTreeMap::from([(Meter::ClusterCpuHours, 1_000)]));
        assert_eq!(fpga.evidence[MODEL], "example.org/fpga");
    }

    #[test]
    fn it_holds_it_from_its_node_on_and_until_its_last_container_ends() {
        let spec = json!({"nodeName": "n1", "containers": [asking("1", "0")]});
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let running = one(held(&pod(spec.clone(), scheduled())));
        assert_eq!((running.from, running.until), (at("2026-11-10T10:00:00Z"), None));
        let waiting = json!({"containers": [asking("1", "0")]});
        assert_eq!(held(&pod(waiting, json!({"phase": "Pending"}))), []);
        let mut done = scheduled();
        done["phase"] = json!("Succeeded");
        done["containerStatuses"] = json!([
            {"name": "c", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
                "state": {"terminated": {"exitCode": 0, "finishedAt": "2026-11-10T10:05:00Z"}}},
            {"name": "d", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
                "state": {"terminated": {"exitCode": 0, "finishedAt": "2026-11-10T10:07:00Z"}}}]);
        let done = one(held(&pod(spec, done)));
        assert_eq!(done.until, Some(at("2026-11-10T10:07:00Z")));
        assert_eq!(done.evidence["pod"], "caen--web/web");
    }

    #[test]
    fn one_that_was_deleted_ends_then_and_one_that_a_watch_missed_is_not_guessed() {
        let spec = json!({"nodeName": "n1", "containers": [asking("1", "0")]});
        let now: Timestamp = "2026-11-10T11:00:00Z".parse().unwrap();
        let mut missed = pod(spec, scheduled());
        assert_eq!(went(&missed, now), []);
        missed.metadata.deletion_timestamp = Some(Time("2026-11-10T11:00:30Z".parse().unwrap()));
        assert_eq!(one(went(&missed, now)).until, Some(now));
    }

    #[test]
    fn a_batch_jobs_pod_is_left_to_its_scheduler_and_no_secret_is_kept_of_any() {
        let spec = json!({"nodeName": "n1", "containers": [asking("1", "0")], "volumes": [{"name": "v"}]});
        let mut one = pod(spec, scheduled());
        let kept = serde_json::to_string(&one).unwrap();
        assert!(!kept.contains("secret") && !kept.contains("volumes"), "{kept}");
        one.metadata.labels = Some(BTreeMap::from([(SCHEDULER.to_owned(), "jobs".to_owned())]));
        assert_eq!(held(&one), []);
    }
}

//! What a claim of devices holds (Kubernetes, "Dynamic Resource Allocation"): what was allocated to it, by class, from then on
//! until it is given back; whichever pods share it. The scheduler makes a claim itself of a pod's extended resources that
//! such devices stand behind, and says so in the pod's status: they are metered here, and not by the pod.

use super::Held;
use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationResult, DeviceClaim, DeviceRequest, DeviceRequestAllocationResult,
    DeviceSubRequest, ExactDeviceRequest, ResourceClaim, ResourceClaimSpec, ResourceClaimStatus,
};
use std::collections::BTreeMap;

/// Leaves out what nobody reads here: selectors and configurations are not the operator's to know.
pub(super) fn slim(claim: &mut ResourceClaim) {
    claim.metadata.labels = None;
    claim.metadata.owner_references = None;
    claim.metadata.finalizers = None;
    claim.metadata.annotations = None;
    let requests = claim.spec.devices.take().and_then(|devices| devices.requests);
    claim.spec = ResourceClaimSpec {
        devices: Some(DeviceClaim {
            requests: requests.map(|requests| requests.into_iter().map(classes_alone).collect()),
            ..DeviceClaim::default()
        }),
    };
    let allocation = claim.status.take().and_then(|status| status.allocation);
    claim.status = Some(ResourceClaimStatus {
        allocation: allocation.map(|allocation| AllocationResult {
            allocation_timestamp: allocation.allocation_timestamp,
            devices: Some(DeviceAllocationResult {
                results: allocation.devices.and_then(|devices| devices.results),
                config: None,
            }),
            node_selector: None,
        }),
        ..ResourceClaimStatus::default()
    });
}

fn classes_alone(request: DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        name: request.name,
        exactly: request.exactly.map(|exactly| ExactDeviceRequest {
            device_class_name: exactly.device_class_name,
            ..ExactDeviceRequest::default()
        }),
        first_available: request.first_available.map(|requests| {
            let bare = |request: DeviceSubRequest| DeviceSubRequest {
                name: request.name,
                device_class_name: request.device_class_name,
                ..DeviceSubRequest::default()
            };
            requests.into_iter().map(bare).collect()
        }),
    }
}

/// What it holds, by class of devices; nothing while nothing is allocated to it. Where it does not say since when, its
/// creation bounds that, and when it was first seen so.
pub(super) fn held(claim: &ResourceClaim) -> Vec<Held> {
    let devices = devices(claim);
    match of_claim(claim) {
        Some(held) => devices
            .iter()
            .map(|(class, count)| held.device(class, *count))
            .collect(),
        None => Vec::new(),
    }
}

/// What of it is held no more, since something else is now allocated to it, or nothing, or it is gone. Where nothing says that
/// a claim was deleted, a watch was interrupted, and when it went is not known.
pub(super) fn went(before: &ResourceClaim, now: Option<&ResourceClaim>, at: Timestamp) -> Vec<Held> {
    let held_now: Vec<String> = now
        .map(held)
        .unwrap_or_default()
        .into_iter()
        .map(|held| held.id)
        .collect();
    let is_known = now.is_some() || before.metadata.deletion_timestamp.is_some();
    held(before)
        .into_iter()
        .filter(|held| is_known && !held_now.contains(&held.id))
        .map(|held| Held {
            until: Some(at),
            ..held
        })
        .collect()
}

/// The claim, without its devices.
fn of_claim(claim: &ResourceClaim) -> Option<Held> {
    let metadata = &claim.metadata;
    let allocation = claim.status.as_ref()?.allocation.as_ref()?;
    let namespace = metadata.namespace.clone()?;
    let since = allocation.allocation_timestamp.as_ref();
    let from = since.or(metadata.creation_timestamp.as_ref())?.0;
    // Given back and allocated anew, it is held a second time.
    let which = since.map(|since| format!("@{}", since.0)).unwrap_or_default();
    Some(Held {
        id: format!("claim/{}{which}", metadata.uid.as_ref()?),
        amounts: BTreeMap::new(),
        evidence: BTreeMap::from([(
            "claim".to_owned(),
            format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default()),
        )]),
        namespace,
        from,
        until: None,
    })
}

/// How many devices of each class were allocated to it. To look at a device that others use, as an administrator may, is not to
/// hold it.
fn devices(claim: &ResourceClaim) -> BTreeMap<String, u64> {
    let allocation = claim
        .status
        .as_ref()
        .and_then(|status| status.allocation.as_ref());
    let results = allocation
        .and_then(|allocation| allocation.devices.as_ref())
        .and_then(|devices| devices.results.as_ref());
    let mut devices = BTreeMap::new();
    for result in results
        .into_iter()
        .flatten()
        .filter(|result| result.admin_access != Some(true))
    {
        *devices.entry(class_of(claim, result)).or_default() += 1;
    }
    devices
}

/// The class that a device was asked for by; of one whose request cannot be found, its driver.
fn class_of(claim: &ResourceClaim, result: &DeviceRequestAllocationResult) -> String {
    let (name, alternative) = match result.request.split_once('/') {
        Some((name, alternative)) => (name, Some(alternative)),
        None => (result.request.as_str(), None),
    };
    let requests = claim
        .spec
        .devices
        .as_ref()
        .and_then(|devices| devices.requests.as_ref());
    let request = requests
        .into_iter()
        .flatten()
        .find(|request| request.name == name);
    let class = request.and_then(|request| match alternative {
        None => request.exactly.as_ref().map(|exactly| &exactly.device_class_name),
        Some(alternative) => {
            let mut alternatives = request.first_available.iter().flatten();
            let taken = alternatives.find(|request| request.name == alternative);
            taken.map(|request| &request.device_class_name)
        }
    });
    class.unwrap_or(&result.driver).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesocentre_api::Meter;
    use mesocentre_metering::MODEL;
    use serde_json::{Value, json};

    fn claim(allocation: Value) -> ResourceClaim {
        let mut claim = serde_json::from_value(json!({
            "metadata": {"name": "gpus", "namespace": "caen--web", "uid": "u", "creationTimestamp": "2026-11-10T09:00:00Z",
                "annotations": {"a": "b"}},
            "spec": {"devices": {
                "requests": [
                    {"name": "one", "exactly": {"deviceClassName": "h100.nvidia.com",
                        "selectors": [{"cel": {"expression": "device.driver == 'secret'"}}]}},
                    {"name": "any", "firstAvailable": [
                        {"name": "large", "deviceClassName": "h100.nvidia.com"},
                        {"name": "small", "deviceClassName": "mig.nvidia.com"}]}],
                "config": [{"opaque": {"driver": "d", "parameters": {"key": "secret"}}}]}},
            "status": {"allocation": allocation},
        }))
        .unwrap();
        slim(&mut claim);
        claim
    }

    fn allocated(results: Value) -> ResourceClaim {
        claim(json!({"allocationTimestamp": "2026-11-10T10:00:00Z", "devices": {"results": results}}))
    }

    fn result(request: &str, device: &str) -> Value {
        json!({"request": request, "driver": "gpu.nvidia.com", "pool": "n1", "device": device})
    }

    fn classes(held: &[Held]) -> Vec<(&str, u64)> {
        let of = |held: &Held| held.amounts[&Meter::ClusterDeviceHours];
        held.iter()
            .map(|held| (held.evidence[MODEL].as_str(), of(held)))
            .collect()
    }

    #[test]
    fn a_claim_holds_what_was_allocated_to_it_by_class() {
        let claim = allocated(json!([
            result("one", "gpu-0"),
            result("one", "gpu-1"),
            result("any/small", "mig-0"),
            result("gone", "x")
        ]));
        let held = held(&claim);
        assert_eq!(
            classes(&held),
            [
                ("gpu.nvidia.com", 1),
                ("h100.nvidia.com", 2),
                ("mig.nvidia.com", 1)
            ]
        );
        assert_eq!(held[1].id, "claim/u@2026-11-10T10:00:00Z/h100.nvidia.com");
        assert_eq!(held[1].from, "2026-11-10T10:00:00Z".parse().unwrap());
        assert_eq!(held[1].evidence["claim"], "caen--web/gpus");
        let kept = serde_json::to_string(&claim).unwrap();
        assert!(!kept.contains("secret"), "{kept}");
    }

    #[test]
    fn what_is_not_allocated_or_only_looked_at_is_not_held() {
        assert_eq!(held(&claim(Value::Null)), []);
        let mut looking = result("one", "gpu-0");
        looking["adminAccess"] = json!(true);
        assert_eq!(held(&allocated(json!([looking]))), []);
    }

    #[test]
    fn it_is_held_until_it_is_given_back_and_what_a_watch_missed_is_not_guessed() {
        let at: Timestamp = "2026-11-10T11:00:00Z".parse().unwrap();
        let mut before = allocated(json!([result("one", "gpu-0")]));
        assert_eq!(went(&before, Some(&before), at), []);
        let given_back = went(&before, Some(&claim(Value::Null)), at);
        assert_eq!(
            given_back.iter().map(|held| held.until).collect::<Vec<_>>(),
            [Some(at)]
        );
        assert_eq!(went(&before, None, at), []);
        before.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            "2026-11-10T11:00:30Z".parse().unwrap(),
        ));
        assert_eq!(went(&before, None, at).len(), 1);
    }
}

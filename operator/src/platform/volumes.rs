//! What a claim holds: the capacity of its volume, while it is bound to one.

use super::Held;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use mesocentre_api::Meter;
use mesocentre_tenancy::quantity::{Fraction, Unit, parse};
use std::collections::BTreeMap;

/// Leaves out what nobody reads here.
pub(super) fn slim(claim: &mut PersistentVolumeClaim) {
    claim.metadata.annotations = None;
    claim.metadata.labels = None;
    claim.metadata.finalizers = None;
    claim.metadata.owner_references = None;
    if let Some(spec) = &mut claim.spec {
        *spec = PersistentVolumeClaimSpec {
            storage_class_name: spec.storage_class_name.take(),
            ..PersistentVolumeClaimSpec::default()
        };
    }
}

/// What it holds; none while it is bound to no volume. Since when it is bound it does not say: its creation bounds that, and
/// when it was first seen so.
pub(super) fn held(claim: &PersistentVolumeClaim) -> Option<Held> {
    let status = claim.status.as_ref()?;
    if status.phase.as_deref() != Some("Bound") {
        return None;
    }
    let capacity = &status.capacity.as_ref()?.get("storage")?.0;
    let bytes = parse(capacity, Unit::Byte, Fraction::RoundUp).ok()?;
    let namespace = claim.metadata.namespace.clone()?;
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let mut evidence = BTreeMap::from([("volume".to_owned(), format!("{namespace}/{name}"))]);
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.clone());
    evidence.extend(class.map(|class| ("class".to_owned(), class)));
    Some(Held {
        id: format!("volume/{}", claim.metadata.uid.as_ref()?),
        namespace,
        amounts: BTreeMap::from([(Meter::StorageGibMonths, bytes)]),
        evidence,
        from: claim.metadata.creation_timestamp.as_ref()?.0,
        until: None,
    })
}

/// The same of one that was deleted. None when nothing says that it was: then a watch was interrupted.
pub(super) fn went(claim: &PersistentVolumeClaim, now: Timestamp) -> Option<Held> {
    claim.metadata.deletion_timestamp.as_ref()?;
    Some(Held {
        until: Some(now),
        ..held(claim)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_holds_its_volumes_capacity_while_it_is_bound() {
        let claim = |phase: &str| -> PersistentVolumeClaim {
            let mut claim = serde_json::from_value(json!({
                "metadata": {"name": "data", "namespace": "caen--web", "uid": "u", "creationTimestamp": "2026-11-10T09:00:00Z"},
                "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}},
                "status": {"phase": phase, "capacity": {"storage": "10Gi"}},
            }))
            .unwrap();
            slim(&mut claim);
            claim
        };
        assert_eq!(held(&claim("Pending")), None);
        let bound = held(&claim("Bound")).unwrap();
        assert_eq!(
            bound.amounts,
            BTreeMap::from([(Meter::StorageGibMonths, 10 << 30)])
        );
        assert_eq!(
            (
                bound.evidence["volume"].as_str(),
                bound.evidence["class"].as_str()
            ),
            ("caen--web/data", "fast")
        );
        assert_eq!(went(&claim("Bound"), Timestamp::UNIX_EPOCH), None);
    }
}

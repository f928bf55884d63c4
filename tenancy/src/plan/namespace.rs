//! The namespace itself, and how ours is told from another's of the same name.

use super::{Place, Planned};
use mesocentre_api::labels;
use serde_json::{Value, json};

/// Annotation on a namespace: the UID of the Tenant or Workspace that it was made for.
pub const MADE_FOR: &str = "mesocentre.io/made-for";

/// The Namespace object. It has no owner reference: the garbage collector must not take it out of order.
pub(super) fn object(place: &Place<'_>) -> Planned {
    let level = place.tenant.perimeter.rules.pod_security.as_str();
    let mut labels = place.labels();
    labels[labels::PERIMETER] = json!(place.tenant.perimeter.name.as_str());
    labels[labels::NAMESPACE_KIND] = json!(if place.workspace.is_some() {
        "workspace"
    } else {
        "home"
    });
    let rules = &place.tenant.perimeter.rules;
    labels[labels::PLACES_PODS] =
        json!((rules.nodes.is_some() || !rules.runtime_class_name.is_empty()).to_string());
    for mode in ["enforce", "audit", "warn"] {
        labels[format!("pod-security.kubernetes.io/{mode}")] = json!(level);
        labels[format!("pod-security.kubernetes.io/{mode}-version")] = json!("latest");
    }
    let uid = place
        .workspace
        .map_or(&place.tenant.uid, |workspace| &workspace.uid);
    Planned {
        kind: "Namespace".into(),
        namespace: None,
        name: place.namespace.to_string(),
        body: json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": place.namespace.as_str(), "labels": labels, "annotations": {MADE_FOR: uid}},
        }),
    }
}

/// True when a live Namespace was made for the Tenant or Workspace of this UID. One that only carries our labels, or
/// was made for an earlier object of the same name, is not: it is never adopted.
pub fn is_ours(live: &Value, uid: &str) -> bool {
    live["metadata"]["annotations"][MADE_FOR].as_str() == Some(uid)
}

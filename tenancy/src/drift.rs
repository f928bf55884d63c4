//! What differs from how it should be, and who did it as far as the object itself says.
//!
//! ```text
//! planned, live ──differs──▶ to be set right?          planned, live with managedFields ──Change::of──▶ what, who, when
//! written in the chart, live ──strays──▶ the fields of an admission policy that are not as the chart has them
//! ```
//!
//! An object names field managers (`kubectl-edit`), not people: those are in the API server's audit log. A deletion
//! leaves nothing to read.

use jiff::Timestamp;
use mesocentre_api::FIELD_MANAGER;
use serde_json::{Map, Value, json};

/// What somebody did to an object of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is wrong, to follow the object's name: `was deleted`.
    pub what: String,
    /// The field manager that wrote last, other than the operator. None: not known.
    pub by: Option<String>,
    /// When it did.
    pub at: Option<Timestamp>,
}

impl Change {
    /// It was deleted; by whom, nothing that is left tells.
    pub fn removed() -> Self {
        Self {
            what: "was deleted".into(),
            by: None,
            at: None,
        }
    }

    /// It was changed, and that is all that is known.
    pub fn unknown() -> Self {
        Self {
            what: "was changed".into(),
            by: None,
            at: None,
        }
    }

    /// It is not as planned; `live` is as the API server has it, with its managedFields.
    pub fn of(planned: &Value, live: &Value) -> Self {
        Self::in_fields(&strays_from_plan(planned, live), live)
    }

    /// These fields of it are not as they should be.
    pub fn in_fields(fields: &[String], live: &Value) -> Self {
        let what = if fields.is_empty() {
            "was changed".to_owned()
        } else {
            format!("was changed in {}", fields.join(", "))
        };
        let (by, at) = last_foreign_manager(live).unzip();
        Self { what, by, at }
    }

    /// Who and when, for the end of a sentence.
    pub fn by_whom(&self) -> String {
        match (&self.by, self.at) {
            (Some(by), Some(at)) => format!("by the field manager {by} at {at}"),
            (Some(by), None) => format!("by the field manager {by}"),
            (None, _) => "by whom is not known from the object; the API server's audit log has it".to_owned(),
        }
    }
}

/// The manager that wrote last, and when; what writes status alone is passed over, and so are we.
fn last_foreign_manager(live: &Value) -> Option<(String, Timestamp)> {
    live["metadata"]["managedFields"]
        .as_array()?
        .iter()
        .filter(|entry| entry["subresource"].as_str().unwrap_or_default().is_empty())
        .filter_map(|entry| {
            let manager = entry["manager"].as_str().filter(|m| *m != FIELD_MANAGER)?;
            let time: Timestamp = entry["time"].as_str()?.parse().ok()?;
            Some((manager.to_owned(), time))
        })
        .max_by_key(|(_, time)| *time)
}

/// Whether the live object is not as planned: each planned field must be equal, and of metadata the planned labels
/// and annotations must be there. Status is somebody else's.
pub fn differs(planned: &Value, live: &Value) -> bool {
    !strays_from_plan(planned, live).is_empty()
}

fn strays_from_plan(planned: &Value, live: &Value) -> Vec<String> {
    let mut strays = Vec::new();
    for (field, value) in planned.as_object().into_iter().flatten() {
        match field.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => strays.extend(stray_marks(value, live)),
            _ if same(value, &live[field.as_str()]) => {}
            _ => strays.extend(stray_fields(field, value, &live[field.as_str()])),
        }
    }
    strays
}

/// The planned labels and annotations that are not as planned.
fn stray_marks(planned: &Value, live: &Value) -> Vec<String> {
    let mut strays = Vec::new();
    for map in ["labels", "annotations"] {
        for (name, text) in planned[map].as_object().into_iter().flatten() {
            if live["metadata"][map][name] != *text {
                strays.push(format!("metadata.{map}[{name}]"));
            }
        }
    }
    strays
}

/// The fields one below that differ, where both are objects; else the field itself.
fn stray_fields(name: &str, planned: &Value, live: &Value) -> Vec<String> {
    let (Value::Object(one), Value::Object(other)) = (planned, live) else {
        return vec![name.to_owned()];
    };
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|key| {
            let of = |map: &Map<String, Value>| map.get(*key).cloned().unwrap_or(Value::Null);
            !same(&of(one), &of(other))
        })
        .map(|key| format!("{name}.{key}"))
        .collect()
}

/// Equality as the API server has it: an empty list and an absent one are the same.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let of = |map: &Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or(Value::Null);
            one.iter().all(|(key, value)| same(value, &of(other, key)))
                && other
                    .iter()
                    .all(|(key, value)| one.contains_key(key) || same(&Value::Null, value))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Null, Value::Array(list)) | (Value::Array(list), Value::Null) => list.is_empty(),
        _ => one == other,
    }
}

/// What the API server writes into an admission policy or binding where the chart says nothing. Anything else that the
/// chart does not say is somebody's doing: a further match condition or selector lets requests past.
fn is_filled_in(field: &str, value: &Value) -> bool {
    match field {
        "matchPolicy" => *value == json!("Equivalent"),
        "namespaceSelector" | "objectSelector" => *value == json!({}),
        "scope" => *value == json!("*"),
        "reason" => *value == json!("Invalid"),
        _ => value.is_null() || value.as_array().is_some_and(Vec::is_empty),
    }
}

/// The fields in which a live admission policy or binding is not as the chart has it, for people to read; empty when it
/// is. Of metadata, the chart's labels must be there.
pub fn strays(written: &Value, live: &Value) -> Vec<String> {
    let mut strays = stray_marks(&written["metadata"], live);
    stray("spec", "spec", &written["spec"], &live["spec"], &mut strays);
    strays
}

fn stray(path: &str, field: &str, written: &Value, live: &Value, strays: &mut Vec<String>) {
    match (written, live) {
        (Value::Null, live) if is_filled_in(field, live) => {}
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                let there = other.get(key).unwrap_or(&Value::Null);
                stray(&format!("{path}.{key}"), key, value, there, strays);
            }
            for (key, value) in other.iter().filter(|(key, _)| !one.contains_key(*key)) {
                stray(&format!("{path}.{key}"), key, &Value::Null, value, strays);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                stray(&format!("{path}[{index}]"), "", one, other, strays);
            }
        }
        (one, other) if one == other => {}
        _ => strays.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may end itself.

    use super::*;

    #[test]
    fn what_somebody_added_to_a_map_or_a_list_is_a_difference_and_foreign_labels_are_none() {
        let planned = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"ingress": [], "podSelector": {}}});
        let live = |spec: Value, labels: Value| json!({"metadata": {"labels": labels, "uid": "x"}, "spec": spec, "status": {}});
        let spec = json!({"podSelector": {}});
        assert!(!differs(
            &planned,
            &live(spec.clone(), json!({"a": "1", "b": "2"}))
        ));
        assert!(differs(&planned, &live(spec.clone(), json!({"a": "2"}))));
        assert!(differs(&planned, &live(spec, json!({}))));
        let opened = json!({"podSelector": {}, "ingress": [{}]});
        assert!(differs(&planned, &live(opened, json!({"a": "1"}))));
        let narrowed = json!({"podSelector": {"matchLabels": {"x": "y"}}});
        assert!(differs(&planned, &live(narrowed, json!({"a": "1"}))));
    }

    #[test]
    fn a_change_names_the_fields_and_the_last_manager_that_is_not_the_operator() {
        let planned =
            json!({"metadata": {"labels": {"a": "1"}}, "spec": {"hard": {"pods": "1"}, "scopes": []}});
        let live = json!({
            "metadata": {"labels": {"a": "2"}, "managedFields": [
                {"manager": "mesocentre.io", "operation": "Update", "time": "2026-11-25T01:00:00Z"},
                {"manager": "kubectl-edit", "operation": "Update", "time": "2026-11-25T00:59:00Z"},
                {"manager": "old", "operation": "Update", "time": "2026-11-24T00:00:00Z"},
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": "2026-11-25T02:00:00Z"},
            ]},
            "spec": {"hard": {"pods": "9"}},
        });
        let change = Change::of(&planned, &live);
        assert_eq!(change.what, "was changed in metadata.labels[a], spec.hard");
        assert_eq!(
            change.by_whom(),
            "by the field manager kubectl-edit at 2026-11-25T00:59:00Z"
        );
        assert!(Change::removed().by_whom().contains("audit log"));
    }

    fn policy() -> Value {
        json!({"metadata": {"labels": {"app.kubernetes.io/name": "mesocentre"}}, "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "operations": ["CREATE"], "resources": ["pods"]}]},
            "validations": [{"expression": "false", "reason": "Forbidden"}],
        }})
    }

    #[test]
    fn a_policy_as_the_api_server_fills_it_in_does_not_stray() {
        let mut live = policy();
        live["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
        live["spec"]["matchConstraints"]["matchPolicy"] = json!("Equivalent");
        live["spec"]["matchConstraints"]["namespaceSelector"] = json!({});
        live["spec"]["matchConstraints"]["objectSelector"] = json!({});
        live["spec"]["matchConstraints"]["resourceRules"][0]["scope"] = json!("*");
        live["status"] = json!({"observedGeneration": 1});
        assert_eq!(strays(&policy(), &live), Vec::<String>::new());
    }

    #[test]
    fn whatever_weakens_a_policy_or_a_binding_strays() {
        let weakened = |pointer: &str, value: Value| {
            let mut live = policy();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            live.pointer_mut(parent).unwrap()[key] = value;
            strays(&policy(), &live)
        };
        assert_eq!(
            weakened("/spec/failurePolicy", json!("Ignore")),
            ["spec.failurePolicy"]
        );
        assert_eq!(
            weakened(
                "/spec/matchConditions",
                json!([{"name": "never", "expression": "false"}])
            ),
            ["spec.matchConditions"]
        );
        let never = json!({"matchLabels": {"never": "there"}});
        assert_eq!(
            weakened("/spec/matchConstraints/namespaceSelector", never),
            ["spec.matchConstraints.namespaceSelector"]
        );
        assert_eq!(
            weakened(
                "/spec/matchConstraints/excludeResourceRules",
                json!([{"resources": ["*"]}])
            ),
            ["spec.matchConstraints.excludeResourceRules"]
        );
        assert_eq!(weakened("/spec/validations", json!([])), ["spec.validations"]);
        let label = weakened("/metadata/labels", json!({}));
        assert_eq!(label, ["metadata.labels[app.kubernetes.io/name]"]);

        let binding = json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}});
        let audit = json!({"spec": {"policyName": "p", "validationActions": ["Audit"]}});
        assert_eq!(strays(&binding, &audit), ["spec.validationActions[0]"]);
        let narrowed = json!({"spec": {"policyName": "p", "validationActions": ["Deny"], "matchResources": {"namespaceSelector": {}}}});
        assert_eq!(strays(&binding, &narrowed), ["spec.matchResources"]);
    }
}

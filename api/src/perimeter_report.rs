//! PerimeterReport: what shows that a tenant's perimeter holds, in its home namespace.

use crate::{Condition, ConditionStatus, Protocol};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The one report's name in each home namespace.
pub const PERIMETER_REPORT_NAME: &str = "perimeter";
/// Annotation on a report: asks for a fresh one. The value is the asker's to choose; the report repeats it.
pub const VERIFY_NOW: &str = "mesocentre.io/verify-now";

/// Empty: a report is all status.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "PerimeterReport",
    plural = "perimeterreports",
    category = "meso",
    namespaced,
    no_spec,
    status = "PerimeterReportStatus",
    doc = "What shows that a tenant's perimeter holds: each rule, the control that enforces it, the evidence that it is in force, who can be reached, and what was changed and repaired lately. Written by the operator alone, in the tenant's home namespace.",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Perimeter", type_ = "string", json_path = ".status.perimeter.name"),
    printcolumn(
        name = "Holds",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Looked at", type_ = "date", json_path = ".status.generatedAt"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct PerimeterReportBody {}

/// What was found.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PerimeterReportStatus {
    /// When all of it was looked at.
    #[schemars(schema_with = "crate::schema::instant")]
    pub generated_at: Timestamp,
    /// The request (annotation mesocentre.io/verify-now) that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    /// The operator's version.
    pub operator_version: String,
    /// The API server's version; empty when it did not say.
    #[serde(default)]
    pub kubernetes_version: String,
    /// The tenant.
    pub tenant: ReportSubject,
    /// Its perimeter.
    pub perimeter: ReportSubject,
    /// Each rule, with what enforces it and the evidence.
    #[serde(default)]
    pub rules: Vec<RuleReport>,
    /// Who reaches whom, computed from the network policies as they are.
    #[serde(default)]
    pub reachability: Reachability,
    /// What was not as it should be, the newest first; the last twenty.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// Conditions: Ready (every rule is in force).
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The operator's signature over all of this; see [`signed_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<ReportSignature>,
}

/// An object that a report is about, and its version.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportSubject {
    /// Its name.
    pub name: String,
    /// Its UID.
    #[serde(default)]
    pub uid: String,
    /// The generation of its spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// One rule of a perimeter.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleReport {
    /// Its short name, for programs.
    pub rule: String,
    /// What it promises, in a sentence.
    pub promise: String,
    /// What enforces it, each as Kind/name or Kind/namespace/name.
    #[serde(default)]
    pub controls: Vec<String>,
    /// Whether it was in force when it was looked at; Unknown when that could not be told.
    pub in_force: ConditionStatus,
    /// What shows it, or what is wrong, in sentences.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// What was tried, as a dry run, and what the API server said.
    #[serde(default)]
    pub attempts: Vec<ReportAttempt>,
}

/// Something forbidden that was tried.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportAttempt {
    /// What was tried.
    pub what: String,
    /// In which namespace.
    pub namespace: String,
    /// Whether the control that is named refused it, as it must. Of what must be allowed: whether it was.
    pub as_promised: bool,
    /// The API server's answer.
    pub answer: String,
}

/// Who reaches whom, by the network policies alone.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reachability {
    /// Each way that is open.
    #[serde(default)]
    pub open: Vec<OpenWay>,
    /// How many more ways are open than are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<i64>,
}

/// One way that is open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenWay {
    /// Where connections begin.
    pub from: String,
    /// Where they lead.
    pub to: String,
    /// On which ports; empty means all.
    #[serde(default)]
    pub ports: Vec<OpenPort>,
    /// What promises it: own pods, DNS, a rule of the perimeter, a peering. Absent: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A port, or a range of ports, that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenPort {
    /// Its number; absent means every port of the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// The last of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_port: Option<i32>,
    /// Its protocol.
    pub protocol: Protocol,
}

/// Something that was not as it should be.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The object, as Kind name or Kind namespace/name.
    pub object: String,
    /// What was wrong with it.
    pub what: String,
    /// When it was seen.
    #[schemars(schema_with = "crate::schema::instant")]
    pub seen_at: Timestamp,
    /// The field manager that changed it, as the object says; absent when it is not known, as after a deletion. The
    /// person is in the API server's audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When that manager changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub changed_at: Option<Timestamp>,
    /// When it was set right; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub repaired_at: Option<Timestamp>,
}

/// A signature over a report.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportSignature {
    /// Ed25519 (RFC 8032).
    pub algorithm: String,
    /// The public key, 32 bytes in hexadecimal.
    pub public_key: String,
    /// The signature, 64 bytes in hexadecimal.
    pub value: String,
}

/// The name of the only algorithm.
pub const SIGNATURE_ALGORITHM: &str = "Ed25519";

/// The bytes that are signed: which report it is, and its status without the signature, as JSON in one form only (RFC
/// 8785: keys sorted, no blanks; no number here is a fraction). `report` is the whole object as the API server gives it.
/// None when it has no status.
pub fn signed_bytes(report: &Value) -> Option<Vec<u8>> {
    let mut status = report.get("status")?.as_object()?.clone();
    status.remove("signature");
    let metadata = &report["metadata"];
    let what = serde_json::json!({
        "apiVersion": format!("{}/{}", crate::GROUP, crate::VERSION),
        "kind": "PerimeterReport",
        "metadata": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]},
        "status": status,
    });
    let mut text = String::new();
    canonical(&what, &mut text);
    Some(text.into_bytes())
}

/// Writes a value in its one form. (serde_json's own order of keys hangs on a feature that any crate may turn on.)
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            text.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                canonical(&map[key], text);
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_signed_has_one_form_and_leaves_out_the_signature_and_what_the_api_server_adds() {
        let one = json!({"metadata": {"name": "perimeter", "namespace": "a", "uid": "u", "resourceVersion": "1"},
                         "status": {"b": [1, "é\n\""], "a": {"z": null, "y": true}, "signature": {"value": "x"}}});
        let other = json!({"status": {"a": {"y": true, "z": null}, "b": [1, "é\n\""]},
                           "metadata": {"uid": "u", "namespace": "a", "name": "perimeter", "resourceVersion": "2"}});
        let bytes = signed_bytes(&one).unwrap();
        assert_eq!(bytes, signed_bytes(&other).unwrap());
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"apiVersion":"mesocentre.io/v1alpha1","kind":"PerimeterReport","metadata":{"name":"perimeter","namespace":"a","uid":"u"},"status":{"a":{"y":true,"z":null},"b":[1,"é\n\""]}}"#
        );
        assert_eq!(signed_bytes(&json!({"metadata": {}})), None);
    }
}

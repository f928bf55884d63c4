//! The API server's refusals as one sentence each.
//!
//! A `Status` wraps the sentence that somebody wrote (in a CEL rule, in an admission policy) into Go's own: kind, name,
//! field, value, policy, binding. Here the sentence is taken out again. Pure: an error in, a [`Failure`] out.

use crate::failure::Failure;
use kube::core::Status;
use serde::de::IgnoredAny;

/// What an error of the API means, while `doing` (for example "submitting pi.sh").
pub fn failure(doing: &str, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => from_status(doing, status),
        kube::Error::SerdeError(source) => Failure::Failed(format!(
            "{doing}: the API server answered in a form that this meso does not know ({source}). Is it the same version as the chart?"
        )),
        other => Failure::Unreachable(format!(
            "{doing}: the API server cannot be reached ({}). See that the server of your kubeconfig is right and up.",
            innermost(other)
        )),
    }
}

/// The last cause of an error: the one that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn from_status(doing: &str, status: &Status) -> Failure {
    let sentence = sentence(status);
    match (status.code, status.reason.as_str()) {
        (401, _) | (_, "Unauthorized") => Failure::Refused(format!(
            "{doing}: the API server does not know who you are: the certificate or token in your kubeconfig is missing or has expired. Get a new one."
        )),
        (404, _) | (_, "NotFound") => Failure::NotFound(format!("{doing}: {}", not_found(status))),
        (_, "AlreadyExists") => Failure::Refused(format!(
            "{doing}: there is one of that name already: choose another name"
        )),
        (429 | 500..=599, _) => Failure::Unreachable(format!(
            "{doing}: the API server cannot answer now ({sentence}). Try again."
        )),
        _ => Failure::Refused(format!("{doing}: {sentence}")),
    }
}

fn not_found(status: &Status) -> String {
    match &status.details {
        Some(details) if !details.name.is_empty() => {
            format!("there is no {} named {}", singular(&details.kind), details.name)
        }
        // The kind itself is unknown.
        _ if status.message.contains("could not find the requested resource")
            || status.message.contains("404") =>
        {
            "this cluster has no such kind: is Mesocentre installed on it, and is the context the right one?"
                .to_owned()
        }
        _ => status.message.clone(),
    }
}

/// Resources as the API server names them, as people do.
fn singular(resource: &str) -> String {
    match resource {
        "batchjobs" => "batch job".to_owned(),
        other => other.strip_suffix('s').unwrap_or(other).to_owned(),
    }
}

/// The sentences that were written for the user, without what the server wraps around them.
fn sentence(status: &Status) -> String {
    if let Some((_, said)) = status.message.split_once("denied request: ") {
        return said.trim().to_owned();
    }
    if let Some(sentence) = missing_right(&status.message) {
        return sentence;
    }
    let mut said: Vec<String> = Vec::new();
    for cause in status.details.iter().flat_map(|details| &details.causes) {
        let message = without_value(&cause.message);
        // The schema's own words need the field beside them; a rule's sentence stands by itself.
        let is_rules = cause.reason == "FieldValueInvalid" && message != cause.message;
        let line = if cause.field.starts_with("metadata.") {
            // Kubernetes' own rules of names, without their regular expression.
            let rule = message.split_once(" (e.g.").map_or(message, |(rule, _)| rule);
            format!("{}: {rule}", cause.field)
        } else if is_rules || cause.field.is_empty() {
            message.to_owned()
        } else {
            format!("{}: {message}", cause.field)
        };
        // A rule that could not be judged because another failed is no news.
        if !line.contains("some validation rules were not checked") && !said.contains(&line) {
            said.push(line);
        }
    }
    if said.is_empty() {
        status.message.clone()
    } else {
        said.join("; ")
    }
}

/// `User "carol" cannot create resource "batchjobs" in API group "mesocentre.io" in the namespace "x"`, as a person
/// would say it.
fn missing_right(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, rest) = rest.split_once("\" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, rest) = rest.split_once('"')?;
    let place = rest
        .split_once("in the namespace \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(namespace, _)| namespace);
    Some(match place {
        Some(namespace) if resource == "batchjobs" && !namespace.contains("--") => format!(
            "{user} has no right to {verb} {resource} in the namespace {namespace}, which is no workspace, and batch jobs live in one: write --namespace {namespace}--WORKSPACE"
        ),
        Some(namespace) => {
            let tenant = namespace.split_once("--").map_or(namespace, |(tenant, _)| tenant);
            format!(
                "{user} has no right to {verb} {resource} in the namespace {namespace}. If you belong to {tenant}, ask one of its Owners or the administrators for a role that may; if not, name your own namespace with --namespace"
            )
        }
        // Of the whole datacentre, in no namespace.
        None if resource == "economicceilings" => format!(
            "{user} has no right to {verb} {resource}: they are the datacentre's, so ask its administrators"
        ),
        None => format!(
            "{user} has no right to {verb} {resource} in the whole cluster: name one namespace with --namespace"
        ),
    })
}

/// The sentence after `Invalid value: <the value>: `; the message itself where that is not how it begins.
fn without_value(message: &str) -> &str {
    let Some(rest) = message.strip_prefix("Invalid value: ") else {
        return message;
    };
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    let after = match values.next() {
        Some(Ok(_)) => rest.get(values.byte_offset()..),
        // Go quotes a few characters in ways that JSON does not.
        _ => rest.rfind("\": ").and_then(|at| rest.get(at + 1..)),
    };
    after
        .and_then(|after| after.strip_prefix(": "))
        .unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(status: serde_json::Value) -> (u8, String) {
        let status: Status = serde_json::from_value(status).unwrap();
        let failure = failure("submitting pi.sh", &kube::Error::Api(Box::new(status)));
        (failure.code(), failure.to_string())
    }

    #[test]
    fn a_rules_sentence_comes_out_of_its_wrapping() {
        for value in [
            "\"string\"",
            "\"echo \\\"x\\\": y\\n\"",
            "{\"script\":\"a: b\"}",
            "12",
            "\"\\x00odd\"",
        ] {
            let answer = told(json!({
                "status": "Failure", "code": 422, "reason": "Invalid",
                "message": format!("BatchJob.mesocentre.io \"pi\" is invalid: spec.script: Invalid value: {value}: a batch script begins with its interpreter"),
                "details": {"name": "pi", "group": "mesocentre.io", "kind": "BatchJob", "causes": [
                    {"reason": "FieldValueInvalid", "field": "spec.script",
                     "message": format!("Invalid value: {value}: a batch script begins with its interpreter")},
                    {"reason": "FieldValueInvalid", "field": "<nil>",
                     "message": "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"},
                ]},
            }));
            assert_eq!(
                answer,
                (
                    3,
                    "submitting pi.sh: a batch script begins with its interpreter".to_owned()
                ),
                "{value}"
            );
        }
    }

    #[test]
    fn the_schemas_own_words_name_the_field() {
        let (_, said) = told(json!({
            "status": "Failure", "code": 422, "reason": "Invalid", "message": "…",
            "details": {"kind": "BatchJob", "causes": [
                {"reason": "FieldValueRequired", "field": "spec.allocation", "message": "Required value"},
            ]},
        }));
        assert_eq!(said, "submitting pi.sh: spec.allocation: Required value");
    }

    #[test]
    fn a_name_that_kubernetes_refuses_is_told_without_the_regular_expression() {
        let (_, said) = told(json!({
            "status": "Failure", "code": 422, "reason": "Invalid", "message": "…",
            "details": {"kind": "BatchJob", "causes": [
                {"reason": "FieldValueInvalid", "field": "metadata.name",
                 "message": "Invalid value: \"Pi\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters (e.g. 'x', regex used for validation is '[a-z]')"},
            ]},
        }));
        assert_eq!(
            said,
            "submitting pi.sh: metadata.name: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters"
        );
    }

    #[test]
    fn a_policys_sentence_comes_without_the_names_of_policy_and_binding() {
        let (code, said) = told(json!({
            "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "batchjobs.mesocentre.io \"pi\" is forbidden: ValidatingAdmissionPolicy 'mesocentre-batch-job-members' with binding 'mesocentre-batch-job-members' denied request: carol is not a member of univ-caen: ask an Owner",
        }));
        assert_eq!(
            (code, said.as_str()),
            (
                3,
                "submitting pi.sh: carol is not a member of univ-caen: ask an Owner"
            )
        );
    }

    #[test]
    fn what_is_in_no_namespace_is_not_looked_for_in_one() {
        let (code, said) = told(json!({
            "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "economicceilings.mesocentre.io is forbidden: User \"bob\" cannot list resource \"economicceilings\" in API group \"mesocentre.io\" at the cluster scope",
        }));
        assert_eq!(code, 3);
        assert!(
            said.ends_with("they are the datacentre's, so ask its administrators"),
            "{said}"
        );
    }

    #[test]
    fn a_missing_right_says_which_and_whom_to_ask() {
        let (code, said) = told(json!({
            "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "batchjobs.mesocentre.io is forbidden: User \"carol\" cannot create resource \"batchjobs\" in API group \"mesocentre.io\" in the namespace \"univ-caen--climate\"",
        }));
        assert_eq!(code, 3);
        assert!(
            said.contains("carol has no right to create batchjobs in the namespace univ-caen--climate"),
            "{said}"
        );
        assert!(said.contains("If you belong to univ-caen,"), "{said}");
    }

    #[test]
    fn who_looks_for_jobs_in_a_home_namespace_is_sent_to_a_workspace() {
        let (_, said) = told(json!({
            "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "batchjobs.mesocentre.io is forbidden: User \"alice\" cannot list resource \"batchjobs\" in API group \"mesocentre.io\" in the namespace \"univ-caen\"",
        }));
        assert!(said.ends_with("write --namespace univ-caen--WORKSPACE"), "{said}");
    }

    #[test]
    fn what_is_not_there_and_who_does_not_answer_have_codes_of_their_own() {
        let (code, said) = told(json!({
            "status": "Failure", "code": 404, "reason": "NotFound", "message": "batchjobs.mesocentre.io \"pi\" not found",
            "details": {"name": "pi", "group": "mesocentre.io", "kind": "batchjobs"},
        }));
        assert_eq!(
            (code, said.as_str()),
            (4, "submitting pi.sh: there is no batch job named pi")
        );
        assert_eq!(
            told(json!({"status": "Failure", "code": 503, "reason": "ServiceUnavailable", "message": "x"})).0,
            5
        );
        assert_eq!(
            told(
                json!({"status": "Failure", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"})
            )
            .0,
            3
        );
    }
}

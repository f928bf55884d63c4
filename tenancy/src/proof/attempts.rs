//! What is tried: the very thing that a rule forbids, and one pod that must be let in, so that a wall which refuses
//! everything is seen as such. Each differs from that pod in one thing alone.

use super::{Rule, Tried};
use mesocentre_api::{PerimeterRulesSpec, ReportAttempt};
use serde_json::{Value, json};

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A POST.
    Create,
    /// A PATCH with a merge patch.
    Merge,
}

/// One attempt, to be sent as a dry run.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The rule that it is about.
    pub rule: Rule,
    /// What is tried, in words.
    pub what: &'static str,
    /// Where.
    pub namespace: String,
    /// How.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The body.
    pub body: Value,
    /// Words of the control that must refuse it. None: it must be let in.
    pub refused_by: Option<String>,
}

/// What the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It would do it.
    LetIn,
    /// It would not, and says why.
    Refused(String),
    /// It did not answer the question.
    Failed(String),
}

/// What an answer says of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The control did what it must.
    AsPromised,
    /// It was refused all the same, since the tenant is suspended and nothing new starts.
    Suspended,
    /// It did not.
    Broken,
    /// Another control was before it, or there was no answer.
    SaysNothing,
}

/// Whether anything is tried for a rule.
pub(super) fn is_tried(rule: Rule) -> bool {
    !matches!(
        rule,
        Rule::Secrets | Rule::Hours | Rule::Peering | Rule::Deletion | Rule::Others
    )
}

/// A digest of no image: nothing is pulled for a dry run.
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn policy(name: &str) -> Option<String> {
    Some(format!("ValidatingAdmissionPolicy '{name}'"))
}

/// A pod that every perimeter lets in.
fn pod(rules: &PerimeterRulesSpec) -> Value {
    let registry = rules.image_registries.first().map_or("", String::as_str);
    let small = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mesocentre-attempt"},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65_532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "attempt", "image": format!("{registry}attempt@{DIGEST}"),
                "resources": {"requests": small, "limits": small},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// What suspension refuses with.
const SUSPENSION: &str = "mesocentre-suspension";

/// What to try in a namespace of the tenant. In the home namespace no pod runs, so none is tried that must be let in; and
/// while the tenant is suspended, none anywhere.
pub fn attempts(
    rules: &PerimeterRulesSpec,
    namespace: &str,
    is_workspace: bool,
    is_suspended: bool,
) -> Vec<Attempt> {
    let core = |resource: &str| format!("/api/v1/namespaces/{namespace}/{resource}");
    let group = |group: &str, resource: &str| format!("/apis/{group}/namespaces/{namespace}/{resource}");
    let create = |rule, what, path: String, body: Value, refused_by| Attempt {
        rule,
        what,
        namespace: namespace.to_owned(),
        method: Method::Create,
        path,
        body,
        refused_by,
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut pod = pod(rules);
        change(&mut pod["spec"]);
        pod
    };
    let named = |kind: &str, version: &str, rest: Value| {
        let mut object = rest;
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": "mesocentre-attempt"});
        object
    };
    let mut list = Vec::new();
    let all_right = "a pod that keeps to every rule";
    if is_workspace && is_suspended {
        let by = policy(SUSPENSION);
        list.push(create(Rule::Convention, all_right, core("pods"), pod(rules), by));
    } else if is_workspace {
        list.push(create(Rule::Images, all_right, core("pods"), pod(rules), None));
        let mut retrieval = pod(rules);
        retrieval["metadata"]["name"] = json!("retrieval");
        list.push(create(
            Rule::Convention,
            "a pod of the name that stays possible for suspended tenants, of one that is not",
            core("pods"),
            retrieval,
            policy(SUSPENSION),
        ));
    }
    let elsewhere =
        with(&|spec| spec["containers"][0]["image"] = json!(format!("elsewhere.invalid/attempt@{DIGEST}")));
    list.push(create(
        Rule::Images,
        "a pod with an image from elsewhere",
        core("pods"),
        elsewhere,
        policy("mesocentre-pods"),
    ));
    if rules.require_image_digest {
        let registry = rules.image_registries.first().map_or("", String::as_str);
        let tagged =
            with(&|spec| spec["containers"][0]["image"] = json!(format!("{registry}attempt:latest")));
        list.push(create(
            Rule::Images,
            "a pod with an image by tag",
            core("pods"),
            tagged,
            policy("mesocentre-pods"),
        ));
    }
    let privileged = with(&|spec| {
        spec["containers"][0]["securityContext"] = json!({"privileged": true});
        spec["hostNetwork"] = json!(true);
    });
    list.push(create(
        Rule::PodSecurity,
        "a privileged pod in the node's network",
        core("pods"),
        privileged,
        Some("violates PodSecurity".into()),
    ));
    let named_node = with(&|spec| spec["nodeName"] = json!("mesocentre-attempt"));
    list.push(create(
        Rule::Nodes,
        "a pod that names its node",
        core("pods"),
        named_node,
        policy("mesocentre-pods"),
    ));
    let tolerant = with(&|spec| spec["tolerations"] = json!([{"operator": "Exists"}]));
    list.push(create(
        Rule::Nodes,
        "a pod that tolerates every node",
        core("pods"),
        tolerant,
        policy("mesocentre-pods"),
    ));
    let first = with(&|spec| spec["priorityClassName"] = json!("system-cluster-critical"));
    list.push(create(
        Rule::Priority,
        "a pod that goes before all others",
        core("pods"),
        first,
        policy("mesocentre-pods"),
    ));
    let claim = named(
        "PersistentVolumeClaim",
        "v1",
        json!({"spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "mesocentre-attempt", "resources": {"requests": {"storage": "1Mi"}},
        }}),
    );
    list.push(create(
        Rule::Storage,
        "a claim of another storage class",
        core("persistentvolumeclaims"),
        claim,
        policy("mesocentre-storage"),
    ));
    list.push(create(
        Rule::Devices,
        "a claim of a device that no quota counts",
        group("resource.k8s.io/v1", "resourceclaims"),
        named(
            "ResourceClaim",
            "resource.k8s.io/v1",
            json!({"spec": {"devices": {"requests": [{"name": "attempt", "exactly": {"deviceClassName": "mesocentre-attempt"}}]}}}),
        ),
        policy("mesocentre-devices"),
    ));
    let service = |spec: Value| named("Service", "v1", json!({"spec": spec}));
    let ports = json!([{"port": 80}]);
    list.push(create(
        Rule::Services,
        "a service on every node's address",
        core("services"),
        service(json!({"type": "NodePort", "ports": ports})),
        policy("mesocentre-services"),
    ));
    list.push(create(
        Rule::Services,
        "a service with an address from outside",
        core("services"),
        service(json!({"externalIPs": ["192.0.2.1"], "ports": ports})),
        policy("mesocentre-services"),
    ));
    if !rules.load_balancers {
        list.push(create(
            Rule::Entrances,
            "a load balancer",
            core("services"),
            service(json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": ports})),
            policy("mesocentre-load-balancers"),
        ));
    }
    list.push(create(
        Rule::Network,
        "a network policy that lets everybody in",
        group("networking.k8s.io/v1", "networkpolicies"),
        named(
            "NetworkPolicy",
            "networking.k8s.io/v1",
            json!({"spec": {"podSelector": {}, "ingress": [{}]}}),
        ),
        policy("mesocentre-fences"),
    ));
    list.push(create(
        Rule::Entrances,
        "an Ingress for every hostname",
        group("networking.k8s.io/v1", "ingresses"),
        named(
            "Ingress",
            "networking.k8s.io/v1",
            json!({"spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}}),
        ),
        policy("mesocentre-ingresses"),
    ));
    // To a role that the one who tries holds: else the API server itself would refuse it before the policy is asked.
    list.push(create(
        Rule::Roles,
        "a role binding to everybody",
        group("rbac.authorization.k8s.io/v1", "rolebindings"),
        named("RoleBinding", "rbac.authorization.k8s.io/v1", json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "mesocentre-auditor"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}],
        })),
        policy("mesocentre-fences"),
    ));
    let huge = with(&|spec| {
        let much = json!({"cpu": "1000000", "memory": "1Mi"});
        spec["containers"][0]["resources"] = json!({"requests": much, "limits": much});
    });
    list.push(create(
        Rule::Quota,
        "a pod larger than the quota",
        core("pods"),
        huge,
        Some(format!("exceeded quota: {}", crate::plan::QUOTA_NAME)),
    ));
    list.push(Attempt {
        rule: Rule::Namespaces,
        what: "the namespace given to another perimeter",
        namespace: namespace.to_owned(),
        method: Method::Merge,
        path: format!("/api/v1/namespaces/{namespace}"),
        body: json!({"metadata": {"labels": {mesocentre_api::labels::PERIMETER: "mesocentre-attempt"}}}),
        refused_by: policy("mesocentre-namespaces"),
    });
    list.push(create(
        Rule::Tokens,
        "a token of a service account that never ends",
        core("secrets"),
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "mesocentre-attempt", "annotations": {"kubernetes.io/service-account.name": "default"}}}),
        policy("mesocentre-tokens"),
    ));
    // In the home namespace there are none at all.
    if is_workspace {
        list.push(create(
            Rule::BatchJobs,
            "a batch job of somebody who is no member",
            group("mesocentre.io/v1alpha1", "batchjobs"),
            named(
                "BatchJob",
                "mesocentre.io/v1alpha1",
                json!({"spec": {"allocation": "attempt", "script": "#!/bin/sh\ntrue\n"}}),
            ),
            policy("mesocentre-batch-job-members"),
        ));
    }
    list
}

/// What an answer says. A refusal must come from the control that is named: any other was only before it. Of a tenant that
/// is suspended, suspension may be before it.
pub fn judge(attempt: &Attempt, answered: Answered, is_suspended: bool) -> Tried {
    let suspension = format!("ValidatingAdmissionPolicy '{SUSPENSION}'");
    let (verdict, answer) = match (&attempt.refused_by, answered) {
        // A policy whose parameters have not reached the API server's own cache refuses everything.
        (_, Answered::Refused(why)) if why.contains("failed to configure") => (Verdict::SaysNothing, why),
        (None, Answered::LetIn) => (Verdict::AsPromised, "let in, as it must be".to_owned()),
        // The quota may be used up: that is no wall that refuses everything.
        (None, Answered::Refused(why)) if why.contains("exceeded quota") => (Verdict::AsPromised, why),
        (None, Answered::Refused(why))
            if why.contains("ValidatingAdmissionPolicy '") || why.contains("violates PodSecurity") =>
        {
            (
                Verdict::Broken,
                format!("refused, though nothing forbids it: {why}"),
            )
        }
        (None, Answered::Refused(why)) => (
            Verdict::SaysNothing,
            format!("refused by none of the perimeter's controls: {why}"),
        ),
        (Some(_), Answered::LetIn) => (Verdict::Broken, "let in, though it is forbidden".to_owned()),
        (Some(control), Answered::Refused(why)) if why.contains(control) => (Verdict::AsPromised, why),
        (Some(_), Answered::Refused(why)) if is_suspended && why.contains(&suspension) => {
            (Verdict::Suspended, why)
        }
        (Some(control), Answered::Refused(why)) => (
            Verdict::SaysNothing,
            format!("refused, though not by {control}: {why}"),
        ),
        (_, Answered::Failed(why)) => (Verdict::SaysNothing, why),
    };
    Tried {
        rule: attempt.rule,
        attempt: ReportAttempt {
            what: attempt.what.into(),
            namespace: attempt.namespace.clone(),
            as_promised: matches!(verdict, Verdict::AsPromised | Verdict::Suspended),
            answer: super::bounded(answer),
        },
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(refused_by: Option<&str>) -> Attempt {
        Attempt {
            rule: Rule::Images,
            what: "x",
            namespace: "a".into(),
            method: Method::Create,
            path: String::new(),
            body: Value::Null,
            refused_by: refused_by.map(Into::into),
        }
    }

    #[test]
    fn only_the_control_that_is_named_shows_that_a_rule_holds() {
        let of = |refused_by, answered| judge(&attempt(refused_by), answered, false).verdict;
        let refused = |why: &str| Answered::Refused(why.into());
        let by = Some("ValidatingAdmissionPolicy 'mesocentre-pods'");
        let ours = "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'mesocentre-pods' with binding 'mesocentre-pods' denied request: no";
        assert_eq!(of(by, refused(ours)), Verdict::AsPromised);
        assert_eq!(
            of(by, refused("pods is forbidden: User cannot create")),
            Verdict::SaysNothing
        );
        assert_eq!(of(by, Answered::LetIn), Verdict::Broken);
        assert_eq!(of(by, Answered::Failed("timeout".into())), Verdict::SaysNothing);
        assert_eq!(of(None, Answered::LetIn), Verdict::AsPromised);
        assert_eq!(of(None, refused(ours)), Verdict::Broken);
        assert_eq!(
            of(None, refused("serviceaccount \"default\" not found")),
            Verdict::SaysNothing
        );
        let no_rules = "ValidatingAdmissionPolicy 'mesocentre-pods' with binding 'mesocentre-pods' denied request: failed to configure binding: no params found";
        assert_eq!(of(by, refused(no_rules)), Verdict::SaysNothing);
        assert_eq!(of(None, refused("exceeded quota: tenant")), Verdict::AsPromised);
    }

    #[test]
    fn suspension_stands_for_the_rules_behind_it_of_a_suspended_tenant_and_of_no_other() {
        let of = |refused_by, suspended| {
            let why = "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'mesocentre-suspension' with binding 'mesocentre-suspension' denied request: ended";
            judge(&attempt(refused_by), Answered::Refused(why.into()), suspended).verdict
        };
        let by = Some("ValidatingAdmissionPolicy 'mesocentre-pods'");
        assert_eq!(of(by, true), Verdict::Suspended);
        assert_eq!(of(by, false), Verdict::SaysNothing);
        assert_eq!(of(None, false), Verdict::Broken);
        assert_eq!(
            of(Some("ValidatingAdmissionPolicy 'mesocentre-suspension'"), true),
            Verdict::AsPromised
        );
        let let_in = judge(&attempt(by), Answered::LetIn, true).verdict;
        assert_eq!(
            let_in,
            Verdict::Broken,
            "what is let in is let in, suspended or not"
        );
    }
}

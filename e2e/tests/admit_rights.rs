//! Promise: nobody gives themselves or others more than they have, and nothing of the cluster is a tenant's.

mod support;

use anyhow::Result;
use http::Method;
use mesocentre_e2e::apply_yaml;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use support::{Attempt, Ground, Who, as_another, pod};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const IMAGE: &str = "registry.meso.test/tools:1";
const HELD: &str = "hold the perimeter";
const ASK: &str = "ask the administrators of the datacentre";

fn binding(name: &str, role: &str, subject: Value) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    })
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

fn named(name: &str, mut object: Value) -> Value {
    object["metadata"] = json!({"name": name});
    object
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn nobody_gives_rights_or_takes_anothers_name() -> Result<()> {
    let ground = Ground::new("rights", json!({})).await?;
    let bindings = format!("{RBAC}/namespaces/{{ns}}/rolebindings");
    let roles = format!("{RBAC}/namespaces/{{ns}}/roles");
    // Where no perimeter holds, one of the same name to try things on.
    let same = binding("mesocentre-member", "view", user("nobody"));
    ground
        .ask_elsewhere(&ground.outsider, Method::POST, &bindings, same)
        .await
        .unwrap();
    let role = |verb: &str, resource: &str| {
        json!({"metadata": {"name": "tried"}, "rules": [
            {"apiGroups": ["rbac.authorization.k8s.io", ""], "resources": [resource], "verbs": [verb]},
        ]})
    };
    let member = ground.tenant.member.as_str();
    let own = format!("{bindings}/mesocentre-member");
    let held = |attempt: Attempt| attempt.no_right().told(HELD, ASK);
    let bound = |what: &str, role: &str, subject: Value| {
        held(Attempt::create(what, &bindings, binding("tried", role, subject)))
    };
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}});
    let account =
        |namespace: &str, name: &str| format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
    let secret = json!({"metadata": {"name": "tried", "annotations": {"kubernetes.io/service-account.name": "default"}}, "type": "kubernetes.io/service-account-token"});
    // Everybody may ask who they are: what is refused is the other name.
    let who_am_i = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let whoever = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let spoken = |what: &str, header: &'static str, name: &str| {
        let attempt = Attempt::create(what, who_am_i, whoever.clone())
            .with_header(header, name)
            .no_right();
        // What goes beside a user needs one.
        if header == "impersonate-user" {
            attempt
        } else {
            attempt.with_header("impersonate-user", "tried")
        }
    };
    let reviews = "/apis/authorization.k8s.io/v1";
    let asked = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "alice", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    ground
        .refuses(vec![
            bound("every user let in", "mesocentre-workspace-owner", group("system:authenticated")),
            bound("everybody let in", "view", group("system:unauthenticated")),
            bound("a stranger's group let in", "edit", group("strangers")),
            bound("a stranger let in", "mesocentre-workspace-member", user("mallory")),
            bound("all rights for oneself", "cluster-admin", user(member)),
            bound("all rights for a service account", "admin", json!({"kind": "ServiceAccount", "name": "default", "namespace": "{ns}"})),
            bound("a service account of another tenant let in", "edit", json!({"kind": "ServiceAccount", "name": "default", "namespace": "{free}"})),
            held(Attempt::create("a binding by an Owner", &bindings, binding("tried", "admin", user("mallory"))).by(Who::Owner)),
            held(Attempt::create(
                "a binding in the home namespace",
                format!("{RBAC}/namespaces/{{home}}/rolebindings"),
                binding("tried", "mesocentre-tenant-owner", user(member)),
            )),
            held(Attempt::patch("a member's binding, widened", &own, json!({"subjects": [group("system:authenticated")]}))),
            held(Attempt::delete("a member's binding, deleted", &own).by(Who::Owner)),
            held(Attempt::delete("every binding, deleted", &bindings)),
            held(Attempt::create("a role that escalates", &roles, role("escalate", "roles"))),
            held(Attempt::create("a role that binds", &roles, role("bind", "clusterroles"))),
            held(Attempt::create("a role that impersonates", &roles, role("impersonate", "users"))),
            held(Attempt::create("a role that reads secrets", &roles, role("get", "secrets")).by(Who::Owner)),
            Attempt::create("a cluster role", format!("{RBAC}/clusterroles"), role("get", "secrets")).no_right(),
            Attempt::patch("our role, widened", format!("{RBAC}/clusterroles/mesocentre-workspace-member"), json!({"rules": []})).no_right(),
            Attempt::create("a cluster role binding", format!("{RBAC}/clusterrolebindings"), binding("tried", "cluster-admin", user(member))).by(Who::Owner).no_right(),
            Attempt::create("a token of the operator's account", account("mesocentre-system", "mesocentre-operator"), token.clone()).by(Who::Owner).no_right(),
            Attempt::create("a token of a controller's account", account("kube-system", "namespace-controller"), token.clone()).no_right(),
            Attempt::create("a token of another tenant's account", account("{free}", "default"), token.clone()).no_right(),
            // A pod's token is its account's; one that a person carries away is not wanted.
            Attempt::create("a token of one's own account", account("{ns}", "default"), token).no_right(),
            Attempt::create("a token that never ends", "/api/v1/namespaces/{ns}/secrets", secret.clone())
                .told("knows no tokens of service accounts that never end", "let a pod run under the service account"),
            Attempt::create("a token that never ends, by an Owner", "/api/v1/namespaces/{ns}/secrets", secret)
                .by(Who::Owner)
                .told("knows no tokens of service accounts that never end", "let a pod run under the service account"),
            spoken("an administrator's name", "impersonate-user", "mesocentre-administrator"),
            spoken("a colleague's name", "impersonate-user", &ground.tenant.owner),
            spoken("the operator's name", "impersonate-user", "system:serviceaccount:mesocentre-system:mesocentre-operator"),
            spoken("a controller's name", "impersonate-user", "system:kube-controller-manager"),
            spoken("one's own service account's name", "impersonate-user", "system:serviceaccount:{ns}:default").by(Who::Owner),
            spoken("the administrators' group", "impersonate-group", "system:masters"),
            spoken("a node's group", "impersonate-group", "system:nodes"),
            spoken("another's uid", "impersonate-uid", "0"),
            spoken("another's scopes", "impersonate-extra-scopes", "all"),
            Attempt::create("what others may do", format!("{reviews}/subjectaccessreviews"), asked.clone()).no_right(),
            Attempt::create(
                "whose a token is",
                "/apis/authentication.k8s.io/v1/tokenreviews",
                json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}}),
            )
            .no_right(),
        ])
        .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn nothing_of_the_cluster_is_a_tenants() -> Result<()> {
    let ground = Ground::new("cluster", json!({})).await?;
    ground
        .both_have("/api/v1/namespaces/{ns}/pods", &named("standing", pod(IMAGE)))
        .await?;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let hook = json!({"metadata": {"name": "tried"}, "webhooks": [{
        "name": "tried.meso.test", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"url": "https://evil.example/"}, "rules": [rule],
    }]});
    let policy = |expression: Value| json!({"metadata": {"name": "tried"}, "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [expression]}});
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?.pem()?;
    let request = serde_json::to_value(k8s_openapi::ByteString(request.into_bytes()))?;
    let signing = |signer: &str, usages: Value| json!({"metadata": {"name": "tried"}, "spec": {"signerName": signer, "usages": usages, "request": request}});
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let crd = json!({"metadata": {"name": "tries.meso.test"}, "spec": {
        "group": "meso.test", "scope": "Namespaced", "names": {"plural": "tries", "kind": "Try"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
    }});
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let service = json!({"metadata": {"name": "v1.tried.meso.test"}, "spec": {
        "group": "tried.meso.test", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
        "service": {"namespace": "{ns}", "name": "tried"}, "insecureSkipTLSVerify": true,
    }});
    let system = "/api/v1/namespaces/mesocentre-system";
    let pods_of = |namespace: &str| format!("/api/v1/namespaces/{namespace}/pods");
    let no = |attempt: Attempt| attempt.no_right();
    // What upgrades to another protocol is refused before it does.
    let no_stream = |what: &str, path: String| Attempt::get(what, path).no_right().only_here();
    ground
        .refuses(vec![
            no(Attempt::create(
                "a webhook",
                format!("{admission}/validatingwebhookconfigurations"),
                hook.clone(),
            )),
            no(Attempt::create(
                "a webhook that rewrites",
                format!("{admission}/mutatingwebhookconfigurations"),
                hook,
            )
            .by(Who::Owner)),
            no(Attempt::create(
                "a policy",
                format!("{admission}/validatingadmissionpolicies"),
                policy(json!({"expression": "true"})),
            )),
            no(Attempt::delete(
                "our policy of pods",
                format!("{admission}/validatingadmissionpolicies/mesocentre-pods"),
            )),
            no(Attempt::patch(
                "our policy of pods, without force",
                format!("{admission}/validatingadmissionpolicybindings/mesocentre-pods"),
                json!({"spec": {"validationActions": ["Audit"]}}),
            )),
            no(Attempt::delete(
                "our policy of authors",
                format!("{admission}/mutatingadmissionpolicies/mesocentre-batch-job-author"),
            )
            .by(Who::Owner)),
            no(Attempt::create("a kind", crds, crd)),
            no(Attempt::patch(
                "our kind without its rules",
                format!("{crds}/batchjobs.mesocentre.io"),
                json!({"spec": {"preserveUnknownFields": false}}),
            )),
            no(Attempt::create(
                "an API",
                "/apis/apiregistration.k8s.io/v1/apiservices",
                service,
            )),
            no(Attempt::create(
                "a certificate of a client",
                requests,
                signing("kubernetes.io/kube-apiserver-client", json!(["client auth"])),
            )),
            no(Attempt::create(
                "a certificate of a kubelet",
                requests,
                signing("kubernetes.io/kubelet-serving", json!(["server auth"])),
            )
            .only_here()),
            no(Attempt::patch(
                "a certificate's approval",
                format!("{requests}/tried/approval"),
                json!({}),
            )
            .only_here()),
            no(Attempt::create(
                "a device class",
                "/apis/resource.k8s.io/v1/deviceclasses",
                json!({"metadata": {"name": "tried"}, "spec": {}}),
            )),
            no(Attempt::create(
                "a CSI driver",
                "/apis/storage.k8s.io/v1/csidrivers",
                json!({"metadata": {"name": "tried"}, "spec": {}}),
            )),
            no(Attempt::get("the operator's secrets", format!("{system}/secrets")).by(Who::Owner)),
            no(Attempt::create(
                "a pod beside the operator",
                format!("{system}/pods"),
                pod(IMAGE),
            ))
            .only_here(),
            no(Attempt::patch(
                "the operator's lease",
                "/apis/coordination.k8s.io/v1/namespaces/mesocentre-system/leases/mesocentre-operator",
                json!({"spec": {"holderIdentity": "tried"}}),
            )),
            no(Attempt::get("another's secrets", "/api/v1/namespaces/{free}/secrets").by(Who::Owner)),
            no(Attempt::get("everybody's secrets", "/api/v1/secrets").by(Who::Owner)),
            no(Attempt::get("everybody's pods", "/api/v1/pods")),
            no(Attempt::create(
                "a pod in another's namespace",
                pods_of("{free}"),
                pod(IMAGE),
            )),
            no(Attempt::patch(
                "a debug container in another's pod",
                format!("{}/standing/ephemeralcontainers", pods_of("{free}")),
                json!({"spec": {"ephemeralContainers": [support::container("debug", IMAGE)]}}),
            )),
            no_stream(
                "a shell in another's pod",
                format!("{}/standing/exec?command=sh", pods_of("{free}")),
            ),
            no_stream(
                "a terminal of another's pod",
                format!("{}/standing/attach", pods_of("{free}")),
            ),
            no_stream(
                "a port of another's pod",
                format!("{}/standing/portforward?ports=80", pods_of("{free}")),
            ),
            no_stream("another's logs", format!("{}/standing/log", pods_of("{free}"))),
            no_stream(
                "a shell in a pod of the system",
                format!("{}/coredns/exec?command=sh", pods_of("kube-system")),
            ),
            no(Attempt::create(
                "a shell by a Viewer",
                format!("{}/standing/exec?command=sh", pods_of("{ns}")),
                Value::Null,
            )
            .by(Who::Viewer)
            .only_here()),
            no(Attempt::get("secrets by a Viewer", "/api/v1/namespaces/{ns}/secrets").by(Who::Viewer)),
            no(Attempt::create("a pod by a Viewer", pods_of("{ns}"), pod(IMAGE)).by(Who::Viewer)),
            no(Attempt::get("pods by Billing", pods_of("{ns}")).by(Who::Billing)),
            no(Attempt::patch(
                "a pod's status",
                format!("{}/standing/status", pods_of("{ns}")),
                json!({"status": {"podIP": "192.0.2.1"}}),
            )),
            no(Attempt::create(
                "a pod's eviction",
                format!("{}/standing/eviction", pods_of("{ns}")),
                json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "standing"}}),
            )),
            no(Attempt::create(
                "a budget that keeps nodes from being drained",
                "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets",
                json!({"metadata": {"name": "tried"}, "spec": {"maxUnavailable": 0}}),
            )),
        ])
        .await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_service_account_has_no_rights_and_by_mistake_none_that_escape() -> Result<()> {
    let ground = Ground::new("accounts", json!({})).await?;
    let account = format!("system:serviceaccount:{}:default", ground.workspace);
    let pods = "/api/v1/namespaces/{ns}/pods";
    let evil = pod("registry.meso.test.evil/tools:1");
    let bindings = format!("{RBAC}/namespaces/{{ns}}/rolebindings");
    let service =
        json!({"metadata": {"name": "tried"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let open = json!({"metadata": {"name": "tried"}, "spec": {"podSelector": {}, "ingress": [{}]}});
    let policies = "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies";
    for (path, body) in [
        (pods, Value::Null),
        ("/api/v1/namespaces/{ns}/secrets", Value::Null),
        (policies, Value::Null),
    ] {
        let told = as_another(&ground, &account, Method::GET, path, body)
            .await
            .unwrap_err();
        assert!(told.contains("is forbidden: User"), "{told}");
    }
    let told = as_another(&ground, &account, Method::POST, pods, pod(IMAGE))
        .await
        .unwrap_err();
    assert!(told.contains("is forbidden: User"), "{told}");
    // An administrator binds Kubernetes' own role admin to the account that every pod of the workspace may use.
    let text = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: another-mistake, namespace: {0}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
         subjects: [{{kind: ServiceAccount, name: default, namespace: {0}}}]\n",
        ground.workspace
    );
    apply_yaml(&ground.stack.admin(), &text).await?;
    mesocentre_e2e::wait_for(
        "the account has the right",
        std::time::Duration::from_secs(10),
        async || as_another(&ground, &account, Method::POST, pods, pod(IMAGE)).await,
    )
    .await;
    for (path, body, told) in [
        (pods, evil, "takes images from registry.meso.test/ only"),
        (
            "/api/v1/namespaces/{ns}/services",
            service,
            "opens services inside only",
        ),
        (policies, open, HELD),
        (
            &bindings,
            binding("tried", "admin", group("system:authenticated")),
            HELD,
        ),
    ] {
        let said = as_another(&ground, &account, Method::POST, path, body)
            .await
            .unwrap_err();
        assert!(
            said.contains(told) && said.contains(&ground.tenant.perimeter),
            "{said}"
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn a_service_account_that_is_a_member_has_its_role_and_runs_no_jobs() -> Result<()> {
    let ground = Ground::new("automation", json!({})).await?;
    let tenant = format!("/apis/mesocentre.io/v1alpha1/tenants/{}", ground.tenant.name);
    let admin = ground.stack.admin();
    let members = ground
        .ask(&admin, Method::GET, &tenant, Value::Null)
        .await
        .unwrap()["spec"]["members"]
        .clone();
    let with = |namespace: &str, role: &str| {
        let mut members = members.clone();
        let account = json!({"serviceAccount": {"namespace": namespace, "name": "deployer"}, "role": role});
        members.as_array_mut().unwrap().push(account);
        json!({"spec": {"members": members}})
    };
    let write = async |change: Value| {
        let written = ground.ask(&admin, Method::PATCH, &tenant, change).await;
        written.unwrap_or_else(|told| panic!("{told}"));
    };
    // One of its own automation, in a namespace of no tenant.
    let pods = "/api/v1/namespaces/{ns}/pods";
    let account = format!("system:serviceaccount:{}:deployer", ground.free);
    let told = as_another(&ground, &account, Method::POST, pods, pod(IMAGE))
        .await
        .unwrap_err();
    assert!(told.contains("is forbidden: User"), "{told}");
    write(with(&ground.free, "Member")).await;
    let patience = std::time::Duration::from_secs(20);
    mesocentre_e2e::wait_for("the service account is a Member", patience, async || {
        as_another(&ground, &account, Method::POST, pods, pod(IMAGE)).await
    })
    .await;
    let job = json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"name": "tried"},
        "spec": {"allocation": "none", "script": "#!/bin/bash\ntrue\n"}});
    for (path, body, told, way_out) in [
        (
            pods,
            pod("registry.meso.test.evil/tools:1"),
            "takes images from registry.meso.test/ only",
            "push the image there",
        ),
        (
            "/apis/mesocentre.io/v1alpha1/namespaces/{ns}/batchjobs",
            job,
            "is a service account, and batch jobs of",
            "submit the job as a member with a posix account",
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings",
            binding("tried", "admin", group("system:authenticated")),
            "is forbidden: User",
            "",
        ),
        (
            "/apis/mesocentre.io/v1alpha1/namespaces/{home}/workspaces",
            json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": "Workspace", "metadata": {"name": "tried"}, "spec": {"purpose": "tried"}}),
            "is forbidden: User",
            "",
        ),
    ] {
        let said = as_another(&ground, &account, Method::POST, path, body)
            .await
            .unwrap_err();
        assert!(said.contains(told) && said.contains(way_out), "{path}: {said}");
    }
    // Others' are refused with a sentence, and so is one that every Member could use to become an Owner.
    for (namespace, role, reason, told) in [
        (
            "others--lab".to_owned(),
            "Member",
            "ForeignServiceAccount",
            "is the namespace of a workspace of others",
        ),
        (
            ground.tenant.name.clone(),
            "Member",
            "ForeignServiceAccount",
            "the tenant's own home, where nothing runs",
        ),
        (
            ground.workspace.clone(),
            "Owner",
            "ServiceAccountTooMighty",
            "every Member may run pods under it",
        ),
        (
            ground.workspace.clone(),
            "Billing",
            "ServiceAccountTooMighty",
            "give it the role Member or Viewer",
        ),
    ] {
        write(with(&namespace, role)).await;
        mesocentre_e2e::wait_for(
            &format!("{role} of {namespace} is refused"),
            patience,
            async || {
                let held = ground.ask(&admin, Method::GET, &tenant, Value::Null).await?;
                let ready = &held["status"]["conditions"][0];
                let said =
                    ready["reason"] == reason && ready["message"].as_str().unwrap_or_default().contains(told);
                if said {
                    Ok(())
                } else {
                    Err(held["status"].to_string())
                }
            },
        )
        .await;
    }
    // One of a workspace is a Member like those who may run pods under it.
    write(with(&ground.workspace, "Member")).await;
    let own = format!("system:serviceaccount:{}:deployer", ground.workspace);
    mesocentre_e2e::wait_for(
        "a workspace's service account is a Member",
        patience,
        async || as_another(&ground, &own, Method::POST, pods, pod(IMAGE)).await,
    )
    .await;
    let told = as_another(&ground, &account, Method::POST, pods, pod(IMAGE))
        .await
        .unwrap_err();
    assert!(
        told.contains("is forbidden: User"),
        "the one before is a member no more: {told}"
    );
    Ok(())
}

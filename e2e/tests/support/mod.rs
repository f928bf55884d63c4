//! Attempts: what a tenant tries. Each is first seen to work where no perimeter holds, then refused where one does.
//!
//! ```text
//! outsider, cluster-admin ─▶ namespace without a perimeter   works: the attempt is one that could succeed
//! owner or member         ─▶ the tenant's namespaces         refused: by a policy, or for want of a right
//! misled, cluster-admin   ─▶ the tenant's namespaces         refused: an administrator's mistaken RoleBinding opens nothing
//! ```
//! Both cluster-admins are ordinary users to the policies: they are not in the chart's `admission.administratorGroups`.
//! All requests are dry runs, which the API server admits or refuses like others.

#![allow(dead_code, reason = "each test file uses its own part")]

use anyhow::Result;
use futures::future::join_all;
use http::{Method, Request};
use kube::Client;
use mesocentre_e2e::fixture::{self, TenantFixture};
use mesocentre_e2e::{Stack, apply_yaml, wait_for};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Who tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Owner,
    Member,
    Viewer,
    Billing,
}

/// A tenant with people of every role, and a namespace without a perimeter beside it.
pub struct Ground {
    pub stack: Stack,
    pub tenant: TenantFixture,
    /// The namespace of the tenant's workspace.
    pub workspace: String,
    /// A namespace that no perimeter holds.
    pub free: String,
    pub owner: Client,
    pub member: Client,
    pub viewer: Client,
    pub billing: Client,
    /// Has every right in the tenant's namespaces, by mistake.
    pub misled: Client,
    /// Has every right everywhere, and is no administrator of the perimeters.
    pub outsider: Client,
}

impl Ground {
    /// One whose perimeter has these rules beside those of every fixture.
    pub async fn new(prefix: &str, rules: Value) -> Result<Self> {
        let stack = Stack::current().await?;
        let tenant = fixture::tenant(&stack, prefix).await?;
        let name = tenant.name.clone();
        let admin = stack.admin();
        let kind = "/apis/mesocentre.io/v1alpha1";
        send(
            &admin,
            &Call::merge(
                format!("{kind}/trustperimeters/{}", tenant.perimeter),
                json!({"spec": rules}),
            ),
        )
        .await?;
        let (owner, member) = (&tenant.owner, &tenant.member);
        let members = json!({"spec": {"members": [
            {"user": owner, "role": "Owner", "posixAccount": owner},
            {"user": member, "role": "Member", "posixAccount": member},
            {"user": format!("{name}-viewer"), "role": "Viewer"},
            {"user": format!("{name}-billing"), "role": "Billing"},
            {"user": format!("{name}-unposix"), "role": "Member"},
        ]}});
        send(&admin, &Call::merge(format!("{kind}/tenants/{name}"), members)).await?;
        wait_for("the rules are the perimeter's", PATIENCE, async || {
            let path = format!("{kind}/namespaces/{name}/perimeterrules/perimeter");
            let held = send(&admin, &Call::get(path))
                .await
                .map_err(|error| error.to_string())?;
            let held = &held["spec"];
            let same = [
                (&rules["images"]["registries"], &held["imageRegistries"]),
                (&rules["images"]["requireDigest"], &held["requireImageDigest"]),
                (&rules["nodes"]["selector"], &held["nodeSelector"]),
                (&rules["runtimeClassName"], &held["runtimeClassName"]),
                (&rules["priorityClasses"], &held["priorityClasses"]),
                (&rules["runtimeClasses"], &held["runtimeClasses"]),
                (&rules["tolerations"], &held["tolerations"]),
                (&rules["network"]["ingress"]["cidrs"], &held["ingressCidrs"]),
                (&rules["network"]["ingress"]["classes"], &held["ingressClasses"]),
                (&rules["network"]["loadBalancers"], &held["loadBalancers"]),
                (&json!(5), &json!(held["members"].as_array().map_or(0, Vec::len))),
            ]
            .iter()
            .all(|(asked, held)| asked.is_null() || asked == held);
            let home = send(&admin, &Call::get(format!("/api/v1/namespaces/{name}")))
                .await
                .map_err(|error| error.to_string())?;
            let level = &home["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
            let same = same && (rules["podSecurity"].is_null() || rules["podSecurity"] == *level);
            if same { Ok(()) } else { Err(held.to_string()) }
        })
        .await;
        let workspace = tenant.workspace(&stack, "lab").await?;
        let free = format!("{name}-free");
        let mut text = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {free}}}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: admit-outsider}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: admit-outsider}}]\n"
        );
        for namespace in [&name, &workspace] {
            text.push_str(&format!(
                "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
                 metadata: {{name: a-mistake, namespace: {namespace}}}\n\
                 roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\n\
                 subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {name}-misled}}]\n"
            ));
        }
        apply_yaml(&admin, &text).await?;
        for namespace in [&free, &workspace] {
            let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
            wait_for("pods have a service account", PATIENCE, async || {
                send(&admin, &Call::get(path.clone()))
                    .await
                    .map_err(|error| error.to_string())
            })
            .await;
        }
        Ok(Self {
            owner: stack.user(owner, &[]).await?,
            member: stack.user(member, &[]).await?,
            viewer: stack.user(&format!("{name}-viewer"), &[]).await?,
            billing: stack.user(&format!("{name}-billing"), &[]).await?,
            misled: stack.user(&format!("{name}-misled"), &[]).await?,
            outsider: stack.user("admit-outsider", &[]).await?,
            stack,
            tenant,
            workspace,
            free,
        })
    }

    /// Makes an object in the tenant's namespace and in the free one, for attempts on what exists. Rules that were just
    /// written reach what judges by them in the API server a moment later than who reads them: until then it is asked again.
    pub async fn both_have(&self, path: &str, body: &Value) -> Result<()> {
        for path in [self.of_the_tenant(path), self.without_perimeter(path)] {
            let call = Call::new(Method::POST, path.clone(), body.clone());
            let made = format!("what is tried on is made: {path}");
            wait_for(&made, PATIENCE, async || {
                let answer = send(&self.stack.admin(), &call).await;
                answer.map(drop).map_err(|error| error.to_string())
            })
            .await;
        }
        Ok(())
    }

    pub fn client(&self, who: Who) -> &Client {
        match who {
            Who::Owner => &self.owner,
            Who::Member => &self.member,
            Who::Viewer => &self.viewer,
            Who::Billing => &self.billing,
        }
    }

    /// Asks the API server as somebody, in the tenant's namespaces, and does not only rehearse.
    pub async fn ask(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<Value, String> {
        self.ask_at(client, method, &self.of_the_tenant(path), body).await
    }

    /// The same, where no perimeter holds.
    pub async fn ask_elsewhere(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<Value, String> {
        self.ask_at(client, method, &self.without_perimeter(path), body)
            .await
    }

    async fn ask_at(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<Value, String> {
        let body = serde_json::from_str(&self.of_the_tenant(&body.to_string())).unwrap_or_default();
        let mut call = Call::new(method, path.to_owned(), body);
        if call.method == Method::PATCH {
            call.content_type = "application/merge-patch+json";
        }
        send(client, &call).await.map_err(|error| said(&error))
    }

    /// Carries out every attempt; says all that went otherwise.
    pub async fn refuses(&self, attempts: Vec<Attempt>) {
        let count = attempts.len();
        assert!(count > 0, "no attempt was made");
        let wrong: Vec<String> = join_all(attempts.iter().map(|attempt| self.tries(attempt)))
            .await
            .into_iter()
            .flatten()
            .collect();
        println!("{count} attempts");
        assert!(
            wrong.is_empty(),
            "{} of {count} attempts:\n\n{}",
            wrong.len(),
            wrong.join("\n\n")
        );
    }

    async fn tries(&self, attempt: &Attempt) -> Vec<String> {
        let what = &attempt.what;
        let mut wrong = Vec::new();
        let with = |body: &Value| Call {
            body: body.clone(),
            ..attempt.call.rehearsed(str::to_owned)
        };
        let control = match &attempt.control {
            Control::Elsewhere => Some((
                &self.outsider,
                attempt.call.rehearsed(|path| self.without_perimeter(path)),
            )),
            Control::OtherwiseElsewhere(body) => Some((
                &self.outsider,
                with(body).rehearsed(|path| self.without_perimeter(path)),
            )),
            Control::OtherwiseHere(body) => Some((
                self.client(attempt.who),
                with(body).rehearsed(|path| self.of_the_tenant(path)),
            )),
            Control::None => None,
        };
        if let Some((client, call)) = control
            && let Err(error) = send(client, &call).await
        {
            wrong.push(format!(
                "{what}: could not succeed anywhere ({}): {}",
                call.path,
                said(&error)
            ));
        }
        let call = attempt.call.rehearsed(|path| self.of_the_tenant(path));
        let names = !attempt.names_no_perimeter;
        let answer = send(self.client(attempt.who), &call).await;
        let who = format!("{:?}", attempt.who);
        if attempt.no_right {
            let told = ["is forbidden: User", "cannot"];
            self.judge(what, &who, answer, &told, false, &mut wrong);
        } else {
            self.judge(what, &who, answer, &attempt.told, names, &mut wrong);
        }
        if attempt.misled_too && !attempt.told.is_empty() {
            let (who, client) = if attempt.by_outsider {
                ("an outsider with every right", &self.outsider)
            } else {
                ("who has a right by mistake", &self.misled)
            };
            let answer = send(client, &call).await;
            self.judge(what, who, answer, &attempt.told, names, &mut wrong);
        }
        wrong
    }

    fn judge(
        &self,
        what: &str,
        who: &str,
        answer: Result<Value, kube::Error>,
        told: &[&str],
        by_us: bool,
        wrong: &mut Vec<String>,
    ) {
        let said = match answer {
            Ok(answer) => {
                wrong.push(format!("{what}: {who} succeeded: {answer}"));
                return;
            }
            Err(error) => said(&error),
        };
        let named = if by_us { self.tenant.perimeter.as_str() } else { "" };
        for part in told.iter().chain([&named]) {
            if !said.contains(part) {
                wrong.push(format!("{what}: {who} was not told \"{part}\": {said}"));
            }
        }
    }

    fn of_the_tenant(&self, text: &str) -> String {
        text.replace("{ns}", &self.workspace)
            .replace("{home}", &self.tenant.name)
            .replace("{tenant}", &self.tenant.name)
            .replace("{free}", &self.free)
    }

    fn without_perimeter(&self, path: &str) -> String {
        self.of_the_tenant(&path.replace("{ns}", &self.free).replace("{home}", &self.free))
    }
}

/// How it is seen that an attempt could succeed.
enum Control {
    /// The outsider does the same where no perimeter holds.
    Elsewhere,
    /// The outsider does this where no perimeter holds: what is tried is refused there too.
    OtherwiseElsewhere(Value),
    /// The one who tries it does this in the same place.
    OtherwiseHere(Value),
    /// There is nothing to try it on.
    None,
}

/// One thing that is tried, and what must come back.
pub struct Attempt {
    what: String,
    call: Call,
    who: Who,
    control: Control,
    /// RBAC refuses it.
    no_right: bool,
    /// What a policy says; names the perimeter, unless Kubernetes says it in its own words.
    told: Vec<&'static str>,
    names_no_perimeter: bool,
    /// Whoever has every right in the namespace is told the same.
    misled_too: bool,
    /// So is, instead, whoever has every right in the cluster.
    by_outsider: bool,
}

impl Attempt {
    fn of(what: impl Into<String>, method: Method, path: impl Into<String>, body: Value) -> Self {
        Self {
            what: what.into(),
            call: Call::new(method, path.into(), body),
            who: Who::Member,
            control: Control::Elsewhere,
            no_right: false,
            told: Vec::new(),
            names_no_perimeter: false,
            misled_too: true,
            by_outsider: false,
        }
    }

    /// A create. `{ns}` in the path is the workspace's namespace, `{home}` the home namespace.
    pub fn create(what: impl Into<String>, path: impl Into<String>, body: Value) -> Self {
        Self::of(what, Method::POST, path, body)
    }

    /// A replacement.
    pub fn replace(what: impl Into<String>, path: impl Into<String>, body: Value) -> Self {
        Self::of(what, Method::PUT, path, body)
    }

    /// A merge patch.
    pub fn patch(what: impl Into<String>, path: impl Into<String>, body: Value) -> Self {
        Self::patch_of("application/merge-patch+json", what, path, body)
    }

    /// A patch of another kind.
    pub fn patch_of(
        content_type: &'static str,
        what: impl Into<String>,
        path: impl Into<String>,
        body: Value,
    ) -> Self {
        let mut attempt = Self::of(what, Method::PATCH, path, body);
        attempt.call.content_type = content_type;
        attempt
    }

    /// A deletion.
    pub fn delete(what: impl Into<String>, path: impl Into<String>) -> Self {
        Self::of(what, Method::DELETE, path, Value::Null)
    }

    /// A read.
    pub fn get(what: impl Into<String>, path: impl Into<String>) -> Self {
        Self::of(what, Method::GET, path, Value::Null)
    }

    /// By whom, when not by the Member.
    pub fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    /// With a header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.call.headers.push((name, value.into()));
        self
    }

    /// A policy refuses it, to members and to whoever was given the right by mistake: in a sentence that names the
    /// perimeter, the rule and the way out.
    pub fn told(mut self, rule: &'static str, way_out: &'static str) -> Self {
        self.told = vec![rule, way_out];
        self
    }

    /// The same, of what no perimeter decides.
    pub fn told_of_no_perimeter(mut self, rule: &'static str, way_out: &'static str) -> Self {
        self.names_no_perimeter = true;
        self.told(rule, way_out)
    }

    /// Kubernetes itself refuses it where a perimeter holds, in its own words.
    pub fn told_by_kubernetes(self, words: &'static str) -> Self {
        self.told_of_no_perimeter(words, "")
    }

    /// No role has the right; what is told is then told to whoever was given it by mistake.
    pub fn no_right(mut self) -> Self {
        self.no_right = true;
        self
    }

    /// Whoever has every right in the whole cluster is told the same.
    pub fn even_to_an_outsider(mut self) -> Self {
        self.by_outsider = true;
        self
    }

    /// What is told depends on who one is, so it is told to this one alone.
    pub fn alone(mut self) -> Self {
        self.misled_too = false;
        self
    }

    /// It could succeed: with this body it does, where no perimeter holds.
    pub fn unlike(mut self, body: Value) -> Self {
        self.control = Control::OtherwiseElsewhere(body);
        self
    }

    /// It could succeed: with this body it does, for the same person in the same place.
    pub fn unlike_here(mut self, body: Value) -> Self {
        self.control = Control::OtherwiseHere(body);
        self
    }

    /// There is nothing to try it on where no perimeter holds.
    pub fn only_here(mut self) -> Self {
        self.control = Control::None;
        self
    }
}

/// A request.
struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Call {
    fn new(method: Method, path: String, body: Value) -> Self {
        Self {
            method,
            path,
            content_type: "application/json",
            headers: Vec::new(),
            body,
        }
    }

    fn get(path: String) -> Self {
        Self::new(Method::GET, path, Value::Null)
    }

    fn merge(path: String, body: Value) -> Self {
        Self {
            content_type: "application/merge-patch+json",
            ..Self::new(Method::PATCH, path, body)
        }
    }

    /// The same as a dry run, with its placeholders filled in.
    fn rehearsed(&self, fill: impl Fn(&str) -> String) -> Self {
        let mut path = fill(&self.path);
        if self.method != Method::GET {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str("dryRun=All");
        }
        let body = serde_json::from_str(&fill(&self.body.to_string())).unwrap_or_default();
        Self {
            method: self.method.clone(),
            path,
            content_type: self.content_type,
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (*name, fill(value)))
                .collect(),
            body,
        }
    }
}

async fn send(client: &Client, call: &Call) -> Result<Value, kube::Error> {
    let body = if call.body.is_null() {
        Vec::new()
    } else {
        call.body.to_string().into_bytes()
    };
    let mut request = Request::builder()
        .method(&call.method)
        .uri(&call.path)
        .header("content-type", call.content_type);
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    client
        .request(request.body(body).map_err(kube::Error::HttpError)?)
        .await
}

fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => format!("{other:?}"),
    }
}

/// Asks the API server as an administrator who speaks as somebody else.
pub async fn as_another(
    ground: &Ground,
    user: &str,
    method: Method,
    path: &str,
    body: Value,
) -> Result<Value, String> {
    let mut call = Call::new(method, path.to_owned(), body).rehearsed(|path| ground.of_the_tenant(path));
    call.headers.push(("impersonate-user", user.to_owned()));
    send(&ground.stack.admin(), &call)
        .await
        .map_err(|error| said(&error))
}

/// The same, and does not only rehearse.
pub async fn as_another_for_good(
    ground: &Ground,
    user: &str,
    method: Method,
    path: &str,
    body: Value,
) -> Result<Value, String> {
    let body = serde_json::from_str(&ground.of_the_tenant(&body.to_string())).unwrap_or_default();
    let mut call = Call::new(method, ground.of_the_tenant(path), body);
    call.headers.push(("impersonate-user", user.to_owned()));
    send(&ground.stack.admin(), &call)
        .await
        .map_err(|error| said(&error))
}

/// A pod that every perimeter of the fixtures admits.
pub fn pod(image: &str) -> Value {
    json!({"metadata": {"generateName": "tried-"}, "spec": pod_spec(image)})
}

/// The same with something else in its spec: maps are merged, all else replaced.
pub fn pod_with(image: &str, changes: Value) -> Value {
    merged(pod(image), json!({"spec": changes}))
}

/// A container that Pod Security's restricted level admits.
pub fn container(name: &str, image: &str) -> Value {
    json!({
        "name": name,
        "image": image,
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    })
}

pub fn pod_spec(image: &str) -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container("main", image)],
    })
}

/// Everything that makes pods, with this as the pod's spec: what it is, where it is made, its body, and whether
/// members have a right to it.
pub fn workloads(spec: &Value) -> Vec<(&'static str, &'static str, Value, bool)> {
    let labels = json!({"app": "tried"});
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let once = json!({"spec": merged(spec.clone(), json!({"restartPolicy": "Never"}))});
    let metadata = json!({"generateName": "tried-"});
    let selected =
        json!({"metadata": metadata, "spec": {"selector": {"matchLabels": labels}, "template": template}});
    vec![
        (
            "a Deployment",
            "/apis/apps/v1/namespaces/{ns}/deployments",
            selected.clone(),
            true,
        ),
        (
            "a StatefulSet",
            "/apis/apps/v1/namespaces/{ns}/statefulsets",
            merged(selected.clone(), json!({"spec": {"serviceName": "tried"}})),
            true,
        ),
        (
            "a Job",
            "/apis/batch/v1/namespaces/{ns}/jobs",
            json!({"metadata": metadata, "spec": {"template": once}}),
            true,
        ),
        (
            "a CronJob",
            "/apis/batch/v1/namespaces/{ns}/cronjobs",
            json!({"metadata": metadata, "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": once}}}}),
            true,
        ),
        (
            "a DaemonSet",
            "/apis/apps/v1/namespaces/{ns}/daemonsets",
            selected.clone(),
            false,
        ),
        (
            "a ReplicaSet",
            "/apis/apps/v1/namespaces/{ns}/replicasets",
            selected,
            false,
        ),
        (
            "a ReplicationController",
            "/api/v1/namespaces/{ns}/replicationcontrollers",
            json!({"metadata": metadata, "spec": {"selector": labels, "template": template}}),
            false,
        ),
    ]
}

/// `base` with `changes`: maps are merged, all else is replaced.
pub fn merged(mut base: Value, changes: Value) -> Value {
    match (&mut base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (key, change) in changes {
                let old = base.remove(&key).unwrap_or_default();
                base.insert(key, merged(old, change));
            }
        }
        (base, changes) => *base = changes,
    }
    base
}

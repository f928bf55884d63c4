//! Promise: each role may do what `docs/rights.md` says, and nothing else that the API server serves.
//!
//! The page is written by this test, from what `SelfSubjectAccessReview` answers for every resource, subresource and
//! verb that is discovered: `UPDATE_GOLDEN=1` writes it anew. A kind that comes to be served cannot slip through.

mod support;

use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use support::{Ground, Who};

const ROLES: [Who; 4] = [Who::Owner, Who::Member, Who::Viewer, Who::Billing];
/// In the order in which people read them.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];
const HEAD: &str = "\
# Every right of every role

What the API server itself answered for each resource, subresource and verb that it serves: everything else is refused.
Written by a test (`UPDATE_GOLDEN=1 cargo test -p mesocentre-e2e --test admit_roles -- --include-ignored`, on a stack
that is up), which fails when a role comes to have another right. What the roles are for is in [roles.md](roles.md).

*read* is get, list, watch; *write* is that and create, update, patch, delete. No role has a right outside the tenant's
own namespaces, but for asking the API server about oneself.
";

/// A resource that the API server serves, `pods` or `pods/exec`, and the verbs that can be allowed on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Served {
    group: String,
    resource: String,
    namespaced: bool,
    verbs: Vec<String>,
}

impl Served {
    /// As people write it: `pods/exec`, `batchjobs.mesocentre.io`, `deployments.apps/scale`.
    fn name(&self) -> String {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, format!("/{subresource}")),
            None => (self.resource.as_str(), String::new()),
        };
        if self.group.is_empty() {
            format!("{resource}{subresource}")
        } else {
            format!("{resource}.{}{subresource}", self.group)
        }
    }
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn every_role_has_the_rights_that_the_page_says_and_none_in_the_cluster() -> Result<()> {
    let ground = Ground::new("roles", json!({})).await?;
    let served = served(&ground.stack.admin()).await?;
    assert!(served.len() > 100, "discovery is cut short: {served:?}");
    let stranger = ground.stack.user("admit-stranger", &[]).await?;
    let everybody = allowed(&stranger, &served, None).await?;
    let themselves: BTreeSet<&str> = everybody.keys().map(String::as_str).collect();
    let reviews = [
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
    ];
    assert_eq!(
        themselves,
        BTreeSet::from(reviews),
        "everybody has a right in the cluster"
    );

    let places = [
        ("home", ground.tenant.name.as_str()),
        ("workspace", ground.workspace.as_str()),
    ];
    let mut page = HEAD.to_owned();
    let mut tables: BTreeMap<&str, [BTreeMap<String, BTreeSet<String>>; 4]> = BTreeMap::new();
    for (index, role) in ROLES.into_iter().enumerate() {
        let client = ground.client(role);
        assert_eq!(
            allowed(client, &served, None).await?,
            everybody,
            "{role:?} has a right in the cluster"
        );
        for (place, namespace) in places {
            let mut here = allowed(client, &served, Some(namespace)).await?;
            here.retain(|resource, _| !everybody.contains_key(resource));
            // What one has in one's own namespace is what one might have in another.
            let same: Vec<Served> = served
                .iter()
                .filter(|s| here.contains_key(&s.name()))
                .cloned()
                .collect();
            let elsewhere = allowed(client, &same, Some(&ground.free)).await?;
            assert!(
                elsewhere.is_empty(),
                "{role:?} has a right in a namespace of nobody's: {elsewhere:?}"
            );
            tables.entry(place).or_default()[index] = here;
        }
        for path in [
            "/metrics",
            "/logs",
            "/debug/pprof",
            "/configz",
            "/flagz",
            "/statusz",
            "/",
        ] {
            assert!(!may_read(client, path).await?, "{role:?} may read {path}");
        }
    }
    for (title, place) in [
        ("In the home namespace `<tenant>`", "home"),
        ("In a workspace `<tenant>--<workspace>`", "workspace"),
    ] {
        let roles = &tables[place];
        write!(
            page,
            "\n## {title}\n\n| | Owner | Member | Viewer | Billing |\n| --- | --- | --- | --- | --- |\n"
        )?;
        let resources: BTreeSet<&String> = roles.iter().flat_map(BTreeMap::keys).collect();
        for resource in resources {
            write!(page, "| {resource} |")?;
            for role in roles {
                match role.get(resource) {
                    Some(verbs) => write!(page, " {} |", in_words(verbs))?,
                    None => page.push_str(" |"),
                }
            }
            page.push('\n');
        }
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/rights.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &page)?;
    }
    let written = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    assert_eq!(
        written, page,
        "a role has other rights than docs/rights.md says: run again with UPDATE_GOLDEN=1 and read the difference"
    );
    Ok(())
}

fn in_words(verbs: &BTreeSet<String>) -> String {
    let has = |some: &[&str]| some.iter().all(|verb| verbs.contains(*verb));
    let rest = |begun: &'static str, some: &[&str]| {
        std::iter::once(begun)
            .chain(
                verbs
                    .iter()
                    .map(String::as_str)
                    .filter(|verb| !some.contains(verb)),
            )
            .collect::<Vec<_>>()
            .join(", ")
    };
    if has(&VERBS[..7]) {
        rest("write", &VERBS[..7])
    } else if has(&VERBS[..3]) {
        rest("read", &VERBS[..3])
    } else {
        VERBS
            .iter()
            .copied()
            .filter(|verb| verbs.contains(*verb))
            .chain(
                verbs
                    .iter()
                    .map(String::as_str)
                    .filter(|verb| !VERBS.contains(verb)),
            )
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Everything that is served, by every group and version, and what RBAC knows beside it.
async fn served(client: &Client) -> Result<Vec<Served>> {
    let mut paths = vec![(String::new(), "/api/v1".to_owned())];
    let groups: Value = client
        .request(http::Request::get("/apis").body(Vec::new())?)
        .await?;
    for group in groups["groups"].as_array().into_iter().flatten() {
        for version in group["versions"].as_array().into_iter().flatten() {
            let name = group["name"].as_str().unwrap_or_default();
            paths.push((
                name.to_owned(),
                format!("/apis/{}", version["groupVersion"].as_str().unwrap_or_default()),
            ));
        }
    }
    let mut found: BTreeMap<(String, String), (bool, BTreeSet<String>)> = BTreeMap::new();
    for (group, path) in paths {
        let list: Value = client
            .request(http::Request::get(&path).body(Vec::new())?)
            .await?;
        for resource in list["resources"].as_array().into_iter().flatten() {
            let name = resource["name"].as_str().unwrap_or_default().to_owned();
            let entry = found
                .entry((group.clone(), name))
                .or_insert((resource["namespaced"] == true, BTreeSet::new()));
            let verbs = resource["verbs"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            entry.1.extend(verbs.map(ToOwned::to_owned));
        }
    }
    // What is no request of its own, but a right.
    for (group, resource, namespaced, verbs) in [
        (
            "rbac.authorization.k8s.io",
            "roles",
            true,
            ["bind", "escalate"].as_slice(),
        ),
        (
            "rbac.authorization.k8s.io",
            "clusterroles",
            false,
            &["bind", "escalate"],
        ),
        ("", "users", false, &["impersonate"]),
        ("", "groups", false, &["impersonate"]),
        ("", "serviceaccounts", true, &["impersonate"]),
        ("authentication.k8s.io", "uids", false, &["impersonate"]),
        (
            "authentication.k8s.io",
            "userextras/scopes",
            false,
            &["impersonate"],
        ),
        (
            "certificates.k8s.io",
            "signers",
            false,
            &["approve", "sign", "attest"],
        ),
        ("", "nodes/proxy", false, &["get", "create"]),
        // Served once they are installed; the rights are there before.
        ("gateway.networking.k8s.io", "httproutes", true, &VERBS),
        ("snapshot.storage.k8s.io", "volumesnapshots", true, &VERBS),
        ("*", "*", true, &["*"]),
    ] {
        let entry = found
            .entry((group.to_owned(), resource.to_owned()))
            .or_insert((namespaced, BTreeSet::new()));
        entry.1.extend(verbs.iter().map(|verb| (*verb).to_owned()));
    }
    Ok(found
        .into_iter()
        .map(|((group, resource), (namespaced, verbs))| Served {
            group,
            resource,
            namespaced,
            verbs: verbs.into_iter().collect(),
        })
        .collect())
}

/// What a client may do, in a namespace or in the whole cluster: `pods/exec` or `batchjobs.mesocentre.io`, and the verbs.
async fn allowed(
    client: &Client,
    served: &[Served],
    namespace: Option<&str>,
) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let questions = served
        .iter()
        .flat_map(|served| served.verbs.iter().map(move |verb| (served, verb)));
    let answers: Vec<Result<Option<(String, String)>>> = stream::iter(questions)
        .map(|(served, verb)| {
            let reviews = reviews.clone();
            async move {
                let (resource, subresource) = match served.resource.split_once('/') {
                    Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
                    None => (served.resource.as_str(), None),
                };
                // A namespace is asked for as what it is: an object that is in itself.
                let itself = served.group.is_empty() && resource == "namespaces";
                let attributes = ResourceAttributes {
                    group: Some(served.group.clone()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    verb: Some(verb.clone()),
                    namespace: namespace
                        .filter(|_| served.namespaced || itself)
                        .map(ToOwned::to_owned),
                    name: namespace.filter(|_| itself).map(ToOwned::to_owned),
                    ..Default::default()
                };
                let spec = SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(attributes),
                    non_resource_attributes: None,
                };
                Ok(ask(&reviews, spec).await?.then(|| (served.name(), verb.clone())))
            }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for answer in answers {
        if let Some((resource, verb)) = answer? {
            allowed.entry(resource).or_default().insert(verb);
        }
    }
    Ok(allowed)
}

async fn may_read(client: &Client, path: &str) -> Result<bool> {
    let attributes = NonResourceAttributes {
        path: Some(path.to_owned()),
        verb: Some("get".to_owned()),
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: None,
        non_resource_attributes: Some(attributes),
    };
    ask(&Api::all(client.clone()), spec).await
}

async fn ask(reviews: &Api<SelfSubjectAccessReview>, spec: SelfSubjectAccessReviewSpec) -> Result<bool> {
    let review = SelfSubjectAccessReview {
        metadata: Default::default(),
        spec,
        status: None,
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    let name = answer.name_any();
    Ok(answer
        .status
        .with_context(|| format!("a review without an answer: {name}"))?
        .allowed)
}

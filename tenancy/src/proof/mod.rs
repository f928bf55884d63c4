//! What shows that a tenant's perimeter holds: the rules, what enforces each, and what was found, put together.
//!
//! ```text
//! perimeter ──attempts──▶ what to try, and who must refuse it ──(tried as a dry run)──▶ Tried ┐
//! the chart's policies, as they are ────────────────────────────────────────────────▶ Wall    ├─rules──▶ RuleReport…
//! what the operator made in the tenant's namespaces, as it is ──────────────────────▶ Fence   │
//! what is there and is not the operator's ──────────────────────────────────────────▶ Foreign │
//! ways that are open (reachability) ────────────────────────────────────────────────▶ OpenWay ┘
//! ```
//! A rule is in force when each of its controls is as it must be, what it forbids was refused by that very control, and
//! nothing foreign weakens it. What could not be looked at makes it Unknown, never True.

mod attempts;
mod foreign;

pub use attempts::{Answered, Attempt, Method, Verdict, attempts, judge};
pub use foreign::{Foreign, binding_that_reaches_in, foreign_binding, foreign_namespace, foreign_policy};

use mesocentre_api::{
    ConditionStatus, OpenWay, PerimeterRulesSpec, PodSecurity, ReportAttempt, RuleReport, RulesSuspension,
};
use std::collections::BTreeMap;

/// A rule of every perimeter, by its short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is told by its promise")]
pub enum Rule {
    Images,
    PodSecurity,
    Nodes,
    Priority,
    Storage,
    Devices,
    Services,
    Network,
    Entrances,
    Roles,
    Quota,
    Namespaces,
    Tokens,
    Secrets,
    BatchJobs,
    Hours,
    Convention,
    Peering,
    Deletion,
    Reports,
    /// The chart's policies that are under no other rule.
    Others,
}

impl Rule {
    /// All, in the order in which they are reported.
    pub const ALL: [Self; 21] = [
        Self::Images,
        Self::PodSecurity,
        Self::Nodes,
        Self::Priority,
        Self::Storage,
        Self::Devices,
        Self::Services,
        Self::Network,
        Self::Entrances,
        Self::Roles,
        Self::Quota,
        Self::Namespaces,
        Self::Tokens,
        Self::Secrets,
        Self::BatchJobs,
        Self::Hours,
        Self::Convention,
        Self::Peering,
        Self::Deletion,
        Self::Reports,
        Self::Others,
    ];

    /// Its short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::PodSecurity => "pod-security",
            Self::Nodes => "nodes",
            Self::Priority => "priority",
            Self::Storage => "storage",
            Self::Devices => "devices",
            Self::Services => "services",
            Self::Network => "network",
            Self::Entrances => "entrances",
            Self::Roles => "roles",
            Self::Quota => "quota",
            Self::Namespaces => "namespaces",
            Self::Tokens => "tokens",
            Self::Secrets => "secrets",
            Self::BatchJobs => "batch-jobs",
            Self::Hours => "hours",
            Self::Convention => "convention",
            Self::Peering => "peering",
            Self::Deletion => "deletion",
            Self::Reports => "reports",
            Self::Others => "others",
        }
    }

    /// The chart's policies that enforce it; each has a binding of the same name.
    fn policies(self) -> &'static [&'static str] {
        match self {
            Self::Images => &[
                "mesocentre-pods",
                "mesocentre-pod-templates",
                "mesocentre-cron-jobs",
                "mesocentre-pods-stay",
            ],
            Self::Nodes => &["mesocentre-pods", "mesocentre-pod-placement", "mesocentre-nodes"],
            Self::Priority => &["mesocentre-pods"],
            Self::Storage => &[
                "mesocentre-storage",
                "mesocentre-claims-stay",
                "mesocentre-released-volumes",
                "mesocentre-snapshots",
                "mesocentre-volume-attributes",
            ],
            Self::Devices => &["mesocentre-devices"],
            Self::Services => &["mesocentre-services"],
            Self::Network | Self::Roles | Self::Quota => &["mesocentre-fences"],
            Self::Entrances => &[
                "mesocentre-fences",
                "mesocentre-ingresses",
                "mesocentre-routes",
                "mesocentre-load-balancers",
            ],
            Self::Namespaces => &["mesocentre-namespaces"],
            Self::Tokens => &["mesocentre-tokens"],
            Self::BatchJobs => &[
                "mesocentre-batch-job-author",
                "mesocentre-batch-job-members",
                "mesocentre-batch-jobs",
                "mesocentre-scheduler-jobs",
                "mesocentre-operator-runs-jobs",
            ],
            Self::Hours => &["mesocentre-allocations"],
            Self::Convention => &["mesocentre-suspension", "mesocentre-operator-stops-pods"],
            Self::Peering => &["mesocentre-peering"],
            Self::Deletion => &[
                "mesocentre-deletion",
                "mesocentre-finalizers",
                "mesocentre-first-finalizer",
            ],
            Self::Reports => &["mesocentre-reports", "mesocentre-auditor"],
            Self::PodSecurity | Self::Secrets | Self::Others => &[],
        }
    }

    /// The kinds of what the operator made that enforce it, or that its policies read.
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Images
            | Self::Nodes
            | Self::Priority
            | Self::Storage
            | Self::Devices
            | Self::BatchJobs
            | Self::Convention => &["PerimeterRules"],
            Self::PodSecurity | Self::Namespaces => &["Namespace"],
            Self::Services => &["ResourceQuota"],
            Self::Network => &["NetworkPolicy"],
            Self::Roles => &["RoleBinding"],
            Self::Quota => &["ResourceQuota", "LimitRange"],
            _ => &[],
        }
    }

    fn promise(self, rules: &PerimeterRulesSpec, level: PodSecurity) -> String {
        let or_none = |list: &[String], none: &str| {
            if list.is_empty() {
                none.to_owned()
            } else {
                list.join(", ")
            }
        };
        match self {
            Self::Images => format!(
                "containers run images from {} only{}",
                rules.image_registries.join(", "),
                if rules.require_image_digest {
                    ", named by digest"
                } else {
                    ""
                }
            ),
            Self::PodSecurity => format!("pods keep to the Pod Security Standard {}", level.as_str()),
            Self::Nodes if rules.node_selector.is_empty() => {
                "the scheduler alone chooses the nodes of pods, and keeps them off nodes of other perimeters".into()
            }
            Self::Nodes => {
                let labels: Vec<String> =
                    rules.node_selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("pods run on the perimeter's own nodes only, those labelled {}", labels.join(","))
            }
            Self::Priority => format!(
                "no pod runs before those of others, but by the priority classes: {}",
                or_none(&rules.priority_classes, "none")
            ),
            Self::Storage => format!(
                "data is kept on new volumes of the storage classes: {}",
                or_none(&rules.storage_classes, "none")
            ),
            Self::Devices => format!(
                "devices are had within the quota alone, of the classes: {}",
                or_none(&rules.device_classes, "none")
            ),
            Self::Services => "services lead nowhere outside the cluster and take no addresses from there".into(),
            Self::Network => {
                "traffic goes only to and from the tenant's own pods, DNS, what the perimeter lists and open peerings".into()
            }
            Self::Entrances => {
                "nobody comes in from outside but by what the perimeter lists, and hostnames that the tenant holds".into()
            }
            Self::Roles => "nobody acts in the tenant's namespaces but its members, each by the role they have".into(),
            Self::Quota => "the tenant takes no more than its quota".into(),
            Self::Namespaces => "only the operator says which namespaces are the tenant's, and what holds there".into(),
            Self::Tokens => "service accounts have no tokens that never end".into(),
            Self::Secrets => "what the tenant keeps in Vault is read by its own workloads and members alone".into(),
            Self::BatchJobs => "a batch job runs as the member who wrote it".into(),
            Self::Hours => "hours are granted by the administrators alone".into(),
            Self::Convention => match rules.suspension.as_ref() {
                Some(RulesSuspension { from: Some(from), .. }) => {
                    format!("nothing new starts from {from} on, when the convention has ended")
                }
                Some(RulesSuspension { from: None, why }) => format!("nothing new starts: {why}"),
                None => "nothing new starts when the tenant is suspended".into(),
            },
            Self::Peering => "traffic with another tenant opens by the consent of both Owners".into(),
            Self::Deletion => "nothing goes while jobs run or use is unbilled".into(),
            Self::Reports => "nobody but the operator writes this report, and its attempts are rehearsals".into(),
            Self::Others => "the other admission policies of Mesocentre are as installed".into(),
        }
    }
}

/// One admission policy or binding of the chart, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wall {
    /// `ValidatingAdmissionPolicy`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The generation of its spec; none when it is missing.
    pub generation: Option<i64>,
    /// What is wrong with it, to follow its name; none when it is as the chart has it.
    pub wrong: Option<String>,
}

/// One object that the operator made in the tenant's namespaces, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// `NetworkPolicy`, …
    pub kind: String,
    /// Its namespace; empty for a namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which version of it: its generation, or the resource version of kinds that have none.
    pub version: String,
    /// What is wrong with it, to follow its name; none when it is as planned.
    pub wrong: Option<String>,
}

impl Fence {
    fn control(&self) -> String {
        if self.namespace.is_empty() {
            format!("{}/{}", self.kind, self.name)
        } else {
            format!("{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// An attempt, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// The rule that it is about.
    pub rule: Rule,
    /// What to write down.
    pub attempt: ReportAttempt,
    /// What it says of the rule.
    pub verdict: Verdict,
}

/// Everything that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rules that admission is to enforce.
    pub rules: PerimeterRulesSpec,
    /// The Pod Security Standard.
    pub pod_security: PodSecurity,
    /// The chart's policies; or why they cannot be told.
    pub walls: Result<Vec<Wall>, String>,
    /// What the operator made.
    pub fences: Vec<Fence>,
    /// What is not the operator's.
    pub foreign: Vec<Foreign>,
    /// The ways that are open.
    pub ways: Vec<OpenWay>,
    /// What was tried; or why nothing was.
    pub tried: Result<Vec<Tried>, String>,
    /// The tenant's place in Vault; none where the perimeter asks for none.
    pub vault: Option<VaultPlace>,
}

/// A tenant's place in Vault, as it was last compared with what is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultPlace {
    /// It is as planned: where it is, in words.
    AsPlanned(String),
    /// It is not, or this could not be told: why.
    NotKnown(String),
}

/// Each rule with its controls and its evidence.
pub fn rules(found: &Found) -> Vec<RuleReport> {
    Rule::ALL.into_iter().map(|rule| report(rule, found)).collect()
}

fn report(rule: Rule, found: &Found) -> RuleReport {
    let mut wrong = Vec::new();
    let mut unknown = Vec::new();
    let mut evidence = Vec::new();
    let mut controls = Vec::new();

    let policies = rule.policies();
    let of_rule = |name: &str| match rule {
        Rule::Others => !Rule::ALL.iter().any(|rule| rule.policies().contains(&name)),
        _ => policies.contains(&name),
    };
    match &found.walls {
        Err(why) if !policies.is_empty() || rule == Rule::Others => unknown.push(why.clone()),
        Err(_) => {}
        Ok(walls) => {
            let mut versions = Vec::new();
            for wall in walls.iter().filter(|wall| of_rule(&wall.name)) {
                controls.push(format!("{}/{}", wall.kind, wall.name));
                match &wall.wrong {
                    Some(what) => wrong.push(format!("the {} {} {what}", wall.kind, wall.name)),
                    None => versions.push(format!(
                        "{} {} (generation {})",
                        wall.kind,
                        wall.name,
                        wall.generation.unwrap_or_default()
                    )),
                }
            }
            for name in policies
                .iter()
                .filter(|name| !walls.iter().any(|wall| wall.name == **name))
            {
                wrong.push(format!(
                    "the chart's record names no admission policy {name}: run helm upgrade"
                ));
            }
            if !versions.is_empty() {
                evidence.push(format!("as the chart has them: {}", versions.join(", ")));
            }
        }
    }

    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for fence in found
        .fences
        .iter()
        .filter(|fence| rule.kinds().contains(&fence.kind.as_str()))
    {
        controls.push(fence.control());
        match &fence.wrong {
            Some(what) => wrong.push(format!("the {} {what}", fence.control())),
            None => versions.entry(&fence.kind).or_default().push(format!(
                "{} ({})",
                fence
                    .control()
                    .trim_start_matches(&fence.kind)
                    .trim_start_matches('/'),
                fence.version
            )),
        }
    }
    for (kind, versions) in versions {
        evidence.push(format!("as planned: {kind} {}", versions.join(", ")));
    }

    wrong.extend(
        found
            .foreign
            .iter()
            .filter(|f| f.rule == rule)
            .map(Foreign::sentence),
    );
    if rule == Rule::Network {
        let unpromised = found.ways.iter().filter(|way| way.because.is_none());
        let mut open: Vec<String> = unpromised
            .map(|way| format!("{} reaches {}, which nothing promises", way.from, way.to))
            .collect();
        let many = open.len();
        open.truncate(5);
        if many > open.len() {
            open.push(format!("{many} ways are open that nothing promises"));
        }
        if many == 0 {
            evidence.push(format!(
                "computed from the network policies: {} ways are open, each promised",
                found.ways.len()
            ));
        }
        wrong.extend(open);
    }

    if rule == Rule::Secrets {
        match &found.vault {
            Some(VaultPlace::AsPlanned(place)) => {
                controls.push("Vault".to_owned());
                evidence.push(format!("compared with Vault and as planned: {place}"));
            }
            Some(VaultPlace::NotKnown(why)) => {
                controls.push("Vault".to_owned());
                unknown.push(format!("the place in Vault is not shown to be as planned: {why}"));
            }
            None => evidence.push("the perimeter asks for no place in Vault, so none is kept".to_owned()),
        }
    }

    let mut attempts = Vec::new();
    match &found.tried {
        Err(why) if attempts::is_tried(rule) => unknown.push(why.clone()),
        Err(_) => {}
        Ok(tried) => {
            for one in tried.iter().filter(|tried| tried.rule == rule) {
                match one.verdict {
                    Verdict::AsPromised => {}
                    Verdict::Suspended => evidence.push(format!(
                        "in {}, {} was refused because the tenant is suspended: while that lasts nothing of the kind starts",
                        one.attempt.namespace, one.attempt.what
                    )),
                    Verdict::Broken => wrong.push(format!(
                        "in {}, {}: {}",
                        one.attempt.namespace, one.attempt.what, one.attempt.answer
                    )),
                    Verdict::SaysNothing => unknown.push(format!(
                        "in {}, {} says nothing of this rule: {}",
                        one.attempt.namespace, one.attempt.what, one.attempt.answer
                    )),
                }
                attempts.push(one.attempt.clone());
            }
        }
    }

    let in_force = if !wrong.is_empty() {
        ConditionStatus::False
    } else if !unknown.is_empty() {
        ConditionStatus::Unknown
    } else {
        ConditionStatus::True
    };
    RuleReport {
        rule: rule.as_str().into(),
        promise: rule.promise(&found.rules, found.pod_security),
        controls,
        in_force,
        evidence: wrong
            .into_iter()
            .chain(unknown)
            .chain(evidence)
            .map(bounded)
            .collect(),
        attempts,
    }
}

/// A sentence that fits into a report whatever others wrote into it.
fn bounded(sentence: String) -> String {
    if sentence.chars().count() <= 2_000 {
        return sentence;
    }
    sentence.chars().take(2_000).chain("…".chars()).collect()
}

/// Whether all holds, and the first thing that is wrong, for a condition.
pub fn verdict(rules: &[RuleReport]) -> (ConditionStatus, &'static str, String) {
    let of = |status| rules.iter().filter(move |rule| rule.in_force == status);
    let name = |rule: &RuleReport| {
        format!(
            "{}: {}",
            rule.rule,
            rule.evidence.first().map_or("", String::as_str)
        )
    };
    let broken: Vec<String> = of(ConditionStatus::False).map(name).collect();
    if !broken.is_empty() {
        return (ConditionStatus::False, "NotInForce", bounded(broken.join("; ")));
    }
    let unknown: Vec<String> = of(ConditionStatus::Unknown).map(name).collect();
    if !unknown.is_empty() {
        return (ConditionStatus::Unknown, "NotKnown", bounded(unknown.join("; ")));
    }
    (
        ConditionStatus::True,
        "InForce",
        format!("all {} rules of the perimeter are in force", rules.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        let walls = Rule::ALL
            .into_iter()
            .flat_map(Rule::policies)
            .map(|name| Wall {
                kind: "ValidatingAdmissionPolicy".into(),
                name: (*name).into(),
                generation: Some(1),
                wrong: None,
            })
            .collect();
        Found {
            rules: PerimeterRulesSpec {
                tenant: "a".into(),
                workspace: None,
                perimeter: "p".into(),
                image_registries: vec!["r.test/".into()],
                require_image_digest: true,
                node_selector: BTreeMap::new(),
                runtime_class_name: String::new(),
                runtime_classes: Vec::new(),
                tolerations: Vec::new(),
                priority_classes: Vec::new(),
                storage_classes: Vec::new(),
                suspension: None,
                volume_attributes_classes: Vec::new(),
                snapshot_classes: Vec::new(),
                hostnames: Vec::new(),
                ingress_classes: Vec::new(),
                gateways: Vec::new(),
                ingress_cidrs: Vec::new(),
                publishing_annotations: Vec::new(),
                load_balancers: false,
                device_classes: Vec::new(),
                extended_resources: Vec::new(),
                members: Vec::new(),
            },
            pod_security: PodSecurity::Restricted,
            walls: Ok(walls),
            fences: vec![Fence {
                kind: "NetworkPolicy".into(),
                namespace: "a--x".into(),
                name: "perimeter".into(),
                version: "generation 1".into(),
                wrong: None,
            }],
            foreign: Vec::new(),
            ways: Vec::new(),
            vault: None,
            tried: Ok(Vec::new()),
        }
    }

    fn broken(found: &Found) -> Vec<(String, ConditionStatus)> {
        let rules = rules(found);
        let not = rules
            .into_iter()
            .filter(|rule| rule.in_force != ConditionStatus::True);
        not.map(|rule| (rule.rule, rule.in_force)).collect()
    }

    #[test]
    fn what_is_wrong_with_a_control_breaks_the_rules_that_it_enforces_and_no_other() {
        assert_eq!(broken(&found()), []);
        let mut one = found();
        for wall in one
            .walls
            .iter_mut()
            .flatten()
            .filter(|w| w.name == "mesocentre-tokens")
        {
            wall.wrong = Some("was deleted".into());
        }
        assert_eq!(broken(&one), [("tokens".to_owned(), ConditionStatus::False)]);
        let mut one = found();
        one.fences[0].wrong = Some("was changed".into());
        assert_eq!(broken(&one), [("network".to_owned(), ConditionStatus::False)]);
        let mut one = found();
        one.ways = vec![OpenWay {
            from: "x".into(),
            to: "a--x".into(),
            ports: Vec::new(),
            because: None,
        }];
        assert_eq!(broken(&one), [("network".to_owned(), ConditionStatus::False)]);
    }

    #[test]
    fn what_could_not_be_looked_at_is_unknown_and_never_in_force() {
        let mut one = found();
        one.tried = Err("the attempts could not be made".into());
        let unknown = broken(&one);
        assert!(
            unknown
                .iter()
                .all(|(_, status)| *status == ConditionStatus::Unknown)
        );
        assert!(unknown.iter().any(|(rule, _)| rule == "images"), "{unknown:?}");
        let mut one = found();
        one.walls = Err("the record is missing".into());
        assert!(broken(&one).len() > 10);
        assert_eq!(verdict(&rules(&one)).0, ConditionStatus::Unknown);
        assert_eq!(verdict(&rules(&found())).0, ConditionStatus::True);
    }

    #[test]
    fn a_policy_of_the_chart_that_no_rule_names_is_looked_at_all_the_same() {
        let mut one = found();
        if let Ok(walls) = &mut one.walls {
            walls.push(Wall {
                kind: "ValidatingAdmissionPolicy".into(),
                name: "mesocentre-new".into(),
                generation: None,
                wrong: Some("was deleted".into()),
            });
        }
        assert_eq!(broken(&one), [("others".to_owned(), ConditionStatus::False)]);
    }
    /// The chart's admission policies, as its templates name them.
    fn policies_of_the_chart() -> Vec<String> {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/mesocentre/templates/admission");
        let mut names = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for object in text.split("\n---\n") {
                let mut lines = object.lines();
                if lines.any(|line| line.starts_with("kind: ") && line.ends_with("AdmissionPolicy")) {
                    let name = lines.find_map(|line| line.strip_prefix("  name: ")).unwrap();
                    names.push(name.to_owned());
                }
            }
        }
        names
    }

    #[test]
    fn every_policy_of_the_chart_is_under_a_rule_and_every_rule_names_policies_of_the_chart() {
        let chart = policies_of_the_chart();
        assert!(chart.len() > 25, "{chart:?}");
        let named: Vec<&str> = Rule::ALL.into_iter().flat_map(Rule::policies).copied().collect();
        for name in &named {
            assert!(
                chart.iter().any(|policy| policy == name),
                "the chart has no {name}"
            );
        }
        for policy in &chart {
            assert!(
                named.contains(&policy.as_str()),
                "{policy} is under no rule: write it into Rule::policies"
            );
        }
    }

    #[test]
    fn what_must_refuse_an_attempt_is_a_policy_of_the_rule_that_it_is_about() {
        for (is_workspace, is_suspended) in [(true, false), (true, true), (false, false), (false, true)] {
            let attempts = attempts(&found().rules, "a", is_workspace, is_suspended);
            assert!(attempts.len() > 10);
            for attempt in attempts {
                let by = attempt.refused_by.unwrap_or_default();
                if let Some(policy) = by.strip_prefix("ValidatingAdmissionPolicy '") {
                    let policy = policy.trim_end_matches('\'');
                    assert!(
                        attempt.rule.policies().contains(&policy),
                        "{}: {policy} is not under {}",
                        attempt.what,
                        attempt.rule.as_str()
                    );
                }
            }
        }
    }

    #[test]
    fn of_a_suspended_tenant_a_rule_is_shown_by_its_controls_and_the_suspension() {
        let mut one = found();
        let all = attempts(&one.rules, "a--x", true, true);
        let refused = "ValidatingAdmissionPolicy 'mesocentre-suspension' denied request: ended";
        one.tried = Ok(all
            .iter()
            .filter(|attempt| attempt.what.contains("pod"))
            .map(|attempt| judge(attempt, Answered::Refused(refused.into()), true))
            .collect());
        assert_eq!(broken(&one), []);
    }

    #[test]
    fn a_place_in_vault_is_in_force_when_it_was_compared_and_unknown_until_then() {
        let mut one = found();
        one.vault = Some(VaultPlace::AsPlanned("tenants/a/kv".into()));
        assert_eq!(broken(&one), []);
        one.vault = Some(VaultPlace::NotKnown("Vault is sealed".into()));
        assert_eq!(broken(&one), [("secrets".to_owned(), ConditionStatus::Unknown)]);
    }
}

//! Whether a perimeter's dedicated nodes are its alone: a selector brings its pods there, and only a taint keeps the
//! others off.

use k8s_openapi::api::core::v1::Node;
use mesocentre_api::{TrustPerimeter, labels};
use std::collections::BTreeMap;

/// How many nodes a sentence names before it counts the rest.
const NAMED: usize = 5;

/// How a perimeter's dedicated nodes stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dedication {
    /// Each bears the taint.
    Kept {
        /// How many there are.
        nodes: usize,
    },
    /// Pods of others may come onto these.
    Open {
        /// Their names.
        nodes: Vec<String>,
    },
    /// Another perimeter selects some of them too.
    Shared {
        /// Their names.
        nodes: Vec<String>,
        /// The other.
        with: String,
    },
}

/// How a perimeter's dedicated nodes stand; none when it has no nodes of its own.
pub fn dedication<'a>(
    perimeter: &TrustPerimeter,
    others: impl IntoIterator<Item = &'a TrustPerimeter>,
    nodes: &[impl AsRef<Node>],
) -> Option<Dedication> {
    let rules = perimeter.spec.nodes.as_ref().filter(|rules| rules.dedicated)?;
    let name = perimeter.metadata.name.as_deref().unwrap_or("");
    let mut own: Vec<&Node> = nodes
        .iter()
        .map(AsRef::as_ref)
        .filter(|node| selects(&rules.selector, node))
        .collect();
    own.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let names = |nodes: &[&Node]| -> Vec<String> {
        nodes
            .iter()
            .filter_map(|node| node.metadata.name.clone())
            .collect()
    };
    for other in others {
        let selector = other.spec.nodes.as_ref().map(|rules| &rules.selector);
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            continue;
        };
        let shared: Vec<&Node> = own
            .iter()
            .copied()
            .filter(|node| selects(selector, node))
            .collect();
        if other.metadata.name != perimeter.metadata.name && !shared.is_empty() {
            return Some(Dedication::Shared {
                nodes: names(&shared),
                with: other.metadata.name.clone().unwrap_or_default(),
            });
        }
    }
    let open: Vec<&Node> = own.iter().copied().filter(|node| !is_kept(node, name)).collect();
    Some(if open.is_empty() {
        Dedication::Kept { nodes: own.len() }
    } else {
        Dedication::Open { nodes: names(&open) }
    })
}

impl Dedication {
    /// What is wrong: the condition's reason, and a sentence.
    pub fn wrong(&self, perimeter: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Kept { .. } => None,
            Self::Open { nodes } => Some((
                "NodesNotTainted",
                format!(
                    "the nodes of the perimeter are dedicated, and pods of others may run on {}, which bear no taint: kubectl taint node {} {}={perimeter}:NoSchedule, and drain what does not belong there",
                    in_words(nodes),
                    nodes
                        .iter()
                        .take(NAMED)
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .join(" "),
                    labels::PERIMETER,
                ),
            )),
            Self::Shared { nodes, with } => Some((
                "NodesShared",
                format!(
                    "the nodes of the perimeter are dedicated, and the perimeter {with} selects {} too: write into spec.nodes.selector of each a label that the other's nodes do not bear",
                    in_words(nodes)
                ),
            )),
        }
    }
}

fn in_words(nodes: &[String]) -> String {
    let named = nodes
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match nodes.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn selects(selector: &BTreeMap<String, String>, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    selector
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Whether the taint of this perimeter is on the node. NoExecute keeps off as well, and so does no other effect.
fn is_kept(node: &Node, perimeter: &str) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.into_iter().flatten().any(|taint| {
        taint.key == labels::PERIMETER
            && taint.value.as_deref() == Some(perimeter)
            && taint.effect == "NoSchedule"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn perimeter(name: &str, dedicated: bool, value: &str) -> TrustPerimeter {
        serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "TrustPerimeter", "metadata": {"name": name},
            "spec": {
                "displayName": "p", "classification": "Health", "tenantCategories": ["University"],
                "images": {"registries": ["r/"]},
                "nodes": {"dedicated": dedicated, "selector": {"mesocentre.io/perimeter": value}},
            },
        }))
        .unwrap()
    }

    fn node(name: &str, label: &str, taint: Option<(&str, &str)>) -> Arc<Node> {
        let taints = taint.map(
            |(value, effect)| json!([{"key": "mesocentre.io/perimeter", "value": value, "effect": effect}]),
        );
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"mesocentre.io/perimeter": label}}, "spec": {"taints": taints},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn a_node_without_the_perimeters_own_taint_is_named_with_the_command() {
        let health = perimeter("health", true, "health");
        let nodes = [
            node("n1", "health", Some(("health", "NoSchedule"))),
            node("n2", "health", None),
            node("n3", "health", Some(("other", "NoSchedule"))),
            node("n4", "health", Some(("health", "PreferNoSchedule"))),
            node("n5", "other", None),
        ];
        let stands = dedication(&health, [&health], &nodes).unwrap();
        let (reason, sentence) = stands.wrong("health").unwrap();
        assert_eq!(reason, "NodesNotTainted");
        assert!(
            sentence.contains("kubectl taint node n2 n3 n4 mesocentre.io/perimeter=health:NoSchedule"),
            "{sentence}"
        );
        assert_eq!(
            dedication(&health, [&health], &nodes[..1]),
            Some(Dedication::Kept { nodes: 1 })
        );
        assert_eq!(
            dedication(&health, [&health], &nodes[4..]),
            Some(Dedication::Kept { nodes: 0 })
        );
        assert_eq!(dedication(&perimeter("open", false, "health"), [], &nodes), None);
    }

    #[test]
    fn two_perimeters_that_select_one_node_are_told_of_each_other() {
        let (one, two) = (perimeter("one", true, "x"), perimeter("two", false, "x"));
        let nodes = [node("n1", "x", Some(("one", "NoSchedule")))];
        let stands = dedication(&one, [&one, &two], &nodes).unwrap();
        let (reason, sentence) = stands.wrong("one").unwrap();
        assert_eq!(reason, "NodesShared");
        assert!(
            sentence.contains("the perimeter two selects n1 too"),
            "{sentence}"
        );
        assert_eq!(
            dedication(&one, [&one], &nodes),
            Some(Dedication::Kept { nodes: 1 })
        );
    }
}

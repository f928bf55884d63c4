//! Tells a member of a suspended tenant so, on standard error, beside what was asked for.

use crate::connection::Connection;
use jiff::Timestamp;
use kube::Api;
use mesocentre_api::{PERIMETER_RULES_NAME, PerimeterRules, RulesSuspension};

/// Says why nothing new starts in a namespace, when that is so. Who may not read its rules is told nothing.
pub async fn tell(connection: &Connection, namespace: &str) {
    let rules: Api<PerimeterRules> = Api::namespaced(connection.client.clone(), namespace);
    if let Ok(Some(rules)) = rules.get_opt(PERIMETER_RULES_NAME).await
        && let Some(why) = in_force(rules.spec.suspension.as_ref(), Timestamp::now())
    {
        eprintln!("{why}");
    }
}

fn in_force(suspension: Option<&RulesSuspension>, now: Timestamp) -> Option<&str> {
    suspension
        .filter(|suspension| suspension.from.is_none_or(|from| from <= now))
        .map(|suspension| suspension.why.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspension_is_told_of_from_its_first_instant_on() {
        let from = |from: Option<&str>| RulesSuspension {
            from: from.map(|from| from.parse().unwrap()),
            why: "why".into(),
        };
        let now = "2026-12-31T23:00:00Z".parse().unwrap();
        assert_eq!(in_force(None, now), None);
        assert_eq!(in_force(Some(&from(None)), now), Some("why"));
        assert_eq!(
            in_force(Some(&from(Some("2026-12-31T23:00:00Z"))), now),
            Some("why")
        );
        assert_eq!(in_force(Some(&from(Some("2026-12-31T23:00:01Z"))), now), None);
    }
}

//! The mark on everything of ours in Vault: for which tenant of which cluster it was made, and what becomes of it.
//!
//! ```text
//! mesocentre.io tenant=univ-caen uid=… cluster=… keep-days=90
//! mesocentre.io tenant=univ-caen uid=… cluster=… sealed=2026-11-25T10:00:00Z destroy=2027-02-23T10:00:00Z
//! ```
//! It is a mount's description, a comment in a policy, the key id of an SSH role, and stands in a field of a JWT role that
//! Vault keeps and does not use (`oidc_scopes`).

use super::names::Uid;
use crate::names::TenantName;
use jiff::Timestamp;
use std::fmt;

const WORD: &str = "mesocentre.io";

/// What becomes of what bears a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its tenant lives.
    InUse {
        /// For how many days it is kept after the tenant's end.
        keep_days: i64,
    },
    /// Its tenant has ended.
    SealedOff {
        /// Since when.
        since: Timestamp,
        /// From when on it is destroyed.
        destroy: Timestamp,
    },
}

/// For which tenant of which cluster something was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The tenant's name.
    pub tenant: TenantName,
    /// The Tenant object's UID.
    pub uid: Uid,
    /// The cluster that it lives in.
    pub cluster: Uid,
    /// What becomes of it.
    pub state: State,
}

impl Mark {
    /// Reads one, written as [`Mark`] shows it; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        if words.next() != Some(WORD) {
            return None;
        }
        let mut value = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let tenant = TenantName::new(value("tenant")?).ok()?;
        let uid = Uid::new(value("uid")?).ok()?;
        let cluster = Uid::new(value("cluster")?).ok()?;
        let next = words.next()?;
        let state = match next.strip_prefix("keep-days=") {
            Some(days) => State::InUse {
                keep_days: days.parse().ok().filter(|days| *days >= 0)?,
            },
            None => State::SealedOff {
                since: next.strip_prefix("sealed=")?.parse().ok()?,
                destroy: words.next()?.strip_prefix("destroy=")?.parse().ok()?,
            },
        };
        words.next().is_none().then_some(Self {
            tenant,
            uid,
            cluster,
            state,
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tenant,
            uid,
            cluster,
            state,
        } = self;
        write!(f, "{WORD} tenant={tenant} uid={uid} cluster={cluster} ")?;
        match state {
            State::InUse { keep_days } => write!(f, "keep-days={keep_days}"),
            State::SealedOff { since, destroy } => write!(f, "sealed={since} destroy={destroy}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nothing_else_is_one() {
        let uid = |n: u8| Uid::new(&format!("0f4dd6a6-2bd5-4e0c-9d5f-3a6a33f3cf1{n}")).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for state in [
            State::InUse { keep_days: 0 },
            State::InUse { keep_days: 90 },
            State::SealedOff {
                since: at("2026-11-25T10:00:00Z"),
                destroy: at("2027-02-23T10:00:00Z"),
            },
        ] {
            let mark = Mark {
                tenant: TenantName::new("univ-caen").unwrap(),
                uid: uid(1),
                cluster: uid(2),
                state,
            };
            let text = mark.to_string();
            assert_eq!(Mark::parse(&text), Some(mark), "{text}");
            for other in [
                format!("{text} "),
                format!(" {text}"),
                format!("{text} keep-days=1"),
                text.replace("mesocentre.io", "mesocentre"),
                text.replace("univ-caen", "univ--caen"),
                text.replace("cluster=", "group="),
            ] {
                assert_eq!(Mark::parse(&other), None, "{other}");
            }
        }
        assert_eq!(Mark::parse(""), None);
        assert_eq!(Mark::parse("secrets of the library"), None);
    }
}

//! Names as Vault has them, as types: what holds one holds nothing that a path or a policy could misread.

use crate::names::TenantName;
use std::fmt;

/// Not of the form that is needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No path in Vault that we write to.
    #[error(
        "\"{0}\" cannot be a path in Vault here: write lower-case letters, digits, - and _, in parts separated by /, for example tenants or platform/tenants"
    )]
    Path(String),
    /// No UID of Kubernetes.
    #[error("\"{0}\" is no UID of a Kubernetes object")]
    Uid(String),
    /// No posix account.
    #[error(
        "\"{0}\" is no posix account: write lower-case letters, digits, -, _ and dots, for example alice"
    )]
    PosixAccount(String),
}

/// A path in Vault of plain parts: no pattern, no quote, no space, nothing to escape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultPath(String);

impl VaultPath {
    /// Checks a path. Errors: [`BadName::Path`].
    pub fn new(path: &str) -> Result<Self, BadName> {
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
        };
        if path.len() <= 100 && path.split('/').all(is_part) {
            Ok(Self(path.into()))
        } else {
            Err(BadName::Path(path.into()))
        }
    }

    /// The path below it of a tenant's name.
    pub fn child(&self, tenant: &TenantName) -> Self {
        Self(format!("{self}/{tenant}"))
    }

    /// The path below it of a word of this program.
    pub(super) fn child_word(&self, word: &'static str) -> Self {
        Self(format!("{self}/{word}"))
    }

    /// As Vault writes it, without a slash at either end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The UID of a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(String);

impl Uid {
    /// Checks a UID. Errors: [`BadName::Uid`].
    pub fn new(uid: &str) -> Result<Self, BadName> {
        let fits = uid.len() == 36
            && uid.char_indices().all(|(at, c)| match at {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_digit() || ('a'..='f').contains(&c),
            });
        if fits {
            Ok(Self(uid.into()))
        } else {
            Err(BadName::Uid(uid.into()))
        }
    }

    /// As Kubernetes writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A posix account: no comma, so a list of them is a list of just these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PosixAccount(String);

impl PosixAccount {
    /// Checks an account by the rule of `Tenant.spec.members`. Errors: [`BadName::PosixAccount`].
    pub fn new(account: &str) -> Result<Self, BadName> {
        let fits = account.len() <= 32
            && account != "root"
            && account.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && account
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-'));
        if fits {
            Ok(Self(account.into()))
        } else {
            Err(BadName::PosixAccount(account.into()))
        }
    }

    /// As the machine has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! shown {
    ($($type:ty),+) => {
        $(impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        })+
    };
}

shown!(VaultPath, Uid, PosixAccount);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_policy_or_a_path_could_misread_has_a_name() {
        for path in [
            "", "/", "a/", "/a", "a//b", "a/*", "a/+", "a b", "a\"", "a\n", "A", "..", "a/../b", "é",
            "a/{{x}}",
        ] {
            assert!(VaultPath::new(path).is_err(), "{path:?}");
        }
        assert!(VaultPath::new("platform/tenants_2").is_ok());
        for uid in [
            "",
            "*",
            "0f4dd6a6-2bd5-4e0c-9d5f-3a6a33f3cf1",
            "0f4dd6a6-2bd5-4e0c-9d5f-3a6a33f3cf1\"",
            "0F4DD6A6-2bd5-4e0c-9d5f-3a6a33f3cf10",
        ] {
            assert!(Uid::new(uid).is_err(), "{uid:?}");
        }
        for account in ["", "root", "a,b", "*", "A", "a b", "{{x}}", "-a"] {
            assert!(PosixAccount::new(account).is_err(), "{account:?}");
        }
        assert!(PosixAccount::new("m.durand-2").is_ok());
    }
}

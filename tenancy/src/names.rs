//! Names of tenants, workspaces, perimeters and their namespaces, as types that cannot be mixed up.
//!
//! A workspace's namespace is `<tenant>--<workspace>`, a home namespace is `<tenant>`; since neither name may hold
//! `--`, no two pairs share a namespace. The API server checks the same rules by CEL (`api/src/tenant.rs`,
//! `api/src/workspace.rs`): here they are checked again, for what was stored before a rule was made.

use std::fmt;

/// Why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not of the form that a tenant's name has.
    #[error(
        "\"{0}\" cannot name a tenant: write at most 30 lower-case letters, digits and single hyphens, beginning with a letter, without \"--\" (it separates tenant and workspace), for example univ-caen"
    )]
    Tenant(String),
    /// A tenant's name that the platform needs.
    #[error(
        "\"{0}\" cannot name a tenant: default, root, kube-… and mesocentre-… belong to the platform; choose the institution's own name"
    )]
    TenantReserved(String),
    /// Not of the form that a workspace's name has.
    #[error(
        "\"{0}\" cannot name a workspace: write at most 30 lower-case letters, digits and single hyphens, beginning with a letter, without \"--\" (it separates tenant and workspace), for example climate"
    )]
    Workspace(String),
    /// Not of the form that a perimeter's name has.
    #[error(
        "\"{0}\" cannot name a perimeter: write at most 63 lower-case letters, digits and hyphens, for example open-research"
    )]
    Perimeter(String),
    /// Not a namespace that a tenant can have.
    #[error("the namespace \"{0}\" is no tenant's: those are named <tenant> or <tenant>--<workspace>")]
    Namespace(String),
}

/// A name of lower-case letters, digits and hyphens that begins with a letter and does not end with a hyphen.
fn is_label(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as manifests write it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
    };
}

name! {
    /// A tenant's name, which is also its home namespace's and its Slurm account's.
    TenantName
}
name! {
    /// A workspace's name, unique within its tenant.
    WorkspaceName
}
name! {
    /// A trust perimeter's name.
    PerimeterName
}
name! {
    /// The name of a namespace that belongs to a tenant.
    NamespaceName
}

impl TenantName {
    /// Checks a tenant's name. Errors: [`NameError::Tenant`], [`NameError::TenantReserved`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        if !is_label(name, 30) || name.contains("--") {
            return Err(NameError::Tenant(name.into()));
        }
        let reserved = matches!(name, "default" | "root")
            || name.starts_with("kube-")
            || name.starts_with("mesocentre-");
        if reserved {
            return Err(NameError::TenantReserved(name.into()));
        }
        Ok(Self(name.into()))
    }
}

impl WorkspaceName {
    /// Checks a workspace's name. Errors: [`NameError::Workspace`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        if is_label(name, 30) && !name.contains("--") {
            Ok(Self(name.into()))
        } else {
            Err(NameError::Workspace(name.into()))
        }
    }
}

impl PerimeterName {
    /// Checks a perimeter's name. Errors: [`NameError::Perimeter`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        // A perimeter's name becomes a label's value; Kubernetes object names may also hold dots and begin with digits.
        let fits = !name.is_empty()
            && name.len() <= 63
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric());
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(NameError::Perimeter(name.into()))
        }
    }
}

impl NamespaceName {
    /// Checks that a namespace's name is one that a tenant can have. Errors: [`NameError::Namespace`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        Self::split(name).map(|_| Self(name.into()))
    }

    /// The home namespace of a tenant: its own name.
    pub fn home(tenant: &TenantName) -> Self {
        Self(tenant.0.clone())
    }

    /// The namespace of a workspace: `<tenant>--<workspace>`.
    pub fn workspace(tenant: &TenantName, workspace: &WorkspaceName) -> Self {
        Self(format!("{tenant}--{workspace}"))
    }

    /// Whose namespace a name says it is: the tenant, and the workspace unless it is the home namespace.
    /// Errors: [`NameError::Namespace`].
    pub fn split(name: &str) -> Result<(TenantName, Option<WorkspaceName>), NameError> {
        let foreign = |_| NameError::Namespace(name.into());
        match name.split_once("--") {
            None => Ok((TenantName::new(name).map_err(foreign)?, None)),
            Some((tenant, workspace)) => Ok((
                TenantName::new(tenant).map_err(foreign)?,
                Some(WorkspaceName::new(workspace).map_err(foreign)?),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_two_hyphens_in_a_row_is_refused_with_what_to_write() {
        let refused = TenantName::new("univ--caen").unwrap_err();
        assert!(refused.to_string().contains("univ-caen"), "{refused}");
        assert!(WorkspaceName::new("a--b").is_err());
    }

    #[test]
    fn the_platforms_own_names_are_no_tenants() {
        for name in [
            "default",
            "root",
            "kube-system",
            "mesocentre-system",
            "",
            "Univ",
            "1st",
            "a-",
            "é",
        ] {
            assert!(TenantName::new(name).is_err(), "{name}");
        }
        assert!(TenantName::new(&"a".repeat(31)).is_err());
        assert!(TenantName::new(&"a".repeat(30)).is_ok());
    }

    #[test]
    fn a_namespaces_name_says_whose_it_is() {
        let tenant = TenantName::new("univ-caen").unwrap();
        let workspace = WorkspaceName::new("climate").unwrap();
        let namespace = NamespaceName::workspace(&tenant, &workspace);
        assert_eq!(namespace.as_str(), "univ-caen--climate");
        assert_eq!(
            NamespaceName::split("univ-caen--climate"),
            Ok((tenant.clone(), Some(workspace)))
        );
        assert_eq!(NamespaceName::split("univ-caen"), Ok((tenant, None)));
        assert!(NamespaceName::split("kube-system").is_err());
        assert!(NamespaceName::split("a--b--c").is_err());
        assert!(NamespaceName::split("a---b").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_two_workspaces_share_a_namespace(
            a in "[a-z]([a-z0-9]|-[a-z0-9]){0,14}", b in "[a-z]([a-z0-9]|-[a-z0-9]){0,14}",
            c in "[a-z]([a-z0-9]|-[a-z0-9]){0,14}", d in "[a-z]([a-z0-9]|-[a-z0-9]){0,14}",
        ) {
            let namespace = |t: &str, w: &str| {
                Some(NamespaceName::workspace(&TenantName::new(t).ok()?, &WorkspaceName::new(w).ok()?))
            };
            if let (Some(one), Some(other)) = (namespace(&a, &b), namespace(&c, &d)) {
                proptest::prop_assert_eq!(one == other, a == c && b == d);
                proptest::prop_assert!(one.as_str().len() <= 63);
            }
        }
    }
}

//! Where the ledger is.

use std::path::{Path, PathBuf};

/// A ledger's URL: `sqlite:///var/lib/mesocentre/ledger.db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerUrl(PathBuf);

/// Why a URL names no ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerUrlError {
    /// Not there yet.
    #[error(
        "the ledger URL {url:?} names PostgreSQL, which this version cannot write to yet: write sqlite:// and the absolute path of a file, for example sqlite:///var/lib/mesocentre/ledger.db"
    )]
    Postgres {
        /// What was written, without its password.
        url: String,
    },
    /// Something else.
    #[error(
        "{url:?} is no ledger URL: write sqlite:// and the absolute path of a file, for example sqlite:///var/lib/mesocentre/ledger.db"
    )]
    Unknown {
        /// What was written.
        url: String,
    },
}

impl LedgerUrl {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl std::str::FromStr for LedgerUrl {
    type Err = LedgerUrlError;

    fn from_str(url: &str) -> Result<Self, LedgerUrlError> {
        if let Some((scheme @ ("postgres" | "postgresql"), rest)) = url.split_once("://") {
            // The user and password stand before the last @ and belong in no log.
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            return Err(LedgerUrlError::Postgres {
                url: format!("{scheme}://{host}"),
            });
        }
        match url.strip_prefix("sqlite://").map(Path::new) {
            Some(path) if path.is_absolute() && path.file_name().is_some() && !url.ends_with('/') => {
                Ok(Self(path.to_owned()))
            }
            _ => Err(LedgerUrlError::Unknown { url: url.to_owned() }),
        }
    }
}

impl std::fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sqlite://{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_an_absolute_path_of_a_file() {
        let url: LedgerUrl = "sqlite:///var/lib/mesocentre/ledger.db".parse().unwrap();
        assert_eq!(url.path(), Path::new("/var/lib/mesocentre/ledger.db"));
        assert_eq!(url.to_string(), "sqlite:///var/lib/mesocentre/ledger.db");
        for wrong in [
            "",
            "ledger.db",
            "sqlite://ledger.db",
            "sqlite:///",
            "mysql:///x",
            "sqlite:///var/lib/",
        ] {
            assert!(wrong.parse::<LedgerUrl>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_password_is_not_repeated_in_the_refusal() {
        let refusal = "postgres://meso:secret@db/ledger"
            .parse::<LedgerUrl>()
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains("PostgreSQL") && !refusal.contains("secret"),
            "{refusal}"
        );
    }
}

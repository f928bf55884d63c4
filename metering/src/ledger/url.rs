//! Where the ledger is.

use sqlx::postgres::PgConnectOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A ledger's URL: `sqlite:///var/lib/mesocentre/ledger.db`, or `postgresql://meso@db.example/ledger`.
///
/// Shown, it has neither a user nor a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerUrl {
    /// A file of SQLite's.
    File(PathBuf),
    /// A database of PostgreSQL's.
    Server(Arc<Server>),
}

/// A database of PostgreSQL's, and how to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// With a password, perhaps.
    url: String,
    /// Without.
    shown: String,
    /// The parameter `head-file`.
    head: Option<PathBuf>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Server").field(&self.shown).finish()
    }
}

impl Server {
    pub(super) fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        self.url.parse()
    }
}

/// The parameter of a PostgreSQL URL that names the file which is kept beside a ledger in SQLite anyway.
const HEAD_FILE: &str = "head-file";

/// Why a URL names no ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerUrlError {
    /// PostgreSQL's, and wrong.
    #[error(
        "the ledger URL {url:?} is none of a PostgreSQL database: {why}. Write postgresql://USER@HOST/DATABASE, for example postgresql://mesocentre@db.example/ledger?sslmode=verify-full"
    )]
    Postgres {
        /// What was written, without its password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Something else.
    #[error(
        "{url:?} is no ledger URL: write sqlite:// and the absolute path of a file, for example sqlite:///var/lib/mesocentre/ledger.db, or postgresql://USER@HOST/DATABASE"
    )]
    Unknown {
        /// What was written, without a password.
        url: String,
    },
}

impl LedgerUrl {
    /// The file of a ledger in SQLite.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }

    /// The file that says where the ledger's chain ended: beside a ledger in SQLite, and where the parameter
    /// `head-file` says for one in PostgreSQL; without it, there is none.
    pub fn head_file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => {
                let mut beside = path.as_os_str().to_owned();
                beside.push(".head");
                Some(PathBuf::from(beside))
            }
            Self::Server(server) => server.head.clone(),
        }
    }

    /// Where it is, in a sentence: the path of a file, else the URL.
    pub(super) fn place(&self) -> impl std::fmt::Display {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Server(server) => server.shown.clone(),
        }
    }

    /// What to look at when the database says no, for the end of a sentence.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::File(_) => {
                "See that the disk has room, that the file belongs to this process, and run `meso ledger verify`"
            }
            Self::Server(_) => {
                "See that the database answers at this address, that its disk has room, that the user may log in and owns its tables, and run `meso ledger verify`"
            }
        }
    }
}

impl std::str::FromStr for LedgerUrl {
    type Err = LedgerUrlError;

    fn from_str(url: &str) -> Result<Self, LedgerUrlError> {
        if let Some((scheme @ ("postgres" | "postgresql"), rest)) = url.split_once("://") {
            return server(url, scheme, rest).map(|server| Self::Server(Arc::new(server)));
        }
        match url.strip_prefix("sqlite://").map(Path::new) {
            Some(path) if path.is_absolute() && path.file_name().is_some() && !url.ends_with('/') => {
                Ok(Self::File(path.to_owned()))
            }
            _ => Err(LedgerUrlError::Unknown {
                url: without_login(url),
            }),
        }
    }
}

/// A URL without what may be a user and a password: all before the last `@`.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        (None, Some((_, rest))) => rest.to_owned(),
        (_, None) => url.to_owned(),
    }
}

fn server(url: &str, scheme: &str, rest: &str) -> Result<Server, LedgerUrlError> {
    // A password may stand among the parameters as well.
    let place = rest.split(['?', '#']).next().unwrap_or_default();
    let shown = without_login(&format!("{scheme}://{place}"));
    let wrong = |why: &str| LedgerUrlError::Postgres {
        url: shown.clone(),
        why: why.to_owned(),
    };
    let mut parsed = ::url::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    if parsed.path().trim_start_matches('/').is_empty() {
        return Err(wrong("it names no database"));
    }
    let (ours, theirs): (Vec<_>, Vec<_>) = parsed
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .partition(|(name, _)| name == HEAD_FILE);
    let head = ours.first().map(|(_, path)| PathBuf::from(path));
    if head
        .as_ref()
        .is_some_and(|path| !path.is_absolute() || path.file_name().is_none())
    {
        return Err(wrong("head-file is the absolute path of a file"));
    }
    parsed.set_query(None);
    if !theirs.is_empty() {
        parsed.query_pairs_mut().extend_pairs(theirs);
    }
    let server = Server {
        url: parsed.into(),
        shown: shown.clone(),
        head,
    };
    server
        .options()
        .map_err(|error| wrong(&error.to_string()))
        .map(|_| server)
}

impl std::fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "sqlite://{}", path.display()),
            Self::Server(server) => f.write_str(&server.shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_an_absolute_path_of_a_file() {
        let url: LedgerUrl = "sqlite:///var/lib/mesocentre/ledger.db".parse().unwrap();
        assert_eq!(url.file(), Some(Path::new("/var/lib/mesocentre/ledger.db")));
        assert_eq!(
            url.head_file(),
            Some(PathBuf::from("/var/lib/mesocentre/ledger.db.head"))
        );
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
    fn or_a_database_of_postgresqls_with_a_head_file_where_it_says() {
        let url: LedgerUrl =
            "postgresql://meso:secret@db.example:5433/ledger?sslmode=require&head-file=/var/lib/meso.head"
                .parse()
                .unwrap();
        assert_eq!(url.file(), None);
        assert_eq!(url.head_file(), Some(PathBuf::from("/var/lib/meso.head")));
        let LedgerUrl::Server(server) = &url else {
            panic!("{url:?}");
        };
        let options = server.options().unwrap();
        assert_eq!(options.get_host(), "db.example");
        assert_eq!(options.get_port(), 5433);
        assert_eq!(options.get_database(), Some("ledger"));
        assert!(!server.url.contains("head-file"), "{}", server.url);
        let plain: LedgerUrl = "postgres://meso@db/ledger".parse().unwrap();
        assert_eq!(plain.head_file(), None);
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        for url in [
            "postgresql://meso:secret@db/ledger",
            "postgresql://db/ledger?user=meso&password=secret",
            "postgresql://meso:se@secret@db/ledger",
        ] {
            let url: LedgerUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), "postgresql://db/ledger");
            assert!(!format!("{url:?}").contains("secret"), "{url:?}");
        }
        for wrong in [
            "postgres://meso:secret@db",
            "postgres://meso:secret@db/",
            "postgres://meso:secret@db:port/ledger",
            "postgres://meso:secret@db/ledger?sslmode=secret-ish",
            "postgres://meso:secret@db/ledger?head-file=there",
            "mysql://meso:secret@db/ledger",
        ] {
            let refusal = wrong.parse::<LedgerUrl>().unwrap_err().to_string();
            assert!(!refusal.contains("meso:secret"), "{refusal}");
            assert!(
                refusal.contains("PostgreSQL") || refusal.contains("postgresql://"),
                "{refusal}"
            );
        }
    }
}

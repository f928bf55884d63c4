//! Names and ids, each of its own kind, so that none can be taken for another.
//!
//! What holds one of these has been checked: it cannot be read as an option, a list or a second argument by any of
//! the scheduler's commands. Nothing is looked up here.

use std::fmt;
use std::str::FromStr;

/// A name that the scheduler's commands would read as something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is no {kind}: write 1 to {longest} of a-z, A-Z, 0-9, '.', '_' and '-', beginning with a letter, a digit or '_'"
)]
pub struct InvalidName {
    kind: &'static str,
    value: String,
    longest: usize,
}

fn checked(kind: &'static str, value: &str, longest: usize) -> Result<String, InvalidName> {
    let first_fits = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let all_fit = value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if first_fits && all_fit && value.len() <= longest {
        Ok(value.to_owned())
    } else {
        Err(InvalidName {
            kind,
            value: value.chars().take(80).collect(),
            longest,
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $longest:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the characters and the length.
            ///
            /// # Errors
            /// A sentence with the characters that are allowed.
            pub fn new(value: &str) -> Result<Self, InvalidName> {
                checked($kind, value, $longest).map(Self)
            }

            /// As the scheduler writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A cluster, as slurmdbd knows it.
    ClusterName, "cluster name", 40
);
name!(
    /// A Slurm account: `<tenant>` or `<tenant>.<allocation>`.
    AccountName, "account name", 128
);
name!(
    /// A posix account (`useradd(8)`: at most 32 characters on Linux; directories allow more).
    UserName, "posix account name", 64
);
name!(
    /// A partition of the scheduler.
    PartitionName, "partition name", 63
);

name!(
    /// A quality of service of Slurm's (`sacctmgr(1)`, QOS).
    QosName, "QOS", 63
);
name!(
    /// A reservation of Slurm's (`scontrol(1)`, ReservationName).
    ReservationName, "reservation", 63
);

/// What a scheduler calls a job; of an array, the whole array. Slurm's numbers come round again: a job is known by a
/// [`JobIdentity`](crate::JobIdentity).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobId {
    /// Slurm's number.
    Number(u32),
    /// On Kubernetes, the UID of the object that the Job was made for: its name is made of it, so there is never a second.
    Made(Uid),
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Made(uid) => write!(f, "{MADE_PREFIX}{uid}"),
        }
    }
}

/// What the names of Jobs begin with: a name begins with a letter.
const MADE_PREFIX: &str = "bj-";

/// Text that is no job's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no job: write its number, or bj- and a UID")]
pub struct InvalidJobId(String);

impl FromStr for JobId {
    type Err = InvalidJobId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = match text.strip_prefix(MADE_PREFIX) {
            Some(uid) => Uid::parse(uid).map(Self::Made),
            None => text.parse().ok().map(Self::Number),
        };
        read.ok_or_else(|| InvalidJobId(text.chars().take(80).collect()))
    }
}

/// A UID of Kubernetes: 128 bits, written as a UUID (RFC 9562).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u128);

impl Uid {
    /// Reads one, in lower case and with its dashes, as Kubernetes writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let dashes = text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
        if text.len() != 36 || !dashes {
            return None;
        }
        u128::from_str_radix(&text.replace('-', ""), 16).ok().map(Self)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }
}

/// One attempt to submit one job: an object's UID and the attempt, `5b0e…/1`. It is written down before the scheduler
/// is asked, and travels in the job's comment as `meso:<token>`, so that after a crash the job can be found again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

/// What a comment that carries a token begins with.
const COMMENT_PREFIX: &str = "meso:";

impl Token {
    /// The token of an attempt, counted from 1.
    ///
    /// # Errors
    /// A sentence when `uid` holds more than letters, digits and `.`, `_`, `-`.
    pub fn of_attempt(uid: &str, attempt: u32) -> Result<Self, InvalidName> {
        checked("UID", uid, 100).map(|uid| Self(format!("{uid}/{attempt}")))
    }

    /// Reads a token back from where it was written down.
    ///
    /// # Errors
    /// A sentence when it is not of the form `<uid>/<attempt>`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            kind: "submission token",
            value: text.chars().take(80).collect(),
            longest: 110,
        };
        let (uid, attempt) = text.rsplit_once('/').ok_or_else(invalid)?;
        let attempt: u32 = attempt.parse().map_err(|_| invalid())?;
        Self::of_attempt(uid, attempt)
    }

    /// Reads a job's comment: nothing when the job carries no token of ours.
    pub fn from_comment(comment: &str) -> Option<Self> {
        Self::parse(comment.strip_prefix(COMMENT_PREFIX)?).ok()
    }

    /// The UID of the object that the job is for.
    pub fn uid(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(uid, _)| uid)
    }

    /// What goes into the job's comment.
    pub fn to_comment(&self) -> String {
        format!("{COMMENT_PREFIX}{}", self.0)
    }

    /// `<uid>/<attempt>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_an_option_a_list_or_a_second_argument() {
        for bad in [
            "", "-x", "--uid=0", "a,b", "a b", "a\nb", "a\0b", "a|b", "é", ".x", "a=b",
        ] {
            assert!(AccountName::new(bad).is_err(), "{bad:?}");
        }
        assert!(AccountName::new("univ-caen.climate-2026").is_ok());
        assert!(UserName::new(&"a".repeat(65)).is_err());
    }

    #[test]
    fn a_job_is_read_as_it_is_written() {
        for written in ["42", "bj-5b0e2c1a-0000-4000-8000-00000000000f"] {
            assert_eq!(written.parse::<JobId>().unwrap().to_string(), written);
        }
        for bad in [
            "",
            "bj-",
            "bj-42",
            "-1",
            "bj-5B0e2c1a-0000-4000-8000-00000000000f",
            "bj-5b0e2c1a00004-00-8000-00000000000f-",
        ] {
            assert!(bad.parse::<JobId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_survives_the_comment() {
        let token = Token::of_attempt("5b0e2c1a-0000-4000-8000-000000000000", 3).unwrap();
        assert_eq!(Token::from_comment(&token.to_comment()), Some(token));
        for foreign in [
            "",
            "meso:",
            "meso:x",
            "meso:x/y",
            "my own words",
            "5b0e/1",
            "meso:a b/1",
        ] {
            assert_eq!(Token::from_comment(foreign), None, "{foreign:?}");
        }
    }
}

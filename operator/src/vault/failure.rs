//! Why Vault did not do it: a sentence for the administrator, and one CamelCase word.

use vaultrs::error::ClientError;

/// What went wrong for now; it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultFailure {
    /// No answer.
    #[error(
        "Vault at {address} does not answer ({why}): see that it runs and can be reached from the operator; it is tried again by itself"
    )]
    Unreachable {
        /// Its address.
        address: String,
        /// Why not.
        why: String,
    },
    /// It is sealed, or not initialised.
    #[error("Vault at {address} is sealed: unseal it; it is tried again by itself")]
    Sealed {
        /// Its address.
        address: String,
    },
    /// It does not let the operator in.
    #[error(
        "Vault does not take the operator's login at auth/{mount} ({why}): set the method up as docs/administrator.md says under Vault"
    )]
    LoginRefused {
        /// Mount of the JWT auth method.
        mount: String,
        /// Vault's words.
        why: String,
    },
    /// The operator's policy does not allow it.
    #[error(
        "Vault does not let the operator {doing}: write its policy anew, charts/mesocentre/files/vault/operator-policy.hcl"
    )]
    Forbidden {
        /// What was being done.
        doing: String,
    },
    /// An engine or method that the administrator makes is not there.
    #[error("{doing} failed in Vault ({why}): mount what docs/administrator.md lists under Vault")]
    NotMounted {
        /// What was being done.
        doing: String,
        /// Vault's words.
        why: String,
    },
    /// There is no token of our own service account to log in with.
    #[error("the operator has no token to log in to Vault with: {0}")]
    NoToken(String),
    /// Any other refusal.
    #[error("{doing} failed in Vault: {why}")]
    Refused {
        /// What was being done.
        doing: String,
        /// Vault's words.
        why: String,
    },
}

impl VaultFailure {
    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "Unreachable",
            Self::Sealed { .. } => "Sealed",
            Self::LoginRefused { .. } => "LoginRefused",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotMounted { .. } => "NotMounted",
            Self::NoToken(_) => "NoToken",
            Self::Refused { .. } => "Refused",
        }
    }

    /// Whether it is about Vault as a whole, so that nothing else need be tried now.
    pub fn is_of_all(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// The status and the sentences of an answer that is an error; none when there was no answer.
fn answer(error: &ClientError) -> Option<(u16, Vec<String>)> {
    match error {
        ClientError::APIError { code, errors } => Some((*code, errors.clone())),
        ClientError::RestClientError {
            source: rustify::errors::ClientError::ServerResponseError { code, .. },
        } => Some((*code, Vec::new())),
        _ => None,
    }
}

/// Vault's own sentences, on one line.
fn one_line(errors: &[String]) -> String {
    let words: Vec<&str> = errors
        .iter()
        .flat_map(|error| error.lines())
        .map(|line| line.trim_start_matches(['\t', ' ', '*']).trim())
        .filter(|line| !line.is_empty() && !line.ends_with("occurred:"))
        .collect();
    words.join("; ")
}

/// What an error was, or none when it says that nothing is there.
pub(super) fn of(address: &str, doing: &str, error: &ClientError) -> Option<VaultFailure> {
    let Some((code, errors)) = answer(error) else {
        // An answer without content is one.
        if matches!(
            error,
            ClientError::ResponseDataEmptyError | ClientError::ResponseEmptyError
        ) {
            return None;
        }
        return Some(VaultFailure::Unreachable {
            address: address.into(),
            why: in_words(error),
        });
    };
    let why = one_line(&errors);
    let doing = doing.to_owned();
    Some(match code {
        404 if why.is_empty() => return None,
        404 => VaultFailure::NotMounted { doing, why },
        403 => VaultFailure::Forbidden { doing },
        // Sealed, or not initialised (Vault's API, "HTTP status codes").
        503 => VaultFailure::Sealed {
            address: address.into(),
        },
        code => VaultFailure::Refused {
            doing,
            why: if why.is_empty() {
                format!("status {code}")
            } else {
                why
            },
        },
    })
}

/// Why a login was refused.
pub(super) fn of_login(address: &str, mount: &str, error: &ClientError) -> VaultFailure {
    match of(address, "log in", error) {
        Some(failure @ (VaultFailure::Unreachable { .. } | VaultFailure::Sealed { .. })) => failure,
        _ => {
            let why = answer(error).map(|(code, errors)| match one_line(&errors) {
                none if none.is_empty() => format!("status {code}"),
                why => why,
            });
            VaultFailure::LoginRefused {
                mount: mount.into(),
                why: why.unwrap_or_else(|| in_words(error)),
            }
        }
    }
}

/// A path at which Vault has no engine.
pub(super) fn nothing_there(path: &str) -> VaultFailure {
    VaultFailure::NotMounted {
        doing: format!("write {path}"),
        why: "nothing is mounted there".into(),
    }
}

/// The innermost reason of an error that is no answer of Vault: of the network, of TLS. It holds an address at most.
pub(super) fn in_words(error: &ClientError) -> String {
    let mut innermost: &dyn std::error::Error = error;
    // rustify keeps its source in a field that is no `source()`.
    let request = match error {
        ClientError::RestClientError {
            source: rustify::errors::ClientError::RequestError { source, .. },
        } => source.chain().last().map(ToString::to_string),
        _ => None,
    };
    if let Some(request) = request {
        return request;
    }
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, errors: &[&str]) -> Option<VaultFailure> {
        let errors = errors.iter().map(|error| (*error).to_owned()).collect();
        of("https://vault", "read x", &ClientError::APIError { code, errors })
    }

    #[test]
    fn what_vault_says_becomes_what_to_mend() {
        assert_eq!(said(404, &[]), None);
        let reason = |code, errors: &[&str]| said(code, errors).unwrap().reason();
        assert_eq!(reason(503, &["Vault is sealed"]), "Sealed");
        assert_eq!(
            reason(403, &["1 error occurred:\n\t* permission denied\n\n"]),
            "Forbidden"
        );
        assert_eq!(
            reason(
                404,
                &["no handler for route \"auth/x/role/\". route entry not found."]
            ),
            "NotMounted"
        );
        let refused = said(
            400,
            &["1 error occurred:\n\t* path is already in use at tenants/\n\n"],
        )
        .unwrap();
        assert_eq!(
            refused.to_string(),
            "read x failed in Vault: path is already in use at tenants/"
        );
        assert!(!refused.is_of_all());
    }
}

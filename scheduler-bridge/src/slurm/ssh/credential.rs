//! What logs in on a login node: a private key that stays, or one that is made for a single login, with a certificate
//! that holds for minutes.

use super::address::{Address, Identity, InvalidLogin, blob_of, text_of};
use crate::SchedulerError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A certificate that is on its way: a line as in `authorized_keys`, or why there is none.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<String, SchedulerError>> + Send + 'a>>;

/// Signs public keys: an authority that login nodes trust (`sshd_config(5)`, TrustedUserCAKeys).
pub trait Signer: Send + Sync {
    /// Which one it is, for people; two that have one name are one.
    fn name(&self) -> &str;

    /// Signs a public key, a line as in `authorized_keys`, for this user: the certificate, a line of the same form.
    ///
    /// # Errors
    /// [`SchedulerError::Unreachable`] when it does not answer now, [`SchedulerError::IdentityRefused`] when it says no.
    fn sign<'a>(&'a self, public_key: &'a str, user: &'a str) -> Signing<'a>;
}

/// What logs in.
#[derive(Clone)]
pub enum Credential {
    /// A private key whose public half the account's `authorized_keys` has.
    Key(Identity),
    /// A key made for each login and signed by an authority.
    Signed(Arc<dyn Signer>),
}

/// For one login.
pub(super) struct Login {
    pub(super) identity: Identity,
    pub(super) certificate: Option<Certificate>,
}

impl Credential {
    /// Makes ready what logs in at this address.
    pub(super) async fn login(&self, address: &Address) -> Result<Login, SchedulerError> {
        match self {
            Self::Key(identity) => Ok(Login {
                identity: identity.clone(),
                certificate: None,
            }),
            Self::Signed(signer) => {
                let (identity, public_key) = new_key().ok_or_else(|| {
                    SchedulerError::Misconfigured(
                        "no key could be made to log in with: this machine gives no random numbers".into(),
                    )
                })?;
                let signed = signer.sign(&public_key, address.user()).await?;
                let certificate = Certificate::parse(&signed).map_err(|error| {
                    SchedulerError::IdentityRefused(format!("{}: {error}", signer.name()))
                })?;
                Ok(Login {
                    identity,
                    certificate: Some(certificate),
                })
            }
        }
    }

    /// What to do when it is not let in there.
    pub(super) fn when_not_let_in(&self, address: &Address) -> String {
        let user = address.user();
        match self {
            Self::Key(_) => format!(
                "{address} does not let the given key in: put its public half into authorized_keys of {user}, or give the right private key"
            ),
            Self::Signed(signer) => format!(
                "{address} does not let in who shows a certificate for {user} signed by {}: name its public key in TrustedUserCAKeys of that sshd, and see in sshd's log what else it lacks",
                signer.name()
            ),
        }
    }
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(one), Self::Key(other)) => one == other,
            (Self::Signed(one), Self::Signed(other)) => one.name() == other.name(),
            _ => false,
        }
    }
}

impl Eq for Credential {}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(identity) => f.debug_tuple("Key").field(identity).finish(),
            Self::Signed(signer) => f.debug_tuple("Signed").field(&signer.name()).finish(),
        }
    }
}

/// A certificate of a public key (OpenSSH's `PROTOCOL.certkeys`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate(String);

impl Certificate {
    /// Reads the line that a signer gives.
    fn parse(text: &str) -> Result<Self, InvalidLogin> {
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
            return Err(InvalidLogin::Certificate);
        };
        if !kind.ends_with("-cert-v01@openssh.com") || blob_of(kind, blob).is_none() {
            return Err(InvalidLogin::Certificate);
        }
        Ok(Self(format!("{kind} {blob}\n")))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

const ED25519: &[u8] = b"ssh-ed25519";

/// A new private key, and its public half as a line. In OpenSSH's own form (`PROTOCOL.key`), the only one in which ssh finds
/// the public half beside it, and with that the certificate to the key.
fn new_key() -> Option<(Identity, String)> {
    let random = SystemRandom::new();
    let (mut seed, mut check) = ([0; 32], [0; 4]);
    random.fill(&mut seed).ok()?;
    random.fill(&mut check).ok()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
    let point = pair.public_key().as_ref();
    // RFC 8709, section 4.
    let public = [text_of(ED25519), text_of(point)].concat();
    let mut private = [
        &check,
        &check,
        &public[..],
        &text_of(&[&seed, point].concat()),
        &text_of(b""),
    ]
    .concat();
    // To whole blocks of eight: 1, 2, 3, ...
    private.extend((1..).take(private.len().wrapping_neg() % 8));
    let file = [
        b"openssh-key-v1\0",
        // Neither a cipher nor a key of it.
        &text_of(b"none")[..],
        &text_of(b"none"),
        &text_of(b""),
        &1_u32.to_be_bytes(),
        &text_of(&public),
        &text_of(&private),
    ]
    .concat();
    let identity = Identity::new(pem("OPENSSH PRIVATE KEY", &file).as_bytes()).ok()?;
    Some((identity, format!("ssh-ed25519 {}", STANDARD.encode(&public))))
}

/// RFC 7468: lines of 64 characters.
fn pem(label: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, character) in STANDARD.encode(bytes).char_indices() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + &format!("\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_one_line_of_its_kind_and_nothing_else_reaches_ssh() {
        let kind = "ssh-ed25519-cert-v01@openssh.com";
        let blob = STANDARD.encode([text_of(kind.as_bytes()), b"rest".to_vec()].concat());
        let line = format!("{kind} {blob}");
        assert_eq!(
            Certificate::parse(&format!("{line} a comment\nProxyCommand reboot\n")),
            Ok(Certificate(format!("{line}\n")))
        );
        for text in [
            "",
            kind,
            &format!("{kind} !!"),
            &format!("{kind} {}", STANDARD.encode("rest")),
            &format!("ssh-ed25519 {blob}"),
        ] {
            assert_eq!(Certificate::parse(text), Err(InvalidLogin::Certificate), "{text}");
        }
    }

    #[test]
    fn a_key_is_made_anew_each_time_and_never_shown() {
        let (one, public) = new_key().unwrap();
        assert!(
            public.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"),
            "{public}"
        );
        assert_ne!(new_key().unwrap().1, public);
        assert_eq!(format!("{:?}", Credential::Key(one)), "Key(Identity(not shown))");
    }
}

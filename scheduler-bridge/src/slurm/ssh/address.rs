//! Whom to reach, and by which keys to know it: what of an ssh connection can be checked before there is one.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use std::fmt;

/// Something about the connection that ssh would misread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogin {
    /// A host that is none.
    #[error(
        "{0:?} is no host of a login node: write a DNS name or an IP address, as letters, digits, '.', '-' and ':', not beginning with '-'"
    )]
    Host(String),
    /// A user that is none.
    #[error(
        "{0:?} is no user of a login node: write 1 to 32 of a-z, A-Z, 0-9, '.', '_' and '-', beginning with a letter or '_'"
    )]
    User(String),
    /// No port.
    #[error("0 is no port of a login node: write 22, or the one where its sshd listens")]
    Port,
    /// A host key that is none.
    #[error(
        "{0:?} is no host key: write its type and its key as in /etc/ssh/ssh_host_ed25519_key.pub, for example ssh-ed25519 AAAA..., without a host's name in front"
    )]
    HostKey(String),
    /// None was given.
    #[error(
        "no host key of the login node is pinned: write at least one, as its administrator tells it, for example ssh-ed25519 AAAA..."
    )]
    NoHostKey,
    /// A line of known hosts whose host cannot be read.
    #[error(
        "line {line} of the known hosts {why}: write lines as ssh-keyscan does, without -H, for example login.hpc.example.org ssh-ed25519 AAAA..."
    )]
    KnownHosts {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Known hosts without the one that is to be reached.
    #[error(
        "the known hosts have no line that begins with {0}: add the one that ssh-keyscan writes of it, once its administrator has confirmed the fingerprint"
    )]
    UnknownHost(String),
    /// A private key that is none.
    #[error(
        "the private key is none that ssh reads: write it whole, from its -----BEGIN line to its -----END line"
    )]
    Identity,
    /// A certificate that is none.
    #[error("what was given as a certificate is none that ssh reads")]
    Certificate,
}

/// A user on a host. None of it can be taken for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    user: String,
    host: String,
    port: u16,
}

impl Address {
    /// Checks the characters.
    ///
    /// # Errors
    /// A sentence that says what to write.
    pub fn new(user: &str, host: &str, port: u16) -> Result<Self, InvalidLogin> {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        let user_fits = user.len() <= 32
            && user.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && user
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !user_fits {
            return Err(InvalidLogin::User(shown(user)));
        }
        let host_fits = host.len() <= 253
            && host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':')
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'));
        if !host_fits {
            return Err(InvalidLogin::Host(shown(host)));
        }
        if port == 0 {
            return Err(InvalidLogin::Port);
        }
        Ok(Self {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
        })
    }

    /// Who logs in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// At which port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Root needs nobody's leave to become a job's author.
    pub fn is_root(&self) -> bool {
        self.user == "root"
    }
}

/// As people write it; the port only where it is not ssh's own.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)?;
        match self.port {
            22 => Ok(()),
            port => write!(f, " (port {port})"),
        }
    }
}

/// The public key by which a login node is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    kind: &'static str,
    blob: Vec<u8>,
}

/// Kinds of keys that sshd has for itself (`sshd(8)`, without DSA, which current versions refuse).
const KINDS: [&str; 5] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];

impl HostKey {
    /// Reads `TYPE BASE64 [COMMENT]`.
    ///
    /// # Errors
    /// A sentence that says what to write.
    pub fn parse(line: &str) -> Result<Self, InvalidLogin> {
        let no = || InvalidLogin::HostKey(line.chars().take(80).collect());
        if line.chars().any(char::is_control) {
            return Err(no());
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(key)) = (words.next(), words.next()) else {
            return Err(no());
        };
        let kind = KINDS.into_iter().find(|known| *known == kind).ok_or_else(no)?;
        let blob = blob_of(kind, key).ok_or_else(no)?;
        Ok(Self { kind, blob })
    }

    /// As `ssh-keygen -l` writes it: `SHA256:` and the digest in base64 without padding.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }

    /// A line of ssh's `known_hosts` under this name.
    pub(super) fn known_as(&self, name: &str) -> String {
        format!("{name} {} {}\n", self.kind, STANDARD.encode(&self.blob))
    }
}

/// A key or certificate out of its base64: it begins with its kind (RFC 4253, section 6.6), and there is more.
pub(super) fn blob_of(kind: &str, base64: &str) -> Option<Vec<u8>> {
    let blob = STANDARD.decode(base64).ok()?;
    let rest = blob.strip_prefix(text_of(kind.as_bytes()).as_slice())?;
    (!rest.is_empty()).then_some(blob)
}

/// A text with its length in front (RFC 4251, section 5: `string`).
pub(super) fn text_of(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), text].concat()
}

/// The keys by which a login node is known: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeys(Vec<HostKey>);

impl HostKeys {
    /// Reads each line.
    ///
    /// # Errors
    /// When one is no key, or there is none.
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Result<Self, InvalidLogin> {
        if lines.is_empty() {
            return Err(InvalidLogin::NoHostKey);
        }
        lines
            .iter()
            .map(|line| HostKey::parse(line.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The keys that a text in the form of `sshd(8)`, SSH_KNOWN_HOSTS FILE FORMAT, has for an address. Lines of other hosts are
    /// passed over. A host stands there by its name, or as `[name]:port` where the port is not ssh's own; neither hashed nor
    /// as a pattern, and without a marker, so that a person can compare what is pinned.
    ///
    /// # Errors
    /// When a line cannot be read, or none is of the address.
    pub fn of_known_hosts(text: &str, address: &Address) -> Result<Self, InvalidLogin> {
        let name = match address.port() {
            22 => address.host().to_owned(),
            port => format!("[{}]:{port}", address.host()),
        };
        let mut keys = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let no = |why| InvalidLogin::KnownHosts { line, why };
            if text.starts_with('@') {
                return Err(no("bears a marker"));
            }
            let (hosts, key) = text
                .split_once([' ', '\t'])
                .ok_or_else(|| no("has no key after the host"))?;
            if hosts.starts_with('|') {
                return Err(no("has a hashed host"));
            }
            if hosts.contains(['*', '?', '!']) {
                return Err(no("has a pattern instead of a host"));
            }
            if hosts.split(',').any(|host| host.eq_ignore_ascii_case(&name)) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(InvalidLogin::UnknownHost(name));
        }
        Self::parse(&keys)
    }

    /// All of them in ssh's own form, under this name.
    pub(super) fn known_hosts(&self, name: &str) -> String {
        self.0.iter().map(|key| key.known_as(name)).collect()
    }

    /// Their fingerprints, for people.
    pub fn fingerprints(&self) -> String {
        let each: Vec<String> = self.0.iter().map(HostKey::fingerprint).collect();
        each.join(", ")
    }
}

/// A private key. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity(Vec<u8>);

impl Identity {
    /// Takes a private key in OpenSSH's or PEM form, not encrypted.
    ///
    /// # Errors
    /// When it is visibly none; ssh has the last word.
    pub fn new(key: &[u8]) -> Result<Self, InvalidLogin> {
        let text = std::str::from_utf8(key)
            .map_err(|_| InvalidLogin::Identity)?
            .trim();
        if !text.starts_with("-----BEGIN ") || !text.contains("\n-----END ") {
            return Err(InvalidLogin::Identity);
        }
        // ssh takes no key without its last line end, nor with those of DOS.
        Ok(Self(format!("{}\n", text.replace("\r\n", "\n")).into_bytes()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn neither_host_nor_user_can_be_an_option() {
        for (user, host) in [
            ("-oProxyCommand=reboot", "login"),
            ("meso", "-oProxyCommand=reboot"),
            ("meso", "login;reboot"),
            ("meso", "a@b"),
            ("meso@x", "login"),
            ("", "login"),
            ("meso", ""),
            ("meso", "log in"),
            ("meso", "%h"),
        ] {
            assert!(Address::new(user, host, 22).is_err(), "{user} {host}");
        }
        assert!(Address::new("meso", "login", 0).is_err());
        for host in ["login1.hpc.example.org", "192.0.2.7", "2001:db8::7", "::1"] {
            assert!(Address::new("meso", host, 22).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_host_keys_fingerprint_is_that_of_ssh_keygen() {
        // GitHub's published key and fingerprint.
        assert_eq!(
            HostKey::parse(KEY).unwrap().fingerprint(),
            "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
        );
    }

    #[test]
    fn what_is_no_host_key_is_refused_and_a_comment_left_out() {
        let commented = HostKey::parse(&format!("{KEY} root@login")).unwrap();
        assert_eq!(commented, HostKey::parse(KEY).unwrap());
        assert_eq!(commented.known_as("x"), format!("x {KEY}\n"));
        for line in [
            "",
            "ssh-ed25519",
            "login.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 !!!!",
            "ssh-dss AAAAB3NzaC1kc3M=",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n* ssh-rsa AAAA",
        ] {
            assert!(HostKey::parse(line).is_err(), "{line:?}");
        }
        assert_eq!(HostKeys::parse::<&str>(&[]), Err(InvalidLogin::NoHostKey));
    }

    #[test]
    fn known_hosts_are_read_as_ssh_keyscan_writes_them() {
        let at = |port| Address::new("meso", "login.example.org", port).unwrap();
        let of = |text: &str, port| HostKeys::of_known_hosts(text, &at(port));
        let text = format!(
            "# login.example.org:22 SSH-2.0-OpenSSH_9.2p1\n\nother.example.org {KEY}\nlogin.example.org,192.0.2.7 {KEY} a comment\n\
             [login.example.org]:2222 {KEY}\n"
        );
        assert_eq!(of(&text, 22), HostKeys::parse(&[KEY]));
        assert_eq!(of(&text, 2222), HostKeys::parse(&[KEY]));
        assert_eq!(
            of(&text, 2022),
            Err(InvalidLogin::UnknownHost("[login.example.org]:2022".into()))
        );
        for (line, why) in [
            (format!("@revoked login.example.org {KEY}"), "bears a marker"),
            (format!("|1|c2FsdA==|aGFzaA== {KEY}"), "has a hashed host"),
            (format!("*.example.org {KEY}"), "has a pattern instead of a host"),
            ("login.example.org".to_owned(), "has no key after the host"),
        ] {
            assert_eq!(
                of(&line, 22),
                Err(InvalidLogin::KnownHosts { line: 1, why }),
                "{line}"
            );
        }
        assert!(matches!(
            of("login.example.org ssh-ed25519 AAAA", 22),
            Err(InvalidLogin::HostKey(_))
        ));
    }

    #[test]
    fn a_private_key_is_never_shown() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\r\nc2VjcmV0\r\n-----END OPENSSH PRIVATE KEY-----";
        let identity = Identity::new(key.as_bytes()).unwrap();
        assert!(!format!("{identity:?}").contains("c2VjcmV0"));
        assert_eq!(
            identity.bytes(),
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"
        );
        assert!(Identity::new(b"ssh-ed25519 AAAA").is_err());
    }
}

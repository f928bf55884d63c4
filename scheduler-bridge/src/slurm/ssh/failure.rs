//! Why ssh made no connection, from its own words. Pure.
//!
//! The texts are those of OpenSSH's `sshconnect.c`, `sshconnect2.c`, `authfile.c` and `misc.c`, the same from 7.4 to 10.0.

use super::SshConfig;
use crate::SchedulerError;

/// The part of a scheduler that is away when ssh does not get through.
pub(in crate::slurm) const LOGIN_NODE: &str = "the login node";

/// What ssh's complaint means for who can mend it.
pub(super) fn no_connection(stderr: &str, config: &SshConfig) -> SchedulerError {
    let SshConfig {
        address,
        host_keys: pinned,
        credential,
        ..
    } = config;
    let says = |text: &str| stderr.contains(text);
    if says("Host key verification failed") || says("no matching host key type found") {
        let shown = match shown_fingerprint(stderr) {
            Some(fingerprint) => format!("the host key {fingerprint}"),
            None => "a host key of another kind".to_owned(),
        };
        return SchedulerError::HostKeyChanged(format!(
            "{address} shows {shown}, and pinned is {}: nothing is sent to it; if its administrator says that its key \
             has changed, write the new one into the known hosts, and if not, something else answers in its place",
            pinned.fingerprints()
        ));
    }
    if says("incorrect passphrase supplied") {
        return SchedulerError::IdentityRefused(format!(
            "the private key for {address} is encrypted, and nobody is there to type its passphrase: give a key without one"
        ));
    }
    if says("Load key") && (says("invalid format") || says("error in libcrypto")) {
        return SchedulerError::IdentityRefused(format!(
            "the private key for {address} cannot be read by ssh: give it whole, as ssh-keygen wrote it"
        ));
    }
    if says("Permission denied") || says("Too many authentication failures") {
        return SchedulerError::IdentityRefused(credential.when_not_let_in(address));
    }
    SchedulerError::Unreachable {
        who: LOGIN_NODE,
        why: format!("{address}: {}", in_one_line(stderr)),
    }
}

/// The key that the other side showed: the only fingerprint that ssh itself prints.
fn shown_fingerprint(stderr: &str) -> Option<&str> {
    stderr
        .split_ascii_whitespace()
        .find(|word| word.starts_with("SHA256:"))
        .map(|word| word.trim_end_matches('.'))
}

/// ssh's complaint without the names of programs.
pub(super) fn in_one_line(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(|line| line.trim().trim_start_matches("ssh: ").trim_end_matches('.'))
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        "the connection ended, and ssh said nothing".to_owned()
    } else {
        lines.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Credential, HostKeys, Identity};
    use super::*;

    fn judged(stderr: &str) -> SchedulerError {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        let identity = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----";
        no_connection(
            stderr,
            &SshConfig {
                address: Address::new("meso", "login.example.org", 22).unwrap(),
                host_keys: HostKeys::parse(&[key]).unwrap(),
                credential: Credential::Key(Identity::new(identity).unwrap()),
                persons: None,
            },
        )
    }

    #[test]
    fn a_changed_host_key_is_told_with_what_was_pinned_and_what_is_shown() {
        let stderr = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n\
            @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n\
            @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n\
            IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n\
            Someone could be eavesdropping on you right now (man-in-the-middle attack)!\r\n\
            It is also possible that a host key has just been changed.\r\n\
            The fingerprint for the ED25519 key sent by the remote host is\n\
            SHA256:H+/0rcpxa5dzvLuLvoTVDgEJE0bMZmqFWhMOTd3jzFw.\r\n\
            Please contact your system administrator.\r\n\
            Host key for mesocentre has changed and you have requested strict checking.\r\n\
            Host key verification failed.\r\n";
        let SchedulerError::HostKeyChanged(sentence) = judged(stderr) else {
            unreachable!("{:?}", judged(stderr));
        };
        assert_eq!(
            sentence,
            "meso@login.example.org shows the host key SHA256:H+/0rcpxa5dzvLuLvoTVDgEJE0bMZmqFWhMOTd3jzFw, and pinned is \
             SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU: nothing is sent to it; if its administrator says that its key \
             has changed, write the new one into the known hosts, and if not, something else answers in its place"
        );
        // The pinned kind is no more among those of the host.
        for stderr in [
            "No RSA host key is known for mesocentre and you have requested strict checking.\r\nHost key verification failed.\r\n",
            "Unable to negotiate with 192.0.2.7 port 22: no matching host key type found. Their offer: ssh-rsa\r\n",
        ] {
            assert!(
                matches!(judged(stderr), SchedulerError::HostKeyChanged(_)),
                "{stderr}"
            );
        }
    }

    #[test]
    fn a_key_that_is_not_let_in_is_told_from_a_host_that_is_away() {
        for stderr in [
            "meso@login.example.org: Permission denied (publickey).\r\n",
            "Load key \"/proc/1/fd/9\": incorrect passphrase supplied to decrypt private key\r\nmeso@login: Permission denied (publickey).\r\n",
            "Load key \"/proc/1/fd/9\": error in libcrypto\r\nmeso@login: Permission denied (publickey).\r\n",
            "Received disconnect from 192.0.2.7 port 22:2: Too many authentication failures\r\n",
        ] {
            assert!(
                matches!(judged(stderr), SchedulerError::IdentityRefused(_)),
                "{stderr}"
            );
        }
        for (stderr, why) in [
            (
                "ssh: connect to host login.example.org port 22: Connection refused\r\n",
                "meso@login.example.org: connect to host login.example.org port 22: Connection refused",
            ),
            (
                "ssh: Could not resolve hostname login.example.org: Name or service not known\r\n",
                "meso@login.example.org: Could not resolve hostname login.example.org: Name or service not known",
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\r\n",
                "meso@login.example.org: kex_exchange_identification: Connection closed by remote host",
            ),
            (
                "",
                "meso@login.example.org: the connection ended, and ssh said nothing",
            ),
        ] {
            assert_eq!(
                judged(stderr),
                SchedulerError::Unreachable {
                    who: LOGIN_NODE,
                    why: why.to_owned()
                }
            );
        }
    }
}

//! How a Scheduler's commands are run, from its spec and the Secret that it names.
//!
//! Gathers the Secret and decides nothing about it: what ssh would misread is refused by the bridge's own types. The key
//! is read anew each time the Scheduler is looked at, so that one that was replaced is used within half a minute.

use super::LoginAuthority;
use crate::failure::{in_words, is_not_found};
use crate::settings::SlurmSettings;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use mesocentre_api::{SlurmScheduler, SshIdentity, SshTransport};
use mesocentre_scheduler_bridge::slurm::ssh::{
    Address, Credential, HostKeys, Identity, InvalidLogin, SshConfig,
};
use mesocentre_scheduler_bridge::slurm::{SlurmConfig, Transport};
use mesocentre_scheduler_bridge::{ClusterName, SchedulerError};
use std::sync::Arc;

/// Where what logs in on login nodes is found.
#[derive(Clone, Copy)]
pub struct LoginSources<'a> {
    /// Speaks as this process.
    pub client: &'a Client,
    /// The namespace of the Secrets: the operator's own.
    pub namespace: &'a str,
    /// What signs logins, where there is a Vault.
    pub authority: Option<&'a Arc<LoginAuthority>>,
}

/// A key of a Secret, and what stands there.
struct Entry {
    name: &'static str,
    what: &'static str,
}

/// As the type kubernetes.io/ssh-auth has it.
const PRIVATE_KEY: &Entry = &Entry {
    name: "ssh-privatekey",
    what: "the private key that logs in",
};
const KNOWN_HOSTS: &Entry = &Entry {
    name: "known_hosts",
    what: "the login node's public keys, as ssh-keyscan writes them",
};

/// How the commands of a Scheduler are run.
///
/// # Errors
/// [`SchedulerError::Misconfigured`] when the spec or the Secret must be mended, [`SchedulerError::Unreachable`] when the
/// API server does not say.
pub async fn gather(sources: LoginSources<'_>, spec: &SlurmScheduler) -> Result<Transport, SchedulerError> {
    let Some(ssh) = &spec.transport.ssh else {
        return Ok(Transport::Local);
    };
    let known_hosts = entry(sources, &ssh.known_hosts_secret, KNOWN_HOSTS).await?;
    let credential = credential(sources, &ssh.identity).await?;
    let persons = match &ssh.person_identity {
        Some(identity) => Some(signed_by(sources, &identity.vault_ssh_role)?),
        None => None,
    };
    login(ssh, credential, persons, &known_hosts)
        .map(Transport::Ssh)
        .map_err(misconfigured)
}

fn misconfigured(error: InvalidLogin) -> SchedulerError {
    SchedulerError::Misconfigured(error.to_string())
}

/// What logs in: the key of a Secret, or what Vault signs.
async fn credential(sources: LoginSources<'_>, identity: &SshIdentity) -> Result<Credential, SchedulerError> {
    match (&identity.secret_name, &identity.vault_ssh_role) {
        (Some(secret), _) => {
            let key = entry(sources, secret, PRIVATE_KEY).await?;
            Identity::new(&key).map(Credential::Key).map_err(misconfigured)
        }
        (None, Some(role)) => signed_by(sources, role),
        (None, None) => Err(SchedulerError::Misconfigured(
            "nothing is named that logs in on the login node: write identity.secretName or identity.vaultSshRole".into(),
        )),
    }
}

/// What Vault signs by a role.
fn signed_by(sources: LoginSources<'_>, role: &str) -> Result<Credential, SchedulerError> {
    match sources.authority {
        Some(authority) => Ok(Credential::Signed(Arc::new(authority.role(role)))),
        None => Err(SchedulerError::Misconfigured(format!(
            "logins are to be signed by Vault's role {role}, and the operator knows no Vault: set its address (the chart's vault.address, or VAULT_ADDR), or have it log in by identity.secretName and no personIdentity"
        ))),
    }
}

fn login(
    ssh: &SshTransport,
    credential: Credential,
    persons: Option<Credential>,
    known_hosts: &[u8],
) -> Result<SshConfig, InvalidLogin> {
    let port = u16::try_from(ssh.port).map_err(|_| InvalidLogin::Port)?;
    let address = Address::new(&ssh.user, &ssh.host, port)?;
    Ok(SshConfig {
        host_keys: HostKeys::of_known_hosts(&String::from_utf8_lossy(known_hosts), &address)?,
        credential,
        persons,
        address,
    })
}

/// All that the bridge needs to know. What the operator's settings say is true of its own machine only.
///
/// # Errors
/// [`SchedulerError::Misconfigured`] when the cluster's name is none.
pub fn config(
    spec: &SlurmScheduler,
    transport: Transport,
    settings: &SlurmSettings,
) -> Result<SlurmConfig, SchedulerError> {
    let cluster =
        ClusterName::new(&spec.cluster).map_err(|error| SchedulerError::Misconfigured(error.to_string()))?;
    Ok(match (transport, &spec.transport.ssh) {
        (Transport::Ssh(login), Some(ssh)) => {
            let mut config = SlurmConfig::over_ssh(cluster, login);
            config.slurm_conf = ssh.slurm_conf.as_ref().map(Into::into);
            if let Some(path) = &ssh.path {
                config.path.clone_from(path);
            }
            config
        }
        (transport, _) => {
            let mut config = SlurmConfig::new(cluster);
            config.transport = transport;
            config.slurm_conf.clone_from(&settings.slurm_conf);
            config.path.clone_from(&settings.slurm_path);
            config
        }
    })
}

/// What stands in a Secret of the operator's own namespace.
async fn entry(sources: LoginSources<'_>, name: &str, key: &Entry) -> Result<Vec<u8>, SchedulerError> {
    let namespace = sources.namespace;
    let secrets: Api<Secret> = Api::namespaced(sources.client.clone(), namespace);
    let found = secrets.get(name).await.map_err(|error| match &error {
        _ if is_not_found(&error) => SchedulerError::Misconfigured(format!(
            "there is no Secret {name} in {namespace}, the operator's namespace: make it, with {} as {}",
            key.what, key.name
        )),
        kube::Error::Api(status) if status.code == 403 => SchedulerError::Misconfigured(format!(
            "the operator may not read the Secret {name} in {namespace}: name it in operator.slurm.sshSecrets of the chart"
        )),
        _ => SchedulerError::Unreachable {
            who: "the API server",
            why: in_words(&error),
        },
    })?;
    let mut data = found.data.unwrap_or_default();
    match data.remove(key.name) {
        Some(value) => Ok(value.0),
        None => Err(SchedulerError::Misconfigured(format!(
            "the Secret {name} in {namespace} has no {}: write {} there",
            key.name, key.what
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesocentre_api::Transport as Written;

    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nAA==\n-----END OPENSSH PRIVATE KEY-----\n";

    const HOSTS: &str = "login.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n";

    fn key() -> Credential {
        Credential::Key(Identity::new(KEY.as_bytes()).unwrap())
    }

    fn settings() -> SlurmSettings {
        SlurmSettings {
            slurm_conf: Some("/here/slurm.conf".into()),
            slurm_path: "/here/bin".into(),
        }
    }

    fn ssh() -> SshTransport {
        SshTransport {
            host: "login.example.org".into(),
            port: 22,
            user: "mesocentre".into(),
            known_hosts_secret: "slurm-login".into(),
            identity: SshIdentity {
                secret_name: Some("slurm-login".into()),
                vault_ssh_role: None,
            },
            person_identity: None,
            slurm_conf: None,
            path: None,
        }
    }

    fn spec(ssh: Option<SshTransport>) -> SlurmScheduler {
        SlurmScheduler {
            cluster: "meso".into(),
            transport: Written { local: None, ssh },
            partitions: Vec::new(),
        }
    }

    #[test]
    fn what_is_set_for_the_operators_own_machine_is_not_said_to_a_login_node() {
        let here = config(&spec(None), Transport::Local, &settings()).unwrap();
        assert_eq!(here.path, "/here/bin");
        assert_eq!(here.slurm_conf, Some("/here/slurm.conf".into()));

        let mut there = ssh();
        let login = Transport::Ssh(login(&there, key(), None, HOSTS.as_bytes()).unwrap());
        let plain = config(&spec(Some(there.clone())), login.clone(), &settings()).unwrap();
        assert_eq!(plain.path, "/usr/local/bin:/usr/bin:/bin");
        assert_eq!(plain.slurm_conf, None);

        there.path = Some("/opt/slurm/bin:/usr/bin".into());
        there.slurm_conf = Some("/opt/slurm/slurm.conf".into());
        let set = config(&spec(Some(there)), login, &settings()).unwrap();
        assert_eq!(set.path, "/opt/slurm/bin:/usr/bin");
        assert_eq!(set.slurm_conf, Some("/opt/slurm/slurm.conf".into()));
    }

    #[test]
    fn what_the_schema_lets_through_and_ssh_would_misread_is_refused() {
        let mut misread = ssh();
        misread.host = "-oProxyCommand=reboot".into();
        assert!(matches!(
            login(&misread, key(), None, HOSTS.as_bytes()),
            Err(InvalidLogin::Host(_))
        ));
        assert!(matches!(
            login(
                &ssh(),
                key(),
                None,
                b"login.example.org ssh-ed25519 AAAAB3NzaC1yc2E="
            ),
            Err(InvalidLogin::HostKey(_))
        ));
        assert!(matches!(
            login(&ssh(), key(), None, b"other.example.org ssh-ed25519 AAAA"),
            Err(InvalidLogin::UnknownHost(_))
        ));
    }
}

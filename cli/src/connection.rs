//! From a kubeconfig to the API server, as the user and nobody else; and which namespace is meant.
//!
//! Nothing here checks what the user may do: the API server does.

use crate::failure::Failure;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;
use std::time::Duration;

/// Which API server, as in kubectl.
#[derive(Args, Clone, Debug, Default)]
pub struct Server {
    /// The kubeconfig to use [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context to use
    #[arg(long, value_name = "NAME", help_heading = "Where")]
    pub context: Option<String>,
}

/// Which API server and namespace, as in kubectl.
#[derive(Args, Clone, Debug, Default)]
pub struct Place {
    #[command(flatten)]
    server: Server,
    /// The workspace's namespace, TENANT--WORKSPACE [default: the context's]
    #[arg(short = 'n', long, value_name = "NAMESPACE", help_heading = "Where")]
    namespace: Option<String>,
}

/// As [`Place`]; -n is sbatch's --ntasks there.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceOfSubmission {
    #[command(flatten)]
    server: Server,
    /// The workspace's namespace, TENANT--WORKSPACE [default: the context's]
    #[arg(long, value_name = "NAMESPACE", help_heading = "Where")]
    namespace: Option<String>,
}

impl From<PlaceOfSubmission> for Place {
    fn from(place: PlaceOfSubmission) -> Self {
        Self {
            server: place.server,
            namespace: place.namespace,
        }
    }
}

impl Place {
    /// What stands after the command wins over what stands before it.
    pub fn or(self, before: Place) -> Self {
        Self {
            server: Server {
                kubeconfig: self.server.kubeconfig.or(before.server.kubeconfig),
                context: self.server.context.or(before.server.context),
            },
            namespace: self.namespace.or(before.namespace),
        }
    }
}

/// The API server, and the namespace that was named.
#[derive(Clone)]
pub struct Connection {
    /// Speaks as the user.
    pub client: Client,
    namespace: Option<String>,
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    // kube puts quotes around a path that it has put quotes around.
    let error = error.to_string().replace("'\"", "\"").replace("\"'", "\"");
    Failure::Usage(format!(
        "the kubeconfig cannot be used: {error}. Name another with --kubeconfig or KUBECONFIG, and its context with --context"
    ))
}

/// A tenant's home namespace, of any of its namespaces (`<tenant>--<workspace>`, or the home itself).
pub fn home_of(namespace: &str) -> &str {
    namespace.split_once("--").map_or(namespace, |(tenant, _)| tenant)
}

impl Connection {
    /// Reads the kubeconfig. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Failure::Usage`], when there is none or it cannot be read.
    pub async fn open(place: Place) -> Result<Self, Failure> {
        let options = KubeConfigOptions {
            context: place.server.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = match &place.server.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| unreadable(&error))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|error| unreadable(&error))?
            }
            None if options.context.is_some() => Config::from_kubeconfig(&options)
                .await
                .map_err(|error| unreadable(&error))?,
            None => Config::infer().await.map_err(|error| {
                // The cause that a person can mend; the other is about pods.
                unreadable(
                    &std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
                )
            })?,
        };
        // Who types a command waits seconds, not half a minute.
        config.connect_timeout = Some(Duration::from_secs(10));
        // kube would ask a server that is busy again and again, for minutes and without a word; and of a submission that it
        // has no answer to, nobody knows whether there is a job.
        config.default_retry = false;
        // A context that names no namespace means "default", where no workspace can be.
        let of_context = Some(config.default_namespace.clone()).filter(|namespace| namespace != "default");
        let client = Client::try_from(config).map_err(|error| unreadable(&error))?;
        Ok(Self {
            client,
            namespace: place.namespace.or(of_context),
        })
    }

    /// The namespace that is meant.
    ///
    /// # Errors
    /// [`Failure::Usage`] with what to write, when neither the command line nor the context names one.
    pub fn namespace(&self) -> Result<&str, Failure> {
        self.namespace.as_deref().ok_or_else(|| {
            Failure::Usage(
                "which namespace? Your kubeconfig's context names none: write --namespace TENANT--WORKSPACE (for example univ-caen--climate), or set it once with `kubectl config set-context --current --namespace=TENANT--WORKSPACE`".to_owned(),
            )
        })
    }

    /// The home namespace of a tenant that is named, else of the one that is meant.
    ///
    /// # Errors
    /// As [`Connection::namespace`].
    pub fn home_of_tenant<'a>(&'a self, tenant: Option<&'a str>) -> Result<&'a str, Failure> {
        tenant.map_or_else(|| self.home(), |tenant| Ok(home_of(tenant)))
    }

    /// The home namespace of the tenant that is meant.
    ///
    /// # Errors
    /// As [`Connection::namespace`].
    pub fn home(&self) -> Result<&str, Failure> {
        self.namespace().map(home_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspaces_home_is_its_tenant() {
        assert_eq!(home_of("univ-caen--climate"), "univ-caen");
        assert_eq!(home_of("univ-caen"), "univ-caen");
    }

    #[test]
    fn a_kubeconfig_that_is_not_there_is_named_in_one_pair_of_quotes() {
        let error = Kubeconfig::read_from("/nonexist").unwrap_err();
        let sentence = unreadable(&error).to_string();
        assert!(
            sentence.contains(r#"from "/nonexist": No such file"#),
            "{sentence}"
        );
    }
}

//! Where a job's script and variables are, when they are not in the object itself: in a ConfigMap or Secret of its
//! workspace, or in a file on the cluster.
//!
//! The first are read by a right that the operator has in those workspaces alone whose owner said so; a file is read as
//! the job's author. On Kubernetes a variable stays a reference, and kubelet reads it.

use super::validate::Unfit;
use crate::Context;
use crate::batch::{Cluster, Engine, WaitsFor};
use crate::triggers::tenant_of;
use crate::watch::key;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as SecretObject};
use kube::{Api, ResourceExt};
use mesocentre_api::{BatchJob, KeyOf, ScriptSource, ValueSource};
use mesocentre_scheduler_bridge::slurm::{OutputError, OutputStart};
use mesocentre_scheduler_bridge::{Reference, SchedulerError, Secret, UserName};
use std::collections::{BTreeMap, HashMap};

/// The longest script that Slurm takes (slurm.conf(5), max_script_size: 4 MiB unless a site says otherwise).
const LONGEST_SCRIPT: u64 = 4 << 20;

/// A job's script and variables.
#[derive(Debug, Default)]
pub struct Sources {
    /// The script.
    pub script: Vec<u8>,
    /// Variables, as they are.
    pub environment: Vec<(String, String)>,
    /// Variables that nobody may see.
    pub secrets: Vec<(String, Secret)>,
    /// Variables that Kubernetes looks up.
    pub references: Vec<(String, Reference)>,
}

/// Reads them.
///
/// # Errors
/// What is missing, and who can mend it.
pub async fn read(
    job: &BatchJob,
    context: &Context,
    cluster: &Cluster,
    user: &UserName,
) -> Result<Sources, Unfit> {
    let mut reads = Reads {
        job,
        context,
        namespace: job.namespace().unwrap_or_default(),
        config_maps: HashMap::new(),
        secrets: HashMap::new(),
    };
    let mut sources = Sources {
        script: match &job.spec.script_from {
            None => job.spec.script.clone().into_bytes(),
            Some(source) => script(&mut reads, source, cluster, user).await?,
        },
        ..Sources::default()
    };
    let is_slurm = matches!(cluster.engine, Engine::Slurm(_));
    for variable in &job.spec.environment {
        let name = variable.name.clone();
        let Some(source) = &variable.value_from else {
            sources.environment.push((name, variable.value.clone()));
            continue;
        };
        if !is_slurm {
            sources
                .references
                .extend(reference(source).map(|there| (name, there)));
            continue;
        }
        if let Some(at) = &source.secret_key_ref {
            let text = reads.of_secret(at).await?;
            sources.secrets.push((name, Secret::new(text)));
        } else if let Some(at) = &source.config_map_key_ref {
            let text = reads.of_config_map(at).await?;
            sources.environment.push((name, text));
        }
    }
    Ok(sources)
}

fn reference(source: &ValueSource) -> Option<Reference> {
    let secret = source.secret_key_ref.as_ref().map(|at| Reference::Secret {
        name: at.name.clone(),
        key: at.key.clone(),
    });
    let config_map = source.config_map_key_ref.as_ref().map(|at| Reference::ConfigMap {
        name: at.name.clone(),
        key: at.key.clone(),
    });
    secret.or(config_map)
}

async fn script(
    reads: &mut Reads<'_>,
    source: &ScriptSource,
    cluster: &Cluster,
    user: &UserName,
) -> Result<Vec<u8>, Unfit> {
    if let Some(at) = &source.config_map {
        return reads.of_config_map(at).await.map(String::into_bytes);
    }
    let path = source.path.as_deref().unwrap_or_default();
    let never = |why: String| Unfit::Never {
        message: format!("the script {path}: {why}"),
    };
    let Engine::Slurm(slurm) = &cluster.engine else {
        return Err(never(
            "a path is for schedulers that are Slurm; write the script itself into a new job, or into a ConfigMap"
                .to_owned(),
        ));
    };
    let call = slurm.read_output(user, path, OutputStart::Byte(0), LONGEST_SCRIPT + 1);
    match cluster.call(reads.context, "read_script", call).await {
        Ok(piece) if piece.length > LONGEST_SCRIPT => Err(never(
            "it is longer than 4 MiB, which Slurm does not take: keep data in files beside it".to_owned(),
        )),
        Ok(piece) => Ok(piece.bytes),
        Err(OutputError::Scheduler(
            error @ (SchedulerError::Unreachable { .. } | SchedulerError::Misconfigured(_)),
        )) => Err(Unfit::Waits {
            what: WaitsFor::Scheduler(cluster.name.clone()),
            reason: "SchedulerNotReady",
            message: format!("the script {path} cannot be read now: {error}"),
        }),
        Err(error) => Err(never(error.to_string())),
    }
}

/// Objects of a workspace, each asked for once.
struct Reads<'a> {
    job: &'a BatchJob,
    context: &'a Context,
    namespace: String,
    config_maps: HashMap<String, BTreeMap<String, String>>,
    secrets: HashMap<String, BTreeMap<String, ByteString>>,
}

impl Reads<'_> {
    async fn of_config_map(&mut self, at: &KeyOf) -> Result<String, Unfit> {
        if !self.config_maps.contains_key(&at.name) {
            self.may_read()?;
            let all: Api<ConfigMap> = Api::namespaced(self.context.client.clone(), &self.namespace);
            let found = all
                .get_opt(&at.name)
                .await
                .map_err(|error| self.not_read("ConfigMap", at, &error))?;
            let data = found.ok_or_else(|| self.missing("ConfigMap", at))?.data;
            self.config_maps.insert(at.name.clone(), data.unwrap_or_default());
        }
        let text = self.config_maps.get(&at.name).and_then(|data| data.get(&at.key));
        text.cloned().ok_or_else(|| self.without_key("ConfigMap", at))
    }

    async fn of_secret(&mut self, at: &KeyOf) -> Result<String, Unfit> {
        if !self.secrets.contains_key(&at.name) {
            self.may_read()?;
            let all: Api<SecretObject> = Api::namespaced(self.context.client.clone(), &self.namespace);
            let found = all
                .get_opt(&at.name)
                .await
                .map_err(|error| self.not_read("Secret", at, &error))?;
            let data = found.ok_or_else(|| self.missing("Secret", at))?.data;
            self.secrets.insert(at.name.clone(), data.unwrap_or_default());
        }
        let bytes = self.secrets.get(&at.name).and_then(|data| data.get(&at.key));
        let bytes = bytes.ok_or_else(|| self.without_key("Secret", at))?;
        String::from_utf8(bytes.0.clone()).map_err(|_| Unfit::Never {
            message: format!(
                "the key {} of the Secret {} is no text (UTF-8), and a variable is: write it in base64 into another key, and \
                 decode it in the script",
                at.key, at.name
            ),
        })
    }

    /// Whether the workspace's owner lets batch jobs read there.
    fn may_read(&self) -> Result<(), Unfit> {
        let home = tenant_of(self.job);
        let workspace = self.namespace.strip_prefix(&format!("{home}--"));
        let says_so = workspace
            .and_then(|name| self.context.stores.workspaces.get(&key(Some(&home), name)))
            .is_some_and(|workspace| workspace.spec.batch_jobs_may_read_secrets);
        if says_so {
            return Ok(());
        }
        Err(Unfit::Refused {
            reason: "SourcesClosed",
            message: format!(
                "batch jobs may not read the Secrets and ConfigMaps of {}: have an Owner of {home} write \
                 batchJobsMayReadSecrets: true into the Workspace {}",
                self.namespace,
                workspace.unwrap_or_default()
            ),
        })
    }

    fn wait(&self, reason: &'static str, message: String) -> Unfit {
        Unfit::Waits {
            what: WaitsFor::Sources(self.namespace.clone()),
            reason,
            message,
        }
    }

    fn not_read(&self, kind: &str, at: &KeyOf, error: &kube::Error) -> Unfit {
        let why = match error {
            kube::Error::Api(status) if status.code == 403 => "the right to read it is being made".to_owned(),
            error => error.to_string(),
        };
        self.wait(
            "SourcesPending",
            format!("the {kind} {} cannot be read yet: {why}", at.name),
        )
    }

    fn missing(&self, kind: &str, at: &KeyOf) -> Unfit {
        self.wait(
            "UnknownSource",
            format!(
                "it waits for the {kind} {}, which does not exist in {} (yet)",
                at.name, self.namespace
            ),
        )
    }

    fn without_key(&self, kind: &str, at: &KeyOf) -> Unfit {
        self.wait(
            "UnknownSource",
            format!(
                "it waits for the key {} of the {kind} {}, which has none of that name (yet)",
                at.key, at.name
            ),
        )
    }
}

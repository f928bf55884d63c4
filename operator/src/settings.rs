//! What the operator is told from outside: environment variables, or the flags of the same names.

use crate::vault::VaultSettings;
use clap::{Args, Parser, ValueEnum};
use mesocentre_metering::LedgerUrl;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The operator of Mesocentre: tenants, batch jobs and bills as Kubernetes objects.
///
/// It reaches the API server as the service account of its pod, or as the user of KUBECONFIG.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "mesocentre-operator",
    version,
    after_help = "`mesocentre-operator output` is another process: it serves the output of batch jobs to the API server."
)]
pub struct Settings {
    /// The ledger of usage, for example sqlite:///var/lib/mesocentre/ledger.db
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL")]
    pub ledger_url: LedgerUrl,
    /// Slurm's commands on this machine.
    #[command(flatten)]
    pub slurm: SlurmSettings,
    /// Address of /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "MESO_HTTP",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub http: SocketAddr,
    /// The datacentre's time zone (IANA): in it, conventions, allocations and tariffs begin and end
    #[arg(
        long,
        env = "MESO_TIME_ZONE",
        value_name = "ZONE",
        default_value = "Europe/Paris"
    )]
    pub time_zone: String,
    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
    /// Namespace of the lease that makes one replica the leader
    #[arg(
        long,
        env = "MESO_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = mesocentre_api::SYSTEM_NAMESPACE
    )]
    pub namespace: String,
    /// Vault.
    #[command(flatten)]
    pub vault: VaultSettings,
    /// How often the report of each tenant's perimeter is renewed, in minutes
    #[arg(
        long,
        env = "MESO_REPORT_MINUTES",
        value_name = "MINUTES",
        default_value = "60",
        value_parser = clap::value_parser!(u64).range(1..=1440)
    )]
    pub report_minutes: u64,
    /// Folder that issued invoices are written to, each series in a folder of its own [default: none, they are written nowhere]
    #[arg(long, env = "MESO_INVOICE_FOLDER", value_name = "FOLDER")]
    pub invoice_folder: Option<PathBuf>,
    /// Whose ledger it is, on its checkpoints: a name of the datacentre's own that does not change
    #[arg(
        long,
        env = "MESO_LEDGER_ORIGIN",
        value_name = "NAME",
        default_value = "mesocentre/ledger"
    )]
    pub ledger_origin: String,
    /// The key that reports are signed with, made at the first start [default: signing-key.pk8 beside the ledger]
    #[arg(long, env = "MESO_SIGNING_KEY", value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
}

impl Settings {
    /// The file of the key that reports are signed with.
    pub fn signing_key(&self) -> PathBuf {
        self.signing_key
            .clone()
            .unwrap_or_else(|| self.ledger_url.path().with_file_name("signing-key.pk8"))
    }
}

/// Slurm's commands on this machine.
#[derive(Args, Clone, Debug)]
pub struct SlurmSettings {
    /// Configuration of Slurm's commands [default: their own]
    #[arg(long, env = "SLURM_CONF", value_name = "FILE")]
    pub slurm_conf: Option<PathBuf>,
    /// Where Slurm's commands are; also the PATH that jobs start with
    #[arg(
        long,
        env = "MESO_SLURM_PATH",
        value_name = "DIRECTORIES",
        default_value = "/usr/local/bin:/usr/bin:/bin"
    )]
    pub slurm_path: String,
}

/// The log.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// Form of the log
    #[arg(
        long,
        env = "MESO_LOG_FORMAT",
        value_name = "FORM",
        value_enum,
        default_value = "human"
    )]
    pub log_format: LogFormat,
    /// What is logged, as tracing's filters have it
    #[arg(long, env = "MESO_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

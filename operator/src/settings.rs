//! What the operator is told from outside: environment variables, or the flags of the same names.

use crate::billing::invoice::InvoiceSettings;
use crate::intake::IntakeSettings;
use crate::vault::VaultSettings;
use anyhow::Context as _;
use clap::{Args, Parser, ValueEnum};
use mesocentre_metering::LedgerUrl;
use mesocentre_metering::ledger::LedgerUrlError;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

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
    /// The ledger of usage, for example sqlite:///var/lib/mesocentre/ledger.db or postgresql://USER@HOST/DATABASE
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL", hide_env_values = true)]
    ledger_url: LedgerAddress,
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
    /// Use that others measure.
    #[command(flatten)]
    pub intake: IntakeSettings,
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
    /// Where issued invoices are delivered to.
    #[command(flatten)]
    pub invoices: InvoiceSettings,
    /// Whether what tenants' pods request and their volumes hold is metered, besides batch jobs
    #[arg(
        long,
        env = "MESO_METER_PLATFORM",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub meter_platform: bool,
    /// Whose ledger it is, on its checkpoints: a name of the datacentre's own that does not change
    #[arg(
        long,
        env = "MESO_LEDGER_ORIGIN",
        value_name = "NAME",
        default_value = "mesocentre/ledger"
    )]
    pub ledger_origin: String,
    /// The key that reports are signed with, made at the first start [default: signing-key.pk8 beside a ledger in a file]
    #[arg(long, env = "MESO_SIGNING_KEY", value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
}

/// What was written as the ledger's URL. Wrong or right, it may hold a password, so clap is not let to repeat it.
#[derive(Clone, Debug)]
struct LedgerAddress(Result<LedgerUrl, LedgerUrlError>);

impl FromStr for LedgerAddress {
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(Self(url.parse()))
    }
}

impl Settings {
    /// Where the ledger is.
    ///
    /// # Errors
    /// When what was written is no URL of a ledger.
    pub fn ledger_url(&self) -> Result<&LedgerUrl, LedgerUrlError> {
        self.ledger_url.0.as_ref().map_err(Clone::clone)
    }

    /// The file of the key that reports are signed with.
    ///
    /// # Errors
    /// When it is neither said nor beside the ledger.
    pub fn signing_key(&self) -> anyhow::Result<PathBuf> {
        let ledger = self.ledger_url()?;
        let beside = || Some(ledger.file()?.with_file_name("signing-key.pk8"));
        self.signing_key.clone().or_else(beside).context(
            "the ledger is in PostgreSQL, and a key is no file beside it: say where the key is that reports and checkpoints are signed with, with --signing-key or MESO_SIGNING_KEY",
        )
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

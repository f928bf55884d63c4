//! What is told to `mesocentre-operator output`.

use crate::settings::{LogSettings, SlurmSettings};
use crate::vault::VaultSettings;
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serve the output of batch jobs on Slurm to the API server, which lets those read it who may get batchjobs/log
#[derive(Clone, Debug, Parser)]
#[command(name = "mesocentre-operator output", version)]
pub struct OutputSettings {
    /// Address that the API server reaches it at
    #[arg(
        long = "listen",
        env = "MESO_OUTPUT_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8443"
    )]
    pub listen: SocketAddr,
    /// Its certificate, for mesocentre-output.NAMESPACE.svc (PEM); read anew when it changes
    #[arg(long = "tls-cert", env = "MESO_OUTPUT_TLS_CERT", value_name = "FILE")]
    pub certificate: PathBuf,
    /// The certificate's private key (PEM)
    #[arg(long = "tls-key", env = "MESO_OUTPUT_TLS_KEY", value_name = "FILE")]
    pub key: PathBuf,
    /// Address of /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "MESO_HTTP",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub http: SocketAddr,
    /// Namespace of the Secrets that log in on login nodes
    #[arg(
        long,
        env = "MESO_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = mesocentre_api::SYSTEM_NAMESPACE
    )]
    pub namespace: String,
    /// Slurm's commands on this machine.
    #[command(flatten)]
    pub slurm: SlurmSettings,
    /// Vault, where it signs logins.
    #[command(flatten)]
    pub vault: VaultSettings,
    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
}

//! Signs reports and checkpoints of the ledger with an Ed25519 key that never leaves this machine: a file beside the ledger, readable to the operator
//! alone, made at its first start. It is in no Secret, so whoever reads etcd cannot sign.

use anyhow::{Context as _, bail};
use mesocentre_api::{ReportSignature, SIGNATURE_ALGORITHM};
use mesocentre_metering::checkpoint::{Checkpoint, CheckpointError, CheckpointKey};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Holds the key.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Reads the key, or makes it.
    ///
    /// # Errors
    /// When there is a file that holds no key or is open to others, or none can be written.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let doing = || format!("reading the key that signs reports, {}", file.display());
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => make(file)?,
            Err(error) => return Err(error).with_context(doing),
        };
        let mode = fs::metadata(file).with_context(doing)?.permissions().mode();
        if mode & 0o007 != 0 {
            bail!(
                "the key that signs reports, {}, can be read by everybody: run chmod 600 on it",
                file.display()
            );
        }
        let Ok(pair) = Ed25519KeyPair::from_pkcs8(&bytes) else {
            bail!(
                "{} holds no Ed25519 key in PKCS #8: move it away, and a new one is made",
                file.display()
            );
        };
        let signer = Self(pair);
        tracing::info!(
            public_key = signer.public_key(),
            "reports of perimeters are signed"
        );
        Ok(signer)
    }

    fn public_key(&self) -> String {
        hexadecimal(self.0.public_key().as_ref())
    }

    /// Signs what the ledger was.
    ///
    /// # Errors
    /// When its origin cannot stand on a checkpoint.
    pub fn sign_checkpoint(&self, checkpoint: &Checkpoint) -> Result<String, CheckpointError> {
        let key = CheckpointKey::new(&checkpoint.origin, &self.0)?;
        Ok(key.sign(checkpoint).to_string())
    }

    /// Signs.
    pub fn sign(&self, bytes: &[u8]) -> ReportSignature {
        ReportSignature {
            algorithm: SIGNATURE_ALGORITHM.into(),
            public_key: self.public_key(),
            value: hexadecimal(self.0.sign(bytes).as_ref()),
        }
    }
}

fn make(file: &Path) -> anyhow::Result<Vec<u8>> {
    let doing = || format!("making the key that signs reports, {}", file.display());
    let Ok(document) = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()) else {
        bail!("{}: this machine gives no random numbers", doing());
    };
    // Whole or not at all, also when this process ends in between.
    let half = file.with_extension("new");
    let mut new = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&half)
        .with_context(doing)?;
    new.write_all(document.as_ref()).with_context(doing)?;
    new.sync_all().with_context(doing)?;
    fs::rename(&half, file).with_context(doing)?;
    Ok(document.as_ref().to_vec())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

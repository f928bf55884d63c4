//! `meso ledger key`, `checkpoint` and `cosign`: what the ledger is now, signed, for partners to keep and cosign.
//!
//! ```text
//!  datacentre                                       partner
//!  checkpoint --key … ──────────── kept.txt ──────► keeps it
//!  checkpoint --key … --since kept.txt ─ request ─► cosign --kept kept.txt: has nothing before changed? ─► kept.txt, cosigned
//!  verify --checkpoint kept.txt: the rows themselves
//! ```

use crate::failure::Failure;
use crate::ledger_verify::the_ledger;
use crate::output;
use clap::Args;
use jiff::Timestamp;
use mesocentre_metering::checkpoint::{
    CheckpointError, CheckpointKey, CosignRequest, SignedCheckpoint, Verifier,
};
use mesocentre_metering::ledger::{Expected, verify_against};
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What `ledger key` takes.
#[derive(Args, Debug)]
pub struct KeyOptions {
    /// The file of the private key (Ed25519, PKCS #8): made where there is none
    #[arg(value_name = "FILE")]
    key: PathBuf,
    /// Whose it is, as mesocentre.example.org/ledger or univ-caen.example.org
    #[arg(long, value_name = "NAME")]
    name: String,
    /// It cosigns another's checkpoints, as a partner's does
    #[arg(long)]
    witness: bool,
}

/// What `ledger checkpoint` takes.
#[derive(Args, Debug)]
pub struct CheckpointOptions {
    /// The ledger, for example sqlite:///var/lib/mesocentre/ledger.db or postgresql://USER@HOST/DATABASE
    #[arg(long, env = "MESO_LEDGER_URL", value_name = "URL", hide_env_values = true)]
    ledger: String,
    /// The file of the private key that signs, for example /var/lib/mesocentre/signing-key.pk8
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Whose ledger it is, the same each time, as mesocentre.example.org/ledger
    #[arg(long, value_name = "NAME")]
    origin: String,
    /// With the proof that it goes on from this earlier checkpoint, for who kept it to cosign
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
}

/// What `ledger cosign` takes.
#[derive(Args, Debug)]
pub struct CosignOptions {
    /// What the datacentre made with checkpoint --since
    #[arg(value_name = "FILE")]
    request: PathBuf,
    /// The checkpoint that was kept
    #[arg(long, value_name = "FILE")]
    kept: PathBuf,
    /// The datacentre's public key, as `ledger key` prints it
    #[arg(long, value_name = "KEY")]
    trust: String,
    /// The file of your private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Your name, as univ-caen.example.org
    #[arg(long, value_name = "NAME")]
    name: String,
}

/// Prints the public half of a key, and makes the key where there is none.
///
/// # Errors
/// [`Failure::Failed`] when it cannot be read or made.
pub fn key(options: &KeyOptions) -> Result<(), Failure> {
    CheckpointKey::check_name(&options.name).map_err(usage)?;
    if !options.key.exists() {
        make(&options.key)?;
        eprintln!("A new key is in {}: keep it to yourself", options.key.display());
    }
    let pair = read(&options.key)?;
    let key = CheckpointKey::new(&options.name, &pair).map_err(usage)?;
    let public = if options.witness {
        key.of_a_witness()
    } else {
        key.of_a_ledger()
    };
    output::print(&format!("{public}\n"))
}

/// Signs what the ledger is now, if it is intact.
///
/// # Errors
/// Exit code 1 when it is not; [`Failure`] when it cannot be read.
pub async fn checkpoint(options: CheckpointOptions) -> Result<(), Failure> {
    let pair = read(&options.key)?;
    let key = CheckpointKey::new(&options.origin, &pair).map_err(usage)?;
    let earlier = options.since.as_deref().map(signed).transpose()?;
    if let Some(earlier) = &earlier {
        // Else the proof would be of something that this ledger never said.
        earlier.is_signed_by(&key.of_a_ledger()).map_err(usage)?;
    }
    let url = the_ledger(&options.ledger)?;
    let expected = Expected {
        checkpoints: earlier.iter().map(|earlier| earlier.checkpoint.clone()).collect(),
        proof_since: earlier.as_ref().map(|earlier| earlier.checkpoint.size),
    };
    let found = verify_against(&url, &expected)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(fault) = found.faults.first() {
        eprintln!("meso: nothing is signed, the ledger is not intact: {fault}; see `meso ledger verify`");
        return Err(Failure::Exit(1));
    }
    let later = key.sign(&found.checkpoint(&options.origin));
    match earlier {
        None => output::print(&later.to_string()),
        Some(earlier) => output::print(
            &CosignRequest {
                earlier: earlier.checkpoint.size,
                proof: found.proof,
                later,
            }
            .to_string(),
        ),
    }
}

/// Cosigns a checkpoint that goes on from the one that was kept.
///
/// # Errors
/// Exit code 1 when it does not, or is not the datacentre's; [`Failure`] when a file cannot be read.
pub fn cosign(options: &CosignOptions) -> Result<(), Failure> {
    let trusted = Verifier::parse(&options.trust).map_err(usage)?;
    let pair = read(&options.key)?;
    let key = CheckpointKey::new(&options.name, &pair).map_err(usage)?;
    let request = CosignRequest::parse(&text(&options.request)?)
        .map_err(|error| Failure::Usage(format!("{}: {error}", options.request.display())))?;
    let kept = signed(&options.kept)?;
    let refused = |error: CheckpointError| {
        eprintln!("meso: not cosigned: {error}");
        Failure::Exit(1)
    };
    kept.is_signed_by(&trusted).map_err(refused)?;
    request.later.is_signed_by(&trusted).map_err(refused)?;
    request.goes_on_from(&kept.checkpoint).map_err(refused)?;
    let mut later = request.later;
    key.cosign(&mut later, Timestamp::now());
    output::print(&later.to_string())
}

/// A checkpoint that somebody kept; nothing is trusted yet.
///
/// # Errors
/// [`Failure::Usage`] when it is none.
pub fn signed(file: &Path) -> Result<SignedCheckpoint, Failure> {
    SignedCheckpoint::parse(&text(file)?)
        .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// What does not fit the command line.
pub fn usage(error: CheckpointError) -> Failure {
    Failure::Usage(error.to_string())
}

/// A file's text.
///
/// # Errors
/// [`Failure::Usage`] when it cannot be read.
pub fn text(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("reading {} failed: {error}", file.display())))
}

fn read(file: &Path) -> Result<Ed25519KeyPair, Failure> {
    let bytes = fs::read(file)
        .map_err(|error| Failure::Usage(format!("reading the key {} failed: {error}", file.display())))?;
    Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| {
        Failure::Usage(format!(
            "{} holds no Ed25519 key in PKCS #8: `meso ledger key FILE` makes one where there is no file",
            file.display()
        ))
    })
}

fn make(file: &Path) -> Result<(), Failure> {
    let failed = |why: String| Failure::Failed(format!("making the key {} failed: {why}", file.display()));
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map_err(|_| failed("this machine gives no random numbers".to_owned()))?;
    let mut new = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(|error| failed(error.to_string()))?;
    new.write_all(document.as_ref())
        .map_err(|error| failed(error.to_string()))
}

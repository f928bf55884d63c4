//! Checkpoints: what the ledger was at a moment, signed, in a few lines that partners keep and cosign.
//!
//! The form is that of transparency logs (C2SP, `tlog-checkpoint` over `signed-note`), so that their witnesses and tools
//! read it: where it comes from, how many rows, the root over them; then lines of ours; then signatures.
//!
//! ```text
//!  mesocentre.example.org/ledger
//!  58
//!  1RXsH2m0…=                              root over the rows (merkle.rs), base64
//!  chain 9f2c…                             hash of the last row
//!  closed 2026-11 5be1…                    the month closed last, and its digest
//!  issued 12 77ab…                         the document issued last, and its hash
//!
//!  — mesocentre.example.org/ledger Az3g…   by the datacentre's key
//!  — univ-caen.example.org p0Xk…           cosigned by who has seen that nothing of an earlier one has changed
//! ```

use crate::calendar::BillingMonth;
use crate::digest::Digest;
use crate::ledger::{AnchoredClose, AnchoredIssue};
use crate::merkle;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use std::fmt;

/// What a ledger was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose ledger.
    pub origin: String,
    /// How many rows.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The hash of the last row.
    pub chain: Digest,
    /// The month closed last.
    pub closed: Option<AnchoredClose>,
    /// The document issued last.
    pub issued: Option<AnchoredIssue>,
}

/// Why text is no checkpoint, or one that is not to be trusted. Each is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read.
    #[error("this is no checkpoint: {0}")]
    Unreadable(&'static str),
    /// A key that cannot be read.
    #[error("this is no key of a signer: {0}")]
    Key(&'static str),
    /// Nobody that is trusted has signed it.
    #[error("it bears no signature of {0}: it is another ledger's, or was written by somebody else")]
    NotSigned(String),
    /// A signature that does not fit.
    #[error("the signature of {0} does not fit: the checkpoint was changed after it was signed")]
    Forged(String),
    /// Something before the earlier checkpoint has changed.
    #[error(
        "it does not go on from the checkpoint of {earlier} rows: something before was changed, or its tail was cut; keep both, and ask the datacentre for an explanation"
    )]
    NotConsistent {
        /// The rows of the one that was kept.
        earlier: u64,
    },
}

fn one_line(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && name.chars().all(|c| c.is_ascii_graphic() && c != '+')
}

impl Checkpoint {
    /// The lines that are signed.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\nchain {}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root.0),
            self.chain
        );
        if let Some(close) = &self.closed {
            text += &format!("closed {} {}\n", close.month, close.sha256);
        }
        if let Some(issue) = &self.issued {
            text += &format!("issued {} {}\n", issue.place, issue.hash);
        }
        text
    }

    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let no = CheckpointError::Unreadable;
        let mut lines = text.lines();
        let origin = lines
            .next()
            .filter(|line| one_line(line))
            .ok_or(no("its first line names no ledger"))?;
        let size = lines
            .next()
            .and_then(|line| line.parse().ok())
            .ok_or(no("its second line is no number of rows"))?;
        let root = lines
            .next()
            .and_then(|line| Digest::from_bytes(&STANDARD.decode(line).ok()?))
            .ok_or(no("its third line is no root in base64"))?;
        let (mut chain, mut closed, mut issued) = (None, None, None);
        for line in lines {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("chain"), Some(hash), None) => chain = Digest::from_hex(hash),
                (Some("closed"), Some(month), Some(sha256)) => {
                    closed = month
                        .parse::<BillingMonth>()
                        .ok()
                        .zip(Digest::from_hex(sha256))
                        .map(|(month, sha256)| AnchoredClose { month, sha256 });
                }
                (Some("issued"), Some(place), Some(hash)) => {
                    issued = place
                        .parse()
                        .ok()
                        .zip(Digest::from_hex(hash))
                        .map(|(place, hash)| AnchoredIssue { place, hash });
                }
                // What a later version adds is signed with the rest.
                _ => {}
            }
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            chain: chain.ok_or(no("it has no line with the hash of the last row"))?,
            closed,
            issued,
        })
    }
}

/// What a key signs: a checkpoint of its own ledger, or that it has seen one of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An Ed25519 signature (signed-note, type 1).
    Log,
    /// A cosignature with its time (tlog-cosignature v1, type 4).
    Witness,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// A public key with its name, as text `name+hash+key` (signed-note's vkey).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    kind: Kind,
    public: [u8; 32],
}

impl Verifier {
    /// Reads the text.
    ///
    /// # Errors
    /// [`CheckpointError::Key`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let no = CheckpointError::Key;
        let shape = "write it as `meso ledger key` prints it: name+hash+key";
        let (name, rest) = text.trim().split_once('+').ok_or(no(shape))?;
        let (id, key) = rest.split_once('+').ok_or(no(shape))?;
        let key = STANDARD.decode(key).map_err(|_| no(shape))?;
        let (kind, public) = match key.split_first() {
            Some((0x01, public)) => (Kind::Log, public),
            Some((0x04, public)) => (Kind::Witness, public),
            _ => return Err(no("its kind is neither a ledger's nor a witness's")),
        };
        let public = public.try_into().map_err(|_| no("it has not 32 bytes"))?;
        let verifier = Self {
            name: name.to_owned(),
            kind,
            public,
        };
        if !one_line(name) || hexadecimal(&verifier.id()) != id {
            return Err(no(
                "its hash does not fit its name and key: a character is missing or another",
            ));
        }
        Ok(verifier)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of a hash over name and key.
    fn id(&self) -> [u8; 4] {
        let hash = Digest::of(&[self.name.as_bytes(), b"\n", &[self.kind.byte()], &self.public]);
        [hash.0[0], hash.0[1], hash.0[2], hash.0[3]]
    }

    fn fits(&self, text: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.public);
        match self.kind {
            Kind::Log => key.verify(text.as_bytes(), signature).is_ok(),
            Kind::Witness => {
                let Some((time, signature)) = signature.split_first_chunk::<8>() else {
                    return false;
                };
                let message = cosigned(text, u64::from_be_bytes(*time));
                key.verify(message.as_bytes(), signature).is_ok()
            }
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()], &self.public[..]].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hexadecimal(&self.id()),
            STANDARD.encode(key)
        )
    }
}

fn cosigned(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key that signs.
pub struct CheckpointKey<'a> {
    name: String,
    pair: &'a Ed25519KeyPair,
}

impl<'a> CheckpointKey<'a> {
    /// A key under a name: of the ledger's own key, the ledger's origin.
    ///
    /// # Errors
    /// [`CheckpointError::Key`] when the name cannot stand on a line.
    pub fn new(name: &str, pair: &'a Ed25519KeyPair) -> Result<Self, CheckpointError> {
        Self::check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            pair,
        })
    }

    /// Whether a key can have this name.
    ///
    /// # Errors
    /// [`CheckpointError::Key`] when it cannot stand on a line.
    pub fn check_name(name: &str) -> Result<(), CheckpointError> {
        if one_line(name) {
            return Ok(());
        }
        Err(CheckpointError::Key(
            "its name is to be 1 to 200 letters, digits and signs without a blank or a +, as mesocentre.example.org/ledger",
        ))
    }

    fn verifier(&self, kind: Kind) -> Verifier {
        let mut public = [0; 32];
        public.copy_from_slice(self.pair.public_key().as_ref());
        Verifier {
            name: self.name.clone(),
            kind,
            public,
        }
    }

    /// Its public half, of a ledger's key.
    pub fn of_a_ledger(&self) -> Verifier {
        self.verifier(Kind::Log)
    }

    /// Its public half, of a witness's.
    pub fn of_a_witness(&self) -> Verifier {
        self.verifier(Kind::Witness)
    }

    /// Signs a checkpoint of this key's ledger.
    pub fn sign(&self, checkpoint: &Checkpoint) -> SignedCheckpoint {
        let text = checkpoint.text();
        let signature = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        SignedCheckpoint {
            checkpoint: checkpoint.clone(),
            signatures: vec![Signature {
                name: self.name.clone(),
                id: self.of_a_ledger().id(),
                bytes: signature,
            }],
            text,
        }
    }

    /// Adds that this key's holder has seen it, at a time.
    pub fn cosign(&self, signed: &mut SignedCheckpoint, at: Timestamp) {
        let seconds = u64::try_from(at.as_second()).unwrap_or(0);
        let message = cosigned(&signed.text, seconds);
        let signature = self.pair.sign(message.as_bytes());
        let id = self.of_a_witness().id();
        signed
            .signatures
            .retain(|other| (&other.name, other.id) != (&self.name, id));
        signed.signatures.push(Signature {
            name: self.name.clone(),
            id,
            bytes: [&seconds.to_be_bytes(), signature.as_ref()].concat(),
        });
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// A checkpoint with who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The very lines, with what a later version may have added.
    text: String,
    signatures: Vec<Signature>,
}

impl SignedCheckpoint {
    /// Reads one; nothing is trusted yet.
    ///
    /// # Errors
    /// [`CheckpointError::Unreadable`].
    pub fn parse(note: &str) -> Result<Self, CheckpointError> {
        let no = CheckpointError::Unreadable;
        let at = note
            .find("\n\n")
            .ok_or(no("no empty line stands before its signatures"))?;
        let (text, rest) = note.split_at(at + 1);
        let mut signatures = Vec::new();
        for line in rest
            .trim_start_matches('\n')
            .lines()
            .filter(|line| !line.is_empty())
        {
            let (name, encoded) = line
                .strip_prefix("\u{2014} ")
                .and_then(|rest| rest.rsplit_once(' '))
                .ok_or(no("a line behind the empty one is no signature"))?;
            let bytes = STANDARD
                .decode(encoded)
                .map_err(|_| no("a signature is no base64"))?;
            let (id, bytes) = bytes
                .split_first_chunk::<4>()
                .ok_or(no("a signature is too short"))?;
            signatures.push(Signature {
                name: name.to_owned(),
                id: *id,
                bytes: bytes.to_vec(),
            });
        }
        Ok(Self {
            checkpoint: Checkpoint::parse(text)?,
            text: text.to_owned(),
            signatures,
        })
    }

    /// Whether somebody who is trusted has signed it.
    ///
    /// # Errors
    /// [`CheckpointError::NotSigned`] or [`CheckpointError::Forged`]; of a ledger's key also when it is another ledger's.
    pub fn is_signed_by(&self, verifier: &Verifier) -> Result<(), CheckpointError> {
        if verifier.kind == Kind::Log && verifier.name != self.checkpoint.origin {
            return Err(CheckpointError::NotSigned(verifier.name.clone()));
        }
        let theirs = self
            .signatures
            .iter()
            .find(|signature| signature.name == verifier.name && signature.id == verifier.id())
            .ok_or_else(|| CheckpointError::NotSigned(verifier.name.clone()))?;
        if verifier.fits(&self.text, &theirs.bytes) {
            Ok(())
        } else {
            Err(CheckpointError::Forged(verifier.name.clone()))
        }
    }

    /// Who has signed it, by their own word.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.name.as_str())
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for Signature { name, id, bytes } in &self.signatures {
            let encoded = STANDARD.encode([&id[..], bytes].concat());
            writeln!(f, "\u{2014} {name} {encoded}")?;
        }
        Ok(())
    }
}

/// A checkpoint with the proof that it goes on from an earlier one: what a witness is asked to cosign (C2SP,
/// `tlog-witness`, the body of add-checkpoint).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignRequest {
    /// The rows of the earlier one.
    pub earlier: u64,
    /// The proof.
    pub proof: Vec<Digest>,
    /// The later one.
    pub later: SignedCheckpoint,
}

impl CosignRequest {
    /// Reads one.
    ///
    /// # Errors
    /// [`CheckpointError::Unreadable`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let no = CheckpointError::Unreadable;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or(no("no empty line stands before the checkpoint"))?;
        let mut lines = head.lines();
        let earlier = lines
            .next()
            .and_then(|line| line.strip_prefix("old ")?.parse().ok())
            .ok_or(no(
                "its first line is not `old` and a number of rows: have it made with --since",
            ))?;
        let proof = lines
            .map(|line| Digest::from_bytes(&STANDARD.decode(line).ok()?))
            .collect::<Option<_>>()
            .ok_or(no("a line of the proof is no hash in base64"))?;
        Ok(Self {
            earlier,
            proof,
            later: SignedCheckpoint::parse(note)?,
        })
    }

    /// Whether the later one goes on from the one that was kept.
    ///
    /// # Errors
    /// [`CheckpointError::NotConsistent`].
    pub fn goes_on_from(&self, kept: &Checkpoint) -> Result<(), CheckpointError> {
        let later = &self.later.checkpoint;
        let rows = merkle::is_consistent((kept.size, kept.root), (later.size, later.root), &self.proof);
        let closed = match (kept.closed, later.closed) {
            (Some(kept), Some(later)) => {
                later.month > kept.month || (later.month == kept.month && later.sha256 == kept.sha256)
            }
            (Some(_), None) => false,
            (None, _) => true,
        };
        let issued = match (kept.issued, later.issued) {
            (Some(kept), Some(later)) => {
                later.place > kept.place || (later.place == kept.place && later.hash == kept.hash)
            }
            (Some(_), None) => false,
            (None, _) => true,
        };
        if rows && closed && issued && kept.origin == later.origin && kept.size == self.earlier {
            Ok(())
        } else {
            Err(CheckpointError::NotConsistent { earlier: kept.size })
        }
    }
}

impl fmt::Display for CosignRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.earlier)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash.0))?;
        }
        write!(f, "\n{}", self.later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn checkpoint(size: u64, root: Digest) -> Checkpoint {
        Checkpoint {
            origin: "mesocentre.example.org/ledger".to_owned(),
            size,
            root,
            chain: Digest::of(&[b"chain"]),
            closed: Some(AnchoredClose {
                month: "2026-11".parse().unwrap(),
                sha256: Digest::of(&[b"month"]),
            }),
            issued: None,
        }
    }

    #[test]
    fn a_checkpoint_is_read_back_as_it_was_signed_and_each_signature_is_known_by_its_key() {
        let (ours, theirs) = (pair(1), pair(2));
        let key = CheckpointKey::new("mesocentre.example.org/ledger", &ours).unwrap();
        let witness = CheckpointKey::new("univ-caen.example.org", &theirs).unwrap();
        let mut signed = key.sign(&checkpoint(58, Digest::of(&[b"root"])));
        witness.cosign(&mut signed, Timestamp::from_second(1_795_000_000).unwrap());
        witness.cosign(&mut signed, Timestamp::from_second(1_795_000_060).unwrap());
        let text = signed.to_string();
        let read = SignedCheckpoint::parse(&text).unwrap();
        assert_eq!(read, signed);
        assert_eq!(
            read.signers().count(),
            2,
            "cosigned again, it is cosigned once:\n{text}"
        );
        for verifier in [key.of_a_ledger(), witness.of_a_witness()] {
            let verifier = Verifier::parse(&verifier.to_string()).unwrap();
            assert_eq!(read.is_signed_by(&verifier), Ok(()));
        }
        // The same key in another part, and another's.
        assert!(matches!(
            read.is_signed_by(&witness.of_a_ledger()),
            Err(CheckpointError::NotSigned(_))
        ));
        let stranger = pair(3);
        let stranger = CheckpointKey::new("univ-caen.example.org", &stranger).unwrap();
        assert!(matches!(
            read.is_signed_by(&stranger.of_a_witness()),
            Err(CheckpointError::NotSigned(_))
        ));
    }

    #[test]
    fn a_byte_changed_in_a_checkpoint_is_found() {
        let ours = pair(1);
        let key = CheckpointKey::new("mesocentre.example.org/ledger", &ours).unwrap();
        let text = key.sign(&checkpoint(58, Digest::of(&[b"root"]))).to_string();
        for (was, is) in [
            ("\n58\n", "\n59\n"),
            ("2026-11", "2026-10"),
            ("chain 0", "chain 1"),
        ] {
            let changed = text.replacen(was, is, 1);
            if changed == text {
                continue;
            }
            let read = SignedCheckpoint::parse(&changed).unwrap();
            assert_eq!(
                read.is_signed_by(&key.of_a_ledger()),
                Err(CheckpointError::Forged(
                    "mesocentre.example.org/ledger".to_owned()
                )),
                "{was}"
            );
        }
        assert!(SignedCheckpoint::parse("nothing").is_err());
    }

    #[test]
    fn a_witness_sees_whether_what_it_kept_is_still_in_the_ledger() {
        let ours = pair(1);
        let key = CheckpointKey::new("mesocentre.example.org/ledger", &ours).unwrap();
        let leaves: Vec<Digest> = (0..100_u32).map(|n| merkle::leaf(&n.to_be_bytes())).collect();
        let at = |leaves: &[Digest]| {
            let mut tree = merkle::Tree::default();
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            checkpoint(tree.size(), tree.root())
        };
        let kept = at(&leaves[..37]);
        let request = |leaves: &[Digest], later: Checkpoint| {
            let mut proof = merkle::ConsistencyProof::new(37, leaves.len() as u64);
            leaves.iter().for_each(|leaf| proof.push(*leaf));
            let request = CosignRequest {
                earlier: 37,
                proof: proof.finish(),
                later: key.sign(&later),
            };
            assert_eq!(CosignRequest::parse(&request.to_string()), Ok(request.clone()));
            request.goes_on_from(&kept)
        };
        assert_eq!(request(&leaves, at(&leaves)), Ok(()));
        let not = Err(CheckpointError::NotConsistent { earlier: 37 });
        let mut rewritten = leaves.clone();
        rewritten[5] = merkle::leaf(b"less");
        assert_eq!(request(&rewritten, at(&rewritten)), not);
        assert_eq!(request(&leaves[..20], at(&leaves[..20])), not, "the tail was cut");
        let month = Checkpoint {
            closed: Some(AnchoredClose {
                month: "2026-11".parse().unwrap(),
                sha256: Digest::of(&[b"another month"]),
            }),
            ..at(&leaves)
        };
        assert_eq!(request(&leaves, month), not, "a closed month is another");
    }
}

//! The hash chain: what of a row is hashed, and how.
//!
//! `leaf = SHA-256(0x00 ‖ canonical row)`, as a leaf of RFC 6962, section 2.1, and a Merkle tree ([`crate::merkle`]) is
//! built over the same leaves; `hash = SHA-256(0x01 ‖ hash of the row before ‖ leaf)`. The canonical row is JSON with sorted keys
//! and no white space, numbers as strings, and holds the row's number, so that a row cannot change its place.

use crate::digest::Digest;
use crate::merkle;
use serde::{Serialize, Serializer};

/// The version of the canonical form that is written today.
pub(super) const FORM: i64 = 1;

fn as_string<S: Serializer>(n: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(itoa::Buffer::new().format(*n))
}

/// A row as it is hashed. The fields stand in the order of their keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CanonicalRow<'a> {
    pub(super) activity: &'a str,
    pub(super) activity_reason: &'a str,
    pub(super) allocation: Option<&'a str>,
    pub(super) cluster: &'a str,
    #[serde(serialize_with = "as_string")]
    pub(super) end: i64,
    pub(super) evidence: &'a str,
    #[serde(serialize_with = "as_string")]
    pub(super) form: i64,
    pub(super) meter: &'a str,
    pub(super) native_key: &'a str,
    pub(super) person: Option<&'a str>,
    pub(super) quantity: &'a str,
    #[serde(serialize_with = "as_string")]
    pub(super) received: i64,
    #[serde(serialize_with = "as_string")]
    pub(super) revision: i64,
    #[serde(serialize_with = "as_string")]
    pub(super) seq: i64,
    pub(super) source: &'a str,
    #[serde(serialize_with = "as_string")]
    pub(super) start: i64,
    pub(super) tenant: &'a str,
}

impl CanonicalRow<'_> {
    /// The row's hash, after the hash of the row before it.
    pub(super) fn hash(&self, before: Digest) -> Result<Digest, serde_json::Error> {
        self.leaf().map(|leaf| after(before, leaf))
    }

    /// The row as a leaf of the tree.
    pub(super) fn leaf(&self) -> Result<Digest, serde_json::Error> {
        // Most rows are shorter: no row makes it grow step by step.
        let mut canonical = Vec::with_capacity(1_024);
        serde_json::to_writer(&mut canonical, self)?;
        Ok(merkle::leaf(&canonical))
    }
}

/// A row's hash, from that of the row before it and its leaf.
pub(super) fn after(before: Digest, leaf: Digest) -> Digest {
    Digest::of(&[&[0x01], &before.0, &leaf.0])
}

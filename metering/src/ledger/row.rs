//! A row of `usage_record`, read as it stands.

use super::chain::CanonicalRow;
use super::database::{DatabaseError, Stored};
use crate::digest::Digest;
use crate::meter::parse_meter;
use crate::record::{RecordKey, UsageRecord, ValidRecord};
use jiff::Timestamp;
use mesocentre_api::Activity;

/// The columns, in the order in which [`Row::read`] takes them.
pub(super) const COLUMNS: &str = "r.seq, r.form, r.source, r.cluster, r.native_key, r.meter, r.revision, r.tenant, \
    r.allocation, r.person, r.activity, r.activity_reason, r.quantity, r.start_ns, r.end_ns, r.evidence, \
    r.received_ns, r.hash";

/// A row, borrowed from the database's own.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) seq: i64,
    pub(super) form: i64,
    pub(super) source: &'a str,
    pub(super) cluster: &'a str,
    pub(super) native_key: &'a str,
    pub(super) meter: &'a str,
    pub(super) revision: i64,
    pub(super) tenant: &'a str,
    pub(super) allocation: Option<&'a str>,
    pub(super) person: Option<&'a str>,
    pub(super) activity: &'a str,
    pub(super) activity_reason: &'a str,
    pub(super) quantity: &'a str,
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    pub(super) evidence: &'a str,
    pub(super) received_ns: i64,
    pub(super) hash: &'a [u8],
}

impl<'a> Row<'a> {
    pub(super) fn read(row: &'a Stored) -> Result<Self, DatabaseError> {
        Ok(Self {
            seq: row.get(0)?,
            form: row.get(1)?,
            source: row.get(2)?,
            cluster: row.get(3)?,
            native_key: row.get(4)?,
            meter: row.get(5)?,
            revision: row.get(6)?,
            tenant: row.get(7)?,
            allocation: row.get(8)?,
            person: row.get(9)?,
            activity: row.get(10)?,
            activity_reason: row.get(11)?,
            quantity: row.get(12)?,
            start_ns: row.get(13)?,
            end_ns: row.get(14)?,
            evidence: row.get(15)?,
            received_ns: row.get(16)?,
            hash: row.get(17)?,
        })
    }

    pub(super) fn canonical(&self) -> CanonicalRow<'a> {
        CanonicalRow {
            activity: self.activity,
            activity_reason: self.activity_reason,
            allocation: self.allocation,
            cluster: self.cluster,
            end: self.end_ns,
            evidence: self.evidence,
            form: self.form,
            meter: self.meter,
            native_key: self.native_key,
            person: self.person,
            quantity: self.quantity,
            received: self.received_ns,
            revision: self.revision,
            seq: self.seq,
            source: self.source,
            start: self.start_ns,
            tenant: self.tenant,
        }
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        Digest::from_bytes(self.hash)
    }

    /// The record; its `user` is the pseudonym. Else what is wrong with it.
    pub(super) fn record(&self) -> Result<ValidRecord, String> {
        let instant = |ns: i64| Timestamp::from_nanosecond(i128::from(ns)).map_err(|e| e.to_string());
        let record = UsageRecord {
            key: RecordKey {
                source: self.source.to_owned(),
                cluster: self.cluster.to_owned(),
                native_key: self.native_key.to_owned(),
                meter: parse_meter(self.meter)
                    .ok_or_else(|| format!("no meter is called {:?}", self.meter))?,
                revision: u32::try_from(self.revision).map_err(|e| e.to_string())?,
            },
            tenant: self.tenant.to_owned(),
            allocation: self.allocation.map(str::to_owned),
            user: self.person.map(str::to_owned),
            activity: [Activity::Economic, Activity::NonEconomic]
                .into_iter()
                .find(|activity| activity.as_str() == self.activity)
                .ok_or_else(|| format!("no activity class is called {:?}", self.activity))?,
            activity_reason: self.activity_reason.to_owned(),
            quantity: self
                .quantity
                .parse()
                .map_err(|_| format!("its quantity is {:?}", self.quantity))?,
            start: instant(self.start_ns)?,
            end: instant(self.end_ns)?,
            evidence: serde_json::from_str(self.evidence).map_err(|e| format!("its evidence: {e}"))?,
        };
        ValidRecord::try_from(record).map_err(|fault| fault.to_string())
    }
}

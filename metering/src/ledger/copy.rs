//! From one database to another: every row as it is, with its hash, in one transaction of the target.
//!
//! The target must be new. A copy is of one moment, whoever writes meanwhile: a backup. Who means to go on with it instead
//! says so, and then what was added to the source meanwhile is not lost silently: its head is read again at the end, and a
//! copy that is behind it is undone.

use super::database::{DatabaseError, Session, Stored, Value, insert, query};
use super::head_file::HeadFile;
use super::{Head, Ledger, LedgerError, months};
use std::collections::BTreeSet;

/// What a copy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be kept: the source goes on.
    Backup,
    /// To go on with in its place: nobody may write to the source any more.
    Move,
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The end of the chain, here and there.
    pub head: Head,
    /// How many rows of each table, in the order in which they were written.
    pub rows: Vec<(&'static str, u64)>,
}

/// Why a ledger is not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the two.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Something is there.
    #[error(
        "the ledger {target} holds rows in its table {table} already: a ledger is copied to a new one, and nothing was written"
    )]
    NotNew {
        /// The target.
        target: String,
        /// Its table.
        table: &'static str,
    },
    /// The source went on.
    #[error(
        "the ledger {source_ledger} was written to while it was copied: stop the operator that writes to it, and copy it again; nothing was written"
    )]
    WentOn {
        /// The source.
        source_ledger: String,
    },
}

#[derive(Clone, Copy)]
enum Column {
    Integer(&'static str),
    Text(&'static str),
    Bytes(&'static str),
}

use Column::{Bytes, Integer, Text};

struct Table {
    name: &'static str,
    columns: &'static [Column],
    order: &'static str,
}

/// All that a ledger is, in an order in which its guards take it. `usage_key` is made by PostgreSQL itself.
const TABLES: [Table; 10] = [
    Table {
        name: "usage_record",
        columns: &[
            Integer("seq"),
            Integer("form"),
            Text("source"),
            Text("cluster"),
            Text("native_key"),
            Text("meter"),
            Integer("revision"),
            Text("tenant"),
            Text("allocation"),
            Text("person"),
            Text("activity"),
            Text("activity_reason"),
            Text("quantity"),
            Integer("start_ns"),
            Integer("end_ns"),
            Text("evidence"),
            Integer("received_ns"),
            Bytes("hash"),
        ],
        order: "seq",
    },
    Table {
        name: "quarantine",
        columns: &[
            Integer("id"),
            Bytes("digest"),
            Text("reason"),
            Text("message"),
            Text("body"),
            Integer("received_ns"),
        ],
        order: "id",
    },
    Table {
        name: "closed_month",
        columns: &[
            Text("month"),
            Text("time_zone"),
            Integer("after_seq"),
            Integer("up_to_seq"),
            Bytes("head"),
            Bytes("basis"),
            Bytes("statements"),
            Bytes("sha256"),
            Integer("closed_ns"),
        ],
        order: "month",
    },
    Table {
        name: "invoice",
        columns: &[
            Integer("place"),
            Text("series"),
            Integer("seq"),
            Text("number"),
            Text("claim"),
            Text("tenant"),
            Text("month"),
            Text("corrects"),
            Text("issued_on"),
            Bytes("draft"),
            Bytes("document"),
            Bytes("hash"),
        ],
        order: "place",
    },
    Table {
        name: "invoice_payment",
        columns: &[Text("number"), Text("reference"), Text("cents"), Text("paid_on")],
        order: "number, reference",
    },
    Table {
        name: "person",
        columns: &[Text("pseudonym"), Text("name")],
        order: "pseudonym",
    },
    Table {
        name: "source_watermark",
        columns: &[Text("source"), Text("cluster"), Integer("through_ns")],
        order: "source, cluster",
    },
    Table {
        name: "unsettled",
        columns: &[
            Text("source"),
            Text("cluster"),
            Text("what"),
            Text("why"),
            Integer("read_from_ns"),
            Integer("found_ns"),
            Text("waived_in"),
        ],
        order: "source, cluster, what",
    },
    Table {
        name: "holding",
        columns: &[
            Text("source"),
            Text("cluster"),
            Text("id"),
            Text("body"),
            Integer("metered_ns"),
        ],
        order: "source, cluster, id",
    },
    Table {
        name: "look",
        columns: &[Text("source"), Text("cluster"), Integer("at_ns")],
        order: "source, cluster",
    },
];

impl Table {
    fn names(&self) -> String {
        let names: Vec<&str> = self
            .columns
            .iter()
            .map(|(Integer(name) | Text(name) | Bytes(name))| *name)
            .collect();
        names.join(", ")
    }

    /// A row's values.
    fn held(&self, row: &Stored) -> Result<Vec<Held>, DatabaseError> {
        let values = self.columns.iter().enumerate().map(|(place, column)| {
            Ok(match column {
                Integer(_) => Held::Integer(row.get(place)?),
                Text(_) => Held::Text(row.get(place)?),
                Bytes(_) => Held::Bytes(row.get(place)?),
            })
        });
        values.collect()
    }
}

/// A value, taken out of its row.
enum Held {
    Integer(i64),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

impl Held {
    fn as_value(&self) -> Value<'_> {
        match self {
            Self::Integer(value) => (*value).into(),
            Self::Text(value) => value.as_deref().into(),
            Self::Bytes(value) => value.as_slice().into(),
        }
    }
}

/// Copies the ledger `from` to the new one `to`; `told` hears of the rows as they come: the table, and how many of it.
///
/// # Errors
/// [`CopyError`]; then nothing is in the target.
pub async fn copy(
    from: &Ledger,
    to: &Ledger,
    purpose: Purpose,
    mut told: impl FnMut(&'static str, u64),
) -> Result<Copied, CopyError> {
    let mut reading = from.reading("reading").await?;
    let mut writing = to.database.write().await.map_err(to.failed("writing to"))?;
    for table in &TABLES {
        // Its operator made its tables; whatever is in one of them is not ours to mix with.
        let is_there: bool = query(format!("SELECT EXISTS (SELECT 1 FROM {})", table.name))
            .only_value(&mut writing)
            .await
            .map_err(to.failed("reading"))?;
        if is_there {
            return Err(CopyError::NotNew {
                target: to.url().to_string(),
                table: table.name,
            });
        }
    }
    let mut rows = Vec::with_capacity(TABLES.len());
    let mut known_months = BTreeSet::new();
    for table in &TABLES {
        let mut count = 0;
        let asked = format!(
            "SELECT {} FROM {} ORDER BY {}",
            table.names(),
            table.name,
            table.order
        );
        let mut there = query(asked)
            .some_rows(&mut reading)
            .await
            .map_err(from.failed("reading"))?;
        while let Some(some) = there.next().await.map_err(from.failed("reading"))? {
            let held = some
                .iter()
                .map(|row| table.held(row))
                .collect::<Result<Vec<_>, _>>()
                .map_err(from.failed("reading"))?;
            count += u64::try_from(held.len()).unwrap_or(0);
            write(table, held, &mut writing, &mut known_months)
                .await
                .map_err(to.failed("writing to"))?;
            told(table.name, count);
        }
        drop(there);
        rows.push((table.name, count));
    }
    writing
        .number_the_quarantine_on()
        .await
        .map_err(to.failed("writing to"))?;
    let here = HeadFile::of(&mut reading).await.map_err(from.failed("reading"))?;
    let there = HeadFile::of(&mut writing).await.map_err(to.failed("reading"))?;
    reading.rollback().await.map_err(from.failed("reading"))?;
    let now = match purpose {
        Purpose::Backup => here,
        Purpose::Move => {
            let mut now = from.reading("reading").await?;
            HeadFile::of(&mut now).await.map_err(from.failed("reading"))?
        }
    };
    if here != there || now != here {
        return Err(CopyError::WentOn {
            source_ledger: from.url().to_string(),
        });
    }
    writing.commit().await.map_err(to.failed("committing to"))?;
    to.anchor(there).await?;
    Ok(Copied {
        head: Head {
            seq: there.seq,
            hash: there.hash,
        },
        rows,
    })
}

async fn write(
    table: &Table,
    rows: Vec<Vec<Held>>,
    writing: &mut Session,
    known_months: &mut BTreeSet<jiff::civil::Date>,
) -> Result<(), DatabaseError> {
    if table.name == "usage_record" {
        let end = table
            .columns
            .iter()
            .position(|column| matches!(column, Integer("end_ns")));
        let ends = rows.iter().filter_map(|row| match row.get(end?) {
            Some(Held::Integer(end)) => Some(*end),
            _ => None,
        });
        months::make(writing, ends, known_months).await?;
    }
    let into = format!("{} ({})", table.name, table.names());
    insert(writing, &into, rows, |row| {
        row.iter().map(Held::as_value).collect()
    })
    .await
}

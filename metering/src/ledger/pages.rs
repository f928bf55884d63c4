//! Rows of usage, many at a time.
//!
//! Of a file, one thread reads rows, page by page, while another goes through the page before: a page is all of its texts
//! in one, and where each of them ends. PostgreSQL's rows come a few at a time as they are. A row that cannot be read is
//! told as such, in its place.

use super::database::{DatabaseError, Session, Teller, query};
use super::row::{COLUMNS, Row};
use rusqlite::Connection;
use std::ops::ControlFlow;

/// Rows of a page: a quarter of a megabyte or so.
const PAGE: usize = 1_000;

/// In which order rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// That of the ledger.
    Ledger,
    /// As they are found: no order is promised.
    Any,
}

/// Which rows: a condition on `r`, made of constants of this crate, and what is bound in it.
pub(super) struct Rows<'a> {
    pub(super) condition: &'a str,
    pub(super) bounds: &'a [i64],
    pub(super) order: Order,
}

/// A row that cannot be read.
pub(super) struct Unread {
    /// Its number, where that can be.
    pub(super) seq: Option<i64>,
    pub(super) what: String,
}

impl Rows<'_> {
    /// Hands over each, until `take` has enough; then what it says.
    ///
    /// # Errors
    /// When the database cannot be read, or not any further.
    pub(super) async fn each<B>(
        &self,
        session: &mut Session,
        mut take: impl FnMut(Result<Row<'_>, Unread>) -> ControlFlow<B>,
    ) -> Result<Option<B>, DatabaseError> {
        let order = match self.order {
            Order::Ledger => "ORDER BY r.seq",
            Order::Any => "",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM usage_record r WHERE {} {order}",
            self.condition
        );
        if let Session::Sqlite(transaction) = session {
            let bounds = self.bounds.to_vec();
            let mut pages = transaction
                .tell(move |connection, teller| read(connection, &sql, &bounds, teller))
                .await?;
            while let Some(page) = pages.recv().await.transpose()? {
                if let ControlFlow::Break(said) = page.each(&mut take) {
                    return Ok(Some(said));
                }
            }
            return Ok(None);
        }
        let bound = self
            .bounds
            .iter()
            .fold(query(sql), |query, bound| query.bind(*bound));
        let mut rows = bound.some_rows(session).await?;
        while let Some(some) = rows.next().await? {
            for stored in &some {
                let row = Row::read(stored).map_err(|error| Unread {
                    seq: stored.get(0).ok(),
                    what: error.to_string(),
                });
                if let ControlFlow::Break(said) = take(row) {
                    return Ok(Some(said));
                }
            }
        }
        Ok(None)
    }
}

/// Tells the rows of a file, page by page, for as long as somebody listens.
fn read(
    connection: &Connection,
    sql: &str,
    bounds: &[i64],
    teller: &mut Teller<Page>,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(bounds))?;
    let mut page = Page::default();
    while let Some(row) = rows.next()? {
        page.push(row);
        if page.rows.len() == PAGE {
            let next = Page::with_room_of(&page);
            let full = std::mem::replace(&mut page, next);
            if !teller.say(full) {
                return Ok(());
            }
        }
    }
    teller.say(page);
    Ok(())
}

/// Rows of a file.
#[derive(Default)]
struct Page {
    /// All their texts, one after the other.
    texts: String,
    /// All their hashes.
    hashes: Vec<u8>,
    rows: Vec<Result<Packed, Unread>>,
}

/// A row of a page: its numbers, and how far each of its texts goes.
struct Packed {
    seq: i64,
    form: i64,
    revision: i64,
    start_ns: i64,
    end_ns: i64,
    received_ns: i64,
    from: Mark,
    texts: [Option<usize>; TEXTS.len()],
    to: Mark,
}

/// A place in the texts and in the hashes of a page.
#[derive(Clone, Copy)]
struct Mark {
    text: usize,
    hash: usize,
}

/// Which of the columns are texts.
const TEXTS: [usize; 11] = [2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 15];

impl Page {
    /// An empty one, for as much as another one holds.
    fn with_room_of(other: &Self) -> Self {
        Self {
            texts: String::with_capacity(other.texts.len() + other.texts.len() / 8),
            hashes: Vec::with_capacity(other.hashes.len()),
            rows: Vec::with_capacity(PAGE),
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            text: self.texts.len(),
            hash: self.hashes.len(),
        }
    }

    fn push(&mut self, row: &rusqlite::Row<'_>) {
        let from = self.mark();
        let packed = self.pack(from, row).map_err(|error| {
            self.texts.truncate(from.text);
            self.hashes.truncate(from.hash);
            Unread {
                seq: row.get(0).ok(),
                what: error.to_string(),
            }
        });
        self.rows.push(packed);
    }

    fn pack(&mut self, from: Mark, row: &rusqlite::Row<'_>) -> Result<Packed, rusqlite::Error> {
        let mut texts = [None; TEXTS.len()];
        for (end, place) in texts.iter_mut().zip(TEXTS) {
            if let Some(text) = row.get_ref(place)?.as_str_or_null()? {
                self.texts.push_str(text);
                *end = Some(self.texts.len());
            }
        }
        self.hashes.extend_from_slice(row.get_ref(17)?.as_blob()?);
        Ok(Packed {
            seq: row.get(0)?,
            form: row.get(1)?,
            revision: row.get(6)?,
            start_ns: row.get(13)?,
            end_ns: row.get(14)?,
            received_ns: row.get(16)?,
            from,
            texts,
            to: self.mark(),
        })
    }

    fn each<B>(self, mut take: impl FnMut(Result<Row<'_>, Unread>) -> ControlFlow<B>) -> ControlFlow<B> {
        let Self { texts, hashes, rows } = self;
        for packed in rows {
            let row = packed.and_then(|packed| {
                packed.row(&texts, &hashes).ok_or_else(|| Unread {
                    seq: Some(packed.seq),
                    what: "a text is missing in it".to_owned(),
                })
            });
            take(row)?;
        }
        ControlFlow::Continue(())
    }
}

impl Packed {
    /// None where a text is missing that every row has.
    fn row<'p>(&self, texts: &'p str, hashes: &'p [u8]) -> Option<Row<'p>> {
        let mut begin = self.from.text;
        let [
            source,
            cluster,
            native_key,
            meter,
            tenant,
            allocation,
            person,
            activity,
            activity_reason,
            quantity,
            evidence,
        ] = self.texts.map(|end| {
            let text = texts.get(begin..end?)?;
            begin = end?;
            Some(text)
        });
        Some(Row {
            seq: self.seq,
            form: self.form,
            source: source?,
            cluster: cluster?,
            native_key: native_key?,
            meter: meter?,
            revision: self.revision,
            tenant: tenant?,
            allocation,
            person,
            activity: activity?,
            activity_reason: activity_reason?,
            quantity: quantity?,
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            evidence: evidence?,
            received_ns: self.received_ns,
            hash: hashes.get(self.from.hash..self.to.hash)?,
        })
    }
}

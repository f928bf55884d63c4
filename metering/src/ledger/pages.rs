//! Rows of usage, many at a time.
//!
//! A row of SQLite's comes over from a thread of SQLite's own, with a copy of each of its 18 values, and that takes longer
//! than all that is done with it. So SQLite puts a page of rows into one text, as JSON, which is one value of one row.
//! The next page is made by that thread while this one is taken. PostgreSQL's rows come in a stream as they are. Where a
//! page cannot be read, something in it is damaged: from there on rows are read one by one, so that the row is named.

use super::database::{Session, query, while_waiting};
use super::row::{COLUMNS, Row};
use futures::TryStreamExt as _;
use futures::future::OptionFuture;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

/// Rows of a page: half a megabyte or so.
const PAGE: usize = 2_000;

/// In which order rows come. The first of the bounds is where they begin, so that a page is entered by the index where the
/// one before ended, and not again where the first began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// That of the ledger: the first bound is the row before the first.
    Ledger,
    /// By their end, where that helps to find them; no order is promised. The first bound is the least end.
    Time,
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

/// Where a page ended.
#[derive(Clone, Copy)]
struct Cursor {
    seq: i64,
    start_ns: i64,
    end_ns: i64,
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
    ) -> Result<Option<B>, sqlx::Error> {
        if matches!(session, Session::Postgres(_)) {
            return self.one_by_one(session, None, take).await;
        }
        let mut cursor = None;
        let mut text = self.page(session, None).await;
        loop {
            let Ok(page) = text.as_deref().map_err(drop).and_then(unpack) else {
                return self.one_by_one(session, cursor, take).await;
            };
            let next = page.last().filter(|_| page.len() == PAGE).map(Packed::cursor);
            let taken = || {
                page.iter().try_for_each(|packed| {
                    let hash = packed.hash();
                    take(Ok(packed.row(&hash)))
                })
            };
            let following = OptionFuture::from(next.map(|_| self.page(session, next)));
            match while_waiting(following, taken).await {
                (_, ControlFlow::Break(said)) => return Ok(Some(said)),
                (None, ControlFlow::Continue(())) => return Ok(None),
                (Some(page), ControlFlow::Continue(())) => (text, cursor) = (page, next),
            }
        }
    }

    /// The condition, and what goes on after a page; with its bounds.
    fn after(&self, cursor: Option<Cursor>) -> (String, Vec<i64>) {
        let mut bounds = self.bounds.to_vec();
        let condition = self.condition;
        let Some(cursor) = cursor else {
            return (format!("({condition})"), bounds);
        };
        let begins = match self.order {
            Order::Ledger => cursor.seq,
            Order::Time => cursor.end_ns,
        };
        if let Some(first) = bounds.first_mut() {
            *first = begins;
        }
        match self.order {
            Order::Ledger => (format!("({condition})"), bounds),
            Order::Time => {
                bounds.extend([cursor.end_ns, cursor.start_ns, cursor.seq]);
                (
                    format!("({condition}) AND (r.end_ns, r.start_ns, r.seq) > (?, ?, ?)"),
                    bounds,
                )
            }
        }
    }

    fn in_order(&self) -> &'static str {
        match self.order {
            Order::Ledger => "ORDER BY r.seq",
            Order::Time => "ORDER BY r.end_ns, r.start_ns, r.seq",
        }
    }

    async fn page(&self, session: &mut Session, cursor: Option<Cursor>) -> Result<String, sqlx::Error> {
        let (condition, bounds) = self.after(cursor);
        let order = self.in_order();
        let mut page = query(format!(
            "SELECT json_group_array(json_array(seq, form, source, cluster, native_key, meter, revision, tenant, allocation, \
             person, activity, activity_reason, quantity, start_ns, end_ns, evidence, received_ns, hex(hash))) \
             FROM (SELECT {COLUMNS} FROM usage_record r WHERE {condition} {order} LIMIT {PAGE})"
        ));
        for bound in bounds {
            page = page.bind(bound);
        }
        page.only_value(session).await
    }

    async fn one_by_one<B>(
        &self,
        session: &mut Session,
        cursor: Option<Cursor>,
        mut take: impl FnMut(Result<Row<'_>, Unread>) -> ControlFlow<B>,
    ) -> Result<Option<B>, sqlx::Error> {
        let (condition, bounds) = self.after(cursor);
        let order = match self.order {
            Order::Time if cursor.is_none() => "",
            _ => self.in_order(),
        };
        let mut rows = query(format!(
            "SELECT {COLUMNS} FROM usage_record r WHERE {condition} {order}"
        ));
        for bound in bounds {
            rows = rows.bind(bound);
        }
        let mut rows = rows.stream(session);
        while let Some(stored) = rows.try_next().await? {
            let row = Row::read(&stored).map_err(|error| Unread {
                seq: stored.get(0).ok(),
                what: error.to_string(),
            });
            if let ControlFlow::Break(said) = take(row) {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }
}

fn unpack(page: &str) -> Result<Vec<Packed<'_>>, ()> {
    serde_json::from_str(page).map_err(drop)
}

/// A row as a page holds it.
#[derive(Deserialize)]
struct Packed<'a>(
    i64,
    i64,
    #[serde(borrow)] Text<'a>,
    Text<'a>,
    Text<'a>,
    Text<'a>,
    i64,
    Text<'a>,
    Option<Text<'a>>,
    Option<Text<'a>>,
    Text<'a>,
    Text<'a>,
    Text<'a>,
    i64,
    i64,
    Text<'a>,
    i64,
    Text<'a>,
);

impl Packed<'_> {
    fn row<'r>(&'r self, hash: &'r [u8]) -> Row<'r> {
        Row {
            seq: self.0,
            form: self.1,
            source: &self.2.0,
            cluster: &self.3.0,
            native_key: &self.4.0,
            meter: &self.5.0,
            revision: self.6,
            tenant: &self.7.0,
            allocation: self.8.as_ref().map(|text| &*text.0),
            person: self.9.as_ref().map(|text| &*text.0),
            activity: &self.10.0,
            activity_reason: &self.11.0,
            quantity: &self.12.0,
            start_ns: self.13,
            end_ns: self.14,
            evidence: &self.15.0,
            received_ns: self.16,
            hash,
        }
    }

    /// From SQLite's hexadecimal digits.
    fn hash(&self) -> Vec<u8> {
        let digits = self.17.0.as_bytes();
        let value = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        };
        digits
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [high, low] => Some(value(*high)? << 4 | value(*low)?),
                _ => None,
            })
            .collect()
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            seq: self.0,
            start_ns: self.13,
            end_ns: self.14,
        }
    }
}

/// A text, borrowed from the page where nothing in it is escaped.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Either)
    }
}

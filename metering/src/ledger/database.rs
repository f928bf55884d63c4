//! The two databases that a ledger may be in, and one way to ask both.
//!
//! A statement is written once, in the SQL that SQLite and PostgreSQL share, with `?` where a value stands; where they
//! part, the module that asks says it for each. Everything happens in a [`Session`], a transaction: one that writes is
//! alone, one that reads sees all of the ledger as it was at one moment.

mod sqlite;

pub(super) use sqlite::Teller;

use super::url::LedgerUrl;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, poll};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query as BoundQuery;
use sqlx::{
    AssertSqlSafe, Connection as _, Decode, PgConnection, Postgres, Row as _, SqlSafeStr as _, Transaction,
    Type,
};
use std::borrow::Cow;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many statements a connection keeps prepared.
const STATEMENTS: usize = 16;

/// How long a connection to PostgreSQL may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most rows that come together, and about how many bytes of them: documents are large.
const CHUNK: usize = 1_000;
const CHUNK_BYTES: usize = 1 << 20;

/// Who writes to a ledger in PostgreSQL holds this advisory lock until its transaction ends: `mesoledg` in ASCII.
const WRITERS_LOCK: i64 = 0x6d65_736f_6c65_6467;

/// Why a database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file's.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The server's.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    /// A value that is not what was written there.
    #[error("{0}")]
    Value(String),
    /// A row that must be there is not.
    #[error("there is no such row")]
    NoRow,
    /// It was closed, or the thread that worked with it ended.
    #[error("the ledger is closed")]
    Closed,
}

impl DatabaseError {
    /// A value that cannot be read, or not be written.
    pub(super) fn value(what: impl std::fmt::Display) -> Self {
        Self::Value(what.to_string())
    }
}

impl From<tokio::task::JoinError> for DatabaseError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Closed
    }
}

/// Connections to a ledger.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(sqlite::File),
    Postgres(PgPool),
}

/// A transaction.
pub(super) enum Session {
    Sqlite(sqlite::Transaction),
    Postgres(Transaction<'static, Postgres>),
}

impl Database {
    /// To write and to read, its tables brought up to date.
    pub(super) async fn open(url: &LedgerUrl) -> Result<Self, OpenError> {
        Ok(match url {
            LedgerUrl::File(path) => Self::Sqlite(sqlite::File::open(path).await?),
            LedgerUrl::Server(server) => {
                let pool = postgres_pool(server.options()?).await?;
                sqlx::migrate!("migrations/postgres").run(&pool).await?;
                Self::Postgres(pool)
            }
        })
    }

    /// To read and for nothing else: what writes is refused by the database.
    pub(super) async fn open_to_read(url: &LedgerUrl) -> Result<Self, DatabaseError> {
        Ok(match url {
            LedgerUrl::File(path) => Self::Sqlite(sqlite::File::open_to_read(path)),
            LedgerUrl::Server(server) => {
                let options = server
                    .options()?
                    .options([("default_transaction_read_only", "on")]);
                Self::Postgres(postgres_pool(options).await?)
            }
        })
    }

    /// To write, alone: others wait until it ends.
    pub(super) async fn write(&self) -> Result<Session, DatabaseError> {
        Ok(match self {
            Self::Sqlite(file) => Session::Sqlite(file.write().await?),
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                // Each statement after this one sees what the writer before has committed.
                sqlx::query("SELECT pg_advisory_xact_lock($1)")
                    .bind(WRITERS_LOCK)
                    .execute(&mut *transaction)
                    .await?;
                Session::Postgres(transaction)
            }
        })
    }

    /// To read, beside who writes.
    pub(super) async fn read(&self) -> Result<Session, DatabaseError> {
        Ok(match self {
            Self::Sqlite(file) => Session::Sqlite(file.read().await?),
            Self::Postgres(pool) => Session::Postgres(
                pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await?,
            ),
        })
    }

    /// After what is under way.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Why a database is not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

async fn postgres_pool(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    let options = options
        .application_name("mesocentre")
        .statement_cache_capacity(STATEMENTS);
    // A pool tries again until its time is up, and then says no more than that: who cannot log in is told at once, and why.
    let first = tokio::time::timeout(PATIENCE, PgConnection::connect_with(&options));
    let first = first.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    first.close().await?;
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(PATIENCE)
        .connect_with(options)
        .await
}

/// The columns of a record's key.
pub(super) const KEY: [&str; 5] = ["source", "cluster", "native_key", "meter", "revision"];

/// Holds for the records `r` that no later revision took the place of, up to the record that is bound here. Few records are
/// ever revised: looking for a later one looks among those only.
pub(super) const LATEST: &str = "NOT EXISTS (SELECT 1 FROM usage_record n WHERE n.revision > 0 \
    AND n.source = r.source AND n.cluster = r.cluster AND n.native_key = r.native_key AND n.meter = r.meter \
    AND n.revision > r.revision AND n.seq <= ?)";

impl Session {
    /// Joins to each row of `from` the records `r` that have the same of these columns of the key, each looked up by an
    /// index.
    pub(super) fn records_of(&self, from: &str, columns: &[&str]) -> String {
        let same = |with: &str| {
            let pairs: Vec<String> = columns
                .iter()
                .map(|column| format!("{with}.{column} = {from}.{column}"))
                .collect();
            pairs.join(" AND ")
        };
        match self {
            // CROSS JOIN is SQLite's way to say: begin with what stands before it.
            Self::Sqlite(_) => format!("CROSS JOIN usage_record r ON {}", same("r")),
            // The months have no index over keys: the table beside them has one for all.
            Self::Postgres(_) => format!(
                "JOIN usage_key k ON {} JOIN usage_record r ON r.end_ns = k.end_ns AND r.seq = k.seq",
                same("k")
            ),
        }
    }

    /// The same as [`LATEST`], for who goes through most of a ledger.
    pub(super) fn latest_of_many(&self) -> &'static str {
        match self {
            // Those with a later revision are looked for once, by the index over revisions (the + keeps the numbers from
            // being searched instead), and each record among them by its number.
            Self::Sqlite(_) => {
                "r.seq NOT IN (SELECT o.seq FROM usage_record n CROSS JOIN usage_record o ON o.source = n.source \
                 AND o.cluster = n.cluster AND o.native_key = n.native_key AND o.meter = n.meter \
                 AND o.revision < n.revision WHERE n.revision > 0 AND +n.seq <= ?)"
            }
            // It hashes them by itself.
            Self::Postgres(_) => LATEST,
        }
    }

    /// The names of the triggers that are at work.
    pub(super) fn triggers_there(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'trigger'",
            Self::Postgres(_) => {
                "SELECT t.tgname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
                 WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND NOT c.relispartition \
                 AND pg_table_is_visible(c.oid)"
            }
        }
    }

    /// Triggers that only this database needs.
    pub(super) fn triggers_of_its_own(&self) -> &'static [&'static str] {
        match self {
            Self::Sqlite(_) => &[],
            Self::Postgres(_) => &["usage_record_refuses_truncate", "usage_key_refuses_change"],
        }
    }

    /// Asks for the first record that the table of keys does not know as it is; none where there is no such table.
    pub(super) fn records_without_their_key(&self) -> Option<&'static str> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(_) => Some(
                "SELECT min(r.seq) FROM usage_record r WHERE NOT EXISTS (SELECT 1 FROM usage_key k WHERE k.seq = r.seq \
                 AND k.end_ns = r.end_ns AND k.source = r.source AND k.cluster = r.cluster \
                 AND k.native_key = r.native_key AND k.meter = r.meter AND k.revision = r.revision)",
            ),
        }
    }

    /// The version of the tables that brought invoices: a ledger that an older operator wrote last has none.
    pub(super) fn version_with_invoices(&self) -> i64 {
        match self {
            Self::Sqlite(_) => 3,
            Self::Postgres(_) => 1,
        }
    }

    /// After rows of the quarantine came with their numbers: the next one of PostgreSQL's follows them. SQLite's does anyway.
    pub(super) async fn number_the_quarantine_on(&mut self) -> Result<(), DatabaseError> {
        if let Self::Postgres(_) = self {
            query(
                "SELECT setval(pg_get_serial_sequence('quarantine', 'id'), coalesce(max(id), 0) + 1, false) \
                 FROM quarantine",
            )
            .row(self)
            .await?;
        }
        Ok(())
    }

    /// Durable when it is answered.
    pub(super) async fn commit(self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(transaction) => transaction.end("COMMIT").await,
            Self::Postgres(transaction) => Ok(transaction.commit().await?),
        }
    }

    /// As if it had not been. One that is dropped is rolled back as well, a moment later.
    pub(super) async fn rollback(self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(transaction) => transaction.end("ROLLBACK").await,
            Self::Postgres(transaction) => Ok(transaction.rollback().await?),
        }
    }
}

/// A value of a statement.
pub(super) enum Value<'q> {
    Integer(i64),
    Text(Option<Cow<'q, str>>),
    Bytes(&'q [u8]),
    Flag(bool),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(value: &'q str) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(value)))
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(value: Option<&'q str>) -> Self {
        Self::Text(value.map(Cow::Borrowed))
    }
}

impl<'q> From<&'q [u8]> for Value<'q> {
    fn from(value: &'q [u8]) -> Self {
        Self::Bytes(value)
    }
}

/// A statement and its values.
pub(super) struct Query<'q> {
    sql: Cow<'static, str>,
    values: Vec<Value<'q>>,
}

/// The values of one column of several rows.
enum Column<'q> {
    Integers(Vec<i64>),
    Texts(Vec<Option<&'q str>>),
    Bytes(Vec<&'q [u8]>),
}

impl<'q> Column<'q> {
    /// Of this place in these rows.
    fn of(rows: &'q [Vec<Value<'q>>], place: usize) -> Self {
        let values = || rows.iter().filter_map(|row| row.get(place));
        // All rows of a statement are made by the same lines: each has in a place what the first has there.
        match values().next() {
            Some(Value::Text(_)) => Self::Texts(
                values()
                    .map(|value| match value {
                        Value::Text(text) => text.as_deref(),
                        _ => None,
                    })
                    .collect(),
            ),
            Some(Value::Bytes(_)) => Self::Bytes(
                values()
                    .map(|value| match value {
                        Value::Bytes(bytes) => *bytes,
                        _ => &[],
                    })
                    .collect(),
            ),
            _ => Self::Integers(
                values()
                    .map(|value| match value {
                        Value::Integer(value) => *value,
                        Value::Flag(value) => i64::from(*value),
                        _ => 0,
                    })
                    .collect(),
            ),
        }
    }

    fn array(&self) -> &'static str {
        match self {
            Self::Integers(_) => "?::bigint[]",
            Self::Texts(_) => "?::text[]",
            Self::Bytes(_) => "?::bytea[]",
        }
    }
}

/// The values of a row, in the order of a statement's marks.
pub(super) type ValuesOf<R> = for<'r> fn(&'r R) -> Vec<Value<'r>>;

/// How many rows go to the database together: enough that the way there does not count, few enough that there is work
/// beside it ([`while_waiting`]).
pub(super) fn rows_at_once(session: &Session) -> usize {
    match session {
        Session::Sqlite(_) => 1_000,
        Session::Postgres(_) => 2_500,
    }
}

/// PostgreSQL takes an array a column, where the rows stand in the statement. SQLite is asked for each row anew.
fn with_columns<'q>(
    before: &str,
    rows: &'q [Vec<Value<'q>>],
    after: &str,
) -> BoundQuery<'q, Postgres, PgArguments> {
    let places = rows.first().map_or(0, Vec::len);
    let columns: Vec<Column<'q>> = (0..places).map(|place| Column::of(rows, place)).collect();
    let arrays: Vec<&str> = columns.iter().map(Column::array).collect();
    let sql = numbered(&format!(
        "{before} SELECT * FROM UNNEST({}){after}",
        arrays.join(", ")
    ));
    let mut query = sqlx::query::<Postgres>(AssertSqlSafe(sql).into_sql_str());
    for column in columns {
        query = match column {
            Column::Integers(column) => query.bind(column),
            Column::Texts(column) => query.bind(column),
            Column::Bytes(column) => query.bind(column),
        };
    }
    query
}

/// Inserts rows into a table: `into` names its columns, each row's values stand in that order.
pub(super) async fn insert<R: Send + 'static>(
    session: &mut Session,
    into: &str,
    rows: Vec<R>,
    values: ValuesOf<R>,
) -> Result<(), DatabaseError> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    match session {
        Session::Sqlite(transaction) => {
            let marks = vec!["?"; values(first).len()].join(", ");
            let sql = format!("INSERT INTO {into} VALUES ({marks})");
            transaction
                .run(move |connection| {
                    let mut statement = connection.prepare_cached(&sql)?;
                    for row in &rows {
                        sqlite::bind(&mut statement, values(row))?;
                        statement.raw_execute()?;
                    }
                    Ok(())
                })
                .await
        }
        Session::Postgres(transaction) => {
            let rows: Vec<Vec<Value<'_>>> = rows.iter().map(values).collect();
            with_columns(&format!("INSERT INTO {into}"), &rows, "")
                .execute(&mut **transaction)
                .await?;
            Ok(())
        }
    }
}

/// Looks for a record of each key, and gives the keys back, and `selected` of those that are there, with the place of the
/// key, in no order. The values are those of [`KEY`].
pub(super) async fn look_up<R: Send + 'static>(
    session: &mut Session,
    selected: &str,
    keys: Vec<R>,
    values: ValuesOf<R>,
) -> Result<(Vec<R>, Vec<(usize, Stored)>), DatabaseError> {
    if keys.is_empty() {
        return Ok((keys, Vec::new()));
    }
    let by_key = session.records_of("asked", &KEY);
    match session {
        Session::Sqlite(transaction) => {
            let same = KEY.map(|column| format!("r.{column} = ?")).join(" AND ");
            let sql = format!("SELECT {selected} FROM usage_record r WHERE {same}");
            transaction
                .run(move |connection| {
                    let mut statement = connection.prepare_cached(&sql)?;
                    let mut found = Vec::new();
                    for (place, key) in keys.iter().enumerate() {
                        sqlite::bind(&mut statement, values(key))?;
                        let rows = sqlite::all(statement.raw_query())?;
                        found.extend(rows.into_iter().map(|row| (place, row)));
                    }
                    drop(statement);
                    Ok((keys, found))
                })
                .await
        }
        Session::Postgres(transaction) => {
            let asked: Vec<Vec<Value<'_>>> = (0..)
                .zip(keys.iter())
                .map(|(place, key)| {
                    let mut row = values(key);
                    row.push(Value::Integer(place));
                    row
                })
                .collect();
            let before = format!("WITH asked ({}, place) AS (", KEY.join(", "));
            let after = format!(") SELECT asked.place, {selected} FROM asked {by_key}");
            let found = with_columns(&before, &asked, &after)
                .fetch_all(&mut **transaction)
                .await?;
            drop(asked);
            let found: Result<_, DatabaseError> = found
                .into_iter()
                .map(|row| {
                    let place: i64 = row.try_get(0)?;
                    let place = usize::try_from(place).map_err(DatabaseError::value)?;
                    Ok((place, Stored::Postgres { row, skipped: 1 }))
                })
                .collect();
            Ok((keys, found?))
        }
    }
}

/// The rows that a statement gives for each of these texts, in no order; it ends with the column that is compared.
pub(super) async fn of_each(
    session: &mut Session,
    select: &'static str,
    texts: Vec<String>,
) -> Result<Vec<Stored>, DatabaseError> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    match session {
        Session::Sqlite(transaction) => {
            transaction
                .run(move |connection| {
                    let mut statement = connection.prepare_cached(&format!("{select} = ?"))?;
                    let mut found = Vec::new();
                    for text in texts {
                        found.extend(sqlite::all(statement.query([text])?)?);
                    }
                    Ok(found)
                })
                .await
        }
        Session::Postgres(transaction) => {
            let sql = AssertSqlSafe(format!("{select} = ANY($1)")).into_sql_str();
            let rows = sqlx::query::<Postgres>(sql)
                .bind(texts)
                .fetch_all(&mut **transaction)
                .await?;
            Ok(rows
                .into_iter()
                .map(|row| Stored::Postgres { row, skipped: 0 })
                .collect())
        }
    }
}

/// Asks, and works while the database, which is another thread or process, makes its answer.
pub(super) async fn while_waiting<A, W>(asked: impl Future<Output = A>, work: impl FnOnce() -> W) -> (A, W) {
    let mut asked = pin!(asked);
    // A future does nothing until it is polled: then the statement is on its way.
    let already = poll!(asked.as_mut());
    let worked = work();
    let answer = match already {
        Poll::Ready(answer) => answer,
        Poll::Pending => asked.await,
    };
    (answer, worked)
}

/// A statement that is made of constants of this crate: what comes from outside is bound to it.
pub(super) fn query<'q>(sql: impl Into<Cow<'static, str>>) -> Query<'q> {
    Query {
        sql: sql.into(),
        values: Vec::new(),
    }
}

impl<'q> Query<'q> {
    /// In place of the next `?`.
    pub(super) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    fn postgres(self) -> BoundQuery<'q, Postgres, PgArguments> {
        let sql = AssertSqlSafe(numbered(&self.sql)).into_sql_str();
        self.values
            .into_iter()
            .fold(sqlx::query::<Postgres>(sql), |query, value| match value {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
                Value::Flag(value) => query.bind(value),
            })
    }

    /// For another thread.
    fn owned(self) -> (Cow<'static, str>, Vec<rusqlite::types::Value>) {
        let values = self.values.into_iter().map(|value| match value {
            Value::Integer(value) => value.into(),
            Value::Text(value) => value.map(Cow::into_owned).into(),
            Value::Bytes(value) => value.to_vec().into(),
            Value::Flag(value) => value.into(),
        });
        (self.sql, values.collect())
    }

    /// How many rows it touched.
    pub(super) async fn execute(self, session: &mut Session) -> Result<u64, DatabaseError> {
        Ok(match session {
            Session::Sqlite(transaction) => {
                let (sql, values) = self.owned();
                let touched = transaction
                    .run(move |connection| {
                        let mut statement = connection.prepare_cached(&sql)?;
                        statement.execute(rusqlite::params_from_iter(values))
                    })
                    .await?;
                u64::try_from(touched).unwrap_or(0)
            }
            Session::Postgres(transaction) => {
                let done = self.postgres().execute(&mut **transaction).await?;
                done.rows_affected()
            }
        })
    }

    /// A few at a time, so that memory does not grow with their number.
    pub(super) async fn some_rows<'s>(self, session: &'s mut Session) -> Result<SomeRows<'s>, DatabaseError>
    where
        'q: 's,
    {
        Ok(match session {
            Session::Sqlite(transaction) => {
                let (sql, values) = self.owned();
                let rows = transaction.tell(move |connection, teller| {
                    let mut statement = connection.prepare_cached(&sql)?;
                    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                    let (mut chunk, mut bytes) = (Vec::new(), 0);
                    while let Some(row) = rows.next()? {
                        let row = sqlite::taken(row)?;
                        bytes += row.iter().map(sqlite::length).sum::<usize>();
                        chunk.push(Stored::Sqlite(row));
                        if chunk.len() == CHUNK || bytes >= CHUNK_BYTES {
                            bytes = 0;
                            if !teller.say(std::mem::take(&mut chunk)) {
                                return Ok(());
                            }
                        }
                    }
                    teller.say(chunk);
                    Ok(())
                });
                SomeRows::Sqlite(rows.await?)
            }
            Session::Postgres(transaction) => SomeRows::Postgres(
                self.postgres()
                    .fetch(&mut **transaction)
                    .map_ok(|row| Stored::Postgres { row, skipped: 0 })
                    .map_err(DatabaseError::from)
                    .try_chunks(CHUNK)
                    .map_err(|ended| ended.1)
                    .boxed(),
            ),
        })
    }

    /// All rows.
    pub(super) async fn rows(self, session: &mut Session) -> Result<Vec<Stored>, DatabaseError> {
        Ok(match session {
            Session::Sqlite(transaction) => {
                let (sql, values) = self.owned();
                transaction
                    .run(move |connection| {
                        let mut statement = connection.prepare_cached(&sql)?;
                        sqlite::all(statement.query(rusqlite::params_from_iter(values))?)
                    })
                    .await?
            }
            Session::Postgres(transaction) => {
                let rows = self.postgres().fetch_all(&mut **transaction).await?;
                rows.into_iter()
                    .map(|row| Stored::Postgres { row, skipped: 0 })
                    .collect()
            }
        })
    }

    /// The row, where there is one.
    pub(super) async fn row(self, session: &mut Session) -> Result<Option<Stored>, DatabaseError> {
        // Those who ask so ask for what is there once.
        Ok(self.rows(session).await?.into_iter().next())
    }

    /// The first column of the row, where there is one.
    pub(super) async fn value<T: OfBoth>(self, session: &mut Session) -> Result<Option<T>, DatabaseError> {
        self.row(session).await?.map(|row| row.get(0)).transpose()
    }

    /// The first column of the one row.
    pub(super) async fn only_value<T: OfBoth>(self, session: &mut Session) -> Result<T, DatabaseError> {
        self.value(session).await?.ok_or(DatabaseError::NoRow)
    }

    /// The first column of each row.
    pub(super) async fn values<T: OfBoth>(self, session: &mut Session) -> Result<Vec<T>, DatabaseError> {
        self.rows(session).await?.iter().map(|row| row.get(0)).collect()
    }
}

/// Rows that come a few at a time.
pub(super) enum SomeRows<'s> {
    Sqlite(mpsc::Receiver<Result<Vec<Stored>, DatabaseError>>),
    Postgres(BoxStream<'s, Result<Vec<Stored>, DatabaseError>>),
}

impl SomeRows<'_> {
    /// The next few; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Stored>>, DatabaseError> {
        match self {
            Self::Sqlite(rows) => rows.recv().await,
            Self::Postgres(rows) => rows.next().await,
        }
        .transpose()
    }
}

/// `$1`, `$2` … in place of each `?`. None of our statements holds one in a text of its own.
fn numbered(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len() + 16);
    for (place, part) in sql.split('?').enumerate() {
        if place > 0 {
            numbered.push('$');
            numbered.push_str(&place.to_string());
        }
        numbered.push_str(part);
    }
    numbered
}

/// A row.
pub(super) enum Stored {
    Sqlite(Vec<rusqlite::types::Value>),
    Postgres {
        row: PgRow,
        /// Columns before the first.
        skipped: usize,
    },
}

/// What both databases give, as a value of its own.
pub(super) trait OfBoth: for<'r> InBoth<'r> {}
impl<T: for<'r> InBoth<'r>> OfBoth for T {}

/// What both databases give, perhaps borrowed from the row.
pub(super) trait InBoth<'r>: sqlite::Held<'r> + Decode<'r, Postgres> + Type<Postgres> {}
impl<'r, T: sqlite::Held<'r> + Decode<'r, Postgres> + Type<Postgres>> InBoth<'r> for T {}

impl Stored {
    /// A column, by its place from 0.
    pub(super) fn get<'r, T: InBoth<'r>>(&'r self, place: usize) -> Result<T, DatabaseError> {
        match self {
            Self::Sqlite(row) => row.get(place).and_then(T::held).ok_or_else(|| {
                let there = row.get(place).map_or("nothing", sqlite::kind);
                DatabaseError::Value(format!("its column {} holds {there}", place + 1))
            }),
            Self::Postgres { row, skipped } => Ok(row.try_get(place + skipped)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn values_are_numbered_for_postgresql() {
        assert_eq!(numbered("SELECT a FROM t"), "SELECT a FROM t");
        assert_eq!(
            numbered("SELECT a FROM t WHERE b = ? AND c IN (?, ?)"),
            "SELECT a FROM t WHERE b = $1 AND c IN ($2, $3)"
        );
    }
}

//! The two databases that a ledger may be in, and one way to ask both.
//!
//! A statement is written once, in the SQL that SQLite and PostgreSQL share, with `?` where a value stands; where they
//! part, the module that asks says it for each. Everything happens in a [`Session`], a transaction: one that writes is
//! alone, one that reads sees all of the ledger as it was at one moment.

use super::url::LedgerUrl;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, poll};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query as BoundQuery;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, Connection as _, Decode, Error, PgConnection, Postgres, Row as _, SqlSafeStr as _, Sqlite,
    Transaction, Type,
};
use std::borrow::Cow;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Small on purpose: the operator's whole memory is small, and rows are read in order.
const PAGE_CACHE_KIB: &str = "-2000";

/// How many statements a connection keeps prepared.
const STATEMENTS: usize = 16;

/// How long a connection to PostgreSQL may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who writes to a ledger in PostgreSQL holds this advisory lock until its transaction ends: `mesoledg` in ASCII.
const WRITERS_LOCK: i64 = 0x6d65_736f_6c65_6467;

/// Connections to a ledger.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite {
        /// One connection: writers queue here and not at the file's lock.
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction.
pub(super) enum Session {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Database {
    /// To write and to read, its tables brought up to date.
    pub(super) async fn open(url: &LedgerUrl) -> Result<Self, OpenError> {
        let database = match url {
            LedgerUrl::File(path) => {
                let options = sqlite_options(path);
                let writer = SqlitePoolOptions::new()
                    .max_connections(1)
                    .connect_with(
                        options
                            .clone()
                            .journal_mode(SqliteJournalMode::Wal)
                            // With NORMAL a power cut takes back commits that were answered, and the file beside the
                            // ledger would then say that its tail was cut.
                            .synchronous(SqliteSynchronous::Full),
                    )
                    .await?;
                sqlx::migrate!("migrations/sqlite").run(&writer).await?;
                let readers = SqlitePoolOptions::new()
                    .min_connections(0)
                    .max_connections(2)
                    .connect_lazy_with(options.read_only(true));
                Self::Sqlite { writer, readers }
            }
            LedgerUrl::Server(server) => {
                let pool = postgres_pool(server.options()?).await?;
                sqlx::migrate!("migrations/postgres").run(&pool).await?;
                Self::Postgres(pool)
            }
        };
        Ok(database)
    }

    /// To read and for nothing else: what writes is refused by the database.
    pub(super) async fn open_to_read(url: &LedgerUrl) -> Result<Self, Error> {
        Ok(match url {
            LedgerUrl::File(path) => {
                let options = sqlite_options(path).read_only(true);
                let pool = |connections| SqlitePoolOptions::new().max_connections(connections);
                Self::Sqlite {
                    writer: pool(1).connect_lazy_with(options.clone()),
                    readers: pool(2).connect_lazy_with(options),
                }
            }
            LedgerUrl::Server(server) => {
                let options = server
                    .options()?
                    .options([("default_transaction_read_only", "on")]);
                Self::Postgres(postgres_pool(options).await?)
            }
        })
    }

    /// To write, alone: others wait until it ends.
    pub(super) async fn write(&self) -> Result<Session, Error> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Session::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
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
    pub(super) async fn read(&self) -> Result<Session, Error> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Session::Sqlite(readers.begin().await?),
            Self::Postgres(pool) => Session::Postgres(
                pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await?,
            ),
        })
    }

    /// After what is under way.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Why a database is not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(STATEMENTS)
        .pragma("cache_size", PAGE_CACHE_KIB)
}

async fn postgres_pool(options: PgConnectOptions) -> Result<PgPool, Error> {
    let options = options
        .application_name("mesocentre")
        .statement_cache_capacity(STATEMENTS);
    // A pool tries again until its time is up, and then says no more than that: who cannot log in is told at once, and why.
    let first = tokio::time::timeout(PATIENCE, PgConnection::connect_with(&options));
    let first = first.await.map_err(|_| Error::PoolTimedOut)??;
    first.close().await?;
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(PATIENCE)
        .connect_with(options)
        .await
}

/// The columns of a record's key.
pub(super) const KEY: [&str; 5] = ["source", "cluster", "native_key", "meter", "revision"];

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
    pub(super) async fn number_the_quarantine_on(&mut self) -> Result<(), Error> {
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
    pub(super) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }

    /// As if it had not been. One that is dropped is rolled back as well, a moment later.
    pub(super) async fn rollback(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await,
            Self::Postgres(transaction) => transaction.rollback().await,
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
    /// Of [`with_rows`] in PostgreSQL: the values of each column.
    columns: Vec<Column<'q>>,
}

/// The values of one column of several rows.
enum Column<'q> {
    Integers(Vec<i64>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<&'q [u8]>),
}

impl<'q> Column<'q> {
    fn beginning_with(value: Value<'q>) -> Self {
        match value {
            Value::Integer(value) => Self::Integers(vec![value]),
            Value::Flag(value) => Self::Integers(vec![i64::from(value)]),
            Value::Text(value) => Self::Texts(vec![value.map(Cow::into_owned)]),
            Value::Bytes(value) => Self::Bytes(vec![value]),
        }
    }

    fn push(&mut self, value: Value<'q>) {
        match (self, value) {
            (Self::Integers(column), Value::Integer(value)) => column.push(value),
            (Self::Integers(column), Value::Flag(value)) => column.push(i64::from(value)),
            (Self::Texts(column), Value::Text(value)) => column.push(value.map(Cow::into_owned)),
            (Self::Bytes(column), Value::Bytes(value)) => column.push(value),
            // All rows of a statement are made by the same lines.
            (_, _) => {}
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

/// How many rows [`with_rows`] takes at once: more would only grow a statement of SQLite's, which is made of a mark for each
/// value; PostgreSQL takes an array a column.
pub(super) fn rows_at_once(session: &Session) -> usize {
    match session {
        Session::Sqlite(_) => 250,
        Session::Postgres(_) => 2_500,
    }
}

/// A statement with rows of values between its beginning and its end, as a query that gives them.
pub(super) fn with_rows<'q>(
    session: &Session,
    before: &str,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = Value<'q>>>,
    after: &str,
) -> Query<'q> {
    match session {
        Session::Sqlite(_) => {
            let (mut marks, mut values) = (String::new(), Vec::new());
            for row in rows {
                let first = values.len();
                values.extend(row);
                marks.push_str(if marks.is_empty() { "(" } else { ", (" });
                marks.push_str(&vec!["?"; values.len() - first].join(", "));
                marks.push(')');
            }
            Query {
                sql: format!("{before} VALUES {marks}{after}").into(),
                values,
                columns: Vec::new(),
            }
        }
        Session::Postgres(_) => {
            let mut columns: Vec<Column<'q>> = Vec::new();
            for row in rows {
                for (place, value) in row.into_iter().enumerate() {
                    match columns.get_mut(place) {
                        Some(column) => column.push(value),
                        None => columns.push(Column::beginning_with(value)),
                    }
                }
            }
            let arrays: Vec<&str> = columns.iter().map(Column::array).collect();
            Query {
                sql: format!("{before} SELECT * FROM UNNEST({}){after}", arrays.join(", ")).into(),
                values: Vec::new(),
                columns,
            }
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
        columns: Vec::new(),
    }
}

/// The same statement with the values bound to it, for either database.
macro_rules! bound {
    ($database:ty, $sql:expr, $values:expr) => {{
        let mut query = sqlx::query::<$database>($sql);
        for value in $values {
            query = match value {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
                Value::Flag(value) => query.bind(value),
            };
        }
        query
    }};
}

impl<'q> Query<'q> {
    /// In place of the next `?`.
    pub(super) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    fn sqlite(self) -> BoundQuery<'q, Sqlite, SqliteArguments> {
        bound!(Sqlite, AssertSqlSafe(self.sql).into_sql_str(), self.values)
    }

    fn postgres(self) -> BoundQuery<'q, Postgres, PgArguments> {
        let mut query = bound!(
            Postgres,
            AssertSqlSafe(numbered(&self.sql)).into_sql_str(),
            self.values
        );
        for column in self.columns {
            query = match column {
                Column::Integers(column) => query.bind(column),
                Column::Texts(column) => query.bind(column),
                Column::Bytes(column) => query.bind(column),
            };
        }
        query
    }

    /// How many rows it touched.
    pub(super) async fn execute(self, session: &mut Session) -> Result<u64, Error> {
        Ok(match session {
            Session::Sqlite(tx) => self.sqlite().execute(&mut **tx).await?.rows_affected(),
            Session::Postgres(tx) => self.postgres().execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// One by one, so that memory does not grow with their number.
    pub(super) fn stream<'s>(self, session: &'s mut Session) -> BoxStream<'s, Result<Stored, Error>>
    where
        'q: 's,
    {
        match session {
            Session::Sqlite(tx) => self.sqlite().fetch(&mut **tx).map_ok(Stored::Sqlite).boxed(),
            Session::Postgres(tx) => self.postgres().fetch(&mut **tx).map_ok(Stored::Postgres).boxed(),
        }
    }

    /// All rows.
    pub(super) async fn rows(self, session: &mut Session) -> Result<Vec<Stored>, Error> {
        self.stream(session).try_collect().await
    }

    /// The row, where there is one.
    pub(super) async fn row(self, session: &mut Session) -> Result<Option<Stored>, Error> {
        Ok(match session {
            Session::Sqlite(tx) => self.sqlite().fetch_optional(&mut **tx).await?.map(Stored::Sqlite),
            Session::Postgres(tx) => self
                .postgres()
                .fetch_optional(&mut **tx)
                .await?
                .map(Stored::Postgres),
        })
    }

    /// The first column of the row, where there is one.
    pub(super) async fn value<T: OfBoth>(self, session: &mut Session) -> Result<Option<T>, Error> {
        self.row(session).await?.map(|row| row.get(0)).transpose()
    }

    /// The first column of the one row.
    pub(super) async fn only_value<T: OfBoth>(self, session: &mut Session) -> Result<T, Error> {
        self.value(session).await?.ok_or(Error::RowNotFound)
    }

    /// The first column of each row.
    pub(super) async fn values<T: OfBoth>(self, session: &mut Session) -> Result<Vec<T>, Error> {
        self.rows(session).await?.iter().map(|row| row.get(0)).collect()
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
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What both databases give, as a value of its own.
pub(super) trait OfBoth: for<'r> InBoth<'r> {}
impl<T: for<'r> InBoth<'r>> OfBoth for T {}

/// What both databases give, perhaps borrowed from the row.
pub(super) trait InBoth<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}
impl<'r, T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>> InBoth<'r> for T {}

impl Stored {
    /// A column, by its place from 0.
    pub(super) fn get<'r, T: InBoth<'r>>(&'r self, place: usize) -> Result<T, Error> {
        match self {
            Self::Sqlite(row) => row.try_get(place),
            Self::Postgres(row) => row.try_get(place),
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

//! A ledger in a file. SQLite is a library of this process, and its calls block: each piece of work runs on a thread that
//! may block, with the connection, which comes back with the answer.
//!
//! A transaction that is dropped before it ended is rolled back when its connection comes home, so a caller that goes
//! away in the middle leaves nothing half done.

use super::{DatabaseError, OpenError, Stored, Value};
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use rusqlite::{Connection, OpenFlags, Rows, Statement, ToSql};
use sqlx::migrate::{MigrateError, Migrator};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Small on purpose: the operator's whole memory is small, and rows are read in order.
const PAGE_CACHE_KIB: i64 = -2_000;

/// How long another process may hold the file's lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// Readers at once. There is one writer: writers queue here, and not at the file's lock.
const READERS: u32 = 2;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The connections to a file.
#[derive(Clone, Debug)]
pub(in super::super) struct File {
    writer: Arc<Pool>,
    readers: Arc<Pool>,
}

impl File {
    /// To write and to read, its tables brought up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, OpenError> {
        let writer = Pool::new(path, Access::Write, 1);
        let mut lease = Pool::lease(&writer).await?;
        tokio::task::spawn_blocking(move || lease.connection().map_err(OpenError::from).and_then(migrate))
            .await
            .map_err(DatabaseError::from)??;
        Ok(Self {
            writer,
            readers: Pool::new(path, Access::Read, READERS),
        })
    }

    /// To read and for nothing else. Nothing is opened until somebody reads.
    pub(super) fn open_to_read(path: &Path) -> Self {
        Self {
            writer: Pool::new(path, Access::Read, 1),
            readers: Pool::new(path, Access::Read, READERS),
        }
    }

    pub(super) async fn write(&self) -> Result<Transaction, DatabaseError> {
        Transaction::begin(&self.writer, "BEGIN IMMEDIATE").await
    }

    pub(super) async fn read(&self) -> Result<Transaction, DatabaseError> {
        Transaction::begin(&self.readers, "BEGIN").await
    }

    /// After what is under way. The last one to leave a file tidies its write-ahead log.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Connections that are open, and the right to have one.
#[derive(Debug)]
struct Pool {
    path: PathBuf,
    access: Access,
    most: u32,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    fn new(path: &Path, access: Access, most: u32) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            access,
            most,
            free: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1))),
            idle: Mutex::default(),
        })
    }

    async fn lease(pool: &Arc<Self>) -> Result<Lease, DatabaseError> {
        let permit = Arc::clone(&pool.free)
            .acquire_owned()
            .await
            .map_err(|_| DatabaseError::Closed)?;
        let idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Lease {
            connection: idle,
            pool: Arc::clone(pool),
            _permit: permit,
        })
    }

    async fn close(&self) {
        let all_back = self.free.acquire_many(self.most).await;
        self.free.close();
        drop(all_back);
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        // Writing the log back may take its time; when this process ends meanwhile, the next one does it.
        let _ = tokio::task::spawn_blocking(move || drop(idle)).await;
    }

    fn connect(&self) -> Result<Connection, rusqlite::Error> {
        let access = match self.access {
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        // A connection is on one thread at a time.
        let connection = Connection::open_with_flags(&self.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "cache_size", PAGE_CACHE_KIB)?;
        if self.access == Access::Write {
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            // With NORMAL a power cut takes back commits that were answered, and the file beside the ledger would then say
            // that its tail was cut.
            connection.pragma_update(None, "synchronous", "full")?;
        }
        Ok(connection)
    }
}

/// A connection for as long as somebody needs it.
struct Lease {
    connection: Option<Connection>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Opened at its first use.
    fn connection(&mut self) -> Result<&mut Connection, rusqlite::Error> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => Ok(none.insert(self.pool.connect()?)),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && (connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok())
        {
            let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(connection);
        }
    }
}

/// A transaction.
pub(in super::super) struct Transaction {
    connection: Whereabouts,
}

enum Whereabouts {
    Home(Lease),
    /// With a thread that works with it.
    Away(JoinHandle<Lease>),
    /// That thread did not come back.
    Lost,
}

impl Transaction {
    async fn begin(pool: &Arc<Pool>, how: &'static str) -> Result<Self, DatabaseError> {
        let mut transaction = Self {
            connection: Whereabouts::Home(Pool::lease(pool).await?),
        };
        transaction
            .run(move |connection| connection.execute_batch(how))
            .await?;
        Ok(transaction)
    }

    /// Lets a thread work with the connection; who needs it next waits until it is back.
    async fn lend(
        &mut self,
        work: impl FnOnce(Result<&mut Connection, rusqlite::Error>) + Send + 'static,
    ) -> Result<(), DatabaseError> {
        if let Whereabouts::Away(thread) = &mut self.connection {
            self.connection = thread.await.map_or(Whereabouts::Lost, Whereabouts::Home);
        }
        match std::mem::replace(&mut self.connection, Whereabouts::Lost) {
            Whereabouts::Home(mut lease) => {
                self.connection = Whereabouts::Away(tokio::task::spawn_blocking(move || {
                    work(lease.connection());
                    lease
                }));
                Ok(())
            }
            Whereabouts::Away(_) | Whereabouts::Lost => Err(DatabaseError::Closed),
        }
    }

    /// The answer to a piece of work.
    pub(in super::super) async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (answers, answer) = oneshot::channel();
        self.lend(move |connection| {
            // Nobody may wait for it any more.
            let _ = answers.send(connection.and_then(work));
        })
        .await?;
        Ok(answer.await.map_err(|_| DatabaseError::Closed)??)
    }

    /// What a piece of work says, bit by bit, a few bits ahead of who listens; it is told when nobody does any more.
    pub(in super::super) async fn tell<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Connection, &mut Teller<T>) -> Result<(), rusqlite::Error> + Send + 'static,
    ) -> Result<mpsc::Receiver<Result<T, DatabaseError>>, DatabaseError> {
        let (says, said) = mpsc::channel(2);
        self.lend(move |connection| {
            let mut teller = Teller(says);
            if let Err(error) = connection.and_then(|connection| work(connection, &mut teller)) {
                let _ = teller.0.blocking_send(Err(error.into()));
            }
        })
        .await?;
        Ok(said)
    }

    /// Ends it.
    pub(super) async fn end(mut self, how: &'static str) -> Result<(), DatabaseError> {
        self.run(move |connection| connection.execute_batch(how)).await
    }
}

/// Who listens to a piece of work.
pub(in super::super) struct Teller<T>(mpsc::Sender<Result<T, DatabaseError>>);

impl<T> Teller<T> {
    /// Whether somebody still listens.
    pub(in super::super) fn say(&mut self, what: T) -> bool {
        self.0.blocking_send(Ok(what)).is_ok()
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Flag(value) => ValueRef::Integer(i64::from(*value)),
            Self::Text(None) => ValueRef::Null,
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The values in place of the statement's marks.
pub(super) fn bind<'v>(
    statement: &mut Statement<'_>,
    values: impl IntoIterator<Item = Value<'v>>,
) -> Result<(), rusqlite::Error> {
    for (place, value) in values.into_iter().enumerate() {
        statement.raw_bind_parameter(place + 1, value)?;
    }
    Ok(())
}

/// The row that the statement stands at, taken out of it.
pub(super) fn taken(row: &rusqlite::Row<'_>) -> Result<Vec<Owned>, rusqlite::Error> {
    (0..row.as_ref().column_count())
        .map(|place| row.get(place))
        .collect()
}

/// All rows that a statement gives.
pub(super) fn all(mut rows: Rows<'_>) -> Result<Vec<Stored>, rusqlite::Error> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(Stored::Sqlite(taken(row)?));
    }
    Ok(all)
}

/// Runs the migrations that the file has not seen, all or none, and writes them down as sqlx does, which ran them once.
fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
         execution_time BIGINT NOT NULL)",
    )?;
    let seen: BTreeMap<i64, (bool, Vec<u8>)> = tx
        .prepare("SELECT version, success, checksum FROM _sqlx_migrations")?
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?
        .collect::<Result<_, _>>()?;
    if let Some(newer) = seen
        .keys()
        .find(|version| !MIGRATIONS.iter().any(|known| known.version == **version))
    {
        return Err(MigrateError::VersionMissing(*newer).into());
    }
    for migration in MIGRATIONS.iter() {
        match seen.get(&migration.version) {
            Some((false, _)) => return Err(MigrateError::Dirty(migration.version).into()),
            Some((true, checksum)) if *checksum != *migration.checksum => {
                return Err(MigrateError::VersionMismatch(migration.version).into());
            }
            Some((true, _)) => {}
            None => {
                let since = Instant::now();
                tx.execute_batch(migration.sql.as_str())?;
                tx.execute(
                    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (?1, ?2, TRUE, ?3, ?4)",
                    (
                        migration.version,
                        &*migration.description,
                        &*migration.checksum,
                        i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX),
                    ),
                )?;
            }
        }
    }
    Ok(tx.commit()?)
}

/// What a value can be read as.
pub(in super::super) trait Held<'r>: Sized {
    fn held(value: &'r Owned) -> Option<Self>;
}

/// How long its text or its bytes are.
pub(super) fn length(value: &Owned) -> usize {
    match value {
        Owned::Text(text) => text.len(),
        Owned::Blob(bytes) => bytes.len(),
        Owned::Null | Owned::Integer(_) | Owned::Real(_) => 0,
    }
}

/// What it is, in SQLite's words.
pub(super) fn kind(value: &Owned) -> &'static str {
    match value {
        Owned::Null => "NULL",
        Owned::Integer(_) => "an INTEGER",
        Owned::Real(_) => "a REAL",
        Owned::Text(_) => "a TEXT",
        Owned::Blob(_) => "a BLOB",
    }
}

impl Held<'_> for i64 {
    fn held(value: &Owned) -> Option<Self> {
        match value {
            Owned::Integer(value) => Some(*value),
            _ => None,
        }
    }
}

impl Held<'_> for bool {
    fn held(value: &Owned) -> Option<Self> {
        i64::held(value).map(|value| value != 0)
    }
}

impl<'r> Held<'r> for &'r str {
    fn held(value: &'r Owned) -> Option<Self> {
        match value {
            Owned::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Held<'_> for String {
    fn held(value: &Owned) -> Option<Self> {
        <&str>::held(value).map(str::to_owned)
    }
}

impl<'r> Held<'r> for &'r [u8] {
    fn held(value: &'r Owned) -> Option<Self> {
        match value {
            Owned::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl Held<'_> for Vec<u8> {
    fn held(value: &Owned) -> Option<Self> {
        <&[u8]>::held(value).map(<[u8]>::to_vec)
    }
}

impl<'r, T: Held<'r>> Held<'r> for Option<T> {
    fn held(value: &'r Owned) -> Option<Self> {
        match value {
            Owned::Null => Some(None),
            value => T::held(value).map(Some),
        }
    }
}

//! State: SQLite in WAL mode, one writer thread and a pool of readers.
//!
//! Everything the API speaks of is a *document*: one generic table behind the typed face of [`Resource`], so that
//! tenancy, filters, pages and totals exist once. Beside the documents: idempotency records, an outbox of
//! events, and a few settings. One transaction commits a mutation, its event and its idempotency record.
//!
//! One writer thread, because SQLite has one writer anyway: jobs queue in a channel instead of failing with
//! `SQLITE_BUSY`, and several waiting jobs never hold an async worker.

pub mod audit;
pub mod document;
pub mod feed;
pub mod idempotency;
pub mod lock;
pub mod log;
mod moving;
pub mod outbox;
pub mod page;
mod schema;
pub mod settings;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::{Notify, oneshot};

pub use document::{Column, Keys, Resource};
pub use moving::Moving;
pub use page::{Filter, Listing, Paging};

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A name, slug or external id is taken: the name of the unique index.
    #[error("unique index {0}")]
    Taken(String),
    /// The database file is of a newer emulator, or not ours.
    #[error("{0}")]
    Refused(String),
    /// SQLite failed.
    #[error("sqlite: {0}")]
    Sqlite(rusqlite::Error),
    /// A stored document could not be read or written as JSON.
    #[error("document: {0}")]
    Document(#[from] serde_json::Error),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if let rusqlite::Error::SqliteFailure(code, Some(text)) = &error
            && code.code == rusqlite::ErrorCode::ConstraintViolation
            && let Some(index) = text.strip_prefix("UNIQUE constraint failed: index '")
        {
            return Self::Taken(index.trim_end_matches('\'').to_owned());
        }
        Self::Sqlite(error)
    }
}

/// What a read sees: one consistent moment.
pub struct View<'c> {
    pub(crate) conn: &'c Connection,
}

/// A transaction that writes. It reads like a [`View`], its own writes included.
pub struct Tx<'c> {
    view: View<'c>,
    /// Whether events were written: streams are told when it has committed.
    emitted: Cell<bool>,
}

impl<'c> std::ops::Deref for Tx<'c> {
    type Target = View<'c>;
    fn deref(&self) -> &View<'c> {
        &self.view
    }
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

struct Inner {
    path: PathBuf,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    emitted: Arc<Notify>,
}

/// The handle; clones share one database. The last one to drop ends the writer thread.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens or makes the database, migrating an older one.
    ///
    /// # Errors
    /// [`StoreError::Refused`] leaves the file untouched.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut conn = Connection::open(path)?;
        schema::prepare(&mut conn, path)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    job(&mut conn);
                }
            })
            .map_err(|error| StoreError::Refused(format!("no writer thread: {error}")))?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                jobs: Mutex::new(Some(jobs)),
                writer: Mutex::new(Some(writer)),
                readers: Mutex::default(),
                emitted: Arc::default(),
            }),
        })
    }

    /// Runs `work` in one transaction: it commits when `work` is `Ok`, else nothing of it happened. The
    /// transaction goes on to its end when the caller goes away.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (done, wait) = oneshot::channel();
        let emitted = self.emitted();
        let job: Job = Box::new(move |conn| {
            let _ = done.send(transact(conn, &emitted, work));
        });
        if !self.enqueue(job) {
            return Err(StoreError::Closed.into());
        }
        wait.await.map_err(|_| E::from(StoreError::Closed))?
    }

    /// Runs `work` in a transaction after everything that was asked for before, and waits for nothing: for records of what
    /// has happened anyway. A failure is logged.
    pub fn submit(&self, work: impl FnOnce(&Tx<'_>) -> Result<(), StoreError> + Send + 'static) {
        let emitted = self.emitted();
        self.enqueue(Box::new(move |conn| {
            if let Err(error) = transact(conn, &emitted, work) {
                tracing::error!("a record could not be written: {error}");
            }
        }));
    }

    /// Waits until everything that was asked for before is written: a read that follows sees it.
    pub async fn caught_up(&self) {
        let (done, wait) = oneshot::channel();
        self.enqueue(Box::new(move |_| {
            let _ = done.send(());
        }));
        // Without a writer there is nothing to wait for.
        let _ = wait.await;
    }

    /// `false` when the store is shutting down.
    fn enqueue(&self, job: Job) -> bool {
        let jobs = self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }

    /// Wakes streams of events: a transaction that wrote some has committed.
    pub fn emitted(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.emitted)
    }

    /// Runs `work` on one consistent moment of the data, on a blocking thread.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, E> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || -> Result<T, E> {
            let mut conn = inner.reader()?;
            let result = match conn.transaction() {
                Ok(tx) => work(&View { conn: &tx }),
                Err(error) => Err(StoreError::from(error).into()),
            };
            inner.give_back(conn);
            result
        });
        task.await.map_err(|_| E::from(StoreError::Closed))?
    }
}

fn transact<T, E: From<StoreError>>(
    conn: &mut Connection,
    bell: &Notify,
    work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let tx =
        conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
    // A panic in `work` unwinds through here: the transaction rolls back and the writer thread goes on.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let tx = Tx { view: View { conn: &tx }, emitted: Cell::new(false) };
        work(&tx).map(|value| (value, tx.emitted.get()))
    }));
    match result {
        Ok(Ok((value, emitted))) => {
            tx.commit().map_err(StoreError::from)?;
            if emitted {
                bell.notify_waiters();
            }
            Ok(value)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            Err(StoreError::Refused("a transaction panicked and was rolled back".into()).into())
        }
    }
}

impl Inner {
    fn reader(&self) -> Result<Connection, StoreError> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(conn) = idle {
            return Ok(conn);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags)?;
        schema::tune(&conn)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    }

    fn give_back(&self, conn: Connection) {
        const IDLE_READERS: usize = 8;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < IDLE_READERS {
            readers.push(conn);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.jobs.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may be dropped by a job itself; a thread cannot wait for itself.
        if let Some(writer) = writer
            && writer.thread().id() != std::thread::current().id()
        {
            let _ = writer.join();
        }
    }
}

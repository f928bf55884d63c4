//! Where issued documents are kept as files: a folder, or a bucket of an S3-compatible store.
//!
//! ```text
//!  is it there, with which bytes? ─┬─ those that were delivered ─► nothing to do
//!                                  ├─ none ─► rendered, put whole, never over another    folder.rs, bucket.rs
//!                                  └─ others ─► left alone, and told of
//! ```
//!
//! What was delivered is never written over. One that is missing is written again; the same document renders to the same
//! bytes. A place that does not answer is asked again after a pause that grows, by whichever document comes next then: it
//! is not asked once for each.

mod bucket;
mod folder;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]
mod on_a_real_store;
mod settings;

pub use settings::InvoiceSettings;

use crate::controller::pause_after;
use crate::lock::locked;
use bucket::Bucket;
use folder::Folder;
use mesocentre_api::DeliveredFile;
use mesocentre_metering::Digest;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Where documents are kept, and since when it has not answered.
#[derive(Debug)]
pub struct Archive {
    place: Place,
    away: Mutex<Option<Away>>,
}

#[derive(Debug)]
enum Place {
    Folder(Folder),
    Bucket(Bucket),
}

/// A place that did not do what was asked of it.
#[derive(Debug)]
struct Away {
    /// How often it did not.
    times: u32,
    /// When it is asked again.
    until: Instant,
    why: String,
}

/// Why a file is not where it should be, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// A person has to see to it; it is looked at again with the document.
    Wrong(String),
    /// The place did not take it now; it is asked again in so long.
    Away(String, Duration),
}

/// What a file is called in a place, and what kind of file it is.
#[derive(Clone, Copy, Debug)]
pub struct FileName<'a> {
    /// One folder's name.
    pub folder: &'a str,
    /// Number and ending.
    pub name: &'a str,
    /// As RFC 9110 has it.
    pub media_type: &'static str,
}

/// Whether a file was put where there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Done,
    /// Somebody was faster; nothing was written.
    Taken,
}

/// One folder's or file's name, and nothing that leads elsewhere.
fn is_one_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
        && !name.starts_with('.')
}

impl Place {
    /// What is put into the status.
    fn key(&self, file: FileName<'_>) -> String {
        match self {
            Self::Folder(_) => format!("{}/{}", file.folder, file.name),
            Self::Bucket(bucket) => bucket.key(file),
        }
    }

    /// For sentences.
    fn shown(&self, file: FileName<'_>) -> String {
        match self {
            Self::Folder(folder) => folder.path(file).display().to_string(),
            Self::Bucket(bucket) => format!("{} in {bucket}", bucket.key(file)),
        }
    }

    /// The SHA-256 of what is there; none when nothing is.
    async fn held(&self, file: FileName<'_>) -> Result<Option<String>, String> {
        match self {
            Self::Folder(folder) => folder.held(file).await,
            Self::Bucket(bucket) => bucket.held(file).await,
        }
    }

    /// Whole or not at all, and never over another.
    async fn put(&self, file: FileName<'_>, bytes: Vec<u8>) -> Result<Put, String> {
        match self {
            Self::Folder(folder) => folder.put(file, bytes).await,
            Self::Bucket(bucket) => bucket.put(file, bytes).await,
        }
    }
}

impl Archive {
    fn new(place: Place) -> Self {
        Self {
            place,
            away: Mutex::default(),
        }
    }

    /// Sees to it that a file is there. It is rendered only when it is not there as it was delivered.
    ///
    /// # Errors
    /// Why not.
    pub async fn keep<Rendered>(
        &self,
        file: FileName<'_>,
        delivered: &[DeliveredFile],
        render: impl FnOnce() -> Rendered,
    ) -> Result<DeliveredFile, NotKept>
    where
        Rendered: Future<Output = Result<Vec<u8>, String>>,
    {
        if !is_one_name(file.folder) || !is_one_name(file.name) {
            return Err(NotKept::Wrong(format!(
                "{}/{} is no place for a file: write one folder's name into spec.folder of the series",
                file.folder, file.name
            )));
        }
        let path = self.place.key(file);
        let before = delivered.iter().find(|known| known.path == path);
        let there = self.asked(self.place.held(file)).await?;
        let sha256 = match (there, before) {
            (Some(there), Some(before)) if there == before.sha256 => there,
            (there, _) => {
                let bytes = render().await.map_err(NotKept::Wrong)?;
                let sha256 = Digest::of(&[&bytes]).to_string();
                let there = match there {
                    Some(there) => there,
                    None => self.put(file, bytes, &sha256).await?,
                };
                if there != sha256 {
                    return Err(NotKept::Wrong(format!(
                        "{} holds something else than the document: it is left alone; move it away, and the document is written again",
                        self.place.shown(file)
                    )));
                }
                sha256
            }
        };
        Ok(DeliveredFile { path, sha256 })
    }

    /// Gives the SHA-256 of what is there then: of these bytes, or of what somebody else put there meanwhile.
    async fn put(&self, file: FileName<'_>, bytes: Vec<u8>, sha256: &str) -> Result<String, NotKept> {
        if self.asked(self.place.put(file, bytes)).await? == Put::Done {
            return Ok(sha256.to_owned());
        }
        self.asked(async {
            self.place.held(file).await?.ok_or_else(|| {
                format!(
                    "{} was being written by somebody else; it is looked at again by itself",
                    self.place.shown(file)
                )
            })
        })
        .await
    }

    /// That the place did not answer a moment ago, and is not asked yet.
    pub fn away(&self) -> Option<NotKept> {
        let away = locked(&self.away);
        let away = away.as_ref()?;
        let pause = away.until.saturating_duration_since(Instant::now());
        (!pause.is_zero()).then(|| NotKept::Away(away.why.clone(), pause))
    }

    /// Asks the place, unless it did not answer a moment ago.
    async fn asked<T>(&self, ask: impl Future<Output = Result<T, String>>) -> Result<T, NotKept> {
        if let Some(away) = self.away() {
            return Err(away);
        }
        let answer = ask.await;
        let mut away = locked(&self.away);
        match answer {
            Ok(answer) => {
                if away.take().is_some() {
                    tracing::info!("documents are delivered again");
                }
                Ok(answer)
            }
            Err(why) => {
                let times = away.as_ref().map_or(0, |away| away.times.saturating_add(1));
                let pause = pause_after(times);
                if away.as_ref().is_none_or(|away| away.why != why) {
                    tracing::warn!("documents are not delivered: {why}");
                }
                *away = Some(Away {
                    times,
                    until: Instant::now() + pause,
                    why: why.clone(),
                });
                Err(NotKept::Away(why, pause))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "é", "a\0"] {
            assert!(!is_one_name(name), "{name:?}");
        }
        assert!(is_one_name("factures-2026") && is_one_name("F2026-000001"));
    }

    const FILE: FileName<'static> = FileName {
        folder: "factures",
        name: "F.pdf",
        media_type: "application/pdf",
    };

    async fn never() -> Result<Vec<u8>, String> {
        Err("it was rendered".into())
    }

    #[tokio::test]
    async fn a_file_that_goes_comes_back_and_one_that_was_changed_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(Place::Folder(Folder::new(root.path().into())));
        let first = async || Ok(b"first".to_vec());
        let file = archive.keep(FILE, &[], first).await.unwrap();
        assert_eq!(file.path, "factures/F.pdf");
        // What was delivered is not even rendered again; a newer rendering would not be it.
        let delivered = [file];
        archive.keep(FILE, &delivered, never).await.unwrap();
        let path = root.path().join("factures/F.pdf");
        std::fs::remove_file(&path).unwrap();
        archive.keep(FILE, &delivered, first).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        std::fs::write(&path, b"other").unwrap();
        let told = archive.keep(FILE, &delivered, first).await.unwrap_err();
        assert!(
            matches!(&told, NotKept::Wrong(why) if why.contains("is left alone")),
            "{told:?}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"other");
    }

    #[tokio::test]
    async fn a_place_that_does_not_answer_is_asked_again_after_a_pause_and_not_by_each_document() {
        let archive = Archive::new(Place::Folder(Folder::new("/nowhere".into())));
        let refused = || async { Err::<(), _>("gone".to_owned()) };
        assert_eq!(
            archive.asked(refused()).await,
            Err(NotKept::Away("gone".into(), pause_after(0)))
        );
        let unasked = archive.asked(async { Ok(()) }).await;
        assert!(matches!(unasked, Err(NotKept::Away(why, _)) if why == "gone"));
        tokio::time::sleep(pause_after(0)).await;
        assert_eq!(
            archive.asked(refused()).await,
            Err(NotKept::Away("gone".into(), pause_after(1)))
        );
        tokio::time::sleep(pause_after(1)).await;
        archive.asked(async { Ok(()) }).await.unwrap();
        assert_eq!(
            archive.asked(refused()).await,
            Err(NotKept::Away("gone".into(), pause_after(0)))
        );
    }
}

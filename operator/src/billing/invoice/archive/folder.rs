//! A folder of the operator's own: each series in a folder in it.

use super::{FileName, Put};
use mesocentre_metering::Digest;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self(root)
    }

    pub(super) fn path(&self, file: FileName<'_>) -> PathBuf {
        self.0.join(file.folder).join(file.name)
    }

    pub(super) async fn held(&self, file: FileName<'_>) -> Result<Option<String>, String> {
        aside(self.path(file), |path| match fs::read(path) {
            Ok(bytes) => Ok(Some(Digest::of(&[&bytes]).to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    pub(super) async fn put(&self, file: FileName<'_>, bytes: Vec<u8>) -> Result<Put, String> {
        aside(self.path(file), move |path| match write_new(path, &bytes) {
            Ok(()) => Ok(Put::Done),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Taken),
            Err(error) => Err(error),
        })
        .await
    }
}

/// A disk may take its time.
async fn aside<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(move || {
        work(&path).map_err(|error| {
            format!(
                "{} could not be read or written: {error}; it is tried again by itself",
                path.display()
            )
        })
    })
    .await
    .map_err(|error| format!("writing the files was cut off: {error}"))?
}

/// Whole or not at all, and on the disk when it returns. Another file of that name is not written over.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)?;
    let unfinished = directory.join(format!(".{}.unfinished", name.display()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A link fails where a rename would replace.
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    linked?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("factures");
        write_new(&directory.join("F.pdf"), b"first").unwrap();
        // What a killed process left.
        fs::write(directory.join(".G.pdf.unfinished"), b"half").unwrap();
        write_new(&directory.join("G.pdf"), b"second").unwrap();
        let error = write_new(&directory.join("F.pdf"), b"other").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(directory.join("F.pdf")).unwrap(), b"first");
        assert_eq!(fs::read(directory.join("G.pdf")).unwrap(), b"second");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    }
}

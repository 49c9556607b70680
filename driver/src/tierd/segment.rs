//! The segment: a file in `/dev/shm` that clients map by its name.
//!
//! It has a second, hidden name. A client that unlinks the first (CPython's resource tracker does so at the end of a process
//! that opened the segment with `SharedMemory`, before 3.13) takes nothing away: the first name is linked again from the second,
//! to the same bytes. A third file is locked for as long as the daemon lives, and tells a dead daemon's segment, which is
//! replaced, from a living one's, which is not.

use nix::fcntl::{OFlag, posix_fallocate};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use thiserror::Error;

/// How much is copied at a time where a segment is replaced.
const PIECE: usize = 1 << 20;

/// Why there is no segment.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// Its name is no name of a file.
    #[error("\"{0}\" names no shared memory: use 1 to 200 characters without '/', not beginning with '.'")]
    Name(String),
    /// A living daemon has it.
    #[error("{} belongs to a podlab tierd that is running; stop that one, or name another segment", .0.display())]
    InUse(PathBuf),
    /// Something is there that no podlab daemon left behind.
    #[error("{} is there, and no podlab tierd made it: if nobody needs it, remove it; else name another segment", .0.display())]
    Foreign(PathBuf),
    /// There is not so much memory.
    #[error("{} has no {bytes} bytes left: take a smaller segment, or mount it larger (docker: --shm-size, Kubernetes: an emptyDir of medium Memory)", .folder.display())]
    NoRoom {
        /// Where it should be.
        folder: PathBuf,
        /// How much was asked for.
        bytes: u64,
    },
    /// The system says no.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

/// What was found where clients look for the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there.
    Intact,
    /// It was not, and is again.
    Restored,
}

/// A segment, and the right to it. Dropped, it stays; [`Segment::remove`] takes it away.
#[derive(Debug)]
pub struct Segment {
    folder: PathBuf,
    name: String,
    bytes: u64,
    mode: u32,
    file: RwLock<File>,
    _lock: File,
}

impl Segment {
    /// Makes the segment `name` of so many bytes in `folder`, all of them reserved, in place of what a dead daemon left.
    ///
    /// # Errors
    /// Why there is none.
    pub fn create(folder: &Path, name: &str, bytes: u64, mode: u32) -> Result<Self, SegmentError> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(SegmentError::Name(name.to_owned()));
        }
        let lock = lock(&hidden(folder, name, "lock"), &folder.join(name))?;
        let path = folder.join(name);
        if let Ok(there) = fs::symlink_metadata(&path) {
            let spare = fs::symlink_metadata(hidden(folder, name, "spare"));
            if !spare.is_ok_and(|spare| (spare.dev(), spare.ino()) == (there.dev(), there.ino())) {
                return Err(SegmentError::Foreign(path));
            }
        }
        // What a dead daemon left goes before its memory is needed again.
        for stale in [&path, &hidden(folder, name, "spare")] {
            let _ = fs::remove_file(stale);
        }
        let file = allocate(folder, name, bytes, mode)?;
        let segment = Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            bytes,
            mode,
            file: RwLock::new(file),
            _lock: lock,
        };
        segment.publish().map_err(|error| SegmentError::Io { path, error })?;
        Ok(segment)
    }

    /// Where clients look for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn hidden(&self, what: &str) -> PathBuf {
        hidden(&self.folder, &self.name, what)
    }

    fn file(&self) -> RwLockReadGuard<'_, File> {
        self.file.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all bytes at `offset`.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        debug_assert!(offset + bytes.len() as u64 <= self.bytes, "inside the segment");
        self.file().write_all_at(bytes, offset)
    }

    /// Fills `bytes` from `offset`.
    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file().read_exact_at(bytes, offset)
    }

    /// Gives the newly made file, which has the name `.NAME.new`, both its names.
    fn publish(&self) -> io::Result<()> {
        let (new, spare) = (self.hidden("new"), self.hidden("spare"));
        remove_if_there(&spare)?;
        fs::hard_link(&new, &spare)?;
        fs::rename(&new, self.path())
    }

    /// Looks whether both names lead to the segment, and puts back what does not.
    ///
    /// # Errors
    /// Where that cannot be done, or somebody has changed its size: then what was in it is lost.
    pub(super) fn watch(&self) -> io::Result<Found> {
        let file = self.file();
        let own = file.metadata()?;
        if own.len() != self.bytes {
            return Err(io::Error::other(format!("somebody has made it {} bytes long", own.len())));
        }
        let leads_here =
            |path: &Path| fs::symlink_metadata(path).is_ok_and(|at| (at.dev(), at.ino()) == (own.dev(), own.ino()));
        let (path, spare, new) = (self.path(), self.hidden("spare"), self.hidden("new"));
        match (leads_here(&path), leads_here(&spare)) {
            (true, true) => return Ok(Found::Intact),
            (path_leads, spare_leads) if path_leads || spare_leads => {
                let (from, to) = if path_leads { (&path, &spare) } else { (&spare, &path) };
                remove_if_there(&new)?;
                fs::hard_link(from, &new)?;
                fs::rename(&new, to)?;
            }
            // A file without any name cannot get one again.
            _ => {
                drop(file);
                self.replace()?;
            }
        }
        Ok(Found::Restored)
    }

    /// Puts a new file with the same bytes in its place, as clients find it after a restart. Whoever reads or writes waits
    /// meanwhile; what was mapped before stays as it was. O(bytes).
    pub(super) fn replace(&self) -> io::Result<()> {
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        let new = allocate(&self.folder, &self.name, self.bytes, self.mode).map_err(io::Error::other)?;
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < self.bytes {
            let part = &mut piece[..(self.bytes - at).min(PIECE as u64) as usize];
            file.read_exact_at(part, at)?;
            new.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        self.publish()?;
        *file = new;
        Ok(())
    }

    /// Takes the segment away. Clients that have it mapped keep what they see.
    pub fn remove(&self) {
        let own = self.file().metadata().map(|own| (own.dev(), own.ino()));
        for path in [self.path(), self.hidden("spare")] {
            let there = fs::symlink_metadata(&path).map(|at| (at.dev(), at.ino()));
            // Somebody else's is none of our business.
            if matches!((&own, &there), (Ok(own), Ok(there)) if own == there) {
                let _ = fs::remove_file(&path);
            }
        }
        let _ = fs::remove_file(self.hidden("new"));
        // It is locked still: nobody else takes it for free before it is gone.
        let _ = fs::remove_file(self.hidden("lock"));
    }
}

fn hidden(folder: &Path, name: &str, what: &str) -> PathBuf {
    folder.join(format!(".{name}.{what}"))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Locks the file at `path`, which stands for the segment at `of`.
fn lock(path: &Path, of: &Path) -> Result<File, SegmentError> {
    let failed = |error: io::Error| SegmentError::Io { path: path.to_owned(), error };
    loop {
        let mut options = OpenOptions::new();
        // The folder is everybody's: what is a link there leads where its maker wants.
        options.read(true).write(true).create(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SegmentError::InUse(of.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Whoever had it before may have removed it between the two steps: then it stands for nothing.
        let (own, there) = (file.metadata().map_err(failed)?, fs::symlink_metadata(path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
            return Ok(file);
        }
    }
}

/// A file `.NAME.new` of so many bytes, none of which can be missing later.
fn allocate(folder: &Path, name: &str, bytes: u64, mode: u32) -> Result<File, SegmentError> {
    let path = hidden(folder, name, "new");
    let failed = |error: io::Error| SegmentError::Io { path: path.clone(), error };
    remove_if_there(&path).map_err(failed)?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
    // The process's umask has no say in who may read it.
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    let length = i64::try_from(bytes).map_err(|_| SegmentError::NoRoom { folder: folder.to_owned(), bytes })?;
    if let Err(error) = posix_fallocate(&file, 0, length) {
        let _ = fs::remove_file(&path);
        return Err(match error {
            nix::errno::Errno::ENOSPC | nix::errno::Errno::ENOMEM | nix::errno::Errno::EFBIG => {
                SegmentError::NoRoom { folder: folder.to_owned(), bytes }
            }
            other => failed(other.into()),
        });
    }
    Ok(file)
}

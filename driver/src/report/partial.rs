//! A folder that appears whole or not at all.
//!
//! What is written goes into a folder of another name first: beside the one asked for, or inside it where that is there
//! already and empty, since it may be a mount point or somebody's working directory, which no rename can replace. A
//! partial folder that is dropped goes away, and so do the parents made for it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A folder in the making.
#[derive(Debug)]
pub(crate) struct Partial {
    target: PathBuf,
    /// Where its files are written until it is published.
    folder: PathBuf,
    /// Whether the target is there already.
    inside: bool,
    /// Parents of the target that were made for it, outermost first.
    parents: Vec<PathBuf>,
    /// What of it is in its place.
    moved: Vec<PathBuf>,
    published: bool,
}

impl Partial {
    /// Begins the folder `target`.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn create(target: &Path) -> Result<Self, String> {
        let mut partial = Self {
            target: target.to_owned(),
            folder: PathBuf::new(),
            inside: is_empty_folder(target)?,
            parents: Vec::new(),
            moved: Vec::new(),
            published: false,
        };
        let Some(name) = target.file_name().or(partial.inside.then_some("".as_ref())) else {
            return Err("this names no folder".to_owned());
        };
        let place = if partial.inside { target.to_owned() } else { parent_of(target) };
        partial.create_parents(&place)?;
        let name = if partial.inside { String::new() } else { name.to_string_lossy().into_owned() };
        // A process that was killed may have had our number, and left its own behind.
        for attempt in 0..1000 {
            let folder = place.join(format!("{name}.partial-{}-{attempt}", std::process::id()));
            match fs::create_dir(&folder) {
                Ok(()) => {
                    partial.folder = folder;
                    return Ok(partial);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("cannot write into {}: {error}", place.display())),
            }
        }
        Err(format!("{} is full of partial folders; remove them", place.display()))
    }

    /// Where its files go.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts everything in its place.
    ///
    /// # Errors
    /// Where the disk refuses; then nothing is left behind.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        if self.inside {
            for entry in fs::read_dir(&self.folder)? {
                let entry = entry?;
                let place = self.target.join(entry.file_name());
                fs::rename(entry.path(), &place)?;
                self.moved.push(place);
            }
            fs::remove_dir(&self.folder)?;
        } else {
            fs::rename(&self.folder, &self.target)?;
        }
        self.published = true;
        Ok(())
    }

    fn create_parents(&mut self, place: &Path) -> Result<(), String> {
        let missing: Vec<&Path> = place.ancestors().take_while(|folder| !exists(folder)).collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
            self.parents.push(folder.to_owned());
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        // Nothing more can be done about what the disk does not let go of.
        for place in &self.moved {
            let _ = if place.is_dir() { fs::remove_dir_all(place) } else { fs::remove_file(place) };
        }
        if !self.folder.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        }
        for folder in self.parents.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Whether `target` is there, and empty.
fn is_empty_folder(target: &Path) -> Result<bool, String> {
    let found = match fs::metadata(target) {
        Ok(found) => found,
        Err(_) if fs::symlink_metadata(target).is_ok() => {
            return Err("it is a symbolic link that leads nowhere; name a new folder, or remove it".to_owned());
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(format!("it cannot be a folder: {error}")),
    };
    if !found.is_dir() {
        return Err("it exists and is not a folder; name a new one, or remove it".to_owned());
    }
    let mut entries = fs::read_dir(target).map_err(|error| format!("it cannot be read: {error}"))?;
    match entries.next() {
        None => Ok(true),
        Some(_) => Err("it exists and is not an empty folder; name a new one, or remove it".to_owned()),
    }
}

fn exists(folder: &Path) -> bool {
    folder.as_os_str().is_empty() || fs::symlink_metadata(folder).is_ok()
}

/// The folder that holds `target`.
fn parent_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

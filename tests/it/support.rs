//! What several themes need: the real data, the release binary, folders that go away.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of real traces and measurements; `None`, said once per asking test, where it is not there.
pub(crate) fn data(file: &str) -> Option<PathBuf> {
    let named = std::env::var_os("PODLAB_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = named.unwrap_or(beside).join(file);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("no {file}; name its folder in PODLAB_DATA"));
    None
}

/// Says that a test did not run, past the harness, which swallows what passing tests print.
pub(crate) fn skipped(why: &str) {
    use std::io::Write;
    let said = std::fs::OpenOptions::new()
        .append(true)
        .open("/dev/stderr")
        .and_then(|mut stderr| writeln!(stderr, "skipped: {why}"));
    if said.is_err() {
        println!("skipped: {why}");
    }
}

/// The conversation trace.
pub(crate) fn conversation() -> Option<PathBuf> {
    data("traces/mooncake_conversation_trace.jsonl")
}

/// A file of the project.
pub(crate) fn project(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

/// The release binary that `tests/run.sh` built; `None`, said, where the tests are run in another way.
pub(crate) fn podlab() -> Option<Command> {
    let Some(binary) = std::env::var_os("PODLAB_BIN") else {
        skipped("PODLAB_BIN names no binary; run tests/run.sh");
        return None;
    };
    Some(Command::new(binary))
}

/// What a command said.
pub(crate) fn said(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1))
}

/// A new empty folder that is removed when it goes out of scope.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A folder for the test of this name.
    pub(crate) fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the target folder can be written");
        Self(path)
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the target folder can be written");
        path
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in it.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names_below("")
    }

    /// The names in a folder below it.
    pub(crate) fn names_below(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join(folder)).expect("it is there");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

//! A log while requests are served: lines are made behind the desk's lock, so their order is that of the calls, and written by a
//! thread of their own, so that no request waits for a disk.

use super::line::{Line, Said, Told};
use super::set_up::SetUp;
use crate::failure::Failure;
use kvcache::Time;
use router::DeskConfig;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

/// Lines that wait for the disk at most. Where there would be more the log ends: what it holds up to there is still true.
const WAITING: usize = 1 << 16;

/// A log under way.
#[derive(Debug)]
pub(in crate::gateway) struct Log {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    fell_behind: bool,
}

impl Log {
    /// Begins a log in a new file.
    ///
    /// # Errors
    /// Where it cannot be made, or is there.
    pub(in crate::gateway) fn begin(path: &Path, config: &DeskConfig) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::Failed(format!("--decision-log {}: {error}; it takes the name of a new file", path.display()))
        };
        // Sessions and hashes of prompts are nobody else's business.
        let file =
            File::options().write(true).create_new(true).mode(0o600).open(path).map_err(|error| failed(&error))?;
        let first = serde_json::to_string(&SetUp::of(config)).map_err(|error| failed(&error))?;
        let (lines, waiting) = sync_channel(WAITING);
        let _ = lines.try_send(first); // it has room
        let writer = thread::Builder::new().name("decision-log".to_owned());
        let writer = writer.spawn(move || write(file, &waiting)).map_err(|error| failed(&error))?;
        Ok(Self { lines: Some(lines), writer: Some(writer), fell_behind: false })
    }

    /// A call and its answer.
    pub(in crate::gateway) fn note(&mut self, now: Time, told: Told, said: Option<Said>) {
        let Some(lines) = &self.lines else { return };
        let Ok(line) = serde_json::to_string(&Line { at: now.0, told, said }) else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = lines.try_send(line) {
            self.lines = None;
            self.fell_behind = true;
            let _ = writeln!(
                io::stderr(),
                "warning: the log of decisions ends here: its disk is full or does not keep up; serving goes on"
            );
        }
    }

    /// Waits until all is in the file.
    ///
    /// # Errors
    /// Where not all is.
    pub(in crate::gateway) fn end(mut self) -> Result<(), Failure> {
        self.lines = None;
        let written = self.writer.take().map(JoinHandle::join);
        match written {
            Some(Ok(Err(error))) => Err(Failure::Failed(format!("the log of decisions ends early: {error}"))),
            _ if self.fell_behind => {
                Err(Failure::Failed("the log of decisions ends early: the disk did not keep up".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

fn write(file: File, lines: &Receiver<String>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 16, file);
    while let Ok(line) = lines.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
            next = lines.try_recv().ok();
        }
        // Nothing waits: whoever looks now sees all.
        file.flush()?;
    }
    Ok(())
}

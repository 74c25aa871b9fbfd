//! A process's output, in unlinked files: it is available as soon as it is written, without pipes to drain.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek},
    process::{self, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// One stream of a process's output.
#[derive(Debug)]
pub(super) struct Output {
    /// Opened separately from the writer, so that each has its own offset.
    reader: Mutex<File>,
}

impl Output {
    /// A new stream, and the process's end of it.
    pub(super) fn new() -> io::Result<(Self, Stdio)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("fake-aws-lambda-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        let writer = OpenOptions::new().append(true).create_new(true).open(&path)?;
        let reader = File::open(&path);
        fs::remove_file(&path)?;
        Ok((Self { reader: Mutex::new(reader?) }, Stdio::from(writer)))
    }

    /// The lines so far, including an incomplete last line.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut bytes = Vec::new();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match reader.rewind().and_then(|()| reader.read_to_end(&mut bytes)) {
            Ok(_) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
            Err(error) => vec![format!("(cannot read the function's output: {error})")],
        }
    }
}

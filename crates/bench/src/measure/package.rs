//! The size of what is deployed.

use std::{fs, io::Write, path::Path};

use flate2::{Compression, write::DeflateEncoder};

use super::{Binaries, Measured};
use crate::figure::{Figure, Row, megabytes};

/// Where `sam build` leaves a directory for each function.
const SAM_BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.aws-sam/build");

/// The size of a zip of one file named `bootstrap` without the file: its header, its entry and the end of the directory.
const ZIP_OVERHEAD: u64 = 30 + 46 + 22 + 2 * "bootstrap".len() as u64;

/// Measures the zip of the release binary and, if there is one, that of the binary that SAM built.
pub fn measure(binaries: &Binaries) -> Measured {
    let (zip, binary) = zipped(&binaries.function)?;
    let (bare, _) = zipped(&binaries.bare)?;
    let mut figures = vec![Row::ZIP.compared(
        format!("{} ({} unpacked), bare {}", megabytes(zip), megabytes(binary), megabytes(bare)),
        zip <= 3_500_000,
    )];
    let built = fs::read_dir(SAM_BUILD).into_iter().flatten().flatten();
    for bootstrap in built.map(|entry| entry.path().join("bootstrap")).filter(|path| path.is_file()) {
        let (zip, binary) = zipped(&bootstrap)?;
        let size = format!("{} ({} unpacked)", megabytes(zip), megabytes(binary));
        figures.push(Figure::information("The same, built by `sam build`", size));
    }
    Ok(figures)
}

/// The size of a zip that contains the file, and the size of the file.
fn zipped(path: &Path) -> Result<(u64, u64), String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    let deflated = deflate.write_all(&bytes).and_then(|()| deflate.finish());
    let deflated = deflated.map_err(|error| format!("cannot compress `{}`: {error}", path.display()))?;
    Ok((deflated.len() as u64 + ZIP_OVERHEAD, bytes.len() as u64))
}

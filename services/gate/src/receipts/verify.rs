//! A gate's receipts looked over, without changing them.

use std::path::Path;

use lanyard_core::note::{Note, VerifyingKey};
use lanyard_core::receipt::{ReceiptChain, ReceiptOrigin, verify_batch_head};
use lanyard_env::Files;

use super::chain::{ChainFrame, is_torn};
use super::frames::FrameReader;
use super::segments::first_damage;
use super::store::{OpenError, bodies_dir, recent_dir};

/// Recomputes the chain in `dir` and verifies every signed head in it, and that bodies and recent checks of it are whole; returns
/// how many receipts it holds. An unfinished group at its end is what a crash leaves, or one that is being written.
///
/// # Errors
/// [`OpenError::Damaged`] with the end of the last group, or of the last body or check, that holds; [`OpenError::File`].
pub fn verify_chain(
    files: &dyn Files,
    dir: &Path,
    origin: &ReceiptOrigin,
    key: &VerifyingKey,
) -> Result<u64, OpenError> {
    let path = dir.join("chain");
    let Some(mut reader) = FrameReader::open(files, &path, 0, None)? else { return Ok(0) };
    let length = reader.end();
    let mut chain = ReceiptChain::start(origin);
    let (mut receipts, mut offset) = (0, 0);
    while let Some(payload) = reader.next()? {
        match ChainFrame::parse(payload) {
            Ok(ChainFrame::Entry(entry)) if chain.extend(&entry).is_ok() => {}
            Ok(ChainFrame::Head { hash, note }) if hash == chain.hash() => {
                let note = Note::parse(&note).ok();
                let head = note.and_then(|note| verify_batch_head(&note, origin, key).ok());
                if head.is_none() {
                    return Err(OpenError::Damaged { path, offset });
                }
                (receipts, offset) = (chain.sequence(), reader.offset());
            }
            _ => break,
        }
    }
    if length > offset && !is_torn(files, &path, offset, length - offset)? {
        return Err(OpenError::Damaged { path, offset });
    }
    for dir in [bodies_dir(dir), recent_dir(dir)] {
        if files.exists(&dir)?
            && let Some((path, offset)) = first_damage(files, &dir, receipts)?
        {
            return Err(OpenError::Damaged { path, offset });
        }
    }
    Ok(receipts)
}

//! Seeded randomness for what draws its own from the system: hash maps and the order in which `select!` looks.
//!
//! The standard library asks the C library's `getrandom`, which this module defines for the simulation's binary and its
//! tests. TLS has its own generator, which is not touched: its keys differ from run to run, its sizes do not.

use std::io::Read as _;
use std::sync::{Mutex, PoisonError};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

static SEEDED: Mutex<Option<ChaCha8Rng>> = Mutex::new(None);

/// From now on, `getrandom` of this process is a function of `seed`.
pub(crate) fn seed_system(seed: u64) {
    *SEEDED.lock().unwrap_or_else(PoisonError::into_inner) = Some(ChaCha8Rng::seed_from_u64(seed));
}

fn fill(bytes: &mut [u8]) -> bool {
    let mut seeded = SEEDED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rng) = seeded.as_mut() {
        rng.fill_bytes(bytes);
        return true;
    }
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes)).is_ok()
}

/// `getrandom(2)`.
///
/// # Safety
/// As the C library's: `buffer` has room for `length` bytes.
#[allow(unsafe_code, reason = "the signature is the C library's")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    if buffer.is_null() || length == 0 {
        return 0;
    }
    // SAFETY: the caller promises that there is room for `length` bytes, and nobody else holds them during the call.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    if fill(bytes) { isize::try_from(length).unwrap_or(-1) } else { -1 }
}

//! Sending a file's rows to a service while they are read.

use std::path::Path;

use futures::Stream;
use futures::channel::oneshot;

use crate::error::CliError;
use crate::table::TableError;

/// Why a file was not sent to its end.
type Stopped = oneshot::Receiver<CliError>;

/// Messages of up to `size` rows after a `first` one. If the file cannot be read to its end, or no longer has `expected`
/// rows, the stream never ends and the receiver hears why: dropping the call then undoes it.
pub(crate) fn messages<T: Send + 'static, M: Send + 'static>(
    first: M,
    path: &Path,
    rows: impl Iterator<Item = Result<(u64, T), TableError>> + Send + 'static,
    expected: u64,
    size: usize,
    message: impl Fn(Vec<(u64, T)>) -> M + Send + 'static,
) -> (impl Stream<Item = M> + Send + 'static, Stopped) {
    let (stop, stopped) = oneshot::channel();
    let changed = CliError::content(path, "was changed while it was read; start again");
    let state = (Some(first), rows, 0_u64, Some((stop, changed)), message);
    let stream = futures::stream::unfold(state, move |mut state| async move {
        let (first, rows, sent, stop, message) = &mut state;
        if let Some(first) = first.take() {
            return Some((first, state));
        }
        let chunk: Result<Vec<_>, TableError> = rows.by_ref().take(size).collect();
        let failed = match chunk {
            Ok(chunk) if !chunk.is_empty() => {
                *sent += chunk.len() as u64;
                let next = message(chunk);
                return Some((next, state));
            }
            Ok(_) if *sent == expected => return None,
            Ok(_) => None,
            Err(error) => Some(CliError::from(error)),
        };
        if let Some((stop, changed)) = stop.take() {
            // Nobody listens once the call is over.
            let _ = stop.send(failed.unwrap_or(changed));
        }
        std::future::pending().await
    });
    (stream, stopped)
}

/// The answer to a call that is fed by [`messages`], or why the file was not sent to its end.
pub(crate) async fn answered<T>(
    call: impl Future<Output = Result<T, CliError>>,
    stopped: Stopped,
) -> Result<T, CliError> {
    tokio::select! {
        answer = call => answer,
        Ok(failure) = stopped => Err(failure),
    }
}

//! Work that blocks: beside the tasks, or, in a simulation, in line with them.
//!
//! Threads make what happens depend on who is quicker. A simulation calls [`work_in_line`] on the one thread that runs
//! all of it; from then on nothing here leaves that thread, and time stands still while work is done.

use std::cell::Cell;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::executor::block_on;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

thread_local! {
    static IN_LINE: Cell<bool> = const { Cell::new(false) };
}

/// Has [`blocking`] and [`Worker::spawn`] run what they are given on the calling thread, from now on and for calls from
/// this thread: for simulations.
pub fn work_in_line() {
    IN_LINE.set(true);
}

/// Runs what blocks or computes for long beside the tasks. It begins at once and goes on to its end also if nobody
/// waits for it. The error means that it panicked, or that the runtime stops.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn blocking<T, F>(work: F) -> Blocking<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    Blocking(if IN_LINE.get() {
        State::Done(ready(Ok(work())))
    } else {
        State::Beside(spawn_blocking(work))
    })
}

/// The result of [`blocking`], once it is there.
#[must_use = "whether the work could be done shows in the result"]
pub struct Blocking<T>(State<T>);

enum State<T> {
    Beside(JoinHandle<T>),
    Done(Ready<Result<T, JoinError>>),
}

// Nothing in it is pinned.
impl<T> Unpin for Blocking<T> {}

impl<T> Future for Blocking<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Beside(handle) => Pin::new(handle).poll(context),
            State::Done(done) => Pin::new(done).poll(context),
        }
    }
}

/// Work that blocks again and again for as long as a service runs: a thread of its own, or in a simulation a task.
#[must_use = "whoever does not wait for its end may lose what it still does"]
pub struct Worker(Kind);

enum Kind {
    Thread(std::thread::JoinHandle<()>),
    Task(JoinHandle<()>),
}

impl Worker {
    /// Starts it. In a thread of its own it waits for channels, not for timers.
    ///
    /// # Panics
    /// If the system has no thread left.
    pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(if IN_LINE.get() {
            Kind::Task(tokio::spawn(work))
        } else {
            Kind::Thread(std::thread::spawn(move || block_on(work)))
        })
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It panicked, or the runtime stops.
    pub async fn ended(self) -> Result<(), Failed> {
        match self.0 {
            Kind::Task(task) => task.await.map_err(|_| Failed),
            Kind::Thread(thread) => match blocking(move || thread.join()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Failed),
            },
        }
    }
}

/// A worker panicked, which was reported, or did not end before the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker failed")]
pub struct Failed;

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::sync::mpsc;

    use super::*;

    async fn who_works() -> (thread::ThreadId, thread::ThreadId) {
        let (sender, mut receiver) = mpsc::channel(1);
        let worker = Worker::spawn(async move {
            sender.send(thread::current().id()).await.unwrap();
        });
        let worked = receiver.recv().await.unwrap();
        worker.ended().await.unwrap();
        (blocking(|| thread::current().id()).await.unwrap(), worked)
    }

    #[tokio::test]
    async fn work_is_done_beside_the_tasks() {
        let own = thread::current().id();
        let (blocking, worker) = who_works().await;
        assert!(blocking != own && worker != own);
    }

    #[test]
    fn a_simulation_has_one_thread() {
        let in_line = || {
            work_in_line();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            (thread::current().id(), runtime.block_on(who_works()))
        };
        // A thread of its own, so that no other test works in line.
        let (own, worked) = thread::spawn(in_line).join().unwrap();
        assert_eq!(worked, (own, own));
    }

    #[tokio::test]
    async fn a_panic_is_told() {
        assert!(blocking(|| panic!("on purpose")).await.is_err());
        let worker = Worker::spawn(async { panic!("on purpose") });
        assert_eq!(worker.ended().await, Err(Failed));
    }
}

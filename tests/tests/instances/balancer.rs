//! What stands before the instances of a party: passes each connection on to the first instance that listens.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    targets: Vec<SocketAddr>,
    open: Vec<TcpStream>,
}

/// A balancer. Its thread ends with the process.
pub(crate) struct Balancer {
    state: Arc<Mutex<State>>,
}

impl Balancer {
    pub(crate) fn start(address: SocketAddr, targets: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let state = Arc::new(Mutex::new(State { targets, open: Vec::new() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let targets = shared.lock().unwrap().targets.clone();
                let Some(server) = targets.iter().find_map(|one| TcpStream::connect(one).ok())
                else {
                    continue;
                };
                let _ = pass(&shared, client, server);
            }
        });
        Self { state }
    }

    /// Prefers these from now on, also for whoever is connected.
    pub(crate) fn point_at(&self, targets: Vec<SocketAddr>) {
        let mut state = self.state.lock().unwrap();
        state.targets = targets;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(state: &Mutex<State>, client: TcpStream, server: TcpStream) -> io::Result<()> {
    let mut state = state.lock().unwrap();
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        state.open.push(stream.try_clone()?);
    }
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

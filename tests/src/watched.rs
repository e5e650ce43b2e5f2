//! What operators see: metrics, health, the audit stream.

use std::net::SocketAddr;

use lanyard_ceremony::EventPlan;
use lanyard_env::Env;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{TestEvent, free_address};

impl TestEvent {
    /// As [`TestEvent::make`], with metrics, health and an audit stream at every service.
    ///
    /// # Panics
    /// If the ceremony fails.
    #[must_use]
    pub fn make_watched(plan: &EventPlan) -> Self {
        Self::make_watched_in(plan, Env::system())
    }

    /// As [`TestEvent::make_watched`], in a world of its own.
    ///
    /// # Panics
    /// If the ceremony fails.
    #[must_use]
    pub fn make_watched_in(plan: &EventPlan, env: Env) -> Self {
        let event = Self::make_in(plan, env);
        for member in event.members() {
            let address = free_address();
            let path = event.folder(member.name()).join("config.toml");
            let config = std::fs::read_to_string(&path).expect("the ceremony wrote it");
            let config =
                format!("telemetry = \"{address}\"\n{config}\n[audit_stream]\nto = \"files\"\n");
            std::fs::write(&path, config).expect("it can be written");
        }
        event
    }

    /// Where a watched service shows metrics and health.
    ///
    /// # Panics
    /// If it is not watched.
    #[must_use]
    pub fn telemetry(&self, name: &str) -> SocketAddr {
        let config = std::fs::read_to_string(self.folder(name).join("config.toml"));
        let config = config.expect("the ceremony wrote it");
        let line = config.lines().find_map(|line| line.strip_prefix("telemetry = \""));
        line.and_then(|line| line.trim_end_matches('"').parse().ok()).expect("it is watched")
    }

    /// What a watched service answers to a plain HTTP request.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn ask(&self, name: &str, path: &str) -> (u16, String) {
        let address = self.telemetry(name).to_string();
        let mut stream = self.env().connect(&address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("an HTTP answer"), body.to_owned())
    }

    /// All lines of a service's audit stream.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn audit_stream(&self, name: &str) -> String {
        let dir = self.folder(name).join("data/audit");
        let names = std::fs::read_dir(&dir).expect("it has a stream");
        let mut paths: Vec<_> = names.map(|name| name.expect("a name").path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read_to_string(path).expect("it can be read")).collect()
    }
}

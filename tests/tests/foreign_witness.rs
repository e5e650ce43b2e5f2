//! Witnesses that are none of the parties: one of other people's code cosigns, one that lies keeps nobody from publishing.

#![allow(clippy::disallowed_methods)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lanyard_ceremony::{EventPlan, ForeignWitness};
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::note::{KeyName, VerifyingKey};
use lanyard_tests::{Desk, TestEvent, eventually, people, run_together, sample_plan};
use lanyard_wire::common::v1::StatusAction;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const NAME: &str = "foreign.example/witness";

/// The sample's plan with a witness more, and a quorum of so many.
fn plan_with(key: VerifyingKey, url: String, quorum: u8) -> EventPlan {
    let mut plan = sample_plan();
    plan.foreign_witnesses = vec![ForeignWitness { name: NAME.to_owned(), key, url }];
    plan.quorum = quorum;
    plan
}

/// Somebody is enrolled, admitted, and stopped: everything reaches the gate.
async fn a_stop_reaches_the_gate(desk: &Desk) {
    let everyone = people(1);
    desk.enrol(&everyone).await.unwrap();
    let badges = desk.issue().await.unwrap();
    let badge = &badges[&everyone[0].reference];
    eventually("screening ends", async || (desk.screen(2).await.ok()?.cleared == 1).then_some(()))
        .await;
    for (action, verdict) in [(None, "ADMIT"), (Some(StatusAction::Suspend), "REFER")] {
        if let Some(action) = action {
            desk.committee_says(action, &everyone[0].reference).await.unwrap();
        }
        eventually(verdict, async || {
            (desk.check(badge, "sta-main").await.ok()?.verdict == verdict).then_some(())
        })
        .await;
    }
}

/// The witness of tests/interop/witness, as a process.
struct Foreign {
    process: Child,
    input: ChildStdin,
    key: VerifyingKey,
    url: String,
}

impl Foreign {
    fn start(program: &str) -> Self {
        let mut command = Command::new(program);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("it says who it is");
        let (key, url) = line.trim().split_once(' ').expect("a key and a URL");
        let input = process.stdin.take().expect("its input");
        Self { input, key: VerifyingKey::parse(key).unwrap(), url: url.to_owned(), process }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The quorum is three of four, and one of the parties is down: nobody is admitted without the foreign witness.
#[test]
fn a_witness_of_other_peoples_code_makes_the_quorum() {
    let Ok(program) = std::env::var("LANYARD_FOREIGN_WITNESS") else {
        println!("skipped: LANYARD_FOREIGN_WITNESS is not set; tests/interop/run.sh sets it");
        return;
    };
    let mut foreign = Foreign::start(&program);
    let mut event = TestEvent::make(&plan_with(foreign.key.clone(), foreign.url.clone(), 3));
    event.start_all();
    let manifest = event.person("committee", lanyard_transport::Role::Operator);
    let authorities = &manifest.manifest().authorities;
    for log in [&authorities.committee, &authorities.police] {
        writeln!(foreign.input, "{}", log.log).unwrap();
    }
    // The trustee witnesses no more; its share is not needed, either.
    event.stop("trustee");
    run_together(a_stop_reaches_the_gate(&Desk::of(&event)));
}

/// It claims to know more of any log than anybody.
#[test]
fn a_witness_that_lies_about_sizes_keeps_nobody_from_publishing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(lie(stream));
        }
    });
    let name = KeyName::parse(NAME).unwrap();
    let key = WitnessKey::generate(name, &mut rand::rng()).verifying_key().clone();
    let mut event = TestEvent::make(&plan_with(key, url, 3));
    event.start_all();
    run_together(a_stop_reaches_the_gate(&Desk::of(&event)));
    assert!(asked.load(Ordering::Relaxed) > 0, "it was asked");
}

async fn lie(mut stream: TcpStream) {
    let mut request = [0; 4_096];
    // The answer does not depend on it.
    let _ = stream.read(&mut request).await;
    let body = "1000000\n";
    let head = "HTTP/1.1 409 Conflict\r\ncontent-type: text/x.tlog.size\r\nconnection: close\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

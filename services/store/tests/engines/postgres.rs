//! What only PostgreSQL can do wrong.

use std::path::Path;
use std::time::{Duration, Instant};

use lanyard_env::StartError as _;
use lanyard_store::{Documents, Recorded, RecordedTick, Succession};
use lanyard_test_postgres::{Server, database, own_server};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

async fn open_url(url: &str) -> Result<Store, StoreError> {
    Store::open(&Location::parse(url, Path::new("/")).unwrap(), &owner(), &STEPS).await
}

#[tokio::test]
async fn two_that_start_at_once_make_the_schema_once() {
    let Some(url) = database().await else { return };
    let opened = futures::future::join_all((0..4).map(|_| open_url(&url))).await;
    for store in opened {
        store.unwrap();
    }
}

#[tokio::test]
async fn the_writer_that_comes_second_waits_and_sees_the_first() {
    let Some(url) = database().await else { return };
    let (one, other) = (open_url(&url).await.unwrap(), open_url(&url).await.unwrap());
    let mut first = one.begin().await.unwrap();
    let drawn = next_number(&mut first, "things").await.unwrap();
    let second = tokio::spawn(async move {
        let mut second = other.begin().await.unwrap();
        next_number(&mut second, "things").await.unwrap()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!second.is_finished(), "two write at a time");
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), drawn + 1);
}

#[tokio::test]
async fn an_unreachable_store_is_refused_at_once_and_names_no_password() {
    let begun = Instant::now();
    let url = "postgres://lanyard:hunter2@127.0.0.1:9/police";
    let refused = open_url(url).await.err().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15));
    let said = format!("{refused} {refused:?}");
    assert!(said.contains("PostgreSQL at 127.0.0.1, port 9, database police"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// A server with a password and with TLS under an authority of its own, on the loopback of IPv4, and that authority.
fn guarded() -> Option<(Server, String)> {
    let mut server = own_server()?;
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let server_key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&server_key, &issuer).unwrap();
    let certificate = server.put("server.pem", &certificate.pem());
    let server_key = server.put("server.key", &server_key.serialize_pem());
    let _ =
        server.put("data/pg_hba.conf", "local all all trust\nhostssl all all all scram-sha-256\n");
    server.configure(&[
        "listen_addresses=127.0.0.1",
        "ssl=on",
        &format!("ssl_cert_file={}", certificate.display()),
        &format!("ssl_key_file={}", server_key.display()),
    ]);
    Some((server, root.pem()))
}

#[tokio::test]
async fn a_server_has_to_prove_its_name_and_a_user_its_password() {
    let Some((server, root)) = guarded() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("db.pem"), root).unwrap();
    let store = open_url(&server.url("postgres")).await.unwrap();
    sqlx::query("ALTER ROLE lanyard PASSWORD 'hunter2'").execute(store.pool()).await.unwrap();

    let open = async |host: &str, password: &str, options: &str| {
        let url = format!(
            "postgres://lanyard@{host}:{}/postgres?sslmode=verify-full{options}",
            server.port()
        );
        let location = Location::parse(&url, folder.path()).unwrap();
        let location = location.with_password(password).unwrap();
        Store::open(&location, &owner(), &STEPS).await.map(|_| ()).map_err(|error| {
            let said = format!("{error} {error:?}");
            assert!(!said.contains("hunter"), "{said}");
            said
        })
    };
    open("localhost", "hunter2", "&sslrootcert=db.pem").await.unwrap();
    let wrong = open("localhost", "hunter3", "&sslrootcert=db.pem").await.unwrap_err();
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let unknown_authority = open("localhost", "hunter2", "").await.unwrap_err();
    assert!(unknown_authority.contains("certificate"), "{unknown_authority}");
    let other_name = open("127.0.0.1", "hunter2", "&sslrootcert=db.pem").await.unwrap_err();
    assert!(other_name.contains("certificate"), "{other_name}");
}

#[tokio::test]
async fn a_server_that_was_down_is_used_again_without_a_restart() {
    let Some(mut server) = own_server() else { return };
    let store = open_url(&server.url("postgres")).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    assert_eq!(next_number(&mut transaction, "things").await.unwrap(), 1);
    transaction.commit().await.unwrap();
    let mut interrupted = store.begin().await.unwrap();
    assert_eq!(next_number(&mut interrupted, "things").await.unwrap(), 2);
    server.crash();
    assert!(interrupted.commit().await.is_err(), "acknowledged without a server");
    let refused = tokio::time::timeout(Duration::from_secs(5), store.begin()).await;
    assert!(!matches!(refused, Ok(Ok(_))));
    server.resume();
    let mut transaction = store.begin().await.unwrap();
    assert_eq!(next_number(&mut transaction, "things").await.unwrap(), 2);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn an_instance_that_stopped_in_the_middle_holds_nobody_up_for_long() {
    let Some(url) = database().await else { return };
    let (one, other) = (open_url(&url).await.unwrap(), open_url(&url).await.unwrap());
    let mut stopped = one.begin().await.unwrap();
    // Shorter than in earnest.
    sqlx::query("SET idle_in_transaction_session_timeout = 300")
        .execute(&mut *stopped)
        .await
        .unwrap();
    let begun = Instant::now();
    let mut transaction = other.begin().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    next_number(&mut transaction, "things").await.unwrap();
    transaction.commit().await.unwrap();
    let late = next_number(&mut stopped, "things").await;
    assert!(late.is_err(), "it writes though another has");
}

mod succession {
    use lanyard_core::ids::Hash;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);

    fn tick(size: u64, root: u8) -> RecordedTick {
        let body = vec![root; 10];
        RecordedTick { size, root: Hash::new([root; 32]), parts: vec![("tick".to_owned(), body)] }
    }

    async fn new() -> Option<Succession> {
        let url = database().await?;
        open_url(&url).await.unwrap();
        Some(Succession::new(&Location::parse(&url, Path::new("/")).unwrap()).unwrap())
    }

    #[tokio::test]
    async fn one_has_the_term_until_it_runs_out_or_ends() {
        let Some(succession) = new().await else { return };
        assert_eq!(succession.publishing().await.unwrap(), None);
        let begun = (0..8).map(|_| succession.begin_term("a:1", SHORT));
        let begun = futures::future::try_join_all(begun).await.unwrap();
        assert_eq!(begun.iter().flatten().count(), 1, "two have the term");
        let first = begun.into_iter().flatten().next().unwrap();
        assert!(succession.renew(first, LONG, 7).await.unwrap());
        assert_eq!(succession.begin_term("b:1", SHORT).await.unwrap(), None);
        let publishing = succession.publishing().await.unwrap().unwrap();
        assert_eq!((publishing.address.as_str(), publishing.waiting), ("a:1", 7));
        succession.end(first).await.unwrap();
        let second = succession.begin_term("b:1", SHORT).await.unwrap().unwrap();
        assert!(second.number() > first.number());
        assert!(!succession.renew(first, LONG, 0).await.unwrap(), "the first lasts on");
        tokio::time::sleep(SHORT * 2).await;
        assert!(!succession.renew(second, LONG, 0).await.unwrap(), "what ran out lasts on");
        assert!(succession.begin_term("a:1", SHORT).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn two_ticks_of_one_size_are_never_recorded() {
        let Some(succession) = new().await else { return };
        let first = succession.begin_term("a:1", LONG).await.unwrap().unwrap();
        assert_eq!(succession.record(first, &tick(1, 1)).await.unwrap(), Recorded::Yes);
        assert_eq!(succession.record(first, &tick(1, 1)).await.unwrap(), Recorded::Yes, "a retry");
        let otherwise = Recorded::Otherwise { size: 1 };
        assert_eq!(succession.record(first, &tick(1, 2)).await.unwrap(), otherwise);
        assert_eq!(succession.record(first, &tick(2, 3)).await.unwrap(), Recorded::Yes);

        // Whoever comes next may finish what was recorded, and nothing else of that size; who was before, nothing at all.
        succession.end(first).await.unwrap();
        let second = succession.begin_term("b:1", LONG).await.unwrap().unwrap();
        let over = Recorded::TermOver;
        assert_eq!(succession.record(first, &tick(3, 4)).await.unwrap(), over);
        assert_eq!(succession.record(first, &tick(2, 3)).await.unwrap(), over);
        let otherwise = Recorded::Otherwise { size: 2 };
        assert_eq!(succession.record(second, &tick(2, 9)).await.unwrap(), otherwise);
        assert_eq!(succession.record(second, &tick(1, 9)).await.unwrap(), otherwise);
        assert_eq!(succession.record(second, &tick(1, 1)).await.unwrap(), Recorded::Yes);
        assert_eq!(succession.record(second, &tick(2, 3)).await.unwrap(), Recorded::Yes);
        assert_eq!(succession.publishing().await.unwrap().unwrap().size, 2);
    }

    #[tokio::test]
    async fn a_term_that_ran_out_records_nothing() {
        let Some(succession) = new().await else { return };
        let term = succession.begin_term("a:1", SHORT).await.unwrap().unwrap();
        assert_eq!(succession.record(term, &tick(1, 1)).await.unwrap(), Recorded::Yes);
        tokio::time::sleep(SHORT * 2).await;
        assert_eq!(succession.record(term, &tick(2, 2)).await.unwrap(), Recorded::TermOver);
    }

    #[tokio::test]
    async fn a_recorded_tick_is_read_back_whole_and_the_last_ones_are_kept() {
        let Some(succession) = new().await else { return };
        let term = succession.begin_term("a:1", LONG).await.unwrap().unwrap();
        let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        let parts = vec![
            ("tick".to_owned(), vec![1, 2, 3]),
            ("empty".to_owned(), vec![]),
            ("large".to_owned(), large),
        ];
        let whole = RecordedTick { size: 1, root: Hash::new([1; 32]), parts: parts.clone() };
        succession.record(term, &whole).await.unwrap();
        let read = succession.recorded(1).await.unwrap().unwrap();
        assert!(read.parts == parts && read.root == Hash::new([1; 32]));
        for size in 2..=70 {
            succession.record(term, &tick(size, size as u8)).await.unwrap();
        }
        assert!(succession.recorded(6).await.unwrap().is_none());
        assert!(succession.recorded(7).await.unwrap().is_some());
        assert!(succession.recorded(71).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_document_is_replaced_only_as_it_was_read() {
    let Some(url) = database().await else { return };
    open_url(&url).await.unwrap();
    let documents = Documents::new(&Location::parse(&url, Path::new("/")).unwrap()).unwrap();
    assert!(documents.read("w/a").await.unwrap().is_none());
    assert_eq!(documents.replace("w/a", 0, b"one").await.unwrap(), Some(1));
    assert_eq!(documents.replace("w/a", 0, b"other").await.unwrap(), None);
    assert_eq!(documents.replace("w/a", 1, b"two").await.unwrap(), Some(2));
    assert_eq!(documents.replace("w/a", 1, b"other").await.unwrap(), None);
    let read = documents.read("w/a").await.unwrap().unwrap();
    assert_eq!((read.version, read.body.as_slice()), (2, b"two".as_slice()));
    documents.replace("w/b", 0, b"").await.unwrap();
    documents.replace("x", 0, b"").await.unwrap();
    assert_eq!(documents.names("w/").await.unwrap(), ["w/a", "w/b"]);
    documents.remove("w/a").await.unwrap();
    assert_eq!(documents.names("w/").await.unwrap(), ["w/b"]);
}

#[tokio::test]
async fn exclusive_work_is_done_by_one_at_a_time_also_if_that_one_dies() {
    let Some(url) = database().await else { return };
    let (one, other) = (open_url(&url).await.unwrap(), open_url(&url).await.unwrap());
    let held = one.exclusive("screening").await.unwrap();
    let _another = other.exclusive("import").await.unwrap();
    let mut waiting = Box::pin(other.exclusive("screening"));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "two at a time");
    drop(held);
    let _held = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
}

/// Refused when it is opened and when it is looked at, alike.
async fn is_refused(url: &str, says: &str, found: Found) {
    let refused = open_url(url).await.err().unwrap();
    let said = refused.to_string();
    assert!(said.contains(says), "{said}");
    assert_eq!(refused.is_permanent(), found == Found::Bad, "{said}");
    let location = Location::parse(url, Path::new("/")).unwrap();
    assert_eq!(inspected(&location, &owner(), &STEPS).await, (found, said));
}

#[tokio::test]
async fn a_server_that_does_not_keep_what_it_acknowledged_is_refused() {
    let Some(mut server) = own_server() else { return };
    let url = server.url("postgres");
    for setting in ["fsync", "full_page_writes"] {
        server.configure(&[&format!("{setting}=off")]);
        let says = format!("{setting} = off: a power cut");
        is_refused(&url, &says, Found::Bad).await;
        server.configure(&[&format!("{setting}=on")]);
    }
    open_url(&url).await.unwrap();
    let without = Server::without_checksums().unwrap();
    is_refused(&without.url("postgres"), "pg_checksums --enable", Found::Bad).await;
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_must_be_changed() {
    let Some(mut server) = own_server() else { return };
    is_refused(&server.url("none"), "\"none\" does not exist", Found::Bad).await;
    let stranger = server.url("postgres").replace("lanyard@", "stranger@");
    is_refused(&stranger, "\"stranger\" does not exist", Found::Bad).await;
    let url = server.url("postgres");
    server.crash();
    is_refused(&url, "check that it runs", Found::NotNow).await;
    server.resume();
    open_url(&url).await.unwrap();
}

/// Its pages have checksums, and rows no seals of their own.
#[tokio::test]
async fn a_page_that_a_disk_changed_is_damage() {
    let Some(mut server) = own_server() else { return };
    let url = server.url("postgres");
    let store = open_url(&url).await.unwrap();
    sqlx::query("INSERT INTO things (id, body, name) VALUES (1, $1, 'x')")
        .bind(vec![7_u8; 1_000])
        .execute(store.pool())
        .await
        .unwrap();
    // What is written after this would be written anew by the recovery from the crash.
    sqlx::query("CHECKPOINT").execute(store.pool()).await.unwrap();
    let (file,): (String,) = sqlx::query_as("SELECT pg_relation_filepath('things')")
        .fetch_one(store.pool())
        .await
        .unwrap();
    store.close().await;
    server.crash();
    // Rows lie at the end of a page of 8 KiB.
    server.flip_bit(&file, 8_000);
    server.resume();
    let store = open_url(&url).await.unwrap();
    let read: Result<Vec<(i64,)>, _> =
        sqlx::query_as("SELECT id FROM things").fetch_all(store.pool()).await;
    let error = StoreError::from(read.unwrap_err());
    assert!(error.is_damaged_page() && error.is_permanent(), "{error:?}");
    assert!(error.to_string().contains("restore the store from a backup"), "{error}");
}

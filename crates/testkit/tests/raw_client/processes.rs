//! The binary, and TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use connect_websocket_testkit::{Ended, Messages, Play, Script, Server, Stats, TestPki, TlsProfile};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::{Client, LIMIT, upgrade};

struct Binary {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    addr: SocketAddr,
    first: serde_json::Value,
}

impl Drop for Binary {
    fn drop(&mut self) {
        // Already gone in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str]) -> Binary {
    let mut child = Command::new(env!("CARGO_BIN_EXE_websocket-testkit"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let first: serde_json::Value = serde_json::from_str(&line).unwrap();
    let port = first["url"].as_str().unwrap().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    Binary { child, out, addr: SocketAddr::from(([127, 0, 0, 1], port)), first }
}

fn last_line(binary: &mut Binary) -> Stats {
    let mut line = String::new();
    binary.out.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn quick_flags_and_final_statistics() {
    let mut binary = run(&["--count", "100", "--size", "64", "--close-every", "50ms", "--watch-stdin"]);
    let (numbers, code) = Client::to(binary.addr, "").numbers_until_close();
    assert_eq!((numbers, code), ((0..100).collect(), 1001));
    drop(binary.child.stdin.take());
    let stats = last_line(&mut binary);
    assert_eq!((stats.sent(), stats.accepted), (100, 1));
    assert!(binary.child.wait().unwrap().success());
}

#[test]
fn a_script_from_a_file_and_sigterm() {
    let path = std::env::temp_dir().join(format!("websocket-testkit-{}.json", std::process::id()));
    std::fs::write(&path, r#"{"plays":[{"steps":[{"do":"send_text","text":"from the file"}]}]}"#).unwrap();
    let mut binary = run(&["--script", path.to_str().unwrap()]);
    assert_eq!(Client::to(binary.addr, "").message().unwrap().text(), "from the file");
    let killed = Command::new("kill").arg(binary.child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(last_line(&mut binary).connections.len(), 1);
    assert!(binary.child.wait().unwrap().success());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_wrong_script_is_refused_with_its_place() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_websocket-testkit"))
        .args(["--script", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"plays":[{"stepz":[]}]}"#).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("stepz") && error.contains("line 1"), "{error}");
}

/// Connects with TLS and the given CA, reads the first frame after the head.
fn tls_text(addr: SocketAddr, ca: &[u8], client: Option<&TestPki>) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec())).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(pki) => {
            let certificate = CertificateDer::from_pem_slice(pki.client_cert_pem().as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pki.client_key_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(addr)?;
    tcp.set_read_timeout(Some(LIMIT))?;
    let mut tls = StreamOwned::new(session, tcp);
    tls.write_all(upgrade("").as_bytes())?;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        let mut byte = [0];
        tls.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn certificates_good_and_bad() {
    let pki = TestPki::new().unwrap();
    let start = |profile| {
        let script = Script::every(Play::accept().send(Messages::count(1)));
        Server::start_tls(script, &pki, profile).unwrap()
    };
    let server = start(TlsProfile::Good);
    assert!(server.url().starts_with("wss://localhost:"));
    assert!(tls_text(server.addr(), pki.ca_der(), None).unwrap().contains("{\"n\":0,"));
    let bad = [
        (TlsProfile::Expired, "Expired"),
        (TlsProfile::WrongHost, "not valid for"),
        (TlsProfile::UnknownCa, ""),
        (TlsProfile::ClientCertRequired, "CertificateRequired"),
    ];
    for (profile, expected) in bad {
        let server = start(profile);
        let error = tls_text(server.addr(), pki.ca_der(), None).unwrap_err().to_string();
        assert!(error.to_lowercase().contains(&expected.to_lowercase()), "{profile:?}: {error}");
        let stats = server.wait_until(|stats| stats.open == 0, LIMIT).unwrap();
        let ended = &stats.connections[0].ended;
        assert!(matches!(ended, Some(Ended::Failed(what)) if what.starts_with("TLS: ")), "{ended:?}");
    }
    let server = start(TlsProfile::ClientCertRequired);
    assert!(tls_text(server.addr(), pki.ca_der(), Some(&pki)).unwrap().contains("{\"n\":0,"));
}

#[test]
fn the_binary_speaks_tls_and_writes_its_ca() {
    let directory = std::env::temp_dir().join(format!("websocket-testkit-pki-{}", std::process::id()));
    let binary = run(&["--tls", "--pki-dir", directory.to_str().unwrap(), "--count", "1"]);
    assert!(binary.first["url"].as_str().unwrap().starts_with("wss://localhost:"));
    let ca = CertificateDer::from_pem_file(binary.first["ca"].as_str().unwrap()).unwrap();
    assert!(tls_text(binary.addr, &ca, None).unwrap().contains("{\"n\":0,"));
    std::fs::remove_dir_all(directory).unwrap();
}

//! Faults on the path, and proxies that are asked.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_websocket_testkit::{Messages, Play, Proxy, Script, Server};

use crate::client::{Client, LIMIT, TEXT, upgrade};

fn echo_server() -> Server {
    Server::start(Script::every(Play::accept().expect_text("go").send(Messages::count(3)))).unwrap()
}

fn connect(proxy: &Proxy) -> TcpStream {
    let tcp = TcpStream::connect(proxy.addr()).unwrap();
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    tcp
}

#[test]
fn pause_holds_and_resume_delivers() {
    let server = echo_server();
    let proxy = Proxy::start(server.addr()).unwrap();
    let mut client = Client::over(connect(&proxy), "");
    proxy.pause();
    client.send(TEXT, b"go");
    // Held in the proxy: the server cannot have it. A second, direct connection shows that the server is alive.
    let mut direct = Client::connect(&server);
    direct.send(TEXT, b"go");
    assert_eq!(direct.message().unwrap().n(), 0);
    assert_eq!(server.stats().connections[0].texts_received, 0);
    proxy.resume().unwrap();
    assert!(client.message().unwrap().n() >= 1);
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn cut_resets_both_sides() {
    let server = echo_server();
    let proxy = Proxy::start(server.addr()).unwrap();
    let mut client = Client::over(connect(&proxy), "");
    proxy.cut();
    assert_eq!(client.ended().kind(), ErrorKind::ConnectionReset);
    server.wait_until(|stats| stats.open == 0, LIMIT).unwrap();
    Client::over(connect(&proxy), "");
}

#[test]
fn refuse_closes_the_port_and_resume_opens_it() {
    let server = echo_server();
    let proxy = Proxy::start(server.addr()).unwrap();
    let mut open = Client::over(connect(&proxy), "");
    for _ in 0..3 {
        proxy.refuse().unwrap();
        let refused = TcpStream::connect(proxy.addr()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.resume().unwrap();
        connect(&proxy);
    }
    open.send(TEXT, b"go");
    assert_eq!(open.message().unwrap().n(), 0);
}

#[test]
fn delay_keeps_order_and_everything() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(20_000)).close(1000))).unwrap();
    let proxy = Proxy::start(server.addr()).unwrap();
    proxy.delay(Duration::from_millis(2));
    let (numbers, _) = Client::over(connect(&proxy), "").numbers_until_close();
    assert_eq!(numbers, (0..20_000).collect::<Vec<u64>>());
}

#[test]
fn an_unreachable_target_is_a_reset() {
    let server = echo_server();
    let addr = server.addr();
    server.stop();
    let proxy = Proxy::start(addr).unwrap();
    assert_eq!(connect(&proxy).read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn http_connect(proxy: &Proxy, target: &str, credentials: Option<&str>) -> (TcpStream, String) {
    let mut tcp = connect(proxy);
    let header = credentials.map(|text| format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(text)));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", header.unwrap_or_default());
    tcp.write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    let mut byte = [0];
    while !head.ends_with("\r\n\r\n") && tcp.read(&mut byte).unwrap() == 1 {
        head.push(byte[0] as char);
    }
    (tcp, head)
}

#[test]
fn http_connect_with_and_without_credentials() {
    let server = echo_server();
    let proxy = Proxy::http(Some(("user", "secret"))).unwrap();
    proxy.route("feed.example", server.addr());
    let (_, head) = http_connect(&proxy, "feed.example:443", None);
    assert!(head.starts_with("HTTP/1.1 407 ") && head.contains("Proxy-Authenticate: Basic"), "{head}");
    let (_, head) = http_connect(&proxy, "feed.example:443", Some("user:wrong"));
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
    let (tcp, head) = http_connect(&proxy, "feed.example:443", Some("user:secret"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut client = Client::over(tcp, "");
    client.send(TEXT, b"go");
    assert_eq!(client.message().unwrap().n(), 0);
    let (_, head) = http_connect(&proxy, "127.0.0.1:1", Some("user:secret"));
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    let accepted: Vec<bool> = proxy.requests().iter().map(|request| request.accepted).collect();
    assert_eq!(accepted, [false, false, true, false]);
    let request = &proxy.requests()[2];
    assert_eq!((request.target.as_str(), request.by_name), ("feed.example:443", true));
    assert_eq!(request.user.as_deref(), Some("user"));
}

fn socks_request(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 3, host.len() as u8];
    bytes.extend_from_slice(host.as_bytes());
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes
}

fn exchange(tcp: &mut TcpStream, send: &[u8], expect: &[u8]) {
    tcp.write_all(send).unwrap();
    let mut answer = vec![0; expect.len()];
    tcp.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expect);
}

#[test]
fn socks5_with_and_without_credentials() {
    let server = echo_server();
    let open = Proxy::socks5(None).unwrap();
    open.route("feed.example", server.addr());
    let mut tcp = connect(&open);
    exchange(&mut tcp, &[5, 1, 0], &[5, 0]);
    exchange(&mut tcp, &socks_request("feed.example", 80), &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let mut client = Client::over(tcp, "");
    client.send(TEXT, b"go");
    assert_eq!(client.message().unwrap().n(), 0);
    assert_eq!(open.requests()[0].target, "feed.example:80");

    let closed = Proxy::socks5(Some(("u", "pw"))).unwrap();
    let mut tcp = connect(&closed);
    exchange(&mut tcp, &[5, 1, 0], &[5, 0xff]);
    let mut tcp = connect(&closed);
    exchange(&mut tcp, &[5, 2, 0, 2], &[5, 2]);
    exchange(&mut tcp, b"\x01\x01u\x02no", &[1, 1]);
    let mut tcp = connect(&closed);
    exchange(&mut tcp, &[5, 2, 0, 2], &[5, 2]);
    exchange(&mut tcp, b"\x01\x01u\x02pw", &[1, 0]);
    let mut by_address = vec![5, 1, 0, 1, 127, 0, 0, 1];
    by_address.extend_from_slice(&server.addr().port().to_be_bytes());
    exchange(&mut tcp, &by_address, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    tcp.write_all(upgrade("").as_bytes()).unwrap();
    let mut start = [0; 12];
    tcp.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 101");
    let requests = closed.requests();
    assert_eq!((requests[0].accepted, requests[1].accepted, requests[1].by_name), (false, true, false));
}

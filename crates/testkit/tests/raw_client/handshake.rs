//! Every kind of answer to the opening handshake.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::client::{CLOSE, Client, LIMIT, TEXT, http, upgrade};
use connect_websocket_testkit::{Accept, Ended, Handshake, Messages, Play, Reject, Script, Server};

fn one(handshake: Handshake) -> Server {
    Server::start(Script::every(Play::handshake(handshake))).unwrap()
}

fn accept(accept: Accept) -> Server {
    one(Handshake::Accept(accept))
}

#[test]
fn correct_answer_and_recorded_request() {
    let server = accept(Accept { headers: vec![("X-Feed".to_owned(), "7".to_owned())], ..Accept::default() });
    let client = Client::connect_with(&server, "Authorization: Bearer t\r\n");
    assert!(client.head.starts_with("HTTP/1.1 101 "), "{}", client.head);
    assert!(client.head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(client.head.contains("X-Feed: 7\r\n"));
    let stats = server.stats();
    let request = stats.requests().next().unwrap();
    assert_eq!(request.line, "GET /feed?x=1 HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer t"));
    assert_eq!((stats.accepted, stats.open, stats.connections[0].status), (1, 1, Some(101)));
}

#[test]
fn wrong_accept_key_unoffered_subprotocol_and_extension() {
    let server = accept(Accept {
        accept_key: Some("bogus".to_owned()),
        subprotocol: Some("never-offered".to_owned()),
        extensions: Some("x-unknown".to_owned()),
        ..Accept::default()
    });
    let head = Client::connect(&server).head;
    assert!(head.contains("Sec-WebSocket-Accept: bogus\r\n"));
    assert!(head.contains("Sec-WebSocket-Protocol: never-offered\r\n"));
    assert!(head.contains("Sec-WebSocket-Extensions: x-unknown\r\n"));
}

#[test]
fn reject_has_status_headers_and_body() {
    let server = one(Handshake::Reject(Reject {
        status: 429,
        headers: vec![("Retry-After".to_owned(), "2".to_owned())],
        body: "slow down".to_owned(),
    }));
    let answer = http(&server, &upgrade("")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nslow down"));
    let stats = server.wait_until(|stats| stats.open == 0, LIMIT).unwrap();
    assert_eq!((stats.connections[0].status, &stats.connections[0].ended), (Some(429), &Some(Ended::Refused)));
}

#[test]
fn redirect_elsewhere_and_to_itself() {
    let server = Server::start(Script::plays([
        Play::handshake(Handshake::Redirect { status: 301, location: "ws://127.0.0.1:1/x".to_owned() }),
        Play::handshake(Handshake::RedirectLoop { status: 302 }),
    ]))
    .unwrap();
    assert!(http(&server, &upgrade("")).unwrap().contains("Location: ws://127.0.0.1:1/x\r\n"));
    let itself = format!("Location: {}feed?x=1\r\n", server.url());
    for _ in 0..2 {
        let answer = http(&server, &upgrade("")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 302 Found\r\n") && answer.contains(&itself), "{answer}");
    }
}

#[test]
fn hang_answers_nothing_until_the_client_goes() {
    let server = one(Handshake::Hang { before_request: false });
    let mut tcp = TcpStream::connect(server.addr()).unwrap();
    tcp.write_all(upgrade("").as_bytes()).unwrap();
    server.wait_until(|stats| stats.requests().count() == 1, LIMIT).unwrap();
    tcp.set_nonblocking(true).unwrap();
    assert_eq!(tcp.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(tcp);
    let stats = server.wait_until(|stats| stats.open == 0, LIMIT).unwrap();
    assert_eq!(stats.connections[0].ended, Some(Ended::ClientGone));
}

#[test]
fn drip_and_garbage_and_endless_headers() {
    let server = Server::start(Script::plays([
        Play::accept_with(Accept { drip_ms: Some(1), ..Accept::default() }).send_text("after"),
        Play::handshake(Handshake::Garbage { hex: "00 ff".to_owned(), text: "SSH-2.0-x\r\n".to_owned() }),
        Play::handshake(Handshake::EndlessHeaders { every_ms: 0 }),
    ]))
    .unwrap();
    let mut client = Client::connect(&server);
    assert_eq!(client.message().unwrap().text(), "after");
    assert!(http(&server, &upgrade("")).unwrap().ends_with("SSH-2.0-x\r\n"));
    let mut tcp = TcpStream::connect(server.addr()).unwrap();
    tcp.write_all(upgrade("").as_bytes()).unwrap();
    let mut bytes = vec![0; 1 << 20];
    tcp.read_exact(&mut bytes).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"\r\n\r\n"), "the head must not end");
}

#[test]
fn tcp_close_and_reset_before_and_after_the_request() {
    let close = |before_request| Play::handshake(Handshake::TcpClose { before_request });
    let reset = |before_request| Play::handshake(Handshake::TcpReset { before_request });
    let server = Server::start(Script::plays([close(true), reset(true), close(false), reset(false)])).unwrap();
    let mut tcp = TcpStream::connect(server.addr()).unwrap();
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    let reset = |result: std::io::Result<usize>| result.unwrap_err().kind() == ErrorKind::ConnectionReset;
    // The RST may be there before connect has returned.
    if let Ok(mut tcp) = TcpStream::connect(server.addr()) {
        assert!(reset(tcp.read(&mut [0])));
    }
    assert_eq!(http(&server, &upgrade("")).unwrap(), "");
    assert_eq!(http(&server, &upgrade("")).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let stats = server.wait_until(|stats| stats.open == 0, LIMIT).unwrap();
    let ends: Vec<_> = stats.connections.iter().map(|connection| connection.ended.clone().unwrap()).collect();
    assert_eq!(ends, [Ended::TcpClosed, Ended::TcpReset, Ended::TcpClosed, Ended::TcpReset]);
}

#[test]
fn pipelined_answer_comes_with_the_first_frames_in_one_segment() {
    let play = Play::accept_with(Accept { pipelined: true, ..Accept::default() });
    let server = Server::start(Script::every(play.send(Messages::count(3)))).unwrap();
    let mut tcp = TcpStream::connect(server.addr()).unwrap();
    tcp.write_all(upgrade("").as_bytes()).unwrap();
    let mut bytes = [0; 4096];
    let read = tcp.read(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..read]);
    assert!(text.starts_with("HTTP/1.1 101 ") && text.contains("{\"n\":0"), "{text}");
}

#[test]
fn other_processes_ask_by_http_without_using_up_plays() {
    let server = Server::start(Script::plays([Play::accept().send_text("first"), Play::reject(503)])).unwrap();
    let answer = http(&server, "GET /_stats HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let stats: connect_websocket_testkit::Stats =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((stats.accepted, stats.open), (0, 0));
    assert_eq!(Client::connect(&server).message().unwrap().text(), "first");
    let script = r#"{"plays":[{"steps":[{"do":"await_signal"},{"do":"send_text","text":"new"}]}]}"#;
    let put = format!("PUT /_script HTTP/1.1\r\nContent-Length: {}\r\n\r\n{script}", script.len());
    assert!(http(&server, &put).unwrap().starts_with("HTTP/1.1 200 "));
    let mut client = Client::connect(&server);
    assert!(http(&server, "POST /_signal HTTP/1.1\r\n\r\n").unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(client.message().unwrap().text(), "new");
    assert!(http(&server, "POST /_reset HTTP/1.1\r\n\r\n").unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(client.ended().kind(), ErrorKind::ConnectionReset);
    let mut client = Client::connect(&server);
    assert!(http(&server, "POST /_close/1012 HTTP/1.1\r\n\r\n").unwrap().contains(" 200 "));
    assert_eq!(client.message().unwrap().close_code(), 1012);
    assert!(http(&server, "POST /_close/x HTTP/1.1\r\n\r\n").unwrap().contains(" 400 "));
    assert!(http(&server, "PUT /_script HTTP/1.1\r\nContent-Length: 1\r\n\r\n[").unwrap().contains(" 400 "));
    assert!(http(&server, "GET /_nothing HTTP/1.1\r\n\r\n").unwrap().contains(" 404 "));
}

#[test]
fn a_stopped_server_refuses_and_starts_again_on_its_port() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(2)))).unwrap();
    let addr = server.addr();
    let mut client = Client::connect(&server);
    assert_eq!(client.message().unwrap().n(), 0);
    let stats = server.stop();
    assert_eq!(stats.connections[0].ended, Some(Ended::Stopped));
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let server = Server::bind(addr, Script::every(Play::accept().close(1001))).unwrap();
    let close = Client::connect(&server).message().unwrap();
    assert_eq!((close.opcode(), close.close_code()), (CLOSE, 1001));
    assert_ne!(close.opcode(), TEXT);
}

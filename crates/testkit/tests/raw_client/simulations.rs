//! Simulators on a socket; their behaviour is tested in their files, by rehearsals.

use std::io::{Read, Write};
use std::net::TcpStream;

use connect_websocket_testkit::{RECORDS, SIMULATORS, Simulation, Simulator};

use crate::client::{Client, LIMIT, TEXT};

fn simulator(feed: &str) -> &'static Simulator {
    SIMULATORS.iter().find(|simulator| simulator.feed == feed).unwrap()
}

#[test]
fn a_dialogue_with_http_welcome_heartbeat_and_records() {
    let simulation = Simulation::start(simulator("kucoin"), 100).unwrap();
    let mut tcp = TcpStream::connect(simulation.host()).unwrap();
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    tcp.write_all(b"POST /api/v1/bullet-public HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    let answer: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(answer["data"]["instanceServers"][0]["pingInterval"], 180);
    let endpoint = answer["data"]["instanceServers"][0]["endpoint"].as_str().unwrap();
    let token = answer["data"]["token"].as_str().unwrap();
    assert_eq!(endpoint, format!("ws://{}/endpoint", simulation.host()));

    let mut client = Client::at(&simulation.host(), &format!("/endpoint?token={token}&connectId=me"));
    assert!(client.message().unwrap().text().contains("welcome"));
    for topic in ["/market/level2:BTC-USDT", "/market/level2:ETH-USDT"] {
        let subscribe = format!(r#"{{"id":"1","type":"subscribe","topic":"{topic}","response":true}}"#);
        client.send(TEXT, subscribe.as_bytes());
    }
    client.send(TEXT, br#"{"id":"2","type":"ping"}"#);
    let mut texts = Vec::new();
    while texts.len() < RECORDS as usize + 3 {
        texts.push(client.message().unwrap().text().to_owned());
    }
    let records: Vec<_> = texts.iter().filter(|text| text.contains("sequenceEnd")).cloned().collect();
    let expected: Vec<_> = (0..RECORDS).map(|n| (simulator("kucoin").record)(n).value).collect();
    assert_eq!(records, expected);
    assert!(simulation.is_over() && simulation.faults().is_empty());
}

#[test]
fn a_heartbeat_that_does_not_come_ends_the_connection_and_is_a_fault() {
    let simulation = Simulation::start(simulator("okx"), 1000).unwrap();
    let mut client = Client::at(&simulation.host(), "/ws/v5/public");
    assert_eq!(client.message().unwrap().close_code(), 4004);
    assert_eq!(simulation.faults(), ["No data received in 30s."]);
}

#[test]
fn a_refused_handshake_is_answered_with_the_feeds_words() {
    let simulation = Simulation::start(simulator("kucoin"), 1).unwrap();
    let client = Client::at(&simulation.host(), "/endpoint?token=invented");
    assert!(client.head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{}", client.head);
}

#[test]
fn a_simulators_address_and_heartbeat_take_the_place_of_the_profiles() {
    let profile = [
        ("websocket.url", "wss://ws.okx.com:8443/ws/v5/public"),
        ("websocket.session.beat.every.ms", "20000"),
        ("websocket.session.beat.send", "ping"),
    ];
    let settings = simulator("okx").settings(profile, "127.0.0.1:7", 5);
    assert_eq!(settings["websocket.url"], "ws://127.0.0.1:7/ws/v5/public");
    assert_eq!(settings["websocket.session.beat.every.ms"], "4000");
    assert_eq!(settings.get("websocket.session.beat.send"), None);
    assert_eq!(settings["websocket.subscription.topics"], "BTC-USDT,ETH-USDT");
}

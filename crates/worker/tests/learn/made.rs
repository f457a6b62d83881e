//! Messages of the shapes that feeds send, made: the same every time.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use connect_websocket_testkit::recordings::Message;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Messages, and when each was received.
pub(crate) type Received = Vec<(SystemTime, Message)>;

/// How the messages of a feed are made.
type Make = fn() -> Received;

/// The feeds, by name.
pub(crate) const FEEDS: &[(&str, Make)] = &[
    ("binance", binance),
    ("kraken", kraken),
    ("htx", htx),
    ("okx", okx),
    ("kucoin", kucoin),
    ("jetstream", jetstream),
    ("alpaca", alpaca),
    ("bitfinex", bitfinex),
    ("deribit", deribit),
    ("centrifugo", centrifugo),
    ("signalr", signalr),
    ("upbit", upbit),
    ("kraken-v2", kraken_v2),
    ("ais", ais),
    ("binance-futures", binance_futures),
    ("orders", orders),
    ("sensors", sensors),
    ("events", events),
    ("grid", grid),
    ("pusher", pusher),
];

/// 2026-07-04T12:00:00Z.
const START_MS: u64 = 1_783_166_400_000;
const SYMBOLS: [&str; 5] = ["BTC", "ETH", "XRP", "ADA", "DOT"];

/// Makes so many messages, a tenth of a second apart; each may be several or none. They get their number, their time in
/// milliseconds and a number without order.
fn each(messages: u64, make: impl FnMut(u64, u64, u64) -> Vec<String>) -> Received {
    apart(messages, 100, make)
}

fn apart(messages: u64, by_ms: u64, mut make: impl FnMut(u64, u64, u64) -> Vec<String>) -> Received {
    let mut received = Vec::new();
    for number in 0..messages {
        let ms = START_MS + number * by_ms;
        let chance = (number + 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
        // On its way for twenty milliseconds.
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(ms + 20);
        received.extend(make(number, ms, chance).into_iter().map(|text| (at, Message::Text(text))));
    }
    received
}

fn symbol(chance: u64) -> &'static str {
    SYMBOLS[(chance % 5) as usize]
}

fn iso(ms: u64) -> String {
    format!("2026-07-04T12:{:02}:{:02}.{:03}Z", ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

fn binance() -> Received {
    let mut last = [1000; 5];
    each(350, |number, ms, chance| {
        let (of, name) = ((chance % 5) as usize, symbol(chance));
        let stream = name.to_lowercase();
        let kind = number % 7;
        if kind < 4 {
            let first = last[of] + 1;
            last[of] = first + chance % 3;
            return vec![format!(
                r#"{{"stream":"{stream}usdt@depth","data":{{"e":"depthUpdate","E":{ms},"s":"{name}USDT","U":{first},"u":{},"b":[["0.35","{chance}"]],"a":[]}}}}"#,
                last[of]
            )];
        }
        if kind < 6 {
            let update = last[of] + 2;
            return vec![format!(
                r#"{{"stream":"{stream}usdt@bookTicker","data":{{"u":{update},"s":"{name}USDT","b":"0.35","B":"6","a":"0.36","A":"3"}}}}"#
            )];
        }
        vec![format!(
            r#"{{"stream":"{stream}usdt@kline_1m","data":{{"e":"kline","E":{ms},"s":"{name}USDT","k":{{"t":{},"T":{},"s":"{name}USDT","o":"0.3"}}}}}}"#,
            ms / 60_000 * 60_000,
            ms / 60_000 * 60_000 + 59_999,
        )]
    })
}

fn kraken() -> Received {
    each(350, |number, ms, chance| {
        let (of, name) = (chance % 5, symbol(chance));
        let change = format!(r#"[["0.042","{chance}.5","{}.{:06}"]]"#, ms / 1000, chance % 1_000_000);
        vec![match number {
            0 => r#"{"connectionID":17843232920108168701,"event":"systemStatus","status":"online","version":"1.8.3"}"#
                .to_owned(),
            1..6 => format!(
                r#"{{"channelID":{number},"channelName":"book-1000","event":"subscriptionStatus","pair":"{}/EUR","status":"subscribed"}}"#,
                SYMBOLS[number as usize - 1]
            ),
            _ if number % 10 == 0 => r#"{"event":"heartbeat"}"#.to_owned(),
            77 => format!(r#"[{of},{{"a":{change}}},{{"b":{change},"c":"{chance}"}},"book-1000","{name}/EUR"]"#),
            _ => format!(r#"[{of},{{"b":{change},"c":"{chance}"}},"book-1000","{name}/EUR"]"#),
        }]
    })
}

fn htx() -> Received {
    let texts = each(350, |number, ms, chance| {
        let name = symbol(chance).to_lowercase();
        vec![match number {
            0..5 => format!(r#"{{"id":{number},"status":"ok","subbed":"market.{name}usdt.trade.detail","ts":{ms}}}"#),
            _ if number % 50 == 0 => format!(r#"{{"ping":{ms}}}"#),
            _ if number % 6 == 0 => {
                let trade = |back: u64| {
                    format!(
                        r#"{{"id":{number}25575756743{back},"ts":{},"tradeId":{},"amount":7.2,"price":0.05,"direction":"sell"}}"#,
                        ms - 3,
                        chance - back
                    )
                };
                let trades: Vec<String> = (0..=chance % 2).map(trade).collect();
                format!(
                    r#"{{"ch":"market.{name}usdt.trade.detail","ts":{ms},"tick":{{"id":{chance},"ts":{},"data":[{}]}}}}"#,
                    ms - 3,
                    trades.join(",")
                )
            }
            _ => format!(
                r#"{{"ch":"market.{name}usdt.depth.step0","ts":{ms},"tick":{{"bids":[[9.1E-7,{chance}.2]],"asks":[[9.2E-7,{chance}]],"version":{chance},"ts":{}}}}}"#,
                ms - 2
            ),
        }]
    });
    texts.into_iter().map(|(at, message)| (at, Message::Binary(gzip(message.bytes())))).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}

fn okx() -> Received {
    let mut trades = [7000; 5];
    each(350, |number, ms, chance| {
        let (of, name) = ((chance % 5) as usize, symbol(chance));
        let instrument = format!("{name}-USDT");
        let ms = ms - 40;
        vec![match number % 4 {
            _ if number < 5 => {
                format!(r#"{{"event":"subscribe","arg":{{"channel":"trades","instId":"{instrument}"}}}}"#)
            }
            0 => {
                trades[of] += 1;
                format!(
                    r#"{{"arg":{{"channel":"trades","instId":"{instrument}"}},"data":[{{"instId":"{instrument}","tradeId":"{}","px":"30218.8","sz":"1","side":"buy","ts":"{ms}"}}]}}"#,
                    trades[of]
                )
            }
            1 => format!(
                r#"{{"arg":{{"channel":"tickers","instId":"{instrument}"}},"data":[{{"instType":"SPOT","instId":"{instrument}","last":"30218.8","lastSz":"{chance}","ts":"{ms}"}}]}}"#
            ),
            _ => format!(
                r#"{{"arg":{{"channel":"books","instId":"{instrument}"}},"action":"update","data":[{{"asks":[["30238.8","{chance}","0","1"]],"bids":[],"ts":"{ms}","checksum":-{chance}}}]}}"#
            ),
        }]
    })
}

fn kucoin() -> Received {
    let mut last = [1_613_277_183_874, 1_612_844_051_653, 1_612_701_563_869, 1_614_000_000_000, 1_615_000_000_000_u64];
    each(700, |number, ms, chance| {
        let (of, name) = ((chance % 5) as usize, symbol(chance));
        let topic = |kind: &str, subject: &str, data: String| {
            format!(
                r#"{{"data":{{{data}}},"subject":"{subject}","topic":"/market/{kind}:{name}-USDT","type":"message"}}"#
            )
        };
        vec![match number % 8 {
            _ if number == 0 => r#"{"id":"NSkIrWGB1s","type":"welcome"}"#.to_owned(),
            _ if number < 8 => r#"{"id":"1","type":"ack"}"#.to_owned(),
            0 | 1 => topic(
                "ticker",
                "trade.ticker",
                format!(
                    r#""sequence":"{}","bestAsk":"0.28","size":"0.1","price":"0.28","time":{ms},"bestBid":"0.27""#,
                    last[of]
                ),
            ),
            2 if number % 3 == 0 => topic(
                "match",
                "trade.l3match",
                format!(
                    r#""symbol":"{name}-USDT","sequence":"{}","side":"buy","size":"8","price":"0.1","time":"{ms}050725","tradeId":"6085c097{chance:x}""#,
                    last[of]
                ),
            ),
            _ => {
                let first = last[of] + 1;
                last[of] = first + u64::from(chance % 50 == 0);
                topic(
                    "level2",
                    "trade.l2update",
                    format!(
                        r#""sequenceStart":{first},"symbol":"{name}-USDT","changes":{{"asks":[["0","0","{first}"]],"bids":[]}},"sequenceEnd":{}"#,
                        last[of]
                    ),
                )
            }
        }]
    })
}

/// All at once, so that nothing is said of silence.
fn jetstream() -> Received {
    apart(150, 1, |number, ms, chance| {
        // Of two servers that are merged, so now and then a little late.
        let us = ms * 1000 + chance % 1000 - if number % 4 == 3 { 3000 } else { 0 };
        let did = format!("did:plc:{:04x}wq4aajammjtxdomz3e2", chance % 60);
        vec![match number {
            20 => format!(
                r#"{{"did":"{did}","time_us":{us},"kind":"identity","identity":{{"did":"{did}","seq":31527015470,"time":"{}"}}}}"#,
                iso(ms)
            ),
            40 => format!(
                r#"{{"did":"{did}","time_us":{us},"kind":"account","account":{{"active":true,"did":"{did}","seq":31527015471,"time":"{}"}}}}"#,
                iso(ms)
            ),
            _ => format!(
                r#"{{"did":"{did}","time_us":{us},"kind":"commit","commit":{{"rev":"3mptb{chance:x}{number}","operation":"create","collection":"app.bsky.feed.{}","rkey":"3mptbyplj{number}","record":{{"$type":"app.bsky.feed.like","createdAt":"{}","facets":[{{"features":[{{"tag":"x"}}],"index":{{"byteEnd":31,"byteStart":0}}}}]}},"cid":"bafy{chance:x}"}}}}"#,
                ["like", "post", "repost"][(chance % 3) as usize],
                iso(ms - 900)
            ),
        }]
    })
}

fn alpaca() -> Received {
    each(350, |number, ms, chance| {
        let event = |of: u64| {
            let (name, time) = (symbol(chance + of), iso(ms));
            match (chance + of) % 2 {
                0 => format!(
                    r#"{{"T":"t","S":"{name}","i":{},"x":"V","p":{of}.5,"s":100,"t":"{time}","z":"C"}}"#,
                    chance + of
                ),
                _ => {
                    format!(r#"{{"T":"q","S":"{name}","bx":"V","bp":{of}.5,"bs":1,"ax":"V","ap":{of}.6,"t":"{time}"}}"#)
                }
            }
        };
        vec![match number {
            0 => r#"[{"T":"success","msg":"connected"}]"#.to_owned(),
            1 => r#"[{"T":"success","msg":"authenticated"}]"#.to_owned(),
            2 => r#"[{"T":"subscription","trades":["BTC"],"quotes":["BTC"]}]"#.to_owned(),
            _ => format!("[{}]", (0..=chance % 4).map(event).collect::<Vec<_>>().join(",")),
        }]
    })
}

fn bitfinex() -> Received {
    each(350, |number, _, chance| {
        let channel = 100 + chance % 5;
        vec![match number {
            _ if number % 12 == 5 => format!(r#"[{channel},"hb",{}]"#, number + 1),
            _ if number % 9 == 2 => format!(r#"[{channel},"te",[{chance},1,-0.2,35.1],{}]"#, number + 1),
            _ => format!(r#"[{channel},[{chance},1,-0.{}],{}]"#, chance % 1000, number + 1),
        }]
    })
}

fn deribit() -> Received {
    let mut last = [0; 5];
    each(350, |number, ms, chance| {
        if number == 0 {
            return vec![
                r#"{"jsonrpc":"2.0","id":1,"result":["book.BTC-PERPETUAL.100ms"],"usIn":1,"usOut":2}"#.to_owned(),
            ];
        }
        let (of, name) = ((chance % 5) as usize, symbol(chance));
        let before = last[of];
        last[of] = number * 100 + chance % 90;
        let previous = if before == 0 { String::new() } else { format!(r#""prev_change_id":{before},"#) };
        vec![format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.{name}-PERPETUAL.100ms","data":{{"type":"change","timestamp":{ms},{previous}"instrument_name":"{name}-PERPETUAL","change_id":{},"bids":[["new",{chance},1.0]],"asks":[]}}}}}}"#,
            last[of]
        )]
    })
}

fn centrifugo() -> Received {
    let mut offsets = [0; 5];
    each(350, |number, _, chance| {
        let mut push = |of: u64| {
            let of = (of % 5) as usize;
            offsets[of] += 1;
            format!(
                r#"{{"push":{{"channel":"news:{}","pub":{{"data":{{"n":{chance}}},"offset":{}}}}}}}"#,
                SYMBOLS[of], offsets[of]
            )
        };
        vec![match number {
            0 => "{\"id\":1,\"connect\":{\"client\":\"x\",\"ping\":25,\"pong\":true}}\n{\"id\":2,\"subscribe\":{\"recoverable\":true}}".to_owned(),
            _ if number % 25 == 0 => "{}".to_owned(),
            _ => (0..=chance % 3).map(|more| push(chance + more)).collect::<Vec<_>>().join("\n"),
        }]
    })
}

fn signalr() -> Received {
    each(350, |number, _, chance| {
        vec![match number {
            0 => "{}\u{1e}".to_owned(),
            _ if number % 40 == 0 => "{\"type\":6}\u{1e}".to_owned(),
            _ => format!(
                "{{\"type\":1,\"target\":\"price\",\"arguments\":[{chance}]}}\u{1e}{{\"type\":1,\"target\":\"price\",\"arguments\":[{number}]}}\u{1e}"
            ),
        }]
    })
}

fn upbit() -> Received {
    let texts = each(350, |_, ms, chance| {
        vec![format!(
            r#"{{"type":"trade","code":"KRW-{}","timestamp":{ms},"trade_price":{chance}.0,"ask_bid":"ASK","sequential_id":{ms}{:04},"stream_type":"REALTIME"}}"#,
            symbol(chance),
            chance % 10_000
        )]
    });
    texts.into_iter().map(|(at, message)| (at, Message::Binary(message.bytes().to_vec()))).collect()
}

fn kraken_v2() -> Received {
    let mut trades = [500; 5];
    each(350, |number, ms, chance| {
        let (of, name) = ((chance % 5) as usize, symbol(chance));
        let mut trade = |_: u64| {
            trades[of] += 1;
            format!(
                r#"{{"symbol":"{name}/USD","side":"sell","price":4136.4,"qty":0.2,"ord_type":"market","trade_id":{},"timestamp":"{}"}}"#,
                trades[of],
                iso(ms)
            )
        };
        vec![match number {
            0 => r#"{"channel":"status","type":"update","data":[{"api_version":"v2","connection_id":12393906104898154338,"system":"online","version":"2.0.4"}]}"#.to_owned(),
            1..6 => format!(r#"{{"method":"subscribe","result":{{"channel":"trade","symbol":"{name}/USD"}},"success":true,"time_in":"{}","req_id":1}}"#, iso(ms)),
            _ if number % 10 == 0 => r#"{"channel":"heartbeat"}"#.to_owned(),
            _ => format!(r#"{{"channel":"trade","type":"update","data":[{}]}}"#, (0..=chance % 3).map(&mut trade).collect::<Vec<_>>().join(",")),
        }]
    })
}

fn ais() -> Received {
    each(350, |_, ms, chance| {
        vec![format!(
            r#"{{"MessageType":"PositionReport","MetaData":{{"MMSI":{},"ShipName":"SHIP {}","time":{}.{:03}}},"Message":{{"PositionReport":{{"Sog":{}.5,"Cog":{}}}}}}}"#,
            259_000_420 + chance % 40,
            chance % 40,
            ms / 1000,
            ms % 1000,
            chance % 20,
            chance % 360
        )]
    })
}

/// Each change of a book names the last number of the one before; between them numbers are left out.
fn binance_futures() -> Received {
    let mut last = [1000; 5];
    each(350, |_, ms, chance| {
        let (of, name) = ((chance % 5) as usize, symbol(chance));
        let (previous, first) = (last[of], last[of] + 2 + chance % 40);
        last[of] = first + chance % 7;
        vec![format!(
            r#"{{"stream":"{}usdt@depth","data":{{"e":"depthUpdate","E":{ms},"T":{},"s":"{name}USDT","U":{first},"u":{},"pu":{previous},"b":[["0.35","{chance}"]],"a":[]}}}}"#,
            name.to_lowercase(),
            ms - 3,
            last[of]
        )]
    })
}

/// Full of what looks like something else: an id that has the digits of a time, a price that goes up by one, constants, flags, a
/// symbol that is null now and then, numbers in texts, a time with an offset and nanoseconds.
fn orders() -> Received {
    let mut numbers = [5000; 5];
    each(350, |number, ms, chance| {
        let of = (chance % 5) as usize;
        let symbol = if number % 50 == 49 { "null".to_owned() } else { format!(r#""{}/EUR""#, SYMBOLS[of]) };
        if symbol != "null" {
            numbers[of] += 1;
        }
        vec![format!(
            r#"{{"order_id":{},"version":7,"price":{},"qty":"1","maker":"{}","symbol":{symbol},"seq":"{}","note":null,"at":"{}123456+00:00"}}"#,
            1_700_000_000_000 + number * 977_000 + chance % 900,
            100 + number,
            ["Y", "N"][(chance % 2) as usize],
            numbers[of],
            iso(ms).trim_end_matches('Z'),
        )]
    })
}

/// Names that need quotes, seconds with a fraction, numbers from 1 on.
fn sensors() -> Received {
    each(350, |number, ms, chance| {
        vec![format!(
            r#"{{"données":{{"a/b":"sonde-{}","t~s":{}.{:03},"°C":{}.5}},"номер":{}}}"#,
            chance % 9,
            ms / 1000,
            ms % 1000,
            chance % 30,
            number + 1
        )]
    })
}

/// Several lines in a message, an opaque position, an id of nineteen digits that is no time, the subject in an array.
fn events() -> Received {
    each(350, |number, ms, chance| {
        let event = |of: u64| {
            format!(
                r#"{{"messageId":"CAES{:016x}","event_id":{},"tags":["tag-{}"],"kind":"note","published":"{}","body":[[1,[2]],[]]}}"#,
                (number * 8 + of).wrapping_mul(0x9E37_79B9_7F4A_7C15),
                1_650_000_000_000_000_000 + (chance + of) % 1000 * 77_777_777_777_777,
                chance % 4,
                iso(ms)
            )
        };
        vec![(0..=chance % 3).map(event).collect::<Vec<_>>().join("\n")]
    })
}

/// The record is JSON in a text, also that of the server's own messages.
fn pusher() -> Received {
    each(350, |number, ms, chance| {
        let message = |event: &str, data: &str| {
            let data = data.replace('"', "\\\"");
            format!(r#"{{"event":"{event}","data":"{data}","channel":"live_{}"}}"#, symbol(chance).to_lowercase())
        };
        vec![match number {
            0 => message("pusher:connection_established", r#"{"socket_id":"1.2","activity_timeout":120}"#),
            1..6 => message("pusher_internal:subscription_succeeded", "{}"),
            _ if number % 40 == 0 => r#"{"event":"pusher:ping","data":{}}"#.to_owned(),
            _ => message("trade", &format!(r#"{{"id":{chance},"price":"1.5","at":{}}}"#, ms - 7)),
        }]
    })
}

/// Arrays of arrays of numbers, and nothing that says what they are.
fn grid() -> Received {
    each(350, |_, _, chance| vec![format!("[[{chance},1.5],[{},2.5],[]]", chance % 77)])
}

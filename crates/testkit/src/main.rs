//! The testkit's server for other processes; see the library's documentation for the script and the URLs.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use connect_websocket_testkit::{
    Accept, Close, Content, Deflate, Handshake, Kind, Messages, Play, Script, Server, Step, TestPki, TlsProfile,
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// A WebSocket server that plays a script, or sends numbered messages.
///
/// Prints {"url":"ws://127.0.0.1:PORT/"} first; SIGTERM or SIGINT ends it, with the statistics as a last line. Meanwhile
/// GET /_stats returns them, PUT /_script takes a new script, and POST /_signal,
/// POST /_reset and POST /_close/1001 act on open connections.
#[derive(Parser)]
#[command(name = "websocket-testkit", version)]
struct Options {
    /// The script, a JSON file; "-" reads standard input. Without it, the flags below make one.
    #[arg(long, conflicts_with_all = ["rate", "count", "close_every", "reset_every", "deflate", "trades", "live", "timestamp", "binary"])]
    script: Option<PathBuf>,
    /// The port on 127.0.0.1; 0: a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Serves wss://, with this kind of certificate.
    #[arg(long, num_args = 0..=1, default_missing_value = "good")]
    tls: Option<Profile>,
    /// Writes ca.pem, client.pem and client.key here (with --tls).
    #[arg(long, requires = "tls")]
    pki_dir: Option<PathBuf>,
    /// Messages per second; without it as fast as the socket takes them.
    #[arg(long)]
    rate: Option<f64>,
    /// Payload size in bytes.
    #[arg(long, default_value_t = 512)]
    size: usize,
    /// Stops after so many messages over all connections; the connection stays open.
    #[arg(long)]
    count: Option<u64>,
    /// Sends Close 1001 so often, such as 5s or 500ms.
    #[arg(long, value_parser = duration)]
    close_every: Option<Duration>,
    /// Resets TCP so often; with --close-every the two alternate.
    #[arg(long, value_parser = duration)]
    reset_every: Option<Duration>,
    /// Negotiates permessage-deflate.
    #[arg(long)]
    deflate: bool,
    /// Sends made-up trades instead of padded numbers.
    #[arg(long)]
    trades: bool,
    /// With --rate: numbers that are due while nobody is connected are skipped, as a live feed does.
    #[arg(long, requires = "rate")]
    live: bool,
    /// Adds the time of writing to each message, "ts" in microseconds since 1970.
    #[arg(long)]
    timestamp: bool,
    /// Sends binary frames.
    #[arg(long)]
    binary: bool,
    /// Sends nothing before the client's first text message.
    #[arg(long)]
    await_text: bool,
    /// Ends when standard input ends, so that it does not outlive the process that started it.
    #[arg(long)]
    watch_stdin: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Profile {
    Good,
    Expired,
    WrongHost,
    UnknownCa,
    ClientCertRequired,
}

impl From<Profile> for TlsProfile {
    fn from(profile: Profile) -> TlsProfile {
        match profile {
            Profile::Good => TlsProfile::Good,
            Profile::Expired => TlsProfile::Expired,
            Profile::WrongHost => TlsProfile::WrongHost,
            Profile::UnknownCa => TlsProfile::UnknownCa,
            Profile::ClientCertRequired => TlsProfile::ClientCertRequired,
        }
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("websocket-testkit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let script = match &options.script {
        Some(path) => read_script(path)?,
        None => script(options),
    };
    let addr = SocketAddr::from(([127, 0, 0, 1], options.port));
    let mut first = json!({});
    let server = match options.tls {
        None => Server::bind(addr, script)?,
        Some(profile) => {
            let pki = TestPki::new()?;
            if let Some(directory) = &options.pki_dir {
                pki.write_to(directory)?;
                first["ca"] = json!(directory.join("ca.pem"));
                first["client_cert"] = json!(directory.join("client.pem"));
                first["client_key"] = json!(directory.join("client.key"));
            }
            Server::bind_tls(addr, script, &pki, profile.into())?
        }
    };
    first["url"] = json!(server.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The signals are caught before the first line is printed, after which they may come.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        print_line(&first.to_string())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stdin_ended(), if options.watch_stdin => {}
        }
        io::Result::Ok(())
    })?;
    print_line(&serde_json::to_string(&server.stop())?)
}

fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Reads on a thread of its own, which dies with the process.
async fn stdin_ended() {
    let (ended, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An error is an end, too.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        ended.send(())
    });
    let _ = wait.await;
}

fn read_script(path: &PathBuf) -> io::Result<Script> {
    let text = if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { std::fs::read_to_string(path) };
    let text = text.map_err(|error| io::Error::other(format!("cannot read the script {}: {error}", path.display())))?;
    Script::from_json(&text)
        .map_err(|error| io::Error::other(format!("the script {} is wrong: {error}", path.display())))
}

fn script(options: &Options) -> Script {
    let play = |after: Option<Duration>, end: Option<Step>| {
        let messages = Messages {
            until_n: options.count,
            for_ms: after.map(|after| after.as_millis() as u64),
            rate: options.rate,
            live: options.live,
            size: options.size,
            kind: if options.binary { Kind::Binary } else { Kind::Text },
            content: if options.trades { Content::Trades } else { Content::Numbered },
            timestamp: options.timestamp,
            ..Messages::default()
        };
        let deflate = options.deflate.then(Deflate::default);
        let mut play = Play::handshake(Handshake::Accept(Accept { deflate, ..Accept::default() }));
        if options.await_text {
            play = play.step(Step::ExpectText { contains: String::new(), timeout_ms: u64::from(u32::MAX) });
        }
        play = play.send(messages);
        match end {
            Some(end) => play.step(end),
            None => play,
        }
    };
    let close = Close { code: Some(1001), reason: "going away".to_owned(), ..Close::default() };
    let mut plays = Vec::new();
    if options.close_every.is_some() {
        plays.push(play(options.close_every, Some(Step::Close(close))));
    }
    if options.reset_every.is_some() {
        plays.push(play(options.reset_every, Some(Step::Reset)));
    }
    if plays.is_empty() {
        plays.push(play(None, None));
    }
    Script::cycle(plays)
}

/// `500ms`, `5s`, `2m`
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("\"{text}\" is no time; write it as 500ms, 5s or 2m"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("\"{text}\" has no unit; write it as 500ms, 5s or 2m")),
    }
}

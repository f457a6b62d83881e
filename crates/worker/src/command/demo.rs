//! `connect-websocket demo`: feed, connector, a small Kafka and a consumer in one process. Not for production.
//!
//! ```text
//! feed ─▶ connector ─▶ broker ─▶ consumer ─▶ terminal
//! ```
//!
//! The feed numbers its trades, so the end can prove that each of them is in the topic once.

mod consumer;
mod ledger;
mod memory;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use connect_websocket_broker::Broker;
use connect_websocket_engine::config::Config;
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::figures::Counter;
use connect_websocket_testkit::{Ended, Feed, FeedConfig, FeedSummary};
use indexmap::IndexMap;

use crate::command::say::say;
use crate::command::standalone;
use crate::command::time::time;
use crate::config::WorkerConfig;
use crate::connector::file::InitialState;
use crate::connector::framework::CONNECTOR_CLASS;
use crate::herder::Herder;
use crate::kafka::cluster::kafka_cluster_id;
use crate::logging::Levels;
use crate::rest::server::Server;
use crate::store::OffsetStore;
use consumer::Consumer;

const CONNECTOR: &str = "demo";
/// The logger of the connector, by Java's name.
const ENGINE: &str = "io.conduktor.connect.websocket";
/// How many bytes of the topic the small Kafka keeps.
const RETENTION_BYTES: usize = 64 << 20;
/// How long the consumer waits for the last record after the connector has stopped.
const LAST_RECORDS: Duration = Duration::from_secs(20);

/// The command line of the demo.
#[derive(Args, Debug)]
pub struct Options {
    /// Your own feed instead of the built-in one: ws:// or wss://.
    #[arg(long)]
    url: Option<String>,
    /// A message to send after every connect, which many feeds need.
    #[arg(long, value_name = "TEXT", requires = "url")]
    subscribe: Option<String>,
    /// A real Kafka instead of the small one in this process.
    #[arg(long, value_name = "HOST:PORT,…")]
    bootstrap_servers: Option<String>,
    /// The topic to write to.
    #[arg(long, default_value = "demo-trades")]
    topic: String,
    /// Stop after this time, such as 20s or 5m. By default at Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Trades per second of the built-in feed.
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    rate: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.1..=100_000.0).contains(rate));
    rate.ok_or_else(|| "give a number from 0.1 to 100000".to_owned())
}

/// Runs the demo until Ctrl-C or for the given time. The exit code says whether every message is in the topic once.
pub fn run(options: &Options, levels: Arc<Levels>) -> ExitCode {
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("the threads of the demo cannot be started: {error}"))
        .and_then(|runtime| runtime.block_on(Demo::run(options, levels)));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("the demo cannot go on: {why}");
            ExitCode::FAILURE
        }
    }
}

fn print_next_steps() -> Result<(), String> {
    let program = std::env::args().next().unwrap_or_else(|| "connect-websocket".to_owned());
    say("\nnext:")?;
    say(format_args!("your own feed, without Kafka        {program} probe wss://…"))?;
    say(format_args!("known feeds, with three options     {program} feeds"))?;
    say("records in your own Kafka           make build; docs/start/worker.md").map(drop)
}

/// Everything that the demo runs.
struct Demo {
    feed: Option<Feed>,
    broker: Option<Broker>,
    herder: Arc<Herder>,
    rest: Server,
    consumer: Consumer,
    began: Instant,
}

impl Demo {
    async fn run(options: &Options, levels: Arc<Levels>) -> Result<bool, String> {
        // The terminal is for the records. Only warnings and errors are logged.
        for logger in levels.all().keys() {
            levels.set(logger, "ERROR")?;
        }
        // With the user's own feed, the reason of each failed attempt matters.
        if options.url.is_some() {
            levels.set(ENGINE, "WARN")?;
        }
        let folder = std::env::temp_dir().join(format!("connect-websocket-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        let demo = Demo::start(options, levels, &folder).await;
        let outcome = match demo {
            Ok(demo) => {
                let shown = demo.show(options).await;
                let proven = demo.finish().await;
                shown.and(proven)
            }
            Err(why) => Err(why),
        };
        let _ = std::fs::remove_dir_all(&folder);
        outcome
    }

    async fn start(options: &Options, levels: Arc<Levels>, folder: &Path) -> Result<Demo, String> {
        let feed = match &options.url {
            Some(_) => None,
            None => {
                let config = FeedConfig { rate: options.rate, ..FeedConfig::default() };
                Some(Feed::start(&config).map_err(|error| format!("the feed cannot be started: {error}"))?)
            }
        };
        let url = options.url.clone().or_else(|| feed.as_ref().map(|feed| feed.url().to_owned())).unwrap_or_default();
        let config = connector(&url, options)?;
        let broker = match &options.bootstrap_servers {
            Some(_) => None,
            None => {
                let any_port = ([127, 0, 0, 1], 0).into();
                Some(Broker::start(any_port, RETENTION_BYTES).await.map_err(|error| error.to_string())?)
            }
        };
        let bootstrap = match (&options.bootstrap_servers, &broker) {
            (Some(servers), _) => servers.clone(),
            (None, Some(broker)) => broker.addr().to_string(),
            (None, None) => String::new(),
        };
        if options.bootstrap_servers.is_some() {
            say(format_args!("connecting to Kafka at {bootstrap} …"))?;
        }
        let (herder, rest) = start_worker(&bootstrap, folder, levels).await?;
        let consumer = Consumer::start(&bootstrap, &options.topic, feed.is_some())?;
        herder.create(CONNECTOR.to_owned(), config, InitialState::Running).await.map_err(|error| error.to_string())?;
        let shown =
            connect_websocket_engine::endpoint::Endpoint::parse(&url).map_or(url, |url| url.redacted().to_owned());
        say(format_args!(
            "feed       {shown}{}",
            if feed.is_some() { "  (built in: trades, pings, a Close every 20 s, a reset sometimes)" } else { "" }
        ))?;
        say(format_args!(
            "kafka      {bootstrap}{}",
            if broker.is_some() {
                "  (in this process and in memory: the topic is gone when the demo ends)"
            } else {
                ""
            }
        ))?;
        say(format_args!("topic      {}", options.topic))?;
        say(format_args!("REST API   http://{}/connectors/{CONNECTOR}/status", herder.worker_id()))?;
        say(format_args!("metrics    http://{}/metrics", herder.worker_id()))?;
        say("Ctrl-C ends it.\n")?;
        Ok(Demo { feed, broker, herder, rest, consumer, began: Instant::now() })
    }

    /// Shows records and statistics until the end of the demo.
    ///
    /// # Errors
    /// The output cannot be written.
    async fn show(&self, options: &Options) -> Result<(), String> {
        let end = async {
            match options.duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        let ctrl_c = tokio::signal::ctrl_c();
        tokio::pin!(end, ctrl_c);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut before = 0;
        tick.tick().await;
        loop {
            tokio::select! {
                () = &mut end => break,
                _ = &mut ctrl_c => break,
                _ = tick.tick() => match self.show_second(before)? {
                    Some(now) => before = now,
                    None => break,
                },
            }
            if let Some(why) = self.failure() {
                say(format_args!("the task has FAILED: {why}"))?;
                break;
            }
        }
        Ok(())
    }

    /// Shows the last second. Returns the number of records so far, or `None` if nobody reads the output.
    fn show_second(&self, before: u64) -> Result<Option<u64>, String> {
        let seen = self.consumer.seen();
        for line in &seen.samples {
            say(format_args!("  {line}"))?;
        }
        let hidden = (seen.records - before).saturating_sub(seen.samples.len() as u64);
        if hidden > 0 {
            say(format_args!("  … and {hidden} more"))?;
        }
        let metrics = self.herder.metrics();
        let task = metrics.first().and_then(|connector| connector.task.as_ref()).map(|(_, _, metrics)| metrics);
        let lag = task.map_or(0, |task| task.engine[Counter::MessagesReceived].saturating_sub(seen.records));
        let memory = memory::resident_bytes().map_or_else(|| "?".to_owned(), |bytes| (bytes >> 20).to_string());
        let is_read = say(format_args!(
            "rate {}/s   total {}   reconnects {}   gaps {}   lag {lag}   memory {memory} MB",
            seen.records - before,
            seen.records,
            task.map_or(0, |task| task.engine.reconnects_total()),
            task.map_or(0, |task| task.engine.gap_counts.iter().map(|(_, count)| count).sum::<u64>()),
        ))?;
        Ok(is_read.then_some(seen.records))
    }

    fn failure(&self) -> Option<String> {
        self.herder.connector_status(CONNECTOR).ok()?.tasks.into_iter().find_map(|task| task.trace)
    }

    /// Stops in the order in which the data flows, and proves that nothing is missing.
    async fn finish(self) -> Result<bool, String> {
        let said = say("\nstopping: a Close to the feed, the last records to Kafka …");
        let received_before_stop = self.herder.metrics();
        self.rest.stop(Duration::from_secs(1)).await;
        self.herder.shut_down().await;
        let ran = self.began.elapsed().as_secs_f64();
        let proven = match self.feed {
            Some(feed) => {
                let sent = tokio::task::spawn_blocking(move || feed.stop()).await.map_err(|error| error.to_string())?;
                let last = sent.connections.iter().flat_map(|c| &c.sent).map(|&(_, last)| last).max();
                let all_there = |ledger: &ledger::Ledger| last.is_none_or(|last| ledger.covers(&sent, last));
                self.consumer.wait(LAST_RECORDS, |seen| all_there(&seen.ledger)).await;
                prove(&sent, &self.consumer.stop().ledger, ran)
            }
            None => {
                let received = received_before_stop
                    .first()
                    .and_then(|connector| connector.task.as_ref())
                    .map_or(0, |(_, _, metrics)| metrics.engine[Counter::MessagesReceived]);
                self.consumer.wait(LAST_RECORDS, |seen| seen.records >= received).await;
                let records = self.consumer.stop().records;
                let said = say(format_args!(
                    "{records} messages were read back from the topic in {ran:.0} s; the connector had received {received} before the stop"
                ));
                said.map(|_| records >= received)
            }
        };
        if let Some(broker) = self.broker {
            broker.stop().await;
        }
        said?;
        let proven = proven?;
        print_next_steps()?;
        Ok(proven)
    }
}

/// Returns the connector's configuration. An error in it is reported before anything runs.
fn connector(url: &str, options: &Options) -> Result<IndexMap<String, Option<String>>, String> {
    let mut config = Properties::from([
        ("connector.class".to_owned(), CONNECTOR_CLASS.to_owned()),
        ("websocket.url".to_owned(), url.to_owned()),
        ("kafka.topic".to_owned(), options.topic.clone()),
    ]);
    if let Some(message) = &options.subscribe {
        config.insert("websocket.subscription.message".to_owned(), message.clone());
    }
    Config::parse(&config).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(config.into_iter().map(|(name, value)| (name, Some(value))).collect())
}

/// Returns the configuration of an ordinary worker, with the demo's addresses.
async fn start_worker(bootstrap: &str, folder: &Path, levels: Arc<Levels>) -> Result<(Arc<Herder>, Server), String> {
    let mut failure = String::new();
    for port in [8083, 0] {
        let properties: IndexMap<String, String> = [
            ("bootstrap.servers", bootstrap),
            ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
            ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
            ("offset.storage.file.filename", &folder.join("offsets").display().to_string()),
            ("offset.flush.interval.ms", "1000"),
            ("listeners", &format!("http://127.0.0.1:{port}")),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let config = Arc::new(
            WorkerConfig::parse(&properties)
                .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?,
        );
        let offsets = OffsetStore::open(&config.offset_storage_file).map_err(|error| error.to_string())?;
        let asked = config.clone();
        let cluster = tokio::task::spawn_blocking(move || kafka_cluster_id(&asked)).await;
        let cluster = cluster.map_err(|error| error.to_string())??;
        let herder = Herder::new(config, Arc::new(offsets));
        herder.set_kafka_cluster_id(cluster);
        match standalone::start_rest(&herder, levels.clone()).await {
            Ok(server) => {
                herder.set_ready();
                if port == 0 {
                    say(format_args!("port 8083 is taken, so REST has another one: {}", herder.worker_id()))?;
                }
                return Ok((herder, server));
            }
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

/// Prints whether every message of the feed is in the topic once.
fn prove(sent: &FeedSummary, ledger: &ledger::Ledger, ran: f64) -> Result<bool, String> {
    let resets = sent.connections.iter().filter(|connection| connection.ended == Some(Ended::TcpReset)).count();
    say(format_args!(
        "\nthe feed sent      {} messages over {} connections in {ran:.0} s, {resets} of them ended by a reset",
        sent.sent,
        sent.connections.len()
    ))?;
    say(format_args!("the topic holds    {} of them", ledger.distinct()))?;
    let missing = ledger.missing(sent);
    say(format_args!("missing            {missing}"))?;
    say(format_args!("more than once     {}", ledger.duplicates()))?;
    say(format_args!("out of order       {}", ledger.out_of_order()))?;
    let in_doubt = sent.sent.saturating_sub(ledger.distinct()).saturating_sub(missing);
    if in_doubt > 0 {
        say(format_args!("lost in a reset    {in_doubt}  (written by the feed, and never delivered by TCP)"))?;
    }
    say(format_args!("reconnecting took  {} ms in all", sent.unconnected_ms))?;
    let proven = missing == 0 && ledger.duplicates() == 0 && ledger.out_of_order() == 0;
    say(format_args!(
        "{}",
        if proven { "proven: every message the feed delivered is in the topic, once, in order" } else { "NOT proven" }
    ))?;
    Ok(proven)
}

//! `connect-websocket worker.properties [connector files …]`: the worker's process, from its command line to its end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use connect_websocket::command::{demo, feeds, probe, record, replay, standalone, validate};
use connect_websocket::logging;

#[derive(Parser)]
#[command(name = "connect-websocket", version, about = ABOUT, after_help = AFTER, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The worker's properties, as for connect-standalone.
    #[arg(value_name = "worker.properties")]
    worker: Option<PathBuf>,
    /// Connectors to create at the start: properties, or JSON.
    #[arg(value_name = "connector.properties|.json")]
    connectors: Vec<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Checks connectors' configurations and reports every error at once.
    Validate(validate::Options),
    /// Lists the feeds that are known; of one, shows its session in words and writes a connector file for it.
    Feeds {
        /// A feed of the list, or the path of a profile of your own.
        feed: Option<String>,
        /// Writes a connector file, ready to be filled in.
        #[arg(long, value_name = "FILE", requires = "feed")]
        write: Option<PathBuf>,
    },
    /// Shows a feed before it is a connector: how it answers, samples, figures, and options that fit it. Needs no Kafka.
    Probe(probe::Options),
    /// Keeps a feed's messages, with their times, in a tape; secrets are hidden.
    Record(record::Options),
    /// Serves a tape as a WebSocket server on loopback.
    Replay(replay::Options),
    /// Shows the whole job on embedded parts: a feed, the connector, a broker; and proves that nothing is lost.
    Demo(demo::Options),
}

const ABOUT: &str =
    "Streams WebSocket feeds into Apache Kafka: a drop-in for connect-standalone for the WebSocket source connector";
const AFTER: &str = "Exit codes: 0 stopped by a signal; 1 usage; 2 the worker cannot start; \
                     3 a connector file cannot be created; 129, 130, 143 ended at once by a second signal. validate: 0 valid, 1 not valid, 2 usage, \
                     or a file that cannot be read. probe and record: 0 messages came, 1 refused, 2 usage or a configuration that is not valid, \
                     3 connected and nothing came.";

const USAGE: u8 = 1;

fn main() -> ExitCode {
    let (arguments, daemon) = without_daemon(std::env::args_os());
    if daemon {
        eprintln!("-daemon is ignored: run the worker under a service manager, or with nohup and &");
    }
    // The worker's own is that of connect-standalone.
    let usage_code = match arguments.get(1).and_then(|first| first.to_str()) {
        Some("validate") => validate::USAGE,
        Some("probe" | "record") => probe::USAGE,
        Some("replay") => replay::USAGE,
        _ => USAGE,
    };
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() { ExitCode::from(usage_code) } else { ExitCode::SUCCESS };
        }
    };
    match (arguments.command, arguments.worker) {
        (Some(Command::Validate(options)), _) => validate::run(&options),
        (Some(Command::Feeds { feed, write }), _) => feeds::run(feed.as_deref(), write.as_deref()),
        (Some(Command::Probe(options)), _) => probe::run(&options),
        (Some(Command::Record(options)), _) => record::run(&options),
        (Some(Command::Replay(options)), _) => replay::run(&options),
        (Some(Command::Demo(options)), _) => with_log(|levels| demo::run(&options, levels)),
        (None, Some(worker)) => with_log(|levels| standalone::run(&worker, &arguments.connectors, levels)),
        (None, None) => {
            eprint!("{}", Arguments::command().render_help());
            ExitCode::from(USAGE)
        }
    }
}

fn with_log(run: impl FnOnce(Arc<logging::Levels>) -> ExitCode) -> ExitCode {
    match logging::start() {
        Ok(levels) => run(levels),
        Err(error) => {
            eprintln!("the log cannot be started: {error}");
            ExitCode::from(standalone::START_FAILED)
        }
    }
}

/// `-daemon` may be the first argument, as for connect-standalone.sh.
fn without_daemon(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, bool) {
    let mut arguments: Vec<OsString> = arguments.collect();
    let daemon = arguments.get(1).is_some_and(|argument| argument == "-daemon");
    if daemon {
        arguments.remove(1);
    }
    (arguments, daemon)
}

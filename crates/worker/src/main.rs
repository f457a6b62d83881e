//! The command line of `connect-websocket`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use connect_websocket::command::say::unread;
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
    /// Connectors to create at the start, as properties or JSON.
    #[arg(value_name = "connector.properties|.json")]
    connectors: Vec<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Checks connectors' configurations, and reports all errors at once.
    Validate(validate::Options),
    /// Lists the known feeds. With the name of one, shows its session in words, or writes a connector file for it.
    Feeds {
        /// A feed of the list, or the path of your own profile.
        feed: Option<String>,
        /// Writes a connector file, which you complete.
        #[arg(long, value_name = "FILE", requires = "feed")]
        write: Option<PathBuf>,
    },
    /// Shows what a feed answers and sends, with statistics, and options that fit it. Needs no Kafka.
    Probe(probe::Options),
    /// Writes a feed's messages to a file, called a tape, with their times and without secrets.
    Record(record::Options),
    /// Serves a tape as a WebSocket server on loopback.
    Replay(replay::Options),
    /// Runs a feed, the connector, a small Kafka and a consumer in one process, and proves that nothing is lost.
    Demo(demo::Options),
}

const ABOUT: &str =
    "Streams WebSocket feeds into Apache Kafka. Replaces connect-standalone for the WebSocket source connector";
const AFTER: &str = "Exit codes of the worker: 0 stopped by a signal; 1 wrong arguments; 2 the worker cannot start; \
                     3 a connector of the command line cannot be created; 129, 130, 143 ended at once by a second signal. \
                     validate: 0 all valid, 1 at least one not valid, 2 wrong arguments, or a file that cannot be read. \
                     probe and record: 0 messages came, 1 refused, 2 wrong arguments or configuration, 3 connected, but no message came.";

const USAGE: u8 = 1;

fn main() -> ExitCode {
    let (arguments, daemon) = without_daemon(std::env::args_os());
    if daemon {
        eprintln!("-daemon is ignored: run the worker under a service manager, or with nohup and &");
    }
    // The code of the worker itself is that of connect-standalone.
    let usage_code = match arguments.get(1).and_then(|first| first.to_str()) {
        Some("validate") => validate::USAGE,
        Some("probe" | "record") => probe::USAGE,
        Some("replay") => replay::USAGE,
        _ => USAGE,
    };
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => return show(&usage, usage_code),
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

/// Prints the help, the version, or what is wrong with the command line.
fn show(usage: &clap::Error, usage_code: u8) -> ExitCode {
    let unread = usage.print().err().and_then(|error| unread(error.kind()));
    if usage.use_stderr() {
        return ExitCode::from(usage_code);
    }
    match unread {
        None => ExitCode::SUCCESS,
        Some(why) => {
            eprintln!("{why}");
            ExitCode::from(usage_code)
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

//! `connect-websocket probe`: shows a feed as the connector sees it. It needs no Kafka.
//!
//! ```text
//! source ─▶ session of the engine ─ sights ─▶ watch ─▶ line ─▶ screen
//!                                 └ records ─▶ samples, learn
//! ```

mod certificate;
mod figures;
mod line;
mod screen;
pub(super) mod source;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, value_parser};
use connect_websocket_engine::config::Config;
use connect_websocket_engine::task::SourceTask;
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::command::interrupt::Interrupt;
use crate::command::say::unread;
use crate::command::time::time;
use crate::learn::Errors;
use crate::tape::Writer;
use line::Line;
pub(super) use line::harmless;
use screen::Screen;
use source::{Feed, Source};
use watch::Watch;

/// Messages came.
const CAME: u8 = 0;
/// The feed has refused, or could not be reached.
const REFUSED: u8 = 1;
/// The command line, a file or the configuration is wrong.
pub const USAGE: u8 = 2;
/// Connected, but no message came.
const NOTHING: u8 = 3;

/// The default limit of a tape.
pub(super) const TAPE_BYTES: u64 = 64 << 20;
/// How long the closing handshake may take.
const GRACE: Duration = Duration::from_secs(1);
/// How long one poll for records takes.
const POLL: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct Options {
    /// A connector's file (properties or JSON), or the URL of a feed: ws:// or wss://.
    #[arg(value_name = "FILE|URL")]
    what: Option<String>,
    #[command(flatten)]
    source: Source,
    /// Ends after this time, such as 30s or 5m.
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "30s")]
    time: Duration,
    /// Ends after this number of messages.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// How many messages are shown.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    samples: u64,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Writes all messages to a tape, as `record` does, up to 64 MiB.
    #[arg(long, value_name = "tape.jsonl")]
    save: Option<PathBuf>,
}

/// The settings of `probe` and of `record`.
pub(super) struct Task<'a> {
    /// A connector's file or a URL.
    pub(super) what: Option<&'a str>,
    pub(super) source: &'a Source,
    /// `None`: until a signal.
    pub(super) time: Option<Duration>,
    pub(super) messages: Option<u64>,
    pub(super) samples: u64,
    pub(super) json: bool,
    /// The file of the tape, and its limit.
    pub(super) tape: Option<(&'a Path, u64)>,
    /// Whether only the tape is wanted (`record`). Then it ends when the tape is full, and nothing is learned.
    pub(super) only_tape: bool,
}

/// Shows a feed. The exit code says whether messages came.
pub fn run(options: &Options) -> ExitCode {
    Task {
        what: options.what.as_deref(),
        source: &options.source,
        time: Some(options.time),
        messages: options.messages,
        samples: options.messages.map_or(options.samples, |messages| messages.min(options.samples)),
        json: options.json,
        tape: options.save.as_deref().map(|path| (path, TAPE_BYTES)),
        only_tape: false,
    }
    .run()
}

impl Task<'_> {
    pub(super) fn run(&self) -> ExitCode {
        let Feed { config, options, warnings } = match self.source.feed(self.what) {
            Ok(feed) => feed,
            Err(sentences) => return wrong(&sentences),
        };
        let tape = self.tape.map(|(path, max_bytes)| Writer::create(path, config.endpoint.redacted(), max_bytes));
        let tape = match tape.transpose() {
            Ok(tape) => tape,
            Err(why) => return wrong(&[why]),
        };
        warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        let screen = Screen::of_standard_output(self.json);
        let watch = Arc::new(Watch::new(screen, config.redactor.clone(), options, self.samples, tape));
        let feed = config.partition.strip_prefix("feed:").map(str::to_owned);
        watch.say(&Line::Start { url: config.endpoint.redacted().to_owned(), feed });
        // The session runs on this thread too, so that its events and the polled records stay in order. It lets the thread
        // sleep between two reads, so the records are polled after each read.
        let runtime = match Builder::new_current_thread().enable_all().event_interval(1).build() {
            Ok(runtime) => runtime,
            Err(error) => return wrong(&[format!("the probe's thread cannot be set up: {error}")]),
        };
        let outcome = runtime.block_on(self.watch(config, &watch));
        // A thread that waits for a host name must not delay the end of the process.
        runtime.shutdown_background();
        match outcome {
            Ok(()) => self.report(&watch),
            Err(why) => wrong(&[why]),
        }
    }

    /// Runs the session until the end of the probe.
    ///
    /// # Errors
    /// It cannot be started.
    async fn watch(&self, config: Config, watch: &Arc<Watch>) -> Result<(), String> {
        let mut interrupt = Interrupt::listen()?;
        let mut task =
            SourceTask::start_watched(config, watch.clone(), &Handle::current()).map_err(|e| e.to_string())?;
        let end = self.time.map(|time| Instant::now() + time);
        let is_time = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.poll(&mut task, watch) => {}
            () = is_time => {}
            () = interrupt.came() => {}
        }
        watch.finish();
        say_goodbye(&mut task, watch).await;
        Ok(())
    }

    /// Takes records until there are enough, or no more can come.
    async fn poll(&self, task: &mut SourceTask, watch: &Watch) {
        while !self.is_in_vain(watch) {
            match task.poll(POLL).await {
                // Everything received is polled by now, so it is known whether a message came.
                Ok(None) if watch.refused().is_some() => return,
                Ok(None) => {}
                Ok(Some(batch)) => {
                    watch.records_of(&batch);
                    if self.messages.is_some_and(|most| watch.records() >= most) {
                        return;
                    }
                }
                // The observer has reported why.
                Err(_) => return,
            }
        }
    }

    /// Whether nobody reads the output, or the tape of `record` is full.
    fn is_in_vain(&self, watch: &Watch) -> bool {
        watch.unread().is_some() || self.only_tape && watch.tape_is_over()
    }

    /// Shows the results.
    fn report(&self, watch: &Watch) -> ExitCode {
        let errors = watch.errors();
        if watch.is_opened() || self.json {
            watch.say(&Line::Summary(watch.summary(errors.as_ref())));
        }
        if !self.only_tape && watch.records() > 0 {
            watch.findings().into_iter().for_each(|finding| watch.say(&Line::Finding(finding)));
        }
        let (exit_code, reason) = match watch.end_tape() {
            Ok(line) => {
                line.iter().for_each(|line| watch.say(line));
                self.outcome(watch, errors.as_ref())
            }
            Err(why) => (USAGE, why),
        };
        watch.say(&Line::Result { exit_code, reason });
        match watch.unread().and_then(unread) {
            Some(why) => wrong(&[why]),
            None => ExitCode::from(exit_code),
        }
    }

    /// Returns the exit code, and the reason.
    fn outcome(&self, watch: &Watch, errors: Option<&Errors>) -> (u8, String) {
        let (records, messages) = (watch.records(), watch.messages());
        if let Some(why) = watch.refused() {
            return (REFUSED, format!("refused: {why}"));
        }
        if records > 0 {
            let are_all_errors = |errors: &Errors| errors.count == errors.of && errors.of as u64 >= messages;
            let came = count(records);
            return match errors {
                Some(errors) if are_all_errors(errors) => {
                    (CAME, format!("{came} came, and nothing but what looks like errors"))
                }
                _ => (CAME, format!("{came} came")),
            };
        }
        if !watch.is_opened() {
            let stage = watch.stage().map_or_else(String::new, |stage| format!(": {stage}"));
            return (REFUSED, format!("no connection was open at the end{stage}"));
        }
        if messages > 0 {
            let why = "answers to steps and what a filter drops do not count";
            return (NOTHING, format!("{} came, and nothing of it would be in Kafka: {why}", count(messages)));
        }
        let why = match watch.step_under_way() {
            Some(step) => format!("the step {step} is not done"),
            None => "many feeds send nothing without a subscription (--subscribe)".to_owned(),
        };
        (NOTHING, format!("connected, and no message came; {why}"))
    }
}

/// Returns a number of messages in words.
pub(super) fn count(messages: u64) -> String {
    format!("{messages} message{}", if messages == 1 { "" } else { "s" })
}

/// Ends the session with a closing handshake. Records that were made before still count.
async fn say_goodbye(task: &mut SourceTask, watch: &Watch) {
    task.stop(GRACE);
    let deadline = Instant::now() + GRACE;
    while !task.is_drained() {
        let Ok(Ok(batch)) = timeout_at(deadline, task.poll(POLL)).await else { return };
        batch.iter().for_each(|batch| watch.records_of(batch));
    }
}

/// Prints why there is nothing to probe.
fn wrong(sentences: &[String]) -> ExitCode {
    sentences.iter().for_each(|sentence| eprintln!("{sentence}"));
    ExitCode::from(USAGE)
}

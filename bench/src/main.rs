//! Measures programs that bring a WebSocket feed into Kafka, side by side; bench/README.md has the method.

mod arrivals;
mod feed;
mod intake;
mod jvm;
mod program;
mod report;
mod running;
mod runs;
mod sample;
mod scenario;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use connect_websocket_e2e::Kafka;
use connect_websocket_testkit::Kind as Frame;

use crate::feed::{End, Transport};
use crate::program::{Kind, Program, Source};
use crate::report::Row;
use crate::runs::Restart;
use crate::sample::Outcome;
use crate::scenario::Scenario;

/// Measures programs that bring a WebSocket feed into Kafka, side by side. Start it with bench/run.sh, which builds all.
#[derive(Parser)]
#[command(name = "bench/run.sh")]
struct Options {
    /// One size, no TLS, no compression, few and short runs: about ten minutes.
    #[arg(long)]
    quick: bool,
    /// Another program to compare, configured by its environment (see bench/README.md).
    #[arg(long = "program", value_name = "NAME=PATH", value_parser = named)]
    programs: Vec<(String, PathBuf)>,
    /// Another worker to compare, started as connect-standalone: PATH worker.properties connector.properties.
    #[arg(long = "worker", value_name = "NAME=PATH", value_parser = named)]
    workers: Vec<(String, PathBuf)>,
    /// Only these programs, such as worker,plain,plugin,connect-floor.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these scenarios.
    #[arg(long, value_name = "NAMES", value_delimiter = ',',
        value_parser = ["intake", "burst", "paced", "idle", "ends", "stop", "restart"])]
    scenarios: Vec<String>,
    /// Runs of each program in each scenario.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: Option<u32>,
    /// Messages of a burst.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Length of the steady and idle scenarios.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// The Python with the packages of bench/programs/requirements.txt; without it that program is left out.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The plugin.path of Kafka Connect with the plugin; without it the programs of Kafka Connect are left out.
    #[arg(long)]
    plugin_path: Option<PathBuf>,
    /// Where the report goes, besides standard output.
    #[arg(long)]
    output: PathBuf,
    /// When and what is measured, for the heading.
    #[arg(long, default_value = "")]
    when: String,
    #[arg(long, default_value = "unknown")]
    revision: String,
}

/// The scenario that needs neither a program nor Kafka.
const INTAKE: &str = "intake";

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    let programs = programs(options)?;
    let scenarios: Vec<(Scenario, u32)> = scenarios(options)
        .into_iter()
        .filter(|(scenario, _)| options.scenarios.is_empty() || options.scenarios.iter().any(|s| s == scenario.group()))
        .collect();
    let begun = Instant::now();
    let mode = if options.quick { "quick" } else { "full" };
    let mut text = report::heading(mode, &options.when, &options.revision);
    print!("{text}");
    if options.scenarios.iter().any(|name| name == INTAKE) || options.scenarios.is_empty() && options.only.is_empty() {
        eprintln!("bench: {INTAKE}");
        let section = intake::section(&built("examples/intake")?)?;
        print!("{section}");
        text.push_str(&section);
        save(options, &text)?;
    }
    if scenarios.is_empty() {
        return Ok(());
    }

    eprintln!("bench: starting Kafka");
    // What was measured is deleted at once, not after a minute.
    let kafka = Kafka::builder().property("log.segment.delete.delay.ms", "1000").start();
    for (index, (scenario, repetitions)) in scenarios.iter().enumerate() {
        if !programs.iter().any(|program| scenario.suits(program)) {
            continue;
        }
        let rows = measure(scenario, *repetitions, &programs, &kafka, index);
        let section = report::section(scenario, &rows);
        print!("{section}");
        text.push_str(&section);
        // After each scenario, so that an interrupted run leaves what it has.
        save(options, &text)?;
    }
    eprintln!("bench: {} s; the report is in {}", begun.elapsed().as_secs(), options.output.display());
    Ok(())
}

/// Runs the programs in turns, so that a machine that grows slower or faster does so for all.
fn measure(scenario: &Scenario, repetitions: u32, programs: &[Program], kafka: &Kafka, index: usize) -> Vec<Row> {
    let programs: Vec<&Program> = programs.iter().filter(|program| scenario.suits(program)).collect();
    let row = |program: &&Program| Row { program: program.name.clone(), group: program.group(), runs: Vec::new() };
    let mut rows: Vec<Row> = programs.iter().map(row).collect();
    for repetition in 0..repetitions {
        for (at, (program, row)) in programs.iter().zip(&mut rows).enumerate() {
            eprintln!("bench: {scenario}: {}, run {} of {repetitions}", program.name, repetition + 1);
            let outcome = scenario.run(program, kafka, &format!("bench-{index}-{repetition}-{at}"));
            if let Err(error) = &outcome {
                eprintln!("bench: {error}");
            }
            row.runs.push(outcome);
        }
    }
    rows
}

fn scenarios(options: &Options) -> Vec<(Scenario, u32)> {
    let quick = options.quick;
    let repetitions = options.repetitions.unwrap_or(3);
    let once_if_quick = options.repetitions.unwrap_or(if quick { 1 } else { 3 });
    let messages = options.messages.unwrap_or(if quick { 200_000 } else { 1_000_000 });
    let seconds = options.seconds.unwrap_or(if quick { 4 } else { 20 });

    let mut all = Vec::new();
    let transports: &[Transport] =
        if quick { &[Transport::Plain] } else { &[Transport::Plain, Transport::Tls, Transport::Deflate] };
    let sizes: &[usize] = if quick { &[512] } else { &[200, 512, 4096] };
    for &transport in transports {
        for &size in sizes {
            // The large ones fill the disk quickly.
            let messages = if size > 1024 { messages.div_ceil(4) } else { messages };
            all.push((Scenario::Burst { transport, size, messages }, repetitions));
        }
    }
    for rate in [1_000, 10_000] {
        all.push((Scenario::Paced { rate, size: 512, seconds }, once_if_quick));
    }
    all.push((Scenario::Stop { rate: 5_000 }, once_if_quick));
    all.push((Scenario::Idle { rate: Some(1), seconds }, once_if_quick));
    if !quick {
        all.push((Scenario::Idle { rate: None, seconds }, repetitions));
        for end in [End::Close, End::Reset] {
            all.push((Scenario::Ends { end, rate: 1_000, every: 5, seconds: 31 }, repetitions));
        }
        for rate in [5_000, 50_000] {
            for what in [Restart::Connector, Restart::Task] {
                all.push((Scenario::Restart { what, rate }, repetitions));
            }
        }
    }
    all
}

fn programs(options: &Options) -> Outcome<Vec<Program>> {
    let own = built("bench")?;
    let built = |name: &str| own.with_file_name(name);
    let program = |name: &str, kind| Program { name: name.to_owned(), kind };
    let mut all = vec![
        program("worker", Kind::Worker(built("connect-websocket"))),
        program("plain", Kind::Plain(vec![built("bench-plain")])),
    ];
    if let Some(python) = &options.python {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/client.py");
        all.push(program("python", Kind::Plain(vec![python.clone(), script])));
    }
    for (name, path) in &options.workers {
        all.push(program(name, Kind::Worker(path.clone())));
    }
    for (name, path) in &options.programs {
        all.push(program(name, Kind::Plain(vec![path.clone()])));
    }
    all.push(program("floor-socket", Kind::FloorSocket(built("bench-floor-socket"))));
    all.push(program("floor-producer", Kind::FloorProducer(built("bench-floor-producer"))));
    if let Some(plugin) = &options.plugin_path {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/connect.sh");
        // Where run.sh puts it, beside the directory of the executables.
        let floor = own.with_file_name("../bench/connect-floor");
        let connect = |name, plugin_path: &Path, source, frame| {
            let plugin_path = plugin_path.to_owned();
            program(name, Kind::Connect { script: script.clone(), plugin_path, source, frame })
        };
        all.push(connect("plugin", plugin, Source::Plugin, Frame::Text));
        all.push(connect("connect-floor", &floor, Source::Floor, Frame::Text));
        all.push(connect("connect-idle", plugin, Source::None, Frame::Text));
        all.push(connect("plugin-bytes", plugin, Source::Plugin, Frame::Binary));
        all.push(connect("connect-floor-bytes", &floor, Source::Floor, Frame::Binary));
    }

    if let Some(unknown) = options.only.iter().find(|name| all.iter().all(|program| program.name != **name)) {
        let names: Vec<&str> = all.iter().map(|program| program.name.as_str()).collect();
        return Err(format!("there is no program {unknown}, only {}", names.join(", ")));
    }
    if !options.only.is_empty() {
        all.retain(|program| options.only.contains(&program.name));
    }
    for path in all.iter().map(Program::path) {
        if !path.exists() {
            return Err(format!("{} does not exist; bench/run.sh builds what is compared", path.display()));
        }
    }
    Ok(all)
}

/// What was built lies beside this program.
fn built(name: &str) -> Outcome<PathBuf> {
    let own = std::env::current_exe().map_err(|e| format!("the path of this program is not known: {e}"))?;
    Ok(own.with_file_name(name))
}

fn save(options: &Options, text: &str) -> Outcome<()> {
    write(&options.output, text).map_err(|e| format!("{} cannot be written: {e}", options.output.display()))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
}

/// `name=path`; the path becomes absolute, because programs run in directories of their own.
fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not NAME=PATH"))?;
    let path = std::path::absolute(path).map_err(|e| format!("\"{path}\" is no path: {e}"))?;
    Ok((name.to_owned(), path))
}

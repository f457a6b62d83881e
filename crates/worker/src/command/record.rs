//! `connect-websocket record`: writes a feed's messages to a tape.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, value_parser};

use crate::command::probe::source::Source;
use crate::command::probe::{TAPE_BYTES, Task};
use crate::command::time::time;

#[derive(Args)]
#[command(override_usage = "connect-websocket record [OPTIONS] [FILE|URL] <tape.jsonl>")]
pub struct Options {
    // If clap knew that the first may be missing, it would take a URL before an option for the tape. Their number decides.
    /// A connector's file (properties or JSON), or the URL of a feed: ws:// or wss://. Not needed with --feed.
    #[arg(value_name = "FILE|URL")]
    first: String,
    /// The file to write. An existing file is not overwritten.
    #[arg(value_name = "tape.jsonl")]
    second: Option<String>,
    #[command(flatten)]
    source: Source,
    /// Ends after this time, such as 30s or 5m. By default at Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    /// Ends after this number of messages.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Ends before the tape gets larger: a number of bytes, or a number with K, M or G.
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value_t = TAPE_BYTES)]
    max_bytes: u64,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// Records a feed. The exit code says whether messages came.
pub fn run(options: &Options) -> ExitCode {
    let (what, tape) = match &options.second {
        Some(tape) => (Some(options.first.as_str()), tape),
        None => (None, &options.first),
    };
    Task {
        what,
        source: &options.source,
        time: options.time,
        messages: options.messages,
        samples: 0,
        json: options.json,
        tape: Some((Path::new(tape), options.max_bytes)),
        only_tape: true,
    }
    .run()
}

fn bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "give a number of bytes, such as 1000000 or 64M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("2g"), Ok(2 << 30));
        for wrong in ["", "M", "1T", "-1", "99999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}

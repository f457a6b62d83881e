//! The functions of expressions that take values and return one. The parser has those with a form of their own (`when`,
//! `envelope`, `json`, …).

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use ring::{digest, hmac};

use super::decimal;
use super::expression::{Failure, Value, Values};
use super::signature;
use crate::calendar::DateTime;
use crate::json;

/// The most random bytes of one call.
const MAX_RANDOM: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Quote,
    Part,
    Upper,
    Lower,
    Int,
    HexInt,
    Add,
    Mul,
    Div,
    Bit,
    NowSeconds,
    NowMillis,
    NowMicros,
    Time,
    Iso,
    Uuid,
    Count,
    RandomHex,
    Base64,
    Base64Decode,
    Hex,
    UrlEncode,
    Sha256,
    Sha512,
    HmacSha256,
    HmacSha512,
    Ed25519Sign,
    Jwt,
}

/// What a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yields {
    Value,
    /// Bytes, usually not UTF-8. To insert or compare them is an error.
    Bytes,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Arguments {
    pub(super) form: &'static str,
    pub(super) least: usize,
    pub(super) most: usize,
}

struct Row {
    name: &'static str,
    function: Function,
    arguments: Arguments,
    yields: Yields,
}

const fn row(name: &'static str, function: Function, form: &'static str, least: usize, most: usize) -> Row {
    Row { name, function, arguments: Arguments { form, least, most }, yields: Yields::Value }
}

const fn bytes(name: &'static str, function: Function, form: &'static str, arity: usize) -> Row {
    Row { name, function, arguments: Arguments { form, least: arity, most: arity }, yields: Yields::Bytes }
}

const TABLE: &[Row] = &[
    row("quote", Function::Quote, "quote(value)", 1, 1),
    row("part", Function::Part, "part(text, separator, number)", 3, 3),
    row("upper", Function::Upper, "upper(text)", 1, 1),
    row("lower", Function::Lower, "lower(text)", 1, 1),
    row("int", Function::Int, "int(value)", 1, 1),
    row("hex_int", Function::HexInt, "hex_int(integer)", 1, 1),
    row("add", Function::Add, "add(integer, integer)", 2, 2),
    row("mul", Function::Mul, "mul(integer, integer)", 2, 2),
    row("div", Function::Div, "div(integer, integer)", 2, 2),
    row("bit", Function::Bit, "bit(integer, number)", 2, 2),
    row("now_s", Function::NowSeconds, "now_s()", 0, 0),
    row("now_ms", Function::NowMillis, "now_ms()", 0, 0),
    row("now_us", Function::NowMicros, "now_us()", 0, 0),
    row("time", Function::Time, "time('%Y-%m-%dT%H:%M:%S')", 1, 1),
    row("iso", Function::Iso, "iso(seconds)", 1, 1),
    row("uuid", Function::Uuid, "uuid()", 0, 0),
    row("n", Function::Count, "n()", 0, 0),
    row("random_hex", Function::RandomHex, "random_hex(bytes)", 1, 1),
    row("base64", Function::Base64, "base64(value)", 1, 1),
    row("base64_decode", Function::Base64Decode, "base64_decode(text)", 1, 1),
    row("hex", Function::Hex, "hex(value)", 1, 1),
    row("url_encode", Function::UrlEncode, "url_encode(text)", 1, 1),
    bytes("sha256", Function::Sha256, "sha256(value)", 1),
    bytes("sha512", Function::Sha512, "sha512(value)", 1),
    bytes("hmac_sha256", Function::HmacSha256, "hmac_sha256(key, text)", 2),
    bytes("hmac_sha512", Function::HmacSha512, "hmac_sha512(key, text)", 2),
    bytes("ed25519_sign", Function::Ed25519Sign, "ed25519_sign(pem, text)", 2),
    row("jwt", Function::Jwt, "jwt('ES256', key, claims) or jwt('ES256', key, claims, header)", 3, 4),
];

/// The functions that the parser implements.
const FORMS: [&str; 6] = ["when", "envelope", "header", "json", "join", "topic_of"];

/// The names of all functions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.name).chain(FORMS)
}

impl Function {
    pub(super) fn find(name: &str) -> Option<Function> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.function)
    }

    fn row(self) -> &'static Row {
        // A test checks that every function has a row.
        TABLE.iter().find(|row| row.function == self).unwrap_or(&TABLE[0])
    }

    pub(super) fn arguments(self) -> Arguments {
        self.row().arguments
    }

    pub(super) fn yields(self) -> Yields {
        self.row().yields
    }

    /// Checks the arguments that are literals. The others are not known yet.
    pub(super) fn check(self, literals: &[Option<String>]) -> Result<(), String> {
        let first = literals.first().and_then(Option::as_deref);
        match self {
            Function::Jwt if first.is_none_or(|name| signature::Algorithm::find(name).is_none()) => {
                Err("expected one of 'HS256', 'ES256', 'EdDSA', 'RS256' as the first argument of jwt".into())
            }
            Function::Time => match first {
                Some(format) => write_time(format, UNIX_EPOCH).map(|_| ()),
                None => Err("expected a format, as in time('%Y-%m-%dT%H:%M:%S')".into()),
            },
            Function::RandomHex => match first.and_then(|text| text.parse::<usize>().ok()) {
                Some(1..=MAX_RANDOM) => Ok(()),
                _ => Err(format!("expected a number of bytes from 1 to {MAX_RANDOM}, as in random_hex(16)")),
            },
            _ => Ok(()),
        }
    }
}

/// Calls a function. If an argument is missing, the value is missing, except for `quote`.
pub(super) fn call<'v>(
    function: Function,
    mut arguments: Vec<Value<'v>>,
    values: &Values<'_>,
) -> Result<Value<'v>, Failure> {
    if function == Function::Quote {
        return quote(arguments.swap_remove(0));
    }
    if let Some(missing) = arguments.iter().position(|value| matches!(value, Value::Missing(_))) {
        return Ok(arguments.swap_remove(missing));
    }
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().unwrap_or(Value::Null);
    let missing = || Value::Missing(Cow::Borrowed(function.arguments().form));
    Ok(match function {
        Function::Quote => Value::Null,
        Function::Part => {
            let (text, separator, number) = (next().into_text()?, next().into_text()?, next().into_text()?);
            part(&text, &separator, &number).map_or_else(missing, text_value)
        }
        Function::Upper => text_value(next().into_text()?.to_uppercase()),
        Function::Lower => text_value(next().into_text()?.to_lowercase()),
        Function::Int => int(&next().into_text()?).map_or_else(missing, number_value),
        Function::HexInt => hex_int(&next().into_text()?).map_or_else(missing, text_value),
        Function::Add | Function::Mul | Function::Div => {
            let (a, b) = (next().into_text()?, next().into_text()?);
            let calculate = match function {
                Function::Mul => decimal::mul,
                Function::Div => decimal::div,
                _ => decimal::add,
            };
            calculate(&a, &b).map_or_else(missing, number_value)
        }
        Function::Bit => {
            let (flags, number) = (next().into_text()?, next().into_text()?);
            bit(&flags, &number).map_or_else(missing, number_value)
        }
        Function::NowSeconds => number_value(micros(values.now).div_euclid(1_000_000).to_string()),
        Function::NowMillis => number_value(micros(values.now).div_euclid(1_000).to_string()),
        Function::NowMicros => number_value(micros(values.now).to_string()),
        Function::Time => text_value(write_time(&next().into_text()?, values.now).map_err(Failure::Refused)?),
        Function::Iso => iso(&next().into_text()?).map_or_else(missing, text_value),
        Function::Uuid => {
            let mut bytes = [0; 16];
            (values.chance)(&mut bytes);
            text_value(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
        }
        Function::Count => {
            values.count.set(values.count.get() + 1);
            number_value(values.count.get().to_string())
        }
        Function::RandomHex => {
            let wanted = next().into_text()?.parse().unwrap_or(0);
            let mut bytes = vec![0; std::cmp::min(wanted, MAX_RANDOM)];
            (values.chance)(&mut bytes);
            text_value(hex(&bytes))
        }
        Function::Base64 => text_value(STANDARD.encode(bytes_of(next())?)),
        Function::Base64Decode => Value::Bytes(base64_decode(&next().into_text()?)?),
        Function::Hex => text_value(hex(&bytes_of(next())?)),
        Function::UrlEncode => text_value(percent_encoded(&next().into_text()?).to_string()),
        Function::Sha256 => hashed(&digest::SHA256, &bytes_of(next())?),
        Function::Sha512 => hashed(&digest::SHA512, &bytes_of(next())?),
        Function::HmacSha256 => authenticated(hmac::HMAC_SHA256, &bytes_of(next())?, &bytes_of(next())?),
        Function::HmacSha512 => authenticated(hmac::HMAC_SHA512, &bytes_of(next())?, &bytes_of(next())?),
        Function::Ed25519Sign => {
            let (key, text) = (bytes_of(next())?, bytes_of(next())?);
            Value::Bytes(signature::ed25519(&key, &text).map_err(Failure::Refused)?)
        }
        Function::Jwt => {
            let (name, key, claims) = (next().into_text()?, bytes_of(next())?, next().into_text()?);
            let header = match next() {
                Value::Null => None,
                header => Some(header.into_text()?),
            };
            text_value(signature::jwt(&name, &key, &claims, header.as_deref()).map_err(Failure::Refused)?)
        }
    })
}

fn text_value<'v>(text: String) -> Value<'v> {
    Value::Text(Cow::Owned(text))
}

fn number_value<'v>(text: String) -> Value<'v> {
    Value::Number(Cow::Owned(text))
}

fn bytes_of(value: Value<'_>) -> Result<Vec<u8>, Failure> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        other => Ok(other.into_text()?.into_owned().into_bytes()),
    }
}

/// Encodes everything but RFC 3986's unreserved characters.
pub(super) fn percent_encoded(text: &str) -> PercentEncode<'_> {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED)
}

/// Returns a JSON string, or null for a missing value or null.
fn quote(value: Value<'_>) -> Result<Value<'_>, Failure> {
    if matches!(value, Value::Missing(_) | Value::Null) {
        return Ok(Value::Null);
    }
    let mut quoted = String::from("\"");
    json::escape(&value.into_text()?, &mut quoted);
    quoted.push('"');
    Ok(text_value(quoted))
}

/// Returns piece `n` of a text: 0 is the first, -1 the last.
fn part(text: &str, separator: &str, number: &str) -> Option<String> {
    if separator.is_empty() {
        return None;
    }
    let number: isize = number.parse().ok()?;
    let piece = match usize::try_from(number) {
        Ok(from_front) => text.split(separator).nth(from_front),
        Err(_) => text.rsplit(separator).nth(number.unsigned_abs() - 1),
    };
    piece.map(str::to_owned)
}

/// Decimal, or hexadecimal with 0x.
fn int(text: &str) -> Option<String> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None => (10, digits),
    };
    if !digits.starts_with(|char: char| char.is_ascii_hexdigit()) {
        return None;
    }
    let size = u128::from_str_radix(digits, radix).ok()?;
    Some(if negative && size > 0 { format!("-{size}") } else { size.to_string() })
}

/// Returns an integer that is not negative in hexadecimal, with 0x and without leading zeros.
fn hex_int(text: &str) -> Option<String> {
    text.parse::<u128>().ok().map(|number| format!("{number:#x}"))
}

/// Returns seconds since the epoch, possibly with a fraction, as a date in UTC.
fn iso(seconds: &str) -> Option<String> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let is_number = !whole.is_empty() && [whole, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let at = DateTime::from_epoch_seconds(whole.parse().ok().filter(|_| is_number)?);
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{at}{point}{fraction}Z"))
}

/// Returns a bit of an integer. Bit 0 is the lowest.
fn bit(flags: &str, number: &str) -> Option<String> {
    let flags: u128 = flags.parse().ok()?;
    let shifted = flags.checked_shr(number.parse().ok()?)?;
    Some((shifted & 1).to_string())
}

fn base64_decode(text: &str) -> Result<Vec<u8>, Failure> {
    let text: String = text.chars().filter(|char| !char.is_ascii_whitespace()).collect();
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|form| form.decode(&text).ok())
        .ok_or_else(|| Failure::Refused("base64_decode was given text that is not base64".into()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hashed<'v>(algorithm: &'static digest::Algorithm, data: &[u8]) -> Value<'v> {
    Value::Bytes(digest::digest(algorithm, data).as_ref().to_vec())
}

fn authenticated<'v>(algorithm: hmac::Algorithm, key: &[u8], data: &[u8]) -> Value<'v> {
    Value::Bytes(hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec())
}

fn micros(now: SystemTime) -> i128 {
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_micros() as i128,
        Err(before) => -(before.duration().as_micros() as i128),
    }
}

/// `%Y %m %d %H %M %S` in UTC, `%3f` milliseconds, `%6f` microseconds, `%%` itself.
fn write_time(format: &str, now: SystemTime) -> Result<String, String> {
    let micros = micros(now);
    let seconds = micros.div_euclid(1_000_000) as i64;
    let micros = micros.rem_euclid(1_000_000);
    let date = DateTime::from_epoch_seconds(seconds);
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (text, taken) = match rest.as_bytes() {
            [b'Y', ..] => (format!("{:04}", date.year), 1),
            [b'm', ..] => (format!("{:02}", date.month), 1),
            [b'd', ..] => (format!("{:02}", date.day), 1),
            [b'H', ..] => (format!("{:02}", date.hour), 1),
            [b'M', ..] => (format!("{:02}", date.minute), 1),
            [b'S', ..] => (format!("{:02}", date.second), 1),
            [b'3', b'f', ..] => (format!("{:03}", micros / 1000), 2),
            [b'6', b'f', ..] => (format!("{micros:06}"), 2),
            [b'%', ..] => ("%".to_owned(), 1),
            _ => return Err("expected %Y, %m, %d, %H, %M, %S, %3f, %6f or %% in the format of time".into()),
        };
        out.push_str(&text);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::fixture::Fixture;

    #[test]
    fn every_function_has_one_row_and_one_name() {
        for row in TABLE {
            assert_eq!(
                TABLE.iter().filter(|other| other.name == row.name || other.function == row.function).count(),
                1
            );
            assert!(row.arguments.form.starts_with(row.name));
        }
        assert_eq!(TABLE.len(), Function::Jwt as usize + 1);
    }

    #[test]
    fn quote_gives_a_json_string_or_null() {
        let message = Fixture::over(r#"{"s":"a\"b","n":1,"z":null}"#);
        assert_eq!(
            message.render("{{quote(/s)}} {{quote(/n)}} {{quote(/z)}} {{quote(/none)}}").unwrap(),
            r#""a\"b" "1" null null"#
        );
    }

    #[test]
    fn bit_gives_one_flag_of_a_number() {
        let message = Fixture::over(r#"{"flags":983044,"not":"flags"}"#);
        let bits = "{{bit(/flags, 0)}}{{bit(/flags, 2)}}{{bit(/flags, 19)}}{{bit(/flags, 127)}}";
        assert_eq!(message.render(bits).unwrap(), "0110");
        assert_eq!(message.render("{{bit(/flags, 128) ?? bit(/not, 0) ?? bit(/none, 0) ?? 'none'}}").unwrap(), "none");
    }

    #[test]
    fn part_gives_pieces() {
        let fixture = Fixture { topic: Some("stream.online:12826"), ..Fixture::new() };
        assert_eq!(fixture.value("part(topic, ':', 0)"), "stream.online");
        assert_eq!(fixture.value("part(topic, ':', 1)"), "12826");
        assert_eq!(fixture.value("part(topic, ':', -1)"), "12826");
        assert_eq!(fixture.capture("part(topic, ':', 2)"), None);
        assert_eq!(fixture.capture("part(topic, ':', -3)"), None);
        assert_eq!(fixture.capture("part(topic, '', 0)"), None);
        assert_eq!(fixture.value("upper(part(topic, '.', 0))"), "STREAM");
        assert_eq!(fixture.value("lower('STREAM')"), "stream");
    }

    #[test]
    fn join_joins_the_topics() {
        let fixture = Fixture { topics: vec!["T.*".into(), "Q.X".into()], ..Fixture::new() };
        assert_eq!(fixture.value("join(topics, ' , ')"), "T.* , Q.X");
    }

    #[test]
    fn int_reads_decimal_and_hexadecimal() {
        let fixture = Fixture::over(r#"{"h":"0x1f","d":17,"m":"-0x10"}"#);
        assert_eq!(fixture.value("int(/h)"), "31");
        assert_eq!(fixture.value("int(/d)"), "17");
        assert_eq!(fixture.value("int(/m)"), "-16");
        assert!(fixture.holds("int(/h) > 30"));
        for none in ["int('x')", "int('1.5')", "int('')", "int('0x')", "int('+1')"] {
            assert_eq!(fixture.capture(none), None, "{none}");
        }
    }

    #[test]
    fn add_sums_exact_integers() {
        let fixture = Fixture::new().with("cursor", "99999999999999999999");
        assert_eq!(fixture.value("add(cursor, 1)"), "100000000000000000000");
        assert_eq!(fixture.value("add(now_s(), -30)"), "1785579600");
    }

    #[test]
    fn integers_are_multiplied_divided_and_written_in_hexadecimal() {
        let fixture = Fixture::new().with("block", "24000007");
        assert_eq!(fixture.value("div(add(mul(block, 100000), 42), 100000)"), "24000007");
        assert_eq!(fixture.value("hex_int(block)"), "0x16e3607");
        assert_eq!((fixture.value("int(hex_int(0))"), fixture.capture("hex_int(-1)")), ("0".to_owned(), None));
        assert_eq!(fixture.capture("div(block, 0)"), None);
    }

    #[test]
    fn iso_writes_seconds_as_a_date_with_their_fraction() {
        let message = Fixture::over(r#"{"t":1688669597.8277369}"#);
        assert_eq!(message.value("iso(/t)"), "2023-07-06T18:53:17.8277369Z");
        assert_eq!(message.value("iso(0)"), "1970-01-01T00:00:00Z");
        for none in ["iso('1e9')", "iso('.5')", "iso('')", "iso(-1)", "iso('99999999999999999999')"] {
            assert_eq!(message.capture(none), None, "{none}");
        }
    }

    #[test]
    fn time_and_chance_come_in() {
        let fixture = Fixture::new();
        assert_eq!(fixture.value("now_s()"), "1785579630");
        assert_eq!(fixture.value("now_ms()"), "1785579630123");
        assert_eq!(fixture.value("now_us()"), "1785579630123456");
        assert_eq!(fixture.value("time('%Y-%m-%dT%H:%M:%S')"), "2026-08-01T10:20:30");
        assert_eq!(fixture.value("time('%H.%3f %6f %%')"), "10.123 123456 %");
        assert_eq!(fixture.value("uuid()"), "abababab-abab-4bab-abab-abababababab");
        assert_eq!(fixture.value("random_hex(4)"), "abababab");
    }

    #[test]
    fn texts_are_encoded_and_decoded() {
        let fixture = Fixture::new();
        assert_eq!(fixture.value("base64('user:pass')"), "dXNlcjpwYXNz");
        assert_eq!(fixture.value("base64_decode('dXNlcjpwYXNz')"), "user:pass");
        assert_eq!(fixture.value("hex(base64_decode('__8'))"), "ffff");
        assert_eq!(fixture.value("url_encode('a b/ä~')"), "a%20b%2F%C3%A4~");
        assert_eq!(fixture.value("hex('abc')"), "616263");
        assert!(matches!(fixture.render("{{base64_decode('!')}}"), Err(Failure::Refused(_))));
        assert!(matches!(fixture.render("{{base64_decode('/w==')}}"), Err(Failure::Refused(_))));
    }

    /// FIPS 180-2, appendix B and C.
    #[test]
    fn digests_are_the_published_ones() {
        let fixture = Fixture::new();
        assert_eq!(
            fixture.value("hex(sha256('abc'))"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(fixture.value("hex(sha512('abc'))").starts_with("ddaf35a193617abacc417349ae204131"));
    }

    /// RFC 4231, test cases 1 and 2.
    #[test]
    fn hmacs_are_the_published_ones() {
        let fixture = Fixture::new();
        let key = "base64_decode('CwsLCwsLCwsLCwsLCwsLCwsLCws=')";
        assert_eq!(
            fixture.value(&format!("hex(hmac_sha256({key}, 'Hi There'))")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            fixture.value("hex(hmac_sha256('Jefe', 'what do ya want for nothing?'))"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            fixture.value("hex(hmac_sha512('Jefe', 'what do ya want for nothing?'))"),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        );
        assert_eq!(
            fixture.value("base64(hmac_sha256('Jefe', 'what do ya want for nothing?'))"),
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="
        );
    }

    #[test]
    fn a_signature_over_text_and_bytes_is_as_kraken_wants_it() {
        // The example of Kraken's documentation of its REST authentication.
        let fixture = Fixture::new()
            .with(
                "secret.sign",
                "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==",
            )
            .with("nonce", "1616492376594")
            .with("data", "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25");
        assert_eq!(
            fixture
                .value("base64(hmac_sha512(base64_decode(secret.sign), '/0/private/AddOrder' + sha256(nonce + data)))"),
            "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
        );
    }
}

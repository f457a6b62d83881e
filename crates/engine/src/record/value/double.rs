//! Doubles as Java writes them, and which decimal numbers can be doubles without a change.

use std::io::Write as _;
use std::ops::Range;

/// The longest text of a double with `{:e}` has 24 bytes.
const TEXT_BYTES: usize = 32;

/// Appends a finite double like Java's `Double.toString` (JDK 19 and newer): the shortest decimal of this double, with
/// at least two digits, and in scientific notation below 10^-3 and from 10^7 on.
pub fn write_double(double: f64, out: &mut Vec<u8>) {
    if double.is_sign_negative() {
        out.push(b'-');
    }
    let Decimal { digits, length, exponent } = Decimal::of(double);
    let digits = &digits[..length];
    let digit = |at: usize| digits.get(at).copied().unwrap_or(b'0');
    let from = |at: usize| digits.get(at..).filter(|rest| !rest.is_empty()).unwrap_or(b"0");
    match usize::try_from(exponent) {
        _ if !(-3..7).contains(&exponent) => {
            out.extend([digit(0), b'.']);
            out.extend_from_slice(from(1));
            out.extend_from_slice(format!("E{exponent}").as_bytes());
        }
        Ok(exponent) => {
            out.extend((0..=exponent).map(digit));
            out.push(b'.');
            out.extend_from_slice(from(exponent + 1));
        }
        Err(_) => {
            out.extend_from_slice(b"0.");
            out.extend((exponent + 1..0).map(|_| b'0'));
            out.extend_from_slice(digits);
        }
    }
}

/// For these exponents, Java before 19 does not write the shortest digits, but 9.999999999999999E22 for 1E23
/// (JDK-4511638).
const WRITTEN_OTHERWISE: Range<i64> = 16..26;

/// Returns the double of a JSON number, unless Java would write another number for it. `text` is a JSON number.
pub(super) fn exact_double(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mantissa = mantissa.trim_start_matches('-');
    let point = mantissa.find('.').unwrap_or(mantissa.len());
    let digits = || mantissa.bytes().enumerate().filter(|(_, digit)| *digit != b'.' && *digit != b'0');
    let Some((first, _)) = digits().next() else {
        // Zero with any exponent. It keeps its sign.
        return Some(if text.starts_with('-') { -0.0 } else { 0.0 });
    };
    let last = digits().next_back().map_or(first, |(at, _)| at);
    // The exponent of the first digit that is not 0.
    let places = point as i64 - first as i64 - i64::from(first < point);
    let exponent = exponent.parse::<i64>().ok()?.checked_add(places)?;
    if WRITTEN_OTHERWISE.contains(&exponent) {
        return None;
    }
    let double: f64 = text.parse().ok().filter(|double: &f64| double.is_finite() && *double != 0.0)?;
    let decimal = Decimal::of(double);
    let significant = mantissa.as_bytes()[first..=last].iter().filter(|byte| **byte != b'.');
    (exponent == decimal.exponent && significant.eq(&decimal.digits[..decimal.length])).then_some(double)
}

/// d.ddd × 10^exponent, without trailing zeros.
struct Decimal {
    digits: [u8; TEXT_BYTES],
    length: usize,
    exponent: i64,
}

impl Decimal {
    fn of(double: f64) -> Decimal {
        let double = double.abs();
        let shortest = Decimal::read(format_args!("{double:e}"));
        // If one digit is enough, Java writes the nearest decimal with two (4.9E-324).
        if shortest.length == 1 { Decimal::read(format_args!("{double:.1e}")) } else { shortest }
    }

    fn read(text: std::fmt::Arguments<'_>) -> Decimal {
        let mut buffer = [0; TEXT_BYTES];
        let mut rest = &mut buffer[..];
        // The buffer is long enough, so this cannot fail.
        let _ = rest.write_fmt(text);
        let left = rest.len();
        let text = str::from_utf8(&buffer[..TEXT_BYTES - left]).unwrap_or_default();
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut decimal =
            Decimal { digits: [0; TEXT_BYTES], length: 0, exponent: exponent.parse().unwrap_or_default() };
        for digit in mantissa.trim_end_matches('0').trim_end_matches('.').bytes().filter(|byte| *byte != b'.') {
            decimal.digits[decimal.length] = digit;
            decimal.length += 1;
        }
        decimal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(double: f64) -> String {
        let mut out = Vec::new();
        write_double(double, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Answers of `Double.toString` in JDK 25.
    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (double, java) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (123.456, "123.456"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (0.001, "0.001"),
            (0.000_999, "9.99E-4"),
            (0.012, "0.012"),
            (1e23, "1.0E23"),
            (2e-3, "0.002"),
            (5e-324, "4.9E-324"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(written(double), java);
        }
    }

    #[test]
    fn double_is_taken_only_where_it_changes_nothing() {
        for same in [
            "0.1",
            "0.10",
            "1.0",
            "-2.50",
            "1e2",
            "100e-2",
            "1.5E+3",
            "0e99999",
            "-0.0",
            "0.000001",
            "123456.789e-3",
            "0.30000000000000004",
            "1234567890123456.0",
            "1e26",
            "1.7976931348623157e308",
        ] {
            let exact = exact_double(same).map(written);
            assert!(exact.is_some_and(|text| text.parse::<f64>() == same.parse::<f64>()), "{same}");
        }
        for other in [
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999999999999",
            "5e-324",
            "9007199254740993.5e0",
            "0.1000000000000000055511151231257827",
            "1e16",
            "-1e23",
            "12345678901234567.5",
        ] {
            assert_eq!(exact_double(other), None, "{other}");
        }
    }
}

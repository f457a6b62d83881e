//! Numbers of JSON as exact decimals, of any length: no floating point.

use std::cmp::Ordering;

/// Compares two numbers in JSON's form: `1` equals `1.0` and `10e-1`.
pub fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (a, b) = (Decimal::read(a), Decimal::read(b));
    match (a.negative, b.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => a.compare_size(&b),
        (true, true) => b.compare_size(&a),
    }
}

/// Whether a text is a number in JSON's form.
pub fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = split_exponent(text.strip_prefix('-').unwrap_or(text));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(a, b)| (a, Some(b)));
    let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

/// Returns the sum of two integers, or `None` if one is not an integer or the sum needs more than 128 bits.
pub fn add(a: &str, b: &str) -> Option<String> {
    let sum = a.parse::<i128>().ok()?.checked_add(b.parse().ok()?)?;
    Some(sum.to_string())
}

/// Returns the product of two integers, or `None` as for the sum.
pub fn mul(a: &str, b: &str) -> Option<String> {
    let product = a.parse::<i128>().ok()?.checked_mul(b.parse().ok()?)?;
    Some(product.to_string())
}

/// Returns the quotient of two integers, rounded down, or `None` as for the sum, and if the second is 0.
pub fn div(a: &str, b: &str) -> Option<String> {
    let (a, b) = (a.parse::<i128>().ok()?, b.parse::<i128>().ok()?);
    let quotient = a.checked_div(b)?;
    let is_rounded_up = a.checked_rem(b)? != 0 && (a < 0) != (b < 0);
    Some((quotient - i128::from(is_rounded_up)).to_string())
}

fn split_exponent(number: &str) -> (&str, Option<&str>) {
    number.split_once(['e', 'E']).map_or((number, None), |(mantissa, exponent)| (mantissa, Some(exponent)))
}

/// 0.d₁d₂d₃… × 10^exponent; d₁ is not 0, and zero has no digits.
struct Decimal<'a> {
    negative: bool,
    /// The digits before and after the point, without leading zeros.
    digits: (&'a str, &'a str),
    exponent: i64,
}

impl Decimal<'_> {
    fn read(text: &str) -> Decimal<'_> {
        let (mantissa, exponent) = split_exponent(text.strip_prefix('-').unwrap_or(text));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let whole = whole.trim_start_matches('0');
        let (behind, zeros) = if whole.is_empty() {
            let behind = fraction.trim_start_matches('0');
            (behind, fraction.len() - behind.len())
        } else {
            (fraction, 0)
        };
        let behind = behind.trim_end_matches('0');
        let is_zero = whole.is_empty() && behind.is_empty();
        let exponent = exponent.map_or(0, |text| {
            let limit = if text.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
            text.parse::<i64>().unwrap_or(limit).clamp(i64::MIN / 2, i64::MAX / 2)
        });
        Decimal {
            negative: text.starts_with('-') && !is_zero,
            digits: (whole, behind),
            exponent: if is_zero { i64::MIN } else { exponent + whole.len() as i64 - zeros as i64 },
        }
    }

    fn bytes(&self) -> impl DoubleEndedIterator<Item = u8> {
        self.digits.0.bytes().chain(self.digits.1.bytes())
    }

    /// Returns the number of digits without trailing zeros.
    fn significant(&self) -> usize {
        self.digits.0.len() + self.digits.1.len() - self.bytes().rev().take_while(|&digit| digit == b'0').count()
    }

    fn compare_size(&self, other: &Decimal<'_>) -> Ordering {
        self.exponent.cmp(&other.exponent).then_with(|| {
            let (mine, others) = (self.significant(), other.significant());
            self.bytes().take(mine).cmp(other.bytes().take(others))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_as_exact_decimals() {
        for (a, b) in [
            ("1", "1.0"),
            ("10", "1e1"),
            ("0.001", "1E-3"),
            ("-0", "0.000e7"),
            ("123456789012345678901234567", "123456789012345678901234567.000"),
            ("100", "1e2"),
            ("1200.50", "12.005e+2"),
        ] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
        for (less, more) in [
            ("123456789012345678901234567", "123456789012345678901234568"),
            ("-2", "-1"),
            ("-1", "0"),
            ("0", "0.0000001"),
            ("9", "10"),
            ("0.1", "0.10000000000000000000000000001"),
            ("1e308", "1e400"),
            ("-1e400", "-1e308"),
            ("1e-99999999999999999999", "1e99999999999999999999"),
        ] {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(compare(more, less), Ordering::Greater, "{less} {more}");
        }
    }

    #[test]
    fn numbers_have_jsons_form() {
        for text in ["0", "-0.5", "1e9", "1.25E-07", "120"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", "-", "01", "1.", ".5", "1e", "+1", "0x1", "1 ", "1.2.3", "NaN"] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn add_sums_exact_integers() {
        assert_eq!(add("99999999999999999999", "1").as_deref(), Some("100000000000000000000"));
        assert_eq!(add("-5", "3").as_deref(), Some("-2"));
        assert_eq!(add("1.5", "1"), None);
        assert_eq!(add(&i128::MAX.to_string(), "1"), None);
    }

    #[test]
    fn mul_and_div_are_exact_and_div_rounds_down() {
        assert_eq!(mul("99999999999999999999", "-2").as_deref(), Some("-199999999999999999998"));
        assert_eq!(mul(&i128::MAX.to_string(), "2"), None);
        for (a, b, quotient) in
            [("7", "2", "3"), ("-7", "2", "-4"), ("7", "-2", "-4"), ("-8", "2", "-4"), ("0", "5", "0")]
        {
            assert_eq!(div(a, b).as_deref(), Some(quotient), "{a}/{b}");
        }
        assert_eq!((div("1", "0"), div(&i128::MIN.to_string(), "-1")), (None, None));
    }
}

//! Times on the command line, such as `20s`.

use std::time::Duration;

const FORM: &str = "give a whole number above 0 and s, m or h, such as 20s";
/// A longer time means without an end.
const A_YEAR: u64 = 365 * 24 * 3600;

/// Reads a time: a number of seconds, or a number and its unit.
///
/// # Errors
/// The form of a time.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(FORM.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| FORM.to_owned())?;
    if number == 0 {
        return Err(FORM.to_owned());
    }
    Ok(Duration::from_secs(number.saturating_mul(seconds).min(A_YEAR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(time("20"), Ok(Duration::from_secs(20)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(time("18446744073709551615h"), Ok(Duration::from_secs(A_YEAR)));
        assert!(time("soon").is_err() && time("5d").is_err() && time("0").is_err());
    }
}

//! Dates: seconds since the epoch to year, month and day, and back (the proleptic Gregorian calendar, UTC).

use std::fmt;

/// A time as date and time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

const DAY: i64 = 86_400;
/// Days of 400 years: after them the calendar repeats.
const ERA: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01. Years are counted from March, so that the leap day is the last.
const EPOCH: i64 = 719_468;

impl DateTime {
    pub fn from_epoch_seconds(seconds: i64) -> DateTime {
        let (days, rest) = (seconds.div_euclid(DAY) + EPOCH, seconds.rem_euclid(DAY));
        let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year = (day - day / 1_460 + day / 36_524 - day / (ERA - 1)) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        DateTime {
            year: year + era * 400 + i64::from(month <= 2),
            month: month as u32,
            day: day as u32,
            hour: (rest / 3600) as u32,
            minute: (rest / 60 % 60) as u32,
            second: (rest % 60) as u32,
        }
    }

    /// Seconds since the epoch; `None` if there is no such moment. A leap second is the next one.
    pub fn epoch_seconds(self) -> Option<i64> {
        let DateTime { year, month, day, hour, minute, second } = self;
        if !(1..=12).contains(&month)
            || day == 0
            || day > days_in(year, month)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let year = year - i64::from(month <= 2);
        let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
        let month = i64::from(if month > 2 { month - 3 } else { month + 9 });
        let days = era * ERA + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + i64::from(day) - 1 - EPOCH;
        Some(days * DAY + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
    }
}

fn days_in(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// ISO 8601 without a fraction and an offset: `2026-08-01T10:20:30`.
impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DateTime { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// Reads ISO 8601 as feeds write it, with a fraction of any length: `2026-08-01T10:20:30.123456789Z`,
/// `2026-08-01 10:20:30+02:00`. Without an offset it is UTC. Returns nanoseconds since the epoch.
pub fn parse_iso(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut number = |digits: usize, before: &[char]| -> Option<u32> {
        rest = if before.is_empty() { rest } else { rest.strip_prefix(before)? };
        let (head, behind) = rest.split_at_checked(digits)?;
        rest = behind;
        head.bytes().all(|byte| byte.is_ascii_digit()).then(|| head.parse().ok())?
    };
    let date = (number(4, &[])?, number(2, &['-'])?, number(2, &['-'])?);
    let time = (number(2, &['T', 't', ' '])?, number(2, &[':'])?, number(2, &[':'])?);
    let moment =
        DateTime { year: i64::from(date.0), month: date.1, day: date.2, hour: time.0, minute: time.1, second: time.2 };
    let (nanos, rest) = fraction(rest)?;
    let seconds = moment.epoch_seconds()? - offset_seconds(rest)?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// `.123` as nanoseconds; what is finer is cut off.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(behind) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let len = behind.bytes().take_while(u8::is_ascii_digit).count();
    let digits = &behind[..len.min(9)];
    let nanos = digits.parse::<u32>().ok()? * 10_u32.pow(9 - digits.len() as u32);
    Some((nanos, &behind[len..]))
}

/// `Z`, `+02:00`, `-0530`, `+02`, or nothing.
fn offset_seconds(text: &str) -> Option<i64> {
    if matches!(text, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text.strip_prefix(['+', '-'])?.chars().filter(|&char| char != ':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: i64, month: u32, day: u32) -> DateTime {
        DateTime { year, month, day, hour: 0, minute: 0, second: 0 }
    }

    #[test]
    fn dates_come_back() {
        assert_eq!(DateTime::from_epoch_seconds(0), date(1970, 1, 1));
        assert_eq!(DateTime::from_epoch_seconds(951_782_400), date(2000, 2, 29));
        assert_eq!(DateTime::from_epoch_seconds(-1).second, 59);
        assert_eq!(DateTime::from_epoch_seconds(-1).to_string(), "1969-12-31T23:59:59");
        for seconds in (-70_000_000_000..300_000_000_000).step_by(86_399 * 7_777) {
            assert_eq!(DateTime::from_epoch_seconds(seconds).epoch_seconds(), Some(seconds));
        }
    }

    #[test]
    fn days_that_do_not_exist_are_none() {
        for day in [
            date(2026, 2, 29),
            date(1900, 2, 29),
            date(2026, 4, 31),
            date(2026, 13, 1),
            date(2026, 0, 1),
            date(2026, 1, 0),
        ] {
            assert_eq!(day.epoch_seconds(), None, "{day:?}");
        }
    }

    #[test]
    fn iso_8601_is_read_as_feeds_write_it() {
        let second = 1_785_579_630_i128 * 1_000_000_000;
        for (text, nanos) in [
            ("2026-08-01T10:20:30Z", 0),
            ("2026-08-01T10:20:30", 0),
            ("2026-08-01 12:20:30+02:00", 0),
            ("2026-08-01T05:50:30-0430", 0),
            ("2026-08-01T10:20:30.5Z", 500_000_000),
            ("2026-08-01T10:20:30.123456789123Z", 123_456_789),
        ] {
            assert_eq!(parse_iso(text), Some(second + nanos), "{text}");
        }
        for text in [
            "",
            "2026-08-01",
            "2026-02-30T00:00:00Z",
            "2026-08-01T10:20:30.Z",
            "2026-08-01T10:20:30X",
            "1785579630",
            "+026-08-01T10:20:30Z",
            "2026-08-01T10:20:30+2",
        ] {
            assert_eq!(parse_iso(text), None, "{text}");
        }
    }
}

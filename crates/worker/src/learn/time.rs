//! Whether a value looks like a time, and in which unit.

use connect_websocket_engine::intake::fields::Unit;

use super::table::Datum;

/// 2010-01-01, in milliseconds. A feed has no earlier times.
const EARLIEST: i64 = 1_262_304_000_000;
/// 2100-01-01.
const LATEST: i64 = 4_102_444_800_000;

/// A value that may be a time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) unit: Unit,
    pub(super) ms: i64,
}

/// Reads a value as a time. The number of digits decides the unit.
pub(super) fn read(datum: &Datum) -> Option<Time> {
    let text = datum.rendered()?;
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let is_number = whole.bytes().all(|byte| byte.is_ascii_digit());
    let unit = match (datum, whole.len()) {
        (_, 10) if is_number => Unit::Seconds,
        (_, 13) if is_number => Unit::Millis,
        (_, 16) if is_number => Unit::Micros,
        (_, 19) if is_number => Unit::Nanos,
        (Datum::Text(_), 19..) if !is_number => Unit::Iso,
        _ => return None,
    };
    let ms = unit.millis(text).filter(|ms| (EARLIEST..LATEST).contains(ms))?;
    Some(Time { unit, ms })
}

/// Returns the unit's name in `websocket.record.timestamp.unit`.
pub(super) fn name(unit: Unit) -> &'static str {
    Unit::NAMES.into_iter().find(|name| Unit::find(name) == Some(unit)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_digits_says_the_unit() {
        let text = |text: &str| read(&Datum::Text(text.into()));
        let number = |text: &str| read(&Datum::Number(text.into()));
        let time = |unit, ms| Some(Time { unit, ms });
        assert_eq!(number("1633998512"), time(Unit::Seconds, 1_633_998_512_000));
        assert_eq!(text("1618678133.365913"), time(Unit::Seconds, 1_618_678_133_365));
        assert_eq!(text("1652459223003"), time(Unit::Millis, 1_652_459_223_003));
        assert_eq!(number("1783175888085434"), time(Unit::Micros, 1_783_175_888_085));
        assert_eq!(text("1619378327739050725"), time(Unit::Nanos, 1_619_378_327_739));
        assert_eq!(text("2026-07-04T14:38:08.999Z"), time(Unit::Iso, 1_783_175_888_999));
        for none in ["", "1", "12345678901", "0999999999", "9999999999999", "2026-07-04", "a long text without a time"]
        {
            assert_eq!(text(none), None, "{none}");
        }
    }
}

//! Made-up trades that look like an exchange's: a random walk for each of a handful of symbols.

use std::fmt::Write;

use crate::stats::now_ms;

struct Market {
    symbol: &'static str,
    price: f64,
    decimals: usize,
}

/// Makes the trades of one server.
pub(crate) struct Trades {
    markets: [Market; 5],
    random: u64,
}

impl Default for Trades {
    fn default() -> Trades {
        let market = |symbol, price, decimals| Market { symbol, price, decimals };
        Trades {
            markets: [
                market("BTC-USD", 68_000.0, 2),
                market("ETH-USD", 3_500.0, 2),
                market("SOL-USD", 165.0, 3),
                market("XRP-USD", 0.62, 5),
                market("DOGE-USD", 0.145, 6),
            ],
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }
}

impl Trades {
    /// Writes trade number `n`, replacing what `out` held.
    pub(crate) fn write(&mut self, n: u64, out: &mut String) {
        out.clear();
        let dice = self.next();
        let step = ((dice >> 40) as f64 / f64::from(1 << 24) - 0.5) * 0.0008;
        let size = ((dice >> 16 & 0xffff) as f64 + 1.0) / 8192.0;
        let side = if dice & 0x800 == 0 { "buy" } else { "sell" };
        let index = (dice & 0x7ff) as usize % self.markets.len();
        let market = &mut self.markets[index];
        market.price *= 1.0 + step;
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            r#"{{"type":"trade","n":{n},"symbol":"{}","price":"{:.*}","size":"{size:.4}","side":"{side}","ts":{}}}"#,
            market.symbol,
            market.decimals,
            market.price,
            now_ms()
        );
    }

    /// xorshift64
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_are_json_with_all_symbols_and_prices_near_their_start() {
        let mut trades = Trades::default();
        let mut text = String::new();
        let mut symbols = std::collections::BTreeSet::new();
        for n in 0..1000 {
            trades.write(n, &mut text);
            let trade: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(trade["n"], n);
            let symbol = trade["symbol"].as_str().unwrap().to_owned();
            let price: f64 = trade["price"].as_str().unwrap().parse().unwrap();
            assert!(price > 0.0, "{text}");
            assert!(symbol != "BTC-USD" || (50_000.0..90_000.0).contains(&price), "{text}");
            symbols.insert(symbol);
        }
        assert_eq!(symbols.len(), 5);
    }
}

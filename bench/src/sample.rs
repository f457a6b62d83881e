//! What a run gives: figures, and whether everything arrived.

use connect_websocket_e2e::Numbers;

/// A figure, or why there is none.
pub(crate) type Outcome<T> = Result<T, String>;

/// One run: a value for each metric of its scenario, and whether everything arrived.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub values: Vec<f64>,
    pub integrity: Integrity,
    pub note: Option<&'static str>,
}

/// How far what came differs from what was sent, in messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Integrity {
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
}

impl Integrity {
    /// Compares with the numbers below `total`, each of which should have come once and in order.
    pub(crate) fn of(numbers: &Numbers, total: u64) -> Integrity {
        if total == 0 {
            return Integrity::default();
        }
        let report = numbers.check(0..=total - 1);
        Integrity { lost: report.missing, duplicated: report.duplicated, out_of_order: report.out_of_order }
    }

    /// Compares counts only.
    pub(crate) fn of_count(count: u64, total: u64) -> Integrity {
        Integrity { lost: total.saturating_sub(count), duplicated: count.saturating_sub(total), out_of_order: 0 }
    }

    /// Field by field the worse of two.
    pub(crate) fn worst(self, other: Integrity) -> Integrity {
        Integrity {
            lost: self.lost.max(other.lost),
            duplicated: self.duplicated.max(other.duplicated),
            out_of_order: self.out_of_order.max(other.out_of_order),
        }
    }
}

#[cfg(test)]
mod tests {
    use connect_websocket_e2e::Numbers;

    use super::Integrity;

    #[test]
    fn integrity_counts_what_is_missing_doubled_and_late() {
        let mut numbers = Numbers::default();
        [0, 2, 1, 1].into_iter().for_each(|n| numbers.add(n));
        assert_eq!(Integrity::of(&numbers, 5), Integrity { lost: 2, duplicated: 1, out_of_order: 1 });
        assert_eq!(Integrity::of(&Numbers::default(), 0), Integrity::default());
    }
}

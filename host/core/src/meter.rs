//! Distributions that are counted while work goes on: no lock, no allocation, and no clock; whoever measures says how
//! much it was.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts values by size. Many threads may record at once; what is read meanwhile may miss what is being recorded.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, inclusive, from small to large; what is larger than all of them has a place of its own.
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Builds an empty histogram over upper bounds, from small to large.
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts one value.
    pub fn record(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Returns what has been counted so far.
    pub fn read(&self) -> Distribution {
        Distribution {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// What a [`Histogram`] has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bounds, inclusive, from small to large.
    pub bounds: &'static [u64],
    /// How many values there were at most as large as each bound and larger than the one before it; the last place
    /// holds those that are larger than every bound, so there is one more than bounds.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: u64,
}

impl Distribution {
    /// Returns how many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_under_the_first_bound_that_holds_them() {
        let histogram = Histogram::new(&[1, 10, 100]);

        for value in [0, 1, 2, 10, 11, 100, 101, 5_000] {
            histogram.record(value);
        }

        let read = histogram.read();
        assert_eq!(read.counts, [2, 2, 2, 2]);
        assert_eq!((read.count(), read.sum), (8, 5_225));
    }
}

//! Counts what one call's instance takes, over all its memories and tables together, and remembers what was refused.

use wasmtime::ResourceLimiter;

use crate::limits::Limits;
use crate::state::NeedsThread;

/// What a growth was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Memory: the total that was asked for, in bytes.
    Memory {
        /// What all memories together would have had.
        wanted_bytes: u64,
    },
    /// Tables: the total that was asked for, in elements.
    Table {
        /// What all tables together would have had.
        wanted_elements: u64,
    },
}

/// The limiter of one store.
///
/// Wasmtime's own limiter bounds each memory by itself, so that three hundred small ones pass; this one adds them up.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: u64,
    /// Beyond this an inline call ends. No limit, where it is not one.
    inline_memory_bytes_max: u64,
    table_elements_max: u64,
    instances_max: usize,
    tables_max: usize,
    memories_max: usize,
    memory_bytes: u64,
    table_elements: u64,
    /// What the last permitted growth added, to be taken back when the growth fails after all.
    last_memory_growth: u64,
    last_table_growth: u64,
    refused: Option<Refusal>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Limiter {
            memory_bytes_max: limits.memory_bytes_max,
            inline_memory_bytes_max: u64::MAX,
            table_elements_max: limits.table_elements_max,
            instances_max: usize::try_from(limits.instances_max).unwrap_or(usize::MAX),
            tables_max: usize::try_from(limits.tables_max).unwrap_or(usize::MAX),
            memories_max: usize::try_from(limits.memories_max).unwrap_or(usize::MAX),
            memory_bytes: 0,
            table_elements: 0,
            last_memory_growth: 0,
            last_table_growth: 0,
            refused: None,
        }
    }

    /// Builds the limiter of an inline call.
    pub(crate) fn inline(limits: &Limits) -> Self {
        Limiter { inline_memory_bytes_max: limits.inline_memory_bytes_max, ..Limiter::new(limits) }
    }

    /// Returns what all memories have together. Memories never shrink, so at the end of a call this is its peak.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Returns the last growth that was refused. A guest that traps after one has most likely run out of memory.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.refused
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let wanted_bytes = self.memory_bytes.saturating_add(growth);
        if wanted_bytes > self.inline_memory_bytes_max {
            return Err(NeedsThread.into());
        }
        if wanted_bytes > self.memory_bytes_max {
            self.refused = Some(Refusal::Memory { wanted_bytes });
            return Ok(false);
        }
        self.memory_bytes = wanted_bytes;
        self.last_memory_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes = self.memory_bytes.saturating_sub(self.last_memory_growth);
        self.last_memory_growth = 0;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let wanted_elements = self.table_elements.saturating_add(growth);
        if wanted_elements > self.table_elements_max {
            self.refused = Some(Refusal::Table { wanted_elements });
            return Ok(false);
        }
        self.table_elements = wanted_elements;
        self.last_table_growth = growth;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements = self.table_elements.saturating_sub(self.last_table_growth);
        self.last_table_growth = 0;
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.tables_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(memory_bytes_max: u64, table_elements_max: u64) -> Limiter {
        Limiter::new(&Limits { memory_bytes_max, table_elements_max, ..Limits::default() })
    }

    #[test]
    fn memories_are_counted_together_and_the_last_byte_is_allowed() {
        let mut limiter = limiter(100, 10);

        assert!(limiter.memory_growing(0, 60, None).expect("never fails"));
        assert!(limiter.memory_growing(0, 40, None).expect("never fails"));
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(40, 41, None).expect("never fails"));

        assert_eq!(limiter.memory_bytes(), 100);
        assert_eq!(limiter.refused(), Some(Refusal::Memory { wanted_bytes: 101 }));
    }

    #[test]
    fn a_growth_that_fails_after_all_is_taken_back_once() {
        let mut limiter = limiter(100, 10);
        assert!(limiter.memory_growing(0, 60, None).expect("never fails"));
        assert!(limiter.memory_growing(60, 90, None).expect("never fails"));

        limiter.memory_grow_failed(wasmtime::format_err!("no room")).expect("never fails");
        limiter.memory_grow_failed(wasmtime::format_err!("no room")).expect("never fails");

        assert_eq!(limiter.memory_bytes(), 60);
    }

    #[test]
    fn tables_are_counted_together() {
        let mut limiter = limiter(100, 10);

        assert!(limiter.table_growing(0, 10, None).expect("never fails"));
        assert!(!limiter.table_growing(0, 1, None).expect("never fails"));

        assert_eq!(limiter.refused(), Some(Refusal::Table { wanted_elements: 11 }));
    }
}

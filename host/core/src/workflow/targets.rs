//! All targets of a step, in order: items one after the other, each on every machine. Made for ten thousand of them: a
//! copy for a snapshot shares what does not change, a target is found by its name without a search, and what is asked at
//! every event (how many run, where each stands) is kept up to date and not counted.

use std::collections::BTreeSet;
use std::ops::Index;
use std::sync::Arc;

use serde_json::Value;

use super::target::{Item, TargetPhase, TargetState};
use crate::clock::Timestamp;
use crate::id::MachineId;
use crate::task::TargetView;

/// How many targets share one place: what a change of one of them copies while a snapshot holds the others.
const CHUNK: usize = 64;

/// How many targets stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetTally {
    /// Not handed out.
    pub waiting: usize,
    /// Those of them that failed and wait for their next attempt.
    pub resting: usize,
    /// Handed out, no report yet.
    pub running: usize,
    /// Ended well.
    pub succeeded: usize,
    /// Ended badly.
    pub failed: usize,
    /// Will not be handed out.
    pub given_up: usize,
    /// Somebody has to say what became of them.
    pub unknown: usize,
    /// Ended because the execution was cancelled.
    pub cancelled: usize,
}

impl TargetTally {
    fn place(&mut self, phase: TargetPhase) -> &mut usize {
        match phase {
            TargetPhase::Waiting => &mut self.waiting,
            TargetPhase::Running => &mut self.running,
            TargetPhase::Succeeded => &mut self.succeeded,
            TargetPhase::Failed => &mut self.failed,
            TargetPhase::GivenUp => &mut self.given_up,
            TargetPhase::Unknown => &mut self.unknown,
            TargetPhase::Cancelled => &mut self.cancelled,
        }
    }
}

/// The machines of a step in the order that they were named, and where to find each.
#[derive(Debug, Default)]
struct Machines {
    named: Vec<MachineId>,
    /// Positions in `named`, sorted by name.
    sorted: Vec<u32>,
}

impl Machines {
    fn of(named: Vec<MachineId>) -> Self {
        let mut sorted: Vec<u32> = (0..u32::try_from(named.len()).unwrap_or(u32::MAX)).collect();
        sorted.sort_by(|one, other| named[*one as usize].cmp(&named[*other as usize]));
        Machines { named, sorted }
    }

    fn position(&self, machine: &MachineId) -> Option<usize> {
        let found =
            self.sorted.partition_point(|position| self.named[*position as usize] < *machine);
        let position = *self.sorted.get(found)? as usize;
        (self.named[position] == *machine).then_some(position)
    }
}

/// The targets of a step.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    chunks: Vec<Arc<Vec<Arc<TargetState>>>>,
    machines: Arc<Machines>,
    /// Whether there is one target for each item and machine, and not only for each machine.
    mapped: bool,
    /// Where each stands, as strategies see it.
    views: Vec<TargetView>,
    tally: TargetTally,
    /// Positions of those that run or ran and nobody knows the end.
    out: Arc<BTreeSet<usize>>,
    /// Those that wait for their next attempt, by the moment that it may begin.
    resting: Arc<BTreeSet<(Timestamp, usize)>>,
}

impl PartialEq for Targets {
    /// Compares the targets; everything else is derived from them.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Index<usize> for Targets {
    type Output = Arc<TargetState>;

    fn index(&self, position: usize) -> &Arc<TargetState> {
        &self.chunks[position / CHUNK][position % CHUNK]
    }
}

impl<'a> IntoIterator for &'a Targets {
    type Item = &'a Arc<TargetState>;
    type IntoIter = TargetIter<'a>;

    fn into_iter(self) -> TargetIter<'a> {
        self.iter()
    }
}

/// Goes over targets in order.
#[derive(Debug, Clone)]
pub struct TargetIter<'a> {
    targets: &'a Targets,
    next: usize,
}

impl<'a> Iterator for TargetIter<'a> {
    type Item = &'a Arc<TargetState>;

    fn next(&mut self) -> Option<Self::Item> {
        let target = self.targets.get(self.next)?;
        self.next += 1;
        Some(target)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.targets.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for TargetIter<'_> {}

impl Targets {
    /// Builds one target for each machine.
    pub(super) fn of_machines(machines: &[MachineId]) -> Self {
        let states = machines.iter().cloned().map(|machine| TargetState::new(machine, None));
        Self::build(states.map(Arc::new), Machines::of(machines.to_vec()), false)
    }

    /// Builds one target for each item on each machine.
    pub(super) fn of_items(items: &[Value], machines: &[MachineId]) -> Self {
        let states = items.iter().zip(0_u32..).flat_map(|(value, index)| {
            machines.iter().map(move |machine| {
                let item = Item { index, value: value.clone() };
                TargetState::new(machine.clone(), Some(Box::new(item)))
            })
        });
        Self::build(states.map(Arc::new), Machines::of(machines.to_vec()), true)
    }

    /// Builds targets from stored rows, in order.
    pub(super) fn of_rows(rows: Vec<TargetState>) -> Self {
        let first = rows.first().map(TargetState::item_index);
        let mapped = first.is_some_and(|item| item.is_some());
        let machines = rows
            .iter()
            .take_while(|row| Some(row.item_index()) == first)
            .map(|row| row.machine.clone())
            .collect();
        Self::build(rows.into_iter().map(Arc::new), Machines::of(machines), mapped)
    }

    /// Builds the targets of an attempt that goes on where the last one failed: what ended well stays as it is.
    pub(super) fn resumed(&self) -> Self {
        let states = self.iter().map(|target| match target.phase {
            TargetPhase::Succeeded => Arc::clone(target),
            _ => Arc::new(target.anew()),
        });
        let states: Vec<_> = states.collect();
        Self::with(states, Arc::clone(&self.machines), self.mapped)
    }

    /// Builds the targets of an attempt in which all items run again, perhaps on other machines.
    pub(super) fn begun_anew(&self, machines: &[MachineId]) -> Self {
        let mut targets = Self::of_items(&self.values(), machines);
        for position in 0..targets.len() {
            let new = &targets[position];
            if let Some(old) = self.position(&new.machine, new.item_index()) {
                let old = self[old].anew();
                targets.change(position, |target| *target = old);
            }
        }
        targets
    }

    fn build(
        states: impl Iterator<Item = Arc<TargetState>>,
        machines: Machines,
        mapped: bool,
    ) -> Self {
        Self::with(states.collect(), Arc::new(machines), mapped)
    }

    fn with(states: Vec<Arc<TargetState>>, machines: Arc<Machines>, mapped: bool) -> Self {
        let mut targets = Targets {
            chunks: states.chunks(CHUNK).map(|chunk| Arc::new(chunk.to_vec())).collect(),
            machines,
            mapped,
            views: states.iter().map(|target| target.view()).collect(),
            ..Targets::default()
        };
        for (position, target) in states.iter().enumerate() {
            targets.enter(position, target.phase, target.not_before);
        }
        targets
    }

    fn enter(&mut self, position: usize, phase: TargetPhase, not_before: Option<Timestamp>) {
        *self.tally.place(phase) += 1;
        match phase {
            TargetPhase::Running | TargetPhase::Unknown => {
                Arc::make_mut(&mut self.out).insert(position);
            }
            TargetPhase::Waiting => {
                if let Some(moment) = not_before {
                    self.tally.resting += 1;
                    Arc::make_mut(&mut self.resting).insert((moment, position));
                }
            }
            _ => {}
        }
    }

    fn leave(&mut self, position: usize, phase: TargetPhase, not_before: Option<Timestamp>) {
        *self.tally.place(phase) -= 1;
        match phase {
            TargetPhase::Running | TargetPhase::Unknown => {
                Arc::make_mut(&mut self.out).remove(&position);
            }
            TargetPhase::Waiting => {
                if let Some(moment) = not_before {
                    self.tally.resting -= 1;
                    Arc::make_mut(&mut self.resting).remove(&(moment, position));
                }
            }
            _ => {}
        }
    }

    /// Changes one target; the only way to do so.
    pub(super) fn change(&mut self, position: usize, change: impl FnOnce(&mut TargetState)) {
        let chunk = Arc::make_mut(&mut self.chunks[position / CHUNK]);
        let target = Arc::make_mut(&mut chunk[position % CHUNK]);
        let before = (target.phase, target.not_before);
        change(target);
        let (after, view) = ((target.phase, target.not_before), target.view());
        if before != after {
            self.views[position] = view;
            self.leave(position, before.0, before.1);
            self.enter(position, after.0, after.1);
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Returns the target at a position.
    pub fn get(&self, position: usize) -> Option<&Arc<TargetState>> {
        self.chunks.get(position / CHUNK)?.get(position % CHUNK)
    }

    /// Returns the first target.
    pub fn first(&self) -> Option<&Arc<TargetState>> {
        self.get(0)
    }

    /// Goes over all targets in order.
    pub fn iter(&self) -> TargetIter<'_> {
        TargetIter { targets: self, next: 0 }
    }

    /// Returns the machines, in the order that they were named.
    pub fn machines(&self) -> &[MachineId] {
        &self.machines.named
    }

    /// Returns whether they are items of a map.
    pub fn is_mapped(&self) -> bool {
        self.mapped
    }

    /// Returns how many items there are; none where the step is no map.
    pub fn items(&self) -> usize {
        if self.mapped { self.len() / self.machines().len().max(1) } else { 0 }
    }

    /// Returns the values of the items, in order.
    fn values(&self) -> Vec<Value> {
        let machines = self.machines().len().max(1);
        let first = self.iter().step_by(machines);
        first.filter_map(|target| target.item.as_ref().map(|item| item.value.clone())).collect()
    }

    /// Returns how many stand where.
    pub fn tally(&self) -> TargetTally {
        self.tally
    }

    /// Returns the position of a target by its machine and item, without a search through all of them.
    pub fn position(&self, machine: &MachineId, item: Option<u32>) -> Option<usize> {
        let place = self.machines.position(machine)?;
        let position = match item {
            Some(index) if self.mapped => {
                (index as usize).checked_mul(self.machines().len())?.checked_add(place)?
            }
            None if !self.mapped => place,
            _ => return None,
        };
        let target = self.get(position)?;
        (target.machine == *machine && target.item_index() == item).then_some(position)
    }

    /// Returns the positions of those that run, or ran and nobody knows the end.
    pub(super) fn out(&self) -> impl Iterator<Item = usize> + '_ {
        self.out.iter().copied()
    }

    /// Returns the positions of those that run.
    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        self.out().filter(|position| self[*position].phase == TargetPhase::Running)
    }

    /// Returns the items of which something is under way.
    pub(super) fn items_out(&self) -> BTreeSet<usize> {
        let machines = self.machines().len().max(1);
        self.out().map(|position| position / machines).collect()
    }

    /// Returns where each stands, as strategies see it.
    pub(super) fn views(&self) -> &[TargetView] {
        &self.views
    }

    /// Returns those that wait for their next attempt, by the moment that it may begin.
    pub(super) fn resting(&self) -> impl Iterator<Item = (Timestamp, usize)> + '_ {
        self.resting.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machines(names: &[&str]) -> Vec<MachineId> {
        names.iter().map(|name| name.parse().expect("legal")).collect()
    }

    #[test]
    fn every_target_is_found_by_its_name() {
        let named = machines(&["m3", "m1", "m2"]);
        let items: Vec<Value> = (0..100).map(Value::from).collect();
        for (targets, count) in
            [(Targets::of_items(&items, &named), 300), (Targets::of_machines(&named), 3)]
        {
            assert_eq!(targets.len(), count);
            for (position, target) in targets.iter().enumerate() {
                let found = targets.position(&target.machine, target.item_index());
                assert_eq!(found, Some(position));
            }
            let rows = targets.iter().map(|target| target.as_ref().clone()).collect();
            let again = Targets::of_rows(rows);
            assert_eq!(again.machines(), &named[..]);
            assert_eq!((again.is_mapped(), again.items()), (targets.is_mapped(), targets.items()));
            let elsewhere: MachineId = "m4".parse().expect("legal");
            assert_eq!(targets.position(&elsewhere, Some(0)), None);
        }
        let mapped = Targets::of_items(&items, &named);
        assert_eq!(mapped.position(&named[0], None), None);
        assert_eq!(mapped.position(&named[0], Some(100)), None);
        assert_eq!(mapped.position(&named[0], Some(u32::MAX)), None);
        assert_eq!(Targets::of_machines(&named).position(&named[0], Some(0)), None);
    }

    #[test]
    fn what_is_kept_up_to_date_is_what_counting_gives() {
        let items = vec![json!("x"); 200];
        let mut targets = Targets::of_items(&items, &machines(&["local"]));
        let moment = Timestamp::EPOCH;
        let phases = [
            (TargetPhase::Running, None),
            (TargetPhase::Waiting, Some(moment)),
            (TargetPhase::Succeeded, None),
            (TargetPhase::Unknown, None),
            (TargetPhase::Waiting, None),
            (TargetPhase::Failed, None),
        ];
        for round in 0..600 {
            let shared = targets.clone();
            let (phase, not_before) = phases[(round * 7) % phases.len()];
            targets.change((round * 31) % 200, |target| {
                target.phase = phase;
                target.not_before = not_before;
            });
            let counted =
                Targets::of_rows(targets.iter().map(|target| target.as_ref().clone()).collect());
            assert_eq!(counted.tally, targets.tally);
            assert_eq!((&counted.out, &counted.resting), (&targets.out, &targets.resting));
            assert_eq!(counted.views, targets.views);
            assert_eq!(shared.len(), 200, "a snapshot is not touched");
        }
    }
}

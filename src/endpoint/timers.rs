//! Which timer of the loop belongs to what.

use std::collections::HashMap;

use crate::net::{ConnectionId, TimerId};

/// A timer that was set, to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerHandle(u64);

/// A timer under way.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) owner: Option<ConnectionId>,
    pub(super) key: u64,
    id: TimerId,
}

/// All timers of a loop's application. Those of a connection go with it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    next: u64,
    all: HashMap<u64, Timer>,
    owned: HashMap<ConnectionId, Vec<u64>>,
}

impl Timers {
    /// Keeps a timer that `set` puts into the wheel under the number it is given.
    pub(super) fn insert(
        &mut self,
        owner: Option<ConnectionId>,
        key: u64,
        set: impl FnOnce(u64) -> TimerId,
    ) -> TimerHandle {
        let number = self.next;
        self.next += 1;
        self.all.insert(number, Timer { owner, key, id: set(number) });
        if let Some(owner) = owner {
            self.owned.entry(owner).or_default().push(number);
        }
        TimerHandle(number)
    }

    /// The timer is due.
    pub(super) fn due(&mut self, number: u64) -> Option<Timer> {
        let timer = self.all.remove(&number)?;
        self.disown(&timer, number);
        Some(timer)
    }

    /// Forgets a timer; what to take out of the wheel.
    pub(super) fn cancel(&mut self, handle: TimerHandle) -> Option<TimerId> {
        self.due(handle.0).map(|timer| timer.id)
    }

    /// The connection is gone; what to take out of the wheel.
    pub(super) fn abandon(&mut self, owner: ConnectionId) -> Vec<TimerId> {
        let numbers = self.owned.remove(&owner).unwrap_or_default();
        numbers.iter().filter_map(|number| self.all.remove(number)).map(|timer| timer.id).collect()
    }

    fn disown(&mut self, timer: &Timer, number: u64) {
        let Some(owner) = timer.owner else { return };
        if let Some(numbers) = self.owned.get_mut(&owner) {
            numbers.retain(|&other| other != number);
            if numbers.is_empty() {
                self.owned.remove(&owner);
            }
        }
    }
}

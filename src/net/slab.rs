//! A slab whose keys carry a generation: what was removed cannot be reached by an old key, although its slot is reused.

use slab::Slab;

use super::ConnectionId;

/// Values by [`ConnectionId`].
#[derive(Debug)]
pub(crate) struct GenerationSlab<T> {
    loop_index: u8,
    slots: Slab<T>,
    /// How often each slot was emptied. It wraps after 2^32 occupants of one slot.
    generations: Vec<u32>,
}

impl<T> GenerationSlab<T> {
    pub(crate) fn new(loop_index: u8) -> Self {
        Self { loop_index, slots: Slab::new(), generations: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> ConnectionId {
        let slot = self.slots.insert(value);
        if slot == self.generations.len() {
            self.generations.push(0);
        }
        ConnectionId::new(self.loop_index, self.generations[slot], slot)
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&T> {
        self.names(id).then(|| self.slots.get(id.slot())).flatten()
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        self.names(id).then(|| self.slots.get_mut(id.slot())).flatten()
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<T> {
        if !self.names(id) {
            return None;
        }
        let value = self.slots.try_remove(id.slot())?;
        let generation = &mut self.generations[id.slot()];
        *generation = generation.wrapping_add(1);
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &T)> {
        self.slots.iter().map(|(slot, value)| (ConnectionId::new(self.loop_index, self.generations[slot], slot), value))
    }

    fn names(&self, id: ConnectionId) -> bool {
        id.loop_index() == self.loop_index && self.generations.get(id.slot()) == Some(&id.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_never_reaches_the_slots_new_occupant() {
        let mut slab = GenerationSlab::new(3);
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(first.slot(), second.slot(), "the slot is reused");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(second, &"second")]);
    }

    #[test]
    fn keys_of_another_loop_or_from_nowhere_name_nothing() {
        let mut slab = GenerationSlab::new(1);
        let id = slab.insert(());
        for stranger in [
            ConnectionId::new(2, id.generation(), id.slot()),
            ConnectionId::new(1, id.generation(), id.slot() + 1),
            ConnectionId::from_u64(u64::MAX),
        ] {
            assert_eq!(slab.get(stranger), None, "{stranger}");
        }
        assert_eq!(slab.len(), 1);
    }
}

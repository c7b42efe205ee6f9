//! A slab whose keys carry a generation: what was removed cannot be reached by an old key, although its slot is reused.

use slab::Slab;

use super::ConnectionId;

/// Values by [`ConnectionId`].
#[derive(Debug)]
pub(crate) struct GenerationSlab<T> {
    loop_index: u8,
    /// How many values were ever inserted, which is each one's generation. It wraps after 2^32 of them; a key is mistaken
    /// for another only if the same slot is then filled by the very same count.
    inserted: u32,
    slots: Slab<Slot<T>>,
}

/// A value with its key beside it: looking it up compares one number, on a cache line that is needed anyway.
#[derive(Debug)]
#[repr(C)]
struct Slot<T> {
    id: ConnectionId,
    value: T,
}

impl<T> GenerationSlab<T> {
    pub(crate) fn new(loop_index: u8) -> Self {
        Self { loop_index, inserted: 0, slots: Slab::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> ConnectionId {
        let vacant = self.slots.vacant_entry();
        let id = ConnectionId::new(self.loop_index, self.inserted, vacant.key());
        self.inserted = self.inserted.wrapping_add(1);
        vacant.insert(Slot { id, value });
        id
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&T> {
        self.slots.get(id.slot()).filter(|slot| slot.id == id).map(|slot| &slot.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        self.slots.get_mut(id.slot()).filter(|slot| slot.id == id).map(|slot| &mut slot.value)
    }

    /// The key of a slot's present occupant.
    pub(crate) fn occupant(&self, slot: usize) -> Option<ConnectionId> {
        self.slots.get(slot).map(|slot| slot.id)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<T> {
        self.get(id)?;
        self.slots.try_remove(id.slot()).map(|slot| slot.value)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &T)> {
        self.slots.iter().map(|(_, slot)| (slot.id, &slot.value))
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

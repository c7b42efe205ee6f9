//! When which session has something due: one ordered set for all of them, so that a session costs no timer of its own.

use std::collections::BTreeSet;

use crate::push::{SessionKey, Time};

/// What is due, in the order of time. Each session is in it once at most: its [`Client`](super::core::Client) knows for when.
#[derive(Debug, Default)]
pub(super) struct Agenda(BTreeSet<(Time, SessionKey)>);

impl Agenda {
    /// Moves a session's next moment from `old` to `new`.
    pub(super) fn plan(&mut self, key: SessionKey, old: Option<Time>, new: Option<Time>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.0.remove(&(old, key));
        }
        if let Some(new) = new {
            self.0.insert((new, key));
        }
    }

    /// Takes out the first session whose moment has come.
    pub(super) fn pop(&mut self, now: Time) -> Option<SessionKey> {
        let &(time, key) = self.0.first()?;
        if time > now {
            return None;
        }
        self.0.pop_first();
        Some(key)
    }

    /// The next moment of all.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.first().map(|&(time, _)| time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_comes_once_in_the_order_of_time() {
        let mut agenda = Agenda::default();
        let [a, b, c] = [1, 2, 3].map(SessionKey);
        agenda.plan(a, None, Some(Time(30)));
        agenda.plan(b, None, Some(Time(10)));
        agenda.plan(c, None, Some(Time(20)));
        agenda.plan(a, Some(Time(30)), Some(Time(5)));
        agenda.plan(c, Some(Time(20)), None);
        assert_eq!(agenda.next(), Some(Time(5)));
        assert_eq!(agenda.pop(Time(4)), None);
        assert_eq!((agenda.pop(Time(5)), agenda.pop(Time(5))), (Some(a), None));
        assert_eq!((agenda.pop(Time(11)), agenda.pop(Time(99)), agenda.next()), (Some(b), None, None));
    }
}

//! What publishers were told and what subscribers have seen, and whether that fits together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use loopwire::push::{Position, Publication, Since, Subscribed, Ticket};

/// What became of an attempt to publish, as far as the publisher or the disk tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Attempted,
    Waiting(Ticket),
    /// It stands in the log.
    Published,
    /// Refused, lost with a crash before anybody was told, or the same as an earlier one.
    Never,
}

#[derive(Debug)]
struct Attempt {
    channel: &'static str,
    /// The publisher has asked to keep it out of the stream.
    skips: bool,
    /// The channel kept no stream when it was published.
    has_no_place: bool,
    /// A crash has taken it out of the stream.
    taken: bool,
    fate: Fate,
}

/// A client's view of a channel.
#[derive(Debug, Default)]
pub struct View {
    pub subscribed: bool,
    pub positioned: bool,
    /// Where a client that comes back says that it is.
    pub position: Option<(String, u64)>,
    /// How much of the channel's log it has seen or was told to have missed.
    cursor: usize,
    /// Who is there, by what it has heard.
    pub roster: BTreeSet<u128>,
}

#[derive(Default)]
pub struct Checker {
    attempts: Vec<Attempt>,
    tickets: BTreeMap<Ticket, usize>,
    /// All that was ever published in a channel, in order.
    logs: BTreeMap<&'static str, Vec<usize>>,
    /// What stands where: for ever, over all restarts.
    places: HashMap<(&'static str, String, u64), usize>,
    pub views: BTreeMap<(usize, &'static str), View>,
    /// Up to where the hub was told that records are on disk.
    pub committed: u64,
}

impl Checker {
    /// The next attempt's number, which is what it publishes.
    pub fn attempt(&mut self, channel: &'static str, skips: bool) -> usize {
        self.attempts.push(Attempt { channel, skips, has_no_place: false, taken: false, fate: Fate::Attempted });
        self.attempts.len() - 1
    }

    pub fn fate(&self, id: usize) -> Fate {
        self.attempts[id].fate
    }

    pub fn channel(&self, id: usize) -> &'static str {
        self.attempts[id].channel
    }

    /// Which attempt waits, or has waited until a moment ago, under this ticket.
    pub fn of_ticket(&self, ticket: Ticket) -> usize {
        *self.tickets.get(&ticket).expect("a ticket that was given")
    }

    pub fn waits(&mut self, id: usize, ticket: Ticket) {
        self.attempts[id].fate = Fate::Waiting(ticket);
        self.tickets.insert(ticket, id);
    }

    pub fn never(&mut self, id: usize) {
        assert_ne!(self.attempts[id].fate, Fate::Published, "{id} was published before it was refused");
        self.attempts[id].fate = Fate::Never;
    }

    /// A publication is there from now on.
    pub fn published(&mut self, id: usize, position: Option<&Position>) {
        let attempt = &mut self.attempts[id];
        match attempt.fate {
            Fate::Published => {}
            Fate::Never => panic!("{id} was never published"),
            Fate::Waiting(ticket) if ticket.0 > self.committed => panic!("{id} is seen before it is on disk"),
            Fate::Waiting(_) | Fate::Attempted => {
                attempt.fate = Fate::Published;
                self.logs.entry(attempt.channel).or_default().push(id);
            }
        }
        attempt.has_no_place |= position.is_some_and(|position| position.offset == 0);
        if let Some(position) = position.filter(|position| position.offset > 0) {
            let place = (attempt.channel, position.epoch.to_string(), position.offset);
            let stands = *self.places.entry(place).or_insert(id);
            assert_eq!(stands, id, "two publications stand at {position:?} of {}", self.attempts[id].channel);
        }
    }

    /// A waiting publication was on disk when the server stopped: it is there, whoever knows of it.
    pub fn survived(&mut self, id: usize, position: &Position) {
        if matches!(self.attempts[id].fate, Fate::Waiting(_)) {
            self.attempts[id].fate = Fate::Attempted;
        }
        self.published(id, Some(position));
    }

    /// Where nothing else is known any more: all that waited and did not survive.
    pub fn lose_waiting(&mut self) -> usize {
        let waiting = self.attempts.iter_mut().filter(|attempt| matches!(attempt.fate, Fate::Waiting(_)));
        waiting.map(|attempt| attempt.fate = Fate::Never).count()
    }

    pub fn waiting(&self) -> usize {
        self.attempts.iter().filter(|attempt| matches!(attempt.fate, Fate::Waiting(_))).count()
    }

    fn log(&self, channel: &'static str) -> &[usize] {
        self.logs.get(channel).map_or(&[], Vec::as_slice)
    }

    pub fn subscribed(&mut self, client: usize, channel: &'static str, since: Option<Since<'_>>, answer: &Subscribed) {
        let log = self.logs.entry(channel).or_default().clone();
        let view = self.views.entry((client, channel)).or_default();
        assert!(!view.subscribed);
        assert_eq!(answer.was_recovering, since.is_some());
        if answer.recovered {
            let since = since.expect("nothing to recover from");
            let position = answer.position.as_ref().expect("recovered, but has no position");
            assert_eq!(position.offset, since.offset);
            // All that was published since, except for what was not meant to be kept.
            let kept = |id: &&usize| !self.attempts[**id].skips;
            let missed: Vec<usize> = log[view.cursor..].iter().filter(kept).copied().collect();
            let got: Vec<usize> = answer.publications.iter().map(|it| id_of(it)).collect();
            assert_eq!(got, missed, "client {client} in {channel}, from {since:?}: recovered means all");
            for (publication, offset) in answer.publications.iter().zip(since.offset + 1..) {
                assert_eq!(publication.offset, offset, "a gap in what was recovered");
            }
        } else {
            assert!(answer.publications.is_empty(), "a part of what was missed");
        }
        view.cursor = log.len();
        view.subscribed = true;
        view.positioned = answer.positioned;
        let last = answer.publications.last().map(|publication| publication.offset);
        view.position =
            answer.position.as_ref().map(|position| (position.epoch.to_string(), last.unwrap_or(position.offset)));
    }

    pub fn received(&mut self, client: usize, channel: &'static str, publication: &Publication) {
        let id = id_of(publication);
        assert_eq!(self.attempts[id].channel, channel, "{id} was published elsewhere");
        let epoch =
            self.views.get(&(client, channel)).and_then(|view| view.position.as_ref()).map(|(epoch, _)| epoch.clone());
        let position = epoch.map(|epoch| Position { offset: publication.offset, epoch: epoch.into() });
        self.published(id, position.as_ref());
        let log = self.log(channel);
        let (expected, end) = (|cursor: usize| log.get(cursor).copied(), log.len());
        let view = self.views.get(&(client, channel)).expect("received without a subscription");
        assert!(view.subscribed, "client {client} receives {id} of {channel}, but is not subscribed");
        assert_eq!(expected(view.cursor), Some(id), "client {client} in {channel}: doubled, left out or out of order");
        assert_eq!(view.cursor + 1, end, "client {client} in {channel}: late");
        let view = self.views.get_mut(&(client, channel)).expect("checked above");
        view.cursor += 1;
        if let Some((_, offset)) = &mut view.position
            && publication.offset > 0
        {
            assert_eq!(publication.offset, *offset + 1, "client {client} in {channel}: a gap");
            *offset = publication.offset;
        }
    }

    /// Nobody who is subscribed has missed anything by now.
    pub fn all_have_all(&self) {
        for ((client, channel), view) in &self.views {
            if view.subscribed {
                assert_eq!(view.cursor, self.log(channel).len(), "client {client} in {channel} has missed something");
            }
        }
    }

    pub fn left(&mut self, client: usize, channel: &'static str) {
        let view = self.views.get_mut(&(client, channel)).expect("left without a subscription");
        assert!(view.subscribed);
        view.subscribed = false;
    }

    pub fn subscribers(&self, channel: &'static str) -> Vec<usize> {
        let views = self.views.iter().filter(|((_, of), view)| *of == channel && view.subscribed);
        views.map(|((client, _), _)| *client).collect()
    }

    /// What was published behind the last that is on disk was seen, but a crash has taken it out of the stream.
    pub fn forgets_last(&mut self, channel: &'static str, is_on_disk: impl Fn(usize) -> bool) {
        for id in self.log(channel).to_vec().into_iter().rev().take_while(|id| !is_on_disk(*id)) {
            self.attempts[id].taken = true;
        }
    }

    /// A crash can undo that a stream was given up, while those that were published meanwhile count nowhere.
    pub fn forgets_what_has_no_place(&mut self, channel: &'static str) {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.channel == channel) {
            attempt.skips |= attempt.has_no_place;
        }
    }

    /// A history has to be an end of what was published, in order and without gaps.
    pub fn is_end_of_log(&self, channel: &'static str, ids: &[usize]) {
        let kept = |id: &&usize| !self.attempts[**id].skips && !self.attempts[**id].taken;
        let log: Vec<usize> = self.log(channel).iter().filter(kept).copied().collect();
        assert!(ids.iter().all(|id| self.attempts[*id].fate == Fate::Published), "{ids:?} in {channel}");
        assert!(ids.windows(2).all(|pair| log.windows(2).any(|both| both == pair)), "{channel}: {ids:?} of {log:?}");
    }
}

pub fn id_of(publication: &Publication) -> usize {
    String::from_utf8_lossy(&publication.data.bytes).parse().expect("a number, as published")
}

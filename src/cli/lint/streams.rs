//! TCP streams out of segments: in the order of their bytes, each byte once, and both directions in the order in which
//! their ends saw them.
//!
//! A capture has segments twice, in another order, or not at all. What one end sends is put in order by its sequence
//! numbers. Between the directions the acknowledgements tell: a segment waits until what its sender had received by then
//! has been delivered here, so that an answer never comes before its question.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, VecDeque};

use loopwire::Role;

use super::capture::{Endpoint, Segment};
use super::judge::Judge;
use super::report::Report;

/// Bytes that wait for those before them at most, in one direction; then these are taken to be missing.
const MAX_WAITING: usize = 8 << 20;

/// How many streams are remembered when they have ended.
const MAX_OVER: usize = 64;

/// What a stream begins with that is ours.
const GET: &[u8] = b"GET ";

/// All streams of a capture.
#[derive(Debug)]
pub(super) struct Streams {
    open: HashMap<[Endpoint; 2], Stream>,
    /// The next WebSocket's number.
    next: u64,
    /// Those that ended last, of which late segments may still come.
    over: VecDeque<[Endpoint; 2]>,
}

/// A TCP connection, between the ends of its key.
#[derive(Debug)]
struct Stream {
    halves: [Half; 2],
    /// Which end's request it began with.
    client: Option<usize>,
    kind: Kind,
    /// The capture lacks its first bytes.
    lacks_beginning: bool,
}

#[derive(Debug)]
enum Kind {
    /// Too little has come to tell.
    Unknown,
    Http(Box<Judge>),
    /// No HTTP, or something of it is missing.
    Other,
}

/// What one end sends.
#[derive(Debug, Default)]
struct Half {
    /// The sequence number that it began with.
    initial: Option<u32>,
    /// The sequence number of the next byte.
    next: Option<u32>,
    /// How many bytes were delivered.
    delivered: u64,
    /// The first of them.
    start: Vec<u8>,
    /// What came too early, by its place among the bytes, with what its sender had received by then.
    waiting: BTreeMap<u64, (Option<u32>, Vec<u8>)>,
    waiting_len: usize,
    /// Where it ends.
    end: Option<u64>,
    ended: bool,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { open: HashMap::new(), next: 0, over: VecDeque::new() }
    }

    pub(super) fn segment(&mut self, segment: &Segment<'_>, report: &mut Report) {
        let key = if segment.from <= segment.to { [segment.from, segment.to] } else { [segment.to, segment.from] };
        let from = usize::from(segment.from != key[0]);
        if segment.syn
            && let Entry::Occupied(old) = self.open.entry(key)
            && old.get().is_another(from, segment)
        {
            old.remove().finish(report);
        }
        let stream = match self.open.entry(key) {
            Entry::Occupied(stream) => stream.into_mut(),
            // What was still on its way when its stream ended begins no other.
            Entry::Vacant(_) if !segment.syn && !segment.payload.starts_with(GET) && self.over.contains(&key) => return,
            Entry::Vacant(place) => place.insert(Stream::new()),
        };
        stream.take(from, segment, key, &mut self.next, report);
        let is_over = segment.rst || stream.halves.iter().all(|half| half.ended);
        if is_over && let Some(stream) = self.open.remove(&key) {
            stream.finish(report);
            self.over.truncate(MAX_OVER - 1);
            self.over.push_front(key);
        }
    }

    pub(super) fn finish(self, report: &mut Report) {
        let mut streams: Vec<_> = self.open.into_iter().collect();
        streams.sort_by_key(|(_, stream)| match &stream.kind {
            Kind::Http(judge) => judge.number(),
            _ => u64::MAX,
        });
        for (_, stream) in streams {
            stream.finish(report);
        }
    }
}

impl Stream {
    fn new() -> Self {
        Self { halves: Default::default(), client: None, kind: Kind::Unknown, lacks_beginning: false }
    }

    /// Whether a SYN begins another connection between the same ends.
    fn is_another(&self, from: usize, syn: &Segment<'_>) -> bool {
        self.halves[from].initial.map_or(self.halves[from].next.is_some(), |initial| initial != syn.sequence)
    }

    fn take(&mut self, from: usize, segment: &Segment<'_>, key: [Endpoint; 2], next: &mut u64, report: &mut Report) {
        if matches!(self.kind, Kind::Other) {
            // Only its end is of interest, so that nothing is kept of it.
            self.halves[from].ended |= segment.fin;
            return;
        }
        let half = &mut self.halves[from];
        let mut sequence = segment.sequence;
        if segment.syn {
            half.initial = Some(sequence);
            sequence = sequence.wrapping_add(1);
            half.next.get_or_insert(sequence);
        }
        if half.next.is_none() && !segment.payload.is_empty() {
            // The capture began later than the connection, or lacks its SYN. At a request that is no loss.
            if matches!(self.kind, Kind::Unknown) && !segment.payload.starts_with(GET) {
                self.kind = Kind::Other;
                self.lacks_beginning = true;
                return;
            }
            half.next = Some(sequence);
            let other = &mut self.halves[1 - from];
            other.next = other.next.or(segment.acknowledged);
        }
        let half = &mut self.halves[from];
        // The first acknowledgement tells where the other end begins, should its SYN not be there.
        if half.initial.is_some_and(|initial| !segment.syn && sequence == initial.wrapping_add(1)) {
            let other = &mut self.halves[1 - from];
            other.next = other.next.or(segment.acknowledged);
        }
        let half = &mut self.halves[from];
        if let Some(expected) = half.next {
            // Sequence numbers wrap around; which side of the next one they are on is what counts.
            let ahead = i64::from(sequence.wrapping_sub(expected).cast_signed());
            half.put(ahead, segment);
        }
        self.deliver(key, next, report);
    }

    /// Delivers what is next, from either end.
    fn deliver(&mut self, key: [Endpoint; 2], next: &mut u64, report: &mut Report) {
        let mut ready: VecDeque<usize> = [0, 1].into();
        while let Some(from) = ready.pop_front() {
            let received_by_sender = self.halves[1 - from].next;
            let Some(bytes) = self.halves[from].pop(received_by_sender) else { continue };
            ready.extend([from, 1 - from]);
            match bytes {
                Popped::Bytes(bytes) => self.give(from, &bytes, key, next, report),
                Popped::End => {
                    if let (Kind::Http(judge), Some(client)) = (&mut self.kind, self.client) {
                        judge.end(role(from, client));
                    }
                }
            }
        }
        if self.halves.iter().any(|half| half.waiting_len > MAX_WAITING) {
            self.lose(report);
        }
    }

    /// The next bytes of one end.
    fn give(&mut self, from: usize, bytes: &[u8], key: [Endpoint; 2], next: &mut u64, report: &mut Report) {
        if let (Kind::Http(judge), Some(client)) = (&mut self.kind, self.client) {
            return judge.bytes(role(from, client), bytes, report);
        }
        if !matches!(self.kind, Kind::Unknown) {
            return;
        }
        let half = &mut self.halves[from];
        half.start.extend_from_slice(bytes);
        let known = half.start.len().min(GET.len());
        // Who speaks first asks.
        if half.start[..known] != GET[..known] || *self.client.get_or_insert(from) != from {
            self.kind = Kind::Other;
            self.halves = self.halves.each_ref().map(|half| Half { ended: half.ended, ..Half::default() });
        } else if known == GET.len() {
            let start = std::mem::take(&mut half.start);
            let (client, server) = (key[from], key[1 - from]);
            let mut judge = Judge::new(*next, Some(format!("{} → {}", shown(client), shown(server))));
            *next += 1;
            judge.bytes(Role::Client, &start, report);
            self.kind = Kind::Http(Box::new(judge));
        }
    }

    /// Gives up on bytes that have not come.
    fn lose(&mut self, report: &mut Report) {
        let [first, second] = &self.halves;
        // Either later bytes of the same end have come, or the other end says that it has received them.
        let own = [first.missing(), second.missing()];
        let seen = [second.has_seen_more_than(first), first.has_seen_more_than(second)];
        let mut gaps = own.into_iter().enumerate().chain(seen.into_iter().enumerate());
        let gap = gaps.find_map(|(from, missing)| Some((from, missing?)));
        if let (Kind::Http(judge), Some(client), Some((from, missing))) = (&mut self.kind, self.client, gap) {
            judge.lose(role(from, client), self.halves[from].delivered, missing, report);
        }
        match std::mem::replace(&mut self.kind, Kind::Other) {
            Kind::Http(judge) => judge.finish(report),
            Kind::Unknown => self.lacks_beginning = true,
            Kind::Other => {}
        }
        self.halves = self.halves.each_ref().map(|half| Half { ended: half.ended, ..Half::default() });
    }

    fn finish(mut self, report: &mut Report) {
        if self.halves.iter().any(|half| !half.waiting.is_empty() || half.missing().is_some()) {
            self.lose(report);
        }
        if self.lacks_beginning {
            report.beginning_missing();
        }
        if let Kind::Http(judge) = self.kind {
            judge.finish(report);
        }
    }
}

enum Popped {
    Bytes(Vec<u8>),
    End,
}

impl Half {
    /// Keeps a segment that begins so many bytes ahead of the next one, or behind it.
    fn put(&mut self, ahead: i64, segment: &Segment<'_>) {
        let Some(place) = self.delivered.checked_add_signed(ahead) else { return };
        let end = place + segment.payload.len() as u64;
        if segment.fin {
            self.end = Some(end);
        }
        // What was delivered comes again when an acknowledgement was lost.
        if segment.payload.is_empty() || end <= self.delivered {
            return;
        }
        let is_longer = |(_, kept): &(Option<u32>, Vec<u8>)| kept.len() < segment.payload.len();
        if self.waiting.get(&place).is_none_or(is_longer) {
            let kept = (segment.acknowledged, segment.payload.to_owned());
            self.waiting_len += segment.payload.len();
            self.waiting_len -= self.waiting.insert(place, kept).map_or(0, |(_, bytes)| bytes.len());
        }
    }

    /// How many bytes have not come that others, or the end, come after.
    fn missing(&self) -> Option<u64> {
        let later = self.waiting.keys().next().copied().or(self.end)?;
        later.checked_sub(self.delivered).filter(|missing| *missing > 0)
    }

    /// How many bytes the other end must have sent beyond those delivered, as what waits here says.
    fn has_seen_more_than(&self, other: &Self) -> Option<u64> {
        let (acknowledged, _) = self.waiting.values().next()?;
        let more = (*acknowledged)?.wrapping_sub(other.next?);
        (1..1 << 31).contains(&more).then_some(more.into())
    }

    /// The next bytes, or that there are no more; `delivered` is the number of the other end's next byte.
    fn pop(&mut self, delivered: Option<u32>) -> Option<Popped> {
        while let Some(first) = self.waiting.first_entry() {
            let place = *first.key();
            if place > self.delivered {
                break;
            }
            let is_early = match (first.get().0, delivered) {
                (Some(acknowledged), Some(delivered)) => acknowledged.wrapping_sub(delivered).cast_signed() > 0,
                _ => false,
            };
            if is_early {
                return None;
            }
            let (_, bytes) = first.remove();
            self.waiting_len -= bytes.len();
            let old = usize::try_from(self.delivered - place).unwrap_or(usize::MAX);
            if old < bytes.len() {
                let new = bytes[old..].to_vec();
                self.delivered += new.len() as u64;
                self.next = self.next.map(|next| next.wrapping_add(new.len() as u32));
                return Some(Popped::Bytes(new));
            }
        }
        if self.end == Some(self.delivered) && !self.ended {
            self.ended = true;
            // The FIN has a number of its own, which is acknowledged too.
            self.next = self.next.map(|next| next.wrapping_add(1));
            return Some(Popped::End);
        }
        None
    }
}

fn role(from: usize, client: usize) -> Role {
    if from == client { Role::Client } else { Role::Server }
}

fn shown((address, port): Endpoint) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

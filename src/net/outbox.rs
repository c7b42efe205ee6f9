//! What waits to be sent on one connection.

use std::io::{self, Write};
use std::mem;

use super::Transport;
use super::buffers::{BY_REFERENCE, Buffer, BufferPool, Flushed, end_of_frame};
use crate::wire::{Encoding, FrameHeader, PreparedMessage};

/// A message of at least this many bytes is written from where it stands, at once: below, copying it is cheaper than a
/// system call of its own.
pub(crate) const AT_ONCE: usize = 8 * 1024;

/// The bytes that wait to be sent on one connection, in order.
#[derive(Debug, Default)]
pub(crate) enum Outbox {
    #[default]
    Empty,
    /// In a buffer that is this connection's for as long as something waits in it.
    Own(Box<Buffer>),
    /// In the loop's run of what this turn sends to many: from one byte of it to another. Nothing is copied for a
    /// connection that is sent nothing else and takes all of it.
    Run { start: u32, end: u32 },
}

impl Outbox {
    /// Bytes that wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Own(buffer) => buffer.len(),
            Self::Run { start, end } => (end - start) as usize,
        }
    }

    /// Those of them that the peer has not asked for.
    #[inline]
    pub(crate) fn counted(&self) -> usize {
        match self {
            Self::Own(buffer) => buffer.counted(),
            Self::Empty | Self::Run { .. } => self.len(),
        }
    }

    /// All that waits now is what the peer has asked for.
    pub(crate) fn excuse(&mut self, pool: &mut BufferPool) {
        if !self.is_empty() {
            self.own(pool).excuse();
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where to append; the buffer comes from the pool if there is none.
    #[inline]
    pub(crate) fn tail(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        &mut self.own(pool).tail
    }

    /// Where to append one more message of `len` bytes, if what waits is in the connection's own buffer and `most` will not
    /// be reached.
    #[inline]
    pub(crate) fn tail_within(&mut self, most: usize, len: usize, pool: &mut BufferPool) -> Option<&mut Vec<u8>> {
        let waiting = match self {
            Self::Empty => 0,
            Self::Own(buffer) => buffer.len(),
            Self::Run { .. } => return None,
        };
        if waiting + FrameHeader::MAX_LEN + len < most { Some(self.tail(pool)) } else { None }
    }

    /// The connection's own buffer, with all that waits in it.
    #[inline]
    fn own(&mut self, pool: &mut BufferPool) -> &mut Buffer {
        if !matches!(self, Self::Own(_)) {
            let mut buffer = pool.take();
            if let Self::Run { start, end } = *self {
                buffer.tail.extend_from_slice(pool.run.part(start, end));
            }
            *self = Self::Own(buffer);
        }
        match self {
            Self::Own(buffer) => buffer,
            Self::Empty | Self::Run { .. } => unreachable!("it was just given one"),
        }
    }

    /// Queues a frame that others are sent too, behind all that was written before.
    pub(crate) fn push_shared(&mut self, message: &PreparedMessage, encoding: Encoding, pool: &mut BufferPool) {
        let bytes = message.encoded(encoding);
        if bytes.len() >= BY_REFERENCE {
            return self.own(pool).push(message.share(encoding));
        }
        match self {
            Self::Own(buffer) => return buffer.tail.extend_from_slice(bytes),
            Self::Empty => {
                if let Some((start, end)) = pool.run.place(message, encoding) {
                    *self = Self::Run { start, end };
                    return;
                }
            }
            Self::Run { end, .. } => {
                if let Some((next, after)) = pool.run.place(message, encoding)
                    && next == *end
                {
                    *end = after;
                    return;
                }
            }
        }
        self.tail(pool).extend_from_slice(bytes);
    }

    /// Queues what is no frame: it comes before all frames, and is not forgotten for them.
    pub(crate) fn push_head(&mut self, head: &[u8], pool: &mut BufferPool) {
        let buffer = self.own(pool);
        buffer.tail.extend_from_slice(head);
        buffer.lead = buffer.tail.len();
    }

    /// Forgets the frames that have not begun to leave.
    pub(crate) fn keep_begun(&mut self, pool: &mut BufferPool) {
        if !self.is_empty() {
            self.own(pool).keep_begun();
        }
        self.settle(pool);
    }

    /// Takes what waits out of the run, which ends with the turn.
    pub(crate) fn leave_run(&mut self, pool: &mut BufferPool) {
        if matches!(self, Self::Run { .. }) {
            self.own(pool);
        }
    }

    /// Gives a buffer that stayed empty back to the pool.
    #[inline]
    pub(crate) fn settle(&mut self, pool: &mut BufferPool) {
        if self.is_empty() {
            self.clear(pool);
        }
    }

    /// Forgets everything.
    #[inline]
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        if let Self::Own(buffer) = mem::take(self) {
            pool.give(buffer);
        }
    }

    /// Writes as much as the stream takes: normally in one system call.
    ///
    /// # Errors
    /// The stream is broken.
    #[inline(always)]
    pub(crate) fn write_to(&mut self, stream: &mut Transport, pool: &mut BufferPool) -> io::Result<Flushed> {
        let flushed = match self {
            Self::Empty => Flushed::Drained,
            Self::Own(buffer) => buffer.write_to(stream)?,
            Self::Run { .. } => self.write_run_to(stream, pool)?,
        };
        if flushed == Flushed::Drained {
            self.clear(pool);
        }
        Ok(flushed)
    }

    fn write_run_to(&mut self, stream: &mut Transport, pool: &mut BufferPool) -> io::Result<Flushed> {
        let Self::Run { start, end } = self else { return Ok(Flushed::Drained) };
        let first = *start as usize;
        match stream.write(pool.run.part(*start, *end)) {
            Ok(written) => *start += written as u32,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.leave_run(pool);
                return Ok(Flushed::Blocked);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if start == end {
            return Ok(Flushed::Drained);
        }
        let at = *start as usize;
        let lead = end_of_frame(&pool.run.bytes, first, at) - at;
        let buffer = self.own(pool);
        buffer.lead = lead;
        buffer.write_to(stream)
    }

    /// Queues `payload` behind all that was written before, having first offered both to the stream as they stand.
    ///
    /// # Errors
    /// The stream is broken.
    pub(crate) fn write_through(
        &mut self,
        payload: &[u8],
        stream: &mut Transport,
        pool: &mut BufferPool,
    ) -> io::Result<Flushed> {
        let flushed = self.own(pool).write_through(payload, stream)?;
        if flushed == Flushed::Drained {
            self.clear(pool);
        }
        Ok(flushed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::{IoSlice, Read};
    use std::sync::{Arc, Mutex};

    use super::super::Stream;
    use super::super::run::Run;
    use super::*;
    use crate::wire::PreparedMessage;

    /// Takes as many bytes per call as it was told, then nothing; and nobody may ask again who was refused.
    #[derive(Debug, Default)]
    struct Sink {
        taken: Arc<Mutex<Vec<u8>>>,
        rooms: VecDeque<usize>,
        has_refused: bool,
    }

    impl Read for Sink {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let Some(mut room) = self.rooms.pop_front() else {
                assert!(!std::mem::replace(&mut self.has_refused, true), "offered again what was refused");
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let mut taken = 0;
            for slice in slices {
                let part = &slice[..slice.len().min(room)];
                self.taken.lock().unwrap().extend_from_slice(part);
                (room, taken) = (room - part.len(), taken + part.len());
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Sink {
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(rooms: impl IntoIterator<Item = usize>) -> (Transport, Arc<Mutex<Vec<u8>>>) {
        let sink = Sink { taken: Arc::default(), rooms: rooms.into_iter().collect(), has_refused: false };
        let taken = Arc::clone(&sink.taken);
        (Transport::Other(Box::new(sink)), taken)
    }

    #[test]
    fn whatever_the_stream_takes_the_bytes_leave_in_order_and_once() {
        let large = PreparedMessage::new(&vec![b'x'; 3 * BY_REFERENCE]);
        let small = PreparedMessage::new("small");
        for room in [1, 2, 3, 1000, BY_REFERENCE, usize::MAX] {
            let mut pool = BufferPool::default();
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            let (mut stream, taken) = sink(std::iter::repeat_n(room, 1_000_000 / room.min(1_000_000)));
            for round in 0..20_u8 {
                let own = vec![round; usize::from(round) * 100];
                outbox.tail(&mut pool).extend_from_slice(&own);
                expected.extend_from_slice(&own);
                let message = if round % 3 == 0 { &large } else { &small };
                expected.extend_from_slice(message.frame().as_ref());
                outbox.push_shared(message, Encoding::PLAIN, &mut pool);
                if round % 7 == 0 {
                    // Something leaves before more is appended.
                    let (mut narrow, first) = sink([room]);
                    outbox.write_to(&mut narrow, &mut pool).unwrap();
                    taken.lock().unwrap().extend_from_slice(&first.lock().unwrap());
                }
                assert_eq!(outbox.len() + taken.lock().unwrap().len(), expected.len());
            }
            assert_eq!(outbox.write_to(&mut stream, &mut pool).unwrap(), Flushed::Drained);
            assert!(outbox.is_empty());
            assert!(*taken.lock().unwrap() == expected, "{room} bytes at a time");
        }
    }

    #[test]
    fn what_the_stream_refuses_is_kept_and_its_length_known() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.tail(&mut pool).extend_from_slice(b"Hello");
        let (mut stream, taken) = sink([2]);
        assert_eq!(outbox.write_to(&mut stream, &mut pool).unwrap(), Flushed::Blocked);
        assert_eq!((outbox.len(), &taken.lock().unwrap()[..]), (3, &b"He"[..]));
    }

    #[test]
    fn a_turn_of_many_pieces_is_one_write() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        let large = PreparedMessage::new(&vec![0; BY_REFERENCE]);
        for _ in 0..20 {
            outbox.tail(&mut pool).extend_from_slice(b"own");
            outbox.push_shared(&large, Encoding::PLAIN, &mut pool);
        }
        let (mut stream, _) = sink([usize::MAX]);
        assert_eq!(outbox.write_to(&mut stream, &mut pool).unwrap(), Flushed::Drained);
    }

    /// A message's frame as a server sends it.
    fn frame(len: usize) -> Vec<u8> {
        PreparedMessage::new(&vec![b'x'; len]).frame().as_ref().to_vec()
    }

    #[test]
    fn what_has_begun_to_leave_stays_up_to_its_end_wherever_it_was_cut() {
        let lens = [0, 1, 125, 126, 3000, BY_REFERENCE, 100, 70_000, 10, 2 * BY_REFERENCE, 5];
        let head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        // How each message gets there.
        let ways: [fn(&mut Outbox, &mut BufferPool, usize); 3] = [
            |outbox, pool, len| outbox.tail(pool).extend_from_slice(&frame(len)),
            |outbox, pool, len| {
                let message = PreparedMessage::new(&vec![b'x'; len]);
                outbox.push_shared(&message, Encoding::PLAIN, pool);
            },
            |outbox, pool, len| {
                let frame = frame(len);
                let (header, payload) = frame.split_at(frame.len() - len);
                outbox.tail(pool).extend_from_slice(header);
                let (mut full, _) = sink([]);
                outbox.write_through(payload, &mut full, pool).unwrap();
            },
        ];
        for (number, way) in ways.into_iter().enumerate() {
            for with_head in [false, true] {
                let pieces: Vec<_> = with_head.then(|| head.clone()).into_iter().chain(lens.map(frame)).collect();
                let whole = pieces.concat();
                let ends: Vec<_> = pieces
                    .iter()
                    .scan(0, |end, piece| {
                        *end += piece.len();
                        Some(*end)
                    })
                    .collect();
                let near = ends.iter().flat_map(|end| end.saturating_sub(3)..end + 15);
                for cut in near.chain((0..whole.len()).step_by(997)).filter(|cut| *cut < whole.len()) {
                    // In one go, and in steps between which what has left is let go of.
                    for step in [usize::MAX, 5000] {
                        let mut pool = BufferPool::default();
                        let mut outbox = Outbox::default();
                        if with_head {
                            outbox.push_head(&head, &mut pool);
                        }
                        for len in lens {
                            way(&mut outbox, &mut pool, len);
                        }
                        let mut left = cut;
                        let mut sent = Vec::new();
                        while left > 0 {
                            let (mut narrow, taken) = sink([left.min(step)]);
                            outbox.write_to(&mut narrow, &mut pool).unwrap();
                            sent.extend_from_slice(&taken.lock().unwrap());
                            left = cut - sent.len();
                        }
                        outbox.keep_begun(&mut pool);
                        let begun = ends.iter().copied().find(|end| *end >= cut).unwrap();
                        // A head is no frame, and stays even before it begins to leave.
                        let kept = if cut == 0 && !with_head { 0 } else { begun };
                        assert_eq!(outbox.len(), kept - cut, "way {number}, cut at {cut} of {ends:?}");
                        outbox.tail(&mut pool).extend_from_slice(b"behind");
                        let (mut wide, taken) = sink([usize::MAX]);
                        assert_eq!(outbox.write_to(&mut wide, &mut pool).unwrap(), Flushed::Drained);
                        sent.extend_from_slice(&taken.lock().unwrap());
                        assert!(sent == [&whole[..kept], b"behind"].concat(), "way {number}, cut at {cut}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_message_cut_while_it_is_offered_stays_up_to_its_end() {
        // What waits before it, of which some has left; then the message's header and payload are offered together.
        for before in [0, 10, 6000] {
            let first = frame(before);
            let message = frame(20_000);
            let (header, payload) = message.split_at(4);
            let whole = [&first[..], &message].concat();
            for earlier in [0, 1, first.len() / 2] {
                for room in [1, 2, 3, 4, 5, first.len(), first.len() + 1, first.len() + 4, first.len() + 9000] {
                    let mut pool = BufferPool::default();
                    let mut outbox = Outbox::default();
                    outbox.tail(&mut pool).extend_from_slice(&first);
                    let (mut narrow, sent) = sink([earlier].into_iter().filter(|room| *room > 0));
                    outbox.write_to(&mut narrow, &mut pool).unwrap();
                    outbox.tail(&mut pool).extend_from_slice(header);
                    let (mut narrow, taken) = sink([room]);
                    outbox.write_through(payload, &mut narrow, &mut pool).unwrap();
                    let mut sent = sent.lock().unwrap().clone();
                    sent.extend_from_slice(&taken.lock().unwrap());
                    outbox.tail(&mut pool).extend_from_slice(&frame(50));
                    let kept = if sent.len() <= first.len() { first.len() } else { whole.len() };
                    outbox.keep_begun(&mut pool);
                    assert_eq!(outbox.len(), kept - sent.len(), "{before} before, {earlier}, then {room}");
                    let (mut wide, taken) = sink([usize::MAX]);
                    outbox.write_to(&mut wide, &mut pool).unwrap();
                    sent.extend_from_slice(&taken.lock().unwrap());
                    assert!(sent == whole[..kept], "{before} before, {earlier}, then {room}");
                }
            }
        }
    }

    #[test]
    fn an_empty_outbox_owns_no_memory_and_the_pool_lends_again_what_came_back() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.tail(&mut pool).extend_from_slice(b"Hello");
        let buffer = outbox.tail(&mut pool).as_ptr();
        let (mut stream, _) = sink([usize::MAX]);
        outbox.write_to(&mut stream, &mut pool).unwrap();
        assert!(matches!(outbox, Outbox::Empty));
        assert_eq!(pool.take().tail.as_ptr(), buffer);
    }

    #[test]
    fn what_many_are_sent_reaches_each_in_its_order_whatever_else_it_is_sent() {
        // Each row is one connection's turn: which of eight messages it is sent, and before which it is told something
        // of its own.
        let rows: &[(&[usize], Option<usize>)] = &[
            (&[0, 1, 2, 3, 4, 5, 6, 7], None),
            (&[2, 3, 4], None),
            (&[0, 2, 4], None),
            (&[5], None),
            (&[], None),
            (&[0, 1, 2, 3], Some(0)),
            (&[0, 1, 2, 3], Some(2)),
            (&[6, 7], Some(7)),
        ];
        for room in [1, 7, usize::MAX] {
            let mut pool = BufferPool::default();
            let mut outboxes: Vec<_> = rows.iter().map(|_| (Outbox::default(), Vec::new())).collect();
            for number in 0..8 {
                // Of one length, and gone before the next is made: nothing may be known by its address.
                let message = PreparedMessage::new(&format!("message {number}"));
                for ((sent, own_before), (outbox, expected)) in rows.iter().zip(&mut outboxes) {
                    if *own_before == Some(number) {
                        outbox.tail(&mut pool).extend_from_slice(b"own");
                        expected.extend_from_slice(b"own");
                    }
                    if sent.contains(&number) {
                        outbox.push_shared(&message, Encoding::PLAIN, &mut pool);
                        expected.extend_from_slice(message.frame().as_ref());
                    }
                    assert_eq!(outbox.len(), expected.len());
                }
            }
            for (outbox, expected) in &mut outboxes {
                let (mut full, some) = sink([room]);
                outbox.write_to(&mut full, &mut pool).unwrap();
                outbox.leave_run(&mut pool);
                let (mut free, rest) = sink([usize::MAX; 2]);
                outbox.write_to(&mut free, &mut pool).unwrap();
                assert_eq!([&some.lock().unwrap()[..], &rest.lock().unwrap()[..]].concat(), *expected, "{room}");
                assert!(outbox.is_empty());
            }
            pool.run.end();
            assert!(pool.run.bytes.is_empty() && pool.run.last.is_none());
        }
    }

    #[test]
    fn a_run_that_is_full_is_copied_from_there_on() {
        let mut pool = BufferPool::default();
        let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
        for number in 0..2 * Run::LARGEST / 4000 {
            let message = PreparedMessage::new(&vec![number as u8; 4000]);
            outbox.push_shared(&message, Encoding::PLAIN, &mut pool);
            expected.extend_from_slice(message.frame().as_ref());
        }
        assert!(pool.run.bytes.len() <= Run::LARGEST);
        let (mut stream, taken) = sink([usize::MAX; 2]);
        assert_eq!(outbox.write_to(&mut stream, &mut pool).unwrap(), Flushed::Drained);
        assert!(*taken.lock().unwrap() == expected);
    }

    #[test]
    fn what_a_full_stream_refuses_is_kept_and_not_offered_again() {
        let mut pool = BufferPool::default();
        let large = vec![b'x'; AT_ONCE];
        for rooms in [&[][..], &[2], &[1000]] {
            let mut outbox = Outbox::default();
            outbox.tail(&mut pool).extend_from_slice(b"own");
            let (mut stream, taken) = sink(rooms.iter().copied());
            assert_eq!(outbox.write_through(&large, &mut stream, &mut pool).unwrap(), Flushed::Blocked);
            assert_eq!(outbox.len() + taken.lock().unwrap().len(), 3 + large.len());

            let mut outbox = Outbox::default();
            outbox.push_shared(&PreparedMessage::new("for many"), Encoding::PLAIN, &mut pool);
            let (mut stream, taken) = sink(rooms.iter().map(|&room| room.min(4)));
            assert_eq!(outbox.write_to(&mut stream, &mut pool).unwrap(), Flushed::Blocked);
            assert_eq!(outbox.len() + taken.lock().unwrap().len(), 10);
            pool.run.end();
        }
    }
}

//! Reading what a server or a proxy answers: a status and fields, interim answers passed over [RFC 9112 §4].

use super::request::split_head;
use super::{Fields, HeadFault, HeadLimits, HeadReader};

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) is_http11: bool,
    pub(super) fields: Fields,
}

/// Collects answers' heads until the final one, a 101 or anything from 200 on.
#[derive(Debug)]
pub(super) struct AnswerReader {
    limits: HeadLimits,
    /// Bytes of interim heads so far.
    passed_over: usize,
    head: HeadReader,
}

impl AnswerReader {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self { limits, passed_over: 0, head: HeadReader::for_answer(limits) }
    }

    /// Takes the next piece. `Some((answer, n))`: `n` bytes of it belonged to the head, what follows is the body.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<(Answer, usize)>, HeadFault> {
        let mut used = 0;
        loop {
            let Some(end) = self.push_head(&piece[used..])? else { return Ok(None) };
            used += end;
            let answer = Answer::parse(self.head.bytes(), &self.limits)?;
            if answer.status == 101 || answer.status >= 200 {
                return Ok(Some((answer, used)));
            }
            // The cap is on all heads together, or interim answers without end would get around it.
            self.passed_over += self.head.bytes().len();
            self.head = HeadReader::for_answer(HeadLimits { head: self.limits.head - self.passed_over, ..self.limits });
        }
    }

    fn push_head(&mut self, piece: &[u8]) -> Result<Option<usize>, HeadFault> {
        self.head.push_raw(piece).map_err(|fault| match fault {
            HeadFault::TooLong(_) => HeadFault::TooLong(self.limits.head),
            fault => fault,
        })
    }
}

impl Answer {
    fn parse(head: &[u8], limits: &HeadLimits) -> Result<Self, HeadFault> {
        let (line, fields) = split_head(head, limits)?;
        // HTTP/1.1 101 Switching Protocols
        let (is_http11, status) = match line {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'1', b' ', rest @ ..] => (*minor == b'1', rest),
            _ => return Err(HeadFault::StartLine),
        };
        let (digits, rest) = status.split_first_chunk::<3>().ok_or(HeadFault::StartLine)?;
        if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' || !matches!(rest, [] | [b' ', ..]) {
            return Err(HeadFault::StartLine);
        }
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        Ok(Self { status, is_http11, fields })
    }
}

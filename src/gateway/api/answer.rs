//! The answer to a request: its parts, some of which may come later, and how they stand together.

use std::borrow::Cow;

use serde::Serialize;

use super::methods::Method;
use crate::gateway::data::write_json_string;
use crate::handshake::Response;
use crate::push::{Position, PushError};

/// A method's result in JSON, or why there is none.
pub(super) type Outcome = Result<String, Refusal>;

/// Why a method is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: u32,
    message: Cow<'static, str>,
}

/// How the parts stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One part.
    One,
    /// So many parts, one for each channel.
    Broadcast(usize),
    /// Methods, one after the other.
    Batch(Vec<(Method, Shape)>),
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    method: Method,
    shape: Shape,
    /// In their order; `None`: it has to come yet.
    parts: Vec<Option<Outcome>>,
    missing: usize,
}

impl Refusal {
    /// A request that makes no sense, and why.
    pub(super) fn bad(why: impl std::fmt::Display) -> Self {
        let error = PushError::BadRequest;
        Self { code: error.code(), message: format!("{}: {why}", error.message()).into() }
    }

    /// More than is allowed, of what.
    pub(super) fn too_much(what: impl std::fmt::Display) -> Self {
        let error = PushError::LimitExceeded;
        Self { code: error.code(), message: format!("{}: {what}", error.message()).into() }
    }

    /// As the whole of an answer.
    pub(super) fn response(&self, status: u16) -> Response {
        let mut out = Vec::new();
        error_object(&mut out, self);
        Response::new(status).with_body(JSON, out)
    }
}

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Self {
        Self { code: error.code(), message: error.message().into() }
    }
}

impl Answer {
    pub(super) fn new(method: Method, shape: Shape, parts: Vec<Option<Outcome>>) -> Self {
        let missing = parts.iter().filter(|part| part.is_none()).count();
        Self { method, shape, parts, missing }
    }

    /// The name of the method that was asked for.
    pub(super) fn method(&self) -> &'static str {
        self.method.name()
    }

    /// A part that was missing has come.
    pub(super) fn fill(&mut self, index: usize, outcome: Outcome) {
        if let Some(part @ None) = self.parts.get_mut(index) {
            *part = Some(outcome);
            self.missing -= 1;
        }
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// All of it, as HTTP has it.
    pub(super) fn response(&self) -> Response {
        let mut out = Vec::new();
        let mut parts = self.parts.iter().map(|part| part.as_ref().unwrap_or(&LOST));
        match &self.shape {
            Shape::Batch(methods) => {
                out.extend_from_slice(br#"{"replies":["#);
                separated(&mut out, methods, |out, (method, shape)| reply(out, *method, shape, &mut parts));
                out.extend_from_slice(b"]}");
            }
            shape => wrapped(&mut out, "result", shape, &mut parts),
        }
        Response::new(200).with_body(JSON, out)
    }
}

const JSON: &str = "application/json";

/// In place of a part that never came, which cannot be: an answer is written when all have.
const LOST: Outcome = Err(Refusal { code: 100, message: Cow::Borrowed("internal server error") });

/// A method's part of a batch.
fn reply<'p>(out: &mut Vec<u8>, method: Method, shape: &Shape, parts: &mut impl Iterator<Item = &'p Outcome>) {
    wrapped(out, method.name(), shape, parts);
}

/// `{"name":…}` with the result, or `{"error":…}`.
fn wrapped<'p>(out: &mut Vec<u8>, name: &str, shape: &Shape, parts: &mut impl Iterator<Item = &'p Outcome>) {
    let open = |out: &mut Vec<u8>| out.extend_from_slice(format!("{{\"{name}\":").as_bytes());
    match shape {
        Shape::Broadcast(channels) => {
            open(out);
            out.extend_from_slice(br#"{"responses":["#);
            separated(out, 0..*channels, |out, _| wrapped(out, "result", &Shape::One, parts));
            out.extend_from_slice(b"]}}");
        }
        Shape::One | Shape::Batch(_) => match parts.next().unwrap_or(&LOST) {
            Ok(result) => {
                open(out);
                out.extend_from_slice(result.as_bytes());
                out.push(b'}');
            }
            Err(refusal) => error_object(out, refusal),
        },
    }
}

fn error_object(out: &mut Vec<u8>, refusal: &Refusal) {
    out.extend_from_slice(format!(r#"{{"error":{{"code":{},"message":"#, refusal.code).as_bytes());
    write_json_string(&refusal.message, out);
    out.extend_from_slice(b"}}");
}

fn separated<T>(out: &mut Vec<u8>, all: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Vec<u8>, T)) {
    for (number, item) in all.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        each(out, item);
    }
}

/// A result in JSON.
pub(super) fn json(result: &impl Serialize) -> Outcome {
    serde_json::to_string(result).map_err(|error| {
        log::error!("a result that cannot be written as JSON: {error}");
        PushError::Internal.into()
    })
}

/// The result of a publish: where it stands, if the channel keeps a stream.
pub(super) fn published(position: &Position) -> Outcome {
    #[derive(Serialize)]
    struct Published<'a> {
        offset: u64,
        epoch: &'a str,
    }

    match position.offset {
        0 => Ok("{}".to_owned()),
        offset => json(&Published { offset, epoch: &position.epoch }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &Answer) -> String {
        String::from_utf8(answer.response().body().to_vec()).unwrap()
    }

    fn at(offset: u64) -> Outcome {
        published(&Position { offset, epoch: "e".into() })
    }

    #[test]
    fn an_answer_is_complete_when_the_last_of_its_parts_has_come_in_whatever_order() {
        let shape = Shape::Batch(vec![
            (Method::Publish, Shape::One),
            (Method::Broadcast, Shape::Broadcast(3)),
            (Method::Info, Shape::One),
            (Method::Publish, Shape::One),
        ]);
        let parts = vec![None, Some(at(5)), None, None, Some(Ok("{}".to_owned())), None];
        let mut answer = Answer::new(Method::Batch, shape, parts);
        for (index, outcome) in [(5, at(0)), (3, Err(PushError::Internal.into())), (0, at(1)), (2, at(7))] {
            assert!(!answer.is_complete());
            answer.fill(index, outcome);
            // What has come stays, and what is not there is nobody's.
            answer.fill(index, at(99));
            answer.fill(1, at(99));
            answer.fill(6, at(99));
        }
        assert!(answer.is_complete());
        let internal = r#"{"error":{"code":100,"message":"internal server error"}}"#;
        let expected = format!(
            r#"{{"replies":[{{"publish":{{"offset":1,"epoch":"e"}}}},{{"broadcast":{{"responses":[{}]}}}},{{"info":{{}}}},{{"publish":{{}}}}]}}"#,
            [r#"{"result":{"offset":5,"epoch":"e"}}"#, r#"{"result":{"offset":7,"epoch":"e"}}"#, internal].join(","),
        );
        assert_eq!(body(&answer), expected);
    }

    #[test]
    fn a_refusal_says_what_is_wrong_in_one_json_string() {
        let answer = Answer::new(Method::Publish, Shape::One, vec![Some(Err(Refusal::bad("a \"b\"\n")))]);
        assert_eq!(body(&answer), r#"{"error":{"code":107,"message":"bad request: a \"b\"\n"}}"#);
        assert_eq!(Refusal::too_much("x").response(400).status(), 400);
    }
}

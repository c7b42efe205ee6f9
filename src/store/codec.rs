//! Records as bytes: what is stored under a record's sequence.
//!
//! ```text
//! publication  1  channel epoch offset time data tags info? key?
//! reset        2  channel epoch offset time
//! epoch        3  durable epoch
//! ```
//!
//! Numbers are in groups of seven bits, the lowest first, the top bit of each byte set but for the last one's; strings and data
//! have their length before them; what may be absent has a byte before it that is 0 or 1. There is one encoding of each
//! record, and whatever is not exactly that is refused. A change to any of this is a new format.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::push::{ClientId, ClientInfo, Data, Kind, Publication, RecordBody, Time};

const PUBLICATION: u8 = 1;
const RESET: u8 = 2;
const EPOCH: u8 = 3;

/// Appends the encoding of `body` to `out`.
pub(super) fn encode(body: &RecordBody, out: &mut Vec<u8>) {
    match body {
        RecordBody::Publication { channel, epoch, publication, idempotency_key } => {
            let Publication { offset, data, info, tags, time } = &**publication;
            out.push(PUBLICATION);
            put_bytes(out, channel.as_bytes());
            put_bytes(out, epoch.as_bytes());
            put_number(out, *offset);
            put_number(out, time.0);
            put_data(out, data);
            put_number(out, tags.len() as u64);
            for (name, value) in tags {
                put_bytes(out, name.as_bytes());
                put_bytes(out, value.as_bytes());
            }
            put_option(out, info.as_ref(), put_info);
            put_option(out, idempotency_key.as_ref(), |out, key| put_bytes(out, key.as_bytes()));
        }
        RecordBody::Reset { channel, epoch, offset, time } => {
            out.push(RESET);
            put_bytes(out, channel.as_bytes());
            put_bytes(out, epoch.as_bytes());
            put_number(out, *offset);
            put_number(out, time.0);
        }
        RecordBody::Epoch { durable, epoch } => {
            out.push(EPOCH);
            out.push(u8::from(*durable));
            put_bytes(out, epoch.as_bytes());
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_data(out: &mut Vec<u8>, data: &Data) {
    out.push(match data.kind {
        Kind::Json => 0,
        Kind::Text => 1,
        Kind::Binary => 2,
    });
    put_bytes(out, &data.bytes);
}

fn put_info(out: &mut Vec<u8>, info: &ClientInfo) {
    put_bytes(out, info.user.as_bytes());
    out.extend_from_slice(&info.client.0.to_be_bytes());
    put_option(out, info.conn_info.as_ref(), put_data);
    put_option(out, info.chan_info.as_ref(), put_data);
}

fn put_option<T>(out: &mut Vec<u8>, option: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(u8::from(option.is_some()));
    if let Some(value) = option {
        put(out, value);
    }
}

/// Strings that many records have in common, kept once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name = Arc::from(name);
        self.0.insert(Arc::clone(&name));
        name
    }
}

/// Reads what [`encode`] has written; `None` if it has not.
pub(super) fn decode(bytes: &[u8], names: &mut Names) -> Option<RecordBody> {
    let mut reader = Reader(bytes);
    let body = match reader.byte()? {
        PUBLICATION => {
            let channel = names.get(reader.string()?);
            let epoch = names.get(reader.string()?);
            let (offset, time) = (reader.number()?, Time(reader.number()?));
            let data = reader.data()?;
            let tags = reader.tags()?;
            let info = reader.option(|reader| reader.info(names))?;
            let idempotency_key = reader.option(|reader| reader.string().map(Arc::from))?;
            let publication = Arc::new(Publication { offset, data, info, tags, time });
            RecordBody::Publication { channel, epoch, publication, idempotency_key }
        }
        RESET => RecordBody::Reset {
            channel: names.get(reader.string()?),
            epoch: names.get(reader.string()?),
            offset: reader.number()?,
            time: Time(reader.number()?),
        },
        EPOCH => RecordBody::Epoch { durable: reader.bool()?, epoch: names.get(reader.string()?) },
        _ => return None,
    };
    reader.0.is_empty().then_some(body)
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bool(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                // A zero at the top says nothing: a shorter encoding exists.
                return (byte != 0 || shift == 0).then_some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn string(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn data(&mut self) -> Option<Data> {
        let kind = match self.byte()? {
            0 => Kind::Json,
            1 => Kind::Text,
            2 => Kind::Binary,
            _ => return None,
        };
        let bytes = self.bytes()?;
        if kind != Kind::Binary {
            std::str::from_utf8(bytes).ok()?;
        }
        Some(Data::new(kind, bytes))
    }

    fn tags(&mut self) -> Option<BTreeMap<String, String>> {
        let mut tags = BTreeMap::<String, String>::new();
        for _ in 0..self.number()? {
            let name = self.string()?;
            if tags.last_key_value().is_some_and(|(last, _)| name <= last.as_str()) {
                return None;
            }
            tags.insert(name.to_owned(), self.string()?.to_owned());
        }
        Some(tags)
    }

    fn info(&mut self, names: &mut Names) -> Option<ClientInfo> {
        let user = names.get(self.string()?);
        let (client, rest) = self.0.split_first_chunk::<16>()?;
        self.0 = rest;
        Some(ClientInfo {
            user,
            client: ClientId(u128::from_be_bytes(*client)),
            conn_info: self.option(Self::data)?,
            chan_info: self.option(Self::data)?,
        })
    }

    /// Outside: whether it could be read; inside: whether it is there.
    #[expect(clippy::option_option, reason = "both are meant")]
    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.bool()? { read(self).map(Some) } else { Some(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(offset: u64, data: Data, info: Option<ClientInfo>, tags: &[(&str, &str)]) -> Arc<Publication> {
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Arc::new(Publication { offset, data, info, tags, time: Time(offset.wrapping_mul(3)) })
    }

    fn bodies() -> Vec<RecordBody> {
        let info =
            |conn_info, chan_info| ClientInfo { user: "42".into(), client: ClientId(7 << 90), conn_info, chan_info };
        let body = |publication, key: Option<&str>| RecordBody::Publication {
            channel: "news:a".into(),
            epoch: "e1".into(),
            publication,
            idempotency_key: key.map(Arc::from),
        };
        let mut bodies = vec![
            body(publication(1, Data::json("{}"), None, &[]), None),
            body(publication(2, Data::new(Kind::Text, "zwölf".as_bytes()), None, &[("a", ""), ("b", "2")]), Some("")),
            body(publication(3, Data::new(Kind::Binary, &[0xff, 0x00]), Some(info(None, None)), &[]), Some("key")),
            body(publication(4, Data::json(""), Some(info(Some(Data::json("1")), Some(Data::json("2")))), &[]), None),
            body(publication(5, Data::new(Kind::Binary, &[7; 300]), None, &[]), None),
            RecordBody::Epoch { durable: true, epoch: "e".into() },
            RecordBody::Epoch { durable: false, epoch: "".into() },
        ];
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX - 1, u64::MAX] {
            let (channel, epoch, time) = ("c".into(), "e".into(), Time(number));
            bodies.push(RecordBody::Reset { channel, epoch, offset: number, time });
        }
        bodies
    }

    fn encoded(body: &RecordBody) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(body, &mut bytes);
        bytes
    }

    #[test]
    fn every_record_is_read_as_it_was_written() {
        for body in bodies() {
            assert_eq!(decode(&encoded(&body), &mut Names::default()).as_ref(), Some(&body));
        }
    }

    /// Cut, longer, or with any byte replaced, it is refused, or is the encoding of what it is read as.
    #[test]
    fn there_is_one_encoding_of_each_record() {
        for body in bodies() {
            let whole = encoded(&body);
            for len in 0..whole.len() {
                assert_eq!(decode(&whole[..len], &mut Names::default()), None, "{body:?} cut to {len} bytes");
            }
            assert_eq!(decode(&[&whole[..], &[0]].concat(), &mut Names::default()), None, "{body:?} and a byte");
            for place in 0..whole.len() {
                for byte in 0..=u8::MAX {
                    let mut bytes = whole.clone();
                    bytes[place] = byte;
                    if let Some(other) = decode(&bytes, &mut Names::default()) {
                        assert_eq!(encoded(&other), bytes, "{body:?} with {byte} at {place}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_beyond_64_bits_and_lengths_beyond_the_record_are_refused() {
        let number = |bytes: &[u8]| Reader(bytes).number();
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Some(u64::MAX));
        for wrong in [
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00],
            &[0x80, 0x00],
            &[0x80],
            &[],
        ] {
            assert_eq!(number(wrong), None, "{wrong:x?}");
        }
        for len in [1, 5, u64::MAX] {
            let mut bytes = vec![EPOCH, 1];
            put_number(&mut bytes, len);
            assert_eq!(decode(&bytes, &mut Names::default()), None, "a string of {len} bytes that are not there");
        }
    }

    #[test]
    fn names_are_kept_once() {
        let mut names = Names::default();
        let bytes = encoded(&bodies()[0]);
        let channel = |body| match body {
            Some(RecordBody::Publication { channel, .. }) => channel,
            other => panic!("{other:?}"),
        };
        let (one, two) = (channel(decode(&bytes, &mut names)), channel(decode(&bytes, &mut names)));
        assert!(Arc::ptr_eq(&one, &two));
    }
}

//! How JSON of applications is read: `null` is left out, and an empty object may stand as `[]`, as PHP writes it. An array
//! with something in it is no object, although serde would take one for a struct.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::data;
use crate::push::Data;

/// The object that a text is.
pub(super) fn parse<T: DeserializeOwned + Default>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str::<Object<T>>(text).map(|object| object.0.unwrap_or_default())
}

/// A value, or `null` for none.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Any value as it stands, `null` too.
pub(super) fn verbatim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// An object, or `null` for none.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Object::deserialize(deserializer)?.0)
}

/// Values by name.
pub(super) fn map<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(object(deserializer)?.unwrap_or_default())
}

/// Data as a JSON value, or as bytes in base64, which come first: there may be neither.
pub(super) fn data(name: &str, json: Option<&RawValue>, base64: &str) -> Result<Option<Data>, String> {
    if !base64.is_empty() {
        let bytes = STANDARD.decode(base64).map_err(|error| format!("`b64{name}` is no base64: {error}"))?;
        return Ok(Some(data::of_bytes(&bytes)));
    }
    let Some(json) = json else { return Ok(None) };
    let too_deep = || format!("`{name}` is nested more than {} deep", data::MAX_DEPTH);
    data::of_json(json.get().as_bytes()).map(Some).ok_or_else(too_deep)
}

/// An object; `None` for `null`.
struct Object<T>(Option<T>);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Object(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| Object(Some(value)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                // An element that is left over is an error of the deserializer's.
                Ok(Object(Some(T::default())))
            }
        }

        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Outer {
        #[serde(deserialize_with = "or_default")]
        name: String,
        #[serde(deserialize_with = "object")]
        inner: Option<Inner>,
        #[serde(deserialize_with = "map")]
        tags: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        number: u32,
    }

    #[test]
    fn null_is_left_out_and_an_empty_list_is_an_empty_object() {
        for text in ["{}", "[]", "null", " [ ] ", r#"{"name":null,"inner":null,"tags":null}"#, r#"{"tags":[]}"#] {
            assert_eq!(parse::<Outer>(text).unwrap(), Outer::default(), "{text}");
        }
        let found: Outer = parse(r#"{"inner":[],"tags":{"a":"b"},"other":[1]}"#).unwrap();
        assert_eq!((found.inner, found.tags.len()), (Some(Inner::default()), 1));
    }

    #[test]
    fn what_is_of_another_type_is_refused() {
        let rows = ["", "0", "\"\"", "true", "[\"a\"]", "[null]", "{} {}", r#"{"name":1}"#, r#"{"inner":[1]}"#];
        for text in rows.into_iter().chain([r#"{"inner":{"number":"1"}}"#, r#"{"tags":["a"]}"#, r#"{"tags":{"a":1}}"#])
        {
            assert!(parse::<Outer>(text).is_err(), "{text}");
        }
    }
}

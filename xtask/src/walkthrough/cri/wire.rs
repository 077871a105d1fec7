//! Messages of protocol buffers to and from JSON, by tables of field numbers: what `crictl` reads
//! from files is JSON of the same names.
//!
//! A library would want the interface's definition compiled, for some ten messages of a task that
//! few run.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

/// The fields of a message.
pub(super) type Schema = &'static [(&'static str, u64, Kind)];

/// What a field holds. Arrays of JSON are repeated fields.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Number,
    Message(Schema),
    /// From text to text.
    Map,
}

const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const ENTRY: Schema = &[("key", 1, Kind::Text), ("value", 2, Kind::Text)];

/// A message of these fields.
pub(super) fn encode(schema: Schema, value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let fields = value.as_object().context("a message is an object")?;
    for (name, value) in fields {
        let known = schema.iter().find(|(known, _, _)| known == name);
        let (_, number, kind) = known.with_context(|| format!("no field {name}"))?;
        match value {
            Value::Array(items) => {
                for item in items {
                    field(&mut out, *number, *kind, item)?;
                }
            }
            _ => field(&mut out, *number, *kind, value)?,
        }
    }
    Ok(out)
}

fn field(out: &mut Vec<u8>, number: u64, kind: Kind, value: &Value) -> Result<()> {
    let bytes = match (kind, value) {
        (Kind::Number, value) => {
            let value = value.as_u64().or(value.as_bool().map(u64::from));
            varint(out, number << 3 | VARINT);
            varint(out, value.context("a number is not negative")?);
            return Ok(());
        }
        (Kind::Text, value) => value.as_str().context("text is a string")?.into(),
        (Kind::Message(schema), value) => encode(schema, value)?,
        (Kind::Map, Value::Object(entries)) => {
            for (key, value) in entries {
                let entry = serde_json::json!({ "key": key, "value": value });
                field(out, number, Kind::Message(ENTRY), &entry)?;
            }
            return Ok(());
        }
        (Kind::Map, _) => bail!("a map is an object"),
    };
    varint(out, number << 3 | LENGTH);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
    Ok(())
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        out.push(low | if value == 0 { 0 } else { 0x80 });
        if value == 0 {
            return;
        }
    }
}

/// The fields of a message that the table knows; repeated ones as an array.
pub(super) fn decode(schema: Schema, mut bytes: &[u8]) -> Result<Value> {
    let mut fields = Map::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let known = schema.iter().find(|(_, number, _)| *number == key >> 3);
        let value = match key & 7 {
            VARINT => Value::from(take_varint(&mut bytes)?),
            LENGTH => {
                let length = usize::try_from(take_varint(&mut bytes)?)?;
                let (body, rest) = bytes.split_at_checked(length).context("it is cut off")?;
                bytes = rest;
                match known {
                    Some((_, _, Kind::Message(schema))) => decode(schema, body)?,
                    Some((_, _, Kind::Map)) => decode(ENTRY, body)?,
                    _ => Value::from(String::from_utf8_lossy(body)),
                }
            }
            5 => skip(&mut bytes, 4)?,
            1 => skip(&mut bytes, 8)?,
            other => bail!("a field has the unknown form {other}"),
        };
        let Some((name, _, _)) = known else { continue };
        match fields.get_mut(*name) {
            Some(Value::Array(items)) => items.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => drop(fields.insert((*name).to_owned(), value)),
        }
    }
    Ok(Value::Object(fields))
}

fn skip(bytes: &mut &[u8], length: usize) -> Result<Value> {
    *bytes = bytes.get(length..).context("it is cut off")?;
    Ok(Value::Null)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("it is cut off")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number is too long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const INNER: Schema = &[("id", 1, Kind::Text)];
    const OUTER: Schema = &[
        ("name", 1, Kind::Text),
        ("count", 2, Kind::Number),
        ("items", 3, Kind::Message(INNER)),
        ("labels", 4, Kind::Map),
        ("words", 20, Kind::Text),
    ];

    /// From the encoding's own documentation.
    #[test]
    fn numbers_and_text_are_as_documented() {
        let schema: Schema = &[("a", 1, Kind::Number), ("b", 2, Kind::Text)];
        let bytes = |value| encode(schema, &value).expect("it is right");
        assert_eq!(bytes(json!({ "a": 150 })), [0x08, 0x96, 0x01]);
        assert_eq!(bytes(json!({ "b": "testing" })), *b"\x12\x07testing");
        assert_eq!(bytes(json!({ "a": true })), [0x08, 0x01]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({
            "name": "pod", "count": 300, "items": [{ "id": "a" }, { "id": "b" }],
            "words": ["x", "y", "z"],
        });
        let bytes = encode(OUTER, &value).expect("it is right");
        assert_eq!(decode(OUTER, &bytes).expect("likewise"), value);
        let labels = encode(OUTER, &json!({ "labels": { "k": "v" } })).expect("it is right");
        assert_eq!(
            decode(OUTER, &labels).expect("likewise"),
            json!({ "labels": { "key": "k", "value": "v" } })
        );
    }

    #[test]
    fn what_is_not_known_is_left_out_and_what_is_wrong_refused() {
        let bytes = [&[0x48, 5][..], &[0x0a, 1, b'p'], &[0x55, 1, 2, 3, 4]].concat();
        assert_eq!(
            decode(OUTER, &bytes).expect("it is right"),
            json!({ "name": "p" })
        );
        for wrong in [
            &[0x0a, 5, b'p'][..],
            &[0x80],
            &[0x0b],
            &[0x55, 1],
            &[0xff; 11],
        ] {
            assert!(decode(OUTER, wrong).is_err(), "{wrong:?}");
        }
        for wrong in [
            json!([]),
            json!({ "other": 1 }),
            json!({ "count": -1 }),
            json!({ "name": 1 }),
        ] {
            assert!(encode(OUTER, &wrong).is_err(), "{wrong}");
        }
    }
}

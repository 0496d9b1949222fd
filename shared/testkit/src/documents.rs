//! As much of BSON as a few administrative commands need: strings, numbers, booleans and nested documents out,
//! and what servers answer in.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// The fields of a document.
pub(crate) type Fields<'a, 'b> = &'b mut dyn Iterator<Item = (&'a str, &'a Value)>;

/// Encodes fields in the order given. Numbers must fit 32 bits.
pub(crate) fn encode<'a>(fields: Fields<'a, '_>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for (name, value) in fields {
        element(&mut body, name, value)?;
    }
    let mut document = u32::try_from(body.len() + 5)?.to_le_bytes().to_vec();
    document.append(&mut body);
    document.push(0);
    Ok(document)
}

fn element(body: &mut Vec<u8>, name: &str, value: &Value) -> Result<()> {
    let mut put = |kind: u8, bytes: &[u8]| {
        body.push(kind);
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(bytes);
    };
    match value {
        Value::String(text) => {
            let mut bytes = u32::try_from(text.len() + 1)?.to_le_bytes().to_vec();
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
            put(2, &bytes);
        }
        Value::Bool(value) => put(8, &[u8::from(*value)]),
        Value::Number(number) => {
            let number = number.as_i64().context("only whole numbers")?;
            put(16, &i32::try_from(number)?.to_le_bytes());
        }
        Value::Object(object) => put(
            3,
            &encode(&mut object.iter().map(|(name, value)| (name.as_str(), value)))?,
        ),
        Value::Array(items) => {
            let names: Vec<String> = (0..items.len()).map(|index| index.to_string()).collect();
            put(4, &encode(&mut names.iter().map(String::as_str).zip(items))?);
        }
        Value::Null => put(10, &[]),
    }
    Ok(())
}

/// Decodes a document. Kinds that JSON lacks become null, which nobody here looks at.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value> {
    let mut reader = Reader(bytes);
    reader.document()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let (head, rest) = self
            .0
            .split_at_checked(count)
            .context("the document ends early")?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn length(&mut self) -> Result<usize> {
        Ok(usize::try_from(i32::from_le_bytes(self.array()?))?)
    }

    fn name(&mut self) -> Result<String> {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .context("a name without an end")?;
        let name = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(name)
    }

    fn document(&mut self) -> Result<Value> {
        self.length()?;
        let mut object = Map::new();
        loop {
            let kind = self.take(1)?[0];
            if kind == 0 {
                return Ok(Value::Object(object));
            }
            let name = self.name()?;
            let value = self.value(kind).with_context(|| format!("field {name}"))?;
            object.insert(name, value);
        }
    }

    fn value(&mut self, kind: u8) -> Result<Value> {
        Ok(match kind {
            1 => json!(f64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.length()?;
                let text = self.take(length)?;
                json!(String::from_utf8_lossy(text).trim_end_matches('\0'))
            }
            3 => self.document()?,
            4 => match self.document()? {
                Value::Object(items) => Value::Array(items.into_iter().map(|(_, item)| item).collect()),
                other => other,
            },
            5 => {
                let length = self.length()?;
                self.take(length + 1).map(|_| Value::Null)?
            }
            7 => self.take(12).map(|_| Value::Null)?,
            8 => json!(self.take(1)?[0] != 0),
            9 | 17 => self.take(8).map(|_| Value::Null)?,
            10 => Value::Null,
            16 => json!(i32::from_le_bytes(self.array()?)),
            18 => json!(i64::from_le_bytes(self.array()?)),
            other => bail!("BSON kind {other} is not expected here"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let value = json!({"a": 1, "b": {"c": "text", "d": [true, null]}});
        let bytes = encode(
            &mut value
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.as_str(), value)),
        )
        .unwrap();
        assert_eq!(usize::from(bytes[0]), bytes.len());
        assert_eq!(decode(&bytes).unwrap(), value);
        assert!(decode(&bytes[..bytes.len() - 4]).is_err());
    }
}

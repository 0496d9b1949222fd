//! Messages of PostgreSQL's `pgoutput` plugin, version 1: what Debezium reads from a slot.
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use std::collections::HashMap;

use bytes::{Buf as _, Bytes};

/// A message of the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Begin,
    Commit,
    /// A table, before its first row.
    Relation(Relation),
    /// A new row.
    Insert {
        relation: u32,
        values: Vec<Option<String>>,
    },
    Update,
    Delete,
    Truncate,
}

/// A table as the plugin describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) id: u32,
    pub(super) name: String,
    /// Each column with the object id of its type.
    pub(super) columns: Vec<(String, u32)>,
}

impl Relation {
    /// The values of a row of this table by the names of their columns; null ones are left out.
    pub(super) fn row(&self, values: Vec<Option<String>>) -> HashMap<String, String> {
        assert_eq!(values.len(), self.columns.len(), "a value for each column");
        let named = self.columns.iter().zip(values);
        named.filter_map(|((name, _), value)| Some((name.clone(), value?))).collect()
    }
}

/// Reads a message to its last byte.
pub(super) fn decode(bytes: Vec<u8>) -> Message {
    let mut bytes = Bytes::from(bytes);
    let message = match bytes.get_u8() {
        b'B' => {
            bytes.advance(8 + 8 + 4);
            Message::Begin
        }
        b'C' => {
            bytes.advance(1 + 8 + 8 + 8);
            Message::Commit
        }
        b'R' => Message::Relation(relation(&mut bytes)),
        b'I' => {
            let relation = bytes.get_u32();
            assert_eq!(bytes.get_u8(), b'N', "a new row");
            Message::Insert { relation, values: tuple(&mut bytes) }
        }
        // What they hold is of no interest: they must not be.
        b'U' => return Message::Update,
        b'D' => return Message::Delete,
        b'T' => return Message::Truncate,
        kind => panic!("an unknown message: {}", char::from(kind)),
    };
    assert!(bytes.is_empty(), "{message:?} has more bytes");
    message
}

fn relation(bytes: &mut Bytes) -> Relation {
    let id = bytes.get_u32();
    let (schema, table) = (text(bytes), text(bytes));
    // The replica identity.
    bytes.advance(1);
    let columns = (0..bytes.get_u16()).map(|_| {
        // Whether it is part of the key.
        bytes.advance(1);
        let column = (text(bytes), bytes.get_u32());
        // The type's modifier.
        bytes.advance(4);
        column
    });
    let columns = columns.collect();
    Relation { id, name: format!("{schema}.{table}"), columns }
}

fn tuple(bytes: &mut Bytes) -> Vec<Option<String>> {
    let count = bytes.get_u16();
    let value = |_| match bytes.get_u8() {
        b'n' => None,
        b't' => {
            let length = usize::try_from(bytes.get_u32()).unwrap();
            Some(String::from_utf8(bytes.split_to(length).to_vec()).unwrap())
        }
        kind => panic!("a value of kind {}", char::from(kind)),
    };
    (0..count).map(value).collect()
}

/// A text that ends with a zero.
fn text(bytes: &mut Bytes) -> String {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap();
    let text = String::from_utf8(bytes.split_to(length).to_vec()).unwrap();
    bytes.advance(1);
    text
}

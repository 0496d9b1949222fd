//! What is extreme of a field, by its kind.

use anyhow::{Result, bail};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

/// A request with one field at an end.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    /// The field's path, as violations name it.
    pub(super) field: String,
    /// The field and its value, in short.
    pub(super) what: String,
    pub(super) message: DynamicMessage,
}

/// How long a request may be and still be read; a little below the server's limit, for what else is in it.
const ROOM: usize = 60_000;
/// Lengths of lists, around those that limits usually are.
const COUNTS: [usize; 9] = [0, 1, 2, 50, 51, 100, 101, 500, 501];
/// More elements than any list may have, as far as they fit into a request.
const MANY: usize = 10_000;

/// All requests that differ from `good` in one field that has an end, in messages within it too.
pub(super) fn variants(good: &DynamicMessage) -> Result<Vec<Variant>> {
    let mut all = Vec::new();
    for field in good.descriptor().fields() {
        if field.is_map() {
            bail!("nothing is known of the ends of a map: {}", field.full_name());
        }
        let changes = if field.is_list() { of_list(good, &field)? } else { of_field(good, &field)? };
        for (within, what, value) in changes {
            let mut message = good.clone();
            match value {
                Some(value) => message.set_field(&field, value),
                None => message.clear_field(&field),
            }
            let field = format!("{}{within}", field.name());
            all.push(Variant { what: format!("{field} = {what}"), field, message });
        }
    }
    Ok(all)
}

/// Where below the field the change is, what it is, and the field's new value; `None` when it is left out.
type Change = (String, String, Option<Value>);

fn of_field(good: &DynamicMessage, field: &FieldDescriptor) -> Result<Vec<Change>> {
    let present = good.get_field(field).into_owned();
    let mut changes = vec![(String::new(), "left out".to_owned(), None)];
    for (within, what, value) in of_value(field, &present)? {
        changes.push((within, what, Some(value)));
    }
    Ok(changes)
}

/// One element that is extreme, and other numbers of good ones.
fn of_list(good: &DynamicMessage, field: &FieldDescriptor) -> Result<Vec<Change>> {
    let present = good.get_field(field).into_owned();
    let element = match present.as_list().and_then(|list| list.first()) {
        Some(element) => element.clone(),
        None => empty(field),
    };
    let mut changes = Vec::new();
    for (within, what, value) in of_value(field, &element)? {
        changes.push((format!("[0]{within}"), what, Some(Value::List(vec![value]))));
    }
    for count in COUNTS.into_iter().chain([MANY]) {
        if let Some(list) = list_of(good, field, &element, count) {
            changes.push((String::new(), format!("{count} elements"), Some(list)));
        }
    }
    Ok(changes)
}

/// A list of so many, or `None` when a request has no room for it.
fn list_of(good: &DynamicMessage, field: &FieldDescriptor, element: &Value, count: usize) -> Option<Value> {
    let mut one = DynamicMessage::new(good.descriptor());
    one.set_field(field, Value::List(vec![element.clone()]));
    let room = ROOM / one.encoded_len().max(1);
    (count <= room || count == MANY).then(|| Value::List(vec![element.clone(); count.min(room)]))
}

fn empty(field: &FieldDescriptor) -> Value {
    match field.kind() {
        Kind::Message(message) => Value::Message(DynamicMessage::new(message)),
        Kind::String => Value::String("a".to_owned()),
        kind => Value::default_value(&kind),
    }
}

fn of_value(field: &FieldDescriptor, present: &Value) -> Result<Vec<(String, String, Value)>> {
    if let Kind::Message(message) = field.kind() {
        let sub = match present {
            Value::Message(sub) => sub.clone(),
            _ => DynamicMessage::new(message),
        };
        let inner = variants(&sub)?.into_iter().map(|variant| {
            let what = variant.what.split_once(" = ").map_or("", |(_, what)| what).to_owned();
            (format!(".{}", variant.field), what, Value::Message(variant.message))
        });
        return Ok(inner.collect());
    }
    let values = ends(field)?.into_iter();
    Ok(values.map(|value| (String::new(), short(&value), value)).collect())
}

/// The values of a kind at and around its ends, and at and around those of the types that it may be turned into.
fn ends(field: &FieldDescriptor) -> Result<Vec<Value>> {
    const WIDE: [i64; 21] = [
        i64::MIN,
        i64::MIN + 1,
        // What a double still has exactly, as JavaScript and Lua know numbers.
        -(1 << 53) - 1,
        // The years 1 and 10000, in seconds and milliseconds.
        -62_135_596_801,
        i32::MIN as i64 - 1,
        i32::MIN as i64,
        -1,
        0,
        1,
        999_999_999,
        1_000_000_000,
        i32::MAX as i64,
        i32::MAX as i64 + 1,
        u32::MAX as i64,
        u32::MAX as i64 + 1,
        253_402_300_800,
        253_402_300_800_000,
        1 << 53,
        (1 << 53) + 1,
        i64::MAX - 1,
        i64::MAX,
    ];
    let narrow = || WIDE.into_iter().filter_map(|number| i32::try_from(number).ok()).chain([i32::MIN + 1]);
    Ok(match field.kind() {
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => WIDE.map(Value::I64).to_vec(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => narrow().map(Value::I32).collect(),
        Kind::Uint64 | Kind::Fixed64 => WIDE.map(|number| Value::U64(number.cast_unsigned())).to_vec(),
        Kind::Uint32 | Kind::Fixed32 => narrow().map(|number| Value::U32(number.cast_unsigned())).collect(),
        Kind::Enum(list) => {
            let known = list.values().map(|value| value.number()).collect::<Vec<_>>();
            let beyond = known.iter().max().and_then(|last| last.checked_add(1));
            let all = [i32::MIN, -1, 0, i32::MAX].into_iter().chain(beyond).chain(known);
            all.map(Value::EnumNumber).collect()
        }
        Kind::Bool => [false, true].map(Value::Bool).to_vec(),
        Kind::String => texts().map(Value::String).collect(),
        Kind::Bytes => [0, 1, 16, ROOM].map(|length| Value::Bytes(vec![0xff; length].into())).to_vec(),
        Kind::Message(_) => bail!("{} has ends within it", field.full_name()),
        Kind::Float | Kind::Double => bail!("no field is a float: {}", field.full_name()),
    })
}

/// Texts that may be read as numbers, ids with the first and the last time that they can have, and lengths.
fn texts() -> impl Iterator<Item = String> {
    let numbers = [
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551615",
        "340282366920938463463374607431768211456",
        "1e400",
    ];
    let ids = [
        // Nil and the largest, and the ends of the versions that have a time in them: 1, 6 and 7.
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "00000000-0000-1000-8000-000000000000",
        "ffffffff-ffff-1fff-bfff-ffffffffffff",
        "00000000-0000-6000-8000-000000000000",
        "ffffffff-ffff-6fff-bfff-ffffffffffff",
        "00000000-0000-7000-8000-000000000000",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ];
    let texts = numbers.into_iter().chain(ids).map(str::to_owned);
    texts.chain([1, 255, 256, ROOM].map(|length| "a".repeat(length)))
}

/// The value of a field that a limit is about: a number, or a text or a list of this length. `None` when it does not fit
/// into a request.
pub(super) fn of_size(good: &DynamicMessage, field: &FieldDescriptor, size: i64) -> Option<Value> {
    let length = usize::try_from(size).ok().filter(|length| *length <= ROOM);
    if field.is_list() {
        let present = good.get_field(field).into_owned();
        let element =
            present.as_list().and_then(|list| list.first()).cloned().unwrap_or_else(|| empty(field));
        return list_of(good, field, &element, length?)
            .filter(|list| list.as_list().map(<[Value]>::len) == length);
    }
    match field.kind() {
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Some(Value::I64(size)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => i32::try_from(size).ok().map(Value::I32),
        Kind::String => length.map(|length| Value::String("a".repeat(length))),
        _ => None,
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() > 50 => format!("{} letters", text.len()),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}

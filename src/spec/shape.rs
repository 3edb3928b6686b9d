//! Does a JSON document have the types of the [`super::schema`]? [`is_plain`] answers yes or no without making
//! anything; [`fit`] finds every fault, and makes what is left readable by oci-spec's types.
//!
//! Engines write with Go's encoding/json, and what that reads is what a config.json is in practice: `null` is
//! "not there", the last of two equal names counts, and a name matches in any case. serde is stricter in all
//! three, and laxer in one: it takes a list for an object.

use std::fmt;

use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::schema::Field;
use crate::error::{Error, Fault};

/// The type of a value.
pub enum Shape {
    Text,
    Flag,
    /// A whole number from the first to the second.
    Number(i128, i128),
    /// A whole number of 64 bits, of which oci-spec holds 63: larger ones become the largest.
    Capped,
    /// One of these. An empty one is as good as none: Go's types have no other way to say so.
    Word(&'static [&'static str]),
    /// The name of a capability. One that isn't known is left out with a warning (config.md, Linux Process).
    Capability,
    /// CPU numbers and ranges: "0-3,7".
    Cpus,
    List(&'static Shape),
    Map(&'static Shape),
    Object(&'static [Field]),
    /// Of another platform, and ignored here.
    Foreign,
}

impl Shape {
    /// The shape of the field at `path` (`linux.seccomp.architectures`); for that of a list, of its elements.
    fn at(&'static self, path: &str) -> Option<&'static Shape> {
        match (self, path) {
            (List(inner) | Map(inner), path) => inner.at(path),
            (shape, "") => Some(shape),
            (Object(fields), path) => {
                let (name, rest) = path.split_once('.').unwrap_or((path, ""));
                fields.iter().find(|field| field.name == name)?.shape.at(rest)
            }
            _ => None,
        }
    }

    /// The words that a field takes, or the names of the fields of an object; none if there is no such field.
    pub fn words(&'static self, path: &str) -> Vec<&'static str> {
        match self.at(path) {
            Some(Word(words)) => words.to_vec(),
            Some(Object(fields)) => fields.iter().map(|field| field.name).collect(),
            _ => vec![],
        }
    }
}

/// Must a field be there?
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Optional,
    Required,
    /// The spec can do without, oci-spec's type can't: an empty one is filled in.
    Filled,
    /// An object without it says nothing, and is as good as absent.
    Whole,
}

use Need::*;
use Shape::*;

/// Words of the spec, and how oci-spec 0.10 spells them.
const SPELLINGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
];

fn spelled(word: &str) -> Value {
    let other = SPELLINGS.iter().find(|(ours, _)| *ours == word);
    other.map_or(word, |(_, theirs)| theirs).into()
}

/// Whether oci-spec reads `bytes` as they are meant: each field that has a name of the spec has it in the
/// spec's spelling, and no list stands for an object. `false` also for what isn't JSON.
pub fn is_plain(bytes: &[u8], shape: &'static Shape) -> bool {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Plain(shape).deserialize(&mut json).is_ok()
}

struct Plain(&'static Shape);

impl Shape {
    /// Nothing in it can be misread.
    fn is_safe(&self) -> bool {
        match self {
            Object(_) => false,
            List(inner) | Shape::Map(inner) => inner.is_safe(),
            _ => true,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if self.0.is_safe() {
            json.deserialize_ignored_any(IgnoredAny).map(drop)
        } else {
            json.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.expected())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let List(inner) = self.0 else {
            return Err(A::Error::custom("a list in an object's place"));
        };
        while items.next_element_seed(Plain(inner))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if let Shape::Map(inner) = self.0 {
            while entries.next_key::<IgnoredAny>()?.is_some() {
                entries.next_value_seed(Plain(inner))?;
            }
            return Ok(());
        }
        let Object(fields) = self.0 else {
            return Err(A::Error::custom("an object in a list's place"));
        };
        let mut whole = fields.iter().all(|field| field.need != Whole);
        while let Some(field) = entries.next_key_seed(Name(fields))? {
            match field {
                Some(field) => {
                    whole |= field.need == Whole;
                    entries.next_value_seed(Plain(field.shape))?;
                }
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        if whole { Ok(()) } else { Err(A::Error::custom("an object that says nothing")) }
    }
}

/// The field with this name, if the spec knows it. A spelling in another case is refused.
struct Name(&'static [Field]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if let Some(field) = self.0.iter().find(|field| field.name == name) {
            return Ok(Some(field));
        }
        if self.0.iter().any(|field| field.name.eq_ignore_ascii_case(name)) {
            return Err(E::custom("another spelling"));
        }
        Ok(None)
    }
}

/// As many as anyone reads: a file of megabytes can have any number of faults.
const MOST: usize = 100;

/// What [`fit`] and the rules found.
#[derive(Debug, Default)]
pub struct Found {
    pub faults: Vec<Fault>,
    pub warnings: Vec<String>,
    /// Faults that are not in the list any more.
    further: usize,
}

impl Found {
    pub fn fault(&mut self, path: String, text: String) {
        if self.faults.len() < MOST {
            self.faults.push(Fault { path, text });
        } else {
            self.further += 1;
        }
    }

    pub fn warn(&mut self, text: String) {
        if self.warnings.len() < MOST {
            self.warnings.push(text);
        }
    }

    /// The error that says it all.
    pub fn into_error(mut self, file: &str) -> Error {
        if self.further > 0 {
            let path = "further faults".into();
            let text = self.further.to_string();
            self.faults.push(Fault { path, text });
        }
        Error::invalid(file, self.faults)
    }
}

/// `document` with only what is known and of the right type, under the spec's names; where something that
/// oci-spec can't do without was faulty, a stand-in is in its place. `None` if the whole document is faulty.
pub fn fit(document: Value, shape: &Shape, found: &mut Found) -> Option<Value> {
    let path = String::new();
    Walk { path, found }.value(document, shape)
}

struct Walk<'a> {
    path: String,
    found: &'a mut Found,
}

impl Walk<'_> {
    fn fault(&mut self, text: String) {
        let path = if self.path.is_empty() { "the document".into() } else { self.path.clone() };
        self.found.fault(path, text);
    }

    /// `None` if it is faulty, which was reported, or is to be left out.
    fn value(&mut self, value: Value, shape: &Shape) -> Option<Value> {
        match (shape, value) {
            (Foreign, _) => None,
            (Text, Value::String(text)) => Some(text.into()),
            (Flag, Value::Bool(flag)) => Some(flag.into()),
            (Number(min, max), value) if whole(&value).is_some_and(|n| (*min..=*max).contains(&n)) => {
                Some(value)
            }
            (Capped, value) if value.is_u64() => {
                Some(value.as_u64().unwrap_or_default().min(i64::MAX as u64).into())
            }
            (Word(words), Value::String(word)) if words.contains(&word.as_str()) => Some(spelled(&word)),
            (Capability, Value::String(name)) => self.capability(name),
            (Cpus, Value::String(cpus)) if cpus.is_empty() => Some(Value::Null),
            (Cpus, Value::String(cpus)) if is_cpu_list(&cpus) => Some(cpus.into()),
            (List(inner), Value::Array(items)) => Some(self.list(items, inner)),
            (Shape::Map(inner), Value::Object(entries)) => Some(self.map(entries, inner)),
            (Object(fields), Value::Object(entries)) => self.object(entries, fields),
            (shape, value) => {
                self.fault(format!("is {}, expected {}", shown(&value), shape.expected()));
                None
            }
        }
    }

    fn capability(&mut self, name: String) -> Option<Value> {
        let json: StrDeserializer<ValueError> = name.as_str().into_deserializer();
        if oci_spec::runtime::Capability::deserialize(json).is_ok() {
            return Some(name.into());
        }
        let path = &self.path;
        self.found.warn(format!("{path}: {name:?} is not a capability, it is left out"));
        None
    }

    fn list(&mut self, items: Vec<Value>, inner: &Shape) -> Value {
        let mut fitting = vec![];
        for (index, item) in items.into_iter().enumerate() {
            self.within(format!("[{index}]"), |walk| match walk.value(item, inner) {
                Some(item) => fitting.push(item),
                None if matches!(inner, Capability) => {}
                None => fitting.push(inner.stand_in()), // so that those behind it keep their index
            });
        }
        fitting.into()
    }

    fn map(&mut self, entries: Map<String, Value>, inner: &Shape) -> Value {
        let mut fitting = Map::new();
        for (key, value) in entries.into_iter().filter(|(_, value)| !value.is_null()) {
            if let Some(value) = self.within(format!("[{key}]"), |walk| walk.value(value, inner)) {
                fitting.insert(key, value);
            }
        }
        fitting.into()
    }

    fn object(&mut self, mut entries: Map<String, Value>, fields: &[Field]) -> Option<Value> {
        let mut fitting = Map::new();
        for field in fields {
            let step = format!("{}{}", if self.path.is_empty() { "" } else { "." }, field.name);
            let value = self.take(&mut entries, field.name).filter(|value| !field.shape.is_absent(value));
            let value = match (value, field.need) {
                (Some(value), _) => self.within(step, |walk| walk.value(value, field.shape)),
                (None, Required) => self.within(step, |walk| {
                    walk.fault(format!("is missing, expected {}", field.shape.expected()));
                    None
                }),
                (None, Whole) => return None,
                (None, Optional | Filled) => None,
            };
            match (value, field.need) {
                (Some(value), _) => drop(fitting.insert(field.name.into(), value)),
                (None, Optional) => {}
                (None, _) => drop(fitting.insert(field.name.into(), field.shape.stand_in())),
            }
        }
        Some(fitting.into())
    }

    /// The value with this name, or else the one whose name differs in case alone.
    fn take(&mut self, entries: &mut Map<String, Value>, name: &str) -> Option<Value> {
        if let Some(value) = entries.remove(name) {
            return Some(value);
        }
        let other = entries.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
        let dot = if self.path.is_empty() { "" } else { "." };
        self.found.warn(format!("{}{dot}{other}: read as {name:?}, which is its spelling", self.path));
        entries.remove(&other)
    }

    fn within<T>(&mut self, step: String, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(&step);
        let result = work(self);
        self.path.truncate(length);
        result
    }
}

impl Shape {
    fn is_absent(&self, value: &Value) -> bool {
        value.is_null() || matches!((self, value), (Word(_), Value::String(word)) if word.is_empty())
    }

    /// A value that oci-spec can read.
    fn stand_in(&self) -> Value {
        match self {
            Text => "".into(),
            Flag => false.into(),
            Number(..) | Capped => 0.into(),
            Word(words) => words.first().map_or(Value::Null, |word| spelled(word)),
            Capability | Cpus | Foreign => Value::Null,
            List(_) => vec![Value::Null; 0].into(),
            Shape::Map(_) => Map::new().into(),
            Object(fields) => fields
                .iter()
                .filter(|field| field.need != Optional)
                .map(|field| (field.name.to_string(), field.shape.stand_in()))
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    fn expected(&self) -> String {
        match self {
            Text => "a string".into(),
            Flag => "true or false".into(),
            Number(i, j) if (*i, *j) == (i64::MIN.into(), i64::MAX.into()) => "a whole number".into(),
            Number(min, max) => format!("a whole number from {min} to {max}"),
            Capped => format!("a whole number from 0 to {}", u64::MAX),
            Word(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                format!("one of {}", words.join(", "))
            }
            Capability => "the name of a capability (\"CAP_CHOWN\")".into(),
            Cpus => "CPU numbers and ranges (\"0-3,7\")".into(),
            List(_) => "a list".into(),
            Shape::Map(_) | Object(_) => "an object".into(),
            Foreign => "anything".into(),
        }
    }
}

fn whole(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

fn is_cpu_list(text: &str) -> bool {
    let number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    text.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => number(part),
    })
}

/// A value for a message: short, and all on one line.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) if text.chars().count() > LONGEST => {
            let start: String = text.chars().take(LONGEST).collect();
            format!("{start:?}…")
        }
        Value::String(text) => format!("{text:?}"),
        value => value.to_string(),
    }
}

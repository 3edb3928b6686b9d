//! Random changes of an input, by a generator that does the same again from the same number. What is JSON stays JSON more
//! often than not, for of broken JSON there is little to learn after the first.

use serde_json::{Map, Value, json};

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// Where programs go wrong.
const NUMBERS: [i128; 19] = [
    0,
    1,
    -1,
    2,
    7,
    64,
    255,
    256,
    1000,
    4095,
    65_535,
    65_536,
    i32::MAX as i128,
    i32::MIN as i128,
    u32::MAX as i128,
    i64::MAX as i128,
    i64::MIN as i128,
    u64::MAX as i128,
    1 << 40,
];

const TEXTS: [&str; 40] = [
    "",
    "/",
    ".",
    "..",
    "../..",
    "/..",
    "/a/../../b",
    "a//b",
    "/proc",
    "/proc/self/attr",
    "/proc/self/fd/3",
    "/sys",
    "/dev",
    "/dev/null",
    "/etc/passwd",
    "\0",
    "a\0b",
    "\n",
    "a\nb",
    "\n 1 execute x",
    "]:",
    "mnt[x]:/",
    "ä",
    "\u{202e}",
    "-1",
    "max",
    "0:0",
    "CAP_SYS_ADMIN",
    "ro",
    "bind",
    "idmap=uids=0-1-2",
    "mode=0777",
    "5",
    "true",
    "%s",
    "@as []",
    "net/../x",
    "0-3,7",
    "--",
    "=",
];

/// Changes `data` once or a few times; `other` is another input, parts of which may come in.
pub fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut Random, most: usize) {
    for _ in 0..1 + random.below(4) {
        let is_json = matches!(data.first(), Some(b'{' | b'['));
        let document = if is_json && random.below(8) > 0 { serde_json::from_slice(data).ok() } else { None };
        match document {
            Some(mut document) => {
                change(&mut document, other, random);
                *data = serde_json::to_vec(&document).unwrap_or_default();
            }
            None => bytes(data, other, random),
        }
    }
    data.truncate(most);
}

fn change(document: &mut Value, other: &[u8], random: &mut Random) {
    let count = size(document);
    // The upper nodes are as likely as the many below.
    let at = if random.below(4) == 0 { random.below(count.min(8)) } else { random.below(count) };
    let mut place = at;
    let Some(node) = nth(document, &mut place) else { return };
    let part = |random: &mut Random| {
        let mut document: Value = serde_json::from_slice(other).ok()?;
        let mut place = random.below(size(&document));
        nth(&mut document, &mut place).map(|node| node.take())
    };
    match (random.below(8), &mut *node) {
        (0, Value::Object(map)) => drop(map.remove(&key(map, random))),
        (0, Value::Array(list)) if !list.is_empty() => drop(list.remove(random.below(list.len()))),
        (1, Value::Object(map)) => {
            let (from, value) = (key(map, random), part(random).unwrap_or_else(|| scalar(random)));
            let to = if random.below(2) == 0 { random.one_of(&TEXTS).to_string() } else { from };
            map.insert(to, value);
        }
        (1 | 2, Value::Array(list)) => {
            let copied = (!list.is_empty()).then(|| list[random.below(list.len())].clone());
            let new = match random.below(3) {
                0 => part(random),
                _ => copied,
            };
            let new = new.unwrap_or_else(|| scalar(random));
            list.insert(random.below(list.len() + 1), new);
        }
        (2, Value::Object(map)) => {
            if let Ok(Value::Object(more)) = serde_json::from_slice(other) {
                let from = key(&more, random);
                map.extend(more.get(&from).map(|value| (from.clone(), value.clone())));
            }
        }
        (3 | 4, Value::String(text)) => {
            let mut inner = std::mem::take(text).into_bytes();
            bytes(&mut inner, other, random);
            *text = String::from_utf8_lossy(&inner).into_owned();
        }
        (5, node) => *node = part(random).unwrap_or_default(),
        (_, node) => *node = scalar(random),
    }
}

fn key(map: &Map<String, Value>, random: &mut Random) -> String {
    map.keys().nth(random.below(map.len())).cloned().unwrap_or_default()
}

fn scalar(random: &mut Random) -> Value {
    match random.below(10) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2..5 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            u64::try_from(number).map(|n| json!(n)).unwrap_or(json!(number as i64))
        }
        5 => json!([]),
        6 => json!({}),
        7 => json!(random.number() as f64 / 1e9),
        _ => json!(random.one_of(&TEXTS)),
    }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

/// The value with this number, counted as [`size`] does; what is left of the number otherwise.
fn nth<'v>(value: &'v mut Value, place: &mut usize) -> Option<&'v mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|value| nth(value, place)),
        Value::Object(map) => map.values_mut().find_map(|value| nth(value, place)),
        _ => None,
    }
}

fn bytes(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(data.len() + 1);
    let end = (at + 1 + random.below(16)).min(data.len());
    match random.below(10) {
        0 if at < data.len() => data[at] ^= 1 << random.below(8),
        1 if at < data.len() => data[at] = random.number() as u8,
        2 => drop(data.drain(at..end)),
        3 => {
            let piece = data[at..end].to_vec();
            (0..1 + random.below(4)).for_each(|_| drop(data.splice(at..at, piece.iter().copied())));
        }
        4 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let width = [1, 2, 4, 8][random.below(4)];
            let bytes = number.to_le_bytes();
            let bytes = if random.below(2) == 0 { bytes } else { number.swap_bytes().to_le_bytes() };
            let bytes =
                if bytes[..width] == [0; 8][..width] { &bytes[16 - width..] } else { &bytes[..width] };
            let end = (at + width).min(data.len());
            drop(data.splice(at..end, bytes.iter().copied()));
        }
        5 => {
            let text = NUMBERS[random.below(NUMBERS.len())].to_string();
            let end =
                data[at..].iter().position(|byte| !byte.is_ascii_digit()).map_or(data.len(), |n| at + n);
            drop(data.splice(at..end, text.into_bytes()));
        }
        6 | 7 => drop(data.splice(at..at, random.one_of(&TEXTS).bytes())),
        8 => {
            let from = random.below(other.len() + 1);
            let to = (from + random.below(64)).min(other.len());
            drop(data.splice(at..end.max(at), other[from..to].iter().copied()));
        }
        _ => {
            let piece = [random.number() as u8].repeat(1 << random.below(10));
            drop(data.splice(at..at, piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_from_the_same_number() {
        let other = br#"{"x": {"y": [1, 2]}}"#;
        let made = |seed| {
            let mut random = Random::new(seed);
            let mut data = br#"{"a": [1, {"b": "c"}], "d": null}"#.to_vec();
            (0..50).for_each(|_| mutate(&mut data, other, &mut random, 4096));
            data
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        assert!((0..500).all(|seed| made(seed).len() <= 4096));
    }

    #[test]
    fn json_often_stays_json() {
        let whole = br#"{"a": [1, {"b": "c"}], "d": null}"#;
        let stays = (0..1000).filter(|seed| {
            let mut data = whole.to_vec();
            mutate(&mut data, b"[{\"k\": 1}]", &mut Random::new(*seed), 4096);
            serde_json::from_slice::<Value>(&data).is_ok()
        });
        assert!(stays.count() > 500);
    }
}

//! Values of D-Bus (its specification, "Type system"), as far as systemd's properties have them, and how a person writes
//! one: GVariant's text format, as in `busctl`, `gdbus` and annotations.

use std::fmt;

/// One value, which knows its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Double(f64),
    Text(String),
    Path(String),
    Signature(String),
    /// With the signature of its elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect())
    }

    /// Its type as D-Bus writes it.
    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".into(),
            Value::Bool(_) => "b".into(),
            Value::I16(_) => "n".into(),
            Value::U16(_) => "q".into(),
            Value::I32(_) => "i".into(),
            Value::U32(_) => "u".into(),
            Value::I64(_) => "x".into(),
            Value::U64(_) => "t".into(),
            Value::Double(_) => "d".into(),
            Value::Text(_) => "s".into(),
            Value::Path(_) => "o".into(),
            Value::Signature(_) => "g".into(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => format!("({})", fields.iter().map(Value::signature).collect::<String>()),
            Value::Variant(_) => "v".into(),
        }
    }

    /// `5`, `uint64 5`, `true`, `'text'`, `[1, 2]`, `('a', true)`, `@as []`; what is wrong with anything else.
    pub fn parse(text: &str) -> Result<Value, String> {
        let mut parser = Parser { rest: text.trim() };
        let value = parser.value(None, 0)?;
        match parser.rest.trim_start() {
            "" => fits_in(value),
            rest => Err(format!("{rest:?} is left over after the value")),
        }
    }
}

/// As [`Value::parse`] takes it, but for the types of numbers.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Value::Byte(n) => n.fmt(f),
            Value::Bool(b) => b.fmt(f),
            Value::I16(n) => n.fmt(f),
            Value::U16(n) => n.fmt(f),
            Value::I32(n) => n.fmt(f),
            Value::U32(n) => n.fmt(f),
            Value::I64(n) => n.fmt(f),
            Value::U64(n) => n.fmt(f),
            Value::Double(n) => n.fmt(f),
            Value::Text(text) | Value::Path(text) | Value::Signature(text) => {
                let escaped = text.replace('\\', r"\\").replace('\'', r"\'");
                write!(f, "'{}'", escaped.replace('\n', r"\n").replace('\t', r"\t"))
            }
            Value::Array(_, values) => write!(f, "[{}]", list(values)),
            Value::Struct(fields) => match &fields[..] {
                [only] => write!(f, "({only},)"),
                fields => write!(f, "({})", list(fields)),
            },
            Value::Variant(inner) => write!(f, "<{inner}>"),
        }
    }
}

/// A type by the name that GVariant's text format has for it.
const NAMES: [(&str, &str); 12] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

/// Deeper than any property, and than D-Bus allows.
const DEEPEST: usize = 32;
/// Of a signature, whose length is one byte in a message (D-Bus specification, "Valid Signatures").
const LONGEST: usize = 255;

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        is_next
    }

    fn word(&mut self) -> &'t str {
        let ends = |c: char| c.is_whitespace() || ",[]()<>{}'\"".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("is nested deeper than {DEEPEST}"));
        }
        match self.peek() {
            None => Err("is no value".into()),
            Some(quote @ ('\'' | '"')) => {
                self.take(quote);
                let text = self.quoted(quote)?;
                typed_text(text, wanted.unwrap_or("s"))
            }
            Some('[') => self.array(wanted, depth),
            Some('(') => self.fields(wanted, depth),
            Some('<') => {
                self.take('<');
                let inner = fits_in(self.value(None, depth + 1)?)?;
                self.expect('>')?;
                fits("v", wanted)?;
                Ok(Value::Variant(Box::new(inner)))
            }
            Some('@') => {
                self.rest = &self.rest[1..];
                let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
                let (signature, rest) = self.rest.split_at(end);
                let (first, more) = first_type(signature).ok_or(format!("@{signature} is no type"))?;
                if !more.is_empty() {
                    return Err(format!("@{signature} is more than one type"));
                }
                self.rest = rest;
                self.value(Some(first), depth + 1)
            }
            Some(_) => {
                let word = self.word();
                match NAMES.iter().find(|(name, _)| *name == word) {
                    Some((_, signature)) => self.value(Some(signature), depth + 1),
                    None => literal(word, wanted),
                }
            }
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.take(wanted) {
            true => Ok(()),
            false => Err(format!("{wanted:?} is missing before {:?}", self.rest)),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('\\' | '\'' | '"')) => text.push(c),
                    other => return Err(format!("\\{} is no escape", other.unwrap_or(' '))),
                },
                c => text.push(c),
            }
        }
        Err(format!("{quote} is missing at the end of a text"))
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.take('[');
        let element = match wanted {
            Some(array) => Some(array.strip_prefix('a').ok_or(format!("an array is no {array}"))?),
            None => None,
        };
        let mut found: Vec<Value> = vec![];
        while !self.take(']') {
            if !found.is_empty() {
                self.expect(',')?;
            }
            let known = found.first().map(Value::signature);
            found.push(self.value(element.or(known.as_deref()), depth + 1)?);
        }
        let element = element.map(str::to_string).or(found.first().map(Value::signature));
        let element = element.ok_or("[] needs a type before it, such as @as")?;
        Ok(Value::Array(element, found))
    }

    fn fields(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.take('(');
        let mut types = match wanted {
            Some(given) => {
                let inner = given.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
                Some(inner.ok_or(format!("a structure is no {given}"))?)
            }
            None => None,
        };
        let mut found = vec![];
        while !self.take(')') {
            if !found.is_empty() {
                self.expect(',')?;
                if self.take(')') {
                    break; // ('a',) has one field
                }
            }
            let mut next = None;
            if let Some(left) = types {
                let (first, rest) = first_type(left).ok_or("a structure has too many fields")?;
                (next, types) = (Some(first), Some(rest));
            }
            found.push(self.value(next, depth + 1)?);
        }
        match (types, found.is_empty()) {
            (Some(left), _) if !left.is_empty() => Err("a structure has too few fields".into()),
            (_, true) => Err("() is no value of D-Bus".into()),
            _ => Ok(Value::Struct(found)),
        }
    }
}

/// The first complete type of a signature, and what comes after it.
fn first_type(signature: &str) -> Option<(&str, &str)> {
    first_type_at(signature, 0)
}

fn first_type_at(signature: &str, depth: usize) -> Option<(&str, &str)> {
    if depth > DEEPEST {
        return None;
    }
    let length = match signature.bytes().next()? {
        b'a' => 1 + first_type_at(&signature[1..], depth + 1)?.0.len(),
        b'(' => {
            let mut at = 1;
            while !signature[at..].starts_with(')') {
                at += first_type_at(&signature[at..], depth + 1)?.0.len();
            }
            if at == 1 {
                return None; // a structure has fields
            }
            at + 1
        }
        c if b"ybnqiuxtdsogv".contains(&c) => 1,
        _ => return None,
    };
    Some(signature.split_at(length))
}

/// Whether its type can be told in a message.
fn fits_in(value: Value) -> Result<Value, String> {
    match value.signature().len() {
        ..=LONGEST => Ok(value),
        _ => Err(format!("has a type of more than {LONGEST} letters")),
    }
}

fn fits(signature: &str, wanted: Option<&str>) -> Result<(), String> {
    match wanted {
        Some(wanted) if wanted != signature => Err(format!("is of type {signature}, not {wanted}")),
        _ => Ok(()),
    }
}

fn typed_text(text: String, wanted: &str) -> Result<Value, String> {
    if text.contains('\0') {
        return Err("holds a NUL".into());
    }
    match wanted {
        "s" => Ok(Value::Text(text)),
        "o" if is_path(&text) => Ok(Value::Path(text)),
        "o" => Err(format!("{text:?} is no path of an object")),
        "g" if is_signature(&text) => Ok(Value::Signature(text)),
        "g" => Err(format!("{text:?} is no signature")),
        other => Err(format!("a text is no {other}")),
    }
}

/// Whoever gets another closes the connection (D-Bus specification, "Valid Object Paths").
fn is_path(text: &str) -> bool {
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_name))
}

fn is_signature(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = first_type(rest) {
        rest = after;
    }
    rest.is_empty() && text.len() <= LONGEST
}

fn literal(word: &str, wanted: Option<&str>) -> Result<Value, String> {
    if let "true" | "false" = word {
        fits("b", wanted)?;
        return Ok(Value::Bool(word == "true"));
    }
    let integer = || {
        let (sign, digits) = word.strip_prefix('-').map_or((1, word), |digits| (-1, digits));
        let number = match digits.strip_prefix("0x") {
            Some(hex) => i128::from(u64::from_str_radix(hex, 16).ok()?),
            None if digits.starts_with(|c: char| c.is_ascii_digit()) => {
                i128::from(digits.parse::<u64>().ok()?)
            }
            None => return None,
        };
        Some(sign * number)
    };
    let bad =
        || format!("{word:?} is no value{}", wanted.map(|w| format!(" of type {w}")).unwrap_or_default());
    let number = || integer().ok_or_else(bad);
    let double = || word.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(bad);
    Ok(match wanted {
        Some("y") => Value::Byte(number()?.try_into().map_err(|_| bad())?),
        Some("n") => Value::I16(number()?.try_into().map_err(|_| bad())?),
        Some("q") => Value::U16(number()?.try_into().map_err(|_| bad())?),
        Some("i") => Value::I32(number()?.try_into().map_err(|_| bad())?),
        Some("u") => Value::U32(number()?.try_into().map_err(|_| bad())?),
        Some("x") => Value::I64(number()?.try_into().map_err(|_| bad())?),
        Some("t") => Value::U64(number()?.try_into().map_err(|_| bad())?),
        Some("d") => Value::Double(double()?),
        Some(_) => return Err(bad()),
        None => match integer() {
            Some(number) => Value::I32(number.try_into().map_err(|_| bad())?),
            None => Value::Double(double()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_are_written() {
        for text in
            ["5", "-1.5", "true", r"'it\'s \\ \n'", "['a', 'b']", "[('a', 5), ('b', 6)]", "(1,)", "<'v'>"]
        {
            assert_eq!(Value::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn values_as_they_are_written() {
        let check = |text: &str, expected| assert_eq!(Value::parse(text), Ok(expected), "{text}");
        check("5", Value::I32(5));
        check("-5", Value::I32(-5));
        check("int32 5", Value::I32(5));
        check("uint64 0x10", Value::U64(16));
        check("@t 18446744073709551615", Value::U64(u64::MAX));
        check("byte 255", Value::Byte(255));
        check("1.5", Value::Double(1.5));
        check("double 2", Value::Double(2.0));
        check(" true ", Value::Bool(true));
        check("'it\\'s'", Value::text("it's"));
        check("\"a b\"", Value::text("a b"));
        check("objectpath '/a'", Value::Path("/a".into()));
        let numbers = vec![Value::U32(1), Value::U32(2)];
        check("[uint32 1, 2]", Value::Array("u".into(), numbers.clone()));
        check("@au [1,2]", Value::Array("u".into(), numbers));
        check("@as []", Value::Array("s".into(), vec![]));
        let pair = Value::Struct(vec![Value::text("a"), Value::Bool(false)]);
        check("[('a', false)]", Value::Array("(sb)".into(), vec![pair.clone()]));
        check("@a(sb) [('a', false)]", Value::Array("(sb)".into(), vec![pair]));
        check("<'x'>", Value::Variant(Box::new(Value::text("x"))));
    }

    #[test]
    fn no_values() {
        let check = |text: &str, said: &str| {
            let error = Value::parse(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        };
        check("", "no value");
        check("abc", "\"abc\" is no value");
        check("'abc", "missing at the end");
        check("3000000000", "is no value");
        check("byte 256", "of type y");
        check("uint32 -1", "of type u");
        check("[1, 'a']", "a text is no i");
        check("[]", "needs a type");
        check("1 2", "left over");
        check("()", "no value of D-Bus");
        check("@(ss) ('a',)", "too few");
        check("@q true", "not q");
        check("inf", "is no value");
        check(&"[".repeat(100_000), "deeper");
        check(&format!("@{} []", "a".repeat(1_000_000)), "is no type");
        check(&format!("@{}s 5", "(".repeat(1_000_000)), "is no type");
        // Its length is one byte: what is longer would be taken for what comes next in the message.
        check(&format!("@g '{}'", "s".repeat(256)), "is no signature");
        check(&format!("<@g '{}'>", "s".repeat(300)), "is no signature");
        check("@g 'a'", "is no signature");
        check("@g '()'", "is no signature");
        check("@o 'a'", "is no path");
        check("@o '/a/'", "is no path");
        check(&format!("({}, 1)", ["1"; 255].join(", ")), "a type of more than 255 letters");
        check(&format!("<({}, 1)>", ["1"; 255].join(", ")), "a type of more than 255 letters");
    }
}

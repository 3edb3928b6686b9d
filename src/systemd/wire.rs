//! Messages of D-Bus as bytes (its specification, "Message Protocol"): calls are written, and of what comes back the
//! parts are read that a client of systemd needs. Pure. Little-endian, as all that rrunc runs on.

use super::value::Value;

/// The types of messages that come in.
pub const RETURN: u8 = 2;
pub const ERROR: u8 = 3;
pub const SIGNAL: u8 = 4;

/// As the specification limits it.
const LARGEST: usize = 128 << 20;
/// The header's part of fixed length, with the length of the fields at its end.
pub const FIXED: usize = 16;

/// What is called on whom.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The name on the bus; none where systemd itself is at the other end.
    pub destination: Option<&'a str>,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
}

/// A method call.
pub fn call(serial: u32, target: Target, arguments: &[Value]) -> Vec<u8> {
    let mut body = Writer::default();
    arguments.iter().for_each(|argument| body.value(argument));
    let signature: String = arguments.iter().map(Value::signature).collect();

    let path = Value::Path(target.path.into());
    let mut fields = vec![(1, path), (2, Value::text(target.interface)), (3, Value::text(target.member))];
    fields.extend(target.destination.map(|name| (6, Value::text(name))));
    if !signature.is_empty() {
        fields.push((8, Value::Signature(signature)));
    }
    let fields = fields
        .into_iter()
        .map(|(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]));
    const CALL: u8 = 1;
    let mut message = Writer(vec![b'l', CALL, 0, 1]);
    message.number(body.0.len() as u32);
    message.number(serial);
    message.value(&Value::Array("(yv)".into(), fields.collect()));
    message.pad(8);
    message.0.extend(body.0);
    message.0
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.pad(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    fn value(&mut self, value: &Value) {
        self.pad(alignment(&value.signature()));
        match value {
            Value::Byte(n) => self.0.push(*n),
            Value::Bool(b) => self.number(u32::from(*b)),
            Value::I16(n) => self.0.extend(n.to_le_bytes()),
            Value::U16(n) => self.0.extend(n.to_le_bytes()),
            Value::I32(n) => self.0.extend(n.to_le_bytes()),
            Value::U32(n) => self.number(*n),
            Value::I64(n) => self.0.extend(n.to_le_bytes()),
            Value::U64(n) => self.0.extend(n.to_le_bytes()),
            Value::Double(n) => self.0.extend(n.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text),
            Value::Signature(signature) => self.signature(signature),
            Value::Array(element, values) => {
                self.number(0);
                let length = self.0.len() - 4;
                self.pad(alignment(element)); // doesn't count to the length
                let start = self.0.len();
                values.iter().for_each(|value| self.value(value));
                let bytes = (self.0.len() - start) as u32;
                self.0[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
            }
            Value::Struct(fields) => fields.iter().for_each(|field| self.value(field)),
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }
}

/// Of the first type of a signature.
fn alignment(signature: &str) -> usize {
    match signature.bytes().next() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// What came in.
#[derive(Debug, Default, PartialEq)]
pub struct Message {
    pub kind: u8,
    /// The serial of the call that it answers.
    pub reply_to: u32,
    pub member: String,
    pub error: String,
    signature: String,
    body: Vec<u8>,
}

/// How long a message is, by the first [`FIXED`] bytes of it; `None` if that is none.
pub fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    let [b'l', _, _, 1, b0, b1, b2, b3, _, _, _, _, f0, f1, f2, f3] = *fixed else {
        return None;
    };
    let number = |bytes| usize::try_from(u32::from_le_bytes(bytes)).ok();
    let fields = number([f0, f1, f2, f3])?.checked_next_multiple_of(8)?;
    let all = number([b0, b1, b2, b3])?.checked_add(fields)?.checked_add(FIXED)?;
    Some(all).filter(|all| *all <= LARGEST)
}

/// A whole message, of the [`length`] that it says.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader { bytes, at: FIXED - 4 };
    let end = FIXED + reader.number()? as usize;
    let mut message = Message { kind: *bytes.get(1)?, ..Message::default() };
    while reader.at < end {
        reader.pad(8);
        let code = reader.byte()?;
        match (code, reader.variant()?) {
            (3, Value::Text(member)) => message.member = member,
            (4, Value::Text(error)) => message.error = error,
            (5, Value::U32(serial)) => message.reply_to = serial,
            (8, Value::Signature(signature)) => message.signature = signature,
            _ => {}
        }
    }
    reader.pad(8);
    message.body = bytes.get(reader.at..)?.to_vec();
    Some(message)
}

impl Message {
    /// The body, up to the first value that is an array or a structure.
    pub fn values(&self) -> Vec<Value> {
        let mut reader = Reader { bytes: &self.body, at: 0 };
        self.signature.bytes().map_while(|kind| reader.value(kind)).collect()
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn pad(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.pad(N.min(8));
        let taken = self.bytes.get(self.at..self.at.checked_add(N)?)?;
        self.at += N;
        taken.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let text = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length + 1; // a NUL ends it
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn value(&mut self, kind: u8) -> Option<Value> {
        Some(match kind {
            b'y' => Value::Byte(self.byte()?),
            b'b' => Value::Bool(self.number()? != 0),
            b'n' => Value::I16(i16::from_le_bytes(self.take()?)),
            b'q' => Value::U16(u16::from_le_bytes(self.take()?)),
            b'i' => Value::I32(i32::from_le_bytes(self.take()?)),
            b'u' => Value::U32(self.number()?),
            b'x' => Value::I64(i64::from_le_bytes(self.take()?)),
            b't' => Value::U64(u64::from_le_bytes(self.take()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.take()?)),
            b's' | b'o' => {
                let length = self.number()? as usize;
                let text = self.text(length)?;
                if kind == b's' { Value::Text(text) } else { Value::Path(text) }
            }
            b'g' => Value::Signature(self.signature()?),
            b'v' => self.variant()?,
            _ => return None,
        })
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.text(length.into())
    }

    /// Of one basic value; one in another would let the sender say how deep we go.
    fn variant(&mut self) -> Option<Value> {
        match self.signature()?.as_bytes() {
            [b'v'] => None,
            [kind] => self.value(*kind),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target { destination: None, path: "/p", interface: "i.i", member: "Do" };

    #[test]
    fn a_call_as_bytes() {
        let expected: &[u8] = b"l\x01\0\x01\x08\0\0\0\x07\0\0\0\x2d\0\0\0\
            \x01\x01o\0\x02\0\0\0/p\0\0\0\0\0\0\
            \x02\x01s\0\x03\0\0\0i.i\0\0\0\0\0\
            \x03\x01s\0\x02\0\0\0Do\0\0\0\0\0\0\
            \x08\x01g\0\x01t\0\0\
            \x05\0\0\0\0\0\0\0";
        let mut bytes = expected.to_vec();
        bytes[12] = 16 + 16 + 16 + 7; // the fields, without the padding at their end
        assert_eq!(call(7, TARGET, &[Value::U64(5)]), bytes);
    }

    #[test]
    fn a_message_reads_as_it_was_written() {
        let arguments = [
            Value::U32(9),
            Value::Path("/job/9".into()),
            Value::text("a.scope"),
            Value::Variant(Box::new(Value::U64(3))),
            Value::Bool(true),
        ];
        let bytes = call(3, TARGET, &arguments);
        let fixed = bytes[..FIXED].try_into().unwrap();
        assert_eq!(length(&fixed), Some(bytes.len()));
        let message = parse(&bytes).unwrap();
        assert_eq!(message.member, "Do");
        let mut read = arguments.to_vec();
        read[3] = Value::U64(3);
        assert_eq!(message.values(), read);
    }

    #[test]
    fn the_elements_of_an_array_are_aligned_and_the_padding_is_not_counted() {
        let mut writer = Writer::default();
        writer.value(&Value::Array("t".into(), vec![Value::U64(1)]));
        assert_eq!(writer.0, [8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let bytes = call(3, TARGET, &[Value::text("a")]);
        for end in FIXED..bytes.len() {
            let _ = parse(&bytes[..end]); // must not panic
        }
        let mut fixed: [u8; FIXED] = bytes[..FIXED].try_into().unwrap();
        fixed[0] = b'B';
        assert_eq!(length(&fixed), None);
        assert_eq!(length(&[0xff; FIXED]), None);
        let mut huge: [u8; FIXED] = bytes[..FIXED].try_into().unwrap();
        huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&huge), None);
    }
}

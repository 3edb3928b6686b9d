//! Messages of rtnetlink(7) as bytes: a header, a fixed part by type, attributes; all aligned to four bytes and in the
//! machine's byte order (netlink(7)). Pure.

/// nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32.
const HEADER: usize = 16;
/// rtattr: length u16, type u16.
const ATTRIBUTE: usize = 4;

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A message in the making.
pub struct Message(Vec<u8>);

impl Message {
    /// `fixed` is the struct that belongs to the type.
    pub fn new(kind: u16, flags: u16, sequence: u32, fixed: &[u8]) -> Message {
        let mut bytes = vec![0; 4]; // the length comes last
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(fixed);
        Message(bytes)
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        let length = (ATTRIBUTE + value.len()) as u16; // names and addresses: short
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(aligned(self.0.len()), 0);
        self
    }

    /// A text with the NUL that the kernel wants behind it.
    pub fn text(self, kind: u16, text: &str) -> Message {
        let value: Vec<u8> = text.bytes().chain([0]).collect();
        self.attribute(kind, &value)
    }

    pub fn into_bytes(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// A message as it is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// What is behind the header.
    pub body: &'a [u8],
}

/// The messages of one datagram, up to the first that is broken.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let received = Received {
            kind: u16_at(rest, 4)?,
            flags: u16_at(rest, 6)?,
            sequence: u32_at(rest, 8)?,
            body: rest.get(HEADER..length)?,
        };
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(received)
    })
}

/// Types and values behind the fixed part of a body.
pub fn attributes(body: &[u8], fixed: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(aligned(fixed)..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let attribute = (u16_at(rest, 2)?, rest.get(ATTRIBUTE..length)?);
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(attribute)
    })
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let first = Message::new(16, 5, 7, &[1, 2, 3, 4]).text(3, "eth0").attribute(28, &[9; 4]);
        let mut bytes = first.into_bytes();
        assert_eq!((bytes.len(), u32_at(&bytes, 0)), (16 + 4 + 12 + 8, Some(40)));
        bytes.extend(Message::new(3, 0, 8, &[]).into_bytes());
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].flags, found[0].sequence), (16, 5, 7));
        assert_eq!((found[1].kind, found[1].sequence, found[1].body), (3, 8, &[][..]));
        let attributes: Vec<_> = attributes(found[0].body, 4).collect();
        assert_eq!(attributes, [(3, &b"eth0\0"[..]), (28, &[9; 4][..])]);
    }

    #[test]
    fn what_is_broken_ends_the_list() {
        let good = Message::new(16, 0, 1, &[0; 4]).attribute(1, &[1]).into_bytes();
        for length in 0..good.len() {
            let expected = usize::from(length >= 16 + 4 + 5); // the padding may be missing
            assert!(messages(&good[..length]).count() <= expected, "{length}");
        }
        let mut short = good.clone();
        short[..4].copy_from_slice(&15u32.to_ne_bytes());
        assert_eq!(messages(&short).count(), 0);
        let mut zero = good;
        zero[20..22].copy_from_slice(&0u16.to_ne_bytes());
        let body = messages(&zero).next().expect("a message").body;
        assert_eq!(attributes(body, 4).count(), 0);
    }
}

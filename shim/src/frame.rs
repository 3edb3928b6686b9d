//! Frames of ttrpc, as bytes arrive: 10 bytes of header (length, stream, type, flags; numbers big-endian) and
//! a message. Pure: bytes in, frames out, and bytes to send from a frame.

use crate::proto::ttrpc;
use crate::refusal::Refusal;
use prost::Message;

pub const REQUEST: u8 = 1;
pub const RESPONSE: u8 = 2;
const HEADER: usize = 10;
/// The longest message that ttrpc allows.
pub const LONGEST: usize = 4 << 20;
/// What is kept of an emptied buffer.
const KEPT: usize = 4096;

#[derive(Debug, PartialEq)]
pub struct Frame {
    pub stream: u32,
    pub kind: u8,
    pub body: Body,
}

#[derive(Debug, PartialEq)]
pub enum Body {
    Message(Vec<u8>),
    /// It was longer than [`LONGEST`], and has been thrown away while it arrived.
    TooLong(usize),
}

/// Takes a stream of bytes apart.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// How much of an oversized message is still to come, and whose it is.
    skipping: Option<(usize, Header)>,
}

#[derive(Clone, Copy)]
struct Header {
    length: usize,
    stream: u32,
    kind: u8,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Header> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (stream, rest) = rest.split_first_chunk::<4>()?;
        let (kind, _flags) = rest.split_first_chunk::<2>().map(|(two, _)| (two[0], two[1]))?;
        Some(Header {
            length: u32::from_be_bytes(*length) as usize,
            stream: u32::from_be_bytes(*stream),
            kind,
        })
    }
}

impl Reader {
    pub fn push(&mut self, mut bytes: &[u8]) {
        if let Some((left, _)) = &mut self.skipping {
            let skipped = bytes.len().min(*left);
            *left -= skipped;
            bytes = &bytes[skipped..];
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame that is there as a whole.
    pub fn take_frame(&mut self) -> Option<Frame> {
        if let Some((left, header)) = self.skipping {
            if left > 0 {
                return None;
            }
            self.skipping = None;
            return Some(Frame {
                stream: header.stream,
                kind: header.kind,
                body: Body::TooLong(header.length),
            });
        }
        let header = Header::parse(&self.buffer)?;
        if header.length > LONGEST {
            let here = (self.buffer.len() - HEADER).min(header.length);
            self.split(HEADER + here);
            self.skipping = Some((header.length - here, header));
            return self.take_frame();
        }
        if self.buffer.len() < HEADER + header.length {
            return None;
        }
        let mut message = self.split(HEADER + header.length);
        message.drain(..HEADER);
        Some(Frame { stream: header.stream, kind: header.kind, body: Body::Message(message) })
    }

    fn split(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length);
        let taken = std::mem::replace(&mut self.buffer, rest);
        if self.buffer.is_empty() {
            self.buffer.shrink_to(KEPT);
        }
        taken
    }
}

/// A frame as bytes.
pub fn write(stream: u32, kind: u8, message: &impl Message, out: &mut Vec<u8>) {
    let length = message.encoded_len();
    out.reserve(HEADER + length);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[kind, 0]);
    message.encode_raw(out);
}

/// The answer to the request that came on `stream`.
pub fn answer(stream: u32, answer: Result<Vec<u8>, Refusal>, out: &mut Vec<u8>) {
    let response = match answer {
        // ttrpc's own server sends a status in any case, and its first clients relied on it.
        Ok(payload) => ttrpc::Response { status: Some(ttrpc::Status::default()), payload },
        Err(refusal) => ttrpc::Response {
            status: Some(ttrpc::Status { code: refusal.code as i32, message: refusal.text, details: vec![] }),
            payload: vec![],
        },
    };
    write(stream, RESPONSE, &response, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: u32, stream: u32, message: &[u8]) -> Vec<u8> {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(stream.to_be_bytes());
        bytes.extend([REQUEST, 0]);
        bytes.extend(message);
        bytes
    }

    fn frame(stream: u32, body: Body) -> Frame {
        let kind = REQUEST;
        Frame { stream, kind, body }
    }

    /// The same frames come out however the bytes are cut.
    #[track_caller]
    fn check(bytes: &[u8], expected: &[Frame]) {
        for size in [1, 3, 9, 10, 11, 4096, bytes.len().max(1)] {
            let mut reader = Reader::default();
            let mut frames = vec![];
            for chunk in bytes.chunks(size) {
                reader.push(chunk);
                while let Some(frame) = reader.take_frame() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn frames_come_in_pieces() {
        check(b"", &[]);
        check(&bytes(3, 1, b"ab"), &[]);
        check(&bytes(0, 7, b""), &[frame(7, Body::Message(vec![]))]);
        let two = [bytes(2, 1, b"ab"), bytes(1, 3, b"c")].concat();
        check(&two, &[frame(1, Body::Message(b"ab".to_vec())), frame(3, Body::Message(b"c".to_vec()))]);
    }

    #[test]
    fn one_that_is_too_long_is_skipped() {
        let long = LONGEST + 1;
        let all = [bytes(long as u32, 1, &vec![0; long]), bytes(1, 3, b"c")].concat();
        let mut reader = Reader::default();
        let mut frames = vec![];
        for chunk in all.chunks(65_536) {
            reader.push(chunk);
            assert!(reader.buffer.capacity() < 1 << 20, "it is not kept");
            while let Some(frame) = reader.take_frame() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [frame(1, Body::TooLong(long)), frame(3, Body::Message(b"c".to_vec()))]);
    }

    #[test]
    fn answers() {
        let mut out = vec![];
        answer(5, Ok(vec![1]), &mut out);
        assert_eq!(out, [0, 0, 0, 5, 0, 0, 0, 5, 2, 0, 10, 0, 18, 1, 1]);
        out.clear();
        answer(5, Err(Refusal::not_found("x")), &mut out);
        assert_eq!(out, [0, 0, 0, 7, 0, 0, 0, 5, 2, 0, 10, 5, 8, 5, 18, 1, b'x']);
    }
}

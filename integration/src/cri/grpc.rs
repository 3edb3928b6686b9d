//! gRPC over a Unix socket, as far as a call with one answer goes: a POST whose body is a message behind five bytes,
//! and whose trailers tell the status (grpc.io, "gRPC over HTTP2").

use std::fmt;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, Request};
use prost::Message;
use prost::bytes::{Buf, Bytes};

/// Longer takes only what hangs, also in an emulated machine.
const LIMIT: Duration = Duration::from_secs(300);

/// A call that wasn't answered with a message.
#[derive(Debug)]
pub struct Refused {
    /// gRPC's number: 2 unknown, 4 deadline exceeded, 5 not found, 14 unavailable, ...
    pub code: u32,
    pub message: String,
}

/// gRPC's UNAVAILABLE: nobody there, or what speaks there isn't gRPC.
fn unavailable(error: impl fmt::Display) -> Refused {
    Refused { code: 14, message: error.to_string() }
}

/// Calls the method of this path (`/SERVICE/METHOD`).
///
/// # Errors
/// The server's own, UNAVAILABLE, or DEADLINE_EXCEEDED after five minutes.
pub fn call<A: Message + Default>(socket: &Path, path: &str, request: &impl Message) -> Result<A, Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
    let call = async { tokio::time::timeout(LIMIT, exchange(socket, path, framed(request))).await };
    let answer =
        runtime.block_on(call).map_err(|_| Refused { code: 4, message: format!("{path}: no answer") })??;
    A::decode(unframed(answer)?).map_err(unavailable)
}

async fn exchange(socket: &Path, path: &str, body: Bytes) -> Result<Bytes, Refused> {
    let stream = tokio::net::UnixStream::connect(socket).await.map_err(unavailable)?;
    let (client, connection) = h2::client::handshake(stream).await.map_err(unavailable)?;
    tokio::spawn(connection); // ends with the call's runtime

    let head = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(unavailable)?;
    let mut client = client.ready().await.map_err(unavailable)?;
    let (response, mut request) = client.send_request(head, false).map_err(unavailable)?;
    request.send_data(body, true).map_err(unavailable)?;

    let (head, mut answer) = response.await.map_err(unavailable)?.into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.data().await {
        let chunk = chunk.map_err(unavailable)?;
        bytes.extend_from_slice(&chunk);
        answer.flow_control().release_capacity(chunk.len()).map_err(unavailable)?;
    }
    // A refusal may consist of headers alone.
    let trailers = answer.trailers().await.map_err(unavailable)?;
    status(trailers.as_ref().unwrap_or(&head.headers))?;
    Ok(bytes.into())
}

/// A message behind a zero (not compressed) and its length.
fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a message of less than 4 GiB");
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

fn unframed(mut body: Bytes) -> Result<Bytes, Refused> {
    if body.len() < 5 || body.get_u8() != 0 || body.get_u32() as usize != body.len() {
        return Err(unavailable("the answer is not one plain message"));
    }
    Ok(body)
}

fn status(trailers: &HeaderMap) -> Result<(), Refused> {
    let text = |name| trailers.get(name).map(|value| decoded(value.as_bytes()));
    match text("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) => Ok(()),
        Some(code) => Err(Refused { code, message: text("grpc-message").unwrap_or_default() }),
        None => Err(unavailable("the answer has no grpc-status")),
    }
}

/// A status message is percent-encoded.
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&first, more)) = rest.split_first() {
        let code = (more.len() >= 2).then(|| std::str::from_utf8(&more[..2]).ok());
        let byte = code.flatten().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_message_is_decoded() {
        for (encoded, plain) in
            [("plain", "plain"), ("caf%C3%A9 100%25", "café 100%"), ("50% of %zz%4", "50% of %zz%4")]
        {
            assert_eq!(decoded(encoded.as_bytes()), plain);
        }
    }

    #[test]
    fn a_body_is_one_whole_plain_message() {
        let check = |body: &'static [u8], expected: Option<&'static [u8]>| {
            assert_eq!(unframed(Bytes::from_static(body)).ok(), expected.map(Bytes::from_static));
        };
        check(b"\0\0\0\0\x02ab", Some(b"ab"));
        check(b"\0\0\0\0\0", Some(b""));
        check(b"\x01\0\0\0\x02ab", None); // compressed
        check(b"\0\0\0\0\x03ab", None); // cut off
        check(b"\0\0\0", None);
    }

    #[test]
    fn nobody_there_is_unavailable() {
        let refused = call::<super::super::messages::VersionResponse>(
            Path::new("/nonexistent/socket"),
            "/x/y",
            &super::super::messages::VersionRequest::default(),
        );
        assert_eq!(refused.map_err(|e| e.code).err(), Some(14));
    }
}

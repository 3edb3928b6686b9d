//! What goes over the streaming server, whose address `Exec`, `Attach` and `PortForward` answer with. It speaks
//! WebSocket, the first byte of each message being a channel: for a program the protocol v4.channel.k8s.io (0 stdin, 1
//! stdout, 2 stderr, 3 its end as a JSON Status, 4 the terminal's size), for ports two channels each (2i data, 2i + 1
//! errors), on which the server first tells the port in two bytes.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// Nothing said for longer is a failure.
const LIMIT: Duration = Duration::from_secs(300);

/// A program's streams.
pub struct Stream {
    socket: WebSocket<TcpStream>,
    /// What has come on each channel and wasn't taken.
    heard: BTreeMap<u8, Vec<u8>>,
    over: bool,
}

impl Stream {
    /// # Panics
    /// If nobody answers there as agreed.
    pub fn open(url: &str) -> Stream {
        Stream { socket: connect(url), heard: BTreeMap::new(), over: false }
    }

    /// Says this on the program's stdin.
    pub fn input(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(0, bytes.as_ref());
    }

    /// Tells the size of the terminal.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let size = format!("{{\"Width\":{columns},\"Height\":{rows}}}");
        self.send(4, size.as_bytes());
    }

    fn send(&mut self, channel: u8, bytes: &[u8]) {
        let message = [&[channel], bytes].concat();
        self.socket.send(Message::binary(message)).expect("the stream takes input");
    }

    /// Listens until this text came on a channel, and takes everything up to it.
    ///
    /// # Panics
    /// If it ends before.
    pub fn until(&mut self, channel: u8, text: &str) -> String {
        loop {
            let heard = self.heard.entry(channel).or_default();
            let at = heard.windows(text.len()).position(|there| there == text.as_bytes());
            if let Some(at) = at {
                let rest = heard.split_off(at + text.len());
                let taken = std::mem::replace(heard, rest);
                return String::from_utf8_lossy(&taken).into_owned();
            }
            let so_far = String::from_utf8_lossy(heard).into_owned();
            assert!(self.listen(), "the stream ended without {text:?} on {channel}: {so_far:?}");
        }
    }

    /// Listens to the end: what else came on stdout and stderr, and the program's exit status.
    ///
    /// # Panics
    /// If the status says neither success nor an exit code.
    pub fn end(mut self) -> (String, String, i32) {
        while self.listen() {}
        let mut take =
            |channel| String::from_utf8_lossy(&self.heard.remove(&channel).unwrap_or_default()).into_owned();
        let (out, err, status) = (take(1), take(2), take(3));
        (out, err, exit_status(&status).unwrap_or_else(|| panic!("a status: {status:?}")))
    }

    /// Takes one message; false at the end.
    fn listen(&mut self) -> bool {
        if self.over {
            return false;
        }
        match self.socket.read() {
            Ok(Message::Binary(message)) => {
                if let Some((&channel, bytes)) = message.split_first() {
                    self.heard.entry(channel).or_default().extend(bytes);
                }
            }
            Ok(Message::Close(_)) => self.over = true,
            Ok(_) => {}
            Err(tungstenite::Error::Io(e)) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                assert!(is_end(&e), "the stream broke: {e}");
                self.over = true;
            }
        }
        !self.over
    }
}

/// One port of a pod.
pub struct PortForward(Stream);

impl PortForward {
    /// # Panics
    /// If the server tells another port.
    pub fn open(url: &str, port: u16) -> PortForward {
        let mut stream = Stream::open(&format!("{url}?port={port}"));
        for channel in [0, 1] {
            while stream.heard.get(&channel).is_none_or(|heard| heard.len() < 2) {
                assert!(stream.listen(), "no port was told on {channel}");
            }
            let told = stream.heard.remove(&channel).unwrap_or_default();
            assert_eq!(told, port.to_le_bytes(), "the port on {channel}");
        }
        PortForward(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.send(0, bytes);
    }

    /// Listens until there are as many bytes, and takes them.
    ///
    /// # Panics
    /// If it ends before.
    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        while self.0.heard.get(&0).map_or(0, Vec::len) < count {
            assert!(
                self.0.listen(),
                "the port was closed: {:?}",
                self.0.heard.get(&1).map(|e| String::from_utf8_lossy(e))
            );
        }
        let heard = self.0.heard.entry(0).or_default();
        let rest = heard.split_off(count);
        std::mem::replace(heard, rest)
    }

    /// Listens until something is said on the channel of errors.
    pub fn error(mut self) -> String {
        while self.0.heard.get(&1).is_none_or(Vec::is_empty) && self.0.listen() {}
        let said = self.0.heard.remove(&1).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }
}

fn connect(url: &str) -> WebSocket<TcpStream> {
    let url = url.replacen("http:", "ws:", 1);
    let mut request = url.as_str().into_client_request().expect("an address");
    let protocol = "v4.channel.k8s.io".parse().expect("a header");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let host = request.uri().authority().expect("a host").to_string();
    let stream = TcpStream::connect(host).expect("the streaming server");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    let (socket, _) = tungstenite::client(request, stream).expect("WebSocket");
    socket
}

/// containerd closes without ceremony at times.
fn is_end(error: &tungstenite::Error) -> bool {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => true,
        Error::Protocol(e) => matches!(e, ProtocolError::ResetWithoutClosingHandshake),
        Error::Io(e) => {
            matches!(e.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
        }
        _ => false,
    }
}

/// Of a Kubernetes Status: 0 for success, else the cause ExitCode.
fn exit_status(status: &str) -> Option<i32> {
    let status: Value = serde_json::from_str(status).ok()?;
    if status["status"] == "Success" {
        return Some(0);
    }
    let causes = status["details"]["causes"].as_array()?;
    let code = causes.iter().find(|cause| cause["reason"] == "ExitCode")?;
    code["message"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_the_exit_code() {
        let failure = r#"{"status":"Failure","reason":"NonZeroExitCode",
            "details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        for (status, expected) in [
            (r#"{"metadata":{},"status":"Success"}"#, Some(0)),
            (failure, Some(7)),
            (r#"{"status":"Failure","reason":"InternalError"}"#, None),
            ("", None),
        ] {
            assert_eq!(exit_status(status), expected, "{status}");
        }
    }
}

//! The messages of containerd's protocols, only those that a shim exchanges, and of each what is used. The
//! numbers are those of containerd's .proto files (api/ in its source); names are theirs too.

pub mod bootstrap;
pub mod events;
pub mod metrics;
pub mod options;
pub mod task;
pub mod ttrpc;

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

/// google.protobuf.Any. containerd's type URLs are bare names, without `type.googleapis.com/`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

impl Any {
    pub fn new(type_url: &str, message: &impl Message) -> Any {
        Any { type_url: type_url.to_string(), value: message.encode_to_vec() }
    }

    /// The type's full name: what stands behind the last slash, if there is one.
    pub fn name(&self) -> &str {
        self.type_url.rsplit('/').next().unwrap_or_default()
    }
}

/// google.protobuf.Empty.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Empty {}

/// google.protobuf.Timestamp: since 1970, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Message, serde::Serialize, serde::Deserialize)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // before 1970 counts as 1970
        Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
    }
}

//! What `start` is asked on stdin, and how to answer so that whoever asked understands. Pure.
//!
//! containerd 1.7 to 2.2 write the options as an Any, or nothing, and read an address. 2.3 and later write
//! BootstrapParams and read BootstrapResult. An Any is a valid BootstrapParams too, with its two strings as
//! instance and namespace: so those are compared with what the command line says.

use prost::Message;

use crate::proto::Any;
use crate::proto::bootstrap::{BootstrapParams, BootstrapResult};
use crate::refusal::{Doing, Refusal};

/// More is nobody's options.
pub const LONGEST: u64 = 10 << 20;
/// A socket's address holds 106 characters and the name in the directory takes 64 and a slash.
const LONGEST_DIR: usize = 42;

#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub dialect: Dialect,
    pub options: Option<Any>,
    pub socket_dir: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// containerd before 2.3.
    Address,
    Bootstrap,
}

impl Question {
    pub fn parse(stdin: &[u8], id: &str, namespace: &str) -> Result<Question, Refusal> {
        if stdin.is_empty() {
            return Ok(Question { dialect: Dialect::Address, options: None, socket_dir: None });
        }
        match BootstrapParams::decode(stdin) {
            Ok(params) if params.instance_id == id && params.namespace == namespace => {
                if let Some(dir) = params.socket_dir.as_ref().filter(|dir| dir.len() > LONGEST_DIR) {
                    return Err(Refusal::invalid(format!(
                        "socket_dir {dir} is longer than {LONGEST_DIR} bytes"
                    )));
                }
                let options =
                    params.extensions.into_iter().filter_map(|extension| extension.value).find(is_options);
                Ok(Question {
                    dialect: Dialect::Bootstrap,
                    options,
                    socket_dir: params.socket_dir.filter(|dir| !dir.is_empty()),
                })
            }
            _ => Ok(Question {
                dialect: Dialect::Address,
                options: Some(
                    Any::decode(stdin).doing(|| "stdin is no message that containerd sends".into())?,
                ),
                socket_dir: None,
            }),
        }
    }
}

fn is_options(any: &Any) -> bool {
    matches!(any.name(), "containerd.runc.v1.Options" | "runtimeoptions.v1.Options")
}

/// The answer for stdout. The version is 2 in both dialects: with 3, containerd would not run `delete` for the
/// containers of a pod but the first when their shim dies, and they would be left running. Both services are
/// served whatever it is.
pub fn answer(dialect: Dialect, address: &str) -> Vec<u8> {
    match dialect {
        Dialect::Address => address.as_bytes().to_vec(), // 2.0 to 2.2 would take a newline for part of it
        Dialect::Bootstrap => {
            BootstrapResult { version: 2, address: address.to_string(), protocol: "ttrpc".to_string() }
                .encode_to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::bootstrap::Extension;
    use crate::proto::options::RuncOptions;

    fn options() -> Any {
        Any::new("containerd.runc.v1.Options", &RuncOptions::default())
    }

    fn params(id: &str) -> BootstrapParams {
        let other = Any { type_url: "other".into(), value: vec![1] };
        BootstrapParams {
            instance_id: id.into(),
            namespace: "n".into(),
            containerd_version: "2.3.0".into(),
            extensions: [other, options()].map(|any| Extension { value: Some(any) }).to_vec(),
            ..BootstrapParams::default()
        }
    }

    #[test]
    fn each_dialect_is_told_apart() {
        let check = |stdin: &[u8], dialect, options| {
            let question = Question::parse(stdin, "i", "n").unwrap();
            assert_eq!((question.dialect, question.options), (dialect, options));
        };
        check(b"", Dialect::Address, None);
        check(&options().encode_to_vec(), Dialect::Address, Some(options()));
        check(&params("i").encode_to_vec(), Dialect::Bootstrap, Some(options()));
        assert!(Question::parse(&[0xff], "i", "n").is_err());
    }

    #[test]
    fn a_directory_for_sockets() {
        let with = |dir: &str| {
            let mut params = params("i");
            params.socket_dir = Some(dir.to_string());
            Question::parse(&params.encode_to_vec(), "i", "n").map(|question| question.socket_dir)
        };
        assert_eq!(with("/run/x"), Ok(Some("/run/x".to_string())));
        assert_eq!(with(""), Ok(None));
        assert!(with(&"x".repeat(43)).is_err());
    }

    #[test]
    fn answers() {
        assert_eq!(answer(Dialect::Address, "unix:///s"), b"unix:///s");
        assert_eq!(answer(Dialect::Bootstrap, "unix:///s"), b"\x08\x02\x12\x09unix:///s\x1a\x05ttrpc");
    }
}

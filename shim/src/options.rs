//! What a client asks of the runtime, out of any of the messages that clients send. Pure.

use std::path::{Path, PathBuf};

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::proto::Any;
use crate::proto::options::{RuncOptions, RuntimeOptions};
use crate::refusal::{Doing, Refusal};

/// The keys are those of the TOML that CRI sends, which are the names of runc's Options in Go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Options {
    pub no_pivot_root: bool,
    pub no_new_keyring: bool,
    pub shim_cgroup: String,
    pub io_uid: u32,
    pub io_gid: u32,
    /// A program with runc's command line; empty: rrunc.
    pub binary_name: String,
    /// The runtime's --root, below which each namespace has its own; empty: [`Options::ROOT`].
    pub root: String,
    pub systemd_cgroup: bool,
    pub criu_image_path: String,
    pub criu_work_path: String,
}

impl Options {
    pub const ROOT: &'static str = "/run/containerd/rrunc";

    pub fn binary(&self) -> &str {
        match self.binary_name.as_str() {
            "" => "rrunc",
            name => name,
        }
    }

    /// Whose library we have ourselves. A path may lead to another one.
    pub fn is_rrunc(&self) -> bool {
        matches!(self.binary_name.as_str(), "" | "rrunc")
    }

    /// Where the runtime keeps what it knows of a namespace's containers.
    pub fn state(&self, namespace: &str) -> PathBuf {
        Path::new(self.root()).join(namespace)
    }

    pub fn root(&self) -> &str {
        match self.root.as_str() {
            "" => Options::ROOT,
            root => root,
        }
    }

    /// `read` reads the file that a client may name instead of giving its content.
    pub fn parse(
        any: Option<&Any>,
        read: impl FnOnce(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Options, Refusal> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else {
            return Ok(Options::default());
        };
        let name = any.name();
        let doing = || format!("options of type {name}");
        match name {
            "containerd.runc.v1.Options" => {
                let options = RuncOptions::decode(any.value.as_slice()).doing(doing);
                Ok(options.map_err(invalid)?.into())
            }
            "runtimeoptions.v1.Options" => {
                let options = RuntimeOptions::decode(any.value.as_slice()).doing(doing);
                let RuntimeOptions { config_path, config_body, .. } = options.map_err(invalid)?;
                match (config_body.as_slice(), config_path.as_str()) {
                    ([], "") => Ok(Options::default()),
                    ([], path) => {
                        let body = read(path).doing(|| format!("the options' ConfigPath {path}"));
                        Options::from_toml(&body.map_err(invalid)?)
                    }
                    (body, _) => Options::from_toml(body),
                }
            }
            other => Err(Refusal::invalid(format!(
                "options of type {other}: only containerd.runc.v1.Options and runtimeoptions.v1.Options are known"
            ))),
        }
    }

    fn from_toml(body: &[u8]) -> Result<Options, Refusal> {
        let text = std::str::from_utf8(body).doing(|| "the options are not UTF-8".into());
        let options = toml::from_str(text.map_err(invalid)?);
        options.doing(|| "the options as TOML".into()).map_err(invalid)
    }
}

fn invalid(refusal: Refusal) -> Refusal {
    Refusal::invalid(refusal.text)
}

impl From<RuncOptions> for Options {
    fn from(from: RuncOptions) -> Options {
        Options {
            no_pivot_root: from.no_pivot_root,
            no_new_keyring: from.no_new_keyring,
            shim_cgroup: from.shim_cgroup,
            io_uid: from.io_uid,
            io_gid: from.io_gid,
            binary_name: from.binary_name,
            root: from.root,
            systemd_cgroup: from.systemd_cgroup,
            criu_image_path: from.criu_image_path,
            criu_work_path: from.criu_work_path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_file(path: &str) -> std::io::Result<Vec<u8>> {
        panic!("{path} is not to be read")
    }

    fn toml(body: &str) -> Any {
        let options = RuntimeOptions {
            type_url: "unused".into(),
            config_path: "/unused".into(),
            config_body: body.into(),
        };
        Any::new("runtimeoptions.v1.Options", &options)
    }

    fn systemd() -> Options {
        Options { binary_name: "/bin/crun".into(), systemd_cgroup: true, ..Options::default() }
    }

    #[test]
    fn every_message() {
        let check =
            |any: Option<Any>, expected| assert_eq!(Options::parse(any.as_ref(), no_file).unwrap(), expected);
        check(None, Options::default());
        check(Some(Any::default()), Options::default());
        let runc =
            RuncOptions { binary_name: "/bin/crun".into(), systemd_cgroup: true, ..RuncOptions::default() };
        check(Some(Any::new("containerd.runc.v1.Options", &runc)), systemd());
        check(Some(Any::new("type.googleapis.com/containerd.runc.v1.Options", &runc)), systemd());
        check(Some(toml("BinaryName = '/bin/crun'\nSystemdCgroup = true\nTheirs = 1\n")), systemd());
        check(Some(toml("")).filter(|_| false), Options::default());
    }

    #[test]
    fn a_file() {
        let options = RuntimeOptions { config_path: "/etc/x.toml".into(), ..RuntimeOptions::default() };
        let any = Any::new("runtimeoptions.v1.Options", &options);
        let read = |path: &str| match path {
            "/etc/x.toml" => Ok(b"SystemdCgroup = true\nBinaryName = \"/bin/crun\"".to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        assert_eq!(Options::parse(Some(&any), read).unwrap(), systemd());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |any: Any, text: &str| {
            let refusal = Options::parse(Some(&any), no_file).unwrap_err();
            assert_eq!(refusal.code, crate::refusal::Code::InvalidArgument);
            assert!(refusal.text.contains(text), "{refusal}");
        };
        check(toml("SystemdCgroup = 5"), "SystemdCgroup");
        check(toml("= ="), "the options as TOML");
        let mut broken = toml("");
        broken.value = vec![0xff];
        check(broken, "options of type runtimeoptions.v1.Options");
        let mut foreign = toml("");
        foreign.type_url = "windows.Options".into();
        check(foreign, "windows.Options");
    }
}

//! The command line that containerd gives its shims, in the syntax of Go's flag package. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    pub namespace: String,
    pub id: String,
    /// containerd's gRPC socket.
    pub address: String,
    /// Only for `delete`.
    pub bundle: PathBuf,
    pub debug: bool,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// No word at all: be the shim. Only `start` calls it so.
    #[default]
    Serve,
    Start,
    Delete,
    Info,
    Version,
}

impl Args {
    /// Without the program's own name.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
        let mut parsed = Args::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(arg) = arg.to_str() else {
                return Err(format!("{arg:?} is not UTF-8"));
            };
            let Some(flag) = arg.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
                parsed.action = match arg {
                    "start" => Action::Start,
                    "delete" => Action::Delete,
                    other => return Err(format!("{other:?} is no action: start or delete")),
                };
                continue;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (flag, None),
            };
            match name {
                "debug" => parsed.debug = value.is_none_or(|value| value == "true"),
                "v" | "version" => parsed.action = Action::Version,
                "info" => parsed.action = Action::Info,
                "namespace" | "id" | "address" | "bundle" | "publish-binary" | "socket" | "debug-socket" => {
                    let value =
                        value.or_else(|| args.next()).ok_or_else(|| format!("-{name} needs a value"))?;
                    parsed.set(name, value)?;
                }
                _ => return Err(format!("flag provided but not defined: -{name}")),
            }
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &str, value: OsString) -> Result<(), String> {
        let text = || {
            let text = value.to_str().map(str::to_string);
            text.ok_or_else(|| format!("-{name} {value:?} is not UTF-8"))
        };
        match name {
            "namespace" => self.namespace = text()?,
            "id" => self.id = text()?,
            "address" => self.address = text()?,
            "bundle" => self.bundle = value.into(),
            _ => {} // publish-binary and the sockets: taken, for what calls every shim alike, and not needed
        }
        Ok(())
    }

    /// Those of the serving process that `start` makes.
    pub fn to_serve(&self) -> Vec<&str> {
        let mut args = vec!["-namespace", &self.namespace, "-id", &self.id];
        args.extend(["-address", &self.address]);
        args.extend(self.debug.then_some("-debug"));
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn lines() {
        let check = |line: &str, action| {
            let expected = Args {
                namespace: "n".into(),
                id: "i".into(),
                address: "/a".into(),
                action,
                ..Args::default()
            };
            assert_eq!(parse(line), Ok(expected), "{line}");
        };
        check("-namespace n -address /a -publish-binary /bin/containerd -id i start", Action::Start);
        check("--namespace=n -address=/a -id i delete", Action::Delete);
        check("-namespace n -address /a -id i", Action::Serve);
        assert_eq!(parse("-v").unwrap().action, Action::Version);
        assert_eq!(parse("-info").unwrap().action, Action::Info);
        assert!(parse("-debug start").unwrap().debug);
        assert_eq!(parse("-bundle /b delete").unwrap().bundle, PathBuf::from("/b"));
    }

    #[test]
    fn faults() {
        let check = |line: &str, text: &str| assert!(parse(line).unwrap_err().contains(text), "{line}");
        check("-nope", "-nope");
        check("-id", "-id needs a value");
        check("stop", "\"stop\"");
        check("-", "\"-\"");
    }

    #[test]
    fn to_serve_and_back() {
        let args = parse("-namespace n -address /a -id i -debug").unwrap();
        let line: Vec<_> = args.to_serve().into_iter().map(OsString::from).collect();
        assert_eq!(Args::parse(line), Ok(args));
    }
}

//! Man pages and completion scripts, made from the definitions, so that they cannot drift from them.

use clap_complete::Shell;

use super::define;
use crate::error::{Error, Kind, Result};

pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// The completion script for a shell out of [`SHELLS`].
pub fn completion(shell: &str) -> Result<String> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => {
            return Err(Error::new(
                Kind::Usage,
                format!("no completion for the shell {shell}"),
            ));
        }
    };
    let mut script = vec![];
    clap_complete::generate(shell, &mut define::whole(), "rrunc", &mut script);
    text(script)
}

/// The man page of a command, `rrunc-COMMAND(8)`, or rrunc(8).
pub fn man(command: Option<&str>) -> Result<String> {
    let mut definition = define::page(command)?;
    if let Some(name) = command {
        definition = definition.display_name(format!("rrunc-{name}"));
    }
    let mut page = vec![];
    let rendered = clap_mangen::Man::new(definition)
        .section("8")
        .manual("rrunc")
        .render(&mut page);
    rendered.map_err(|error| Error::new(Kind::Usage, format!("can't render the page: {error}")))?;
    text(page)
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|error| Error::new(Kind::Usage, format!("the page is not UTF-8: {error}")))
}

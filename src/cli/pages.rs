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
            return Err(Error::new(Kind::Usage, format!("no completion for the shell {shell}")));
        }
    };
    let mut script = vec![];
    clap_complete::generate(shell, &mut define::whole(), "rrunc", &mut script);
    text(script)
}

/// rrunc-security(7): whom rrunc trusts, and what is tested.
const SECURITY: &str = include_str!("rrunc-security.7");

/// The man page of a command, rrunc-COMMAND(8), rrunc(8), or rrunc-security(7).
pub fn man(command: Option<&str>) -> Result<String> {
    if command == Some("security") {
        return Ok(SECURITY.to_string());
    }
    let name = command.map_or_else(|| "rrunc".to_string(), |command| format!("rrunc-{command}"));
    let definition = define::page(command)?.display_name(&name);
    let page = clap_mangen::Man::new(definition)
        .title(name.to_uppercase())
        .section("8")
        .source(concat!("rrunc ", env!("CARGO_PKG_VERSION")))
        .manual("System Administration");
    let mut roff = vec![];
    page.render(&mut roff).map_err(|error| Error::new(Kind::Kernel, format!("render {name}(8): {error}")))?;
    roff.extend_from_slice(if command.is_some() { COMMAND_END } else { MAIN_END }.as_bytes());
    text(roff)
}

const COMMAND_END: &str = "\
.SH EXIT STATUS
0, or 1 if it failed: then one line on stderr says what, where and why.
.B run
without \\-\\-detach exits as the container's program does, with 128+n for signal n.
.SH SEE ALSO
rrunc(8)
";

const MAIN_END: &str = "\
.SH FILES
.TP
.I /run/rrunc
What is remembered of containers, a directory for each; for other users than root,
.I $XDG_RUNTIME_DIR/rrunc
.TP
.I config.json
In a bundle: what the container shall be, as the runtime specification says
.SH LANDLOCK
The annotation
.B org.rrunc.landlock
holds rules of landlock(7) for the container's programs, as JSON. What no rule allows is forbidden.
.TP
.B paths
A list of rules with
.BR paths ,
which are the container's,
.BR access ,
and
.BR optional
for those that may be missing. Accesses are read, write and execute, or the kernel's names: write_file, read_file,
read_dir, remove_dir, remove_file, make_char, make_dir, make_reg, make_sock, make_fifo, make_block, make_sym, refer,
truncate, ioctl_dev
.TP
.B ports
The same for TCP: rules with
.B ports
and
.BR access :
bind_tcp, connect_tcp
.TP
.B scopes
A list of abstract_unix_socket and signal
.TP
.B bestEffort
If true, what the kernel lacks, as rrunc-info(8) tells, is left out; else that is an error
.SH SEE ALSO
rrunc-security(7). The runtime specification: https://github.com/opencontainers/runtime-spec
";

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|error| Error::new(Kind::Usage, format!("the page is not UTF-8: {error}")))
}

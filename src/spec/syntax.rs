//! Broken JSON, explained: where, what was expected, what stands there, and what to do about it.

use serde_json::error::{Category, Error as JsonError};

use crate::error::{Error, Fault};

/// What serde_json says, and the advice to it.
const ADVICE: [(&str, &str); 9] = [
    ("EOF", "the file ends too early: was it written completely?"),
    ("trailing comma", "remove the comma before it"),
    ("trailing characters", "the document was complete before"),
    ("key must be a string", "names stand in double quotes"),
    ("expected `,`", "is a comma, a quote or a bracket missing before it?"),
    ("expected `:`", "a name is followed by a colon and its value"),
    ("control character", "in a string, a line break is written \\n and a tab \\t"),
    ("invalid escape", "in a string, a backslash is written \\\\"),
    ("expected value", "a value is text in double quotes, a number, true, false, null, {…} or […]"),
];

/// The fault of the text `bytes` of the file called `file`.
pub fn explain(bytes: &[u8], error: &JsonError, file: &str) -> Error {
    let (line, column) = (error.line(), error.column());
    let fault = |text: String| {
        let path = format!("line {line}, column {column}");
        Error::invalid(file, vec![Fault { path, text }])
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return fault("the file is empty".into()).hint("`rrunc spec` writes one to start from");
    }
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or(&said);
    let found = found(bytes, line, column);
    let error = match (error.classify(), found) {
        (Category::Eof, _) => return fault("the file ends here".into()).hint(ADVICE[0].1),
        (_, Some('\u{feff}')) => {
            return fault("the file starts with a byte order mark".into()).hint("save it as plain UTF-8");
        }
        (_, Some('/')) => return fault("a comment".into()).hint("JSON has no comments"),
        (_, Some(found)) => fault(format!("{said}, found {found:?}")),
        (_, None) => fault(said.into()),
    };
    match ADVICE.iter().find(|(start, _)| said.starts_with(start)) {
        Some((_, advice)) => error.hint(*advice),
        None => error,
    }
}

/// The character at a position as serde_json counts: lines and bytes of a line, both from 1.
fn found(bytes: &[u8], line: usize, column: usize) -> Option<char> {
    let line = bytes.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    let rest = &line[line.len().min(column.saturating_sub(1))..];
    let start = &rest[..rest.len().min(4)]; // the longest character in UTF-8
    let valid = match std::str::from_utf8(start) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).ok()?,
    };
    valid.chars().next()
}

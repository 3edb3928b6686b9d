//! What criu's log says of a failure.

/// How many errors are quoted: the first is the cause, and what follows is what came of it.
const QUOTED: usize = 3;

/// The first errors of a log, without their time and place, in one line.
///
/// A line is `(00.012345) Error (criu/mount.c:123): text`, the process that says it may stand before `Error`.
pub fn errors(log: &str) -> Option<String> {
    let found = log.lines().filter_map(|line| {
        let (before, rest) = line.split_once("Error (")?;
        let (_place, text) = rest.split_once("): ")?;
        before.starts_with('(').then_some(text.trim())
    });
    let mut quoted: Vec<&str> = Vec::new();
    for text in found.filter(|text| !text.is_empty()) {
        if quoted.len() < QUOTED && !quoted.contains(&text) {
            quoted.push(text);
        }
    }
    (!quoted.is_empty()).then(|| quoted.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_errors_without_their_places() {
        let log = "(00.000001) Version: 4.1\n\
                   (00.010000) Error (criu/mount.c:12): mnt: a: b\n\
                   (00.010001)      7: Error (criu/x.c:3): second: No such file\n\
                   (00.010001)      7: Error (criu/x.c:3): second: No such file\n\
                   (00.01) pie: 1: Error (criu/y.c:4): third\n\
                   (00.02) Error (criu/cr-dump.c:99): Dumping FAILED.\n";
        assert_eq!(errors(log).as_deref(), Some("mnt: a: b; second: No such file; third"));
        assert_eq!(errors("(00.1) all is well\nError (x): forged\n"), None);
        assert_eq!(errors(""), None);
    }
}

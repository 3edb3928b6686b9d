//! The list of programs: their names, and what must be known of each to judge it (see the head of `programs`).

use std::collections::BTreeSet;
use std::path::Path;

#[derive(Debug, Default, PartialEq)]
pub struct Program {
    pub name: String,
    /// Says nothing if all is well.
    pub silent: bool,
    /// Depends on which of two processes is faster.
    pub race: bool,
    /// Passes by chance alone.
    pub luck: bool,
    /// Names of checks that ask for what the specification doesn't.
    pub faults: Vec<String>,
}

/// Reads the list, and compares it with the directory of the built programs.
///
/// # Errors
/// A line that isn't understood; a program listed but not built, or built but not listed.
pub fn read(list: &Path, built: &Path) -> Result<Vec<Program>, String> {
    let at = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(list).map_err(|e| at(list, e))?;
    let programs = parse(&text).map_err(|e| format!("{}: {e}", list.display()))?;

    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(built).map_err(|e| at(built, e))? {
        there.insert(entry.map_err(|e| at(built, e))?.file_name().to_string_lossy().into_owned());
    }
    let beside = ["runtimetest", "rootfs-amd64.tar.gz"].map(str::to_owned);
    let listed = programs.iter().map(|p| p.name.clone()).chain(beside).collect();
    let differ: Vec<_> = there.symmetric_difference(&listed).cloned().collect();
    if differ.is_empty() {
        return Ok(programs);
    }
    Err(format!("{} and {} differ in {}", list.display(), built.display(), differ.join(", ")))
}

fn parse(text: &str) -> Result<Vec<Program>, String> {
    let mut programs: Vec<Program> = Vec::new();
    for line in text.lines().filter(|l| !l.trim_start().starts_with('#') && !l.trim().is_empty()) {
        if let Some(fault) = line.trim_start().strip_prefix("fault ").filter(|_| line.starts_with(' ')) {
            let program = programs.last_mut().ok_or("a fault before the first program")?;
            program.faults.push(fault.to_owned());
            continue;
        }
        let mut words = line.split(' ');
        let name = words.next().filter(|n| !n.is_empty()).ok_or(format!("not understood: {line:?}"))?;
        let mut program = Program { name: name.to_owned(), ..Program::default() };
        for word in words {
            match word {
                "silent" => program.silent = true,
                "race" => program.race = true,
                "luck" => program.luck = true,
                _ => return Err(format!("not understood: {word:?} in {line:?}")),
            }
        }
        programs.push(program);
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_words_and_faults() {
        let programs =
            parse("# all\nstate\nstart race\n    # why\n    fault a `b` c\nmute silent luck\n").unwrap();
        let named = |name: &str| Program { name: name.to_owned(), ..Program::default() };
        assert_eq!(
            programs,
            [
                named("state"),
                Program { race: true, faults: vec!["a `b` c".to_owned()], ..named("start") },
                Program { silent: true, luck: true, ..named("mute") },
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["state quickly", "    fault x", "    state"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

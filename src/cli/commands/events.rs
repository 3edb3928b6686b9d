//! `events`.

use std::time::Duration;

use super::Row;
use crate::cli::Command;
use crate::cli::arg::{ask, id, option, switch, take};

pub const EVENTS: Row = Row {
    name: "events",
    about: "Tell what a container uses, and when it runs out of memory",
    args: || {
        vec![
            option("interval", None, "DURATION", "How often, such as 500ms or 1m30s (default: 5s)")
                .value_parser(duration),
            switch("stats", None, "Tell it once"),
            id(),
        ]
    },
    ends_flags: false,
    enters: false,
    read: |m| {
        ask(Command::Events {
            id: take(m, "id"),
            interval: m.remove_one("interval").unwrap_or(Duration::from_secs(5)),
            stats: take(m, "stats"),
        })
    },
};

/// As Go's time.ParseDuration takes it: numbers, each with its unit.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "numbers with units, such as 500ms, 2s, 1m30s, 1h";
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" if text == "0" => 0.0,
            _ => return Err(EXPECTED),
        };
        let number: f64 = number.parse().map_err(|_| EXPECTED)?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| EXPECTED)?;
        total = total.checked_add(part).ok_or(EXPECTED)?;
        rest = after;
    }
    if text.is_empty() { Err(EXPECTED) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1500), ("0", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5x", "-1s", "1s2", "1..2s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}

//! Signals by number and by name, as `kill` takes them and as reports of a death show them. No calls. nix's
//! enum lacks the real-time signals, which init systems in containers use (SIGRTMIN+3).

use std::fmt;
use std::str::FromStr;

/// A signal number, 1 to 64 (signal(7)); 0 is taken too, since to kill(2) it
/// asks whether the process is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub i32);

/// Numbers 1 to 31, which x86_64 and aarch64 have in common.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// Real-time signals as glibc counts them: it keeps 32 and 33 for its threads.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    pub const TERM: Signal = Signal(15);
    pub const KILL: Signal = Signal(9);
}

/// What `rrunc kill` sends unless told.
impl Default for Signal {
    fn default() -> Signal {
        Signal::TERM
    }
}

impl FromStr for Signal {
    type Err = &'static str;

    /// A number, or a name in any case, with or without SIG: `9`, `KILL`, `sigkill`, `RTMIN+3`.
    fn from_str(text: &str) -> Result<Signal, Self::Err> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = match name {
            "IOT" => Some(6),
            "CLD" => Some(17),
            "POLL" => Some(29),
            "RTMIN" => Some(RTMIN),
            "RTMAX" => Some(RTMAX),
            _ if name.starts_with("RTMIN+") => name[6..].parse().ok().and_then(|n| RTMIN.checked_add(n)),
            _ if name.starts_with("RTMAX-") => name[6..].parse().ok().and_then(|n| RTMAX.checked_sub(n)),
            _ => match NAMES.iter().position(|known| *known == name) {
                Some(index) => Some(index as i32 + 1),
                None => text.parse().ok(),
            },
        };
        match number {
            Some(number) if (0..=RTMAX).contains(&number) => Ok(Signal(number)),
            _ => Err("a signal is a name such as KILL or RTMIN+1, or a number up to 64"),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number @ 1..=31 => write!(f, "SIG{}", NAMES[number as usize - 1]),
            RTMIN => f.write_str("SIGRTMIN"),
            number @ RTMIN..=RTMAX => write!(f, "SIGRTMIN+{}", number - RTMIN),
            number => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let check = |text: &str, number: Option<i32>| {
            assert_eq!(text.parse::<Signal>().ok(), number.map(Signal), "{text}");
        };
        check("TERM", Some(15));
        check("SIGTERM", Some(15));
        check("sigKill", Some(9));
        check("9", Some(9));
        check("0", Some(0));
        check("64", Some(64));
        check("SIGRTMIN+3", Some(37));
        check("rtmax-1", Some(63));
        check("WINCH", Some(28));
        check("SYS", Some(31));
        check("65", None);
        check("-1", None);
        check("", None);
        check("SIG", None);
        check("RTMIN+99", None);
        check("RTMIN+2147483647", None);
        check("FOO", None);
    }

    #[test]
    fn every_number_survives_its_name() {
        for number in 0..=RTMAX {
            assert_eq!(Signal(number).to_string().parse(), Ok(Signal(number)));
        }
        assert_eq!(Signal(9).to_string(), "SIGKILL");
        assert_eq!(Signal(37).to_string(), "SIGRTMIN+3");
    }
}

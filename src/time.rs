//! The clock as text: RFC 3339 in UTC, as state.json and the log have it.

use std::time::SystemTime;

/// The current time in UTC as RFC 3339 has it, with as many decimals as needed (0 to 9).
pub fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(); // a clock before 1970 counts as 1970
    rfc3339(since.as_secs(), since.subsec_nanos())
}

fn rfc3339(seconds: u64, nanos: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}");
    if nanos > 0 {
        text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// The Gregorian date `days` after 1970-01-01. Years are counted from March, so that the leap day is the
/// last of a year; 719,468 days lie between 0000-03-01 and 1970-01-01, 146,097 in 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March; five months from there have 153 days
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |seconds, nanos, expected| assert_eq!(rfc3339(seconds, nanos), expected);
        check(0, 0, "1970-01-01T00:00:00Z");
        check(951_782_399, 0, "2000-02-28T23:59:59Z");
        check(951_782_400, 1, "2000-02-29T00:00:00.000000001Z");
        check(951_868_800, 0, "2000-03-01T00:00:00Z");
        check(1_795_422_166, 464_911_730, "2026-11-23T08:22:46.46491173Z");
        check(4_107_542_400, 0, "2100-03-01T00:00:00Z");
        check(1_735_689_599, 500_000_000, "2024-12-31T23:59:59.5Z");
    }
}

//! `--time`, in every form of `sbatch(1)`.

use super::{Said, Unreadable};
use std::time::Duration;

/// Reads minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds.
/// No limit (0, UNLIMITED, INFINITE) has no field and stays sbatch's.
///
/// # Errors
/// A sentence with the forms, for anything else.
pub fn parse(text: &str) -> Result<Said<Duration>, Unreadable> {
    if ["unlimited", "infinite", "-1"]
        .iter()
        .any(|none| text.eq_ignore_ascii_case(none))
    {
        return Ok(Said::Line("UNLIMITED".to_owned()));
    }
    let seconds = seconds(text).ok_or_else(|| {
        Unreadable(format!(
            "{text:?} is no time limit: write minutes (90), hours:minutes:seconds (1:30:00) or days-hours (2-12)"
        ))
    })?;
    Ok(if seconds == 0 {
        Said::Line("UNLIMITED".to_owned())
    } else {
        Said::Field(Duration::from_secs(seconds))
    })
}

fn seconds(text: &str) -> Option<u64> {
    let number = |part: &str| {
        let is_digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        // Slurm counts minutes in 32 bits.
        part.parse::<u64>().ok().filter(|n| is_digits && *n < 1 << 31)
    };
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(number(days)?), rest),
        None => (None, text),
    };
    let parts: Vec<u64> = rest.split(':').map(number).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (days, parts.as_slice()) {
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    Some(days.unwrap_or(0) * 86_400 + hours * 3_600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_manual_page_is_read() {
        for (text, seconds) in [
            ("5", 300),
            ("90", 5_400),
            ("1:30", 90),
            ("1:30:00", 5_400),
            ("2-12", 216_000),
            ("1-0:30", 88_200),
            ("1-02:03:04", 93_784),
        ] {
            assert_eq!(
                parse(text),
                Ok(Said::Field(Duration::from_secs(seconds))),
                "{text}"
            );
        }
    }

    #[test]
    fn no_limit_is_left_to_sbatch() {
        for text in ["0", "0:00", "UNLIMITED", "infinite", "-1"] {
            assert_eq!(parse(text), Ok(Said::Line("UNLIMITED".to_owned())), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_forms() {
        for text in [
            "",
            "1h",
            "1:2:3:4",
            "1-",
            "-5",
            "1--2",
            "a",
            "1.5",
            "99999999999999999999",
        ] {
            assert!(
                parse(text)
                    .unwrap_err()
                    .to_string()
                    .contains("hours:minutes:seconds"),
                "{text}"
            );
        }
    }
}

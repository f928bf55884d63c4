//! `--array=1-20%10`: indices, and how many at a time.

use super::{Unreadable, count};
use mesocentre_api::JobArray;

/// Takes the limit of tasks at a time off the indices; the API server judges the indices themselves.
///
/// # Errors
/// A sentence, when there are no indices or the limit is none.
pub fn parse(text: &str) -> Result<JobArray, Unreadable> {
    let (indices, limit) = match text.split_once('%') {
        Some((indices, limit)) => (indices, Some(limit)),
        None => (text, None),
    };
    let is_made_of_indices = indices
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b',' | b':'));
    let max_concurrent = limit.map(count);
    if indices.is_empty() || !is_made_of_indices || max_concurrent == Some(None) {
        return Err(Unreadable(format!(
            "{text:?} is no array: write indices as 1-20, 0-100:5 or 1,3,5, and %10 at the end for at most 10 tasks at a time"
        )));
    }
    Ok(JobArray {
        indices: indices.to_owned(),
        max_concurrent: max_concurrent.flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_tasks_at_a_time_is_a_field_of_its_own() {
        for (text, indices, max_concurrent) in [
            ("1-20%10", "1-20", Some(10)),
            ("0-100:5", "0-100:5", None),
            ("1,3,5", "1,3,5", None),
        ] {
            assert_eq!(
                parse(text),
                Ok(JobArray {
                    indices: indices.to_owned(),
                    max_concurrent
                }),
                "{text}"
            );
        }
    }

    #[test]
    fn no_array_is_refused_with_the_forms() {
        for text in ["", "%3", "1-3%", "1-3%0", "1-3%x", "a-b", "1 3"] {
            assert!(parse(text).unwrap_err().to_string().contains("0-100:5"), "{text}");
        }
    }
}

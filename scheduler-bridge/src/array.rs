//! The indices of an array, as `sbatch --array` takes them.

use std::fmt::Write;

/// The highest index, as the API of batch jobs has it: what follows costs memory for each.
const HIGHEST: u32 = 100_000;

/// Text that names no indices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the array {0:?} cannot be read: write indices as 1-20, 0-100:5 or 1,3,5, and %10 at the end for at most 10 tasks at a time"
)]
pub struct InvalidArray(String);

/// Indices from one on, each so much after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    step: u32,
    count: u32,
}

impl Range {
    fn at(self, place: u32) -> u32 {
        self.first + self.step * place
    }

    fn last(self) -> u32 {
        self.at(self.count.saturating_sub(1))
    }
}

/// The indices of an array, ascending and each once, and how many tasks may run at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayIndices {
    ranges: Vec<Range>,
    /// How many tasks may run at a time; none where all may.
    pub at_a_time: Option<u32>,
}

impl ArrayIndices {
    /// Reads `1-20`, `0-100:5`, `1,3,5`, with `%10` at the end or not (`sbatch(1)`, `--array`).
    ///
    /// # Errors
    /// A sentence with what can be written.
    pub fn parse(written: &str) -> Result<Self, InvalidArray> {
        Self::read(written).ok_or_else(|| InvalidArray(written.chars().take(100).collect()))
    }

    fn read(written: &str) -> Option<Self> {
        let number = |text: &str| -> Option<u32> {
            let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse()
                .ok()
                .filter(|number| all_digits && *number <= HIGHEST)
        };
        let (indices, at_a_time) = match written.split_once('%') {
            Some((indices, limit)) => (indices, Some(number(limit).filter(|limit| *limit > 0)?)),
            None => (written, None),
        };
        let mut all: Vec<u32> = Vec::new();
        for part in indices.split(',') {
            let (range, step) = match part.split_once(':') {
                Some((range, step)) if range.contains('-') => (range, number(step).filter(|step| *step > 0)?),
                Some(_) => return None,
                None => (part, 1),
            };
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return None;
            }
            all.extend((from..=to).step_by(usize::try_from(step).ok()?));
        }
        all.sort_unstable();
        all.dedup();
        Some(Self {
            ranges: folded(&all),
            at_a_time,
        })
    }

    /// How many tasks there are.
    pub fn tasks(&self) -> u32 {
        self.ranges.iter().map(|range| range.count).sum()
    }

    /// The lowest index and the highest.
    pub fn bounds(&self) -> Option<(u32, u32)> {
        Some((self.ranges.first()?.first, self.ranges.last()?.last()))
    }

    /// Whether the indices are 0, 1, 2 and so on, as Kubernetes counts.
    pub fn counts_from_nothing(&self) -> bool {
        matches!(self.ranges[..], [Range { first: 0, step, count }] if step == 1 || count == 1)
    }

    /// The place of an index among all, from 0.
    pub fn place_of(&self, index: u32) -> Option<u32> {
        let mut before = 0;
        for range in &self.ranges {
            if let Some(after) = index.checked_sub(range.first)
                && after % range.step == 0
                && after / range.step < range.count
            {
                return Some(before + after / range.step);
            }
            before += range.count;
        }
        None
    }

    /// `first:step:count` of each range, with spaces between them.
    #[cfg_attr(
        not(feature = "kubernetes"),
        allow(dead_code, reason = "only Kubernetes counts otherwise")
    )]
    pub(crate) fn as_words(&self) -> String {
        let mut words = String::new();
        for Range { first, step, count } in &self.ranges {
            // A String takes all that is written to it.
            let _ = write!(
                words,
                "{}{first}:{step}:{count}",
                if words.is_empty() { "" } else { " " }
            );
        }
        words
    }
}

/// Ascending numbers as few ranges.
fn folded(numbers: &[u32]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some(range) if range.count == 1 => {
                range.step = number - range.first;
                range.count = 2;
            }
            Some(range) if number == range.at(range.count) => range.count += 1,
            _ => ranges.push(Range {
                first: number,
                step: 1,
                count: 1,
            }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(written: &str) -> ArrayIndices {
        ArrayIndices::parse(written).unwrap()
    }

    #[test]
    fn indices_are_read_as_sbatch_reads_them() {
        let array = read("1-20%4");
        assert_eq!(
            (array.tasks(), array.at_a_time, array.bounds()),
            (20, Some(4), Some((1, 20)))
        );
        assert_eq!(array.as_words(), "1:1:20");
        assert_eq!(read("0-100:5").tasks(), 21);
        assert_eq!(read("7,1,3,3-5").as_words(), "1:2:2 4:1:2 7:1:1");
        assert_eq!(
            (read("1,3").place_of(3), read("1,3").place_of(2)),
            (Some(1), None)
        );
        assert!(read("0").counts_from_nothing() && read("0-9").counts_from_nothing());
        assert!(!read("1").counts_from_nothing() && !read("0,2").counts_from_nothing());
        for bad in [
            "", "a", "1-", "3-1", "1:2", "1-9:0", "1%0", "1,,2", "-1", "1-100001", "+1",
        ] {
            assert!(ArrayIndices::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_index_keeps_its_place(numbers in proptest::collection::btree_set(0_u32..200, 1..60)) {
            let all: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            let array = read(&all.join(","));
            prop_assert_eq!(array.tasks() as usize, numbers.len());
            for (place, index) in numbers.iter().enumerate() {
                prop_assert_eq!(array.place_of(*index), u32::try_from(place).ok());
            }
        }
    }
}

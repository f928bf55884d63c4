//! Trackable resources as the accounting writes them: `billing=2,cpu=2,gres/gpu=1,mem=1024M,node=1`.
//!
//! Whole numbers only; what has a unit is brought to MiB, rounded up where it must be.

use crate::job::Tres;

/// Reads a list; an empty one is nothing at all (a run that never got anything).
pub(super) fn parse(list: &str) -> Result<Tres, String> {
    let mut tres = Tres::default();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let unreadable = || format!("the resource {part:?}");
        let (name, amount) = part.split_once('=').ok_or_else(unreadable)?;
        match name {
            // Truncated by Slurm to whole numbers: never a base for anything.
            "billing" => {}
            "mem" => tres.memory_mib = mebibytes(amount).ok_or_else(unreadable)?,
            "cpu" => tres.cpus = count(amount).ok_or_else(unreadable)?,
            "node" => tres.nodes = count(amount).ok_or_else(unreadable)?,
            "gres/gpu" => tres.gpus = count(amount).ok_or_else(unreadable)?,
            other => {
                let amount = count(amount)
                    .or_else(|| mebibytes(amount))
                    .ok_or_else(unreadable)?;
                tres.others.insert(other.to_owned(), amount);
            }
        }
    }
    // Where only models of GPUs are tracked, their sum is what was held.
    if tres.gpus == 0 {
        tres.gpus = tres
            .gpus_by_model()
            .into_values()
            .try_fold(0_u64, u64::checked_add)
            .ok_or_else(|| format!("the number of GPUs in {list:?}"))?;
    }
    Ok(tres)
}

/// A count. Slurm shortens large ones by thousands unless told not to (`--noconvert`): those are refused, since digits
/// are lost.
fn count(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The memory of a list that tells what was measured, in KiB: `cpu=00:00:07,fs/disk=2012,mem=5599232,pages=0`, in bytes
/// (`--noconvert`), other than what is allocated. None where it was not measured.
pub(super) fn measured_memory(list: &str) -> Option<u64> {
    let memory = list.split(',').find_map(|part| part.strip_prefix("mem="))?;
    match memory.parse::<u64>() {
        Ok(bytes) => Some(bytes.div_ceil(1024)),
        Err(_) => kibibytes(memory),
    }
}

/// `1024M`, `1.50G`, `512K`, `2T`; a bare number is MiB.
fn mebibytes(text: &str) -> Option<u64> {
    Some(kibibytes(text)?.div_ceil(1024))
}

/// The same in KiB.
fn kibibytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty()
        || fraction.len() > 9
        || !(whole.to_owned() + fraction).chars().all(|c| c.is_ascii_digit())
    {
        return None;
    }
    let kibibytes_in_unit: u128 = match unit {
        "K" => 1,
        "" | "M" => 1 << 10,
        "G" => 1 << 20,
        "T" => 1 << 30,
        "P" => 1 << 40,
        _ => return None,
    };
    let tens = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    u64::try_from(digits.checked_mul(kibibytes_in_unit)?.div_ceil(tens)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn resources_are_read_exactly_and_billing_never() {
        let tres = parse("billing=7,cpu=2,gres/gpu=3,gres/gpu:a100=3,mem=1.50G,node=1").unwrap();
        assert_eq!(
            (tres.cpus, tres.memory_mib, tres.nodes, tres.gpus),
            (2, 1536, 1, 3)
        );
        assert_eq!(tres.others.len(), 1);
        assert_eq!(parse("").unwrap(), Tres::default());
        assert_eq!(parse("cpu=1,mem=512K").unwrap().memory_mib, 1);
        assert_eq!(parse("gres/gpu:a100=1,gres/gpu:h100=2").unwrap().gpus, 3);
        assert_eq!(measured_memory("cpu=00:00:07,mem=5599232,pages=0"), Some(5468));
        assert_eq!(measured_memory("cpu=00:00:07,mem=5468K"), Some(5468));
        assert_eq!(measured_memory("energy=0"), None);
        for bad in ["cpu", "cpu=x", "cpu=-1", "mem=1X", "mem=.", "cpu=1.5", "cpu=2K"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(list in "[a-z0-9=,./:KMGTP-]{0,60}") {
            let _ = parse(&list);
        }

        #[test]
        fn megabytes_come_back_as_they_were(mib in 0_u64..1 << 50) {
            prop_assert_eq!(mebibytes(&format!("{mib}M")), Some(mib));
        }
    }
}

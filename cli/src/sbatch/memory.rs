//! `--mem`: sbatch's units are powers of 1024, and megabytes where none is written.

use super::{Said, Unreadable, count};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Reads `4G`, `500M`, `500`. All of a node's memory (0) has no field and stays sbatch's.
///
/// # Errors
/// A sentence with the forms, for anything else.
pub fn parse(text: &str) -> Result<Said<Quantity>, Unreadable> {
    // sbatch takes "4GB" as well as "4G".
    let short = text.strip_suffix(['b', 'B']).unwrap_or(text);
    let (digits, unit) = match short.chars().last() {
        Some('k' | 'K') => (&short[..short.len() - 1], "Ki"),
        Some('m' | 'M') => (&short[..short.len() - 1], "Mi"),
        Some('g' | 'G') => (&short[..short.len() - 1], "Gi"),
        Some('t' | 'T') => (&short[..short.len() - 1], "Ti"),
        // "500B" is nothing that sbatch takes.
        _ => (text, "Mi"),
    };
    if digits == "0" {
        return Ok(Said::Line("0".to_owned()));
    }
    count(digits)
        .map(|n| Said::Field(Quantity(format!("{n}{unit}"))))
        .ok_or_else(|| {
            Unreadable(format!(
                "{text:?} is no memory: write a number and K, M, G or T, for example 4G"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sbatchs_units_are_powers_of_1024() {
        for (text, quantity) in [
            ("500", "500Mi"),
            ("500M", "500Mi"),
            ("4G", "4Gi"),
            ("4GB", "4Gi"),
            ("1024k", "1024Ki"),
            ("2t", "2Ti"),
        ] {
            assert_eq!(
                parse(text),
                Ok(Said::Field(Quantity(quantity.to_owned()))),
                "{text}"
            );
        }
    }

    #[test]
    fn all_of_a_nodes_memory_is_left_to_sbatch() {
        assert_eq!(parse("0"), Ok(Said::Line("0".to_owned())));
    }

    #[test]
    fn lots_is_no_memory() {
        for text in ["lots", "", "G", "-1G", "1.5G", "4Gi", "500B", "4é"] {
            assert!(
                parse(text).unwrap_err().to_string().contains("for example 4G"),
                "{text}"
            );
        }
    }
}

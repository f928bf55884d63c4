//! The check digit of a SIRET number.
//!
//! A SIRET is a SIREN (9 digits) and an establishment's NIC (5 digits); the 14 digits together satisfy Luhn (INSEE, <https://www.insee.fr/fr/metadonnees/definition/c1841>). La Poste is the known exception: it has more
//! establishments than its NICs can number with a Luhn digit, so a SIRET of SIREN 356 000 000 is right when the plain
//! sum of its digits is a multiple of 5 (only its head office, 356 000 000 00048, satisfies Luhn as well).

/// La Poste's SIREN.
const LA_POSTE: &str = "356000000";

/// Whether these 14 digits can be a SIRET number.
pub fn is_siret(digits: &str) -> bool {
    let Some(values) = digits
        .chars()
        .map(|c| c.to_digit(10))
        .collect::<Option<Vec<u32>>>()
    else {
        return false;
    };
    if values.len() != 14 {
        return false;
    }
    luhn(&values) || (digits.starts_with(LA_POSTE) && values.iter().sum::<u32>() % 5 == 0)
}

/// Luhn's checksum: each second digit from the right doubled, the digits of all added, a multiple of ten.
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_and_known_establishments_pass() {
        // univ-caen, chu-rouen and nova-motors of the examples; La Poste's head office.
        for siret in [
            "19141408500016",
            "26760168000015",
            "12345678200010",
            "35600000000048",
        ] {
            assert!(is_siret(siret), "{siret}");
        }
    }

    #[test]
    fn la_postes_establishments_pass_by_the_sum_of_their_digits() {
        // 3+5+6 = 14, and the NIC's digits bring the sum to a multiple of 5.
        assert!(is_siret("35600000049837"));
        assert!(!is_siret("35600000049838"));
    }

    #[test]
    fn one_wrong_digit_is_seen() {
        for siret in [
            "19141408500017",
            "29141408500016",
            "1914140850001",
            "1914140850001x",
            "",
        ] {
            assert!(!is_siret(siret), "{siret}");
        }
    }
}

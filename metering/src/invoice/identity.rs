//! The numbers that name a French company and its bank account, and their check digits.
//!
//! A SIRET's is `mesocentre_api::is_siret`. Knows no registry: a number whose digits fit may still be nobody's.

/// The SIREN of a SIRET: its first nine digits.
pub(super) fn siren_of(siret: &str) -> String {
    siret.chars().take(9).collect()
}

/// A French VAT number of this SIREN: `FR`, two characters, the SIREN. Two digits are a key, (12 + 3 × (SIREN mod 97))
/// mod 97 (CGI, art. 286 ter); letters are another series, whose key is not published.
pub(super) fn is_french_vat_number(text: &str, siren: &str) -> bool {
    let Some(rest) = text.strip_prefix("FR") else {
        return false;
    };
    let Some(key) = rest.strip_suffix(siren).filter(|key| key.len() == 2) else {
        return false;
    };
    match (key.parse::<u64>(), siren.parse::<u64>()) {
        (Ok(key), Ok(siren)) => key == (12 + 3 * (siren % 97)) % 97,
        _ => key.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()),
    }
}

/// An IBAN without spaces: ISO 13616, the remainder by 97 is 1 (ISO 7064).
pub(super) fn is_iban(text: &str) -> bool {
    let form = (15..=34).contains(&text.len())
        && text.chars().enumerate().all(|(place, c)| match place {
            0 | 1 => c.is_ascii_uppercase(),
            2 | 3 => c.is_ascii_digit(),
            _ => c.is_ascii_digit() || c.is_ascii_uppercase(),
        });
    let turned = text.chars().skip(4).chain(text.chars().take(4));
    let remainder = turned.filter_map(|c| c.to_digit(36)).fold(0_u32, |left, value| {
        let shift = if value > 9 { 100 } else { 10 };
        (left * shift + value) % 97
    });
    form && remainder == 1
}

/// A BIC: ISO 9362, 8 or 11 characters.
pub(super) fn is_bic(text: &str) -> bool {
    matches!(text.len(), 8 | 11)
        && text.chars().enumerate().all(|(place, c)| match place {
            0..=5 => c.is_ascii_uppercase(),
            _ => c.is_ascii_uppercase() || c.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_number_is_seen() {
        assert!(is_french_vat_number("FR83404833048", "404833048"));
        assert!(is_french_vat_number("FRK7404833048", "404833048"));
        assert!(!is_french_vat_number("FR84404833048", "404833048"));
        assert!(!is_french_vat_number("FR83404833048", "191414085"));
        assert!(is_iban("FR1420041010050500013M02606"));
        assert!(!is_iban("FR1420041010050500013M02607"));
        assert!(!is_iban("FR14"));
        assert!(is_bic("TRPUFRP1") && is_bic("PSSTFRPPCAE") && !is_bic("PSST"));
    }
}

//! Numbers, days and accounts as a French reader writes them.

use crate::money::Cents;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// Keeps a number on one line.
const NO_BREAK: char = '\u{a0}';

/// `1 234,56 €`.
pub(in crate::invoice) fn euros(amount: Cents) -> String {
    format!("{}{NO_BREAK}€", number(&amount.to_string()))
}

/// `342 935,525`.
pub(super) fn decimal(value: Decimal) -> String {
    number(&value.to_string())
}

/// `5,5 %`.
pub(in crate::invoice) fn percent(rate: Decimal) -> String {
    format!("{}{NO_BREAK}%", decimal(rate))
}

/// `27/11/2026`.
pub(in crate::invoice) fn day(day: Date) -> String {
    format!("{:02}/{:02}/{:04}", day.day(), day.month(), day.year())
}

/// `FR76 3000 1007`: groups of four.
pub(super) fn in_fours(account: &str) -> String {
    spaced(account, |place| place % 4 == 0, ' ')
}

/// `191 414 085 00016`: the SIREN by threes, then the NIC.
pub(super) fn siret(siret: &str) -> String {
    spaced(siret, |place| place % 3 == 0 && place <= 9, NO_BREAK)
}

/// A space before each of these places.
fn spaced(text: &str, before: impl Fn(usize) -> bool, space: char) -> String {
    let mut spaced = String::with_capacity(text.len() + 8);
    for (place, c) in text.chars().enumerate() {
        if place > 0 && before(place) {
            spaced.push(space);
        }
        spaced.push(c);
    }
    spaced
}

/// A decimal with a point as a French one.
fn number(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("−", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let length = whole.len();
    let whole = spaced(whole, |place| (length - place).is_multiple_of(3), NO_BREAK);
    let comma = if fraction.is_empty() { "" } else { "," };
    format!("{sign}{whole}{comma}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_days_and_accounts_are_written_the_french_way() {
        let plain = |text: String| text.replace(NO_BREAK, " ");
        assert_eq!(plain(euros(Cents(123_456))), "1 234,56 €");
        assert_eq!(plain(euros(Cents(-100_000_005))), "−1 000 000,05 €");
        assert_eq!(plain(euros(Cents(7))), "0,07 €");
        assert_eq!(plain(decimal("342935.525".parse().unwrap())), "342 935,525");
        assert_eq!(plain(percent("5.5".parse().unwrap())), "5,5 %");
        assert_eq!(day(jiff::civil::date(2026, 11, 27)), "27/11/2026");
        assert_eq!(in_fours("FR7630001007"), "FR76 3000 1007");
        assert_eq!(plain(siret("19141408500016")), "191 414 085 00016");
    }
}

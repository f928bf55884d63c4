//! Decimal strings in French form: `1234.56` is `1 234,56`.
//!
//! Text to text: an amount is shown digit for digit as the statement says it and never becomes a number here. The
//! spaces do not break: U+202F between thousands, U+00A0 before the unit (Imprimerie nationale, Lexique des règles
//! typographiques).

/// A decimal string in French form; what is no decimal comes back as it was.
pub fn french(decimal: &str) -> String {
    let (sign, digits) = match decimal.strip_prefix('-') {
        Some(digits) => ("−", digits),
        None => ("", decimal),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !fraction.is_none_or(is_number) {
        return decimal.to_owned();
    }
    let mut out = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push(',');
        out.push_str(fraction);
    }
    out
}

/// An amount of money: `1 234,56 €`.
pub fn french_money(decimal: &str, currency: &str) -> String {
    let sign = if currency == "EUR" { "€" } else { currency };
    format!("{}\u{a0}{sign}", french(decimal))
}

/// A rate in percent: `20 %`.
pub fn french_percent(decimal: &str) -> String {
    format!("{}\u{a0}%", french(decimal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_as_french_accountants_do() {
        for (decimal, shown) in [
            ("0.24", "0,24\u{a0}€"),
            ("18240.24", "18\u{202f}240,24\u{a0}€"),
            ("480000.00", "480\u{202f}000,00\u{a0}€"),
            ("1234567.00", "1\u{202f}234\u{202f}567,00\u{a0}€"),
            ("-3648.05", "−3\u{202f}648,05\u{a0}€"),
            ("999.99", "999,99\u{a0}€"),
        ] {
            assert_eq!(french_money(decimal, "EUR"), shown);
        }
        assert_eq!(french_money("1000.00", "CHF"), "1\u{202f}000,00\u{a0}CHF");
    }

    #[test]
    fn no_digit_is_lost_however_many_there_are() {
        assert_eq!(french("20.000278"), "20,000278");
        assert_eq!(
            french("123456789012345678901234567890.1"),
            "123\u{202f}456\u{202f}789\u{202f}012\u{202f}345\u{202f}678\u{202f}901\u{202f}234\u{202f}567\u{202f}890,1"
        );
        assert_eq!(french_percent("5.5"), "5,5\u{a0}%");
    }

    #[test]
    fn what_is_no_decimal_is_shown_as_it_is() {
        for odd in ["", "-", "abc", "1.", ".5", "1e3", "1,5"] {
            assert_eq!(french(odd), odd);
        }
    }
}

//! Kubernetes quantities as exact integers, and back in the form that the API server stores.
//!
//! The API server rewrites a quantity to its canonical form (k8s.io/apimachinery `resource.Quantity`): `1000m` comes
//! back as `1`, `1024Mi` as `1Gi`, `2000` as `2k`. What is planned must be written so, or it would look like drift.

/// Why a quantity cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a quantity.
    #[error("\"{0}\" is not a Kubernetes quantity: write for example 64, 500m or 256Gi")]
    Malformed(String),
    /// Negative.
    #[error("\"{0}\" is negative: write zero or more")]
    Negative(String),
    /// More than the API server can count.
    #[error("\"{0}\" is more than Kubernetes counts (2^63 - 1 in its smallest unit): write less")]
    TooLarge(String),
    /// Finer than the smallest unit.
    #[error("\"{0}\" is finer than the smallest unit ({1}): round it to a whole number of these")]
    TooFine(String, &'static str),
}

/// The smallest unit that an amount is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a CPU.
    MilliCpu,
    /// Bytes.
    Byte,
    /// Whole things: pods, GPUs.
    Count,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::MilliCpu => "a thousandth of a CPU",
            Self::Byte => "a byte",
            Self::Count => "one",
        }
    }
}

/// What to do with a fraction of the smallest unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fraction {
    /// Refuse it: in what people write.
    Refuse,
    /// Count it as a whole unit, as the API server does with what is used.
    RoundUp,
}

/// Reads a quantity as a whole number of units. Errors: every [`QuantityError`].
pub fn parse(text: &str, unit: Unit, fraction: Fraction) -> Result<u64, QuantityError> {
    let malformed = || QuantityError::Malformed(text.into());
    let unsigned = match text.strip_prefix('-') {
        Some(rest) if rest.bytes().any(|b| (b'1'..=b'9').contains(&b)) => {
            return Err(QuantityError::Negative(text.into()));
        }
        Some(rest) => rest,
        None => text.strip_prefix('+').unwrap_or(text),
    };
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && decimals.is_empty()) || decimals.contains('.') {
        return Err(malformed());
    }
    // The value is digits * 2^binary * 10^decimal.
    let (binary, mut decimal): (u32, i32) = match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E']).ok_or_else(malformed)?;
            let exponent: i32 = digits.parse().map_err(|_| malformed())?;
            (0, exponent)
        }
    };
    if unit == Unit::MilliCpu {
        decimal += 3;
    }
    let decimals = decimals.trim_end_matches('0');
    decimal = decimal.saturating_sub(i32::try_from(decimals.len()).unwrap_or(i32::MAX));
    let digits = format!("{whole}{decimals}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let too_large = || QuantityError::TooLarge(text.into());
    let too_fine = || QuantityError::TooFine(text.into(), unit.name());
    // 2^63 has 19 digits; at most 37 digits of mantissa keep everything below 2^127.
    if digits.len() > 24 {
        return Err(if decimal < 0 { too_fine() } else { too_large() });
    }
    let mut value: u128 = digits.parse().map_err(|_| malformed())?;
    value = value
        .checked_shl(binary)
        .filter(|v| v >> binary == value)
        .ok_or_else(too_large)?;
    if decimal >= 0 {
        for _ in 0..decimal.min(40) {
            value = value.checked_mul(10).ok_or_else(too_large)?;
        }
    } else {
        let mut cut = false;
        for _ in 0..decimal.unsigned_abs().min(60) {
            cut |= !value.is_multiple_of(10);
            value /= 10;
        }
        if cut {
            match fraction {
                Fraction::Refuse => return Err(too_fine()),
                Fraction::RoundUp => value += 1,
            }
        }
    }
    match u64::try_from(value) {
        Ok(value) if i64::try_from(value).is_ok() => Ok(value),
        _ => Err(too_large()),
    }
}

/// Writes an amount in the form that the API server stores.
pub fn print(amount: u64, unit: Unit) -> String {
    match unit {
        Unit::MilliCpu if !amount.is_multiple_of(1000) => format!("{amount}m"),
        Unit::MilliCpu => decimal(amount / 1000),
        Unit::Count => decimal(amount),
        Unit::Byte => binary(amount),
    }
}

/// The shortest whole number before a decimal suffix.
fn decimal(mut amount: u64) -> String {
    let mut suffixes = ["", "k", "M", "G", "T", "P", "E"].into_iter();
    let mut suffix = suffixes.next().unwrap_or("");
    while amount != 0 && amount.is_multiple_of(1000) {
        let Some(next) = suffixes.next() else { break };
        amount /= 1000;
        suffix = next;
    }
    format!("{amount}{suffix}")
}

/// The shortest whole number before a binary suffix; what no binary suffix divides is written in decimal.
fn binary(mut amount: u64) -> String {
    if amount == 0 || !amount.is_multiple_of(1024) {
        return decimal(amount);
    }
    let mut suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter();
    let mut suffix = suffixes.next().unwrap_or("");
    while amount.is_multiple_of(1024) {
        let Some(next) = suffixes.next() else { break };
        amount /= 1024;
        suffix = next;
    }
    format!("{amount}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, unit: Unit) -> Result<u64, QuantityError> {
        parse(text, unit, Fraction::Refuse)
    }

    #[test]
    fn quantities_are_read_exactly() {
        assert_eq!(read("64", Unit::MilliCpu), Ok(64_000));
        assert_eq!(read("0.5", Unit::MilliCpu), Ok(500));
        assert_eq!(read("1500m", Unit::MilliCpu), Ok(1500));
        assert_eq!(read("256Gi", Unit::Byte), Ok(256 << 30));
        assert_eq!(read("1.5Gi", Unit::Byte), Ok(3 << 29));
        assert_eq!(read("2Ti", Unit::Byte), Ok(2 << 40));
        assert_eq!(read("128974848000m", Unit::Byte), Ok(128_974_848));
        assert_eq!(read("1E", Unit::Byte), Ok(1_000_000_000_000_000_000));
        assert_eq!(read("1e3", Unit::Count), Ok(1000));
        assert_eq!(read("12E6", Unit::Byte), Ok(12_000_000));
        assert_eq!(read("0", Unit::Count), Ok(0));
        assert_eq!(read("-0", Unit::Count), Ok(0));
        assert_eq!(read(".5", Unit::MilliCpu), Ok(500));
        assert_eq!(parse("100u", Unit::MilliCpu, Fraction::RoundUp), Ok(1));
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_what_to_write() {
        assert_eq!(
            read("lots", Unit::Byte),
            Err(QuantityError::Malformed("lots".into()))
        );
        assert_eq!(read("", Unit::Byte), Err(QuantityError::Malformed("".into())));
        assert_eq!(
            read("1.2.3", Unit::Byte),
            Err(QuantityError::Malformed("1.2.3".into()))
        );
        assert_eq!(
            read("4GiB", Unit::Byte),
            Err(QuantityError::Malformed("4GiB".into()))
        );
        assert_eq!(read("-1", Unit::Byte), Err(QuantityError::Negative("-1".into())));
        assert_eq!(
            read("16Ei", Unit::Byte),
            Err(QuantityError::TooLarge("16Ei".into()))
        );
        assert_eq!(
            read("1e99", Unit::Byte),
            Err(QuantityError::TooLarge("1e99".into()))
        );
        assert!(matches!(
            read("1u", Unit::MilliCpu),
            Err(QuantityError::TooFine(..))
        ));
        assert!(matches!(
            read("0.5", Unit::Count),
            Err(QuantityError::TooFine(..))
        ));
    }

    #[test]
    fn printing_is_what_the_api_server_stores() {
        // Left: what was applied to a real API server; right: what it answered (kubectl create quota, 1.36.3).
        assert_eq!(print(2000, Unit::MilliCpu), "2");
        assert_eq!(print(1_000_000, Unit::MilliCpu), "1k");
        assert_eq!(print(21_333, Unit::MilliCpu), "21333m");
        assert_eq!(print(100_000, Unit::Count), "100k");
        assert_eq!(print(200, Unit::Count), "200");
        assert_eq!(print(1024 << 20, Unit::Byte), "1Gi");
        assert_eq!(print(1000 << 10, Unit::Byte), "1000Ki");
        assert_eq!(print(1_500_000, Unit::Byte), "1500k");
        assert_eq!(print(1023, Unit::Byte), "1023");
        assert_eq!(print(0, Unit::Byte), "0");
        assert_eq!(print(0, Unit::MilliCpu), "0");
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(amount in 0..=i64::MAX.unsigned_abs()) {
            for unit in [Unit::MilliCpu, Unit::Byte, Unit::Count] {
                proptest::prop_assert_eq!(read(&print(amount, unit), unit), Ok(amount));
            }
        }
    }
}

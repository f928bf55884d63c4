//! Amounts in whole cents, and the one rounding of a line.

use crate::exact::{decimal_string, round_half_up};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An amount of money in hundredths of the statement's currency. Prints as `18240.00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub i128);

impl Cents {
    /// The amount that a decimal says; none when it has more than two decimals that count.
    pub fn from_decimal(amount: Decimal) -> Option<Self> {
        let amount = amount.normalize();
        let missing = 2_u32.checked_sub(amount.scale())?;
        amount.mantissa().checked_mul(10_i128.pow(missing)).map(Self)
    }

    /// The price of a quantity: `round_half_up(quantity × unit price ÷ base units a unit, 2)`, rounded this once. None
    /// when it passes what can be computed.
    pub fn of_line(quantity: i128, unit_price: Decimal, base_units_per_unit: i128) -> Option<Self> {
        let scale = 10_i128.checked_pow(unit_price.scale())?;
        round_half_up(
            &[quantity, unit_price.mantissa(), 100],
            &[base_units_per_unit, scale],
        )
        .map(Self)
    }

    /// VAT on this amount at a rate in percent, rounded half-up once.
    pub fn vat(self, rate: Decimal) -> Option<Self> {
        let scale = 10_i128.checked_pow(rate.scale())?;
        round_half_up(&[self.0, rate.mantissa()], &[100, scale]).map(Self)
    }

    /// VAT at a rate in percent that is in this amount with VAT, rounded half-up once. Of an amount and its own
    /// [`vat`](Self::vat) together it is that VAT again.
    pub fn vat_within(self, rate: Decimal) -> Option<Self> {
        let scale = 10_i128.checked_pow(rate.scale())?;
        let whole = scale.checked_mul(100)?.checked_add(rate.mantissa())?;
        round_half_up(&[self.0, rate.mantissa()], &[whole]).map(Self)
    }
}

impl std::fmt::Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&decimal_string(self.0, 2))
    }
}

impl Serialize for Cents {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cents {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .ok()
            .and_then(Self::from_decimal)
            .ok_or_else(|| {
                serde::de::Error::custom("an amount is written with two decimals, for example 18240.00")
            })
    }
}

impl std::ops::Add for Cents {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::Sub for Cents {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl std::iter::Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self(0), |sum, amount| sum + amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_line_comes_to_24_cents() {
        assert_eq!(
            Cents::of_line(72_001, "0.0120".parse().unwrap(), 3_600),
            Some(Cents(24))
        );
    }

    #[test]
    fn vat_is_rounded_half_up_once() {
        let twenty: Decimal = "20".parse().unwrap();
        assert_eq!(Cents(1_824_024).vat(twenty), Some(Cents(364_805)));
        assert_eq!(Cents(-1_824_024).vat(twenty), Some(Cents(-364_805)));
        assert_eq!(Cents(1).vat("50".parse().unwrap()), Some(Cents(1)));
        assert_eq!(Cents(3).vat("5.5".parse().unwrap()), Some(Cents(0)));
    }

    #[test]
    fn the_vat_within_an_amount_with_vat_is_the_vat_that_was_added_to_it() {
        for rate in ["20", "10", "5.5", "2.1", "0.9"] {
            let rate: Decimal = rate.parse().unwrap();
            for net in (0..2_000).chain([1_824_024, -1, -7, -1_824_024]).map(Cents) {
                let vat = net.vat(rate).unwrap();
                assert_eq!((net + vat).vat_within(rate), Some(vat), "{net} at {rate} %");
            }
        }
    }

    #[test]
    fn an_amount_of_thousandths_is_no_amount() {
        assert_eq!(
            Cents::from_decimal("480000.00".parse().unwrap()),
            Some(Cents(48_000_000))
        );
        assert_eq!(Cents::from_decimal("-0.50".parse().unwrap()), Some(Cents(-50)));
        assert_eq!(Cents::from_decimal("0.005".parse().unwrap()), None);
    }
}

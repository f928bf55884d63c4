//! Exact integer arithmetic for money and quantities: products that may pass 128 bits, divided once.
//!
//! Knows nothing of what the numbers mean. No float, and no decimal division: a quotient is rounded here, once, or
//! not at all.

use num_bigint::BigInt;

/// `a × b ÷ divisor`, rounded down (towards minus infinity). None when the result passes `i128` or the divisor is 0.
pub(crate) fn mul_div_floor(a: i128, b: i128, divisor: i128) -> Option<i128> {
    if divisor == 0 {
        return None;
    }
    if let Some(product) = a.checked_mul(b) {
        return Some(floor_i128(product, divisor));
    }
    let (quotient, remainder) = divide_floor(BigInt::from(a) * b, BigInt::from(divisor));
    debug_assert!(remainder >= BigInt::from(0) || divisor < 0);
    i128::try_from(quotient).ok()
}

fn floor_i128(n: i128, d: i128) -> i128 {
    let q = n / d;
    if n % d != 0 && ((n < 0) != (d < 0)) {
        q - 1
    } else {
        q
    }
}

fn divide_floor(n: BigInt, d: BigInt) -> (BigInt, BigInt) {
    let zero = BigInt::from(0);
    let q = &n / &d;
    let r = &n - &q * &d;
    if r != zero && ((r < zero) != (d < zero)) {
        (q - 1, r + d)
    } else {
        (q, r)
    }
}

/// The product of `factors` over the product of `divisors`, rounded half-up on the absolute value, so that giving an
/// amount back is the mirror of charging it. None when the result passes `i128` or a divisor is 0.
pub(crate) fn round_half_up(factors: &[i128], divisors: &[i128]) -> Option<i128> {
    let zero = BigInt::from(0);
    let n = factors.iter().fold(BigInt::from(1), |p, f| p * f);
    let d = divisors.iter().fold(BigInt::from(1), |p, f| p * f);
    if d == zero {
        return None;
    }
    let negative = (n < zero) != (d < zero);
    let (n, d) = (magnitude(n), magnitude(d));
    let rounded: BigInt = (n * 2 + &d) / (d * 2);
    i128::try_from(if negative { -rounded } else { rounded }).ok()
}

fn magnitude(n: BigInt) -> BigInt {
    if n < BigInt::from(0) { -n } else { n }
}

/// Quotient and remainder of `amount × weight ÷ total`, all not negative and total above 0.
pub(crate) fn quota(amount: i128, weight: i128, total: i128) -> (i128, BigInt) {
    let (q, r) = divide_floor(BigInt::from(amount) * weight, BigInt::from(total));
    // amount × weight ÷ total is at most amount, since weight is part of total.
    (i128::try_from(q).unwrap_or(amount), r)
}

/// A scaled integer as a decimal string with exactly `digits` decimals: (20000278, 6) is "20.000278".
pub(crate) fn decimal_string(scaled: i128, digits: usize) -> String {
    let sign = if scaled < 0 { "-" } else { "" };
    let all = format!("{:0>width$}", scaled.unsigned_abs(), width = digits + 1);
    let (whole, part) = all.split_at(all.len() - digits);
    if digits == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_goes_up_and_its_mirror_goes_down() {
        assert_eq!(round_half_up(&[5], &[10]), Some(1));
        assert_eq!(round_half_up(&[-5], &[10]), Some(-1));
        assert_eq!(round_half_up(&[4], &[10]), Some(0));
        assert_eq!(round_half_up(&[1], &[0]), None);
    }

    #[test]
    fn a_product_past_128_bits_is_exact() {
        let huge = 10_i128.pow(30);
        assert_eq!(round_half_up(&[huge, huge, 3], &[huge, huge, 2]), Some(2));
        assert_eq!(mul_div_floor(huge, huge, huge), Some(huge));
        assert_eq!(mul_div_floor(-7, 1, 2), Some(-4));
    }

    #[test]
    fn a_scaled_integer_reads_as_a_decimal() {
        assert_eq!(decimal_string(20_000_278, 6), "20.000278");
        assert_eq!(decimal_string(-5, 2), "-0.05");
        assert_eq!(decimal_string(0, 2), "0.00");
    }
}

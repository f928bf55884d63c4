//! Tariffs, cost pools and billing periods. All judgement is in the crate `mesocentre-metering`.

pub mod cost_pool;
pub mod period;
pub mod tariff;

//! A tenant's quota over all its namespaces: one task a tenant plans at a time.

/// What is being planned.
#[derive(Default)]
pub struct Quotas;

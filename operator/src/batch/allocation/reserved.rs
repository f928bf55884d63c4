//! Whether the reservation that an allocation names keeps what is reserved for it, and billed.

use crate::report::Verdict;
use mesocentre_api::{AllocationSpec, ReservedCapacity};
use mesocentre_scheduler_bridge::slurm::Reservation;

/// What is to be kept, and by which reservation; none where nothing is reserved, or where nodes of its own keep it.
pub fn by_reservation(spec: &AllocationSpec) -> Option<(&ReservedCapacity, &str)> {
    let reservation = spec.slurm.as_ref()?.reservation.as_deref()?;
    Some((spec.reserved.as_ref()?, reservation))
}

/// Whether it is kept, by what Slurm's reservations are.
pub fn verdict(reserved: &ReservedCapacity, reservation: &str, all: &[Reservation]) -> Verdict {
    let what = in_words(reserved);
    let Some(found) = all.iter().find(|one| one.name == reservation) else {
        let message = format!(
            "{what} are reserved, and metered as such, and Slurm has no reservation {reservation}: make it (scontrol create \
             reservation), or take spec.reserved and spec.slurm.reservation out"
        );
        return Verdict::no("NoSuchReservation", message);
    };
    if !found.is_active {
        let message = format!(
            "{what} are reserved, and metered as such, and Slurm's reservation {reservation} has not begun: let it begin \
             with the allocation (scontrol update reservation={reservation} starttime=…)"
        );
        return Verdict::no("NotBegun", message);
    }
    let cores = u64::try_from(reserved.cores).unwrap_or(0);
    let gpus = u64::try_from(reserved.gpus).unwrap_or(0);
    let keeps = match found.gpus {
        Some(gpus) => format!("{} cores and {gpus} GPUs", found.cores),
        None => format!("{} cores", found.cores),
    };
    if found.cores < cores || found.gpus.is_some_and(|kept| kept < gpus) {
        let message = format!(
            "{what} are reserved, and metered as such, and Slurm's reservation {reservation} keeps {keeps}: enlarge it, or \
             write into spec.reserved what it keeps"
        );
        return Verdict::no("TooSmall", message);
    }
    Verdict::yes("Kept", format!("Slurm's reservation {reservation} keeps {keeps}"))
}

fn in_words(reserved: &ReservedCapacity) -> String {
    match (reserved.cores, reserved.gpus) {
        (cores, 0) => format!("{cores} cores"),
        (0, gpus) => format!("{gpus} GPUs"),
        (cores, gpus) => format!("{cores} cores and {gpus} GPUs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_held_against_what_the_reservation_keeps() {
        let reservation = |is_active, cores, gpus| Reservation {
            name: "school".into(),
            is_active,
            cores,
            gpus,
        };
        let reason = |cores, gpus, all: &[Reservation]| {
            verdict(&ReservedCapacity { cores, gpus }, "school", all).reason
        };
        assert_eq!(reason(4, 0, &[]), "NoSuchReservation");
        assert_eq!(reason(4, 0, &[reservation(false, 4, None)]), "NotBegun");
        assert_eq!(reason(4, 0, &[reservation(true, 2, None)]), "TooSmall");
        assert_eq!(reason(4, 2, &[reservation(true, 4, Some(1))]), "TooSmall");
        assert_eq!(reason(4, 2, &[reservation(true, 4, Some(2))]), "Kept");
        // Whole nodes: what GPUs they have is not said.
        assert_eq!(reason(4, 2, &[reservation(true, 8, None)]), "Kept");
    }
}

//! What Slurm's reservations keep, as slurmctld tells it.

use super::Slurm;
use crate::SchedulerError;
use std::collections::HashMap;

/// A reservation (`scontrol(1)`, RESERVATIONS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Its name.
    pub name: String,
    /// Whether it keeps anything now; else it is not yet begun.
    pub is_active: bool,
    /// Cores that it keeps.
    pub cores: u64,
    /// GPUs that it keeps, where it says so: those of whole nodes it does not.
    pub gpus: Option<u64>,
}

impl Slurm {
    /// All reservations, in one call.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    pub async fn reservations(&self) -> Result<Vec<Reservation>, SchedulerError> {
        let arguments = ["--oneliner", "--all", "show", "reservations"].map(str::to_owned);
        read_reservations(&self.scontrol("show its reservations", &arguments).await?)
    }
}

fn read_reservations(answer: &str) -> Result<Vec<Reservation>, SchedulerError> {
    // Where there are none, it says so in a sentence.
    let lines = answer.lines().filter(|line| line.starts_with("ReservationName="));
    lines.map(read_reservation).collect()
}

fn read_reservation(line: &str) -> Result<Reservation, SchedulerError> {
    let values: HashMap<&str, &str> = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .collect();
    let value = |name: &str| {
        values.get(name).copied().ok_or_else(|| SchedulerError::Garbled {
            command: "scontrol show reservations",
            why: format!("{name} is missing in {line:?}"),
        })
    };
    let of_resource = |name: &str| {
        let list = values.get("TRES").copied().unwrap_or_default();
        let amount = list
            .split(',')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        amount.and_then(|amount| amount.parse().ok())
    };
    let cores = value("CoreCnt")?;
    Ok(Reservation {
        name: value("ReservationName")?.to_owned(),
        is_active: value("State")? == "ACTIVE",
        cores: cores.parse().map_err(|_| SchedulerError::Garbled {
            command: "scontrol show reservations",
            why: format!("CoreCnt is {cores:?}"),
        })?,
        gpus: of_resource("gres/gpu"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_read_and_none_is_none() {
        let answer = "ReservationName=school StartTime=2026-11-28T15:00:00 EndTime=2027-11-28T15:00:00 \
            Duration=365-00:00:00 Nodes=n[1-2] NodeCnt=2 CoreCnt=4 Features=(null) PartitionName=standard \
            Flags=SPEC_NODES TRES=cpu=4,gres/gpu=2 Users=(null) Groups=(null) Accounts=univ-caen.school \
            Licenses=(null) State=ACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)\n\
            ReservationName=later StartTime=2027-01-01T00:00:00 EndTime=2027-01-02T00:00:00 Duration=1-00:00:00 \
            Nodes=n3 NodeCnt=1 CoreCnt=2 TRES=cpu=2 State=INACTIVE\n";
        let [school, later] = <[Reservation; 2]>::try_from(read_reservations(answer).unwrap()).unwrap();
        assert_eq!((school.name.as_str(), school.is_active), ("school", true));
        assert_eq!((school.cores, school.gpus), (4, Some(2)));
        assert_eq!((later.is_active, later.gpus), (false, None));
        assert_eq!(read_reservations("No reservations in the system\n").unwrap(), []);
        assert!(read_reservations("ReservationName=x State=ACTIVE\n").is_err());
    }
}

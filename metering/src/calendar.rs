//! Civil months of the datacentre's zone as spans of UTC, and the cutting of use at their ends.
//!
//! The zones' rules come from the IANA database bundled in this binary, never from the host: the host's own zone and
//! files have no say, and a machine without any has the same months.

use crate::exact::mul_div_floor;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// Why a month or a zone cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// No such zone.
    #[error(
        "the time zone {name:?} is not in the IANA database of this build: write a name such as Europe/Paris in the billing period's timeZone"
    )]
    UnknownZone {
        /// What was written.
        name: String,
    },
    /// Not a month.
    #[error("{text:?} is not a month: write year and month, for example 2026-11")]
    NotAMonth {
        /// What was written.
        text: String,
    },
    /// A date that has no instant in any zone.
    #[error(
        "the day {date} lies outside the calendar that can be computed with: write a date between 0001 and 9998"
    )]
    OutOfRange {
        /// The day.
        date: Date,
    },
}

/// A half-open span of time in UTC: from the first instant up to, and without, the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan {
    /// First instant.
    pub from: Timestamp,
    /// First instant after it; never before `from`.
    pub to: Timestamp,
}

impl TimeSpan {
    /// Nanoseconds in it.
    pub fn nanoseconds(&self) -> i128 {
        self.to.as_nanosecond() - self.from.as_nanosecond()
    }

    /// Whether the instant is in it.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.to
    }
}

/// A civil month, written `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BillingMonth(Date);

impl BillingMonth {
    /// The month that a day is in.
    pub fn of(date: Date) -> Self {
        Self(date.first_of_month())
    }

    /// Its first day.
    pub fn first_day(self) -> Date {
        self.0
    }

    /// Its last day.
    pub fn last_day(self) -> Date {
        self.0.last_of_month()
    }

    /// The month after it.
    ///
    /// # Errors
    /// At the end of the calendar.
    pub fn next(self) -> Result<Self, CalendarError> {
        self.0
            .checked_add(1.month())
            .map(Self)
            .map_err(|_| CalendarError::OutOfRange { date: self.0 })
    }

    /// Months since January of the year 0: the difference of two is their distance.
    pub fn index(self) -> i128 {
        i128::from(self.0.year()) * 12 + i128::from(self.0.month()) - 1
    }
}

impl std::fmt::Display for BillingMonth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl std::str::FromStr for BillingMonth {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || CalendarError::NotAMonth {
            text: text.to_owned(),
        };
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        if year.len() != 4 || month.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(wrong());
        }
        let date = Date::new(
            year.parse().map_err(|_| wrong())?,
            month.parse().map_err(|_| wrong())?,
            1,
        );
        date.map(Self).map_err(|_| wrong())
    }
}

impl Serialize for BillingMonth {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BillingMonth {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The zone in which the datacentre's days and months begin and end.
#[derive(Clone, Debug, PartialEq)]
pub struct DatacentreZone {
    name: String,
    zone: TimeZone,
}

impl DatacentreZone {
    /// The zone of this IANA name, from the bundled database.
    ///
    /// # Errors
    /// When the database has no such zone.
    pub fn named(name: &str) -> Result<Self, CalendarError> {
        TimeZoneDatabase::bundled()
            .get(name)
            .map(|zone| Self {
                name: name.to_owned(),
                zone,
            })
            .map_err(|_| CalendarError::UnknownZone {
                name: name.to_owned(),
            })
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    pub fn rules(&self) -> &TimeZone {
        &self.zone
    }

    /// The first instant of a civil day. Where midnight is skipped by a change of clocks, the first instant after.
    ///
    /// # Errors
    /// At the ends of the calendar.
    pub fn start_of(&self, date: Date) -> Result<Timestamp, CalendarError> {
        date.to_zoned(self.zone.clone())
            .and_then(|midnight| midnight.start_of_day())
            .map(|start| start.timestamp())
            .map_err(|_| CalendarError::OutOfRange { date })
    }

    /// The civil days from `first` to `last`, both included, as a span of UTC.
    ///
    /// # Errors
    /// At the ends of the calendar.
    pub fn days(&self, first: Date, last: Date) -> Result<TimeSpan, CalendarError> {
        let after = last
            .tomorrow()
            .map_err(|_| CalendarError::OutOfRange { date: last })?;
        Ok(TimeSpan {
            from: self.start_of(first)?,
            to: self.start_of(after)?,
        })
    }

    /// The civil day of an instant.
    pub fn day_of(&self, instant: Timestamp) -> Date {
        self.zone.to_datetime(instant).date()
    }

    /// A month as a span of UTC.
    ///
    /// # Errors
    /// At the ends of the calendar.
    pub fn month(&self, month: BillingMonth) -> Result<MonthWindow, CalendarError> {
        Ok(MonthWindow {
            month,
            span: self.days(month.first_day(), month.last_day())?,
        })
    }
}

/// A civil month and the span of UTC that it is in the datacentre's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthWindow {
    /// The month.
    pub month: BillingMonth,
    /// Its first instant, and the first after it.
    pub span: TimeSpan,
}

impl MonthWindow {
    /// Seconds in it: an hour less than its days say in March, an hour more in October, where clocks change so.
    pub fn seconds(&self) -> i128 {
        i128::from(self.span.to.as_second() - self.span.from.as_second())
    }
}

/// Part of a quantity, in part of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When.
    pub span: TimeSpan,
    /// How much, in base units.
    pub quantity: i128,
}

/// Cuts a quantity, spread evenly over its span, at instants given in order. The pieces follow each other without a
/// gap and their quantities sum exactly to the whole: each cut takes the floor of what has run up to it, and a piece is
/// the difference of two cuts. Instants outside the span do not cut. None when a number passes 128 bits.
pub fn cut(span: TimeSpan, quantity: i128, at: &[Timestamp]) -> Option<Vec<Piece>> {
    let whole = span.nanoseconds();
    let mut pieces = Vec::with_capacity(1);
    let (mut from, mut taken) = (span.from, 0);
    for &instant in at {
        if instant <= from || instant >= span.to {
            continue;
        }
        let up_to = mul_div_floor(
            quantity,
            instant.as_nanosecond() - span.from.as_nanosecond(),
            whole,
        )?;
        pieces.push(Piece {
            span: TimeSpan { from, to: instant },
            quantity: up_to - taken,
        });
        (from, taken) = (instant, up_to);
    }
    pieces.push(Piece {
        span: TimeSpan { from, to: span.to },
        quantity: quantity - taken,
    });
    Some(pieces)
}

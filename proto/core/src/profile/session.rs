//! Days and hours, by the clock on the wall of the event.
//!
//! A session is compared with what local clocks show. So an hour that a change to winter time repeats is inside both
//! times or neither, and an hour that a change to summer time skips never comes.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::{Date, DateTime, Weekday};
use serde::{Deserialize, Serialize};

use super::ProfileError;
use crate::codec::{CodecError, Reader, Writer};

/// Most dates in one session.
pub(super) const MAX_DATES: usize = 400;

/// Minutes since local midnight, 0 to 1,439.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MinuteOfDay(u16);

impl MinuteOfDay {
    /// From minutes since midnight; `None` from 1,440 on.
    #[must_use]
    pub const fn new(minutes: u16) -> Option<Self> {
        if minutes < 1_440 { Some(Self(minutes)) } else { None }
    }

    /// Minutes since midnight.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Parses `HH:MM`.
    ///
    /// # Errors
    /// [`ProfileError::TimeOfDay`].
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let two = |digits: &[u8]| match *digits {
            [a @ b'0'..=b'9', b @ b'0'..=b'9'] => {
                Some(u16::from(a - b'0') * 10 + u16::from(b - b'0'))
            }
            _ => None,
        };
        let bytes = text.as_bytes();
        let minutes = match bytes {
            [_, _, b':', _, _] => two(&bytes[..2]).zip(two(&bytes[3..])),
            _ => None,
        };
        match minutes {
            Some((hours @ 0..24, minutes @ 0..60)) => Ok(Self(hours * 60 + minutes)),
            _ => Err(ProfileError::TimeOfDay { given: text.to_owned() }),
        }
    }
}

impl fmt::Display for MinuteOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A set of weekdays that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weekdays(u8);

/// Names in texts, from the lowest bit.
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Weekdays {
    /// Every day.
    pub const ALL: Self = Self(0x7f);

    /// From a mask whose lowest bit is Monday; `None` if it is empty or has an eighth bit.
    #[must_use]
    pub const fn from_mask(mask: u8) -> Option<Self> {
        if mask >= 1 && mask <= 0x7f { Some(Self(mask)) } else { None }
    }

    /// The mask; the lowest bit is Monday.
    #[must_use]
    pub const fn mask(self) -> u8 {
        self.0
    }

    fn contains(self, weekday: Weekday) -> bool {
        self.0 >> weekday.to_monday_zero_offset() & 1 == 1
    }

    /// `mon`, `mon-fri` or, over the end of the week, `sat-mon`.
    fn parse_range(text: &str) -> Option<u8> {
        let index = |name: &str| WEEKDAYS.iter().position(|weekday| *weekday == name);
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (index(first)?, index(last)?);
        Some((0..=(last + 7 - first) % 7).fold(0, |mask, step| mask | 1 << ((first + step) % 7)))
    }
}

/// The days on which a session starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Days {
    /// Weekdays, each week.
    Weekdays(Weekdays),
    /// Dates; an empty set is no day at all and has no encoding.
    Dates(BTreeSet<Date>),
}

impl Days {
    /// Parses `daily`, `mon-fri`, `mon,wed`, or dates such as `2028-07-14,2028-07-15`.
    ///
    /// # Errors
    /// [`ProfileError::Days`].
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let refused = || ProfileError::Days { given: text.to_owned() };
        if text == "daily" {
            return Ok(Self::Weekdays(Weekdays::ALL));
        }
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let dates: Option<BTreeSet<Date>> = text.split(',').map(parse_date).collect();
            return Ok(Self::Dates(dates.ok_or_else(refused)?));
        }
        let mut mask = 0;
        for range in text.split(',') {
            mask |= Weekdays::parse_range(range).ok_or_else(refused)?;
        }
        Weekdays::from_mask(mask).map(Self::Weekdays).ok_or_else(refused)
    }

    fn contains(&self, date: Date) -> bool {
        match self {
            Self::Weekdays(weekdays) => weekdays.contains(date.weekday()),
            Self::Dates(dates) => dates.contains(&date),
        }
    }
}

/// Exactly `YYYY-MM-DD`.
fn parse_date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then_some(date)
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, names: &mut dyn Iterator<Item = String>| {
            names.enumerate().try_for_each(|(index, name)| {
                f.write_str(if index == 0 { "" } else { "," })?;
                f.write_str(&name)
            })
        };
        match self {
            Self::Weekdays(weekdays) if *weekdays == Weekdays::ALL => f.write_str("daily"),
            Self::Weekdays(weekdays) => {
                let mask = weekdays.mask();
                let names = WEEKDAYS.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
                join(f, &mut names.map(|(_, name)| (*name).to_owned()))
            }
            Self::Dates(dates) => join(f, &mut dates.iter().map(Date::to_string)),
        }
    }
}

/// Hours on some days; as text, for example `fri-sat 22:00-02:30`.
///
/// It lasts from the first minute of `start` until before `end`. If `end` is not after `start`, it ends on the next
/// day and still belongs to the day on which it starts: `00:00-00:00` is a whole day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Session {
    /// The days on which it starts.
    pub days: Days,
    /// The first minute inside.
    pub start: MinuteOfDay,
    /// The first minute outside.
    pub end: MinuteOfDay,
}

impl Session {
    /// Parses days and times: `daily 08:00-18:00`, `mon-fri 08:00-18:00`, `2028-07-14,2028-07-15 22:00-02:30`.
    ///
    /// # Errors
    /// [`ProfileError::Session`], [`ProfileError::Days`] or [`ProfileError::TimeOfDay`].
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let refused = || ProfileError::Session { given: text.to_owned() };
        let (days, times) = text.split_once(' ').ok_or_else(refused)?;
        let (start, end) = times.split_once('-').ok_or_else(refused)?;
        Ok(Self {
            days: Days::parse(days)?,
            start: MinuteOfDay::parse(start)?,
            end: MinuteOfDay::parse(end)?,
        })
    }

    /// Whether it is on when clocks at the event show `local`.
    #[must_use]
    pub fn contains(&self, local: DateTime) -> bool {
        let (date, time) = (local.date(), local.time());
        // 24 × 60 minutes: neither factor can be negative or leave the range.
        let minute = MinuteOfDay(time.hour().unsigned_abs().into()).0 * 60
            + u16::from(time.minute().unsigned_abs());
        let minute = MinuteOfDay(minute);
        let today = || self.days.contains(date);
        let yesterday = || date.yesterday().is_ok_and(|date| self.days.contains(date));
        if self.start < self.end {
            self.start <= minute && minute < self.end && today()
        } else {
            self.start <= minute && today() || minute < self.end && yesterday()
        }
    }

    /// Kind of days (1) and the weekday mask (1) or the dates' count (2) and dates (year 2, month 1, day 1); start
    /// (2), end (2).
    pub(super) fn write(&self, writer: &mut Writer) {
        match &self.days {
            Days::Weekdays(weekdays) => {
                writer.u8(1).u8(weekdays.mask());
            }
            Days::Dates(dates) => {
                let count = u16::try_from(dates.len()).expect("the table limits dates");
                writer.u8(2).u16(count);
                for date in dates {
                    writer
                        .u16(date.year().unsigned_abs())
                        .u8(date.month().unsigned_abs())
                        .u8(date.day().unsigned_abs());
                }
            }
        }
        writer.u16(self.start.0).u16(self.end.0);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let days = match reader.u8()? {
            1 => Weekdays::from_mask(reader.u8()?)
                .map(Days::Weekdays)
                .ok_or_else(|| reader.invalid("no weekday or an eighth one"))?,
            2 => Days::Dates(read_dates(reader)?),
            _ => return Err(reader.invalid("unknown kind of days")),
        };
        let mut minute = || {
            let minute = MinuteOfDay::new(reader.u16()?);
            minute.ok_or_else(|| reader.invalid("time of day after 23:59"))
        };
        Ok(Self { days, start: minute()?, end: minute()? })
    }
}

fn read_dates(reader: &mut Reader<'_>) -> Result<BTreeSet<Date>, CodecError> {
    let count = usize::from(reader.u16()?);
    if count == 0 || count > MAX_DATES {
        return Err(reader.invalid("no date or too many"));
    }
    let mut dates = BTreeSet::new();
    for _ in 0..count {
        let (year, month, day) = (reader.u16()?, reader.u8()?, reader.u8()?);
        let date = i16::try_from(year)
            .ok()
            .zip(i8::try_from(month).ok().zip(i8::try_from(day).ok()))
            .and_then(|(year, (month, day))| Date::new(year, month, day).ok())
            .ok_or_else(|| reader.invalid("no such date"))?;
        if dates.last().is_some_and(|last| *last >= date) {
            return Err(reader.invalid("dates out of order"));
        }
        dates.insert(date);
    }
    Ok(dates)
}

impl TryFrom<String> for Session {
    type Error = ProfileError;
    fn try_from(text: String) -> Result<Self, ProfileError> {
        Self::parse(&text)
    }
}

impl From<Session> for String {
    fn from(session: Session) -> Self {
        session.to_string()
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{}", self.days, self.start, self.end)
    }
}

use jiff::civil::{DateTime, date};
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;

use super::*;
use crate::audience_key::AudienceKey;
use crate::ids::{Authority, EventId, Origin};

fn access_point() -> AccessPoint {
    AccessPoint { id: "north-3".into(), venue: "STA".into(), zone: "FOP".into() }
}

fn paris() -> EventTimeZone {
    EventTimeZone::parse("Europe/Paris").unwrap()
}

fn profile(id: u16) -> Profile {
    Profile {
        id: ProfileId::new(id),
        category: "Athlete".into(),
        venues: BTreeSet::new(),
        zones: BTreeSet::new(),
        sessions: Vec::new(),
    }
}

fn codes(codes: &[&str]) -> BTreeSet<String> {
    codes.iter().map(|code| (*code).to_owned()).collect()
}

fn session(text: &str) -> Session {
    Session::parse(text).unwrap()
}

/// A moment by its UTC time.
fn utc(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().unwrap();
    Timestamp::from_millis(time.as_millisecond().try_into().unwrap())
}

fn local(text: &str) -> DateTime {
    text.parse().unwrap()
}

#[test]
fn venue_zone_and_time_are_checked_in_this_order() {
    let now = utc("2028-07-14T10:00:00Z");
    let mut profile = profile(1);
    let check = |profile: &Profile| profile.check(&access_point(), now, &paris());
    assert_eq!(check(&profile), Ok(()));
    profile.venues = codes(&["POOL"]);
    profile.zones = codes(&["VIP"]);
    profile.sessions = vec![session("2028-07-15 08:00-18:00")];
    assert_eq!(check(&profile), Err(Cause::WrongVenue));
    profile.venues = codes(&["POOL", "STA"]);
    assert_eq!(check(&profile), Err(Cause::WrongZone));
    profile.zones = codes(&["FOP"]);
    assert_eq!(check(&profile), Err(Cause::WrongTime));
    profile.sessions.push(session("fri 08:00-18:00"));
    assert_eq!(check(&profile), Ok(()));
}

#[test]
fn a_session_is_half_open() {
    let session = session("daily 08:00-18:00");
    for (time, inside) in [
        ("2028-07-14T07:59:59", false),
        ("2028-07-14T08:00:00", true),
        ("2028-07-14T17:59:59", true),
        ("2028-07-14T18:00:00", false),
    ] {
        assert_eq!(session.contains(local(time)), inside, "{time}");
    }
}

#[test]
fn a_session_across_midnight_belongs_to_the_day_it_starts_on() {
    // 2028-07-14 is a Friday.
    for session in [session("fri 22:00-02:30"), session("2028-07-14 22:00-02:30")] {
        for (time, inside) in [
            ("2028-07-14T02:00", false),
            ("2028-07-14T21:59", false),
            ("2028-07-14T22:00", true),
            ("2028-07-15T00:00", true),
            ("2028-07-15T02:29", true),
            ("2028-07-15T02:30", false),
            ("2028-07-15T22:00", false),
            ("2028-07-16T01:00", false),
        ] {
            assert_eq!(session.contains(local(time)), inside, "{session} at {time}");
        }
    }
}

#[test]
fn a_session_that_ends_when_it_starts_is_a_whole_day() {
    let session = session("sun 06:00-06:00");
    for (time, inside) in [
        ("2028-07-16T05:59", false),
        ("2028-07-16T06:00", true),
        ("2028-07-17T05:59", true),
        ("2028-07-17T06:00", false),
    ] {
        assert_eq!(session.contains(local(time)), inside, "{time}");
    }
}

#[test]
fn a_night_of_summer_time_is_an_hour_shorter() {
    // Clocks in Paris jump from 02:00 to 03:00 on 2028-03-26, at 01:00 UTC.
    let (zone, late) = (paris(), session("sat 22:00-03:30"));
    let skipped = session("sun 02:00-03:00");
    for (time, in_late) in [
        ("2028-03-25T20:59:59Z", false),
        ("2028-03-25T21:00:00Z", true),
        ("2028-03-26T00:59:59Z", true),
        ("2028-03-26T01:00:00Z", true),
        ("2028-03-26T01:29:59Z", true),
        ("2028-03-26T01:30:00Z", false),
    ] {
        let local = zone.local(utc(time));
        assert_eq!(late.contains(local), in_late, "{time}");
        assert!(!skipped.contains(local), "{time}");
    }
}

#[test]
fn a_night_of_winter_time_is_an_hour_longer() {
    // Clocks in Paris go back from 03:00 to 02:00 on 2028-10-29, at 01:00 UTC.
    let (zone, late) = (paris(), session("sat 22:00-03:30"));
    let repeated = session("sun 02:00-03:00");
    for (time, in_late, in_repeated) in [
        ("2028-10-28T20:00:00Z", true, false),
        ("2028-10-29T00:00:00Z", true, true),
        ("2028-10-29T00:59:59Z", true, true),
        ("2028-10-29T01:00:00Z", true, true),
        ("2028-10-29T01:59:59Z", true, true),
        ("2028-10-29T02:00:00Z", true, false),
        ("2028-10-29T02:30:00Z", false, false),
    ] {
        let local = zone.local(utc(time));
        assert_eq!(late.contains(local), in_late, "{time}");
        assert_eq!(repeated.contains(local), in_repeated, "{time}");
    }
}

#[test]
fn where_clocks_change_at_midnight_the_day_starts_at_one() {
    // In Beirut, 2028-03-26 starts at 01:00.
    let zone = EventTimeZone::parse("Asia/Beirut").unwrap();
    let before = zone.local(utc("2028-03-25T21:59:59Z"));
    let after = zone.local(utc("2028-03-25T22:00:00Z"));
    assert_eq!((before, after), (local("2028-03-25T23:59:59"), local("2028-03-26T01:00:00")));
    let night = session("sat 20:00-01:00");
    assert!(night.contains(before) && !night.contains(after));
    let day = session("sun 00:00-00:00");
    assert!(!day.contains(before) && day.contains(after));
}

#[test]
fn session_texts_read_back() {
    for text in [
        "daily 00:00-00:00",
        "mon 08:00-18:00",
        "mon,wed,sun 22:00-02:30",
        "2028-07-14 09:00-17:00",
        "2028-02-29,2028-07-14 23:59-00:01",
    ] {
        assert_eq!(session(text).to_string(), text);
        let json = serde_json::to_string(&session(text)).unwrap();
        assert_eq!(serde_json::from_str::<Session>(&json).unwrap(), session(text));
    }
    assert_eq!(session("sat-mon 08:00-09:00").to_string(), "mon,sat,sun 08:00-09:00");
    assert_eq!(session("mon-sun 08:00-09:00").to_string(), "daily 08:00-09:00");
}

#[test]
fn refuses_texts_that_are_no_session() {
    for text in ["", "daily", "daily 08:00", "08:00-09:00"] {
        let given = text.to_owned();
        assert_eq!(Session::parse(text), Err(ProfileError::Session { given }));
    }
    for days in ["Mon", "mon,", "mon-", "mond", "2028-02-30", "2028-7-14", "2028-07-14,mon", "-"] {
        let refused = Session::parse(&format!("{days} 08:00-09:00"));
        assert_eq!(refused, Err(ProfileError::Days { given: days.to_owned() }));
    }
    for time in ["8:00", "24:00", "08:60", "+8:00", "08.00", "08:00:00", "", "０８:00"] {
        let refused = Session::parse(&format!("daily {time}-09:00"));
        assert_eq!(refused, Err(ProfileError::TimeOfDay { given: time.to_owned() }));
    }
}

#[test]
fn time_zones_come_from_the_bundled_database() {
    let zone = EventTimeZone::parse("europe/paris").unwrap();
    assert_eq!((zone.name(), &zone), ("Europe/Paris", &paris()));
    let given = "Atlantis/Poseidonis".to_owned();
    let refused = EventTimeZone::parse(&given);
    assert_eq!(refused, Err(ProfileError::TimeZone { given }));
    // No moment that fits the type panics.
    assert_eq!(paris().local(Timestamp::from_millis(u64::MAX)).year(), 9999);
    for name in TimeZoneDatabase::bundled().available() {
        assert!(EventTimeZone::parse(name.as_str()).is_ok(), "{name}");
    }
}

fn sample_table() -> ProfileTable {
    let mut wide = profile(7);
    wide.venues = codes(&["POOL", "STA"]);
    wide.zones = codes(&["FOP"]);
    wide.sessions = vec![session("mon-fri 08:00-18:00"), session("2028-07-14 22:00-02:30")];
    ProfileTable::new(vec![wide, profile(1)]).unwrap()
}

#[test]
fn a_table_finds_profiles_by_number() {
    let table = sample_table();
    assert_eq!(table.iter().map(|profile| profile.id.get()).collect::<Vec<_>>(), [1, 7]);
    assert_eq!(table.get(ProfileId::new(7)).map(|profile| profile.venues.len()), Some(2));
    assert_eq!(table.get(ProfileId::new(2)), None);
    assert_eq!(table.get(ProfileId::UNRESTRICTED), None);
}

#[test]
fn a_table_refuses_what_it_cannot_hold() {
    assert_eq!(ProfileTable::new(vec![profile(0)]), Err(ProfileError::Unrestricted));
    let id = ProfileId::new(3);
    let twice = ProfileTable::new(vec![profile(3), profile(1), profile(3)]);
    assert_eq!(twice, Err(ProfileError::Duplicate { id }));
    let refused = |alter: fn(&mut Profile)| {
        let mut profile = profile(3);
        alter(&mut profile);
        ProfileTable::new(vec![profile]).unwrap_err()
    };
    let limits = [
        refused(|profile| profile.category = "x".repeat(65).into()),
        refused(|profile| profile.venues = (0..257).map(|code| code.to_string()).collect()),
        refused(|profile| profile.zones = codes(&[&"x".repeat(65)])),
        refused(|profile| profile.sessions = vec![session("daily 08:00-09:00"); 257]),
    ];
    for refused in limits {
        assert!(matches!(refused, ProfileError::Limit { .. }), "{refused}");
    }
    let empty = refused(|profile| {
        let start = MinuteOfDay::new(0).unwrap();
        profile.sessions = vec![Session { days: Days::Dates(BTreeSet::new()), start, end: start }];
    });
    assert!(matches!(empty, ProfileError::Session { .. }));
    let ancient = refused(|profile| {
        let start = MinuteOfDay::new(0).unwrap();
        let days = Days::Dates([date(-1, 1, 1)].into());
        profile.sessions = vec![Session { days, start, end: start }];
    });
    assert!(matches!(ancient, ProfileError::Days { .. }));
}

#[test]
fn a_table_opens_only_with_its_key_in_its_place() {
    let event = EventId::parse("games").unwrap();
    let (origin, epoch) = (Origin::new(&event, Authority::Committee), Epoch::new(3));
    let key = AudienceKey::from_bytes([1; 32]);
    let sealed = sample_table().seal(&key, &origin, epoch);
    assert_eq!(sealed.open(&key, &origin, epoch), Ok(sample_table()));
    assert_eq!(sealed, sample_table().seal(&key, &origin, epoch));

    let refused = |epoch| Err(ProfileError::Sealed { epoch });
    let other = AudienceKey::from_bytes([2; 32]);
    assert_eq!(sealed.open(&other, &origin, epoch), refused(epoch));
    assert_eq!(sealed.open(&key, &origin, epoch.next()), refused(epoch.next()));
    let police = Origin::new(&event, Authority::Police);
    assert_eq!(sealed.open(&key, &police, epoch), refused(epoch));
    for index in 0..sealed.as_bytes().len() {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[index] ^= 1;
        let altered = SealedProfiles::new(bytes);
        assert_eq!(altered.open(&key, &origin, epoch), refused(epoch));
        assert_ne!(altered.hash(), sealed.hash());
    }
    let short = SealedProfiles::new(vec![0; 15]);
    assert_eq!(short.open(&key, &origin, epoch), refused(epoch));
}

#[test]
fn a_table_has_one_encoding() {
    let good = sample_table().to_bytes();
    assert_eq!(ProfileTable::from_bytes(&good), Ok(sample_table()));
    for length in 0..good.len() {
        let refused = ProfileTable::from_bytes(&good[..length]);
        assert!(matches!(refused, Err(ProfileError::Codec(CodecError::Truncated { .. }))));
    }
    let refused = |alter: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        alter(&mut bytes);
        let refused = ProfileTable::from_bytes(&bytes).unwrap_err();
        assert!(matches!(refused, ProfileError::Codec(CodecError::Invalid { .. })), "{refused}");
    };
    refused(&|bytes| bytes[0] = 2);
    // The second profile starts at 30: version and count, then id, category and three counts of the first.
    refused(&|bytes| bytes[30..32].copy_from_slice(&[0, 1]));
    let pool = good.windows(4).position(|window| window == b"POOL").unwrap();
    refused(&|bytes| bytes[pool] = b'Z');
    refused(&|bytes| bytes[pool - 7] = 1);
    let end = good.len();
    refused(&|bytes| bytes[end - 4] = 0x06);
    refused(&|bytes| bytes[end - 6] = 13);
    refused(&|bytes| bytes[end - 11] = 3);
    let mut long = good.clone();
    long.push(0);
    let refused = ProfileTable::from_bytes(&long);
    assert!(matches!(refused, Err(ProfileError::Codec(CodecError::Trailing { .. }))));
}

fn sessions() -> impl Strategy<Value = Session> {
    let weekdays =
        (1_u8..=0x7f).prop_map(|mask| Days::Weekdays(Weekdays::from_mask(mask).unwrap()));
    let dates = prop::collection::btree_set((0_i16..9999, 1_i8..=12, 1_i8..=28), 1..5)
        .prop_map(|dates| Days::Dates(dates.into_iter().map(|(y, m, d)| date(y, m, d)).collect()));
    let minute = || (0_u16..1_440).prop_map(|minute| MinuteOfDay::new(minute).unwrap());
    (prop_oneof![weekdays, dates], minute(), minute()).prop_map(|(days, start, end)| Session {
        days,
        start,
        end,
    })
}

fn profiles() -> impl Strategy<Value = Profile> {
    let codes = || prop::collection::btree_set("[A-Z]{0,4}", 0..4);
    (1_u16.., ".{0,16}", codes(), codes(), prop::collection::vec(sessions(), 0..4)).prop_map(
        |(id, category, venues, zones, sessions)| Profile {
            id: ProfileId::new(id),
            category: category.into(),
            venues,
            zones,
            sessions,
        },
    )
}

proptest! {
    #[test]
    fn tables_round_trip(profiles in prop::collection::vec(profiles(), 0..6)) {
        if let Ok(table) = ProfileTable::new(profiles) {
            prop_assert_eq!(ProfileTable::from_bytes(&table.to_bytes()), Ok(table));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), flip in any::<prop::sample::Index>()) {
        let _ = ProfileTable::from_bytes(&bytes);
        let mut mutated = sample_table().to_bytes();
        let index = flip.index(mutated.len());
        mutated[index] = bytes.first().copied().unwrap_or(0xff);
        if let Ok(table) = ProfileTable::from_bytes(&mutated) {
            prop_assert_eq!(table.to_bytes(), mutated);
        }
    }

    #[test]
    fn sessions_read_back_as_text(session in sessions()) {
        prop_assert_eq!(Session::parse(&session.to_string()), Ok(session));
    }

    #[test]
    fn arbitrary_session_texts_never_panic(text in ".{0,40}") {
        let _ = Session::parse(&text);
    }

    /// Every local minute of a year lies in exactly one of two sessions that complement each other.
    #[test]
    fn complementary_sessions_share_no_minute(
        minute in 0_i64..366 * 1_440, mask in 1_u8..0x7f, start in 0_u16..1_440, end in 0_u16..1_440,
    ) {
        prop_assume!(start != end);
        let (start, end) = (MinuteOfDay::new(start).unwrap(), MinuteOfDay::new(end).unwrap());
        let (one, rest) = (Weekdays::from_mask(mask).unwrap(), Weekdays::from_mask(0x7f ^ mask).unwrap());
        let span = jiff::Span::new().minutes(minute);
        let local = date(2028, 1, 1).at(0, 0, 0, 0).checked_add(span).unwrap();
        let session = |days, start, end| Session { days: Days::Weekdays(days), start, end };
        let covering = [
            session(one, start, end), session(rest, start, end), session(Weekdays::ALL, end, start),
        ];
        let count = covering.iter().filter(|session| session.contains(local)).count();
        prop_assert_eq!(count, 1);
    }
}

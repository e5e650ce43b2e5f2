//! Snapshots: whole, cut, altered, and of something else.

use super::snapshot::{Decoder, Header, Loader, SnapshotError, encode};
use super::*;
use crate::ids::{Audience, Authority, Epoch};

const DIRECTORY: (Authority, Audience, Epoch) = (Authority::Police, Audience::Gate, Epoch::new(7));

fn snapshot(map: &Map, chunk: usize) -> Vec<Vec<u8>> {
    let (authority, audience, epoch) = DIRECTORY;
    encode(map, authority, audience, epoch, chunk).collect()
}

fn loader(commitment: Commitment) -> Loader {
    let (authority, audience, epoch) = DIRECTORY;
    Loader::new(authority, audience, epoch, commitment)
}

fn decode(bytes: &[u8], chunk: usize) -> Result<(Header, Vec<Row>), SnapshotError> {
    let mut decoder = Decoder::new();
    let mut rows = Vec::new();
    for chunk in bytes.chunks(chunk) {
        decoder.push(chunk, &mut rows)?;
    }
    Ok((decoder.finish()?, rows))
}

fn sample(seed: u64, count: u32) -> Map {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Map::build(depth_for(count), (0..count).map(|_| random_row(&mut rng))).unwrap()
}

#[test]
fn snapshots_read_back_however_they_are_cut() {
    for count in [0, 1, 2, 40] {
        let map = sample(u64::from(count), count);
        for written in [1, 68, 200, 1 << 20] {
            let bytes = snapshot(&map, written).concat();
            let header = Header::from_bytes(&bytes[..Header::SIZE]).unwrap();
            assert_eq!(header.snapshot_bytes(), bytes.len() as u64);
            for read in [1, 30, 31, 32, 67, 68, 69, 1 << 20] {
                let (header, rows) = decode(&bytes, read).unwrap();
                assert_eq!(header.to_bytes(), bytes[..Header::SIZE]);
                assert!(map.rows().eq(rows));
                let mut loader = loader(map.commitment());
                for chunk in bytes.chunks(read) {
                    loader.push(chunk).unwrap();
                }
                let loaded = loader.finish().unwrap();
                assert_eq!(loaded.commitment(), map.commitment());
                assert!(loaded.rows().eq(map.rows()));
            }
        }
    }
}

#[test]
fn a_row_takes_at_most_70_bytes() {
    let map = sample(5, 1_000);
    assert!(snapshot(&map, 4_096).concat().len() <= 70 * 1_000);
}

#[test]
fn bad_snapshots_are_refused() {
    let map = sample(6, 10);
    let bytes = snapshot(&map, 4_096).concat();
    let row = |i: usize| Header::SIZE + i * Row::SIZE;
    for end in 0..bytes.len() {
        let cut = decode(&bytes[..end], 64);
        assert!(matches!(cut, Err(SnapshotError::Truncated { .. })), "{end}");
    }
    let trailing = decode(&[bytes.as_slice(), &[0]].concat(), 64);
    assert_eq!(trailing, Err(SnapshotError::Trailing { count: 10 }));
    let mut swapped = bytes.clone();
    swapped[row(3)..row(5)].rotate_left(Row::SIZE);
    assert_eq!(decode(&swapped, 64), Err(SnapshotError::Order { row: 4 }));
    let mut doubled = bytes.clone();
    doubled.copy_within(row(3)..row(4), row(4));
    assert_eq!(decode(&doubled, 64), Err(SnapshotError::Order { row: 4 }));
    let mut unversioned = bytes.clone();
    unversioned[row(9) + 16..row(9) + 20].fill(0);
    assert!(matches!(decode(&unversioned, 64), Err(SnapshotError::Codec(_))));
    for (at, value) in [(0, b'L'), (24, 0), (24, 4), (25, 0), (25, 3), (26, 29)] {
        let mut header = bytes.clone();
        header[at] = value;
        assert!(matches!(decode(&header, 64), Err(SnapshotError::Codec(_))), "{at}");
    }
}

#[test]
fn a_loader_gives_away_only_the_map_that_was_committed_to() {
    let map = sample(7, 10);
    let bytes = snapshot(&map, 4_096).concat();
    let commitment = map.commitment();
    let load = |bytes: &[u8], commitment| {
        let mut loader = loader(commitment);
        loader.push(bytes)?;
        loader.finish()
    };
    assert!(load(&bytes, commitment).is_ok());
    // Every byte of every row counts.
    for at in Header::SIZE..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert!(load(&altered, commitment).is_err(), "byte {at}");
    }
    let other = Commitment { root: sample(8, 10).commitment().root, ..commitment };
    assert!(matches!(load(&bytes, other), Err(SnapshotError::Root { .. })));
    // Another directory, and a count that would take all memory, are refused at the header.
    for at in 20..Header::SIZE {
        let mut altered = bytes.clone();
        altered[at] ^= 2;
        let refused = load(&altered[..Header::SIZE], commitment).unwrap_err();
        assert!(
            matches!(refused, SnapshotError::Other { .. } | SnapshotError::Codec(_)),
            "byte {at}: {refused}"
        );
    }
}

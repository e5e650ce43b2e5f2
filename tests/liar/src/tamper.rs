//! What a liar does to the steps of a feed.

use std::collections::HashMap;

use lanyard_core::ids::Handle;
use lanyard_core::map::snapshot::Decoder;
use lanyard_core::map::{Delta, Row};
use lanyard_core::record::SealedRecord;
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{DirectoryDelta, DirectoryId, FollowResponse, SnapshotChunk, Tick};

/// How to treat the next tick of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Pass everything on.
    #[default]
    Honest,
    /// Change the sealed bytes of one record in each directory that changes.
    ForgeRecord,
    /// Leave one changed record out of each directory that changes.
    OmitChange,
    /// Repeat the oldest tick seen, then present its head under the newest checkpoint.
    RollBack,
    /// Present the rows as they were before, under the newest head: what others are shown, this follower is not.
    OtherRows,
    /// Send a head that is none.
    Garbage,
    /// Send no tick at all.
    Stall,
    /// Send every tick, and no cosignature that comes after it: nothing gets fresher.
    Withhold,
}

/// A directory's name as it is on the wire.
type Place = (u32, i32);

fn place(id: Option<&DirectoryId>) -> Place {
    id.map_or((0, 0), |id| (id.epoch, id.audience))
}

/// What a liar remembers of one origin's feed.
#[derive(Default)]
pub(crate) struct Memory {
    mode: Mode,
    lies: u64,
    oldest: Option<Tick>,
    rows: HashMap<Place, HashMap<Handle, Row>>,
    snapshots: HashMap<Place, Decoder>,
}

impl Memory {
    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// How many ticks were altered or withheld.
    pub(crate) const fn lies(&self) -> u64 {
        self.lies
    }

    /// What to send instead of an honest step.
    pub(crate) fn pass(&mut self, response: FollowResponse) -> Vec<FollowResponse> {
        match response.update {
            Some(Update::Tick(tick)) => self.tick(tick).into_iter().map(step).collect(),
            Some(Update::Snapshot(chunk)) => {
                self.learn_snapshot(&chunk);
                vec![FollowResponse { update: Some(Update::Snapshot(chunk)) }]
            }
            Some(Update::Cosigned(_)) if self.mode == Mode::Withhold => {
                self.lies += 1;
                vec![]
            }
            update => vec![FollowResponse { update }],
        }
    }

    fn tick(&mut self, tick: Tick) -> Vec<Tick> {
        let told = match self.mode {
            Mode::Honest | Mode::Withhold => None,
            Mode::Stall => Some(vec![]),
            Mode::Garbage => {
                Some(vec![Tick { head: b"no map head".as_slice().into(), ..tick.clone() }])
            }
            Mode::RollBack => self.rolled_back(&tick),
            Mode::ForgeRecord => self.with_deltas(&tick, |_, delta| forge(delta)),
            Mode::OmitChange => self.with_deltas(&tick, |_, delta| omit(delta)),
            Mode::OtherRows => self.with_deltas(&tick, |memory, delta| memory.as_before(delta)),
        };
        self.learn(&tick);
        if told.is_some() {
            self.lies += 1;
        }
        told.unwrap_or_else(|| vec![tick])
    }

    fn rolled_back(&self, tick: &Tick) -> Option<Vec<Tick>> {
        let oldest = self.oldest.as_ref().filter(|oldest| oldest.head != tick.head)?;
        let (head, checkpoint) = (oldest.head.clone(), tick.checkpoint.clone());
        let dressed_up = Tick { head, checkpoint, deltas: vec![] };
        Some(vec![oldest.clone(), dressed_up])
    }

    /// The tick with its deltas altered; `None` if there was nothing to alter.
    fn with_deltas(
        &self,
        tick: &Tick,
        alter: impl Fn(&Self, &DirectoryDelta) -> Option<Delta>,
    ) -> Option<Vec<Tick>> {
        let mut told = tick.clone();
        let mut altered = false;
        for delta in &mut told.deltas {
            if let Some(other) = alter(self, delta) {
                delta.delta = other.to_bytes().into();
                altered = true;
            }
        }
        altered.then(|| vec![told])
    }

    /// A delta that puts the rows there that were there before.
    fn as_before(&self, delta: &DirectoryDelta) -> Option<Delta> {
        let known = self.rows.get(&place(delta.directory.as_ref()))?;
        let delta = read(delta)?;
        let before: Vec<Row> =
            delta.upserts().iter().filter_map(|row| known.get(&row.handle).copied()).collect();
        let differs = !delta.is_empty() && before != delta.upserts();
        differs.then(|| Delta::new(vec![], before).ok()).flatten()
    }

    fn learn(&mut self, tick: &Tick) {
        self.oldest.get_or_insert_with(|| tick.clone());
        for delta in &tick.deltas {
            let rows = self.rows.entry(place(delta.directory.as_ref())).or_default();
            let Some(delta) = read(delta) else { continue };
            for handle in delta.removed() {
                rows.remove(handle);
            }
            rows.extend(delta.upserts().iter().map(|row| (row.handle, *row)));
        }
    }

    fn learn_snapshot(&mut self, chunk: &SnapshotChunk) {
        let place = place(chunk.directory.as_ref());
        let mut rows = Vec::new();
        // What does not decode is passed on as it came, and is not remembered.
        let read = self.snapshots.entry(place).or_default().push(&chunk.data, &mut rows);
        if read.is_ok() {
            let known = self.rows.entry(place).or_default();
            known.extend(rows.into_iter().map(|row| (row.handle, row)));
        }
        if chunk.last || read.is_err() {
            self.snapshots.remove(&place);
        }
    }
}

fn step(tick: Tick) -> FollowResponse {
    FollowResponse { update: Some(Update::Tick(tick)) }
}

fn read(delta: &DirectoryDelta) -> Option<Delta> {
    Delta::from_bytes(&delta.delta).ok()
}

fn forge(delta: &DirectoryDelta) -> Option<Delta> {
    let delta = read(delta)?;
    let mut upserts = delta.upserts().to_vec();
    let first = upserts.first_mut()?;
    let mut bytes = *first.record.bytes();
    bytes[0] ^= 1;
    first.record = SealedRecord::new(first.record.version(), bytes).ok()?;
    Delta::new(delta.removed().to_vec(), upserts).ok()
}

fn omit(delta: &DirectoryDelta) -> Option<Delta> {
    let delta = read(delta)?;
    let (_, kept) = delta.upserts().split_first()?;
    Delta::new(delta.removed().to_vec(), kept.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use lanyard_wire::feed::v1::Cosigned;

    use super::*;

    fn row(number: u8, version: u32) -> Row {
        let record = SealedRecord::new(version, [version as u8; 48]).unwrap();
        Row { handle: Handle::new([number; 16]), record }
    }

    fn tick(size: u8, rows: Vec<Row>) -> FollowResponse {
        let delta = Delta::new(vec![], rows).unwrap().to_bytes().into();
        let directory = Some(DirectoryId { epoch: 1, audience: 1 });
        step(Tick {
            head: vec![size].into(),
            checkpoint: format!("size {size}"),
            deltas: vec![DirectoryDelta { directory, delta }],
        })
    }

    fn told(memory: &mut Memory, mode: Mode, step: FollowResponse) -> Vec<Tick> {
        memory.set_mode(mode);
        let sent = memory.pass(step);
        let tick = |sent: FollowResponse| match sent.update {
            Some(Update::Tick(tick)) => tick,
            other => panic!("{other:?}"),
        };
        sent.into_iter().map(tick).collect()
    }

    fn rows(tick: &Tick) -> Vec<Row> {
        read(&tick.deltas[0]).unwrap().upserts().to_vec()
    }

    #[test]
    fn each_mode_lies_in_its_own_way() {
        let mut memory = Memory::default();
        let honest = told(&mut memory, Mode::Honest, tick(1, vec![row(1, 1), row(2, 1)]));
        assert_eq!(rows(&honest[0]), [row(1, 1), row(2, 1)]);
        assert_eq!(memory.lies(), 0);

        let forged = told(&mut memory, Mode::ForgeRecord, tick(2, vec![row(1, 2), row(2, 2)]));
        assert_eq!(rows(&forged[0])[1], row(2, 2));
        assert_ne!(rows(&forged[0])[0], row(1, 2));

        let omitted = told(&mut memory, Mode::OmitChange, tick(3, vec![row(1, 3), row(2, 3)]));
        assert_eq!(rows(&omitted[0]), [row(2, 3)]);

        let other = told(&mut memory, Mode::OtherRows, tick(4, vec![row(1, 4), row(3, 1)]));
        assert_eq!(rows(&other[0]), [row(1, 3)]);

        let back = told(&mut memory, Mode::RollBack, tick(5, vec![row(1, 5)]));
        assert_eq!((back[0].head[0], back[0].checkpoint.as_str()), (1, "size 1"));
        assert_eq!((back[1].head[0], back[1].checkpoint.as_str()), (1, "size 5"));

        assert_ne!(told(&mut memory, Mode::Garbage, tick(6, vec![]))[0].head[..], [6]);
        assert!(told(&mut memory, Mode::Stall, tick(7, vec![])).is_empty());
        assert_eq!(memory.lies(), 6);

        let cosigned = || {
            let checkpoint = "size 8".to_owned();
            FollowResponse { update: Some(Update::Cosigned(Cosigned { checkpoint })) }
        };
        assert_eq!(told(&mut memory, Mode::Withhold, tick(8, vec![]))[0].checkpoint, "size 8");
        assert!(memory.pass(cosigned()).is_empty());
        assert_eq!(memory.lies(), 7);
        memory.set_mode(Mode::Honest);
        assert_eq!(memory.pass(cosigned()), [cosigned()]);
    }

    #[test]
    fn nothing_to_alter_is_no_lie() {
        let mut memory = Memory::default();
        for mode in [Mode::ForgeRecord, Mode::OmitChange, Mode::OtherRows, Mode::RollBack] {
            assert_eq!(told(&mut memory, mode, tick(1, vec![]))[0].checkpoint, "size 1");
        }
        assert_eq!(memory.lies(), 0);
    }
}

//! What the operations of a course do to the machines.

use std::path::PathBuf;
use std::time::Duration;

use lanyard_core::ids::Authority;

use super::{LATENCY, World};
use crate::event::{GATES, LIAR, QUORUM};
use crate::op::{MACHINES, Op};
use crate::people::Task;

impl World<'_> {
    /// Everybody is let in: what is to break then breaks, and gates are held to what they know.
    pub(super) fn all_are_ready(&mut self) {
        self.shared.ledger().is_ready = true;
        self.ready_at = Some(self.time.elapsed());
        if let Some(defect) = self.defect {
            self.machines.values().for_each(|machine| defect.break_in(machine));
        }
    }

    /// What happens each second, whatever the course says.
    pub(super) fn every_second(&mut self) {
        let now = self.time.elapsed();
        // What a witness may be put back to.
        for name in ["trustee", "sponsor"] {
            let backup = self.machines[name].disk.backup(&self.witness_folder(name));
            self.memories.entry(name).or_default().push(backup);
        }
        self.copies.make(&self.machines, now);
        let since = self.ready_at.map(|ready| now - ready);
        if let Some(late) = self.defect.zip(since).and_then(|(one, since)| one.late_line(since)) {
            self.sim.set_link_latency("sponsor", GATES[2], Duration::from_millis(late));
        }
    }

    fn witness_folder(&self, name: &str) -> PathBuf {
        self.machines[name].folder.join("data/witness")
    }

    pub(super) fn apply(&mut self, op: Op) {
        let now = self.time.elapsed();
        match op {
            Op::Enrol(person) => self.tell(Task::Enrol(person)),
            Op::Change(authority, change, person) => {
                self.tell(Task::Change(authority, change, person));
            }
            Op::Crash(name) => self.crash(name),
            Op::CrashInWrite(name, writes, reaches_disk) => {
                if self.shared.ledger().links.is_up(name) {
                    self.machines[name].disk.stop_after(writes, reaches_disk);
                }
            }
            Op::Start(name) => self.start(name),
            Op::Cut(a, b) => {
                self.sim.partition(a, b);
                self.shared.ledger().links.set_cut(a, b, true, now);
            }
            Op::Mend(a, b) => {
                self.sim.repair(a, b);
                self.shared.ledger().links.set_cut(a, b, false, now);
            }
            Op::Delay(a, b, millis) => {
                self.sim.set_link_latency(a, b, Duration::from_millis(millis));
                self.shared.ledger().links.set_delay(a, b, millis, now);
            }
            Op::Clock(name, millis) => {
                self.machines[name].clock.set_offset(millis);
                self.shared.ledger().links.set_offset(name, millis, now);
            }
            Op::Lie(authority, lie) => {
                self.shared.ledger().links.set_lie(authority, lie, now);
            }
            Op::Forget(name) => self.forget(name),
            Op::Heed(name, heeds) => self.heed(name, heeds),
            Op::Restore(authority) => self.restore(authority),
        }
    }

    pub(super) fn tell(&self, task: Task) {
        // Nobody listens any more only if the people's task panicked, which was noticed.
        let _ = self.tasks.send(task);
    }

    pub(super) fn crash(&mut self, name: &'static str) {
        if !self.shared.ledger().links.is_up(name) {
            return;
        }
        self.sim.crash(name);
        self.machines[name].disk.power_cut(&mut self.chance);
        if let Some(defect) = self.defect {
            defect.at_crash(&self.machines[name]);
        }
        self.shared.ledger().links.set_up(name, false, self.time.elapsed());
    }

    fn start(&mut self, name: &'static str) {
        if self.shared.ledger().links.is_up(name) {
            return;
        }
        if self.machines[name].disk.heeds_nothing() {
            self.shared.ledger().checkpoints.forgive(name);
        }
        self.shared.starts(&self.machines[name]);
        self.sim.bounce(name);
        self.shared.ledger().links.set_up(name, true, self.time.elapsed());
    }

    /// A witness cosigns whatever it is asked, or no longer.
    fn heed(&mut self, name: &'static str, heeds: bool) {
        let disk = &self.machines[name].disk;
        if disk.heeds_nothing() || !heeds {
            // What it cosigns without a memory it does not remember.
            let mut ledger = self.shared.ledger();
            ledger.checkpoints.heeds_nothing(name);
            ledger.checkpoints.forgive(name);
        }
        disk.heed_nothing(!heeds);
    }

    /// A witness is put back to what it knew some time ago.
    fn forget(&mut self, name: &'static str) {
        self.crash(name);
        let memories = self.memories.get(name).map(Vec::as_slice).unwrap_or_default();
        let back = memories.len().saturating_sub(20);
        if let Some(memory) = memories.get(back) {
            self.machines[name].disk.restore(&self.witness_folder(name), memory);
        }
        self.shared.ledger().checkpoints.forgive(name);
        self.start(name);
    }

    /// An authority's machine is lost, and an old copy of it goes on. Only what others have comes back to it: if its newest
    /// tick is with no mirror, or a quorum does not know of it, it goes on as it was.
    fn restore(&mut self, authority: Authority) {
        let name = authority.name();
        self.crash(name);
        let size = self.shared.ledger().checkpoints.signed_up_to(authority);
        let copied = match self.is_with_others(authority, size) {
            true => self.copies.restore(&self.machines[name]),
            false => None,
        };
        self.shared.trace(format!("{name} goes on from {copied:?}, having signed up to {size}"));
        if let Some(copied) = copied {
            let mut ledger = self.shared.ledger();
            ledger.restored(authority, copied, size);
            ledger.links.restore(name, self.time.elapsed());
            ledger.checkpoints.put_back(name);
            ledger.counted.remove(name);
            drop(ledger);
            self.sim.bounce(name);
            self.shared.ledger().links.set_up(name, true, self.time.elapsed());
        } else {
            self.start(name);
        }
    }

    fn is_with_others(&self, authority: Authority, size: u64) -> bool {
        let ledger = self.shared.ledger();
        let others = ["trustee", "sponsor", "committee", "police"];
        let others = others.into_iter().filter(|name| *name != authority.name());
        let is_held = others.clone().any(|name| ledger.checkpoints.held(name, authority) >= size);
        let remembers = |name: &&str| {
            let memory = self.machines[*name].contents("witness");
            memory.iter().any(|bytes| ledger.checkpoints.newest(authority, bytes) >= size)
        };
        is_held && others.filter(remembers).count() >= QUORUM
    }

    pub(super) fn mend_all(&mut self) {
        let now = self.time.elapsed();
        self.shared.trace("all is mended");
        for a in MACHINES.into_iter().chain([LIAR]) {
            for b in MACHINES.into_iter().chain([LIAR]).filter(|b| a < *b) {
                self.sim.repair(a, b);
                self.sim.set_link_latency(a, b, LATENCY.1);
                let links = &mut self.shared.ledger().links;
                links.set_cut(a, b, false, now);
                links.set_delay(a, b, 0, now);
            }
        }
        for authority in Authority::ALL {
            self.shared.ledger().links.set_lie(authority, crate::op::Lie::Honest, now);
        }
        for name in MACHINES {
            self.machines[name].disk.go_on();
            self.heed(name, true);
            if self.machines[name].clock.offset() != 0 {
                self.machines[name].clock.set_offset(0);
                self.shared.ledger().links.set_offset(name, 0, now);
            }
            self.start(name);
        }
    }
}

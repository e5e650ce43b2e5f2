//! What lies on the disks at the end of a course.

use std::sync::Arc;

use lanyard_core::manifest::VerifiedManifest;
use lanyard_core::receipt::ReceiptOrigin;
use lanyard_env::Env;
use lanyard_gate::verify_chain;
use lanyard_shareholder::Ledger as Counts;

use super::World;
use crate::event::GATES;
use crate::judged;
use crate::machine::Machine;

impl World<'_> {
    /// Every receipt that was acknowledged is in its gate's chain, which holds; and share holders' signed counts are not below
    /// what they were.
    pub(super) fn look_at_disks(&self, manifest: &VerifiedManifest) {
        for gate in GATES {
            self.look_at_receipts(gate, manifest);
        }
        self.look_at_counts(manifest);
    }

    fn look_at_receipts(&self, gate: &'static str, manifest: &VerifiedManifest) {
        let Machine { folder, disk, .. } = &self.machines[gate];
        let origin = ReceiptOrigin::new(&manifest.event, gate).expect("it is a gate's name");
        let key = &manifest.gate(gate).expect("it is in the manifest").receipts;
        let held = verify_chain(disk, &folder.join("data/receipts"), &origin, key);
        let ledger = self.shared.ledger();
        let given = ledger.receipts.keys().filter(|(at, _)| *at == gate).map(|(_, number)| *number);
        let given = given.max().unwrap_or_default();
        drop(ledger);
        self.shared.judged(judged::RECEIPTS);
        match held {
            Ok(held) if held >= given => {}
            Ok(held) => {
                let detail = format!("{gate} gave receipt {given}, and its chain ends at {held}");
                self.shared.violate("nothing-lost", detail);
            }
            Err(error) => {
                self.shared.violate("nothing-lost", format!("{gate}, receipts: {error}"));
            }
        }
    }

    fn look_at_counts(&self, manifest: &VerifiedManifest) {
        let counted = self.shared.ledger().counted.clone();
        for (holder, counted) in counted {
            let Machine { folder, disk, .. } = &self.machines[holder];
            let env = Env { files: Arc::new(disk.clone()), ..Env::system() };
            let dir = folder.join("data/evaluations");
            let counts = Counts::counts_in(&env, &dir, &manifest.event, holder);
            self.shared.judged(judged::COUNTED);
            match counts.map(|counts| counts.values().sum::<u64>()) {
                Ok(found) if found >= counted => {}
                Ok(found) => {
                    let detail =
                        format!("{holder} counted {counted} evaluations, {found} are left");
                    self.shared.violate("nothing-lost", detail);
                }
                Err(error) => {
                    self.shared.violate("nothing-lost", format!("{holder}, evaluations: {error}"));
                }
            }
        }
    }
}

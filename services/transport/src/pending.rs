//! Connections that have not yet shown a certificate.
//!
//! Anyone can open them, so they are few, and the newest wins: whoever floods a service with silent connections pushes
//! out its own older ones, while a real caller needs a slot only for two round trips. A flood must fill all slots
//! within these to keep anyone out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The table of pending connections.
pub(crate) struct Pending {
    limit: usize,
    limit_per_address: usize,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    next: u64,
    by_age: BTreeMap<u64, (IpAddr, CancellationToken)>,
    by_address: HashMap<IpAddr, VecDeque<u64>>,
}

/// A slot in the table, given back on drop.
pub(crate) struct Slot {
    table: Arc<Pending>,
    number: u64,
    dropped: CancellationToken,
}

impl Pending {
    pub(crate) fn new(limit: usize, limit_per_address: usize) -> Arc<Self> {
        let (limit, limit_per_address) = (limit.max(1), limit_per_address.max(1));
        Arc::new(Self { limit, limit_per_address, slots: Mutex::default() })
    }

    /// A slot for a new connection; makes room by dropping the oldest of its address, else the oldest of all.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Slot {
        let address = network_of(address);
        let mut slots = self.slots();
        let of_address = slots.by_address.get(&address);
        let oldest = match of_address {
            Some(own) if own.len() >= self.limit_per_address => own.front().copied(),
            _ if slots.by_age.len() >= self.limit => slots.by_age.keys().next().copied(),
            _ => None,
        };
        if let Some(number) = oldest {
            slots.drop_slot(number);
        }
        let (number, dropped) = (slots.next, CancellationToken::new());
        slots.next += 1;
        slots.by_age.insert(number, (address, dropped.clone()));
        slots.by_address.entry(address).or_default().push_back(number);
        Slot { table: Arc::clone(self), number, dropped }
    }

    /// Drops the oldest quarter, to free file descriptors.
    pub(crate) fn drop_oldest_quarter(&self) {
        let mut slots = self.slots();
        let count = slots.by_age.len().div_ceil(4);
        let oldest: Vec<_> = slots.by_age.keys().take(count).copied().collect();
        for number in oldest {
            slots.drop_slot(number);
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn drop_slot(&mut self, number: u64) {
        if let Some(dropped) = self.release(number) {
            dropped.cancel();
        }
    }

    fn release(&mut self, number: u64) -> Option<CancellationToken> {
        let (address, dropped) = self.by_age.remove(&number)?;
        if let Some(own) = self.by_address.get_mut(&address) {
            own.retain(|&other| other != number);
            if own.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(dropped)
    }
}

impl Slot {
    /// Resolves when the connection has to make room.
    pub(crate) async fn dropped(&self) {
        self.dropped.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.table.slots().release(self.number);
    }
}

/// A host has a whole /64 of IPv6 to call from.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_dropped(slot: &Slot) -> bool {
        slot.dropped.is_cancelled()
    }

    #[test]
    fn an_address_pushes_out_its_own_oldest_first() {
        let table = Pending::new(10, 2);
        let other = table.admit(address(2));
        let [first, second, third] = [1, 1, 1].map(|last| table.admit(address(last)));
        assert!(is_dropped(&first));
        assert!(![&other, &second, &third].into_iter().any(is_dropped));
    }

    #[test]
    fn a_full_table_pushes_out_the_oldest_and_finished_ones_make_room() {
        let table = Pending::new(3, 3);
        let slots: Vec<_> = (0..4).map(|last| table.admit(address(last))).collect();
        assert_eq!(slots.iter().map(is_dropped).collect::<Vec<_>>(), [true, false, false, false]);
        drop(slots);
        let slots: Vec<_> = (0..3).map(|last| table.admit(address(last))).collect();
        assert!(!slots.iter().any(is_dropped));
        table.drop_oldest_quarter();
        assert_eq!(slots.iter().map(is_dropped).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}

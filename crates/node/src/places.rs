//! Which transport of a shard a datagram is for.
//!
//! A check says for which transport it is; everything else is known by its address alone. Checks can be sent from any
//! address, so one that names an address which another transport has takes nothing away from that one: what comes from
//! there is tried on both, and the address moves to the other only when that one has opened some of it.

use std::collections::HashMap;
use std::sync::Arc;

use rtcloud_sfu::{Remote, Route, TransportKey};

use crate::shared::Shared;

/// Addresses remembered for one transport; the oldest give way.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// Transports that may claim an address which another has; the oldest give way.
const MAX_CLAIMS: usize = 3;
/// Addresses one transport may come from between two ICE restarts; a client that moves more often restarts.
const MAX_MOVES: usize = 64;
/// ICE user names remembered for one transport: the present one and those of restarts under way.
const MAX_UFRAGS: usize = 4;

/// A transport and its room.
pub(crate) type Place = (usize, TransportKey);

/// Whose an address is.
pub(crate) struct Owners {
    pub(crate) holder: Place,
    /// Those who say that it is theirs, the oldest first.
    pub(crate) claims: Vec<Place>,
}

impl Owners {
    fn contains(&self, place: Place) -> bool {
        self.holder == place || self.claims.contains(&place)
    }
}

/// Where a transport is and what leads to it.
#[derive(Default)]
pub(crate) struct Signs {
    ufrags: Vec<String>,
    pub(crate) addresses: Vec<Remote>,
    pub(crate) moves: usize,
}

/// Names and addresses of a shard's transports.
pub(crate) struct Places {
    index: usize,
    shared: Arc<Shared>,
    pub(crate) by_ufrag: HashMap<String, Place>,
    pub(crate) by_address: HashMap<Remote, Owners>,
    pub(crate) signs: HashMap<Place, Signs>,
}

impl Places {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Self {
        let (by_ufrag, by_address, signs) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { index, shared, by_ufrag, by_address, signs }
    }

    pub(crate) fn find(&self, ufrag: &str) -> Option<Place> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// Whose an address is, and whether others say that it is theirs.
    pub(crate) fn holder(&self, address: &Remote) -> Option<(Place, bool)> {
        self.by_address.get(address).map(|owners| (owners.holder, !owners.claims.is_empty()))
    }

    /// Who says that an address is theirs, the oldest first.
    pub(crate) fn claims(&self, address: &Remote) -> Vec<Place> {
        self.by_address.get(address).map(|owners| owners.claims.clone()).unwrap_or_default()
    }

    pub(crate) fn is_known(&self, source: Remote, place: Place) -> bool {
        self.by_address.get(&source).is_some_and(|owners| owners.contains(place))
    }

    /// Whether a transport may come from one more address.
    pub(crate) fn may_move(&self, place: Place) -> bool {
        self.signs.get(&place).is_none_or(|signs| signs.moves < MAX_MOVES)
    }

    /// One that claimed an address has proved that it is there.
    pub(crate) fn move_address(&mut self, address: Remote, to: Place) {
        let Some(owners) = self.by_address.get_mut(&address) else { return };
        let before = std::mem::replace(&mut owners.holder, to);
        owners.claims.retain(|place| *place != to);
        // It may claim it back.
        if let Some(signs) = self.signs.get_mut(&before) {
            signs.addresses.retain(|a| *a != address);
        }
    }

    /// A valid check for a transport came from an address that it did not have.
    pub(crate) fn bind(&mut self, source: Remote, place: Place) {
        let owners =
            self.by_address.entry(source).or_insert_with(|| Owners { holder: place, claims: Vec::new() });
        if owners.holder != place {
            owners.claims.push(place);
        }
        let displaced = (owners.claims.len() > MAX_CLAIMS).then(|| owners.claims.remove(0));
        if let Some(signs) = displaced.and_then(|place| self.signs.get_mut(&place)) {
            signs.addresses.retain(|a| *a != source);
        }
        let signs = self.signs.entry(place).or_default();
        signs.moves += 1;
        signs.addresses.push(source);
        if signs.addresses.len() > MAX_ADDRESSES {
            let oldest = signs.addresses.remove(0);
            self.forget_address(oldest, place);
        }
    }

    /// A transport is no longer at an address; the newest of those who claim it has it then.
    fn forget_address(&mut self, address: Remote, place: Place) {
        let Some(owners) = self.by_address.get_mut(&address) else { return };
        if owners.holder != place {
            owners.claims.retain(|p| *p != place);
        } else if let Some(next) = owners.claims.pop() {
            owners.holder = next;
        } else {
            self.by_address.remove(&address);
            self.shared.routes.remove_address(address, self.index);
        }
    }

    /// A transport is gone.
    pub(crate) fn forget(&mut self, at: Place) {
        let Some(signs) = self.signs.remove(&at) else { return };
        for ufrag in &signs.ufrags {
            self.by_ufrag.remove(ufrag);
            self.shared.routes.remove(ufrag);
        }
        for address in signs.addresses {
            self.forget_address(address, at);
        }
    }

    /// Transports of a room came, changed their names or went.
    pub(crate) fn follow(&mut self, room: usize, routes: Vec<Route>) {
        for route in routes {
            match route {
                Route::Add(ufrag, key) => self.add_ufrag((room, key), ufrag),
                Route::Remove(key) => self.forget((room, key)),
            }
        }
    }

    /// Checks with this name are for a transport.
    pub(crate) fn add_ufrag(&mut self, at: Place, ufrag: String) {
        if self.by_ufrag.insert(ufrag.clone(), at).is_some() {
            return;
        }
        self.shared.routes.add(&ufrag, self.index);
        let signs = self.signs.entry(at).or_default();
        signs.moves = 0;
        signs.ufrags.push(ufrag);
        if signs.ufrags.len() > MAX_UFRAGS {
            let old = signs.ufrags.remove(0);
            self.by_ufrag.remove(&old);
            self.shared.routes.remove(&old);
        }
    }

    pub(crate) fn forget_room(&mut self, index: usize) {
        let gone: Vec<Place> = self.signs.keys().filter(|(room, _)| *room == index).copied().collect();
        for place in gone {
            self.forget(place);
        }
    }
}

//! What ended and what lives on one edge, read as one.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use super::{
    distribution::Distribution,
    edge::{OwnerKind, Process},
};
use crate::{
    enrich::Owner,
    state::{
        edge::Edge,
        histogram::Histogram,
        key::{EdgeKey, Place},
        peers::Peers,
        pids::Pids,
        tally::Tally,
    },
};

/// What is shown as the executable of all edges that found no room.
pub const OTHER: &str = "~other";

/// An edge of one state or of two.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// Its identity.
    pub key: &'a EdgeKey,
    /// What is known of it.
    pub edge: &'a Edge,
    /// What lives, where that is what ended.
    pub more: Option<&'a Edge>,
}

impl<'a> Row<'a> {
    /// Passes the addresses that are shown of it to `see`.
    pub fn each_address(&self, mut see: impl FnMut(IpAddr)) {
        if let Place::Remote(address, _) = self.key.place {
            see(address);
        }
        let peers = [Some(self.edge), self.more].into_iter().flatten().flat_map(|edge| edge.peers.addresses());
        peers.for_each(see);
    }

    /// Whose it is, in all that is known.
    pub fn process(&self) -> Process {
        let key = self.key;
        let pids = self.pids();
        Process {
            kind: self.kind(),
            exe: if key.is_other { Some(OTHER.into()) } else { self.executable().cloned() },
            comm: self.comm().cloned(),
            container: key.container.as_ref().map(|container| container.id.clone()),
            pod: match &key.container {
                Some(container) => container.pod_uid.clone(),
                None => key.pod.clone(),
            },
            pids: Some(pids.count()).filter(|&count| count > 0),
            pid: key.pid.or_else(|| pids.only()),
        }
    }

    /// Whose it is.
    pub fn kind(&self) -> OwnerKind {
        let key = self.key;
        match &key.owner {
            _ if key.is_other => OwnerKind::Other,
            Some(_) if key.pid.is_some() => OwnerKind::Process,
            Some(owner) => OwnerKind::from(owner),
            None if key.name.is_some() => OwnerKind::Program,
            None => OwnerKind::Any,
        }
    }

    /// The latest name of its process.
    pub fn comm(&self) -> Option<&'a Arc<str>> {
        let latest = || self.more.and_then(|more| more.comm.as_ref()).or(self.edge.comm.as_ref());
        self.key.name.as_ref().or_else(|| latest().filter(|_| self.key.owner.is_some()))
    }

    /// Its counters.
    pub fn tally(&self) -> Cow<'a, Tally> {
        self.both(|edge| &edge.tally, Tally::merge)
    }

    /// Its processes.
    pub fn pids(&self) -> Cow<'a, Pids> {
        self.both(|edge| &edge.pids, Pids::merge)
    }

    /// Its peers.
    pub fn peers(&self) -> Cow<'a, Peers> {
        self.both(|edge| &edge.peers, Peers::merge)
    }

    /// One of its distributions.
    pub fn distribution(&self, of: fn(&Edge) -> &Histogram) -> Option<Distribution> {
        Distribution::of_both(of(self.edge), self.more.map(of))
    }

    fn both<T: Clone>(&self, of: fn(&Edge) -> &T, merge: fn(&mut T, &T)) -> Cow<'a, T> {
        match self.more {
            None => Cow::Borrowed(of(self.edge)),
            Some(more) => {
                let mut both = of(self.edge).clone();
                merge(&mut both, of(more));
                Cow::Owned(both)
            }
        }
    }

    /// Its executable, where that is known.
    pub fn executable(&self) -> Option<&'a Arc<str>> {
        match &self.key.owner {
            Some(Owner::Executable(exe)) if !self.key.is_other => Some(exe),
            _ => None,
        }
    }
}

//! How many distinct processes an edge has, in bounded memory.

/// How many processes are told apart at one time.
const REMEMBERED: usize = 64;

/// Counts distinct processes. One that comes back after 64 others were seen is counted again; a process per
/// connection, which is what makes edges with many of them, does not come back.
#[derive(Clone, Debug, Default)]
pub struct Pids {
    count: u64,
    /// The first one: most edges have no other.
    first: u32,
    /// The latest ones, once there are two.
    recent: Option<Box<Recent>>,
}

/// The latest ones; a ring once it is full.
#[derive(Clone, Debug)]
struct Recent {
    pids: Vec<u32>,
    next: usize,
}

impl Pids {
    /// Notes that `pid` has a connection here.
    pub fn note(&mut self, pid: u32) {
        if self.latest().contains(&pid) {
            return;
        }
        self.count += 1;
        if self.count == 1 {
            self.first = pid;
            return;
        }
        let first = self.first;
        let recent = self.recent.get_or_insert_with(|| Box::new(Recent { pids: vec![first], next: 0 }));
        if recent.pids.len() < REMEMBERED {
            recent.pids.push(pid);
        } else {
            recent.pids[recent.next] = pid;
            recent.next = (recent.next + 1) % REMEMBERED;
        }
    }

    /// Adds the processes of `other`.
    pub fn merge(&mut self, other: &Self) {
        let forgotten = other.count - other.latest().len() as u64;
        other.latest().iter().for_each(|&pid| self.note(pid));
        self.count += forgotten;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latest ones.
    pub fn latest(&self) -> &[u32] {
        match &self.recent {
            Some(recent) => &recent.pids,
            None if self.count > 0 => std::slice::from_ref(&self.first),
            None => &[],
        }
    }

    /// The only one, when there is one.
    pub fn only(&self) -> Option<u32> {
        (self.count == 1).then_some(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_processes_are_counted_in_bounded_memory() {
        let mut pids = Pids::default();
        pids.note(7);
        pids.note(7);
        assert_eq!((pids.count(), pids.only()), (1, Some(7)));
        for pid in 1_000..4_000 {
            pids.note(pid);
            pids.note(pid);
        }
        assert_eq!((pids.count(), pids.only()), (3_001, None));
        assert!(pids.latest().len() <= REMEMBERED);
        let mut other = Pids::default();
        other.note(3_999);
        other.note(9);
        pids.merge(&other);
        assert_eq!(pids.count(), 3_002);
    }
}

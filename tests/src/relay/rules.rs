//! What the relay does with a packet.

use std::time::Duration;

use crate::relay::{
    Side,
    packet::{Segment, unreachable},
};

/// What the relay says to a client's SYN instead of carrying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ICMP host unreachable (code 1), ICMPv6 address unreachable (code 3).
    Unreachable,
    /// ICMP and ICMPv6: administratively prohibited.
    Prohibited,
    /// A SYN that crosses the client's, then a RST to the client's SYN-ACK: a reset in SYN-RECEIVED.
    CrossingReset,
}

/// What is done with packets. The default carries all of them at once.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How long each packet takes.
    pub delay: Duration,
    /// So many SYNs of the client are lost from now on.
    pub drop_syns: u32,
    /// Everything is lost.
    pub silent: bool,
    /// SYNs of the client are answered here.
    pub answer: Option<Answer>,
    /// TCP segments lost so far.
    pub lost: u64,
}

/// First sequence number of the forged SYN.
const FORGED: u32 = 1_000_000;

impl Rules {
    /// The packets to deliver, and where, for one that came from `from`.
    pub(super) fn decide(&mut self, from: Side, packet: &[u8]) -> Vec<(Side, Vec<u8>)> {
        let segment = Segment::parse(packet);
        if self.silent {
            self.lost += u64::from(segment.is_some());
            return Vec::new();
        }
        let pass = || vec![(from.other(), packet.to_vec())];
        let (Side::Client, Some(segment)) = (from, segment) else { return pass() };
        let opens = segment.syn && !segment.ack;
        if opens && self.drop_syns > 0 {
            self.drop_syns -= 1;
            self.lost += 1;
            return Vec::new();
        }
        let answer = match self.answer {
            None => return pass(),
            Some(Answer::Unreachable) if opens => unreachable(packet, &segment, false),
            Some(Answer::Prohibited) if opens => unreachable(packet, &segment, true),
            Some(Answer::CrossingReset) if opens => segment.reply(FORGED, true),
            Some(Answer::CrossingReset) if segment.syn => segment.reply(FORGED + 1, false),
            Some(_) => None,
        };
        answer.map(|packet| (from, packet)).into_iter().collect()
    }
}

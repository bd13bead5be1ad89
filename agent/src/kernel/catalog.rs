//! Every probe: what it is for, its hooks in order of preference, and what is unknown without it.

/// A place in the kernel that a program can be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tracepoint with typed arguments (5.5 and later, needs BTF).
    TpBtf(&'static str),
    /// A function's entry, by trampoline (5.5 and later, needs BTF).
    Fentry(&'static str),
    /// A function's return, by trampoline.
    Fexit(&'static str),
    /// A function's entry, by breakpoint or ftrace.
    Kprobe(&'static str),
    /// A function's return, by breakpoint or ftrace.
    Kretprobe(&'static str),
    /// A walk through the kernel's objects of a kind, when user space asks for it (5.9 and later, needs BTF).
    Iter(&'static str),
    /// A tracepoint by its category and name (needs tracefs).
    Tracepoint(&'static str, &'static str),
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TpBtf(name) => write!(f, "tp_btf {name}"),
            Self::Fentry(name) => write!(f, "fentry {name}"),
            Self::Fexit(name) => write!(f, "fexit {name}"),
            Self::Kprobe(name) => write!(f, "kprobe {name}"),
            Self::Kretprobe(name) => write!(f, "kretprobe {name}"),
            Self::Iter(name) => write!(f, "iter {name}"),
            Self::Tracepoint(category, name) => write!(f, "tracepoint {category}/{name}"),
        }
    }
}

/// A program of the object and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Name in the object.
    pub program: &'static str,
    /// Where it is attached.
    pub hook: Hook,
}

/// One way to watch an event: all parts must attach.
pub type Choice = &'static [Part];

/// One probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeSpec {
    /// Its name, as `doctor` shows it.
    pub name: &'static str,
    /// What it sees.
    pub sees: &'static str,
    /// The ways to watch, best first.
    pub choices: &'static [Choice],
    /// What is unknown when no way works.
    pub unknown: &'static [&'static str],
    /// What the first way gives and the later ones do not.
    pub unknown_in_fallback: &'static [&'static str],
    /// How many ways count as the first: the same hook for other kernels.
    pub equals: usize,
    /// Whether it is of no use where the fields of sockets are not known.
    pub needs_fields: bool,
}

const fn part(program: &'static str, hook: Hook) -> Part {
    Part { program, hook }
}

/// All probes, in the order in which they are attached; they are detached in the reverse one.
///
/// State changes come after those that watch the connections which they begin to follow. Repair comes last and goes
/// first: without state changes every end would look missed.
pub const PROBES: &[ProbeSpec] = &[
    ProbeSpec {
        name: "process",
        sees: "fork, exec and exit of processes",
        choices: &[
            &[
                part("fork_tp_btf", Hook::TpBtf("sched_process_fork")),
                part("exec_tp_btf", Hook::TpBtf("sched_process_exec")),
                part("exit_tp_btf", Hook::TpBtf("sched_process_exit")),
            ],
            &[
                part("exec_tracepoint", Hook::Tracepoint("sched", "sched_process_exec")),
                part("exit_tracepoint", Hook::Tracepoint("sched", "sched_process_exit")),
            ],
        ],
        unknown: &["executables of processes that ended within the drain interval"],
        unknown_in_fallback: &["executables of processes that ended at once and never called exec"],
        equals: 1,
        needs_fields: false,
    },
    ProbeSpec {
        name: RECEIVE,
        sees: "bytes taken from a socket",
        choices: &[
            &[part("receive_tp_btf", Hook::TpBtf("tcp_rcv_space_adjust"))],
            &[part("receive_tracepoint", Hook::Tracepoint("tcp", "tcp_rcv_space_adjust"))],
        ],
        unknown: &["exchanges", "response times", "idle times", "reuse"],
        unknown_in_fallback: &[],
        equals: 1,
        needs_fields: true,
    },
    ProbeSpec {
        name: SEND,
        sees: "bytes given to a socket",
        choices: &[
            &[part("send_tp_btf", Hook::TpBtf("sock_send_length"))],
            &[part("send_fentry", Hook::Fentry("tcp_sendmsg"))],
            &[part("send_kprobe", Hook::Kprobe("tcp_sendmsg"))],
        ],
        unknown: &["response times", "idle times"],
        unknown_in_fallback: &["response times of requests sent by sendfile or splice"],
        equals: 1,
        needs_fields: true,
    },
    ProbeSpec {
        name: ACCEPT,
        sees: "the process that accepts",
        choices: &[
            &[
                part("accept_fexit", Hook::Fexit("inet_accept")),
                part("accept_mptcp_fexit", Hook::Fexit("mptcp_stream_accept")),
            ],
            // Kernels without MPTCP.
            &[part("accept_fexit", Hook::Fexit("inet_accept"))],
            &[
                part("accept_kprobe", Hook::Kprobe("inet_accept")),
                part("accept_kretprobe", Hook::Kretprobe("inet_accept")),
            ],
            &[
                part("accept4_tracepoint", Hook::Tracepoint("syscalls", "sys_exit_accept4")),
                part("accept_tracepoint", Hook::Tracepoint("syscalls", "sys_exit_accept")),
            ],
        ],
        unknown: &["who accepted, and the owner of accepted connections without data"],
        unknown_in_fallback: &["who accepted by io_uring"],
        equals: 2,
        needs_fields: true,
    },
    ProbeSpec {
        name: CONNECT,
        sees: "attempts that fail before a SYN",
        choices: &[
            &[
                part("connect_v4_fexit", Hook::Fexit("tcp_v4_connect")),
                part("connect_v6_fexit", Hook::Fexit("tcp_v6_connect")),
            ],
            &[
                part("connect_v4_kprobe", Hook::Kprobe("tcp_v4_connect")),
                part("connect_v4_kretprobe", Hook::Kretprobe("tcp_v4_connect")),
                part("connect_v6_kprobe", Hook::Kprobe("tcp_v6_connect")),
                part("connect_v6_kretprobe", Hook::Kretprobe("tcp_v6_connect")),
            ],
            #[cfg(target_arch = "x86_64")]
            &[part("connect_tracepoint", Hook::Tracepoint("syscalls", "sys_exit_connect"))],
        ],
        unknown: &["attempts that fail for want of a route or by policy"],
        unknown_in_fallback: &["attempts by io_uring that fail before a SYN"],
        equals: 1,
        needs_fields: true,
    },
    ProbeSpec {
        name: "close",
        sees: "closing by the application",
        choices: &[
            &[part("close_fentry", Hook::Fentry("tcp_close"))],
            &[part("close_kprobe", Hook::Kprobe("tcp_close"))],
            // State changes are attached in any case: they tell who sent our FIN.
            &[],
        ],
        unknown: &[],
        unknown_in_fallback: &["who closed a connection that the peer had reset"],
        equals: 1,
        needs_fields: true,
    },
    ProbeSpec {
        name: RETRANSMIT,
        sees: "segments sent again",
        choices: &[
            &[part("retransmit_tp_btf", Hook::TpBtf("tcp_retransmit_skb"))],
            &[part("retransmit_tracepoint", Hook::Tracepoint("tcp", "tcp_retransmit_skb"))],
        ],
        unknown: &["retransmits without progress"],
        unknown_in_fallback: &[],
        equals: 1,
        needs_fields: true,
    },
    ProbeSpec {
        name: "reset",
        sees: "resets on closing connections",
        choices: &[
            &[
                part("receive_reset_tp_btf", Hook::TpBtf("tcp_receive_reset")),
                part("send_reset_tp_btf", Hook::TpBtf("tcp_send_reset")),
            ],
            &[part("receive_reset_tracepoint", Hook::Tracepoint("tcp", "tcp_receive_reset"))],
        ],
        unknown: &["resets after a FIN"],
        unknown_in_fallback: &["resets sent after a FIN"],
        equals: 1,
        needs_fields: true,
    },
    ProbeSpec {
        name: EXISTING,
        sees: "connections older than redial, and whether those it follows are still there",
        choices: &[
            &[part(EXISTING_TCP, Hook::Iter("tcp")), part(EXISTING_HOLDERS, Hook::Iter("task_file"))],
            &[part(EXISTING_TCP, Hook::Iter("tcp"))],
        ],
        unknown: &["connections older than redial"],
        unknown_in_fallback: &["owners of older connections until they are used"],
        equals: 1,
        needs_fields: true,
    },
    ProbeSpec {
        name: STATE,
        sees: "state changes: every connection's beginning and end",
        choices: &[
            &[part("state_tp_btf", Hook::TpBtf("inet_sock_set_state"))],
            &[part("state_tracepoint", Hook::Tracepoint("sock", "inet_sock_set_state"))],
        ],
        unknown: &["everything"],
        unknown_in_fallback: &[],
        equals: 1,
        needs_fields: false,
    },
    ProbeSpec {
        name: DESTROY,
        sees: "the end of sockets, to repair a missed event",
        choices: &[
            &[part("destroy_tp_btf", Hook::TpBtf("tcp_destroy_sock"))],
            &[part("destroy_tracepoint", Hook::Tracepoint("tcp", "tcp_destroy_sock"))],
        ],
        unknown: &["connections whose end was missed stay open in the count"],
        unknown_in_fallback: &[],
        equals: 1,
        needs_fields: true,
    },
];

/// Whether a program decides which connections are followed, and until when.
pub fn follows(program: &str) -> bool {
    let of = PROBES.iter().filter(|probe| matches!(probe.name, STATE | DESTROY));
    of.flat_map(|probe| probe.choices.iter().copied().flatten()).any(|part| part.program == program)
}

/// The probe that takes in the connections that exist.
pub const EXISTING: &str = "existing";
/// Its program for sockets.
pub const EXISTING_TCP: &str = "existing_tcp";
/// Its program for the processes that hold them.
pub const EXISTING_HOLDERS: &str = "existing_holders";
/// The probe without which nothing is known.
pub const STATE: &str = "state";
/// The probe that makes records of what state changes missed.
pub const DESTROY: &str = "destroy";
/// The probe that retransmits without progress need.
pub const RETRANSMIT: &str = "retransmit";
/// The probe that tells who accepts.
pub const ACCEPT: &str = "accept";
/// The probe for attempts that fail before a SYN.
pub const CONNECT: &str = "connect";
/// The probe that times of exchanges need, beside [`RECEIVE`].
pub const SEND: &str = "send";
/// The probe that exchanges need.
pub const RECEIVE: &str = "receive";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_repair_comes_last() {
        let names: BTreeSet<_> = PROBES.iter().map(|probe| probe.name).collect();
        assert_eq!(names.len(), PROBES.len());
        assert!(matches!(PROBES, [.., state, destroy] if state.name == STATE && destroy.name == DESTROY));
        assert!(names.contains(RECEIVE) && names.contains(RETRANSMIT));
    }

    #[test]
    fn the_catalog_and_the_object_hold_the_same_programs() {
        let choices = PROBES.iter().flat_map(|probe| probe.choices);
        let named: BTreeSet<_> = choices.copied().flatten().map(|part| part.program).collect();
        let parsed = aya_obj::Object::parse(super::super::attach::OBJECT).expect("the committed object parses");
        let built: BTreeSet<_> = parsed.programs.keys().map(String::as_str).collect();
        assert_eq!(named, built);
    }
}

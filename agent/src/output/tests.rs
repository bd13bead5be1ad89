//! Golden tests: from a record's bytes to what is printed.

use std::borrow::Cow;

use jiff::{Timestamp, tz::TimeZone};
use redial_common::{
    record::conn::{Conn, flag},
    tcp::{closed_by, failed_by, family, role, state},
};

use super::*;
use crate::{
    enrich::{Identity, Owner},
    intake::{Event, decode::decode},
    kernel::status::Status,
    snapshot::{
        build::{Frame, build},
        connection::WallClock,
        losses::{LeftOut, Losses},
    },
    state::{State, key::By},
};

fn screen(width: usize) -> Screen {
    Screen { colour: false, width, zone: TimeZone::UTC, rows: 4 }
}

fn clock() -> WallClock {
    WallClock { monotonic_ns: 1_000_000_000, wall: Timestamp::from_second(1_795_252_000).unwrap() }
}

fn curl() -> Identity {
    Identity {
        owner: Owner::Executable("/usr/bin/curl".into()),
        pid: Some(4242),
        comm: Some("curl".into()),
        container: None,
    }
}

/// A client that had two exchanges within 13 ms.
fn client() -> Conn {
    let mut conn = Conn {
        id: 77,
        flags: flag::TURNS_WATCHED | flag::FINAL_READ | flag::TIME_WAIT | flag::KEEPALIVE,
        start_ns: 2_000_000_000,
        established_ns: 2_001_000_000,
        first_send_ns: 2_001_100_000,
        first_answer_ns: 2_003_100_000,
        last_send_ns: 2_010_000_000,
        last_recv_ns: 2_012_000_000,
        closing_ns: 2_013_000_000,
        end_ns: 2_013_000_000,
        first_turn_ns: 2_000_000,
        busy_ns: 4_000_000,
        bytes_sent: 156,
        bytes_received: 1_234,
        tgid: 4242,
        netns: 4_026_531_840,
        exchanges: 2,
        srtt_us: 250,
        min_rtt_us: u32::MAX,
        keepalive_ticks: 15_000,
        local_port: 40_000,
        remote_port: 443,
        local: [10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        remote: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        family: family::INET,
        role: role::CLIENT,
        state: state::FIN_WAIT2,
        closed_by: closed_by::LOCAL,
        ..Conn::ZERO
    };
    conn.reused.add(2_000_000);
    conn.idle.add(6_900_000);
    conn
}

fn refused() -> Conn {
    Conn {
        id: 78,
        flags: flag::TURNS_WATCHED | flag::FINAL_READ,
        start_ns: 2_000_000_000,
        end_ns: 2_000_050_000,
        error: 111,
        failed_by: failed_by::REFUSED,
        closed_by: closed_by::NONE,
        established_ns: 0,
        exchanges: 0,
        state: state::SYN_SENT,
        first_send_ns: 0,
        first_answer_ns: 0,
        bytes_sent: 0,
        bytes_received: 0,
        srtt_us: 0,
        ..client()
    }
}

fn server() -> Conn {
    Conn { id: 79, role: role::SERVER, local_port: 8080, remote_port: 50_123, closed_by: closed_by::REMOTE, ..client() }
}

fn through_the_wire(conn: &Conn) -> Conn {
    // SAFETY: `Conn` has no padding (its size is asserted field by field), so all its bytes are initialised.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(conn).cast::<u8>(), size_of::<Conn>()) };
    let mut event = Event::Ended(Conn::ZERO);
    decode(bytes, &mut event).unwrap();
    let Event::Ended(decoded) = event else { panic!("no connection") };
    decoded
}

fn trace(format: &str, width: usize, conns: &[Conn]) -> String {
    let screen = screen(width);
    let mut output = find(format, |output| output.trace).unwrap()(&screen);
    let mut out = Vec::new();
    output.head(&screen, &mut out).unwrap();
    for conn in conns {
        let connection = Connection::of(&through_the_wire(conn), &curl(), None, &clock(), 0.004);
        output.line(&connection, &screen, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_record_becomes_a_line_of_json() {
    let expected = concat!(
        r#"{"event":"closed","id":"77","start":"2026-11-21T09:06:41.000000000Z","end":"2026-11-21T09:06:41.013000000Z","#,
        r#""role":"client","family":"ipv4","local":{"addr":"10.0.0.9","port":40000},"remote":{"addr":"10.0.0.1","port":443},"#,
        r#""netns":4026531840,"pid":4242,"comm":"curl","exe":"/usr/bin/curl","acceptor_pid":null,"closer_pid":null,"closed_by":"local","#,
        r#""failed_by":null,"error":null,"connect_s":0.001,"lifetime_s":0.012,"first_send_s":0.0011,"#,
        r#""first_answer_s":0.0031,"last_activity_s":0.012,"first_turn_s":0.002,"first_response_s":0.003,"#,
        r#""reused_response_s":{"count":1,"mean":0.002,"p50":0.002,"p95":0.002,"p99":0.002,"max":0.002},"service_s":null,"#,
        r#""idle_before_reuse_s":{"count":1,"mean":0.0069,"p50":0.0069,"p95":0.0069,"p99":0.0069,"max":0.0069},"#,
        r#""idle_at_close_s":0.001,"busy_s":0.004,"exchanges":2,"unused":false,"bytes_sent":156,"bytes_received":1234,"#,
        r#""retransmits":0,"unanswered_retransmits":0,"srtt_s":0.00025,"min_rtt_s":null,"keepalive":true,"keepalive_idle_s":60.0,"time_wait":true,"#,
        r#""close_wait_s":null,"labels":[],"kind":"program"}"#,
        "\n"
    );
    assert_eq!(trace("jsonl", 80, &[client()]), expected);
}

#[test]
fn a_failed_attempt_and_a_server_have_their_own_facts() {
    let lines =
        trace("jsonl", 80, &[refused(), server(), Conn { flags: flag::NO_OFFSETS | flag::ADOPTED, ..client() }]);
    let values: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values[0]["event"], "failed");
    assert_eq!((&values[0]["failed_by"], &values[0]["error"]), (&"refused".into(), &"ECONNREFUSED".into()));
    for name in ["closed_by", "lifetime_s", "connect_s", "exchanges", "unused", "time_wait"] {
        assert!(values[0][name].is_null(), "{name}");
    }
    assert_eq!((&values[1]["service_s"]["count"], &values[1]["closed_by"]), (&2.into(), &"remote".into()));
    assert!(values[1]["connect_s"].is_null() && values[1]["first_response_s"].is_null());
    for name in ["lifetime_s", "connect_s", "exchanges", "unused", "bytes_sent", "retransmits", "keepalive", "busy_s"] {
        assert!(values[2][name].is_null(), "{name}");
    }
    assert_eq!(values[2]["labels"][0], "adopted");
}

#[test]
fn trace_lines_are_aligned_at_80_columns() {
    let v6 = Conn {
        family: family::INET6,
        remote: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        flags: flag::NO_OFFSETS,
        closed_by: closed_by::RESET_REMOTE,
        ..client()
    };
    let expected = "\
TIME     PROCESS[PID]    REMOTE             ENDED      LIFE  CONN EXCH SENT/RECV
09:06:41 curl[4242]    → 10.0.0.1:443       local      12ms 1.0ms    2 156B/1.2kB
09:06:41 curl[4242]    → 10.0.0.1:443       refused       -     -    -     0B/0B
09:06:41 curl[4242]    ← 10.0.0.1:50123     remote     12ms     -    2 156B/1.2kB
09:06:41 curl[4242]    → [2001:db8::1]:443  rst rcvd   12ms 1.0ms    -         -
";
    assert_eq!(trace("text", 80, &[client(), refused(), server(), v6]), expected);
}

fn snapshot() -> Snapshot<'static> {
    let (mut ended, mut live) = (State::new(100, By::Edge), State::new(100, By::Edge));
    for _ in 0..30 {
        ended.ended(&client(), &curl());
    }
    ended.ended(&Conn { closed_by: closed_by::REMOTE, ..client() }, &curl());
    ended.ended(&refused(), &curl());
    let nobody = Identity { owner: Owner::NotAccepted, pid: None, comm: None, container: None };
    ended.ended(&Conn { exchanges: 0, ..server() }, &nobody);
    let evil = Identity { owner: Owner::Executable("/opt/a\u{1b}[31m-very-long-name".into()), ..curl() };
    live.live(&Conn { end_ns: 0, exchanges: 48, ..server() }, &evil);
    for port in 1..=3 {
        ended.ended(&Conn { remote_port: port, flags: 0, ..client() }, &curl());
    }
    let frame = Frame {
        repaired: 0,
        window_ns: 10_000_000_000,
        host: Some("web1".to_owned()),
        probes: Vec::new(),
        self_limit: None,
        losses: Losses { map_full: 3, ..Losses::default() },
        left_out: LeftOut::default(),
        tables: None,
    };
    build(frame, Cow::Owned(ended), Cow::Owned(live), &|_| None)
}

fn top(width: usize) -> String {
    let mut out = Vec::new();
    find("text", |output| output.top).unwrap()(&snapshot(), &screen(width), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_table_at_80_columns() {
    let expected = r"web1, 10s: opened 3.6/s, closed 3.5/s, failed 0.10/s, open 1, exchanges/conn 3.3
lost: map_full 3

PROCESS        REMOTE                NEW/S  OPEN  FAIL EXCH/C CLOSED BY     LIFE
curl           → 10.0.0.1:443          3.1     0     1    2.0 local 97%     12ms
a\u{1b}[31m-v… ← :8080                0.10     1     0     48 -                -
(not accepted) ← :8080                0.10     0     0      0 remote        12ms
curl           → 10.0.0.1:1           0.10     0     0      - local         12ms
and 2 more edges (--rows shows more)
";
    assert_eq!(top(80), expected);
}

#[test]
fn the_table_at_120_columns() {
    let expected = r"web1, 10s: opened 3.6/s, closed 3.5/s, failed 0.10/s, open 1, exchanges/conn 3.3
lost: map_full 3

PROCESS        REMOTE                NEW/S  OPEN  FAIL EXCH/C REUSE CLOSED BY     LIFE TWAIT   CONN  FIRST  LATER   IDLE
curl           → 10.0.0.1:443          3.1     0     1    2.0   50% local 97%     12ms     -  999µs  2.9ms  2.0ms  6.9ms
a\u{1b}[31m-v… ← :8080                0.10     1     0     48   98% -                -     -      -      -  2.0ms  6.9ms
(not accepted) ← :8080                0.10     0     0      0     - remote        12ms     -      -      -  2.0ms  6.9ms
curl           → 10.0.0.1:1           0.10     0     0      -     - local         12ms     -  1.0ms      -      -      -
and 2 more edges (--rows shows more)
";
    assert_eq!(top(120), expected);
}

#[test]
fn doctor_says_why_and_what_to_do() {
    let probes = vec![
        ProbeStatus {
            name: "state",
            sees: "state changes",
            status: Status::Attached,
            hook: Some("tp_btf inet_sock_set_state".to_owned()),
            reason: None,
            unknown: vec![],
            remedy: None,
        },
        ProbeStatus {
            name: "send",
            sees: "bytes given to a socket",
            status: Status::Unavailable,
            hook: None,
            reason: Some("no such hook".to_owned()),
            unknown: vec!["response times", "idle times"],
            remedy: Some("use a newer kernel".to_owned()),
        },
    ];
    let mut out = Vec::new();
    find("text", |output| output.doctor).unwrap()(&probes, &screen(80), &mut out).unwrap();
    let expected = "\
attached     state  state changes
             hook: tp_btf inet_sock_set_state
unavailable  send   bytes given to a socket
             why: no such hook
             not known: response times, idle times
             remedy: use a newer kernel

2 probes: 1 attached, 0 by a fallback, 1 unavailable
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

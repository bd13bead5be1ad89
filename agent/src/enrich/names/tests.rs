//! A resolver of the test's own, and the system's for this host.

use std::fs;

use super::*;

const SHORT: Limits =
    Limits { queue: 4, cache: 8, threads: 1, found: Duration::from_millis(300), not_found: Duration::from_millis(300) };

fn remembered(names: &Names) -> usize {
    lock(&names.cache).len()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Answers each address from a channel, so that the test decides when.
struct Told(Mutex<Receiver<Option<&'static str>>>);

fn told(limits: Limits) -> (SyncSender<Option<&'static str>>, Names) {
    let (tell, answers) = sync_channel(100);
    (tell, Names::start(Told(Mutex::new(answers)), limits).unwrap())
}

impl Resolve for Told {
    fn resolve(&self, _: IpAddr) -> Option<String> {
        lock(&self.0).recv().ok().flatten().map(str::to_owned)
    }
}

/// Waits until `names` has an answer that `is_wanted`.
fn wait(names: &Names, address: IpAddr, is_wanted: impl Fn(Option<&str>) -> bool) {
    for _ in 0..1_000 {
        if is_wanted(names.name_of(address).as_deref()) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no such answer for {address}: {:?}", names.name_of(address));
}

#[test]
fn a_name_comes_later_and_is_asked_again_when_it_is_old() {
    let (tell, names) = told(SHORT);
    let address = ip("192.0.2.1");
    assert_eq!(names.name_of(address), None);
    tell.send(Some("one.example.")).unwrap();
    wait(&names, address, |name| name == Some("one.example"));
    // The old name stands until there is another.
    thread::sleep(SHORT.found);
    assert_eq!(names.name_of(address).as_deref(), Some("one.example"));
    tell.send(Some("two.example")).unwrap();
    wait(&names, address, |name| name == Some("two.example"));
    thread::sleep(SHORT.found);
    assert_eq!(names.name_of(address).as_deref(), Some("two.example"));
    tell.send(None).unwrap();
    wait(&names, address, |name| name.is_none());
    assert_eq!((names.dropped(), remembered(&names)), (0, 1));
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let (tell, names) = told(SHORT);
    for i in 0..20 {
        assert_eq!(names.name_of(IpAddr::from([192, 0, 2, i])), None);
    }
    // One may have been taken from the queue already.
    let dropped = names.dropped();
    assert!((15..=16).contains(&dropped), "{dropped}");
    assert_eq!(remembered(&names) as u64, 20 - dropped);
    names.name_of(ip("192.0.2.0"));
    assert_eq!(names.dropped(), dropped, "it waits already");
    drop(tell);
}

#[test]
fn memory_is_bounded() {
    let (tell, names) = told(Limits { found: Duration::from_mins(5), ..SHORT });
    for i in 0..50 {
        tell.send(Some("x.example")).unwrap();
        wait(&names, IpAddr::from([192, 0, 2, i]), |name| name.is_some());
        assert!(remembered(&names) <= SHORT.cache);
    }
    assert_eq!(names.name_of(ip("192.0.2.49")).as_deref(), Some("x.example"), "the newest are kept");
}

#[test]
fn only_names_are_taken() {
    assert_eq!(checked("a-b_c.example."), Some("a-b_c.example"));
    let long = "a".repeat(MAX_NAME + 1);
    for bad in ["", ".", "192.0.2.1", "a b", "a\u{1b}[31m", "é.example", &long] {
        assert_eq!(checked(bad), None, "{bad:?}");
    }
}

#[test]
fn addresses_of_this_host_and_link_are_not_asked_about() {
    for local in ["127.0.0.1", "::1", "0.0.0.0", "169.254.1.1", "fe80::1", "224.0.0.1", "255.255.255.255"] {
        assert!(!is_askable(ip(local)), "{local}");
    }
    for other in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"] {
        assert!(is_askable(ip(other)), "{other}");
    }
}

#[test]
fn the_system_names_what_its_hosts_file_names() {
    // The one address that is resolved without leaving the host, on hosts that name it there.
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let named = hosts.lines().find_map(|line| line.strip_prefix("127.0.0.1")?.split_whitespace().next());
    if let Some(name) = named {
        assert_eq!(System.resolve(ip("127.0.0.1")).as_deref(), Some(name));
    }
}

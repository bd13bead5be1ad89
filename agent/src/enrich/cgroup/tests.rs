//! What texts of /proc tell, and walks within their bounds over a directory that stands for the hierarchy.

use std::os::unix::fs::MetadataExt;

use super::*;

const ID: &str = "605439acbd4fb18c145069289094b17f17e0cfa938f78012d4960bc797305f22";
const OUTER: &str = "88ea268ece65a02d68b169fd74bcbcb427eb7f28900db0e3b906fb2eeb7341df";

fn container(text: &str) -> Option<String> {
    parse(text).container.as_ref().map(|container| container.id.to_string())
}

#[test]
fn the_line_in_most_containers_counts() {
    let unified = format!("0::/system.slice/docker-{ID}.scope\n");
    assert_eq!(container(&unified).as_deref(), Some(ID));
    // Docker by cgroupfs beside systemd's hierarchies: the unified one names the daemon.
    let mixed = format!("9:name=systemd:/docker/{ID}\n4:memory:/docker/{ID}\n0::/system.slice/containerd.service\n");
    assert_eq!(container(&mixed).as_deref(), Some(ID));
    let nested = format!("13:rdma:/\n12:cpuset:/docker/{OUTER}\n11:pids:/docker/{OUTER}/docker/{ID}\n");
    assert_eq!(container(&nested).as_deref(), Some(ID));
    let namespaced = format!("0::/../libpod-{ID}.scope/container\n");
    assert_eq!(container(&namespaced).as_deref(), Some(ID));
    let triple = format!("5:cpu,cpuacct:/system.slice:docker:{ID}\n");
    assert_eq!(container(&triple).as_deref(), Some(ID));
    for host in ["0::/\n", "0::/..\n", "0::/../../init.scope\n", "", "nonsense", "0::", "4:memory:/x\n0::/\n"] {
        assert_eq!(parse(host), Group::default(), "{host}");
    }
    let unit = parse("4:memory:/\n1:name=systemd:/system.slice/nginx.service\n0::/\n").unit;
    assert_eq!(unit.as_deref(), Some("nginx.service"));
}

#[test]
fn only_one_hierarchy_is_unified() {
    assert!(is_unified("0::/init.scope\n"));
    assert!(!is_unified("9:name=systemd:/\n0::/\n"));
    assert!(!is_unified(""));
}

#[test]
fn texts_are_remembered_within_bounds() {
    let mut cgroups = Cgroups::default();
    let first = cgroups.of_text("0::/system.slice/a.service\n");
    assert!(Arc::ptr_eq(&first, &cgroups.of_text("0::/system.slice/a.service\n")));
    for i in 0..3 * MAX_TEXTS {
        cgroups.of_text(&format!("0::/system.slice/{i}.service\n"));
        assert!(cgroups.by_text.len() <= MAX_TEXTS);
    }
    assert_eq!(first.unit.as_deref(), Some("a.service"));
}

#[test]
fn without_a_hierarchy_no_id_is_known_and_it_says_why() {
    let mut cgroups = Cgroups::default();
    assert_eq!(cgroups.of_id(1, 1), None);
    assert!(cgroups.missing().is_some());
}

#[test]
fn in_a_container_the_hosts_mount_is_wanted() {
    let own = "802 801 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    let host = "910 799 0:26 /../.. /host/sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
    let point = |mountinfo: &str, is_initial| choose(mountinfo, is_initial).map(|mount| mount.point);
    assert_eq!(point(own, true).as_deref(), Ok("/sys/fs/cgroup"));
    assert_eq!(point(&format!("{own}{host}"), false).as_deref(), Ok("/host/sys/fs/cgroup"));
    assert!(point(own, false).is_err() && point("", true).is_err());
}

/// A directory that is removed also when the test fails.
struct Place(std::path::PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("redial-cgroup-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn make(&self, path: &str) -> u64 {
        let path = self.0.join(path);
        fs::create_dir_all(&path).unwrap();
        fs::metadata(path).unwrap().ino()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It is in the temporary directory: left over, it does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_walk_finds_what_is_there_and_keeps_it() {
    const SECOND: u64 = 1_000_000_000;
    let place = Place::new("walk");
    let inner = place.make(&format!("system.slice/docker-{ID}.scope/init.scope"));
    let unit = place.make("system.slice/cron.service");
    let mut cgroups = Cgroups::new(Ok(Tree::to_walk(&place.0)), true);
    let id = |group: Option<Arc<Group>>| group.and_then(|g| Some(g.container.as_ref()?.id.to_string()));
    assert_eq!(id(cgroups.of_id(inner, SECOND)).as_deref(), Some(ID));
    assert_eq!(cgroups.of_id(unit, SECOND).unwrap().unit.as_deref(), Some("cron.service"));

    let later = place.make(&format!("docker/{OUTER}"));
    fs::remove_dir_all(place.0.join("system.slice")).unwrap();
    assert_eq!(cgroups.of_id(later, SECOND + 1), None, "too soon for another walk");
    let next = cgroups.walk_from_ns;
    assert!(next >= 2 * SECOND);
    assert_eq!(id(cgroups.of_id(later, next)).as_deref(), Some(OUTER));
    assert_eq!(id(cgroups.of_id(inner, next)).as_deref(), Some(ID), "kept after its end");
    assert_eq!(cgroups.of_id(u64::MAX, cgroups.walk_from_ns), None);
    assert_eq!(cgroups.by_id.get(&u64::MAX), Some(&None), "not looked for again");
}

#[test]
fn ids_are_remembered_within_bounds() {
    let place = Place::new("bounds");
    let there = place.make(&format!("docker/{ID}"));
    let mut cgroups = Cgroups::new(Ok(Tree::to_walk(&place.0)), true);
    for id in 0..MAX_DIRECTORIES as u64 {
        cgroups.by_id.insert(u64::MAX - id, None);
    }
    assert!(cgroups.of_id(there, 1).is_some());
    assert!(cgroups.by_id.len() <= MAX_DIRECTORIES);
}

//! Lives of processes as events and /proc tell them.

use std::path::Path;

use super::*;

/// A table that knows no process but from events: its /proc is an empty place.
fn without_proc(limit: usize) -> Processes {
    Processes::new(Procfs::new(Path::new("/nonexistent")), limit)
}

fn step(event: u32, tgid: u32, parent: u32, at_ns: u64, path: &str) -> Process {
    let mut process = Process { kind: 2, event, at_ns, tgid, parent, cgroup_id: 0, comm: [0; 16], path: [0; 128] };
    process.comm[..4].copy_from_slice(b"name");
    process.path[..path.len()].copy_from_slice(path.as_bytes());
    process
}

#[test]
fn a_process_that_lived_a_millisecond_has_its_executable() {
    let mut table = without_proc(100);
    table.observe(&step(event::FORK, 50, 1, 1_000, ""));
    table.observe(&step(event::EXEC, 50, 0, 2_000, "/no/such/curl"));
    table.observe(&step(event::EXIT, 50, 0, 1_000_000, ""));
    let program = table.look_up(50, 3_000, 900_000);
    assert_eq!(program.exe.as_deref(), Some("/no/such/curl"));
    assert_eq!(program.comm.as_deref(), Some("name"));
}

/// The ids of containers' groups that are gone by now.
const IN_CONTAINER: u64 = 7_001;
const ON_HOST: u64 = 7_002;
const ID: &str = "605439acbd4fb18c145069289094b17f17e0cfa938f78012d4960bc797305f22";

fn with_gone_groups(is_whole: bool) -> Processes {
    let scope = format!("/system.slice/docker-{ID}.scope");
    let known = [(IN_CONTAINER, &*scope), (ON_HOST, "/system.slice/cron.service")];
    without_proc(100).with_cgroups(Cgroups::knowing(&known, is_whole))
}

fn step_in(cgroup_id: u64, event: u32, tgid: u32, parent: u32, at_ns: u64) -> Process {
    Process { cgroup_id, ..step(event, tgid, parent, at_ns, "") }
}

fn container_of(table: &mut Processes, pid: u32, at_ns: u64) -> Option<String> {
    table.look_up(pid, 0, at_ns).group?.container.as_ref().map(|container| container.id.to_string())
}

#[test]
fn a_process_that_lived_a_millisecond_in_a_container_has_its_container() {
    let mut table = with_gone_groups(true);
    // As runtimes do: forked on the host, moved, then exec; and gone with its group before anybody asks.
    table.observe(&step_in(ON_HOST, event::FORK, 50, 1, 1_000));
    assert_eq!(table.look_up(50, 1_000, 1_500).group.unwrap().unit.as_deref(), Some("cron.service"));
    table.observe(&step_in(IN_CONTAINER, event::EXEC, 50, 0, 2_000));
    table.observe(&step_in(IN_CONTAINER, event::FORK, 51, 50, 3_000));
    table.observe(&step_in(IN_CONTAINER, event::EXIT, 51, 0, 500_000));
    table.observe(&step_in(IN_CONTAINER, event::EXIT, 50, 0, 1_000_000));
    assert_eq!(container_of(&mut table, 50, 900_000).as_deref(), Some(ID));
    assert_eq!(container_of(&mut table, 51, 400_000).as_deref(), Some(ID));
}

#[test]
fn an_unknown_group_is_inherited_and_else_not_guessed() {
    const GONE: u64 = 9_999;
    for is_whole in [true, false] {
        let mut table = with_gone_groups(is_whole);
        table.observe(&step_in(IN_CONTAINER, event::EXEC, 50, 0, 1_000));
        table.observe(&step_in(0, event::FORK, 51, 50, 2_000));
        assert_eq!(container_of(&mut table, 51, 3_000).as_deref(), Some(ID));
        // Moved to a group that was gone before anybody asked: not what it was forked in.
        table.observe(&step_in(GONE, event::FORK, 52, 50, 2_000));
        table.observe(&step_in(ON_HOST, event::FORK, 53, 1, 2_000));
        table.observe(&step_in(GONE, event::EXEC, 53, 0, 3_000));
        for pid in [52, 53] {
            assert_eq!(table.look_up(pid, 2_000, 4_000).group, None, "{pid}");
        }
    }
}

#[test]
fn beside_cgroup_v1_a_group_on_the_host_proves_nothing() {
    for is_whole in [true, false] {
        let mut table = with_gone_groups(is_whole);
        table.observe(&step_in(ON_HOST, event::EXEC, 50, 0, 1_000));
        let by_v1 = table.cgroups.of_text(&format!("4:memory:/docker/{ID}\n0::/system.slice/cron.service\n"));
        table.entries.get_mut(&50).unwrap().program.group = Some(by_v1);
        table.observe(&step_in(ON_HOST, event::FORK, 51, 50, 2_000));
        table.observe(&step_in(ON_HOST, event::EXIT, 51, 0, 3_000));
        assert_eq!(container_of(&mut table, 51, 2_500).as_deref(), (!is_whole).then_some(ID));
    }
}

#[test]
fn a_recycled_pid_is_another_process() {
    let mut table = without_proc(100);
    table.observe(&step(event::EXEC, 50, 0, 2_000, "/no/such/old"));
    table.observe(&step(event::EXIT, 50, 0, 5_000, ""));
    assert_eq!(table.look_up(50, 3_000, 4_000).exe.as_deref(), Some("/no/such/old"));
    assert_eq!(table.look_up(50, 6_000, 7_000), Program::default());
    table.observe(&step(event::FORK, 50, 1, 6_000, ""));
    table.observe(&step(event::EXEC, 50, 0, 6_500, "/no/such/new"));
    assert_eq!(table.look_up(50, 6_600, 7_000).exe.as_deref(), Some("/no/such/new"));
}

#[test]
fn what_calls_itself_is_what_it_was_and_a_descriptor_tells_nothing() {
    let mut table = without_proc(100);
    table.observe(&step(event::EXEC, 10, 0, 1_000, "/no/such/runc"));
    table.observe(&step(event::FORK, 50, 10, 2_000, ""));
    table.observe(&step(event::EXEC, 50, 0, 2_500, "/proc/self/exe"));
    assert_eq!(table.look_up(50, 2_600, 3_000).exe.as_deref(), Some("/no/such/runc"));
    table.observe(&step(event::EXEC, 50, 0, 3_100, "/no/such/shim"));
    table.observe(&step(event::EXEC, 50, 0, 3_200, "/proc/self/exe"));
    assert_eq!(table.look_up(50, 3_300, 3_400).exe.as_deref(), Some("/no/such/shim"));
    table.observe(&step(event::FORK, 60, 10, 3_000, ""));
    table.observe(&step(event::EXEC, 60, 0, 3_500, "/proc/self/fd/7"));
    assert_eq!(table.look_up(60, 3_600, 4_000).exe, None);
}

#[test]
fn a_fork_without_exec_is_its_parents_program() {
    let mut table = without_proc(100);
    table.observe(&step(event::EXEC, 10, 0, 1_000, "/no/such/postgres"));
    table.observe(&step(event::FORK, 50, 10, 2_000, ""));
    table.observe(&step(event::EXIT, 50, 0, 4_000, ""));
    assert_eq!(table.look_up(50, 2_500, 3_000).exe.as_deref(), Some("/no/such/postgres"));
}

#[test]
fn a_living_process_comes_from_proc() {
    let mut table = Processes::new(Procfs::new(Path::new("/proc")), 100);
    let own = table.look_up(std::process::id(), 0, u64::MAX);
    assert_eq!(own.exe.as_deref(), std::env::current_exe().unwrap().to_str());
    table.observe(&step(event::EXIT, std::process::id(), 0, 1, ""));
    assert!(table.look_up(std::process::id(), 0, 1).exe.is_some(), "kept after the end");
}

#[test]
fn the_dead_leave_first() {
    let mut table = without_proc(100);
    for pid in 1..=50 {
        table.observe(&step(event::FORK, pid, 0, u64::from(pid), ""));
    }
    for pid in 51..=2_000 {
        table.observe(&step(event::EXEC, pid, 0, u64::from(pid), "/no/such/x"));
        table.observe(&step(event::EXIT, pid, 0, u64::from(pid), ""));
        assert!(table.entries.len() <= 100);
    }
    assert!((1..=50).all(|pid| table.entries.contains_key(&pid)));
    assert!(table.entries.contains_key(&2_000) && !table.entries.contains_key(&51));
}

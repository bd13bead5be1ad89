//! Real paths of each family, and names that only look like a container's.

use super::{
    Group,
    Runtime::{self, Containerd, CriO, Docker, Other, Podman},
};

/// Stands in the paths for an id.
const ID: &str = "605439acbd4fb18c145069289094b17f17e0cfa938f78012d4960bc797305f22";

/// Stands for the id of a container, a pod or a node around it.
const OUTER: &str = "88ea268ece65a02d68b169fd74bcbcb427eb7f28900db0e3b906fb2eeb7341df";

/// The uid of a pod, and the form that systemd's names have.
const UID: &str = "ac04f3f2-1f2c-11e9-b015-1ebee232acfa";
const ESCAPED: &str = "ac04f3f2_1f2c_11e9_b015_1ebee232acfa";

/// A static pod's.
const STATIC: &str = "36b6d6be73b1065af369b3985edafa09";

fn fill(path: &str) -> String {
    path.replace("ID", ID)
        .replace("OUTER", OUTER)
        .replace("POD_", ESCAPED)
        .replace("POD", UID)
        .replace("STATIC", STATIC)
}

/// Family, path, runtime, pod, how many containers.
type Row = (&'static str, &'static str, Runtime, Option<&'static str>, usize);

const CONTAINERS: &[Row] = &[
    (
        "kubelet, containerd, systemd",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
        Containerd,
        Some(UID),
        1,
    ),
    (
        "kubelet, containerd, systemd, guaranteed",
        "/kubepods.slice/kubepods-podPOD_.slice/cri-containerd-ID.scope",
        Containerd,
        Some(UID),
        1,
    ),
    (
        "kubelet, containerd told systemd's name and not to use it",
        "/kubepods-besteffort-podPOD_.slice:cri-containerd:ID",
        Containerd,
        Some(UID),
        1,
    ),
    (
        "the same beneath containerd's unit, static pod",
        "/system.slice/containerd.service/kubepods-burstable-podSTATIC.slice:cri-containerd:ID",
        Containerd,
        Some(STATIC),
        1,
    ),
    ("kubelet, containerd or Docker, cgroupfs", "/kubepods/besteffort/podPOD/ID", Other, Some(UID), 1),
    ("the same, guaranteed static pod", "/kubepods/podSTATIC/ID", Other, Some(STATIC), 1),
    ("containerd's CRI without a parent", "/k8s.io/ID", Containerd, None, 1),
    (
        "containerd's CRI in another slice",
        "/system.slice/system-getty.slice/cri-containerd-ID.scope",
        Containerd,
        None,
        1,
    ),
    ("nerdctl, systemd", "/system.slice/nerdctl-ID.scope", Containerd, None, 1),
    ("nerdctl, cgroupfs", "/default/ID", Containerd, None, 1),
    (
        "nerdctl, rootless",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-ID.scope",
        Containerd,
        None,
        1,
    ),
    (
        "kubelet, CRI-O, systemd",
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/crio-ID.scope",
        CriO,
        Some(UID),
        1,
    ),
    ("kubelet, CRI-O with crun", "/kubepods.slice/kubepods-podPOD_.slice/crio-ID.scope/container", CriO, Some(UID), 1),
    ("kubelet, CRI-O, cgroupfs", "/kubepods/burstable/podPOD/crio-ID", CriO, Some(UID), 1),
    (
        "kubelet, Docker, systemd",
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/docker-ID.scope",
        Docker,
        Some(UID),
        1,
    ),
    ("Docker, systemd", "/system.slice/docker-ID.scope", Docker, None, 1),
    ("Docker, cgroupfs", "/docker/ID", Docker, None, 1),
    ("Docker, rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", Docker, None, 1),
    ("Docker, a parent of the user's", "/batch/ID", Other, None, 1),
    ("Docker, of the oldest", "/ID", Other, None, 1),
    ("Amazon ECS", "/ecs/55091c13-b8cf-4801-b527-f4601742204d/ID", Other, None, 1),
    ("Podman, systemd", "/machine.slice/libpod-ID.scope", Podman, None, 1),
    ("Podman with crun", "/machine.slice/libpod-ID.scope/container", Podman, None, 1),
    ("Podman, cgroupfs", "/libpod_parent/libpod-ID", Podman, None, 1),
    (
        "Podman, a pod, systemd",
        "/machine.slice/machine-libpod_pod_OUTER.slice/libpod-ID.scope/container",
        Podman,
        None,
        1,
    ),
    ("Podman, a pod, cgroupfs", "/libpod_parent/OUTER/libpod-ID", Podman, None, 1),
    (
        "Podman, rootless",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        Podman,
        None,
        1,
    ),
    (
        "Podman, rootless, a pod",
        "/user.slice/user-1001.slice/user@1001.service/user.slice/user-libpod_pod_OUTER.slice/libpod-ID.scope/container",
        Podman,
        None,
        1,
    ),
    ("Podman under its unit (--cgroups=split)", "/system.slice/web.service/libpod-payload-ID", Podman, None, 1),
    ("another user of an OCI runtime", "/machine.slice/runq-ID.scope", Other, None, 1),
    (
        "kind on Docker, systemd",
        "/system.slice/docker-OUTER.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podPOD_.slice/cri-containerd-ID.scope",
        Containerd,
        Some(UID),
        2,
    ),
    ("kind on Docker, cgroupfs", "/docker/OUTER/kubelet/kubepods/burstable/podPOD/ID", Other, Some(UID), 2),
    ("Docker in Docker", "/system.slice/docker-OUTER.scope/docker/ID", Docker, None, 2),
    ("Docker in a pod", "/kubepods/burstable/podPOD/OUTER/docker/ID", Docker, Some(UID), 2),
    ("Docker in LXC", "/lxc/101/ns/system.slice/docker-ID.scope", Docker, None, 1),
    (
        "a neighbour's pod, seen from a cgroup namespace",
        "/../../kubepods-besteffort-podPOD_.slice/cri-containerd-ID.scope",
        Containerd,
        Some(UID),
        1,
    ),
    ("the same, cgroupfs", "/../../podPOD/ID", Other, Some(UID), 1),
    ("a container beside the own one, seen from a cgroup namespace", "/../crio-ID.scope", CriO, None, 1),
    ("gone, but for a zombie", "/system.slice/docker-ID.scope (deleted)", Docker, None, 1),
];

#[test]
fn containers_are_told_by_their_path() {
    for &(family, path, runtime, pod_uid, depth) in CONTAINERS {
        let path = fill(path);
        let (group, nested) = Group::of_path(&path);
        let container = group.container.unwrap_or_else(|| panic!("{family}: no container in {path}"));
        let told = (&*container.id, container.runtime, container.pod_uid.as_deref(), nested);
        assert_eq!(told, (ID, runtime, pod_uid, depth), "{family}: {path}");
    }
}

#[test]
fn what_is_no_container_is_none() {
    for path in [
        "",
        "/",
        "/..",
        "/init.scope",
        "/system.slice/containerd.service",
        "/user.slice/user-1000.slice/user@1000.service/init.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice",
        "/kubepods.slice/kubepods-podPOD_.slice/crio-conmon-ID.scope",
        "/system.slice/crio-conmon-ID.scope",
        "/kubepods/burstable/podPOD/crio-conmon-ID",
        "/machine.slice/libpod-conmon-ID.scope",
        "/libpod_parent/libpod-conmon-ID",
        "/libpod_parent/OUTER/libpod-conmon-ID",
        "/libpod_parent/OUTER/conmon",
        "/libpod_parent/libpod-ID/conmon",
        "/machine.slice/machine-libpod_pod_OUTER.slice",
        "/machine.slice/systemd-nspawn@debian.service/payload/system.slice",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        "/lxc.payload.web/system.slice",
        "/docker/buildkit/n4eu0udvbz9vfzjy71jkvgkwh",
        "/default/redis-server",
        "/system.slice/docker-ID.scope.mount",
        "/system.slice/docker-0ID.scope",
        "/system.slice/docker-605439acbd4f.scope",
        "/process_api/dbfd220fd3bb1bbed3ddd637c362e5de",
        "/some-ID",
    ] {
        let path = fill(path);
        assert_eq!(Group::of_path(&path).0.container, None, "{path}");
    }
    let upper = format!("/docker/{}", ID.to_uppercase());
    assert_eq!(Group::of_path(&upper).0.container, None);
    let letters = format!("/docker/é{}", "ü".repeat(40));
    assert_eq!(Group::of_path(&letters).0.container, None);
}

#[test]
fn a_monitor_in_a_container_is_in_that_container() {
    let (group, depth) = Group::of_path(&fill("/docker/ID/machine.slice/libpod-conmon-OUTER.scope"));
    assert_eq!((group.container.map(|c| c.id.to_string()).as_deref(), depth), (Some(ID), 1));
}

#[test]
fn the_unit_is_the_innermost_service() {
    for (path, unit) in [
        ("/system.slice/nginx.service", Some("nginx.service")),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service", Some("postgresql@15-main.service")),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app.service", Some("app.service")),
        ("/system.slice/_cgroup.service/supervisor", Some("cgroup.service")),
        ("/../../../system.slice/nginx.service", Some("nginx.service")),
        ("/system.slice/docker-ID.scope/system.slice/cron.service", Some("cron.service")),
        ("/system.slice/containerd.service/kubepods-burstable-podSTATIC.slice:cri-containerd:ID", None),
        ("/user.slice/user-1000.slice/run-7.scope", None),
        ("/", None),
    ] {
        assert_eq!(Group::of_path(&fill(path)).0.unit.as_deref(), unit, "{path}");
    }
}

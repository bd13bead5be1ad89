//! Which container and which systemd unit a control group is of, told by its path.
//!
//! A path's names are the runtimes' own conventions. What they do not tell stays unknown: containers whose names are no
//! 64 hexadecimal digits (LXC, systemd-nspawn, `ctr run`, BuildKit), and those that were given no group of their own
//! (rootless Podman on cgroup v1).

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Length of a container's id, in hexadecimal digits.
const ID_LEN: usize = 64;

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// containerd, by the kubelet or by nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker, also as the kubelet's runtime.
    Docker,
    /// Podman.
    Podman,
    /// Another one, or the path does not tell which.
    Other,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Its full id: 64 hexadecimal digits.
    pub id: Arc<str>,
    /// What runs it.
    pub runtime: Runtime,
    /// The uid of its Kubernetes pod, as the API server writes it; a static pod's is a hash of its manifest.
    pub pod_uid: Option<Arc<str>>,
}

impl Hash for Container {
    /// 16 digits of a random id tell containers apart as well as all that is known of them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.id.as_bytes().get(..16).unwrap_or(self.id.as_bytes()));
    }
}

/// What a control group's path tells of the processes in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The innermost container; `None` on the host.
    pub container: Option<Arc<Container>>,
    /// The innermost systemd service, of the container's own systemd inside of a container.
    pub unit: Option<Arc<str>>,
}

impl Group {
    /// What `path` tells, and in how many containers, one in the other, it is.
    ///
    /// A path relative to a cgroup namespace (`/../x`) tells what its visible part tells.
    pub fn of_path(path: &str) -> (Self, usize) {
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let names: Vec<&str> = path.split('/').collect();
        let mut found = None;
        let mut depth = 0;
        for (at, name) in names.iter().enumerate() {
            let parent = at.checked_sub(1).and_then(|above| names.get(above)).copied();
            if let Some((id, runtime)) = container_name(name, parent, names.get(at + 1).copied()) {
                found = Some((at, id, runtime));
                depth += 1;
            }
        }
        let container = found.map(|(at, id, runtime)| {
            let pod_uid = names.iter().take(at + 1).rev().find_map(|name| pod_uid(name)).map(Arc::from);
            Arc::new(Container { id: id.into(), runtime, pod_uid })
        });
        let own = found.map_or(0, |(at, ..)| at + 1);
        let unit = names.iter().skip(own).rev().find(|name| name.ends_with(".service"));
        // systemd puts `_` before a name that would read as one of the kernel's files.
        let unit = unit.map(|name| name.strip_prefix('_').unwrap_or(name).into());
        (Self { container, unit }, depth)
    }
}

/// The container whose directory is called `name` in `parent`, if that is the name of one: its id alone, or behind the
/// runtime's word, as a directory, as systemd's scope, or in the form `slice:word:id`.
fn container_name<'a>(name: &'a str, parent: Option<&str>, child: Option<&str>) -> Option<(&'a str, Runtime)> {
    // Podman's monitor, beneath a container's or a pod's directory, runs on the host.
    if child == Some("conmon") {
        return None;
    }
    let stem = name.strip_suffix(".scope");
    let text = stem.unwrap_or(name);
    let (front, id) = text.split_at_checked(text.len().checked_sub(ID_LEN)?)?;
    if !is_lower_hex(id) {
        return None;
    }
    if front.is_empty() {
        let runtime = match parent {
            // A pod of Podman's: its containers are beneath.
            Some("libpod_parent") => return None,
            Some("docker") => Runtime::Docker,
            // Namespaces of containerd.
            Some("default" | "k8s.io") => Runtime::Containerd,
            _ => Runtime::Other,
        };
        return Some((id, runtime));
    }
    let word = front.strip_suffix(['-', ':'])?;
    let (is_triple, word) = word.rsplit_once(':').map_or((front.ends_with(':'), word), |(_, word)| (true, word));
    let runtime = match word {
        "docker" => Runtime::Docker,
        "containerd" | "cri-containerd" | "nerdctl" => Runtime::Containerd,
        "crio" => Runtime::CriO,
        "libpod" | "libpod-payload" => Runtime::Podman,
        monitor if monitor.ends_with("conmon") => return None,
        // OCI runtimes make these forms, and only for containers.
        _ if stem.is_some() || is_triple => Runtime::Other,
        _ => return None,
    };
    Some((id, runtime))
}

/// The uid in the name of a pod's directory: `pod<uid>`, or `…kubepods…-pod<uid>.slice` with `_` for `-`.
fn pod_uid(name: &str) -> Option<String> {
    let directory = name.split(':').next()?;
    let uid = match directory.strip_suffix(".slice") {
        Some(slice) if slice.contains("kubepods") => slice.rsplit('-').next()?.strip_prefix("pod")?.replace('_', "-"),
        Some(_) => return None,
        None => directory.strip_prefix("pod")?.to_owned(),
    };
    is_uid(&uid).then_some(uid)
}

/// Whether `text` has the form of a UUID, or of the MD5 hash that a static pod has instead.
fn is_uid(text: &str) -> bool {
    let groups = || text.split('-').map(str::len);
    text.split('-').all(is_lower_hex) && (groups().eq([8, 4, 4, 4, 12]) || groups().eq([32]))
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;

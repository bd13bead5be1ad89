//! From the path that a program was called by to the executable that ran, for processes that are gone already.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read,
    path::Path,
    sync::Arc,
};

/// How many called paths are remembered; over that the memory starts anew.
const MAX_PATHS: usize = 1024;

/// How much of a script's first line the kernel reads (BINPRM_BUF_SIZE).
const SCRIPT_HEAD: u64 = 256;

/// Executables by the path that they were called by.
///
/// A process that lives long enough shows its executable in /proc; what was learnt there answers for a later, shorter
/// one. A path never seen alive is followed through symbolic links and a script's first line, in the agent's own view
/// of the file system.
#[derive(Debug, Default)]
pub struct Executables {
    by_path: HashMap<Arc<str>, Option<Arc<str>>>,
}

impl Executables {
    /// Remembers that a process called by `path` ran `exe`.
    pub fn learn(&mut self, path: &Arc<str>, exe: &Arc<str>) {
        self.insert(Arc::clone(path), Some(Arc::clone(exe)));
    }

    /// The executable behind `path`; `None` when the path is relative.
    pub fn resolve(&mut self, path: &Arc<str>) -> Option<Arc<str>> {
        if let Some(known) = self.by_path.get(path) {
            return known.clone();
        }
        let exe = follow(path).map(Arc::from);
        self.insert(Arc::clone(path), exe.clone());
        exe
    }

    fn insert(&mut self, path: Arc<str>, exe: Option<Arc<str>>) {
        if self.by_path.len() >= MAX_PATHS && !self.by_path.contains_key(&path) {
            self.by_path.clear();
        }
        self.by_path.insert(path, exe);
    }
}

/// What the path that a program was called by says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// Where the executable is.
    Path,
    /// That it is the one that ran already.
    Itself,
    /// That an open descriptor holds it: the same path means another file in each process.
    Descriptor,
}

/// What `path` says.
pub fn called(path: &str) -> Called {
    let own = path.strip_prefix("/proc/self/").or_else(|| path.strip_prefix("/proc/thread-self/"));
    match own {
        Some("exe") => Called::Itself,
        Some(_) => Called::Descriptor,
        None if path.starts_with("/dev/fd/") => Called::Descriptor,
        None => Called::Path,
    }
}

fn follow(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let target = interpreter(path).unwrap_or_else(|| path.to_owned());
    // A path of another mount namespace may not exist here: then it is the best name there is.
    Some(fs::canonicalize(&target).map_or(target, |real| real.to_string_lossy().into_owned()))
}

/// The interpreter that a script's first line names; `None` for anything but a script.
fn interpreter(path: &str) -> Option<String> {
    // Opening a FIFO or a device could block or act: only regular files are opened.
    if !fs::metadata(Path::new(path)).ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    File::open(path).ok()?.take(SCRIPT_HEAD).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let name = String::from_utf8_lossy(line).split_whitespace().next()?.to_owned();
    name.starts_with('/').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_followed() {
        let dir = std::env::temp_dir().join(format!("redial-executable-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let script = dir.join("job.sh");
        fs::write(&script, "#! /proc/self/exe -x\n").unwrap();
        let own = fs::canonicalize("/proc/self/exe").unwrap().to_string_lossy().into_owned();
        let found = follow(&script.to_string_lossy());
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, Some(own));
        assert_eq!(follow("relative/path"), None);
        assert_eq!(follow("/no/such/file").as_deref(), Some("/no/such/file"));
    }

    #[test]
    fn memory_is_bounded_and_the_living_teach() {
        let mut executables = Executables::default();
        let (path, exe): (Arc<str>, Arc<str>) = ("tool".into(), "/opt/tool".into());
        assert_eq!(executables.resolve(&path), None);
        executables.learn(&path, &exe);
        assert_eq!(executables.resolve(&path), Some(exe));
        for i in 0..3 * MAX_PATHS {
            executables.resolve(&format!("relative{i}").into());
        }
        assert!(executables.by_path.len() <= MAX_PATHS);
    }
}

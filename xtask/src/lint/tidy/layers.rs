//! Imports follow the data: a stage of the agent imports itself and earlier stages, and aya stays where it belongs.

use super::{
    code,
    tree::{File, Tree},
    uses,
};

/// The agent's stages in the order that data takes.
const STAGES: &[&str] =
    &["host", "kernel", "intake", "enrich", "state", "snapshot", "diagnose", "metrics", "output", "cli"];

/// Stages that see the snapshot only.
const SNAPSHOT_ONLY: &[&str] = &["diagnose", "metrics"];

const SOURCES: &str = "agent/src/";
/// Files beside the stages: the map of the crate, and the program.
const NO_STAGE: &[&str] = &["agent/src/lib.rs", "agent/src/main.rs"];
/// Where aya may be named, besides the kernel stage.
const RING: &str = "agent/src/intake/ring.rs";

/// Complains of imports against the order, and of aya outside its place.
pub fn check(tree: &Tree) -> Vec<String> {
    let agent = tree.rust().filter(|file| file.path.starts_with(SOURCES) && !NO_STAGE.contains(&file.path.as_str()));
    agent.flat_map(file_complaints).collect()
}

fn file_complaints(file: &File) -> Vec<String> {
    let path = &file.path;
    let own = path[SOURCES.len()..].split(['/', '.']).next().unwrap_or_default();
    let Some(rank) = rank(own) else {
        return vec![format!("{path}: `{own}` is no stage; give it a place in {}", STAGES.join(", "))];
    };
    let bare = code::bare(&file.text);
    let mut complaints = Vec::new();
    for used in uses::paths(&bare, "crate") {
        let stage = used.path.split("::").nth(1).unwrap_or_default();
        let fault = match self::rank(stage) {
            None if stage == "*" => Some("imports everything".to_owned()),
            None => None,
            Some(_) if stage == own => None,
            Some(_) if SNAPSHOT_ONLY.contains(&own) && stage != "snapshot" => {
                Some(format!("`{own}` sees `snapshot` only, not `{stage}`"))
            }
            Some(other) if other > rank => Some(format!("`{own}` comes before `{stage}` and must not import it")),
            Some(_) => None,
        };
        let line = code::line(&bare, used.offset);
        complaints.extend(fault.map(|fault| format!("{path}:{line}: {fault} (`{}`)", used.path)));
    }
    if own != "kernel" && path != RING {
        for root in ["aya", "aya_obj"] {
            let first = uses::paths(&bare, root).into_iter().next();
            complaints.extend(first.map(|used| {
                let line = code::line(&bare, used.offset);
                format!("{path}:{line}: only kernel/ and intake/ring.rs may name {root} (`{}`)", used.path)
            }));
        }
    }
    complaints
}

fn rank(stage: &str) -> Option<usize> {
    STAGES.iter().position(|name| *name == stage)
}

#[cfg(test)]
mod tests {
    use super::{super::tree::one, *};

    fn complaints(path: &str, text: &str) -> usize {
        check(&one(path, text)).len()
    }

    #[test]
    fn an_earlier_stage_must_not_import_a_later_one() {
        assert_eq!(complaints("agent/src/state/edge.rs", "use crate::{enrich::X,\n output::Y};"), 1);
        assert_eq!(complaints("agent/src/state/edge.rs", "fn f(x: crate::cli::Args) {}"), 1);
        assert_eq!(complaints("agent/src/state/edge.rs", "use crate::{enrich::X, state::Y}; // crate::cli"), 0);
        assert_eq!(complaints("agent/src/state/edge.rs", "use crate::*;"), 1);
    }

    #[test]
    fn metrics_and_diagnose_see_the_snapshot_only() {
        assert_eq!(complaints("agent/src/metrics/open.rs", "use crate::state::Edge;"), 1);
        assert_eq!(complaints("agent/src/metrics/open.rs", "use crate::diagnose::Finding;"), 1);
        assert_eq!(complaints("agent/src/diagnose/mod.rs", "use crate::{snapshot::Snapshot, diagnose::Rule};"), 0);
    }

    #[test]
    fn aya_stays_in_its_place() {
        assert_eq!(complaints("agent/src/intake/decode.rs", "use aya::maps::RingBuf;"), 1);
        assert_eq!(complaints("agent/src/intake/ring.rs", "use aya::maps::RingBuf;"), 0);
        assert_eq!(complaints("agent/src/kernel/load.rs", "use aya::Ebpf;"), 0);
    }

    #[test]
    fn a_new_folder_needs_a_place_in_the_order() {
        assert_eq!(complaints("agent/src/util.rs", ""), 1);
        assert_eq!(complaints("agent/src/lib.rs", "use crate::cli;"), 0);
    }
}

//! How long Rust files are.

use super::tree::Tree;

const MEDIAN: usize = 120;
const P95: usize = 400;
const MAX: usize = 600;

/// Complains of files that are too long, and of too many that are long.
pub fn check(tree: &Tree) -> Vec<String> {
    let lengths = lengths(tree);
    let mut complaints: Vec<String> = lengths
        .iter()
        .filter(|(length, _)| *length > MAX)
        .map(|(length, path)| format!("{path}:{MAX}: {length} lines, {MAX} are allowed; split it by what it does"))
        .collect();
    let p95 = percentile(&lengths, 95);
    if p95 > P95 {
        complaints.push(format!("the 95th percentile of the files' lengths is {p95} lines, {P95} are allowed"));
    }
    complaints
}

/// The lengths in one line.
pub fn report(tree: &Tree) -> String {
    let lengths = lengths(tree);
    let (median, p95) = (percentile(&lengths, 50), percentile(&lengths, 95));
    let (max, longest) = lengths.last().map_or((0, ""), |(length, path)| (*length, *path));
    format!(
        "{} Rust files; lines: median {median} (aim {MEDIAN}), 95th percentile {p95} (at most {P95}), longest {max} \
         ({longest})",
        lengths.len()
    )
}

fn lengths(tree: &Tree) -> Vec<(usize, &str)> {
    let mut lengths: Vec<_> = tree.rust().map(|file| (file.text.lines().count(), file.path.as_str())).collect();
    lengths.sort_unstable();
    lengths
}

/// The nearest-rank percentile of sorted lengths.
fn percentile(lengths: &[(usize, &str)], percent: usize) -> usize {
    let rank = (lengths.len() * percent).div_ceil(100).max(1);
    lengths.get(rank - 1).map_or(0, |(length, _)| *length)
}

#[cfg(test)]
mod tests {
    use super::{super::tree::File, *};

    fn tree(lengths: &[usize]) -> Tree {
        let file = |(index, length): (usize, &usize)| File { path: format!("{index}.rs"), text: "\n".repeat(*length) };
        Tree { files: lengths.iter().enumerate().map(file).collect() }
    }

    #[test]
    fn one_file_that_is_too_long_is_found() {
        let mut lengths = [1; 40];
        lengths[7] = 601;
        let complaints = check(&tree(&lengths));
        assert!(complaints.len() == 1 && complaints[0].starts_with("7.rs"), "{complaints:?}");
    }

    #[test]
    fn many_long_files_are_found() {
        assert_eq!(check(&tree(&[400; 10])).len(), 0);
        assert_eq!(check(&tree(&[401; 10])).len(), 1);
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        assert!(report(&tree(&[1, 2, 3, 4])).contains("median 2 (aim 120), 95th percentile 4 "));
    }
}

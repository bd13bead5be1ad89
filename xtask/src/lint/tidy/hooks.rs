//! The hooks that a probe's file names in its docs are the hooks that its code has, in both directions.

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;

use super::{
    code,
    tree::{File, Tree},
    uses,
};

const PROBES: &str = "agent-ebpf/src/probes/";
const LEAD: &str = "//! Hooks:";

static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| {
    uses::pattern(
        r#"(?s)#\[(btf_tracepoint|tracepoint|raw_tracepoint|fentry|fexit|kprobe|kretprobe|uprobe|uretprobe|cgroup_skb)(?:\((.*?)\))?\]"#,
    )
});
static SECTION: LazyLock<Regex> = LazyLock::new(|| uses::pattern(r#"link_section\s*=\s*"iter/([a-z_]+)""#));
static SETTING: LazyLock<Regex> = LazyLock::new(|| uses::pattern(r#"(\w+)\s*=\s*"([^"]*)""#));
static QUOTED: LazyLock<Regex> = LazyLock::new(|| uses::pattern("`([^`]+)`"));

/// Complains of probe files without a `Hooks:` line, of hooks only named and of hooks only there.
pub fn check(tree: &Tree) -> Vec<String> {
    let probes = tree.rust().filter(|file| {
        file.path.strip_prefix(PROBES).is_some_and(|name| name != "mod.rs" && !name.ends_with("/mod.rs"))
    });
    probes.flat_map(complaints).collect()
}

fn complaints(file: &File) -> Vec<String> {
    let path = &file.path;
    let Some(line) = file.text.lines().position(|line| line.starts_with(LEAD)) else {
        return vec![format!("{path}:1: the docs have no line `{LEAD} `kind name`, ...`")];
    };
    let named = named(&file.text);
    let coded = coded(&code::without_comments(&file.text));
    let only_named = named.iter().filter(|hook| !coded.contains(*hook) && !has_bare(&coded, hook));
    let only_coded = coded.iter().filter(|hook| !named.contains(*hook) && !is_bare_of(hook, &named));
    let line = line + 1;
    only_named
        .map(|hook| format!("{path}:{line}: hook `{hook}` is named, but no attribute of the code makes it"))
        .chain(only_coded.map(|hook| format!("{path}:{line}: hook `{hook}` is in the code, but not named here")))
        .collect()
}

/// The hooks in the paragraph that begins with `Hooks:`.
fn named(text: &str) -> BTreeSet<String> {
    let paragraph: Vec<&str> =
        text.lines().skip_while(|line| !line.starts_with(LEAD)).take_while(|line| line.len() > "//!".len()).collect();
    QUOTED.captures_iter(&paragraph.join(" ")).map(|quoted| quoted[1].to_owned()).collect()
}

/// The hooks of the code's attributes: kind and name, or the kind alone where user space gives the name.
fn coded(code: &str) -> BTreeSet<String> {
    let attributes = ATTRIBUTE.captures_iter(code).map(|attribute| {
        let kind = if &attribute[1] == "btf_tracepoint" { "tp_btf" } else { &attribute[1] };
        let arguments = attribute.get(2).map_or("", |arguments| arguments.as_str());
        let setting = |key: &str| {
            SETTING.captures_iter(arguments).find(|setting| &setting[1] == key).map(|setting| setting[2].to_owned())
        };
        let name = match (setting("category"), setting("name"), setting("function").or_else(|| setting("tracepoint"))) {
            (Some(category), Some(name), _) => format!("{category}/{name}"),
            (_, _, Some(function)) => function,
            _ => arguments.trim().to_owned(),
        };
        format!("{kind} {name}").trim_end().to_owned()
    });
    attributes.chain(SECTION.captures_iter(code).map(|section| format!("iter {}", &section[1]))).collect()
}

fn has_bare(coded: &BTreeSet<String>, hook: &str) -> bool {
    hook.split(' ').next().is_some_and(|kind| kind != hook && coded.contains(kind))
}

fn is_bare_of(kind: &str, named: &BTreeSet<String>) -> bool {
    !kind.contains(' ') && named.iter().any(|hook| hook.split(' ').next() == Some(kind))
}

#[cfg(test)]
mod tests {
    use super::{super::tree::one, *};

    const CODE: &str = "
#[btf_tracepoint(function = \"inet_sock_set_state\")]
fn a() {}
#[tracepoint(category = \"sock\",
    name = \"inet_sock_set_state\")]
fn b() {}
#[unsafe(link_section = \"iter/tcp\")]
fn c() {}
#[uprobe]
fn d() {}
";

    fn complaints(docs: &str) -> Vec<String> {
        check(&one("agent-ebpf/src/probes/state.rs", &format!("{docs}{CODE}")))
    }

    #[test]
    fn what_is_named_and_what_is_there_agree() {
        let docs = "//! State.\n//!\n//! Hooks: `tp_btf inet_sock_set_state`, `tracepoint sock/inet_sock_set_state`,\n\
                    //! `iter tcp`, `uprobe SSL_do_handshake`\n//!\n//! See `elsewhere`.\n";
        assert_eq!(complaints(docs), [""; 0]);
    }

    #[test]
    fn a_hook_only_named_a_hook_only_there_and_no_line_are_found() {
        let swapped = complaints(
            "//! State.\n//! Hooks: `tp_btf tcp_close`, `iter tcp`, `uprobe f`, `tracepoint sock/inet_sock_set_state`\n",
        );
        assert_eq!(swapped.len(), 2, "{swapped:?}");
        assert!(swapped[0].contains("tcp_close` is named") && swapped[1].contains("set_state` is in the code"));
        assert_eq!(complaints("//! State.\n").len(), 1);
    }

    #[test]
    fn an_attribute_in_a_comment_is_no_hook() {
        let text = "//! X.\n//! Hooks: `kprobe f`\n// #[kprobe(function = \"f\")]\n";
        assert_eq!(check(&one("agent-ebpf/src/probes/x.rs", text)).len(), 1);
    }
}

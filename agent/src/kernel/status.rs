//! What became of each probe: attached, attached by a fallback, or not at all, and what is unknown then.

use serde::Serialize;

/// How a probe stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The first choice works.
    Attached,
    /// A later choice works.
    Fallback,
    /// No choice works on this kernel, or with these privileges.
    Unavailable,
}

/// One probe of the catalog as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeStatus {
    /// Name in the catalog.
    pub name: &'static str,
    /// What it sees.
    pub sees: &'static str,
    /// How it stands.
    pub status: Status,
    /// The hook in use, as "tp_btf inet_sock_set_state"; `None` when unavailable.
    pub hook: Option<String>,
    /// Why an earlier choice, or all of them, did not work.
    pub reason: Option<String>,
    /// The facts that are unknown because of it; empty when all are known.
    pub unknown: Vec<&'static str>,
    /// What would make it work; `None` where nothing can be done or all is well.
    pub remedy: Option<String>,
}

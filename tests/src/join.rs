//! Brings together what the generator did and what the agent recorded: by role and both addresses.

use std::{collections::HashMap, net::SocketAddr};

use anyhow::{Context, Result, bail};

use crate::{
    record::{Record, Role},
    traffic::truth::Conn,
};

type Key = (Role, SocketAddr, SocketAddr);

/// Pairs of what was done and what was recorded. Where one pair of addresses was used again, in order of time.
///
/// # Errors
///
/// When a connection has no record or a record no connection. Failed attempts, whose local port the generator
/// does not know, must be left out of both.
pub fn join<'a>(truth: &'a [Conn], records: &'a [Record]) -> Result<Vec<(&'a Conn, &'a Record)>> {
    let mut by_key: HashMap<Key, Vec<&Record>> = HashMap::new();
    for record in records {
        let role = [Role::Client, Role::Server].into_iter().find(|&role| record.is(role));
        let role = role.with_context(|| format!("a record of neither role: {record:?}"))?;
        by_key.entry((role, record.local.into(), record.remote.into())).or_default().push(record);
    }
    for found in by_key.values_mut() {
        found.sort_by_key(|r| r.start_ns().unwrap_or(0));
        found.reverse();
    }
    let mut truth: Vec<&Conn> = truth.iter().collect();
    truth.sort_by_key(|c| c.begin_ns);
    let mut pairs = Vec::new();
    let mut missing = Vec::new();
    for conn in truth {
        match by_key.get_mut(&(conn.role, conn.local, conn.remote)).and_then(Vec::pop) {
            Some(record) => pairs.push((conn, record)),
            None => missing.push(conn),
        }
    }
    let extra: Vec<_> = by_key.into_values().flatten().collect();
    if !missing.is_empty() || !extra.is_empty() {
        bail!(
            "{} pairs, but {} connections without a record, the first {:?}, and {} records without a connection, the first {:?}",
            pairs.len(),
            missing.len(),
            missing.first(),
            extra.len(),
            extra.first()
        );
    }
    Ok(pairs)
}

/// The other end of `conn`, where both ends are in `truth`.
pub fn other_end<'a>(conn: &Conn, truth: &'a [Conn]) -> Option<&'a Conn> {
    truth
        .iter()
        .filter(|c| c.role != conn.role && c.local == conn.remote && c.remote == conn.local)
        .min_by_key(|c| c.begin_ns.abs_diff(conn.begin_ns))
}

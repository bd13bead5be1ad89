//! Where the running kernel keeps the fields that the programs read, from its BTF.

use std::path::Path;

use anyhow::{Context, Result, bail};
use btf_rs::{Btf, Member, Type};
use redial_common::offsets::{ABSENT, Bit, Offsets};

/// What the BTF tells.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Field offsets.
    pub offsets: Offsets,
    /// Whether programs may allocate in any context (`bpf_mem_alloc`, 6.1 and later).
    pub can_allocate: bool,
}

/// Reads the layout from a BTF file, as /sys/kernel/btf/vmlinux.
///
/// # Errors
/// When the file cannot be read or parsed, or lacks a field without which no connection can be followed.
pub fn read(path: &Path) -> Result<Layout> {
    let btf = Btf::from_file(path).with_context(|| format!("cannot read kernel types from {}", path.display()))?;
    let types = Types { btf };
    Ok(Layout { offsets: types.offsets()?, can_allocate: types.has_function("bpf_mem_alloc_init") })
}

struct Types {
    btf: Btf,
}

/// A field's place in bits, and its width if it is a bit field.
#[derive(Clone, Copy)]
struct Place {
    bits: u32,
    width: Option<u32>,
}

impl Types {
    fn offsets(&self) -> Result<Offsets> {
        let must = |structure, path| self.byte(structure, path);
        let may = |structure, path| self.byte(structure, path).unwrap_or(ABSENT);
        Ok(Offsets {
            sock_family: must("sock", "__sk_common.skc_family")?,
            sock_state: must("sock", "__sk_common.skc_state")?,
            sock_daddr: must("sock", "__sk_common.skc_daddr")?,
            sock_rcv_saddr: must("sock", "__sk_common.skc_rcv_saddr")?,
            sock_v6_daddr: must("sock", "__sk_common.skc_v6_daddr")?,
            sock_v6_rcv_saddr: must("sock", "__sk_common.skc_v6_rcv_saddr")?,
            sock_num: must("sock", "__sk_common.skc_num")?,
            sock_dport: must("sock", "__sk_common.skc_dport")?,
            sock_net: must("sock", "__sk_common.skc_net.net")?,
            sock_flags: must("sock", "__sk_common.skc_flags")?,
            sock_protocol: must("sock", "sk_protocol")?,
            sock_err: must("sock", "sk_err")?,
            sock_user_data: must("sock", "sk_user_data")?,
            sock_socket: must("sock", "sk_socket")?,
            inet_sport: must("inet_sock", "inet_sport")?,
            icsk_ulp_ops: must("inet_connection_sock", "icsk_ulp_ops")?,
            icsk_ulp_data: must("inet_connection_sock", "icsk_ulp_data")?,
            subflow_conn: may("mptcp_subflow_context", "conn"),
            mptcp_first: may("mptcp_sock", "first"),
            tcp_write_seq: must("tcp_sock", "write_seq")?,
            tcp_copied_seq: must("tcp_sock", "copied_seq")?,
            tcp_rcv_nxt: must("tcp_sock", "rcv_nxt")?,
            tcp_snd_una: must("tcp_sock", "snd_una")?,
            tcp_snd_nxt: must("tcp_sock", "snd_nxt")?,
            tcp_bytes_acked: must("tcp_sock", "bytes_acked")?,
            tcp_bytes_sent: must("tcp_sock", "bytes_sent")?,
            tcp_bytes_retrans: must("tcp_sock", "bytes_retrans")?,
            tcp_bytes_received: must("tcp_sock", "bytes_received")?,
            tcp_total_retrans: must("tcp_sock", "total_retrans")?,
            tcp_srtt_us: must("tcp_sock", "srtt_us")?,
            tcp_rtt_min: must("tcp_sock", "rtt_min")?,
            tcp_keepalive_time: must("tcp_sock", "keepalive_time")?,
            tcp_clock_cache: may("tcp_sock", "tcp_clock_cache"),
            net_inum: must("net", "ns.inum")?,
            net_keepalive_time: may("net", "ipv4.sysctl_tcp_keepalive_time"),
            task_group_leader: must("task_struct", "group_leader")?,
            task_comm: must("task_struct", "comm")?,
            task_files: must("task_struct", "files")?,
            task_tgid: must("task_struct", "tgid")?,
            task_pid: must("task_struct", "pid")?,
            task_flags: must("task_struct", "flags")?,
            files_fdt: must("files_struct", "fdt")?,
            fdt_fd: must("fdtable", "fd")?,
            fdt_max_fds: must("fdtable", "max_fds")?,
            file_private_data: must("file", "private_data")?,
            socket_sk: must("socket", "sk")?,
            socket_file: must("socket", "file")?,
            binprm_filename: must("linux_binprm", "filename")?,
            sock_kern_sock: self.bit("sock", "sk_kern_sock"),
            sock_ipv6only: self.bit("sock", "__sk_common.skc_ipv6only"),
            tcp_is_mptcp: self.bit("tcp_sock", "is_mptcp"),
            tcp_syn_fastopen: self.bit("tcp_sock", "syn_fastopen"),
            tcp_syn_data: self.bit("tcp_sock", "syn_data"),
            tcp_syn_data_acked: self.bit("tcp_sock", "syn_data_acked"),
            tcp_fastopen_connect: self.bit("tcp_sock", "fastopen_connect"),
        })
    }

    fn byte(&self, structure: &str, path: &str) -> Result<u32> {
        Ok(self.place(structure, path)?.bits / 8)
    }

    /// A flag of one bit, be it a bit field or a `bool`; absent where this kernel has none.
    fn bit(&self, structure: &str, path: &str) -> Bit {
        match self.place(structure, path) {
            Ok(Place { bits, width: Some(_) }) => Bit { byte: bits / 8, mask: 1 << (bits % 8) },
            Ok(Place { bits, width: None }) => Bit { byte: bits / 8, mask: 1 },
            Err(_) => Bit { byte: ABSENT, mask: 0 },
        }
    }

    fn place(&self, structure: &str, path: &str) -> Result<Place> {
        let types = self.btf.resolve_types_by_name(structure).with_context(|| format!("no struct {structure}"))?;
        let mut found = types.iter().find_map(|candidate| match candidate {
            Type::Struct(found) => Some(Type::Struct(found.clone())),
            _ => None,
        });
        let mut place = Place { bits: 0, width: None };
        for name in path.split('.') {
            let Some(current) = found.take() else { bail!("{structure}.{path}: {name} lies in no structure") };
            let Some((member, bits)) = self.member(&current, name)? else {
                bail!("this kernel's struct {structure} has no field {path}");
            };
            place = Place { bits: place.bits + bits, width: member.bitfield_size().filter(|&width| width > 0) };
            found = self.structure_of(&member);
        }
        Ok(place)
    }

    /// A member of a structure or of the anonymous ones in it, with its offset in bits.
    fn member(&self, structure: &Type, name: &str) -> Result<Option<(Member, u32)>> {
        let (Type::Struct(structure) | Type::Union(structure)) = structure else { return Ok(None) };
        for member in &structure.members {
            let own = self.btf.resolve_name(member).unwrap_or_default();
            if own == name {
                return Ok(Some((member.clone(), member.bit_offset())));
            }
            if own.is_empty()
                && let Some(inner) = self.structure_of(member)
                && let Some((found, bits)) = self.member(&inner, name)?
            {
                return Ok(Some((found, member.bit_offset() + bits)));
            }
        }
        Ok(None)
    }

    /// The structure that a member is, behind qualifiers and names; none for scalars and pointers.
    fn structure_of(&self, member: &Member) -> Option<Type> {
        self.btf.chained_type_iter(member).find_map(|candidate| match candidate {
            Type::Struct(_) | Type::Union(_) => Some(candidate),
            _ => None,
        })
    }

    fn has_function(&self, name: &str) -> bool {
        self.btf.resolve_types_by_name(name).is_ok_and(|types| types.iter().any(|found| matches!(found, Type::Func(_))))
    }
}

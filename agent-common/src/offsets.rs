//! Where the running kernel keeps the fields that the programs read, in bytes.
//!
//! User space fills this from the kernel's BTF before a program is loaded. A field that the kernel lacks is
//! [`ABSENT`].

/// The offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// One bit of a bit field.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bit {
    /// The byte that holds it.
    pub byte: u32,
    /// A mask with that bit set.
    pub mask: u32,
}

macro_rules! offsets {
    ($($name:ident: $ty:ident,)*; bits $($bit:ident: $bit_ty:ident,)*) => {
        /// Byte offsets, each from the beginning of the structure that the first word of its name says.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets {
            $(#[doc = concat!("`", stringify!($ty), "`: ", stringify!($name), ".")] pub $name: u32,)*
            $(#[doc = concat!("`", stringify!($bit_ty), "`: ", stringify!($bit), ".")] pub $bit: Bit,)*
        }

        impl Offsets {
            /// No field known.
            pub const NONE: Self = Self {
                $($name: ABSENT,)*
                $($bit: Bit { byte: ABSENT, mask: 0 },)*
            };
        }
    };
}

offsets! {
    sock_family: sock,
    sock_state: sock,
    sock_daddr: sock,
    sock_rcv_saddr: sock,
    sock_v6_daddr: sock,
    sock_v6_rcv_saddr: sock,
    sock_num: sock,
    sock_dport: sock,
    sock_net: sock,
    sock_protocol: sock,
    sock_flags: sock,
    sock_err: sock,
    sock_user_data: sock,
    sock_socket: sock,
    inet_sport: inet_sock,
    icsk_ulp_ops: inet_connection_sock,
    icsk_ulp_data: inet_connection_sock,
    subflow_conn: mptcp_subflow_context,
    mptcp_first: mptcp_sock,
    tcp_write_seq: tcp_sock,
    tcp_copied_seq: tcp_sock,
    tcp_rcv_nxt: tcp_sock,
    tcp_snd_una: tcp_sock,
    tcp_snd_nxt: tcp_sock,
    tcp_bytes_acked: tcp_sock,
    tcp_bytes_sent: tcp_sock,
    tcp_bytes_retrans: tcp_sock,
    tcp_bytes_received: tcp_sock,
    tcp_total_retrans: tcp_sock,
    tcp_srtt_us: tcp_sock,
    tcp_rtt_min: tcp_sock,
    tcp_keepalive_time: tcp_sock,
    tcp_clock_cache: tcp_sock,
    net_inum: net,
    net_keepalive_time: net,
    task_group_leader: task_struct,
    task_comm: task_struct,
    task_files: task_struct,
    task_tgid: task_struct,
    task_pid: task_struct,
    task_flags: task_struct,
    files_fdt: files_struct,
    fdt_fd: fdtable,
    fdt_max_fds: fdtable,
    file_private_data: file,
    socket_sk: socket,
    socket_file: socket,
    binprm_filename: linux_binprm,
    ;
    bits
    sock_kern_sock: sock,
    sock_ipv6only: sock,
    tcp_is_mptcp: tcp_sock,
    tcp_syn_fastopen: tcp_sock,
    tcp_syn_data: tcp_sock,
    tcp_syn_data_acked: tcp_sock,
    tcp_fastopen_connect: tcp_sock,
}

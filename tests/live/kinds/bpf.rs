//! As much of bpf(2) as a sockmap takes: the map, programs of a few instructions, attaching them.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::{errno::Errno, libc};

/// linux/bpf.h: commands, types of maps and programs, places to attach, helpers.
const MAP_CREATE: i64 = 0;
const MAP_UPDATE_ELEM: i64 = 2;
const PROG_LOAD: i64 = 5;
const PROG_ATTACH: i64 = 8;
const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_SKB: u32 = 14;
const PROG_TYPE_SK_MSG: u32 = 16;
const SK_SKB_STREAM_PARSER: u32 = 4;
const SK_SKB_STREAM_VERDICT: u32 = 5;
const SK_MSG_VERDICT: u32 = 7;
const SK_SKB_VERDICT: u32 = 38;
const FUNC_SK_REDIRECT_MAP: u32 = 52;
const FUNC_MSG_REDIRECT_MAP: u32 = 60;
const F_INGRESS: u32 = 1;

/// Instructions: code, registers (destination low, source high), offset, immediate value.
type Instruction = [u8; 8];

fn instruction(code: u8, registers: u8, immediate: u32) -> Instruction {
    let i = immediate.to_ne_bytes();
    [code, registers, 0, 0, i[0], i[1], i[2], i[3]]
}

/// `r<n> = value`
fn load(register: u8, value: u32) -> Instruction {
    instruction(0xb7, register, value)
}

const EXIT: Instruction = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// Passes everything (SK_PASS).
fn pass() -> Vec<Instruction> {
    vec![load(0, 1), EXIT]
}

/// Takes each buffer as one message: returns its length, the first field of the context.
fn whole() -> Vec<Instruction> {
    vec![instruction(0x61, 0x10, 0), EXIT]
}

/// Hands everything to the first socket of another map.
fn redirect(helper: u32, to: &SockMap, flags: u32) -> Vec<Instruction> {
    let map = [instruction(0x18, 0x12, to.0.as_raw_fd().unsigned_abs()), [0; 8]];
    let call = [load(3, 0), load(4, flags), instruction(0x85, 0, helper), EXIT];
    [map.as_slice(), &call].concat()
}

/// A map of one socket, and the programs that its sockets' data pass.
pub struct SockMap(OwnedFd);

impl SockMap {
    /// A map without programs.
    pub fn new() -> Result<Self> {
        let words = [MAP_TYPE_SOCKMAP, 4, 4, 1];
        create(MAP_CREATE, &bytes(&words)).map(Self).context("make a sockmap (needs CONFIG_BPF_STREAM_PARSER)")
    }

    /// The map's descriptor.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Puts a socket in. Makes system calls only.
    pub fn put(&self, socket: RawFd) -> bool {
        let (key, value) = (0_u32, socket.unsigned_abs());
        let mut attributes = [0_u64; 4];
        attributes[0] = u64::from(self.0.as_raw_fd().unsigned_abs());
        attributes[1] = (&raw const key) as u64;
        attributes[2] = (&raw const value) as u64;
        // SAFETY: map, key and value are as the map's kind asks for, and live across the call.
        unsafe { libc::syscall(libc::SYS_bpf, MAP_UPDATE_ELEM, attributes.as_ptr(), size_of_val(&attributes)) == 0 }
    }

    /// What the sockets receive passes a program that lets it through.
    pub fn pass_received(&self) -> Result<()> {
        self.attach(PROG_TYPE_SK_SKB, SK_SKB_VERDICT, &pass())
    }

    /// The same behind a parser of messages.
    pub fn pass_parsed(&self) -> Result<()> {
        self.attach(PROG_TYPE_SK_SKB, SK_SKB_STREAM_PARSER, &whole())?;
        self.attach(PROG_TYPE_SK_SKB, SK_SKB_STREAM_VERDICT, &pass())
    }

    /// What the sockets send passes a program that lets it through.
    pub fn pass_sent(&self) -> Result<()> {
        self.attach(PROG_TYPE_SK_MSG, SK_MSG_VERDICT, &pass())
    }

    /// What the sockets receive is sent on by the socket of another map: a proxy within the kernel.
    pub fn forward_received(&self, to: &Self) -> Result<()> {
        self.attach(PROG_TYPE_SK_SKB, SK_SKB_VERDICT, &redirect(FUNC_SK_REDIRECT_MAP, to, 0))
    }

    /// What the sockets send arrives at the socket of another map, past TCP.
    pub fn shortcut_sent(&self, to: &Self) -> Result<()> {
        self.attach(PROG_TYPE_SK_MSG, SK_MSG_VERDICT, &redirect(FUNC_MSG_REDIRECT_MAP, to, F_INGRESS))
    }

    fn attach(&self, kind: u32, place: u32, program: &[Instruction]) -> Result<()> {
        let licence = c"GPL";
        let mut attributes = bytes(&[kind, program.len() as u32]);
        attributes.extend((program.as_ptr() as u64).to_ne_bytes());
        attributes.extend((licence.as_ptr() as u64).to_ne_bytes());
        // Then log, kernel version, flags, name and interface: none.
        attributes.resize(68, 0);
        attributes.extend(place.to_ne_bytes());
        let program = create(PROG_LOAD, &attributes).context("load a program for a sockmap")?;
        let fds = [&self.0, &program].map(|fd| fd.as_raw_fd().unsigned_abs());
        call(PROG_ATTACH, &bytes(&[fds[0], fds[1], place, 0])).context("attach a program to a sockmap")?;
        Ok(())
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn call(command: i64, attributes: &[u8]) -> Result<i64> {
    // SAFETY: the attributes hold what the command reads; pointers within point to what the caller keeps alive.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), attributes.len()) };
    Ok(Errno::result(result)?)
}

/// A command that returns a descriptor.
fn create(command: i64, attributes: &[u8]) -> Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd)?) })
}

//! Loading the programs one by one, each by the first way that this kernel allows.

use std::{collections::BTreeMap, fmt::Write as _, io, os::fd::AsFd as _, path::Path};

use anyhow::{Context, Result, anyhow};
use aya::{
    Btf, Ebpf, EbpfLoader, Pod,
    maps::{HashMap, MapError},
    programs::{Program, ProgramError},
};
use redial_common::{config::Config, limits, offsets::Offsets, record::conn::Conn};

use super::{
    catalog::{self, Choice, Hook, PROBES, Part, ProbeSpec, STATE},
    offsets::{self, Layout},
    options::Options,
    status::{ProbeStatus, Status},
    sys,
};

/// The kernel programs, built by `cargo xtask ebpf`.
#[cfg(target_arch = "x86_64")]
pub static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/redial-x86_64.bpf.o");
/// The kernel programs, built by `cargo xtask ebpf`.
#[cfg(target_arch = "aarch64")]
pub static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/redial-aarch64.bpf.o");

/// Names another object to load in place of the built-in one, for work on the kernel programs.
const OBJECT_VARIABLE: &str = "REDIAL_BPF_OBJECT";
/// The kernel's types.
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// What helps where the kernel's types are there but not as expected.
const REMEDY_LAYOUT: &str = "this kernel's BTF is not what this version expects: use a newer redial";
/// What gives the kernel BTF.
const REMEDY_BTF: &str = "use a kernel built with CONFIG_DEBUG_INFO_BTF (most distributions' are)";

/// Why nothing could be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process may not load programs.
    #[error("{0}")]
    Privilege(String),
    /// The kernel cannot run them.
    #[error("{0}")]
    Unsupported(String),
    /// Something else went wrong.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Live connections, in places allocated as they are needed.
const LIVE_MAP: &str = "CONNS";
/// The same, in places made beforehand.
const LIVE_MAP_PREALLOCATED: &str = "CONNS_PREALLOCATED";

/// Programs that are attached; dropping it detaches them.
pub struct Attached {
    ebpf: Ebpf,
    pub(super) probes: Vec<ProbeStatus>,
    /// How the probes stood when they were attached first.
    first: Vec<ProbeStatus>,
    /// Which way of each probe works; `None` where none does.
    pub(super) choices: Vec<Option<usize>>,
    programs: Vec<&'static str>,
    live_map: &'static str,
    ring_bytes: u32,
    pids: Vec<u32>,
    comm: Option<String>,
    netns: Option<u32>,
    /// Skipped runs of programs that are detached by now.
    misses: u64,
}

/// Loads and attaches all probes, each by its best way.
///
/// # Errors
/// When privileges or kernel support are lacking for the one probe that all else needs.
pub fn attach(options: &Options) -> Result<Attached, AttachError> {
    let layout = offsets::read(Path::new(BTF_PATH));
    if let (Some(_), Err(error)) = (options.netns, &layout) {
        return Err(AttachError::Unsupported(format!(
            "--netns cannot work here, for without kernel types no socket's namespace is known: {error:#}. \
             Leave --netns out, or {REMEDY_BTF}"
        )));
    }
    let btf = Btf::from_sys_fs().ok();
    let mut ebpf = load_object(options, layout.as_ref().ok(), btf.as_ref())?;
    // Before anything is attached: until then every process would be filtered out.
    fill_pids(&mut ebpf, &options.pids)?;
    let mut probes = Vec::with_capacity(PROBES.len());
    let mut programs = Vec::new();
    let mut choices = Vec::with_capacity(PROBES.len());
    for spec in PROBES {
        let tried = try_choices(&mut ebpf, spec, btf.as_ref(), layout.is_ok());
        programs.extend(tried.attached.iter().map(|part| part.program));
        choices.push(tried.choice);
        probes.push(status(spec, &tried, layout.as_ref().err()));
    }
    if let Some(state) = probes.iter().find(|probe| probe.name == STATE)
        && state.status == Status::Unavailable
    {
        let reason = state.reason.clone().unwrap_or_default();
        return Err(AttachError::Unsupported(format!(
            "this kernel lets no program see TCP state changes: {reason}. {}",
            state.remedy.as_deref().unwrap_or("redial needs Linux 5.8 or later with CONFIG_BPF_SYSCALL.")
        )));
    }
    let allocates = layout.as_ref().is_ok_and(|layout| layout.can_allocate);
    Ok(Attached {
        ebpf,
        first: probes.clone(),
        probes,
        choices,
        programs,
        ring_bytes: ring_bytes(options.ring_bytes.unwrap_or(limits::RING_BYTES)),
        live_map: if allocates { LIVE_MAP } else { LIVE_MAP_PREALLOCATED },
        pids: options.pids.clone(),
        comm: options.comm.clone(),
        netns: options.netns,
        misses: 0,
    })
}

/// Attaches everything, says how each probe stands, and detaches again.
///
/// # Errors
/// As [`attach`].
pub fn doctor() -> Result<Vec<ProbeStatus>, AttachError> {
    attach(&Options::default()).map(|attached| attached.probes)
}

impl Attached {
    /// How each probe stands.
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    /// Whether a probe is attached, in whichever way.
    pub fn has(&self, probe: &str) -> bool {
        self.probes.iter().any(|status| status.name == probe && status.status != Status::Unavailable)
    }

    /// Whether a program is loaded.
    pub fn runs(&self, program: &str) -> bool {
        self.programs.contains(&program)
    }

    /// Notes that a probe sees less than it should, and why.
    pub fn degrade(&mut self, probe: &str, why: String) {
        if let Some(status) = self.probes.iter_mut().find(|status| status.name == probe) {
            status.status = Status::Fallback;
            status.reason = Some(why);
        }
    }

    /// The size of the ring.
    pub fn ring_bytes(&self) -> usize {
        self.ring_bytes as usize
    }

    /// The only network namespace that is watched.
    pub(super) fn netns(&self) -> Option<u32> {
        self.netns
    }

    /// The name of the map of live connections that is in use.
    pub fn live_map(&self) -> &'static str {
        self.live_map
    }

    /// Whether the filters by process let `conn` through. The programs let pass what has no owner yet and decide when it
    /// ends; while it lives, only who accepted it can tell.
    pub fn wants(&self, conn: &Conn) -> bool {
        let is_decided = conn.tgid != 0 || (self.pids.is_empty() && self.comm.is_none());
        let name = conn.comm.split(|&byte| byte == 0).next().unwrap_or_default();
        is_decided
            || (conn.acceptor_tgid != 0
                && (self.pids.is_empty() || self.pids.contains(&conn.acceptor_tgid))
                && self.comm.as_ref().is_none_or(|comm| comm.as_bytes() == name))
    }

    /// The maps and programs.
    pub fn ebpf(&self) -> &Ebpf {
        &self.ebpf
    }

    /// The maps and programs.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Runs that the kernel skipped, over all programs, those detached by now included.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn recursion_misses(&self) -> Result<u64> {
        self.programs.iter().try_fold(self.misses, |sum, name| Ok(sum + self.misses_of(name)?))
    }

    /// How long each attached program has run, ns, as far as the kernel measured it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn run_times(&self) -> Result<BTreeMap<&'static str, u64>> {
        let time_of = |name: &&'static str| {
            let program = self.ebpf.program(name).with_context(|| format!("the object has no program {name}"))?;
            let info = sys::program_info(program.fd()?.as_fd()).with_context(|| format!("cannot measure {name}"))?;
            Ok((*name, info.run_time_ns))
        };
        self.programs.iter().map(time_of).collect()
    }

    /// The probe that a program belongs to.
    pub fn probe_of(&self, program: &str) -> &'static str {
        let of = |spec: &&ProbeSpec| spec.choices.iter().copied().flatten().any(|part| part.program == program);
        PROBES.iter().find(of).map_or("", |spec| spec.name)
    }

    /// Notes that the probe at `index` is attached again as it was at first.
    pub(super) fn attached_again(&mut self, index: usize, parts: Choice) {
        self.programs.extend(parts.iter().map(|part| part.program));
        self.probes[index].clone_from(&self.first[index]);
    }

    fn misses_of(&self, name: &str) -> Result<u64> {
        let program = self.ebpf.program(name).with_context(|| format!("the object has no program {name}"))?;
        let info = sys::program_info(program.fd()?.as_fd());
        Ok(info.with_context(|| format!("cannot read the counters of {name}"))?.recursion_misses)
    }

    /// Detaches all programs; what they sent so far stays readable.
    ///
    /// In the reverse order: each step takes the kernel some ten milliseconds, and no connection may end in a record while
    /// its sends, receives and processes are watched no more.
    ///
    /// `after_state` is called once no connection is followed any more: then the watch is over.
    pub fn detach(&mut self, after_state: impl FnOnce()) {
        let mut after_state = Some(after_state);
        let in_order = PROBES.iter().flat_map(|spec| spec.choices.iter().copied().flatten());
        // One may be in several ways of a probe; it is detached once.
        let programs: Vec<&str> = in_order.map(|part| part.program).filter(|program| self.runs(program)).collect();
        for name in programs.into_iter().rev() {
            if !catalog::follows(name)
                && let Some(after_state) = after_state.take()
            {
                after_state();
            }
            detach_program(self, name);
        }
    }
}

/// Detaches and unloads a program, if it is loaded.
pub(super) fn detach_program(attached: &mut Attached, name: &str) {
    let Some(at) = attached.programs.iter().position(|program| *program == name) else { return };
    attached.misses += attached.misses_of(name).unwrap_or_default();
    attached.programs.remove(at);
    if let Some(program) = attached.ebpf.program_mut(name) {
        // A program that cannot be unloaded now is when the process ends.
        let _ = unload(program);
    }
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodOf<T>(T);
// SAFETY: `repr(C)` structures of `u32` and bytes without padding: any bytes are a value.
unsafe impl Pod for PodOf<Config> {}
// SAFETY: as above.
unsafe impl Pod for PodOf<Offsets> {}

fn load_object(options: &Options, layout: Option<&Layout>, btf: Option<&Btf>) -> Result<Ebpf, AttachError> {
    let config = PodOf(config(options, layout));
    let offsets = PodOf(layout.map_or(Offsets::NONE, |layout| layout.offsets));
    let mut loader = EbpfLoader::new();
    loader.btf(btf).override_global("CONFIG", &config, true).override_global("OFFSETS", &offsets, true);
    // The map that is not in use must have a size, too.
    let (used, unused, places) = if config.0.preallocated == 0 {
        (LIVE_MAP, LIVE_MAP_PREALLOCATED, limits::CONNS)
    } else {
        (LIVE_MAP_PREALLOCATED, LIVE_MAP, limits::CONNS_PREALLOCATED)
    };
    loader.map_max_entries(used, options.max_connections.unwrap_or(places)).map_max_entries(unused, 1);
    loader.map_max_entries("RECORDS", ring_bytes(options.ring_bytes.unwrap_or(limits::RING_BYTES)));
    let other = match std::env::var_os(OBJECT_VARIABLE) {
        Some(path) => Some(std::fs::read(&path).with_context(|| {
            format!("cannot read the object that {OBJECT_VARIABLE} names: {}", Path::new(&path).display())
        })?),
        None => None,
    };
    loader.load(other.as_deref().unwrap_or(OBJECT)).map_err(|error| {
        let root = root_errno(&error);
        if matches!(root, Some(libc::EPERM | libc::EACCES)) {
            AttachError::Privilege(
                "loading kernel programs is not permitted: run redial as root, or give it the capabilities \
                 CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE (the last to name the executables of other users)"
                    .to_owned(),
            )
        } else {
            AttachError::Other(anyhow!(error).context("cannot create the maps of the kernel programs"))
        }
    })
}

fn config(options: &Options, layout: Option<&Layout>) -> Config {
    let mut comm = [0; 16];
    if let Some(name) = &options.comm {
        let len = name.len().min(comm.len() - 1);
        comm[..len].copy_from_slice(&name.as_bytes()[..len]);
    }
    Config {
        own_tgid: std::process::id(),
        netns: options.netns.unwrap_or(0),
        by_pid: u32::from(!options.pids.is_empty()),
        role: options.role.map_or(0, |role| u32::from(role.code())),
        port: options.port.map_or(0, u32::from),
        comm,
        opens: u32::from(options.opens),
        preallocated: u32::from(!layout.is_some_and(|layout| layout.can_allocate)),
        offsets_known: u32::from(layout.is_some()),
    }
}

/// The kernel takes a power of two of pages only.
fn ring_bytes(wanted: u32) -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    wanted.max(page).checked_next_power_of_two().unwrap_or(1 << 31)
}

fn fill_pids(ebpf: &mut Ebpf, pids: &[u32]) -> Result<()> {
    let map = ebpf.map_mut("PIDS").context("the object has no map PIDS")?;
    let mut wanted: HashMap<_, u32, u8> = HashMap::try_from(map)?;
    for pid in pids {
        wanted.insert(pid, 1, 0).with_context(|| format!("cannot add process {pid} to the filter"))?;
    }
    Ok(())
}

/// What trying the ways of a probe gave.
struct Tried {
    /// Index of the way that works.
    choice: Option<usize>,
    attached: Vec<Part>,
    /// Why each way before it does not.
    refusals: Vec<String>,
}

fn try_choices(ebpf: &mut Ebpf, spec: &ProbeSpec, btf: Option<&Btf>, has_fields: bool) -> Tried {
    let mut tried = Tried { choice: None, attached: Vec::new(), refusals: Vec::new() };
    for (index, choice) in spec.choices.iter().enumerate() {
        if spec.needs_fields && !has_fields {
            tried.refusals.push("the fields of sockets are not known".to_owned());
            break;
        }
        match try_choice(ebpf, choice, btf) {
            Ok(()) => {
                tried.choice = Some(index);
                tried.attached = choice.to_vec();
                return tried;
            }
            Err((part, error)) => {
                let refusal = format!("{}: {}", part.hook, why(part.hook, &error));
                // Two ways may begin with the same hook.
                if tried.refusals.last() != Some(&refusal) {
                    tried.refusals.push(refusal);
                }
            }
        }
    }
    tried
}

pub(super) fn try_choice(ebpf: &mut Ebpf, choice: Choice, btf: Option<&Btf>) -> Result<(), (Part, anyhow::Error)> {
    for (index, part) in choice.iter().enumerate() {
        if let Err(error) = try_part(ebpf, *part, btf) {
            for done in &choice[..=index] {
                if let Some(program) = ebpf.program_mut(done.program) {
                    // One that was never loaded has nothing to unload.
                    let _ = unload(program);
                }
            }
            return Err((*part, error));
        }
    }
    Ok(())
}

fn try_part(ebpf: &mut Ebpf, part: Part, btf: Option<&Btf>) -> Result<()> {
    let program =
        ebpf.program_mut(part.program).with_context(|| format!("the object has no program {}", part.program))?;
    let types = || btf.context("the kernel has no BTF");
    match (part.hook, program) {
        (Hook::TpBtf(name), Program::BtfTracePoint(program)) => {
            program.load(name, types()?)?;
            program.attach()?;
        }
        (Hook::Fentry(name), Program::FEntry(program)) => {
            program.load(name, types()?)?;
            program.attach()?;
        }
        (Hook::Fexit(name), Program::FExit(program)) => {
            program.load(name, types()?)?;
            program.attach()?;
        }
        (Hook::Iter(name), Program::Iter(program)) => program.load(name, types()?)?,
        (Hook::Kprobe(name) | Hook::Kretprobe(name), Program::KProbe(program)) => {
            program.load()?;
            program.attach(name, 0)?;
        }
        (Hook::Tracepoint(category, name), Program::TracePoint(program)) => {
            program.load()?;
            program.attach(category, name)?;
        }
        (hook, _) => return Err(anyhow!("program {} is of another type than {hook}", part.program)),
    }
    Ok(())
}

fn unload(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::BtfTracePoint(program) => program.unload(),
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::Iter(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        Program::TracePoint(program) => program.unload(),
        _ => Ok(()),
    }
}

fn status(spec: &ProbeSpec, tried: &Tried, no_offsets: Option<&anyhow::Error>) -> ProbeStatus {
    let hook = tried.choice.map(|index| match spec.choices[index] {
        [] => "state changes".to_owned(),
        parts => parts.iter().map(|part| part.hook.to_string()).collect::<Vec<_>>().join(", "),
    });
    let (state, mut unknown) = match tried.choice {
        Some(index) if index < spec.equals => (Status::Attached, Vec::new()),
        Some(_) => (Status::Fallback, spec.unknown_in_fallback.to_vec()),
        None => (Status::Unavailable, spec.unknown.to_vec()),
    };
    let mut reason = if state == Status::Attached { String::new() } else { tried.refusals.join("; ") };
    let mut remedy = None;
    if let Some(error) = no_offsets {
        if spec.name == STATE {
            unknown.extend(WITHOUT_OFFSETS);
        }
        let _ = write!(reason, "{}{error:#}", if reason.is_empty() { "" } else { "; " });
        remedy = Some(if Path::new(BTF_PATH).exists() { REMEDY_LAYOUT } else { REMEDY_BTF }.to_owned());
    } else if state == Status::Unavailable && !tracefs_is_mounted() {
        remedy = Some("mount tracefs: mount -t tracefs tracefs /sys/kernel/tracing".to_owned());
    }
    ProbeStatus {
        name: spec.name,
        sees: spec.sees,
        status: state,
        hook,
        reason: (!reason.is_empty()).then_some(reason),
        unknown,
        remedy,
    }
}

/// What state changes cannot tell when the fields of sockets are not known.
const WITHOUT_OFFSETS: [&str; 6] =
    ["who closed by reset or timeout", "why attempts failed", "bytes", "retransmits", "round-trip times", "namespaces"];

/// Whether the kernel's tracepoints can be found.
pub fn tracefs_is_mounted() -> bool {
    TRACEFS.iter().any(|path| Path::new(path).is_dir())
}

/// A refusal in a few words.
pub(super) fn why(hook: Hook, error: &anyhow::Error) -> String {
    if matches!(hook, Hook::Tracepoint(..)) && !tracefs_is_mounted() {
        return "tracefs is not mounted".to_owned();
    }
    match root_errno(error.as_ref()) {
        Some(libc::EPERM | libc::EACCES) => "not permitted".to_owned(),
        Some(libc::ENOENT) => "not there".to_owned(),
        Some(code) => format!("{} ({})", error.root_cause(), io::Error::from_raw_os_error(code).kind()),
        None => format!("{:#}", error.root_cause()),
    }
}

/// The system's error at the bottom of a chain of causes.
fn root_errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    let mut code = None;
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            code = io.raw_os_error().or(code);
        }
        if let Some(MapError::SyscallError(call)) = error.downcast_ref::<MapError>() {
            code = call.io_error.raw_os_error().or(code);
        }
        next = error.source();
    }
    code
}

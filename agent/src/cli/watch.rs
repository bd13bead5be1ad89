//! The options that all watching commands share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};

use super::{
    failure::Failure,
    filter::Filter,
    netns,
    remote::{Remote, RemoteFilter},
};
use crate::{
    intake::limit::Limits,
    kernel::options::{Options, Role},
};

/// Longest name of a process that the kernel keeps, in bytes.
const MAX_COMM: usize = redial_common::record::conn::COMM_LEN - 1;

/// Which connections to watch, and for how long.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Which connections")]
pub struct WatchArgs {
    /// Only connections of this process
    ///
    /// May be given more than once. A process that is started later by it is another process.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub pid: Vec<u32>,

    /// Only connections of processes with this name
    ///
    /// The name as `ps -o comm` shows it, of at most 15 bytes.
    #[arg(long, value_name = "NAME", value_parser = comm)]
    pub comm: Option<String>,

    /// Only connections of processes in this container
    ///
    /// Its id or the beginning of it, of at least 4 digits, or the uid of a Kubernetes pod. May be given more than once.
    #[arg(long, value_name = "ID", value_parser = container)]
    pub container: Vec<String>,

    /// Only connections to or from this network or host
    ///
    /// An address, a network as 10.0.0.0/8, or a name, which is resolved once. May be given more than once.
    #[arg(long, value_name = "CIDR|HOST")]
    pub remote: Vec<Remote>,

    /// Only this port: a client's remote one, a server's own
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// Only connections that this host opened (client) or accepted (server)
    #[arg(long, value_enum)]
    pub role: Option<RoleArg>,

    /// Only this network namespace: self, or a path as /run/netns/NAME
    #[arg(long, value_name = "self|PATH")]
    pub netns: Option<String>,

    /// Stop after this long, as 30s, 5m or 1h30m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, help_heading = "How")]
    pub duration: Option<Duration>,

    /// Use this much of one core at most, as 5%
    ///
    /// Measured every second, with the kernel programs' time wherever they run. Above it redial does without its dearest
    /// probes and says so: first what comes with every send and receive (exchanges and their times are unknown then),
    /// then what comes with every call that accepts or connects, at last it watches nothing at all. They come back when
    /// it calms down. Not said: as much as it needs.
    #[arg(long, value_name = "PERCENT", value_parser = cpu_budget, help_heading = "How")]
    pub cpu_budget: Option<f64>,

    /// Watch nothing while this file is there
    ///
    /// All programs are detached within a quarter of a second after it appears, and attached again when it is gone.
    /// SIGUSR1 does the same, and another one undoes it.
    #[arg(long, value_name = "FILE", help_heading = "How")]
    pub off_switch: Option<PathBuf>,

    /// How many connections can be followed at one time
    ///
    /// Those over it are counted as lost. The default is 262144, and 65536 before Linux 6.1, where the memory for all
    /// of them is taken at the start. A connection takes about 1 KB of kernel memory while it lives.
    #[arg(long, value_name = "N", help_heading = "How",
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_connections: Option<u32>,

    /// How many edges are told apart; what is over is shown as one, ~other
    #[arg(long, value_name = "N", hide = true, default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub max_edges: u32,

    /// Bytes of the buffer between kernel and redial
    #[arg(long, value_name = "BYTES", hide = true, default_value_t = redial_common::limits::RING_BYTES,
          value_parser = clap::value_parser!(u32).range(4_096..=1_073_741_824))]
    pub ring_bytes: u32,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Connections that processes of this host open
    Client,
    /// Connections that processes of this host accept
    Server,
}

impl WatchArgs {
    /// What the kernel is asked for. `opens`: connections are told when they open, too.
    pub fn options(&self, opens: bool) -> Result<Options, Failure> {
        let limit = usize::try_from(redial_common::limits::PIDS).unwrap_or(usize::MAX);
        if self.pid.len() > limit {
            return Err(Failure::Usage(format!("--pid: at most {limit} processes; --comm takes all of a name")));
        }
        if let Some(gone) = self.pid.iter().find(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            return Err(Failure::Usage(format!("--pid {gone}: no such process; --comm NAME takes all that come")));
        }
        Ok(Options {
            pids: self.pid.clone(),
            comm: self.comm.clone(),
            netns: self.netns.as_deref().map(netns::inode).transpose()?,
            role: self.role.map(|role| match role {
                RoleArg::Client => Role::Client,
                RoleArg::Server => Role::Server,
            }),
            port: self.port,
            ring_bytes: Some(self.ring_bytes),
            max_connections: self.max_connections,
            opens,
        })
    }

    /// The filters that are applied here, beside those of the kernel.
    pub fn filter(&self, options: &Options) -> Result<Filter, Failure> {
        Ok(Filter::new(options, RemoteFilter::resolve(&self.remote)?, &self.container))
    }

    /// What keeps the agent within bounds.
    pub fn limits(&self) -> Limits {
        Limits { cpu_budget: self.cpu_budget, off_switch: self.off_switch.clone(), ..Limits::default() }
    }

    /// How many edges are told apart.
    pub fn max_edges(&self) -> usize {
        usize::try_from(self.max_edges).unwrap_or(usize::MAX)
    }
}

fn comm(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("empty; give a name as `ps -o comm` shows it".to_owned()),
        1..=MAX_COMM => Ok(text.to_owned()),
        _ => Err(format!("longer than the {MAX_COMM} bytes that the kernel keeps; give it as `ps -o comm` shows it")),
    }
}

fn container(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let is_name = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_name && text.len() >= 4 {
        Ok(text)
    } else {
        Err("give a container's id or at least 4 digits of its beginning, or a pod's uid".to_owned())
    }
}

fn cpu_budget(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match number {
        Some(percent) if percent > 0.0 && percent <= 10_000.0 => Ok(percent / 100.0),
        _ => Err("give a percentage of one core above 0, as 5% or 0.5%".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("nothing can be seen in no time; give one as 30s or 5m".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; give one as 30s, 5m or 1h30m")),
    }
}

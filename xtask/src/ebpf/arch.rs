//! The architectures that kernel objects are built for: only the layout of `pt_regs` differs between them.

use std::fmt;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// An architecture, by Rust's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// amd64.
    X86_64,
    /// arm64.
    Aarch64,
}

/// One architecture, or all of them.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "verbatim")]
pub enum Choice {
    /// amd64
    #[value(name = "x86_64")]
    X86_64,
    /// arm64
    #[value(name = "aarch64")]
    Aarch64,
    /// every one
    #[value(name = "all")]
    All,
}

impl Choice {
    /// The architectures that are meant.
    pub fn each(self) -> impl Iterator<Item = Arch> {
        Arch::ALL.iter().copied().filter(move |arch| match self {
            Self::X86_64 => *arch == Arch::X86_64,
            Self::Aarch64 => *arch == Arch::Aarch64,
            Self::All => true,
        })
    }
}

impl Arch {
    /// All of them.
    pub const ALL: &[Self] = &[Self::X86_64, Self::Aarch64];

    /// Rust's name, which aya-ebpf takes too.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The file name of this architecture's object.
    pub fn object(self) -> String {
        format!("redial-{self}.bpf.o")
    }

    /// The architecture of this machine.
    pub fn host() -> Result<Self> {
        let host = std::env::consts::ARCH;
        match Self::ALL.iter().find(|arch| arch.name() == host) {
            Some(arch) => Ok(*arch),
            None => bail!("there is no kernel object for {host}; only for {:?}", Self::ALL),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

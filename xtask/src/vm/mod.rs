//! `xtask vm`: runs the live tests on kernels that this machine does not run, each in a QEMU guest.

mod binaries;
mod cpio;
mod guest;
mod initramfs;
mod kernels;
mod modules;

use anyhow::{Result, bail};
use clap::{Args, builder::PossibleValuesParser};

use self::{
    binaries::Binaries,
    guest::Outcome,
    kernels::{KERNELS, Kernel},
};
use crate::{
    ebpf,
    packages::{self, Package},
    paths, run,
};

/// Arguments of `xtask vm`.
#[derive(Args)]
pub struct Vm {
    /// The kernel to boot
    #[arg(long, default_value = ALL, value_parser = PossibleValuesParser::new(names()))]
    kernel: String,
    /// List what is missing instead of installing it
    #[arg(long)]
    no_install: bool,
    /// Let the processor run the guest where it can, many times faster; else it is emulated
    #[arg(long)]
    kvm: bool,
    /// Only tests whose name contains one of these
    #[arg(last = true)]
    filter: Vec<String>,
}

const ALL: &str = "all";

const PACKAGES: &[Package] = &[
    Package { name: "qemu-system-x86", proof: "qemu-system-x86_64", reason: "runs the guest" },
    Package { name: "busybox-static", proof: "/usr/share/doc/busybox-static", reason: "the guest's shell and mount" },
    Package { name: "dpkg", proof: "dpkg-deb", reason: "unpacks Debian's kernels" },
];

fn names() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().map(|kernel| kernel.name).chain([ALL])
}

/// Runs `xtask vm`.
pub fn main(args: &Vm) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the guests are x86_64 ones and run this machine's own programs: it has to be an x86_64 machine");
    }
    ebpf::check()?;
    packages::ensure(PACKAGES, !args.no_install)?;
    let binaries = Binaries::build()?;
    let mut failed = Vec::new();
    for kernel in KERNELS.iter().filter(|kernel| args.kernel == ALL || args.kernel == kernel.name) {
        if let Err(error) = test(kernel, &binaries, args) {
            run::say(format!("vm: Linux {}: {error:#}", kernel.name));
            failed.push(kernel.name);
        }
    }
    if !failed.is_empty() {
        bail!("the live tests failed on Linux {}", failed.join(", "));
    }
    Ok(())
}

fn test(kernel: &Kernel, binaries: &Binaries, args: &Vm) -> Result<()> {
    let files = kernel.fetch(&paths::target().join("vm"))?;
    let initramfs = initramfs::write(&files, binaries, &args.filter)?;
    let guest = guest::Guest { kernel: &files.image, initramfs: &initramfs, kvm: args.kvm };
    // An emulated guest crashes at boot now and then, which says nothing about what is tested.
    let outcome = match guest.run()? {
        Outcome::Crashed(why) => {
            run::say(format!("vm: Linux {}: {why}; once more", files.version));
            guest.run()?
        }
        outcome => outcome,
    };
    match outcome {
        Outcome::Crashed(why) => bail!("no result in two runs: {why}"),
        Outcome::Failed(how) => bail!("{how}"),
        Outcome::Passed(0) => bail!("no test ran: does any have {} in its name?", args.filter.join(" or ")),
        Outcome::Passed(count) => run::say(format!("vm: Linux {}: {count} tests passed", files.version)),
    }
    Ok(())
}

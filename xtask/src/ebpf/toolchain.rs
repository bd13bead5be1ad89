//! Finds a compiler that can build `core` for BPF, and bpf-linker; installs what is missing.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    packages::{self, Package},
    paths, run,
};

const LINKER_VERSION: &str = "0.13.0";
/// The LLVM that bpf-linker is built with; it reads the bitcode of compilers with this LLVM or an older one.
const LLVM_MAJOR: u32 = 22;
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// The oldest compiler that takes the workspace's edition and lints.
const RUSTC_MINOR: u32 = 95;

const COMPILER: &[Package] = &[
    Package { name: "rustc-web", proof: "/usr/bin/rustc", reason: "a compiler whose library source is to be had" },
    Package { name: "cargo-web", proof: "/usr/bin/cargo", reason: "the cargo of that compiler" },
    Package {
        name: "rust-web-src",
        proof: "/usr/lib/rustlib/src/rust/library/core/Cargo.toml",
        reason: "`core` is built from source for BPF",
    },
];
const LINKER: &[Package] = &[Package {
    name: "llvm-22-dev",
    proof: "/usr/lib/llvm-22/lib/libLLVM.so",
    reason: "bpf-linker is built against it",
}];

/// A compiler with the source of its library, and the linker.
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// Its root, which holds the source of the library.
    pub sysroot: PathBuf,
    /// The compiler's version, with its commit.
    pub rustc_version: String,
    /// The version of the compiler's LLVM.
    pub rustc_llvm: String,
    /// bpf-linker.
    pub linker: PathBuf,
    /// bpf-linker's version.
    pub linker_version: String,
    /// The version of bpf-linker's LLVM.
    pub linker_llvm: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rustc, rustc_version, rustc_llvm, linker, linker_version, linker_llvm, .. } = self;
        let (rustc, linker) = (rustc.display(), linker.display());
        write!(f, "{rustc} {rustc_version} (LLVM {rustc_llvm}) and {linker} {linker_version} (LLVM {linker_llvm})")
    }
}

/// What is there of a toolchain; `None` when something is missing. The compiler of version `preferred` comes first.
pub fn find(preferred: Option<&str>) -> Result<Option<Toolchain>> {
    Ok(match (compiler(preferred)?, linker()?) {
        (Some(compiler), Some(linker)) => Some(join(compiler, linker)),
        _ => None,
    })
}

/// A toolchain, installed if need be; with `install` false, an error says what is missing.
pub fn ensure(install: bool, preferred: Option<&str>) -> Result<Toolchain> {
    let compiler = match compiler(preferred)? {
        Some(compiler) => compiler,
        None => {
            run::say("no rustup toolchain with the component rust-src (and LLVM up to 22); taking Debian's");
            packages::ensure(COMPILER, install)?;
            compiler(preferred)?.with_context(|| {
                format!(
                    "/usr/bin/rustc is not fit: it has to be 1.{RUSTC_MINOR} or newer, with LLVM {LLVM_MAJOR} or \
                     older; install rustc-web, cargo-web and rust-web-src, or `rustup component add rust-src`"
                )
            })?
        }
    };
    let linker = match linker()? {
        Some(linker) => linker,
        None => install_linker(install)?,
    };
    Ok(join(compiler, linker))
}

struct Compiler {
    rustc: PathBuf,
    cargo: PathBuf,
    sysroot: PathBuf,
    version: String,
    llvm: String,
}

struct Linker {
    path: PathBuf,
    llvm: String,
}

fn join(compiler: Compiler, linker: Linker) -> Toolchain {
    Toolchain {
        rustc: compiler.rustc,
        cargo: compiler.cargo,
        sysroot: compiler.sysroot,
        rustc_version: compiler.version,
        rustc_llvm: compiler.llvm,
        linker: linker.path,
        linker_version: LINKER_VERSION.to_owned(),
        linker_llvm: linker.llvm,
    }
}

/// Rustup's toolchains first, then Debian's; among those that fit, the `preferred` version.
fn compiler(preferred: Option<&str>) -> Result<Option<Compiler>> {
    let mut fit = Vec::new();
    for sysroot in rustup_toolchains().into_iter().chain([PathBuf::from("/usr")]) {
        fit.extend(fit_compiler(&sysroot)?);
    }
    let index = fit.iter().position(|compiler| Some(compiler.version.as_str()) == preferred).unwrap_or(0);
    Ok((index < fit.len()).then(|| fit.swap_remove(index)))
}

fn rustup_toolchains() -> Vec<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".rustup")));
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else { return Vec::new() };
    let mut toolchains: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    toolchains.sort();
    toolchains
}

/// The compiler in `sysroot`, if it is new enough, its LLVM is not too new, and the library's source is there.
fn fit_compiler(sysroot: &Path) -> Result<Option<Compiler>> {
    let [rustc, cargo] = ["rustc", "cargo"].map(|name| sysroot.join("bin").join(name));
    let source = sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml");
    if ![&rustc, &cargo, &source].into_iter().all(|path| path.exists()) {
        return Ok(None);
    }
    let verbose = run::output(Command::new(&rustc).env_remove("LD_LIBRARY_PATH").arg("-vV"))?;
    let Some(Version { version, llvm }) = Version::parse(&verbose) else {
        bail!("`{} -vV` does not tell its version and LLVM", rustc.display());
    };
    let minor = number(&version, 1).unwrap_or_default();
    let llvm_major = number(&llvm, 0).unwrap_or(u32::MAX);
    if minor < RUSTC_MINOR || llvm_major > LLVM_MAJOR {
        return Ok(None);
    }
    Ok(Some(Compiler { rustc, cargo, sysroot: sysroot.to_owned(), version, llvm }))
}

struct Version {
    version: String,
    llvm: String,
}

impl Version {
    /// From what `rustc -vV` writes.
    fn parse(verbose: &str) -> Option<Self> {
        let field = |prefix| verbose.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
        Some(Self { version: field("rustc ")?, llvm: field("LLVM version: ")? })
    }
}

/// The number at `index` of a dotted version.
fn number(version: &str, index: usize) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).nth(index)?.parse().ok()
}

fn tools() -> PathBuf {
    paths::target().join("tools")
}

/// bpf-linker of the wanted version, in target/tools or in PATH.
fn linker() -> Result<Option<Linker>> {
    let own = tools().join("bin/bpf-linker");
    for path in [Some(own).filter(|path| path.exists()), run::which("bpf-linker")].into_iter().flatten() {
        let version = run::output(Command::new(&path).arg("--version"))?;
        if version == format!("bpf-linker {LINKER_VERSION}") {
            let llvm = linker_llvm(&path)?;
            return Ok(Some(Linker { path, llvm }));
        }
        run::say(format!("{} is {version}; {LINKER_VERSION} is wanted, so it is left alone", path.display()));
    }
    Ok(None)
}

/// The LLVM that bpf-linker at `path` uses. It does not tell itself, but one that is linked to Debian's library has
/// that library's version.
fn linker_llvm(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let soname = format!("libLLVM.so.{LLVM_MAJOR}.");
    let config = Path::new(LLVM_PREFIX).join("bin/llvm-config");
    if bytes.windows(soname.len()).any(|window| window == soname.as_bytes()) && config.exists() {
        run::output(Command::new(config).arg("--version"))
    } else {
        Ok("of its own".to_owned())
    }
}

fn install_linker(install: bool) -> Result<Linker> {
    packages::ensure(LINKER, install)?;
    let mut command = run::cargo(&paths::root());
    command
        .args(["install", "bpf-linker", "--locked", "--version", LINKER_VERSION, "--no-default-features"])
        .args(["--features", &format!("llvm-{LLVM_MAJOR}"), "--root"])
        .arg(tools())
        .env("LLVM_PREFIX", LLVM_PREFIX)
        .env("CARGO_TARGET_DIR", tools().join("build"));
    if !install {
        bail!(
            "bpf-linker {LINKER_VERSION} is neither in PATH nor in {}: LLVM_PREFIX={LLVM_PREFIX} {command:?}",
            tools().display()
        );
    }
    run::run(&mut command)?;
    linker()?
        .with_context(|| format!("bpf-linker {LINKER_VERSION} is installed in {}, but not found", tools().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_compilers_own_words() {
        let verbose = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8";
        let Version { version, llvm } = Version::parse(verbose).unwrap();
        assert_eq!((version.as_str(), llvm.as_str()), ("1.96.0 (ac68faa20 2026-05-25)", "22.1.8"));
        assert_eq!((number(&version, 1), number(&llvm, 0)), (Some(96), Some(22)));
        assert!(Version::parse("rustc 1.96.0").is_none());
    }

    #[test]
    fn a_compiler_without_the_library_source_does_not_fit() {
        assert!(fit_compiler(Path::new("/no/such/toolchain")).unwrap().is_none());
    }
}

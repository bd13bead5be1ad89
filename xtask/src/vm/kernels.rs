//! Debian's kernels, fetched with an apt state of their own: the machine's package sources stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::run;

/// A kernel that can be booted.
pub struct Kernel {
    /// Its version as people say it.
    pub name: &'static str,
    /// The Debian release that has it.
    suite: &'static str,
}

/// All of them, oldest first. A new one is a row.
pub const KERNELS: &[Kernel] = &[Kernel { name: "5.10", suite: "bullseye" }, Kernel { name: "6.1", suite: "bookworm" }];

/// The meta package that depends on the newest kernel of a release, the small one for virtual machines.
const META: &str = "linux-image-cloud-amd64";

/// An unpacked kernel.
pub struct Files {
    /// Its full version.
    pub version: String,
    /// What boots.
    pub image: PathBuf,
    /// The folder of its modules.
    pub modules: PathBuf,
}

impl Kernel {
    /// The kernel's files in a folder of `dir`, fetched if they are not there.
    pub fn fetch(&self, dir: &Path) -> Result<Files> {
        let dir = dir.join(self.suite);
        let unpacked = dir.join("unpacked");
        if !unpacked.exists() {
            let deb = self.download(&dir)?;
            let partial = dir.join("partial");
            run::run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&partial))?;
            fs::rename(&partial, &unpacked).with_context(|| format!("cannot rename {}", partial.display()))?;
        }
        Files::find(&unpacked).with_context(|| format!("remove {} and try again", dir.display()))
    }

    fn download(&self, dir: &Path) -> Result<PathBuf> {
        let apt = Apt::new(dir, self.suite)?;
        run::say(format!("vm: fetching Linux {} from Debian {}", self.name, self.suite));
        run::output(apt.command("apt-get").args(["update", "-q"]))?;
        let depends = run::output(apt.command("apt-cache").args(["depends", META]))?;
        let Some(package) = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")) else {
            bail!("{META} of {} depends on no kernel", self.suite);
        };
        run::output(apt.command("apt-get").args(["download", "-q", package]).current_dir(dir))?;
        let deb = entries(dir)?.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "deb"));
        deb.with_context(|| format!("apt-get downloaded no {package} to {}", dir.display()))
    }
}

impl Files {
    fn find(unpacked: &Path) -> Result<Self> {
        let image = entries(&unpacked.join("boot"))?.into_iter().find_map(|path| {
            let version = path.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
            Some((path, version))
        });
        let (image, version) = image.with_context(|| format!("no vmlinuz in {}", unpacked.display()))?;
        Ok(Self { image, modules: unpacked.join("lib/modules").join(&version), version })
    }
}

/// apt with its own state, cache and one source.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(dir: &Path, suite: &str) -> Result<Self> {
        let make = |path: &str| fs::create_dir_all(dir.join(path)).with_context(|| format!("cannot make {path}"));
        for path in ["apt/lists/partial", "apt/cache/archives/partial"] {
            make(path)?;
        }
        fs::write(dir.join("apt/status"), "").context("cannot write apt's status")?;
        let source = format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror()?);
        fs::write(dir.join("apt/sources.list"), source).context("cannot write apt's source")?;
        let dir = dir.display();
        let options = [
            format!("Dir::State={dir}/apt"),
            format!("Dir::State::status={dir}/apt/status"),
            format!("Dir::Cache={dir}/apt/cache"),
            format!("Dir::Etc::sourcelist={dir}/apt/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        Ok(Self { options: options.into() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options.iter().flat_map(|option| ["-o", option]));
        command
    }
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The address from which this machine takes its own Debian packages: the releases are beside each other there.
fn mirror() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename =
        codename.context("/etc/os-release names no VERSION_CODENAME; the guests' kernels come from Debian")?;
    let filter = format!("Release: {}", codename.trim_matches('"'));
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main", &filter]);
    let addresses = run::output(&mut command)?;
    match addresses.lines().next() {
        Some(address) => Ok(address.to_owned()),
        None => bail!("apt's sources have no `main` of {codename}, so the address of Debian's packages is not known"),
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

//! `redial --generate`: the manual page and the completions, from the same definitions as the help.

use std::io::{self, Write as _};

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::{Cli, failure::Failure};

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Artefact {
    /// The manual page.
    Man,
    /// Completions for Bash.
    Bash,
    /// Completions for Zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

/// Prints one of them.
pub fn run(artefact: Artefact) -> Result<(), Failure> {
    let mut command = Cli::command();
    let mut page = Vec::new();
    match artefact {
        Artefact::Man => manual(command, &mut page)?,
        Artefact::Bash => generate(Shell::Bash, &mut command, "redial", &mut page),
        Artefact::Zsh => generate(Shell::Zsh, &mut command, "redial", &mut page),
        Artefact::Fish => generate(Shell::Fish, &mut command, "redial", &mut page),
    }
    let mut out = io::stdout().lock();
    out.write_all(&page)?;
    Ok(out.flush()?)
}

/// One page for the command and all that it can do.
fn manual(mut command: clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    command.build();
    let main = Man::new(command.clone());
    main.render_title(page)?;
    main.render_name_section(page)?;
    main.render_synopsis_section(page)?;
    main.render_description_section(page)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = sub.get_name().to_owned();
        let mut part = Vec::new();
        let man = Man::new(sub.clone());
        man.render_description_section(&mut part)?;
        man.render_options_section(&mut part)?;
        // Sections of a subcommand become parts of one section that bears its name.
        writeln!(page, ".SH \"REDIAL {}\"", name.to_uppercase())?;
        let part = String::from_utf8_lossy(&part).replace(".SH DESCRIPTION\n", "").replace(".SH ", ".SS ");
        page.write_all(part.as_bytes())?;
    }
    main.render_options_section(page)?;
    main.render_extra_section(page)
}

//! The command line: arguments, and a file per subcommand.

pub mod audit;
pub mod doctor;
pub mod failure;
pub mod filter;
pub mod generate;
pub mod netns;
pub mod observe;
pub mod pace;
pub mod remote;
pub mod session;
pub mod source;
pub mod stop;
pub mod tables;
pub mod top;
pub mod trace;
pub mod watch;

use clap::{Parser, Subcommand};

use failure::Failure;
use generate::Artefact;

/// Find who keeps hanging up and redialling
///
/// redial watches this host's TCP connections from the kernel, with eBPF, and tells per process and remote whether
/// connections are reused, who closes them, and what a new one costs. No application is changed or restarted, and no
/// payload is read.
#[derive(Debug, Parser)]
#[command(
    name = "redial",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true,
    after_help = "Needs root, or the capabilities that redial names when they are missing.",
    after_long_help = "Needs root, or the capabilities that redial names when they are missing.\n\n\
        Exit status:\n  0  fine\n  1  an error\n  2  wrong usage\n  4  privileges or kernel support are lacking \
        (redial doctor says more)"
)]
pub struct Cli {
    /// Print the manual page or completions for a shell
    #[arg(long, value_enum, value_name = "WHAT", hide = true)]
    generate: Option<Artefact>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Top(top::TopArgs),
    Audit(audit::AuditArgs),
    Trace(trace::TraceArgs),
    Doctor(doctor::DoctorArgs),
}

impl Cli {
    /// Does what the arguments say.
    pub fn run(&self) -> Result<(), Failure> {
        match (&self.generate, &self.command) {
            (Some(artefact), _) => generate::run(*artefact),
            (None, Some(Command::Top(args))) => top::run(args),
            (None, Some(Command::Audit(args))) => audit::run(args),
            (None, Some(Command::Trace(args))) => trace::run(args),
            (None, Some(Command::Doctor(args))) => doctor::run(args),
            (None, None) => Err(Failure::Usage("say what to do: redial top --once, audit, trace or doctor".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, kind) in [
            ("trace --for 0s", ErrorKind::ValueValidation),
            ("trace --for soon", ErrorKind::ValueValidation),
            ("trace --comm sixteen-bytes-xx", ErrorKind::ValueValidation),
            ("trace --remote 10.0.0.300", ErrorKind::ValueValidation),
            ("trace --port 0", ErrorKind::ValueValidation),
            ("trace --port 65536", ErrorKind::ValueValidation),
            ("trace --cpu-budget 5", ErrorKind::ValueValidation),
            ("trace --cpu-budget 0%", ErrorKind::ValueValidation),
            ("top --once --container abc", ErrorKind::ValueValidation),
            ("top --once --by host", ErrorKind::InvalidValue),
            ("trace --pid 0", ErrorKind::ValueValidation),
            ("trace --role both", ErrorKind::InvalidValue),
            ("trace --format json", ErrorKind::InvalidValue),
            ("top --once --format jsonl", ErrorKind::InvalidValue),
            ("top --once --rows 0", ErrorKind::ValueValidation),
            ("doctor --for 1s", ErrorKind::UnknownArgument),
            ("trace --max-connections 0", ErrorKind::ValueValidation),
            ("--generate man doctor", ErrorKind::ArgumentConflict),
            ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ] {
            let arguments = ["redial"].into_iter().chain(line.split_whitespace());
            let error = Cli::try_parse_from(arguments).expect_err(line);
            assert_eq!(error.kind(), kind, "{line}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn what_only_running_shows_is_refused_before_the_kernel_is_touched() {
        for (line, part) in [
            ("top", "top --once"),
            ("top --once --rows 3 --format json", "--rows"),
            ("trace --pid 4194304", "no such process"),
            ("trace --netns /dev/null", "not a namespace"),
        ] {
            let arguments = ["redial"].into_iter().chain(line.split_whitespace());
            let failure = Cli::try_parse_from(arguments).expect(line).run().expect_err(line);
            assert!(matches!(&failure, Failure::Usage(message) if message.contains(part)), "{line}: {failure}");
        }
    }
}

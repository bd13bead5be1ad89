//! Why a command ends without having done its work, and the exit status that says so.

use std::{io, process::ExitCode};

use crate::kernel::AttachError;

/// Why a command failed. Each message is one line that ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// The kernel or the privileges do not allow it.
    #[error("{0}")]
    Lacking(String),
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// The exit status: 1 error, 2 usage, 4 lacking privilege or kernel support.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Other(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Lacking(_) => ExitCode::from(4),
        }
    }

    /// Whether the reader of the output has gone away, which is no error.
    pub fn is_broken_pipe(&self) -> bool {
        let Self::Other(error) = self else { return false };
        error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<AttachError> for Failure {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Privilege(message) | AttachError::Unsupported(message) => Self::Lacking(message),
            AttachError::Other(error) => Self::Other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_known_below_its_context() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Failure::Other(anyhow::Error::new(pipe).context("cannot write")).is_broken_pipe());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::NotFound)).is_broken_pipe());
        assert!(!Failure::Usage("x".into()).is_broken_pipe());
    }
}

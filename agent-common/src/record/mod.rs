//! Records that the kernel sends through the ring, one kind a file.
//!
//! Each begins with a `u32` that names its kind.

pub mod conn;
pub mod process;

/// The first word of every record.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`conn::Conn`], whole or its [`conn::HEAD_LEN`] first bytes.
    Conn = 1,
    /// A [`process::Process`].
    Process = 2,
}

impl Kind {
    /// The kind with the number `raw`, if there is one.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::Conn),
            2 => Some(Self::Process),
            _ => None,
        }
    }
}

//! From the ring's bytes to a typed event, without trusting them.

use redial_common::{
    dist::Dist,
    record::{
        Kind,
        conn::{self, Conn},
        process::{self, Process},
    },
};

use super::Event;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than the word that names the kind.
    #[error("a record of {0} bytes is too short to name its kind")]
    NoKind(usize),
    /// A kind that this version does not know.
    #[error("unknown record kind {0}")]
    UnknownKind(u32),
    /// A length that this kind does not have.
    #[error("a {kind:?} record cannot have {len} bytes")]
    Length {
        /// The kind it claims to be.
        kind: Kind,
        /// Its length in bytes.
        len: usize,
    },
}

/// Decodes one record into `event`: a 4-byte kind in the machine's byte order, then the rest of that kind's structure.
///
/// The place is used again from record to record, so that nothing large is moved; after an error its content says
/// nothing.
pub fn decode(bytes: &[u8], event: &mut Event) -> Result<(), DecodeError> {
    let Some(word) = bytes.first_chunk::<4>() else {
        return Err(DecodeError::NoKind(bytes.len()));
    };
    let raw = u32::from_ne_bytes(*word);
    let kind = Kind::from_raw(raw).ok_or(DecodeError::UnknownKind(raw))?;
    let wrong = DecodeError::Length { kind, len: bytes.len() };
    match kind {
        Kind::Conn => {
            if bytes.len() != conn::HEAD_LEN && bytes.len() != size_of::<Conn>() {
                return Err(wrong);
            }
            if !matches!(event, Event::Ended(_)) {
                *event = Event::Ended(Conn::ZERO);
            }
            let Event::Ended(record) = event else { return Err(wrong) };
            if bytes.len() == conn::HEAD_LEN && record.reused.count + record.idle.count != 0 {
                (record.reused, record.idle) = (Dist::EMPTY, Dist::EMPTY);
            }
            // SAFETY: `Conn` is `repr(C)` and made of integers only, so any bytes are a value of it; the length was
            // checked to be no more than its size, and source and target do not overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), std::ptr::from_mut(record).cast::<u8>(), bytes.len())
            };
        }
        Kind::Process => {
            if bytes.len() != process::HEAD_LEN && bytes.len() != size_of::<Process>() {
                return Err(wrong);
            }
            let mut record = Process {
                kind: raw,
                event: 0,
                at_ns: 0,
                tgid: 0,
                parent: 0,
                cgroup_id: 0,
                comm: [0; conn::COMM_LEN],
                path: [0; process::PATH_LEN],
            };
            // SAFETY: as above, for `Process`.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut record).cast::<u8>(), bytes.len()) };
            *event = Event::Process(record);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(conn: &Conn) -> Vec<u8> {
        // SAFETY: `Conn` has no padding (its size is asserted field by field), so all its bytes are initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(conn).cast::<u8>(), size_of::<Conn>()) }.to_vec()
    }

    #[test]
    fn a_short_record_has_empty_distributions() {
        let mut conn = Conn { exchanges: 1, ..Conn::ZERO };
        conn.reused.add(5_000);
        let bytes = bytes_of(&conn);
        let mut event = Event::Ended(Conn::ZERO);
        for (bytes, turns) in [(&bytes[..], 1), (&bytes[..conn::HEAD_LEN], 0), (&bytes[..], 1)] {
            decode(bytes, &mut event).unwrap();
            let Event::Ended(found) = &event else { panic!("no connection") };
            assert_eq!((found.exchanges, found.reused.count), (1, turns));
        }
    }

    #[test]
    fn what_is_no_record_says_why() {
        let mut event = Event::Ended(Conn::ZERO);
        let mut error = |bytes: &[u8]| decode(bytes, &mut event).unwrap_err();
        assert_eq!(error(&[1, 0]), DecodeError::NoKind(2));
        assert_eq!(error(&77_u32.to_ne_bytes()), DecodeError::UnknownKind(77));
        let cut = &bytes_of(&Conn::ZERO)[..conn::HEAD_LEN - 1];
        assert_eq!(error(cut), DecodeError::Length { kind: Kind::Conn, len: cut.len() });
    }
}

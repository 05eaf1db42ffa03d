//! Datagrams in a stream of bytes: each with its length before it, in two bytes (RFC 4571).

/// No client of ours sends more in one datagram.
pub(crate) const MAX_DATAGRAM: usize = 2048;
const LENGTH: usize = 2;

/// A datagram was announced that nobody of ours sends: what follows cannot be told apart any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Takes a stream apart. What it keeps is less than one datagram.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    rest: Vec<u8>,
}

impl Deframer {
    /// Takes what came next and gives each datagram that is whole.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while !self.rest.is_empty() && !bytes.is_empty() {
            let missing = match self.rest.first_chunk::<LENGTH>() {
                Some(length) => (LENGTH + checked(*length)?).saturating_sub(self.rest.len()),
                None => LENGTH - self.rest.len(),
            };
            let (taken, after) = bytes.split_at(missing.min(bytes.len()));
            self.rest.extend_from_slice(taken);
            bytes = after;
            if let Some((length, contents)) = self.rest.split_first_chunk::<LENGTH>()
                && contents.len() == checked(*length)?
            {
                each(contents);
                self.rest.clear();
            }
        }
        while let Some((length, after)) = bytes.split_first_chunk::<LENGTH>() {
            let length = checked(*length)?;
            let Some((contents, after)) = after.split_at_checked(length) else { break };
            each(contents);
            bytes = after;
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }
}

fn checked(length: [u8; LENGTH]) -> Result<usize, TooLong> {
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_DATAGRAM { Err(TooLong) } else { Ok(length) }
}

/// What a datagram takes in a stream.
pub(crate) fn framed_len(contents: &[u8]) -> usize {
    LENGTH + contents.len()
}

/// Appends a datagram. False when no stream can carry it.
pub(crate) fn frame(stream: &mut Vec<u8>, contents: &[u8]) -> bool {
    let Ok(length) = u16::try_from(contents.len()) else { return false };
    stream.extend_from_slice(&length.to_be_bytes());
    stream.extend_from_slice(contents);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_out_however_the_stream_was_cut() {
        let sent: Vec<Vec<u8>> =
            [1, 0, 300, 2, MAX_DATAGRAM, 7].iter().map(|n| (0..*n).map(|b| b as u8).collect()).collect();
        let mut stream = Vec::new();
        for contents in &sent {
            assert!(frame(&mut stream, contents));
        }
        for cut in 1..stream.len() {
            let mut deframer = Deframer::default();
            let mut received = Vec::new();
            for piece in stream.chunks(cut) {
                deframer.push(piece, |contents| received.push(contents.to_vec())).unwrap();
                assert!(deframer.rest.len() < LENGTH + MAX_DATAGRAM);
            }
            assert_eq!(received, sent, "in pieces of {cut}");
        }
    }

    #[test]
    fn what_is_too_long_ends_it_before_it_comes() {
        for cut in [1, 2, 3] {
            let mut deframer = Deframer::default();
            let bytes = [0, 1, 7, 0x08, 0x01, 0, 0];
            let results: Vec<_> = bytes.chunks(cut).map(|piece| deframer.push(piece, |_| {})).collect();
            assert!(results.contains(&Err(TooLong)), "in pieces of {cut}");
        }
        assert!(!frame(&mut Vec::new(), &[0; 70_000]));
    }
}

//! The one thing read of a STUN message before its transport is known: for whom it is.

/// The local half of the user name of a binding request, which names a transport of ours.
pub(crate) fn local_ufrag(datagram: &[u8]) -> Option<&str> {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USERNAME: u16 = 0x0006;
    if datagram.len() < 20 || datagram[0] > 1 || datagram[4..8] != COOKIE {
        return None;
    }
    let mut rest = &datagram[20..];
    while let [a, b, c, d, tail @ ..] = rest {
        let kind = u16::from_be_bytes([*a, *b]);
        let len = usize::from(u16::from_be_bytes([*c, *d]));
        let value = tail.get(..len)?;
        if kind == USERNAME {
            return str::from_utf8(value).ok()?.split(':').next();
        }
        rest = tail.get(len.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_name_is_found_and_garbage_is_survived() {
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend([7; 12]);
        message.extend([0x80, 0x22, 0, 1, b'x', 0, 0, 0]);
        message.extend([0, 6, 0, 7]);
        message.extend(b"abc:def\0");
        assert_eq!(local_ufrag(&message), Some("abc"));
        for len in 0..message.len() - 8 {
            assert_eq!(local_ufrag(&message[..len]), None);
        }
    }
}

//! Messages on a pipe: the length in four bytes, the least significant first, then so many bytes of JSON.

use std::io::{self, Read, Write};

/// No message is longer: whoever announces a longer one does not speak the protocol.
pub const MAX_FRAME: usize = 64 << 20;

/// Writes one message.
///
/// # Errors
/// If it is longer than [`MAX_FRAME`], or cannot be written.
pub fn write_frame(out: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).ok().filter(|_| message.len() <= MAX_FRAME);
    let length = length.ok_or_else(|| wrong(format!("a message of {} bytes is too long", message.len())))?;
    out.write_all(&[&length.to_le_bytes(), message].concat())?;
    out.flush()
}

/// Reads one message; none at the end of the stream.
///
/// # Errors
/// If the stream ends within a message, announces one that is too long, or cannot be read.
pub fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let mut have = 0;
    while let Some(rest) = length.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(wrong("the stream ends within a message".into())),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(wrong(format!("a message of {length} bytes was announced, and none is longer than {MAX_FRAME}")));
    }
    // What was announced is not believed: room grows with what comes.
    let mut message = Vec::with_capacity(length.min(1 << 16));
    input.take(length as u64).read_to_end(&mut message)?;
    if message.len() < length {
        return Err(wrong("the stream ends within a message".into()));
    }
    Ok(Some(message))
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let mut pipe = Vec::new();
        let long = vec![7; 100_000];
        for message in [&b""[..], b"{}", &long] {
            write_frame(&mut pipe, message).unwrap();
        }
        let mut input = &pipe[..];
        for message in [&b""[..], b"{}", &long] {
            assert_eq!(read_frame(&mut input).unwrap().unwrap(), message);
        }
        assert_eq!(read_frame(&mut input).unwrap(), None);
    }

    #[test]
    fn a_message_that_is_cut_or_too_long_is_an_error() {
        let mut pipe = Vec::new();
        write_frame(&mut pipe, b"{\"id\":1}").unwrap();
        for cut in 1..pipe.len() {
            assert!(read_frame(&mut &pipe[..cut]).is_err(), "cut at {cut}");
        }
        assert!(read_frame(&mut &[0xff; 8][..]).is_err());
        assert!(write_frame(&mut Vec::new(), &vec![0; MAX_FRAME + 1]).is_err());
    }
}

//! The option list that IPv4 (RFC 791 section 3.1) and TCP (RFC 9293 section 3.1) share: kind 0 ends it, kind 1 is one
//! byte of padding, every other kind is followed by a length that counts kind and length too.
//!
//! Guaranteed: each step consumes at least a byte, and after a malformed option the list has ended.

const END: u8 = 0;
const NO_OPERATION: u8 = 1;

/// One option, padding left out. `at` is where `data` begins in the list.
pub(super) struct RawOption<'a> {
    pub kind: u8,
    pub at: usize,
    pub data: &'a [u8],
}

/// A length runs out of the list or does not cover its own two bytes.
pub(super) struct Malformed;

#[derive(Clone, Debug)]
pub(super) struct RawOptions<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> RawOptions<'a> {
    pub(super) fn new(list: &'a [u8]) -> Self {
        RawOptions { rest: list, at: 0 }
    }
}

impl<'a> Iterator for RawOptions<'a> {
    type Item = Result<RawOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [NO_OPERATION, rest @ ..] = self.rest {
            self.rest = rest;
            self.at += 1;
        }
        let list = std::mem::take(&mut self.rest);
        let (kind, tail) = match list {
            [] | [END, ..] => return None,
            [kind, tail @ ..] => (*kind, tail),
        };
        let Some((data, rest)) = tail.split_first().and_then(|(length, body)| {
            let data_length = usize::from(*length).checked_sub(2)?;
            body.split_at_checked(data_length)
        }) else {
            return Some(Err(Malformed));
        };
        let at = self.at + 2;
        self.rest = rest;
        self.at = at + data.len();
        Some(Ok(RawOption { kind, at, data }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind and place of each option; `None` for what is malformed.
    fn read(list: &[u8]) -> Vec<Option<(u8, usize)>> {
        RawOptions::new(list).map(|option| option.ok().map(|o| (o.kind, o.at))).collect()
    }

    #[test]
    fn padding_is_skipped_and_the_end_ends() {
        assert_eq!(read(&[1, 1, 7, 3, 9, 1, 8, 2, 0, 7, 3, 9]), [Some((7, 4)), Some((8, 8))]);
    }

    #[test]
    fn a_malformed_length_ends_the_list() {
        for length in [0, 1, 4, 255] {
            assert_eq!(read(&[8, 2, 7, length, 1]), [Some((8, 2)), None], "length {length}");
        }
        assert_eq!(read(&[7]), [None]);
    }
}

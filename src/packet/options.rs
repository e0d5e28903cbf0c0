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

//! Datagrams by age: doubly linked lists through the datagrams themselves, so that any can leave from anywhere.

/// No datagram.
pub const NONE: u32 = u32::MAX;

/// A list by its ends.
#[derive(Clone, Copy)]
pub struct List {
    pub first: u32,
    last: u32,
    pub length: u32,
}

impl List {
    pub const EMPTY: List = List { first: NONE, last: NONE, length: 0 };
}

/// A datagram's neighbours in one list.
#[derive(Clone, Copy)]
pub struct Link {
    before: u32,
    after: u32,
}

impl Link {
    pub const NONE: Link = Link { before: NONE, after: NONE };
}

/// Whatever lies in lists: in as many at a time as it has links.
pub trait Linked {
    fn link(&mut self, which: usize) -> &mut Link;
}

/// Appends number `n`, by its link number `which`.
pub fn append<T: Linked>(list: &mut List, all: &mut [T], which: usize, n: u32) {
    *all[n as usize].link(which) = Link { before: list.last, after: NONE };
    match list.last {
        NONE => list.first = n,
        last => all[last as usize].link(which).after = n,
    }
    list.last = n;
    list.length += 1;
}

/// Takes number `n` out.
pub fn remove<T: Linked>(list: &mut List, all: &mut [T], which: usize, n: u32) {
    let Link { before, after } = std::mem::replace(all[n as usize].link(which), Link::NONE);
    match before {
        NONE => list.first = after,
        before => all[before as usize].link(which).after = after,
    }
    match after {
        NONE => list.last = before,
        after => all[after as usize].link(which).before = before,
    }
    list.length -= 1;
}

/// The one behind number `n`.
pub fn after<T: Linked>(all: &mut [T], which: usize, n: u32) -> u32 {
    all[n as usize].link(which).after
}

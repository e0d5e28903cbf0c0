//! VLAN tags: IEEE 802.1Q (0x8100) and 802.1ad QinQ (0x88a8).
//!
//! Guaranteed: at most two tags are read; a third stays the frame's type, which nobody here knows, and so is dropped.

use super::{Error, EtherType, Ethernet, MacAddr, ethernet};

/// How many tags a frame of ours may carry: a provider's and a customer's.
pub const MAX_TAGS: usize = 2;
/// Bytes of a tag.
pub const TAG_LENGTH: usize = 4;

/// One tag: its own type and the 16 bits of control information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// [`EtherType::VLAN`] or [`EtherType::QINQ`].
    pub ether_type: EtherType,
    /// Priority (3 bits), drop eligible (1), VLAN identifier (12).
    pub control: u16,
}

impl Tag {
    /// A customer's tag with priority 0.
    pub const fn customer(vlan: u16) -> Tag {
        Tag { ether_type: EtherType::VLAN, control: vlan & 0x0fff }
    }

    /// A provider's tag with priority 0.
    pub const fn service(vlan: u16) -> Tag {
        Tag { ether_type: EtherType::QINQ, control: vlan & 0x0fff }
    }

    /// The VLAN, 0 to 4095; 0 is "priority only, no VLAN", 4095 is reserved.
    pub const fn vlan(self) -> u16 {
        self.control & 0x0fff
    }

    /// 0 to 7.
    pub const fn priority(self) -> u8 {
        (self.control >> 13) as u8
    }

    pub const fn drop_eligible(self) -> bool {
        self.control & 0x1000 != 0
    }
}

/// The tags of a frame, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Tags([Option<Tag>; MAX_TAGS]);

impl Tags {
    pub const NONE: Tags = Tags([None, None]);

    pub const fn one(tag: Tag) -> Tags {
        Tags([Some(tag), None])
    }

    pub const fn two(outer: Tag, inner: Tag) -> Tags {
        Tags([Some(outer), Some(inner)])
    }

    pub const fn outer(&self) -> Option<Tag> {
        self.0[0]
    }

    /// The second tag; a single tag is the outer one.
    pub const fn inner(&self) -> Option<Tag> {
        self.0[1]
    }

    pub fn iter(&self) -> impl Iterator<Item = Tag> + use<> {
        self.0.into_iter().flatten()
    }

    pub fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// 0 to 2.
    pub fn len(&self) -> usize {
        self.iter().count()
    }
}

/// A frame down to what it carries: Ethernet header, tags, the type behind them.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    pub ethernet: Ethernet<'a>,
    pub tags: Tags,
    /// The type behind the tags.
    pub ether_type: EtherType,
    /// Where the payload begins in the frame: 14, 18 or 22.
    pub payload_offset: usize,
    /// All that follows, Ethernet's padding too.
    pub payload: &'a [u8],
}

impl<'a> Link<'a> {
    /// Errors: [`Error::Truncated`] if the frame ends in its header or in a tag.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, Error> {
        let ethernet = Ethernet::parse(frame)?;
        let mut link = Link {
            ethernet,
            tags: Tags::NONE,
            ether_type: ethernet.ether_type(),
            payload_offset: ethernet::HEADER_LENGTH,
            payload: ethernet.payload(),
        };
        for slot in 0..MAX_TAGS {
            if !matches!(link.ether_type, EtherType::VLAN | EtherType::QINQ) {
                break;
            }
            link.take_tag(slot)?;
        }
        Ok(link)
    }

    fn take_tag(&mut self, slot: usize) -> Result<(), Error> {
        let (&[a, b, c, d], payload) =
            self.payload.split_first_chunk::<TAG_LENGTH>().ok_or(Error::Truncated)?;
        self.tags.0[slot] = Some(Tag { ether_type: self.ether_type, control: u16::from_be_bytes([a, b]) });
        self.ether_type = EtherType(u16::from_be_bytes([c, d]));
        self.payload_offset += TAG_LENGTH;
        self.payload = payload;
        Ok(())
    }

    pub fn header(&self) -> Header {
        Header {
            destination: self.ethernet.destination(),
            source: self.ethernet.source(),
            tags: self.tags,
            ether_type: self.ether_type,
        }
    }
}

/// A link-layer header, tags included, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub destination: MacAddr,
    pub source: MacAddr,
    pub tags: Tags,
    /// The type behind the tags.
    pub ether_type: EtherType,
}

impl Header {
    /// Bytes: 14, 18 or 22.
    pub fn length(&self) -> usize {
        ethernet::HEADER_LENGTH + self.tags.len() * TAG_LENGTH
    }

    /// Writes the header at the start of `buffer`; returns its length. Errors: [`Error::BufferTooSmall`].
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let outer = self.tags.outer().map_or(self.ether_type, |tag| tag.ether_type);
        let untagged =
            ethernet::Header { destination: self.destination, source: self.source, ether_type: outer };
        let mut at = untagged.emit(buffer)?;
        let behind = self.tags.iter().skip(1).map(|tag| tag.ether_type).chain([self.ether_type]);
        for (tag, next) in self.tags.iter().zip(behind) {
            let room = buffer.get_mut(at..at + TAG_LENGTH).ok_or(Error::BufferTooSmall)?;
            let (control, ether_type) = room.split_at_mut(2);
            control.copy_from_slice(&tag.control.to_be_bytes());
            ether_type.copy_from_slice(&next.0.to_be_bytes());
            at += TAG_LENGTH;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tags_are_read_and_a_third_is_not() {
        let mut frame = vec![0; 12];
        frame.extend([0x88, 0xa8, 0xb0, 0x64, 0x81, 0x00, 0x00, 0x0a, 0x81, 0x00, 0x00, 0x0b, 0x08, 0x00]);
        let link = Link::parse(&frame).unwrap();
        let outer = link.tags.outer().unwrap();
        assert_eq!((outer.vlan(), outer.priority(), outer.drop_eligible()), (100, 5, true));
        assert_eq!(link.tags.inner(), Some(Tag::customer(10)));
        assert_eq!((link.ether_type, link.payload_offset, link.tags.len()), (EtherType::VLAN, 22, 2));
        for length in 12..22 {
            assert_eq!(Link::parse(&frame[..length]).err(), Some(Error::Truncated), "{length} bytes");
        }
    }
}

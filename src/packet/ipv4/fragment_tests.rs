//! Fragments against a naive reassembly.

use super::*;
use crate::packet::Protocol;
use crate::packet::ipv4;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const COPIED: [u8; 4] = [148, 4, 0, 0]; // router alert
const NOT_COPIED: [u8; 8] = [7, 7, 4, 0, 0, 0, 0, 1]; // record route, and padding

fn packet(header: &ipv4::Header<'_>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; header.length() + payload.len()];
    let at = header.emit(&mut bytes, payload.len()).unwrap();
    bytes[at..].copy_from_slice(payload);
    bytes
}

fn header(options: &[u8]) -> ipv4::Header<'_> {
    let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(198, 51, 100, 1));
    let plain = ipv4::Header::new(source, destination, Protocol::UDP);
    ipv4::Header { dont_fragment: false, identification: 0x1234, options, ..plain }
}

fn cut(bytes: &[u8], mtu: usize) -> Result<Vec<Vec<u8>>, Refused> {
    let mut fragments = Fragments::new(&Ipv4::parse(bytes).unwrap(), mtu)?;
    let mut all = Vec::new();
    let mut buffer = vec![0; mtu.max(60)];
    while let Some(length) = fragments.write_next(&mut buffer).unwrap() {
        all.push(buffer[..length].to_vec());
    }
    assert_eq!(fragments.write_next(&mut buffer), Ok(None));
    Ok(all)
}

#[test]
fn what_may_not_be_cut_is_refused() {
    let payload = [9; 100];
    let plain = header(&[]);
    assert_eq!(
        cut(&packet(&ipv4::Header { dont_fragment: true, ..plain }, &payload), 100),
        Err(Refused::DontFragment)
    );
    assert_eq!(cut(&packet(&plain, &payload), 27), Err(Refused::MtuTooSmall));
    assert_eq!(cut(&packet(&plain, &payload), 28).unwrap().len(), 13);
    assert_eq!(cut(&packet(&header(&[148, 9, 0, 0]), &payload), 100), Err(Refused::OptionsMalformed));
    let hostile = ipv4::Header { fragment_offset: 65_528, ..plain };
    assert_eq!(cut(&packet(&hostile, &payload), 100), Err(Refused::TooLong));
    // What fits goes as it is, whatever it says.
    let small = packet(&ipv4::Header { dont_fragment: true, ..header(&[148, 9, 0, 0]) }, &payload);
    assert_eq!(cut(&small, 124), Ok(vec![small.clone()]));
    let mut short = [0; 50];
    let bytes = packet(&plain, &payload);
    let mut fragments = Fragments::new(&Ipv4::parse(&bytes).unwrap(), 68).unwrap();
    assert_eq!(fragments.write_next(&mut short), Err(Error::BufferTooSmall));
}

#[test]
fn only_options_with_the_copied_flag_go_into_later_fragments() {
    let options = [&NOT_COPIED[..], &COPIED].concat();
    let fragments = cut(&packet(&header(&options), &[1; 200]), 100).unwrap();
    let options_of = |bytes: &[u8]| Ipv4::parse(bytes).unwrap().header().options.to_vec();
    assert_eq!(options_of(&fragments[0]), options);
    assert!(fragments.len() > 2 && fragments[1..].iter().all(|f| options_of(f) == COPIED));
    // Three bytes are padded to four.
    let fragments = cut(&packet(&header(&[0x83, 3, 4, 0]), &[1; 200]), 100).unwrap();
    assert_eq!(options_of(&fragments[1]), [0x83, 3, 4, 0]);
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(COPIED.to_vec()), Just(NOT_COPIED.to_vec()), Just(vec![1; 4])], 0..=5)
        .prop_map(|options| options.concat())
}

proptest! {
    /// Each fits, sums up and says what the packet said; together, in any order, they are the packet.
    #[test]
    fn fragments_reassemble(
        options in options(), payload in vec(any::<u8>(), 0..4000), mtu in 68usize..1600,
        offset in 0u16..4000, more: bool, dscp in 0u8..64, rotate in any::<prop::sample::Index>(),
    ) {
        let whole = ipv4::Header { dscp, more_fragments: more, fragment_offset: offset * 8, ..header(&options) };
        let bytes = packet(&whole, &payload);
        let mut fragments = cut(&bytes, mtu).unwrap();
        prop_assert_eq!(fragments.len() == 1, bytes.len() <= mtu);
        if bytes.len() <= mtu {
            prop_assert_eq!(&fragments[0], &bytes);
        }
        let offsets = |f: &[Vec<u8>]| f.iter().map(|f| Ipv4::parse(f).unwrap().fragment_offset()).collect::<Vec<_>>();
        prop_assert!(offsets(&fragments).is_sorted(), "RFC 4787 REQ-13 a");
        let middle = rotate.index(fragments.len());
        fragments.rotate_left(middle);
        let mut together = vec![None; payload.len()];
        let mut last = 0;
        for fragment in &fragments {
            prop_assert!(fragment.len() <= mtu);
            let part = Ipv4::parse(fragment).unwrap();
            prop_assert!(part.checksum_is_right());
            prop_assert_eq!(usize::from(part.total_length()), fragment.len());
            let at = usize::from(part.fragment_offset() - whole.fragment_offset);
            for (i, byte) in part.payload().iter().enumerate() {
                prop_assert_eq!(together[at + i].replace(*byte), None, "twice");
            }
            let ends = at + part.payload().len() == payload.len();
            prop_assert_eq!(part.more_fragments(), more || !ends);
            prop_assert!(ends || part.payload().len().is_multiple_of(8));
            last += usize::from(ends);
            let same = ipv4::Header {
                options: &options, more_fragments: more, fragment_offset: whole.fragment_offset, ..part.header()
            };
            prop_assert_eq!(same, whole);
        }
        prop_assert_eq!(last, 1);
        prop_assert_eq!(together.into_iter().collect::<Option<Vec<u8>>>(), Some(payload));
    }
}

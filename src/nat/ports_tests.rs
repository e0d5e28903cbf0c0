//! Blocks of ports against what is told of them: one at a time, all of them, and not before they have rested.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

const UDP: u8 = 17;
const TCP: u8 = 6;

#[test]
fn blocks_of_two_sizes_tile_the_ports() {
    for layout in [
        Layout::even(1024, 64, 1008),
        Layout::even(1, 100, 655),
        Layout::two_sizes(1024, 64512, 64, 512),
        Layout::two_sizes(4096, 1024, 64, 256),
        Layout::even(0, 1 << 16, 1),
    ] {
        let mut next = layout.first_port;
        let mut word = 0;
        for block in 0..layout.blocks() {
            let (first, size) = layout.ports_of(block);
            assert_eq!((first, layout.word_at(block)), (next, word));
            for port in [first, first + size - 1] {
                assert_eq!(layout.block_of(port as u16), Some(block), "{layout:?}");
            }
            (next, word) = (first + size, word + layout.words_of(block));
        }
        assert_eq!(layout.word_at(layout.blocks()), word);
        if next <= 65535 {
            assert_eq!(layout.block_of(next as u16), None);
        }
        if layout.first_port > 0 {
            assert_eq!(layout.block_of(layout.first_port as u16 - 1), None);
        }
    }
    // Whoever has a first block can have another: nobody's growth takes what newcomers need.
    let layout = Layout::two_sizes(1024, 64512, 64, 512);
    assert_eq!((layout.smalls, layout.larges), (112, 112));
}

#[test]
fn every_port_once_then_none() {
    for size in [64u32, 100, 252, 512] {
        let blocks = Blocks::new(Layout::even(1024, size, 3), 2, 0);
        blocks.occupy(4, 3, 7, NONE, 0);
        assert_eq!((blocks.owner(4), blocks.subscriber(4), blocks.owner(3)), (Some(3), 7, None));
        let mut seen = HashSet::new();
        for r in 0..size {
            let port = blocks.take(4, UDP, Wish::Any, r.wrapping_mul(2654435761), 0).unwrap();
            assert!(seen.insert(port) && blocks.layout().block_of(port) == Some(1));
        }
        assert_eq!(blocks.take(4, UDP, Wish::Any, 5, 0), None);
        assert!(blocks.take(4, TCP, Wish::Any, 5, 0).is_some(), "another port space");
        assert_eq!(blocks.in_use(4), size + 1);
        let port = *seen.iter().next().unwrap();
        assert!(!blocks.free(4, port, UDP, 0));
        assert_eq!(blocks.take(4, UDP, Wish::Any, 9, 0), Some(port));
    }
}

#[test]
fn wishes() {
    let blocks = Blocks::new(Layout::even(1001, 100, 2), 1, 0);
    blocks.occupy(0, 0, 0, NONE, 0);
    assert_eq!(blocks.take(0, UDP, Wish::Exactly(1075), 3, 0), Some(1075));
    assert_eq!(blocks.take(0, UDP, Wish::Exactly(1075), 3, 0), None, "it is taken");
    assert_eq!(blocks.take(0, UDP, Wish::Exactly(1101), 3, 0), None, "the next block's");
    for parity in [0, 1] {
        let taken: Vec<u16> =
            std::iter::from_fn(|| blocks.take(0, TCP, Wish::LikeParity(parity), 77, 0)).collect();
        assert!(taken.len() == 50 && taken.iter().all(|p| p % 2 == parity), "{taken:?}");
    }
    assert_eq!(blocks.take(0, TCP, Wish::Any, 3, 0), None);
    // What has no ports takes none, and is counted.
    assert_eq!(blocks.take(0, 47, Wish::Exactly(5), 3, 0), Some(0));
    assert!(!blocks.free(0, 1075, UDP, 0));
    assert_eq!(blocks.in_use(0), 101);
}

proptest! {
    /// Against a map of when each port was freed: what is taken was free, and has rested for the cool-down; and after twice
    /// the cool-down everything is there again.
    #[test]
    fn ports_rest(
        cool_down in prop_oneof![Just(0u32), 1u32..500],
        ops in prop::collection::vec((any::<bool>(), any::<u32>(), 0u32..200), 1..400),
        start in prop_oneof![Just(0u32), Just(u32::MAX - 300)],
    ) {
        let blocks = Blocks::new(Layout::even(1024, 100, 1), 1, cool_down);
        let mut now = start;
        blocks.occupy(0, 0, 0, NONE, now);
        let mut held: Vec<u16> = vec![];
        let mut freed: HashMap<u16, u32> = HashMap::new();
        for (take, random, later) in ops {
            now = now.wrapping_add(later);
            if take {
                match blocks.take(0, UDP, Wish::Any, random, now) {
                    Some(port) => {
                        prop_assert!(!held.contains(&port));
                        if let Some(at) = freed.remove(&port) {
                            prop_assert!(now.wrapping_sub(at) >= cool_down);
                        }
                        held.push(port);
                    }
                    None => {
                        // Whatever is not held has been freed, and that not long ago.
                        prop_assert_eq!(held.len() + freed.len(), 100);
                        let long_ago = |at: &&u32| now.wrapping_sub(**at) >= 2 * cool_down && cool_down > 0;
                        prop_assert_eq!(freed.values().filter(long_ago).count(), 0);
                    }
                }
            } else if !held.is_empty() {
                let port = held.swap_remove(random as usize % held.len());
                prop_assert_eq!(blocks.free(0, port, UDP, now), held.is_empty());
                freed.insert(port, now);
            }
        }
        now = now.wrapping_add(2 * cool_down);
        let rest = std::iter::from_fn(|| blocks.take(0, UDP, Wish::Any, 1, now)).count();
        prop_assert_eq!(rest + held.len(), 100);
    }
}

//! Whole frames as bytes from one thread to another: what crosses between a worker and a control thread, which never
//! touches an mbuf.
//!
//! One ring of bytes over rtrb, made once and touched once, so that neither end allocates or faults a page in later. A
//! record is its length, its tag and its class, 16 bits each, then the bytes of the frame.
//!
//! Guarantees: frames come out whole, in order, each once; the reader never sees part of a record; a frame that does not
//! fit leaves the ring as it was; a reader that naps is woken when the writer says so. Never blocks, on either side.

use super::wake::Waker;
use rtrb::{Consumer, Producer, RingBuffer};

/// The longest frame that a ring takes: DPDK's usual limit of a jumbo frame.
pub const FRAME_MAX: usize = 9_728;

/// The bytes of a record before its frame.
pub const HEADER_LENGTH: usize = 6;

/// What stands at the head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whose frame it is: the index of an interface.
    pub tag: u16,
    /// What sort of frame it is, as the two ends agree.
    pub class: u16,
    /// Bytes of the frame.
    pub length: u16,
}

impl FrameHeader {
    fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let ([a, b], [c, d], [e, f]) =
            (self.length.to_ne_bytes(), self.tag.to_ne_bytes(), self.class.to_ne_bytes());
        [a, b, c, d, e, f]
    }

    fn from_bytes([a, b, c, d, e, f]: [u8; HEADER_LENGTH]) -> FrameHeader {
        FrameHeader {
            length: u16::from_ne_bytes([a, b]),
            tag: u16::from_ne_bytes([c, d]),
            class: u16::from_ne_bytes([e, f]),
        }
    }
}

/// The writing end.
#[derive(Debug)]
pub struct FrameSender {
    ring: Producer<u8>,
    reader: Waker,
    /// Whether something was pushed since the reader was last woken.
    has_news: bool,
}

/// The reading end.
#[derive(Debug)]
pub struct FrameReceiver {
    ring: Consumer<u8>,
    reader: Waker,
}

/// A ring of `capacity` bytes, frames and their headers together; at least one frame of [`FRAME_MAX`] always fits.
pub fn frames(capacity: usize) -> (FrameSender, FrameReceiver) {
    let capacity = capacity.max(FRAME_MAX + HEADER_LENGTH);
    let (mut producer, mut consumer) = RingBuffer::new(capacity);
    // Written through once: the pages are there before the first packet is.
    if let Ok(chunk) = producer.write_chunk(capacity) {
        chunk.commit_all();
    }
    if let Ok(chunk) = consumer.read_chunk(capacity) {
        chunk.commit_all();
    }
    let reader = Waker::default();
    let sender = FrameSender { ring: producer, reader: reader.clone(), has_news: false };
    (sender, FrameReceiver { ring: consumer, reader })
}

impl FrameSender {
    /// Appends a frame, given in `segments`; false, and nothing written, when it does not fit or is longer than
    /// [`FRAME_MAX`].
    #[must_use = "a frame that did not fit is a drop to be counted"]
    pub fn push(&mut self, tag: u16, class: u16, segments: &[&[u8]]) -> bool {
        let length: usize = segments.iter().map(|segment| segment.len()).sum();
        if length > FRAME_MAX {
            return false;
        }
        let Ok(mut chunk) = self.ring.write_chunk(HEADER_LENGTH + length) else {
            return false;
        };
        let header = FrameHeader { tag, class, length: length as u16 }.to_bytes();
        let (first, second) = chunk.as_mut_slices();
        let mut at = 0;
        for bytes in std::iter::once(&header[..]).chain(segments.iter().copied()) {
            let before_wrap = bytes.len().min(first.len().saturating_sub(at));
            let (head, tail) = bytes.split_at(before_wrap);
            if !head.is_empty() {
                first[at..at + head.len()].copy_from_slice(head);
            }
            if !tail.is_empty() {
                let from = at + before_wrap - first.len();
                second[from..from + tail.len()].copy_from_slice(tail);
            }
            at += bytes.len();
        }
        chunk.commit_all();
        self.has_news = true;
        true
    }

    /// Wakes the reader if something was pushed since this was last called; whether there was.
    #[inline]
    pub fn wake(&mut self) -> bool {
        if self.has_news {
            self.reader.wake();
        }
        std::mem::take(&mut self.has_news)
    }

    /// Whether the reader is gone.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl FrameReceiver {
    /// From now on the writer wakes the calling thread, if none before.
    pub fn wakes_me(&self) {
        self.reader.wakes_me();
    }

    /// Hands the next frame, in two parts where the ring wraps, to `act`, and then drops it from the ring.
    pub fn pop_with<R>(&mut self, act: impl FnOnce(FrameHeader, &[u8], &[u8]) -> R) -> Option<R> {
        let header = self.peek()?;
        let chunk = self.ring.read_chunk(HEADER_LENGTH + usize::from(header.length)).ok()?;
        let (first, second) = chunk.as_slices();
        let in_second = HEADER_LENGTH.saturating_sub(first.len());
        let result = act(header, &first[HEADER_LENGTH.min(first.len())..], &second[in_second..]);
        chunk.commit_all();
        Some(result)
    }

    /// Copies the next frame to the start of `buffer`; returns its tag, its class and its length. Of a frame that is
    /// longer than `buffer` the rest is lost, and the length says so: a buffer of [`FRAME_MAX`] takes all there are.
    pub fn pop(&mut self, buffer: &mut [u8]) -> Option<(u16, u16, usize)> {
        self.pop_with(|header, first, second| {
            let mid = first.len().min(buffer.len());
            let (head, tail) = buffer.split_at_mut(mid);
            head.copy_from_slice(&first[..mid]);
            let rest = second.len().min(tail.len());
            tail[..rest].copy_from_slice(&second[..rest]);
            (header.tag, header.class, usize::from(header.length))
        })
    }

    /// What stands at the head of the next frame.
    pub fn peek(&mut self) -> Option<FrameHeader> {
        let chunk = self.ring.read_chunk(HEADER_LENGTH).ok()?;
        let (first, second) = chunk.as_slices();
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..].copy_from_slice(second);
        Some(FrameHeader::from_bytes(bytes)) // without a commit: it stays
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Whether the writer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Step {
        Push { tag: u16, class: u16, segments: Vec<Vec<u8>> },
        Pop,
        Peek,
    }

    fn step() -> impl Strategy<Value = Step> {
        let segment = prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..40),
            2 => (1_000..6_000usize, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
            1 => Just(vec![7; FRAME_MAX]),
        ];
        let push = (any::<u16>(), any::<u16>(), prop::collection::vec(segment, 0..4))
            .prop_map(|(tag, class, segments)| Step::Push { tag, class, segments });
        prop_oneof![4 => push, 3 => Just(Step::Pop), 1 => Just(Step::Peek)]
    }

    proptest! {
        #[test]
        fn it_is_a_bounded_queue_of_frames(extra in 0..3_000usize, steps in prop::collection::vec(step(), 1..200)) {
            let capacity = FRAME_MAX + HEADER_LENGTH + extra;
            let (mut sender, mut receiver) = frames(capacity);
            let mut oracle: VecDeque<(u16, u16, Vec<u8>)> = VecDeque::new();
            let mut buffer = vec![0; FRAME_MAX];
            for step in steps {
                match step {
                    Step::Push { tag, class, segments } => {
                        let whole = segments.concat();
                        let used: usize = oracle.iter().map(|(.., bytes)| bytes.len() + HEADER_LENGTH).sum();
                        let fits =
                            whole.len() <= FRAME_MAX && used + whole.len() + HEADER_LENGTH <= capacity;
                        let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
                        prop_assert_eq!(sender.push(tag, class, &segments), fits);
                        if fits {
                            oracle.push_back((tag, class, whole));
                        }
                    }
                    Step::Pop => {
                        let popped = receiver.pop(&mut buffer).map(|(tag, class, n)| (tag, class, buffer[..n].to_vec()));
                        prop_assert_eq!(popped, oracle.pop_front());
                    }
                    Step::Peek => {
                        let seen = receiver.peek().map(|header| (header.tag, header.class, header.length));
                        let next = oracle.front().map(|(tag, class, bytes)| (*tag, *class, bytes.len() as u16));
                        prop_assert_eq!(seen, next);
                    }
                }
                prop_assert_eq!(receiver.is_empty(), oracle.is_empty());
            }
        }
    }

    #[test]
    fn a_short_buffer_gets_what_fits_and_is_told() {
        let (mut sender, mut receiver) = frames(0);
        assert!(sender.push(1, 2, &[&[1, 2, 3], &[4, 5]]));
        assert!(sender.push(3, 4, &[&[6]]));
        let mut buffer = [0; 3];
        assert_eq!(receiver.pop(&mut buffer), Some((1, 2, 5)));
        assert_eq!(buffer, [1, 2, 3]);
        assert_eq!(receiver.pop(&mut buffer), Some((3, 4, 1)), "the next one is in its place");
        assert_eq!(receiver.pop(&mut buffer), None);
    }

    #[test]
    fn too_long_a_frame_is_refused_however_large_the_ring() {
        let (mut sender, receiver) = frames(100_000);
        assert!(!sender.push(0, 0, &[&[0; FRAME_MAX], &[0]]));
        assert!(receiver.is_empty());
        assert!(sender.push(0, 0, &[&[0; FRAME_MAX - 1], &[0]]));
    }

    #[test]
    fn two_threads() {
        const FRAMES: u32 = 200_000;
        let (mut sender, mut receiver) = frames(10_000);
        let writer = std::thread::spawn(move || {
            for number in 0..FRAMES {
                let body = [number as u8; 90];
                let body = &body[..(number % 90) as usize];
                while !sender.push(number as u16, (number >> 16) as u16, &[&number.to_ne_bytes(), body]) {
                    std::thread::yield_now();
                }
            }
        });
        let mut buffer = [0; FRAME_MAX];
        let mut expected = 0u32;
        while expected < FRAMES {
            let Some((tag, class, length)) = receiver.pop(&mut buffer) else {
                std::thread::yield_now();
                continue;
            };
            assert_eq!((u32::from(class) << 16) | u32::from(tag), expected);
            assert_eq!(length, 4 + (expected % 90) as usize);
            assert_eq!(buffer[..4], expected.to_ne_bytes());
            assert!(buffer[4..length].iter().all(|&byte| byte == expected as u8));
            expected += 1;
        }
        writer.join().expect("the writer");
        assert!(receiver.is_empty() && receiver.is_abandoned());
    }
}

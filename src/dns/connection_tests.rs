//! Connections in pieces, crowds, silence and rubbish.

use super::*;
use proptest::prelude::*;

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

fn next(connection: &mut Connection) -> Option<Vec<u8>> {
    let mut taken = None;
    connection.next_message(|message| {
        taken = Some(message.to_vec());
        true
    });
    taken
}

#[test]
fn a_crowd_of_questions_waits_its_turn() {
    let mut connection = Connection::new(0);
    let all: Vec<u8> = (0..PIPELINED as u8 + 2).flat_map(|n| framed(&[n; 20])).collect();
    connection.received(&all);
    for n in 0..PIPELINED as u8 {
        assert_eq!(next(&mut connection), Some(vec![n; 20]));
    }
    assert_eq!(next(&mut connection), None);
    assert!(!connection.wants_more());
    connection.answered(Some(b"yes"), 0);
    assert_eq!(next(&mut connection), Some(vec![PIPELINED as u8; 20]));
    assert_eq!(connection.to_send(), framed(b"yes"));
    // What is not taken is there the next time.
    connection.answered(None, 0);
    assert!(!connection.next_message(|_| false));
    assert_eq!(next(&mut connection), Some(vec![PIPELINED as u8 + 1; 20]));
}

#[test]
fn who_is_silent_or_does_not_read_is_let_go() {
    let mut connection = Connection::new(100);
    assert_eq!(connection.is_over(100 + IDLE - 1), None);
    assert_eq!(connection.is_over(100 + IDLE), Some(Over::Idle));
    // Single bytes are no message: they don't keep it open.
    connection.received(&[0]);
    assert!(next(&mut connection).is_none());
    assert_eq!(connection.is_over(100 + IDLE), Some(Over::Idle));
    connection.received(&[1, 7]);
    assert_eq!(next(&mut connection), Some(vec![7]));
    assert_eq!(connection.is_over(1_000_000), None, "its answer is still to come");
    connection.answered(Some(&[1; 10]), 1_000_000);
    assert_eq!(connection.is_over(1_000_000 + SLOW - 1), None);
    assert_eq!(connection.is_over(1_000_000 + SLOW), Some(Over::Idle));
    connection.sent(5, 1_000_000 + SLOW);
    assert_eq!(connection.is_over(1_000_000 + SLOW + 1), None, "slow, and not silent");
    connection.sent(7, 1_000_000);
    assert_eq!(connection.is_over(1_000_000 + IDLE - 1), None, "not long ago it was answered");
    assert_eq!(connection.is_over(1_000_000 + IDLE), Some(Over::Idle));
    let mut greedy = Connection::new(0);
    for _ in 0..UNREAD_MAX / 60_000 + 1 {
        greedy.answered(Some(&[0; 60_000]), 0);
    }
    assert_eq!(greedy.is_over(0), Some(Over::Idle));
}

#[test]
fn what_is_kept_is_bounded() {
    // A message that is not taken, and no more than that.
    let mut connection = Connection::new(0);
    connection.received(&framed(&vec![1; MESSAGE_MAX])[..MESSAGE_MAX + 1]);
    assert!(connection.wants_more());
    connection.received(&[1]);
    assert!(!connection.wants_more());
    assert_eq!(next(&mut connection).map(|message| message.len()), Some(MESSAGE_MAX));
    assert!(connection.wants_more());
    // Of answers, what the other end reads, if never all of it, is let go.
    let mut connection = Connection::new(0);
    connection.answered(Some(&[0; 60_000]), 0);
    for _ in 0..50 {
        connection.answered(Some(&[0; 60_000]), 0);
        connection.sent(60_002, 0);
        assert_eq!((connection.to_send().len(), connection.is_over(0)), (60_002, None));
    }
    assert!(connection.outgoing.len() <= UNREAD_MAX, "{}", connection.outgoing.len());
}

#[test]
fn who_says_no_more_gets_its_answers() {
    let mut connection = Connection::new(0);
    connection.received(&framed(&[3; 12]));
    connection.received(&[]);
    assert!(!connection.wants_more());
    assert!(next(&mut connection).is_some());
    assert_eq!(connection.is_over(0), None);
    connection.answered(Some(b"yes"), 0);
    assert_eq!(connection.is_over(0), None);
    connection.sent(5, 0);
    assert_eq!(connection.is_over(0), Some(Over::Done));
}

#[test]
fn what_is_no_message_ends_it() {
    for length in [0, MESSAGE_MAX as u16 + 1] {
        let mut connection = Connection::new(0);
        connection.received(&length.to_be_bytes());
        assert_eq!(next(&mut connection), None);
        assert_eq!(connection.is_over(0), Some(Over::Bad));
    }
}

proptest! {
    #[test]
    fn messages_come_whole_in_any_pieces(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..12),
        pieces in prop::collection::vec(1..300usize, 0..50),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
        let (mut connection, mut rest, mut found) = (Connection::new(0), &bytes[..], vec![]);
        for piece in pieces.into_iter().chain([usize::MAX]) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            if !now.is_empty() {
                connection.received(now);
            }
            rest = later;
            while let Some(message) = next(&mut connection) {
                found.push(message);
                connection.answered(None, 0);
            }
        }
        prop_assert_eq!(found, messages);
    }
}

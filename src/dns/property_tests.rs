//! Any bytes, and sound messages with some bytes changed: no panic, and no answer that is longer than it may be.

use hickory_proto::op::{Edns, Message, OpCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use proptest::prelude::*;

use super::tests::{NOW, fixture, inside, outside, question};
use super::update_tests::signed_update;
use super::*;

/// Whatever comes of it is bounded, and a decision about it is, too.
fn check(bytes: &[u8], asker: &Asker) -> Result<(), TestCaseError> {
    thread_local!(static FIXTURE: (Responder, Register) = fixture());
    FIXTURE.with(|(responder, hosts)| {
        let limit = if asker.transport == Transport::Udp { 1232 } else { 65_535 };
        let check = |outcome: Outcome| {
            if let Outcome::Answer(answer) = outcome {
                prop_assert!(answer.len() <= limit);
                let read = Message::from_vec(&answer);
                prop_assert!(read.is_ok_and(|read| read.id.to_be_bytes() == bytes[..2]), "{answer:02x?}");
            }
            Ok(())
        };
        match responder.ask(bytes, asker, hosts, NOW) {
            Outcome::Reserve(deferral) => {
                for decision in [
                    Decision::Address([203, 0, 113, 1].into()),
                    Decision::DemandTcp,
                    Decision::DemandLabel,
                    Decision::DemandCookie,
                    Decision::Empty,
                    Decision::NoAddress,
                ] {
                    check(responder.decide(&deferral, decision, NOW))?;
                }
                Ok(())
            }
            Outcome::Update(update) => check(responder.updated(&update, update::End::Done, NOW)),
            other => check(other),
        }
    })
}

fn asker() -> impl Strategy<Value = Asker> {
    (prop::bool::ANY, 0..4u16).prop_map(|(is_tcp, realm)| {
        let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
        match realm {
            0 => outside(transport),
            realm => Asker { transport, ..inside(realm) },
        }
    })
}

const NAMES: &[&str] =
    &["a.ces.example", "_sip._udp.a.ces.example", "ces.example", "2.0.0.10.in-addr.arpa", "x.y"];
const TYPES: &[u16] = &[1, 28, 2, 6, 12, 16, 33, 35, 252, 255, 65];

/// Questions with every option, and an update.
fn sound() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(NAMES), prop::sample::select(TYPES), 0..3u8).prop_map(
        |(name, record_type, kind)| {
            let mut message = question(name, RecordType::from(record_type));
            if kind == 1 {
                let mut edns = Edns::new();
                edns.options_mut().insert(EdnsOption::Unknown(EdnsCode::Cookie.into(), vec![1; 24]));
                let subnet = ClientSubnet::new([192, 0, 2, 0].into(), 24, 0);
                edns.options_mut().insert(EdnsOption::Subnet(subnet));
                message.set_edns(edns);
            }
            if kind == 2 { signed_update() } else { message.to_vec().expect("it can be written") }
        },
    )
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), asker in asker()) {
        check(&bytes, &asker)?;
    }

    /// A header that may pass, and any bytes behind it.
    #[test]
    fn any_records(
        counts in prop::array::uniform4(0..4u8),
        is_update in any::<bool>(),
        rest in prop::collection::vec(any::<u8>(), 0..200),
        asker in asker(),
    ) {
        let op_code = u8::from(if is_update { OpCode::Update } else { OpCode::Query });
        let mut bytes = vec![0x12, 0x34, op_code << 3, 0];
        counts.iter().for_each(|count| bytes.extend([0, *count]));
        bytes.extend(rest);
        check(&bytes, &asker)?;
    }

    #[test]
    fn sound_messages_with_some_bytes_changed(
        mut bytes in sound(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
        asker in asker(),
    ) {
        changes.iter().for_each(|(at, value)| *at.get_mut(&mut bytes) = *value);
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check(&bytes, &asker)?;
    }
}

//! What others ask the edge's DNS: the naming checks, and whoever needs an edge's addresses.
//!
//! A [`Handle`] is for who asks, a [`Desk`] for the thread `ces-dns`, which answers by itself about names of ours and asks other servers
//! as for hosts: equal questions under way are asked once, and answers are remembered for their TTL.
//!
//! Guarantees: each question that a handle takes has one answer, also when the desk is gone; so many are under way at most as the pair
//! was made for, and no channel is ever full. Never: waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crossbeam::channel::{Receiver, TryRecvError, bounded};
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::naptr;
use crate::edge::calls::{Answer, Lookups};
use crate::edge::identity::naming::Question;
use crate::ring::wake::{Waker, Waking};

/// Addresses of a name.
const ADDRESSES_MAX: usize = 32;

/// Asks. See the module.
pub struct Handle {
    questions: Waking<(Question, u64)>,
    answers: Receiver<(u64, Answer)>,
    waker: Waker,
    under_way: BTreeSet<u64>,
    most: usize,
}

/// Takes questions. See the module.
pub struct Desk {
    questions: Receiver<(Question, u64)>,
    answers: Waking<(u64, Answer)>,
    waker: Waker,
    /// By the number of their asker.
    open: BTreeMap<u64, Open>,
    /// What others are asked, by its token, and for which of them.
    asked: HashMap<u64, (u64, Query)>,
}

/// A question that has no answer yet.
struct Open {
    /// Questions to others that have no answer yet.
    missing: usize,
    found: Vec<Found>,
}

/// What has been found about a name and a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Found {
    /// Records of that name, of whatever type.
    Records(Name, Vec<Record>),
    Failed,
}

/// Both ends, for so many questions under way at most.
pub fn pair(most: usize) -> (Handle, Desk) {
    let (to_desk, questions) = bounded(most);
    let (to_handle, answers) = bounded(most);
    let (asker, teller) = (Waker::default(), Waker::default());
    let (to_desk, to_handle) = (Waking::new(to_desk, &teller), Waking::new(to_handle, &asker));
    (
        Handle { questions: to_desk, answers, waker: asker, under_way: BTreeSet::new(), most },
        Desk { questions, answers: to_handle, waker: teller, open: BTreeMap::new(), asked: HashMap::new() },
    )
}

impl Lookups for Handle {
    /// Also false for a number that is under way already.
    fn ask(&mut self, question: Question, number: u64) -> bool {
        if self.under_way.len() >= self.most || self.under_way.contains(&number) {
            return false;
        }
        self.questions.try_send((question, number)).is_ok() && self.under_way.insert(number)
    }

    fn poll(&mut self) -> Option<(u64, Answer)> {
        match self.answers.try_recv() {
            Ok((number, answer)) => {
                self.under_way.remove(&number);
                Some((number, answer))
            }
            Err(TryRecvError::Empty) => None,
            // The desk is gone, and will answer none of them.
            Err(TryRecvError::Disconnected) => Some((self.under_way.pop_first()?, Answer::Failed)),
        }
    }

    fn wakes_me(&self) {
        self.waker.wakes_me();
    }
}

impl Desk {
    /// From now on questions end the calling thread's naps.
    pub(in crate::dns) fn wakes_me(&self) {
        self.waker.wakes_me();
    }

    /// The next question and its number.
    pub(in crate::dns) fn next(&mut self) -> Option<(Question, u64)> {
        self.questions.try_recv().ok()
    }

    /// `found` is known for that question, and others are asked for `name` by these tokens; what it comes to where nobody is.
    pub(in crate::dns) fn asked(
        &mut self,
        number: u64,
        name: Name,
        tokens: Vec<(u64, RecordType)>,
        found: Vec<Found>,
    ) -> Option<Answer> {
        let missing = tokens.len();
        for (token, kind) in tokens {
            self.asked.insert(token, (number, Query::query(name.clone(), kind)));
        }
        self.open.insert(number, Open { missing, found });
        self.end(number)
    }

    /// Whether that token is of such a question.
    pub(in crate::dns) fn has(&self, token: u64) -> bool {
        self.asked.contains_key(&token)
    }

    /// Others have answered by that token, and `read` says what that is; what the question comes to where nothing is missing.
    pub(in crate::dns) fn found(&mut self, token: u64, read: impl FnOnce(&Query) -> Found) -> Option<Answer> {
        let (number, query) = self.asked.remove(&token)?;
        let open = self.open.get_mut(&number)?;
        open.found.push(read(&query));
        open.missing -= 1;
        self.end(number)
    }

    /// Answers a question for which nothing is missing.
    fn end(&mut self, number: u64) -> Option<Answer> {
        if self.open.get(&number)?.missing > 0 {
            return None;
        }
        let answer = sum(&self.open.remove(&number)?.found);
        // There is room: no handle asks for more. If it is gone, nobody waits.
        let _ = self.answers.try_send((number, answer.clone()));
        Some(answer)
    }
}

/// The types that are asked for.
pub(in crate::dns) fn wanted(question: &Question) -> &'static [RecordType] {
    match question {
        Question::Naptr(_) => &[RecordType::NAPTR],
        Question::Addresses(_) => &[RecordType::A, RecordType::AAAA],
    }
}

/// What several answers are together: a failure counts where nothing else was found.
fn sum(found: &[Found]) -> Answer {
    let (mut speakers, mut addresses, mut has_failed) = (vec![], vec![], false);
    for found in found {
        match found {
            Found::Failed => has_failed = true,
            Found::Records(name, records) => {
                speakers.extend(naptr::speakers(name, records));
                addresses.extend(records.iter().filter(|record| record.name == *name).filter_map(address));
            }
        }
    }
    match (speakers.is_empty(), addresses.is_empty()) {
        (false, _) => Answer::Speakers(speakers),
        (true, false) => {
            addresses.truncate(ADDRESSES_MAX);
            Answer::Addresses(addresses)
        }
        (true, true) if has_failed => Answer::Failed,
        (true, true) => Answer::Nothing,
    }
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

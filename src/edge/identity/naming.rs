//! The naming-level check: does the DNS, which is trusted, bind the name that a peer tells to the edge that speaks for it and to the
//! RLOC from which it speaks?
//!
//! A name's NAPTR names its edges, each with its RLOCs. The check is passed where one of them is the edge that has proved itself, and
//! has the RLOC. Where NAPTR names the edge and no RLOC, the edge's own addresses are asked for; where it has RLOCs and no edge's
//! name, as the oldest dialect does, the edge that has proved itself must have the RLOC among its own addresses. Whoever has proved no
//! edge's name is bound to the RLOC alone.
//!
//! Guarantees: at most two questions; a peer's word is never part of the answer. Never: sends anything; asks the resolver by
//! [`Question`]s and takes its answers.

use std::net::IpAddr;

use crate::config::DomainName;

/// Where an edge speaks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rloc {
    Ip(IpAddr),
    Ethernet([u8; 6]),
}

/// What a peer tells, and what is proven of it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The host's name.
    pub name: DomainName,
    /// The edge that speaks for it, where it has proved its name.
    pub edge: Option<DomainName>,
    /// From where: the cookie has come back from there.
    pub rloc: Rloc,
}

/// What is to be asked of the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The NAPTR of a host, read as discovery reads it.
    Naptr(DomainName),
    /// A and AAAA.
    Addresses(DomainName),
}

/// An edge that NAPTR names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// `None` in the dialect that has no name for it.
    pub edge: Option<DomainName>,
    pub rlocs: Vec<Rloc>,
}

/// What the DNS has said.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    Speakers(&'a [Speaker]),
    Addresses(&'a [IpAddr]),
    /// There is nothing of that name and type.
    Nothing,
    /// There was no answer.
    Failed,
}

/// What the check has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proven,
    /// The DNS says otherwise, or nothing.
    Contradicted,
    /// The DNS did not answer: nothing is proven, and it may be later.
    Unknown,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Ask(Question),
    Done(Verdict),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct NamingCheck {
    claim: Claim,
    is_second: bool,
}

impl NamingCheck {
    /// Begins with the question.
    pub fn begin(claim: Claim) -> (NamingCheck, Question) {
        let question = Question::Naptr(claim.name.clone());
        (NamingCheck { claim, is_second: false }, question)
    }

    /// Goes on with the answer.
    pub fn answer(&mut self, answer: Answer<'_>) -> Step {
        match answer {
            Answer::Failed => Step::Done(Verdict::Unknown),
            Answer::Speakers(speakers) if !self.is_second => self.speakers(speakers),
            Answer::Addresses(addresses) if self.is_second => self.addresses(addresses),
            _ => Step::Done(Verdict::Contradicted),
        }
    }

    fn speakers(&mut self, speakers: &[Speaker]) -> Step {
        let Claim { edge, rloc, .. } = &self.claim;
        let is_its = |speaker: &&Speaker| edge.is_none() || speaker.edge.is_none() || speaker.edge == *edge;
        let mut second = None;
        for speaker in speakers.iter().filter(is_its) {
            let has_rloc = speaker.rlocs.contains(rloc);
            match (&speaker.edge, edge) {
                (Some(_), _) | (None, None) if has_rloc => return Step::Done(Verdict::Proven),
                (Some(named), _) if speaker.rlocs.is_empty() => second = Some(named.clone()),
                (None, Some(proven)) if has_rloc => second = Some(proven.clone()),
                _ => {}
            }
        }
        self.is_second = true;
        second.map_or(Step::Done(Verdict::Contradicted), |edge| Step::Ask(Question::Addresses(edge)))
    }

    fn addresses(&self, addresses: &[IpAddr]) -> Step {
        let has = matches!(self.claim.rloc, Rloc::Ip(rloc) if addresses.contains(&rloc));
        Step::Done(if has { Verdict::Proven } else { Verdict::Contradicted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RLOC: &str = "203.0.113.7";

    fn name(text: &str) -> DomainName {
        DomainName::new(text).expect(text)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn claim(edge: Option<&str>) -> Claim {
        Claim { name: name("pc.far.example"), edge: edge.map(name), rloc: Rloc::Ip(ip(RLOC)) }
    }

    fn speaker(edge: Option<&str>, rlocs: &[&str]) -> Speaker {
        Speaker { edge: edge.map(name), rlocs: rlocs.iter().map(|text| Rloc::Ip(ip(text))).collect() }
    }

    #[test]
    fn a_name_is_proven_by_the_edge_and_the_rloc_that_its_naptr_names() {
        let ces = Some("ces.far.example");
        for (edge, speakers, verdict) in [
            (ces, vec![speaker(ces, &[RLOC])], Verdict::Proven),
            (
                ces,
                vec![speaker(Some("other.far.example"), &[RLOC]), speaker(ces, &["192.0.2.1", RLOC])],
                Verdict::Proven,
            ),
            // Another edge speaks for the name.
            (ces, vec![speaker(Some("other.far.example"), &[RLOC])], Verdict::Contradicted),
            (ces, vec![speaker(Some("ces.far.example.org"), &[RLOC])], Verdict::Contradicted),
            // The edge does, and from elsewhere.
            (ces, vec![speaker(ces, &["192.0.2.1"])], Verdict::Contradicted),
            (ces, vec![], Verdict::Contradicted),
            // Nobody has proved to be an edge: the RLOC alone is bound.
            (None, vec![speaker(ces, &[RLOC])], Verdict::Proven),
            (None, vec![speaker(None, &[RLOC])], Verdict::Proven),
            (None, vec![speaker(None, &["192.0.2.1"])], Verdict::Contradicted),
        ] {
            let (mut check, question) = NamingCheck::begin(claim(edge));
            assert_eq!(question, Question::Naptr(name("pc.far.example")));
            assert_eq!(check.answer(Answer::Speakers(&speakers)), Step::Done(verdict), "{speakers:?}");
        }
    }

    #[test]
    fn what_naptr_leaves_out_is_asked_of_the_edges_own_name() {
        let ces = Some("ces.far.example");
        for speakers in [vec![speaker(ces, &[])], vec![speaker(None, &[RLOC])]] {
            for (address, verdict) in [(RLOC, Verdict::Proven), ("192.0.2.1", Verdict::Contradicted)] {
                let (mut check, _) = NamingCheck::begin(claim(ces));
                let step = check.answer(Answer::Speakers(&speakers));
                assert_eq!(step, Step::Ask(Question::Addresses(name("ces.far.example"))));
                assert_eq!(check.answer(Answer::Addresses(&[ip(address)])), Step::Done(verdict));
            }
        }
    }

    #[test]
    fn no_answer_proves_nothing() {
        for (answer, verdict) in [
            (Answer::Failed, Verdict::Unknown),
            (Answer::Nothing, Verdict::Contradicted),
            (Answer::Addresses(&["203.0.113.7".parse().expect("an address")]), Verdict::Contradicted),
        ] {
            let (mut check, _) = NamingCheck::begin(claim(None));
            assert_eq!(check.answer(answer), Step::Done(verdict), "{answer:?}");
        }
        let (mut check, _) = NamingCheck::begin(claim(Some("ces.far.example")));
        check.answer(Answer::Speakers(&[speaker(Some("ces.far.example"), &[])]));
        let again = [speaker(Some("ces.far.example"), &[RLOC])];
        assert_eq!(
            check.answer(Answer::Speakers(&again)),
            Step::Done(Verdict::Contradicted),
            "not what was asked"
        );
    }

    proptest! {
        #[test]
        fn nothing_is_proven_without_a_speaker_that_has_the_rloc_or_whose_edge_has(
            speakers in proptest::collection::vec((proptest::option::of(0..3u8), proptest::collection::vec(0..3u8, 0..3)), 0..4),
            edge in proptest::option::of(0..3u8),
            addresses in proptest::collection::vec(0..3u8, 0..3),
        ) {
            let edge_name = |number: u8| name(&format!("ces{number}.example"));
            let address = |number: u8| IpAddr::from([192, 0, 2, number]);
            let list: Vec<Speaker> = speakers.iter().map(|(edge, rlocs)| Speaker {
                edge: edge.map(edge_name),
                rlocs: rlocs.iter().map(|number| Rloc::Ip(address(*number))).collect(),
            }).collect();
            let claim = Claim { name: name("a.example"), edge: edge.map(edge_name), rloc: Rloc::Ip(address(0)) };
            let (mut check, _) = NamingCheck::begin(claim);
            let mut step = check.answer(Answer::Speakers(&list));
            let own: Vec<IpAddr> = addresses.iter().map(|number| address(*number)).collect();
            if let Step::Ask(_) = step {
                step = check.answer(Answer::Addresses(&own));
            }
            if step == Step::Done(Verdict::Proven) {
                let binds = |(of, rlocs): &(Option<u8>, Vec<u8>)| {
                    let is_edge = edge.is_none() || *of == edge;
                    let by_naptr = rlocs.contains(&0) && (is_edge || of.is_none() && addresses.contains(&0));
                    by_naptr || is_edge && of.is_some() && rlocs.is_empty() && addresses.contains(&0)
                };
                prop_assert!(speakers.iter().any(binds));
            }
        }
    }
}

//! A host asks for another of this edge (CES–Local).

use super::bed::*;
use crate::config::Services;
use crate::dns::{Asker, Transport};
use crate::edge::calls::{Callee, Outcome};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType::{self, A, AAAA, ANY, MX, TXT};

const SOA: &str = "ces.example. 5 IN SOA ns1.ces.example. hostmaster.ces.example. 7 3600 600 604800 60";

/// Asks, and gives who is called for it, and for which service, or what is told at once.
fn ask(bed: &mut Bed, asker: Asker, name: &str, kind: RecordType) -> Result<String, String> {
    let before = bed.calls().len();
    let connection = bed.ask(asker, name, kind);
    if let Some(told) = bed.told(connection) {
        assert_eq!(bed.calls().len(), before);
        return Err(told);
    }
    let (_, call) = bed.calls().pop().expect("a call");
    let Callee::Local(host, service) = call.callee else { panic!("{call:?}") };
    let host = bed.register.get(host).expect("registered").parts().name.to_owned();
    let service = service.map_or_else(String::new, |target| format!(", {}", Services::of(target)));
    Ok(format!("{} of {host}{service}", call.name))
}

#[test]
fn a_host_of_ours_is_called() {
    let mut bed = Bed::new();
    for (asker, name, called) in [
        (host(1, 9), "A.ces.example", "a.ces.example of a.ces.example"),
        (host(1, 9), "www.ces.example", "www.ces.example of a.ces.example, tcp/443"),
        (host(1, 9), "sip.a.ces.example", "sip.a.ces.example of a.ces.example, udp/5060"),
        // Of another realm, by the view of the asker's; an address of one realm is another's, too.
        (host(2, 2), "a.ces.example", "a.ces.example of a.ces.example"),
        (host(2, 9), "mail.ces.example", "mail.ces.example of mail.ces.example"),
    ] {
        assert_eq!(ask(&mut bed, asker, name, A).as_deref(), Ok(called));
        assert_eq!(ask(&mut bed, asker, name, ANY).as_deref(), Ok(called));
        assert_eq!(
            ask(&mut bed, asker, name, AAAA),
            Err(format!("NoError aa ? {}", SOA.replace(". 5 ", ". 60 ")))
        );
    }
    assert_eq!((bed.calls().len(), bed.asked_of_others()), (5, 0));
    assert_eq!(bed.called(), [("local", 5), ("joined", 5)]);
}

#[test]
fn what_is_told_without_calls_is_told_where_none_is_made() {
    let (outside, udp) = (Asker { realm: None, ..host(1, 9) }, Transport::Udp);
    for (asker, name, kind) in [
        // The host itself; one whose realm is routed to the asker's; one that there isn't for the asker.
        (host(1, 2), "a.ces.example", A),
        (host(1, 2), "www.ces.example", AAAA),
        (host(1, 2), "a.ces.example", ANY),
        (host(3, 9), "a.ces.example", A),
        (host(3, 9), "a.ces.example", AAAA),
        (host(1, 9), "b.ces.example", A),
        // Nobody's, and others.
        (host(1, 9), "nobody.ces.example", A),
        (host(1, 9), "ces.example", A),
        (host(1, 9), "ns1.ces.example", A),
        (host(1, 9), "a.ces.example", MX),
        (host(1, 9), "a.ces.example", TXT),
        // Realms without proxy addresses, and outside.
        (host(4, 9), "half.ces.example", A),
        (outside, "a.ces.example", A),
        (Asker { transport: udp, ..outside }, "mail.ces.example", A),
    ] {
        let [mut with, mut without] = [true, false].map(|makes_calls| Bed::with(makes_calls, None));
        let told = [&mut with, &mut without].map(|bed| ask(bed, asker, name, kind).expect_err("no call"));
        assert_eq!(told[0], told[1], "{asker:?} {name} {kind}");
    }
}

#[test]
fn each_outcome_is_an_answer() {
    for (outcome, told) in [
        (assigned(9, 30), "NoError aa | A.ces.example. 30 IN A 172.16.64.9".into()),
        (Outcome::Refused, format!("NXDomain aa ? {SOA}")),
        (Outcome::Busy, "ServFail".into()),
        // As where nobody makes calls.
        (Outcome::Legacy, "NoError aa | A.ces.example. 300 IN A 10.0.0.2".into()),
    ] {
        let mut bed = Bed::new();
        let connection = bed.ask(host(1, 9), "A.ces.example", A);
        bed.comes_to(outcome);
        bed.is_told(connection, &told);
        assert_eq!(bed.counters.calls_waiting.get(), 0);
    }
    // There is no pool that could reserve an address for it.
    let mut bed = Bed::new();
    let connection = bed.ask(host(2, 9), "a.ces.example", A);
    bed.comes_to(Outcome::Legacy);
    let soa = SOA.replace(". 5 ", ". 60 ");
    bed.is_told(connection, &format!("NoError aa ? {soa}"));
    assert_eq!(bed.counters.pool[5].get(), 1);
}

#[test]
fn an_alias_of_others_leads_to_a_host_of_ours() {
    let alias = "Web.example. 77 IN CNAME a.ces.example.";
    let soa = SOA.replace(". 5 ", ". 60 ");
    for (kind, outcome, told) in [
        (A, Some(assigned(9, 30)), format!("NoError | {alias} | a.ces.example. 30 IN A 172.16.64.9")),
        (A, Some(Outcome::Refused), format!("NXDomain | {alias} ? {SOA}")),
        (A, Some(Outcome::Legacy), format!("NoError | {alias} | a.ces.example. 300 IN A 10.0.0.2")),
        (AAAA, None, format!("NoError | {alias} ? {soa}")),
    ] {
        let mut bed = Bed::new();
        let connection = bed.ask(host(1, 9), "Web.example", kind);
        assert_eq!(bed.last_asked(), "web.example. NAPTR");
        bed.others_lead_to("Web.example", "a.ces.example");
        if let Some(outcome) = outcome {
            bed.comes_to(outcome);
        }
        bed.is_told(connection, &told);
        assert_eq!((bed.asked_of_others(), bed.discovered()), (1, vec![("own", 1)]));
    }
    // To one that is no host: answered at once. ANY asks for the alias.
    let mut bed = Bed::new();
    let connection = bed.ask(host(1, 9), "Web.example", A);
    bed.others_lead_to("Web.example", "nobody.ces.example");
    let gone = format!("NXDomain | Web.example. 77 IN CNAME nobody.ces.example. ? {soa}");
    bed.is_told(connection, &gone);
    let connection = bed.ask(host(1, 9), "Web.example", ANY);
    bed.others_lead_to("Web.example", "a.ces.example");
    assert_eq!((bed.last_asked().as_str(), bed.calls().len()), ("web.example. ANY", 0));
    bed.others_say(answer(ResponseCode::NoError, vec![cname("web.example", "a.ces.example")]));
    bed.is_told(connection, "NoError | web.example. 77 IN CNAME a.ces.example.");
    // NAPTR failed, and A tells.
    let mut bed = Bed::new();
    let connection = bed.ask(host(1, 9), "Web.example", A);
    bed.others_say(answer(ResponseCode::ServFail, vec![]));
    let before = bed.last_asked();
    bed.others_lead_to("Web.example", "a.ces.example");
    assert_eq!((before.as_str(), bed.calls().len()), ("web.example. A", 1));
    bed.comes_to(assigned(9, 30));
    bed.is_told(connection, &format!("NoError | {alias} | a.ces.example. 30 IN A 172.16.64.9"));
}

/// While it is called it is taken out of the register.
#[test]
fn a_host_that_goes_is_gone() {
    let mut bed = Bed::new();
    let connection = bed.ask(host(1, 9), "a.ces.example", A);
    let id = bed.register.by_name("a.ces.example").expect("registered").host.id;
    bed.register.remove(id).expect("registered");
    bed.comes_to(Outcome::Legacy);
    let soa = SOA.replace(". 5 ", ". 60 ");
    bed.is_told(connection, &format!("NXDomain aa ? {soa}"));
}

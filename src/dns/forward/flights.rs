//! The thread `ces-resolver`: questions come in, and each has its answer, from what is remembered or from an upstream.
//!
//! Guarantees: an equal question under way is not asked again, so that nobody may guess at many of them at once (RFC 5452 section
//! 5); upstreams are tried in their order, those that failed lately last, and of a flight each that says that it cannot answer only
//! once. A failure is remembered for a second (RFC 9520).
//! Never: blocks but for the next event.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::answer::{self, Found, Question};
use super::memory::{Ask, Memory};
use super::upstream::{Failure, Upstream};
use super::{Counters, Options};

/// How long an upstream that failed comes after the others, before it is tried again.
const SUSPECT: Duration = Duration::from_secs(10);

struct Engine {
    upstreams: Vec<Upstream>,
    /// Until when each is suspected.
    suspects: Vec<Cell<Option<Instant>>>,
    timeout: Duration,
    attempts: u32,
    total: Duration,
    memory: Arc<Memory>,
    /// Who waits for what is being asked.
    flights: RefCell<HashMap<Question, Vec<Ask>>>,
    counters: Arc<Counters>,
}

/// Answers what comes from `asked`, until nobody can ask any more.
pub(super) fn run(
    runtime: &Runtime,
    options: &Options,
    upstreams: Vec<Upstream>,
    memory: Arc<Memory>,
    counters: Arc<Counters>,
    mut asked: mpsc::Receiver<Ask>,
) {
    let engine = Rc::new(Engine {
        suspects: upstreams.iter().map(|_| Cell::new(None)).collect(),
        upstreams,
        timeout: options.timeout,
        attempts: options.attempts,
        total: options.total_time(),
        memory,
        flights: RefCell::default(),
        counters,
    });
    let tasks = LocalSet::new();
    tasks.block_on(runtime, async {
        while let Some(ask) = asked.recv().await {
            engine.take(ask);
        }
    });
}

impl Engine {
    fn take(self: &Rc<Engine>, ask: Ask) {
        // It may have been found since it was asked.
        let Err(ask) = self.memory.answer_remembered(ask) else { return };
        let question = ask.question();
        let mut flights = self.flights.borrow_mut();
        if let Some(waiting) = flights.get_mut(&question) {
            count(&self.counters.joined);
            return waiting.push(ask);
        }
        flights.insert(question.clone(), vec![ask]);
        tokio::task::spawn_local(self.clone().fly(question));
    }

    async fn fly(self: Rc<Engine>, question: Question) {
        // Whatever becomes of the search, even a panic in what reads answers, those who wait are answered.
        let landing = Landing { engine: self.clone(), question };
        let found = tokio::time::timeout(self.total, self.search(&landing.question)).await;
        let mut found = found.unwrap_or_else(|_| Found::code(ResponseCode::ServFail));
        self.memory.remember(&landing.question, &mut found);
        landing.with(&found);
    }

    /// Asks one upstream after the other.
    async fn search(&self, question: &Question) -> Found {
        let mut order = self.order();
        let (mut told, mut last) = (ResponseCode::ServFail, None);
        for _ in 0..self.attempts {
            let Some(at) = order.pop_front() else { break };
            if last.is_some_and(|last| last != at) {
                count(&self.counters.failovers);
            }
            last = Some(at);
            match self.upstreams[at].ask(question, self.timeout).await {
                Ok(message) => {
                    self.suspects[at].set(None);
                    match message.metadata.response_code {
                        ResponseCode::NoError | ResponseCode::NXDomain => {
                            let believed = answer::believe(message, question, &self.memory.doubts);
                            if let Some((found, taken_out)) = believed {
                                self.counters.own_records.fetch_add(taken_out.own, Ordering::Relaxed);
                                self.counters
                                    .rebind_records
                                    .fetch_add(taken_out.protected, Ordering::Relaxed);
                                return found;
                            }
                            count(&self.counters.bad_answers);
                        }
                        // It would say so again; another may know better.
                        code => {
                            told = code;
                            count(&self.counters.upstream_errors);
                        }
                    }
                }
                Err(failure) => {
                    count(match failure {
                        Failure::Silent => &self.counters.timeouts,
                        Failure::Unreachable => &self.counters.unreachable,
                        Failure::Bad => &self.counters.bad_answers,
                    });
                    self.suspects[at].set(Some(Instant::now() + SUSPECT));
                    order.push_back(at);
                }
            }
        }
        Found::code(told)
    }

    /// The upstreams in the order in which they are tried.
    fn order(&self) -> VecDeque<usize> {
        let now = Instant::now();
        let is_suspect = |at: usize| self.suspects[at].get().is_some_and(|until| now < until);
        let all = || 0..self.upstreams.len();
        let order: VecDeque<usize> =
            all().filter(|&at| !is_suspect(at)).chain(all().filter(|&at| is_suspect(at))).collect();
        // One that was suspected is tried by this question alone, until it is known how it is.
        if let Some(&first) = order.front()
            && self.suspects[first].get().is_some()
        {
            self.suspects[first].set(Some(now + self.timeout));
        }
        order
    }

    fn land(&self, question: &Question, found: &Found) {
        let waiting = self.flights.borrow_mut().remove(question);
        for ask in waiting.into_iter().flatten() {
            self.memory.answer(ask, found.clone());
        }
    }
}

/// Those who wait for `question`; they are told SERVFAIL if nothing else comes.
struct Landing {
    engine: Rc<Engine>,
    question: Question,
}

impl Landing {
    fn with(&self, found: &Found) {
        self.engine.land(&self.question, found);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.with(&Found::code(ResponseCode::ServFail));
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

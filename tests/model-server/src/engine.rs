//! Continuous batching as a fluid model: the work that a server with these rates would have done in the time that passed.
//!
//! Two things are simpler than in a real engine: prefill and decode have separate rates and do not slow each other down; a
//! sequence reserves the KV cache of its whole answer when it is admitted, so none is ever preempted.

use std::{collections::VecDeque, num::NonZeroUsize};

use lru::LruCache;

/// Capacity of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Uncached prompt tokens per second, of all sequences together
    pub(crate) prefill: f64,
    /// Generated tokens per second, of all sequences together
    pub(crate) decode: f64,
    /// Generated tokens per second of one sequence
    pub(crate) decode_each: f64,
    /// Sequences in a batch
    pub(crate) sequences: usize,
    /// Tokens that the KV cache holds
    pub(crate) kv_cache: u64,
    /// Blocks of prompts that the prefix cache holds
    pub(crate) prefixes: NonZeroUsize,
    /// Prompt tokens of one block
    pub(crate) block: u64,
}

/// One request: tokens to read and to write, and the ids of the prompt's blocks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) blocks: Vec<u64>,
}

/// Progress of a sequence in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Progress {
    pub(crate) id: u64,
    /// Tokens that were generated in this step
    pub(crate) tokens: u64,
    /// Prompt tokens that were in the prefix cache
    pub(crate) cached: u64,
    pub(crate) done: bool,
}

/// Counters of tokens since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) requests: u64,
}

#[derive(Debug)]
struct Sequence {
    id: u64,
    work: Work,
    cached: u64,
    /// Prompt tokens that are still to be read
    unread: f64,
    /// Generated tokens; `told` is how many whole ones were reported
    written: f64,
    told: u64,
}

/// The engine of one replica.
pub(crate) struct Engine {
    limits: Limits,
    next: u64,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    prefixes: LruCache<u64, ()>,
    counters: Counters,
}

impl Engine {
    pub(crate) fn new(limits: Limits) -> Self {
        let prefixes = LruCache::new(limits.prefixes);
        Self { limits, next: 0, waiting: VecDeque::new(), running: Vec::new(), prefixes, counters: Counters::default() }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// The part of the KV cache that running sequences hold, 0 to 1.
    pub(crate) fn kv_cache_usage(&self) -> f64 {
        let held: f64 = self.running.iter().map(|sequence| sequence.work.input as f64 + sequence.written).sum();
        (held / self.limits.kv_cache as f64).min(1.0)
    }

    /// Queues a request, and returns the id under which its progress is reported.
    pub(crate) fn submit(&mut self, work: Work) -> u64 {
        let id = self.next;
        self.next += 1;
        self.waiting.push_back(Sequence { id, work, cached: 0, unread: 0.0, written: 0.0, told: 0 });
        id
    }

    /// Forgets a request whose client has left.
    pub(crate) fn abort(&mut self, id: u64) {
        self.waiting.retain(|sequence| sequence.id != id);
        self.running.retain(|sequence| sequence.id != id);
    }

    /// Advances the engine by `seconds`, and returns the progress of its sequences. Short steps are exact enough, although a sequence
    /// starts and ends only at their edges.
    pub(crate) fn step(&mut self, seconds: f64) -> Vec<Progress> {
        self.admit();
        self.read(seconds * self.limits.prefill);
        self.write(seconds);
        let counters = &mut self.counters;
        let mut progress = Vec::new();
        self.running.retain_mut(|sequence| {
            let whole = (sequence.written + 1e-9) as u64;
            let done = sequence.unread <= 0.0 && whole >= sequence.work.output;
            let tokens = whole - sequence.told;
            if tokens > 0 || done {
                sequence.told = whole;
                counters.output += tokens;
                counters.requests += u64::from(done);
                progress.push(Progress { id: sequence.id, tokens, cached: sequence.cached, done });
            }
            !done
        });
        progress
    }

    /// Admits requests in order of arrival; the first that does not fit holds up the others, as in vLLM's default policy.
    fn admit(&mut self) {
        let reserved = |sequence: &Sequence| sequence.work.input + sequence.work.output;
        let mut held: u64 = self.running.iter().map(reserved).sum();
        while self.running.len() < self.limits.sequences {
            let Some(next) = self.waiting.front() else { return };
            // A request that is larger than the whole cache runs alone rather than never.
            if !self.running.is_empty() && held + reserved(next) > self.limits.kv_cache {
                return;
            }
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            held += reserved(&sequence);
            let known =
                sequence.work.blocks.iter().take_while(|block| self.prefixes.get(block).is_some()).count() as u64;
            for block in &sequence.work.blocks {
                self.prefixes.put(*block, ());
            }
            // The last token of a prompt is always computed: its output is the first token of the answer.
            sequence.cached = (known * self.limits.block).min(sequence.work.input.saturating_sub(1));
            sequence.unread = (sequence.work.input - sequence.cached) as f64;
            self.running.push(sequence);
        }
    }

    /// Reads prompts one after the other.
    fn read(&mut self, mut budget: f64) {
        for sequence in &mut self.running {
            if sequence.unread <= 0.0 {
                continue;
            }
            let now = sequence.unread.min(budget);
            sequence.unread -= now;
            budget -= now;
            if sequence.unread > 0.0 {
                return;
            }
            // vLLM counts a prompt when it has been read.
            self.counters.input += sequence.work.input;
            self.counters.cached += sequence.cached;
        }
    }

    /// Writes all answers together, at the same pace.
    fn write(&mut self, seconds: f64) {
        let writing = |sequence: &&mut Sequence| sequence.unread <= 0.0;
        let many = self.running.iter_mut().filter(writing).count();
        let pace = self.limits.decode_each.min(self.limits.decode / many.max(1) as f64);
        for sequence in self.running.iter_mut().filter(writing) {
            sequence.written = (sequence.written + pace * seconds).min(sequence.work.output as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: f64 = 0.01;

    fn engine(change: impl FnOnce(&mut Limits)) -> Engine {
        let mut limits = Limits {
            prefill: 1000.0,
            decode: 100.0,
            decode_each: 50.0,
            sequences: 8,
            kv_cache: 10_000,
            prefixes: NonZeroUsize::new(100).unwrap(),
            block: 512,
        };
        change(&mut limits);
        Engine::new(limits)
    }

    fn work(input: u64, output: u64) -> Work {
        Work { input, output, blocks: Vec::new() }
    }

    /// Runs until all requests are done; returns each id with its seconds, in order of completion.
    fn run(engine: &mut Engine) -> Vec<(u64, f64)> {
        let mut done = Vec::new();
        for step in 1..100_000 {
            done.extend(engine.step(STEP).iter().filter(|of| of.done).map(|of| (of.id, f64::from(step) * STEP)));
            if engine.running() + engine.waiting() == 0 {
                return done;
            }
        }
        panic!("it never ends: {} run, {} wait", engine.running(), engine.waiting());
    }

    fn about(seconds: f64, wanted: f64) -> bool {
        (seconds - wanted).abs() < 0.05
    }

    #[test]
    fn one_request_is_read_at_the_prefill_rate_and_answered_at_the_pace_of_one_sequence() {
        let mut engine = engine(|_| {});
        engine.submit(work(500, 100));
        let done = run(&mut engine);
        assert!(about(done[0].1, 0.5 + 2.0), "{done:?}");
        assert_eq!(engine.counters(), Counters { input: 500, cached: 0, output: 100, requests: 1 });
    }

    #[test]
    fn a_full_batch_shares_the_decode_rate_of_the_server() {
        let mut engine = engine(|_| {});
        for _ in 0..4 {
            engine.submit(work(1, 100));
        }
        let done = run(&mut engine);
        assert!(done.iter().all(|(_, seconds)| about(*seconds, 4.0)), "100 tokens/s in all, 400 tokens: {done:?}");
    }

    #[test]
    fn what_exceeds_the_batch_waits() {
        let mut engine = engine(|limits| limits.sequences = 1);
        engine.submit(work(1, 50));
        engine.submit(work(1, 50));
        engine.step(STEP);
        assert_eq!((engine.running(), engine.waiting()), (1, 1));
        let done = run(&mut engine);
        assert!(about(done[1].1 - done[0].1, 1.0), "{done:?}");
    }

    #[test]
    fn what_does_not_fit_the_kv_cache_waits_but_a_giant_runs_alone() {
        let mut engine = engine(|limits| limits.kv_cache = 1000);
        engine.submit(work(600, 100));
        engine.submit(work(600, 100));
        engine.step(STEP);
        assert_eq!((engine.running(), engine.waiting()), (1, 1));
        assert!((engine.kv_cache_usage() - 0.6).abs() < 0.01, "{}", engine.kv_cache_usage());
        engine.submit(work(5000, 1));
        assert_eq!(run(&mut engine).len(), 3);
    }

    #[test]
    fn a_prompt_whose_first_blocks_are_known_is_read_from_there() {
        let mut engine = engine(|_| {});
        let first = Work { input: 1024, output: 1, blocks: vec![1, 2] };
        engine.submit(first.clone());
        run(&mut engine);
        engine.submit(Work { input: 1536, output: 1, blocks: vec![1, 2, 3] });
        engine.submit(Work { input: 1024, output: 1, blocks: vec![9, 2] });
        engine.submit(first);
        run(&mut engine);
        let Counters { input, cached, .. } = engine.counters();
        assert_eq!((input, cached), (1024 + 1536 + 1024 + 1024, 1024 + 1023), "a block counts only behind known ones");
    }

    #[test]
    fn blocks_that_were_not_used_for_long_are_forgotten() {
        let mut engine = engine(|limits| limits.prefixes = NonZeroUsize::new(2).unwrap());
        for block in [1, 2, 3, 1] {
            engine.submit(Work { input: 512, output: 1, blocks: vec![block] });
            run(&mut engine);
        }
        assert_eq!(engine.counters().cached, 0);
    }

    #[test]
    fn a_client_that_leaves_gives_its_place_back() {
        let mut engine = engine(|limits| limits.sequences = 1);
        let first = engine.submit(work(1, 1_000_000));
        engine.submit(work(1, 10));
        engine.step(STEP);
        engine.abort(first);
        assert_eq!(run(&mut engine).len(), 1);
    }
}

//! One change in some twenty bytes.
//!
//! Elapsed seconds; the cause and three flags; signal, limit and whether there are texts; the phase of the hours; the wanted number
//! plus one; the workload's replicas; and, where a signal decided, its value, its target and the replicas that it needs. Integers are
//! in groups of seven bits, the lowest first (LEB128).

use tidegate_core::{plan::Replicas, schedule::Phase, signal::Signal};

use super::change::{Cause, Decisive, Limit, Why};

/// A change as it is kept: its texts are numbers, and its time and the number before follow from the one before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) to: Option<u32>,
    pub(super) cause: Cause,
    pub(super) detail: Option<u32>,
    pub(super) unknown: Option<u32>,
    /// Without its text
    pub(super) why: Why,
    pub(super) replicas: Replicas,
}

const PHASES: [Phase; 4] = [Phase::Open, Phase::Awake, Phase::WarmUp, Phase::Closed];
const HELD: u8 = 1 << 4;
const HOLDS_REQUESTS: u8 = 1 << 5;
const LAST_KNOWN: u8 = 1 << 6;
const UNKNOWN: u8 = 1 << 6;
const DETAIL: u8 = 1 << 7;

impl Entry {
    pub(super) fn encode(&self, elapsed: u32, bytes: &mut Vec<u8>) {
        let Self { to, cause, detail, unknown, why, replicas } = self;
        integer(elapsed.into(), bytes);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(why.held, HELD) | flag(why.holds_requests, HOLDS_REQUESTS) | flag(why.last_known, LAST_KNOWN);
        bytes.push(index(&Cause::ALL, cause) | flags);
        let signal = why.decisive.map_or(0, |decisive| 1 + index(&Signal::ALL, &decisive.signal));
        let limit = why.limit.map_or(0, |limit| 1 + index(&Limit::ALL, &limit));
        bytes.push(signal | limit << 4 | flag(unknown.is_some(), UNKNOWN) | flag(detail.is_some(), DETAIL));
        bytes.push(why.phase.map_or(0, |phase| 1 + index(&PHASES, &phase)));
        integer(to.map_or(0, |to| u64::from(to) + 1), bytes);
        integer(replicas.wanted.into(), bytes);
        integer(replicas.ready.into(), bytes);
        if let Some(Decisive { signal: _, demand, per_replica, needs }) = why.decisive {
            bytes.extend(demand.to_le_bytes());
            bytes.extend(per_replica.to_le_bytes());
            integer(needs.into(), bytes);
        }
        for text in [unknown, detail].into_iter().flatten() {
            integer((*text).into(), bytes);
        }
    }

    /// The first entry, with the seconds before it and the bytes after it; `None` at the end.
    pub(super) fn decode(bytes: &[u8]) -> Option<(u32, Self, &[u8])> {
        let mut reader = Reader(bytes);
        let elapsed = reader.integer()?;
        let [first, second, phase] = reader.bytes()?;
        let to = reader.wide()?.checked_sub(1).and_then(|to| u32::try_from(to).ok());
        let replicas = Replicas { wanted: reader.integer()?, ready: reader.integer()? };
        let decisive = match of_index(&Signal::ALL, second & 0xf) {
            None => None,
            Some(signal) => {
                let (demand, per_replica) = (f32::from_le_bytes(reader.bytes()?), f32::from_le_bytes(reader.bytes()?));
                Some(Decisive { signal, demand, per_replica, needs: reader.integer()? })
            }
        };
        let unknown = if second & UNKNOWN > 0 { Some(reader.integer()?) } else { None };
        let detail = if second & DETAIL > 0 { Some(reader.integer()?) } else { None };
        let why = Why {
            decisive,
            limit: of_index(&Limit::ALL, second >> 4 & 3),
            phase: of_index(&PHASES, phase),
            held: first & HELD > 0,
            holds_requests: first & HOLDS_REQUESTS > 0,
            last_known: first & LAST_KNOWN > 0,
            unknown: None,
        };
        let cause = Cause::ALL.get(usize::from(first & 0xf)).copied()?;
        Some((elapsed, Self { to, cause, detail, unknown, why, replicas }, reader.0))
    }
}

fn index<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|of| of == one).unwrap_or(0) as u8
}

/// The inverse, of an index plus one.
fn of_index<T: Copy>(all: &[T], index: u8) -> Option<T> {
    all.get(usize::from(index).checked_sub(1)?).copied()
}

pub(super) fn integer(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Bytes that begin with their length.
    pub(super) fn slice(&mut self) -> Option<&'a [u8]> {
        let length = self.integer()? as usize;
        let (read, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(read)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (read, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*read)
    }

    pub(super) fn wide(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.bytes()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn integer(&mut self) -> Option<u32> {
        u32::try_from(self.wide()?).ok()
    }
}

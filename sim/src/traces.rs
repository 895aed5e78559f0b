//! Recorded requests to LLM servers; `traces/README.md` names their sources and licences.

use std::{fs, io, path::Path};

use serde::Deserialize;

/// A request: its tokens, and the ids of the prompt's blocks of 512 tokens where they were recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// Tokens of the prompt
    pub input: u64,
    /// Tokens of the answer
    pub output: u64,
    /// Equal ids mean equal text; the first blocks of a prompt, as far as they were seen before, may be in a prefix cache
    pub blocks: Vec<u64>,
}

/// A request, and its arrival time.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Seconds from the start of the trace
    pub at: f64,
    /// The request
    pub prompt: Prompt,
}

/// Why a trace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file could not be read
    #[error("{file}: {source}")]
    Read {
        /// Path of the file
        file: String,
        /// The cause
        source: io::Error,
    },
    /// A line could not be parsed
    #[error("{file}, line {line}: wants {wanted}, got {got:?}")]
    Line {
        /// Path of the file
        file: String,
        /// Number of the line, from 1
        line: usize,
        /// The expected content
        wanted: &'static str,
        /// The start of the line
        got: String,
    },
}

/// A trace that is part of this crate's source, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Conversations on Azure, 2023
    Azure,
    /// Conversations with Kimi, with the blocks of their prompts
    Mooncake,
}

impl Trace {
    /// Reads the whole trace.
    pub fn read(self) -> Result<Vec<Recorded>, TraceError> {
        match self {
            Self::Azure => {
                let rows = lines("azure_llm_2023_conv.csv", 1, "time, prompt tokens and generated tokens", azure)?;
                let start = rows.first().map_or(0.0, |row| row.at);
                Ok(rows.into_iter().map(|row| Recorded { at: row.at - start, ..row }).collect())
            }
            Self::Mooncake => lines("mooncake_conversation.jsonl", 0, "a JSON object of Mooncake's", mooncake),
        }
    }
}

fn lines(
    name: &str,
    head: usize,
    wanted: &'static str,
    parse: fn(&str) -> Option<Recorded>,
) -> Result<Vec<Recorded>, TraceError> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(name);
    let text = fs::read_to_string(&file);
    let file = file.display().to_string();
    let text = text.map_err(|source| TraceError::Read { file: file.clone(), source })?;
    let row = |(index, line): (usize, &str)| {
        let got = || line.chars().take(80).collect();
        parse(line).ok_or_else(|| TraceError::Line { file: file.clone(), line: index + 1, wanted, got: got() })
    };
    text.lines().enumerate().skip(head).map(row).collect()
}

/// `2023-11-16 18:15:46.6805900,374,44`; all rows are from one day.
fn azure(line: &str) -> Option<Recorded> {
    let [time, input, output] = line.trim_end().split(',').collect::<Vec<_>>().try_into().ok()?;
    let [hours, minutes, seconds] = time.split_once(' ')?.1.split(':').collect::<Vec<_>>().try_into().ok()?;
    let number = |text: &str| text.parse::<f64>().ok();
    let at = number(hours)? * 3600.0 + number(minutes)? * 60.0 + number(seconds)?;
    Some(Recorded {
        at,
        prompt: Prompt { input: input.parse().ok()?, output: output.parse().ok()?, blocks: Vec::new() },
    })
}

fn mooncake(line: &str) -> Option<Recorded> {
    #[derive(Deserialize)]
    struct Row {
        /// In ms
        timestamp: f64,
        input_length: u64,
        output_length: u64,
        hash_ids: Vec<u64>,
    }
    let row: Row = serde_json::from_str(line).ok()?;
    let prompt = Prompt { input: row.input_length, output: row.output_length, blocks: row.hash_ids };
    Some(Recorded { at: row.timestamp / 1000.0, prompt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_traces_are_whole_and_in_order() {
        for (trace, requests) in [(Trace::Azure, 19_366), (Trace::Mooncake, 12_031)] {
            let rows = trace.read().unwrap();
            assert_eq!(rows.len(), requests);
            assert!(rows.is_sorted_by(|a, b| a.at <= b.at) && rows[0].at == 0.0);
            assert!(rows[requests - 1].at > 3500.0 && rows[requests - 1].at < 3600.0);
        }
    }

    #[test]
    fn a_row_that_is_none_is_an_error_and_no_panic() {
        for line in ["", "2023-11-16 18:15:46.68,374", "2023-11-16 18:15,1,2", "2023-11-16 1:2:3,x,2"] {
            assert_eq!(azure(line), None, "{line}");
        }
        assert_eq!(mooncake("{\"timestamp\": 1}"), None);
    }
}

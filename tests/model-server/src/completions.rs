//! Requests and answers of OpenAI's chat completions
//! (platform.openai.com/docs/api-reference/chat), as far as a client that counts tokens looks at them.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::Work;

/// Tokens of an answer when the request does not say how many.
const ANSWER: u64 = 128;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) model: String,
    #[serde(default)]
    messages: Vec<Message>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    pub(crate) stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    /// Not part of OpenAI's API: the tokens and blocks of a recorded request
    simulate: Option<Simulated>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    content: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
struct Simulated {
    input_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    prefix_blocks: Vec<u64>,
}

impl Request {
    /// The work that it means for an engine. A word is taken for a token.
    pub(crate) fn work(&self) -> Work {
        if let Some(Simulated { input_tokens, output_tokens, prefix_blocks }) = &self.simulate {
            // Reading the prompt yields the first token, so an answer has at least one.
            return Work {
                input: (*input_tokens).max(1),
                output: (*output_tokens).max(1),
                blocks: prefix_blocks.clone(),
            };
        }
        let words = |message: &Message| message.content.as_str().map_or(1, |text| text.split_whitespace().count());
        let input = self.messages.iter().map(words).sum::<usize>().max(1) as u64;
        let output = self.max_completion_tokens.or(self.max_tokens).unwrap_or(ANSWER).max(1);
        Work { input, output, blocks: Vec::new() }
    }

    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.include_usage
    }
}

/// Tokens of one request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
}

impl Usage {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        })
    }
}

/// The answer to a request that is not streamed.
pub(crate) fn answer(id: u64, model: &str, usage: Usage) -> Value {
    json!({
        "id": format!("chatcmpl-{id}"), "object": "chat.completion", "model": model,
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "token ".repeat(usage.output as usize)},
        }],
        "usage": usage.json(),
    })
}

/// A piece of a stream; the last one has the reason for its end.
pub(crate) fn chunk(id: u64, model: &str, tokens: u64, done: bool) -> String {
    json!({
        "id": format!("chatcmpl-{id}"), "object": "chat.completion.chunk", "model": model,
        "choices": [{
            "index": 0, "delta": {"content": "token ".repeat(tokens as usize)},
            "finish_reason": if done { json!("stop") } else { Value::Null },
        }],
    })
    .to_string()
}

/// The piece after the last one, for clients that asked for usage.
pub(crate) fn usage_chunk(id: u64, model: &str, usage: Usage) -> String {
    json!({
        "id": format!("chatcmpl-{id}"), "object": "chat.completion.chunk", "model": model,
        "choices": [], "usage": usage.json(),
    })
    .to_string()
}

//! The text of a file: its encoding and its line ends.

use std::borrow::Cow;

/// The text of a file: UTF-8, or UTF-16 with a byte order mark, as PowerShell redirects output.
pub(super) fn decoded(bytes: Vec<u8>) -> Option<String> {
    let units = |read: fn([u8; 2]) -> u16| {
        let units: Vec<_> = bytes.chunks_exact(2).filter_map(|pair| Some(read(pair.try_into().ok()?))).collect();
        String::from_utf16(&units).ok()
    };
    match bytes.get(..2) {
        Some([0xff, 0xfe]) => units(u16::from_le_bytes),
        Some([0xfe, 0xff]) => units(u16::from_be_bytes),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// What is wrong with several documents whose lines end in CR alone.
pub(super) const UNSEEN_MARKERS: &str = "its lines end in CR alone: all its documents are read here, but kubectl sees no --- between them. \
    Write LF: tr '\\r' '\\n' < FILE";

/// The text with LF at the ends of its lines, where they end in CR alone, as on old Macs.
pub(super) fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if has_only_returns(text) { text.replace('\r', "\n").into() } else { text.into() }
}

pub(super) fn has_only_returns(text: &str) -> bool {
    text.contains('\r') && !text.contains('\n')
}

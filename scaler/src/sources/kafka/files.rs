//! Secrets in files.

use std::path::Path;

/// Reads a file, without the line ends that editors leave. An error names the field that the file's name comes from.
pub(super) fn read(field: &str, file: &Path) -> Result<String, String> {
    let content = std::fs::read_to_string(file).map_err(|error| format!("{field} {}: {error}", file.display()))?;
    Ok(content.trim_end_matches(['\n', '\r']).to_owned())
}

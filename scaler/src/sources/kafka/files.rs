//! Secrets in files.

use std::path::Path;

/// What a file holds, without the line ends that editors leave. An error names the field that names the file.
pub(super) fn read(field: &str, file: &Path) -> Result<String, String> {
    let content = std::fs::read_to_string(file).map_err(|error| format!("{field} {}: {error}", file.display()))?;
    Ok(content.trim_end_matches(['\n', '\r']).to_owned())
}

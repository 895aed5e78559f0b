//! How commands print.

use std::io::Write;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use tidegate_core::yaml;

/// One answer, for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
    Yaml,
}

/// A list of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListOutput {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// A format for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

impl Output {
    /// The format for programs, unless the answer is for people.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Self::Table => None,
            Self::Json => Some(Format::Json),
            Self::Yaml => Some(Format::Yaml),
        }
    }
}

impl ListOutput {
    /// The format for programs, unless the list is for people or of names.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Self::Table | Self::Wide | Self::Name => None,
            Self::Json => Some(Format::Json),
            Self::Yaml => Some(Format::Yaml),
        }
    }
}

impl Format {
    pub(crate) fn write(self, value: &impl Serialize, out: &mut impl Write) -> Result<()> {
        match self {
            Self::Json => {
                serde_json::to_writer_pretty(&mut *out, value)?;
                Ok(writeln!(out)?)
            }
            Self::Yaml => Ok(write!(out, "{}", yaml::write(&serde_json::to_value(value)?)?)?),
        }
    }
}

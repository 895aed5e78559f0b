//! Tables as `kubectl` prints them: three spaces between columns, numbers to the right, no lines.

use std::{
    fmt::Display,
    io::{self, Write},
};

use crate::paint::{Colour, Paint};

/// Rows under a heading. All rows are as long as the heading.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    colour: Option<Colour>,
    right: bool,
}

impl Table {
    pub(crate) fn new<'a>(heading: impl IntoIterator<Item = &'a str>) -> Self {
        Self { rows: vec![heading.into_iter().map(Cell::from).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the table. A heading stands over numbers as they do, to the right.
    pub(crate) fn write(&self, out: &mut impl Write, paint: Paint) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<_> = (0..columns).map(|column| cells(column).map(Cell::width).max().unwrap_or(0)).collect();
        let right: Vec<_> = (0..columns).map(|column| cells(column).skip(1).any(|cell| cell.right)).collect();
        for row in &self.rows {
            let mut line = String::new();
            // Spaces are written before the next word only, so that no line ends with any.
            let mut gap = 0;
            for (index, cell) in row.iter().enumerate() {
                let room = widths[index] - cell.width();
                let (before, after) = if right[index] { (room, 0) } else { (0, room) };
                if cell.width() > 0 {
                    line.push_str(&" ".repeat(gap + before));
                    line.push_str(&cell.painted(paint));
                    gap = after + GAP;
                } else {
                    gap += room + GAP;
                }
            }
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// Spaces between two columns.
const GAP: usize = 3;

impl Cell {
    /// A number, or what stands in its place.
    pub(crate) fn number(text: impl Display) -> Self {
        Self { right: true, ..Self::from(format!("{text}")) }
    }

    pub(crate) fn painted_in(self, colour: Colour) -> Self {
        Self { colour: Some(colour), ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn painted(&self, paint: Paint) -> String {
        self.colour.map_or_else(|| self.text.clone(), |colour| paint.paint(colour, &self.text))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, colour: None, right: false }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::When;

    fn written(paint: Paint) -> String {
        let mut table = Table::new(["NAME", "WANTED", "WHY"]);
        table.row(["api".into(), Cell::number(12), Cell::from("busy").painted_in(Colour::Red)]);
        table.row(["müller".into(), Cell::number("-"), "".into()]);
        let mut out = Vec::new();
        table.write(&mut out, paint).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_spaces() {
        let plain = written(Paint::new(When::Never, true));
        assert_eq!(plain, "NAME     WANTED   WHY\napi          12   busy\nmüller        -\n");
    }

    #[test]
    fn colours_take_no_room() {
        let painted = written(Paint::new(When::Always, false));
        assert!(painted.contains("    12   \x1b[31mbusy\x1b[0m\n"), "{painted}");
    }
}

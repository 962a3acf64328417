//! Text in aligned columns.

use crate::cli::print::clean;

/// Rows of cells; the first row is the heading.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    pub(super) fn new(indent: usize, heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()], indent }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// One line a row, each column as wide as its widest cell; columns without
    /// any text but their heading are left out.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell =
            |row: &'_ Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let width = |column| {
            let body = self.rows.iter().skip(1).any(|row| !cell(row, column).is_empty());
            let widths = self.rows.iter().map(|row| cell(row, column).chars().count());
            body.then(|| widths.max().unwrap_or(0))
        };
        let widths: Vec<Option<usize>> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let shown = widths.iter().enumerate().filter_map(|(column, width)| {
                width.map(|width| format!("{:width$}", cell(row, column)))
            });
            let line = shown.collect::<Vec<_>>().join("  ");
            format!("{:indent$}{line}", "", indent = self.indent).trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(2, &["NAME", "WHY", "N"]);
        table.row(["a".to_owned(), String::new(), "10".to_owned()]);
        table.row(["longer".to_owned(), String::new(), "2".to_owned()]);
        assert_eq!(table.lines(), ["  NAME    N", "  a       10", "  longer  2"]);
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let mut table = Table::new(0, &["A"]);
        table.row(["\u{1b}[31mred\n".to_owned()]);
        assert_eq!(table.lines()[1], " [31mred");
    }
}

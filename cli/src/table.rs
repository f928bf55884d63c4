//! Tables for people: columns as wide as they must be, and no wider than the terminal.

/// On which side a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table, row by row.
#[derive(Clone, Debug)]
pub struct Table {
    heads: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

const GAP: &str = "  ";

impl Table {
    /// A table with these columns.
    pub fn new(heads: &[(&str, Align)]) -> Self {
        Self {
            heads: heads
                .iter()
                .map(|(head, align)| ((*head).to_owned(), *align))
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell a column.
    pub fn row(&mut self, cells: Vec<String>) {
        // A line end in a message would break the table.
        self.rows
            .push(cells.iter().map(|cell| on_one_line(cell)).collect());
    }

    /// The lines, each with its end; the last column is cut at `width` where one is given.
    pub fn render(&self, width: Option<usize>) -> String {
        let mut widths: Vec<usize> = self.heads.iter().map(|(head, _)| head.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        let heads = self.heads.iter().map(|(head, _)| head.clone()).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for (index, ((cell, width), (_, align))) in row.iter().zip(&widths).zip(&self.heads).enumerate() {
                if index > 0 {
                    line.push_str(GAP);
                }
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}")),
                    Align::Right => line.push_str(&format!("{cell:>width$}")),
                }
            }
            out.push_str(&cut(line.trim_end_matches(' '), width));
            out.push('\n');
        }
        out
    }
}

/// The text without line ends and what else would steer a terminal.
pub fn on_one_line(cell: &str) -> String {
    cell.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            let mut kept: String = line.chars().take(width.saturating_sub(1)).collect();
            kept.push('…');
            kept
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("HOURS", Align::Right),
            ("WHY", Align::Left),
        ]);
        table.row(vec!["pi".into(), "3".into(), "".into()]);
        table.row(vec!["éléments".into(), "1200.50".into(), "waits for\npi".into()]);
        assert_eq!(
            table.render(None),
            "NAME        HOURS  WHY\npi              3\néléments  1200.50  waits for pi\n"
        );
    }

    #[test]
    fn a_line_is_no_wider_than_the_terminal() {
        let mut table = Table::new(&[("NAME", Align::Left), ("WHY", Align::Left)]);
        table.row(vec!["pi".into(), "a very long reason".into()]);
        assert_eq!(table.render(Some(12)), "NAME  WHY\npi    a ver…\n");
    }
}

//! Tables of numbers under a line of names.

use std::path::{Path, PathBuf};

/// A table without quotes, as profilers write them.
pub(crate) struct Table<'a> {
    file: PathBuf,
    names: Vec<&'a str>,
    rows: Vec<(usize, Vec<&'a str>)>,
}

/// One of its rows.
pub(crate) struct Row<'a> {
    table: &'a Table<'a>,
    line: usize,
    cells: &'a [&'a str],
}

impl<'a> Table<'a> {
    pub(crate) fn parse(file: &Path, text: &'a str) -> Result<Self, String> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let Some((_, first)) = lines.next() else { return Err(format!("{}: the file is empty", file.display())) };
        let names: Vec<&str> = first.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
        let mut rows = Vec::new();
        for (index, line) in lines {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            if cells.len() != names.len() {
                return Err(format!(
                    "{}:{}: {} values under {} names",
                    file.display(),
                    index + 1,
                    cells.len(),
                    names.len()
                ));
            }
            rows.push((index + 1, cells));
        }
        Ok(Self { file: file.to_owned(), names, rows })
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    pub(crate) fn column(&self, name: &str) -> Result<usize, String> {
        self.find(name).ok_or_else(|| {
            format!("{}:1: no column \"{name}\"; there are {}", self.file.display(), self.names.join(", "))
        })
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, cells)| Row { table: self, line: *line, cells })
    }
}

impl Row<'_> {
    pub(crate) fn text(&self, column: usize) -> &str {
        self.cells[column]
    }

    /// A count below 2^53, so that it is exact as a float too.
    pub(crate) fn whole(&self, column: usize) -> Result<u64, String> {
        let cell = self.cells[column];
        cell.parse().ok().filter(|count| *count < 1 << 53).ok_or_else(|| self.wrong(column, "a whole number from 0"))
    }

    pub(crate) fn real(&self, column: usize) -> Result<f64, String> {
        let cell = self.cells[column];
        cell.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| self.wrong(column, "a number"))
    }

    fn wrong(&self, column: usize, wanted: &str) -> String {
        let Table { file, names, .. } = self.table;
        format!("{}:{}: {}: {:?} is not {wanted}", file.display(), self.line, names[column], self.cells[column])
    }
}

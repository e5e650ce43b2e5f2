//! The table.

/// One line: a figure, and its limit in the same run.
struct Line {
    row: &'static str,
    what: String,
    figure: String,
    limit: String,
    ratio: Option<f64>,
    bar: Option<f64>,
}

/// All lines, in the order in which they were measured.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// A figure with a bar: `ratio` must not exceed it.
    pub(crate) fn bar(
        &mut self,
        row: &'static str,
        what: impl Into<String>,
        figure: impl Into<String>,
        limit: impl Into<String>,
        (ratio, bar): (f64, f64),
    ) {
        let (what, figure, limit) = (what.into(), figure.into(), limit.into());
        self.add(Line { row, what, figure, limit, ratio: Some(ratio), bar: Some(bar) });
    }

    /// A figure to know, without a bar.
    pub(crate) fn note(
        &mut self,
        row: &'static str,
        what: impl Into<String>,
        figure: impl Into<String>,
    ) {
        let (what, figure) = (what.into(), figure.into());
        self.add(Line { row, what, figure, limit: String::new(), ratio: None, bar: None });
    }

    fn add(&mut self, line: Line) {
        println!("  {}: {}", line.what, line.figure);
        self.lines.push(line);
    }

    /// Prints the table; whether every bar holds.
    pub(crate) fn print(&self) -> bool {
        let head = ["row", "job", "measured", "limit", "ratio", "bar", ""].map(str::to_owned);
        let cells: Vec<[String; 7]> =
            std::iter::once(head).chain(self.lines.iter().map(Line::cells)).collect();
        let widths: [usize; 7] = std::array::from_fn(|column| {
            cells.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
        });
        println!();
        for line in &cells {
            let padded =
                std::iter::zip(line, widths).map(|(cell, width)| format!("{cell:<width$}"));
            println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
        }
        self.lines.iter().all(Line::holds)
    }
}

impl Line {
    fn holds(&self) -> bool {
        self.ratio.zip(self.bar).is_none_or(|(ratio, bar)| ratio <= bar)
    }

    fn cells(&self) -> [String; 7] {
        let number =
            |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        let verdict = match self.bar {
            None => "",
            Some(_) if self.holds() => "holds",
            Some(_) => "MISSED",
        };
        [
            self.row.to_owned(),
            self.what.clone(),
            self.figure.clone(),
            self.limit.clone(),
            number(self.ratio),
            number(self.bar),
            verdict.to_owned(),
        ]
    }
}

/// Nanoseconds as a person reads them.
pub(crate) fn time(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 1e3 => format!("{nanos:.0} ns"),
        nanos if nanos < 1e6 => format!("{:.2} µs", nanos / 1e3),
        nanos if nanos < 1e9 => format!("{:.2} ms", nanos / 1e6),
        nanos => format!("{:.2} s", nanos / 1e9),
    }
}

/// Bytes as a person reads them.
pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

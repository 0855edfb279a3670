//! The table as text.

use super::{Connection, Forgotten};
use crate::event::{ConnectionId, Timestamp};
use crate::sink::console::escape;

const HEADLINE: [&str; 7] =
    ["connection", "client", "upstream", "duration", "client said", "server said", "end"];
/// Which columns hold figures, and so end in line.
const IS_FIGURE: [bool; 7] = [true, false, false, true, true, true, false];

pub(super) fn table(
    rows: &[(ConnectionId, Connection)],
    others: Forgotten,
    now: Timestamp,
) -> String {
    if rows.is_empty() && others.connections == 0 {
        return String::new();
    }
    let mut cells = vec![HEADLINE.map(str::to_owned)];
    cells.extend(rows.iter().map(|(id, connection)| line(*id, connection, now)));
    if others.connections > 0 {
        let who = format!("and {} more", others.connections);
        let (client, server) = (bytes(others.client), bytes(others.server));
        cells.push([
            String::new(),
            who,
            String::new(),
            String::new(),
            client,
            server,
            String::new(),
        ]);
    }
    aligned(&cells)
}

fn line(id: ConnectionId, connection: &Connection, now: Timestamp) -> [String; 7] {
    let Connection { opened, open, client, server, end } = connection;
    let until = end.as_ref().map_or(now, |(ended, _)| *ended);
    let said = |known: &Option<u64>| known.map_or_else(|| "...".to_owned(), bytes);
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
    [
        id.to_string(),
        or_unknown(open.as_ref().map(|open| open.client.to_string())),
        or_unknown(open.as_ref().map(|open| open.target.to_string())),
        duration(until.nanos_since(*opened)),
        said(client),
        said(server),
        end.as_ref().map_or_else(|| "open".to_owned(), |(_, reason)| reason.to_string()),
    ]
    .map(|cell| escape(cell.as_bytes()))
}

/// Columns as wide as their widest cell, two spaces apart; no spaces at the ends of lines.
fn aligned(cells: &[[String; 7]]) -> String {
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut out = String::new();
    for row in cells {
        let columns = row.iter().zip(widths).zip(IS_FIGURE);
        let columns = columns.map(|((cell, width), is_figure)| match is_figure {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        out.push_str(columns.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A number of bytes with three or four figures: `999 B`, `1.50 KiB`, `1023 MiB`.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10) as usize;
    let value = bytes as f64 / (1_u64 << (10 * power)) as f64;
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", UNITS[power - 1])
}

/// A duration with what matters of it: `1.234 ms`, `1.234 s`, `1m05s`, `2h03m`, `3d04h`.
fn duration(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    match seconds {
        0 => format!("{:.3} ms", nanos as f64 / 1e6),
        1..60 => format!("{:.3} s", nanos as f64 / 1e9),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_in_every_size() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (20 * 1024, "20.0 KiB"),
            (500 << 20, "500 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
        for (nanos, expected) in [
            (0, "0.000 ms"),
            (1_234_567, "1.235 ms"),
            (59_000_000_000, "59.000 s"),
            (65_000_000_000, "1m05s"),
            (7_380_000_000_000, "2h03m"),
            (u64::MAX, "213503d23h"),
        ] {
            assert_eq!(duration(nanos), expected);
        }
    }
}

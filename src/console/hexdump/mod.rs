//! Bytes to rows, as `hexdump -C` lays them out.
//!
//! Pure: rows go into a buffer, and nothing is read or written.
//!
//! Rows say everything: a line in `docs/console.md` turns them back into the bytes.

mod palette;

use std::ops::Range;

pub use palette::{Color, Palette};

/// Bytes in a row, where there is room for them.
const WIDTH: usize = 16;
/// Bytes before the gap in the middle of a row.
const HALF: usize = WIDTH / 2;
static HEX: [[u8; 2]; 256] = hex_table();

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Null,
    Printable,
    Whitespace,
    Control,
    High,
}

const fn class_of(byte: u8) -> Class {
    match byte {
        0 => Class::Null,
        b' ' | b'\t' | b'\n' | 0x0c | b'\r' => Class::Whitespace,
        0x21..=0x7e => Class::Printable,
        0x80.. => Class::High,
        _ => Class::Control,
    }
}

/// Lays out rows, plain or in color.
#[derive(Clone, Debug)]
pub struct Hexdump {
    colors: Option<Colors>,
    /// Bytes in a row.
    width: usize,
}

/// Plain.
impl Default for Hexdump {
    fn default() -> Self {
        Self::plain()
    }
}

/// The escape sequences of a palette.
#[derive(Clone, Debug)]
struct Colors {
    classes: [&'static str; 5],
    offset: &'static str,
}

/// What ends every color.
const RESET: &str = "\x1b[0m";
/// Turns on reverse video, and off again.
pub(crate) const MARK: [&str; 2] = ["\x1b[7m", "\x1b[27m"];

impl Hexdump {
    /// Rows without colors.
    pub const fn plain() -> Self {
        Self { colors: None, width: WIDTH }
    }

    /// Rows in the colors of `palette`.
    pub const fn colored(palette: &Palette) -> Self {
        let Palette { null, printable, whitespace, control, high, offset } = palette;
        let classes = [
            null.sequence(),
            printable.sequence(),
            whitespace.sequence(),
            control.sequence(),
            high.sequence(),
        ];
        Self { colors: Some(Colors { classes, offset: offset.sequence() }), width: WIDTH }
    }

    /// Rows that fit a number of columns: of 16 bytes, or of 8 or 4 where these are too long. Rows
    /// of 4 bytes take 29 columns, and more where offsets are beyond 4 GiB.
    pub const fn fitting(mut self, columns: usize) -> Self {
        self.width = match columns {
            78.. => WIDTH,
            45.. => HALF,
            _ => HALF / 2,
        };
        self
    }

    /// Appends the rows of `bytes`, the first of which is number `offset` of its stream.
    ///
    /// A row that repeats the one before it is left out, and `*` stands for any number of these,
    /// as in `hexdump -C`; the last row is always there, so that the rows give back the bytes.
    /// In color, what lies in `marks` (ranges in `bytes`, in order) is shown in reverse, and
    /// never left out.
    ///
    /// ```
    /// use tcp_tunn::console::hexdump::Hexdump;
    ///
    /// let mut out = Vec::new();
    /// Hexdump::plain().rows(b"Hello\n", 0x20, &[], &mut out);
    /// let row = "00000020  48 65 6c 6c 6f 0a                                 |Hello.|\n";
    /// assert_eq!(out, row.as_bytes());
    /// ```
    pub fn rows(&self, bytes: &[u8], offset: u64, marks: &[Range<usize>], out: &mut Vec<u8>) {
        let width = self.width;
        let last = bytes.len().div_ceil(width).saturating_sub(1);
        let mut marks = Marks { rest: if self.colors.is_some() { marks } else { &[] }, start: 0 };
        let mut before: &[u8] = &[];
        let mut squeezing = false;
        for (index, row) in bytes.chunks(width).enumerate() {
            let marked = marks.next_row(width);
            if row == before && index != last && marked == 0 {
                if !std::mem::replace(&mut squeezing, true) {
                    out.extend_from_slice(b"*\n");
                }
                continue;
            }
            squeezing = false;
            before = row;
            let at = offset.wrapping_add((index * width) as u64);
            match (&self.colors, row.first_chunk()) {
                (None, Some(row)) => full_row(row, at, out),
                (None, None) => short_row(row, width, at, out),
                (Some(colors), _) => {
                    colors.row(row, width, at, |i| marked >> i & 1 == 1, out);
                }
            }
        }
    }
}

/// Goes through ranges once, row by row.
struct Marks<'a> {
    rest: &'a [Range<usize>],
    /// Where the next row starts.
    start: usize,
}

impl Marks<'_> {
    /// The next row's bytes that lie in a range, as bits, the first byte's the lowest.
    fn next_row(&mut self, width: usize) -> u16 {
        let (start, end) = (self.start, self.start + width);
        self.start = end;
        let mut bits = 0;
        while let Some((mark, rest)) = self.rest.split_first() {
            for at in mark.start.max(start)..mark.end.min(end) {
                bits |= 1 << (at - start);
            }
            if mark.end > end {
                break;
            }
            self.rest = rest;
        }
        bits
    }
}

/// What follows the offset in a row, nothing filled in.
const BLANK: &[u8; TEXT_AT + WIDTH + 2] =
    b"                                                    |                |\n";
/// Where the first and the ninth byte's digits are in it, and the first byte's text.
const LEFT_AT: usize = 2;
const RIGHT_AT: usize = 27;
const TEXT_AT: usize = 53;

/// Nearly all rows. Every place is a constant, so nothing is checked, and the digits go straight
/// to where they stay.
fn full_row(row: &[u8; WIDTH], at: u64, out: &mut Vec<u8>) {
    push_offset(at, out);
    out.extend_from_slice(BLANK);
    let Some(line) = out.last_chunk_mut::<{ BLANK.len() }>() else { return };
    for i in 0..HALF {
        [line[LEFT_AT + 3 * i], line[LEFT_AT + 3 * i + 1]] = HEX[usize::from(row[i])];
        [line[RIGHT_AT + 3 * i], line[RIGHT_AT + 3 * i + 1]] = HEX[usize::from(row[i + HALF])];
    }
    for i in 0..WIDTH {
        line[TEXT_AT + i] = text_of(row[i]);
    }
}

fn short_row(row: &[u8], width: usize, at: u64, out: &mut Vec<u8>) {
    push_offset(at, out);
    let start = out.len();
    out.resize(start + 1 + digits_of(width) + 2, b' ');
    for (i, byte) in row.iter().enumerate() {
        let place = start + LEFT_AT + 3 * i + usize::from(i >= HALF);
        out[place..place + 2].copy_from_slice(&HEX[usize::from(*byte)]);
    }
    out.push(b'|');
    out.extend(row.iter().map(|byte| text_of(*byte)));
    out.extend_from_slice(b"|\n");
}

/// The columns that the digits of a number of bytes take, each with a space before it.
const fn digits_of(bytes: usize) -> usize {
    3 * bytes + (bytes > HALF) as usize
}

impl Colors {
    fn row(
        &self,
        row: &[u8],
        width: usize,
        at: u64,
        marked: impl Fn(usize) -> bool,
        out: &mut Vec<u8>,
    ) {
        let push = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
        push(out, self.offset);
        push_offset(at, out);
        push(out, RESET);
        out.push(b' ');
        let mut pen = Pen { colors: self, class: None, marked: false };
        for (i, byte) in row.iter().enumerate() {
            let gap = if i == HALF { "  " } else { " " };
            pen.gap(gap, i > 0 && marked(i) && marked(i - 1) && i != HALF, out);
            pen.draw(&HEX[usize::from(*byte)], *byte, marked(i), out);
        }
        pen.lift(out);
        let missing = digits_of(width) - digits_of(row.len());
        out.resize(out.len() + missing + 2, b' ');
        out.push(b'|');
        for (i, byte) in row.iter().enumerate() {
            pen.draw(&[text_of(*byte)], *byte, marked(i), out);
        }
        pen.lift(out);
        push(out, "|\n");
    }
}

/// Knows which color is on, so that a run of one class costs one sequence.
struct Pen<'a> {
    colors: &'a Colors,
    class: Option<Class>,
    marked: bool,
}

impl Pen<'_> {
    fn mark(&mut self, marked: bool, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.marked, marked) != marked {
            out.extend_from_slice(MARK[usize::from(!marked)].as_bytes());
        }
    }

    fn gap(&mut self, gap: &str, marked: bool, out: &mut Vec<u8>) {
        self.mark(marked, out);
        out.extend_from_slice(gap.as_bytes());
    }

    fn draw(&mut self, text: &[u8], byte: u8, marked: bool, out: &mut Vec<u8>) {
        let class = class_of(byte);
        if self.class.replace(class) != Some(class) {
            out.extend_from_slice(self.colors.classes[class as usize].as_bytes());
        }
        self.mark(marked, out);
        out.extend_from_slice(text);
    }

    fn lift(&mut self, out: &mut Vec<u8>) {
        self.mark(false, out);
        if self.class.take().is_some() {
            out.extend_from_slice(RESET.as_bytes());
        }
    }
}

/// At least eight digits, more for streams beyond 4 GiB.
fn push_offset(offset: u64, out: &mut Vec<u8>) {
    if let Ok(offset) = u32::try_from(offset) {
        let [a, b, c, d] = offset.to_be_bytes().map(|byte| HEX[usize::from(byte)]);
        return out.extend_from_slice(&[a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]]);
    }
    let bytes = offset.to_be_bytes();
    let unused = bytes.iter().take(4).take_while(|byte| **byte == 0).count();
    for byte in &bytes[unused..] {
        out.extend_from_slice(&HEX[usize::from(*byte)]);
    }
}

const fn text_of(byte: u8) -> u8 {
    if matches!(byte, 0x20..=0x7e) { byte } else { b'.' }
}

const fn hex_table() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = [DIGITS[i >> 4], DIGITS[i & 15]];
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests;

//! Bytes to rows, as `hexdump -C` lays them out.
//!
//! Pure: rows go into a buffer, and nothing is read or written.

use anstyle::{AnsiColor, Style};

/// Bytes in a row.
const WIDTH: usize = 16;
const HEX: [[u8; 2]; 256] = hex_table();

/// The colours of a byte's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// NUL.
    pub null: Style,
    /// Letters, digits and other ASCII that prints.
    pub printable: Style,
    /// Space, tab, line feed, form feed, carriage return.
    pub whitespace: Style,
    /// Other ASCII, which commands terminals.
    pub control: Style,
    /// Beyond ASCII.
    pub high: Style,
    /// The offset column.
    pub offset: Style,
}

/// The colours of hexyl.
impl Default for Palette {
    fn default() -> Self {
        Self {
            null: AnsiColor::BrightBlack.on_default(),
            printable: AnsiColor::Cyan.on_default(),
            whitespace: AnsiColor::Green.on_default(),
            control: AnsiColor::Magenta.on_default(),
            high: AnsiColor::Yellow.on_default(),
            offset: AnsiColor::BrightBlack.on_default(),
        }
    }
}

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

/// Lays out rows, plain or in colour.
#[derive(Clone, Debug, Default)]
pub struct Hexdump {
    colours: Option<Colours>,
}

/// The escape sequences of a palette, rendered once.
#[derive(Clone, Debug)]
struct Colours {
    classes: [String; 5],
    offset: String,
}

/// What ends every colour.
const RESET: &str = "\x1b[0m";
/// Turns on reverse video, and off again.
const MARK: [&str; 2] = ["\x1b[7m", "\x1b[27m"];

impl Hexdump {
    /// Rows without colours.
    pub const fn plain() -> Self {
        Self { colours: None }
    }

    /// Rows in the colours of `palette`.
    pub fn coloured(palette: &Palette) -> Self {
        let Palette { null, printable, whitespace, control, high, offset } = palette;
        let render = |style: &Style| style.render().to_string();
        let classes = [null, printable, whitespace, control, high].map(render);
        Self { colours: Some(Colours { classes, offset: render(offset) }) }
    }

    /// Appends the rows of `bytes`, the first of which is number `offset` of its stream.
    ///
    /// A row that repeats the one before it is left out, and `*` stands for any number of these,
    /// as in `hexdump -C`; the last row is always there, so that the rows give back the bytes.
    /// In colour, what lies in `marks` (ranges in `bytes`, in order) is shown in reverse.
    ///
    /// ```
    /// use tcp_tunn::hexdump::Hexdump;
    ///
    /// let mut out = Vec::new();
    /// Hexdump::plain().rows(b"Hello\n", 0x20, &[], &mut out);
    /// let row = "00000020  48 65 6c 6c 6f 0a                                 |Hello.|\n";
    /// assert_eq!(out, row.as_bytes());
    /// ```
    pub fn rows(
        &self,
        bytes: &[u8],
        offset: u64,
        marks: &[std::ops::Range<usize>],
        out: &mut Vec<u8>,
    ) {
        let last = bytes.len().div_ceil(WIDTH).saturating_sub(1);
        let mut before: &[u8] = &[];
        let mut squeezing = false;
        for (index, row) in bytes.chunks(WIDTH).enumerate() {
            if row == before && index != last {
                if !std::mem::replace(&mut squeezing, true) {
                    out.extend_from_slice(b"*\n");
                }
                continue;
            }
            squeezing = false;
            before = row;
            let at = offset + (index * WIDTH) as u64;
            match &self.colours {
                None => plain_row(row, at, out),
                Some(colours) => {
                    let start = index * WIDTH;
                    let marked = |i: usize| marks.iter().any(|mark| mark.contains(&(start + i)));
                    colours.row(row, at, marked, out);
                }
            }
        }
    }
}

fn plain_row(row: &[u8], at: u64, out: &mut Vec<u8>) {
    // "  xx xx xx xx xx xx xx xx  xx xx xx xx xx xx xx xx  |................|\n"
    const HEX_AT: usize = 2;
    const TEXT_AT: usize = 53;
    let mut line = [b' '; TEXT_AT + WIDTH + 2];
    line[TEXT_AT - 1] = b'|';
    for (i, byte) in row.iter().enumerate() {
        let place = HEX_AT + 3 * i + usize::from(i >= WIDTH / 2);
        line[place..place + 2].copy_from_slice(&HEX[usize::from(*byte)]);
        line[TEXT_AT + i] = text_of(*byte);
    }
    line[TEXT_AT + row.len()] = b'|';
    line[TEXT_AT + row.len() + 1] = b'\n';
    push_offset(at, out);
    out.extend_from_slice(&line[..TEXT_AT + row.len() + 2]);
}

impl Colours {
    fn row(&self, row: &[u8], at: u64, marked: impl Fn(usize) -> bool, out: &mut Vec<u8>) {
        let push = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
        push(out, &self.offset);
        push_offset(at, out);
        push(out, RESET);
        out.push(b' ');
        let mut pen = Pen { colours: self, class: None, marked: false };
        for (i, byte) in row.iter().enumerate() {
            let gap = if i == WIDTH / 2 { "  " } else { " " };
            pen.gap(gap, i > 0 && marked(i) && marked(i - 1) && i != WIDTH / 2, out);
            pen.draw(&HEX[usize::from(*byte)], *byte, marked(i), out);
        }
        pen.lift(out);
        let drawn = 3 * row.len() + usize::from(row.len() > WIDTH / 2);
        out.resize(out.len() + (3 * WIDTH + 1 - drawn) + 2, b' ');
        out.push(b'|');
        for (i, byte) in row.iter().enumerate() {
            pen.draw(&[text_of(*byte)], *byte, marked(i), out);
        }
        pen.lift(out);
        push(out, "|\n");
    }
}

/// Knows which colour is on, so that a run of one class costs one sequence.
struct Pen<'a> {
    colours: &'a Colours,
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
            out.extend_from_slice(self.colours.classes[class as usize].as_bytes());
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
mod tests {
    use super::*;

    fn dump(bytes: &[u8], offset: u64) -> String {
        let mut out = Vec::new();
        Hexdump::plain().rows(bytes, offset, &[], &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a_full_row_has_the_columns_of_hexdump() {
        assert_eq!(
            dump(b"0123456789abcdef", 0),
            "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n"
        );
    }

    #[test]
    fn nothing_makes_no_row() {
        assert_eq!(dump(b"", 7), "");
    }

    #[test]
    fn repeated_rows_are_squeezed_but_for_the_last() {
        let rows = dump(&[0; 64], 0);
        let offsets: Vec<_> = rows.lines().map(|row| row.split(' ').next().unwrap()).collect();
        assert_eq!(offsets, ["00000000", "*", "00000030"]);
        assert_eq!(dump(&[0; 32], 0).lines().count(), 2, "nothing to squeeze");
    }

    #[test]
    fn offsets_grow_beyond_eight_digits() {
        assert!(dump(b"x", 0x1_2345_6789).starts_with("0123456789  78 "));
        assert!(dump(b"x", u64::MAX).starts_with("ffffffffffffffff  78 "));
    }

    #[test]
    fn no_byte_of_the_traffic_commands_the_terminal() {
        let all: Vec<u8> = (0..=255).collect();
        let rows = dump(&all, 0);
        assert!(rows.bytes().all(|byte| byte == b'\n' || matches!(byte, 0x20..=0x7e)));
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let bytes: Vec<u8> = (0..=255).chain([0; 100]).chain(*b"end").collect();
        let mut out = Vec::new();
        Hexdump::coloured(&Palette::default()).rows(&bytes, 99, &[5..40, 50..51], &mut out);
        let coloured = String::from_utf8(out).expect("ASCII");
        let plain = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap().replace_all(&coloured, "");
        assert_eq!(plain, dump(&bytes, 99));
    }
}

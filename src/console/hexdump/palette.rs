//! The colors of a hexdump.

/// A color of the terminal's own palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all")]
pub enum Color {
    /// The color of text that has none.
    Default,
    Black,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
    White,
    BrightBlack,
    BrightRed,
    BrightGreen,
    BrightYellow,
    BrightBlue,
    BrightMagenta,
    BrightCyan,
    BrightWhite,
}

impl Color {
    /// What switches it on.
    pub(super) const fn sequence(self) -> &'static str {
        match self {
            Self::Default => "\x1b[39m",
            Self::Black => "\x1b[30m",
            Self::Red => "\x1b[31m",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Blue => "\x1b[34m",
            Self::Magenta => "\x1b[35m",
            Self::Cyan => "\x1b[36m",
            Self::White => "\x1b[37m",
            Self::BrightBlack => "\x1b[90m",
            Self::BrightRed => "\x1b[91m",
            Self::BrightGreen => "\x1b[92m",
            Self::BrightYellow => "\x1b[93m",
            Self::BrightBlue => "\x1b[94m",
            Self::BrightMagenta => "\x1b[95m",
            Self::BrightCyan => "\x1b[96m",
            Self::BrightWhite => "\x1b[97m",
        }
    }
}

/// The color of each class of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Palette {
    /// NUL.
    pub null: Color,
    /// Letters, digits and other ASCII that prints.
    pub printable: Color,
    /// Space, tab, line feed, form feed, carriage return.
    pub whitespace: Color,
    /// Other ASCII, which commands terminals.
    pub control: Color,
    /// Beyond ASCII.
    pub high: Color,
    /// The offset column.
    pub offset: Color,
}

/// The colors of hexyl.
impl Default for Palette {
    fn default() -> Self {
        Self {
            null: Color::BrightBlack,
            printable: Color::Cyan,
            whitespace: Color::Green,
            control: Color::Magenta,
            high: Color::Yellow,
            offset: Color::BrightBlack,
        }
    }
}

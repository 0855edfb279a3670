use proptest::prelude::*;

use super::*;

fn dump(bytes: &[u8], offset: u64) -> String {
    let mut out = Vec::new();
    Hexdump::plain().rows(bytes, offset, &[], &mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn full_row_matches_hexdump_columns() {
    assert_eq!(
        dump(b"0123456789abcdef", 0),
        "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n"
    );
}

#[test]
fn empty_input_makes_no_row() {
    assert_eq!(dump(b"", 7), "");
}

#[test]
fn repeated_rows_are_squeezed_except_last() {
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
fn traffic_never_controls_terminal() {
    let all: Vec<u8> = (0..=255).collect();
    let rows = dump(&all, 0);
    assert!(rows.bytes().all(|byte| byte == b'\n' || matches!(byte, 0x20..=0x7e)));
}

#[test]
fn colors_leave_text_unchanged() {
    let bytes: Vec<u8> = (0..=255).chain([7; 100]).chain(*b"end").collect();
    let mut out = Vec::new();
    Hexdump::colored(&Palette::default()).rows(&bytes, 99, &[5..40, 50..51], &mut out);
    let colored = String::from_utf8(out).expect("ASCII");
    let plain = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap().replace_all(&colored, "");
    assert_eq!(plain, dump(&bytes, 99));
}

#[test]
fn rows_with_marks_are_shown() {
    let mut out = Vec::new();
    Hexdump::colored(&Palette::default()).rows(&[b'a'; 96], 0, &[30..33, 40..41], &mut out);
    let rows = String::from_utf8(out).unwrap();
    let marked = |row: &str| row.contains(MARK[0]);
    assert_eq!(rows.lines().map(marked).collect::<Vec<_>>(), [false, true, true, false, false]);
    assert_eq!(rows.matches(MARK[0]).count(), 6, "the first two bytes of a row are one run");
}

/// The rows of a dump back to bytes, by what is promised of `*`.
fn undump(rows: &str, start: u64) -> Vec<u8> {
    let (mut bytes, mut row, mut starred) = (Vec::new(), Vec::new(), false);
    for line in rows.lines() {
        if line == "*" {
            starred = true;
            continue;
        }
        let (offset, rest) = line.split_once("  ").unwrap();
        let offset = u64::from_str_radix(offset, 16).unwrap() - start;
        while starred && (bytes.len() as u64) < offset {
            bytes.extend_from_slice(&row);
        }
        starred = false;
        assert_eq!(bytes.len() as u64, offset);
        let digits = rest.split_once('|').unwrap().0.split_whitespace();
        row = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect();
        bytes.extend_from_slice(&row);
    }
    assert!(!starred, "a '*' without a row after it");
    bytes
}

proptest! {
    #[test]
    fn rows_give_back_the_bytes(
        offset in prop_oneof![0..100_u64, 0xffff_ff00..0x1_0000_0100_u64],
        noise in prop::collection::vec(any::<u8>(), 0..100),
        runs in prop::collection::vec((0..2_u8, 0..80_usize), 0..8),
    ) {
        let runs = runs.iter().flat_map(|&(byte, len)| std::iter::repeat_n(byte, len));
        let bytes: Vec<u8> = noise.into_iter().chain(runs).collect();
        prop_assert_eq!(undump(&dump(&bytes, offset), offset), bytes);
    }
}

#[test]
fn rows_fit_narrow_terminals_and_give_back_the_bytes() {
    let bytes: Vec<u8> = (0..=255).chain([b'='; 99]).collect();
    let colors = regex::Regex::new("\x1b\\[[0-9;]*m").expect("an expression");
    for (columns, width, longest) in
        [(200, 16, 78), (78, 16, 78), (77, 8, 45), (45, 8, 45), (44, 4, 29), (0, 4, 29)]
    {
        let palette = Palette::default();
        let [plain, colored] = [Hexdump::plain(), Hexdump::colored(&palette)].map(|hexdump| {
            let mut out = Vec::new();
            hexdump.fitting(columns).rows(&bytes, 0, &[3..9, 20..40], &mut out);
            colors.replace_all(&String::from_utf8(out).expect("ASCII"), "").into_owned()
        });
        assert_eq!(plain, colored);
        assert_eq!(plain.lines().map(str::len).max(), Some(longest), "{columns}: {plain}");
        let bars = plain.lines().filter_map(|line| line.rfind("  |"));
        assert!(bars.collect::<std::collections::BTreeSet<_>>().len() <= 2, "{plain}");
        let mut read = Vec::new();
        for line in plain.lines().filter(|line| *line != "*") {
            let (offset, rest) = line.split_once("  ").expect(line);
            let at = usize::from_str_radix(offset, 16).expect(line);
            while read.len() < at {
                read.extend_from_within(read.len() - width..);
            }
            let digits = &rest[..rest.find("  |").expect(line)];
            let row = digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16));
            read.extend(row.map(|byte| byte.expect(line)));
        }
        assert!(read == bytes, "{columns}: {plain}");
    }
}

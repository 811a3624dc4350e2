//! Names that a file may have, and bytes that may be in it.

use proptest::prelude::*;

/// A legal name: anything but a slash, NUL and the two names that every directory has, up to 255 bytes.
pub(super) fn name() -> impl Strategy<Value = String> {
    let odd = vec![
        " ",
        "a b",
        " lead",
        "trail ",
        "-rf",
        "--help",
        "'",
        "\"",
        "$(id)",
        "`id`",
        "a\nb",
        "a\tb",
        "\\",
        "a\\b",
        "...",
        ".hidden",
        "~",
        "*",
        "[a]",
        "?",
        "#frag",
        "&",
        "+",
        "a+b",
        ";",
        "%",
        "%2F",
        "%00",
        "%2e%2e",
        "a%20b",
        "a:b",
        "=",
        "ä",
        "a\u{308}",
        "日本語",
        "🦀",
        "\u{202e}",
        "\u{feff}",
        "\u{7f}",
        "\u{1}",
        "con",
        "read",
        "stat",
        "download",
        "archive",
        "upload",
        "data.json",
        "index.html",
    ];
    prop_oneof![
        4 => "[a-z]{1,8}",
        6 => prop::sample::select(odd).prop_map(str::to_owned),
        2 => prop::collection::vec(any::<char>(), 1..12)
            .prop_map(|chars| chars.into_iter().collect::<String>())
            .prop_filter_map("no name", legal),
        1 => Just("x".repeat(255)),
        1 => Just(format!("{}x", "é".repeat(127))),
    ]
}

fn legal(name: String) -> Option<String> {
    let legal = !name.contains(['/', '\0']) && name != "." && name != ".." && name.len() <= 255;
    legal.then_some(name)
}

/// A path of one to three names. The first is none of the routes below `/files`, which a path could be mistaken for.
pub(super) fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))
}

/// What is in a file: any bytes, of sizes at which something might break.
pub(super) fn content() -> impl Strategy<Value = Vec<u8>> {
    let sizes = prop_oneof![
        3 => prop::sample::select(vec![4095usize, 4096, 4097]),
        3 => prop::sample::select(vec![65_535usize, 65_536, 65_537]),
        1 => prop::sample::select(vec![1_048_575usize, 1_048_576, 1_048_577]),
    ];
    // Such a file is told by its size and a letter; drawing each byte would make reports unreadable.
    let large = (sizes, any::<u8>()).prop_map(|(size, first)| counted(size, first));
    let text = prop::collection::vec(
        prop::sample::select(vec!["\n", "\r\n", "\0", "é", "\u{feff}", "a", " ", "{}", "🦀"]),
        0..8,
    );
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..24),
        2 => text.prop_map(|pieces| pieces.concat().into_bytes()),
        3 => large,
    ]
}

/// Bytes of which no two neighbouring blocks are alike, so that a block that is lost or doubled shows.
pub(super) fn counted(size: usize, first: u8) -> Vec<u8> {
    (0..size).map(|n| first.wrapping_add((n ^ (n >> 8) ^ (n >> 16)) as u8)).collect()
}

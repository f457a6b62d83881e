//! `String.getBytes(charset)` of Java for the charsets of `converter.encoding`.

/// A charset. A character that it does not have becomes `?`, as in Java.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Latin1,
    Ascii,
    /// Big endian with a byte order mark.
    Utf16,
    Utf16Be,
    Utf16Le,
}

impl Encoding {
    /// Java's names and aliases, in any letter case.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" | "unicode-1-1-utf-8" => Some(Self::Utf8),
            "iso-8859-1" | "iso8859-1" | "iso8859_1" | "iso_8859-1" | "iso_8859_1" | "8859_1" | "latin1" | "l1"
            | "cp819" | "ibm819" | "ibm-819" | "csisolatin1" | "iso-ir-100" | "iso_8859-1:1987" | "819" => {
                Some(Self::Latin1)
            }
            "us-ascii" | "ascii" | "ascii7" | "iso646-us" | "iso_646.irv:1991" | "iso_646.irv:1983" | "iso-ir-6"
            | "ansi_x3.4-1968" | "ansi_x3.4-1986" | "cp367" | "ibm367" | "csascii" | "us" | "646" | "default" => {
                Some(Self::Ascii)
            }
            "utf-16" | "utf_16" | "utf16" | "unicode" | "unicodebig" => Some(Self::Utf16),
            "utf-16be" | "utf_16be" | "x-utf-16be" | "iso-10646-ucs-2" | "unicodebigunmarked" => Some(Self::Utf16Be),
            "utf-16le" | "utf_16le" | "x-utf-16le" | "unicodelittleunmarked" => Some(Self::Utf16Le),
            _ => None,
        }
    }

    /// Appends `text` to `out`.
    pub(super) fn encode(self, text: &str, out: &mut Vec<u8>) {
        match self {
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Latin1 => out.extend(text.chars().map(|c| u8::try_from(c).unwrap_or(b'?'))),
            Self::Ascii => out.extend(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' })),
            Self::Utf16 => {
                // Java writes the mark with the first character only.
                if !text.is_empty() {
                    out.extend_from_slice(&[0xfe, 0xff]);
                }
                Self::Utf16Be.encode(text, out);
            }
            Self::Utf16Be => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Self::Utf16Le => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
        }
    }
}

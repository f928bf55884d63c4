//! What is put on paper, and how wide it is: places in thousandths of a point, from the upper left, all integers.

use skrifa::instance::{LocationRef, Size};
use skrifa::raw::FontRef;
use skrifa::{GlyphId, MetadataProvider as _};

/// Thousandths of a typographic point (1/72 inch).
pub(super) type Milli = i32;

/// The width of A4.
pub(super) const PAPER_WIDTH: Milli = 595_276;
/// The height of A4.
pub(super) const PAPER_HEIGHT: Milli = 841_890;

/// A face of the font that is embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// Regular.
    Regular,
    /// Bold.
    Bold,
}

/// How dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shade {
    /// Text.
    Black,
    /// What stands beside it.
    Grey,
    /// Behind a sum.
    Pale,
    /// Rules, and the title.
    Blue,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub face: Face,
    pub size: Milli,
    pub shade: Shade,
}

/// Something on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// A text whose base line begins here.
    Text {
        x: Milli,
        y: Milli,
        style: Style,
        text: String,
    },
    /// A filled rectangle.
    Box {
        x: Milli,
        y: Milli,
        width: Milli,
        height: Milli,
        shade: Shade,
    },
}

/// A glyph of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub glyph: u32,
    /// In units of the font.
    pub advance: i32,
    /// Bytes of the text.
    pub from: usize,
    pub to: usize,
}

/// Both faces, to be measured.
pub(super) struct Faces<'a> {
    regular: FontRef<'a>,
    bold: FontRef<'a>,
}

impl<'a> Faces<'a> {
    pub fn read(regular: &'a [u8], bold: &'a [u8]) -> Option<Self> {
        Some(Self {
            regular: FontRef::new(regular).ok()?,
            bold: FontRef::new(bold).ok()?,
        })
    }

    fn font(&self, face: Face) -> &FontRef<'a> {
        match face {
            Face::Regular => &self.regular,
            Face::Bold => &self.bold,
        }
    }

    /// Units of the font in its size.
    pub fn units(&self, face: Face) -> i32 {
        let metrics = self.font(face).metrics(Size::unscaled(), LocationRef::default());
        i32::from(metrics.units_per_em)
    }

    /// The text with a question mark for whatever the font has no glyph for.
    pub fn writable(&self, face: Face, text: &str) -> String {
        let glyphs = self.font(face).charmap();
        text.chars()
            .map(|c| if glyphs.map(c).is_some() { c } else { '?' })
            .collect()
    }

    /// The glyphs of a text, side by side.
    pub fn glyphs(&self, face: Face, text: &str) -> Vec<Placed> {
        let font = self.font(face);
        let (glyphs, metrics) = (
            font.charmap(),
            font.glyph_metrics(Size::unscaled(), LocationRef::default()),
        );
        text.char_indices()
            .map(|(from, c)| {
                let glyph = glyphs.map(c).unwrap_or(GlyphId::NOTDEF);
                Placed {
                    glyph: glyph.to_u32(),
                    // Unscaled, it is a whole number of units.
                    advance: metrics.advance_width(glyph).unwrap_or_default() as i32,
                    from,
                    to: from + c.len_utf8(),
                }
            })
            .collect()
    }

    /// The width of a text.
    pub fn width(&self, style: Style, text: &str) -> Milli {
        let units: i64 = self
            .glyphs(style.face, text)
            .iter()
            .map(|placed| i64::from(placed.advance))
            .sum();
        let width = units * i64::from(style.size) / i64::from(self.units(style.face).max(1));
        Milli::try_from(width).unwrap_or(PAPER_WIDTH)
    }

    /// The text in lines no wider than this: cut at spaces, and inside a word only where the word alone is wider.
    pub fn wrap(&self, style: Style, text: &str, width: Milli) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let longer = if line.is_empty() {
                word.to_owned()
            } else {
                format!("{line} {word}")
            };
            if self.width(style, &longer) <= width {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for c in word.chars() {
                line.push(c);
                if self.width(style, &line) > width && line.chars().count() > 1 {
                    line.pop();
                    lines.push(std::mem::replace(&mut line, c.to_string()));
                }
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }
}

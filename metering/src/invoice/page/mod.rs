//! A document on paper: a PDF/A-3b with its XML inside (Factur-X, profile EN 16931), French first and English beside. A call
//! for funds, which is no invoice, has no XML in it.
//!
//! ```text
//!  IssuedInvoice ─► layout ─► ink, in thousandths of a point ─► krilla ─► PDF/A-3b ─► factur_x ─► PDF that says so
//!               └─► cii ───────────────────► factur-x.xml ────────┘
//! ```
//!
//! The same document gives the same bytes: it names no time but its own day of issue. The font is Liberation Sans
//! (`metering/fonts`, SIL Open Font License), of which only the glyphs that are used are embedded.

mod factur_x;
pub(super) mod french;
mod ink;
mod layout;

use super::cii::{XmlError, render_xml};
use super::issued::IssuedInvoice;
use ink::{Face, Faces, Ink, Milli, PAPER_HEIGHT, PAPER_WIDTH, Placed, Shade, Style};
use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::embed::{AssociationKind, EmbeddedFile, MimeType};
use krilla::geom::{Path, PathBuilder, Point, Rect};
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, FillRule};
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use krilla::{Document, SerializeSettings};

const REGULAR: &[u8] = include_bytes!("../../../fonts/LiberationSans-Regular.ttf");
const BOLD: &[u8] = include_bytes!("../../../fonts/LiberationSans-Bold.ttf");

/// The name that Factur-X wants.
const FILE: &str = "factur-x.xml";

/// The PDF could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// The XML.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The rest.
    #[error(
        "writing the PDF of {number} failed: {what}. Its XML is not touched by this; report it with the XML"
    )]
    Pdf {
        /// The document.
        number: String,
        /// Why.
        what: String,
    },
}

/// The PDF of a document.
///
/// # Errors
/// When it would be no PDF/A-3b.
pub fn render_pdf(issued: &IssuedInvoice) -> Result<Vec<u8>, PdfError> {
    let is_invoice = issued.document().purpose().is_invoice();
    let xml = is_invoice.then(|| render_xml(issued)).transpose()?;
    draw(issued, xml).map_err(|what| PdfError::Pdf {
        number: issued.number().to_string(),
        what,
    })
}

fn draw(issued: &IssuedInvoice, xml: Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    let faces = Faces::read(REGULAR, BOLD).ok_or("the fonts of this program cannot be read")?;
    let paper = Paper {
        regular: font(REGULAR)?,
        bold: font(BOLD)?,
        faces,
    };
    let configuration = ConfigurationBuilder::new()
        .with_archival_validator(Archival::A3_B)
        .finish()
        .map_err(|error| format!("{error:?}"))?;
    let mut document = Document::new_with(SerializeSettings {
        // The objects' own syntax is spaced out: factur_x reads it.
        pretty: true,
        compress_content_streams: true,
        configuration,
        ..SerializeSettings::default()
    });
    for page in layout::pages(issued, &paper.faces) {
        let size = PageSettings::from_wh(points(PAPER_WIDTH), points(PAPER_HEIGHT))
            .ok_or("no page is that large")?;
        let mut sheet = document.start_page_with(size);
        let mut surface = sheet.surface();
        for ink in &page {
            paper.put(&mut surface, ink)?;
        }
        surface.finish();
        sheet.finish();
    }
    let day = midnight(issued);
    let is_invoice = xml.is_some();
    if let Some(xml) = xml {
        document.embed_file(EmbeddedFile {
            path: FILE.to_owned(),
            mime_type: MimeType::new("text/xml"),
            description: Some("Facture électronique / electronic invoice (Factur-X, EN 16931)".to_owned()),
            association_kind: AssociationKind::Alternative,
            data: xml.into(),
            modification_date: Some(day),
            compress: Some(true),
            location: None,
        });
    }
    let number = issued.number();
    document.set_metadata(
        Metadata::new()
            .title(format!("{number}, {}", issued.document().seller().name))
            .authors(vec![issued.document().seller().name.clone()])
            .language("fr".to_owned())
            .creator("Mesocentre".to_owned())
            .producer("Mesocentre".to_owned())
            .creation_date(day)
            .document_id(format!("{number} {}", issued.document().statement())),
    );
    let pdf = document.finish().map_err(|error| format!("{error:?}"))?;
    if is_invoice {
        factur_x::told(pdf, FILE)
    } else {
        Ok(pdf)
    }
}

fn font(bytes: &'static [u8]) -> Result<Font, String> {
    Font::new(bytes.into(), 0).ok_or_else(|| "the fonts of this program cannot be read".to_owned())
}

/// The first instant of the day of issue.
fn midnight(issued: &IssuedInvoice) -> DateTime {
    let day = issued.issued_on();
    let part = |value: i8| u8::try_from(value).unwrap_or(1);
    DateTime::new(u16::try_from(day.year()).unwrap_or(2000))
        .month(part(day.month()))
        .day(part(day.day()))
        .hour(0)
        .minute(0)
        .second(0)
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

struct Paper<'a> {
    faces: Faces<'a>,
    regular: Font,
    bold: Font,
}

impl Paper<'_> {
    fn put(&self, surface: &mut Surface<'_>, ink: &Ink) -> Result<(), String> {
        match ink {
            Ink::Text { x, y, style, text } => {
                surface.set_fill(Some(fill(style.shade)));
                self.write(surface, *x, *y, *style, text);
            }
            Ink::Box {
                x,
                y,
                width,
                height,
                shade,
            } => {
                surface.set_fill(Some(fill(*shade)));
                let path = rectangle(*x, *y, *width, *height).ok_or("a rectangle without a surface")?;
                surface.draw_path(&path);
            }
        }
        Ok(())
    }

    fn write(&self, surface: &mut Surface<'_>, x: Milli, y: Milli, style: Style, text: &str) {
        let units = self.faces.units(style.face);
        let glyphs: Vec<KrillaGlyph> = self
            .faces
            .glyphs(style.face, text)
            .iter()
            .map(|placed| glyph(placed, units))
            .collect();
        let font = match style.face {
            Face::Regular => &self.regular,
            Face::Bold => &self.bold,
        };
        let start = Point::from_xy(points(x), points(y));
        surface.draw_glyphs(start, &glyphs, font.clone(), text, points(style.size), false);
    }
}

fn rectangle(x: Milli, y: Milli, width: Milli, height: Milli) -> Option<Path> {
    let mut path = PathBuilder::new();
    path.push_rect(Rect::from_ltrb(
        points(x),
        points(y),
        points(x + width),
        points(y + height),
    )?);
    path.finish()
}

fn fill(shade: Shade) -> Fill {
    let color = match shade {
        Shade::Black => rgb::Color::new(24, 24, 27),
        Shade::Grey => rgb::Color::new(96, 99, 107),
        Shade::Pale => rgb::Color::new(233, 238, 244),
        Shade::Blue => rgb::Color::new(22, 66, 120),
    };
    Fill {
        paint: color.into(),
        opacity: NormalizedF32::ONE,
        rule: FillRule::NonZero,
    }
}

fn glyph(placed: &Placed, units: i32) -> KrillaGlyph {
    let advance = ratio(placed.advance, units);
    KrillaGlyph::new(
        GlyphId::new(placed.glyph),
        advance,
        0.0,
        0.0,
        0.0,
        placed.from..placed.to,
        None,
    )
}

/// PDF's own numbers for places on paper: no amount passes here.
fn points(milli: Milli) -> f32 {
    ratio(milli, 1_000)
}

#[allow(
    clippy::float_arithmetic,
    reason = "where ink stands on paper, which krilla wants as floats; amounts are text by then"
)]
fn ratio(part: i32, whole: i32) -> f32 {
    part as f32 / whole as f32
}

//! Says in a PDF's metadata that it is Factur-X, which krilla has no word for.
//!
//! The metadata stream is written once more at the end of the file with the properties of Factur-X 1.0 (its section on
//! XMP) and their description, as an incremental update (ISO 32000-1, 7.5.6), which PDF/A-3 allows. Everything else stays
//! as krilla wrote and checked it.

/// The description of Factur-X's properties: PDF/A wants one for what it does not know itself.
const SCHEMA: &str = r#"<rdf:li rdf:parseType="Resource"><pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema><pdfaSchema:namespaceURI>urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#</pdfaSchema:namespaceURI><pdfaSchema:prefix>fx</pdfaSchema:prefix><pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource"><pdfaProperty:name>DocumentFileName</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType><pdfaProperty:category>external</pdfaProperty:category><pdfaProperty:description>name of the embedded XML invoice file</pdfaProperty:description></rdf:li><rdf:li rdf:parseType="Resource"><pdfaProperty:name>DocumentType</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType><pdfaProperty:category>external</pdfaProperty:category><pdfaProperty:description>INVOICE</pdfaProperty:description></rdf:li><rdf:li rdf:parseType="Resource"><pdfaProperty:name>Version</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType><pdfaProperty:category>external</pdfaProperty:category><pdfaProperty:description>version of the Factur-X XML schema</pdfaProperty:description></rdf:li><rdf:li rdf:parseType="Resource"><pdfaProperty:name>ConformanceLevel</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType><pdfaProperty:category>external</pdfaProperty:category><pdfaProperty:description>conformance level of the embedded invoice</pdfaProperty:description></rdf:li></rdf:Seq></pdfaSchema:property></rdf:li>"#;

/// Where the list of such descriptions ends.
const END_OF_SCHEMAS: &str = "</rdf:Bag></pdfaExtension:schemas>";
const END_OF_METADATA: &str = "</rdf:RDF>";

/// The PDF with metadata that names its invoice's file.
pub(super) fn told(mut pdf: Vec<u8>, file: &str) -> Result<Vec<u8>, String> {
    let Stream { object, metadata } =
        metadata(&pdf).ok_or("it has no metadata where they were looked for")?;
    let old = Trailer::read(&pdf).ok_or("its trailer is not where it was looked for")?;
    let properties = format!(
        "<rdf:Description rdf:about=\"\" xmlns:fx=\"urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#\">\
         <fx:DocumentType>INVOICE</fx:DocumentType><fx:DocumentFileName>{file}</fx:DocumentFileName>\
         <fx:Version>1.0</fx:Version><fx:ConformanceLevel>EN 16931</fx:ConformanceLevel></rdf:Description>"
    );
    let metadata = inserted(&metadata, END_OF_SCHEMAS, SCHEMA)
        .and_then(|metadata| inserted(&metadata, END_OF_METADATA, &properties))
        .ok_or("its metadata are not as they were expected")?;
    if !pdf.ends_with(b"\n") {
        pdf.push(b'\n');
    }
    let at = pdf.len();
    let length = metadata.len();
    pdf.extend(
        format!(
            "{object} 0 obj\n<< /Type /Metadata /Subtype /XML /Length {length} >>\nstream\n{metadata}\nendstream\nendobj\n"
        )
        .into_bytes(),
    );
    let table = pdf.len();
    let Trailer { entries, start } = old;
    pdf.extend(
        format!(
            "xref\n{object} 1\n{at:010} 00000 n\r\ntrailer\n<<\n{entries}\n  /Prev {start}\n>>\nstartxref\n{table}\n%%EOF\n"
        )
        .into_bytes(),
    );
    Ok(pdf)
}

struct Stream {
    /// Its number.
    object: u64,
    metadata: String,
}

/// The metadata stream, which PDF/A wants uncompressed.
fn metadata(pdf: &[u8]) -> Option<Stream> {
    let (before, rest) = cut(pdf, b"/Type /Metadata")?;
    let begin = last(before, b" 0 obj")?;
    let digits = before
        .get(..begin)?
        .rsplit(|byte| !byte.is_ascii_digit())
        .next()?;
    let (_, rest) = cut(rest, b"stream\n")?;
    let (metadata, _) = cut(rest, b"\nendstream")?;
    Some(Stream {
        object: std::str::from_utf8(digits).ok()?.parse().ok()?,
        metadata: String::from_utf8(metadata.to_vec()).ok()?,
    })
}

struct Trailer {
    /// Size, Root, Info and ID: an update keeps them.
    entries: String,
    /// Where the table before begins.
    start: u64,
}

impl Trailer {
    fn read(pdf: &[u8]) -> Option<Self> {
        let end = pdf.get(last(pdf, b"trailer")?..)?;
        let (dictionary, rest) = cut(end, b"startxref")?;
        let (_, entries) = cut(dictionary, b"<<")?;
        let entries = entries.get(..last(entries, b">>")?)?;
        let start = std::str::from_utf8(rest).ok()?.split_whitespace().next()?;
        Some(Self {
            // The two parts of the ID may be any bytes; krilla writes them as text.
            entries: String::from_utf8(entries.to_vec())
                .ok()?
                .trim_matches('\n')
                .to_owned(),
            start: start.parse().ok()?,
        })
    }
}

fn inserted(text: &str, before: &str, what: &str) -> Option<String> {
    let (head, tail) = text.split_once(before)?;
    Some(format!("{head}{what}{before}{tail}"))
}

/// What stands before the first such bytes, and after.
fn cut<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = bytes.windows(at.len()).position(|window| window == at)?;
    Some((bytes.get(..place)?, bytes.get(place + at.len()..)?))
}

/// Where the last such bytes begin.
fn last(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).rposition(|window| window == what)
}

//! Records as Apache Parquet, for warehouses and data frames: a column for each of the export's, typed, so that nobody has
//! to guess what is a number and what is a time. The one place that knows the crate.
//!
//! ```text
//!  row by row ─► columns of one row group ─► written, and forgotten ─► … ─► the footer
//! ```
//!
//! A file is written from its beginning to its end, so it may go into a pipe, and only one group of rows is in memory.

use crate::ledger_export::Flat;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use std::io::{self, Write};
use std::sync::Arc;

/// The columns, in the order in which [`Columns::push`] fills them. Times are to the nanosecond, as the ledger keeps them;
/// quantities have 128 bits, as they do there.
const SCHEMA: &str = "message usage_record {
    required int64 seq;
    required binary source (STRING);
    required binary cluster (STRING);
    required binary native_key (STRING);
    required binary meter (STRING);
    required int64 revision;
    required binary tenant (STRING);
    optional binary allocation (STRING);
    optional binary person (STRING);
    required binary activity (STRING);
    required binary activity_reason (STRING);
    required fixed_len_byte_array(16) quantity (DECIMAL(38, 0));
    required binary unit (STRING);
    required int64 start (TIMESTAMP(NANOS, true));
    required int64 end (TIMESTAMP(NANOS, true));
    required binary evidence (STRING);
    required int64 received (TIMESTAMP(NANOS, true));
    required binary hash (STRING);
}";

/// Rows of a group: twenty to thirty megabytes. Of tests a few, so that they have several groups.
const ROWS: usize = if cfg!(test) { 100 } else { 65_536 };

/// A file that is being written.
pub struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    group: Columns,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Begins one.
    pub fn new(to: W) -> io::Result<Self> {
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("meso version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY);
        // Numbers that grow from row to row are kept as differences.
        for name in ["seq", "start", "end", "received"] {
            properties = properties
                .set_column_dictionary_enabled(ColumnPath::from(name), false)
                .set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
        }
        // No two are alike, and nobody asks for those between two others.
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from("hash"), false)
            .set_column_statistics_enabled(ColumnPath::from("hash"), EnabledStatistics::None)
            .set_column_statistics_enabled(ColumnPath::from("evidence"), EnabledStatistics::None);
        let file = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties.build()));
        Ok(Self {
            file: file.map_err(failed)?,
            group: Columns::default(),
        })
    }

    /// Adds a row.
    pub fn write(&mut self, row: &Flat) -> io::Result<()> {
        self.group.push(row)?;
        if self.group.rows == ROWS {
            self.end_group()?;
        }
        Ok(())
    }

    /// Writes what is left, and the footer without which it is no file.
    pub fn finish(mut self) -> io::Result<()> {
        if self.group.rows > 0 {
            self.end_group()?;
        }
        self.file.into_inner().map_err(failed)?.flush()
    }

    fn end_group(&mut self) -> io::Result<()> {
        let columns = std::mem::take(&mut self.group).columns;
        let mut group = self.file.next_row_group().map_err(failed)?;
        for column in columns {
            let mut to = group
                .next_column()
                .map_err(failed)?
                .ok_or_else(|| io::Error::other("a row has more values than there are columns"))?;
            match column {
                Column::Integers(values) => to.typed::<Int64Type>().write_batch(&values, None, None),
                Column::Quantities(values) => to
                    .typed::<FixedLenByteArrayType>()
                    .write_batch(&values, None, None),
                Column::Texts(texts) => {
                    let (values, present) = texts.values();
                    to.typed::<ByteArrayType>()
                        .write_batch(&values, Some(&present), None)
                }
            }
            .map_err(failed)?;
            to.close().map_err(failed)?;
        }
        group.close().map(drop).map_err(failed)
    }
}

/// The rows of a group, column by column.
#[derive(Default)]
struct Columns {
    rows: usize,
    columns: Vec<Column>,
}

enum Column {
    Integers(Vec<i64>),
    Quantities(Vec<FixedLenByteArray>),
    Texts(Texts),
}

/// Texts, one after the other in one piece of memory.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// Those that are not empty, and where there are some: an empty one is null.
    fn values(self) -> (Vec<ByteArray>, Vec<i16>) {
        let bytes = Bytes::from(self.bytes);
        let (mut values, mut present) = (Vec::new(), Vec::with_capacity(self.ends.len()));
        let mut start = 0;
        for end in self.ends {
            if start < end {
                values.push(ByteArray::from(bytes.slice(start..end)));
            }
            present.push(i16::from(start < end));
            start = end;
        }
        (values, present)
    }
}

enum Value<'a> {
    Integer(i64),
    Quantity(i128),
    Text(&'a str),
}

impl Columns {
    fn push(&mut self, row: &Flat) -> io::Result<()> {
        let instant = |instant: jiff::Timestamp| {
            i64::try_from(instant.as_nanosecond())
                .map(Value::Integer)
                .map_err(|_| {
                    io::Error::other(format!(
                        "row {} tells of {instant}, and Parquet's times end with the year 2262: write it as CSV",
                        row.seq
                    ))
                })
        };
        let hash = row.hash.to_string();
        let values = [
            Value::Integer(row.seq),
            Value::Text(&row.source),
            Value::Text(&row.cluster),
            Value::Text(&row.native_key),
            Value::Text(row.meter),
            Value::Integer(i64::from(row.revision)),
            Value::Text(&row.tenant),
            Value::Text(&row.allocation),
            Value::Text(&row.person),
            Value::Text(row.activity),
            Value::Text(&row.activity_reason),
            Value::Quantity(row.quantity),
            Value::Text(row.unit),
            instant(row.start)?,
            instant(row.end)?,
            Value::Text(&row.evidence),
            instant(row.received)?,
            Value::Text(&hash),
        ];
        if self.columns.is_empty() {
            self.columns = values
                .iter()
                .map(|value| match value {
                    Value::Integer(_) => Column::Integers(Vec::new()),
                    Value::Quantity(_) => Column::Quantities(Vec::new()),
                    Value::Text(_) => Column::Texts(Texts::default()),
                })
                .collect();
        }
        for (column, value) in self.columns.iter_mut().zip(values) {
            match (column, value) {
                (Column::Integers(all), Value::Integer(one)) => all.push(one),
                (Column::Quantities(all), Value::Quantity(one)) => {
                    all.push(FixedLenByteArray::from(one.to_be_bytes().to_vec()));
                }
                (Column::Texts(all), Value::Text(one)) => all.push(one),
                _ => return Err(io::Error::other("a column has values of two kinds")),
            }
        }
        self.rows += 1;
        Ok(())
    }
}

/// What the file itself said, where it was the file.
fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

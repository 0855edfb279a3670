//! The rows of the tables, gathered column by column.

use std::fs::File;
use std::sync::{Arc, LazyLock};

use arrow_array::builder::{
    BinaryBuilder, StringBuilder, TimestampNanosecondBuilder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::event::{ConnectionId, Direction, Timestamp, View};
use crate::fleet::origin::Origin;

/// The columns of a table: name, type, and whether a value may be missing.
type Columns<const N: usize> = [(&'static str, DataType, bool); N];

/// What says where a row comes from, at the beginning of each table.
const ORIGIN: Columns<5> = [
    ("site", DataType::Utf8, false),
    ("host", DataType::Utf8, false),
    ("run", DataType::Utf8, false),
    ("worker", DataType::UInt32, false),
    ("conn", DataType::UInt64, false),
];

static CONNECTIONS: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    schema([
        ("client", DataType::Utf8, false),
        ("server", DataType::Utf8, true),
        ("target", DataType::Utf8, false),
        ("process", DataType::Utf8, true),
        ("pid", DataType::UInt32, true),
        ("opened", time(), false),
        ("connected", time(), true),
        ("closed", time(), false),
        ("reason", DataType::Utf8, false),
        ("closed_by", DataType::Utf8, true),
        ("client_bytes", DataType::UInt64, false),
        ("server_bytes", DataType::UInt64, false),
        ("tls_version", DataType::Utf8, true),
        ("sni", DataType::Utf8, true),
        ("alpn", DataType::Utf8, true),
    ])
});

static CHUNKS: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    schema([
        ("time", time(), false),
        ("side", DataType::Utf8, false),
        ("view", DataType::Utf8, false),
        ("offset", DataType::UInt64, false),
        ("len", DataType::UInt64, false),
        ("data", DataType::Binary, false),
    ])
});

/// Nanoseconds, in UTC.
const fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

fn schema<const N: usize>(columns: Columns<N>) -> Arc<Schema> {
    let columns = ORIGIN.into_iter().chain(columns);
    let field = |(name, kind, may_be_missing)| Field::new(name, kind, may_be_missing);
    Arc::new(Schema::new(columns.map(field).collect::<Vec<_>>()))
}

/// A connection that has closed.
#[derive(Clone, Debug)]
pub(super) struct ConnectionRow<'a> {
    pub(super) conn: ConnectionId,
    pub(super) client: String,
    pub(super) server: Option<String>,
    pub(super) target: &'a str,
    pub(super) process: Option<(&'a str, u32)>,
    pub(super) opened: Timestamp,
    pub(super) connected: Option<Timestamp>,
    pub(super) closed: Timestamp,
    pub(super) reason: &'static str,
    pub(super) closed_by: Option<&'static str>,
    pub(super) bytes: [u64; 2],
    /// Version, server name, protocol.
    pub(super) tls: [Option<&'a str>; 3],
}

/// Bytes that a connection carried.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkRow<'a> {
    pub(super) conn: ConnectionId,
    pub(super) time: Timestamp,
    pub(super) direction: Direction,
    pub(super) view: View,
    pub(super) offset: u64,
    pub(super) data: &'a [u8],
}

/// The columns that say where a row comes from.
#[derive(Default)]
struct OriginColumns {
    site: StringBuilder,
    host: StringBuilder,
    run: StringBuilder,
    worker: UInt32Builder,
    conn: UInt64Builder,
}

impl OriginColumns {
    fn push(&mut self, origin: &Origin, conn: ConnectionId) {
        self.site.append_value(&origin.site);
        self.host.append_value(&origin.host);
        self.run.append_value(&origin.run);
        self.worker.append_value(origin.worker);
        self.conn.append_value(conn.0);
    }

    fn finish(&mut self) -> [ArrayRef; 5] {
        [
            Arc::new(self.site.finish()),
            Arc::new(self.host.finish()),
            Arc::new(self.run.finish()),
            Arc::new(self.worker.finish()),
            Arc::new(self.conn.finish()),
        ]
    }
}

/// A column of times.
#[derive(Default)]
struct Times(TimestampNanosecondBuilder);

impl Times {
    fn push(&mut self, time: Option<Timestamp>) {
        self.0.append_option(time.map(|time| i64::try_from(time.0).unwrap_or(i64::MAX)));
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Rows of the table `connections`.
#[derive(Default)]
pub(super) struct Connections {
    origin: OriginColumns,
    client: StringBuilder,
    server: StringBuilder,
    target: StringBuilder,
    process: StringBuilder,
    pid: UInt32Builder,
    opened: Times,
    connected: Times,
    closed: Times,
    reason: StringBuilder,
    closed_by: StringBuilder,
    client_bytes: UInt64Builder,
    server_bytes: UInt64Builder,
    tls: [StringBuilder; 3],
}

impl Connections {
    pub(super) fn push(&mut self, origin: &Origin, row: ConnectionRow<'_>) {
        self.origin.push(origin, row.conn);
        self.client.append_value(row.client);
        self.server.append_option(row.server);
        self.target.append_value(row.target);
        self.process.append_option(row.process.map(|(name, _)| name));
        self.pid.append_option(row.process.map(|(_, pid)| pid));
        self.opened.push(Some(row.opened));
        self.connected.push(row.connected);
        self.closed.push(Some(row.closed));
        self.reason.append_value(row.reason);
        self.closed_by.append_option(row.closed_by);
        self.client_bytes.append_value(row.bytes[0]);
        self.server_bytes.append_value(row.bytes[1]);
        for (column, fact) in self.tls.iter_mut().zip(row.tls) {
            column.append_option(fact);
        }
    }

    /// Writes all rows into a file.
    pub(super) fn write(&mut self, file: File) -> Result<(), ParquetError> {
        let mut columns = self.origin.finish().to_vec();
        columns.push(Arc::new(self.client.finish()));
        columns.push(Arc::new(self.server.finish()));
        columns.push(Arc::new(self.target.finish()));
        columns.push(Arc::new(self.process.finish()));
        columns.push(Arc::new(self.pid.finish()));
        columns.extend([self.opened.finish(), self.connected.finish(), self.closed.finish()]);
        columns.push(Arc::new(self.reason.finish()));
        columns.push(Arc::new(self.closed_by.finish()));
        columns.push(Arc::new(self.client_bytes.finish()));
        columns.push(Arc::new(self.server_bytes.finish()));
        for column in &mut self.tls {
            columns.push(Arc::new(column.finish()));
        }
        write(&CONNECTIONS, columns, file)
    }
}

/// Rows of the table `chunks`.
#[derive(Default)]
pub(super) struct Chunks {
    origin: OriginColumns,
    time: Times,
    side: StringBuilder,
    view: StringBuilder,
    offset: UInt64Builder,
    len: UInt64Builder,
    data: BinaryBuilder,
}

impl Chunks {
    pub(super) fn push(&mut self, origin: &Origin, row: ChunkRow<'_>) {
        self.origin.push(origin, row.conn);
        self.time.push(Some(row.time));
        self.side.append_value(row.direction.sender().name());
        self.view.append_value(row.view.name());
        self.offset.append_value(row.offset);
        self.len.append_value(row.data.len() as u64);
        self.data.append_value(row.data);
    }

    /// Writes all rows into a file.
    pub(super) fn write(&mut self, file: File) -> Result<(), ParquetError> {
        let mut columns = self.origin.finish().to_vec();
        columns.push(self.time.finish());
        columns.push(Arc::new(self.side.finish()));
        columns.push(Arc::new(self.view.finish()));
        columns.push(Arc::new(self.offset.finish()));
        columns.push(Arc::new(self.len.finish()));
        columns.push(Arc::new(self.data.finish()));
        write(&CHUNKS, columns, file)
    }
}

fn write(schema: &Arc<Schema>, columns: Vec<ArrayRef>, file: File) -> Result<(), ParquetError> {
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let rows = RecordBatch::try_new(Arc::clone(schema), columns)?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties))?;
    writer.write(&rows)?;
    writer.close().map(drop)
}

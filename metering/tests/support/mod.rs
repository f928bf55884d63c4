//! What the tests bill: the tenants, tariffs and pool of `examples/`, and records by hand.
#![allow(dead_code, reason = "each test file uses its own part")]

use jiff::Timestamp;
use mesocentre_api::{CostPoolSpec, Meter, TariffSpec, TenantCategory};
use mesocentre_metering::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub fn at(instant: &str) -> Timestamp {
    instant.parse().unwrap()
}

/// A file that reviewers have read.
pub fn golden_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Is it what reviewers have read?
pub fn golden(name: &str, written: &[u8]) {
    let file = golden_file(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, written).unwrap();
    }
    let kept = std::fs::read(&file).unwrap_or_default();
    assert!(
        kept == written,
        "{name} is another. If that is meant, run UPDATE_GOLDEN=1 cargo test -p mesocentre-metering, and read the \
         difference"
    );
}

/// The objects of a kind in examples/70-billing.yaml, by name.
fn example<T: serde::de::DeserializeOwned>(kind: &str) -> Vec<(String, T)> {
    let yaml = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/70-billing.yaml"
    ))
    .unwrap();
    serde_yaml::Deserializer::from_str(&yaml)
        .map(|document| serde_yaml::Value::deserialize(document).unwrap())
        .filter(|object| object["kind"] == kind)
        .map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            (name, serde_yaml::from_value(object["spec"].clone()).unwrap())
        })
        .collect()
}

pub fn example_tariffs() -> Vec<NamedTariff> {
    example::<TariffSpec>("Tariff")
        .into_iter()
        .map(|(name, spec)| NamedTariff { name, spec })
        .collect()
}

pub fn example_pools() -> Vec<NamedPool> {
    example::<CostPoolSpec>("CostPool")
        .into_iter()
        .map(|(name, spec)| NamedPool { name, spec })
        .collect()
}

pub fn tenants() -> Vec<RatedTenant> {
    [
        ("univ-caen", TenantCategory::University),
        ("chu-rouen", TenantCategory::PublicService),
        ("nova-motors", TenantCategory::PrivateClient),
    ]
    .map(|(name, category)| RatedTenant {
        name: name.to_owned(),
        category,
    })
    .to_vec()
}

/// The examples' month, tariffs and pool.
pub fn basis(month: &str) -> RatingBasis {
    RatingBasis {
        month: month.parse().unwrap(),
        time_zone: "Europe/Paris".to_owned(),
        tenants: tenants(),
        tariffs: example_tariffs(),
        cost_pools: example_pools(),
        co_investments: Vec::new(),
        acknowledged_gaps: Vec::new(),
    }
}

/// The same without the pool, where it would only be in the way.
pub fn basis_without_pools(month: &str) -> RatingBasis {
    RatingBasis {
        cost_pools: Vec::new(),
        co_investments: Vec::new(),
        ..basis(month)
    }
}

pub fn record(native_key: &str, tenant: &str, quantity: i128, start: &str, end: &str) -> UsageRecord {
    UsageRecord {
        key: RecordKey {
            source: "slurm".to_owned(),
            cluster: "austral".to_owned(),
            native_key: native_key.to_owned(),
            meter: Meter::ComputeCoreHours,
            revision: 0,
        },
        tenant: tenant.to_owned(),
        allocation: Some("climate-2026".to_owned()),
        user: Some("alice".to_owned()),
        activity: Activity::NonEconomic,
        activity_reason: "category University".to_owned(),
        quantity,
        start: at(start),
        end: at(end),
        evidence: BTreeMap::from([("state".to_owned(), "COMPLETED".to_owned())]),
    }
}

pub fn with_meter(mut record: UsageRecord, meter: Meter) -> UsageRecord {
    record.key.meter = meter;
    record
}

pub fn revised(mut record: UsageRecord, revision: u32, quantity: i128) -> UsageRecord {
    record.key.revision = revision;
    record.quantity = quantity;
    record
}

/// Rates records without a ledger.
pub fn rate(basis: &RatingBasis, records: &[UsageRecord]) -> Rated {
    let mut rating = Rating::new(basis).unwrap();
    for record in records {
        rating.add_use(&ValidRecord::try_from(record.clone()).unwrap());
    }
    let head = Head {
        seq: 0,
        hash: Digest::ZERO,
    };
    rating.finish(
        mesocentre_api::StatementState::Provisional,
        &head,
        &Default::default(),
    )
}

pub fn statement<'a>(rated: &'a Rated, tenant: &str) -> &'a mesocentre_api::StatementStatus {
    &rated
        .statements
        .iter()
        .find(|statement| statement.tenant == tenant)
        .unwrap_or_else(|| panic!("{tenant} has no statement: {:?}", rated.faults))
        .status
}

/// The stack's PostgreSQL, and whether ledgers are made there and not in files: `cargo dev test` runs the tests twice.
const POSTGRES: &str = "MESO_TEST_POSTGRES";
const IN_POSTGRES: &str = "MESO_TEST_LEDGERS_IN_POSTGRES";

pub struct TestLedger {
    pub folder: tempfile::TempDir,
    /// The URL with all that it takes to log in, for another process.
    pub address: String,
    pub url: LedgerUrl,
    pub ledger: Ledger,
}

impl TestLedger {
    pub async fn new() -> Self {
        match std::env::var(IN_POSTGRES) {
            Ok(_) => Self::in_postgres().await,
            Err(_) => Self::in_a_file().await,
        }
    }

    pub async fn in_a_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("sqlite://{}/ledger.db", folder.path().display());
        Self::at(folder, address).await
    }

    /// In a schema of its own, with a head file in a folder of its own.
    pub async fn in_postgres() -> Self {
        use sqlx::{Connection as _, Executor as _};
        let server = std::env::var(POSTGRES).unwrap_or_else(|_| {
            panic!("{POSTGRES} is not set: `cargo dev up`, then eval \"$(cargo dev env)\"")
        });
        let folder = tempfile::tempdir().unwrap();
        let schema = folder.path().file_name().unwrap().to_str().unwrap();
        let schema = format!("t_{}", schema.trim_start_matches('.').to_lowercase());
        let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
        let makes = format!("CREATE SCHEMA {schema}");
        connection.execute(sqlx::AssertSqlSafe(makes)).await.unwrap();
        connection.close().await.unwrap();
        let head = folder.path().join("ledger.head");
        let address = format!(
            "{server}&options=-csearch_path%3D{schema}&head-file={}",
            head.display()
        );
        Self::at(folder, address).await
    }

    async fn at(folder: tempfile::TempDir, address: String) -> Self {
        let url: LedgerUrl = address.parse().unwrap();
        let ledger = Ledger::open(&url).await.unwrap();
        Self {
            folder,
            address,
            url,
            ledger,
        }
    }

    pub fn is_in_postgres(&self) -> bool {
        self.url.file().is_none()
    }

    /// The address for sqlx itself.
    fn postgres(&self) -> &str {
        self.address.split("&head-file=").next().unwrap()
    }

    pub async fn append(&self, records: &[UsageRecord]) -> Appended {
        self.ledger
            .append(records, at("2026-12-01T08:00:00Z"))
            .await
            .unwrap()
    }

    /// Runs SQL behind the ledger's back, as somebody with the file and `sqlite3` could, or with the password and `psql`.
    /// What SQLite alone understands is written for PostgreSQL here.
    pub async fn behind_its_back(&self, sql: &str) -> Result<u64, DatabaseError> {
        use sqlx::{Connection as _, Executor as _};
        if self.is_in_postgres() {
            let mut connection = sqlx::PgConnection::connect(self.postgres()).await?;
            let done = connection.execute(sqlx::AssertSqlSafe(for_postgres(sql))).await?;
            connection.close().await?;
            return Ok(done.rows_affected());
        }
        let connection = rusqlite::Connection::open(self.url.file().unwrap())?;
        let before = connection.total_changes();
        connection.execute_batch(sql)?;
        Ok(connection.total_changes() - before)
    }

    /// A row as text, to see that nothing moved.
    pub async fn dump(&self, table: &str) -> Vec<String> {
        use rusqlite::types::ValueRef;
        use sqlx::Connection as _;
        if self.is_in_postgres() {
            let mut connection = sqlx::PgConnection::connect(self.postgres()).await.unwrap();
            let asks = format!("SELECT t::text FROM {table} t ORDER BY 1");
            let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(asks))
                .fetch_all(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
            return rows;
        }
        let connection = rusqlite::Connection::open(self.url.file().unwrap()).unwrap();
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        statement
            .query_map([], |row| {
                let values: Vec<String> = (0..columns)
                    .map(|place| match row.get_ref(place)? {
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(bytes.escape_ascii().to_string()),
                        other => Ok(format!("{other:?}")),
                    })
                    .collect::<Result<_, rusqlite::Error>>()?;
                Ok(values.join("|"))
            })
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }
}

/// SQLite's SQL of these tests as PostgreSQL's: bytes are written otherwise, and a trigger is dropped from its table.
fn for_postgres(sql: &str) -> String {
    let zeros = format!("'\\x{}'::bytea", "00".repeat(32));
    let sql = sql
        .replace("zeroblob(32)", &zeros)
        .replace("x'7b7d'", "'\\x7b7d'::bytea")
        .replace("CAST(statements AS TEXT)", "convert_from(statements, 'UTF8')")
        .replace("CAST(document AS TEXT)", "convert_from(document, 'UTF8')")
        .replace(" AS BLOB)", ", 'UTF8')")
        .replace("CAST(replace(", "convert_to(replace(");
    let statements = sql.split_inclusive(';').map(|statement| {
        let Some(name) = statement.trim().strip_prefix("DROP TRIGGER ") else {
            return statement.to_owned();
        };
        let name = name.trim_end_matches(';');
        let (table, _) = name.split_once("_refuses_").unwrap();
        format!("DROP TRIGGER {name} ON {table};")
    });
    statements.collect()
}

/// Who bills in the tests. Its numbers fit, and are nobody's.
pub fn seller() -> invoice::Seller {
    use invoice::*;
    Seller {
        name: "Mésocentre de Normandie".to_owned(),
        legal_form: "GIP".to_owned(),
        siret: "130000003 00017".to_owned(),
        vat_number: "FR 75 130000003".to_owned(),
        address: Address {
            street: "Esplanade de la Paix".to_owned(),
            postal_code: "14000".to_owned(),
            city: "Caen".to_owned(),
            country_code: "FR".to_owned(),
        },
        electronic_address: ElectronicAddress::Directory("130000003".to_owned()),
        account: Some(BankAccount {
            iban: "FR76 3000 1007 9412 3456 7890 185".to_owned(),
            bic: Some("BDFEFRPPCCT".to_owned()),
        }),
    }
}

pub fn university() -> invoice::Buyer {
    use invoice::*;
    Buyer {
        name: "Université de Caen Normandie".to_owned(),
        kind: BuyerKind::Public,
        siret: "19141408500016".to_owned(),
        vat_number: None,
        address: Address {
            street: "Esplanade de la Paix, CS 14032".to_owned(),
            postal_code: "14032".to_owned(),
            city: "Caen Cedex 5".to_owned(),
            country_code: "FR".to_owned(),
        },
        electronic_address: ElectronicAddress::Directory("191414085_CALCUL".to_owned()),
        service_code: Some("CALCUL".to_owned()),
        service_code_required: true,
        engagement_number: Some("4500012345".to_owned()),
        engagement_required: false,
        contract: Some("CONV-2026-014".to_owned()),
    }
}

pub fn company() -> invoice::Buyer {
    use invoice::*;
    Buyer {
        name: "Nova Motors & Fils <SAS>".to_owned(),
        kind: BuyerKind::Business,
        siret: "12345678200010".to_owned(),
        vat_number: Some("FR11123456782".to_owned()),
        address: Address {
            street: "12, rue de l'Industrie".to_owned(),
            postal_code: "76000".to_owned(),
            city: "Rouen".to_owned(),
            country_code: "FR".to_owned(),
        },
        electronic_address: ElectronicAddress::Email("factures@nova-motors.example".to_owned()),
        service_code: None,
        service_code_required: false,
        engagement_number: None,
        engagement_required: false,
        contract: None,
    }
}

pub fn terms(payment_days: u32) -> invoice::Terms {
    invoice::Terms {
        payment_days,
        exemption: None,
        replaces: None,
        account: invoice::Account::default(),
    }
}

/// The statement of a tenant in a closed month.
pub async fn closed_statement(ledger: &Ledger, basis: &RatingBasis, tenant: &str) -> TenantStatement {
    let closed = close_month(ledger, basis, at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    let document: MonthDocument = serde_json::from_slice(&closed.statements).unwrap();
    document
        .statements
        .into_iter()
        .find(|statement| statement.tenant == tenant)
        .unwrap()
}

/// A ledger with the November of three tenants: compute, storage, tiers; with the examples' pool they share costs.
pub async fn month_of_three() -> TestLedger {
    let november = |key: &str, tenant: &str, meter, quantity| {
        let used = record(
            key,
            tenant,
            quantity,
            "2026-11-10T10:00:00Z",
            "2026-11-20T11:00:00Z",
        );
        with_meter(used, meter)
    };
    let stored = (1 << 30) * 86_400 * 30 * 2_500 + 12_345;
    let test = TestLedger::new().await;
    test.append(&[
        november("1", "univ-caen", Meter::ComputeCoreHours, 1_234_567_890),
        november("2", "univ-caen", Meter::ComputeGpuHours, 7_201),
        november("3", "univ-caen", Meter::StorageGibMonths, stored),
        november("4", "nova-motors", Meter::ComputeCoreHours, 50_000_000),
    ])
    .await;
    test
}

//! What operators and auditors see of a store.

use std::sync::Arc;
use std::time::Instant;

use lanyard_party::{Act, Report, StoreKey, TRAIL_PAGE, TrailSource};
use lanyard_telemetry::{Telemetry, metrics};

use crate::{AuditEntry, AuditTrail, Location, Owner, QUICK_TIMEOUT, Schema, Store, StoreError};

/// Bytes of the hash that stands for a subject in the audit stream.
const OBJECT: usize = 12;

impl Store {
    /// Shows how the store does; not ready while it does not answer.
    pub fn observe(&self, telemetry: &Telemetry) {
        let store = self.clone();
        telemetry.condition("store", move || {
            let store = store.clone();
            async move { store.probe().await.map_err(|error| error.to_string()) }
        });
        let pool = self.pool.clone();
        telemetry.collect_now(move || {
            let (all, idle) = (pool.size() as usize, pool.num_idle());
            metrics::STORE_CONNECTIONS.of(["idle"]).set(idle as f64);
            metrics::STORE_CONNECTIONS.of(["busy"]).set(all.saturating_sub(idle) as f64);
        });
    }

    /// Shows how many rows there are of something, as `sql` counts them, whenever somebody looks.
    pub fn observe_count(
        &self,
        telemetry: &Telemetry,
        gauge: impl Fn(f64) + Send + Sync + 'static,
        sql: &'static str,
    ) {
        let (pool, gauge) = (self.pool.clone(), Arc::new(gauge));
        telemetry.collect(move || {
            let (pool, gauge) = (pool.clone(), Arc::clone(&gauge));
            async move {
                match sqlx::query_as::<_, (i64,)>(sql).fetch_one(&pool).await {
                    Ok((count,)) => gauge(count as f64),
                    Err(error) => tracing::debug!(%error, "not counted"),
                }
            }
        });
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let _: (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM schema_version").fetch_one(self.pool()).await?;
        metrics::STORE_PROBE.of([]).set(asked.elapsed().as_secs_f64());
        Ok(())
    }

    /// Looks at the store at `location` as starting would, without making or changing anything: that it answers, that it keeps
    /// what it acknowledges, that it is `owner`'s, and that its schema is one that this program knows. Returns whether its
    /// schema is this program's.
    pub async fn inspect(
        location: &Location,
        owner: &Owner,
        schema: &Schema,
        report: &mut Report,
    ) -> bool {
        let item = "store";
        match inspect(location, owner, schema).await {
            Ok(0) => report.good(item, "nothing there yet; the first start makes it"),
            Ok(found) if found < schema.version() => report.warning(
                item,
                format!(
                    "schema version {found}, brought to {} at start: back it up first",
                    schema.version()
                ),
            ),
            Ok(found) => {
                report.good(item, format!("answers, schema version {found}"));
                return true;
            }
            Err(error) => report.refused(item, &error),
        }
        false
    }
}

/// The version of a store that is good; 0 if it is not there, or empty.
async fn inspect(location: &Location, owner: &Owner, schema: &Schema) -> Result<i64, StoreError> {
    location.check_folder()?;
    if location.file().is_some_and(|file| !file.exists()) {
        return Ok(0);
    }
    let location = location.read_only();
    location.reach().await?;
    let pool = location.pool(1, QUICK_TIMEOUT)?;
    let inspected = async {
        location.engine.refuse_unguarded(&pool).await?;
        owner.recorded(&pool).await?;
        schema.known_version(&pool).await
    };
    let inspected = inspected.await;
    pool.close().await;
    inspected
}

/// Reads a store's trail for the audit stream, subjects as hashes under the party's own key.
#[must_use]
pub fn trail_source(store: &Store, key: &Arc<StoreKey>) -> TrailSource {
    let (pool, key) = (store.pool().clone(), Arc::clone(key));
    Arc::new(move |after| {
        let (pool, key) = (pool.clone(), Arc::clone(&key));
        Box::pin(async move {
            let entries = AuditTrail::list(&pool, None, after, TRAIL_PAGE).await;
            let entries = entries.map_err(|error| error.to_string())?;
            Ok(entries.into_iter().map(|entry| act(entry, &key)).collect())
        })
    })
}

fn act(entry: AuditEntry, key: &StoreKey) -> Act {
    let hash = key.local_hash("audit stream object", entry.subject.as_bytes());
    Act {
        sequence: entry.sequence,
        time: entry.time,
        operator: entry.operator,
        action: entry.action,
        object: hex::encode(&hash[..OBJECT]),
        change: entry.change_id,
    }
}

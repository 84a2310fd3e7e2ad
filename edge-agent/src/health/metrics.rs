//! Counters and gauges for Prometheus, prefix `alpr_`, base units.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Every number that the agent counts. One counter for each drop, stall, retry and fallback.
#[derive(Debug)]
#[allow(missing_docs, reason = "each field's meaning is its help text in `registry`")]
pub struct Metrics {
    pub capture_suspended: Gauge,
    pub frames: Counter,
    pub frames_dropped: Counter,
    pub frames_still: Counter,
    pub frames_failed: Counter,
    pub pipeline_rebuilds: Counter,
    pub detections: Counter,
    pub readings: Counter,
    pub detect_seconds: Histogram,
    pub read_seconds: Histogram,
    pub reads: Counter,
    pub unread_passes: Counter,
    pub evidence_withheld: Counter,
    /// Finished passes that could never be kept, or not before the stop.
    pub passes_lost: Counter,
    pub alerts: Counter,
    pub alerts_lost: Counter,
    pub alert_previews: Counter,
    pub reads_dropped: Counter,
    pub alerts_muted: Counter,
    pub dispositions: Family<Vec<(String, String)>, Counter>,
    pub dispositions_ignored: Counter,
    pub confusions: Family<Vec<(String, String)>, Counter>,
    pub lists_refused: Counter,
    pub list_source: Family<Vec<(String, String)>, Gauge>,
    pub list_entries: Family<Vec<(String, String)>, Gauge>,
    pub outbox_records: Gauge,
    pub outbox_held_records: Gauge,
    pub outbox_photo_bytes: Gauge,
    pub outbox_store_bytes: Gauge,
    pub outbox_oldest_record_seconds: Gauge,
    pub outbox_evictions: Counter,
    pub keys_destroyed: Counter,
    pub photos_purged: Counter,
    pub uplink_connected: Gauge,
    pub uplink_connections: Counter,
    pub uplink_published: Counter,
    pub uplink_resent: Counter,
    pub uplink_refused_oversize: Counter,
    pub uplink_event_bytes: Counter,
    pub uplink_close_up_bytes: Counter,
    pub uplink_context_bytes: Counter,
    pub uplink_held_back_messages: Gauge,
    pub uplink_held_back_bytes: Gauge,
    pub uplink_backlog_records: Gauge,
    pub uplink_backlog_events: Counter,
    pub uplink_takeovers: Counter,
    pub certificate_expiry: Family<[(&'static str, &'static str); 1], Gauge>,
    pub receipts: Counter,
    pub receipts_ignored: Counter,
    pub commands: Counter,
    pub commands_ignored: Counter,
    pub frames_per_second: Gauge<f64, AtomicU64>,
    pub process_resident_bytes: Gauge,
    pub process_open_fds: Gauge,
    pub process_threads: Gauge,
    pub clock_steps: Counter,
    pub time_corrections: Counter,
    pub local_connections: Gauge,
    pub local_connections_evicted: Counter,
    pub local_connections_refused: Counter,
}

/// Inference times: 0.5 ms to about 0.5 s.
fn stage_seconds() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            capture_suspended: Gauge::default(),
            frames: Counter::default(),
            frames_dropped: Counter::default(),
            frames_still: Counter::default(),
            frames_failed: Counter::default(),
            pipeline_rebuilds: Counter::default(),
            detections: Counter::default(),
            readings: Counter::default(),
            detect_seconds: stage_seconds(),
            read_seconds: stage_seconds(),
            reads: Counter::default(),
            unread_passes: Counter::default(),
            evidence_withheld: Counter::default(),
            passes_lost: Counter::default(),
            alerts: Counter::default(),
            alerts_lost: Counter::default(),
            alert_previews: Counter::default(),
            reads_dropped: Counter::default(),
            alerts_muted: Counter::default(),
            dispositions: Family::default(),
            dispositions_ignored: Counter::default(),
            confusions: Family::default(),
            lists_refused: Counter::default(),
            list_source: Family::default(),
            list_entries: Family::default(),
            outbox_records: Gauge::default(),
            outbox_held_records: Gauge::default(),
            outbox_photo_bytes: Gauge::default(),
            outbox_store_bytes: Gauge::default(),
            outbox_oldest_record_seconds: Gauge::default(),
            outbox_evictions: Counter::default(),
            keys_destroyed: Counter::default(),
            photos_purged: Counter::default(),
            uplink_connected: Gauge::default(),
            uplink_connections: Counter::default(),
            uplink_published: Counter::default(),
            uplink_resent: Counter::default(),
            uplink_refused_oversize: Counter::default(),
            uplink_event_bytes: Counter::default(),
            uplink_close_up_bytes: Counter::default(),
            uplink_context_bytes: Counter::default(),
            uplink_held_back_messages: Gauge::default(),
            uplink_held_back_bytes: Gauge::default(),
            uplink_backlog_records: Gauge::default(),
            uplink_backlog_events: Counter::default(),
            uplink_takeovers: Counter::default(),
            certificate_expiry: Family::default(),
            receipts: Counter::default(),
            receipts_ignored: Counter::default(),
            commands: Counter::default(),
            commands_ignored: Counter::default(),
            frames_per_second: Gauge::default(),
            process_resident_bytes: Gauge::default(),
            process_open_fds: Gauge::default(),
            process_threads: Gauge::default(),
            clock_steps: Counter::default(),
            time_corrections: Counter::default(),
            local_connections: Gauge::default(),
            local_connections_evicted: Counter::default(),
            local_connections_refused: Counter::default(),
        }
    }
}

impl Metrics {
    /// A registry that shares these numbers, ready to be encoded.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let mut r = Registry::with_prefix("alpr");
        let mut counter = |name: &str, help: &str, c: &Counter| r.register(name, help, c.clone());
        counter("frames", "Frames taken from the camera", &self.frames);
        counter(
            "frames_dropped",
            "Frames dropped because detection was behind",
            &self.frames_dropped,
        );
        counter("frames_still", "Frames not looked at because nothing moved", &self.frames_still);
        counter("frames_failed", "Frames that detection or reading failed on", &self.frames_failed);
        counter("pipeline_rebuilds", "Capture pipelines rebuilt", &self.pipeline_rebuilds);
        counter("detections", "Plates found in frames", &self.detections);
        counter("readings", "Plates read in frames", &self.readings);
        counter("reads", "Passes that ended in a read", &self.reads);
        counter("unread_passes", "Passes whose plate could not be read", &self.unread_passes);
        counter(
            "evidence_withheld",
            "Reads whose photos could not be bound to them",
            &self.evidence_withheld,
        );
        counter(
            "passes_lost",
            "Finished passes that could not be kept: before a stop, or at all",
            &self.passes_lost,
        );
        counter(
            "outbox_evictions",
            "Records or photos evicted to keep the caps",
            &self.outbox_evictions,
        );
        counter("keys_destroyed", "Data keys destroyed at their age", &self.keys_destroyed);
        counter(
            "photos_purged",
            "Photos deleted because their data key was destroyed",
            &self.photos_purged,
        );
        counter("uplink_connections", "Connections made to the broker", &self.uplink_connections);
        counter(
            "uplink_published",
            "Messages that the broker acknowledged",
            &self.uplink_published,
        );
        counter("uplink_resent", "Messages sent again", &self.uplink_resent);
        counter(
            "uplink_refused_oversize",
            "Messages refused for their size",
            &self.uplink_refused_oversize,
        );
        counter("uplink_event_bytes", "Bytes of events published", &self.uplink_event_bytes);
        counter(
            "uplink_close_up_bytes",
            "Bytes of plate close-ups published",
            &self.uplink_close_up_bytes,
        );
        counter(
            "uplink_context_bytes",
            "Bytes of context photos published",
            &self.uplink_context_bytes,
        );
        counter(
            "uplink_backlog_events",
            "Events of the backlog that the broker acknowledged: its rate is the drain rate",
            &self.uplink_backlog_events,
        );
        counter(
            "uplink_takeovers",
            "Connections lost to another client under this pole's name",
            &self.uplink_takeovers,
        );
        counter("receipts", "Records that the server gave a receipt for", &self.receipts);
        counter(
            "receipts_ignored",
            "Receipts that were malformed or for unknown records",
            &self.receipts_ignored,
        );
        counter("clock_steps", "Times that the machine's clock was set", &self.clock_steps);
        counter(
            "time_corrections",
            "Records whose true time was found later",
            &self.time_corrections,
        );
        counter("commands", "Commands of the server that were answered", &self.commands);
        counter("alerts", "Alerts kept, without previews", &self.alerts);
        counter("alerts_lost", "Alerts that could never be kept", &self.alerts_lost);
        counter(
            "alert_previews",
            "Alerts kept while the vehicle was still in view",
            &self.alert_previews,
        );
        counter("alerts_muted", "Matches without an alert: the entry is muted", &self.alerts_muted);
        counter(
            "alert_dispositions_ignored",
            "Dispositions that were malformed or too many at once",
            &self.dispositions_ignored,
        );
        counter(
            "reads_dropped",
            "Reads that matched no list and were not kept (lists.only_hits)",
            &self.reads_dropped,
        );
        counter("lists_refused", "Versions of alert lists that were refused", &self.lists_refused);
        counter(
            "commands_ignored",
            "Commands that were malformed or too many at once",
            &self.commands_ignored,
        );
        counter(
            "local_connections_evicted",
            "Local connections closed to make room for newer ones",
            &self.local_connections_evicted,
        );
        counter(
            "local_connections_refused",
            "Local connections refused because all others were being answered",
            &self.local_connections_refused,
        );
        let mut gauge = |name: &str, help: &str, g: &Gauge| r.register(name, help, g.clone());
        gauge("capture_suspended", "1 while capture is suspended", &self.capture_suspended);
        gauge("outbox_records", "Records waiting for the server", &self.outbox_records);
        gauge(
            "outbox_held_records",
            "Records on hold that the server has",
            &self.outbox_held_records,
        );
        gauge("outbox_photo_bytes", "Photos waiting for the server", &self.outbox_photo_bytes);
        gauge("outbox_store_bytes", "Records on disk", &self.outbox_store_bytes);
        gauge(
            "outbox_oldest_record_seconds",
            "Age of the oldest record waiting for the server",
            &self.outbox_oldest_record_seconds,
        );
        gauge("uplink_connected", "1 while connected to the broker", &self.uplink_connected);
        gauge(
            "uplink_held_back_messages",
            "Messages that wait because a lane's bytes of the hour are used up",
            &self.uplink_held_back_messages,
        );
        gauge(
            "uplink_held_back_bytes",
            "Bytes of those among them that are next to go",
            &self.uplink_held_back_bytes,
        );
        gauge(
            "uplink_backlog_records",
            "Records waiting that are not live",
            &self.uplink_backlog_records,
        );
        gauge("process_resident_bytes", "Memory of this process", &self.process_resident_bytes);
        gauge("process_open_fds", "Open files of this process", &self.process_open_fds);
        gauge("process_threads", "Threads of this process", &self.process_threads);
        gauge("local_connections", "Open local connections", &self.local_connections);
        r.register(
            "certificate_expiry_timestamp_seconds",
            "End of our certificate, the authority's, the broker's and the revocation list, Unix time",
            self.certificate_expiry.clone(),
        );
        r.register(
            "alert_dispositions",
            "What the server says became of alerts, by list and verdict",
            self.dispositions.clone(),
        );
        r.register(
            "alert_confusions",
            "Characters that incorrect reads took for others",
            self.confusions.clone(),
        );
        r.register(
            "list_source_timestamp_seconds",
            "When the entries of a list in force were taken from their source, Unix time",
            self.list_source.clone(),
        );
        r.register("list_entries", "Entries of a list in force", self.list_entries.clone());
        r.register(
            "frames_per_second",
            "Frames taken from the camera, mean of the last seconds",
            self.frames_per_second.clone(),
        );
        let mut seconds = |name: &str, help: &str, h: &Histogram| r.register(name, help, h.clone());
        seconds("detect_seconds", "Time of one detection", &self.detect_seconds);
        seconds("read_seconds", "Time of one reading", &self.read_seconds);
        r
    }
}

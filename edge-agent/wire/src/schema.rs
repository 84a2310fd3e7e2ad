//! JSON Schema (2020-12) of every message, made from the types.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{
    access::Access,
    alert::Alert,
    command::{Command, Hold, Response},
    disposition::Disposition,
    event::{Data, Event},
    health::{Heartbeat, Status},
    ledger::{Epoch, Eviction, Manifest, ManifestClaims, Restart, Salvage},
    list::{DroppedReads, ListAnnouncement, ListChange, ListRequest, ListVersion},
    mute::Mute,
    read::{Read, UnreadPass},
    receipt::Receipt,
    suspension::Suspension,
    time::{ClockStep, TimeCorrection},
};

/// Where the schemas say they live; a name, not an address that is fetched.
pub const ID_PREFIX: &str = "https://milepost.example/schema/v1/";

/// `format: uuid`.
pub(crate) fn uuid(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "format": "uuid" })
}

/// A list of uuids.
pub(crate) fn uuids(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "array", "items": { "type": "string", "format": "uuid" } })
}

/// `format: date-time`, UTC.
pub(crate) fn date_time(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "format": "date-time" })
}

/// A probability or a score, 0 to 1.
pub(crate) fn unit_interval(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
}

/// 64 lower-case hexadecimal digits.
pub(crate) fn sha256(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
}

/// One message's schema, by its file name without `.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// File name without `.json`.
    pub name: &'static str,
    /// The schema.
    pub schema: Value,
}

fn generate<T: JsonSchema>(name: &str, title: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    schema.insert("$id".into(), json!(format!("{ID_PREFIX}{name}.json")));
    schema.insert("title".into(), json!(title));
    schema.to_value()
}

fn event<T: Data + JsonSchema>(name: &'static str, title: &str) -> Named {
    let mut schema = generate::<Event<T>>(name, title);
    // The generic envelope can't know it: this schema is of one type of event.
    schema["properties"]["type"] = json!({ "const": T::TYPE, "description": "What happened." });
    let ledger = ["sequence", "epoch", "historical"];
    if T::IN_LEDGER {
        if let Some(required) = schema["required"].as_array_mut() {
            required.extend(ledger.map(Value::from));
        }
    } else if let Some(properties) = schema["properties"].as_object_mut() {
        ledger.iter().for_each(|member| drop(properties.remove(*member)));
    }
    Named { name, schema }
}

/// Every schema of the contract.
#[must_use]
pub fn all() -> Vec<Named> {
    vec![
        event::<Read>("read", "A read: the one result of a vehicle's pass"),
        event::<Alert>("alert", "An alert: a read that matches an entry of a list, to be verified"),
        event::<UnreadPass>("unread_pass", "A pass whose plate could not be read"),
        event::<Eviction>("eviction", "Records or photos that the pole had to give up"),
        event::<Epoch>("epoch", "The first record of a ledger: where it comes from"),
        event::<Salvage>("salvage", "What could still be read of a quarantined store"),
        event::<Restart>("restart", "The agent started"),
        event::<Manifest>("manifest", "The pole's signed word on a stretch of its ledger"),
        Named {
            name: "manifest_claims",
            schema: generate::<ManifestClaims>(
                "manifest_claims",
                "What a manifest's signature is over",
            ),
        },
        event::<ClockStep>("clock_step", "The pole's clock was set"),
        event::<TimeCorrection>(
            "time_correction",
            "The true time of records taken with an unsynchronised clock",
        ),
        Named {
            name: "list_announcement",
            schema: generate::<ListAnnouncement>(
                "list_announcement",
                "A new version of an alert list",
            ),
        },
        Named {
            name: "list_version",
            schema: generate::<ListVersion>("list_version", "What a list's signature is over"),
        },
        event::<ListRequest>("list_request", "The pole asks for parts of an alert list"),
        event::<Access>("access", "A person looked at what the pole holds"),
        event::<DroppedReads>("dropped_reads", "Reads that matched no list and were not kept"),
        event::<ListChange>(
            "list_change",
            "A version of an alert list came in force, or was refused",
        ),
        event::<Mute>(
            "mute",
            "An entry of an alert list is muted for a time, or gives alerts again",
        ),
        Named {
            name: "disposition",
            schema: generate::<Disposition>("disposition", "What became of an alert"),
        },
        event::<Hold>("hold", "Records were put on hold by the server, or a hold was ended"),
        event::<Suspension>("suspension", "Capture is suspended for a time, or goes on"),
        event::<Response>("response", "The pole's answer to a command"),
        Named {
            name: "command",
            schema: generate::<Command>("command", "What the server asks of a pole"),
        },
        event::<Status>("status", "Whether the pole is connected; retained"),
        event::<Heartbeat>("heartbeat", "How the pole is"),
        Named {
            name: "receipt",
            schema: generate::<Receipt>("receipt", "The server's word that it has stored records"),
        },
    ]
}

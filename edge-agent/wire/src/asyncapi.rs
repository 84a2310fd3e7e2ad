//! The AsyncAPI 3.0 document, made from the types and topics.

use serde_json::{Map, Value, json};

use crate::{
    ledger::LEDGER_TYPES,
    receipt::MAX_RECEIPT_BYTES,
    schema,
    topics::{MAX_LEVEL_CHARS, ONVIF_LICENSE_PLATE, PREFIX},
};

/// One row of the contract.
struct Channel {
    name: &'static str,
    leaf: &'static str,
    /// `send`: the pole sends; `receive`: the server sends and the pole receives.
    action: &'static str,
    /// File name of the message's schema; empty for those of [`LEDGER_TYPES`], `None` for a payload
    /// that has none.
    schema: Option<&'static str>,
    content_type: &'static str,
    retain: bool,
    qos: u8,
    summary: &'static str,
}

const fn event(
    name: &'static str,
    leaf: &'static str,
    schema: &'static str,
    summary: &'static str,
) -> Channel {
    Channel {
        name,
        leaf,
        action: "send",
        schema: Some(schema),
        content_type: "application/cloudevents+json",
        retain: false,
        qos: 1,
        summary,
    }
}

fn channels() -> [Channel; 15] {
    [
        event("reads", "reads", "read", "Every vehicle whose plate was read, once"),
        event(
            "alerts",
            "alerts",
            "alert",
            "Every match of a read with an alert list, before the read",
        ),
        event(
            "unreadPasses",
            "unread_passes",
            "unread_pass",
            "Every vehicle whose plate could not be read, with the reason",
        ),
        Channel {
            schema: None,
            content_type: "image/jpeg",
            ..event(
                "evidence",
                "evidence/{readId}/{photo}",
                "",
                "A read's photo, after its read; its SHA-256 is in the read",
            )
        },
        Channel {
            retain: true,
            ..event("status", "status", "status", "Birth, orderly stop and Last-Will")
        },
        Channel { qos: 0, ..event("health", "health", "heartbeat", "How the pole is, every 30 s") },
        event("ledger", "ledger", "", "What the pole says of itself: a message for each type"),
        Channel {
            action: "receive",
            content_type: "application/json",
            ..event(
                "receipts",
                "receipts",
                "receipt",
                "The server's word that it has durably stored records: the pole may delete them",
            )
        },
        Channel {
            action: "receive",
            content_type: "application/json",
            ..event("lists", "lists", "list_announcement", "A new version of an alert list, signed")
        },
        event("listRequests", "list_requests", "list_request", "The pole asks for parts of a list"),
        Channel {
            action: "receive",
            schema: None,
            content_type: "application/octet-stream",
            ..event("listParts", "list_parts/{requestId}/{part}", "", "A part of a list")
        },
        Channel {
            action: "receive",
            content_type: "application/json",
            ..event("dispositions", "dispositions", "disposition", "What became of an alert")
        },
        Channel {
            action: "receive",
            content_type: "application/json",
            ..event("commands", "commands", "command", "What the server asks of the pole")
        },
        event("responses", "responses", "response", "The pole's answer to a command"),
        Channel {
            schema: None,
            content_type: "application/json",
            ..event(
                "onvif",
                ONVIF_LICENSE_PLATE,
                "",
                "The read as an ONVIF Profile M event, where the pole is configured so",
            )
        },
    ]
}

fn parameters(leaf: &str) -> Value {
    let name = format!("1 to {MAX_LEVEL_CHARS} of A-Z a-z 0-9 and '-'");
    let mut map = Map::new();
    for level in ["agency", "site", "camera"] {
        map.insert(level.into(), json!({ "description": name }));
    }
    if leaf.contains("{requestId}") {
        let request = json!({ "description": "The request's id, lower-case UUID" });
        map.insert("requestId".into(), request);
        map.insert("part".into(), json!({ "description": "Which part, from 0" }));
    }
    if leaf.contains("{readId}") {
        map.insert("readId".into(), json!({ "description": "The read's id, lower-case UUID" }));
        map.insert(
            "photo".into(),
            json!({ "enum": ["plate", "context"], "description": "Which of its two photos" }),
        );
    }
    map.into()
}

/// The messages of a channel: (name, title, payload).
fn messages(c: &Channel) -> Vec<(String, &'static str, Value)> {
    let by_schema = |file: &str| {
        json!({
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": { "$ref": format!("schema/{file}.json") },
        })
    };
    let payload = match c.schema {
        Some("") => {
            let types = LEDGER_TYPES.iter();
            return types.map(|(n, meaning)| ((*n).into(), *meaning, by_schema(n))).collect();
        }
        Some(file) => by_schema(file),
        None if ["evidence", "listParts"].contains(&c.name) => {
            json!({ "type": "string", "format": "binary" })
        }
        None => json!({ "type": "object" }),
    };
    vec![(c.name.into(), c.summary, payload)]
}

/// The document. Message payloads refer to the schema files beside it.
#[must_use]
pub fn document() -> Value {
    let (mut channels_out, mut operations) = (Map::new(), Map::new());
    for c in channels() {
        let messages = messages(&c);
        let described = messages.iter().map(|(name, title, payload)| {
            let message = json!({
                "name": name,
                "title": title,
                "contentType": c.content_type,
                "payload": payload,
            });
            (name.clone(), message)
        });
        let described: Map<_, _> = described.collect();
        let references = messages
            .iter()
            .map(|(name, ..)| json!({ "$ref": format!("#/channels/{}/messages/{name}", c.name) }));
        let references: Vec<_> = references.collect();
        channels_out.insert(
            c.name.into(),
            json!({
                "address": format!("{PREFIX}/{{agency}}/{{site}}/{{camera}}/{}", c.leaf),
                "description": c.summary,
                "parameters": parameters(c.leaf),
                "messages": described,
            }),
        );
        let verb = if c.action == "send" { "publish" } else { "take" };
        let mut first = c.name.chars();
        let camel = first.next().map(|f| f.to_ascii_uppercase()).into_iter().chain(first);
        operations.insert(
            format!("{verb}{}", camel.collect::<String>()),
            json!({
                "action": c.action,
                "channel": { "$ref": format!("#/channels/{}", c.name) },
                "summary": c.summary,
                "messages": references,
                "bindings": { "mqtt": {
                    "qos": c.qos, "retain": c.retain, "bindingVersion": "0.2.0",
                } },
            }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Milepost pole",
            "version": "1.0.0",
            "license": { "name": "Apache-2.0" },
            "description": format!(
                "What a pole says to the central server and the server to it, from the pole's point \
                 of view: `send` is what the pole publishes. De-duplicate by `source` and `id`. \
                 QoS 1 at the broker is not delivery: a record is sent again until its receipt (at \
                 most {MAX_RECEIPT_BYTES} bytes each) comes."
            ),
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": { "broker": {
            "host": "broker.example:8883",
            "protocol": "secure-mqtt",
            "protocolVersion": "5.0",
            "description": "TLS with a client certificate for every pole",
        } },
        "channels": channels_out,
        "operations": operations,
    })
}

/// Every schema file that the document refers to, with its content.
#[must_use]
pub fn schema_files() -> Vec<(String, Value)> {
    schema::all().into_iter().map(|s| (format!("schema/{}.json", s.name), s.schema)).collect()
}

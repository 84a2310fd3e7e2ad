//! Milepost's edge agent: a camera's frames in, one signed-off **read** per vehicle out.
//!
//! The way of the data is one direction and stands on one page, [`agent`]:
//!
//! ```text
//! capture ─ detect ─ read ─ follow ─ keep ─ send
//! ```
//!
//! Only [`capture`] knows GStreamer, only [`vision`] ONNX Runtime, only [`outbox`] sled, only
//! [`uplink`] MQTT, only [`board`] GPIO; [`pass`] is pure. Nothing imports [`agent`] but the
//! command line.
#![deny(unsafe_code)]

pub mod agent;
pub mod answered;
pub mod audit;
pub mod board;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
pub mod digest;
mod durable;
pub mod evidence;
pub mod geometry;
pub mod health;
pub mod identity;
pub mod keep;
pub mod list_store;
pub mod lists;
pub mod local;
pub mod look_alikes;
pub mod only_hits;
pub mod outbox;
pub mod pass;
pub mod recognise;
pub mod report;
pub mod sealing;
pub mod supervise;
pub mod suspension;
pub mod uplink;
pub mod vision;

//! Not yet.
use crate::{
    context::{Context, RowName},
    table::Row,
};
/// The row.
pub fn row(_context: &Context) -> Row {
    let mut row = Row::new(RowName::Hostile.fault());
    row.not_done = Some("not built".into());
    row
}

//! The fields of all records, column by column, up to a limit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use serde_json::Value;

use super::field::{Field, Origin, Place};

const MAX_ROWS: usize = 50_000;
const MAX_COLUMNS: usize = 400;
/// The most cells of all columns together.
const MAX_CELLS: usize = 500_000;
/// The most fields of one record.
const MAX_FIELDS: usize = 200;
const MAX_DEPTH: usize = 4;
/// The most positions of a message that is an array.
const MAX_PLACES: usize = 8;
/// The longest text that is compared.
const MAX_TEXT: usize = 128;
/// The depth of the fields that make a record's shape.
const SHAPE_DEPTH: usize = 2;

/// The shape of a record without fields.
pub(super) const EMPTY: u64 = 0;
/// What a field without a column adds to the shape: a record with such a field is not empty.
const WITHOUT_COLUMN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A value, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Datum {
    Text(Box<str>),
    /// A number as in the message.
    Number(Box<str>),
    /// Null, which counts as missing.
    Null,
    /// Boolean, object, array, or a long text.
    Other,
}

impl Datum {
    pub(super) fn of(value: &Value) -> Datum {
        match value {
            Value::String(text) if text.len() <= MAX_TEXT => Datum::Text(text.as_str().into()),
            Value::Number(number) => Datum::Number(number.to_string().into()),
            Value::Null => Datum::Null,
            _ => Datum::Other,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Datum::Text(text) = self { Some(text) } else { None }
    }

    /// Returns the value as a template inserts it.
    pub(super) fn rendered(&self) -> Option<&str> {
        match self {
            Datum::Text(text) | Datum::Number(text) => Some(text),
            Datum::Null | Datum::Other => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i128> {
        self.rendered()?.parse().ok()
    }

    fn kind(&self) -> u64 {
        match self {
            Datum::Text(_) => 1,
            Datum::Number(_) => 2,
            Datum::Null | Datum::Other => 3,
        }
    }
}

/// The values of a field, and in which rows they are.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) values: Vec<(usize, Datum)>,
}

impl Column {
    /// The value of each row.
    pub(super) fn by_row(&self, rows: usize) -> Vec<Option<&Datum>> {
        let mut by_row = vec![None; rows];
        for (row, datum) in &self.values {
            by_row[*row] = Some(datum);
        }
        by_row
    }
}

/// Records, or messages.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    /// When each row was received,
    pub(super) at: Vec<Duration>,
    /// and over which connection.
    pub(super) connections: Vec<u32>,
    /// Rows of one shape have the same fields of the same kinds.
    pub(super) shapes: Vec<u64>,
    connection: u32,
    numbers: HashMap<Field, usize>,
    cells: usize,
    /// The lengths of messages that are arrays.
    lengths: Option<(usize, usize)>,
}

impl Table {
    pub(super) fn rows(&self) -> usize {
        self.at.len()
    }

    /// Whether there is no room for another row.
    pub(super) fn is_full(&self) -> bool {
        self.cells >= MAX_CELLS || self.rows() >= MAX_ROWS
    }

    /// Sets the connection of the next rows.
    pub(super) fn over(&mut self, connection: u32) {
        self.connection = connection;
    }

    /// Adds a message that is also the record. With `as_envelope`, its fields have both names.
    pub(super) fn message(&mut self, at: Duration, value: &Value, as_envelope: bool) {
        let mut row = Row::begin(self, at);
        row.fields(&Field::root(Origin::Record), value);
        if as_envelope {
            row.fields(&Field::root(Origin::Envelope), value);
        }
        row.end();
    }

    /// Adds a record inside its message.
    pub(super) fn record(&mut self, at: Duration, record: &Value, envelope: &Value) {
        let mut row = Row::begin(self, at);
        row.fields(&Field::root(Origin::Record), record);
        row.fields(&Field::root(Origin::Envelope), envelope);
        row.end();
    }

    /// Adds a message that is not JSON.
    pub(super) fn text(&mut self, at: Duration, text: &str) {
        let mut row = Row::begin(self, at);
        row.value(Field::root(Origin::Text), Datum::of(&Value::String(text.to_owned())));
        row.end();
    }

    /// Ends the table. In arrays of different lengths, positions that may have moved are counted from the end.
    pub(super) fn finish(mut self) -> Table {
        let Some((shortest, longest)) = self.lengths else { return self };
        self.columns.retain(|column| match column.field.place {
            Some(Place::Last) => shortest < longest,
            Some(Place::At(index)) => shortest == longest || index + 1 < shortest,
            None => true,
        });
        self.numbers.clear();
        self
    }
}

/// A row that is being added.
struct Row<'t> {
    table: &'t mut Table,
    number: usize,
    fields: usize,
    shape: u64,
}

impl Row<'_> {
    fn begin(table: &mut Table, at: Duration) -> Row<'_> {
        let number = table.rows();
        table.at.push(at);
        table.connections.push(table.connection);
        Row { table, number, fields: 0, shape: EMPTY }
    }

    fn end(self) {
        self.table.shapes.push(self.shape);
    }

    fn fields(&mut self, root: &Field, value: &Value) {
        match value {
            Value::Object(_) => self.members(root, value),
            Value::Array(elements) if !elements.is_empty() => self.elements(root, elements),
            _ => {}
        }
    }

    fn elements(&mut self, root: &Field, elements: &[Value]) {
        let length = elements.len();
        let (shortest, longest) = self.table.lengths.unwrap_or((length, length));
        self.table.lengths = Some((shortest.min(length), longest.max(length)));
        for (index, element) in elements.iter().take(MAX_PLACES).enumerate() {
            self.element(&root.element(Place::At(index)), element);
        }
        if let Some(last) = elements.last() {
            self.element(&root.element(Place::Last), last);
        }
    }

    fn element(&mut self, field: &Field, element: &Value) {
        self.value(field.clone(), Datum::of(element));
        self.members(field, element);
    }

    fn members(&mut self, parent: &Field, value: &Value) {
        let Value::Object(members) = value else { return };
        if parent.depth >= MAX_DEPTH {
            return;
        }
        for (name, value) in members {
            if self.fields >= MAX_FIELDS {
                return;
            }
            let Some(field) = parent.member(name) else {
                self.shape = self.shape.wrapping_add(WITHOUT_COLUMN);
                continue;
            };
            self.value(field.clone(), Datum::of(value));
            self.members(&field, value);
        }
    }

    fn value(&mut self, field: Field, datum: Datum) {
        self.fields += 1;
        let columns = self.table.columns.len();
        let (column, depth) = match self.table.numbers.entry(field) {
            Entry::Occupied(known) => (*known.get(), known.key().depth),
            Entry::Vacant(_) if columns == MAX_COLUMNS => {
                self.shape = self.shape.wrapping_add(WITHOUT_COLUMN);
                return;
            }
            Entry::Vacant(new) => {
                let depth = new.key().depth;
                self.table.columns.push(Column { field: new.key().clone(), values: Vec::new() });
                (*new.insert(columns), depth)
            }
        };
        if depth <= SHAPE_DEPTH {
            self.shape = self.shape.wrapping_add(mixed(column as u64 * 4 + datum.kind()));
        }
        self.table.cells += 1;
        self.table.columns[column].values.push((self.number, datum));
    }
}

/// Spreads the bits of a number, so that sums of them are hardly ever equal (the finalizer of MurmurHash3).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let number = (number ^ (number >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    number ^ (number >> 33)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(messages: &[Value]) -> Table {
        let mut table = Table::default();
        messages.iter().for_each(|message| table.message(Duration::ZERO, message, false));
        table.finish()
    }

    fn fields(table: &Table) -> Vec<String> {
        table.columns.iter().map(|column| column.field.to_string()).collect()
    }

    #[test]
    fn objects_are_entered_and_arrays_are_not() {
        let table = table(&[json!({"a": {"b": 1, "odd key": 2, "it's": 3}, "c": [{"d": 1}]})]);
        assert_eq!(fields(&table), ["/a", "/a/b", "/a/'odd key'", "/c"]);
    }

    #[test]
    fn positions_that_move_count_from_the_end() {
        let fixed = table(&[json!([1, "a"]), json!([2, "b"])]);
        assert_eq!(fields(&fixed), ["/0", "/1"]);
        let moving = table(&[json!([1, {"a": 1}, "x"]), json!([2, {"a": 1}, {"b": 1}, "y"])]);
        assert_eq!(fields(&moving), ["/0", "/1", "/1/a", "/-1"]);
    }

    #[test]
    fn records_of_the_same_fields_have_one_shape() {
        let table =
            table(&[json!({"a": 1, "b": "x"}), json!({"b": "y", "a": 2}), json!({"a": "1", "b": "x"}), json!({})]);
        assert_eq!(table.shapes[0], table.shapes[1]);
        assert_ne!(table.shapes[0], table.shapes[2]);
        assert_eq!(table.shapes[3], EMPTY);
    }

    #[test]
    fn it_is_bounded_whatever_the_names() {
        let mut table = Table::default();
        for number in 0..60_000 {
            if table.is_full() {
                break;
            }
            let message: Value = (0..50).map(|name| (format!("{}", number * 50 + name), json!("x"))).collect();
            table.message(Duration::ZERO, &message, true);
        }
        assert!(
            table.columns.len() <= MAX_COLUMNS && table.cells <= MAX_CELLS + MAX_FIELDS && table.rows() <= MAX_ROWS
        );
    }
}

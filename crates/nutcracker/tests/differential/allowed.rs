//! The lists of intended differences, `testdata/wire/*_differences.json`: for a row of the vectors, the decision that makes
//! it different and what we do instead.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::vectors;

/// What is observed for one row: a set of named facts that can be compared.
pub(super) type Observed = Map<String, Value>;

/// The intended differences of one vector file, by row.
pub(super) struct Allowed {
    section: &'static str,
    rows: BTreeMap<String, Observed>,
    faults: Vec<String>,
}

impl Allowed {
    /// Reads one section of the list of a protocol, `redis` or `memcached`.
    pub(super) fn read(protocol: &str, section: &'static str) -> Allowed {
        let list = vectors(&format!("{protocol}_differences.json"));
        let entries = list[section].as_array().unwrap_or_else(|| panic!("no list {section}"));
        let mut rows = BTreeMap::new();
        for entry in entries {
            let decision = entry["decision"].as_u64().expect("a decision");
            assert!((1..=20).contains(&decision), "there is no decision {decision}");
            let row = entry["row"].as_str().expect("a row").to_owned();
            let ours = entry["ours"].as_object().expect("what we do").clone();
            assert!(rows.insert(row.clone(), ours).is_none(), "{row} is listed twice");
        }
        Allowed { section, rows, faults: Vec::new() }
    }

    /// What we are expected to do where 0.5 does `theirs`.
    pub(super) fn expected<'a>(&'a self, row: &str, theirs: &'a Observed) -> &'a Observed {
        self.rows.get(row).unwrap_or(theirs)
    }

    /// Judges one row.
    pub(super) fn compare(&mut self, row: &str, theirs: &Observed, ours: &Observed) {
        match self.rows.remove(row) {
            None if ours == theirs => {}
            None => self.faults.push(format!(
                "not listed, ours differs from {}:\n  {}",
                Value::Object(theirs.clone()),
                json!({"decision": 0, "row": row, "ours": ours})
            )),
            Some(listed) if *ours != listed => self.faults.push(format!(
                "listed, but ours is neither that nor {}:\n  {}",
                Value::Object(theirs.clone()),
                json!({"decision": 0, "row": row, "ours": ours})
            )),
            Some(_) if ours == theirs => {
                self.faults.push(format!("listed, but both do the same: {row}"));
            }
            Some(_) => {}
        }
    }

    /// Fails when anything is unexplained, or explained without being there.
    #[track_caller]
    pub(super) fn finish(mut self) {
        self.faults
            .extend(self.rows.keys().map(|row| format!("listed, but there is no such row: {row}")));
        let (count, section) = (self.faults.len(), self.section);
        assert!(count == 0, "{count} faults in {section}:\n{}", self.faults.join("\n"));
    }
}

//! A list of devices that are to come: comma-separated, a line for each. The first line has the names of the columns:
//! `pubkey` for the public key, any other for a part of the identity. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use tandem_api::management::Preauthorized;

use crate::csv;

/// A line of the list: its number, and the device or what is wrong with it.
pub type Line = (usize, Result<Preauthorized, String>);

/// The column with the public key: PEM, or what is between its first and its last line.
const KEY: &str = "pubkey";

/// Reads a list.
///
/// # Errors
/// A sentence, if it is none: then no line of it can be understood.
pub fn parse(text: &str, force: bool) -> Result<Vec<Line>, String> {
    let mut lines = csv::parse(text)?.into_iter();
    let (_, columns) = lines.next().ok_or("the list is empty")?;
    let columns: Vec<String> = columns.iter().map(|name| name.trim().to_owned()).collect();
    let keys = columns.iter().filter(|name| *name == KEY).count();
    if keys != 1 || columns.len() < 2 || columns.iter().any(String::is_empty) {
        return Err(format!(
            "the first line has to name the columns: {KEY}, and the parts of the identity, such as mac"
        ));
    }
    let read = |(number, cells)| (number, device(&columns, cells, force));
    Ok(lines.map(read).collect())
}

fn device(columns: &[String], cells: Vec<String>, force: bool) -> Result<Preauthorized, String> {
    if cells.len() != columns.len() {
        let (has, wanted) = (cells.len(), columns.len());
        return Err(format!("it has {has} cells, and the first line {wanted}"));
    }
    let (mut identity_data, mut pubkey) = (Map::new(), String::new());
    for (name, cell) in columns.iter().zip(cells) {
        let cell = cell.trim();
        if name == KEY {
            pubkey = pem(cell);
        } else if !cell.is_empty() {
            identity_data.insert(name.clone(), Value::from(cell));
        }
    }
    if identity_data.is_empty() {
        return Err("it has no identity".to_owned());
    }
    Ok(Preauthorized {
        identity_data,
        pubkey,
        force,
    })
}

/// A key that is only what is between the lines of its PEM gets them.
fn pem(cell: &str) -> String {
    if cell.is_empty() || cell.starts_with("-----") || STANDARD.decode(cell).is_err() {
        return cell.to_owned();
    }
    format!("-----BEGIN PUBLIC KEY-----\n{cell}\n-----END PUBLIC KEY-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_identity_and_a_key() {
        let text = "mac,sn,pubkey\naa, 1 ,AAAA\nbb,,\"-----BEGIN X\ny\"\ncc,1\n,,AAAA\n";
        let lines = parse(text, true).unwrap();
        let (number, first) = &lines[0];
        let first = first.clone().unwrap();
        assert_eq!((*number, first.force), (2, true));
        assert_eq!(
            Value::from(first.identity_data),
            serde_json::json!({"mac": "aa", "sn": "1"})
        );
        assert!(
            first
                .pubkey
                .starts_with("-----BEGIN PUBLIC KEY-----\nAAAA\n")
        );
        let second = lines[1].1.clone().unwrap();
        assert_eq!(
            Value::from(second.identity_data),
            serde_json::json!({"mac": "bb"})
        );
        assert_eq!(second.pubkey, "-----BEGIN X\ny");
        assert_eq!(
            lines[2],
            (5, Err("it has 2 cells, and the first line 3".to_owned()))
        );
        assert!(lines[3].1.is_err());
        for wrong in [
            "",
            "mac\n",
            "pubkey\n",
            "mac,sn\n",
            "mac,,pubkey\n",
            "mac,pubkey,pubkey\n",
        ] {
            assert!(parse(wrong, false).is_err(), "{wrong:?}");
        }
    }
}
